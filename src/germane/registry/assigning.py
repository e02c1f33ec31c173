"""Who judges what next, and what they said of it: in transactions, so that no pair gets more votes than were asked for.

A rater *takes* a pair and holds one of its slots, 1 to `raters`, until they vote. The table has one row a pair and slot, so
one vote too many cannot be written, whatever this module does. A slot that is held for longer than the lease, without a vote,
goes to whoever asks next. The first rater may still vote: they get another slot if one is free, and if none is, their
vote is not counted and they are told so. Hidden controls have no slots: everybody may meet each of them, once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from germane.registry.accounts import Account
from germane.registry.database import Registry, lock, record
from germane.registry.standing import refresh
from germane.registry.tables import assignments, pairs, tasks, votes
from germane.registry.tasks import Task, stored
from germane.types import InputError, VoteKind

BLOCK = 50  # pairs that a rater's next one is drawn from: all raters work on the same ones, so that pairs get finished
MOST_TEXT = 2000  # characters of a note or a reason
VOTES = (VoteKind.VOTE, VoteKind.CONTROL)


class Given(NamedTuple):
    """A pair that somebody holds: whose page carries `token`."""

    id: int
    pair_id: int
    kind: VoteKind
    token: str
    guide_version: str
    shown_at: datetime


class Ballot(NamedTuple):
    """What came back from a page: a grade, or None and a reason. seconds: that the page was looked at, by its own clock."""

    assignment: int
    token: str
    relevance: int | None
    reason: str = ""
    note: str = ""
    seconds: float | None = None


class Counted(StrEnum):
    """What became of a ballot. REPLAYED: it was counted before. LATE: others have judged the pair meanwhile."""

    RECORDED = "recorded"
    REPLAYED = "replayed"
    LATE = "late"


class NotYours(InputError):
    """A ballot for a pair that this account does not hold, or from a page that is out of date."""


def take(registry: Registry, task: Task, rater: Account) -> Given | None:
    """The pair that this rater judges now: the one they hold, else the next; None where nothing is left for them."""
    with registry.reading() as connection:  # a page that is loaded again needs no lock
        held = _held(connection, task, rater)
        if held is not None and _fresh(held, task, registry.clock()):
            return _given(held)
    with registry.writing() as connection:
        lock(connection, tasks, task.id)
        return _take(connection, task, rater, registry.clock())


def vote(registry: Registry, task: Task, rater: Account, ballot: Ballot) -> Counted:
    """What became of a ballot; once this returns, it is on the disk. The next pair is taken in the same transaction.

    Raises: NotYours for a pair that this rater was not given, and for a page that is out of date; InputError for a grade
    that is not on the scale, and for no grade without a reason.
    """
    _check(task, ballot)
    with registry.writing() as connection:
        lock(connection, tasks, task.id)
        at = registry.clock()
        row = _ballot_of(connection, task, rater, ballot)
        if row is None:
            return Counted.REPLAYED
        ballot = ballot._replace(reason=stored(ballot.reason), note=stored(ballot.note))
        if row.kind == VoteKind.VOTE and row.slot is None and not _slot_again(connection, task, row, at):
            connection.execute(assignments.delete().where(assignments.c.id == row.id))
            record(connection, at, rater.name, "late vote not counted", f"pair {row.pair_id}", {"relevance": ballot.relevance})
            _take(connection, task, rater, at)
            return Counted.LATE
        shown = max((at - row.shown_at).total_seconds(), 0.0)
        seconds = min(ballot.seconds, shown) if ballot.seconds is not None and ballot.seconds >= 0 else shown
        said: dict[str, Any] = {
            "relevance": ballot.relevance,
            "reason": ballot.reason[:MOST_TEXT],
            "note": ballot.note[:MOST_TEXT],
        }
        said |= {"kind": row.kind, "guide_version": row.guide_version, "at": at, "withdrawn": False, "token": ballot.token}
        whose = {"task_id": task.id, "pair_id": row.pair_id, "account_id": rater.id}
        connection.execute(votes.insert().values(**whose, **said, seconds=round(seconds, 3)))
        connection.execute(assignments.update().where(assignments.c.id == row.id).values(done_at=at))
        if row.kind == VoteKind.VOTE:
            refresh(connection, task, row.pair_id)
        record(connection, at, rater.name, "vote", f"pair {row.pair_id}", {"relevance": ballot.relevance})
        _take(connection, task, rater, at)
    return Counted.RECORDED


def undo(registry: Registry, task: Task, rater: Account, *, done: int | None = None) -> Given | None:
    """The pair of the rater's latest vote that stands, theirs again, and that vote withdrawn; None where there is none.

    done: how many votes stood when the rater asked for it: the same form sent twice takes back one.
    Raises: NotYours for another number than that; InputError where an adjudicator has decided the pair: what they read stays.
    """
    with registry.writing() as connection:
        lock(connection, tasks, task.id)
        at = registry.clock()
        mine = sa.and_(assignments.c.task_id == task.id, assignments.c.account_id == rater.id, assignments.c.kind.in_(VOTES))
        query = sa.select(assignments).where(mine, assignments.c.done_at.is_not(None))
        if done is not None and done != connection.scalar(sa.select(sa.func.count()).select_from(query.subquery())):
            raise NotYours("this page is out of date, and nothing was taken back: look at the pair shown now")
        row = connection.execute(query.order_by(assignments.c.done_at.desc(), assignments.c.id.desc()).limit(1)).first()
        if row is None:
            return None
        if connection.scalar(sa.select(pairs.c.decided).where(pairs.c.id == row.pair_id)):
            raise InputError("your latest pair has been adjudicated since: it cannot be undone any more")
        whose = {"task_id": task.id, "pair_id": row.pair_id, "account_id": rater.id, "kind": row.kind}
        said = {"relevance": None, "guide_version": row.guide_version, "at": at, "reason": "", "note": "", "seconds": None}
        connection.execute(votes.insert().values(**whose, **said, withdrawn=True, token=secrets.token_urlsafe(16)))
        connection.execute(assignments.update().where(assignments.c.id == row.id).values(**_shown(task, at)))
        if row.kind == VoteKind.VOTE:
            refresh(connection, task, row.pair_id)
        record(connection, at, rater.name, "vote withdrawn", f"pair {row.pair_id}")
        held = _held(connection, task, rater)
        assert held is not None
        return _given(held)


def _check(task: Task, ballot: Ballot) -> None:
    if ballot.relevance is None:
        if not ballot.reason.strip():
            raise InputError("a pair that cannot be judged needs a reason")
    elif not 0 <= ballot.relevance < len(task.scale.labels):
        raise InputError(f"grade {ballot.relevance} is not on scale {task.scale.name!r}")


def _ballot_of(connection: sa.Connection, task: Task, rater: Account, ballot: Ballot) -> Any:
    """The open assignment of a ballot; None where the very same ballot was counted before.

    Raises: NotYours, also where another answer came from this page, or the one that did was taken back.
    """
    counted = sa.select(votes.c.relevance, votes.c.id, votes.c.pair_id).where(
        votes.c.token == ballot.token, votes.c.account_id == rater.id
    )
    if before := connection.execute(counted).first():
        later = sa.select(votes.c.id).where(
            votes.c.pair_id == before.pair_id, votes.c.account_id == rater.id, votes.c.id > before.id
        )
        if before.relevance == ballot.relevance and connection.scalar(later.limit(1)) is None:
            return None
        raise NotYours(
            "this page was answered already, and its first answer stands or was taken back: nothing was counted; undo the "
            "latest vote to change it"
        )
    mine = sa.and_(assignments.c.account_id == rater.id, assignments.c.task_id == task.id, assignments.c.kind.in_(VOTES))
    row = connection.execute(sa.select(assignments).where(assignments.c.id == ballot.assignment, mine)).first()
    if row is None or row.done_at is not None or not secrets.compare_digest(row.token.encode(), ballot.token.encode()):
        raise NotYours("this page is out of date, or the pair is not yours: nothing was counted; judge the pair shown now")
    return row


def _take(connection: sa.Connection, task: Task, rater: Account, at: datetime) -> Given | None:
    held = _held(connection, task, rater)
    if held is not None:
        if not _fresh(held, task, at):
            values: dict[str, Any] = {"lease_until": at + timedelta(seconds=task.asked.lease_seconds)}
            if held.guide_version != task.scale.version:  # a page that shows the old guide is out of date
                values = _shown(task, at)
            connection.execute(assignments.update().where(assignments.c.id == held.id).values(**values))
            held = _held(connection, task, rater)
        return _given(held)
    pair = _due_control(connection, task, rater)
    if pair is not None:
        return _assigned(connection, task, rater, pair, VoteKind.CONTROL, None, at)
    free = _free_pairs(connection, task, rater, at)
    if not free:
        return None
    pair = min(free, key=lambda number: _order(task, rater, number))
    slot = free_slot(connection, pair, range(1, task.asked.raters + 1), at)
    return _assigned(connection, task, rater, pair, VoteKind.VOTE, slot, at)


def _held(connection: sa.Connection, task: Task, rater: Account) -> Any:
    """What the rater has open and still holds, what they saw last first."""
    mine = sa.and_(assignments.c.task_id == task.id, assignments.c.account_id == rater.id, assignments.c.done_at.is_(None))
    kept = sa.or_(assignments.c.slot >= 1, assignments.c.kind == VoteKind.CONTROL)
    query = sa.select(assignments).where(mine, kept).order_by(assignments.c.shown_at.desc(), assignments.c.id.desc())
    return connection.execute(query.limit(1)).first()


def _fresh(held: Any, task: Task, at: datetime) -> bool:
    """False where the lease is half over, or the guide has changed since."""
    return bool(
        held.lease_until > at + timedelta(seconds=task.asked.lease_seconds / 2) and held.guide_version == task.scale.version
    )


def _due_control(connection: sa.Connection, task: Task, rater: Account) -> int | None:
    """A control that this rater has not met, where its turn is: once in every `control_every` pairs, at a random place."""
    every = task.asked.control_every
    mine = sa.and_(assignments.c.task_id == task.id, assignments.c.account_id == rater.id, assignments.c.kind.in_(VOTES))
    number = connection.scalar(sa.select(sa.func.count()).select_from(assignments).where(mine)) or 0
    if number % every != _order(task, rater, -1 - number // every) % every:
        return None
    met = sa.select(assignments.c.pair_id).where(mine)
    query = sa.select(pairs.c.id).where(pairs.c.task_id == task.id, pairs.c.control.is_not(None), pairs.c.id.not_in(met))
    return min(connection.scalars(query), key=lambda pair: _order(task, rater, pair), default=None)


def _free_pairs(connection: sa.Connection, task: Task, rater: Account, at: datetime) -> Sequence[int]:
    """The first pairs, in the task's order, with a slot that nobody holds, and that this rater has not met."""
    on_pair = assignments.c.pair_id == pairs.c.id
    taken = sa.and_(assignments.c.slot >= 1, sa.or_(assignments.c.done_at.is_not(None), assignments.c.lease_until > at))
    held = sa.select(sa.func.count()).select_from(assignments).where(on_pair, taken).scalar_subquery()
    kept = sa.or_(assignments.c.slot.is_not(None), assignments.c.kind == VoteKind.ADJUDICATION)
    met = sa.exists().where(on_pair, assignments.c.account_id == rater.id, kept)
    query = sa.select(pairs.c.id).where(pairs.c.task_id == task.id, pairs.c.filled.is_(False), pairs.c.decided.is_(False))
    query = query.where(held < task.asked.raters, ~met).order_by(pairs.c.place).limit(BLOCK)
    return connection.scalars(query).all()


