"""Sufficient statistics of a stratum: they add, so days and shards merge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Moments:
    """Sufficient statistics of one stratum's values: they add, so days and shards merge.

    Held as mean and centred sums of squares and cubes, since plain sums lose every digit when the mean is large.
    Source: Chan, Golub, LeVeque (1983), eq. 2.1; cubes: Pebay (2008), SAND2008-6212, section 2.

    >>> Moments.of([0.5, 0.25]) + Moments.of([0.75]) == Moments.of([0.5, 0.25, 0.75])
    True
    """

    n: int
    mean: float
    centred_sq: float
    nonzero: int = 0
    centred_cubes: float = 0.0

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """values: (n,), n >= 1. Raises: ValueError for no values and for one that is not finite."""
        x = _finite(values)
        mean = float(x.mean())
        if np.all(x == x[0]):  # a constant has no variance, whatever rounding says
            return cls(x.size, float(x[0]), 0.0, int(np.count_nonzero(x)))
        off = x - mean
        squares = off * off
        return cls(x.size, mean, float(squares.sum()), int(np.count_nonzero(x)), float((squares * off).sum()))

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        gap = other.mean - self.mean
        mean = self.mean + gap * other.n / n
        spread = self.centred_sq + other.centred_sq + gap**2 * self.n * other.n / n
        cubes = gap**3 * self.n * other.n * (self.n - other.n) / n**2
        cubes += 3 * gap * (self.n * other.centred_sq - other.n * self.centred_sq) / n
        return Moments(n, mean, spread, self.nonzero + other.nonzero, self.centred_cubes + other.centred_cubes + cubes)

    @property
    def variance(self) -> float:
        """The unbiased variance, n - 1 below. Needs n >= 2."""
        return self.centred_sq / (self.n - 1)

    @property
    def third(self) -> float:
        """The unbiased third central moment; 0 below n = 3, where nothing is known of it."""
        return self.centred_cubes * self.n / ((self.n - 1) * (self.n - 2)) if self.n > 2 else 0.0


@dataclass(frozen=True, slots=True)
class PairedMoments:
    """Sufficient statistics of one stratum's (control, treatment minus control); they add.

    cross: centred sum of products of the two. Source: Chan, Golub, LeVeque (1983), eq. 2.1, bivariate.

    >>> PairedMoments.of([0.5, 0.7], [0.6, 0.9]).difference.n
    2
    """

    control: Moments
    difference: Moments
    cross: float

    @classmethod
    def of(cls, control: ArrayLike, treatment: ArrayLike) -> PairedMoments:
        """control, treatment: (n,), of the same queries in the same order."""
        c, t = _finite(control), _finite(treatment)
        if c.shape != t.shape:
            raise ValueError(f"{c.size} control and {t.size} treatment values: one of each query is needed, in the same order")
        d = t - c
        return cls(Moments.of(c), Moments.of(d), float(((c - c.mean()) * (d - d.mean())).sum()))

    def __add__(self, other: PairedMoments) -> PairedMoments:
        a, b = self.control, other.control
        gaps = (b.mean - a.mean) * (other.difference.mean - self.difference.mean)
        cross = self.cross + other.cross + gaps * a.n * b.n / (a.n + b.n)
        return PairedMoments(a + b, self.difference + other.difference, cross)


def _finite(values: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise ValueError("no values: there is nothing to estimate from")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"value {row} is not a finite number: leave missing queries out, and say so")
    return x
