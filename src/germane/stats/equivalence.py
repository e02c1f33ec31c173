"""Is a judge's bias small enough, for how many queries, and would it have decided as people do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clustered import Undefined, scaled, wilson
from germane.stats.means import t_quantile
from germane.types import BiasAt, Decisions, Equivalence, Estimate, InputError

Numbers = NDArray[np.float64]
VERDICTS = ("better", "worse", "unclear")
_CELLS = 4_000_000  # counts of resampled queries held in memory together


def tost(estimate: Estimate, margin: float, *, alpha: float = 0.05) -> str:
    """ "equivalent", "not equivalent" or "underpowered": whether an effect is shown to lie inside -margin to margin.

    Two one-sided tests: equivalent where the 1 - 2 alpha interval lies inside the margins, not equivalent where all of it
    lies beyond one of them, and underpowered where the data show neither. An estimate without variance, or with the caveat
    "not reliable", shows neither.

    Source: Schuirmann (1987); Lakens (2017) for the three outcomes.
    Raises: InputError for a margin that is not above 0.

    >>> tost(Estimate(0.001, 0.0004, 0, 0, 900, "bias", df=899), 0.002)
    'equivalent'
    """
    return equivalence(estimate, margin, alpha=alpha).verdict


def equivalence(estimate: Estimate, margin: float, *, alpha: float = 0.05, power: float = 0.8) -> Equivalence:
    """What `tost` rests on: p, the 1 - 2 alpha interval, and the number of units that this margin needs.

    needed: units for a chance of `power` to show equivalence if the true effect is 0, at the spread that was seen:
    ((z_(1 - alpha) + z_((1 + power) / 2)) sd / margin)^2.
    Source: Schuirmann (1987); sample size: Chow, Shao, Wang (2008), eq. 3.2.4, at a difference of 0.
    Raises: as `tost`.

    >>> found = equivalence(Estimate(0.0, 0.003, 0, 0, 400, "bias", df=399), 0.002)
    >>> found.verdict, found.needed
    ('underpowered', 7708)
    """
    from scipy.special import ndtr, stdtr

    if not (np.isfinite(margin) and margin > 0):
        raise InputError(f"margin {margin}: give the largest bias that would not matter, above 0, as 0.002")
    if not 0 < alpha < 0.5 or not 0 < power < 1:
        raise InputError(f"alpha {alpha}, power {power}: give alpha between 0 and 0.5 and power between 0 and 1")
    if not estimate.se > 0:
        note = "no error varied, so nothing is known of how large it can be"
        return Equivalence(margin, "underpowered", None, estimate.value, estimate.value, None, note)
    step = t_quantile(1 - alpha, estimate.df) * estimate.se
    low, high = estimate.value - step, estimate.value + step
    z = (margin - abs(estimate.value)) / estimate.se
    p = float(ndtr(-z) if estimate.df is None else stdtr(estimate.df, -z))
    spread = estimate.se * sqrt(estimate.n)
    needed = ceil(((t_quantile(1 - alpha, None) + t_quantile((1 + power) / 2, None)) * spread / margin) ** 2)
    verdict = "equivalent" if -margin < low and high < margin else "underpowered"
    verdict = "not equivalent" if low >= margin or high <= -margin else verdict
    if estimate.caveat.startswith("not reliable"):
        return Equivalence(margin, "underpowered", p, low, high, needed, estimate.caveat)
    return Equivalence(margin, verdict, p, low, high, needed)


def bias_against_queries(
    bias: Estimate, sd: float, *, sizes: Sequence[int] = (100, 300, 1000, 3000, 10000), power: float = 0.8
) -> tuple[BiasAt, ...]:
    """What a judge's paired bias does to experiments of so many queries: the noise shrinks, the bias stays.

    bias: judge minus people, per query. sd: of the judge's paired differences between queries. Each row: se of the judge's
    mean, its MDE, and how often its interval then holds people's answer, P(|Z + bias / se| <= z), at the bias that was
    found and at the far end of its interval.
    Source: Cochran (1977), sec. 1.8 (effect of bias on coverage). Raises: InputError for an sd that is not above 0.

    >>> [round(row.covers, 2) for row in bias_against_queries(Estimate(0.004, 0, 0, 0, 1, ""), 0.06, sizes=[100, 2000])]
    [0.9, 0.15]
    """
    from scipy.special import ndtr

    if not sd > 0:
        raise InputError(f"sd {sd}: the judge's differences do not vary, so no experiment can be planned on them")
    z = t_quantile((1 + bias.level) / 2, None)
    found = np.array([abs(bias.value), max(abs(bias.value), abs(bias.low), abs(bias.high))])
    rows = []
    for n in sizes:
        se = sd / sqrt(n)
        covers, least = (float(share) for share in ndtr(z - found / se) - ndtr(-z - found / se))
        rows.append(BiasAt(n, se, (z + t_quantile(power, None)) * se, covers, least))
    return tuple(rows)


def queries_until(bias: float, sd: float, *, times: float = 1.0) -> int | None:
    """From how many queries on a bias exceeds `times` standard errors of a mean with this sd; None for a bias of 0.

    >>> queries_until(0.004, 0.06), queries_until(0.004, 0.06, times=2.8016)
    (225, 1767)
    """
    return None if bias == 0 else ceil((times * sd / abs(bias)) ** 2 - 1e-9)


def decisions(
    people: ArrayLike,
    judge: ArrayLike,
    *,
    sizes: Sequence[int],
    seed: int,
    experiments: int = 2000,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Decisions, ...]:
    """What people's and the judge's paired differences would have concluded in many experiments of each size.

    people, judge: (n,) paired differences of the same queries. Each experiment draws `size` queries of these with
    replacement, in proportion to `weights` (1 / inclusion probability), and runs a t test on both: better, worse or
    unclear. Estimates hold Monte Carlo error alone; `decision_agreement` adds that of the queries.
    Source: bootstrap of experiments, Efron (1979).
    Raises: InputError for lengths that differ, sizes below 2, and fewer than 2 queries.

    >>> found = decisions([0.1, 0.2, 0.0, 0.1], [0.1, 0.1, 0.0, 0.2], sizes=[50], seed=1, experiments=200)[0]
    >>> found.n, round(found.same.value, 2), [round(sum(row), 2) for row in found.table]
    (50, 1.0, [1.0, 0.0, 0.0])
    """
    a, b, chance = _paired(people, judge, weights)
    rng = np.random.default_rng(seed)
    found = []
    for n in sizes:
        if n < 2:
            raise InputError(f"an experiment of {n} queries: 2 are the least")
        said, signs = _experiments(a, b, chance, n, experiments, rng, level)
        table = np.bincount(3 * said[0] + said[1], minlength=9).reshape(3, 3) / experiments
        clear = (signs[0] != 0) & (signs[1] != 0)
        sign = _of_runs((signs[0] == signs[1])[clear], level, "share with the same sign") if clear.any() else None
        either = (said[0] < 2) & (said[1] < 2)
        opposite = float((either & (said[0] != said[1])).mean())
        rows = tuple(tuple(float(x) for x in row) for row in table)
        found.append(Decisions(n, _of_runs(said[0] == said[1], level, "share with the same decision"), sign, opposite, rows))
    return tuple(found)


def decision_agreement(
    people: ArrayLike,
    judge: ArrayLike,
    *,
    n: int | None = None,
    sign: bool = False,
    seed: int,
    experiments: int = 2000,
    outer: int = 100,
    weights: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """The share (0 to 1) of experiments of n queries in which judge and people decide alike, with an interval over queries.

    The value is that of `decisions`. The interval resamples the queries first (`outer` times) and draws 100 experiments from
    each: what another sample of as many queries could have said. n: as many queries as were given, unless said. sign: the
    share with the same sign of the mean difference instead, of the experiments where both have one.
    Source: double bootstrap, Davison and Hinkley (1997), sec. 3.9. Raises: as `decisions`; Undefined
    where no experiment has a sign.

    >>> e = decision_agreement([0.1, 0.2, 0.0, 0.1] * 20, [0.1, 0.1, 0.0, 0.2] * 20, seed=1)
    >>> e.value, e.n
    (1.0, 80)
    """
    a, b, chance = _paired(people, judge, weights)
    n = a.size if n is None else n
    (whole,) = decisions(a, b, sizes=[n], seed=seed, experiments=experiments, weights=chance, level=level)
    value = whole.sign if sign else whole.same
    if value is None:
        raise Undefined("decisions: no resampled experiment has a difference by people and by the judge, so no sign")
    rng = np.random.default_rng([seed, 1])
    shares = np.full(outer, np.nan)
    for at in range(outer):
        drawn = rng.multinomial(a.size, np.full(a.size, 1 / a.size)) * chance
        said, signs = _experiments(a, b, drawn / drawn.sum(), n, 100, rng, level)
        clear = (signs[0] != 0) & (signs[1] != 0)
        alike = (signs[0] == signs[1])[clear] if sign else said[0] == said[1]
        shares[at] = alike.mean() if alike.size else np.nan
    shares = shares[np.isfinite(shares)]
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]) if shares.size else (0.0, 1.0)
    low, high = min(float(low), value.low), max(float(high), value.high)
    se = float(shares.std(ddof=1)) if shares.size > 1 else 0.5
    name = f"same {'sign' if sign else 'decision'} in {value.n:,} resampled experiments of {n:,} queries, double bootstrap"
    return replace(value, se=se, low=low, high=high, n=int(a.size), method=name, caveat="")


def _paired(people: ArrayLike, judge: ArrayLike, weights: ArrayLike | None) -> tuple[Numbers, Numbers, Numbers]:
    a, b = (np.asarray(side, dtype=np.float64).ravel() for side in (people, judge))
    if a.size != b.size or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(f"{a.size} differences of people and {b.size} of the judge: give one finite number each a query")
    if a.size < 2:
        raise Undefined(f"decisions: {a.size} queries, and 2 are the least to resample")
    w = scaled(weights, a.size)
    return a, b, w / w.sum()


def _experiments(
    a: Numbers, b: Numbers, chance: Numbers, n: int, experiments: int, rng: np.random.Generator, level: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(2, experiments) each: verdicts of people and judge as places in VERDICTS, and signs of their means."""
    at_once = max(1, _CELLS // a.size)
    sums = []
    powers = np.column_stack([a, a**2, b, b**2])
    for start in range(0, experiments, at_once):
        counts = rng.multinomial(n, chance, size=min(at_once, experiments - start))
        sums.append(counts @ powers)
    total = np.concatenate(sums) / n
    said, signs = [], []
    for side in (0, 2):
        mean, square = total[:, side], total[:, side + 1]
        noise = 1e-12 * (abs(a).max() + abs(b).max() + 1e-300)
        mean = np.where(abs(mean) < noise, 0.0, mean)
        se = np.sqrt(np.maximum(square - mean**2, 0.0) / (n - 1))
        clear = abs(mean) > t_quantile((1 + level) / 2, n - 1) * se
        said.append(np.where(clear & (mean > 0), 0, np.where(clear & (mean < 0), 1, 2)))
        signs.append(np.sign(mean).astype(np.int64))
    return np.array(said), np.array(signs)


def _of_runs(hit: NDArray[np.bool_], level: float, method: str) -> Estimate:
    """A share of simulated experiments: its interval is Monte Carlo error."""
    p, n = float(hit.mean()), int(hit.size)
    low, high = wilson(p, n, t_quantile((1 + level) / 2, None))
    caveat = "the interval is Monte Carlo error alone"
    return Estimate(p, sqrt(p * (1 - p) / n), low, high, n, f"{method}, Wilson over resampled experiments", level, None, caveat)
