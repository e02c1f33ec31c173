"""Means of a stratified sample: levels, paired differences and relative lift, from sufficient statistics that add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from math import isfinite, sqrt
from typing import Literal

import numpy as np

from germane.stats.moments import Moments, PairedMoments
from germane.stats.skewness import LEANS, quantile_at, reaches, skewness_of
from germane.types import Estimate, InputError

MINIMUM_NONZERO = 30
"""Fewer nonzero paired differences than this, and no interval is to be relied on.

Source: our simulations (docs/statistics/means.md): with 80 % zeros t intervals cover 0.86 at n = 40.
"""

MINIMUM_DF = 10
"""With fewer degrees of freedom the interval rests on a handful of queries, and on their being normal."""

THIN = 5
"""Strata with fewer nonzero differences than this share one third moment: their own says nothing of skewness.

They keep their own variances: a pooled one is biased where W_h is not proportional to m_h (floors, equal allocation), and
covered 0.70 to 0.87 there; their own, with Welch's degrees of freedom, cover 0.94 to 0.96 in all of our simulations.
"""

SMALL = 5
"""With so many strata of fewer queries each, Satterthwaite's degrees of freedom are too few: with two each 0.98 is covered."""

UNDERSAMPLED = 2.0
"""A stratum whose queries each stand for more than so many times the average, and whose values are all equal, shows no
variance by luck and could hide much: it takes the pooled one."""

Lone = Literal["refuse", "borrow"]
Limits = Literal["corrected", "t"]


def stratified_mean(
    strata: Mapping[str, Moments],
    populations: Mapping[str, float],
    *,
    level: float = 0.95,
    lone: Lone = "refuse",
    finite: bool = False,
) -> Estimate:
    """The mean in the population that the strata stand for, in units of the metric: a level such as sDCG@25 of one arm.

    strata: stratum -> moments of its sampled queries. populations: stratum -> its number of queries. lone: what becomes of
    a stratum of one query, which has no variance of its own: "refuse", or "borrow" that of the others (see `variance_groups`).
    finite: the target is this population and not future queries, so that each stratum's term shrinks by 1 - m_h / N_h.
    Satterthwaite's degrees of freedom, t limits.

    Source: Cochran, Sampling Techniques (1977), eq. 5.1, 5.6, 5.16; with `finite` eq. 5.12.
    Raises: ValueError for a stratum with fewer than two queries, or with no population; with `finite` also for one with
    more sampled queries than its population has.

    >>> e = stratified_mean({"head": Moments.of([0.6, 0.8]), "tail": Moments.of([0.3, 0.5])}, {"head": 10, "tail": 90})
    >>> round(e.value, 3), round(e.se, 4), e.n
    (0.43, 0.0906, 4)
    """
    method = "stratified mean" if len(strata) > 1 else "mean"
    weights = _weights(strata, populations, level, lone, finite)
    return _estimate(
        strata, weights, _spread(strata, weights, variance_groups(strata, lone_only=True)), level, _named(method, finite)
    )


def stratified_difference(
    strata: Mapping[str, Moments],
    populations: Mapping[str, float],
    *,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    lone: Lone = "refuse",
    finite: bool = False,
    limits: Limits = "corrected",
) -> Estimate:
    """The mean paired difference in the population that the strata stand for, in units of the metric.

    strata: stratum -> moments of its sampled queries' differences. populations: stratum -> its number of queries.
    Each stratum has its own variance, and degrees of freedom that hold with two queries a stratum too. Where the mean's
    skewness exceeds `skewness.LEANS`, t limits miss on one side: they are corrected for it, and `method` says so, unless
    limits="t". lone, finite: as in `stratified_mean`. Below `minimum_nonzero` differences that are not 0, or `MINIMUM_DF`
    degrees of freedom, the estimate carries a caveat.

    Source: Cochran, Sampling Techniques (1977), eq. 5.6, 5.12 and 5.16; Hall (1992), see `skewness.reaches`.
    Raises: as `stratified_mean`.

    >>> e = stratified_difference({"head": Moments.of([0.1, 0.3]), "tail": Moments.of([0.0, 0.2])}, {"head": 10, "tail": 90})
    >>> round(e.value, 3), round(e.se, 4), e.n, e.caveat
    (0.11, 0.0906, 4, 'not reliable: 3 of 4 differences are not zero, 30 are needed')
    """
    method = "stratified paired difference" if len(strata) > 1 else "paired difference"
    weights = _weights(strata, populations, level, lone, finite)
    spread = _spread(strata, weights, variance_groups(strata))
    found = _estimate(strata, weights, spread, level, _named(method, finite), lean=limits == "corrected")
    return reliable(found, sum(m.nonzero for m in strata.values()), minimum_nonzero)


