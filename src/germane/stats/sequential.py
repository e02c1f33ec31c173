"""Looking at an experiment while it runs, and at a measure day after day: confidence sequences, CUSUM, e-detectors.

A confidence sequence holds the truth at every look at once; it is about a *running mean*, in which a late drop dilutes.
An alert about a drop needs a detector that forgets: `cusum`, or `e_detector`, whose false alarms are bounded by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.run_length import ARL0, above, cusum_threshold
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]
Direction = Literal["either", "up", "down"]
Kind = Literal["sr", "cusum"]

BURN_IN = 300
"""No interval before so many queries: the sequence rests on a central limit. Source: docs/statistics/sequential.md."""

MINIMUM_MOVED = 200
"""No interval before so many differences that are not 0: an early look at skewed ones errs, and every look counts.

More than a single interval needs (`means.MINIMUM_NONZERO`). Source: our simulations, docs/statistics/sequential.md.
"""

MINIMUM_DF = 30.0
"""No interval before so many degrees of freedom by weights and counts: a stratum of half the population and 1 to 2 % of the
sample missed the truth at some look in 10 to 31 % of experiments."""

SHIFTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Shifts, in standard deviations of one look, that an e-detector looks for at once, each with the same weight."""

BETS = (0.05, 0.1, 0.25, 0.5, 0.9)
"""Parts of the greatest stake 1 / bound that an e-detector of bounded values lays at once, each with the same weight."""


@dataclass(frozen=True)
class ConfidenceSequence:
    """An interval for the mean after each query, all of which hold the truth at once with probability `level`.

    looks: (L,) queries seen at each look, from the first that has an interval. value, low, high: (L,), units of the
    metric. estimate: the last look, None where no look has an interval yet; `caveat` then says what is missing.
    """

    looks: NDArray[np.int64]
    value: Floats
    low: Floats
    high: Floats
    estimate: Estimate | None
    caveat: str

    @property
    def decided(self) -> int | None:
        """Queries seen when the interval first left out 0: the experiment may stop there. None if it never did."""
        clear = np.flatnonzero((self.low > 0) | (self.high < 0))
        return int(self.looks[clear[0]]) if clear.size else None


@dataclass(frozen=True)
class Alarms:
    """A detector's statistic at each look, and where it raised an alarm; after an alarm it starts anew.

    statistic, alarm: (..., T). threshold: an alarm is raised where the statistic reaches it. For `cusum` the unit is
    standard deviations of one look; for `e_detector` it is the natural logarithm of the evidence.
    """

    statistic: Floats
    alarm: NDArray[np.bool_]
    threshold: float

    @property
    def first(self) -> NDArray[np.int64]:
        """(...,) the index of the first alarm, -1 where there was none."""
        return np.where(self.alarm.any(-1), self.alarm.argmax(-1), -1).astype(np.int64)


