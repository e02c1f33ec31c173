"""Watched days: who is at one, what was found on it, and the history of all. A day is written whole, once, by one run."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from germane.registry.database import Registry, record
from germane.registry.draws import Draw, put_up
from germane.registry.tables import alerts, anchors, changes, claims, days, levels, lines, outbox, sampled
from germane.stats.ratios import few
from germane.types import Estimate, InputError

LEASE = timedelta(minutes=5)
"""For which a run may be silent before another machine takes its day over."""

DONE, GAP = "done", "gap"
_CHUNK = 1000


class Taken(InputError):
    """Another run is at this day, or has done it."""


class DayRow(NamedTuple):
    """A day of the history. state: done, or gap. facts: the design, coverage, what was spent, notes."""

    date: str
    state: str
    zone: str
    requests: int
    queries: int
    sampled: int
    panel: int
    judge: str
    fingerprint: str
    guide_version: str
    scale: str
    report: str
    facts: Mapping[str, Any]
    at: datetime | None = None


class LevelRow(NamedTuple):
    """A metric's level in a segment on a day."""

    date: str
    metric: str
    segment: str
    estimate: Estimate


class ChangeRow(NamedTuple):
    """A metric's change in a segment from the day `before` to the day `date`."""

    date: str
    before: str
    metric: str
    segment: str
    part: str
    value: float
    se: float
    n: int


class QueryRow(NamedTuple):
    """A sampled query of a day. metrics: None where there is no answer."""

    query: str
    requests: int
    probability: float
    panel_probability: float
    panel: bool
    stratum: str
    segments: Mapping[str, str]
    metrics: Mapping[str, float | None]


class AnchorRow(NamedTuple):
    """What the judge said of an anchor on a day, past the store."""

    query_id: str
    doc_id: str
    relevance: int | None
    outcome: str
    fingerprint: str


class LineRow(NamedTuple):
    """From this day on, figures are of another judge, guide, scale or design: no drop is read across it."""

    date: str
    kind: str
    was: str
    now: str


class NewAlert(NamedTuple):
    """An alert of the day that is being written. detail: size, segments that carry it, the split."""

    date: str
    since: str
    metric: str
    segment: str
    part: str
    direction: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class NewDay:
    """All that was found on a day. sinks: where its alerts are to be sent. golden: pairs that are put up for people."""

    day: DayRow
    levels: Sequence[LevelRow] = ()
    changes: Sequence[ChangeRow] = ()
    queries: Sequence[QueryRow] = ()
    anchors: Sequence[AnchorRow] = ()
    lines: Sequence[LineRow] = ()
    alerts: Sequence[NewAlert] = ()
    sinks: Sequence[str] = ()
    golden: Draw | None = None


@dataclass(frozen=True)
class Claim:
    """The right to do a day, which others see until it is given back, or its run falls silent."""

    registry: Registry = field(repr=False)
    date: str
    token: str

    def renew(self) -> None:
        """Says that the run lives. Raises: Taken where another has taken the day over."""
        with steady(self.registry), self.registry.writing() as connection:
            mine = sa.and_(claims.c.date == self.date, claims.c.token == self.token)
            changed = connection.execute(sa.update(claims).where(mine).values(until=self.registry.clock() + LEASE))
            if not changed.rowcount:
                raise Taken(f"{self.date} was taken over by another run: this one was silent for too long")

    def give_back(self) -> None:
        with steady(self.registry), self.registry.writing() as connection:
            connection.execute(sa.delete(claims).where(claims.c.date == self.date, claims.c.token == self.token))


@contextmanager
def steady(registry: Registry) -> Iterator[None]:
    """A block in which a database that does not answer is one clear line.

    Raises: InputError for any fault of the database, without its password.
    """
    try:
        yield
    except IntegrityError:  # no fault: somebody was first
        raise
    except DBAPIError as problem:
        text = " ".join(str(problem.orig or "it does not answer").split())[:160]
        raise InputError(
            f"the registry {registry.name} failed: {text}: nothing is half-written; run the same command again when it answers"
        ) from None


