"""The third person: the queue of pairs on which raters differ, a decision with its reason, discussion, and questions."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from germane.registry.accounts import Account, Role
from germane.registry.assigning import MOST_TEXT, Ballot, Counted, Given, NotYours, free_slot
from germane.registry.database import Registry, lock, record
from germane.registry.standing import entropy, refresh, standing_votes
from germane.registry.tables import accounts, assignments, pairs, remarks, tasks, votes
from germane.registry.tasks import Task, stored
from germane.types import InputError, VoteKind

MAY = (Role.ADJUDICATOR, Role.OWNER)
ADJUDICATION = VoteKind.ADJUDICATION


class RemarkKind(StrEnum):
    """What is said of a pair besides a grade: to the others who decide, or to whoever writes the guide."""

    DISCUSSION = "discussion"
    QUESTION = "question"


class Waiting(NamedTuple):
    """A pair that waits for a decision. entropy: of its votes, in bits. mine: this account voted on it itself."""

    pair_id: int
    query: str
    title: str
    entropy: float
    discussed: bool
    mine: bool


class Remark(NamedTuple):
    """A remark with its author. pair: query and document, in words."""

    id: int
    pair_id: int
    author: str
    kind: RemarkKind
    text: str
    guide_version: str
    at: datetime
    closed: bool
    pair: str


def queue(registry: Registry, task: Task, who: Account) -> list[Waiting]:
    """What this account may decide: pairs whose votes are spread most come first; then those in discussion.

    A pair that they voted on themselves is left to somebody else who may decide it, where there is one.
    """
    with registry.reading() as connection:
        return _queue(connection, task, who)


def left_to_others(registry: Registry, task: Task, who: Account) -> int:
    """How many disputed pairs wait for another person than this one."""
    with registry.reading() as connection:
        every = sa.select(sa.func.count()).where(pairs.c.task_id == task.id, pairs.c.disputed.is_(True))
        return int(connection.scalar(every) or 0) - len(_queue(connection, task, who))


def open_pair(registry: Registry, task: Task, who: Account, pair: int | None = None) -> Given | None:
    """The disputed pair of this number, or the next of the queue that nobody else holds; theirs until the lease ends.

    Raises: NotYours for a pair that this account may not decide, or that somebody else is deciding.
    """
    with registry.writing() as connection:
        lock(connection, tasks, task.id)
        at = registry.clock()
        waiting = [row.pair_id for row in _queue(connection, task, who) if pair is not None or not row.discussed]
        if pair is not None:
            if pair not in waiting:
                raise NotYours("this pair is decided already, or another person is to decide it")
            waiting = [pair]
        for number in waiting:
            if (given := _held_by(connection, task, who, number, at)) is not None:
                return given
        if pair is not None:
            raise NotYours("somebody else is deciding this pair now")
    return None


def decide(registry: Registry, task: Task, who: Account, ballot: Ballot) -> Counted:
    """What became of a decision: it stands above all votes on its pair. `note` is its reason, which others will read.

    Raises: NotYours as `assigning.vote`, and where the pair was decided meanwhile; InputError without a reason, and for a
    grade that is not on the scale.
    """
    if not ballot.note.strip():
        raise InputError("a decision needs its reason: the raters and the guide learn from it")
    if ballot.relevance is not None and not 0 <= ballot.relevance < len(task.scale.labels):
        raise InputError(f"grade {ballot.relevance} is not on scale {task.scale.name!r}")
    with registry.writing() as connection:
        lock(connection, tasks, task.id)
        at = registry.clock()
        if connection.scalar(sa.select(votes.c.id).where(votes.c.token == ballot.token, votes.c.account_id == who.id)):
            return Counted.REPLAYED
        row = _mine(connection, task, who, ballot)
        said: dict[str, Any] = {
            "relevance": ballot.relevance,
            "reason": stored(ballot.note)[:MOST_TEXT],
            "note": "",
            "kind": ADJUDICATION,
        }
        said |= {"task_id": task.id, "pair_id": row.pair_id, "account_id": who.id, "at": at, "withdrawn": False}
        seconds = round(max((at - row.shown_at).total_seconds(), 0.0), 3)
        said |= {"guide_version": row.guide_version, "seconds": seconds, "token": ballot.token}
        connection.execute(votes.insert().values(**said))
        connection.execute(assignments.update().where(assignments.c.id == row.id).values(done_at=at))
        refresh(connection, task, row.pair_id)
        record(connection, at, who.name, "adjudication", f"pair {row.pair_id}", {"relevance": ballot.relevance})
    return Counted.RECORDED


def reopen(registry: Registry, task: Task, who: Account) -> int | None:
    """The pair of this account's latest decision, which is withdrawn; None where there is none."""
    with registry.writing() as connection:
        lock(connection, tasks, task.id)
        at = registry.clock()
        mine = sa.and_(assignments.c.task_id == task.id, assignments.c.account_id == who.id, assignments.c.kind == ADJUDICATION)
        query = sa.select(assignments).where(mine, assignments.c.done_at.is_not(None))
        row = connection.execute(query.order_by(assignments.c.done_at.desc()).limit(1)).first()
        if row is None:
            return None
        said: dict[str, Any] = {
            "relevance": None,
            "reason": "",
            "note": "",
            "kind": ADJUDICATION,
            "withdrawn": True,
            "seconds": None,
        }
        said |= {"task_id": task.id, "pair_id": row.pair_id, "account_id": who.id, "at": at}
        said |= {"guide_version": row.guide_version, "token": secrets.token_urlsafe(16)}
        connection.execute(votes.insert().values(**said))
        connection.execute(assignments.update().where(assignments.c.id == row.id).values(done_at=None, lease_until=at))
        refresh(connection, task, row.pair_id)
        record(connection, at, who.name, "adjudication withdrawn", f"pair {row.pair_id}")
        return int(row.pair_id)


