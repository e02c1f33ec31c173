"""Thousands of segments in one pass: estimates, p-values that skewness does not fool, heterogeneity, shrunken effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import MINIMUM_DF, MINIMUM_NONZERO

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segments:
    """What each segment's queries say, (S,) each, in units of the metric.

    n, nonzero: sampled queries, and those whose difference is not 0. weight: queries that the segment stands for.
    measured: at least 2 queries; where False all that follows is NaN. value, se, df, low, high: as `stratified_difference`
    gives them. reliable: enough nonzero differences and degrees of freedom, and something varied. p: two-sided, NaN unless
    reliable. skewness: (C, S) the candidates for the skewness of `value`'s distribution that p and `interval` guard against.
    """

    n: Ints
    nonzero: Ints
    weight: Floats
    measured: NDArray[np.bool_]
    value: Floats
    se: Floats
    df: Floats
    low: Floats
    high: Floats
    reliable: NDArray[np.bool_]
    p: Floats
    skewness: Floats

    def interval(self, level: ArrayLike) -> tuple[Floats, Floats]:
        """(low, high), (S,) each, at one level or one for each: excludes 0 exactly where p <= 1 - level.

        The union of Student's interval and of those corrected for each candidate skewness.
        """
        return guarded_interval(self.value, self.se, self.df, self.skewness, level=level)


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


def segment_differences(
    differences: ArrayLike,
    strata: ArrayLike,
    segments: ArrayLike,
    populations: ArrayLike,
    *,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    guard: bool = True,
) -> Segments:
    """The mean paired difference in every segment, in units of the metric: `stratified_difference` of each, in one pass.

    differences: (Q,) of one experiment. strata: (Q,) 0 to H - 1. segments: (Q,) or (D, Q), 0 to S - 1 or -1 for none;
    dimensions number their segments on, so that one query lies in one segment of each. populations: (H,) queries of each
    stratum; one that lies across segments is shared out by its sampled queries. A stratum with one query, or with equal
    differences, in a segment takes that segment's pooled variance.
    guard: p is the largest of Student's and of those corrected for skewness: the segment's own, the whole experiment's, and
    that plus and minus its spread over segments. Few skewed differences understate their own skewness, hence the others.

    Source: Cochran (1977), eq. 5.6 and 5.16; skewness: Hall (1992), J. R. Statist. Soc. B 54, eq. 2.1 (monotone cubic).
    Raises: ValueError for arrays of different lengths, values that are not finite, and strata without a population.

    >>> s = segment_differences([0.1, 0.3, 0.0, 0.2], [0, 0, 1, 1], [[0, 0, 1, 1]], [10, 90], minimum_nonzero=0)
    >>> s.value.tolist(), s.n.tolist(), s.reliable.tolist()
    ([0.2, 0.1], [2, 2], [True, True])
    """
    d = _finite(differences)
    cells = _Cells.of(d, strata, segments, populations)
    nonzero = cells.per_segment(cells.nonzero).astype(np.int64)
    value, se, df = cells.spread(pool=True)
    measured = cells.n_of >= 2
    with np.errstate(invalid="ignore"):
        varied = measured & (se > 0)
        reliable = varied & (nonzero >= minimum_nonzero) & ((df >= MINIMUM_DF) | (minimum_nonzero == 0))
    skewness = _skewness(cells, d, nonzero, se, reliable) if guard else np.zeros((0, value.size))
    p = np.full(value.size, np.nan)
    p[reliable] = guarded_p(value[reliable] / se[reliable], df[reliable], skewness[:, reliable])
    low, high = guarded_interval(value, se, df, np.zeros((0, value.size)), level=level)
    return Segments(cells.n_of, nonzero, cells.weight_of, measured, value, se, df, low, high, reliable, p, skewness)


def segment_means(
    values: ArrayLike, strata: ArrayLike, segments: ArrayLike, populations: ArrayLike, *, level: float = 0.95
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """(value, se, df, low, high), (S,) each: `stratified_mean` of every segment in one pass, such as one arm's level.

    Arguments as `segment_differences`; a stratum with one query in a segment takes that segment's pooled variance.
    Source: Cochran (1977), eq. 5.6 and 5.16.

    >>> [round(float(x[0]), 3) for x in segment_means([0.6, 0.8, 0.3, 0.5], [0, 0, 1, 1], [0, 0, 0, 0], [10, 90])[:2]]
    [0.43, 0.091]
    """
    cells = _Cells.of(_finite(values), strata, segments, populations)
    value, se, df = cells.spread(pool=False)
    return value, se, df, *guarded_interval(value, se, df, np.zeros((0, value.size)), level=level)


def guarded_p(t: ArrayLike, df: ArrayLike, skewness: ArrayLike) -> Floats:
    """Two-sided p-values, (S,): the largest of Student's and of those that each candidate skewness makes of t.

    t, df: (S,). skewness: (C, S) of the estimates' own distributions, which for a mean of n alike is theirs / sqrt(n).
    Source: Hall (1992), eq. 2.1: t + g t^2/3 + g^2 t^3/27 + g/6 is nearly free of skewness g.

    >>> guarded_p([-2.5], [50], [[0.0], [0.5]]).round(3).tolist(), guarded_p([-2.5], [50], np.zeros((0, 1))).round(3).tolist()
    ([0.135], [0.016])
    """
    from scipy.special import stdtr

    x, g = np.asarray(t, dtype=np.float64), np.asarray(skewness, dtype=np.float64)
    corrected = x + g * x**2 / 3 + g**2 * x**3 / 27 + g / 6
    least = np.concatenate([x[None], corrected]) * np.sign(x)
    return np.asarray(2 * stdtr(np.asarray(df, dtype=np.float64), -np.maximum(least.min(axis=0), 0)))


def guarded_interval(
    value: Floats, se: Floats, df: Floats, skewness: ArrayLike, *, level: ArrayLike = 0.95
) -> tuple[Floats, Floats]:
    """(low, high), (S,) each: the union of Student's interval and of those corrected for each candidate skewness, (C, S).

    Excludes 0 exactly where `guarded_p` <= 1 - level. level: one, or (S,).
    Source: Hall (1992), section 2: the inverse of the cubic in `guarded_p`.

    >>> [x.round(3).tolist() for x in guarded_interval(np.array([1.0]), np.array([0.5]), np.array([50.0]), [[0.5]])]
    [[-0.004], [5.074]]
    """
    from scipy.special import stdtrit

    reach = stdtrit(df, (1 + np.asarray(level, dtype=np.float64)) / 2)
    g = np.asarray(skewness, dtype=np.float64)
    near = np.where(g == 0, 1.0, g)  # the cubic is the identity there
    ends = [np.where(g == 0, sign * reach, 3 / near * (np.cbrt(1 + near * (sign * reach - near / 6)) - 1)) for sign in (1, -1)]
    furthest = [np.concatenate([(sign * reach)[None], end]) for sign, end in zip((1, -1), ends, strict=True)]
    return value - se * furthest[0].max(axis=0), value - se * furthest[1].min(axis=0)


def heterogeneity(value: ArrayLike, se: ArrayLike, df: ArrayLike, skewness: ArrayLike = ()) -> Heterogeneity:
    """Do the segments differ in their effect at all? The test that they are all one, for k >= 2 disjoint segments.

    value, se, df: (k,) of reliable segments. skewness: (C, k) candidates; each segment's distance from the common mean counts
    only as far as they let it (`guarded_p`), since few skewed differences look more certain than they are.

    Source: Welch (1951), eq. 29 (Biometrika 38), with Satterthwaite's df of each segment.
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

    Source: Morris (1983), JASA 78, section 5 (unequal variances); deviation: t limits with each segment's df.

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


