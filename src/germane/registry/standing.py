"""Where a pair stands: which votes count, whether they are all there, and whether a third person is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log2
from typing import Any

import sqlalchemy as sa

from germane.golden.rules import decide, rule_of
from germane.registry.tables import accounts, pairs, votes
from germane.registry.tasks import Task
from germane.types import Scale, VoteKind


def standing_votes(connection: sa.Connection, pair_ids: Sequence[int], *kinds: VoteKind) -> list[Any]:
    """The latest vote of each person on each of these pairs, unless it was withdrawn; with `rater`, the account's name."""
    latest = (
        sa.select(sa.func.max(votes.c.id))
        .where(votes.c.pair_id.in_(pair_ids), votes.c.kind.in_(kinds or tuple(VoteKind)))
        .group_by(votes.c.pair_id, votes.c.account_id, votes.c.kind)
    )
    query = sa.select(votes, accounts.c.name.label("rater")).join(accounts, accounts.c.id == votes.c.account_id)
    query = query.where(votes.c.id.in_(latest), votes.c.withdrawn.is_(False)).order_by(votes.c.id)
    return list(connection.execute(query))


def refresh(connection: sa.Connection, task: Task, pair: int) -> None:
    """Write down where a pair stands after its votes changed."""
    rows = standing_votes(connection, [pair])
    said = [row.relevance for row in rows if row.kind == VoteKind.VOTE]
    decided = any(row.kind == VoteKind.ADJUDICATION for row in rows)
    filled = len(said) >= task.asked.raters
    bar = task.asked.entropy_bar
    found = None if bar is None else connection.scalar(sa.select(pairs.c.entropy).where(pairs.c.id == pair))
    third = differ(said, task.scale, task.asked.adjudicate) or unsure(found, bar)
    values = {"filled": filled, "decided": decided, "disputed": filled and third and not decided}
    connection.execute(pairs.update().where(pairs.c.id == pair).values(**values))


def unsure(entropy: float | None, bar: float | None) -> bool:
    """True for a pair of which a judge was so unsure that a third person decides it, whatever the votes.

    >>> unsure(1.2, 1.0), unsure(0.4, 1.0), unsure(None, 1.0), unsure(1.2, None)
    (True, False, False, False)
    """
    return bar is not None and entropy is not None and entropy >= bar


def differ(grades: Sequence[int | None], scale: Scale, rule: str) -> bool:
    """True where people's votes need a third person: any disagreement, or only no strict majority (rule "majority").

    >>> from germane.scales import ESCI
    >>> differ([2, 2, 1], ESCI, "any"), differ([2, 2, 1], ESCI, "majority"), differ([None, None], ESCI, "majority")
    (True, False, True)
    """
    return decide(grades, scale, rule_of(rule))[0] is None


def entropy(grades: Iterable[int | None]) -> float:
    """How far votes are spread over the grades, in bits; an abstention is a grade of its own.

    >>> entropy([1, 1, 2, 2]), entropy([3, 3])
    (1.0, 0.0)
    """
    counts = Counter(grades).values()
    total = sum(counts)
    return -sum(n / total * log2(n / total) for n in counts) + 0.0 if total else 0.0
