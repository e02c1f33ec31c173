"""A day's log, read where it lies: how often each query was asked, and one list of results for each that was drawn.

Of ten million requests only one row a spelling comes here, and that lies on disk if it must; of the drawn ones, one list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.store.duck import connected
from germane.text.normal import MAY_CHANGE, NORMAL, normal, steps_of
from germane.types import InputError
from germane.watching import requests, warehouse
from germane.watching.plan import Plan
from germane.watching.requests import MARK, Requests
from germane.watching.sources import Files, Source, quoted

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY = 1 << 30
"""Bytes that DuckDB may hold; what does not fit lies on disk meanwhile."""

LONGEST = 1_000
"""Characters of a query. A longer one is none that people type."""

PIECE = 50_000
"""Spellings that are normalised at once."""


@dataclass
class DayLog:
    """The requests of one day. rows: of the day; empty, overlong: of them, without a usable query.

    undated: rows of the files whose time cannot be read; None of a table, of which only the day is read. moved: rows that
    came from a database. The table that it makes in its connection: `queries` (query, requests, query_id, the segments'
    columns), one row a query.
    """

    connection: Any
    plan: Plan
    source: Source
    requests: Requests
    rows: int = 0
    empty: int = 0
    overlong: int = 0
    undated: int | None = None
    queries: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def moved(self) -> int:
        return self.source.moved


@contextmanager
def opened(plan: Plan, day: date, files: Sequence[Path]) -> Iterator[DayLog]:
    """The requests of a day, counted by query; from the plan's table where it has one, and else from these files.

    Raises: InputError for files that cannot be read, columns that are not there, and times that are none.
    """
    import duckdb

    with connected(MEMORY) as connection:
        try:
            with _source(plan, connection, files) as source:
                asked: dict[str, Any] = {"name": source.name, "dialect": source.dialect, "parses": source.parses}
                log = DayLog(connection, plan, source, requests.of_day(source.table, plan, day, **asked))
                _counted(log)
                yield log
        except duckdb.Error as problem:
            if isinstance(problem, duckdb.OutOfMemoryException):
                raise
            reason = " ".join(str(problem).split())[:200]
            raise InputError(f"the log {plan.table or ', '.join(map(str, files[:3]))} cannot be read: {reason}") from problem


@contextmanager
def _source(plan: Plan, connection: Any, files: Sequence[Path]) -> Iterator[Source]:
    if plan.table:
        with warehouse.opened(plan, connection) as table:
            yield table
    else:
        yield Files.of(connection, files, plan.log_zone.key)


def _counted(log: DayLog) -> None:
    """The table `queries`: one row a query in normal form, each with the cell of segments in which it is asked most."""
    connection, number = log.connection, len(log.plan.segments)
    log.source.keep(requests.written(log.requests), "written")
    if log.requests.undated is not None:
        ((log.undated,),) = log.source.rows(log.requests.undated.as_table())
    if log.undated:
        log.notes.append(f"{log.undated:,} rows of the log have a time that cannot be read: they are of no day")
    normalised(connection)
    log.rows = _one(connection, "SELECT coalesce(sum(n), 0)::BIGINT FROM written")
    values = "".join(f", replace(s{i}, chr(0), ' ') AS s{i}" for i in range(number))  # no database keeps a zero
    connection.execute(
        f"CREATE TABLE cells AS SELECT coalesce(s.text, w.query, '') AS query, min(w.query_id) AS query_id{values}, "
        f"sum(w.n)::BIGINT AS n FROM written w LEFT JOIN spelled s ON w.query = s.written GROUP BY ALL"
    )
    connection.execute("DROP TABLE written")
    long = f"length(query) > {LONGEST}"
    log.empty = _one(connection, "SELECT coalesce(sum(n), 0)::BIGINT FROM cells WHERE query = ''")
    log.overlong = _one(connection, f"SELECT coalesce(sum(n), 0)::BIGINT FROM cells WHERE {long}")
    held = "".join(f", 's{i}': s{i}" for i in range(number))
    most = f", max({{'n': n{held}}}) AS most" if number else ""  # equally often: the greater name, so that runs agree
    taken = "".join(f", most.s{i} AS s{i}" for i in range(number))
    plain_id = "replace(substr(query_id, 33), chr(0), ' ')"  # without the MD5 by which one was taken
    connection.execute(
        f"CREATE TABLE queries AS SELECT query, {plain_id} AS query_id, requests{taken} "
        f"FROM (SELECT query, min(query_id) AS query_id, sum(n)::BIGINT AS requests{most} "
        f"FROM cells WHERE query <> '' AND NOT ({long}) GROUP BY query)"
    )
    connection.execute("DROP TABLE cells")
    log.queries = _one(connection, "SELECT count(*) FROM queries")
    for count, what in ((log.empty, "no query"), (log.overlong, "a query too long to be one")):
        if count:
            log.notes.append(f"{count:,} of {log.rows:,} requests have {what}: they are left out")


def normalised(connection: Any, table: str = "written", column: str = "query") -> None:
    """A table `spelled` with the normal form of each text in a table's column that differs from it."""
    import pyarrow as pa

    connection.execute("CREATE TABLE spelled (written VARCHAR, text VARCHAR)")
    steps = steps_of(NORMAL)
    cursor = connection.cursor()
    suspects = f"SELECT DISTINCT {column} FROM {table} WHERE regexp_matches({column}, {quoted(MAY_CHANGE)})"
    reader = cursor.sql(suspects).to_arrow_reader(PIECE)  # of its own, since `connection` writes meanwhile
    for batch in reader:
        texts = batch.column(0).to_pylist()
        changed = {text: plain for text in texts if (plain := normal(text.replace("\0", " "), steps)) != text}
        if changed:
            piece = pa.table({"written": pa.array(changed, pa.string()), "text": pa.array(changed.values(), pa.string())})
            connection.register("piece", piece)
            connection.execute("INSERT INTO spelled SELECT * FROM piece")
            connection.unregister("piece")


