"""Numbers in bands: a price, a length, a count, split at their own quantiles under names that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NONE = "(none)"
BANDS = 4
FEW = 5
"""A column of numbers with no more different values than this is a column of names."""


class Banded(NamedTuple):
    """The name of each value's band, and the names from the lowest band to the highest, "(none)" last."""

    names: NDArray[np.object_]
    order: tuple[str, ...]


def banded(values: Sequence[Any], *, bands: int = BANDS) -> Banded | None:
    """Numbers in up to `bands` bands of about equal size; None for so few different ones that each is its own name.

    A value is in the first band whose upper end it does not exceed, so that equal values are never apart, and bands may be
    fewer or uneven. What is missing, or no number, is a band of its own: it is seldom missing by chance.

    >>> banded([1, 2, 3, 4, 5, 6, 7, None]).order
    ('up to 2.5', 'over 2.5 to 4', 'over 4 to 5.5', 'over 5.5', '(none)')
    """
    x = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    x[~np.isfinite(x)] = np.nan
    there = ~np.isnan(x)
    if len(np.unique(x[there])) <= FEW:
        return None
    cuts = np.unique(np.quantile(x[there], np.arange(1, bands) / bands))
    cuts = cuts[cuts < x[there].max()]
    texts = _written(cuts)
    order = [
        f"up to {texts[0]}",
        *(f"over {low} to {high}" for low, high in pairwise(texts)),
        f"over {texts[-1]}",
    ]
    place = np.searchsorted(cuts, np.where(there, x, 0.0), side="left")
    names = np.array(
        [order[at] if given else NONE for at, given in zip(place.tolist(), there.tolist(), strict=True)], dtype=object
    )
    return Banded(names, (*order, NONE) if not there.all() else tuple(order))


def _written(cuts: NDArray[np.float64]) -> list[str]:
    """Ends of bands with as few digits as keep them apart."""
    for digits in range(3, 17):
        texts = [f"{cut:,.{digits}g}" if abs(cut) < 10**digits else f"{cut:,.0f}" for cut in cuts]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(float(cut)) for cut in cuts]
