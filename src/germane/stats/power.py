"""Which effect an experiment can see, and how many queries that takes: for each estimator that germane has.

An estimator is planned by what it does to the SD of one query: `adjusted_sd`, `clustered_sd`, `traffic_sd` multiply, and what
they give goes into `sample_size` or, divided by sqrt(n), into `mde`. Strata have `stratified_sample_size`; two separate
samples have a standard error of their own, and so has a correction by an audit, `stats.correction.corrected_se`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite, sqrt

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.allocation import amounts, counts, neyman, stratified_se
from germane.types import InputError


def mde(se: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true effect that a two-sided test at 1 - level finds with this power, in units of se (2.8016 se).

    Normal quantiles, and the far tail is left out: it adds a millionth to the power at the defaults.

    Source: (z_{1 - alpha/2} + z_power) se; Bloom (1995), Minimum detectable effects.
    Raises: InputError for an se under 0 or not finite, or a level or power outside (0, 1).

    >>> round(mde(1.0), 4), round(mde(0.002, power=0.9), 5)
    (2.8016, 0.00648)
    """
    if not (isfinite(se) and se >= 0):
        raise InputError(f"a standard error of {se} has no detectable effect: expected a finite number, 0 or more")
    return _reach(level, power) * float(se)


def relative_mde(se: float, control_mean: float, *, level: float = 0.95, power: float = 0.8) -> float:
    """`mde` as a share of the control's mean: 0.01 is an effect of 1 %.

    Raises: InputError if the control's mean is not above 0.

    >>> round(relative_mde(0.002, 0.7), 5)
    0.008
    """
    if not control_mean > 0:
        raise InputError(f"the control's mean is {control_mean}: an effect relative to it needs a mean above 0; use mde")
    return mde(se, level=level, power=power) / float(control_mean)


