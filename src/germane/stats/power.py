"""How many queries to judge, and where: allocation to strata, the standard error that follows, and the effect it can see."""

from __future__ import annotations

from heapq import heapify, heapreplace
from math import ceil, isfinite, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def neyman(populations: ArrayLike, sds: ArrayLike | None, n: int, *, costs: ArrayLike | None = None, minimum: int = 2) -> Ints:
    """How many queries to sample in each stratum so that the stratified mean has the least variance, shape (H,).

    populations: (H,) queries in each stratum. sds: (H,) SD of the *paired difference* in each, None = equal in all.
    costs: (H,) of one query in each, None = equal. Sample sizes are integers that sum to n, proportional to
    N_h S_h / sqrt(c_h) but for their bounds, min(minimum, N_h) <= m_h <= N_h: what a full stratum cannot take goes to the
    others. A stratum with sd 0 gets its minimum while another has room; if all have sd 0, they count as equal.

    Source: Neyman (1934); costs: Cochran, Sampling Techniques (1977), eq. 5.23; bounds: Wesolowski, Wieczorkowski and
    Wojciak (2022), as in R's stratallo, but in exact integers by `apportion`, where they round.
    Raises: InputError if n is under the sum of the minima or above the population, or an input is negative or not finite.

    >>> neyman([100, 300, 20], [0.2, 0.1, 0.9], 60).tolist()
    [18, 26, 16]
    >>> neyman([100, 300, 20], [0.2, 0.1, 0.9], 120).tolist()
    [40, 60, 20]
    """
    size = _counts("populations", populations)
    sd = np.ones(size.size) if sds is None else _positive("sds", sds, size.size)
    cost = np.ones(size.size) if costs is None else _positive("costs", costs, size.size)
    if not (cost > 0).all():
        raise InputError("a cost is 0: a query that costs nothing would take the whole sample; give its real cost")
    if not (sd > 0).any():
        sd = np.ones(size.size)
    low = np.minimum(size, minimum)
    shares = size * sd / np.sqrt(cost)
    left = n - int(size[shares > 0].sum()) - int(low[shares == 0].sum())
    if left > 0:  # every stratum that varies is a census: the rest is spread over those that do not
        flat = shares == 0
        _check_bounds(n, low, size)
        sample = size.copy()
        sample[flat] = apportion(size[flat], n - int(size[~flat].sum()), low=low[flat], high=size[flat])
        return sample
    return apportion(shares, n, low=low, high=size)


def apportion(shares: ArrayLike, n: int, *, low: ArrayLike, high: ArrayLike) -> Ints:
    """Integers that sum to n, as proportional to the shares as their bounds allow: they minimise sum(shares^2 / m), shape (H,).

    shares, low, high: (H,). Among equally good answers the larger share, then the larger `high`, then the earlier
    stratum comes first, so that the answer depends on nothing but the input.

    Source: Wright (2012), The equivalence of Neyman optimum allocation for sampling and equal proportions for apportioning
    the US House: the next unit always goes where share^2 / (m (m + 1)) is largest, which is exact within bounds too.
    Raises: InputError if n is under sum(low) or above sum(high).

    >>> apportion([1, 1, 1], 7, low=[0, 0, 0], high=[9, 1, 9]).tolist()
    [3, 1, 3]
    """
    lows, highs = _counts("low", low), _counts("high", high)
    size = _positive("shares", shares, highs.size)
    _check_bounds(n, lows, highs)
    size = size / (size.max() or 1.0)
    sample = _below(size, n, lows, highs)

    def place(h: int) -> tuple[float, float, int, int]:  # in the queue: least first
        m = int(sample[h])
        if m >= highs[h]:
            return (1.0, 0.0, 0, h)  # full: last
        worth = size[h] ** 2 / (m * (m + 1)) if m else (np.inf if size[h] else 0.0)
        return (-float(worth), -float(size[h]), -int(highs[h]), h)

    queue = [place(h) for h in range(size.size)]
    heapify(queue)
    for _ in range(n - int(sample.sum())):
        h = queue[0][3]
        sample[h] += 1
        heapreplace(queue, place(h))
    return sample


def _below(size: Floats, n: int, low: Ints, high: Ints) -> Ints:
    """A point on the way of `apportion` that is close to its end: units are handed out one by one only from here."""

    def at(scale: float) -> Ints:  # units of each stratum worth more than 1 / scale^2
        return np.clip(np.ceil(np.sqrt((size * scale) ** 2 + 0.25) - 0.5), low, high).astype(np.int64)

    few, many = 0.0, 1.0
    while at(many).sum() <= n and many < 1e18:
        many *= 2
    for _ in range(80):
        middle = (few + many) / 2
        few, many = (middle, many) if at(middle).sum() <= n else (few, middle)
    return np.maximum(at(few) - 1, low)