def lists(log: DayLog, drawn: pa.Table, *, seed: int, day: date) -> dict[str, list[str]]:
    """The ids of one list of results for each drawn query: that of one of its requests, each equally likely.

    It depends on seed, day, spellings and lists alone: any order of the log gives the same, wherever it lies.
    Raises: InputError for a log that changed meanwhile.
    """
    connection = log.connection
    connection.register("wanted", drawn.select(["query"]))
    connection.execute("CREATE OR REPLACE TEMP TABLE drawn AS SELECT query FROM wanted")
    connection.unregister("wanted")
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE spellings AS SELECT query AS written, query FROM drawn "
        "WHERE query NOT IN (SELECT written FROM spelled) "
        "UNION ALL SELECT written, text AS query FROM spelled WHERE text IN (SELECT query FROM drawn)"
    )
    log.source.keep_of(
        lambda spellings: requests.raced(log.requests, spellings, seed=seed, day=day), "raced", ("spellings", "written")
    )
    connection.execute(  # of a query's spellings the one whose time is least
        "CREATE OR REPLACE TEMP TABLE winners AS SELECT s.query AS text, arg_min(r.query, (r.time, r.list)) AS query, "
        "arg_min(r.list, (r.time, r.list)) AS list FROM raced r JOIN spellings s ON r.query = s.written GROUP BY s.query"
    )
    log.source.keep_of(
        lambda spellings, digests: requests.chosen(log.requests, spellings, digests),
        "shown_lists",
        ("winners", "query"),
        ("winners", "list"),
    )
    found = connection.execute(
        "SELECT winners.text, shown_lists.shown FROM winners JOIN shown_lists USING (query, list)"
    ).fetchall()
    if len(found) != drawn.num_rows:
        raise InputError(f"{log.source.name} changed while it was read; the next run tries again")
    return {query: ids(shown, lists=log.requests.lists, k=log.plan.k) for query, shown in found}


def ids(shown: str, *, lists: bool, k: int) -> list[str]:
    """The ids of a list, each once, in order, k at most. lists: joined by MARK; else text as ["a", "b"], or a,b.

    >>> ids("a,b , a", lists=False, k=5), ids('["a\\u00e9", "b"]', lists=False, k=1)
    (['a', 'b'], ['aé'])
    """
    found = shown.split(MARK) if lists else _of_text(shown)
    stripped = [each.strip() for each in found]
    return list(dict.fromkeys(each for each in stripped if each))[:k]


def _of_text(text: str) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list):
            return [str(each) for each in found if each is not None]
    return text.translate({ord(c): None for c in "[]\"' "}).split(",")


def uniform(*parts: str) -> str:
    """SQL for a number between 0 and 1 that depends on these expressions alone; `drawing.number` is the same in Python."""
    return f"((md5_number_lower(concat_ws(chr(31), {', '.join(parts)}))::DOUBLE + 0.5) / 18446744073709551616.0)"


def _one(connection: Any, sql: str) -> int:
    return int(connection.sql(sql).fetchall()[0][0])