def opinions(registry: Registry, pair: int) -> Sequence[Any]:
    """The raters' votes that stand on a pair, with relevance, reason and note, in an order that tells nobody's name."""
    with registry.reading() as connection:
        found = standing_votes(connection, [pair], VoteKind.VOTE)
    return sorted(found, key=lambda row: row.token)  # tokens are random


def remark(registry: Registry, task: Task, who: Account, pair: int, kind: RemarkKind, text: str) -> None:
    """Say something of a pair. A remark of kind DISCUSSION takes a disputed pair out of the queue until it is decided.

    Raises: InputError for an empty text; NotYours for a pair that is not in this task.
    """
    if not text.strip():
        raise InputError(f"an empty {kind}: write what there is to say")
    with registry.writing() as connection:
        at = registry.clock()
        if connection.scalar(sa.select(pairs.c.task_id).where(pairs.c.id == pair)) != task.id:
            raise NotYours("there is no such pair in this task")
        values = {"task_id": task.id, "pair_id": pair, "account_id": who.id, "kind": kind, "text": stored(text)[:MOST_TEXT]}
        connection.execute(remarks.insert().values(**values, guide_version=task.scale.version, at=at))
        if kind == RemarkKind.DISCUSSION:
            connection.execute(pairs.update().where(pairs.c.id == pair).values(discussed=True))
            held = sa.and_(assignments.c.pair_id == pair, assignments.c.slot == 0, assignments.c.done_at.is_(None))
            connection.execute(assignments.update().where(held).values(lease_until=at))
        record(connection, at, who.name, f"{kind} added", f"pair {pair}")


def remarks_of(registry: Registry, task: Task, kind: RemarkKind, pair: int | None = None) -> list[Remark]:
    """The remarks of a task, or of one of its pairs, oldest first."""
    query = sa.select(remarks, accounts.c.name, pairs.c.query, pairs.c.doc_id).join(accounts).join(pairs)
    query = query.where(remarks.c.task_id == task.id, remarks.c.kind == kind).order_by(remarks.c.id)
    with registry.reading() as connection:
        rows = connection.execute(query if pair is None else query.where(remarks.c.pair_id == pair)).all()
    return [
        Remark(
            r.id, r.pair_id, r.name, RemarkKind(r.kind), r.text, r.guide_version, r.at, r.closed_at is not None,
            f"{r.query} · {r.doc_id}",
        )
        for r in rows
    ]  # fmt: skip


