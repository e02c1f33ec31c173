"""A day against those before it: levels, changes, lines, new alerts, and what they are made of. The numbers are `monitor`'s."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from germane.monitor import alerts as alarms
from germane.monitor import changes as differences
from germane.monitor import drift, splitting
from germane.monitor import levels as means
from germane.monitor.counterfactual import Anchors
from germane.monitor.days import Day, Lists, Seen
from germane.registry.days import AnchorRow, ChangeRow, DayRow, LineRow, NewAlert, QueryRow
from germane.types import Estimate, InputError, Scale
from germane.watching import measuring
from germane.watching.measuring import Floats

DRAWN = ("judge", "guide", "scale", "design")
"""Kinds of line: what, once it changed, makes days another series."""


class Shown(NamedTuple):
    """A day as it is compared: the sample, each query's chance of being in the panel, and the lists where they still are."""

    day: Day
    panel_probability: Floats
    lists: Lists | None

    @property
    def panel(self) -> Day:
        """The panel alone, with its own chances of having been drawn."""
        return measuring.panel(self.day, self.panel_probability)


def rows(shown: Shown) -> list[QueryRow]:
    """The day's queries as the history keeps them."""
    day = shown.day
    made = []
    for i, query in enumerate(day.query.tolist()):
        metrics = {name: None if np.isnan(v[i]) else float(v[i]) for name, v in day.metrics.items()}
        segments = {name: str(values[i]) for name, values in day.segments.items()}
        odds = float(day.probability[i]), float(shown.panel_probability[i])
        made.append(QueryRow(query, int(day.requests[i]), *odds, bool(day.panel[i]), str(day.stratum[i]), segments, metrics))
    return made


def day_of(row: DayRow, found: Sequence[QueryRow]) -> tuple[Day, Floats]:
    """A day of the history as `monitor` takes it, and each query's chance of being in the panel."""
    segments = list(found[0].segments) if found else []
    metrics = list(found[0].metrics) if found else []
    day = Day(
        row.date,
        np.asarray([r.query for r in found], dtype=np.str_),
        np.asarray([r.requests for r in found], np.float64),
        np.asarray([r.probability for r in found], np.float64),
        np.asarray([r.stratum for r in found], dtype=np.str_),
        np.asarray([r.panel for r in found], np.bool_),
        {name: np.asarray([r.segments.get(name, "") for r in found], dtype=np.str_) for name in segments},
        {name: np.asarray([_number(r.metrics.get(name)) for r in found], np.float64) for name in metrics},
        row.fingerprint,
        row.guide_version,
        totals=measuring.totals(row.facts),
    )
    return day, np.asarray([r.panel_probability for r in found], np.float64)


def levels(day: Day, *, level: float) -> list[means.Level]:
    """The levels of a day; a segment without an answer has none."""
    return means.levels(day, level=level)


def changes(before: Shown, after: Shown) -> list[differences.Change]:
    """What changed on the panel between two days of one judge, guide and design."""
    return differences.changes(before.panel, after.panel)


def lines(date: str, was: Mapping[str, str], now: Mapping[str, str]) -> list[LineRow]:
    """What changed besides search: kind -> how it was and is."""
    return [LineRow(date, kind, was[kind], now[kind]) for kind in DRAWN if was.get(kind, now[kind]) != now[kind]]


def detected(
    dates: Sequence[str],
    history: Mapping[str, Sequence[ChangeRow]],
    drawn: Sequence[LineRow],
    rules: alarms.Rules,
    *,
    level: float,
) -> list[alarms.Alert]:
    """Every alert of the history, as the detectors have it. dates: days that are done. history: date -> changes."""
    days = [
        [differences.Change(r.metric, r.segment, r.value, r.se, r.n, r.part) for r in history.get(date, ())] for date in dates
    ]
    return list(alarms.detect(days, dates, rules, lines={line.date for line in drawn}, level=level))


