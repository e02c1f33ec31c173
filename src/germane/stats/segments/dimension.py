"""The segments of one dimension together: do they differ at all, and what each is worth in the light of the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.segments.guard import guarded_p

Floats = NDArray[np.float64]


class Heterogeneity(NamedTuple):
    """The test that all segments have one effect: an F statistic, its two degrees of freedom, and its p-value."""

    statistic: float
    df: tuple[float, float]
    p: float


class Shrunken(NamedTuple):
    """Effects pulled towards their common mean, (k,) each. between: the SD of true effects; mean: the common one."""

    value: Floats
    se: Floats
    low: Floats
    high: Floats
    between: float
    mean: float


def heterogeneity(value: ArrayLike, se: ArrayLike, df: ArrayLike, skewness: ArrayLike = ()) -> Heterogeneity:
    """Do the segments differ in their effect at all? The test that they are all one, for k >= 2 disjoint segments.

    value, se, df: (k,) of reliable segments. skewness: (C, k) candidates; each segment's distance from the common mean counts
    only as far as they let it (`guarded_p`), since few skewed differences look more certain than they are.

    Source: Welch (1951), Biometrika 38, with Satterthwaite's df of each segment.
    Raises: ValueError for fewer than two segments, or a standard error that is not above 0.

    >>> h = heterogeneity([0.02, -0.01, 0.0], [0.005, 0.006, 0.004], [60, 80, 120])
    >>> round(h.statistic, 2), round(h.p, 4)
    (8.3, 0.0004)
    """
    from scipy.special import fdtrc, stdtrit

    y, s, f = (np.asarray(x, dtype=np.float64).ravel() for x in (value, se, df))
    k = y.size
    if k < 2:
        raise ValueError(f"{k} segments: two are the least that can differ")
    if not (s > 0).all():
        raise ValueError("a standard error is 0: leave out segments in which nothing varied")
    weights = 1 / s**2
    weights /= weights.sum()
    t = (y - (weights * y).sum()) / s
    candidates = np.asarray(skewness, dtype=np.float64).reshape(-1, k)
    if candidates.size:
        t = stdtrit(f, guarded_p(t, f, candidates) / 2)
    loose = float(((1 - weights) ** 2 / f).sum())
    statistic = float((t**2).sum()) / (k - 1) / (1 + 2 * (k - 2) / (k * k - 1) * loose)
    below = (k * k - 1) / (3 * loose)
    return Heterogeneity(statistic, (k - 1.0, below), float(fdtrc(k - 1, below, statistic)))


def shrunken(value: ArrayLike, se: ArrayLike, df: ArrayLike, *, level: float = 0.95) -> Shrunken | None:
    """Each segment's effect pulled towards the common mean as far as its noise deserves; None for fewer than 4 segments.

    value, se, df: (k,) of reliable, disjoint segments of one dimension. True effects are taken as normal around their mean with
    variance A, found where sum (y - mean)^2 / (se^2 + A) = k - 1; the intervals carry the uncertainty of mean and A.

    Source: Morris (1983), JASA 78, for unequal variances; deviation: t limits with each segment's df.

    >>> s = shrunken([0.03, 0.00, 0.01, -0.01], [0.01] * 4, [100] * 4)
    >>> s.value.round(4).tolist(), round(s.between, 4)
    ([0.0274, 0.0009, 0.0097, -0.008], 0.0138)
    """
    from scipy.special import stdtrit

    y, variance, f = np.asarray(value, float).ravel(), np.asarray(se, float).ravel() ** 2, np.asarray(df, float).ravel()
    k = y.size
    if k < 4:
        return None
    between = _between(y, variance)
    weights = 1 / (variance + between)
    mean = float((weights * y).sum() / weights.sum())
    pull = (k - 3) / (k - 1) * variance * weights
    typical = float((weights * variance).sum() / weights.sum())
    unsure = 2 / (k - 3) * pull**2 * (typical + between) * weights
    spread = np.sqrt(variance * (1 - (1 - weights / weights.sum()) * pull) + unsure * (y - mean) ** 2)
    middle = (1 - pull) * y + pull * mean
    margin = stdtrit(f, (1 + level) / 2) * spread
    return Shrunken(middle, spread, middle - margin, middle + margin, between**0.5, mean)


def _between(y: Floats, variance: Floats) -> float:
    """The variance of true effects, >= 0: where sum (y - mean)^2 / (variance + A) falls to k - 1. Bisection."""

    def excess(a: float) -> float:
        w = 1 / (variance + a)
        return float((w * (y - (w * y).sum() / w.sum()) ** 2).sum()) - (y.size - 1)

    low, high = 0.0, float(((y - y.mean()) ** 2).sum())
    if excess(0.0) <= 0:
        return 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2
