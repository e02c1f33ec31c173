"""Which documents need a grade: those that moved between two runs, most valuable first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from germane.metrics import sdcg_weights
from germane.sampling.designs import standing
from germane.store import database, rank
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Pool(NamedTuple):
    """Documents that need a grade, most valuable first, and how many there are of each kind.

    table: query_id, doc_id, control_rank?, treatment_rank? (null = not in that top k), weight, value. counts: queries;
    no_results: queries of the design without a result in either arm; one_arm: queries with results in one arm only; pooled:
    documents in either top k; moved: those whose rank differs; judged: left out, since they have a grade; pairs: listed.
    """

    table: pa.Table
    counts: dict[str, int]


def pool(
    control: pa.Table,
    treatment: pa.Table,
    *,
    k: int = 25,
    designs: pa.Table | None = None,
    judgments: pa.Table | None = None,
    everything: bool = False,
) -> Pool:
    """The documents in either top k that moved between the arms, in the order in which their grades matter to delta.

    sDCG is linear in gains, so its delta is the sum over documents of weight x gain, weight = the discount of the rank in the
    treatment minus that in the control (0 below k): a document that did not move cancels, and needs no grade. value: what
    delta changes by if this document's gain goes from none to the top, |weight| x the query's share of the estimate
    (W_h / m_h by the design; 1 / queries without one). designs: only its queries. judgments: pairs with a grade are left out;
    an abstention is none. everything: those that did not move too, at value 0 behind the others, highest rank first: they
    are needed for the level of each arm, and for metrics that are not linear, such as nDCG.

    Raises: InputError if k is under 1, or no query of the design has a result.

    >>> import pyarrow as pa
    >>> def run(*docs):
    ...     return pa.table({"query_id": ["q"] * len(docs), "doc_id": docs, "score": [9.0 - i for i in range(len(docs))]})
    >>> found = pool(run("a", "b", "c"), run("a", "c", "d"), k=3)
    >>> found.table["doc_id"].to_pylist(), found.table["value"].to_numpy().round(3).tolist()
    (['b', 'd', 'c'], [0.296, 0.235, 0.061])
    """
    import pyarrow as pa

    if k < 1:
        raise InputError(f"k is {k}: pool at least the first document of each arm")
    discounts = pa.table({"rank": pa.array(range(1, k + 1), pa.int32()), "discount": pa.array(sdcg_weights(k))})
    shares = _shares(designs, control, treatment)
    none: Any = {
        "query_id": pa.array([], pa.string()),
        "doc_id": pa.array([], pa.string()),
        "relevance": pa.array([], pa.int16()),
    }
    given = {"discounts": discounts, "shares": shares, "judgments": pa.table(none) if judgments is None else judgments}
    with database(control=rank(control), treatment=rank(treatment), **given) as query:
        table = query(_POOL.format(k=int(k)))
    if not table.num_rows:
        raise InputError(
            f"no query of the design has a result in either run: the design names {shares['query_id'][0].as_py()!r}, the "
            f"control {control['query_id'][0].as_py() if control.num_rows else 'nothing'!r}; do they use the same query ids?"
        )
    moved, judged = (table[c].to_numpy(zero_copy_only=False) for c in ("moved", "judged"))
    arms = table.group_by("query_id").aggregate([("control_rank", "count"), ("treatment_rank", "count")])
    one = sum(0 in (row["control_rank_count"], row["treatment_rank_count"]) for row in arms.to_pylist())
    listed = table.filter(pa.array((moved | everything) & ~judged)).drop_columns(["moved", "judged", "height"])
    counts = {"queries": arms.num_rows, "no_results": shares.num_rows - arms.num_rows, "one_arm": one}
    counts |= {"pooled": table.num_rows, "moved": int(moved.sum()), "judged": int((judged & (moved | everything)).sum())}
    return Pool(listed, {**counts, "pairs": listed.num_rows})


# Ranks are compared as whole numbers; a document that is only in one top k has moved.
_POOL = """
WITH c AS (SELECT query_id, doc_id, rank, discount FROM control JOIN discounts USING (rank) SEMI JOIN shares USING (query_id)),
    t AS (SELECT query_id, doc_id, rank, discount FROM treatment JOIN discounts USING (rank) SEMI JOIN shares USING (query_id)),
    labels AS (SELECT DISTINCT query_id, doc_id FROM judgments WHERE relevance IS NOT NULL),
    pooled AS (
        SELECT query_id, doc_id, c.rank AS control_rank, t.rank AS treatment_rank, c.rank IS DISTINCT FROM t.rank AS moved,
            coalesce(t.discount, 0) - coalesce(c.discount, 0) AS weight,
            (coalesce(t.discount, 0) + coalesce(c.discount, 0)) * share AS height,
            abs(weight) * share AS value
        FROM c FULL JOIN t USING (query_id, doc_id) JOIN shares USING (query_id))
SELECT pooled.*, labels.doc_id IS NOT NULL AS judged FROM pooled LEFT JOIN labels USING (query_id, doc_id)
ORDER BY value DESC, height DESC, query_id, doc_id
"""


def _shares(designs: pa.Table | None, control: pa.Table, treatment: pa.Table) -> pa.Table:
    """query_id and its share of the estimate: W_h / m_h for a stratified sample of queries."""
    import pyarrow as pa

    if designs is None:
        ids = sorted({str(i) for run in (control, treatment) for i in run["query_id"].unique().to_pylist()})
        if not ids:
            raise InputError("both runs are empty: collect them first")
        return pa.table({"query_id": pa.array(ids, pa.string()), "share": pa.array([1 / len(ids)] * len(ids), pa.float64())})
    share: Any = pa.array(standing(designs), pa.float64())
    return pa.Table.from_arrays([designs["query_id"], share], ["query_id", "share"])
