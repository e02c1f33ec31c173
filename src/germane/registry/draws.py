"""Pairs that a watched day puts up for people, in the task of its month: written with the day, so once or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import NamedTuple

import sqlalchemy as sa

from germane.registry import tasks
from germane.registry.tables import golden_draws, pairs
from germane.registry.tables import tasks as table
from germane.registry.tasks import Asked, NewPair, TaskKind, stored
from germane.types import Scale

RATERS = 2
"""Votes a pair: what two people say of the same pair is what a judge is measured by."""


class Drawn(NamedTuple):
    """A pair of the draw. relevance: the judge's grade of the day. weight: requests of the day that its query stands for.

    chance: of the pair, once its query was sampled. part: of the query's sDCG that is this document's gain.
    """

    pair: NewPair
    rank: int
    relevance: int
    fingerprint: str
    weight: float
    chance: float
    part: float


@dataclass(frozen=True)
class Draw:
    """What a day puts up. month: as 2026-03, whose pairs are one task. scale: with the guide that people are shown."""

    month: str
    scale: Scale
    seed: int
    pairs: Sequence[Drawn] = ()


def put_up(connection: sa.Connection, day: int, draw: Draw, *, at: datetime) -> int:
    """How many pairs are now with people, inside the transaction that writes the day.

    A pair that the month drew before keeps its votes, and stands for both days. One that is in an audit is left out: golden
    pairs teach judges, so they cannot audit one. A guide that changed is a new version of the task's.
    """
    if not draw.pairs:
        return 0
    tasks.alone(connection)
    audited = set(tasks.among(connection, TaskKind.AUDIT, [drawn.pair for drawn in draw.pairs]))
    kept = [drawn for i, drawn in enumerate(draw.pairs) if i not in audited]
    if not kept:
        return 0
    name, asked = _task(connection, draw)
    tasks.put(connection, name, TaskKind.GOLDEN, draw.scale, [drawn.pair for drawn in kept], asked, actor="watch", at=at)
    query = sa.select(pairs.c.id, pairs.c.query_id, pairs.c.doc_id).join(table, table.c.id == pairs.c.task_id)
    number = {(row.query_id, row.doc_id): row.id for row in connection.execute(query.where(table.c.name == name))}
    rows = []
    for drawn in kept:
        found = {column: getattr(drawn, column) for column in ("rank", "relevance", "fingerprint", "weight", "chance", "part")}
        rows.append({**found, "day_id": day, "pair_id": number[stored(drawn.pair.query_id), stored(drawn.pair.doc_id)]})
    connection.execute(golden_draws.insert(), rows)
    return len(rows)


def _task(connection: sa.Connection, draw: Draw) -> tuple[str, Asked]:
    """The month's task and how it is asked: as it stands, where it was made before. Another scale has a task of its own."""
    plain = f"watch {draw.month}"
    for name in chain((plain, f"{plain} {draw.scale.name}"), (f"{plain} {draw.scale.name} {n}" for n in range(2, 1000))):
        row = connection.execute(sa.select(table).where(table.c.name == name)).first()
        if row is None:
            return name, Asked(raters=RATERS, seed=draw.seed)
        same = (row.scale["name"], tuple(row.scale["labels"])) == (draw.scale.name, draw.scale.labels)
        if same and row.kind == TaskKind.GOLDEN:
            return name, Asked(
                row.raters, row.adjudicate, row.entropy_bar, row.control_every, row.lease_seconds, row.search_url, row.seed
            )
    raise AssertionError("a thousand scales in a month")
