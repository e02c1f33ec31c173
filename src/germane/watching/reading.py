"""A day's log, read where it lies: how often each query was asked, and one list of results for each that was drawn.

DuckDB scans the files; of ten million requests only one row a query is ever held, and that on disk if it must be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from germane.store.duck import connected
from germane.text.normal import MAY_CHANGE, NORMAL, normal, steps_of
from germane.types import InputError
from germane.watching import calendar
from germane.watching.plan import DATE, Plan

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY = 1 << 30
"""Bytes that DuckDB may hold; what does not fit lies on disk meanwhile."""

LONGEST, LONGEST_VALUE = 1_000, 200
"""Characters of a query, and of a segment's value, of which the rest is cut. A longer query is none that people type."""

PIECE = 50_000
"""Spellings that are normalised at once."""

_READERS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json"}


@dataclass
class DayLog:
    """The requests of one day, open in DuckDB. rows: requests of the day; empty, overlong: of them, without a usable query.

    undated: rows of the files whose time cannot be read. The tables that it makes: `queries` (query, requests, query_id, the
    segments' columns), one row a query.
    """

    connection: Any
    plan: Plan
    rows: int = 0
    empty: int = 0
    overlong: int = 0
    undated: int = 0
    queries: int = 0
    notes: list[str] = field(default_factory=list)
    shown: str = "shown"  # SQL for a list as text


@contextmanager
def opened(plan: Plan, day: date, files: Sequence[Path]) -> Iterator[DayLog]:
    """The requests of a day, counted by query.

    Raises: InputError for files that cannot be read, columns that are not there, and times that are none.
    """
    import duckdb

    with connected(MEMORY) as connection:
        log = DayLog(connection, plan)
        try:
            _asked(log, day, files)
            _counted(log)
            yield log
        except duckdb.Error as problem:
            if isinstance(problem, duckdb.OutOfMemoryException):
                raise
            reason = " ".join(str(problem).split())[:200]
            raise InputError(f"the log {', '.join(map(str, files[:3]))} cannot be read: {reason}") from problem


def rows_of(plan: Plan, day: date, files: Sequence[Path]) -> tuple[int, int]:
    """How many rows of the files are of the day, and how many are later than any that a file of that day may hold.

    Raises: InputError for files that cannot be read, columns that are not there, and times that are none.
    """
    import duckdb

    with connected(MEMORY) as connection:
        log = DayLog(connection, plan)
        try:
            _asked(log, day, files)
            inside = _one(connection, "SELECT count(*) FROM asked")
            kind = dict(row[:2] for row in connection.execute("DESCRIBE files").fetchall())[plan.columns.time]
            if DATE not in plan.log:
                return inside, 0  # one file of all days
            after = [
                _times(named(plan.columns.time), str(kind), day + n * calendar.DAY, plan.zone, plan.log_zone)[1] for n in (2, 3)
            ]
            later = " OR ".join(f"({each})" for each in after)
            return inside, _one(connection, f"SELECT count(*) FROM files WHERE {later}")
        except duckdb.Error as problem:
            raise InputError(f"the log {files[0]} cannot be read: {' '.join(str(problem).split())[:200]}") from problem


