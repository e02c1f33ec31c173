"""Do a judge's probabilities mean what they say? Calibration error freed of noise, Brier score, reliability by grade.

probs: (n, grades), rows that add to 1. grades: (n,) what people said, 0 the worst. `clusters`, `weights`: as in agreement.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats import clustered
from germane.stats.clustered import Numbers, Undefined
from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

BINS = 10
SUM = 1e-3
"""Probabilities may miss a sum of 1 by this much: they are kept in single precision, and models print few digits."""


_AT_ONCE = 20_000  # clusters whose buckets are held in memory together


class Reliable(NamedTuple):
    """One bucket of one grade: what the judge expected of it on average, and the share of pairs where people gave it."""

    grade: int
    expected: float
    seen: Estimate


def brier(
    probs: ArrayLike,
    grades: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The Brier score (0 best to 2): mean over pairs of the sum over grades of (probability - 1 or 0)^2.

    Source: Brier (1950), eq. 2. Interval: `clustered.mean`.
    Raises: InputError for probabilities that are negative or do not add to 1, naming the row.

    >>> round(brier([[0.8, 0.2], [0.4, 0.6]], [0, 0]).value, 2)
    0.4
    """
    p, y = checked(probs, grades)
    scores, options = ((p - y) ** 2).sum(1), {"clusters": clusters, "weights": weights}
    return clustered.mean(scores, **options, bounds=(0.0, 2.0), level=level, method="Brier score")


def expected_gain_error(
    probs: ArrayLike,
    grades: ArrayLike,
    gains: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Mean of the judge's expected gain minus the gain of people's grade, in units of the top gain (-1 to 1).

    It is what an expected-gain sDCG is biased by, over these pairs. gains: (grades,), the last the top one.
    Source: our definition; calibration in the large, Cox (1958). Interval: `clustered.mean`. Raises: as `brier`.

    >>> expected_gain_error([[0.5, 0.5], [0.5, 0.5]], [0, 1], [0, 1]).value
    0.0
    """
    p, y = checked(probs, grades)
    g = np.asarray(gains, dtype=np.float64)
    errors = (p - y) @ (g / g[-1])
    options = {"clusters": clusters, "weights": weights}
    return clustered.mean(errors, **options, bounds=(-1.0, 1.0), level=level, method="expected gain minus people's")


def calibration_error(
    probs: ArrayLike,
    grades: ArrayLike,
    *,
    bins: int = BINS,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The calibration error (0 to 1): root mean square over grades and pairs of probability minus frequency, debiased.

    Each grade's probabilities fall into `bins` buckets of equal size. The squared gap of a bucket is freed of its sampling
    variance over clusters, without which a perfect judge looks the worse the fewer pairs there are. Where what is left is
    not above 0, the value is 0 with a caveat. Interval: t limits of the square, cut at 0. Its variance is the jackknife's
    over clusters, which sees nothing where the gaps are near 0, plus 2 x noise^2 of each bucket, the variance of noise squared.

    Source: Kumar, Liang, Ma (2019), def. 3.2 (marginal, equal weight a grade) and eq. 9 (debiased), with the variance of
    the gap over clusters (Cochran 1977, sec. 3.12) in place of that of independent answers.
    Raises: as `brier`; Undefined for fewer than two clusters.

    >>> round(calibration_error([[0.9, 0.1]] * 200, [0, 1] * 100).value, 2)
    0.4
    """
    p, y = checked(probs, grades)
    cell, size = _cells(p, bins)
    n, kinds = p.shape
    w = clustered.scaled(weights, n)
    code, held = (np.arange(n), n) if clusters is None else clustered.codes(clusters, n)
    if held < 2:
        raise Undefined("calibration error: one query or pair, and 2 are the least")
    rows = (code, cell, w, (y - p) * w[:, None])
    whole = np.sum([parts.sum(1) for parts in _parts(rows, held, size)], axis=0)
    (square,), (noise,) = _debiased(whole[:, None], kinds)
    left = np.concatenate([_debiased(whole[:, None] - parts, kinds)[0] for parts in _parts(rows, held, size)])
    se = sqrt((held - 1) / held * float(((left - square) ** 2).sum()) + float(noise))
    step = t_quantile((1 + level) / 2, held - 1)
    low, value, high = (sqrt(max(float(x), 0.0)) for x in (square - step * se, square, max(square, 0.0) + step * se))
    unit = "pairs" if clusters is None else "clusters"
    few = clusters is not None and held < clustered.FEW
    caveat = f"only {held} clusters: the interval is a rough one" if few else ""
    caveat = "none is to be seen: what noise makes is as large" if square <= 0 else caveat
    name = f"{'weighted ' if weights is not None else ''}calibration error, debiased, jackknife over {held} {unit}"
    return Estimate(value, (high - low) / (2 * step), low, min(high, 1.0), n, name, level, float(held - 1), caveat)


def reliability(
    probs: ArrayLike,
    grades: ArrayLike,
    *,
    bins: int = 5,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Reliable, ...]:
    """Grade by grade and bucket by bucket: the mean probability, and the share of pairs that people gave this grade.

    Source: Murphy and Winkler (1977). Interval of the share: `clustered.share`. Raises: as `brier`.

    >>> [(row.grade, round(row.expected, 2), row.seen.value) for row in reliability([[0.9, 0.1]] * 4, [0, 0, 1, 0])]
    [(0, 0.9, 0.75), (1, 0.1, 0.25)]
    """
    p, y = checked(probs, grades)
    cell, _ = _cells(p, bins)
    w = clustered.scaled(weights, len(p))
    rows = []
    for grade in range(p.shape[1]):
        for at in np.unique(cell[:, grade]):
            inside = cell[:, grade] == at
            seen = clustered.share(
                y[:, grade] > 0, among=inside, clusters=clusters, weights=weights, level=level, method="share of people"
            )
            rows.append(Reliable(grade, float((w * p[:, grade])[inside].sum() / w[inside].sum()), seen))
    return tuple(rows)


def checked(probs: ArrayLike, grades: ArrayLike) -> tuple[Numbers, Numbers]:
    """Probabilities that add to exactly 1, and 1 where people gave the grade, (n, grades) each.

    Raises: InputError naming the row that is negative or misses 1, and for a grade without a probability.
    """
    p = np.asarray(probs, dtype=np.float64)
    y = np.asarray(grades)
    if p.ndim != 2 or len(p) != len(y) or not len(p):
        raise InputError(f"probabilities of shape {p.shape} for {len(y)} grades: give a row a pair and a column a grade")
    off = ~(np.isfinite(p).all(1) & (p >= -1e-9).all(1) & (abs(p.sum(1) - 1) <= SUM))
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"probabilities {[round(x, 4) for x in p[row].tolist()]} at row {row} do not add to 1: give one a grade"
        )
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise InputError(f"grade {y.max()} has no probability: {p.shape[1]} are given a pair")
    p = np.maximum(p, 0.0)
    return p / p.sum(1, keepdims=True), np.eye(p.shape[1])[y.astype(np.int64)]


