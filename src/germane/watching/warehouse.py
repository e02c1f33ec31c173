"""A log that is a table in a database: connected to by a URL that no message shows, read and never written.

DuckDB and PostgreSQL are tested here; BigQuery, Snowflake, Databricks and Spark get the same expressions through Ibis.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from germane.extras import first_line, needs
from germane.ops.urls import without_secrets
from germane.types import InputError
from germane.watching import calendar, requests
from germane.watching.plan import Plan
from germane.watching.sources import Table

AHEAD = timedelta(days=1)
"""A request further ahead of this machine's clock than this is a wrong time, and says nothing of which days are over."""

NEAR = timedelta(hours=1)
"""A day whose last request is so near its end, by the clock, is whole though no later request is there."""

ROWS = 100_000
"""Rows that come from a database at once."""

MEMORY = "1GiB"
"""That a DuckDB file's own connection may hold."""

_DRIVERS = {"bigquery": "bigquery", "snowflake": "snowflake", "databricks": "databricks", "pyspark": "pyspark"}
"""Schemes of URLs -> the extra of ibis-framework that brings the driver."""

_THEIRS = {"psycopg", "duckdb", "_duckdb", "ibis", "google", "snowflake", "databricks", "pyspark", "py4j", "grpc", "requests"}
_AWAY = {"OSError", "ConnectionError", "TimeoutError", "ConnectionRefusedError", "ConnectionResetError", "gaierror"}
"""Whose errors are those of a database, and those of the system when it is away."""


@contextmanager
def opened(plan: Plan, connection: Any) -> Iterator[Table]:
    """The plan's table. connection: of DuckDB, where answers become tables.

    Raises: InputError for a variable that is not set, a driver that is not installed, a database that does not answer, and a
    table that is not there: one line, without the URL.
    """
    name = f"the table {plan.table}"
    if not (url := os.environ.get(plan.log_env, "")):
        raise InputError(f"watch.log_env names the variable {plan.log_env}, which is not set: give it the database's URL")
    with explained(name, url), _connected(url, plan.root) as backend:
        *within, last = parts(plan.table)
        try:
            found = backend.table(last, database=tuple(within) or None)
        except Exception as problem:
            if type(problem).__name__ != "TableNotFound":
                raise
            raise InputError(f"{name} is not in the database of {plan.log_env}: see watch.log in germane.toml") from None
        yield Table(connection, backend, found, name, lambda expression: _batches(backend, expression))


def loaded(plan: Plan, day: date) -> bool:
    """Whether a day's requests are all in the table: a later one is, or the last one is near the day's end.

    Raises: InputError as `opened`.
    """
    with opened(plan, None) as table:
        span, later = requests.span_of(table.table, plan, day, name=table.name)
        ((first,),) = table.rows(later)
        if first is not None and moment(first, plan) <= datetime.now(UTC) + AHEAD:
            return True
        ((_, last),) = table.rows(span)
        return last is not None and calendar.span(day, plan.zone).end - moment(last, plan) <= NEAR


def state(plan: Plan, day: date) -> list[str]:
    """What a day's requests are known by: how many there are, and the time of the last."""
    with opened(plan, None) as table:
        ((count, last),) = table.rows(requests.span_of(table.table, plan, day, name=table.name)[0])
        return [plan.table, str(count), str(last)]


def moment(time: Any, plan: Plan) -> datetime:
    """A time of the log as a moment."""
    if isinstance(time, datetime):
        return time if time.tzinfo else time.replace(tzinfo=plan.log_zone)
    if isinstance(time, date):  # a day without a clock: only a later one says that it is over
        return datetime(time.year, time.month, time.day, tzinfo=plan.zone)
    seconds = float(time)
    while seconds >= requests.FAR * 1000:  # milli-, micro- or nanoseconds
        seconds /= 1000
    return datetime.fromtimestamp(seconds, UTC)


