"""Runs, queries, documents, pairs and designs from any format, under our names and types."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from germane.sources import esci, ubi
from germane.sources.loading import load
from germane.sources.names import DOC_ID, QUERY, QUERY_ID
from germane.sources.raw import Raw, digest
from germane.store import SCHEMAS, Column, attributed, attribution, conform, models, ranked, sha256
from germane.store.checks import compute, conform_column
from germane.text import document_texts
from germane.types import InputError, Run

if TYPE_CHECKING:
    import pyarrow as pa


def read_run(obj: Any, *, name: str | None = None) -> Run:
    """A run: query_id, doc_id, score and rank, ranked by score as trec_eval does, with its origin.

    obj: a path (.run .csv .tsv .jsonl .json .parquet, each also .gz, or "-"), a Run, an Arrow table, a data frame,
    {query_id: {doc_id: score}}, or rows such as ScoredDoc. Without a score column, rank gives the order.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "run", "runs")
    given = {
        "query_id": raw.find((*QUERY_ID, "query")) or raw.require("query_id", QUERY_ID),
        "doc_id": raw.require("doc_id", DOC_ID),
        "score": raw.find(("score",)),
    }
    if given["score"] is None:
        raw = _scored_by_rank(raw)
        given["score"] = "score"
    table = raw.table.select([str(c) for c in given.values()]).rename_columns(list(given))
    table = conform(table, "runs", name=raw.name, at=raw.at, parse=raw.text)
    origin = origin_of(raw, table)
    return Run(name or raw.stem or "run", attributed(ranked(table), str(origin["attribution"])), origin)


def read_queries(obj: Any) -> pa.Table:
    """Queries: query_id, query, what else is known of the schema, and every further column (a stratum, an interest).

    Judgments or pairs give their distinct queries; UBI's requests give their distinct texts, with users and impressions.
    {query_id: text} works too. Where there is no id, the text is the id.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "queries", "queries")
    source = whose(raw)
    if ubi.is_ubi(raw):
        raw = ubi.queries(raw)
    text = raw.require("the query's text", QUERY)
    query_id = raw.find((*QUERY_ID, "_id"))
    if raw.find(DOC_ID):
        raw = _distinct(raw, [c for c in (query_id, text, esci.language_of(raw)) if c])
    names = {text: "query"} | ({query_id: "query_id"} if query_id else {})
    table = raw.table.rename_columns([names.get(c, c) for c in raw.table.column_names])
    if query_id is None:
        table = table.append_column("query_id", table["query"])
    table = conform(esci.with_language(table), "queries", name=raw.name, at=raw.at, parse=raw.text)
    return attributed(table, source)


def read_docs(obj: Any) -> pa.Table:
    """Documents: doc_id and one text column a field; lists are joined with ", ", numbers stay numbers and are no field.

    What would give labels away is dropped: ESCI's labels, and the ids of the queries that a product was judged for.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    return docs_of(load(obj, "docs", "docs"))


def docs_of(raw: Raw) -> pa.Table:
    """The documents in rows as found; see `read_docs`."""
    import pyarrow as pa

    source = whose(raw)
    if esci.is_esci(raw):
        raw = esci.products(raw)
    doc_id = raw.require("doc_id", (*DOC_ID, "_id"))
    table = raw.table.rename_columns(["doc_id" if c == doc_id else c for c in raw.table.column_names])
    for column in table.schema:
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            position = table.column_names.index(column.name)
            table = table.set_column(position, column.name, _joined(table[column.name]))
    table = conform(table, "docs", name=raw.name, at=raw.at, parse=raw.text)
    return attributed(table, source)


def read_pairs(obj: Any, *, queries: Any = None, docs: Any = None) -> pa.Table:
    """Pairs: query_id, query, doc_id, text, and every further column.

    queries, docs: where the pairs' texts are, if they have none; a document's fields are joined in their order.
    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    if queries is None and docs is None:
        raw = load(obj, "pairs", "pairs")
    else:
        raw = load(obj, "pairs", "candidates")
        ids = {raw.require("query_id", QUERY_ID): "query_id", raw.require("doc_id", DOC_ID): "doc_id"}
        raw = raw.with_table(raw.table.rename_columns([ids.get(c, c) for c in raw.table.column_names]))
        if queries is not None:
            asked = read_queries(queries)
            raw = _beside(raw, "query", "query_id", asked, asked["query"], queries)
        if docs is not None:
            known = read_docs(docs)
            raw = _beside(raw, "text", "doc_id", known, document_texts(known), docs)
    return attributed(conform(raw.table, "pairs", name=raw.name, at=raw.at, parse=raw.text), whose(raw))


def _beside(raw: Raw, name: str, key: str, known: pa.Table, texts: Any, source: Any) -> Raw:
    """The rows with a column of texts, found by their id. Raises: InputError for an id that is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids: Any = raw.table[key].cast(pa.string())
    at = pc.index_in(ids, value_set=known[key].combine_chunks())
    if at.null_count:
        row = pc.index(pc.is_null(at), True).as_py()
        raise InputError(f"{raw.name}, {raw.at(row)}: {key} {ids[row].as_py()!r} is not in {source}: give the file that has it")
    kept = raw.table.drop_columns([name]) if name in raw.table.column_names else raw.table
    return raw.with_table(kept.append_column(name, texts.take(at)))


