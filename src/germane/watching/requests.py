"""What is asked of a log, as Ibis expressions: the same for DuckDB over files and for a table in a warehouse.

Three questions, and no request crosses the line by itself: how often each spelling was asked, which list each drawn spelling
is taken with, and those lists. All numbers of the draw come from MD5, whose hexadecimal digits every database orders alike,
so that the same requests give the same sample wherever they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from germane.types import InputError
from germane.watching import calendar
from germane.watching.plan import Plan

LONGEST_VALUE = 200
"""Characters of a segment's value, of which the rest is cut."""

MARK = "\x1f"
"""Between the ids of a list as text: a character that no id has."""

DIGITS = 12
"""Hexadecimal digits of a random number: a double holds them exactly."""

UNITS, FAR = (10**3, 10**6, 10**9), 10**8
"""Unix times are seconds, or these parts of one. From FAR (March 1973) to a thousand times that they are seconds, and so on."""


@dataclass(frozen=True)
class Requests:
    """The requests of a day, not read yet. asked: query as written, query_id, shown as text, s0, s1, ... of the segments.

    dialect: of the database, as Ibis calls it. lists: shown is of lists, its ids joined by MARK; else text as it was written.
    undated: rows of the log whose time cannot be read; total, later: all of them, and those after the day; None where that is
    not asked.
    """

    asked: Any
    dialect: str
    lists: bool
    undated: Any
    total: Any = None
    later: Any = None


def of_day(table: Any, plan: Plan, day: date, *, name: str, dialect: str, parses: bool) -> Requests:
    """The requests of a day. parses: times may be text, which this database reads; name: of the log, for messages.

    Raises: InputError for a column that is not there, or of a type that holds no times or no lists.
    """
    import ibis

    columns = plan.columns
    for column in (columns.time, columns.query, columns.shown, *filter(None, [columns.query_id]), *columns.segments):
        if column not in table.columns:
            raise InputError(f"{name} has no column {column!r}: found {', '.join(table.columns)}; see [watch] in germane.toml")
    when, inside = _inside(table[columns.time], plan, day, name=name, parses=parses)
    whole: tuple[Any, Any, Any] = (None, None, None)
    if parses:
        _, after = _inside(table[columns.time], plan, day, name=name, parses=True, after=True)
        whole = table.filter(when.isnull()).count(), table.count(), table.filter(after).count()
    shown, lists = _shown(table[columns.shown], name)
    query_id = table[columns.query_id].cast("string") if columns.query_id else ibis.null("string")
    kept = {"query": table[columns.query].cast("string"), "query_id": query_id, "shown": shown}
    for i, column in enumerate(columns.segments):
        kept[f"s{i}"] = table[column].cast("string").fill_null("").substr(0, LONGEST_VALUE)
    return Requests(table.filter(inside).select(**kept), dialect, lists, *whole)


def written(requests: Requests) -> Any:
    """How often each query was asked as it was written, by segments: query, s0, s1, ..., query_id, n, listed.

    listed: of the n requests, those of which it is known what they were shown.

    query_id: the one with the least MD5, which is written before it: databases differ in the order of texts.
    """
    asked = requests.asked
    by = ["query", *(column for column in asked.columns if column.startswith("s") and column != "shown")]
    marked = md5(requests.dialect, asked.query_id) + asked.query_id
    return asked.group_by(by).agg(query_id=marked.min(), n=asked.count(), listed=asked.shown.count())


def raced(requests: Requests, spellings: Any, *, seed: int, day: date) -> Any:
    """The list that each of some spellings is taken with: query, list (its MD5), time; kinds: how many it was shown.

    That of one of the spelling's requests, each equally likely: among equal lists it does not matter which request was meant,
    so of exponential times, one for each list with the number of its requests as rate, the least wins.
    """
    import ibis

    asked = requests.asked.filter(requests.asked.query.isin(spellings), requests.asked.shown.notnull())
    asked = asked.select("query", list=md5(requests.dialect, asked.shown))
    lists = asked.group_by("query", "list").agg(n=asked.count())
    said = ibis.literal(f"{seed} list {day} ") + lists.list + " " + lists.query
    drawn = lists.mutate(digest=md5(requests.dialect, said))
    times = drawn.select("query", "list", time=(-_number(drawn.digest).ln() / drawn.n.cast("float64")).cast("float64"))
    least = times.group_by("query").mutate(least=times.time.min(), kinds=times.count())
    return least.filter(least.time == least.least).select("query", "list", "time", "kinds")


def chosen(requests: Requests, spellings: Any, digests: Any) -> Any:
    """The lists with these digests that were shown to these spellings, each once: query, list, shown."""
    asked = requests.asked.filter(requests.asked.query.isin(spellings))
    asked = asked.select("query", "shown", list=md5(requests.dialect, asked.shown))
    found = asked.filter(asked.list.isin(digests))
    return found.group_by("query", "list").agg(shown=found.shown.max())


