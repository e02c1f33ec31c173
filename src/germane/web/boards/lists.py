"""What was shown on watched days, from the days' files: DuckDB reads the columns that are asked for, of a few days at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from germane.store.duck import connected
from germane.types import InputError
from germane.watching import files
from germane.watching.reading import literal, named, quoted
from germane.web.boards.places import Place

MEMORY = 256 << 20  # bytes that one search may hold
_OWN = ("query", "query_id", "log_query_id", "shown", "stratum", "requests", "panel", "panel_probability", "probability")

_NOTHING = (
    "(SELECT '' AS day, '' AS query_id, '' AS doc_id, NULL::VARCHAR AS text, NULL::SMALLINT AS relevance WHERE false)"
)

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
    p, its pair with the text."""

    of_lists: list[str] = field(default_factory=list)
    of_rows: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def reads(self, table: str) -> bool:
        """Whether labels (l) or texts (p) must be read."""
        return any(f"{table}." in text for text in self.of_rows)


@contextmanager
def reading() -> Iterator[Any]:
    """A database to read the days' files with."""
    with connected(MEMORY) as db:
        yield db


def shown(
    db: Any, place: Place, days: Sequence[str], asked: Condition, notes: list[str], *, each: int, most: int, by_day: bool = False
) -> Iterator[tuple[int, list[Row]]]:
    """(how many days were read so far, their pairs that fit), some days at a time in this order, at most so many pairs of each.

    each: days at a time. by_day: a row for each day on which a pair was shown, and not one for all of them. Days that cannot be read are told in `notes`.
    """
    import duckdb

    for at in range(0, len(days), each):
        some = days[at : at + each]
        try:
            rows = _rows(db, place, some, asked, most, by_day)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error:
            rows = [row for day in some for row in _one_day(db, place, day, asked, most, by_day, notes)]
        yield at + len(some), rows


def labels_of(
    db: Any, place: Place, rows: Sequence[Row], columns: Sequence[str], notes: list[str], *, file: str = files.LABELS
) -> dict[Key, dict[str, Any]]:
    """The label of each row on its day, as columns; without rows that have none. file: of the day's folder."""
    taken = ", ".join(f"f.{name}" for name in columns)
    found = _beside(db, place, rows, file, taken, notes)
    return {key: dict(zip(columns, values, strict=True)) for key, values in found}


def texts_of(db: Any, place: Place, rows: Sequence[Row], notes: list[str], *, most: int = 0) -> dict[Key, str]:
    """Each row's document as the judge read it that day; most: characters, 0 for all of them."""
    taken = f"left(f.text, {most})" if most else "f.text"
    return {key: str(values[0] or "") for key, values in _beside(db, place, rows, files.PAIRS, taken, notes)}


def segment_column(place: Place, day: str, column: str) -> str:
    """SQL of a column of segments of a day's sample. Raises: InputError for another."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = [name for name in pq.read_schema(place.folder / day / files.SAMPLE).names if name not in _OWN]
    except (OSError, pa.ArrowException):
        names = []
    if column not in names:
        raise InputError(f"the segment {column[:60]!r} is not known: there are {', '.join(names) or 'none'}, as language=de")
    return f"s.{named(column)}"


def _one_day(
    db: Any, place: Place, day: str, asked: Condition, most: int, by_day: bool, notes: list[str]
) -> list[Row]:
    import duckdb

    try:
        return _rows(db, place, [day], asked, most, by_day)
    except duckdb.Error:
        notes.append(f"the files of {day} cannot be read: they are passed over")
        return []


def _rows(db: Any, place: Place, days: Sequence[str], asked: Condition, most: int, by_day: bool) -> list[Row]:
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
    lists = " AND ".join(asked.of_lists) or "true"
    sql = (
        "SELECT max(r.day), r.query_id, any_value(r.query), r.doc_id, arg_max(r.rank, r.day), count(DISTINCT r.day) FROM "
        "(SELECT day, query_id, query, unnest(shown) AS doc_id, generate_subscripts(shown, 1) AS rank "
        f"FROM {samples} s WHERE {lists}) r{joins} WHERE {' AND '.join(asked.of_rows) or 'true'} GROUP BY r.query_id, r.doc_id{', r.day' * by_day} "
        f"ORDER BY max(r.day) DESC, any_value(r.query), arg_max(r.rank, r.day), r.doc_id LIMIT {most}"
    )
    return [Row(*row) for row in db.execute(sql, asked.values).fetchall()]


def _table(place: Place, days: Sequence[str], name: str) -> tuple[list[str], str]:
    """The days that have a file, and SQL for their rows, with the day of each."""
    there = [day for day in days if (place.folder / day / name).is_file()]
    paths = [place.folder / day / name for day in there]
    read, told = ", ".join(quoted(literal(path)) for path in paths), ", ".join(map(quoted, there))
    at = f"list_position([{', '.join(quoted(path.as_posix()) for path in paths)}], filename)"
    files_ = f"read_parquet([{read}], filename = true, union_by_name = true)"
    return there, f"(SELECT *, list_extract([{told}], {at}) AS day FROM {files_})"


def _beside(
    db: Any, place: Place, rows: Sequence[Row], name: str, taken: str, notes: list[str]
) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    """What a file of each row's day has of it."""
    import duckdb
    import pyarrow as pa

    by_day: dict[str, list[Row]] = {}
    for row in rows:
        by_day.setdefault(row.date, []).append(row)
    for day, some in by_day.items():
        there, table = _table(place, [day], name)
        if not there:
            continue
        wanted = pa.table({"query_id": [row.query_id for row in some], "doc_id": [row.doc_id for row in some]})
        db.register("wanted", wanted)
        if len(some) == 1:  # found by the file's own statistics, and the rest of it is not read
            where, values = "f.query_id = $query AND f.doc_id = $doc", {"query": some[0].query_id, "doc": some[0].doc_id}
        else:
            where, values = "(f.query_id, f.doc_id) IN (SELECT (query_id, doc_id) FROM wanted)", {}
        try:
            found = db.execute(f"SELECT f.query_id, f.doc_id, {taken} FROM {table} f WHERE {where}", values).fetchall()
        except duckdb.Error:
            notes.append(f"{day}/{name} cannot be read: it is passed over")
            found = []
        db.unregister("wanted")
        yield from (((day, str(query), str(doc)), tuple(more)) for query, doc, *more in found)
