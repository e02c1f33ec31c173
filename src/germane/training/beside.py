"""Judges side by side on the same labelled pairs: a leaderboard of them, and the paired difference of any two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.cards import Experiment, lists
from germane.cards.entrants import Entrant
from germane.cards.gold import Pairs, joined
from germane.cards.leaderboard import stand
from germane.stats import retention
from germane.stats.clustered import LeftOut, Undefined, limits
from germane.training.folds import Cost
from germane.types import Estimate, JudgeFacts, Leaderboard, Scale

if TYPE_CHECKING:
    import pyarrow as pa

OF_LABELS = {"macro F1": retention.macro_f1, "exact": retention.exact, "quadratic kappa": retention.quadratic_kappa}
OF_LISTS = ("score tau-b", "expected score tau-b")


@dataclass(frozen=True)
class Field:
    """What judges are measured on: people's labels, their scale, and ranked lists for scores (or none)."""

    gold: pa.Table
    scale: Scale
    experiment: Experiment = field(default_factory=Experiment)
    name: str = "labels"
    level: float = 0.95


def board(on: Field, judged: Mapping[str, tuple[pa.Table, Cost, JudgeFacts]]) -> Leaderboard:
    """The judges on the pairs that all of them answered, best first by macro F1, under the names given here.

    Raises: InputError for labels that are not people's, and judges that cannot be compared.
    """
    entrants = [Entrant(_named(table, name), _facts(cost, facts), name) for name, (table, cost, facts) in judged.items()]
    options: dict[str, Any] = {"name": on.name, "experiment": on.experiment, "level": on.level}
    return stand(on.gold, entrants, scale=on.scale, **options)


def differences(on: Field, one: pa.Table, other: pa.Table, *, level: float | None = None) -> dict[str, Estimate]:
    """`one` minus `other` on the pairs that both answered, by the name of the statistic; what has no value is left out.

    Of labels: macro F1, exact, quadratic kappa. Of lists, where there are any: tau-b of sDCG by labels and by expected gains.
    Intervals over queries, paired: a query is left out of both at once.
    """
    level = on.level if level is None else level
    size = len(on.scale.labels)
    a, b = joined(on.gold, one, None, size), joined(on.gold, other, None, size)
    both = (a.other >= 0) & (b.other >= 0) & ~a.targeted
    found: dict[str, Estimate] = {}
    if not both.any():
        return found
    for name, statistic in OF_LABELS.items():
        more: Any = {"of": statistic, "clusters": a.query[both], "level": level, "method": f"difference of {name}"}
        try:
            found[name] = retention.difference(a.gold[both], a.other[both], b.other[both], **more)
        except Undefined:
            continue
    if on.experiment.runs:
        sides = [side._replace(other=np.where(both, side.other, -1)) for side in (a, b)]
        found |= _of_lists(on, sides, level)
    return found


def _of_lists(on: Field, sides: Sequence[Pairs], level: float) -> dict[str, Estimate]:
    """The difference of tau-b of each list's sDCG, by grades and by expected gains."""
    found = {}
    graded: list[tuple[Pairs, Scale] | None] = [(side, on.scale) for side in sides]
    for name, both in zip(OF_LISTS, (graded, [_expected(side, on.scale) for side in sides]), strict=True):
        values = [lists.scores(each[0], ~each[0].targeted, on.experiment, each[1])[0] for each in both if each]
        if len(values) < 2 or values[0] is None or values[1] is None or len(values[0].query) != len(values[1].query):
            continue
        try:
            found[name] = tau_difference(values[0].people, values[0].judge, values[1].judge, values[0].query, level=level)
        except Undefined:
            continue
    return found


def tau_difference(
    people: NDArray[np.float64],
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    clusters: NDArray[np.int64],
    *,
    level: float = 0.95,
) -> Estimate:
    """Kendall's tau-b of `one` with people minus that of `other`, of numbers a list; a query's lists are left out at once.

    Source: Efron and Stein (1981), sec. 1, as `clustered.limits`. Raises: Undefined where a side is constant.
    """
    from scipy.stats import kendalltau

    def gap(rows: NDArray[np.bool_]) -> float:
        return float(kendalltau(people[rows], one[rows]).statistic - kendalltau(people[rows], other[rows]).statistic)

    queries = np.unique(clusters)
    value = gap(np.ones(len(clusters), bool))
    if not np.isfinite(value) or len(queries) < 2:
        raise Undefined("difference of tau-b: a side is constant, or of one query")
    left = np.array([gap(clusters != query) for query in queries])
    ones = np.ones(len(queries), np.int64)
    out = LeftOut(value, left, ones, float(len(queries)), len(clusters), True, False)
    return limits(out, (-2.0, 2.0), level=level, method="difference of tau-b")


def _expected(side: Pairs, scale: Scale) -> tuple[Pairs, Scale] | None:
    """The judge's expected gains as grades of a scale as fine as they are, and people's on it; None without probabilities."""
    if side.probs is None:
        return None
    given = (side.other >= 0) & ~np.isnan(side.probs).any(axis=1)
    if not given.any():
        return None
    gains = np.asarray(scale.gains, np.float64)
    probs = np.where(given[:, None], side.probs, 1.0)
    expected = np.clip(probs @ gains / probs.sum(axis=1), gains[0], gains[-1])
    steps = np.unique(np.concatenate([gains, expected[given]]))
    fine = replace(scale, labels=tuple(map(str, range(len(steps)))), gains=tuple(steps.tolist()), aliases={})
    other = np.where(given, np.searchsorted(steps, expected), -1)
    return side._replace(gold=np.searchsorted(steps, gains[side.gold]), other=other), fine


def _named(table: pa.Table, name: str) -> pa.Table:
    import pyarrow as pa

    judge = pa.repeat(name, table.num_rows).cast(pa.string())
    return table.set_column(table.column_names.index("judge"), "judge", judge)


def _facts(cost: Cost, facts: JudgeFacts) -> JudgeFacts:
    return replace(facts, rows_per_s=cost.rows_per_s, machine=cost.machine, cost_per_million=cost.per_million)


def priced(cost: Cost, hour_price: float | None) -> Cost:
    """The cost with money for a million pairs, at the price of an hour of the machine.

    >>> priced(Cost(rows_per_s=100.0), 3.6).per_million
    10.0
    """
    if hour_price is None or not cost.rows_per_s or cost.per_million is not None:
        return cost
    return replace(cost, per_million=hour_price / cost.rows_per_s / 3600 * 1e6)