def sample_size(sd: float, effect: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """How many paired queries a simple random sample needs for an MDE of `effect`, at least 2.

    sd: of the paired difference, in units of effect. No finite-population correction.

    Source: n = ((z_{1 - alpha/2} + z_power) sd / effect)^2, rounded up.
    Raises: InputError for an effect that is not above 0, or a negative sd.

    >>> sample_size(0.06, 0.002), sample_size(0.05, 0.0025)
    (7064, 3140)
    """
    if not (effect > 0 and isfinite(effect) and sd >= 0 and isfinite(sd)):
        raise InputError(f"no sample size for an effect of {effect} and an sd of {sd}: both must be finite, the effect above 0")
    return max(2, ceil((_reach(level, power) * sd / effect) ** 2 * (1 - 1e-12)))


def stratified_sample_size(
    populations: ArrayLike,
    sds: ArrayLike,
    effect: float,
    *,
    level: float = 0.95,
    power: float = 0.8,
    minimum: int | ArrayLike = 2,
    weights: ArrayLike | None = None,
) -> int:
    """How many queries a Neyman-allocated stratified sample needs for an MDE of `effect`: the least n that reaches it.

    minimum, weights: as in `neyman`.

    Raises: InputError if even a census of the population does not reach it.

    >>> stratified_sample_size([1000, 9000], [0.12, 0.05], 0.005)
    1021
    """
    size = counts("populations", populations)
    sd = amounts("sds", sds, size.size)

    def reached(n: int) -> float:
        sample = neyman(size, sd, n, minimum=minimum, weights=weights)
        return mde(stratified_se(size, sd, sample, weights=weights), level=level, power=power)

    return least_sample(reached, effect, few=int(np.minimum(size, minimum).sum()), many=int(size.sum()))


def least_sample(reached: Callable[[int], float], effect: float, *, few: int, many: int) -> int:
    """The least n from `few` to `many` whose MDE, `reached(n)`, is at most `effect`. `many` is a census.

    Raises: InputError if even the census does not reach it.

    >>> least_sample(lambda n: mde(0.06 / n**0.5), 0.002, few=2, many=9000)
    7064
    """
    if not effect > 0 or reached(many) > effect:
        raise InputError(
            f"an effect of {effect} is out of reach: judging all {many} queries has an MDE of {reached(many):.4g}; "
            "ask for a larger effect, or draw from a longer log"
        )
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if reached(middle) <= effect else (middle + 1, many)
    return few


def adjusted_sd(sd: float, rho: float) -> float:
    """The SD that regression adjustment leaves of a query's difference: sd sqrt(1 - rho^2).

    rho: correlation of the covariate with the *difference*, inside strata. A past level says almost nothing about it.

    Source: Deng, Xu, Kohavi and Walker (2013), CUPED, eq. 3.
    Raises: InputError for rho outside (-1, 1), or a negative sd.

    >>> round(adjusted_sd(0.06, 0.6), 4)
    0.048
    """
    return _sd(sd) * sqrt(1 - _rho(rho) ** 2)


def clustered_sd(sd: float, size: float, icc: float) -> float:
    """The SD that counts for n measurements in clusters of `size`: sd sqrt(1 + (size - 1) icc).

    size: measurements a cluster, such as requests of one query, on average. icc: their correlation inside a cluster.

    Source: Kish (1965), Survey Sampling, eq. 5.4.1: the design effect of equal clusters.
    Raises: InputError for a size under 1, or an icc outside 0 to 1.

    >>> round(clustered_sd(0.06, 5, 0.25), 4)
    0.0849
    """
    if not (isfinite(size) and size >= 1 and 0 <= icc <= 1):
        raise InputError(f"clusters of {size} with an icc of {icc}: expected a size of 1 or more, and an icc from 0 to 1")
    return _sd(sd) * sqrt(1 + (size - 1) * icc)


def traffic_sd(sd: float, cv: float) -> float:
    """The SD that counts where queries drawn at equal odds are weighted by their traffic: sd sqrt(1 + cv^2).

    cv: SD of the queries' traffic over its mean, inside strata. Queries drawn with odds proportional to traffic have none.
    Holds where differences do not depend on traffic; those that grow with it cost more.

    Source: Kish (1965), eq. 11.7.3, whose n sum(w^2) / sum(w)^2 is 1 + cv^2.

    >>> round(traffic_sd(0.06, 2.0), 4)
    0.1342
    """
    if not (isfinite(cv) and cv >= 0):
        raise InputError(f"a coefficient of variation of {cv}: expected 0 or more")
    return _sd(sd) * sqrt(1 + cv**2)


def unpaired_se(sd_control: float, sd_treatment: float, n_control: int, n_treatment: int) -> float:
    """The standard error of a difference of two separate samples; the SDs are those of the *level*, which is the trouble.

    Source: sqrt(s_C^2 / n_C + s_T^2 / n_T); Cochran (1977), eq. 2.27 and 2.33.

    >>> round(unpaired_se(0.2, 0.2, 800, 800), 4), round(0.06 / 800**0.5, 4)
    (0.01, 0.0021)
    """
    if n_control < 2 or n_treatment < 2:
        raise InputError(f"arms of {n_control} and {n_treatment} queries: each needs 2 for a variance")
    return sqrt(_sd(sd_control) ** 2 / n_control + _sd(sd_treatment) ** 2 / n_treatment)


def equivalence_sample_size(sd: float, margin: float, *, true: float = 0.0, level: float = 0.95, power: float = 0.8) -> int:
    """How many paired queries a test of equivalence needs to find a difference of `true` within +- margin, at least 2.

    level: each of the two one-sided tests errs at 1 - level, so that it is the interval of 2 level - 1 that must lie inside.

    Source: Schuirmann (1987), two one-sided tests; power Phi((margin - true)/se - z) + Phi((margin + true)/se - z) - 1.
    Raises: InputError for a margin that is not above |true|.

    >>> equivalence_sample_size(0.06, 0.002), equivalence_sample_size(0.06, 0.002, true=0.001)
    (7708, 22258)
    """
    from scipy.special import ndtr, ndtri

    if not (isfinite(margin) and margin > abs(true)):
        raise InputError(f"a margin of {margin} around a true difference of {true}: the margin must be the larger")
    _reach(level, power)

    def found(n: int) -> float:
        ends = np.array([margin - true, margin + true]) * sqrt(n) / max(_sd(sd), 1e-300)
        return float(ndtr(ends - ndtri(level)).sum() - 1)

    few, many = 2, 2
    while found(many) < power:
        few, many = many, many * 2
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if found(middle) >= power else (middle + 1, many)
    return few


def _reach(level: float, power: float) -> float:
    from scipy.special import ndtri

    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(f"level {level} and power {power} must both lie between 0 and 1, such as 0.95 and 0.8")
    reach = float(ndtri((1 + level) / 2) + ndtri(power))
    if reach <= 0:
        raise InputError(f"power {power} is below the test's own error rate at level {level}: ask for more power")
    return reach


def _sd(sd: float) -> float:
    if not (isfinite(sd) and sd >= 0):
        raise InputError(f"an SD of {sd}: expected a finite number, 0 or more")
    return float(sd)


def _rho(rho: float) -> float:
    if not -1 < rho < 1:
        raise InputError(f"rho is {rho}: expected a correlation above -1 and below 1")
    return float(rho)
