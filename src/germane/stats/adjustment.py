"""Regression adjustment (CUPED): what a covariate with a known population mean says of the difference is taken out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clusters import by_stratum, columns
from germane.stats.means import MINIMUM_NONZERO, Lone, limits, stratified_difference
from germane.stats.moments import Moments
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]
Rows = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The adjusted estimate beside the plain one. coefficients: (p,) of the covariates, pooled over strata.

    variance_ratio: adjusted variance over plain, about 1 - rho^2 with rho the correlation of covariate and *difference*
    inside strata; above 1 the covariate only cost degrees of freedom.
    """

    estimate: Estimate
    unadjusted: Estimate
    coefficients: tuple[float, ...]
    variance_ratio: float


def adjusted_difference(
    differences: ArrayLike,
    covariates: ArrayLike,
    *,
    strata: ArrayLike,
    populations: Mapping[str, float],
    covariate_means: Mapping[str, ArrayLike] | ArrayLike,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    own_from: int | None = None,
    lone: Lone = "refuse",
) -> Estimate:
    """The mean paired difference, less what the sample's luck with the covariates explains; in units of the metric.

    Arguments as `adjusted`, of which this is the estimate.

    >>> d, x = [0.1, 0.2, 0.3, 0.4, 0.5], [1.0, 2.0, 3.0, 4.0, 5.5]
    >>> e = adjusted_difference(d, x, strata=["a"] * 5, populations={"a": 50}, covariate_means=[2.6])
    >>> round(e.value, 3), round(e.se, 4), e.df, e.method[:56]
    (0.255, 0.0074, 3.0, 'paired difference, regression adjusted (variance x 0.01)')
    """
    return adjusted(
        differences,
        covariates,
        strata=strata,
        populations=populations,
        covariate_means=covariate_means,
        level=level,
        minimum_nonzero=minimum_nonzero,
        own_from=own_from,
        lone=lone,
    ).estimate


def adjusted(
    differences: ArrayLike,
    covariates: ArrayLike,
    *,
    strata: ArrayLike,
    populations: Mapping[str, float],
    covariate_means: Mapping[str, ArrayLike] | ArrayLike,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    own_from: int | None = None,
    lone: Lone = "refuse",
) -> Adjusted:
    """The regression estimate sum W_h (dbar_h - b' (xbar_h - mu_h)), with the plain estimate and the ratio of variances.

    differences, strata: (n,). covariates: (n,) or (n, p), known before the experiment: past level, student's score. They
    help as far as they correlate with the *difference*; a level hardly does. covariate_means: their means in the population,
    stratum -> (p,), or one (p,) for all of it. own_from: strata with at least so many queries take a coefficient of their own
    (None: one pooled coefficient for all, the one of least variance). The variance is that of the residuals; each coefficient
    costs a degree of freedom. Covariates that are constant inside all strata are left out, and `caveat` says so. lone: as in
    `stratified_mean`; a stratum of one query says nothing of the coefficients.

    Source: Cochran, Sampling Techniques (1977), section 7.10 (combined and separate regression estimates); Deng, Xu, Kohavi,
    Walker (2013), CUPED.
    Raises: InputError for missing values, a population mean that is missing, and too few queries for the coefficients.
    """
    d, names = columns(differences, strata)
    rows = by_stratum(names)
    x = _covariates(covariates, d.size)
    centres = _centres(covariate_means, rows, x.shape[1], own_from)
    plain = stratified_difference(
        {name: Moments.of(d[index]) for name, index in rows.items()},
        populations,
        level=level,
        minimum_nonzero=minimum_nonzero,
        lone=lone,
    )
    inside = x.copy()
    for index in rows.values():
        inside[index] -= x[index].mean(axis=0)
    varies = np.asarray((np.abs(inside) > 1e-12 * (1 + np.abs(x))).any(axis=0), dtype=np.bool_)
    if not varies.any():
        told = "not adjusted: the covariate is constant in every stratum"
        return Adjusted(replace(plain, caveat=plain.caveat or told), plain, (0.0,) * x.shape[1], 1.0)
    values, own = np.array(d), np.zeros(d.size, bool)
    spare = d.size - len(rows) - int(varies.sum())
    if spare < 1:
        raise InputError(f"{d.size} queries in {len(rows)} strata cannot bear {int(varies.sum())} coefficients: merge strata")
    pooled = _coefficients(d, inside, varies, rows, populations)
    parts = {}
    for name, index in rows.items():
        beta, lost = pooled, (d.size - len(rows)) / spare
        if own_from is not None and index.size >= max(own_from, int(varies.sum()) + 3):
            beta = _coefficients(d, inside, varies, {name: index}, populations)
            lost = (index.size - 1) / (index.size - 1 - int(varies.sum()))
            own[index] = True
        values[index] -= (x[index] - centres[name]) @ beta
        m = Moments.of(values[index])
        # residuals of a fit are too small by the degrees of freedom that it took; a zero difference stays one
        cubes, nonzero = m.centred_cubes * lost**1.5, int(np.count_nonzero(d[index]))
        parts[name] = replace(m, centred_sq=m.centred_sq * lost, centred_cubes=cubes, nonzero=nonzero)
    found = stratified_difference(parts, populations, level=level, minimum_nonzero=minimum_nonzero, lone=lone)
    df = None if found.df is None else found.df * spare / (d.size - len(rows))
    ratio = found.se**2 / plain.se**2 if plain.se > 0 else 1.0
    base, _, rest = found.method.partition(", ")
    how = "regression adjusted" + (", own coefficients in large strata" if own.any() else "")
    method = f"{base}, {how} (variance x {ratio:.2f})" + (f", {rest}" if rest else "")
    estimate = limits(replace(found, df=df, method=method), like=found)
    caveat = "" if varies.all() else "covariates that are constant in every stratum were left out"
    return Adjusted(replace(estimate, caveat=estimate.caveat or caveat), plain, tuple(float(b) for b in pooled), float(ratio))


