"""What the registry says: pairs as they are shown, votes as everything else reads them, progress, pace, and the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

import sqlalchemy as sa

from germane.golden import rules
from germane.registry.accounts import Account
from germane.registry.database import Registry
from germane.registry.standing import unsure
from germane.registry.tables import accounts, assignments, log, pairs, votes
from germane.registry.tasks import LOADED, Task
from germane.types import Vote, VoteKind

ACTIVE = timedelta(minutes=15)
RECENT = 30  # votes that the pace is of


class Shown(NamedTuple):
    """A pair as it is shown to people. fields: (name, value) in order, as they came."""

    id: int
    task_id: int
    query_id: str
    doc_id: str
    query: str
    context: str
    fields: tuple[tuple[str, str], ...]
    image: str


class Pace(NamedTuple):
    """How far a rater is. left: pairs that are probably still theirs. seconds: a pair, the median of their last votes."""

    done: int
    left: int
    seconds: float | None

    @property
    def minutes_left(self) -> int | None:
        """About how long the rest takes them."""
        return None if self.seconds is None else max(round(self.left * self.seconds / 60), 1 if self.left else 0)


class Progress(NamedTuple):
    """How far a task is. pairs: without controls. asked: votes in all; done: of these. waiting: disputed."""

    pairs: int
    asked: int
    done: int
    filled: int
    waiting: int
    discussed: int
    decided: int
    controls: int


class Rater(NamedTuple):
    """What one person did in a task. controls, right: hidden controls judged, and judged as known. seconds: the median vote."""

    name: str
    role: str
    votes: int
    abstained: int
    controls: int
    right: int
    seconds: float | None
    latest: datetime | None


class Entry(NamedTuple):
    """A row of the log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def pair_of(registry: Registry, task: Task, number: int) -> Shown | None:
    """The pair of this number in this task."""
    shown = pair_anywhere(registry, number)
    return shown if shown is not None and shown.task_id == task.id else None


def pair_anywhere(registry: Registry, number: int) -> Shown | None:
    """The pair of this number, whatever its task."""
    with registry.reading() as connection:
        row = connection.execute(sa.select(pairs).where(pairs.c.id == number)).first()
    if row is None:
        return None
    fields = tuple((str(name), str(value)) for name, value in row.fields)
    return Shown(row.id, row.task_id, row.query_id, row.doc_id, row.query, row.context, fields, row.image)


def may_see(registry: Registry, account: Account, pair: int) -> bool:
    """True if this account was ever given this pair, to judge or to decide."""
    query = sa.select(assignments.c.id).where(assignments.c.pair_id == pair, assignments.c.account_id == account.id)
    with registry.reading() as connection:
        return connection.scalar(query.limit(1)) is not None


