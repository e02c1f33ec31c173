"""The mean difference by traffic: each query counts as often as it is asked, which is another estimand than by query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from germane.stats.clusters import by_stratum, columns, ratio_moments
from germane.stats.means import MINIMUM_NONZERO, Lone, check_sizes, stratified_difference
from germane.types import Estimate, InputError


def traffic_difference(
    differences: ArrayLike,
    traffic: ArrayLike,
    *,
    strata: ArrayLike,
    chance: ArrayLike | None = None,
    traffic_totals: Mapping[str, float],
    level: float = 0.95,
    minimum_nonzero: int = MINIMUM_NONZERO,
    lone: Lone = "refuse",
) -> Estimate:
    """The paired difference of the average request, in units of the metric: queries weighted by how often they are asked.

    differences, traffic, strata: (n,), traffic above 0 in any unit. chance: (n,) each query's inclusion probability, or
    anything proportional to it inside strata; None where all queries of a stratum had the same. traffic_totals: stratum ->
    the traffic of all its queries. Inside each stratum the estimate is the ratio sum (t / pi) d / sum (t / pi); with queries
    drawn in proportion to traffic that is their plain mean. Weighting strata by traffic alone is no substitute: inside a
    stratum too the often-asked queries have other differences. lone: as in `stratified_mean`.

    Source: Hajek (1971); Hansen and Hurwitz (1943) where chance is proportional to traffic; variance by linearisation,
    Cochran, Sampling Techniques (1977), chapter 6, as if drawn with replacement (on the large side without).
    Raises: InputError for lengths that differ, and traffic or a chance that is not above 0, a total that is no finite number
    above 0; as `stratified_difference`.

    >>> e = traffic_difference([0.1, 0.3, 0.2], [10, 1, 4], strata=["a"] * 3, traffic_totals={"a": 900})
    >>> round(e.value, 3), round(e.se, 4), e.method[:46]
    (0.14, 0.0403, 'paired difference by traffic, ratio estimator,')
    """
    d, names = columns(differences, strata)
    weight = _positive("traffic", traffic, d.size)
    if chance is not None:
        weight = weight / _positive("chance", chance, d.size)
    check_sizes(traffic_totals, names.tolist(), of="traffic total")
    parts = {}
    for name, rows in by_stratum(names).items():
        if rows.size < 2 and lone == "refuse":
            raise InputError(f"stratum {name!r} has 1 judged query: 2 are needed for a variance: collapse it first")
        parts[name] = ratio_moments(weight[rows] * d[rows], weight[rows])
    found = stratified_difference(parts, traffic_totals, level=level, minimum_nonzero=minimum_nonzero, lone=lone)
    how = "ratio estimator" if chance is None else "ratio estimator with drawing probabilities"
    base, _, rest = found.method.partition(", ")
    return replace(found, method=f"{base} by traffic, {how}" + (f", {rest}" if rest else ""))


def _positive(name: str, values: ArrayLike, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    x = np.asarray(values, dtype=np.float64).ravel()
    if x.size != size:
        raise InputError(f"{size} differences and {x.size} values of {name}: give one each")
    if wrong := np.flatnonzero(~(np.isfinite(x) & (x > 0))).tolist():
        raise InputError(f"{name} {x[wrong[0]]} at row {wrong[0]}: every sampled query needs a number above 0")
    return x
