"""A judge's errors over ranked lists as shares of those of the best that is possible, where that is known.

`leaderboard.stand` has the shares of agreement; this has those of errors, which are better the smaller they are, and of
paired differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.cards import lists
from germane.cards.gold import joined
from germane.stats import retention
from germane.stats.clustered import Undefined, codes, scaled
from germane.types import Estimate, Scale

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
RESAMPLES = 2000
_AT_ONCE = 1 << 21  # resampled weights held in memory together


class Beside(NamedTuple):
    """share: name of the statistic, as on a card -> share of the ceiling's. unknown: statistics without one, such as errors
    so near 0 that not even their sign is known."""

    share: dict[str, Estimate]
    unknown: tuple[str, ...]


def beside(
    gold: pa.Table,
    judgments: pa.Table,
    ceiling: pa.Table,
    *,
    scale: Scale,
    experiment: lists.Experiment,
    design: pa.Table | None = None,
    level: float = 0.95,
) -> Beside:
    """What share of the ceiling a judge reaches in scores and paired differences, over the same lists.

    tau-b and rho: the judge's over the ceiling's. Errors: the size of the ceiling's over that of the judge's, so that 1 is
    as good as can be. gold, judgments, ceiling: judgments tables, one answer a pair.
    """
    judge, best = (joined(gold, table, design, len(scale.labels)) for table in (judgments, ceiling))
    both = ~judge.targeted & (judge.other >= 0) & (best.other >= 0)
    share: dict[str, Estimate] = {}
    unknown: list[str] = []
    for prefix, values in (("score", lists.scores), ("difference", lists.differences)):
        (mine, _), (theirs, _) = (values(pairs, both, experiment, scale) for pairs in (judge, best))
        if mine is not None and theirs is not None:
            found, without = shares(mine, theirs, prefix, level=level, seed=experiment.seed)
            share, unknown = share | found, [*unknown, *without]
    return Beside(share, tuple(unknown))


def shares(
    judge: lists.Values, best: lists.Values, prefix: str, *, level: float = 0.95, seed: int = 0
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    """Name of the statistic -> the share of the ceiling's, over the same lists in the same order; and those without one.

    tau-b and rho: `retention.list_ratio`. Errors: percentile limits of 2,000 resamples of queries, both judges at once.

    Source: Efron and Tibshirani (1993), An introduction to the bootstrap, ch. 13.
    """
    found: dict[str, Estimate] = {}
    unknown: list[str] = []
    for of in ("tau-b", "rho"):
        try:
            found[f"{prefix} {of}"] = retention.list_ratio(
                judge.people, judge.judge, best.judge, of=of, clusters=judge.query, weights=judge.weight, level=level
            )
        except Undefined:
            unknown.append(f"{prefix} {of}")
    errors = tuple((side.judge - side.people).round(lists.PLACES) for side in (judge, best))
    statistics: dict[str, Callable[[Floats, Floats], Floats]] = {
        "error": lambda x, w: w @ x / w.sum(axis=1),
        "error P10": lambda x, w: _quantiles(x, w, 0.1),
        "error P90": lambda x, w: _quantiles(x, w, 0.9),
    }
    for name, statistic in statistics.items():
        share = _of_errors(errors, judge, statistic, level=level, seed=seed)
        if share is None:
            unknown.append(f"{prefix} {name}")
        else:
            found[f"{prefix} {name}"] = share
    return found, tuple(unknown)


def _of_errors(
    errors: tuple[Floats, ...],
    lists_: lists.Values,
    statistic: Callable[[Floats, Floats], Floats],
    *,
    level: float,
    seed: int,
) -> Estimate | None:
    """The ceiling's error over the judge's, in size; None where either may as well be 0."""
    own, held = codes(lists_.query, len(lists_.query))
    weight = scaled(lists_.weight, len(own))
    mine, best = (float(statistic(x, weight[None])[0]) for x in errors)
    rng, parts = np.random.default_rng(seed), []
    step = max(1, _AT_ONCE // len(own))
    for start in range(0, RESAMPLES, step):
        times = rng.multinomial(held, np.full(held, 1 / held), size=min(step, RESAMPLES - start))
        parts.append(np.stack([statistic(x, times[:, own] * weight) for x in errors]))
    drawn = np.concatenate(parts, axis=1)
    tail = (1 - level) / 2
    for value, each in ((mine, drawn[0]), (best, drawn[1])):
        if value == 0 or float((np.sign(each) != np.sign(value)).mean()) > tail:
            return None
    ratio = abs(drawn[1]) / np.maximum(abs(drawn[0]), 1e-12)
    low, high = np.quantile(ratio, [tail, 1 - tail])
    method = f"size of the ceiling's over the judge's, {RESAMPLES:,} resamples of {held} queries"
    return Estimate(abs(best) / abs(mine), float(ratio.std(ddof=1)), float(low), float(high), len(own), method, level)


def _quantiles(x: Floats, w: Floats, probability: float) -> Floats:
    """The weighted quantile of x under each row of weights: the first value with at least this share of weight up to it."""
    order = np.argsort(x, kind="stable")
    upto = np.cumsum(w[:, order], axis=1)
    at = (upto < probability * upto[:, -1:] - 1e-9).sum(axis=1)
    return np.asarray(x[order][np.minimum(at, len(x) - 1)])