def stratified_se(populations: ArrayLike, sds: ArrayLike, samples: ArrayLike, *, finite: bool = False) -> float:
    """The standard error of the stratified mean, in units of sds.

    populations, sds, samples: (H,). finite: the target is this population rather than future queries, so that a census
    has se 0 (off by default: a ship decision is about future queries).

    Source: Cochran (1977), eq. 5.6 (without 1 - m_h/N_h unless `finite`).
    Raises: InputError for a stratum that was not sampled, or shapes that differ.

    >>> round(stratified_se([100, 300], [0.2, 0.1], [40, 60]), 5)
    0.0125
    """
    size = _counts("populations", populations)
    sd, sample = _positive("sds", sds, size.size), _positive("samples", samples, size.size)
    if not (sample > 0).all():
        raise InputError(f"stratum {int(np.argmin(sample))} has no sampled queries: its mean is unknown: collapse it")
    left = 1 - sample / size if finite else np.ones(size.size)
    return sqrt(float(((size / size.sum()) ** 2 * sd**2 / sample * left).sum()))


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
    populations: ArrayLike, sds: ArrayLike, effect: float, *, level: float = 0.95, power: float = 0.8, minimum: int = 2
) -> int:
    """How many queries a Neyman-allocated stratified sample needs for an MDE of `effect`: the least n that reaches it.

    Raises: InputError if even a census of the population does not reach it.

    >>> stratified_sample_size([1000, 9000], [0.12, 0.05], 0.005)
    1021
    """
    size = _counts("populations", populations)
    sd = _positive("sds", sds, size.size)

    def reached(n: int) -> float:
        return mde(stratified_se(size, sd, neyman(size, sd, n, minimum=minimum)), level=level, power=power)

    few, many = int(np.minimum(size, minimum).sum()), int(size.sum())
    if not effect > 0 or reached(many) > effect:
        raise InputError(
            f"an effect of {effect} is out of reach: judging all {many} queries has an MDE of {reached(many):.4g}; "
            "ask for a larger effect, or draw from a longer log"
        )
    while few < many:
        middle = (few + many) // 2
        few, many = (few, middle) if reached(middle) <= effect else (middle + 1, many)
    return few


def shrunken_sd(sds: ArrayLike, samples: ArrayLike, *, strength: float = 10.0) -> Floats:
    """SDs of a small pilot, each pulled towards the pooled one as if it had `strength` more queries there, shape (H,).

    sds, samples: (H,), of the pilot. A stratum with an sd of 0 by luck, or with fewer than two queries, is not taken
    at its word. strength 0 leaves sds as they are where there are two queries.

    Source: an inverse-gamma prior on the variance with `strength` degrees of freedom, as Smyth (2004), eq. 4; the
    strength itself is our choice.

    >>> shrunken_sd([0.0, 0.1, 0.3], [5, 11, 11]).round(3).tolist()
    [0.173, 0.161, 0.257]
    """
    counts = _counts("samples", samples)
    sd = _positive("sds", np.where(counts < 2, 0.0, np.asarray(sds, dtype=float)), counts.size)
    df = np.maximum(counts - 1, 0).astype(float)
    if not df.any():
        raise InputError("no stratum of the pilot has two queries: an SD needs two; leave sd out for equal SDs")
    pooled = float((df * sd**2).sum() / df.sum())
    total = df + strength
    mixed = (df * sd**2 + strength * pooled) / np.where(total > 0, total, 1.0)
    return np.sqrt(np.where(total > 0, mixed, pooled))


def _reach(level: float, power: float) -> float:
    from scipy.special import ndtri

    if not (0 < level < 1 and 0 < power < 1):
        raise InputError(f"level {level} and power {power} must both lie between 0 and 1, such as 0.95 and 0.8")
    reach = float(ndtri((1 + level) / 2) + ndtri(power))
    if reach <= 0:
        raise InputError(f"power {power} is below the test's own error rate at level {level}: ask for more power")
    return reach


def _counts(name: str, values: ArrayLike) -> Ints:
    given = np.asarray(values)
    if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.number):
        raise InputError(f"{name} must be a list of whole numbers, one a stratum; found {values!r}")
    if not (np.isfinite(given) & (given >= 0) & (given == np.floor(given))).all():
        raise InputError(f"{name} must be whole numbers, 0 or more; found {given.tolist()}")
    return given.astype(np.int64)


def _positive(name: str, values: ArrayLike, size: int) -> Floats:
    given = np.asarray(values, dtype=float)
    if given.shape != (size,):
        raise InputError(f"{name} has shape {given.shape}: expected one number for each of the {size} strata")
    if not (np.isfinite(given) & (given >= 0)).all():
        raise InputError(f"{name} must be finite and not negative; found {given.tolist()}")
    return given


def _check_bounds(n: int, low: Ints, high: Ints) -> None:
    if n < low.sum():
        raise InputError(f"a sample of {n} is too small: the minima of the {low.size} strata sum to {low.sum()}")
    if n > high.sum():
        raise InputError(f"a sample of {n} is larger than the population of {high.sum()}: sample {high.sum()} for a census")
