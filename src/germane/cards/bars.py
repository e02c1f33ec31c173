"""What a judge must reach: the statistics of a card by name, the default bars, and what a card misses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from germane.types import InputError, JudgeCard, Scale, is_error

Level = Literal["labels", "scores", "differences", "decisions"]

BARS: Mapping[str, float] = {"coverage": 0.8, "quadratic kappa": 0.4, "specificity": 0.7, "gain error": 0.15}
"""What a judge must reach unless told otherwise, with the whole interval: floors, not a certificate.

Quadratic kappa: judges that ship decisions are published at 0.5 to 0.7, and a judge broken by page batching fell to 0.35.
Specificity: at most 30 % of what people call not relevant is called relevant. Gain error: a judge that is off by one grade
throughout keeps a high kappa and specificity, and is off by 0.18 to 0.48 of the top gain on our real labels (docs/cards.md).
Exact agreement has no default bar: it flatters on skewed labels (docs/cards.md shows a judge at 0.45 exact and 0.08 kappa).
"""

OF_LABELS = (
    "coverage",
    "exact",
    "within one",
    "kappa",
    "linear kappa",
    "quadratic kappa",
    "alpha",
    "macro F1",
    "tau-b",
    "rho",
    "false relevant",
    "specificity",
    "gain error",
    "calibration error",
    "expected gain error",
    "Brier score",
    "raised by probes",
)
OF_LISTS = ("tau-b", "rho", "error", "error P10", "error P90")
OF_DECISIONS = ("decision agreement", "decision sign agreement")


def level_of(name: str) -> Level:
    """Which level a statistic of a card is of.

    >>> level_of("exact"), level_of("score tau-b"), level_of("difference error P10"), level_of("decision agreement")
    ('labels', 'scores', 'differences', 'decisions')
    """
    first = name.partition(" ")[0]
    levels: dict[str, Level] = {"score": "scores", "difference": "differences", "decision": "decisions"}
    return levels.get(first, "labels")


def names(scale: Scale) -> tuple[str, ...]:
    """Every statistic that a card on this scale may hold, in the order of the card."""
    labels = [name for name in OF_LABELS if name != "within one" or len(scale.labels) > 2]
    grades = [f"{part} of {label}" for label in scale.labels for part in ("precision", "recall", "F1")]
    lists = [f"{level} {name}" for level in ("score", "difference") for name in OF_LISTS]
    return (*labels, *grades, *lists, *OF_DECISIONS)


def known(bars: Mapping[str, float], scale: Scale) -> Mapping[str, float]:
    """The bars. Raises: InputError for none, for one on no statistic of a card, and for one that nothing or all can meet."""
    if not bars:
        raise InputError("no bars: a card that nothing can fail says nothing. Leave them out for the default ones")
    for name, bar in bars.items():
        if name not in names(scale):
            raise InputError(f"no bar can be set on {name!r}: known are {', '.join(names(scale))}")
        if is_error(name) and not 0 < bar <= 1:
            raise InputError(f"the bar on {name!r} is {bar}: give how large it may be either way, above 0, as 0.1")
        if not -1 <= bar <= 1:
            raise InputError(f"the bar on {name!r} is {bar}: give a number up to 1, as 0.4")
    return bars


def misses(card: JudgeCard) -> tuple[str, ...]:
    """A sentence for each bar that the card does not meet, naming the statistic, its interval's end and the bar."""
    lines = []
    for name, bar in card.bars.items():
        estimate = card.agreement.get(name)
        if estimate is None:
            lines.append(f"{name} could not be computed, the bar is {bar:g}")
        elif not card.meets(name) and is_error(name):
            worst = max(abs(estimate.low), abs(estimate.high))
            lines.append(f"{name} is {estimate.value:.3f}, up to {worst:.3f} either way, the bar is at most {bar:g}")
        elif not card.meets(name):
            lines.append(f"{name} is {estimate.value:.3f}, at least {estimate.low:.3f}, the bar is {bar:g}")
    return tuple(lines)
