"""What comes in: runs, judgments, queries, documents, pairs and designs, from any format, under our names and types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.sources import esci, memory, tabular, trec, ubi
from germane.sources.content import Content
from germane.sources.raw import Raw, column_of, digest
from germane.store import attributed, attribution, check_kind, conform, ranked, read_manifest, sha256
from germane.store.checks import compute, short
from germane.types import InputError, Outcome, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

QUERY_ID = ("query_id", "qid", "queryid")
DOC_ID = ("doc_id", "docid", "docno", "product_id", "corpus_id")
QUERY = ("query", "user_query", "text", "query_text")
LABEL = ("relevance", "label", "esci_label", "rating", "grade")


def load(obj: Any, role: str) -> Raw:
    """Rows as found, from a path, "-" for standard input, or an object; see `memory.read` for the roles.

    Raises: InputError where nothing can be made of it.
    """
    if not isinstance(obj, (str, Path)):
        return memory.read(obj, role)
    content = Content(obj)
    if content.is_parquet or content.suffix == ".parquet":
        return tabular.read_parquet(content)
    content.require_text()
    if content.suffix == ".json":
        return _json(content, role)
    if content.suffix in (".jsonl", ".ndjson") or (content.suffix not in _TEXT and content.head.lstrip()[:1] == b"{"):
        return tabular.read_jsonl(content)
    if content.suffix == ".csv":
        return tabular.read_csv(content, ",")
    if content.suffix in (".run", ".qrels"):
        return trec.read(content, trec.RUN if content.suffix == ".run" else trec.QRELS)
    return _sniffed(content)


_TEXT = (".csv", ".tsv", ".run", ".qrels")


def _sniffed(content: Content) -> Raw:
    """A file whose name does not say what it is: a table if its first line names a known column, else TREC by its width."""
    first = content.head.removeprefix(b"\xef\xbb\xbf").splitlines()[0].decode(errors="replace")
    for delimiter in ("\t", ","):
        names = {name.strip().strip('"').lower().replace("-", "_") for name in first.split(delimiter)}
        if names & {*QUERY_ID, *DOC_ID, "query", "user_query"}:
            return tabular.read_csv(content, delimiter)
    columns = trec.columns_of(content)
    if columns is None:
        raise InputError(
            f"{content.name}, line 1: found {short(first)}; expected a header line that names columns, JSON objects, or "
            "TREC lines of 6 fields (run) or 4 (qrels)"
        )
    return trec.read(content, columns)


def _json(content: Content, role: str) -> Raw:
    """A .json file that holds a list of objects, or {query: {document: number}}."""
    try:
        value = json.loads(content.data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{content.name}: no JSON ({error}); for one object a line name it .jsonl") from None
    found = memory.read(value, role)
    return Raw(found.table, content.name, "JSON", path=str(content.path), stem=content.stem)


def read_run(obj: Any, *, name: str | None = None) -> Run:
    """A run: query_id, doc_id, score and rank, ranked by score as trec_eval does, with its origin.

    obj: a path (.run .csv .tsv .jsonl .json .parquet, or "-"), a Run, an Arrow table, a data frame,
    {query_id: {doc_id: score}}, or rows such as ScoredDoc. Without a score column, rank gives the order.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    import pyarrow as pa

    raw = load(obj, "run")
    check_kind(raw.table, "runs", raw.name)
    raw.require_rows("result")
    pc = compute()
    given = {"query_id": raw.find((*QUERY_ID, "query")), "doc_id": raw.find(DOC_ID), "score": raw.find(("score",))}
    places = raw.find(("rank", "position")) if given["score"] is None else None
    if places is not None:
        order = raw.table[places].cast(pa.float64())
        raw = raw.with_table(raw.table.append_column("score", pc.negate(order)))
        given["score"] = "score"
    columns = [raw.require(role, _names(role)) if column is None else column for role, column in given.items()]
    table = raw.table.select(columns).rename_columns(list(given))
    table = conform(table, "runs", name=raw.name, at=raw.at, parse=raw.text)
    origin = _origin(raw, table)
    return Run(name or raw.stem or "run", attributed(ranked(table), str(origin["attribution"])), origin)


