"""A file of pairs, read in pieces: the rows that can be labelled, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane import store
from germane.sources.loading import load
from germane.store.checks import MAX_CHARACTERS, compute
from germane.store.tables import check_kind, explained_parquet
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

PIECE = 65_536
"""Rows of a file that are read, and written, at once."""

CONTEXT = "context"
IDS = ("query_id", "doc_id")
READ = ("query_id", "query", "doc_id", "text")


class Piece(NamedTuple):
    """Rows of a file as they come, all text. first: the place of its first row, from 0.

    why: of each row that cannot be labelled, the reason; null for one that can; None where all can.
    """

    first: int
    table: pa.Table
    why: pa.Array[Any] | None

    @property
    def sound(self) -> pa.Table:
        """The rows that can be labelled."""
        return self.table if self.why is None else self.table.filter(self.why.is_null())


@dataclass(frozen=True)
class PairsFile:
    """A file of pairs, read in pieces if it is parquet. limit: only its first so many rows.

    context: a column of that name is read as well, for a judge that reads it, and makes pairs differ. A row that cannot be
    labelled is no fault of the file: it has no id, no query or no text, or stands in a part that is damaged.
    """

    path: Path
    limit: int | None = None
    context: bool = False

    def pieces(self) -> Iterator[pa.Table]:
        """Tables of query_id, query, doc_id and text, in order: the rows that can be labelled.

        Raises: InputError naming the file and what is wrong with all of it, as a missing column.
        """
        for piece in self.read():
            if (table := piece.sound).num_rows:
                yield table

    def read(self, columns: Sequence[str] = READ) -> Iterator[Piece]:
        """Every row, in order. columns: some of query_id, query, doc_id and text; of fewer than all, nothing is checked.

        Raises: as `pieces`.
        """
        left, first = self.limit, 0
        for piece, why in self._tables(columns):
            if left is not None:
                piece, why = piece.slice(0, left), None if why is None else why.slice(0, left)
                left -= piece.num_rows
            if piece.num_rows:
                yield Piece(first, piece, why)
            first += piece.num_rows
            if left == 0:
                return

    def size(self) -> int:
        """How many rows there are to be read, about: exact for parquet."""
        import pyarrow.parquet as pq

        rows = 0
        if self.path.suffix == ".parquet":
            with explained_parquet(self.path):
                rows = pq.read_metadata(self.path).num_rows
        return rows if self.limit is None else min(rows, self.limit)

    def _tables(self, columns: Sequence[str]) -> Iterator[tuple[pa.Table, pa.Array[Any] | None]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.path.suffix != ".parquet":
            whole = load(self.path, "pairs", "pairs").table
            names = self._wanted(whole.slice(0, 0), columns)
            for at in range(0, whole.num_rows, PIECE):
                yield _checked(whole.select(names).slice(at, PIECE), columns)
            return
        with explained_parquet(self.path):
            file = pq.ParquetFile(self.path, page_checksum_verification=True)
        empty = file.schema_arrow.empty_table()
        check_kind(empty, "pairs", str(self.path))
        names = self._wanted(empty, columns)
        for found in _batches(self.path, file, names):
            if isinstance(found, _Damaged):
                said: Any = pa.repeat(found.why, found.rows)
                yield pa.table(found.columns), said
            else:
                yield _checked(pa.Table.from_batches([found]), columns)

    def _wanted(self, empty: pa.Table, columns: Sequence[str]) -> list[str]:
        """The columns to read. Raises: InputError for one that is missing, or is not text."""
        store.conform(empty, "pairs", name=str(self.path))
        more = self.context and CONTEXT in empty.column_names and len(columns) == len(READ)
        return [*columns, *([CONTEXT] if more else [])]


# --- parts of a parquet file, and damaged ones ------------------------------------------------------------------------


class _Damaged(NamedTuple):
    """Rows of a part that cannot be read as a whole. columns: (rows,) of each column, null where it is damaged itself."""

    rows: int
    why: str
    columns: dict[str, Any]


def _batches(path: Path, file: Any, names: list[str]) -> Iterator[pa.RecordBatch | _Damaged]:
    """At most PIECE rows at a time; row groups that are smaller are read together."""
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    run: list[int] = []
    for number, rows in enumerate(sizes):
        if run and sum(sizes[at] for at in run) + rows > PIECE:
            yield from _run(path, file, names, run)
            run = []
        run.append(number)
    if run:
        yield from _run(path, file, names, run)


def _run(path: Path, file: Any, names: list[str], groups: list[int]) -> Iterator[pa.RecordBatch | _Damaged]:
    """These row groups; where several fail, each by itself, and where one does, what of it could not be read."""
    import pyarrow as pa

    told, some = 0, []
    try:
        for batch in file.iter_batches(PIECE, row_groups=groups, columns=names):
            told += batch.num_rows
            if len(groups) == 1:
                yield batch
            else:
                some.append(batch)
        yield from some
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's fault, or the network's: no part of the file is wrong
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        if len(groups) > 1:
            for group in groups:
                yield from _run(path, file, names, [group])
            return
        reason = " ".join(str(error).split())[:120]
        whole = {name: _alone(file, groups[0], name).slice(told) for name in names}
        lost = file.metadata.row_group(groups[0]).num_rows - told
        yield _Damaged(lost, f"row group {groups[0] + 1:,} of the file is damaged ({reason})", whole)


def _alone(file: Any, group: int, name: str) -> Any:
    """One column of a row group as text; all null where it is damaged."""
    import pyarrow as pa

    try:
        found = _as_text(file.read_row_group(group, columns=[name]))
        found.validate(full=True)
        return found[name]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno:  # not this column's fault
            raise
        return pa.chunked_array([pa.nulls(file.metadata.row_group(group).num_rows, pa.string())])


# --- rows -------------------------------------------------------------------------------------------------------------


def _checked(table: pa.Table, columns: Sequence[str]) -> tuple[pa.Table, pa.Array[Any] | None]:
    """The rows as text, and why some cannot be labelled."""
    import pyarrow as pa

    try:
        table = _as_text(table)
        table.validate(full=True)
        why = None
    except (pa.ArrowInvalid, UnicodeDecodeError):
        table, why = _decoded(table)
    return (table, why) if len(columns) < len(READ) else (table, _faults(table, why))


def _as_text(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    return table.cast(pa.schema([pa.field(name, pa.string()) for name in table.column_names])).combine_chunks()


def _decoded(table: pa.Table) -> tuple[pa.Table, pa.Array[Any]]:
    """Rows some of which are not UTF-8: their values as null, and the reason."""
    import pyarrow as pa

    pc, columns = compute(), {}
    why: Any = pa.nulls(table.num_rows, pa.string())
    for name in table.column_names:
        values, bad = [], np.zeros(table.num_rows, dtype=bool)
        plain: Any = table[name].cast(pa.large_binary() if pa.types.is_large_string(table[name].type) else pa.binary())
        for row, value in enumerate(plain.to_pylist()):
            try:
                values.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                values.append(None)
                bad[row] = True
        columns[name] = pa.array(values, pa.string())
        why = pc.if_else(pa.array(bad), f"its {name} is not UTF-8", why)
    return pa.table(columns), why


def _faults(table: pa.Table, known: pa.Array[Any] | None) -> pa.Array[Any] | None:
    """(n,) why a row cannot be labelled: the first reason that there is; None where every row can."""
    import pyarrow as pa

    pc, why = compute(), known
    for name in ("query_id", "doc_id", "query", "text"):
        for bad, reason in _bad(table[name], name):
            if why is None:
                why = pa.nulls(table.num_rows, pa.string())
            why = pc.if_else(pc.and_(bad, pc.is_null(why)), reason, why)
    return None if why is None else (why.combine_chunks() if isinstance(why, pa.ChunkedArray) else why)


def _bad(values: Any, name: str) -> Iterator[tuple[Any, str]]:
    pc = compute()
    if values.null_count:
        yield pc.is_null(values), f"its {name} is missing"
    if name == "text":  # an empty text is for the judge to say something of
        return
    sizes = pc.binary_length(pc.utf8_trim_whitespace(values) if name == "query" else values)
    if pc.min(sizes).as_py() == 0:
        yield pc.fill_null(pc.equal(sizes, 0), False), f"its {name} is empty"
    if (pc.max(pc.binary_length(values)).as_py() or 0) > MAX_CHARACTERS:
        long = pc.fill_null(pc.greater(pc.utf8_length(values), MAX_CHARACTERS), False)
        if pc.any(long).as_py():
            yield long, f"its {name} has more than {MAX_CHARACTERS:,} characters: is a document's text in this column?"
