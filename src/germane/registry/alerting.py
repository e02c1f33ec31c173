"""The life of alerts: raised, acknowledged, resolved; and the outbox, from which each is sent to each sink once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from germane.registry.database import Registry, record
from germane.registry.days import steady
from germane.registry.tables import alert_events, alerts, outbox
from germane.types import InputError

RAISED, ACKNOWLEDGED, RESOLVED = "raised", "acknowledged", "resolved"
SENDING = timedelta(minutes=5)
"""For which a message is left to the run that took it."""


class AlertRow(NamedTuple):
    """An alert and how it stands. detail: size, segments that carry it, the split. by: who acknowledged or resolved it last."""

    id: int
    date: str
    since: str
    metric: str
    segment: str
    part: str
    direction: str
    detail: Mapping[str, Any]
    state: str
    by: str
    note: str


class Message(NamedTuple):
    """An alert that a sink has not had yet. tries: that failed."""

    id: int
    sink: str
    tries: int
    alert: AlertRow


def listed(registry: Registry, *, number: int | None = None, open_only: bool = False) -> list[AlertRow]:
    """Alerts, the latest first. open_only: without those that are resolved."""
    with steady(registry), registry.reading() as connection:
        found = _rows(connection, number)
    return [alert for alert in found if not (open_only and alert.state == RESOLVED)]


def acknowledge(registry: Registry, number: int, *, actor: str, note: str = "") -> AlertRow:
    """The alert, seen by somebody. Raises: InputError for an unknown number, and for one that is resolved."""
    return _happened(registry, number, ACKNOWLEDGED, actor, note)


def resolve(registry: Registry, number: int, *, actor: str, note: str = "") -> AlertRow:
    """The alert, over. The same series may raise another from now on. Raises: InputError for an unknown number."""
    return _happened(registry, number, RESOLVED, actor, note)


def _happened(registry: Registry, number: int, kind: str, actor: str, note: str) -> AlertRow:
    try:
        with steady(registry), registry.writing() as connection:
            found = _rows(connection, number)
            if not found:
                raise InputError(f"there is no alert {number}: `germane watch alerts` lists them")
            if found[0].state == kind:
                return found[0]
            if found[0].state == RESOLVED:
                raise InputError(f"alert {number} is resolved: it cannot be {kind} any more")
            at = registry.clock()
            connection.execute(alert_events.insert().values(alert_id=number, kind=kind, actor=actor, note=note, at=at))
            record(connection, at, actor, f"alert {kind}", str(number), {"note": note} if note else {})
            return _rows(connection, number)[0]
    except IntegrityError:  # somebody did the same a moment ago
        return listed(registry, number=number)[0]


def waiting(registry: Registry, sinks: Sequence[str]) -> list[Message]:
    """What these sinks have not had, oldest first, without what another run is sending."""
    asked = sa.select(outbox).where(outbox.c.sent_at.is_(None), outbox.c.sink.in_(list(sinks))).order_by(outbox.c.id)
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(asked).all()
        known = {alert.id: alert for alert in _rows(connection)}
        at = registry.clock()
        return [
            Message(row.id, row.sink, row.tries, known[row.alert_id])
            for row in rows
            if row.taken_until is None or row.taken_until <= at
        ]


def take(registry: Registry, message: Message) -> bool:
    """True if this run may send it: nobody else will meanwhile, nor has."""
    with steady(registry), registry.writing() as connection:
        at = registry.clock()
        free = sa.or_(outbox.c.taken_until.is_(None), outbox.c.taken_until <= at)
        mine = sa.and_(outbox.c.id == message.id, outbox.c.sent_at.is_(None), free)
        return bool(connection.execute(sa.update(outbox).where(mine).values(taken_until=at + SENDING)).rowcount)


def told(registry: Registry, message: Message, error: str = "") -> None:
    """The message was sent, or was not, for this reason; then the next run tries again."""
    values: dict[str, Any] = {"tries": outbox.c.tries + 1, "error": error[:200], "taken_until": None}
    values |= {} if error else {"sent_at": registry.clock()}
    with steady(registry), registry.writing() as connection:
        connection.execute(sa.update(outbox).where(outbox.c.id == message.id).values(**values))


def unsent(registry: Registry) -> list[tuple[int, str, int, str, datetime | None]]:
    """What no sink has had yet: alert, sink, tries, the last error, until when it is being sent."""
    columns = [outbox.c[name] for name in ("alert_id", "sink", "tries", "error", "taken_until")]
    with steady(registry), registry.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).where(outbox.c.sent_at.is_(None)))]


def _rows(connection: sa.Connection, number: int | None = None) -> list[AlertRow]:
    names = [alerts.c[name] for name in ("id", "date", "since", "metric", "segment", "part", "direction", "detail")]
    asked = sa.select(*names).order_by(alerts.c.date.desc(), alerts.c.id)
    happened = sa.select(alert_events).order_by(alert_events.c.id)
    if number is not None:
        asked, happened = asked.where(alerts.c.id == number), happened.where(alert_events.c.alert_id == number)
    latest: dict[int, Any] = {row.alert_id: row for row in connection.execute(happened)}
    return [
        AlertRow(*row, *((last.kind, last.actor, last.note) if (last := latest.get(row.id)) else (RAISED, "", "")))
        for row in connection.execute(asked)
    ]
