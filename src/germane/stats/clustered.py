"""Intervals for shares and for functions of count tables, where answers come in clusters: the pairs of one query are alike."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import t_quantile
from germane.types import Estimate, InputError

FEW = 10
"""With fewer clusters than this an estimate carries a caveat. Source: docs/statistics/agreement.md, coverage table."""

Numbers = NDArray[np.float64]
_AT_ONCE = 1 << 16  # leave-one-out tables held in memory together


class Undefined(InputError):
    """A statistic that has no value on these answers, as precision where nothing was answered. Never 0 or NaN instead."""


class Tables(NamedTuple):
    """Counts that add: `tables[d]` is what one cluster holds, `counts[d]` how many clusters hold exactly that.

    tables: (D, ...) float, weighted counts. counts: (D,) int. n: pairs or units counted. many: pairs share clusters.
    """

    tables: Numbers
    counts: NDArray[np.int64]
    n: int
    many: bool
    weighted: bool

    @classmethod
    def of(
        cls, cells: NDArray[np.int64], shape: tuple[int, ...], *, clusters: ArrayLike | None, weights: ArrayLike | None
    ) -> Tables:
        """One answer a row: cells (n,) are flat indices into `shape`. Without clusters every row stands for itself."""
        size, n, w = int(np.prod(shape)), len(cells), scaled(weights, len(cells))
        if clusters is not None:
            code, count = codes(clusters, n)
            flat = np.bincount(code * size + cells, weights=w, minlength=count * size)
            tables = np.asarray(flat, np.float64).reshape(count, *shape)
            return cls(tables, np.ones(count, np.int64), n, True, weights is not None)
        value, value_of = np.unique(w, return_inverse=True)
        different, counts = np.unique(value_of * size + cells, return_counts=True)
        tables = np.zeros((len(different), size))
        tables[np.arange(len(different)), different % size] = value[different // size]
        return cls(tables.reshape(-1, *shape), counts.astype(np.int64), n, False, weights is not None)


class LeftOut(NamedTuple):
    """A statistic, and what it becomes without each cluster.

    value: of all answers. values: (D,) without one cluster, counts: (D,) how many clusters give just that. size: the
    effective number of clusters. n: pairs. many: pairs share clusters.
    """

    value: float
    values: Numbers
    counts: NDArray[np.int64]
    size: float
    n: int
    many: bool
    weighted: bool


def share(
    hit: ArrayLike,
    *,
    among: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    method: str = "share",
) -> Estimate:
    """The share (0 to 1) of answers that are hits, with a Wilson interval that respects clusters.

    hit: (n,) bool. among: (n,) bool, the answers that count at all. clusters: (n,) any labels. weights: (n,) positive, as
    1 / inclusion probability. With clusters or weights the variance is that of a ratio of cluster totals and the Wilson
    interval takes the effective size p (1 - p) / variance, at most n, with t limits at clusters - 1. At a share of 0
    or 1, which shows no variance, the effective number of clusters is the size: each counts as one answer.

    Source: Wilson (1927), p. 209; Cochran (1977), sec. 3.12 (ratio of cluster totals); Korn and Graubard (1998), effective
    size with t / z; Kish (1965), sec. 11.7, effective number.
    Raises: Undefined where `among` leaves nothing; InputError for lengths that differ and weights that are not positive.

    >>> e = share([True] * 8 + [False] * 2)
    >>> round(e.value, 2), round(e.low, 3), round(e.high, 3)
    (0.8, 0.49, 0.943)
    """
    x = np.asarray(hit, dtype=bool).ravel()
    base = np.ones(x.size, bool) if among is None else np.asarray(among, dtype=bool).ravel()
    if base.size != x.size:
        raise InputError(f"{x.size} answers and {base.size} values in `among`: give one each")
    w = scaled(weights, x.size)[base]
    code, count = (np.arange(x.size), x.size) if clusters is None else codes(clusters, x.size)
    x, code, n = x[base], code[base], int(base.sum())
    if n == 0:
        raise Undefined(f"{method}: none of the {base.size} answers counts, so the share has no value")
    totals = np.bincount(code, weights=w, minlength=count)
    hits = np.bincount(code, weights=w * x, minlength=count)
    p = float(hits.sum() / totals.sum())
    held = int((totals > 0).sum())
    name = _named(method, held, "pairs" if clusters is None else "clusters", weights is not None, "Wilson")
    if clusters is None and weights is None:
        low, high = wilson(p, n, t_quantile((1 + level) / 2, None))
        return Estimate(p, sqrt(p * (1 - p) / n), low, high, n, name, level)
    if held < 2:
        return _unknown(p, (0.0, 1.0), n, name, level, "clusters" if clusters is not None else "pairs")
    variance = held / (held - 1) * float(((hits - p * totals) ** 2).sum()) / float(totals.sum()) ** 2
    size = min(p * (1 - p) / variance, n) if variance > 0 else effective(np.asarray(totals, np.float64))
    low, high = wilson(p, size, t_quantile((1 + level) / 2, held - 1))
    return Estimate(p, sqrt(variance), low, high, n, name, level, float(held - 1), _few(held, clusters is not None))


def mean(
    values: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    bounds: tuple[float, float] = (-inf, inf),
    level: float = 0.95,
    method: str = "mean",
) -> Estimate:
    """The weighted mean of numbers that come in clusters, in their own unit, with t limits.

    values: (n,) finite. clusters, weights: as in `share`. strata: (n,) any labels, one for all of a cluster's rows: the
    variance is then that inside strata. A stratum of one cluster is centred on the mean of all, which errs on the wide side.
    bounds: of the values; the limits are held inside.

    Source: Cochran (1977), sec. 3.12 (ratio of cluster totals), by strata as in Wolter (2007), sec. 6.3; t at clusters -
    strata degrees of freedom (Korn and Graubard 1998).
    Raises: Undefined for fewer than two clusters; InputError for values that are not finite and lengths that differ.

    >>> e = mean([0.1, 0.3, 0.2, 0.4], clusters=["a", "a", "b", "b"])
    >>> round(e.value, 3), round(e.se, 3), e.n, e.df
    (0.25, 0.05, 4, 1.0)
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(x).all():
        raise InputError(f"{method}: a value is missing or infinite: leave such rows out, and report how many")
    w = scaled(weights, x.size) if x.size else x
    code, held = (np.arange(x.size), x.size) if clusters is None else codes(clusters, x.size)
    unit = "pairs" if clusters is None else "clusters"
    if held < 2:
        raise Undefined(f"{method}: {held} of the {unit}, and 2 are the least for an interval")
    value = float((w * x).sum() / w.sum())
    errors = np.bincount(code, weights=w * (x - value), minlength=held) / w.sum()
    variance, df = _within(errors, _of_cluster(strata, code, held))
    name = _named(method, held, unit, weights is not None, "t")
    if variance <= (1e-14 * max(1.0, float(abs(x).max()))) ** 2:
        return Estimate(value, 0.0, value, value, x.size, name, level, df, "nothing varied: the interval has no width")
    margin = t_quantile((1 + level) / 2, df) * sqrt(variance)
    caveat = _few(held, clusters is not None)
    low, high = max(value - margin, bounds[0]), min(value + margin, bounds[1])
    return Estimate(value, sqrt(variance), low, high, x.size, name, level, df, caveat)


