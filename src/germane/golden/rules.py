"""From several votes to one grade: which votes count, which rule decides, and when a pair needs an adjudicator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, get_args

from germane.types import InputError, Scale, Vote, VoteKind

Rule = Literal["majority", "median", "unanimous"]
RULES: tuple[str, ...] = get_args(Rule)
MEANING = {
    "majority": "the grade that more than half of all who were asked gave; who could not judge was asked",
    "median": "the middle grade of those who gave one; of an even number the middle two must be one grade, and more than half "
    "of all who were asked must have given one",
    "unanimous": "the grade that everybody who was asked gave",
}
"""What each rule is, in words. An adjudication stands above all of them."""


class State(StrEnum):
    """What became of a pair."""

    OPEN = "open"  # fewer votes than asked for
    GRADED = "graded"
    CANNOT_JUDGE = "cannot judge"  # said by everybody who was asked, or by an adjudicator
    DISPUTED = "needs adjudication"


class Settled(NamedTuple):
    """One pair's grade. how: adjudicated, or the rule's name. note: how the votes fell, or the adjudicator's reason."""

    state: State
    relevance: int | None
    how: str
    note: str = ""


def standing(votes: Iterable[Vote], *, across_guides: bool = False) -> list[Vote]:
    """The votes that count: of each rater, pair, guide version and role the latest, unless it was withdrawn; in their order.

    across_guides: a later vote under another guide version takes an earlier one's place. Of two at the same moment the later row counts. A rater's vote and adjudication of one pair are two roles.

    >>> from datetime import datetime, timedelta
    >>> first = Vote("q", "d", "ann", 1, "g", datetime(2026, 5, 4))
    >>> undone = first._replace(at=first.at + timedelta(seconds=9), withdrawn=True)
    >>> standing([first]), standing([first, undone])[:1] == []
    ([Vote(query_id='q', doc_id='d', rater='ann', relevance=1, guide_version='g', at=datetime.datetime(2026, 5, 4, 0, 0), kind=<VoteKind.VOTE: 'vote'>, reason='', note='', seconds=None, stratum='', withdrawn=False, queued=False)], True)
    """  # noqa: E501 (a row is shown whole)
    last: dict[tuple[str, ...], Vote] = {}
    for vote in sorted(votes, key=lambda vote: vote.at):
        role = "adjudication" if vote.kind == VoteKind.ADJUDICATION else "vote"
        key = (vote.query_id, vote.doc_id, vote.rater, "" if across_guides else vote.guide_version, role)
        last.pop(key, None)
        last[key] = vote
    return [vote for vote in last.values() if not vote.withdrawn]


def decide(votes: Sequence[int | None], scale: Scale, rule: str = "majority") -> tuple[int | None, str]:
    """The grade of these answers by a rule, None where it gives none; and how the votes fell, if they differ.

    votes: one of each person who was asked; None: could not judge.
    Raises: InputError for a rule that does not exist.

    >>> from germane.scales import get
    >>> decide([3, 3, None], get("esci")), decide([3, 2], get("esci"))
    ((3, 'E 2, no answer 1'), (None, 'no majority: S 1, E 1'))
    >>> decide([0, 2, 3], get("esci"), "median"), decide([2, 2], get("esci"), "unanimous")
    ((2, 'I 1, S 1, E 1'), (2, ''))
    """
    if rule not in RULES:
        raise InputError(f"rule {rule!r}: expected one of {', '.join(RULES)}")
    if not votes:
        return None, "nobody was asked"
    counts = Counter(votes)
    order = sorted(counts, key=lambda vote: (vote is None, vote or 0))
    fell = ", ".join(f"{'no answer' if v is None else scale.labels[v]} {counts[v]}" for v in order)
    grade = _grade(votes, counts, rule)
    if grade is None:
        return None, f"no {'majority' if rule == 'majority' else 'grade by ' + rule}: {fell}"
    return grade, fell if len(counts) > 1 else ""


def _grade(votes: Sequence[int | None], counts: Counter[int | None], rule: str) -> int | None:
    if rule == "median":
        middle = sorted(vote for vote in votes if vote is not None)
        if 2 * len(middle) <= len(votes):
            return None
        low, high = middle[(len(middle) - 1) // 2], middle[len(middle) // 2]
        return low if low == high else None
    grade, most = counts.most_common(1)[0]
    enough = most == len(votes) if rule == "unanimous" else 2 * most > len(votes)
    return grade if enough else None


def settle(votes: Iterable[Vote], raters_per_pair: int, rule: str, scale: Scale) -> Settled:
    """What became of one pair. votes: all rows of it, of one guide version; controls do not count.

    The latest adjudication wins, whatever the votes. Else the rule decides once as many raters as asked have voted: a
    pair that all of them could not judge has no grade and needs nobody; anything else without a grade is disputed, and so
    is a pair that is queued for a third person whatever the votes.
    """
    kept = [vote for vote in standing(votes) if vote.kind != VoteKind.CONTROL]
    above = [vote for vote in kept if vote.kind == VoteKind.ADJUDICATION]
    if above:
        last = above[-1]
        state = State.CANNOT_JUDGE if last.relevance is None else State.GRADED
        return Settled(state, last.relevance, "adjudicated", last.reason or last.note)
    answers = [vote.relevance for vote in kept]
    queued = any(vote.queued for vote in kept)
    if len(answers) < max(raters_per_pair, 1):
        return Settled(State.OPEN, None, rule, f"{len(answers)} of {raters_per_pair} votes")
    if not queued and not any(answer is not None for answer in answers):
        reasons = sorted({vote.reason for vote in kept if vote.reason})
        return Settled(State.CANNOT_JUDGE, None, rule, "; ".join(reasons) or f"no answer {len(answers)}")
    grade, note = decide(answers, scale, rule)
    if queued:
        return Settled(State.DISPUTED, None, rule, "a judge was unsure of it, and no third person has decided yet")
    return Settled(State.DISPUTED if grade is None else State.GRADED, grade, rule, note)


def rule_of(adjudicate: str) -> str:
    """The rule that leaves open what a task sends to a third person: "any" disagreement, or only no "majority"."""
    return "unanimous" if adjudicate == "any" else adjudicate


def needs_adjudication(votes: Iterable[Vote], raters_per_pair: int, rule: str, scale: Scale) -> bool:
    """True for a pair that has all its votes and no grade by the rule, and no adjudication yet: it goes into the queue."""
    return settle(votes, raters_per_pair, rule, scale).state == State.DISPUTED
