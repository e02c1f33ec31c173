"""What a page of the dashboards shows, as values: the page writes them in words, and the API as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from germane.report.experiments import ExperimentRow
from germane.types import Estimate


@dataclass(frozen=True)
class Line:
    """From this day on, figures are of another judge, guide, scale or design (kind): nothing is read across."""

    date: str
    kind: str
    was: str
    now: str


@dataclass(frozen=True)
class Mark:
    """An alert that was raised on a day."""

    id: int
    date: str
    metric: str
    segment: str
    direction: str


@dataclass(frozen=True)
class Point:
    """A day of the calendar. state: done; gap, without traffic or a log; missing, not done. levels: null is no answer."""

    date: str
    state: str
    requests: int | None
    sampled: int | None
    levels: dict[str, Estimate | None]
    lines: list[str]
    alerts: list[int]


@dataclass(frozen=True)
class Overview:
    """Levels day by day. days: every day from the first to the last, those that are missing too."""

    metrics: list[str]
    segment: str
    first: str
    last: str
    days: list[Point]
    lines: list[Line]
    alerts: list[Mark]
    open_alerts: int
    known_metrics: list[str]
    known_segments: list[str]
    notes: list[str]


@dataclass(frozen=True)
class SegmentRow:
    """A metric in a segment: its level, that of a week before, and the difference. null where there is none."""

    segment: str
    metric: str
    level: Estimate
    before: Estimate | None
    change: Estimate | None


@dataclass(frozen=True)
class Segments:
    """The levels of a day in every segment. before: the day a week earlier, "" if nothing is compared; why says so."""

    date: str
    before: str
    why: str
    metrics: list[str]
    rows: list[SegmentRow]


@dataclass(frozen=True)
class Part:
    """A part of a change: its cause, what that means, and how much; null where it is not known."""

    cause: str
    means: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Example:
    """A query that carries a change: its part, and the documents that were shown before and after."""

    query: str
    part: float
    before: list[str]
    after: list[str]


@dataclass(frozen=True)
class Alert:
    """An alert. says: it in a sentence. size: of the change. parts add up to the total; cause: "" where none is shown.

    state: raised, acknowledged or resolved, by whom, and their note. n: queries behind the size.
    """

    id: int
    date: str
    since: str
    metric: str
    segment: str
    part: str
    direction: str
    state: str
    by: str
    note: str
    says: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    carried_by: list[str]
    cause: str
    parts: list[Part]
    examples: list[Example]
    notes: list[str]


@dataclass(frozen=True)
class Alerts:
    """Alerts, the last one first. state: open or all. following: the number under which the next page begins."""

    state: str
    alerts: list[Alert]
    following: int | None
    raised: int
    acknowledged: int
    resolved: int


@dataclass(frozen=True)
class Level:
    """A metric's level in a segment."""

    metric: str
    segment: str
    level: Estimate


@dataclass(frozen=True)
class Change:
    """A metric's change in a segment from the day before. part: on the same queries, or by the mix of queries."""

    metric: str
    segment: str
    part: str
    change: Estimate


@dataclass(frozen=True)
class Table:
    """A table in words."""

    title: str
    lead: str
    heads: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Day:
    """A day's report. levels, changes: all metrics over all, the first two in every segment. earlier, later: other days."""

    date: str
    state: str
    answer: str
    zone: str
    requests: int
    queries: int
    sampled: int
    panel: int
    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    before: str
    earlier: str
    later: str
    levels: list[Level]
    changes: list[Change]
    lines: list[Line]
    alerts: list[Alert]
    tables: list[Table]
    notes: list[str]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Statistic:
    """What a card says of a judge. bar: that it had to pass; state: passed, not passed, or "" without a bar."""

    name: str
    found: Estimate | None
    bar: float | None
    state: str


@dataclass(frozen=True)
class Card:
    """A judge's card. watches: it is of the judge, scale and guide of the last day."""

    file: str
    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    gold: str
    says: str
    passed: bool
    watches: bool
    statistics: list[Statistic]
    caveats: list[str]


@dataclass(frozen=True)
class Judges:
    """The cards of the project. judge, fingerprint: of the last day, which may have none. unreadable: files, and why."""

    judge: str
    fingerprint: str
    cards: list[Card]
    unreadable: list[str]


@dataclass(frozen=True)
class Experiments:
    """Experiments, the latest first. running, shipped, stopped: how many of each."""

    experiments: list[ExperimentRow]
    running: int
    shipped: int
    stopped: int
