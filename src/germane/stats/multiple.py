"""Many tests at once: p-values adjusted so that the share of false discoveries stays bounded, and intervals that know it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["bh", "by"]


def adjusted_p(p: ArrayLike, *, method: Method = "bh") -> NDArray[np.float64]:
    """p-values adjusted for the false discovery rate, (m,): a segment is found at rate a where its adjusted p <= a.

    p: (m,), each between 0 and 1. bh holds for independent tests and positive dependence; by holds for any.

    Source: Benjamini, Hochberg (1995), procedure (1); Benjamini, Yekutieli (2001), theorem 1.3.
    Raises: ValueError for a p-value that is none.

    >>> adjusted_p([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    >>> adjusted_p([0.01, 0.04, 0.03], method="by").round(3).tolist()
    [0.055, 0.073, 0.073]
    """
    x = np.asarray(p, dtype=np.float64).ravel()
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(f"{x[~((x >= 0) & (x <= 1))][0]} is no p-value: leave out segments that were not tested")
    if x.size == 0:
        return x
    ranks = np.arange(1, x.size + 1)
    order = np.argsort(x, kind="stable")
    stepped = np.minimum.accumulate((x[order] * x.size * _penalty(x.size, method) / ranks)[::-1])[::-1]
    adjusted = np.empty_like(x)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def fcr_level(found: int, tested: int, *, level: float = 0.95, method: Method = "bh") -> float:
    """The level at which to build each found segment's interval, so that of all those shown about `level` hold the truth.

    1 - R q / m with R found of m tested and q = 1 - level: picking the largest effects makes plain intervals miss. A
    segment found by `adjusted_p` at the same q and method has an interval that excludes 0.

    Source: Benjamini, Yekutieli (2005), JASA 100: FCR-adjusted BH-selected intervals; by: for any dependence.
    Raises: ValueError unless 1 <= found <= tested.

    >>> round(fcr_level(3, 30), 4), round(fcr_level(30, 30), 4), round(fcr_level(3, 30, method="by"), 5)
    (0.995, 0.95, 0.99875)
    """
    if not 1 <= found <= tested:
        raise ValueError(f"{found} found of {tested} tested: an interval is adjusted for at least 1 and at most all of them")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give one between 0 and 1, as 0.95")
    return 1 - (1 - level) * found / (tested * _penalty(tested, method))


def gated_p(
    p: ArrayLike, family: ArrayLike, gate: ArrayLike, *, level: float = 0.95, method: Method = "bh"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(adjusted p (m,), read (m,)): only families whose gate opens are read, and what they pay for having been picked.

    p: (m,). family: (m,) which family each belongs to, 0 to K - 1. gate: (K,) each family's own adjusted p: it opens at
    1 - level. With R of K families open, p is adjusted inside its family and multiplied by K / R; then the average
    share of false discoveries over the open families stays under 1 - level. Where the gate is shut, p is 1 and read False.

    Source: Benjamini, Bogomolov (2014), J. R. Statist. Soc. B 76: the average over the selected families.

    >>> q, read = gated_p([0.001, 0.3, 0.001, 0.4], [0, 0, 1, 1], [0.01, 0.6])
    >>> q.round(3).tolist(), read.tolist()
    ([0.004, 0.6, 1.0, 1.0], [True, True, False, False])
    """
    x, of = np.asarray(p, dtype=np.float64).ravel(), np.asarray(family, dtype=np.int64).ravel()
    opens = np.asarray(gate, dtype=np.float64).ravel() <= 1 - level
    q, read = np.ones_like(x), opens[of]
    for k in np.flatnonzero(opens):
        q[of == k] = np.minimum(adjusted_p(x[of == k], method=method) * opens.size / opens.sum(), 1.0)
    return q, read


def _penalty(tested: int, method: str) -> float:
    if method not in ("bh", "by"):
        raise ValueError(f"method {method!r} is unknown: bh or by")
    return float((1 / np.arange(1, tested + 1)).sum()) if method == "by" else 1.0
