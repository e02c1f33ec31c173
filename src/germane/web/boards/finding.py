"""Judged pairs of the watched days: a search over what was shown, the last day first, until enough is found or time is up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

from germane.registry import looking
from germane.registry.database import Registry
from germane.registry.days import DONE
from germane.text.normal import normal_form
from germane.types import InputError, Outcome
from germane.watching import calendar, files
from germane.web.boards.lists import Condition, Row, beside, reading, segment_column, shown
from germane.web.boards.places import Place

WINDOWS = (1, 7, 30, 90, 365, 1100)
"""Days that may be looked through."""

WINDOW = 30
A_PAGE = 50
MOST = 1_000
"""Pairs that a search holds."""

SECONDS = 1.0
"""After so long a search begins no further day."""

TOGETHER = 10  # days that are read at once
LONGEST, LONGEST_ID = 1_000, 4_000  # characters
FEW = 3  # days whose texts are read for a page
BEGINNING = 160  # characters of a document in a list
NO_GRADE = "none"
NO_TEXT = "no text"
"""The outcome of a document that was shown and is not in the file of documents: no judge was asked."""

GONE = "files gone"
"""The outcome where neither labels nor texts of the day are on disk: nothing is known of the pair."""

WHY = {
    "": "no label of that day is on disk",
    str(Outcome.LABEL): "",
    str(Outcome.ABSTAINED): "the judge was asked, and said that it cannot tell",
    str(Outcome.UNPARSEABLE): "the judge was asked, and its reply could not be read as a grade",
    str(Outcome.REFUSED): "the judge was asked, and refused",
    str(Outcome.TIMEOUT): "the judge was asked, and did not answer in time",
    str(Outcome.FILTERED): "the server's content filter stopped the answer",
    str(Outcome.ERROR): "nobody answered: the pair cannot be read, or broke the judge",
    GONE: "the labels and the texts of that day are not on disk any more",
    NO_TEXT: "it was shown, and has no text in the file of documents: no judge was asked",
}
"""Why there is no grade, by outcome."""


@dataclass(frozen=True)
class FoundPair:
    """A pair as a search lists it. date: the last day on which it was shown; days: on how many of those that were read.

    grade: the label's name, "" for none; why: there is none. begins: of the document's text, "" where it has none.
    """

    query_id: str
    query: str
    doc_id: str
    date: str
    rank: int
    days: int
    relevance: int | None
    grade: str
    outcome: str
    why: str
    judge: str
    fingerprint: str
    begins: str


@dataclass(frozen=True)
class FoundPairs:
    """A page of what was found. first, last: the days that were read; read: how many of them have files. total: pairs found.

    grades: that may be asked for. following: where the next page begins. earlier: the day to go on from, "" if there is none.
    """

    first: str
    last: str
    read: int
    total: int
    start: int
    following: int | None
    earlier: str
    grades: list[str]
    pairs: list[FoundPair]
    notes: list[str]


class Sought(NamedTuple):
    """What is asked for. query: text or id; doc: an id; text: words of documents. grade: its name, or "none"."""

    query: str
    doc: str
    text: str
    grade: str
    segment: str
    days: int
    until: str
    start: int


class Window(NamedTuple):
    """Days that are looked through: those with files, the last one first. scales: the name of each day's scale."""

    first: str
    last: str
    days: list[str]
    scales: Mapping[str, str]


def found(registry: Registry, place: Place, asked: Mapping[str, str]) -> FoundPairs:
    """The pairs that were shown and fit what is asked for, the last day first.

    Raises: InputError for a day, a number, a grade or a segment that is not known, and for text that is too long.
    """
    sought, notes = sought_of(asked), list[str]()
    window = window_of(registry, place, sought.days, sought.until, notes)
    labels = place.labels(window.scales.get(window.days[0], "") if window.days else "")
    grades = [*labels, NO_GRADE]
    if sought.grade and sought.grade not in grades:
        raise InputError(f"the grade {sought.grade[:60]!r} is not known: there are {', '.join(grades)}")
    with reading() as db:
        rows, read = _read(db, place, window, sought, labels, notes) if window.days else ({}, 0)
        pairs = _told(db, place, list(rows.values())[sought.start : sought.start + A_PAGE], window.scales, notes)
    first = window.days[read - 1] if 0 < read < len(window.days) else window.first
    after = sought.start + A_PAGE
    following = after if len(rows) > after else None
    earlier = str(date.fromisoformat(first) - calendar.DAY) if first and looking.beside(registry, first)[0] else ""
    return FoundPairs(first, window.last, read, len(rows), sought.start, following, earlier, grades, pairs, notes)


def sought_of(asked: Mapping[str, str]) -> Sought:
    """What is asked for, checked. Raises: InputError."""
    said = {name: cleaned(asked.get(name, ""), name) for name in ("query", "doc", "text", "grade", "segment")}
    start = asked.get("start", "") or "0"
    if not (start.isascii() and start.isdecimal() and len(start) < 6):
        raise InputError(f"start={start[:20]!r}: expected a number of pairs")
    days = days_of(asked.get("days", ""), WINDOW if any(said.values()) else 1)
    return Sought(**said, days=days, until=until_of(asked), start=int(start))


def days_of(text: str, usual: int) -> int:
    """A number of days to look through. Raises: InputError for one that is not offered."""
    text = text or str(usual)
    if text not in {str(n) for n in WINDOWS}:
        raise InputError(f"days={text[:20]!r}: expected one of {', '.join(map(str, WINDOWS))}")
    return int(text)


def until_of(asked: Mapping[str, str]) -> str:
    """The last day to look at, "" for the last of all. Raises: InputError for none."""
    text = asked.get("until", "")
    return str(calendar.day_of(text, what="until")) if text else ""


