"""Vectors into PostgreSQL (pgvector): the statements and lines that a person may run, or all in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from germane.engines.postgres import TOWER, columns, quoted, said
from germane.extras import needs
from germane.types import InputError

if TYPE_CHECKING:
    from psycopg import Connection

    from germane.inference.encoding import Vectors

NUMBERS = ("vector", "halfvec")
"""How pgvector keeps a number: in 4 bytes or in 2."""

INDEXED = {"vector": 2000, "halfvec": 4000}
"""Dimensions that an index of pgvector takes at most."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copied(ids: Sequence[str], values: Vectors) -> bytes:
    """Lines of COPY in text format: doc_id, a tab, the vector.

    Raises: InputError for an id with a NUL, which PostgreSQL cannot hold.
    """
    form = "[" + ",".join(["%.9g"] * values.shape[1]) + "]"
    lines = []
    for doc_id, row in zip(ids, values.tolist(), strict=True):
        if "\x00" in doc_id:
            raise InputError(f"document {doc_id!r} has a NUL in its id, which PostgreSQL cannot hold: give it another id")
        lines.append(f"{doc_id.translate(_ESCAPES)}\t{form % tuple(row)}")
    return ("\n".join(lines) + "\n").encode()


def statements(table: str, field: str, numbers: str, dimension: int, tower: str, file: str) -> str:
    """What makes the table, fills it from `file` with psql, and indexes it."""
    needs("postgres", "psycopg", by="an export to pgvector")
    name, column, vacant = quoted(table), quoted(field, whole=True), file.replace("'", "''")
    comment = f"{TOWER}{tower}".replace("'", "''")
    lines = [
        "CREATE EXTENSION IF NOT EXISTS vector;",
        f"CREATE TABLE {name} (doc_id text PRIMARY KEY, {column} {numbers}({dimension}) NOT NULL);",
        f"COMMENT ON COLUMN {name}.{column} IS '{comment}';",
        f"\\copy {name} (doc_id, {column}) FROM '{vacant}'",
    ]
    if dimension <= INDEXED[numbers]:
        lines.append(f"CREATE INDEX ON {name} USING hnsw ({column} {numbers}_cosine_ops);")
    else:
        lines.append(
            f"-- no index: one of {numbers} takes {INDEXED[numbers]:,} dimensions at most, and these have {dimension:,}"
        )
    return "\n".join(lines) + "\n"


def load(
    url: str,
    table: str,
    pieces: Iterable[tuple[list[str], Vectors]],
    *,
    field: str,
    numbers: str,
    dimension: int,
    tower: str,
) -> None:
    """Puts documents' vectors into a table, made if it is not there; those it has are replaced. All of it or nothing.

    Raises: InputError for a server that does not answer, without pgvector, or whose table holds another student's vectors or
    lacks the columns.
    """
    needs("postgres", "psycopg", by="an export to pgvector")
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            _prepare(connection, table, field, numbers, dimension, tower)
            name, column = quoted(table), quoted(field, whole=True)
            _run(connection, f"CREATE TEMP TABLE germane_staged (LIKE {name}) ON COMMIT DROP")
            with connection.cursor() as cursor, cursor.copy(_sql(f"COPY germane_staged (doc_id, {column}) FROM STDIN")) as copy:
                for ids, values in pieces:
                    copy.write(copied(ids, values))
            held = f"(doc_id, {column}) SELECT doc_id, {column} FROM germane_staged"
            _run(connection, f"INSERT INTO {name} {held} ON CONFLICT (doc_id) DO UPDATE SET {column} = EXCLUDED.{column}")
    except psycopg.Error as problem:
        raise InputError(f"PostgreSQL took none of the vectors: {said(problem, url)}") from None


def _prepare(connection: Connection[Any], table: str, field: str, numbers: str, dimension: int, tower: str) -> None:
    """The table, ready for vectors of this tower.

    Raises: InputError where it is another's, or the server has no pgvector.
    """
    if not connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone():
            raise InputError("this PostgreSQL has no extension pgvector: install it, or export to parquet")
        _run(connection, "CREATE EXTENSION vector")
    name, column = quoted(table), quoted(field, whole=True)
    _run(connection, f"CREATE TABLE IF NOT EXISTS {name} (doc_id text PRIMARY KEY, {column} {numbers}({dimension}) NOT NULL)")
    there = columns(connection, table)
    for needed in ("doc_id", field):
        if needed not in there:
            raise InputError(f"table {table!r} has no column {needed!r}: name a new table, or add it")
    kind, comment = there[field]
    if kind != f"{numbers}({dimension})":
        raise InputError(
            f"column {field!r} of table {table!r} is {kind}, and these are {numbers}({dimension}): name another table"
        )
    rows = connection.execute(_sql(f"SELECT EXISTS (SELECT FROM {name} WHERE {column} IS NOT NULL)")).fetchone()
    if rows and rows[0] and comment.removeprefix(TOWER) != tower:
        whose = comment or "nobody said whose"
        raise InputError(
            f"table {table!r} holds other vectors ({whose}; these are of tower {tower}): name another, or empty it"
        )
    said_so = f"{TOWER}{tower}".replace("'", "''")
    _run(connection, f"COMMENT ON COLUMN {name}.{column} IS '{said_so}'")


def _run(connection: Connection[Any], text: str) -> None:
    connection.execute(_sql(text))


def _sql(text: str) -> Any:
    """A statement that was put together of fixed words and quoted names alone."""
    from psycopg import sql

    return sql.SQL(text)
