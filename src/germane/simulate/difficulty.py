"""How hard a marketplace is: the ceiling of any judge of text, and where the variance of an experiment lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.logs import popularity
from germane.metrics import sdcg_weights

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.simulate.marketplace import Marketplace

Floats = NDArray[np.float64]


class Difficulty(NamedTuple):
    """What an experiment of two rankings meets, over all queries of a marketplace, sDCG@k with the scale's gains.

    exact, within_one: agreement of the best text judge with the truth, in the control's top k. tau: Kendall's tau-b of
    the sDCG of each query in the control, by that judge and in truth. error: mean sDCG by the judge minus in truth.
    level, delta: true means of the control, and of treatment minus control. sd_*: over queries. between_*: share of the
    variance that lies between strata (interest x popularity). zeros: share of queries with a difference of exactly 0.
    rho: correlation of the differences by the judge and in truth. gains_between: share of the variance of single gains
    that lies between queries.
    """

    exact: float
    within_one: float
    tau: float
    error: float
    level: float
    delta: float
    sd_level: float
    sd_delta: float
    between_level: float
    between_delta: float
    zeros: float
    rho: float
    gains_between: float


def difficulty(market: Marketplace, control: pa.Table, treatment: pa.Table, *, k: int = 25) -> Difficulty:
    """The difficulty of telling two runs over all queries of a marketplace apart."""
    from scipy.stats import kendalltau

    (true, judged, grades), (true_t, judged_t, _) = (_levels(market, run, k) for run in (control, treatment))
    query, truth, said = grades
    gain = np.asarray(market.scale.gains)[truth]
    delta, judged_delta = true_t - true, judged_t - judged
    segment, _ = popularity(market.demand.users)
    stratum = market.demand.department * (segment.max() + 1) + segment
    return Difficulty(
        exact=float(np.mean(truth == said)),
        within_one=float(np.mean(np.abs(truth - said) <= 1)),
        tau=float(kendalltau(judged, true).statistic),
        error=float(np.mean(judged - true)),
        level=float(true.mean()),
        delta=float(delta.mean()),
        sd_level=float(true.std()),
        sd_delta=float(delta.std()),
        between_level=between(true, stratum),
        between_delta=between(delta, stratum),
        zeros=float(np.mean(delta == 0)),
        rho=float(np.corrcoef(delta, judged_delta)[0, 1]),
        gains_between=between(gain, query),
    )


def between(values: Floats, group: NDArray[np.int64]) -> float:
    """The share of the variance of the values that lies between the means of their groups.

    >>> between(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    1.0
    """
    count = np.bincount(group)
    mean = np.bincount(group, values) / np.maximum(count, 1)
    return float(np.var(mean[group]) / np.var(values))


def _levels(
    market: Marketplace, run: pa.Table, k: int
) -> tuple[Floats, Floats, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """sDCG of every query in truth and by the best text judge; and query, truth and judge's grade of each result."""
    query, item, rank = market.numbers(run)
    rows = rank <= k
    query, item, weight = query[rows], item[rows], sdcg_weights(k)[rank[rows] - 1]
    truth = market.relevance.truth(query, item)
    said = market.relevance.probabilities(query, item).argmax(axis=1)
    gains = np.asarray(market.scale.gains)
    true, judged = (np.bincount(query, weight * gains[g], len(market.demand)).astype(np.float64) for g in (truth, said))
    return true, judged, (query, truth, np.asarray(said))
