"""How a sample is divided among strata: Neyman, power allocation, floors for what is reported; and what a division costs."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def neyman(
    populations: ArrayLike,
    sds: ArrayLike | None,
    n: int,
    *,
    costs: ArrayLike | None = None,
    minimum: int | ArrayLike = 2,
    weights: ArrayLike | None = None,
) -> Ints:
    """How many queries to sample in each stratum so that the stratified mean has the least variance, shape (H,).

    populations: (H,) queries in each stratum. sds: (H,) SD of the *paired difference* in each, None = equal in all.
    costs: (H,) of one query in each, None = equal. weights: (H,) what each stratum counts in the mean, None = its
    queries; the traffic of each for a mean over traffic. minimum: of every stratum, or (H,) of each, as `floors_met` gives
    them. Sample sizes are integers that sum to n, proportional to weight_h S_h / sqrt(c_h) but for their bounds,
    min(minimum, N_h) <= m_h <= N_h: what a full stratum cannot take goes to the others. A stratum with sd 0 gets its
    minimum while another has room; if all have sd 0, they count as equal.

    Source: Neyman (1934); costs: Cochran, Sampling Techniques (1977), eq. 5.23; bounds: Wesolowski, Wieczorkowski and
    Wojciak (2022), as in R's stratallo, but in exact integers by `apportion`, where they round.
    Raises: InputError if n is under the sum of the minima or above the population, or an input is negative or not finite.

    >>> neyman([100, 300, 20], [0.2, 0.1, 0.9], 60).tolist()
    [18, 26, 16]
    >>> neyman([100, 300, 20], [0.2, 0.1, 0.9], 120).tolist()
    [40, 60, 20]
    """
    size = counts("populations", populations)
    shares = _shares(size, sds, costs, weights)
    low = np.minimum(size, counts("minimum", np.broadcast_to(np.asarray(minimum), size.shape)))
    left = n - int(size[shares > 0].sum()) - int(low[shares == 0].sum())
    if left > 0:  # every stratum that varies is a census: the rest is spread over those that do not
        flat = shares == 0
        _check_bounds(n, low, size)
        sample = size.copy()
        sample[flat] = apportion(size[flat], n - int(size[~flat].sum()), low=low[flat], high=size[flat])
        return sample
    return apportion(shares, n, low=low, high=size)


def power_allocation(
    populations: ArrayLike,
    sds: ArrayLike | None,
    n: int,
    *,
    exponent: float = 0.5,
    minimum: int | ArrayLike = 2,
    weights: ArrayLike | None = None,
) -> Ints:
    """A compromise between the best overall mean (exponent 1, Neyman) and equally precise strata (exponent 0), shape (H,).

    Sample sizes proportional to weight_h^exponent S_h. Bankier has the coefficient of variation, S_h over the stratum's
    mean; a paired difference has a mean near 0 everywhere, so that here precision is absolute and S_h takes its place.

    Source: Bankier (1988), Power allocations: determining sample sizes for subnational areas, eq. 2.2.
    Raises: InputError for an exponent outside 0 to 1, and as `neyman`.

    >>> power_allocation([100, 8100], None, 100).tolist(), neyman([100, 8100], None, 100).tolist()
    ([10, 90], [2, 98])
    """
    if not 0 <= exponent <= 1:
        raise InputError(f"an exponent of {exponent}: expected 0 (equally precise strata) to 1 (the best mean of all)")
    size = counts("populations", populations)
    weight = amounts("weights", size if weights is None else weights, size.size)
    return neyman(size, sds, n, minimum=minimum, weights=weight**exponent)


def _shares(size: Ints, sds: ArrayLike | None, costs: ArrayLike | None, weights: ArrayLike | None) -> Floats:
    """weight_h S_h / sqrt(c_h), with equal SDs where none is above 0."""
    sd = np.ones(size.size) if sds is None else amounts("sds", sds, size.size)
    cost = np.ones(size.size) if costs is None else amounts("costs", costs, size.size)
    weight = amounts("weights", size if weights is None else weights, size.size)
    if not (cost > 0).all():
        raise InputError("a cost is 0: a query that costs nothing would take the whole sample; give its real cost")
    if not (sd > 0).any():
        sd = np.ones(size.size)
    shares: Floats = weight * sd / np.sqrt(cost)
    return shares


def floors_met(shares: ArrayLike, floors: Sequence[tuple[Sequence[int], int]], *, low: ArrayLike, high: ArrayLike) -> Ints:
    """The least sample of each stratum with which every reported segment has its floor, shape (H,): a new `minimum`.

    shares: (H,) as in `apportion`, to divide a floor inside its segment. floors: (indices of the segment's strata, queries
    that it has at least), one a segment. low, high: (H,). Where no two segments share a stratum, `neyman` with this
    minimum has the least variance of all samples with these floors, since in each segment a larger sample only adds to a
    smaller one. Where they cross (interests and popularity), segments are served one after the other, the most wanting
    first, and the minimum can be some queries above the least; if that exceeds what is asked, see `least_for_floors`.

    Source: our own argument from Wright (2012): equal proportions are monotone in n.
    Raises: InputError for a floor above what its segment has.

    >>> floors_met([5, 1, 1], [([1, 2], 10)], low=[2, 2, 2], high=[50, 50, 6]).tolist()
    [2, 5, 5]
    """
    sample, highs = counts("low", low).copy(), counts("high", high)
    size = amounts("shares", shares, highs.size)
    for members, floor in floors:
        if floor > (most := int(highs[list(members)].sum())):
            raise InputError(f"a floor of {floor} is above the {most} queries that its segment has: ask for {most} at most")
    while wanting := [(floor - int(sample[list(m)].sum()), list(m), floor) for m, floor in floors]:
        gap, rows, floor = max(wanting, key=lambda row: row[0])
        if gap <= 0:
            break
        sample[rows] = apportion(size[rows], floor, low=sample[rows], high=highs[rows])
    return sample


def least_for_floors(floors: Sequence[tuple[Sequence[int], int]], *, low: ArrayLike, high: ArrayLike) -> Ints:
    """The smallest sample with which every segment has its floor, by stratum, shape (H,); exact for crossed segments too.

    >>> least_for_floors([([0, 1], 10), ([1, 2], 10)], low=[2, 2, 2], high=[50, 50, 50]).tolist()
    [2, 8, 2]
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    lows, highs = counts("low", low), counts("high", high)
    if not floors:
        return lows
    rows = np.zeros((len(floors), highs.size))
    for g, (members, _) in enumerate(floors):
        rows[g, list(members)] = 1
    need = LinearConstraint(rows, lb=[float(floor) for _, floor in floors])
    found = milp(np.ones(highs.size), constraints=need, bounds=Bounds(lows, highs), integrality=np.ones(highs.size))
    if found.x is None:
        raise InputError("no sample meets all floors: a segment has fewer queries than its floor; ask for less")
    return np.asarray(np.rint(found.x), dtype=np.int64)


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
    lows, highs = counts("low", low), counts("high", high)
    size = amounts("shares", shares, highs.size)
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


