"""Is a judge's error the same in all bands of price, length or language? A test of equal means that knows shared queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.stats.clustered import Undefined, codes, scaled
from germane.stats.segments import heterogeneity
from germane.types import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST = 10
"""Queries that a band needs to be tested: with fewer its variance is a guess, and the test finds what is not there."""


class Evenness(NamedTuple):
    """The test that all bands have one mean: an F statistic, its degrees of freedom, p, and the bands that took part."""

    statistic: float
    df: tuple[float, float]
    p: float
    bands: tuple[str, ...]


def evenness(
    values: ArrayLike, bands: ArrayLike, *, clusters: ArrayLike, weights: ArrayLike | None = None, least: int = LEAST
) -> Evenness:
    """The test that the mean of `values` is the same in every band.

    values: (n,) finite. bands: (n,) names. clusters: (n,) the query of each row: rows of one query are alike. Where each
    query lies in one band, as bands of query length do, the bands are independent and Welch's test compares them. Where
    queries lie in several, as bands of price do, their means are correlated, and Wald's test uses the whole covariance, by
    linearisation over queries. weights: (n,) positive. least: bands with rows of fewer queries are left out.

    Source: Welch (1951), as `segments.heterogeneity`; Korn and Graubard (1990), Am. Stat. 44, 270 (Wald's statistic as F
    with c - k + 1 degrees of freedom); Cochran (1977), sec. 3.12, for the linearised means.
    Raises: Undefined for fewer than two bands, for too few queries, and where nothing varies; InputError for lengths.

    >>> e = evenness([0, 1, 1, 0, 1] * 4, ["a"] * 10 + ["b"] * 10, clusters=range(20))
    >>> e.bands, round(e.p, 2)
    (('a', 'b'), 1.0)
    """
    x, names = np.asarray(values, dtype=np.float64).ravel(), np.asarray(bands).ravel().astype(str)
    if x.size != names.size:
        raise InputError(f"{x.size} values and {names.size} bands: give one each")
    w, code = scaled(weights, x.size) if x.size else x, codes(clusters, x.size)[0]
    kept = [name for name in sorted(set(names.tolist())) if len(set(code[names == name].tolist())) >= least]
    if len(kept) < 2:
        raise Undefined(f"{len(kept)} bands with rows of at least {least} queries: two are the least that can differ")
    inside = np.isin(names, kept)
    x, w, of = x[inside], w[inside], np.searchsorted(kept, names[inside])
    own, held = codes(code[inside], int(inside.sum()))
    k = len(kept)
    mass = np.bincount(of, w, k)
    means = np.bincount(of, w * x, k) / mass
    influence = np.zeros((held, k))
    np.add.at(influence, (own, of), w * (x - means[of]) / mass[of])
    counts = np.bincount(of[np.unique(own * k + of, return_index=True)[1]], minlength=k)
    if counts.sum() == held:  # no query lies in two bands
        return _apart(means, influence, counts, kept)
    covariance = held / (held - 1) * influence.T @ influence
    contrast = np.eye(k)[1:] - np.eye(k)[0]
    spread = contrast @ covariance @ contrast.T
    if held <= k or np.linalg.matrix_rank(spread, tol=1e-14) < k - 1:
        raise Undefined("too few queries, or nothing varies in some band: the bands cannot be compared")
    return _together(contrast @ means, spread, held, kept)


def _apart(means: Floats, influence: Floats, counts: Ints, kept: list[str]) -> Evenness:
    se = np.sqrt(counts / (counts - 1) * (influence**2).sum(0))
    if not (se > 0).all():
        raise Undefined(f"nothing varies in band {kept[int(np.flatnonzero(se <= 0)[0])]}: the bands cannot be compared")
    found = heterogeneity(means, se, counts - 1)
    return Evenness(found.statistic, found.df, found.p, tuple(kept))


def _together(gaps: Floats, spread: Floats, held: int, kept: list[str]) -> Evenness:
    from scipy.special import fdtrc

    q, df = len(gaps), held - 1
    wald = float(gaps @ np.linalg.solve(spread, gaps))
    below = df - q + 1
    statistic = below / (df * q) * wald
    return Evenness(statistic, (float(q), float(below)), float(fdtrc(q, below, statistic)), tuple(kept))
