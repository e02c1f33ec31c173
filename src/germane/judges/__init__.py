"""Whoever judges: people, models, recordings. Each is a `types.Judge`: pairs in, judgments out, in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from germane.judges.fake import Fake
from germane.judges.human import People
from germane.judges.replay import Confused, Recorded
from germane.types import Doc, Judge, Judgment, Pair, Query

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Confused", "Fake", "People", "Recorded", "as_table", "ask", "pairs_of"]


def pairs_of(table: pa.Table) -> Iterator[Pair]:
    """The rows of a pairs table as pairs; the document has one field, "text", as a judge reads it.

    A column `context`, if there is one, is what is known of the asker's situation.
    """
    names = ["query_id", "query", "doc_id", "text", *(["context"] if "context" in table.column_names else [])]
    for batch in table.select(names).to_batches(max_chunksize=65_536):
        for query_id, query, doc_id, text, *context in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            asked = Query(str(query_id), query or "", context=context[0] if context else None)
            yield Pair(asked, Doc(str(doc_id), {"text": text or ""}))


def ask(judge: Judge, pairs: pa.Table) -> pa.Table:
    """What a judge says of each row of a pairs table: a judgments table, in the same order.

    A judge that takes tables (`types.Bulk`) is given one.
    """
    bulk = getattr(judge, "label", None)
    return as_table(judge(pairs_of(pairs))) if bulk is None else bulk(pairs)


def as_table(judgments: Iterable[Judgment]) -> pa.Table:
    """Judgments as a table: the columns of `Judgment`, no answer as null."""
    import pyarrow as pa

    from germane.store import SCHEMAS

    schema = SCHEMAS["judgments"].arrow()
    columns = list(zip(*judgments, strict=True)) or [()] * len(Judgment._fields)
    named = dict(zip(Judgment._fields, columns, strict=True))
    named["outcome"] = tuple(str(outcome) for outcome in named["outcome"])
    return pa.table({f.name: pa.array(named[f.name], f.type) for f in schema}, schema=schema)