def confidence_sequence(
    differences: ArrayLike,
    *,
    intended: float,
    strata: ArrayLike | None = None,
    populations: Mapping[str, float] | None = None,
    level: float = 0.95,
    burn_in: int = BURN_IN,
    minimum_nonzero: int = MINIMUM_MOVED,
    minimum_df: float = MINIMUM_DF,
) -> ConfidenceSequence:
    """Intervals for the mean paired difference, in units of the metric, that may be looked at after every query.

    differences: (n,) in the order in which the queries came. intended: the number of queries at which the interval shall
    be tightest. strata: (n,) names, and populations: stratum -> its number of queries: then the running mean is the
    stratified one, sum W_h mean_h, and sd / sqrt(t) its standard error; queries of the strata must come mixed, as a
    random order gives them. No interval before `burn_in` queries, `minimum_nonzero` differences that are not 0, two queries
    of each stratum, and `minimum_df` degrees of freedom by weights and counts: a heavy stratum needs more. A stratum whose
    differences are all equal so far takes the pooled variance.

        mean +- sd sqrt( 2 (t r^2 + 1) / (t^2 r^2) log( sqrt(t r^2 + 1) / alpha ) )

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024, arXiv 2103.06476), theorem 2.2 and its r for an intended t;
    Robbins (1970) for the normal mixture. The stratified form is ours: the same with the variance of a stratified mean.
    Raises: InputError for values that are not finite, a stratum without population, and parameters out of range.

    >>> x = np.random.default_rng(1).normal(0.02, 0.1, 2000)
    >>> found = confidence_sequence(x, intended=1000)
    >>> int(found.looks[0]), len(found.looks), found.decided
    (300, 1701, 450)
    """
    x = _series(differences, "difference")
    if x.ndim != 1 or not x.size:
        raise InputError(f"differences have shape {x.shape}: give one a query, (n,), in the order in which they came")
    _between("level", level, 0, 1)
    if intended < 2 or burn_in < 2:
        raise InputError(f"intended is {intended:g} and burn_in {burn_in}: both count queries, and must be 2 or more")
    groups, weights = _weights(x.size, strata, populations)
    value, variance, every, df = _running(x, groups, weights)
    t = np.arange(1, x.size + 1)
    nonzero = np.cumsum(x != 0)
    ready = (t >= burn_in) & (nonzero >= minimum_nonzero) & every & (df >= minimum_df) & (variance > 0)
    if not ready[-1]:
        missing = _missing(x, int(nonzero[-1]), bool(every[-1]), burn_in, minimum_nonzero)
        if every[-1] and df[-1] < minimum_df and missing.startswith("no interval:"):
            missing = (
                f"no interval yet: large strata have few queries ({df[-1]:.0f} degrees of freedom, {minimum_df:g} are needed)"
            )
        return ConfidenceSequence(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), None, missing)
    looks, value, se = t[ready], value[ready], np.sqrt(variance[ready])
    margin = se * standard_errors(looks, intended=intended, level=level)
    method = f"{'stratified ' if strata is not None else ''}confidence sequence, tightest at {intended:g} queries"
    last = Estimate(
        float(value[-1]), float(se[-1]), float(value[-1] - margin[-1]), float(value[-1] + margin[-1]), x.size, method, level
    )
    return ConfidenceSequence(looks.astype(np.int64), value, value - margin, value + margin, last, "")


def standard_errors(t: ArrayLike, *, intended: float, level: float = 0.95) -> Floats:
    """How many standard errors wide a confidence sequence is to each side after t queries, (n,); a t interval has 1.96.

    Source: as `confidence_sequence`; r^2 = (-W(-alpha^2 / e) - 1) / intended, W Lambert's lower branch, makes it least there.

    >>> standard_errors([100, 1000, 10000], intended=1000).round(2).tolist()
    [3.82, 3.04, 3.25]
    """
    from scipy.special import lambertw

    alpha = 1 - level
    r2 = (-float(lambertw(-(alpha**2) * exp(-1), k=-1).real) - 1) / intended
    grown = np.asarray(t, np.float64) * r2 + 1
    return np.asarray(np.sqrt(grown / (grown - 1) * np.log(grown / alpha**2)), np.float64)


def cusum(
    values: ArrayLike,
    *,
    sd: float,
    target: float = 0.0,
    k: float = 0.5,
    h: float | None = None,
    arl0: float = ARL0,
    direction: Direction = "either",
) -> Alarms:
    """Page's cumulative sums of standardised values beyond a slack of k, with an alarm where one reaches h.

    values: (..., T), one a look, as a day's mean paired difference from the panel's reference; a leading axis holds
    several series. sd: of one value. k: half of the shift to be found, in sds. h: the threshold, in sds; without one it
    is that of `cusum_threshold` for `arl0` looks between false alarms.

    Source: Page (1954), Continuous inspection schemes, Biometrika 41.
    Raises: InputError for values that are not finite (leave missing days out), an sd or k that is not above 0.

    >>> found = cusum([0.1, -0.2, 0.0, -1.9, -2.2, -2.0, -2.1], sd=1.0)
    >>> int(found.first), found.statistic.round(1).tolist(), round(found.threshold, 2)
    (6, [0.0, 0.0, 0.0, 1.4, 3.1, 4.6, 6.2], 4.76)
    """
    x = _series(values, "value")
    above("sd", sd)
    above("k", k)
    sides = _sides(direction)
    threshold = cusum_threshold(arl0, k=k, two_sided=len(sides) == 2) if h is None else h
    above("h", threshold)
    z = (x - target) / sd
    sums = np.zeros((len(sides), *z.shape[:-1]))
    statistic, alarm = np.empty_like(z), np.zeros(z.shape, dtype=np.bool_)
    for t in range(z.shape[-1]):
        for i, sign in enumerate(sides):
            sums[i] = np.maximum(sums[i] + sign * z[..., t] - k, 0)
        statistic[..., t] = sums.max(axis=0)
        alarm[..., t] = statistic[..., t] >= threshold
        sums[:, alarm[..., t]] = 0
    return Alarms(statistic, alarm, float(threshold))