def read_candidates(obj: Any) -> pa.Table:
    """query_id and doc_id of the pairs that judgments, pairs or a run name, whatever else they say of them.

    Raises: InputError naming the file and the column that is missing.
    """
    import pyarrow as pa

    raw = load(obj, "pairs", "candidates")
    found = (raw.find((*QUERY_ID, "query")) or raw.require("query_id", QUERY_ID), raw.require("doc_id", DOC_ID))
    wanted = SCHEMAS["runs"].columns[:2]
    columns = [conform_column(raw.table[c], w, name=raw.name, at=raw.at) for c, w in zip(found, wanted, strict=True)]
    return pa.Table.from_arrays(columns, ["query_id", "doc_id"])


def read_words(obj: Any) -> pa.Table:
    """query_id, doc_id, query and text, those that it has, of anything that names queries or pairs: to find them elsewhere.

    Raises: InputError naming the file, where nothing in it names a query.
    """
    import pyarrow as pa

    raw = load(obj, "pairs", "candidates")
    names = {"query_id": (*QUERY_ID, "query"), "doc_id": DOC_ID, "query": [n for n in QUERY if n != "text"], "text": ("text",)}
    found = {name: column for name, of in names.items() if (column := raw.find(of))}
    if "query_id" not in found:
        raise InputError(f"{raw.name} has no column of queries: found {', '.join(raw.table.column_names)}")
    columns: dict[str, Any] = {name: raw.table[column].cast(pa.string()) for name, column in found.items()}
    return pa.table(columns)


def read_design(obj: Any) -> pa.Table:
    """A design: query_id, stratum, inclusion_probability, population of the stratum, and every further column.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "design", "designs")
    return conform(raw.table, "designs", name=raw.name, at=raw.at, parse=raw.text)


def is_design(obj: Any) -> bool:
    """True if it has inclusion probabilities: sampled queries rather than just queries."""
    return load(obj, "queries", "candidates").find(["inclusion_probability"]) is not None


def read_audit(obj: Any) -> pa.Table:
    """What `sample --for audit` drew: query_id, doc_id, unit, audit_stratum, inclusion_probability, one row a pair.

    Several raters' answers may stand in the same file, a row each.
    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "audit", "audits")
    columns = [column.name for column in SCHEMAS["audits"].columns if not column.optional]
    if missing := [column for column in columns if raw.find([column]) is None]:
        raise InputError(
            f"{raw.name} has no column {missing[0]!r}: an audit is drawn inside the experiment, each pair with its chance of "
            "being drawn (germane sample --for audit), so golden pairs are none; pass what it drew with --audit-sample"
        )
    raw = _distinct(raw, [str(raw.find([column])) for column in columns])
    return conform(raw.table.rename_columns(columns), "audits", name=raw.name, at=raw.at, parse=raw.text)


def whose(raw: Raw) -> str:
    """Whose data it is: as the table, its manifest or its origin says, else as its columns give away."""
    said = raw.manifest.extra.get("attribution") if raw.manifest else raw.origin.get("attribution")
    return attribution(raw.table) or str(said or "") or (esci.ATTRIBUTION if raw.manifest is None and esci.is_esci(raw) else "")


def origin_of(raw: Raw, table: pa.Table) -> dict[str, Any]:
    """Where a run comes from: what is said of it, then path, digest, rows, format and attribution of what was read."""
    origin = dict(raw.origin)
    if raw.manifest:
        origin |= dict(raw.manifest.extra) | {"verb": raw.manifest.verb}
    if not origin.get("models") and (ranked_by := models(raw.table)):  # a copy without its manifest
        origin["models"] = ranked_by
    known = raw.manifest.sha256 if raw.manifest else None
    return origin | {
        "path": raw.path or origin.get("path", ""),
        "sha256": known or (sha256(raw.path) if raw.path else origin.get("sha256") or digest(table)),
        "rows": table.num_rows,
        "format": raw.form,
        "attribution": whose(raw),
    }


def _scored_by_rank(raw: Raw) -> Raw:
    """The same with a score that falls as the rank rises."""
    column = raw.find(("rank", "position")) or raw.require("score", ("score", "rank"))
    wanted = Column(column, "float64", "the place in the ranking")
    ranks = conform_column(raw.table[column], wanted, name=raw.name, at=raw.at, parse=raw.text)
    return raw.with_table(raw.table.append_column("score", compute().negate(ranks)))


def _distinct(raw: Raw, columns: list[str]) -> Raw:
    """The distinct rows of these columns, each standing where it first did."""
    import numpy as np
    import pyarrow as pa

    rows: Any = pa.array(np.arange(raw.table.num_rows))
    table = raw.table.select(columns).append_column("first row", rows)
    table = table.group_by(columns, use_threads=False).aggregate([("first row", "min")]).sort_by("first row_min")
    places: list[Any] = table["first row_min"].to_pylist()
    return replace(raw, table=table.select(columns), at=lambda row: raw.at(places[row]))


def _joined(lists: Any) -> Any:
    """Lists of text or numbers as one text each."""
    import pyarrow as pa

    return compute().binary_join(lists.cast(pa.list_(pa.string())), ", ")