def free_slot(connection: sa.Connection, pair: int, slots: Sequence[int], at: datetime) -> int | None:
    """The first of these slots that is free, taken from whoever let its lease run out; None where all are held."""
    query = sa.select(assignments).where(assignments.c.pair_id == pair, assignments.c.slot.in_(slots))
    rows = {row.slot: row for row in connection.execute(query)}
    for slot in slots:
        if slot not in rows:
            return slot
    for slot, row in rows.items():
        if row.done_at is None and row.lease_until <= at:
            connection.execute(assignments.update().where(assignments.c.id == row.id).values(slot=None))
            return int(slot)
    return None


def _slot_again(connection: sa.Connection, task: Task, row: Any, at: datetime) -> bool:
    """True if a rater whose slot went to somebody else got another one."""
    slot = free_slot(connection, row.pair_id, range(1, task.asked.raters + 1), at)
    if slot is not None:
        connection.execute(assignments.update().where(assignments.c.id == row.id).values(slot=slot))
    return slot is not None


def _assigned(
    connection: sa.Connection, task: Task, rater: Account, pair: int, kind: VoteKind, slot: int | None, at: datetime
) -> Given:
    """The pair, now held by the rater; a row of theirs that lost its slot is used again."""
    whose = sa.and_(assignments.c.pair_id == pair, assignments.c.account_id == rater.id, assignments.c.kind == kind)
    known = connection.scalar(sa.select(assignments.c.id).where(whose))
    values = _shown(task, at)
    if known is None:
        owned = {"task_id": task.id, "pair_id": pair, "account_id": rater.id, "kind": kind, "slot": slot}
        made = connection.execute(assignments.insert().values(**owned, **values)).inserted_primary_key
        assert made is not None
        known = int(made[0])
    else:
        connection.execute(assignments.update().where(assignments.c.id == known).values(slot=slot, **values))
    return Given(known, pair, kind, values["token"], values["guide_version"], at)


def _shown(task: Task, at: datetime) -> dict[str, Any]:
    """What an assignment has that is opened now: a token of its own and a whole lease."""
    values: dict[str, Any] = {"token": secrets.token_urlsafe(16), "guide_version": task.scale.version, "shown_at": at}
    return values | {"lease_until": at + timedelta(seconds=task.asked.lease_seconds), "done_at": None}


def _given(row: Any) -> Given:
    return Given(row.id, row.pair_id, VoteKind(row.kind), row.token, row.guide_version, row.shown_at)


def _order(task: Task, rater: Account, number: int) -> int:
    """A number that puts pairs in a random order, another for each rater and the same on every day."""
    text = f"{task.asked.seed}/{task.id}/{rater.id}/{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