def e_detector(
    values: ArrayLike,
    *,
    sd: float | None = None,
    bound: float | None = None,
    null: float = 0.0,
    arl0: float = ARL0,
    direction: Direction = "either",
    kind: Kind = "sr",
) -> Alarms:
    """Evidence of a change in the mean, with an alarm where it reaches arl0: false alarms are that rare by construction.

    Give one of two. sd: values (..., T), one a look, whose noise is sub-Gaussian with this sd, as a mean over many
    queries; each look multiplies the evidence by exp(l z - l^2 / 2), z in sds, for several shifts l at once (`SHIFTS`).
    bound: values (..., T, n), n independent queries a look (or (T,): one), each at most `bound` away from null: each
    multiplies it by 1 + l (x - null), for several stakes l at once (`BETS`), and nothing is assumed of their shape.
    kind: "sr" sums the evidence over all moments at which the change may have begun, "cusum" takes the largest.
    direction: "either" halves the evidence between up and down.

    Source: Shin, Ramdas, Rinaldo (2024, arXiv 2203.03532): section 2, e-SR M_t = L_t (M_(t-1) + 1) and e-CUSUM
    M_t = L_t max(M_(t-1), 1), both with E tau >= c when they alarm at c; section 3, mixtures.
    Raises: InputError for both or none of sd and bound, and a value farther from null than its bound.

    >>> rng = np.random.default_rng(3)
    >>> days = np.concatenate([rng.normal(0, 1, 60), rng.normal(-2, 1, 10)])
    >>> int(e_detector(days, sd=1.0).first), round(e_detector(days, sd=1.0).threshold, 1)
    (62, 5.9)
    """
    x = _series(values, "value") - null
    if (sd is None) == (bound is None):
        raise InputError("give either sd (sub-Gaussian noise of one look) or bound (of one query's value), not both")
    if not 2 < arl0 < 1e12:
        raise InputError(f"arl0 is {arl0:g}: give the looks between false alarms, more than 2")
    if kind not in ("sr", "cusum"):
        raise InputError(f"kind {kind!r} is unknown: sr or cusum")
    grown = _sub_gaussian(x, sd) if sd is not None else _bets(x, float(bound or 0.0))
    logs = np.concatenate([grown(sign) for sign in _sides(direction)])  # (J, ..., T): log of L_t
    evidence = np.full(logs.shape[:-1], -np.inf)
    statistic, alarm = np.empty(logs.shape[1:]), np.zeros(logs.shape[1:], dtype=np.bool_)
    begin = np.logaddexp if kind == "sr" else np.maximum
    for t in range(logs.shape[-1]):
        evidence = logs[..., t] + begin(evidence, 0.0)
        statistic[..., t] = np.logaddexp.reduce(evidence, axis=0) - log(len(logs))
        alarm[..., t] = statistic[..., t] >= log(arl0)
        evidence[:, alarm[..., t]] = -np.inf
    return Alarms(statistic, alarm, log(arl0))


def _sub_gaussian(x: Floats, sd: float) -> Callable[[float], Floats]:
    """sign -> (J, ..., T) log of each look's evidence, for the shifts looked for."""
    above("sd", sd)
    shifts = np.array(SHIFTS).reshape(-1, *[1] * x.ndim)
    return lambda sign: shifts * (sign * x / sd) - shifts**2 / 2


def _bets(x: Floats, bound: float) -> Callable[[float], Floats]:
    """sign -> (J, ..., T) log of each look's evidence, for the stakes laid; the queries of a look multiply."""
    above("bound", bound)
    if x.size and np.abs(x).max() > bound * (1 + 1e-9):
        raise InputError(f"a value lies {np.abs(x).max():g} from null, and the bound is {bound:g}: give the true bound")
    x = x[:, None] if x.ndim == 1 else x
    return lambda sign: np.stack([np.log1p(bet * sign * x / bound).sum(-1) for bet in BETS])