# --- inside ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cells:
    """Every occupied (segment, stratum), (K,) each: moments of its values and its weight inside the segment."""

    segment: Ints
    n: Floats
    nonzero: Floats
    mean: Floats
    squares: Floats  # centred sums of squares and of cubes
    cubes: Floats
    share: Floats
    n_of: Ints  # (S,)
    weight_of: Floats  # (S,)

    @classmethod
    def of(cls, values: Floats, strata: ArrayLike, segments: ArrayLike, populations: ArrayLike) -> _Cells:
        st, seg = np.asarray(strata, dtype=np.int64), np.atleast_2d(np.asarray(segments, dtype=np.int64))
        size = np.asarray(populations, dtype=np.float64)
        if st.shape != values.shape or seg.shape[1:] != values.shape:
            raise ValueError(f"{values.size} values, {st.size} strata, {seg.shape[-1]} segments: one of each query is needed")
        sampled = np.bincount(st, minlength=size.size)
        if sampled.size > size.size or not (size[sampled > 0] > 0).all():
            raise ValueError("a stratum was sampled but has no population: add it to the design, or drop its queries")
        flat, count = seg.ravel(), int(seg.max(initial=-1)) + 1
        key = flat * size.size + np.broadcast_to(st, seg.shape).ravel()
        kept = np.broadcast_to(values, seg.shape).ravel()
        if not (inside := flat >= 0).all():
            key, kept = key[inside], kept[inside]
        code, of = _numbered(key, count * size.size)
        segment, stratum = code // size.size, code % size.size
        n = np.bincount(of, minlength=code.size).astype(np.float64)
        first = np.empty(code.size)
        first[of[::-1]] = kept[::-1]
        equal = np.bincount(of, kept != first[of], code.size) == 0  # a constant has no variance, whatever rounding says
        mean = np.where(equal, first, np.bincount(of, kept, code.size) / n)
        centred = kept - mean[of]
        power = centred * centred
        squares = np.bincount(of, power, code.size).astype(np.float64)
        cubes = np.bincount(of, power * centred, code.size).astype(np.float64)
        nonzero = np.bincount(of, kept != 0, code.size).astype(np.float64)
        weight = n * (size / np.maximum(sampled, 1))[stratum]
        weight_of = np.bincount(segment, weight, count).astype(np.float64)
        n_of = np.bincount(segment, n, count).astype(np.int64)
        return cls(segment, n, nonzero, mean, squares, cubes, weight / weight_of[segment], n_of, weight_of)

    def per_segment(self, values: Floats) -> Floats:
        """The sum of `values` (K,) over each segment's cells, (S,)."""
        return np.asarray(np.bincount(self.segment, values, self.n_of.size))

    def spread(self, *, pool: bool) -> tuple[Floats, Floats, Floats]:
        """(value, se, Satterthwaite's df), (S,) each, NaN for fewer than 2 queries; the rules are those of stats.means."""
        parts = self.share * self.mean
        value, spare = self.per_segment(parts), self.per_segment(self.n - 1)
        pooled = self.per_segment(self.squares) / np.maximum(spare, 1)
        borrows = (self.n == 1) | (pool & (self.squares == 0))
        own = np.where(borrows, pooled[self.segment], self.squares / np.maximum(self.n - 1, 1))
        terms = self.share**2 * own / self.n
        variance = self.per_segment(terms)
        below = self.per_segment(terms**2 / np.maximum(np.where(borrows, spare[self.segment], self.n - 1), 1))
        df = np.where(below > 0, variance**2 / np.where(below > 0, below, 1), spare)
        # A segment whose strata have one query each: collapsed for the variance alone.
        strata = self.per_segment(np.ones_like(self.n))
        apart = self.per_segment((parts - (value / np.maximum(strata, 1))[self.segment]) ** 2)
        lone = spare == 0
        variance = np.where(lone, strata * apart / np.maximum(strata - 1, 1), variance)
        df = np.where(lone, strata - 1, df)
        value, se, df = (np.where(self.n_of < 2, np.nan, x) for x in (value, np.sqrt(variance), df))
        return value, se, df