def span_of(table: Any, plan: Plan, day: date, *, name: str) -> tuple[Any, Any]:
    """How many requests a day has with the time of the last one (n, last), and the time of the first that is later (first)."""
    time = table[plan.columns.time]
    _, inside = _inside(time, plan, day, name=name, parses=False)
    _, after = _inside(time, plan, day, name=name, parses=False, after=True)
    found = table.filter(inside)
    later = table.filter(after)
    return found.agg(n=found.count(), last=found[plan.columns.time].max()), later.agg(first=later[plan.columns.time].min())


def md5(dialect: str, text: Any) -> Any:
    """The MD5 of a text in UTF-8, as 32 lower hexadecimal digits."""
    import ibis

    @ibis.udf.scalar.builtin(signature=(("string",), "string"))
    def md5(text): ...  # type: ignore[no-untyped-def]

    @ibis.udf.scalar.builtin(signature=(("string",), "string"))
    def to_hex(text): ...  # type: ignore[no-untyped-def]

    return to_hex(md5(text)) if dialect == "bigquery" else md5(text)  # whose MD5 is of bytes


def _number(digest: Any) -> Any:
    """A number between 0 and 1 from the first hexadecimal digits of a digest: (v + 0.5) / 16^DIGITS."""
    import ibis

    digits = ibis.literal("0123456789abcdef")
    total = ibis.literal(1, "int64").cast("float64")
    for place in range(DIGITS):  # as doubles, which hold them: a database may count places in 32 bits
        worth = ibis.literal(2 * 16 ** (DIGITS - 1 - place), "int64")
        total = total + digits.find(digest.substr(place, 1)).cast("float64") * worth
    return total / ibis.literal(2 * 16**DIGITS, "int64").cast("float64")


def _shown(column: Any, name: str) -> tuple[Any, bool]:
    """What was shown as text, null where that is not known, and whether it was a list."""
    kind = column.type()
    if kind.is_array() and (kind.value_type.is_string() or kind.value_type.is_integer() or kind.value_type.is_null()):
        plain = column if kind.value_type.is_string() else column.cast("array<string>")
        return column.isnull().ifelse(None, plain.join(MARK).fill_null("")), True
    if kind.is_string() or kind.is_json():
        return column.cast("string"), False
    raise InputError(
        f"{name}: the column {column.get_name()!r} is of type {kind}: expected a list of document ids, or text with commas"
    )


def _inside(column: Any, plan: Plan, day: date, *, name: str, parses: bool, after: bool = False) -> tuple[Any, Any]:
    """A column of times as moments, and which of them are in the day; after: which are later."""
    kind = column.type()

    def within(times: Any, low: Any, high: Any) -> Any:
        return times >= high if after else (times >= low) & (times < high)

    start, end = calendar.span(day, plan.zone)
    if kind.is_date():
        return column, column > day if after else column == day
    if kind.is_timestamp():
        if kind.timezone is None:  # a clock on some wall: that of the log
            start, end = (_wall(moment, at, plan) for moment, at in ((start, day), (end, day + calendar.DAY)))
        return column, within(column, start, end)

    def unix(column: Any) -> Any:
        low, high = int(start.timestamp()), int(end.timestamp())
        found = within(column, low, high) & (column >= FAR) & (column < FAR * 1000)
        for unit in UNITS:
            mine = column >= FAR * unit
            mine = mine & (column < FAR * unit * 1000) if unit < UNITS[-1] else mine
            found = found | (within(column, low * unit, high * unit) & mine)
        return found

    if kind.is_numeric() and not kind.is_boolean():
        return column, unix(column)
    if kind.is_string() and parses:
        moment, number = column.try_cast("timestamp('UTC')"), column.try_cast("float64")
        return moment.isnull().ifelse(number, 0.0), moment.isnull().ifelse(unix(number), within(moment, start, end))
    expected = "times, as 2026-03-02 14:05:00, or Unix seconds" if parses else "a timestamp, a date or Unix seconds"
    raise InputError(f"{name}: the column {column.get_name()!r} is of type {kind}: expected {expected}")


def _wall(moment: datetime, day: date, plan: Plan) -> datetime:
    """What the log's clock says at a moment; at the midnight that begins a day of its own zone, that day at 0:00."""
    if plan.log_zone.key == plan.zone.key:
        return datetime(day.year, day.month, day.day)
    return moment.astimezone(plan.log_zone).replace(tzinfo=None)


def texts(values: Sequence[str], *, most: int = 2000, characters: int = 100_000) -> list[list[str]]:
    """Texts in pieces that fit into a statement of any warehouse."""
    pieces: list[list[str]] = []
    size = 0
    for value in values:
        if not pieces or len(pieces[-1]) >= most or size + len(value) > characters:
            pieces.append([])
            size = 0
        pieces[-1].append(value)
        size += len(value)
    return pieces