def of_anchors(before: Sequence[AnchorRow], after: Sequence[AnchorRow], scale: Scale) -> list[differences.Change]:
    """How the judge itself changed, by the pairs that it judges again every day."""
    then, now = ({(r.query_id, r.doc_id): _worth(r.relevance, scale) for r in each} for each in (before, after))
    return differences.anchors(then, now)


def anchored(before: Sequence[AnchorRow], after: Sequence[AnchorRow], scale: Scale) -> Anchors | None:
    """The anchors that both days have, as gains; None where there are none."""
    then = {(r.query_id, r.doc_id): r.relevance for r in before}
    both = [(then[key], r.relevance) for r in after if (key := (r.query_id, r.doc_id)) in then]
    if not both:
        return None
    one, two = (np.asarray([_worth(pair[i], scale) for pair in both], np.float64) for i in (0, 1))
    return Anchors(one, two)


def vocabulary(queries: Iterable[str]) -> set[str]:
    """All words of these queries."""
    return drift.vocabulary(queries)


def drifted(before: Day, after: Day, known: set[str], *, level: float, graded: bool) -> list[dict[str, Any]]:
    """What moved without an alert: grades, traffic by segment, and words that were not seen before; each with an estimate.

    graded: whether the grades of both days may be compared: not across a line.
    """
    found: list[drift.Drifted] = []
    grades = [name for name in after.metrics if name.startswith("grade@")]
    if graded and grades and all(name in before.metrics for name in grades):
        found += _drift("grades", lambda: drift.labels_moved(before, after, grades, level=level))
    for column in after.segments:
        if column in before.segments:
            found += _drift(column, lambda column=column: drift.moved(before, after, column, level=level))  # type: ignore[misc]
    if known:
        found += _drift("new words", lambda: drift.new_words(after, known, level=level))
    return [{"about": each.about, "estimate": plain(each.estimate)} for each in found]


def _drift(about: str, measure: Callable[[], Estimate]) -> list[drift.Drifted]:
    try:
        return [drift.Drifted(about, measure())]
    except InputError:  # a day without an answer has no drift
        return []


def new_alert(alert: alarms.Alert, split: splitting.Split | None) -> NewAlert:
    """An alert as the history keeps it, with what it is made of."""
    detail: dict[str, Any] = {
        "size": plain(alert.size),
        "carried_by": list(alert.carried_by),
        "also": [list(pair) for pair in alert.also],
        "evidence": plain(alert.evidence),
        "threshold": plain(alert.threshold),
        "split": None if split is None else plain(split),
    }
    return NewAlert(alert.date, alert.since, alert.metric, alert.segment, alert.part, alert.direction, detail)


def split(
    before: Sequence[Shown],
    after: Sequence[Shown],
    anchors: Anchors | None,
    moved: tuple[set[str], set[str]],
    *,
    segment: str,
    part: str,
    k: int,
    level: float,
) -> splitting.Split | None:
    """What the change between some days and later ones is made of; None where lists are not known any more.

    moved: documents that came into the catalogue between, and that left it.
    """
    one, two = ([_panel_seen(each) for each in days if each.lists is not None] for days in (before, after))
    if not one or not two:
        return None
    arrived, gone = moved
    asked = {"anchors": anchors, "arrived": arrived, "gone": gone, "segment": segment, "part": part, "k": k, "level": level}
    try:
        return splitting.split(one, two, **asked)  # type: ignore[arg-type]
    except InputError:  # no query with all its answers on both days: then no part is known
        return None


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses and named tuples as objects, no number as null."""
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _panel_seen(shown: Shown) -> Seen:
    """The panel and its lists."""
    assert shown.lists is not None
    return Seen(shown.panel, measuring.taken(shown.lists, np.flatnonzero(shown.day.panel).tolist()))


def _worth(grade: int | None, scale: Scale) -> float:
    """A grade's gain, 0 to 1; NaN for no answer."""
    return float("nan") if grade is None or grade >= len(scale.gains) else scale.gains[grade] / max(scale.gains)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
