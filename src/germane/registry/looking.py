"""What pages ask of the history: few columns of few rows, however long it is. All that a page counts, the database counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from germane.registry.alerting import ACKNOWLEDGED, RAISED, RESOLVED, AlertRow
from germane.registry.database import Registry
from germane.registry.days import DONE, ChangeRow, DayRow, LevelRow, LineRow, estimate, steady
from germane.registry.tables import alert_events, alerts, changes, days, levels, lines
from germane.types import InputError

_OF_ESTIMATE = ("value", "se", "low", "high", "n", "method", "level")


class Found(NamedTuple):
    """A day without what it rests on. state: done, or gap. judge, fingerprint: of whoever gave the day's grades."""

    date: str
    state: str
    requests: int
    queries: int
    sampled: int
    panel: int
    judge: str
    fingerprint: str
    guide_version: str
    scale: str


class Span(NamedTuple):
    """The history in short: its first and last day, how many are done and gaps, and the last one that is done."""

    first: str
    last: str
    done: int
    gaps: int
    last_done: str


class Ends(NamedTuple):
    """The first and the last day of the history, and the last one that is done; "" for none."""

    first: str
    last: str
    last_done: str


class Raised(NamedTuple):
    """An alert without its detail, for a mark in a chart."""

    id: int
    date: str
    metric: str
    segment: str
    direction: str


def span(registry: Registry) -> Span | None:
    """The history in short; None where no day is in it."""
    done = sa.case((days.c.state == DONE, 1), else_=0)
    last = sa.func.max(sa.case((days.c.state == DONE, days.c.date)))
    asked = sa.select(sa.func.min(days.c.date), sa.func.max(days.c.date), sa.func.sum(done), sa.func.count(), last)
    with steady(registry), registry.reading() as connection:
        first, latest, whole, count, last_done = connection.execute(asked).one()
    return None if not count else Span(first, latest, int(whole), int(count - whole), last_done or "")


def ends(registry: Registry) -> Ends | None:
    """The ends of the history, by its index; None where no day is in it."""
    done = sa.select(days.c.date).where(days.c.state == DONE).order_by(days.c.date.desc()).limit(1).scalar_subquery()
    first, last = (sa.select(end(days.c.date)).scalar_subquery() for end in (sa.func.min, sa.func.max))
    with steady(registry), registry.reading() as connection:
        row = connection.execute(sa.select(first, last, done)).one()
    return None if row[0] is None else Ends(row[0], row[1], row[2] or "")


def stamp(registry: Registry) -> tuple[int, ...]:
    """Numbers that are others as soon as a day, an alert or what somebody did with one is new; wherever it was written.

    These tables are only added to, and a day is written with all that is of it in one transaction. Counts stand beside the
    largest numbers, since of two that write at once the one with the lower number may be second.
    """
    asked = []
    for table in (days, alerts, alert_events):
        for of in (sa.func.max(table.c.id), sa.func.count(table.c.id)):
            asked.append(sa.select(of).scalar_subquery())
    with steady(registry), registry.reading() as connection:
        return tuple(value or 0 for value in connection.execute(sa.select(*asked)).one())


def found(registry: Registry, first: str, last: str) -> list[Found]:
    """The days from the first to the last that the history has, in order of date."""
    names = [days.c[name] for name in Found._fields]
    asked = sa.select(*names).where(days.c.date.between(first, last)).order_by(days.c.date)
    with steady(registry), registry.reading() as connection:
        return [Found(*row) for row in connection.execute(asked).all()]


def traffic(registry: Registry, first: str, last: str) -> dict[str, tuple[str, int, int]]:
    """Date -> state, requests and sampled queries, of the days from the first to the last that the history has."""
    names = [days.c[name] for name in ("date", "state", "requests", "sampled")]
    asked = sa.select(*names).where(days.c.date.between(first, last)).order_by(days.c.date)
    with steady(registry), registry.reading() as connection:
        return {date: (state, requests, drawn) for date, state, requests, drawn in connection.execute(asked).all()}


def day(registry: Registry, date: str) -> DayRow | None:
    """A day with all its facts; None where it is not in the history."""
    names = [days.c[name] for name in DayRow._fields]
    with steady(registry), registry.reading() as connection:
        row = connection.execute(sa.select(*names).where(days.c.date == date)).first()
    return None if row is None else DayRow(*row)


def beside(registry: Registry, date: str) -> tuple[str, str]:
    """The days of the history right before and right after a date; "" for none."""
    before = sa.select(sa.func.max(days.c.date)).where(days.c.date < date)
    after = sa.select(sa.func.min(days.c.date)).where(days.c.date > date)
    with steady(registry), registry.reading() as connection:
        return connection.scalar(before) or "", connection.scalar(after) or ""


def names(registry: Registry, date: str) -> tuple[list[str], list[str]]:
    """The metrics and the segments of a day, in the order in which they were written: the first of each is the whole."""
    number = sa.select(days.c.id).where(days.c.date == date).scalar_subquery()
    made = []
    with steady(registry), registry.reading() as connection:
        for column in (levels.c.metric, levels.c.segment):
            asked = sa.select(column, sa.func.min(levels.c.id).label("at")).where(levels.c.day_id == number)
            made.append([row[0] for row in connection.execute(asked.group_by(column).order_by("at"))])
    return made[0], made[1]


