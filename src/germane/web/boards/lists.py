"""What was shown on watched days, from the days' files: DuckDB reads the columns that are needed, of a few days at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from germane.store.duck import connected
from germane.types import InputError
from germane.watching import files
from germane.watching.plan import RESERVED
from germane.watching.sources import literal, named, quoted
from germane.web.boards.places import Place

MEMORY = 256 << 20  # bytes that one search may hold
INTERNAL = RESERVED | {"listed", "day", "filename"}
"""Columns of a sample, or of how it is read, that are no segments."""

_MIXED = "union_by_name = true"  # columns of one day may be others than those of another
_NOTHING = "(SELECT '' AS day, '' AS query_id, '' AS doc_id, NULL::VARCHAR AS text, NULL::SMALLINT AS relevance WHERE false)"

Key = tuple[str, str, str]
"""A date, a query_id and a doc_id."""


class Row(NamedTuple):
    """A pair that was shown: on which day last, at which rank then, and on how many of the days."""

    date: str
    query_id: str
    query: str
    doc_id: str
    rank: int
    days: int = 1

    @property
    def key(self) -> Key:
        return self.date, self.query_id, self.doc_id


@dataclass
class Condition:
    """What rows must fit, as SQL with named values: of s, a day's sample; of r, a row of it (doc_id, rank); of l, its label; of
    p, its pair with the text. most: rows at a time. by_day: one for each day of a pair, not one for all of them. column: of
    segments, without which a day has no row that fits."""

    of_lists: list[str] = field(default_factory=list)
    of_rows: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    most: int = 2_000
    by_day: bool = False
    column: str = ""

    def reads(self, table: str) -> bool:
        """Whether labels (l) or texts (p) must be read."""
        return any(f"{table}." in text for text in self.of_rows)


@contextmanager
def reading() -> Iterator[Any]:
    """A database to read the days' files with."""
    with connected(MEMORY) as db:
        yield db


def shown(
    db: Any, place: Place, days: Sequence[str], asked: Condition, notes: list[str], *, each: int
) -> Iterator[tuple[int, list[Row]]]:
    """(how many days were read so far, their pairs that fit), `each` days at a time in this order.

    Days that cannot be read are told in `notes`.
    """
    import duckdb

    for at in range(0, len(days), each):
        some = days[at : at + each]
        try:
            rows = _rows(db, place, some, asked)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            rows = [row for day in some for row in _one_day(db, place, day, asked, notes)]
        yield at + len(some), rows


def beside(
    db: Any, place: Place, rows: Sequence[Row], file: str, columns: Sequence[str], notes: list[str]
) -> dict[Key, dict[str, Any]]:
    """What a file of each row's day has of its pair, by column; without rows of which it has nothing. columns: as SQL."""
    import duckdb

    days = list(dict.fromkeys(row.date for row in rows))
    try:
        return _beside(db, place, days, rows, file, columns)
    except duckdb.Error:  # of one of the days: each by itself
        found: dict[Key, dict[str, Any]] = {}
    for day in days:
        try:
            found |= _beside(db, place, [day], [row for row in rows if row.date == day], file, columns)
        except duckdb.Error:
            notes.append(f"{day}/{file} cannot be read: it is passed over")
    return found


def segment_column(place: Place, days: Sequence[str], column: str) -> str:
    """SQL of a column of segments that the sample of one of these days has. Raises: InputError for another."""
    names: list[str] = []
    for day in days:
        names += [name for name in _segments(place, day) or () if name not in names]
        if column in names:
            break
    else:
        raise InputError(f"the segment {column[:60]!r} is not known: there are {', '.join(names) or 'none'}, as language=de")
    return f"s.{named(column)}"


def _segments(place: Place, day: str) -> list[str] | None:
    """The columns of segments of a day's sample; None where it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [name for name in pq.read_schema(place.folder / day / files.SAMPLE).names if name not in INTERNAL]
    except (OSError, pa.ArrowException):
        return None


def _one_day(db: Any, place: Place, day: str, asked: Condition, notes: list[str]) -> list[Row]:
    import duckdb

    try:
        return _rows(db, place, [day], asked)
    except duckdb.Error:
        notes.append(f"the files of {day} cannot be read: they are passed over")
        return []


def _rows(db: Any, place: Place, days: Sequence[str], asked: Condition) -> list[Row]:
    if asked.column:  # a day without the column has no such segment; one that cannot be read says so below
        days = [day for day in days if (has := _segments(place, day)) is None or asked.column in has]
    there, samples = _table(place, days, files.SAMPLE)
    if not there:
        return []
    joins = ""
    for name, file in (("l", files.LABELS), ("p", files.PAIRS)):
        if asked.reads(name):
            has, table = _table(place, there, file)
            table = table if has else _NOTHING
            joins += f" LEFT JOIN {table} {name} ON {name}.day = r.day AND {name}.query_id = r.query_id"
            joins += f" AND {name}.doc_id = r.doc_id"
    lists, rows = (" AND ".join(parts) or "true" for parts in (asked.of_lists, asked.of_rows))
    fit = (
        "SELECT r.day, r.query_id, r.query, r.doc_id, r.rank FROM (SELECT day, query_id, query, unnest(shown) AS doc_id, "
        f"generate_subscripts(shown, 1) AS rank FROM {samples} s WHERE {lists}) r{joins} WHERE {rows}"
    )
    if not asked.by_day and len(there) > 1:
        fit = (
            "SELECT max(day) AS day, query_id, any_value(query) AS query, doc_id, arg_max(rank, day) AS rank, "
            f"count(DISTINCT day) FROM ({fit}) GROUP BY query_id, doc_id"
        )
    sql = f"SELECT * FROM ({fit}) ORDER BY day DESC, query, rank, doc_id LIMIT {asked.most}"
    return [Row(*row) for row in db.execute(sql, asked.values).fetchall()]


def _table(place: Place, days: Sequence[str], name: str) -> tuple[list[str], str]:
    """The days that have a file, and SQL for their rows, with the day, which is the name of the folder."""
    there = [day for day in days if (place.folder / day / name).is_file()]
    read = ", ".join(quoted(literal(place.folder / day / name)) for day in there)
    return there, f"(SELECT *, split_part(filename, '/', -2) AS day FROM read_parquet([{read}], filename = true, {_MIXED}))"


def _beside(
    db: Any, place: Place, days: Sequence[str], rows: Sequence[Row], file: str, columns: Sequence[str]
) -> dict[Key, dict[str, Any]]:
    """The same, from the files of these days. Their own statistics say where a query and a document may be."""
    there, table = _table(place, days, file)
    if not there:
        return {}
    values: dict[str, Any] = {}
    where = []
    for name, ids in (("query_id", {row.query_id for row in rows}), ("doc_id", {row.doc_id for row in rows})):
        values[name] = ids.pop() if len(ids) == 1 else sorted(ids)
        where.append(f"f.{name} = ${name}" if isinstance(values[name], str) else f"f.{name} IN (SELECT unnest(${name}))")
    done = db.execute(
        f"SELECT f.day, f.query_id, f.doc_id, {', '.join(columns)} FROM {table} f WHERE {' AND '.join(where)}", values
    )
    names, wanted = [each[0] for each in done.description[3:]], {row.key for row in rows}
    found = {(str(day), str(q), str(d)): dict(zip(names, more, strict=True)) for day, q, d, *more in done.fetchall()}
    return {key: value for key, value in found.items() if key in wanted}
