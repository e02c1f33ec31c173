"""The days that a chart shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from germane.registry.looking import Ends
from germane.types import InputError
from germane.watching import calendar

WINDOWS = (30, 90, 180, 365, 1100)
"""Days that a chart may show."""


def window(asked: Mapping[str, str], span: Ends) -> tuple[str, str]:
    """The first and the last day of a chart, 90 days up to the last one unless `asked` has other `days` or `until`.

    Raises: InputError for a day that is none, and a number of days that is not offered.
    """
    text = asked.get("days", "") or "90"
    if text not in {str(n) for n in WINDOWS}:
        raise InputError(f"days={text[:20]!r}: expected one of {', '.join(map(str, WINDOWS))}")
    until = asked.get("until", "")
    last = str(calendar.day_of(until, what="until")) if until else span.last
    last = max(min(last, span.last), span.first)
    first = str(date.fromisoformat(last) - timedelta(days=int(text) - 1))
    return max(first, span.first), last
