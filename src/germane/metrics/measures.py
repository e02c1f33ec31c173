"""Grades of ranked lists to one number a query: every metric that has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.metrics.names import Metric, checked_gains
from germane.metrics.ranking import Judged, Lists, sorted_by_query
from germane.types import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]
Gain = Callable[[Ints], Floats]


def sdcg_weights(k: int) -> Floats:
    """Weights (k,) of ranks 1 to k that sum to 1: sDCG@k = sum of weight x gain / the top grade's gain.

    Source: the discount 1 / log2(rank + 1) of Burges et al., ICML 2005 (Jarvelin and Kekalainen, 2002, leave the first two
    ranks undiscounted), over its sum for k ranks as in arXiv 2509.03764.

    >>> sdcg_weights(3).round(4)
    array([0.4693, 0.2961, 0.2346])
    """
    discounts = _discounts(k)
    return np.asarray(discounts / discounts.sum())


def measure(
    metrics: str | Metric | Iterable[str | Metric],
    lists: Lists,
    judged: Judged | None = None,
    *,
    gains: Sequence[float] | None = None,
) -> dict[str, Floats]:
    """Each metric's value for each query, (Q,), in units of the metric, under the name str(metric).

    judged: all grades of the same queries; nDCG's ideal is made of them. gains: the scale's, one a grade, worst first;
    sDCG takes them. Unjudged results count as gain 0 here: ask for Judged@k as well, and decide what it means. Without any
    result a query's value is 0, and NaN for the shares of what is shown (Judged, Share, short=observed). nDCG is 0 where
    nothing judged has a gain, as in trec_eval, and NaN where nothing is judged: trec_eval leaves such a query out.

    Raises: InputError for an unknown metric, a grade outside the scale, or a metric whose gains or judgments are missing.

    >>> lists, judged = Lists.of([[3, None, 0]]), Judged.of([[3, 2, 0]])
    >>> {name: value.round(3).tolist() for name, value in measure(["nDCG@10", "P@5", "Judged@5"], lists, judged).items()}
    {'nDCG@10': [0.704], 'P@5': [0.2], 'Judged@5': [0.667]}
    """
    _check(lists, "lists", least=-1)
    if judged is not None:
        _check(judged, "judged", least=0)
        if len(judged.offsets) != len(lists.offsets):
            raise InputError(
                f"judged holds {len(judged.offsets) - 1} queries and lists {len(lists.offsets) - 1}: give the same"
            )
    if gains is not None:
        gains = checked_gains(gains, "the scale")
    wanted = [metrics] if isinstance(metrics, str | Metric) else metrics
    named = [Metric.parse(metric) if isinstance(metric, str) else metric for metric in wanted]
    top = {k: _top(lists, k) for k in {metric.k for metric in named}}
    return {str(metric): _values(metric.with_gains(gains), top[metric.k], judged, gains) for metric in named}


def _check(flat: Lists | Judged, what: str, least: int) -> None:
    offsets, relevance = flat
    if relevance.size and (relevance.dtype.kind not in "iu" or relevance.min() < least or relevance.max() > 0x7FFFFFFF):
        known = "-1 for unjudged" if least < 0 else "judged documents only"
        raise InputError(
            f"{what} holds {relevance.dtype} relevances from {relevance.min()} to {relevance.max()}: "
            f"expected integers from 0 up, {known}"
        )
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(relevance) or (np.diff(offsets) < 0).any():
        raise InputError(f"{what} has offsets that do not rise from 0 to its {len(relevance)} rows")


def _values(metric: Metric, top: Lists, judged: Judged | None, gains: Sequence[float] | None) -> Floats:
    match metric.name:
        case "sDCG":
            return _sdcg(top, metric.k or 1, _scale_gain(metric, gains), observed=metric["short"] == "observed")
        case "SDCG":
            low, high = metric["min_rel"], metric["max_rel"]
            return _sdcg(
                top, metric.k or 1, lambda grades: (np.clip(grades.astype(np.float64), low, high) - low) / (high - low)
            )
        case "nDCG":
            return _ndcg(metric, top, judged)
        case "P":
            return _total(top, top.relevance >= metric["rel"]) / float(metric.k or 1)
        case "RR":
            return _reciprocal_rank(top, metric["rel"])
        case "ERR":
            return _err(metric, top)
        case "Judged":
            return _share(top, top.relevance >= 0)
        case _:
            return _share(top, top.relevance == metric["rel"])


# --- sums over ranks --------------------------------------------------------------------------------------------------


def _top(lists: Lists, k: int | None) -> Lists:
    """The first k results of each query."""
    sizes = np.diff(lists.offsets)
    if k is None or sizes.max(initial=0) <= k:
        return lists
    kept = np.minimum(sizes, k)
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return Lists(offsets, lists.relevance[np.arange(offsets[-1]) + np.repeat(lists.offsets[:-1] - offsets[:-1], kept)])


def _total(lists: Lists, values: ArrayLike) -> Floats:
    """The sum by query, (Q,), of one value a result, (n,)."""
    out = np.zeros(len(lists.offsets) - 1)
    filled = np.diff(lists.offsets) > 0
    if filled.any():
        out[filled] = np.add.reduceat(np.asarray(values, dtype=np.float64), lists.offsets[:-1][filled])
    return out


def _share(lists: Lists, chosen: NDArray[np.bool_]) -> Floats:
    with np.errstate(invalid="ignore"):  # 0 / 0: a share of nothing is NaN
        return np.asarray(_total(lists, chosen) / np.diff(lists.offsets))


def _discounts(k: int) -> Floats:
    return 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))


def _by_rank(lists: Lists, values: Floats) -> Floats:
    """One of `values` (k,) for each result, (n,), by its rank."""
    return np.asarray(values[np.arange(lists.offsets[-1]) - np.repeat(lists.offsets[:-1], np.diff(lists.offsets))])


# --- gains ------------------------------------------------------------------------------------------------------------


def _table(values: Sequence[float], metric: Metric) -> Gain:
    """Gains by grade; relevance -1, unjudged, finds the entry that is added at the end: 0."""
    gains = np.append(np.asarray(values, dtype=np.float64), 0.0)

    def gain(relevance: Ints) -> Floats:
        if relevance.max(initial=0) >= len(gains) - 1:
            raise InputError(
                f"relevance {relevance.max()} is above {len(gains) - 2}, the top grade of {metric}: "
                "measure with the scale that the judgments were made on"
            )
        return np.asarray(gains[relevance])

    return gain


def _linear(relevance: Ints) -> Floats:
    return np.maximum(relevance, 0).astype(np.float64)


def _exponential(relevance: Ints) -> Floats:
    if relevance.max(initial=0) > 1000:
        raise InputError(f"relevance {relevance.max()} is too large for an exponential gain: expected grades, or gain=linear")
    return np.asarray(np.exp2(_linear(relevance)) - 1)


def _scale_gain(metric: Metric, gains: Sequence[float] | None) -> Gain:
    """sDCG's gain of a grade, 1 for the top one."""
    kind = metric["gain"]
    if gains is None and not isinstance(kind, tuple):
        raise InputError(
            f"metric {metric} needs to know the top grade: name the judgments' scale, write the gains as in "
            f"sDCG(gain=[0,0.5,1])@{metric.k}, or use ir_measures' SDCG(max_rel=3)@{metric.k}"
        )
    grades = np.arange(len(gains or kind))
    values = np.asarray(kind) if isinstance(kind, tuple) else (_exponential if kind == "exp" else _linear)(grades)
    return _table((values / values[-1]).tolist(), metric)