def close(registry: Registry, task: Task, who: Account, number: int) -> None:
    """Mark a question as answered by the guide."""
    with registry.writing() as connection:
        at = registry.clock()
        mine = sa.and_(remarks.c.id == number, remarks.c.task_id == task.id, remarks.c.kind == RemarkKind.QUESTION)
        connection.execute(remarks.update().where(mine, remarks.c.closed_at.is_(None)).values(closed_at=at))
        record(connection, at, who.name, "question closed", f"remark {number}")


def _queue(connection: sa.Connection, task: Task, who: Account) -> list[Waiting]:
    query = sa.select(pairs).where(pairs.c.task_id == task.id, pairs.c.disputed.is_(True)).order_by(pairs.c.place)
    rows = {row.id: row for row in connection.execute(query)}
    said: dict[int, list[Any]] = {number: [] for number in rows}
    numbers = list(rows)
    for start in range(0, len(numbers), 500):
        for row in standing_votes(connection, numbers[start : start + 500], VoteKind.VOTE):
            said[row.pair_id].append(row)
    may = sa.select(accounts.c.id).where(accounts.c.role.in_(MAY), accounts.c.disabled_at.is_(None), accounts.c.id != who.id)
    others = set(connection.scalars(may))
    waiting = []
    for number, row in rows.items():
        voters = {v.account_id for v in said[number]}
        mine = who.id in voters
        if mine and others - voters:
            continue
        title = next((value for name, value in row.fields if name == "title"), row.doc_id)
        spread = entropy(v.relevance for v in said[number])
        waiting.append(Waiting(number, row.query, title, spread, bool(row.discussed), mine))
    return sorted(waiting, key=lambda w: (w.discussed, -w.entropy))


def _held_by(connection: sa.Connection, task: Task, who: Account, pair: int, at: datetime) -> Given | None:
    """This account's hold on a disputed pair; None where somebody else has it."""
    whose = sa.and_(assignments.c.pair_id == pair, assignments.c.account_id == who.id, assignments.c.kind == ADJUDICATION)
    row = connection.execute(sa.select(assignments).where(whose)).first()
    if row is None or row.slot is None:
        slot = free_slot(connection, pair, [0], at)
        if slot is None:
            return None
        if row is None:
            values = {"task_id": task.id, "pair_id": pair, "account_id": who.id, "kind": ADJUDICATION, "token": ""}
            values |= {"guide_version": task.scale.version, "shown_at": at, "lease_until": at}
            connection.execute(assignments.insert().values(**values, slot=slot))
        else:
            connection.execute(assignments.update().where(whose).values(slot=slot))
    fresh: dict[str, Any] = {"guide_version": task.scale.version, "done_at": None}
    fresh["lease_until"] = at + timedelta(seconds=task.asked.lease_seconds)
    used = row is None or connection.scalar(sa.select(votes.c.id).where(votes.c.token == row.token))
    if used or (row is not None and row.lease_until <= at):
        fresh |= {"token": secrets.token_urlsafe(16), "shown_at": at}
    connection.execute(assignments.update().where(whose).values(**fresh))
    row = connection.execute(sa.select(assignments).where(whose)).one()
    return Given(row.id, row.pair_id, ADJUDICATION, row.token, row.guide_version, row.shown_at)


def _mine(connection: sa.Connection, task: Task, who: Account, ballot: Ballot) -> Any:
    """The open assignment of a decision. Raises: NotYours."""
    query = sa.select(assignments, pairs.c.disputed).join(pairs, pairs.c.id == assignments.c.pair_id)
    query = query.where(assignments.c.id == ballot.assignment, assignments.c.account_id == who.id)
    query = query.where(assignments.c.task_id == task.id, assignments.c.kind == ADJUDICATION)
    row = connection.execute(query).first()
    if row is None or row.done_at is not None or row.slot is None or not row.disputed:
        raise NotYours("the pair is decided already, or is not yours to decide: nothing was counted")
    if not secrets.compare_digest(row.token.encode(), ballot.token.encode()):
        raise NotYours("this page is out of date: nothing was counted")
    return row
