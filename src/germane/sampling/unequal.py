"""Odds proportional to size, and a draw that has exactly these odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def odds_by_size(sizes: ArrayLike, n: int) -> Floats:
    """Inclusion probabilities that are proportional to size, none above 1, and sum to n, shape (N,).

    sizes: (N,), all above 0. Whoever is large enough to be due more than once is certain, and the others share the rest.

    Source: Sarndal, Swensson and Wretman (1992), Model Assisted Survey Sampling, section 3.6.2.
    Raises: InputError for an n above the number of sizes, or a size that is not above 0.

    >>> odds_by_size([60, 20, 10, 10], 2).tolist()
    [1.0, 0.5, 0.25, 0.25]
    """
    size = np.asarray(sizes, dtype=float)
    if not (np.isfinite(size) & (size > 0)).all() or not 0 <= n <= size.size:
        raise InputError(f"n = {n} of {size.size} sizes: expected sizes above 0, and no more than there are")
    order = np.argsort(-size, kind="stable")
    falling = size[order]
    rest = np.append(np.cumsum(falling[::-1])[::-1], 0.0)  # exact for whole numbers up to 2^53
    due = (n - np.arange(size.size)) * falling >= rest[:-1]  # of the j-th largest, if all before it are certain
    sure = min(int(np.argmin(np.append(due, False))), n)
    odds = np.ones(size.size)
    odds[order[sure:]] = (n - sure) * falling[sure:] / rest[sure] if sure < size.size else 1.0
    return odds


def systematic(odds: Floats, numbers: ArrayLike, start: float) -> Ints:
    """Rows of a draw whose inclusion probabilities are exactly `odds`, as many as these sum to; sorted.

    odds: (N,), above 0 and up to 1, summing to a whole number. numbers: (N,), of each unit its own: they put the units in
    an order that has nothing to do with size. start: uniform in [0, 1); over it the odds are exact, for whatever order.

    Source: Madow (1949), On the theory of systematic sampling, II; in random order, Hartley and Rao (1962), whose variance
    is close to that of a draw with replacement where no unit is certain.

    >>> systematic(np.array([1.0, 0.5, 0.25, 0.25]), [3, 1, 2, 0], start=0.5).tolist()
    [0, 1]
    """
    sure = np.flatnonzero(odds >= 1)
    rest = np.flatnonzero(odds < 1)
    rest = rest[np.argsort(np.asarray(numbers)[rest], kind="stable")]
    reach = np.cumsum(odds[rest])
    n = round(float(reach[-1])) if rest.size else 0
    if not n:
        return sure
    reach *= n / reach[-1]  # what rounding left
    taken = rest[np.minimum(np.searchsorted(reach, start + np.arange(n), side="right"), rest.size - 1)]
    return np.sort(np.concatenate([sure, taken]))