def _running(x: Floats, groups: NDArray[np.int64], weights: Floats) -> tuple[Floats, Floats, NDArray[np.bool_], Floats]:
    """(n,) each: running stratified mean, its variance, whether every stratum has two queries, and the degrees of freedom
    (Satterthwaite's, if all strata varied alike: by weights and counts, so that no outcome decides when to look)."""
    n = x.size
    centre = x.mean()  # sums of squares lose digits far from 0
    value, variance, every = np.zeros(n), np.zeros(n), np.ones(n, dtype=np.bool_)
    spreads, spare, parts = np.zeros(n), np.zeros(n), []
    for h, weight in enumerate(weights):
        inside = groups == h
        count = np.cumsum(inside)
        y = np.where(inside, x - centre, 0.0)
        size = np.maximum(count, 1)
        mean = np.cumsum(y) / size
        spread = np.maximum(np.cumsum(y**2) - size * mean**2, 0.0)
        changes = np.concatenate(([0], np.cumsum(np.diff(x[inside]) != 0))) if inside.any() else np.zeros(0, np.int64)
        spread[_level_of(changes, count) == 0] = 0.0  # equal values have no variance, whatever rounding says
        value += weight * mean
        every &= count >= 2
        spreads += spread
        spare += np.maximum(count - 1, 0)
        parts.append((weight, spread, size))
    pooled = spreads / np.maximum(spare, 1)
    terms = [(weight**2 / size, np.maximum(size - 1, 1)) for weight, _, size in parts]
    df = sum(a for a, _ in terms) ** 2 / sum(a**2 / free for a, free in terms)
    for weight, spread, size in parts:
        own = np.where(spread > 0, spread / np.maximum(size - 1, 1), pooled)
        variance += weight**2 * own / size
    return value + centre, variance, every, np.asarray(df, np.float64)


def _level_of(changes: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often a stratum's values have changed so far, at each look."""
    return np.concatenate(([0], changes))[count] if changes.size else np.zeros_like(count)


def _weights(n: int, strata: ArrayLike | None, populations: Mapping[str, float] | None) -> tuple[NDArray[np.int64], Floats]:
    """(n,) number of each query's stratum, and (H,) shares of the population."""
    if strata is None:
        return np.zeros(n, np.int64), np.ones(1)
    names = np.asarray(strata).astype(str)
    if names.shape != (n,):
        raise InputError(f"{n} differences and {names.size} strata: give one stratum a query")
    if not populations:
        raise InputError("strata were given without populations: give each stratum's number of queries")
    order = list(populations)
    if unknown := sorted(set(names.tolist()) - set(order)):
        raise InputError(f"stratum {unknown[0]!r} has no population: add it to the design, or drop its queries")
    sizes = np.array([populations[name] for name in order], np.float64)
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InputError(f"a population is {sizes.min():g}: every stratum stands for more than 0 queries")
    number = {name: i for i, name in enumerate(order)}
    return np.array([number[name] for name in names.tolist()], np.int64), sizes / sizes.sum()


def _missing(x: Floats, nonzero: int, every: bool, burn_in: int, minimum_nonzero: int) -> str:
    """Why there is no interval yet, and what it takes."""
    if x.size < burn_in:
        return f"no interval yet: {x.size} queries so far, {burn_in} are needed"
    if nonzero < minimum_nonzero:
        return f"no interval yet: {nonzero} of {x.size} differences are not zero, {minimum_nonzero} are needed"
    if not every:
        return "no interval yet: a stratum has fewer than 2 queries so far"
    return "no interval: nothing varied, every query so far has the same difference"


def _sides(direction: Direction) -> tuple[float, ...]:
    sides = {"either": (1.0, -1.0), "up": (1.0,), "down": (-1.0,)}
    if direction not in sides:
        raise InputError(f"direction {direction!r} is unknown: either, up or down")
    return sides[direction]


def _series(values: ArrayLike, what: str) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim == 0 or not x.size:
        raise InputError(f"there are no {what}s: a series needs at least one")
    if not np.isfinite(x).all():
        where = int(np.flatnonzero(~np.isfinite(x))[0])
        raise InputError(f"{what} {where} is not a finite number: leave missing ones out, and say so")
    return x


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise InputError(f"{name} is {value}: give a number between {low:g} and {high:g}, as 0.95")