def _asked(log: DayLog, day: date, files: Sequence[Path]) -> None:
    """A view `asked` of the day's requests: query as written, query_id, the segments, and what was shown as text."""
    connection, columns = log.connection, log.plan.columns
    connection.execute(f"SET TimeZone = {quoted(log.plan.log_zone.key)}")
    connection.execute(f"CREATE VIEW files AS SELECT * FROM {_reader(files)}")
    there = {str(name): str(kind) for name, kind, *_ in connection.execute("DESCRIBE files").fetchall()}
    for name in (columns.time, columns.query, columns.shown, *filter(None, [columns.query_id]), *columns.segments):
        if name not in there:
            raise InputError(
                f"the log {files[0]} has no column {name!r}: found {', '.join(there)}; see [watch] in germane.toml"
            )
    log.shown = _shown("shown", there[columns.shown])
    time = named(columns.time)
    when, inside = _times(time, there[columns.time], day, log.plan.zone, log.plan.log_zone)
    kept = [
        f"replace(CAST({named(columns.query)} AS VARCHAR), chr(0), ' ') AS query",  # no database keeps a zero
        f"{named(columns.shown)} AS shown",
    ]
    kept += (
        [f"replace(CAST({named(columns.query_id)} AS VARCHAR), chr(0), ' ') AS query_id"]
        if columns.query_id
        else ["NULL AS query_id"]
    )
    kept += [
        f"left(replace(coalesce(CAST({named(c)} AS VARCHAR), ''), chr(0), ' '), {LONGEST_VALUE}) AS s{i}"
        for i, c in enumerate(columns.segments)
    ]
    connection.execute(f"CREATE VIEW asked AS SELECT {', '.join(kept)} FROM files WHERE {inside}")
    if when != time:  # times that may be none
        log.undated = _one(connection, f"SELECT count(*) FROM files WHERE {when} IS NULL")
    else:
        log.undated = _one(connection, f"SELECT count(*) FROM files WHERE {time} IS NULL")
    if log.undated:
        log.notes.append(f"{log.undated:,} rows of the log have a time that cannot be read: they are of no day")


def _times(time: str, kind: str, day: date, zone: ZoneInfo, files: ZoneInfo) -> tuple[str, str]:
    """A column of times as moments, and which of them are in the day."""
    found = calendar.span(day, zone)

    def between(column: str, low: str, high: str) -> str:
        return f"{column} >= {low} AND {column} < {high}"

    aware = [f"TIMESTAMPTZ '{moment.strftime('%Y-%m-%d %H:%M:%S')}+00'" for moment in found]
    if kind == "TIMESTAMP WITH TIME ZONE":
        return time, between(time, aware[0], aware[1])
    if kind.startswith("TIMESTAMP"):  # a clock on some wall: that of the files
        if files.key == zone.key:
            local = [f"TIMESTAMP '{each} 00:00:00'" for each in (day, day + calendar.DAY)]
        else:
            walls = [moment.astimezone(files).replace(tzinfo=None) for moment in found]
            local = [f"TIMESTAMP '{wall:%Y-%m-%d %H:%M:%S}'" for wall in walls]
        return time, between(time, local[0], local[1])
    if kind == "DATE":
        return time, f"{time} = DATE '{day}'"
    if kind in ("BIGINT", "INTEGER", "UBIGINT", "UINTEGER", "DOUBLE", "HUGEINT"):
        seconds = f"(CASE WHEN {time} > 1e11 THEN {time} / 1000 ELSE {time} END)"
        low, high = (str(int(moment.replace(tzinfo=UTC).timestamp())) for moment in found)
        return seconds, between(seconds, low, high)
    if kind == "VARCHAR":
        moment = f"try_cast({time} AS TIMESTAMPTZ)"
        return moment, between(moment, aware[0], aware[1])
    raise InputError(f"the log's column {time} is of type {kind}: expected times, as 2026-03-02 14:05:00, or Unix seconds")


def _shown(column: str, kind: str) -> str:
    """What was shown as text, ids joined by a character that no id has; "" for nothing."""
    if kind.endswith("[]"):
        return f"coalesce(array_to_string(CAST({column} AS VARCHAR[]), chr(31)), '')"
    if kind == "JSON":
        return f"coalesce(array_to_string(CAST({column} AS VARCHAR[]), chr(31)), '')"
    if kind == "VARCHAR":  # ["a","b"] or a,b
        plain = f"regexp_replace({column}, '[\\[\\]\"'' ]', '', 'g')"
        return f"coalesce(replace({plain}, ',', chr(31)), '')"
    raise InputError(f"the log's column {column} is of type {kind}: expected a list of document ids, or text with commas")


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
            return f"read_csv({listed}, header = true, all_varchar = true, delim = E'{mark}', union_by_name = true)"
        case _:
            return f"read_json({listed}, format = 'newline_delimited', union_by_name = true)"