def stratified_se(
    populations: ArrayLike, sds: ArrayLike, samples: ArrayLike, *, finite: bool = False, weights: ArrayLike | None = None
) -> float:
    """The standard error of the stratified mean, in units of sds.

    populations, sds, samples: (H,). finite: the target is this population rather than future queries, so that a census
    has se 0 (off by default: a ship decision is about future queries). weights: (H,) as in `neyman`.

    Source: Cochran (1977), eq. 5.6 (without 1 - m_h/N_h unless `finite`).
    Raises: InputError for a stratum that was not sampled, or shapes that differ.

    >>> round(stratified_se([100, 300], [0.2, 0.1], [40, 60]), 5)
    0.0125
    """
    size = counts("populations", populations)
    sd, sample = amounts("sds", sds, size.size), amounts("samples", samples, size.size)
    if not (sample > 0).all():
        raise InputError(f"stratum {int(np.argmin(sample))} has no sampled queries: its mean is unknown: collapse it")
    left = 1 - sample / size if finite else np.ones(size.size)
    weight = amounts("weights", size if weights is None else weights, size.size)
    return sqrt(float(((weight / weight.sum()) ** 2 * sd**2 / sample * left).sum()))


def kish_effect(weights: ArrayLike) -> float:
    """How many times the variance of an equally weighted sample these weights cost, if all units vary alike: 1 or more.

    weights: (n,) of the sampled queries, such as 1 / inclusion probability.

    Source: Kish (1965), Survey Sampling, eq. 11.7.3: n sum(w^2) / sum(w)^2.

    >>> round(kish_effect([1, 1, 2]), 3)
    1.125
    """
    weight = np.asarray(weights, dtype=float)
    if weight.ndim != 1 or not weight.size or not (np.isfinite(weight) & (weight >= 0)).all() or not weight.any():
        raise InputError("weights must be a list of finite numbers, none negative and not all 0")
    return float(weight.size * (weight**2).sum() / weight.sum() ** 2)


