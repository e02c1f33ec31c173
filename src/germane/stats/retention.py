"""How much of one judge another keeps: the ratio and the difference of a statistic of two judges on the same pairs or lists.

Both are paired. The jackknife leaves a query out of both judges at once, so that what is hard for both cancels. Grades
are indices on a scale; `clusters` and `weights` are as in agreement.py, and pairs that either judge left open stay out.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.agreement import grades
from germane.stats.clustered import FEW, LeftOut, Numbers, Tables, Undefined, codes, effective, limits, scaled
from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

Statistic = Callable[[Numbers], Numbers]
"""(..., grades, grades) tables of gold (rows) against a judge -> (...), NaN where it has no value."""


class _Both(NamedTuple):
    """A statistic of two judges: (2,) of all answers, (D, 2) without each cluster, and what `limits` asks for."""

    value: Numbers
    left: Numbers
    counts: NDArray[np.int64]
    size: float
    n: int
    many: bool
    weighted: bool


def exact(table: Numbers) -> Numbers:
    """Share of the same grade, as `agreement.exact_agreement`."""
    return np.asarray(np.trace(table, axis1=-2, axis2=-1) / table.sum((-1, -2)))


def within_one(table: Numbers) -> Numbers:
    """Share of grades at most one apart, as `agreement.agreement_within`."""
    return np.asarray((table * (_gap(table) <= 1)).sum((-1, -2)) / table.sum((-1, -2)))


def quadratic_kappa(table: Numbers) -> Numbers:
    """As `agreement.cohen_kappa` with quadratic distances."""
    n, apart = table.sum((-1, -2)), _gap(table) ** 2
    chance = np.einsum("...i,...j,ij->...", table.sum(-1), table.sum(-2), apart)
    there = chance > 1e-12 * n**2
    return np.where(there, 1 - n * (table * apart).sum((-1, -2)) / np.where(there, chance, 1.0), np.nan)


def macro_f1(table: Numbers) -> Numbers:
    """As `agreement.macro_f1`: the mean over the grades that gold or this judge gives.

    >>> round(float(macro_f1(np.array([[0, 1], [1, 1]]))), 2)
    0.25
    """
    values = _f1s(table)
    there = np.isfinite(values)
    return np.asarray(np.where(there, values, 0.0).sum(-1) / np.maximum(there.sum(-1), 1))


def f1(grade: int) -> Statistic:
    """F1 of one grade, as `agreement.f1`."""
    return lambda table: _f1s(table)[..., grade]


def difference(
    gold: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    *,
    of: Statistic = macro_f1,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    method: str = "difference of macro F1",
) -> Estimate:
    """`one` minus `other` in a statistic of agreement with gold (-1 to 1), on the same pairs.

    gold, one, other: (n,) grades. Interval: `clustered.limits` of the leave-one-cluster-out differences.
    Source: Efron and Stein (1981), sec. 1, of the joint table of all three. Raises: Undefined where either has no value.

    >>> e = difference([0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 0], of=exact)
    >>> e.value, e.n
    (0.25, 4)
    """
    return _difference(_of_tables(gold, one, other, of, clusters, weights, method), level, method)


def ratio(
    gold: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    *,
    of: Statistic = macro_f1,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    method: str = "ratio of macro F1",
) -> Estimate:
    """`one` over `other` in a statistic of agreement with gold: 0.9 keeps nine tenths of it. On the same pairs.

    Interval: t limits at clusters - 1 on the logarithm of the ratio, with its leave-one-cluster-out standard error.
    Source: Efron and Stein (1981), sec. 1, of the joint table of all three; the logarithm: Cochran (1977), sec. 6.
    Raises: Undefined where either is not above 0, of all pairs or without one cluster, and for fewer than two clusters.

    >>> ratio([0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0], of=exact).value
    0.75
    """
    return _ratio(_of_tables(gold, one, other, of, clusters, weights, method), level, method)


def list_ratio(
    people: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    *,
    of: str = "tau-b",
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """`one` over `other` in tau-b or rho with people, of numbers a list (sDCG): (n,) each, of the same lists.

    Interval and errors: as `ratio`. Over n lists it takes n^2 steps.
    Raises: as `ratio`; InputError for another statistic.

    >>> list_ratio([1, 2, 3, 4], [1, 3, 2, 4], [1, 2, 3, 4], clusters=[0, 1, 2, 3]).value.__round__(4)
    0.6667
    """
    if of not in ("tau-b", "rho"):
        raise InputError(f"{of!r}: expected tau-b or rho")
    x, a, b = (np.unique(np.asarray(side, np.float64).ravel(), return_inverse=True)[1] for side in (people, one, other))
    if not x.size == a.size == b.size or not x.size:
        raise InputError(f"{x.size}, {a.size} and {b.size} numbers: give one each of the same lists")
    w = scaled(weights, x.size)
    own, held = (np.arange(x.size), x.size) if clusters is None else codes(clusters, x.size)
    blocks = np.split(np.argsort(own, kind="stable"), np.cumsum(np.bincount(own, minlength=held))[:-1])
    left_out = _taus if of == "tau-b" else _rhos
    found = np.stack([left_out(x, side, w, blocks) for side in (a, b)], -1)
    size = effective(np.asarray(np.bincount(own, weights=w, minlength=held), np.float64))
    many, weighted = clusters is not None, weights is not None
    both = _Both(found[0], found[1:], np.ones(held, np.int64), size, x.size, many, weighted)
    return _ratio(both, level, f"ratio of {of}")


def _of_tables(
    gold: ArrayLike,
    one: ArrayLike,
    other: ArrayLike,
    of: Statistic,
    clusters: ArrayLike | None,
    weights: ArrayLike | None,
    method: str,
) -> _Both:
    """A statistic of both judges out of one table a cluster: gold x one x other."""
    (y, a), (_, b) = grades(gold, one), grades(gold, other)
    size = int(max(y.max(), a.max(), b.max())) + 1
    tables = Tables.of((y * size + a) * size + b, (size, size, size), clusters=clusters, weights=weights)
    total = np.tensordot(tables.counts, tables.tables, 1)
    value = _two(of, total)
    if not np.isfinite(value).all():
        raise Undefined(f"{method}: a judge has no value on these {tables.n} pairs")
    left = _two(of, total - tables.tables) if len(tables.tables) > 1 else value[None]
    masses = tables.tables.sum((-1, -2, -3))
    return _Both(value, left, tables.counts, effective(masses, tables.counts), tables.n, tables.many, tables.weighted)


def _two(of: Statistic, tables: Numbers) -> Numbers:
    """(..., 2) the statistic of either judge, from tables of gold x one x other."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([of(tables.sum(-1)), of(tables.sum(-2))], -1)