def read_judgments(obj: Any, *, scale: Scale | None = None, judge: str | None = None) -> pa.Table:
    """Judgments: the columns of types.Judgment, relevance an index on the scale; attribution in its schema metadata.

    scale: maps labels as found ("E", 100) to their index; None keeps whole numbers as they are. Judgments that name a
    scale already hold indices, and must name this one. judge: of a file that names none; "human:" + its stem by default.
    An empty label is a judgment without an answer, never 0.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    import pyarrow as pa

    raw = load(obj, "judgments")
    check_kind(raw.table, "judgments", raw.name)
    raw.require_rows("judgment")
    source, rows = raw.table, raw.table.num_rows
    label = raw.find(LABEL)
    if label is None and set(source.column_names) == {"query-id", "corpus-id", "score"}:  # BEIR's qrels
        label = "score"
    columns: dict[str, Any] = {
        "query_id": source[raw.find(QUERY_ID) or raw.require("query_id", (*QUERY_ID, "query"))],
        "doc_id": source[raw.require("doc_id", DOC_ID)],
    }
    labels = source[label or raw.require("the label", LABEL)]
    named = _text(raw, "scale", scale.name if scale else "")
    made_on = _said(raw, "scale")
    if made_on and scale and made_on != {scale.name}:
        found = ", ".join(sorted(made_on))
        raise InputError(f"{raw.name}: judgments on scale {found}; expected {scale.name}: give that scale, or other judgments")
    if made_on or scale is None:
        columns["relevance"] = _whole(labels, raw, str(label), scale)
    else:
        columns["relevance"] = _indices(labels, raw, str(label), scale)
    if raw.find(["probs"]):
        columns["probs"] = _probs(raw)
    told = judge or f"human:{raw.stem or 'given'}"
    others = _said(raw, "judge") - {judge}
    if judge and others:
        raise InputError(f"{raw.name}: judgments by {', '.join(sorted(others))}; expected {judge}: leave the judge out")
    columns["judge"] = _text(raw, "judge", told)
    columns["fingerprint"] = _text(raw, "fingerprint", "")
    columns["scale"] = named
    columns["guide_version"] = _text(raw, "guide_version", "")
    pc = compute()
    answered = pc.if_else(pc.is_valid(columns["relevance"]), str(Outcome.LABEL), str(Outcome.ABSTAINED))
    columns["outcome"] = pc.if_else(pc.equal(_text(raw, "outcome", ""), ""), answered, _text(raw, "outcome", ""))
    columns["note"] = _text(raw, "note", "")
    arrays: list[Any] = [c if len(c) == rows else pa.nulls(rows) for c in columns.values()]
    table = pa.Table.from_arrays(arrays, list(columns))
    table = conform(table, "judgments", name=raw.name, at=raw.at, parse=raw.text)
    return attributed(table, _attribution(raw))


def read_queries(obj: Any) -> pa.Table:
    """Queries: query_id, query, what else is known of the schema, and every further column (a stratum, an interest).

    A file of judgments or pairs gives its distinct queries; UBI's requests give their distinct texts, with users and
    impressions. {query_id: text} works too.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "queries")
    check_kind(raw.table, "queries", raw.name) if not raw.find(DOC_ID) else None
    raw.require_rows("query")
    if ubi.is_ubi(raw):
        raw = ubi.queries(raw)
    source = raw.table
    text = raw.require("the query's text", QUERY)
    query_id = raw.find((*QUERY_ID, "_id")) or text
    if raw.find(DOC_ID):
        table = source.select([query_id, text] if query_id != text else [text])
        table = table.group_by(table.column_names, use_threads=False).aggregate([])
        raw = raw.with_table(table)
    table = raw.table.rename_columns([{query_id: "query_id", text: "query"}.get(c, c) for c in raw.table.column_names])
    if query_id == text:
        table = table.rename_columns(["query" if c == "query_id" else c for c in table.column_names])
        table = table.append_column("query_id", table["query"])
    table = conform(table, "queries", name=raw.name, at=raw.at, parse=raw.text)
    return attributed(table, _attribution(raw))


def read_docs(obj: Any) -> pa.Table:
    """Documents: doc_id and one text column a field; lists are joined with ", ", numbers stay numbers and are no field.

    What would give labels away is dropped: ESCI's labels, and the ids of the queries that a product was judged for.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    import pyarrow as pa

    raw = load(obj, "docs")
    check_kind(raw.table, "docs", raw.name)
    raw.require_rows("document")
    source = _attribution(raw)
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


def read_pairs(obj: Any) -> pa.Table:
    """Pairs: query_id, query, doc_id, text, and every further column.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "pairs")
    check_kind(raw.table, "pairs", raw.name)
    raw.require_rows("pair")
    return attributed(conform(raw.table, "pairs", name=raw.name, at=raw.at, parse=raw.text), _attribution(raw))


