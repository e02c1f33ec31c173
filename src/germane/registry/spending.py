"""What judging cost, day by day, as the days' facts have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from germane.registry.database import Registry
from germane.registry.days import steady
from germane.registry.tables import days


class Asked(NamedTuple):
    """A day and what a judge was asked on it. labels, anchors: of the day's pairs and of the anchors; {} where not known."""

    date: str
    state: str
    judge: str
    fingerprint: str
    labels: Mapping[str, Any]
    anchors: Mapping[str, Any]


def asked(registry: Registry, first: str, last: str) -> list[Asked]:
    """The days from the first to the last that the history has, in order of date; the rest of their facts is not read."""
    names = [days.c[name] for name in Asked._fields[:4]]
    facts = [days.c.facts[name].label(name) for name in Asked._fields[4:]]
    query = sa.select(*names, *facts).where(days.c.date.between(first, last)).order_by(days.c.date)
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(query)
        return [Asked(r.date, r.state, r.judge, r.fingerprint, r.labels or {}, r.anchors or {}) for r in rows]
