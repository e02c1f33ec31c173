"""Search engines: queries in, a run out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from germane.engines.embedded import BM25
from germane.engines.results import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

__all__ = ["BM25", "Engine", "Failure", "unanswered"]


class Engine(Protocol):
    """Whatever ranks documents for a query. `origin` says what made the run, for its manifest."""

    name: str

    @property
    def origin(self) -> Mapping[str, Any]: ...

    def search(self, queries: pa.Table, *, k: int = 100) -> pa.Table:
        """A run: query_id, doc_id, score, rank (1 = top), at most k rows a query, none for a query without a match."""
        ...


def unanswered(queries: pa.Table, run: pa.Table) -> pa.StringArray:
    """The query ids for which a run has no result, in the order of the queries table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    answered = pc.is_in(queries["query_id"], value_set=run["query_id"].combine_chunks())
    left = queries["query_id"].filter(pc.invert(answered))
    return pa.array(left.to_pylist(), pa.string())