# --- the metrics ------------------------------------------------------------------------------------------------------


def _sdcg(top: Lists, k: int, gain: Gain, *, observed: bool = False) -> Floats:
    weights = sdcg_weights(k)
    value = _total(top, gain(top.relevance) * _by_rank(top, weights))
    if not observed:
        return value
    return np.asarray(value / np.append(np.nan, np.cumsum(weights))[np.diff(top.offsets)])


def _ndcg(metric: Metric, top: Lists, judged: Judged | None) -> Floats:
    """DCG over that of the best order of: all judged documents cut at k; the same "uncut"; the k results "shown".

    Source: Jarvelin and Kekalainen, TOIS 2002, with the discount and ideal of trec_eval 9 (m_ndcg_cut.c).
    """
    kind = metric["gain"]
    gain: Gain = _table(kind, metric) if isinstance(kind, tuple) else {"linear": _linear, "exp": _exponential}[kind]
    if metric["ideal"] == "shown":
        judged = Judged(top.offsets, np.maximum(top.relevance, 0))
    if judged is None:
        raise InputError(f"metric {metric} needs all judged grades of each query for its ideal: pass judged, or use sDCG")
    ideal = _dcg(_top(sorted_by_query(judged), None if metric["ideal"] == "uncut" else metric.k), gain)
    value = np.divide(_dcg(top, gain), ideal, out=np.zeros(len(ideal)), where=ideal > 0)
    return np.where(np.diff(judged.offsets) > 0, value, np.nan)


def _dcg(lists: Lists, gain: Gain) -> Floats:
    return _total(lists, gain(lists.relevance) * _by_rank(lists, _discounts(int(np.diff(lists.offsets).max(initial=0)))))


def _reciprocal_rank(top: Lists, rel: int) -> Floats:
    hits = np.append(np.flatnonzero(top.relevance >= rel), len(top.relevance))
    first = hits[np.searchsorted(hits, top.offsets[:-1])]
    return np.where(first < top.offsets[1:], 1.0 / (first - top.offsets[:-1] + 1.0), 0.0)


def _err(metric: Metric, top: Lists) -> Floats:
    """Source: Chapelle et al., CIKM 2009, eq. 4 and algorithm 2; max_rel = 4 as in gdeval.pl."""
    high = metric["max_rel"]
    if top.relevance.max(initial=0) > high:
        raise InputError(
            f"relevance {top.relevance.max()} is above max_rel={high} of {metric}: "
            f"write ERR(max_rel={top.relevance.max()})@{metric.k}, with the top grade of the scale"
        )
    satisfied = np.exp2(_linear(top.relevance) - high) - np.exp2(-float(high))
    sizes = np.diff(top.offsets)
    value, reaches = np.zeros(len(sizes)), np.ones(len(sizes))
    for rank in range(sizes.max(initial=0)):
        here = np.flatnonzero(sizes > rank)
        chance = satisfied[top.offsets[here] + rank]
        value[here] += reaches[here] * chance / (rank + 1)
        reaches[here] *= 1 - chance
    return value