def reliable(estimate: Estimate, nonzero: int, minimum_nonzero: int = MINIMUM_NONZERO) -> Estimate:
    """The estimate, with a caveat where it rests on too few differences that are not 0, or too few degrees of freedom.

    minimum_nonzero 0 asks for neither.

    >>> reliable(Estimate(0.1, 0.1, -0.1, 0.3, 50, "mean", df=49), nonzero=12).caveat
    'not reliable: 12 of 50 differences are not zero, 30 are needed'
    """
    caveat = estimate.caveat
    if nonzero < minimum_nonzero:
        caveat = f"not reliable: {nonzero} of {estimate.n} differences are not zero, {minimum_nonzero} are needed"
    elif minimum_nonzero and estimate.se > 0 and estimate.df is not None and estimate.df < MINIMUM_DF:
        caveat = f"not reliable: the variance rests on few queries of large strata ({estimate.df:.1f} degrees of freedom)"
    return replace(estimate, caveat=caveat)


def limits(estimate: Estimate, *, like: Estimate | None = None) -> Estimate:
    """The estimate with the limits of its own value, se, df and level, as skewed as those of `like` (by default its own).

    >>> e = limits(Estimate(0.1, 0.05, 0.0, 0.2, 50, "mean", df=None))
    >>> round(e.low, 3), round(e.high, 3)
    (0.002, 0.198)
    """
    below, above = reaches(t_quantile((1 + estimate.level) / 2, estimate.df), _lean(like or estimate))
    return replace(estimate, low=estimate.value - below * estimate.se, high=estimate.value + above * estimate.se)


def relative_lift(
    strata: Mapping[str, PairedMoments],
    populations: Mapping[str, float],
    *,
    level: float = 0.95,
    lone: Lone = "refuse",
    finite: bool = False,
) -> Estimate:
    """The difference divided by the control's mean (0.02 = two per cent better), by the delta method per stratum.

    Var(R) = (Var theta - 2 R Cov(theta, mu_C) + R^2 Var mu_C) / mu_C^2, which is the variance of the stratified mean of
    the linearised values (d - R c) / mu_C; the interval uses that mean's degrees of freedom, and the lean of the difference,
    so that lift and difference agree on whether 0 is inside. lone, finite: as in `stratified_mean`.

    Source: Cochran (1977), eq. 6.51 (combined ratio estimate); Deng, Knoblich, Lu (2018), delta method.
    Raises: ValueError where the control's mean is not above 0, and as `stratified_difference`.

    >>> e = relative_lift({"all": PairedMoments.of([0.5, 0.7], [0.6, 0.9])}, {"all": 2})
    >>> round(e.value, 3), round(e.se, 4)
    (0.25, 0.0417)
    """
    differences = {name: m.difference for name, m in strata.items()}
    gain = stratified_difference(differences, populations, level=level, lone=lone, finite=finite)
    weights = _weights(differences, populations, level, lone, finite)
    base = sum(weights[name][0] * m.control.mean for name, m in strata.items())
    if base <= 0:
        raise ValueError(f"the control's mean is {base}: a relative lift needs one above 0")
    ratio = gain.value / base
    linearised = {name: _linearised(m, ratio, base) for name, m in strata.items()}
    variance, df, _ = _spread(linearised, weights, variance_groups(differences))
    below, above = reaches(t_quantile((1 + level) / 2, df), _lean(gain))
    se, method = sqrt(variance), _named("relative lift, delta method", finite)
    return Estimate(ratio, se, ratio - below * se, ratio + above * se, gain.n, method, level, df, gain.caveat)


