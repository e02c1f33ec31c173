"""Thousands of segments in one pass: estimates, p-values that skewness does not fool, heterogeneity, shrunken effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import MINIMUM_DF, MINIMUM_NONZERO
from germane.stats.segments.cells import Cells, Spread
from germane.stats.segments.dimension import Heterogeneity, Shrunken, heterogeneity, shrunken
from germane.stats.segments.guard import candidates, guarded_interval, guarded_p
from germane.stats.skewness import LEANS, SHY

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
    cells = Cells.of(d, strata, segments, populations)
    nonzero = cells.per_segment(cells.nonzero).astype(np.int64)
    found = cells.spread(thin=True)
    with np.errstate(invalid="ignore"):
        varied = found.se > 0
        reliable = varied & (nonzero >= minimum_nonzero) & ((found.df >= MINIMUM_DF) | (minimum_nonzero == 0))
    p, skewness = np.full(nonzero.size, np.nan), np.zeros((0, nonzero.size))
    if guard:
        skewness = candidates(np.where(reliable, found.skewness, 0.0), _unit(cells, nonzero, reliable), d)
    p[reliable] = guarded_p(found.value[reliable] / found.se[reliable], found.df[reliable], skewness[:, reliable])
    low, high = _limits(found, level, lean=True)
    measured = cells.n_of >= 2
    rest = (found.value, found.se, found.df, low, high, reliable, p, skewness)
    return Segments(cells.n_of, nonzero, cells.weight_of, measured, *rest)


def segment_means(
    values: ArrayLike, strata: ArrayLike, segments: ArrayLike, populations: ArrayLike, *, level: float = 0.95
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """(value, se, df, low, high), (S,) each: `stratified_mean` of every segment in one pass, such as one arm's level.

    Arguments as `segment_differences`; a stratum with one query in a segment takes that segment's pooled variance.
    Source: Cochran (1977), eq. 5.6 and 5.16.

    >>> [round(float(x[0]), 3) for x in segment_means([0.6, 0.8, 0.3, 0.5], [0, 0, 1, 1], [0, 0, 0, 0], [10, 90])[:2]]
    [0.43, 0.091]
    """
    cells = Cells.of(_finite(values), strata, segments, populations)
    found = cells.spread(thin=False)
    return found.value, found.se, found.df, *_limits(found, level, lean=False)


def _limits(found: Spread, level: float, *, lean: bool) -> tuple[Floats, Floats]:
    """(low, high), (S,) each: t limits, with `lean` corrected for skewness as `skewness.reaches` does one by one."""
    from scipy.special import stdtrit

    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give one between 0 and 1, as 0.95")
    reach = np.asarray(stdtrit(found.df, (1 + level) / 2))
    g = np.abs(found.skewness)
    leans = (g > LEANS) & lean
    g = np.where(leans, g, 1.0)
    short, long = (3 / g * (np.cbrt(1 + g * (z - g / 6)) - 1) for z in (reach, -reach))  # the inverse of Hall's cubic
    near = np.where(leans, reach + SHY * (short - reach), reach)
    far = np.where(leans, np.maximum(reach, -long), reach)
    right = found.skewness > 0
    return found.value - np.where(right, near, far) * found.se, found.value + np.where(right, far, near) * found.se


def _unit(cells: Cells, nonzero: Ints, reliable: NDArray[np.bool_]) -> Floats:
    """(S,): the skewness of a segment's estimate if its nonzero differences had a skewness of 1; 0 where not reliable."""
    unit, ok = np.zeros(nonzero.size), reliable & (nonzero > 0)
    spread = cells.per_segment(cells.share**2 / cells.n)[ok] ** 1.5
    unit[ok] = cells.per_segment(cells.share**3 / cells.n**2)[ok] / spread * np.sqrt(cells.n_of[ok] / nonzero[ok])
    return unit


def _finite(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise ValueError("no values: there is nothing to estimate from")
    if not np.isfinite(x).all():
        raise ValueError(f"value {int(np.flatnonzero(~np.isfinite(x))[0])} is not a finite number: leave missing queries out")
    return x
