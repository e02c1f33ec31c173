"""What people said of the pairs that watched days put up, beside what the judge said on those days."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from germane.registry.database import Registry
from germane.registry.days import steady
from germane.registry.tables import days, golden_draws, pairs, tasks, votes
from germane.types import VoteKind


class Asked(NamedTuple):
    """A pair that a day put up. judge: who gave `relevance` that day. gains: of the scale's grades, worst first.

    weight, chance, part: as of `draws.Drawn`.
    """

    date: str
    task: str
    pair_id: int
    query: str
    rank: int
    relevance: int
    judge: str
    fingerprint: str
    weight: float
    chance: float
    part: float
    gains: tuple[float, ...]


class Said(NamedTuple):
    """A vote that stands. relevance: None where the rater could not judge."""

    pair_id: int
    account_id: int
    relevance: int | None
    guide_version: str


def asked(registry: Registry, *, first: str | None = None, last: str | None = None) -> list[Asked]:
    """The pairs that days put up, in order of date. first, last: days from and up to which."""
    columns = [golden_draws.c[name] for name in ("rank", "relevance", "fingerprint", "weight", "chance", "part")]
    named = [days.c.date, tasks.c.name.label("task"), golden_draws.c.pair_id, pairs.c.query, days.c.judge, tasks.c.scale]
    query = sa.select(*named, *columns)
    query = query.join(days, days.c.id == golden_draws.c.day_id).join(pairs, pairs.c.id == golden_draws.c.pair_id)
    query = query.join(tasks, tasks.c.id == pairs.c.task_id).order_by(days.c.date, golden_draws.c.id)
    query = query if first is None else query.where(days.c.date >= first)
    query = query if last is None else query.where(days.c.date <= last)
    with steady(registry), registry.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    return [Asked(gains=tuple(row.pop("scale")["gains"]), **row) for row in rows]


def said(registry: Registry, *, first: str | None = None, last: str | None = None) -> list[Said]:
    """The latest vote of each person on each of these pairs, unless it was withdrawn; decisions of a third person left out."""
    drawn = sa.select(golden_draws.c.pair_id).join(days, days.c.id == golden_draws.c.day_id)
    drawn = drawn if first is None else drawn.where(days.c.date >= first)
    drawn = drawn if last is None else drawn.where(days.c.date <= last)
    latest = sa.select(sa.func.max(votes.c.id)).where(votes.c.pair_id.in_(drawn), votes.c.kind == VoteKind.VOTE)
    latest = latest.group_by(votes.c.pair_id, votes.c.account_id)
    query = sa.select(*(votes.c[name] for name in Said._fields))
    query = query.where(votes.c.id.in_(latest), votes.c.withdrawn.is_(False)).order_by(votes.c.id)
    with steady(registry), registry.reading() as connection:
        return [Said(*row) for row in connection.execute(query)]
