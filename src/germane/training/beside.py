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
from germane.cards.leaderboard import by_expected_gains, stand
from germane.stats import clustered, retention
from germane.stats.clustered import LeftOut, Undefined, codes, effective, limits, scaled
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
    Over gold's random part and by its weights, as on the board. Intervals over queries, paired: a query is left out of both
    at once.
    """
    level = on.level if level is None else level
    a, b = _sides(on, one, other)
    both = (a.other >= 0) & (b.other >= 0) & ~a.targeted
    found: dict[str, Estimate] = {}
    if not both.any():
        return found
    for name, statistic in OF_LABELS.items():
        more: Any = {"of": statistic, "level": level, "method": f"difference of {name}", **_design(a, both)}
        try:
            found[name] = retention.difference(a.gold[both], a.other[both], b.other[both], **more)
        except Undefined:
            continue
    if on.experiment.runs:
        sides = [side._replace(other=np.where(both, side.other, -1)) for side in (a, b)]
        found |= _of_lists(on, sides, level)
    return found


def coverage(on: Field, one: pa.Table, other: pa.Table, *, level: float | None = None) -> Estimate | None:
    """`one` minus `other` in the share of gold's random pairs that each answered, paired; None for a single query."""
    a, b = _sides(on, one, other)
    drawn = ~a.targeted
    gap = (a.other >= 0).astype(np.float64) - (b.other >= 0)
    level = on.level if level is None else level
    more: Any = {"bounds": (-1.0, 1.0), "level": level, "method": "difference of coverage", **_design(a, drawn)}
    try:
        return clustered.mean(gap[drawn], **more)
    except Undefined:
        return None


def _sides(on: Field, one: pa.Table, other: pa.Table) -> tuple[Pairs, Pairs]:
    """Gold's pairs with the answers of each, in one order."""
    size = len(on.scale.labels)
    return joined(on.gold, one, None, size), joined(on.gold, other, None, size)


def _design(pairs: Pairs, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Queries and weights of these rows, as statistics take them."""
    return {"clusters": pairs.query[rows], "weights": None if pairs.weight is None else pairs.weight[rows]}


def _of_lists(on: Field, sides: Sequence[Pairs], level: float) -> dict[str, Estimate]:
    """The difference of tau-b of each list's sDCG, by grades and by expected gains."""
    found = {}
    graded: list[tuple[Pairs, Scale] | None] = [(side, on.scale) for side in sides]
    for name, both in zip(OF_LISTS, (graded, [by_expected_gains(side, on.scale) for side in sides]), strict=True):
        values = [lists.scores(each[0], ~each[0].targeted, on.experiment, each[1])[0] for each in both if each]
        if len(values) < 2 or values[0] is None or values[1] is None or len(values[0].query) != len(values[1].query):
            continue
        a, b = values[0], values[1]
        try:
            found[name] = tau_difference(a.people, a.judge, b.judge, a.query, weights=a.weight, level=level)
        except Undefined:
            continue
    return found


def tau_difference(
    people: NDArray[np.float64],
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    clusters: NDArray[np.int64],
    *,
    weights: NDArray[np.float64] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Kendall's tau-b of `one` with people minus that of `other`, of numbers a list; a query's lists are left out at once.

    weights: (lists,) as on the board, which count a list that often. It takes lists^2 steps.
    Source: Efron and Stein (1981), sec. 1, as `clustered.limits`. Raises: Undefined where a side is constant.
    """
    own, held = codes(clusters, len(people))
    w = scaled(weights, len(people))
    found = _taus(people, one, w, own, held) - _taus(people, other, w, own, held)
    if not np.isfinite(found[0]) or held < 2:
        raise Undefined("difference of tau-b: a side is constant, or of one query")
    size = effective(np.asarray(np.bincount(own, weights=w, minlength=held), np.float64))
    out = LeftOut(float(found[0]), found[1:], np.ones(held, np.int64), size, len(people), True, weights is not None)
    return limits(out, (-2.0, 2.0), level=level, method="difference of tau-b")


def _taus(
    x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64], own: NDArray[np.int64], held: int
) -> NDArray[np.float64]:
    """(1 + queries,) weighted tau-b of all lists, and without each query's; NaN where a side is constant."""
    total, gone = np.zeros(3), np.zeros((held, 3))
    for query in range(held):
        rows = own == query
        of_x, of_y = np.sign(x[:, None] - x[rows]), np.sign(y[:, None] - y[rows])
        for part, signs in enumerate((of_x * of_y, abs(of_x), abs(of_y))):
            pairs = w @ signs @ w[rows]
            total[part] += pairs
            gone[query, part] = 2 * pairs - w[rows] @ signs[rows] @ w[rows]
    score, of_x, of_y = np.vstack([total, total - gone]).T
    varied = (of_x > 1e-12 * w.sum() ** 2) & (of_y > 1e-12 * w.sum() ** 2)
    return np.where(varied, score / np.sqrt(np.where(varied, of_x * of_y, 1.0)), np.nan)


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
