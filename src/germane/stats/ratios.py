"""Weighted means of answers that come in clusters: the documents of one query, drawn with unequal odds."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.means import t_quantile
from germane.types import Estimate, InputError


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
