"""Several values a query, or a sample that was drawn before its strata: cluster totals, and post-stratification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.means import MINIMUM_NONZERO, Lone, check_sizes, limits, reliable, stratified_difference, t_quantile
from germane.stats.moments import Moments
from germane.stats.skewness import LEANS, reaches
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]


def clustered_difference(
    differences: ArrayLike,
    *,
    strata: ArrayLike,
    populations: Mapping[str, float],
    clusters: ArrayLike,
    each: Literal["row", "cluster"] = "row",
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    lone: Lone = "refuse",
) -> Estimate:
    """The mean paired difference where a query was asked, or a user came, several times; in units of the metric.

    differences, strata, clusters: (n,), a row a request. Clusters (queries, users) were sampled, rows were not: the
    variance and its degrees of freedom are those of cluster totals inside strata, and at least 30 clusters must differ.
    Where a label occurs in several strata, its rows in all of them are one cluster, and `method` says "across strata". each:
    what counts once. "row" is the mean by request (a ratio of totals), with populations in requests; "cluster" the mean of
    cluster means, with populations in clusters. With one row a cluster both are `stratified_difference`. `n` counts distinct
    clusters. lone: a stratum with one cluster, as in `stratified_mean`.

    Source: Cochran, Sampling Techniques (1977), chapter 9A (ratio to size), by linearisation; stratified by eq. 5.6. Across
    strata: Wolter (2007), chapter 6 (the variance between totals of linearised values over the ultimate clusters).
    Raises: InputError for lengths that differ, and a stratum with one cluster; as `stratified_difference`.

    >>> e = clustered_difference([0.1, 0.3, 0.0, 0.2], strata=["a"] * 4, populations={"a": 4}, clusters=["x", "x", "y", "z"])
    >>> round(e.value, 3), round(e.se, 4), e.n, e.df
    (0.15, 0.0573, 3, 2.0)
    """
    d, names = columns(differences, strata)
    labels = np.asarray(clusters).ravel()
    if labels.size != d.size:
        raise InputError(f"{d.size} differences and {labels.size} cluster labels: give one each")
    check_sizes(populations, names.tolist())
    different, number = np.unique(labels, return_inverse=True)
    parts: dict[str, Moments] = {}
    cells: dict[str, _Cells] = {}
    for name, rows in by_stratum(names).items():
        here, code = np.unique(number[rows], return_inverse=True)
        size = np.bincount(code).astype(np.float64)
        if size.size < 2 and lone == "refuse":
            raise InputError(f"stratum {name!r} has {size.size} clusters: 2 are needed for a variance: collapse it first")
        total = np.asarray(np.bincount(code, weights=d[rows]), np.float64)
        parts[name] = Moments.of(total / size) if each == "cluster" else ratio_moments(total, size)
        cells[name] = (here, total / size, np.ones_like(size)) if each == "cluster" else (here, total, size)
    found = stratified_difference(parts, populations, level=level, minimum_nonzero=minimum_nonzero, lone=lone)
    told = ""
    if sum(here.size for here, _, _ in cells.values()) > different.size:
        found, told = _across(found, parts, cells, populations, different.size, minimum_nonzero), " across strata"
    unit = "by request" if each == "row" else "by cluster"
    base, _, rest = found.method.partition(", ")
    return replace(found, method=f"{base} {unit}, {found.n:,} clusters{told}" + (f", {rest}" if rest else ""))


_Cells = tuple[NDArray[np.int64], Floats, Floats]  # (k,) each, of a stratum: the clusters in it, their totals, their sizes


def _across(
    apart: Estimate,
    parts: Mapping[str, Moments],
    cells: Mapping[str, _Cells],
    populations: Mapping[str, float],
    count: int,
    minimum_nonzero: int,
) -> Estimate:
    """The estimate with the variance of `count` clusters that may lie across strata. apart: that of each stratum's as others.

    A cluster's total of linearised values over its strata is z_c = sum_h W_h sqrt(k_h / (k_h - 1)) (T_ch - R_h n_ch) / n_h, and
    the variance sum z_c^2: apart's own if no cluster crosses (but for pooled strata), C / (C - 1) times the plain sum of
    squares if all k_h are C.
    No more degrees of freedom than C - 1, nor than the strata apart would have: a heavy stratum may hold few clusters.
    """
    spare = sum(m.n - 1 for m in parts.values())
    if not spare:
        raise InputError("every stratum has one cluster, and clusters lie across strata: merge strata")
    pooled = sum(m.centred_sq for m in parts.values()) / spare
    whole = sum(populations[name] for name in parts)
    z, differs, variance = np.zeros(count), np.zeros(count, dtype=np.bool_), 0.0
    for name, (here, total, size) in cells.items():
        weight, k = populations[name] / whole, here.size
        differs[here] |= total != 0
        if k < 2:
            variance += weight**2 * pooled
        elif parts[name].centred_sq > 0:  # else nothing but rounding would be left
            residual = (total - total.sum() / size.sum() * size) / size.sum()
            z[here] += weight * sqrt(k / (k - 1)) * residual
    variance += float(z @ z)
    found = replace(apart, n=count, method=apart.method.partition(", ")[0], caveat="")
    if not variance > 0:
        told = "nothing varied: every sampled cluster has the same value"
        return reliable(
            replace(found, se=0.0, low=found.value, high=found.value, caveat=told), int(differs.sum()), minimum_nonzero
        )
    df = min(count - 1.0, count - 1.0 if apart.df is None else apart.df)
    lean = float((z**3).sum()) * sqrt(count * (count - 1)) / (count - 2) / variance**1.5 if count > 2 else 0.0
    se, method = sqrt(variance), found.method + (", limits corrected for skewness" if abs(lean) > LEANS else "")
    below, above = reaches(t_quantile((1 + found.level) / 2, df), lean)
    low, high = found.value - below * se, found.value + above * se
    return reliable(replace(found, se=se, low=low, high=high, df=df, method=method), int(differs.sum()), minimum_nonzero)


def poststratified_difference(
    differences: ArrayLike,
    strata: ArrayLike,
    populations: Mapping[str, float],
    *,
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    finite: bool = False,
    lone: Lone = "refuse",
) -> Estimate:
    """The mean paired difference of a simple random sample, weighted by the known sizes of strata that it did not use.

    differences, strata: (n,). populations: stratum -> its number of queries; every stratum must have been met. The
    numbers per stratum are random, which costs the second term of the variance, sum (1 - W_h) s_h^2 / n^2. finite: the
    first term shrinks by 1 - n / N. lone: as in `stratified_mean`.

    Source: Cochran, Sampling Techniques (1977), section 5A.9.
    Raises: InputError for a stratum of the population with no sampled query (merge it into another: `germane.sampling`),
    and where all have a single one; as `stratified_difference`.

    >>> e = poststratified_difference([0.1, 0.3, 0.0, 0.2, 0.1], ["a", "a", "b", "b", "b"], {"a": 30, "b": 70})
    >>> round(e.value, 3), round(e.se, 4), e.method[:33]
    (0.13, 0.0573, 'post-stratified paired difference')
    """
    d, names = columns(differences, strata)
    rows = by_stratum(names)
    check_sizes(populations, rows)
    for name, size in populations.items():
        if size > 0 and name not in rows:
            raise InputError(f"stratum {name!r} has {size:g} queries and none was sampled: merge it into another stratum")
    parts = {name: Moments.of(d[index]) for name, index in rows.items()}
    plain = stratified_difference(parts, populations, level=level, minimum_nonzero=0, lone=lone)
    if d.size == len(parts):
        raise InputError("every stratum has one sampled query: none has a variance to lend to the others; merge strata")
    whole = sum(populations[name] for name in parts)
    if finite and d.size > whole:
        raise InputError(f"{d.size} sampled queries of a population of {whole:g}: correct the populations, or leave finite off")
    first, second = 0.0, 0.0
    pooled = sum(m.centred_sq for m in parts.values()) / (d.size - len(parts))
    for name, m in parts.items():
        weight, variance = populations[name] / whole, m.variance if m.n > 1 and m.centred_sq else pooled
        first += weight * variance / d.size
        second += (1 - weight) * variance / d.size**2
    se = sqrt(first * (1 - d.size / whole if finite else 1.0) + second)
    _, _, rest = plain.method.partition(", ")
    method = "post-stratified paired difference" + (", finite population" if finite else "") + (f", {rest}" if rest else "")
    if se == 0:
        return reliable(replace(plain, method=method), 0, minimum_nonzero)
    found = limits(replace(plain, se=se, method=method, caveat=""), like=plain)  # the lean is that of the mean, not of its se
    return reliable(found, sum(m.nonzero for m in parts.values()), minimum_nonzero)


def ratio_moments(total: Floats, size: Floats) -> Moments:
    """Moments of the linearised values of sum(total) / sum(size): their mean is that ratio, their variance its variance.

    total, size: (k,), k >= 2, sizes above 0. nonzero counts totals that are not 0. With all sizes 1, the totals' own moments.
    Source: Cochran (1977), chapter 6: residuals total - R size over the mean size.
    """
    relative = size / size.mean()
    ratio = float(total.sum() / size.sum())
    values = total / size.mean() + ratio * (1 - relative)
    return replace(Moments.of(values), nonzero=int(np.count_nonzero(total)))


def columns(differences: ArrayLike, strata: ArrayLike) -> tuple[Floats, NDArray[np.str_]]:
    """(n,) differences and their strata's names. Raises: InputError for lengths that differ, none, or one not finite."""
    d, names = np.asarray(differences, dtype=np.float64).ravel(), np.asarray(strata).ravel().astype(str)
    if d.size != names.size:
        raise InputError(f"{d.size} differences and {names.size} strata: give one each")
    if d.size == 0:
        raise InputError("no differences: there is nothing to estimate from")
    if wrong := np.flatnonzero(~np.isfinite(d)).tolist():
        raise InputError(f"difference {wrong[0]} is not a finite number: leave missing queries out, and say so")
    return d, names


def by_stratum(names: NDArray[np.str_]) -> dict[str, NDArray[np.int64]]:
    """Stratum -> the rows that are in it, in order of names."""
    different, code = np.unique(names, return_inverse=True)
    order = np.argsort(code, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(code))[:-1])
    return {str(name): rows for name, rows in zip(different, parts, strict=True)}