def quantile(
    values: ArrayLike,
    probability: float,
    *,
    clusters: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    method: str = "quantile",
) -> Estimate:
    """The value that a share `probability` of the (weighted) numbers lies below, in their own unit.

    The interval inverts that of the share: the quantiles at Wilson's limits of `probability`, at the effective size of the
    share of values up to the quantile. Its se is the interval's half width over the t quantile.

    Source: Woodruff (1952), sec. 3; Hyndman and Fan (1996), definition 2.
    Raises: Undefined for fewer than two clusters; InputError for a probability not inside 0 and 1.

    >>> e = quantile(range(101), 0.1)
    >>> e.value, e.low, e.high
    (10.0, 5.0, 17.0)
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if not 0 < probability < 1:
        raise InputError(f"{method}: probability {probability}: give one between 0 and 1, as 0.9")
    if not np.isfinite(x).all():
        raise InputError(f"{method}: a value is missing or infinite: leave such rows out, and report how many")
    held = x.size if clusters is None else codes(clusters, x.size)[1]
    unit = "pairs" if clusters is None else "clusters"
    if held < 2:
        raise Undefined(f"{method}: {held} of the {unit}, and 2 are the least for an interval")
    order = np.argsort(x, kind="stable")
    x, w = x[order], scaled(weights, x.size)[order]
    value = _quantile(x, w, probability)
    own = None if clusters is None else np.asarray(clusters).ravel()[order]
    below = share(x <= value, clusters=own, weights=None if weights is None else w, level=level)
    size = below.n if below.se == 0 else min(below.value * (1 - below.value) / below.se**2, below.n)
    step = t_quantile((1 + level) / 2, held - 1)
    limits = wilson(probability, size if below.se > 0 else min(float(held), size), step)
    low, high = (_quantile(x, w, limit) for limit in limits)
    beyond = size * min(probability, 1 - probability)
    caveat = f"about {beyond:.0f} {unit} lie beyond it: the interval is a rough one" if beyond < FEW / 2 else ""
    name = _named(method, held, unit, weights is not None, "Woodruff")
    return Estimate(value, (high - low) / (2 * step), low, high, x.size, name, level, float(held - 1), caveat)


def jackknife(
    statistic: Callable[[Numbers], Numbers],
    tables: Tables,
    *,
    lowest: float,
    level: float,
    method: str,
    base: Callable[[Numbers], Numbers] | None = None,
) -> Estimate:
    """A smooth function of the total table, with a leave-one-cluster-out standard error and t limits on a logit scale.

    statistic: (..., tables) -> (...), at most 1 and at least `lowest`, NaN where it has no value. base: (..., tables) ->
    (..., parts), the counts that each part of the statistic rests on, all counts unless given: see `limits`.

    Raises: Undefined where the statistic has no value on all answers.
    """
    total = np.tensordot(tables.counts, tables.tables, 1)
    value = float(statistic(total[None])[0])
    if not np.isfinite(value):
        raise Undefined(f"{method} has no value on these {tables.n} answers: all are the same")
    parts = [tables.tables[start : start + _AT_ONCE] for start in range(0, len(tables.tables), _AT_ONCE)]
    values = np.concatenate([statistic(total - part) for part in parts])
    masses = tables.tables.reshape(len(tables.tables), -1).sum(1)[:, None] if base is None else base(tables.tables)
    size = min(effective(column, tables.counts) for column in masses.T if column.any())
    left = LeftOut(value, values, tables.counts, size, tables.n, tables.many, tables.weighted)
    return limits(left, (lowest, 1.0), level=level, method=method)


def limits(left: LeftOut, bounds: tuple[float, float], *, level: float, method: str, df: float | None = None) -> Estimate:
    """The estimate with its jackknife interval, inside `bounds`: t limits at clusters - 1, or `df`, on the logit of the value.

    At a bound (perfect agreement) nothing varies. There the interval reaches to where a share of answers given at random
    could still have stayed unseen: Wilson's limit at the effective number of clusters.

    Source: Efron and Stein (1981), sec. 1, around the estimate itself; Wolter (2007), sec. 4.2; delta method to the logit.
    """
    (low, high), value = bounds, left.value
    held, unit = int(left.counts.sum()), "clusters" if left.many else "pairs"
    name = _named(method, held, unit, left.weighted, "jackknife")
    if held < 2 or not np.isfinite(left.values).all():
        return _unknown(value, bounds, left.n, name, level, unit)
    df = float(held - 1) if df is None else df
    quantile = t_quantile((1 + level) / 2, df)
    se = sqrt((held - 1) / held * float((left.counts * (left.values - value) ** 2).sum()))
    place = (value - low) / (high - low)
    caveat = _few(held, left.many)
    if min(place, 1 - place) < 1e-12:
        gap = 1 - wilson(1.0, left.size, quantile)[0]
        below, above = (high - gap, high) if place > 0.5 else (low, low + gap)
    else:
        step = quantile * se / (high - low) / (place * (1 - place))
        logit = log(place / (1 - place))
        below, above = low + (high - low) * _expit(logit - step), low + (high - low) * _expit(logit + step)
        if se == 0:
            caveat = f"all {held} {unit} agree exactly alike: the interval has no width"
    return Estimate(value, se, below, above, left.n, name, level, df, caveat)


def wilson(p: float, size: float, quantile: float) -> tuple[float, float]:
    """Wilson's limits of a share p of `size` independent answers. Source: Wilson (1927), p. 209.

    >>> [round(limit, 4) for limit in wilson(1.0, 10, 1.96)]
    [0.7225, 1.0]
    """
    z2 = quantile**2
    centre = p + z2 / (2 * size)
    spread = quantile * sqrt(max(p * (1 - p), 0.0) / size + z2 / (4 * size**2))
    below, above = (centre - spread) / (1 + z2 / size), (centre + spread) / (1 + z2 / size)
    return (0.0 if p <= 0 else max(below, 0.0)), (1.0 if p >= 1 else min(above, 1.0))


def effective(masses: Numbers, counts: NDArray[np.int64] | None = None) -> float:
    """How many equal clusters would weigh as evenly as these. Source: Kish (1965), sec. 11.7.

    >>> effective(np.array([2.0, 2.0])), effective(np.array([1.0, 0.0]))
    (2.0, 1.0)
    """
    times = np.ones(len(masses)) if counts is None else counts
    return float((times * masses).sum() ** 2 / (times * masses**2).sum())


def codes(clusters: ArrayLike, n: int) -> tuple[NDArray[np.int64], int]:
    """Cluster labels as 0, 1, ... and how many there are. Raises: InputError for another number of labels than rows."""
    labels = np.asarray(clusters).ravel()
    if labels.size != n:
        raise InputError(f"{n} answers and {labels.size} cluster labels: give one each")
    different, code = np.unique(labels, return_inverse=True)
    return code.astype(np.int64), len(different)


def scaled(weights: ArrayLike | None, n: int) -> Numbers:
    """Weights (n,) with mean 1; all 1 where none are given. Raises: InputError for another number, and one not above 0."""
    if weights is None:
        return np.ones(n)
    w = np.asarray(weights, dtype=np.float64).ravel()
    if w.size != n:
        raise InputError(f"{n} answers and {w.size} weights: give one each")
    if wrong := np.flatnonzero(~(np.isfinite(w) & (w > 0))).tolist():
        raise InputError(f"weight {w[wrong[0]]} at row {wrong[0]}: give positive numbers, as 1 / inclusion probability")
    return np.asarray(w / w.mean())


def _of_cluster(strata: ArrayLike | None, code: NDArray[np.int64], held: int) -> NDArray[np.int64]:
    """The stratum of each cluster, as a number. Raises: InputError for a cluster that lies in two."""
    if strata is None:
        return np.zeros(held, np.int64)
    own = codes(strata, len(code))[0]
    of = np.zeros(held, np.int64)
    of[code] = own
    if (of[code] != own).any():
        raise InputError("a cluster lies in two strata: give each query one")
    return of


def _within(errors: Numbers, stratum: NDArray[np.int64]) -> tuple[float, float]:
    """(variance of a total of cluster errors inside strata, degrees of freedom)."""
    counts = np.bincount(stratum)
    df = int(len(errors) - (counts > 0).sum())
    if df == 0:  # every stratum has one cluster: as if there were no strata
        stratum, counts, df = np.zeros_like(stratum), np.array([len(errors)]), len(errors) - 1
    centre = np.where(counts > 1, np.bincount(stratum, weights=errors) / np.maximum(counts, 1), 0.0)
    scale = np.where(counts > 1, counts / np.maximum(counts - 1, 1), 1.0)
    return float((scale[stratum] * (errors - centre[stratum]) ** 2).sum()), float(df)


def _quantile(x: Numbers, w: Numbers, probability: float) -> float:
    """Of sorted values: the first with at least this share of weight up to it, or the middle of two where it is exact."""
    upto = np.cumsum(w) / w.sum()
    at = min(int(np.searchsorted(upto, probability - 1e-12)), len(x) - 1)
    exact = abs(upto[at] - probability) <= 1e-12 and at + 1 < len(x)
    return float((x[at] + x[at + 1]) / 2 if exact else x[at])


def _unknown(value: float, bounds: tuple[float, float], n: int, method: str, level: float, unit: str) -> Estimate:
    """The value with the widest interval there is: it rests on one cluster, which says nothing about others."""
    caveat = f"rests on one of the {unit} alone: nothing is known about others, and the interval holds every value"
    return Estimate(value, (bounds[1] - bounds[0]) / 2, *bounds, n, method, level, None, caveat)


def _few(held: int, clustered: bool) -> str:
    return f"only {held} clusters: the interval is a rough one" if clustered and held < FEW else ""


def _named(method: str, held: int, unit: str, weighted: bool, limits: str) -> str:
    return f"{'weighted ' if weighted else ''}{method}, {limits} over {held} {unit}"


def _expit(x: float) -> float:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))