def pace(registry: Registry, task: Task, rater: Account) -> Pace:
    """How far this rater is, and how fast."""
    at = registry.clock()
    counted = assignments.c.kind.in_((VoteKind.VOTE, VoteKind.CONTROL))
    done = sa.select(sa.func.count()).select_from(assignments).where(assignments.c.task_id == task.id, counted)
    done = done.where(assignments.c.done_at.is_not(None))
    with registry.reading() as connection:
        mine = int(connection.scalar(done.where(assignments.c.account_id == rater.id)) or 0)
        of_task = pairs.c.task_id == task.id, pairs.c.control.is_(None)
        counted_pairs = sa.select(pairs.c.filled, sa.func.count()).where(*of_task).group_by(pairs.c.filled)
        numbers = {bool(filled): n for filled, n in connection.execute(counted_pairs)}
        active = sa.select(sa.func.count(sa.distinct(votes.c.account_id))).where(
            votes.c.task_id == task.id, votes.c.at > at - ACTIVE
        )
        people = max(int(connection.scalar(active) or 0), 1)
        recent = sa.select(votes.c.seconds).where(votes.c.account_id == rater.id, votes.c.task_id == task.id)
        recent = recent.where(votes.c.seconds.is_not(None), votes.c.kind != VoteKind.ADJUDICATION)
        seconds = connection.scalars(recent.order_by(votes.c.id.desc()).limit(RECENT)).all()
    needed = numbers.get(False, 0) * task.asked.raters  # at most: some of these have a vote already
    left = min(max(sum(numbers.values()) - mine, 0), -(-needed // people))
    return Pace(mine, left, median(s for s in seconds if s is not None) if seconds else None)


def progress(registry: Registry, task: Task) -> Progress:
    """How far a task is."""
    with registry.reading() as connection:

        def count(*where: Any) -> int:
            return int(
                connection.scalar(sa.select(sa.func.count()).select_from(pairs).where(pairs.c.task_id == task.id, *where)) or 0
            )

        plain = pairs.c.control.is_(None)
        done = (
            sa.select(sa.func.count())
            .select_from(assignments)
            .where(assignments.c.task_id == task.id, assignments.c.kind == VoteKind.VOTE, assignments.c.done_at.is_not(None))
        )
        return Progress(
            pairs=(number := count(plain)),
            asked=number * task.asked.raters,
            done=int(connection.scalar(done) or 0),
            filled=count(plain, pairs.c.filled.is_(True)),
            waiting=count(pairs.c.disputed.is_(True)),
            discussed=count(pairs.c.disputed.is_(True), pairs.c.discussed.is_(True)),
            decided=count(pairs.c.decided.is_(True)),
            controls=count(pairs.c.control.is_not(None)),
        )


def votes_of(registry: Registry, task: Task) -> list[Vote]:
    """Every row that was ever written of a task, oldest first: changed minds and undone votes too."""
    with registry.reading() as connection:
        bar = task.asked.entropy_bar
        return [_vote(row, bar) for row in connection.execute(_votes(task))]


def controls_of(registry: Registry, task: Task) -> dict[tuple[str, str], int]:
    """The known grades of a task's hidden controls."""
    query = sa.select(pairs.c.query_id, pairs.c.doc_id, pairs.c.control).where(
        pairs.c.task_id == task.id, pairs.c.control.is_not(None)
    )
    with registry.reading() as connection:
        return {(row.query_id, row.doc_id): row.control for row in connection.execute(query)}


def standing(said: Sequence[Vote], *kinds: VoteKind) -> list[Vote]:
    """The votes of a task that count: each person's latest on each pair, unless it was withdrawn; of these kinds, or of all."""
    return [one for one in rules.standing(said, across_guides=True) if not kinds or one.kind in kinds]


def raters(registry: Registry, task: Task) -> list[Rater]:
    """What each person did in a task, by name."""
    known, said = controls_of(registry, task), votes_of(registry, task)
    found = []
    with registry.reading() as connection:
        people = connection.execute(sa.select(accounts.c.name, accounts.c.role).order_by(accounts.c.key)).all()
    for name, role in people:
        mine = [one for one in standing(said, VoteKind.VOTE, VoteKind.CONTROL) if one.rater == name]
        checks = [one for one in mine if one.kind == VoteKind.CONTROL]
        times = [one.seconds for one in mine if one.seconds is not None]
        if mine:
            right = sum(known.get((one.query_id, one.doc_id)) == one.relevance for one in checks)
            plain, empty = len(mine) - len(checks), sum(one.relevance is None for one in mine if one.kind == VoteKind.VOTE)
            latest = max(one.at for one in mine)
            found.append(Rater(name, role, plain, empty, len(checks), right, median(times) if times else None, latest))
    return found


def entries(registry: Registry, *, before: int | None = None, most: int = 100) -> list[Entry]:
    """The latest rows of the log, newest first, from before a row on."""
    query = sa.select(log).order_by(log.c.id.desc()).limit(most)
    with registry.reading() as connection:
        rows = connection.execute(query if before is None else query.where(log.c.id < before))
        return [Entry(row.id, row.at, row.actor, row.action, row.subject, row.detail) for row in rows]


def overrides_of(registry: Registry, task: Task) -> tuple[str, ...]:
    """The refusals that were insisted past when pairs of this task were loaded, as sentences, each once."""
    query = sa.select(log.c.detail).where(log.c.action == LOADED, log.c.subject == task.name).order_by(log.c.id)
    with registry.reading() as connection:
        return tuple(dict.fromkeys(said for row in connection.scalars(query) for said in row.get("overrides", ())))


def _votes(task: Task) -> Any:
    columns = (pairs.c.query_id, pairs.c.doc_id, pairs.c.stratum, pairs.c.entropy, accounts.c.name, votes)
    query = sa.select(*columns).join(pairs, pairs.c.id == votes.c.pair_id)
    return query.join(accounts, accounts.c.id == votes.c.account_id).where(votes.c.task_id == task.id).order_by(votes.c.id)


def _vote(row: Any, bar: float | None) -> Vote:
    return Vote(
        query_id=row.query_id,
        doc_id=row.doc_id,
        rater=row.name,
        relevance=row.relevance,
        guide_version=row.guide_version,
        at=row.at,
        kind=VoteKind(row.kind),
        reason=row.reason,
        note=row.note,
        seconds=row.seconds,
        stratum=row.stratum,
        withdrawn=row.withdrawn,
        queued=unsure(row.entropy, bar),
    )