def cleaned(text: str, name: str) -> str:
    """Text that a database and a file can be asked for. Raises: InputError for a zero character, and text that is too long."""
    most = LONGEST_ID if name == "doc" else LONGEST
    if "\0" in text:
        raise InputError(f"{name} holds a zero character (NUL), which nothing in a search has: leave it out")
    if len(text) > most:
        raise InputError(f"{name} has {len(text):,} characters: at most {most:,} are looked for")
    return text.encode("utf-8", "replace").decode().strip()


def window_of(registry: Registry, place: Place, days: int, until: str, notes: list[str]) -> Window:
    """The days to look through; what is to be known of them goes to `notes`."""
    if (span := looking.span(registry)) is None or not span.last_done:
        notes.append("no day yet: `germane watch run` does the first")
        return Window("", "", [], {})
    last = max(min(until or span.last_done, span.last_done), span.first)
    first = max(str(date.fromisoformat(last) - timedelta(days=days - 1)), span.first)
    done = {row.date: row.scale for row in looking.found(registry, first, last) if row.state == DONE}
    there = [day for day in reversed(done) if (place.folder / day / files.SAMPLE).is_file()]
    if gone := len(done) - len(there):
        notes.append(f"the files of {gone:,} of {len(done):,} days are not in the folder {place.folder.name} any more")
    if not done:
        notes.append(f"no day is done from {first} to {last}")
    return Window(first, last, there, done)


def _read(
    db: Any, place: Place, window: Window, sought: Sought, labels: Sequence[str], notes: list[str]
) -> tuple[dict[tuple[str, str], Row], int]:
    """(pairs by ids, how many days were read)."""
    condition = _condition(place, window.days, sought, labels)
    each = 1 if condition.reads("p") or condition.reads("l") else TOGETHER
    began, read = time.monotonic(), 0
    rows: dict[tuple[str, str], Row] = {}
    for read, some in shown(db, place, window.days, condition, notes, each=each):
        for row in some:
            key = row.query_id, row.doc_id
            rows[key] = rows[key]._replace(days=rows[key].days + row.days) if key in rows else row
        if len(rows) > MOST:
            notes.append(f"these are the first {MOST:,} pairs: ask for something more exact to see others")
            return dict(list(rows.items())[:MOST]), read
        if read < len(window.days) and time.monotonic() - began > SECONDS:
            notes.append(f"{read:,} of {len(window.days):,} days were read, then the time was up: go on from an earlier day")
            break
    return rows, read


def _condition(place: Place, days: Sequence[str], sought: Sought, labels: Sequence[str]) -> Condition:
    """What is asked for as SQL."""
    made = Condition(most=MOST + 1)
    if sought.query:
        made.values |= {"query": sought.query, "normal": normal_form(sought.query)}
        made.of_lists.append("(s.query_id = $query OR ($normal <> '' AND contains(s.query, $normal)))")
    if sought.doc:
        made.values["doc"] = sought.doc
        made.of_lists.append("list_contains(s.shown, $doc)")
        made.of_rows.append("r.doc_id = $doc")
    if sought.segment:
        column, _, made.values["segment"] = sought.segment.partition("=")
        made.of_lists.append(f"{segment_column(place, days, column)} = $segment")
        made.column = column
    if sought.text:
        made.values["text"] = sought.text.lower()
        made.of_rows.append("contains(lower(p.text), $text)")
    if sought.grade == NO_GRADE:
        made.of_rows.append("l.relevance IS NULL")
    elif sought.grade:
        made.values["grade"] = list(labels).index(sought.grade)
        made.of_rows.append("l.relevance = $grade")
    return made


def _told(db: Any, place: Place, page: Sequence[Row], scales: Mapping[str, str], notes: list[str]) -> list[FoundPair]:
    """The rows of a page with their labels, and how their documents begin."""
    said = beside(db, place, page, files.LABELS, ("relevance", "outcome", "judge", "fingerprint"), notes)
    texts, made = _beginnings(db, place, [row for row in page if row.key not in said], page, notes), []
    begins = {doc: text for (_, _, doc), text in texts.items()}
    for row in page:
        label = said.get(row.key, {})
        outcome = outcome_of(place, row.date, label, row.key in texts)
        relevance = label.get("relevance")
        made.append(
            FoundPair(
                row.query_id,
                row.query,
                row.doc_id,
                row.date,
                row.rank,
                row.days,
                relevance,
                place.grade(scales.get(row.date, ""), relevance),
                outcome,
                WHY.get(outcome, outcome),
                str(label.get("judge", "")),
                str(label.get("fingerprint", "")),
                texts.get(row.key, begins.get(row.doc_id, "")),
            )
        )
    return made


def _beginnings(
    db: Any, place: Place, ungraded: Sequence[Row], page: Sequence[Row], notes: list[str]
) -> dict[tuple[str, str, str], str]:
    """How documents begin: of all rows without a label, which may have no text, and of each document on a few days:
    texts are most of what a day's files hold."""
    days = set(list(dict.fromkeys(row.date for row in page))[:FEW])
    once = {row.doc_id: row for row in reversed(page) if row.date in days}
    rows = list({row.key: row for row in (*ungraded, *once.values())}.values())
    found = beside(db, place, rows, files.PAIRS, (f"left(text, {BEGINNING}) AS text",), notes) if rows else {}
    return {key: str(value["text"] or "") for key, value in found.items()}


def outcome_of(place: Place, date: str, label: Mapping[str, object], has_text: bool) -> str:
    """The outcome of a pair that a day showed: its label's, no text, or why neither is known."""
    if label or has_text:
        return str(label["outcome"]) if label else ""
    if date and not any((place.folder / date / name).is_file() for name in (files.LABELS, files.PAIRS)):
        return GONE
    return NO_TEXT
