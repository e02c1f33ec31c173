"""Moments of every (segment, stratum) that has queries, in one pass, and the spread of each segment's stratified mean."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import SMALL, THIN, UNDERSAMPLED
from germane.types import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Spread(NamedTuple):
    """(S,) each: a stratified mean, its standard error, degrees of freedom, skewness; NaN under 2 queries."""

    value: Floats
    se: Floats
    df: Floats
    skewness: Floats


@dataclass(frozen=True, slots=True)
class Cells:
    """Every (segment, stratum) that has queries, (K,) each: moments of its values, and its share of the segment.

    Several experiments on one design follow each other, with segments of their own.
    """

    segment: Ints
    n: Floats
    nonzero: Floats
    mean: Floats
    squares: Floats  # centred sums of squares and of cubes
    cubes: Floats
    share: Floats
    part: Floats  # of its stratum's sampled queries, those that lie in the segment: 0 to 1
    n_of: Ints  # (S,) queries of each segment
    weight_of: Floats  # (S,) queries that it stands for

    @classmethod
    def of(cls, values: Floats, strata: ArrayLike, segments: ArrayLike, populations: ArrayLike) -> Cells:
        st, seg = np.asarray(strata, dtype=np.int64), np.atleast_2d(np.asarray(segments, dtype=np.int64))
        size = np.asarray(populations, dtype=np.float64)
        if seg.shape[1:] != st.shape or values.shape[1:] != st.shape:
            raise ValueError(
                f"{values.shape[1]} values, {st.size} strata, {seg.shape[1]} segments: one of each query is needed"
            )
        sampled = np.bincount(st, minlength=size.size)
        _check(size, sampled)
        count, times = int(seg.max(initial=-1)) + 1, values.shape[0]
        key = (seg * size.size + st).ravel()
        kept = np.broadcast_to(values[:, None], (times, *seg.shape)).reshape(times, -1)
        if not (inside := seg.ravel() >= 0).all():
            key, kept = key[inside], kept[:, inside]
        code, of = _numbered(key, count * size.size)
        segment, stratum = code // size.size, code % size.size
        n = np.bincount(of, minlength=code.size).astype(np.float64)
        weight = n * (size / np.maximum(sampled, 1))[stratum]
        weight_of = np.bincount(segment, weight, count).astype(np.float64)
        n_of = np.bincount(segment, n, count).astype(np.int64)
        share, part = weight / weight_of[segment], n / sampled[stratum]
        if times > 1:
            of = _repeated(of, times, code.size)
            segment = _repeated(segment, times, count)
            n, share, part, weight_of = (np.tile(x, times) for x in (n, share, part, weight_of))
            n_of = np.tile(n_of, times)
        moments = _moments(kept.ravel(), of, n)
        return cls(segment, n, *moments, share, part, n_of, weight_of)

    def per_segment(self, values: Floats) -> Floats:
        """The sum of `values` (K,) over each segment's cells, (S,)."""
        return np.asarray(np.bincount(self.segment, values, self.n_of.size))

    def spread(self, *, thin: bool) -> Spread:
        """By the rules of `stats.means`: a cell of one query, or an undersampled one that does not vary, takes the variance
        pooled over its segment; with `thin` those with few nonzero values share a third moment; and what `_mixing` adds."""
        lone = self.n == 1
        scarce = ~lone & ((self.nonzero < THIN) | (self.squares == 0)) & thin
        together = scarce & (self.per_segment(self.squares * scarce) > 0)[self.segment]
        borrows = lone | (scarce & ~together)
        spare = self.per_segment(self.n - 1)
        square = self.share * self.share / self.n
        cubed = square * self.share / self.n
        third = np.zeros(self.n_of.size)
        for takers, lenders in ((together, together), (borrows, np.ones_like(lone))):
            if takers.any():
                third += self.per_segment(cubed * takers) * self._pooled(lenders)[2]
        own = ~together & ~borrows
        third += self.per_segment(np.where(own, cubed * _third(self.n, self.cubes), 0.0))
        thinly = self.share > UNDERSAMPLED * self.n / self.n_of[self.segment]
        lent = lone | ((self.squares == 0) & thinly)
        each, df_of = self.squares / np.maximum(self.n - 1, 1), self.n - 1
        if lent.any():
            each = np.where(lent, self._pooled(np.ones_like(lone))[0][self.segment], each)
            df_of = np.where(lent, spare[self.segment], df_of)
        part = square * each
        few = 2.0 * (self.per_segment(np.where(self.n < SMALL, 1.0, 0.0)) >= SMALL)
        variance, below = self.per_segment(part), self.per_segment(part * part / np.maximum(df_of + few[self.segment], 1))
        least = np.full(self.n_of.size, np.inf)
        np.minimum.at(least, self.segment[part > 0], df_of[part > 0])
        mixing, unsure, lean = self._mixing(each, variance)
        variance, below, third = variance + mixing, below + unsure, third + lean
        df = np.where(below > 0, np.maximum(variance**2 / np.where(below > 0, below, 1) - few, np.minimum(least, spare)), spare)
        df = np.where(mixing > 0, np.minimum(df, self.n_of - 1), df)
        skewness = np.where(variance > 0, third / np.where(variance > 0, variance, 1) ** 1.5, 0.0)
        return self._collapsed(spare == 0, variance, df, skewness)

    def _mixing(self, each: Floats, variance: Floats) -> tuple[Floats, Floats, Floats]:
        """(variance, its part of Satterthwaite's sum, third moment), (S,) each, that strata partly inside a segment add.

        How many of such a stratum's m sampled queries lie in the segment is left to chance, so strata of unlike means come in
        random proportions. With z = d - R inside the segment and 0 outside, the variance of the estimate R is that of the
        strata's means of z; f inside, it exceeds the spread within cells by share^2 / n (1 - f) m / (m - 1) (mean - R)^2, of
        which the noise of mean - R is taken off. Nothing where all strata lie wholly inside, or all means are alike.
        each: (K,) variance of a cell's values. variance: (S,) that of the estimate by the spread within.

        Source: Cochran, Sampling Techniques (1977), sec. 2.13 and 5A.14 (domains); Sarndal, Swensson, Wretman (1992), ch. 10.
        """
        crosses = self.part < 1
        if not crosses.any():
            return (np.zeros(self.n_of.size),) * 3
        off = self.mean - self.per_segment(self.share * self.mean)[self.segment]
        sampled = self.n / self.part
        left = np.where(crosses, (1 - self.part) * sampled / np.maximum(sampled - 1, 1), 0.0)
        of_mean = each / self.n
        weight = self.share * self.share / self.n * left
        noise = of_mean * (1 - 2 * self.share) + variance[self.segment]
        found = self.per_segment(weight * (off * off - noise))
        found = np.where(found > 1e-9 * variance, found, 0.0)
        unsure = self.per_segment(2 * (weight * off) ** 2 * of_mean)
        lean = self.per_segment(weight * self.share / self.n * off * (3 * each + off * off * (1 - 2 * self.part)))
        return found, np.where(found > 0, unsure, 0.0), np.where(found > 0, lean, 0.0)

    def _collapsed(self, lone: NDArray[np.bool_], variance: Floats, df: Floats, skewness: Floats) -> Spread:
        """The spread, where segments whose strata have one query each are collapsed for the variance alone."""
        parts = self.share * self.mean
        value, strata = self.per_segment(parts), self.per_segment(np.ones_like(self.n))
        apart = self.per_segment((parts - (value / np.maximum(strata, 1))[self.segment]) ** 2)
        variance = np.where(lone, strata * apart / np.maximum(strata - 1, 1), variance)
        df, skewness = np.where(lone, strata - 1, df), np.where(lone, 0.0, skewness)
        few = self.n_of < 2
        return Spread(*(np.where(few, np.nan, x) for x in (value, np.sqrt(variance), df, skewness)))

    def _pooled(self, lenders: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        """(variance inside, its degrees of freedom, third central moment about the joint mean), (S,) each, of some cells."""
        n = self.n * lenders
        size = self.per_segment(n)
        off = self.mean - (self.per_segment(n * self.mean) / np.maximum(size, 1))[self.segment]
        cubes = self.per_segment((self.cubes + 3 * off * self.squares + self.n * off * off * off) * lenders)
        df = self.per_segment((self.n - 1) * lenders)
        return self.per_segment(self.squares * lenders) / np.maximum(df, 1), df, _third(size, cubes)


def _moments(x: Floats, of: Ints, n: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """(nonzero, mean, centred squares, centred cubes), (K,) each, of the values x (E,) that lie in the cells `of` (E,)."""
    first = np.empty(n.size)
    first[of[::-1]] = x[::-1]
    equal = np.bincount(of, x != first[of], n.size) == 0  # a constant has no variance, whatever rounding says
    mean = np.where(equal, first, np.bincount(of, x, n.size) / n)
    centred = x - mean[of]
    power = centred * centred
    nonzero, squares, cubes = (np.bincount(of, y, n.size).astype(np.float64) for y in (x != 0, power, power * centred))
    return nonzero, mean, squares, cubes


def _check(size: Floats, sampled: Ints) -> None:
    """Raises: InputError where a sampled stratum has no population, or any has one that is no number of queries."""
    told = "add it to the design, or drop its queries"
    if sampled.size > size.size:
        raise InputError(f"stratum {size.size} was sampled but has no population: {told}")
    if wrong := np.flatnonzero(~(np.isfinite(size) & (size >= 0))).tolist():
        raise InputError(f"stratum {wrong[0]} has a population of {size[wrong[0]]}: a finite number above 0 is needed")
    if wrong := np.flatnonzero((sampled > 0) & (size == 0)).tolist():
        raise InputError(f"stratum {wrong[0]} was sampled but has no population: {told}")
    if not isfinite(sum(size.tolist())):
        raise InputError("the strata's populations add up to no finite number: give them in a larger unit")


def _repeated(number: Ints, times: int, size: int) -> Ints:
    """The numbers 0 to size - 1 once for each experiment, those of the next one following."""
    return (number + size * np.arange(times)[:, None]).ravel()


def _third(n: Floats, cubes: Floats) -> Floats:
    """The unbiased third central moment, 0 below n = 3."""
    return np.where(n > 2, cubes * n / np.maximum((n - 1) * (n - 2), 1), 0.0)


def _numbered(key: Ints, size: int) -> tuple[Ints, Ints]:
    """(distinct keys, sorted; (n,) the number of each one's): by counting, unless the keys are spread too thin."""
    if size > 4 * key.size + 100_000:
        return np.unique(key, return_inverse=True)
    code = np.flatnonzero(np.bincount(key, minlength=size))
    number = np.empty(size, dtype=np.int64)
    number[code] = np.arange(code.size)
    return code, number[key]
