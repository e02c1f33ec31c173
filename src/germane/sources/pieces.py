"""Large parquet files, opened to be read in pieces; whatever is not one is read whole, as everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.sources.labels import judgments_of, label_column, looked_up, read_judgments
from germane.sources.names import DOC_ID, QUERY_ID
from germane.sources.raw import Raw
from germane.sources.reading import origin_of, read_run, whose
from germane.store import SCHEMAS, Stored, attributed, check_kind, read_manifest, stored
from germane.store.checks import compute, conform_column
from germane.store.tables import explained_parquet
from germane.types import InputError, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

WHO = ("judge", "fingerprint", "scale", "guide_version", "outcome")


def open_run(obj: Any, *, name: str | None = None) -> Run:
    """`read_run`; of a large parquet file the rows stay there, and are ranked when they are read."""
    raw = _large(obj, "runs")
    if raw is None or not (columns := _named(raw, {"score": raw.find(("score",))})):
        return read_run(obj, name=name)
    table: Any = Stored(
        raw.path,
        columns,
        attributed(raw.table, whose(raw)).schema,
        prepare=partial(_prepared, raw, "runs", {}),
        load=lambda: read_run(obj, name=name).table,
    )
    return Run(name or raw.stem or "run", table, origin_of(raw, table))


def open_judgments(obj: Any, *, scale: Scale | None = None) -> pa.Table:
    """`read_judgments`; of a large parquet file the pairs stay there, and what kinds of judgments it holds is known.

    Raises: InputError as `read_judgments`, naming the row.
    """
    raw = _large(obj, "judgments")
    if raw is None or not (columns := _named(raw, {"relevance": label_column(raw)})):
        return read_judgments(obj, scale=scale)
    who = {column: name for column in WHO if (name := raw.find([column]))}
    probs = {column: name for column in ("probs",) if (name := raw.find([column]))}
    labels: dict[Any, int | None] = {}
    read: Callable[[], pa.Table] = partial(read_judgments, obj, scale=scale)
    schema = attributed(raw.table, whose(raw)).schema
    found = Stored(raw.path, {**columns, **who}, schema, prepare=lambda piece, _: piece, load=read)
    try:
        kinds = _kinds(raw, found, ["relevance", *who], scale, labels)
    except InputError:
        return read()  # names the row, and if it does not, it knows better
    table: Any = Stored(
        raw.path, {**columns, **probs}, schema, prepare=partial(_prepared, raw, "judgments", labels), load=read, kinds=kinds
    )
    return table  # type: ignore[no-any-return]


def _large(obj: Any, kind: str) -> Raw | None:
    """A large parquet file without its rows; None for anything else."""
    import pyarrow.parquet as pq

    if not isinstance(obj, (str, Path)) or not Path(obj).is_file():
        return None
    path = Path(obj)
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return None
    with explained_parquet(path):
        metadata = pq.read_metadata(path)
        table = metadata.schema.to_arrow_schema().empty_table()
    if metadata.num_rows < stored.BIG or len(set(table.column_names)) < table.num_columns:
        return None
    check_kind(table, kind, str(path))
    stem = path.name.rsplit(".", 1)[0]
    return Raw(table, str(path), "parquet", path=str(path), stem=stem, manifest=read_manifest(path))


def _named(raw: Raw, more: Mapping[str, str | None]) -> dict[str, str]:
    """Our name -> the file's, of ids and of these; empty where one is missing, or has a type that wants a closer look."""
    import pyarrow as pa

    kind = pa.types
    names = {"query_id": raw.find((*QUERY_ID, "query")), "doc_id": raw.find(DOC_ID), **more}
    types = {column: raw.table.schema.field(name).type for column, name in names.items() if name}
    text = all(kind.is_string(t) or kind.is_large_string(t) for c, t in types.items() if c in ("query_id", "doc_id"))
    plain = all(kind.is_primitive(t) or kind.is_string(t) for c, t in types.items() if c in more)
    return {c: str(name) for c, name in names.items()} if len(types) == len(names) and text and plain else {}


def _prepared(raw: Raw, kind: str, labels: Mapping[Any, int | None], piece: pa.Table, first: int) -> pa.Table:
    """A piece, checked and in our types, but for query ids, which stay a dictionary."""
    import pyarrow as pa

    known = {column.name: column for column in SCHEMAS[kind].columns}

    def at(row: int) -> str:
        return f"row {first + row + 1:,}"

    made: list[Any] = []
    for name in piece.column_names:
        values = piece[name]
        if name == "relevance":
            made.append(looked_up(values, labels))
        elif pa.types.is_dictionary(values.type) and not values.null_count:
            try:  # each id is looked at once
                chunks: Any = values.unify_dictionaries().chunks[:1]
                for chunk in chunks:
                    conform_column(pa.chunked_array([chunk.dictionary]), known[name], name=raw.name, at=at)
                made.append(values)
            except InputError:
                made.append(conform_column(values, known[name], name=raw.name, at=at))
        else:
            made.append(conform_column(values, known[name], name=raw.name, at=at))
    return pa.Table.from_arrays(made, piece.column_names)


def _kinds(raw: Raw, source: Stored, columns: list[str], scale: Scale | None, labels: dict[Any, int | None]) -> pa.Table:
    """The distinct rows of these columns as judgments of pairs that do not exist; fills `labels` with what labels mean.

    Raises: InputError as `read_judgments` does.
    """
    import pyarrow as pa

    parts = list(stored.in_pieces(source, columns, lambda _, piece: _distinct(piece)))
    rows: Any = pa.concat_tables(parts, promote_options="permissive").group_by(columns, use_threads=False).aggregate([])
    made_up: Any = pa.array([str(row) for row in range(rows.num_rows)])
    table = rows.append_column("query_id", made_up).append_column("doc_id", made_up)
    found = judgments_of(raw.with_table(table), scale, None)
    labels.update(zip(rows["relevance"].to_pylist(), found["relevance"].to_pylist(), strict=True))
    return found


def _distinct(piece: pa.Table) -> pa.Table:
    """The distinct rows of a piece, text as plain text."""
    import pyarrow as pa

    code: Any = np.zeros(piece.num_rows, dtype=np.int64)
    for column in piece.columns:
        values: Any = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = values.unify_dictionaries()
        width = len(values.chunk(0).dictionary) + 1
        if width == 2 and not values.null_count:  # one value throughout, as most of these columns hold
            continue
        indices = np.concatenate([compute().fill_null(chunk.indices, -1).to_numpy() for chunk in values.chunks])
        if int(code.max(initial=0)) * width >= 1 << 40:
            code = np.unique(code, return_inverse=True)[1]
        code = code * width + (indices.astype(np.int64) + 1)
    if int(code.max(initial=0)) < 1 << 22:
        place = np.full(int(code.max(initial=0)) + 1, -1, dtype=np.int64)
        place[code[::-1]] = np.arange(len(code))[::-1]
        rows = place[place >= 0]
    else:
        rows = np.unique(code, return_index=True)[1]
    at: Any = pa.array(np.sort(rows))
    taken = piece.take(at)
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in taken.columns]
    return pa.Table.from_arrays(plain, piece.column_names)
