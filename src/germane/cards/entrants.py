"""Who is on a leaderboard: each judge once, under its own name, with its answers on gold's pairs; which pairs all share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.cards import lists
from germane.cards.admission import distinct, named
from germane.cards.gold import Pairs, joined, who
from germane.cards.segments import Segments
from germane.types import InputError, JudgeFacts, Scale, SpeedOnly

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.bool_]


class Entrant(NamedTuple):
    """A judge's answers as read, what is said of it, and the file that they came from (for messages)."""

    judgments: pa.Table
    facts: JudgeFacts = JudgeFacts()
    source: str = "judgments"


class Board(NamedTuple):
    """What all judges of one leaderboard are measured with."""

    gold: pa.Table
    scale: Scale
    experiment: lists.Experiment
    segments: Segments
    design: pa.Table | None
    level: float


class Side(NamedTuple):
    """One judge on the board. pairs: all of gold's with its answers; common: the same, open outside the common pairs.

    fine: the common pairs by its expected gains on a scale as fine as these, None without probabilities. scores, expected:
    lists by its grades and by its expected gains, None where nothing asks for them.
    """

    name: str
    judge: str
    fingerprint: str
    guide: str
    entrant: Entrant
    pairs: Pairs
    common: Pairs
    fine: tuple[Pairs, Scale] | None = None
    scores: lists.Values | None = None
    expected: lists.Values | None = None


def apart(entrants: Sequence[Entrant]) -> tuple[list[Entrant], tuple[SpeedOnly, ...]]:
    """Judges to compare, and those of whom only the speed says something. Raises: InputError for no judge to compare."""
    real, others = [], []
    for each in entrants:
        made_by = distinct(each.judgments, "judge", "fingerprint")
        judge, fingerprint = made_by[0] if made_by else ("", "")
        if each.facts.random_weights or fingerprint.startswith("random:"):
            others.append(SpeedOnly(judge, fingerprint, each.facts, "random weights"))
        elif fingerprint.startswith("fake:"):
            others.append(SpeedOnly(judge, fingerprint, each.facts, "a fake"))
        else:
            real.append(each)
    if not real:
        held = "only fakes and judges of random weights" if others else "no judgments"
        raise InputError(f"{held} were given: name a file of judgments by a judge that is to be compared with people")
    return real, tuple(others)


def as_judgments(one: pa.Table, gold: pa.Table, scale: Scale) -> pa.Table:
    """Adjudicated gold as judgments again: `adjudicate` keeps ids and grades alone where pairs had several raters."""
    import pyarrow as pa

    if "judge" in one.column_names:
        return one
    ((guide,), *_) = distinct(gold, "guide_version")
    for column, value in (("judge", "human:gold"), ("fingerprint", ""), ("scale", scale.name), ("guide_version", guide)):
        one = one.append_column(column, pa.repeat(value, one.num_rows))
    return one


def enter(board: Board, gold: pa.Table, entrant: Entrant) -> Side:
    """A judge with its answers on gold's pairs. Raises: InputError, naming its file, where they cannot be compared."""
    try:
        judge, fingerprint, guide, _ = who(gold, entrant.judgments, board.scale)
        pairs = joined(board.gold, entrant.judgments, board.design, len(board.scale.labels))
    except InputError as problem:
        whose = "" if str(problem).startswith(("gold", "the gold")) else f"{entrant.source}: "  # gold is no judge's fault
        raise InputError(f"{whose}{problem}") from None
    if not (~pairs.targeted & (pairs.other >= 0)).any():
        raise InputError(
            f"{entrant.source}: judge {judge!r} answered none of {int((~pairs.targeted).sum()):,} gold pairs: are query_id "
            "and doc_id the same in both?"
        )
    return Side(judge, judge, fingerprint, guide, entrant, pairs, pairs)


def told_apart(sides: Sequence[Side]) -> list[Side]:
    """The judges, each under a name that no other has. Raises: InputError for a judge that comes twice."""
    seen: dict[tuple[str, str, str], Side] = {}
    for side in sides:
        key = (side.judge, side.fingerprint, side.guide)
        if key in seen:
            files = f"{seen[key].entrant.source} and {side.entrant.source}"
            raise InputError(f"{files} are both of judge {named(side.judge, side.fingerprint)}: give each judge once")
        seen[key] = side
    judges = [side.judge for side in sides]
    made = judges
    for digits in (8, 16, 64, None):
        if len(set(made)) < len(made):
            longer = [f"{side.judge} ({side.fingerprint[:digits] or 'no fingerprint'})" for side in sides]
            made = [name if judges.count(name) == 1 else more for name, more in zip(judges, longer, strict=True)]
    if len(set(made)) < len(made):
        made = [f"{name} under guide {side.guide or 'unnamed'}" for name, side in zip(made, sides, strict=True)]
    return [side._replace(name=name) for side, name in zip(sides, made, strict=True)]


def shared(sides: Sequence[Side]) -> Rows:
    """(n,) gold pairs of the random part that every judge answered. Raises: InputError naming who leaves none."""
    rows = ~sides[0].pairs.targeted
    for at, side in enumerate(sides):
        left = rows & (side.pairs.other >= 0)
        if not left.any():
            before = ", ".join(repr(each.name) for each in sides[:at][:3]) + (" and others" if at > 3 else "")
            raise InputError(
                f"judge {side.name!r} ({side.entrant.source}) has no answered pair in common with {before}: leave it out, or "
                "let it judge the same pairs"
            )
        rows = left
    return rows


def tiers_of(sides: Sequence[Side], above: Mapping[str, str]) -> dict[int, int]:
    """Which judge each one should keep up with: as told, else its nearest teacher on the board."""
    found: dict[int, int] = {}
    for at, side in enumerate(sides):
        facts = side.entrant.facts
        taught = [i for f in facts.lineage for i, other in enumerate(sides) if f == other.fingerprint and i != at]
        taught += [i for n in facts.taught_by for i, other in enumerate(sides) if n in (other.name, other.judge) and i != at]
        if taught:
            found[at] = taught[0]
    for low, high in above.items():
        pair = tuple(_numbered(sides, each, f"--above {low}={high}") for each in (low, high))
        if pair[0] == pair[1]:
            raise InputError(f"--above {low}={high}: a judge cannot be above itself")
        found[pair[0]] = pair[1]
    return found


def _numbered(sides: Sequence[Side], name: str, where: str) -> int:
    for field in ("name", "judge", "fingerprint"):
        here = [at for at, side in enumerate(sides) if getattr(side, field) == name]
        if len(here) == 1:
            return here[0]
    known = ", ".join(side.name for side in sides)
    raise InputError(f"{where}: no judge {name!r} is on the board: there are {known}")