def _coefficients(d: Floats, inside: Floats, varies: NDArray[np.bool_], rows: Rows, populations: Mapping[str, float]) -> Floats:
    """(p,) least squares inside strata, each query weighted by its part of the estimate's variance, W_h^2 / m_h (m_h - 1)."""
    used = np.concatenate(list(rows.values()))
    scale = np.zeros(d.size)
    for name, index in rows.items():
        if index.size > 1 and populations.get(name, 0) > 0:
            scale[index] = populations[name] / np.sqrt(index.size * (index.size - 1))
    off = np.array(d)
    for index in rows.values():
        off[index] -= d[index].mean()
    size = np.sqrt((inside[:, varies] ** 2).mean(axis=0))
    fitted, *_ = np.linalg.lstsq(scale[used, None] * inside[used][:, varies] / size, scale[used] * off[used], rcond=1e-10)
    beta = np.zeros(inside.shape[1])
    beta[varies] = fitted / size
    return beta


def _covariates(values: ArrayLike, n: int) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or x.shape[0] != n:
        raise InputError(f"{n} differences and covariates of shape {x.shape}: give (n,) or (n, p), a row a query")
    if not np.isfinite(x).all():
        row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(x)))
        raise InputError(
            f"covariate {column} of row {row} is missing: every sampled query needs one; leave the covariate out, or fill it "
            "by a rule that does not look at the outcome, in the population's mean too"
        )
    return x


def _centres(means: Mapping[str, ArrayLike] | ArrayLike, rows: Rows, p: int, own_from: int | None) -> dict[str, Floats]:
    """Stratum -> (p,) the covariates' means in its population, or in the whole one for all."""
    per_stratum = isinstance(means, Mapping)
    if not per_stratum and own_from is not None:
        raise InputError("coefficients per stratum need the covariate's mean in each stratum: give covariate_means by stratum")
    found = {}
    for name in rows:
        given = means.get(name) if isinstance(means, Mapping) else means
        if given is None:
            raise InputError(f"stratum {name!r} has no population mean of the covariate: it must be known, not estimated here")
        centre = np.atleast_1d(np.asarray(given, dtype=np.float64)).ravel()
        if centre.size != p or not np.isfinite(centre).all():
            where = f"of stratum {name!r}" if per_stratum else "of the population"
            raise InputError(f"the covariate means {where} are {centre.tolist()}: expected {p} finite numbers")
        found[name] = centre
    return found
