"""The pool: every document in the top k of either arm, with its rank in each and its grade. All else is read off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import metrics, store
from germane.types import Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNJUDGED = -1


@dataclass(frozen=True)
class Pool:
    """Documents shown by either arm, flat, sorted by query. All arrays but `docs` are (n,) and numpy.

    query: index into the experiment's queries. control_rank, treatment_rank: 1 = top, 0 = not in that arm's top k.
    relevance: index on the scale, -1 = unjudged. docs: the document ids, Arrow.
    """

    size: int
    query: Ints
    docs: pa.ChunkedArray[Any]
    control_rank: Ints
    treatment_rank: Ints
    relevance: Ints

    @property
    def moved(self) -> NDArray[np.bool_]:
        """(n,): True where the rank differs between the arms: only there can a grade change the difference."""
        return np.not_equal(self.control_rank, self.treatment_rank)

    @property
    def unjudged(self) -> NDArray[np.bool_]:
        return np.equal(self.relevance, UNJUDGED)

    def per_query(self, values: Any) -> Floats:
        """The sum of `values` (n,) over each query's documents, (size,)."""
        return np.asarray(np.bincount(self.query, np.asarray(values, dtype=np.float64), self.size), dtype=np.float64)

    def shown(self, arm: str) -> float:
        """How many documents the arm's pages hold, on average over queries."""
        return float((self._ranks(arm) > 0).sum() / self.size)

    def lists(self, arm: str) -> metrics.Lists:
        """One arm's result lists for metrics.measure."""
        ranks = self._ranks(arm)
        rows = np.flatnonzero(ranks > 0)
        rows = rows[np.lexsort((ranks[rows], self.query[rows]))]
        counts = np.bincount(self.query[rows], minlength=self.size)
        return metrics.Lists(np.concatenate(([0], np.cumsum(counts))), self.relevance[rows])

    def _ranks(self, arm: str) -> Ints:
        return self.control_rank if arm == "control" else self.treatment_rank


def build(
    control: Run, treatment: Run, judgments: pa.Table, queries: pa.Array[Any], *, k: int | None, condensed: bool = False
) -> Pool:
    """The pool of these queries. Condensed: unjudged documents leave each list before it is cut at k."""
    control_top = store.graded(control.table, judgments, k=k, condensed=condensed, queries=queries)
    treatment_top = store.graded(treatment.table, judgments, k=k, condensed=condensed, queries=queries)
    numbered = _numbered(queries)
    with store.database(c=control_top, t=treatment_top, numbered=numbered) as query_of:
        found = query_of(
            """
            SELECT numbered.number AS query, both_arms.doc_id, control_rank, treatment_rank, relevance
            FROM (
                SELECT coalesce(c.query_id, t.query_id) AS query_id, coalesce(c.doc_id, t.doc_id) AS doc_id,
                       coalesce(c.rank, 0) AS control_rank, coalesce(t.rank, 0) AS treatment_rank,
                       coalesce(c.relevance, t.relevance, -1) AS relevance
                FROM c FULL JOIN t ON c.query_id = t.query_id AND c.doc_id = t.doc_id
            ) AS both_arms JOIN numbered USING (query_id)
            ORDER BY query, CASE WHEN control_rank = 0 THEN 1 ELSE 0 END, control_rank, treatment_rank
            """
        )
    names = ("query", "control_rank", "treatment_rank", "relevance")
    query, control_rank, treatment_rank, relevance = (found[name].to_numpy().astype(np.int64) for name in names)
    return Pool(len(queries), query, found["doc_id"], control_rank, treatment_rank, relevance)


def judged_of(judgments: pa.Table, queries: pa.Array[Any]) -> metrics.Judged:
    """All grades of each query, for metrics that look at an ideal list."""
    import pyarrow.compute as pc

    found = pc.index_in(judgments["query_id"], value_set=queries)
    keep = pc.and_(pc.is_valid(found), pc.is_valid(judgments["relevance"]))
    number = found.filter(keep).to_numpy().astype(np.int64)
    relevance = judgments["relevance"].filter(keep).to_numpy().astype(np.int64)
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number, minlength=len(queries))
    return metrics.Judged(np.concatenate(([0], np.cumsum(counts))), relevance[order])


def linear_parts(metric: metrics.Metric, scale: Scale, k: int) -> tuple[Floats, Floats] | None:
    """(weight of each rank (k + 1,), gain of each relevance), if the metric is their sum over ranks; None if it is not.

    Rank 0 is "not shown" and weighs nothing. Then a paired difference is sum (w_treatment - w_control) g, and documents
    that did not move need no grade.
    """
    if metric.name == "P":
        weights = np.full(k, 1 / k)
    elif metric.name == "SDCG" or (metric.name == "sDCG" and metric["short"] == "zero"):
        weights = metrics.sdcg_weights(k)
    else:
        return None
    each_alone = metrics.Lists.of([[relevance] for relevance in range(len(scale.labels))])
    (values,) = metrics.measure([metric], each_alone, gains=scale.gains).values()
    return np.concatenate(([0.0], weights)), values / weights[0]


def _numbered(queries: pa.Array[Any]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"query_id": queries, "number": pa.array(np.arange(len(queries), dtype=np.int32))})