def _cells(p: Numbers, bins: int) -> tuple[NDArray[np.int64], int]:
    """The bucket of each probability, numbered through all grades: (n, grades), and how many numbers there are."""
    if bins < 1:
        raise InputError(f"{bins} buckets: give 1 or more")
    found = np.empty(p.shape, np.int64)
    for grade in range(p.shape[1]):
        values = np.unique(p[:, grade].round(9))
        if len(values) <= bins:
            edges = (values[1:] + values[:-1]) / 2
        else:
            edges = np.unique(np.quantile(p[:, grade], np.arange(1, bins) / bins))
        found[:, grade] = grade * (bins + 1) + np.searchsorted(edges, p[:, grade], side="right")
    return found, p.shape[1] * (bins + 1)


def _parts(rows: tuple[NDArray[np.int64], NDArray[np.int64], Numbers, Numbers], held: int, size: int) -> Iterator[Numbers]:
    """(6, clusters, buckets) sums of what `_debiased` needs, some clusters at a time: weight, gap, their products, presence."""
    code, cell, weight, gap = rows
    order = np.argsort(code, kind="stable")
    starts = range(0, held, _AT_ONCE)
    edges = np.searchsorted(code[order], [*starts, held])
    for start, first, last in zip(starts, edges, edges[1:], strict=False):
        here, count = order[first:last], min(_AT_ONCE, held - start)
        place = ((code[here] - start)[:, None] * size + cell[here]).ravel()
        total = np.bincount(place, np.repeat(weight[here], cell.shape[1]), count * size).reshape(count, size)
        error = np.bincount(place, gap[here].ravel(), count * size).reshape(count, size)
        yield np.stack([total, error, error**2, error * total, total**2, (total > 0).astype(float)])


def _debiased(parts: Numbers, kinds: int) -> tuple[Numbers, Numbers]:
    """(C,) squared calibration errors out of (6, C, buckets) sums, and what noise alone gives them as variance.

    A bucket that one cluster fills alone shows nothing.
    """
    total, error, squares, cross, weights, held = parts
    known = (held > 1.5) & (total > 1e-12)
    below = np.where(known, total, 1.0)
    gap = np.where(known, error / below, 0.0)
    spread = np.maximum(squares - 2 * gap * cross + gap**2 * weights, 0.0) / below**2
    noise = np.where(known, spread * held / np.maximum(held - 1, 1), 0.0)
    share = np.where(known, total, 0.0) / np.maximum(total.sum(-1, keepdims=True) / kinds, 1e-300)
    return (share * (gap**2 - noise)).sum(-1) / kinds, 2 * ((share * noise / kinds) ** 2).sum(-1)
