"""What each kind of table holds, column by column, with a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from germane.types import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1


class Column(NamedTuple):
    """One column: its Arrow type by name, whether it may be absent, whether a value may be missing, what it means."""

    name: str
    type: str
    meaning: str
    optional: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class Schema:
    """The columns of one kind of table, its key, and whether further columns may follow them."""

    kind: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    open: bool = False
    version: int = SCHEMA_VERSION

    def arrow(self) -> pa.Schema:
        """The same as an Arrow schema, optional columns included; what must not be missing is for `conform` to check."""
        import pyarrow as pa

        return pa.schema([pa.field(c.name, arrow_type(c.type)) for c in self.columns])


_QUERY_ID = Column("query_id", "string", "names the query")
_DOC_ID = Column("doc_id", "string", "names the document")

SCHEMAS: dict[str, Schema] = {
    schema.kind: schema
    for schema in (
        Schema(
            "queries",
            (
                _QUERY_ID,
                Column("query", "string", "what was asked"),
                Column("language", "string", "BCP 47 tag", optional=True, nullable=True),
                Column("users", "int64", "distinct users who asked it", optional=True, nullable=True),
                Column("impressions", "int64", "times it was asked", optional=True, nullable=True),
                Column("interest", "string", "what it is about", optional=True, nullable=True),
            ),
            key=("query_id",),
            open=True,
        ),
        Schema("docs", (_DOC_ID,), key=("doc_id",), open=True),
        Schema(
            "runs",
            (
                _QUERY_ID,
                _DOC_ID,
                Column("score", "float64", "what the engine ranked by, higher is better"),
                Column("rank", "int32", "1 = top; follows from score", optional=True),
            ),
            key=("query_id", "doc_id"),
        ),
        Schema(
            "pairs",
            (
                _QUERY_ID,
                Column("query", "string", "what was asked"),
                _DOC_ID,
                Column("text", "string", "the document as a judge reads it"),
                Column("cut", "string", "what of it budgets cut, as field kept/of", optional=True, nullable=True),
            ),
            key=("query_id", "doc_id"),
            open=True,
        ),
        Schema(
            "audits",
            (
                _QUERY_ID,
                _DOC_ID,
                Column("unit", "string", "queries: judged whole; documents: each drawn by its own odds"),
                Column("audit_stratum", "string", "the part of the experiment that it was drawn from"),
                Column("inclusion_probability", "float64", "of the query, or of the document: above 0 and up to 1"),
                Column("drawn", "int64", "pairs that were drawn in all: fewer rows, and some are lost"),
                Column("query", "string", "what was asked", optional=True),
                Column("text", "string", "the document as a rater reads it", optional=True),
            ),
            key=("query_id", "doc_id"),
            open=True,
        ),
        Schema(
            "judgments",
            (
                _QUERY_ID,
                _DOC_ID,
                Column("relevance", "int16", "index on the scale; missing = no answer", nullable=True),
                Column("probs", "list<float32>", "of each grade, worst first", optional=True, nullable=True),
                Column("judge", "string", "human:NAME, or the judge's name"),
                Column("fingerprint", "string", "of the judge that said it, empty for people"),
                Column("scale", "string", "name of the scale, empty for bare integers"),
                Column("guide_version", "string", "of the rubric it was made under, empty if unknown"),
                Column("outcome", "string", "label, or why there is none: " + ", ".join(list(Outcome)[1:])),
                Column("note", "string", "anything the judge added"),
                Column(
                    "self_agreement", "float64", "share of the judge's own samples that gave it", optional=True, nullable=True
                ),
                Column(
                    "entropy", "float64", "of the judge's own samples over the grades, in bits", optional=True, nullable=True
                ),
                Column("cost", "float64", "of the answer, in the price table's currency", optional=True, nullable=True),
            ),
            key=("query_id", "doc_id", "judge", "fingerprint", "scale", "guide_version"),
        ),
        Schema(
            "features",
            (
                _QUERY_ID,
                _DOC_ID,
                Column("relevance", "int16", "the label: people's grade", optional=True, nullable=True),
            ),
            key=("query_id", "doc_id"),
            open=True,
        ),
        Schema(
            "weights",
            (
                _QUERY_ID,
                _DOC_ID,
                Column("weight", "float64", "of the row in a ranker's loss; their mean is 1"),
                Column("gain", "float64", "expected, 0 to 1; missing = not known", nullable=True),
                Column("clicked", "bool", "whether the result was clicked", optional=True, nullable=True),
            ),
            key=("query_id", "doc_id"),
        ),
        Schema(
            "outcomes",
            (
                _QUERY_ID,
                Column("treatment", "string", "what was tried; each query has a row for every treatment"),
                Column("relevance_control", "float64", "of the query without it, such as sDCG@25"),
                Column("relevance", "float64", "of the query with it"),
                Column("engagement_control", "float64", "of the query without it, such as clicks a search: 0 or more"),
                Column("engagement", "float64", "of the query with it"),
            ),
            key=("query_id", "treatment"),
            open=True,
        ),
        Schema(
            "designs",
            (
                _QUERY_ID,
                Column("stratum", "string", "the part of the population that it stands in"),
                Column("inclusion_probability", "float64", "chance of being drawn, above 0 and up to 1"),
                Column("population", "int64", "units in the whole stratum"),
                Column("interest", "string", "what it is about", optional=True, nullable=True),
                Column("segment", "string", "popularity: head, torso, tail, single", optional=True, nullable=True),
            ),
            key=("query_id",),
            open=True,
        ),
    )
}


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of that name, as columns above spell it."""
    import pyarrow as pa

    types: dict[str, pa.DataType] = {
        "string": pa.string(),
        "bool": pa.bool_(),
        "int16": pa.int16(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "list<float32>": pa.list_(pa.float32()),
    }
    return types[name]