def _difference(both: _Both, level: float, method: str) -> Estimate:
    value, left = float(both.value[0] - both.value[1]), both.left[:, 0] - both.left[:, 1]
    out = LeftOut(value, left, both.counts, both.size, both.n, both.many, both.weighted)
    return limits(out, (-1.0, 1.0), level=level, method=method)


def _ratio(both: _Both, level: float, method: str) -> Estimate:
    held, unit = int(both.counts.sum()), "clusters" if both.many else "pairs"
    if held < 2:
        raise Undefined(f"{method}: {held} of the {unit}, and 2 are the least for an interval")
    if not (both.value > 1e-12).all() or not (both.left > 1e-12).all():
        raise Undefined(f"{method}: a judge is at or below 0, of which nothing can be kept")
    whole, logs = log(both.value[0] / both.value[1]), np.log(both.left[:, 0] / both.left[:, 1])
    se = sqrt((held - 1) / held * float((both.counts * (logs - whole) ** 2).sum()))
    step = t_quantile((1 + level) / 2, held - 1) * se
    caveat = f"only {held} clusters: the interval is a rough one" if both.many and held < FEW else ""
    caveat = f"all {held} {unit} keep exactly alike: the interval has no width" if se == 0 else caveat
    name = f"{'weighted ' if both.weighted else ''}{method}, jackknife of its logarithm over {held} {unit}"
    value = exp(whole)
    return Estimate(value, value * se, exp(whole - step), exp(whole + step), both.n, name, level, float(held - 1), caveat)


def _gap(table: Numbers) -> Numbers:
    index = np.arange(table.shape[-1], dtype=np.float64)
    return np.asarray(abs(index[:, None] - index))


def _f1s(table: Numbers) -> Numbers:
    """F1 of every grade, NaN where neither gold nor the judge gives it."""
    given = table.sum(-1) + table.sum(-2)
    there = given > 0
    return np.where(there, 2 * np.diagonal(table, axis1=-2, axis2=-1) / np.where(there, given, 1.0), np.nan)


def _taus(x: NDArray[np.int64], y: NDArray[np.int64], w: Numbers, blocks: list[NDArray[np.int64]]) -> Numbers:
    """(1 + blocks,) tau-b of all rows, and without each block; NaN where a side is constant."""
    gone = np.zeros((len(blocks), 3))
    total = np.zeros(3)
    for place, block in enumerate(blocks):
        sx, sy = np.sign(x[:, None] - x[block]), np.sign(y[:, None] - y[block])
        for part, signs in enumerate((sx * sy, abs(sx), abs(sy))):
            with_all, inside = float(w @ signs @ w[block]), float(w[block] @ signs[block] @ w[block])
            total[part] += with_all
            gone[place, part] = 2 * with_all - inside
    left = np.vstack([total, total - gone])
    varied = (left[:, 1] > 0) & (left[:, 2] > 0)
    return np.where(varied, left[:, 0] / np.sqrt(np.where(varied, left[:, 1] * left[:, 2], 1.0)), np.nan)


def _rhos(x: NDArray[np.int64], y: NDArray[np.int64], w: Numbers, blocks: list[NDArray[np.int64]]) -> Numbers:
    """(1 + blocks,) rho of all rows, and without each block, ranks made anew; NaN where a side is constant."""
    found = [_rho(x, y, w)]
    for block in blocks:
        kept = w.copy()
        kept[block] = 0.0
        found.append(_rho(x, y, kept) if kept.any() else float("nan"))
    return np.array(found)


def _rho(x: NDArray[np.int64], y: NDArray[np.int64], w: Numbers) -> float:
    """The correlation of weighted mid-ranks; x and y are codes from 0."""
    ranks = []
    for side in (x, y):
        count = np.bincount(side, weights=w)
        rank = (np.cumsum(count) - count / 2)[side]
        ranks.append(rank - (w @ rank) / w.sum())
    a, b = ranks
    below = float(w @ a**2) * float(w @ b**2)
    return float(w @ (a * b)) / sqrt(below) if below > 1e-12 * w.sum() ** 6 else float("nan")
