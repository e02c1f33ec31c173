"""Ranks of two numbers a row, with intervals that respect clusters: Kendall's tau-b, Spearman's rho, area under the curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clustered import LeftOut, Numbers, Tables, Undefined, codes, effective, jackknife, limits, scaled
from germane.types import Estimate, InputError

Codes = NDArray[np.int64]
SMALL = 400  # different cells above which we go pair by pair
AT_ONCE = 2_000_000  # numbers of a matrix of rows against rows held in memory


def kendall_tau_b(
    x: ArrayLike, y: ArrayLike, *, clusters: ArrayLike | None = None, weights: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Kendall's tau-b (-1 to 1) of two numbers a row, grades or scores: concordant minus discordant, ties left out of either.

    A weight counts a row that often. Over 400 different cells it goes pair by pair: n^2 steps.
    Source: Kendall (1945), b. Interval: `clustered.jackknife`.
    Raises: Undefined where one side is constant; InputError for values that are not finite.

    >>> round(kendall_tau_b([1, 2, 3, 4], [1, 3, 2, 4]).value, 4)
    0.6667
    """
    return _rank_correlation(x, y, _tau_of_tables, _tau_left_out, "Kendall's tau-b", clusters, weights, level)


def spearman_rho(
    x: ArrayLike, y: ArrayLike, *, clusters: ArrayLike | None = None, weights: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Spearman's rho (-1 to 1): the correlation of mid-ranks of two numbers a row, grades or scores.

    Source: Kendall and Gibbons (1990), ch. 3 (ties). Interval: `clustered.jackknife`, ranks made anew without each cluster.
    Raises: as `kendall_tau_b`.

    >>> round(spearman_rho([1, 2, 3, 4], [1, 3, 2, 4]).value, 4)
    0.8
    """
    return _rank_correlation(x, y, _rho_of_tables, _rho_left_out, "Spearman's rho", clusters, weights, level)


def auc(
    score: ArrayLike,
    event: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The chance (0 to 1) that a row with the event has a higher score than one without it, ties as half; 0.5 says nothing.

    score: (n,) finite. event: (n,) bool. It is the area under the ROC curve, over rows of all clusters together.
    Source: Hanley and McNeil (1982), sec. 2, with ties half; clusters are left out one by one (compare Obuchowski 1997).
    Interval: `clustered.limits`, at the effective number of clusters that hold the rarer kind, less one, as degrees of freedom.
    Raises: Undefined where all rows have the event, or none; InputError for values that are not finite, and unequal lengths.

    >>> auc([0.1, 0.4, 0.4, 0.9], [False, False, True, True]).value
    0.875
    """
    x, hit = np.asarray(score, dtype=np.float64).ravel(), np.asarray(event, dtype=bool).ravel()
    if x.size != hit.size or not np.isfinite(x).all():
        raise InputError(f"{x.size} scores and {hit.size} events: give one finite number each, and an event or none")
    if hit.all() or not hit.any():
        raise Undefined(f"area under the ROC curve: {int(hit.sum())} of {hit.size} rows have the event; both kinds are needed")
    w, code = scaled(weights, x.size), np.unique(x, return_inverse=True)[1]
    own, held = (np.arange(x.size), x.size) if clusters is None else codes(clusters, x.size)
    kinds = np.stack([np.where(hit, w, 0.0), np.where(hit, 0.0, w)])
    at = np.stack([np.bincount(code, weights=kind) for kind in kinds])
    above, below = at[0].sum() - np.cumsum(at[0]) + at[0] / 2, np.cumsum(at[1]) - at[1] / 2  # events above, others below
    masses = np.stack([np.bincount(own, weights=kind, minlength=held) for kind in kinds])
    total = float(at[0] @ below)
    gone = np.bincount(own, weights=kinds[0] * below[code] + kinds[1] * above[code], minlength=held)
    left = total - gone + _won_inside(own * at.shape[1] + code, kinds, at.shape[1], held)
    rest = masses.sum(1, keepdims=True) - masses
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where((rest > 1e-12).all(0), np.clip(left / rest.prod(0), 0.0, 1.0), np.nan)
    size = min(effective(mass) for mass in masses)
    value = total / float(masses.sum(1).prod())
    alone = LeftOut(value, values, np.ones(held, np.int64), size, x.size, clusters is not None, weights is not None)
    df = max(1.0, size - 1)  # what varies is mostly the rarer kind: it may lie in few of the clusters
    return limits(alone, (0.0, 1.0), level=level, method="area under the ROC curve", df=df)


def _won_inside(cell: Codes, kinds: Numbers, size: int, held: int) -> Numbers:
    """(held,) what `auc` counts between rows of one cluster. cell: (n,) cluster * size + score. kinds: (2, n) weights."""
    cells, place = np.unique(cell, return_inverse=True)
    events, others = (np.bincount(place, weights=kind) for kind in kinds)
    upto = np.cumsum(others)
    start = np.searchsorted(cells // size, np.arange(held))
    before = np.concatenate([[0.0], upto])[start][cells // size]  # of the clusters before
    return np.asarray(np.bincount(cells // size, weights=events * (upto - others / 2 - before), minlength=held), np.float64)


def _rank_correlation(
    x: ArrayLike,
    y: ArrayLike,
    of_tables: Callable[[Numbers], Numbers],
    left_out: Callable[..., tuple[float, Numbers]],
    method: str,
    clusters: ArrayLike | None,
    weights: ArrayLike | None,
    level: float,
) -> Estimate:
    a, b = (np.asarray(side, dtype=np.float64).ravel() for side in (x, y))
    if a.size != b.size or a.size == 0:
        raise InputError(f"{a.size} and {b.size} values: give at least one row, with a number on each side")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("a value is missing or infinite: leave such rows out, and report how many")
    (first, code_a), (second, code_b) = (np.unique(side, return_inverse=True) for side in (a, b))
    shape = (len(first), len(second))
    if shape[0] * shape[1] <= SMALL:
        tables = Tables.of(code_a * shape[1] + code_b, shape, clusters=clusters, weights=weights)
        return jackknife(of_tables, tables, lowest=-1.0, level=level, method=method)
    w = scaled(weights, a.size)
    own = np.arange(a.size) if clusters is None else codes(clusters, a.size)[0]
    order = np.argsort(own, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(own[order])) + 1)
    value, left = left_out(code_a.astype(np.float64), code_b.astype(np.float64), w, blocks)
    if not np.isfinite(value):
        raise Undefined(f"{method} has no value: one side is constant")
    size = effective(np.array([w[block].sum() for block in blocks]))
    ones = np.ones(len(blocks), np.int64)
    alone = LeftOut(value, left, ones, size, a.size, clusters is not None, weights is not None)
    return limits(alone, (-1.0, 1.0), level=level, method=method)


def _tau_of_tables(table: Numbers) -> Numbers:
    right = np.flip(np.cumsum(np.flip(table, -1), -1), -1) - table  # in the same row, to the right
    left = np.cumsum(table, -1) - table
    below = np.flip(np.cumsum(np.flip(right - left, -2), -2), -2) - (right - left)  # in the rows below
    score = 2 * (table * below).sum((-1, -2))
    n = table.sum((-1, -2))
    untied = [n**2 - (table.sum(axis) ** 2).sum(-1) for axis in (-1, -2)]
    return _ratio(score, untied[0], untied[1], n**2)


def _rho_of_tables(table: Numbers) -> Numbers:
    n = table.sum((-1, -2))
    margins = table.sum(-1), table.sum(-2)
    rank_a, rank_b = (np.cumsum(margin, -1) - margin / 2 - n[..., None] / 2 for margin in margins)  # their mean is 0
    together = np.einsum("...ij,...i,...j->...", table, rank_a, rank_b)
    return _ratio(together, (margins[0] * rank_a**2).sum(-1), (margins[1] * rank_b**2).sum(-1), n**3)


def _tau_left_out(x: Numbers, y: Numbers, w: Numbers, blocks: list[Codes]) -> tuple[float, Numbers]:
    """tau-b of all rows, and without each block of rows."""
    gone, total = np.zeros((len(blocks), 3)), np.zeros(3)
    for place, block in enumerate(blocks):
        for rows in _pieces(block, len(x)):
            sx, sy = np.sign(x[:, None] - x[rows]), np.sign(y[:, None] - y[rows])
            for part, signs in enumerate((sx * sy, abs(sx), abs(sy))):
                with_all, inside = float(w @ signs @ w[rows]), float(w[block] @ signs[block] @ w[rows])
                total[part] += with_all
                gone[place, part] += 2 * with_all - inside
    left = np.vstack([total, total - gone])
    values = _ratio(left[:, 0], left[:, 1], left[:, 2], np.full(len(left), w.sum() ** 2))
    return float(values[0]), values[1:]


def _rho_left_out(x: Numbers, y: Numbers, w: Numbers, blocks: list[Codes]) -> tuple[float, Numbers]:
    """rho of all rows, and without each block of rows; mid-ranks up to a linear map are weighted sums of signs."""
    sides = []
    for side in (x, y):
        code = side.astype(np.int64)
        count = np.bincount(code, weights=w)
        sides.append((2 * np.cumsum(count) - count - w.sum())[code])
    left = np.zeros(len(blocks))
    for place, block in enumerate(blocks):
        kept, rank_x, rank_y = w.copy(), sides[0].copy(), sides[1].copy()
        kept[block] = 0.0
        for rows in _pieces(block, len(x)):
            rank_x -= np.sign(x[:, None] - x[rows]) @ w[rows]
            rank_y -= np.sign(y[:, None] - y[rows]) @ w[rows]
        left[place] = _weighted_correlation(rank_x, rank_y, kept)
    return _weighted_correlation(sides[0], sides[1], w), left


def _pieces(rows: Codes, n: int) -> list[Codes]:
    """Rows in parts whose matrix against all n rows fits."""
    return np.array_split(rows, -(-len(rows) * n // AT_ONCE))


def _weighted_correlation(a: Numbers, b: Numbers, w: Numbers) -> float:
    a, b, n = a - (w @ a) / w.sum(), b - (w @ b) / w.sum(), w.sum()
    return float(_ratio(w @ (a * b), w @ a**2, w @ b**2, n**3))


def _ratio(score: Numbers, first: Numbers, second: Numbers, scale: Numbers) -> Numbers:
    """score / sqrt(first * second) within -1 and 1, NaN where a side is constant: nothing there, against `scale`."""
    varied = (first > 1e-12 * scale) & (second > 1e-12 * scale)
    below = np.sqrt(np.where(varied, first, 1.0)) * np.sqrt(np.where(varied, second, 1.0))
    return np.where(varied, np.clip(score / below, -1.0, 1.0), np.nan)
