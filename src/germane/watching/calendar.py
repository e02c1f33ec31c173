"""Days of a time zone: where they begin and end, whatever a clock change does to midnight."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from germane.types import InputError

DAY = timedelta(days=1)


class Span(NamedTuple):
    """A day: from its first moment to the first one that is not in it, both in UTC."""

    start: datetime
    end: datetime


def zone(name: str, *, what: str) -> ZoneInfo:
    """The time zone of that name. what: the setting that names it.

    Raises: InputError for a name that is none.

    >>> zone("Europe/Berlin", what="watch.zone").key
    'Europe/Berlin'
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as problem:  # ZoneInfoNotFoundError is a KeyError
        raise InputError(f"{what} {name!r} is no time zone: expected a name such as Europe/Berlin, or UTC") from problem


def day_of(text: str, *, what: str) -> date:
    """The day that a text such as 2026-03-02 names.

    Raises: InputError for any other text.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as problem:
        raise InputError(f"{what} {text!r} is no day: expected one as 2026-03-02") from problem


def span(day: date, of: ZoneInfo) -> Span:
    """The day's first moment and that of the next day. Days follow each other without a gap and without an overlap.

    Where the clock is put on at midnight, the day begins at that moment; where midnight comes twice, at the first.

    >>> [(s.end - s.start) // timedelta(hours=1) for s in (span(date(2026, 3, d), ZoneInfo("Europe/Berlin")) for d in (28, 29))]
    [24, 23]
    """
    return Span(_midnight(day, of), _midnight(day + DAY, of))


def _midnight(day: date, of: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=of, fold=0).astimezone(UTC)


def yesterday(now: datetime, of: ZoneInfo) -> date:
    """The last day that is over.

    >>> yesterday(datetime(2026, 3, 2, 22, 30, tzinfo=UTC), ZoneInfo("Asia/Tokyo"))
    datetime.date(2026, 3, 2)
    """
    return now.astimezone(of).date() - DAY


def days(first: date, last: date) -> Iterator[date]:
    """Every day from the first to the last."""
    day = first
    while day <= last:
        yield day
        day += DAY


def file_days(day: date, of: ZoneInfo, files: ZoneInfo) -> list[date]:
    """The days of another zone that a day touches: whose files hold its requests.

    >>> file_days(date(2026, 3, 2), ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"))
    [datetime.date(2026, 3, 1), datetime.date(2026, 3, 2)]
    """
    found = span(day, of)
    last = (found.end - timedelta(microseconds=1)).astimezone(files).date()
    return list(days(found.start.astimezone(files).date(), last))


def week_before(day: str, since: str, known: Container[str]) -> str:
    """The last day of the same weekday before `since` among those that are known, at most five weeks back; "" for none.

    >>> week_before("2026-03-16", "2026-03-12", {"2026-03-02", "2026-03-09"})
    '2026-03-09'
    """
    then = date.fromisoformat(day)
    weeks = (str(then - 7 * n * DAY) for n in range(1, 6))
    return next((each for each in weeks if each < since and each in known), "")


def ranges(of: Iterable[date]) -> str:
    """Days in words, neighbours joined.

    >>> ranges([date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 7)])
    '2026-03-02 to 2026-03-03, 2026-03-07'
    """
    runs: list[list[date]] = []
    for day in sorted(of):
        if runs and day - runs[-1][-1] == DAY:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
