"""Means of a stratified sample: levels, paired differences and relative lift, from sufficient statistics that add."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from germane.types import Estimate

MINIMUM_NONZERO = 30
"""Fewer nonzero paired differences than this, and no interval is to be relied on.

Source: our simulations (docs/statistics/means.md): with 80 % zeros t intervals cover 0.86 at n = 40.
"""

MINIMUM_DF = 10
"""With fewer degrees of freedom the interval rests on a handful of queries, and on their being normal."""

Lone = Literal["refuse", "borrow"]


@dataclass(frozen=True, slots=True)
class Moments:
    """Sufficient statistics of one stratum's values: they add, so days and shards merge.

    Held as mean and centred sum of squares, since sums of squares lose every digit when the mean is large.
    Source: Chan, Golub, LeVeque (1983), eq. 2.1.

    >>> Moments.of([0.5, 0.25]) + Moments.of([0.75]) == Moments.of([0.5, 0.25, 0.75])
    True
    """

    n: int
    mean: float
    centred_sq: float
    nonzero: int = 0

    @classmethod
    def of(cls, values: ArrayLike) -> Moments:
        """values: (n,), n >= 1. Raises: ValueError for no values and for one that is not finite."""
        x = _finite(values)
        mean = float(x.mean())
        if np.all(x == x[0]):  # a constant has no variance, whatever rounding says
            return cls(x.size, float(x[0]), 0.0, int(np.count_nonzero(x)))
        return cls(x.size, mean, float(((x - mean) ** 2).sum()), int(np.count_nonzero(x)))

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        gap = other.mean - self.mean
        mean = self.mean + gap * other.n / n
        spread = self.centred_sq + other.centred_sq + gap**2 * self.n * other.n / n
        return Moments(n, mean, spread, self.nonzero + other.nonzero)

    @property
    def variance(self) -> float:
        """The unbiased variance, n - 1 below. Needs n >= 2."""
        return self.centred_sq / (self.n - 1)


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


def stratified_mean(
    strata: Mapping[str, Moments], populations: Mapping[str, float], *, level: float = 0.95, lone: Lone = "refuse"
) -> Estimate:
    """The mean in the population that the strata stand for, in units of the metric: a level such as sDCG@25 of one arm.

    strata: stratum -> moments of its sampled queries. populations: stratum -> its number of queries. lone: what becomes of
    a stratum of one query, which has no variance of its own: "refuse", or "borrow" that of the others (see `_spread`).
    Satterthwaite's degrees of freedom; no finite-population correction, since the target is future queries.

    Source: Cochran, Sampling Techniques (1977), eq. 5.1, 5.6 and 5.16.
    Raises: ValueError for a stratum with fewer than two queries, or with no population.

    >>> e = stratified_mean({"head": Moments.of([0.6, 0.8]), "tail": Moments.of([0.3, 0.5])}, {"head": 10, "tail": 90})
    >>> round(e.value, 3), round(e.se, 4), e.n
    (0.43, 0.0906, 4)
    """
    return _stratified(strata, populations, level, "stratified mean" if len(strata) > 1 else "mean", lone=lone)


def stratified_difference(
    strata: Mapping[str, Moments],
    populations: Mapping[str, float],
    *,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    lone: Lone = "refuse",
) -> Estimate:
    """The mean paired difference in the population that the strata stand for, in units of the metric.

    strata: stratum -> moments of its sampled queries' differences. populations: stratum -> its number of queries.
    A stratum whose differences are all equal has no variance by luck: it takes the pooled one, with its degrees of
    freedom. lone: as in `stratified_mean`. Below `minimum_nonzero` differences that are not 0, or `MINIMUM_DF` degrees of
    freedom, the estimate carries a caveat.

    Source: Cochran, Sampling Techniques (1977), eq. 5.6 and 5.16.
    Raises: ValueError for a stratum with fewer than two queries, or with no population.

    >>> e = stratified_difference({"head": Moments.of([0.1, 0.3]), "tail": Moments.of([0.0, 0.2])}, {"head": 10, "tail": 90})
    >>> round(e.value, 3), round(e.se, 4), e.n, e.caveat
    (0.11, 0.0906, 4, 'not reliable: 3 of 4 differences are not zero, 30 are needed')
    """
    method = "stratified paired difference" if len(strata) > 1 else "paired difference"
    nonzero, n = sum(m.nonzero for m in strata.values()), sum(m.n for m in strata.values())
    found = _stratified(strata, populations, level, method, pool=True, lone=lone)
    caveat = found.caveat
    if nonzero < minimum_nonzero:
        caveat = f"not reliable: {nonzero} of {n} differences are not zero, {minimum_nonzero} are needed"
    elif minimum_nonzero and found.se > 0 and found.df is not None and found.df < MINIMUM_DF:
        caveat = f"not reliable: the variance rests on few queries of large strata ({found.df:.1f} degrees of freedom)"
    return replace(found, caveat=caveat)


def relative_lift(
    strata: Mapping[str, PairedMoments], populations: Mapping[str, float], *, level: float = 0.95, lone: Lone = "refuse"
) -> Estimate:
    """The difference divided by the control's mean (0.02 = two per cent better), by the delta method per stratum.

    Var(R) = (Var theta - 2 R Cov(theta, mu_C) + R^2 Var mu_C) / mu_C^2, which is the variance of the stratified mean of
    the linearised values (d - R c) / mu_C; the interval uses that mean's degrees of freedom.

    Source: Cochran (1977), eq. 6.51 (combined ratio estimate); Deng, Knoblich, Lu (2018), delta method.
    Raises: ValueError where the control's mean is not above 0, and as `stratified_difference`.

    >>> e = relative_lift({"all": PairedMoments.of([0.5, 0.7], [0.6, 0.9])}, {"all": 2})
    >>> round(e.value, 3), round(e.se, 4)
    (0.25, 0.0417)
    """
    base = stratified_mean({name: m.control for name, m in strata.items()}, populations, level=level, lone=lone)
    gain = stratified_difference({name: m.difference for name, m in strata.items()}, populations, level=level, lone=lone)
    if base.value <= 0:
        raise ValueError(f"the control's mean is {base.value}: a relative lift needs one above 0")
    ratio = gain.value / base.value
    pooled = _pooled_variance([m.difference for m in strata.values()])
    linearised = {name: _linearised(m, ratio, base.value, pooled) for name, m in strata.items()}
    spread = _stratified(linearised, populations, level, "", lone=lone)
    margin = spread.high - spread.value
    method = "relative lift, delta method"
    return Estimate(ratio, spread.se, ratio - margin, ratio + margin, gain.n, method, level, spread.df, gain.caveat)


def p_value(estimate: Estimate, *, null: float = 0.0) -> float:
    """The two-sided p-value of `value == null` under the estimate's own t (or normal) reference.

    Raises: ValueError where the standard error is 0: nothing varied, so there is nothing to test.

    >>> round(p_value(Estimate(0.02, 0.01, 0, 0, 100, "mean", df=99)), 4)
    0.0482
    """
    from scipy.special import ndtr, stdtr

    if not estimate.se > 0:
        raise ValueError("the standard error is 0: every difference was the same, and a p-value would mean nothing")
    z = abs(estimate.value - null) / estimate.se
    return float(2 * (ndtr(-z) if estimate.df is None else stdtr(estimate.df, -z)))


def t_quantile(probability: float, df: float | None) -> float:
    """The quantile of Student's t, or of the normal where df is None.

    >>> round(t_quantile(0.975, None), 4), round(t_quantile(0.975, 10), 4)
    (1.96, 2.2281)
    """
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if df is None else stdtrit(df, probability))


def _stratified(
    strata: Mapping[str, Moments],
    populations: Mapping[str, float],
    level: float,
    method: str,
    *,
    pool: bool = False,
    lone: Lone = "refuse",
) -> Estimate:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give one between 0 and 1, as 0.95")
    if not strata:
        raise ValueError("no strata: there is nothing to estimate from")
    n = sum(m.n for m in strata.values())
    for name, moments in strata.items():
        if populations.get(name, 0) <= 0:
            raise ValueError(f"stratum {name!r} was sampled but has no population: add it to the design, or drop its queries")
        if moments.n < 2 and (lone == "refuse" or n < 2):
            raise ValueError(f"stratum {name!r} has {moments.n} judged queries; 2 are needed for a variance: collapse it first")
    size = sum(populations[name] for name in strata)
    weights = {name: populations[name] / size for name in strata}
    value = sum(weights[name] * m.mean for name, m in strata.items())
    variance, df = _spread(strata, weights, pool)
    if variance == 0:
        return Estimate(
            value, 0.0, value, value, n, method, level, df, "nothing varied: every sampled query has the same value"
        )
    margin = t_quantile((1 + level) / 2, df) * sqrt(variance)
    return Estimate(value, sqrt(variance), value - margin, value + margin, n, method, level, df)


def _spread(strata: Mapping[str, Moments], weights: Mapping[str, float], pool: bool) -> tuple[float, float]:
    """(variance of the stratified mean, Satterthwaite's degrees of freedom).

    A stratum of one query, and with `pool` one whose values are all equal, takes the variance pooled over all strata and
    its degrees of freedom. If every stratum has one query, the strata are collapsed for the variance alone; that errs
    on the large side. Source: Cochran (1977), section 5A.12; Wolter (2007), eq. 2.5.4.
    """
    spare = sum(m.n - 1 for m in strata.values())
    if not spare:
        parts = np.array([weights[name] * m.mean for name, m in strata.items()])
        return float(parts.size * parts.var(ddof=1)), float(parts.size - 1)
    pooled = _pooled_variance(strata.values())
    variance, below = 0.0, 0.0
    for name, m in strata.items():
        borrows = m.n == 1 or (pool and m.centred_sq == 0)
        term = weights[name] ** 2 * (pooled if borrows else m.variance) / m.n
        variance += term
        below += term**2 / (spare if borrows else m.n - 1)
    return variance, variance**2 / below if below > 0 else float(spare)


def _pooled_variance(moments: Collection[Moments]) -> float:
    """The variance inside strata, taken over all of them: what a stratum without one borrows."""
    return sum(m.centred_sq for m in moments) / max(sum(m.n - 1 for m in moments), 1)


def _linearised(m: PairedMoments, ratio: float, base: float, pooled: float) -> Moments:
    """Moments of (d - R c) / mu_C from the paired ones; equal differences borrow the pooled variance here too."""
    moved = m.difference.centred_sq or pooled * (m.difference.n - 1)
    spread = moved - 2 * ratio * m.cross + ratio**2 * m.control.centred_sq
    mean = (m.difference.mean - ratio * m.control.mean) / base
    return Moments(m.difference.n, mean, max(spread, 0.0) / base**2, m.difference.nonzero)


def _finite(values: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size == 0:
        raise ValueError("no values: there is nothing to estimate from")
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x))[0])
        raise ValueError(f"value {row} is not a finite number: leave missing queries out, and say so")
    return x
