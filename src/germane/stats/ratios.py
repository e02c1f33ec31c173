"""Weighted means of answers that come in clusters: the documents of one query, drawn with unequal odds."""

from __future__ import annotations

from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import MINIMUM_NONZERO, t_quantile
from germane.types import Estimate, InputError

ROUNDING = 1e-12
"""A standard error below this is rounding: nothing varied."""


def weighted_mean(
    values: ArrayLike, weights: ArrayLike, *, clusters: ArrayLike, level: float = 0.95, method: str = "weighted mean"
) -> Estimate:
    """sum w x / sum w, in units of the values, with a standard error over clusters and t limits at clusters - 1.

    values, weights: (n,), weights positive, as 1 / inclusion probability. clusters: (n,) any labels, such as queries.

    Source: Cochran, Sampling Techniques (1977), section 3.12 (ratio of cluster totals), by linearisation.
    Raises: InputError for fewer than two clusters, lengths that differ, and values or weights that are not usable.

    >>> e = weighted_mean([1.0, 0.0, 1.0, 1.0], [1, 1, 2, 2], clusters=["a", "a", "b", "c"])
    >>> round(e.value, 3), e.n, e.df
    (0.833, 4, 2.0)
    """
    x, w = np.asarray(values, dtype=np.float64).ravel(), np.asarray(weights, dtype=np.float64).ravel()
    labels = np.asarray(clusters).ravel()
    if not x.size == w.size == labels.size:
        raise InputError(f"{x.size} values, {w.size} weights and {labels.size} clusters: give one each")
    if wrong := np.flatnonzero(~(np.isfinite(x) & np.isfinite(w) & (w > 0))).tolist():
        raise InputError(
            f"row {wrong[0]}: value {x[wrong[0]]} with weight {w[wrong[0]]}: expected a number, and a weight above 0"
        )
    different, code = np.unique(labels, return_inverse=True)
    count = different.size
    if count < 2:
        raise InputError(f"{count} clusters: 2 are the least for an interval")
    total = float(w.sum())
    value = float((w * x).sum() / total)
    residual = np.bincount(code, weights=w * (x - value), minlength=count)
    se = sqrt(count / (count - 1) * float((residual**2).sum())) / total
    margin = t_quantile((1 + level) / 2, count - 1) * se
    caveat = "nothing varied: every answer is the same" if se == 0 else ""
    return Estimate(value, se, value - margin, value + margin, x.size, method, level, float(count - 1), caveat)


def few(se: float, n: int) -> str:
    """What to know of a mean of n answers with this standard error before leaning on it; "" for nothing.

    >>> few(0.1, 3), few(0.0, 50), few(0.1, 50)
    ('3 queries: too few to lean on', 'nothing varied: every query has the same value', '')
    """
    if not isfinite(se):
        return "one query: no interval but the whole scale"
    if se == 0:
        return "nothing varied: every query has the same value"
    return f"{n} queries: too few to lean on" if n < MINIMUM_NONZERO else ""


class Domains(NamedTuple):
    """Means of K domains, (K,) each: value and se in units of the values, answers n, and how many of them it rests on.

    effective: (sum u^2)^2 / sum u^4 of the influences, 0 where none has any: few, and the mean is not near normal.
    """

    value: NDArray[np.float64]
    se: NDArray[np.float64]
    n: NDArray[np.int64]
    effective: NDArray[np.float64]


def effective(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D,) how many of the rows' influences (n, D) carry the variance: 1 / the excess kurtosis of a sum of so many jumps.

    >>> effective(np.array([[1.0, 3.0], [-1.0, 0.0], [1.0, 0.0]])).tolist()
    [3.0, 1.0]
    """
    fourth = (u**4).sum(0)
    return np.asarray((u**2).sum(0) ** 2 / np.where(fourth > 0, fourth, 1.0))


def domain_means(
    values: ArrayLike,
    weights: ArrayLike,
    inside: ArrayLike,
    *,
    strata: ArrayLike,
    left: ArrayLike = 1.0,
    known: bool = False,
) -> Domains:
    """Weighted means of K domains, in units of the values, with their standard errors and numbers of answers.

    values: (n, M), NaN where there is no answer. weights: (n,) or (n, M), as requests / inclusion probability. inside: (n, D)
    who is in each domain. K = M * D, value by value. strata: (n,) of the draw. left: one number, (n,) or (n, M), what was left
    to chance: 1 - n_h / N_h where n_h of N_h were taken and nothing else varies, 1 where they stand for others than those.
    NaN where a domain has no weight with an answer, and for the se of fewer than two answers.

        theta = sum w x / sum w     Var = sum_h n_h / (n_h - 1) sum_i left_i (u_hi - mean u_h)^2,   u = w (x - theta) / sum w

    n_h counts all of a stratum's queries, in the domain or not; a stratum of one adds left u^2. Strata are held to their n_h:
    weights should be N_h / n_h, and not a share that was aimed at. known: the weights of each stratum add up to what is known
    of it, such as its requests; then what goes with w in u is no error, and w sum_h u / sum_h w takes the place of mean u_h.
    Source: Särndal, Swensson, Wretman (1992), section 5.6 and 5.8 (domains, ratios), by linearisation; Cochran (1977), 5A.14,
    6.10 (separate ratio estimate); Deville, Särndal (1992), Calibration estimators, for domains where totals are known.

    >>> value, se, n, _ = domain_means([[1.0], [0.0], [1.0]], [1, 1, 2], [[True], [True], [True]], strata=["a", "a", "a"])
    >>> value.tolist(), se.round(3).tolist(), n.tolist()
    ([0.75], [0.286], [3])
    """
    x, domain = np.asarray(values, np.float64), np.asarray(inside, np.bool_)
    w = np.broadcast_to(np.asarray(weights, np.float64).reshape(len(x), -1), x.shape)
    answered = np.isfinite(x)
    every = w
    w, x = np.where(answered, w, 0.0), np.where(answered, x, 0.0)
    part = domain.astype(np.float64)
    total, count = w.T @ part, (w > 0).astype(np.float64).T @ part  # (M, D)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(total > 0, (w * x).T @ part / total, np.nan)
    _, code = np.unique(np.asarray(strata).astype(str), return_inverse=True)
    sizes = np.bincount(code).astype(np.float64)
    variance, carried = np.zeros_like(value), np.zeros_like(value)
    given = np.asarray(left, np.float64)
    open_to = np.broadcast_to(given[:, None] if given.ndim == 1 else given, x.shape)
    several = sizes > 1
    more = np.where(several, sizes / np.maximum(sizes - 1, 1), 1.0)[:, None]
    for m in range(x.shape[1]):
        u = part * (w[:, m : m + 1] * (x[:, m : m + 1] - np.nan_to_num(value[m])))
        carried[m] = effective(u)
        sums = np.zeros((sizes.size, part.shape[1]))
        np.add.at(sums, code, u)
        scale = every[:, m] if known else np.ones(len(x))
        middle = np.where(several[:, None], sums / np.bincount(code, weights=scale, minlength=sizes.size)[:, None], 0.0)
        variance[m] = (more[code] * open_to[:, m : m + 1] * (u - scale[:, None] * middle[code]) ** 2).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.where(count > 1, np.sqrt(variance) / total, np.nan)
    se = np.where(se < ROUNDING, 0.0, se)
    return Domains(value.ravel(), se.ravel(), count.astype(np.int64).ravel(), carried.ravel())
