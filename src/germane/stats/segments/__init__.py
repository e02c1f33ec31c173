"""Thousands of segments in one pass: estimates, p-values that skewness does not fool, heterogeneity, shrunken effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import MINIMUM_DF, MINIMUM_NONZERO, reliable
from germane.stats.segments.cells import Cells, Spread
from germane.stats.segments.dimension import Heterogeneity, Shrunken, heterogeneity, shrunken
from germane.stats.segments.guard import candidates, guarded_interval, guarded_p
from germane.stats.skewness import LEANS, MOST, SHY
from germane.types import Estimate

__all__ = [
    "Heterogeneity",
    "Segments",
    "Shrunken",
    "guarded_interval",
    "guarded_p",
    "heterogeneity",
    "segment_differences",
    "segment_means",
    "shrunken",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NOTHING_VARIED = "nothing varied: every sampled query has the same value"


@dataclass(frozen=True, slots=True)
class Segments:
    """What each segment's queries say, (S,) each, in units of the metric.

    n, nonzero, strata: sampled queries, those whose difference is not 0, and strata. weight: queries that it stands for.
    measured: at least 2 queries; where False all that follows is NaN. value, se, df, low, high, lean (the skewness of
    `value`): as `stratified_difference` has them where no stratum lies across segments. reliable: there is no caveat. p:
    two-sided, NaN unless reliable. skewness: (C, S) candidates that p and `interval` guard against.
    """

    n: Ints
    nonzero: Ints
    strata: Ints
    weight: Floats
    measured: NDArray[np.bool_]
    value: Floats
    se: Floats
    df: Floats
    low: Floats
    high: Floats
    lean: Floats
    reliable: NDArray[np.bool_]
    p: Floats
    skewness: Floats
    level: float
    minimum_nonzero: int

    def estimate(self, s: int) -> Estimate:
        """Segment s, which must be measured, as an Estimate, with the method and caveat of `stratified_difference`."""
        leans = self.se[s] > 0 and abs(self.lean[s]) > LEANS
        method = ("stratified " if self.strata[s] > 1 else "") + "paired difference"
        method += ", limits corrected for skewness" if leans else ""
        value, se, low, high = (float(x[s]) for x in (self.value, self.se, self.low, self.high))
        caveat = "" if se > 0 else NOTHING_VARIED
        found = Estimate(value, se, low, high, int(self.n[s]), method, self.level, float(self.df[s]), caveat)
        return reliable(found, int(self.nonzero[s]), self.minimum_nonzero)

    def interval(self, level: ArrayLike) -> tuple[Floats, Floats]:
        """(low, high), (S,) each, at one level or one for each: excludes 0 exactly where p <= 1 - level.

        The union of Student's interval and of those corrected for each candidate skewness.
        """
        return guarded_interval(self.value, self.se, self.df, self.skewness, level=level)


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
    """The mean paired difference in every segment, in units of the metric, in one pass.

    It is `stratified_difference` of each segment whose strata lie wholly inside it.

    differences: (Q,), or (E, Q) of E experiments on one design, whose segments then follow each other. strata: (Q,) 0 to
    H - 1. segments: (Q,) or (D, Q), 0 to S - 1 or -1 for none; dimensions number their segments on, so that one query lies
    in one segment of each. populations: (H,) queries of each stratum; one that lies across segments is shared out by its
    sampled queries, and as that share is left to chance, strata of unlike effects add to the variance. A stratum with one
    query, or with equal differences, in a segment takes that segment's pooled variance.
    guard: p is the largest of Student's and of those corrected for skewness: the segment's own, the whole experiment's, and
    that plus and minus its spread over segments. Few skewed differences understate their own skewness, hence the others.

    Source: Cochran (1977), eq. 5.6 and 5.16, sec. 5A.14 (domains); Hall (1992), J. R. Statist. Soc. B 54 (monotone cubic).
    Raises: ValueError for arrays of different lengths, values that are not finite, and senseless populations.

    >>> s = segment_differences([0.1, 0.3, 0.0, 0.2], [0, 0, 1, 1], [[0, 0, 1, 1]], [10, 90], minimum_nonzero=0)
    >>> s.value.tolist(), s.n.tolist(), s.reliable.tolist()
    ([0.2, 0.1], [2, 2], [True, True])
    """
    d = _finite(differences)
    cells = Cells.of(d, strata, segments, populations)
    nonzero = cells.per_segment(cells.nonzero).astype(np.int64)
    found = cells.spread(thin=True)
    with np.errstate(invalid="ignore"):
        varied = found.se > 0
        usable = varied & (nonzero >= minimum_nonzero) & ((found.df >= MINIMUM_DF) | (minimum_nonzero == 0))
    p, skewness = np.full(nonzero.size, np.nan), np.zeros((0, nonzero.size))
    if guard:
        skewness = candidates(np.where(usable, found.skewness, 0.0), _unit(cells, nonzero, usable), d)
    p[usable] = guarded_p(found.value[usable] / found.se[usable], found.df[usable], skewness[:, usable])
    low, high = _limits(found, level, lean=True)
    return Segments(
        n=cells.n_of,
        nonzero=nonzero,
        strata=cells.per_segment(np.ones_like(cells.n)).astype(np.int64),
        weight=cells.weight_of,
        measured=cells.n_of >= 2,
        value=found.value,
        se=found.se,
        df=found.df,
        low=low,
        high=high,
        lean=found.skewness,
        reliable=usable,
        p=p,
        skewness=skewness,
        level=level,
        minimum_nonzero=minimum_nonzero,
    )


def segment_means(
    values: ArrayLike, strata: ArrayLike, segments: ArrayLike, populations: ArrayLike, *, level: float = 0.95
) -> tuple[Estimate | None, ...]:
    """The mean of every segment, such as one arm's level: `stratified_mean` of each, in one pass; None under 2 queries.

    Arguments and strata that lie across segments as in `segment_differences`; a stratum with one query in a segment takes
    that segment's pooled variance.
    Source: Cochran (1977), eq. 5.6 and 5.16; domains: sec. 5A.14.

    >>> (e,) = segment_means([0.6, 0.8, 0.3, 0.5], [0, 0, 1, 1], [0, 0, 0, 0], [10, 90])
    >>> round(e.value, 3), round(e.se, 4), e.n
    (0.43, 0.0906, 4)
    """
    cells = Cells.of(_finite(values), strata, segments, populations)
    found = cells.spread(thin=False)
    low, high = _limits(found, level, lean=False)
    several = cells.per_segment(np.ones_like(cells.n)) > 1
    numbers = np.stack([found.value, found.se, low, high, found.df], axis=1).tolist()
    means: list[Estimate | None] = []
    for (value, se, least, most, df), n, many in zip(numbers, cells.n_of.tolist(), several.tolist(), strict=True):
        method, caveat = "stratified mean" if many else "mean", "" if se > 0 else NOTHING_VARIED
        means.append(Estimate(value, se, least, most, n, method, level, df, caveat) if n >= 2 else None)
    return tuple(means)


def _limits(found: Spread, level: float, *, lean: bool) -> tuple[Floats, Floats]:
    """(low, high), (S,) each: t limits, with `lean` corrected for skewness as `skewness.reaches` does one by one."""
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give one between 0 and 1, as 0.95")
    reach = np.asarray(stdtrit(found.df, (1 + level) / 2))
    g = np.minimum(np.abs(found.skewness), MOST)
    leans = (g > LEANS) & lean
    g = np.where(leans, g, 1.0)
    short, long = (3 / g * (np.cbrt(1 + g * (z - g / 6)) - 1) for z in (reach, -reach))  # the inverse of Hall's cubic
    near = np.where(leans, reach + SHY * (short - reach), reach)
    far = np.where(leans, np.maximum(reach, -long), reach)
    right = found.skewness > 0
    return found.value - np.where(right, near, far) * found.se, found.value + np.where(right, far, near) * found.se


def _unit(cells: Cells, nonzero: Ints, usable: NDArray[np.bool_]) -> Floats:
    """(S,): the skewness of a segment's estimate if its nonzero differences had a skewness of 1; 0 where not reliable."""
    unit, ok = np.zeros(nonzero.size), usable & (nonzero > 0)
    flat = cells.per_segment((cells.share / cells.n) ** 2 * cells.share)[ok]
    flat /= cells.per_segment(cells.share**2 / cells.n)[ok] ** 1.5
    unit[ok] = flat * np.sqrt(cells.n_of[ok] / nonzero[ok])
    return unit


def _finite(values: ArrayLike) -> Floats:
    """(E, Q): the values, of one experiment or of several."""
    x = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if x.size == 0:
        raise ValueError("no values: there is nothing to estimate from")
    if not np.isfinite(x).all():
        raise ValueError(f"value {int(np.flatnonzero(~np.isfinite(x))[0])} is not a finite number: leave missing queries out")
    return x
