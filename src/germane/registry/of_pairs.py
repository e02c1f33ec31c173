"""What is kept of one pair: every dated answer of a judge to an anchor, and what people said of it, without their names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from germane.golden.rules import standing
from germane.registry.database import Registry
from germane.registry.days import steady
from germane.registry.tables import accounts, anchors, days, pairs, tasks, votes
from germane.text.normal import normal_form
from germane.types import Vote, VoteKind


class DatedAnswer(NamedTuple):
    """What the judge said of an anchor on a day, past the store."""

    date: str
    query_id: str
    doc_id: str
    relevance: int | None
    outcome: str
    fingerprint: str


class Opinion(NamedTuple):
    """What a person said of a pair. rater: a number in place of a name. stands: it was not changed or withdrawn since."""

    task: str
    kind: str
    rater: str
    relevance: int | None
    grade: str
    guide_version: str
    at: datetime
    reason: str
    note: str
    withdrawn: bool
    stands: bool


class PeoplesPair(NamedTuple):
    """A pair of a task. filled: every vote that was asked for is there; disputed: a third person is to decide; decided: has."""

    task: str
    query_id: str
    doc_id: str
    query: str
    filled: bool
    disputed: bool
    decided: bool


def dated_answers(registry: Registry, ids: Collection[tuple[str, str]], first: str, last: str) -> list[DatedAnswer]:
    """Every answer to anchors of these ids (query_id, doc_id) from the first to the last day, in order of date."""
    names = [anchors.c[name] for name in DatedAnswer._fields[1:]]
    asked = sa.select(days.c.date, *names).join(anchors, anchors.c.day_id == days.c.id).order_by(days.c.date)
    asked = asked.where(days.c.date.between(first, last))
    found = []
    with steady(registry), registry.reading() as connection:
        for query, doc in ids:
            rows = connection.execute(asked.where(anchors.c.query_id == query, anchors.c.doc_id == doc))
            found += [DatedAnswer(*row) for row in rows]
    return sorted(found)


def peoples_pairs(registry: Registry, query: str, query_id: str, doc_id: str) -> list[tuple[int, PeoplesPair]]:
    """The pairs of tasks that are this one, with their numbers: the same document under the same query, by its text or id."""
    columns = [tasks.c.name, *(pairs.c[name] for name in PeoplesPair._fields[1:])]
    asked = sa.select(pairs.c.id, *columns).join(tasks, tasks.c.id == pairs.c.task_id).where(pairs.c.doc_id == doc_id)
    wanted = normal_form(query)
    with steady(registry), registry.reading() as connection:
        rows = [(int(row[0]), PeoplesPair(*row[1:])) for row in connection.execute(asked.order_by(pairs.c.id))]
    return [(number, p) for number, p in rows if (normal_form(p.query) == wanted if query else p.query_id == query_id)]


def opinions(registry: Registry, numbers: Collection[int]) -> list[Opinion]:
    """Everything that people said of pairs, oldest first, changed and withdrawn votes too."""
    columns = (tasks.c.name.label("task"), tasks.c.scale, pairs.c.query_id, pairs.c.doc_id, accounts.c.id.label("who"), votes)
    asked = sa.select(*columns).join(pairs, pairs.c.id == votes.c.pair_id).join(tasks, tasks.c.id == votes.c.task_id)
    asked = asked.join(accounts, accounts.c.id == votes.c.account_id).where(votes.c.pair_id.in_(list(numbers)))
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(asked.order_by(votes.c.id)).all()
    said = [_vote(row) for row in rows]
    counted = {id(vote) for task in {row.task for row in rows} for vote in _standing(task, rows, said)}
    return [_opinion(row, id(vote) in counted) for row, vote in zip(rows, said, strict=True)]


def rater(number: int) -> str:
    """What stands in place of a rater's name wherever others than the task's owners may read.

    >>> rater(3)
    'rater 3'
    """
    return f"rater {number}"


def _standing(task: str, rows: Sequence[Any], said: list[Vote]) -> list[Vote]:
    return standing([vote for row, vote in zip(rows, said, strict=True) if row.task == task], across_guides=True)


def _vote(row: Any) -> Vote:
    named = {name: getattr(row, name) for name in ("query_id", "doc_id", "relevance", "guide_version", "at", "withdrawn")}
    return Vote(rater=rater(row.who), kind=VoteKind(row.kind), **named)


def _opinion(row: Any, stands: bool) -> Opinion:
    labels = row.scale["labels"]
    grade = "" if row.relevance is None else str(labels[row.relevance]) if row.relevance < len(labels) else str(row.relevance)
    said = (row.guide_version, row.at, row.reason, row.note, bool(row.withdrawn), stands)
    return Opinion(row.task, str(row.kind), rater(row.who), row.relevance, grade, *said)