def _counted(log: DayLog) -> None:
    """The table `queries`: one row a query in normal form, each with the cell of segments in which it is asked most."""
    connection, number = log.connection, len(log.plan.segments)
    segments = "".join(f", s{i}" for i in range(number))
    connection.execute(
        f"CREATE TABLE written AS SELECT query, min(query_id) AS query_id{segments}, count(*) AS n "
        f"FROM asked GROUP BY query{segments}"
    )
    normalised(connection)
    log.rows = _one(connection, "SELECT coalesce(sum(n), 0)::BIGINT FROM written")
    connection.execute(
        f"CREATE TABLE cells AS SELECT coalesce(s.text, w.query, '') AS query, min(w.query_id) AS query_id{segments}, "
        f"sum(w.n)::BIGINT AS n FROM written w LEFT JOIN spelled s ON w.query = s.written GROUP BY ALL"
    )
    connection.execute("DROP TABLE written")
    long = f"length(query) > {LONGEST}"
    log.empty = _one(connection, "SELECT coalesce(sum(n), 0)::BIGINT FROM cells WHERE query = ''")
    log.overlong = _one(connection, f"SELECT coalesce(sum(n), 0)::BIGINT FROM cells WHERE {long}")
    held = "".join(f", 's{i}': s{i}" for i in range(number))
    most = f", max({{'n': n{held}}}) AS most" if number else ""  # equally often: the greater name, so that runs agree
    taken = "".join(f", most.s{i} AS s{i}" for i in range(number))
    connection.execute(
        f"CREATE TABLE queries AS SELECT query, query_id, requests{taken} FROM (SELECT query, min(query_id) AS query_id, "
        f"sum(n)::BIGINT AS requests{most} FROM cells WHERE query <> '' AND NOT ({long}) GROUP BY query)"
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
        changed = {text: plain for text in texts if (plain := normal(text, steps)) != text}
        if changed:
            piece = pa.table({"written": pa.array(changed, pa.string()), "text": pa.array(changed.values(), pa.string())})
            connection.register("piece", piece)
            connection.execute("INSERT INTO spelled SELECT * FROM piece")
            connection.unregister("piece")


def lists(log: DayLog, drawn: pa.Table, *, seed: int, day: date) -> pa.Table:
    """One list of results for each drawn query, as query and shown (text): that of one of its requests, each equally likely.

    Among equal lists it does not matter which request was meant, so a list is drawn with the odds of how often it was shown,
    by numbers that depend on seed, day, query and list alone: any order of the log gives the same.
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
    asked = "SELECT spellings.query, asked.shown FROM asked JOIN spellings ON asked.query = spellings.written"
    connection.execute(  # by DuckDB's own hash, which reads lists as they are; a day is done once, so by one version of it
        "CREATE OR REPLACE TEMP TABLE shown_lists AS SELECT query, hash(shown) AS list, count(*) AS n "
        f"FROM ({asked}) GROUP BY ALL"
    )
    odds = uniform(f"{seed}", "'list'", f"'{day}'", "query", "CAST(list AS VARCHAR)")
    connection.execute(  # the least of exponential times: a list with twice the requests is twice as likely
        f"CREATE OR REPLACE TEMP TABLE chosen AS SELECT query, arg_min(list, -ln({odds}) / n) AS list "
        "FROM shown_lists GROUP BY query"
    )
    found: pa.Table = connection.sql(
        f"SELECT query, {log.shown} AS shown FROM (SELECT query, any_value(shown) AS shown FROM (SELECT a.query, a.shown "
        f"FROM ({asked}) a JOIN chosen ON a.query = chosen.query AND hash(a.shown) = chosen.list) GROUP BY query) "
        "ORDER BY query"
    ).to_arrow_table()
    return found


def uniform(*parts: str) -> str:
    """SQL for a number between 0 and 1 that depends on these expressions alone; `drawing.number` is the same in Python."""
    return f"((md5_number_lower(concat_ws(chr(31), {', '.join(parts)}))::DOUBLE + 0.5) / 18446744073709551616.0)"


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def named(column: str) -> str:
    """A column's name as SQL has it."""
    return '"' + column.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path.as_posix())


def _one(connection: Any, sql: str) -> int:
    return int(connection.sql(sql).fetchall()[0][0])
