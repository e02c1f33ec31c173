"""What the quality page says of votes. Statistics of raters belong to `golden.quality`; here are plain counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from germane.registry.telling import standing
from germane.types import Scale, Vote, VoteKind


class Counts(NamedTuple):
    """Pairs with two votes or more, and of these how many have one grade only; and how often each grade was given."""

    several: int
    agreed: int
    grades: tuple[tuple[str, int], ...]


def counts(said: Sequence[Vote], scale: Scale) -> Counts:
    """The counts of the raters' votes that stand. `golden.quality.quality(said, scale, ...)` takes the same arguments."""
    votes = standing(said, VoteKind.VOTE)
    by_pair: dict[tuple[str, str], list[int | None]] = {}
    for vote in votes:
        by_pair.setdefault((vote.query_id, vote.doc_id), []).append(vote.relevance)
    several = [grades for grades in by_pair.values() if len(grades) > 1]
    given = [(label, sum(v.relevance == i for v in votes)) for i, label in enumerate(scale.labels)]
    given.append(("cannot judge", sum(v.relevance is None for v in votes)))
    return Counts(len(several), sum(len(set(grades)) == 1 for grades in several), tuple(given))
