"""What every engine does alike: what it is asked, how its answers become a run, and what became of a query that failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Failure(NamedTuple):
    """A query that an engine could not answer, and why. That is not a query for which nothing was found."""

    query_id: str
    why: str


class Found(NamedTuple):
    """What an engine found for a query, best first."""

    doc_ids: Sequence[str]
    scores: Sequence[float]


NOTHING = Found((), ())


def asked(queries: pa.Table, k: int) -> tuple[list[str], list[str]]:
    """The ids and the texts of the queries.

    Raises: InputError for a query_id that comes twice, and k below 1.
    """
    if k < 1:
        raise InputError(f"k is {k}: ask for at least one document a query")
    ids = [str(query_id) for query_id in queries["query_id"].to_pylist()]
    if len(set(ids)) < len(ids):
        raise InputError("the queries table has a query_id twice: each query needs its own")
    return ids, [str(text or "") for text in queries["query"].to_pylist()]


def pools(query_ids: Sequence[str], candidates: pa.Table) -> dict[str, list[str]]:
    """The documents of `candidates` that each of these queries may rank, each once, in their order."""
    found: dict[str, dict[str, None]] = {query_id: {} for query_id in query_ids}
    for query_id, doc_id in zip(candidates["query_id"].to_pylist(), candidates["doc_id"].to_pylist(), strict=True):
        if query_id in found:
            found[str(query_id)][str(doc_id)] = None
    return {query_id: list(doc_ids) for query_id, doc_ids in found.items()}


def best(doc_ids: Sequence[str], scores: ArrayLike, k: int) -> Found:
    """The k best by the ranking rule: score in single precision, then doc_id, both descending.

    >>> best(["a", "b", "c"], [1.0, 1.0, 2.0], 2)
    Found(doc_ids=['c', 'b'], scores=[2.0, 1.0])
    """
    values = np.asarray(scores, dtype=np.float64)
    single = values.astype(np.float32)
    order = sorted(range(len(doc_ids)), key=lambda i: doc_ids[i].encode("utf-8", "replace"), reverse=True)
    order.sort(key=lambda i: -single[i])
    return Found([doc_ids[i] for i in order[:k]], [float(values[i]) for i in order[:k]])


def as_run(query_ids: Sequence[str], found: Sequence[Found]) -> pa.Table:
    """The run of what was found for each of these queries: query_id, doc_id, score, rank (1 = top)."""
    import pyarrow as pa

    counts = np.array([len(one.doc_ids) for one in found], dtype=np.int64)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    return pa.table(
        {
            "query_id": pa.array(query_ids, pa.string()).take(np.repeat(np.arange(len(query_ids)), counts)),
            "doc_id": pa.array([doc_id for one in found for doc_id in one.doc_ids], pa.string()),
            "score": pa.array([score for one in found for score in one.scores], pa.float64()),
            "rank": pa.array((np.arange(int(counts.sum())) - starts + 1).astype(np.int32)),
        }
    )