def claim(registry: Registry, date: str) -> Claim:
    """The right to do a day.

    A run that was killed on this machine is known by its process; one elsewhere, by its silence.
    Raises: Taken where the day is done, or another run is at it.
    """
    token = os.urandom(12).hex()
    host, process = platform.node()[:80], os.getpid()
    with once(registry), registry.writing() as connection:
        if connection.scalar(sa.select(days.c.id).where(days.c.date == date)):
            raise Taken(f"{date} is done already")
        at = registry.clock()
        held = connection.execute(sa.select(claims).where(claims.c.date == date).with_for_update()).first()
        values = {"token": token, "host": host, "process": process, "until": at + LEASE}
        if held is None:
            connection.execute(claims.insert().values(date=date, **values))
        elif held.until > at and not (held.host == host and not _alive(held.process)):
            raise Taken(f"{date} is being done by another run (process {held.process} on {held.host})")
        else:
            connection.execute(sa.update(claims).where(claims.c.id == held.id).values(**values))
    return Claim(registry, date, token)


@contextmanager
def once(registry: Registry) -> Iterator[None]:
    """As `steady`; a constraint that is broken says that somebody was first. Raises: Taken."""
    try:
        with steady(registry):
            yield
    except IntegrityError:
        raise Taken("another run was first with this day") from None


def write(registry: Registry, new: NewDay, held: Claim) -> None:
    """Writes a day and all that was found on it, in one transaction, and gives the claim back.

    Raises: Taken where another run wrote it first, or took it over.
    """
    with once(registry), registry.writing() as connection:
        mine = sa.select(claims.c.id).where(claims.c.date == held.date, claims.c.token == held.token)
        if connection.scalar(mine.with_for_update()) is None:
            raise Taken(f"{held.date} was taken over by another run: this one was silent for too long")
        at = registry.clock()
        row = {**new.day._asdict(), "facts": dict(new.day.facts), "at": at}
        number = new_id(connection, days.insert().values(**row))
        found = [{"metric": r.metric, "segment": r.segment, **_of_estimate(r.estimate)} for r in new.levels]
        _put(connection, levels, number, found)
        plain = [{**_kept(r._asdict(), "date"), "value": _number(r.value), "se": _number(r.se)} for r in new.changes]
        _put(connection, changes, number, plain)
        _put(connection, sampled, number, [{**r._asdict(), **_dicts(r)} for r in new.queries])
        _put(connection, anchors, number, [r._asdict() for r in new.anchors])
        _put(connection, lines, number, [_kept(r._asdict(), "date") for r in new.lines])
        for alert in new.alerts:
            made = {**alert._asdict(), "detail": dict(alert.detail), "day_id": number}
            raised = new_id(connection, alerts.insert().values(**made))
            for sink in new.sinks:
                connection.execute(outbox.insert().values(alert_id=raised, sink=sink, tries=0, error=""))
        if new.golden is not None:
            put_up(connection, number, new.golden, at=at)
        connection.execute(sa.delete(claims).where(claims.c.date == held.date))
        record(connection, at, "watch", "day written", new.day.date, {"state": new.day.state, "alerts": len(new.alerts)})


# --- the history -------------------------------------------------------------------------------------------------------


def listed(registry: Registry) -> list[DayRow]:
    """Every day that is done or a gap, in order of date."""
    names = [days.c[name] for name in DayRow._fields]
    with steady(registry), registry.reading() as connection:
        return [DayRow(*row) for row in connection.execute(sa.select(*names).order_by(days.c.date))]


def claimed(registry: Registry) -> list[tuple[str, str, int]]:
    """The days that a run is at now: date, host, process."""
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(sa.select(claims.c.date, claims.c.host, claims.c.process, claims.c.until))
        return [(row.date, row.host, row.process) for row in rows if row.until > registry.clock()]


class Claimed(NamedTuple):
    """A day that a run took. stuck: that run is dead, or was silent for too long: the next one takes the day over."""

    date: str
    host: str
    process: int
    stuck: bool


def claims_of(registry: Registry) -> list[Claimed]:
    """Every day that a run took and has not given back."""
    at, here = registry.clock(), platform.node()[:80]
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(sa.select(claims.c.date, claims.c.host, claims.c.process, claims.c.until)).all()
    return [Claimed(r.date, r.host, r.process, r.until <= at or (r.host == here and not _alive(r.process))) for r in rows]


def levels_of(
    registry: Registry,
    *,
    metric: str | None = None,
    segment: str | None = None,
    first: str | None = None,
    last: str | None = None,
) -> list[LevelRow]:
    """Levels in order of date, metric and segment. first, last: days from and up to which."""
    columns = [levels.c[name] for name in ("metric", "segment", "value", "se", "low", "high", "n", "method", "level")]
    asked = sa.select(days.c.date, *columns).join(days, days.c.id == levels.c.day_id)
    asked = asked.order_by(days.c.date, levels.c.id)
    for column, value in ((levels.c.metric, metric), (levels.c.segment, segment)):
        asked = asked if value is None else asked.where(column == value)
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(_between(asked, first, last)).all()
    return [LevelRow(date, metric, segment, estimate(*rest)) for date, metric, segment, *rest in rows]


