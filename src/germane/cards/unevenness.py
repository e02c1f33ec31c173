"""Is a judge wrong in one way everywhere? Its errors by price, length, language and kind of document, tested together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from germane.cards.gold import Pairs
from germane.cards.segments import Dimension
from germane.stats.clustered import Undefined
from germane.stats.evenness import evenness
from germane.stats.multiple import adjusted_p
from germane.types import Unevenness

UNEVEN, NOT_SHOWN = "uneven", "not shown"


def unevenness(
    dimensions: Mapping[str, Dimension], pairs: Pairs, rows: NDArray[np.bool_], *, level: float = 0.95
) -> tuple[Unevenness, ...]:
    """For each dimension, whether the grade error (judge minus people) and exact agreement differ by its bands.

    rows: pairs that count. The share of false discoveries over all
    dimensions and both statistics is held under 1 - level. Bands of few queries, and dimensions with fewer than two others,
    are left out: nothing is known of them.
    """
    both = rows & (pairs.other >= 0)
    error = (pairs.other - pairs.gold)[both].astype(np.float64)
    weights = None if pairs.weight is None else pairs.weight[both]
    found = []
    for dimension, values_of in dimensions.items():
        for statistic, values in (("grade error", error), ("exact", (error == 0).astype(np.float64))):
            own = values_of.of_pairs[both].astype(str)
            try:
                test = evenness(values, own, clusters=pairs.query[both], weights=weights)
            except Undefined:
                continue
            means = {name: _mean(values, weights, own == name) for name in values_of.names(both) if name in test.bands}
            found.append((dimension, statistic, means, test.p))
    adjusted = adjusted_p([p for *_, p in found]).tolist()
    return tuple(
        Unevenness(dimension, statistic, means, p, q, UNEVEN if q <= 1 - level else NOT_SHOWN)
        for (dimension, statistic, means, p), q in zip(found, adjusted, strict=True)
    )


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64] | None, rows: NDArray[np.bool_]) -> float:
    return float(np.average(values[rows], weights=None if weights is None else weights[rows]))