def _numbered(key: Ints, size: int) -> tuple[Ints, Ints]:
    """(distinct keys, sorted; (n,) the number of each one's): by counting, unless the keys are spread too thin."""
    if size > 4 * key.size + 100_000:
        return np.unique(key, return_inverse=True)
    code = np.flatnonzero(np.bincount(key, minlength=size))
    number = np.empty(size, dtype=np.int64)
    number[code] = np.arange(code.size)
    return code, number[key]


def _skewness(cells: _Cells, d: Floats, nonzero: Ints, se: Floats, reliable: NDArray[np.bool_]) -> Floats:
    """(4, S): each segment's own skewness of `value`, the whole experiment's at its size, that plus and minus its spread.

    `unit` is what a nonzero difference of skewness 1 would give: zeros add neither size nor sign, so skewness goes by
    the differences that are not 0, and is comparable between segments with many and with few of them.
    """
    usable = cells.n > 2
    factor = np.where(usable, cells.n / np.maximum((cells.n - 1) * (cells.n - 2), 1), 0.0)
    weight = cells.share**3 / cells.n**2
    covered = cells.per_segment(weight * usable)
    third = cells.per_segment(weight * factor * cells.cubes) * cells.per_segment(weight) / np.where(covered > 0, covered, 1)
    own, unit, ok = np.zeros(se.size), np.zeros(se.size), reliable & (nonzero > 0)
    own[ok] = third[ok] / se[ok] ** 3
    flat = cells.per_segment(weight)[ok] / cells.per_segment(cells.share**2 / cells.n)[ok] ** 1.5
    unit[ok] = flat * np.sqrt(cells.n_of[ok] / nonzero[ok])
    x = d - d.mean()
    moved = (x**2).sum()
    whole = float((x**3).sum() / moved**1.5 * np.sqrt((d != 0).sum())) if moved > 0 else 0.0
    squared = float(np.mean((own[ok] / unit[ok]) ** 2)) if ok.any() else 0.0
    spread = max(squared - whole**2, 0.0) ** 0.5  # noise is in it: that errs on the safe side
    return np.stack([own, whole * unit, (whole + spread) * unit, (whole - spread) * unit])


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


def _finite(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise ValueError("no values: there is nothing to estimate from")
    if not np.isfinite(x).all():
        raise ValueError(f"value {int(np.flatnonzero(~np.isfinite(x))[0])} is not a finite number: leave missing queries out")
    return x