def parts(table: str) -> list[str]:
    """The parts of a table's name: CATALOG.SCHEMA.TABLE; a part with a dot in it stands in double quotes.

    Raises: InputError for what is no name.

    >>> parts('shop.requests'), parts('"odd.name".t')
    (['shop', 'requests'], ['odd.name', 't'])
    """
    one = r'(?:"(?:[^"]|"")+"|[^".]+)'
    if not re.fullmatch(rf"{one}(?:\.{one}){{0,2}}", table):
        raise InputError(f"watch.log: {table!r} is no table's name: expected TABLE, SCHEMA.TABLE or CATALOG.SCHEMA.TABLE")
    found = re.findall(one, table)
    return [each[1:-1].replace('""', '"') if each.startswith('"') else each for each in found]


@contextmanager
def explained(name: str, url: str) -> Iterator[None]:
    """A block in which whatever a database complains of is one line, without anything that its URL keeps secret."""
    try:
        yield
    except Exception as problem:
        of, kind = type(problem).__module__.partition(".")[0], type(problem).__name__
        if isinstance(problem, InputError) or kind == "OutOfMemoryException" or (of not in _THEIRS and kind not in _AWAY):
            raise
        raise InputError(f"{name} cannot be read: {without_secrets(first_line(problem), url)}") from None


def _batches(backend: Any, expression: Any) -> Iterator[Any]:
    """The rows of an expression, some at a time."""
    import pyarrow as pa

    if backend.name == "duckdb":
        yield from backend.con.sql(backend.compile(expression)).to_arrow_reader(ROWS)
        return
    if backend.name != "postgres":
        yield from backend.to_pyarrow_batches(expression, chunk_size=ROWS)
        return
    kind = expression.schema().as_struct().to_pyarrow()
    with backend.con.cursor(name="germane") as cursor:  # at the server: Ibis's own ends the transaction
        cursor.execute(backend.compile(expression))
        while rows := cursor.fetchmany(ROWS):
            yield pa.RecordBatch.from_struct_array(pa.array(rows, type=kind))


@contextmanager
def _connected(url: str, root: Path) -> Iterator[Any]:
    """A database, as Ibis has it, to be read alone."""
    import ibis

    scheme, mark, rest = url.partition("://")
    scheme = {"postgres": "postgresql", "spark": "pyspark"}.get(scheme, scheme)
    if not mark or scheme not in {"duckdb", "postgresql", *_DRIVERS}:
        raise InputError(
            "the log's URL is none that is known: expected duckdb://FILE, postgresql://..., bigquery://PROJECT/DATASET, "
            "snowflake://..., databricks://... or spark://"
        )
    if scheme == "postgresql":
        with _postgres(url) as backend:
            yield backend
        return
    if scheme == "duckdb":
        if not (path := root / rest).is_file():
            raise InputError(
                f"the log's database {rest.partition('?')[0]} is no file: expected duckdb://FILE, relative to germane.toml"
            )
        options = {"memory_limit": MEMORY, "autoinstall_known_extensions": False, "python_enable_replacements": False}
        backend = ibis.duckdb.connect(path, read_only=True, **options)
    else:
        try:
            backend = ibis.connect(f"{scheme}://{rest}")
        except ImportError as problem:
            missing = f"its driver ({problem.name})" if problem.name else "its driver"
            raise InputError(f"a log in {scheme} needs {missing}: pip install 'ibis-framework[{_DRIVERS[scheme]}]'") from None
    try:
        yield backend
    finally:
        with suppress(Exception):
            backend.disconnect()


@contextmanager
def _postgres(url: str) -> Iterator[Any]:
    """PostgreSQL in one transaction that reads, and sees one state of the log whatever is loaded meanwhile."""
    import ibis

    needs("warehouse", "psycopg", by="a log in PostgreSQL")
    import psycopg

    with psycopg.connect(url, connect_timeout=10) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SET cursor_tuple_fraction = 1")  # all rows are fetched, not the first few
        yield ibis.postgres.from_connection(connection)