def p_value(estimate: Estimate, *, null: float = 0.0) -> float:
    """The two-sided p-value of `value == null` under the estimate's own reference: normal, t, or t corrected for skewness.

    The p-value is under 1 - level exactly where the interval leaves the null value out: an interval that reaches farther
    on one side carries the skewness that it was corrected for.

    Raises: ValueError where the standard error is 0: nothing varied, so there is nothing to test.

    >>> round(p_value(Estimate(0.02, 0.01, 0, 0, 100, "mean", df=99)), 4)
    0.0482
    """
    from scipy.special import ndtr, stdtr

    if not estimate.se > 0:
        raise ValueError("the standard error is 0: every difference was the same, and a p-value would mean nothing")
    z = quantile_at((estimate.value - null) / estimate.se, _lean(estimate))
    return min(float(2 * (ndtr(-z) if estimate.df is None else stdtr(estimate.df, -z))), 1.0)


def check_sizes(sizes: Mapping[str, float], sampled: Iterable[str], *, of: str = "population") -> None:
    """Nothing, where every sampled stratum has a finite size above 0 and no other one a senseless size.

    sizes: stratum -> its number of queries, or whatever `of` names. Raises: InputError that names the stratum.

    >>> check_sizes({"head": 10, "tail": 0}, ["head"])
    """
    names = set(sampled)
    for name in sorted(names - {name for name, size in sizes.items() if size != 0}):
        raise InputError(f"stratum {name!r} was sampled but has no {of}: add it to the design, or drop its queries")
    for name, size in sizes.items():
        if not (isfinite(size) and size >= 0):
            raise InputError(f"stratum {name!r} has a {of} of {size}: a finite number above 0 is needed; correct the design")
    if not isfinite(sum(sizes.values())):
        raise InputError(f"the strata's {of}s add up to no finite number: give them in a larger unit")


def t_quantile(probability: float, df: float | None) -> float:
    """The quantile of Student's t, or of the normal where df is None.

    >>> round(t_quantile(0.975, None), 4), round(t_quantile(0.975, 10), 4)
    (1.96, 2.2281)
    """
    from scipy.special import ndtri, stdtrit

    return float(ndtri(probability) if df is None else stdtrit(df, probability))


_Weights = Mapping[str, tuple[float, float]]  # stratum -> (share of the population, what is left of its variance)
Groups = Sequence[tuple[Sequence[str], Sequence[str]]]  # (strata that take one variance, strata that it is pooled over)


def _weights(
    strata: Mapping[str, Moments], populations: Mapping[str, float], level: float, lone: Lone, finite: bool
) -> dict[str, tuple[float, float]]:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give one between 0 and 1, as 0.95")
    if not strata:
        raise ValueError("no strata: there is nothing to estimate from")
    n = sum(m.n for m in strata.values())
    check_sizes(populations, strata)
    for name, moments in strata.items():
        if moments.n < 2 and (lone == "refuse" or n < 2):
            raise ValueError(f"stratum {name!r} has {moments.n} judged queries; 2 are needed for a variance: collapse it first")
        if finite and moments.n > populations[name]:
            raise InputError(
                f"stratum {name!r} has {moments.n} sampled queries and a population of {populations[name]:g}: for a finite "
                "population the sample is a part of it; correct the population, or leave finite off"
            )
    size = sum(populations[name] for name in strata)
    return {name: (populations[name] / size, 1 - m.n / populations[name] if finite else 1.0) for name, m in strata.items()}


def _estimate(
    strata: Mapping[str, Moments],
    weights: _Weights,
    spread: tuple[float, float, float],
    level: float,
    method: str,
    *,
    lean: bool = False,
) -> Estimate:
    """Value and interval from the variance, its degrees of freedom and, with `lean`, the skewness."""
    value = sum(weights[name][0] * m.mean for name, m in strata.items())
    n = sum(m.n for m in strata.values())
    variance, df, skewness = spread
    if variance == 0:
        census = all(left == 0 for _, left in weights.values())
        told = "a census: nothing is left to chance" if census else "nothing varied: every sampled query has the same value"
        return Estimate(value, 0.0, value, value, n, method, level, df, told)
    quantile, se = t_quantile((1 + level) / 2, df), sqrt(variance)
    below, above = reaches(quantile, skewness if lean else 0.0)
    if lean and abs(skewness) > LEANS:
        method += ", limits corrected for skewness"
    return Estimate(value, se, value - below * se, value + above * se, n, method, level, df)


