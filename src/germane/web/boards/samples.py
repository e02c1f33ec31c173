"""The judge's agreement with people on the golden pairs of the last days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from starlette.responses import Response

from germane.registry import looking
from germane.report import samples as report
from germane.types import InputError
from germane.watching import agreeing
from germane.watching.agreeing import Agreed
from germane.web.access import Call

WINDOWS = (30, 90, 180, 365)
"""Days that may be looked at."""

MEASURES = ("exact", "within_one", "kappa", "lean", "gain", "people_exact", "people_kappa")


@dataclass(frozen=True)
class Samples:
    """Agreement on fresh golden samples from the first to the last day. drawn: pairs put up; judged: with a vote.

    guides: of all these days, by guide version; weeks: week by week. Empty where nobody voted yet: notes say so.
    """

    first: str
    last: str
    drawn: int
    judged: int
    votes: int
    tasks: list[str]
    guides: list[Agreed]
    weeks: list[Agreed]
    notes: list[str]


def samples(call: Call) -> Samples:
    """The agreement of the last 90 days, or of as many as are asked for. Raises: InputError for another number of days."""
    text = call.query.get("days", "") or "90"
    if text not in {str(n) for n in WINDOWS}:
        raise InputError(f"days={text[:20]!r}: expected one of {', '.join(map(str, WINDOWS))}")
    if (span := looking.span(call.registry)) is None:
        return Samples("", "", 0, 0, 0, [], [], [], ["no day yet: `germane watch run` does the first"])
    first = max(str(date.fromisoformat(span.last) - timedelta(int(text) - 1)), span.first)
    found = agreeing.agreement(call.registry, first=first, by_day=False)
    named = found.drawn, found.judged, found.votes, list(found.tasks), list(found.guides), list(found.weeks)
    return Samples(first, span.last, *named, list(found.notes))


def page(call: Call) -> Response:
    """The agreement, in two tables."""
    found = samples(call)
    tables = [
        ("By guide version", report.grid("By guide version", found.guides)),
        ("Week by week", report.grid("Week by week", found.weeks)),
    ]
    return call.page("golden_samples.html.j2", here="/judges", found=found, tables=tables, windows=WINDOWS)