def read_design(obj: Any) -> pa.Table:
    """A design: query_id, stratum, inclusion_probability, population of the stratum, and every further column.

    Raises: InputError naming file, row, column, what was found and what was expected.
    """
    raw = load(obj, "design")
    check_kind(raw.table, "designs", raw.name)
    raw.require_rows("query")
    return conform(raw.table, "designs", name=raw.name, at=raw.at, parse=raw.text)


def _names(role: str) -> tuple[str, ...]:
    return {"query_id": QUERY_ID, "doc_id": DOC_ID}.get(role, (role,))


def _origin(raw: Raw, table: pa.Table) -> dict[str, Any]:
    """Where a run comes from: what its manifest says of it, then path, digest, rows, format and attribution."""
    origin: dict[str, Any] = dict(raw.origin)
    manifest = read_manifest(raw.path) if raw.path else None
    if manifest:
        origin |= dict(manifest.extra) | {"verb": manifest.verb}
    facts = {
        "path": raw.path or origin.get("path", ""),
        "sha256": sha256(raw.path) if raw.path else digest(table),
        "rows": table.num_rows,
        "format": raw.form,
    }
    return {**origin, **facts, "attribution": origin.get("attribution") or _attribution(raw)}


def _attribution(raw: Raw) -> str:
    manifest = read_manifest(raw.path) if raw.path else None
    said = manifest.extra.get("attribution", "") if manifest else ""
    return attribution(raw.table) or str(said or "") or (esci.ATTRIBUTION if esci.is_esci(raw) else "")


def _said(raw: Raw, column: str) -> set[str]:
    """The values of a text column, without the empty one."""
    found = raw.find([column])
    return {str(v) for v in compute().unique(raw.table[found]).to_pylist() if v} if found else set()


def _text(raw: Raw, column: str, default: str) -> Any:
    """A text column, with a default where it is absent or empty."""
    import pyarrow as pa

    pc = compute()
    found = raw.find([column])
    if found is None or pa.types.is_null(raw.table[found].type):
        return pa.repeat(default, raw.table.num_rows)
    values = raw.table[found]
    values = values.cast(pa.string()) if pa.types.is_large_string(values.type) else values
    if not pa.types.is_string(values.type):
        return values  # conform says what is wrong with it
    return pc.if_else(pc.or_kleene(pc.is_null(values), pc.equal(values, "")), default, values)


def _whole(labels: Any, raw: Raw, label: str, scale: Scale | None) -> Any:
    """Labels that are whole numbers; with a scale they must be indices on it."""
    import pyarrow as pa

    distinct = {v: _number(v) for v in labels.unique().to_pylist()}
    for value, number in distinct.items():
        if value in (None, "") or value != value:
            continue
        if number is None or (scale and not 0 <= number < len(scale.labels)) or not -(2**15) <= number < 2**15:
            row = labels.to_pylist().index(value)
            wanted = f"0 to {len(scale.labels) - 1}" if scale else "a whole number, or name the scale that it is on"
            raise InputError(f"{raw.name}, {raw.at(row)}, column {label!r}: found {short(value)}; expected {wanted}")
    return pa.array([distinct[v] for v in labels.to_pylist()], pa.int16())


def _indices(labels: Any, raw: Raw, label: str, scale: Scale) -> Any:
    """The index on the scale of each label as found; missing where it is empty."""
    import pyarrow as pa

    index: dict[Any, int | None] = {}
    for value in labels.unique().to_pylist():
        if value is None or value != value or str(value).strip() == "":
            index[value] = None
            continue
        number = _number(value)
        try:
            index[value] = scale.relevance(value if number is None or isinstance(value, bool) else number)
        except InputError as error:
            row = labels.to_pylist().index(value)
            raise InputError(f"{raw.name}, {raw.at(row)}, column {label!r}: {error}") from None
    return pa.array([index[v] for v in labels.to_pylist()], pa.int16())


def _number(value: Any) -> int | None:
    """The whole number that a label is, "1.0" and 1.0 included; None if it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
        return int(number) if number.is_integer() else None
    except (ValueError, TypeError, OverflowError):
        return None


def _probs(raw: Raw) -> Any:
    """Probabilities as lists, out of JSON text where the format has no lists."""
    values = raw.table[str(raw.find(["probs"]))]
    if not raw.text:
        return values
    lists = [json.loads(v) if v else None for v in values.to_pylist()]
    return column_of(lists, "probs", raw.name, raw.at)


def _joined(lists: Any) -> Any:
    """Lists of text or numbers as one text each."""
    import pyarrow as pa

    return compute().binary_join(lists.cast(pa.list_(pa.string())), ", ")