def variance_groups(strata: Mapping[str, Moments], *, lone_only: bool = False) -> Groups:
    """Which strata take which third moment: most their own, one query the one pooled over all, thin ones one of theirs.

    If no thin stratum varies, they too take that pooled over all.
    """
    lone = [name for name, m in strata.items() if m.n == 1]
    thin = [name for name, m in strata.items() if m.n > 1 and (m.nonzero < THIN or m.centred_sq == 0) and not lone_only]
    groups: list[tuple[Sequence[str], Sequence[str]]] = [((n,), (n,)) for n in strata if n not in {*lone, *thin}]
    if thin and any(strata[name].centred_sq > 0 for name in thin):
        groups.append((thin, thin))
    else:
        lone = [*thin, *lone]
    return [*groups, (lone, list(strata))] if lone else groups


def _spread(strata: Mapping[str, Moments], weights: _Weights, groups: Groups) -> tuple[float, float, float]:
    """(variance of the stratified mean, its degrees of freedom, skewness of that mean).

    A stratum of one query, and one that is `UNDERSAMPLED` and does not vary, takes the variance pooled over all. Degrees of
    freedom are Satterthwaite's, V^2 / sum(a^2 / df), or with `SMALL` strata of fewer queries than that Welch's form,
    V^2 / sum(a^2 / (df + 2)) - 2, free of the bias that such strata give the former. If every stratum has one query, the
    strata are collapsed for the variance alone; that errs on the large side.
    Source: Cochran (1977), section 5A.12; Wolter (2007), eq. 2.5.4; Welch (1947), Biometrika 34.
    """
    if not sum(m.n - 1 for m in strata.values()):
        parts = np.array([weights[name][0] * m.mean for name, m in strata.items()])
        return float(parts.size * parts.var(ddof=1)), float(parts.size - 1), 0.0
    spare = float(sum(m.n - 1 for m in strata.values()))
    pooled = sum(m.centred_sq for m in strata.values()) / spare
    even = sum(weights[name][0] for name in strata) / sum(m.n for m in strata.values())
    small = sum(m.n < SMALL for m in strata.values()) >= SMALL
    variance, below, plain, least = 0.0, 0.0, 0.0, spare
    for name, m in strata.items():
        weight, left = weights[name]
        borrows = m.n == 1 or (m.centred_sq == 0 and weight > UNDERSAMPLED * even * m.n)
        part = weight**2 * (pooled if borrows else m.variance) / m.n
        df = spare if borrows else m.n - 1.0
        variance += part * left
        below += (part * left) ** 2 / (df + 2 * small)
        plain += part
        least = min(least, df) if part > 0 else least
    third = 0.0
    for takers, lenders in groups:
        cubes = reduce(Moments.__add__, [strata[name] for name in lenders]).third
        third += cubes * sum(weights[name][0] ** 3 / strata[name].n ** 2 for name in takers)
    df = max(variance**2 / below - 2 * small, least) if below > 0 else spare
    return variance, df, third / plain**1.5 if plain > 0 else 0.0


def _lean(estimate: Estimate) -> float:
    """The skewness that an estimate's interval was corrected for, 0 for one that reaches equally far on both sides."""
    if not estimate.se > 0 or not estimate.low < estimate.value < estimate.high:
        return 0.0
    quantile = t_quantile((1 + estimate.level) / 2, estimate.df)
    return skewness_of((estimate.value - estimate.low) / estimate.se, (estimate.high - estimate.value) / estimate.se, quantile)


def _linearised(m: PairedMoments, ratio: float, base: float) -> Moments:
    """Moments of (d - R c) / mu_C from the paired ones."""
    spread = m.difference.centred_sq - 2 * ratio * m.cross + ratio**2 * m.control.centred_sq
    mean = (m.difference.mean - ratio * m.control.mean) / base
    return Moments(m.difference.n, mean, max(spread, 0.0) / base**2, m.difference.nonzero)


def _named(method: str, finite: bool) -> str:
    return f"{method}, finite population" if finite else method
