"""The tour prepared for reading: an index with a line a chapter and the chart of the watched days, and a page a chapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from germane.report import timeline, words
from germane.types import Estimate

HIGH = timeline.HIGH


class Figure(NamedTuple):
    """A number of a chapter. estimate: with its interval and n, None for a count or a word, which is in text.

    kind: how it is written: "plain", "percent", or "signed" for a difference.
    """

    name: str
    estimate: Estimate | None = None
    text: str = ""
    kind: str = "plain"


class Link(NamedTuple):
    """A page or file of the tour, from its folder: the words, and where it is."""

    words: str
    path: str


@dataclass(frozen=True)
class Chapter:
    """A part of the story. asked: the question; answer: what came out, in a sentence or two. report: the page that says all.

    how: what was done, in a paragraph. commands: as a team would type them. more: further files. notes: what to know first.
    seconds: that it took when it was done.
    """

    name: str
    title: str
    asked: str
    answer: str
    how: str
    figures: tuple[Figure, ...]
    report: Link
    commands: tuple[str, ...] = ()
    more: tuple[Link, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Days:
    """The watched days, for the chart. levels: of each; raised: (day, what the alert says); broken: from this day on."""

    first: str
    last: str
    metric: str
    levels: Mapping[str, Estimate]
    raised: tuple[tuple[str, str], ...] = ()
    broken: str = ""
    segment: str = ""
    of_segment: Mapping[str, Estimate] = field(default_factory=dict)


class Row(NamedTuple):
    """A figure in words: its value, its interval and its n, "" where it has none."""

    name: str
    value: str
    interval: str
    n: str


class Drawn(NamedTuple):
    """A chart with its title, and the same as rows of a table, the latest first."""

    title: str
    chart: timeline.Timeline
    rows: tuple[tuple[str, str, str, str, str], ...]


def index(chapters: Sequence[Chapter], days: Days | None, facts: Sequence[tuple[str, str]], answer: str) -> str:
    """A self-contained HTML page: the way through the tour, in order."""
    from germane.report import render

    return render.html_page(
        "tour.html.j2",
        title="A tour of germane",
        answer=answer,
        chapters=[(i, page_of(i, c), c, rows(c)) for i, c in enumerate(chapters, 1)],
        drawn=[] if days is None else drawn(days),
        high=HIGH,
        facts=facts,
    )


def chapter(chapters: Sequence[Chapter], number: int) -> str:
    """A self-contained HTML page of a chapter, the first being 1, with its neighbours linked."""
    from germane.report import render

    this = chapters[number - 1]
    before = None if number == 1 else (page_of(number - 1, chapters[number - 2]), chapters[number - 2].title)
    after = None if number == len(chapters) else (page_of(number + 1, chapters[number]), chapters[number].title)
    return render.html_page(
        "tour-chapter.html.j2", c=this, rows=rows(this), number=number, count=len(chapters), before=before, after=after
    )


def page_of(number: int, of: Chapter) -> str:
    """The file of a chapter's page."""
    return f"{number}-{of.name}.html"


def rows(of: Chapter) -> tuple[Row, ...]:
    """The chapter's figures in words."""
    return tuple(_row(each) for each in of.figures)


def _row(figure: Figure) -> Row:
    e = figure.estimate
    if e is None:
        return Row(figure.name, figure.text, "", "")
    if figure.kind == "percent":
        value, ends = words.percent(e.value), f"{words.percent(e.low)} to {words.percent(e.high)}"
    elif figure.kind == "signed":
        value, ends = words.signed(e.value), words.interval(e)
    else:
        value, ends = words.plain(e.value), words.interval(e, 3, sign=False)
    return Row(figure.name, value, ends, words.count(e.n))


def drawn(days: Days) -> list[Drawn]:
    """The charts of all requests and of the segment that broke."""
    made = []
    for title, levels in ((f"{days.metric}, all requests", days.levels), (f"{days.metric}, {days.segment}", days.of_segment)):
        raised = [(day, said, number) for number, (day, said) in enumerate(days.raised, 1)]
        chart = timeline.timeline(days.first, days.last, levels, raised=raised)
        if chart is None:
            continue
        said = dict(days.raised)
        happened = {day: ("the ranker breaks (simulated)" if day == days.broken else "") for day in levels}
        table = tuple(
            (
                day,
                words.plain(e.value),
                words.interval(e, 3, sign=False),
                words.count(e.n),
                "; ".join(filter(None, [happened[day], said.get(day) and f"alert: {said[day]}"])),
            )
            for day, e in sorted(levels.items(), reverse=True)
        )
        made.append(Drawn(title, chart, table))
    return made