def series(registry: Registry, metrics: Sequence[str], segment: str, first: str, last: str) -> list[LevelRow]:
    """The levels of some metrics in one segment, in order of date."""
    when = sa.select(days.c.id, days.c.date).where(days.c.date.between(first, last)).order_by(days.c.date)
    columns = [levels.c[name] for name in ("day_id", *_OF_ESTIMATE)]
    made: list[LevelRow] = []
    with steady(registry), registry.reading() as connection:
        dates: dict[int, str] = {number: date for number, date in connection.execute(when).all()}
        for metric in metrics if dates else ():  # one at a time, each along its index
            asked = sa.select(*columns).where(levels.c.metric == metric, levels.c.segment == segment)
            asked = asked.where(levels.c.day_id.between(min(dates), max(dates)))
            for day, value, se, low, high, n, method, level in connection.execute(asked).all():
                if day in dates:
                    e = estimate(value, se, low, high, n, method, level)
                    made.append(LevelRow(dates[day], metric, segment, e))
    return sorted(made, key=lambda row: row.date)


def levels_on(registry: Registry, dates: Sequence[str], metrics: Sequence[str]) -> list[LevelRow]:
    """The levels of some metrics in every segment, and those of all metrics over all, on some days."""
    where = sa.or_(levels.c.metric.in_(list(metrics)), levels.c.segment == "all")
    return _levels(registry, days.c.date.in_(list(dates)), where)


def _levels(registry: Registry, *where: Any) -> list[LevelRow]:
    columns = [levels.c[name] for name in ("metric", "segment", *_OF_ESTIMATE)]
    asked = sa.select(days.c.date, *columns).join(days, days.c.id == levels.c.day_id).where(*where)
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(asked.order_by(days.c.date, levels.c.id)).all()
    return [LevelRow(date, metric, segment, estimate(*rest)) for date, metric, segment, *rest in rows]


def changes_on(registry: Registry, date: str, metrics: Sequence[str]) -> list[ChangeRow]:
    """The changes to a day from the one before: of some metrics in every segment, of all metrics over all."""
    columns = [changes.c[name] for name in ("before", "metric", "segment", "part", "value", "se", "n")]
    asked = sa.select(*columns).join(days, days.c.id == changes.c.day_id).where(days.c.date == date)
    asked = asked.where(sa.or_(changes.c.metric.in_(list(metrics)), changes.c.segment == "all")).order_by(changes.c.id)
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(asked).all()
    return [
        ChangeRow(date, r.before, r.metric, r.segment, r.part, _number(r.value), _number(r.se), r.n)
        for r in rows
        if r.value is not None
    ]


def drawn(registry: Registry, first: str, last: str) -> list[LineRow]:
    """The lines from the first to the last day, in order of date."""
    asked = sa.select(days.c.date, lines.c.kind, lines.c.was, lines.c.now).join(days, days.c.id == lines.c.day_id)
    asked = asked.where(days.c.date.between(first, last)).order_by(days.c.date, lines.c.kind)
    with steady(registry), registry.reading() as connection:
        return [LineRow(*row) for row in connection.execute(asked)]


def raised(registry: Registry, first: str, last: str, metrics: Sequence[str]) -> list[Raised]:
    """The alerts of some metrics that were raised from the first to the last day, without their detail."""
    asked = sa.select(*(alerts.c[name] for name in Raised._fields)).order_by(alerts.c.date, alerts.c.id)
    asked = asked.where(alerts.c.date.between(first, last), alerts.c.metric.in_(list(metrics)))
    with steady(registry), registry.reading() as connection:
        return [Raised(*row) for row in connection.execute(asked)]


def alerts_of(
    registry: Registry,
    *,
    number: int | None = None,
    on: str | None = None,
    raised_before: str | None = None,
    open_only: bool = False,
    under: int | None = None,
    most: int = 25,
) -> list[AlertRow]:
    """Alerts, the last one first. number: this one. on: raised on that day. under: with a lower number; most: so many."""
    events = sa.select(alert_events.c.alert_id, sa.func.max(alert_events.c.id).label("at")).group_by(alert_events.c.alert_id)
    latest = events.subquery()
    columns = [alerts.c[name] for name in AlertRow._fields[:8]]
    said = [alert_events.c.kind, alert_events.c.actor, alert_events.c.note]
    asked = sa.select(*columns, *said).outerjoin(latest, latest.c.alert_id == alerts.c.id)
    asked = asked.outerjoin(alert_events, alert_events.c.id == latest.c.at).order_by(alerts.c.id.desc()).limit(most)
    asked = asked if number is None else asked.where(alerts.c.id == number)
    asked = asked if on is None else asked.where(alerts.c.date == on)
    asked = asked if raised_before is None else asked.where(alerts.c.date < raised_before)
    asked = asked if under is None else asked.where(alerts.c.id < under)
    if open_only:
        asked = asked.where(sa.or_(alert_events.c.kind.is_(None), alert_events.c.kind != RESOLVED))
    with steady(registry), registry.reading() as connection:
        rows = [tuple(row) for row in connection.execute(asked)]
    return [AlertRow._make((*row[:8], row[8] or RAISED, row[9] or "", row[10] or "")) for row in rows]


def counted(registry: Registry) -> dict[str, int]:
    """How many alerts are raised, acknowledged and resolved."""
    resolved = sa.func.count(sa.distinct(sa.case((alert_events.c.kind == RESOLVED, alert_events.c.alert_id))))
    seen = sa.func.count(sa.distinct(alert_events.c.alert_id))
    with steady(registry), registry.reading() as connection:
        whole = connection.scalar(sa.select(sa.func.count()).select_from(alerts)) or 0
        over, touched = connection.execute(sa.select(resolved, seen)).one()
    return {RAISED: whole - touched, ACKNOWLEDGED: touched - over, RESOLVED: over}


def alert(registry: Registry, number: int) -> AlertRow:
    """One alert. Raises: InputError for an unknown number."""
    if not (rows := alerts_of(registry, number=number)):
        raise InputError(f"there is no alert {number}")
    return rows[0]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
