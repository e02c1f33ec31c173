"""Where a log lies: files that DuckDB reads, or a table in a database. Both answer the same expressions with tables here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from germane.types import InputError
from germane.watching import requests

_READERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}


class Source(Protocol):
    """A log's table, and how an answer becomes a table of the connection that draws. moved: rows that came for that."""

    table: Any
    name: str
    parses: bool
    moved: int

    @property
    def dialect(self) -> str:
        """The database, as Ibis calls it."""

    def keep(self, expression: Any, name: str) -> None:
        """A table of this name with the rows of an expression."""

    def rows(self, expression: Any) -> list[tuple[Any, ...]]:
        """The few rows of an expression."""

    def keep_of(self, ask: Callable[..., Any], name: str, *columns: tuple[str, str]) -> None:
        """As `keep`, of an expression that is asked of texts: those in these columns, as (table, column)."""


@dataclass
class Files:
    """Files of a day: nothing moves, since the connection that draws reads them itself."""

    connection: Any
    backend: Any
    table: Any
    name: str
    parses: bool = True
    moved: int = 0

    @property
    def dialect(self) -> str:
        return "duckdb"

    @classmethod
    def of(cls, connection: Any, files: Sequence[Path], zone: str) -> Files:
        """The files as one table. zone: of times without one."""
        import ibis

        backend = ibis.duckdb.from_connection(connection)  # which sets the zone to UTC
        connection.execute(f"SET TimeZone = {quoted(zone)}")
        connection.execute(f"CREATE VIEW files AS SELECT *{_plain(connection, files)} FROM {_reader(files)}")
        return cls(connection, backend, backend.table("files"), f"the log {files[0]}")

    def keep(self, expression: Any, name: str) -> None:
        self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS {self.backend.compile(expression)}")

    def rows(self, expression: Any) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(self.backend.compile(expression)).fetchall())

    def keep_of(self, ask: Callable[..., Any], name: str, *columns: tuple[str, str]) -> None:
        self.keep(ask(*(self.backend.table(table)[column] for table, column in columns)), name)


@dataclass
class Table:
    """A table in a database: it is asked, and only answers come here, in batches. connection: that draws."""

    connection: Any
    backend: Any
    table: Any
    name: str
    batches: Callable[[Any], Iterator[Any]]
    parses: bool = False
    moved: int = 0

    @property
    def dialect(self) -> str:
        return str(self.backend.name)

    def keep(self, expression: Any, name: str) -> None:
        self._empty(expression, name)
        self._add(expression, name)

    def rows(self, expression: Any) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for batch in self.batches(expression) for row in batch.to_pylist()]

    def keep_of(self, ask: Callable[..., Any], name: str, *columns: tuple[str, str]) -> None:
        rows = self.connection.execute(
            f"SELECT {', '.join(named(column) for _, column in columns)} FROM {columns[0][0]} ORDER BY ALL"
        ).fetchall()
        self._empty(ask(*([""] for _ in columns)), name)
        at = 0
        for piece in requests.texts([row[0] for row in rows]):
            asked = [list(dict.fromkeys(row[i] for row in rows[at : at + len(piece)])) for i in range(len(columns))]
            at += len(piece)
            self._add(ask(*asked), name)

    def _empty(self, expression: Any, name: str) -> None:
        empty = expression.schema().to_pyarrow().empty_table()
        self.connection.register("piece", empty)
        self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM piece")
        self.connection.unregister("piece")

    def _add(self, expression: Any, name: str) -> None:
        import pyarrow as pa

        for batch in self.batches(expression):
            self.moved += batch.num_rows
            self.connection.register("piece", pa.Table.from_batches([batch]))
            self.connection.execute(f"INSERT INTO {name} SELECT * FROM piece")
            self.connection.unregister("piece")


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def named(column: str) -> str:
    """A column's name as SQL has it."""
    return '"' + column.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path.as_posix())


def _reader(files: Sequence[Path]) -> str:
    kinds = {file.suffix.lower() for file in files}
    readers = {_READERS.get(kind, "") for kind in kinds}
    if len(readers) != 1 or "" in readers:
        raise InputError(f"the log has files of {', '.join(sorted(kinds))}: expected .parquet, .csv, .tsv, .jsonl or .ndjson")
    listed = "[" + ", ".join(quoted(literal(file)) for file in files) + "]"
    match readers.pop():
        case "parquet":
            return f"read_parquet({listed}, union_by_name = true)"
        case "csv":
            mark = "\\t" if kinds == {".tsv"} else ","
            return (  # a field without anything is missing; one of two quotation marks is an empty text
                f"read_csv({listed}, header = true, all_varchar = true, delim = E'{mark}', union_by_name = true, "
                "allow_quoted_nulls = false)"
            )
        case _:
            return f"read_json({listed}, format = 'newline_delimited', union_by_name = true)"


def _plain(connection: Any, files: Sequence[Path]) -> str:
    """What JSON lines hold of numbers and texts in one column, as texts without their quotation marks."""
    if _READERS.get(files[0].suffix.lower()) != "json":
        return ""
    found = connection.execute(f"DESCRIBE SELECT * FROM {_reader(files)}").fetchall()
    said = {
        "JSON": "CASE json_type({c}) WHEN 'ARRAY' THEN {c}::VARCHAR ELSE json_extract_string({c}, '$') END AS {c}",
        "JSON[]": "list_transform({c}, lambda x: json_extract_string(x, '$')) AS {c}",
    }
    mixed = [said[kind].replace("{c}", named(name)) for name, kind, *_ in found if kind in said]
    return f" REPLACE ({', '.join(mixed)})" if mixed else ""