def design_effect(
    populations: ArrayLike,
    sds: ArrayLike,
    samples: ArrayLike,
    *,
    means: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> float:
    """The variance of this stratified sample over that of a simple random sample of the same n: under 1 is a gain.

    populations, sds, samples: (H,). means: (H,) of the strata, whose spread a simple random sample pays for too; None =
    all equal, which is the cautious view of paired differences. weights: (H,) as in `neyman`; then it is compared with a
    simple random draw of these units. No finite-population correction.

    Source: Kish (1965), section 2.7; the simple random sample's variance by Cochran (1977), eq. 5.33, for large strata.

    >>> round(design_effect([100, 300], [0.2, 0.1], [40, 60]), 3), round(design_effect([1, 1], [1, 1], [5, 5], means=[0, 2]), 3)
    (0.893, 0.5)
    """
    size = counts("populations", populations)
    weight = amounts("weights", size if weights is None else weights, size.size)
    share = weight / weight.sum()
    sd = amounts("sds", sds, size.size)
    mean = np.zeros(size.size) if means is None else np.asarray(means, dtype=float)
    simple = float((share * sd**2).sum() + (share * (mean - (share * mean).sum()) ** 2).sum())
    if not simple > 0:
        raise InputError("nothing varies in these strata, so that no design gains or loses: give SDs above 0")
    return stratified_se(size, sd, samples, weights=weights) ** 2 * float(counts("samples", samples).sum()) / simple


def shrunken_sd(sds: ArrayLike, samples: ArrayLike, *, strength: float = 10.0) -> Floats:
    """SDs of a small pilot, each pulled towards the pooled one as if it had `strength` more queries there, shape (H,).

    sds, samples: (H,), of the pilot. A stratum with an sd of 0 by luck, or with fewer than two queries, is not taken
    at its word. strength 0 leaves sds as they are where there are two queries.

    Source: an inverse-gamma prior on the variance with `strength` degrees of freedom, as Smyth (2004), eq. 4; the
    strength itself is our choice.

    >>> shrunken_sd([0.0, 0.1, 0.3], [5, 11, 11]).round(3).tolist()
    [0.173, 0.161, 0.257]
    """
    seen = counts("samples", samples)
    sd = amounts("sds", np.where(seen < 2, 0.0, np.asarray(sds, dtype=float)), seen.size)
    df = np.maximum(seen - 1, 0).astype(float)
    if not df.any():
        raise InputError("no stratum of the pilot has two queries: an SD needs two; leave sd out for equal SDs")
    pooled = float((df * sd**2).sum() / df.sum())
    total = df + strength
    mixed = (df * sd**2 + strength * pooled) / np.where(total > 0, total, 1.0)
    return np.sqrt(np.where(total > 0, mixed, pooled))


def counts(name: str, values: ArrayLike) -> Ints:
    """`values` as whole numbers, 0 or more, or an InputError that names them."""
    given = np.asarray(values)
    if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.number):
        raise InputError(f"{name} must be a list of whole numbers, one a stratum; found {values!r}")
    if not (np.isfinite(given) & (given >= 0) & (given == np.floor(given))).all():
        raise InputError(f"{name} must be whole numbers, 0 or more; found {given.tolist()}")
    return given.astype(np.int64)


def amounts(name: str, values: ArrayLike, size: int) -> Floats:
    """`values` as `size` finite numbers, none negative, or an InputError that names them."""
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
