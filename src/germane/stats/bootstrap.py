"""Resampling for a mean whose normal limit fails: the studentised bootstrap inside strata, beside the closed correction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clusters import by_stratum, columns
from germane.stats.means import MINIMUM_NONZERO, Groups, reliable, stratified_difference, variance_groups
from germane.stats.moments import Moments
from germane.types import Estimate, InputError

Floats = NDArray[np.float64]
_AT_ONCE = 1 << 22  # resampled values held in memory together


def bootstrap_difference(
    differences: ArrayLike,
    *,
    strata: ArrayLike,
    populations: Mapping[str, float],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int,
    minimum_nonzero: int = MINIMUM_NONZERO,
) -> Estimate:
    """The mean paired difference with bootstrap-t limits, in units of the metric; value, se and df are those of t.

    differences, strata: (n,). populations: stratum -> its number of queries. Each resample redraws every stratum's
    residuals at its own size and studentises with its own standard error; strata too thin for a variance of their own
    are redrawn from the residuals that they share, as `stratified_difference` pools them. One seed, one answer. It is a
    check on the closed correction that `stratified_difference` makes by itself, at 2,000 times its cost and no better
    coverage (docs/statistics/bootstrap.md). Where too many resamples show no variance at all, t limits are given and said.

    Source: Efron (1982), section 10.7; Hall (1988), Theoretical comparison of bootstrap confidence intervals, section 2;
    residuals scaled by sqrt(m / (m - 1)): Davison and Hinkley (1997), section 3.7.2.
    Raises: InputError for fewer than 100 resamples; as `stratified_difference`.

    >>> e = bootstrap_difference([0.0] * 30 + [0.1] * 9 + [0.9], strata=["a"] * 40, populations={"a": 40}, seed=1)
    >>> round(e.value, 3), round(e.se, 3), e.high - e.value > 2 * (e.value - e.low)
    (0.045, 0.023, True)
    """
    if resamples < 100:
        raise InputError(f"{resamples} resamples are too few for a limit: give at least 100, better 2,000")
    d, names = columns(differences, strata)
    rows = by_stratum(names)
    parts = {name: Moments.of(d[index]) for name, index in rows.items()}
    plain = stratified_difference(parts, populations, level=level, minimum_nonzero=0, limits="t")
    nonzero = int(np.count_nonzero(d))
    if plain.se == 0:
        return reliable(plain, nonzero, minimum_nonzero)
    residuals = {name: (d[index] - parts[name].mean) * sqrt(index.size / (index.size - 1)) for name, index in rows.items()}
    size = sum(populations[name] for name in rows)
    weights = {name: populations[name] / size for name in rows}
    t = _studentised(residuals, weights, variance_groups(parts, lone_only=True), resamples, np.random.default_rng(seed))
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    if not (np.isfinite(low) and np.isfinite(high)):
        told = reliable(plain, nonzero, minimum_nonzero)
        method = f"{plain.method}, t limits: too many of {resamples:,} resamples do not vary"
        return replace(told, method=method, caveat=told.caveat or "not reliable: too few differences are not zero to resample")
    method = f"{plain.method}, bootstrap-t, {resamples:,} resamples"
    found = replace(plain, low=plain.value - float(high) * plain.se, high=plain.value - float(low) * plain.se, method=method)
    return reliable(found, nonzero, minimum_nonzero)


def _studentised(
    residuals: Mapping[str, Floats], weights: Mapping[str, float], groups: Groups, resamples: int, rng: np.random.Generator
) -> Floats:
    """(resamples,) the stratified mean of redrawn residuals over its own standard error; infinite where nothing varied."""
    mean, variance = np.zeros(resamples), np.zeros(resamples)
    for takers, lenders in groups:
        source = np.concatenate([residuals[name] for name in lenders])
        sizes = np.array([residuals[name].size for name in takers])
        share = np.array([weights[name] for name in takers])
        step = max(1, _AT_ONCE // int(sizes.sum()))
        for start in range(0, resamples, step):
            count = min(step, resamples - start)
            drawn = source[rng.integers(0, source.size, (count, int(sizes.sum())))]
            starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            means = np.add.reduceat(drawn, starts, axis=1) / sizes
            squares = np.add.reduceat(drawn**2, starts, axis=1) - sizes * means**2
            pooled = np.maximum(squares.sum(axis=1), 0.0) / (sizes - 1).sum()
            mean[start : start + count] += means @ share
            variance[start : start + count] += pooled * float((share**2 / sizes).sum())
    still = variance <= 1e-24 * variance.max()
    return np.asarray(np.where(still, np.copysign(np.inf, mean), mean / np.sqrt(np.where(still, 1.0, variance))))
