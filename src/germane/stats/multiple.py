"""Many tests at once: p-values adjusted so that the share of false discoveries stays bounded."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["BH", "BY"]


def adjusted_p(p: ArrayLike, *, method: Method = "BH") -> NDArray[np.float64]:
    """p-values adjusted for the false discovery rate, (m,): a segment is found at rate a where its adjusted p <= a.

    p: (m,), each between 0 and 1. BH holds for independent tests and positive dependence; BY holds for any.

    Source: Benjamini, Hochberg (1995), procedure (1); Benjamini, Yekutieli (2001), theorem 1.3.
    Raises: ValueError for a p-value that is none.

    >>> adjusted_p([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.04, 0.04]
    >>> adjusted_p([0.01, 0.04, 0.03], method="BY").round(3).tolist()
    [0.055, 0.073, 0.073]
    """
    x = np.asarray(p, dtype=np.float64).ravel()
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(f"{x[~((x >= 0) & (x <= 1))][0]} is no p-value: leave out segments that were not tested")
    if method not in ("BH", "BY"):
        raise ValueError(f"method {method!r} is unknown: BH or BY")
    if x.size == 0:
        return x
    ranks = np.arange(1, x.size + 1)
    penalty = float((1 / ranks).sum()) if method == "BY" else 1.0
    order = np.argsort(x, kind="stable")
    stepped = np.minimum.accumulate((x[order] * x.size * penalty / ranks)[::-1])[::-1]
    adjusted = np.empty_like(x)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