def changes_of(registry: Registry, *, first: str | None = None, last: str | None = None) -> dict[str, list[ChangeRow]]:
    """Date -> the changes from the day before it in the history, in order of date."""
    names = [changes.c[name] for name in ("before", "metric", "segment", "part", "value", "se", "n")]
    asked = sa.select(days.c.date, *names).join(days, days.c.id == changes.c.day_id).order_by(days.c.date, changes.c.id)
    found: dict[str, list[ChangeRow]] = defaultdict(list)
    with steady(registry), registry.reading() as connection:
        for row in connection.execute(_between(asked, first, last)):
            named = row.date, row.before, row.metric, row.segment, row.part
            found[row.date].append(ChangeRow(*named, _float(row.value), _float(row.se), row.n))
    return dict(found)


def queries_of(registry: Registry, date: str) -> list[QueryRow]:
    """The sampled queries of a day, in order of the query."""
    names = [sampled.c[name] for name in QueryRow._fields]
    asked = sa.select(*names).join(days, days.c.id == sampled.c.day_id).where(days.c.date == date).order_by(sampled.c.query)
    with steady(registry), registry.reading() as connection:
        return [QueryRow(*row) for row in connection.execute(asked)]


def texts_of(registry: Registry, date: str) -> list[str]:
    """The sampled queries of a day, as texts alone."""
    asked = sa.select(sampled.c.query).join(days, days.c.id == sampled.c.day_id).where(days.c.date == date)
    with steady(registry), registry.reading() as connection:
        return [str(text) for text in connection.scalars(asked)]


def anchors_of(registry: Registry, date: str) -> list[AnchorRow]:
    """What the judge said of the anchors on a day."""
    names = [anchors.c[name] for name in AnchorRow._fields]
    asked = sa.select(*names).join(days, days.c.id == anchors.c.day_id).where(days.c.date == date).order_by(anchors.c.id)
    with steady(registry), registry.reading() as connection:
        return [AnchorRow(*row) for row in connection.execute(asked)]


def lines_of(registry: Registry) -> list[LineRow]:
    """Every line of the history, in order of date."""
    asked = sa.select(days.c.date, lines.c.kind, lines.c.was, lines.c.now).join(days, days.c.id == lines.c.day_id)
    with steady(registry), registry.reading() as connection:
        return [LineRow(*row) for row in connection.execute(asked.order_by(days.c.date, lines.c.kind))]


# --- rows --------------------------------------------------------------------------------------------------------------


def new_id(connection: sa.Connection, inserted: sa.Insert) -> int:
    """The number of a row that is inserted now."""
    key: Any = connection.execute(inserted).inserted_primary_key
    return int(key[0])


def _put(connection: sa.Connection, table: sa.Table, day: int, rows: Sequence[Mapping[str, Any]]) -> None:
    for start in range(0, len(rows), _CHUNK):
        connection.execute(table.insert(), [{**row, "day_id": day} for row in rows[start : start + _CHUNK]])


def _between(asked: Any, first: str | None, last: str | None) -> Any:
    asked = asked if first is None else asked.where(days.c.date >= first)
    return asked if last is None else asked.where(days.c.date <= last)


def _kept(row: dict[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in without}


def _dicts(row: QueryRow) -> dict[str, Any]:
    metrics = {name: None if value is None else _number(value) for name, value in row.metrics.items()}
    return {"segments": dict(row.segments), "metrics": metrics}


def _of_estimate(e: Estimate) -> dict[str, Any]:
    numbers = {name: _number(getattr(e, name)) for name in ("value", "se", "low", "high", "level")}
    return {**numbers, "n": int(e.n), "method": e.method}


def estimate(value: Any, se: Any, low: Any, high: Any, n: int, method: str, level: Any) -> Estimate:
    """The estimate that a row of levels holds."""
    spread = _float(se)
    caveat = "" if "every query of the day" in method else few(spread, n)
    return Estimate(_float(value), spread, _float(low), _float(high), n, method, _float(level), None, caveat)


def _number(value: float) -> float | None:
    """A number as databases keep it: none where there is no answer, or an endless interval."""
    value = float(value)
    return value if abs(value) < float("inf") else None


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, OSError):
        return True
    return True
