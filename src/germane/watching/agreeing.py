"""How far the judge agrees with people on fresh golden samples, day by day and week by week, and how far people do.

Every vote is held against the judge's grade of the day, and every two votes of a pair against each other: people among
themselves are the ceiling. Weights are the requests that a pair stands for by its odds: figures are of the documents that
were shown. A pair without a vote says nothing; those of the same day and grade stand for it. Each guide version's votes do so
by themselves: one under another version is none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations
from typing import NamedTuple

from germane.monitor import drift
from germane.registry import voted
from germane.registry.database import Registry
from germane.registry.voted import Asked, Said
from germane.types import Estimate

MEASURES = ("exact", "within one", "kappa", "lean", "gain")
NONE_YET = "no votes yet"


@dataclass(frozen=True)
class Agreed:
    """A period's agreement between one judge and people under one guide version; no number where there is none.

    period: a day, a week (2026-W10), or all. pairs: that people judged; votes: of them. exact, within_one: shares of documents
    shown; kappa: quadratic weights; lean: judge minus people, in grades; gain: in gain, 0 to 1. people_exact, people_kappa: of
    two people on the same pair, the ceiling.
    """

    period: str
    judge: str
    fingerprint: str
    guide: str
    pairs: int
    votes: int
    exact: Estimate | None = None
    within_one: Estimate | None = None
    kappa: Estimate | None = None
    lean: Estimate | None = None
    gain: Estimate | None = None
    people_exact: Estimate | None = None
    people_kappa: Estimate | None = None


@dataclass(frozen=True)
class Agreement:
    """What fresh golden samples say so far. drawn: pairs put up; judged: with a vote; unsure: votes without a grade.

    tasks: those that raters are given. guides: of all days together, by guide version. notes: what to know.
    """

    drawn: int
    judged: int
    votes: int
    unsure: int
    tasks: tuple[str, ...]
    guides: tuple[Agreed, ...]
    weeks: tuple[Agreed, ...]
    days: tuple[Agreed, ...]
    notes: tuple[str, ...]


class _Vote(NamedTuple):
    """A vote beside what the judge said of its pair on a day. weight: of the pair, shared by its votes of one guide version."""

    of: Asked
    who: int
    grade: int
    guide: str
    weight: float


def agreement(
    registry: Registry, *, first: str | None = None, last: str | None = None, by_day: bool = True, level: float = 0.95
) -> Agreement:
    """The judge's agreement with people on the pairs that days put up. first, last: days from and up to which.

    by_day: with a row for each day too, which is most of the work.
    """
    asked, said = voted.asked(registry, first=first, last=last), voted.said(registry, first=first, last=last)
    return of(asked, said, by_day=by_day, level=level)


def of(asked: Sequence[Asked], said: Sequence[Said], *, by_day: bool = True, level: float = 0.95) -> Agreement:
    """The same, from pairs and votes."""
    graded = [vote for vote in said if vote.relevance is not None]
    known = {vote.pair_id for vote in graded}
    votes = _beside(asked, graded)
    notes = [] if votes else [NONE_YET if asked else "no pairs were put up yet: [watch] golden says how many a day"]
    left = len(asked) - sum(one.pair_id in known for one in asked)
    if votes and left:
        notes.append(f"{left:,} of {len(asked):,} pairs wait for a vote: those of their day and grade stand for them")
    return Agreement(
        len(asked),
        len(asked) - left,
        len(graded),
        len(said) - len(graded),
        tuple(dict.fromkeys(one.task for one in asked)),
        tuple(_by(votes, lambda _: "all", level)),
        tuple(_by(votes, week, level)),
        tuple(_by(votes, str, level)) if by_day else (),
        tuple(notes),
    )


def week(day: str) -> str:
    """The ISO week of a day.

    >>> week("2026-03-02")
    '2026-W10'
    """
    year, number, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{number:02d}"


def weights(asked: Sequence[Asked], known: Iterable[int]) -> dict[tuple[str, int], float]:
    """(day, pair) -> the requests that it stands for, of pairs that people judged: by its odds, and those of having a vote.

    Source: weighting within response homogeneity groups, Särndal, Swensson, Wretman (1992), section 15.6.2; a day's pairs of
    one grade are a group.
    """
    known = set(known)
    drawn = Counter((one.date, one.relevance) for one in asked)
    judged = Counter((one.date, one.relevance) for one in asked if one.pair_id in known)
    found = {}
    for one in asked:
        if one.pair_id in known:
            group = one.date, one.relevance
            found[one.date, one.pair_id] = one.weight / one.chance * drawn[group] / judged[group]
    return found


def _beside(asked: Sequence[Asked], said: Sequence[Said]) -> list[_Vote]:
    """Votes beside the judge; each guide version's stand for all pairs, whatever was said under another."""
    of_guide: dict[str, dict[int, list[Said]]] = defaultdict(lambda: defaultdict(list))
    for vote in said:
        of_guide[vote.guide_version][vote.pair_id].append(vote)
    made = []
    for guide, by_pair in of_guide.items():
        weight = weights(asked, by_pair)
        for one in asked:
            mine = by_pair.get(one.pair_id, [])
            for vote in mine:
                assert vote.relevance is not None
                each = weight[one.date, one.pair_id] / len(mine)
                made.append(_Vote(one, vote.account_id, vote.relevance, guide, each))
    return made


def _by(votes: Sequence[_Vote], when: Callable[[str], str], level: float) -> Iterable[Agreed]:
    """A row for each period, judge and guide version (so of one scale), in the order of periods."""
    groups: dict[tuple[str, str, str, str], list[_Vote]] = defaultdict(list)
    for vote in votes:
        groups[when(vote.of.date), vote.of.judge, vote.of.fingerprint, vote.guide].append(vote)
    for key in sorted(groups, key=lambda key: key[0]):
        mine = groups[key]
        pairs = {(vote.of.date, vote.of.pair_id) for vote in mine}
        made = Agreed(*key, len(pairs), len(mine))
        yield replace(made, **_judge(mine, level), **_people(mine, level))  # type: ignore[arg-type]


def _judge(votes: Sequence[_Vote], level: float) -> dict[str, Estimate]:
    rows = [(vote.of.query, vote.grade, vote.of.relevance, vote.weight) for vote in votes]
    found = _agreed(rows, votes[0].of.gains, level)
    return {name.replace(" ", "_"): found[name] for name in MEASURES if name in found}


def _people(votes: Sequence[_Vote], level: float) -> dict[str, Estimate]:
    """Two people on the same pair, either of them first: neither is the judge of the other."""
    of_pair: dict[tuple[str, int], list[_Vote]] = defaultdict(list)
    for vote in votes:
        of_pair[vote.of.date, vote.of.pair_id].append(vote)
    rows, pairs = [], 0
    for mine in of_pair.values():
        both = list(combinations(mine, 2))
        pairs += bool(both)
        for one, two in both:
            weight = one.weight * len(mine) / (2 * len(both))
            rows += [(one.of.query, one.grade, two.grade, weight), (one.of.query, two.grade, one.grade, weight)]
    found = _agreed(rows, votes[0].of.gains, level) if rows else {}
    return {f"people_{name}": replace(found[name], n=pairs) for name in ("exact", "kappa") if name in found}


def _agreed(rows: Sequence[tuple[str, int, int, float]], gains: Sequence[float], level: float) -> dict[str, Estimate]:
    """Measure -> agreement of the third with the second: query, grade, the other's grade, weight."""
    queries, people, judge, weight = (list(column) for column in zip(*rows, strict=True))
    one, worth = [""] * len(rows), [gain / max(gains) for gain in gains]
    found = drift.agreement(one, one, queries, people, judge, weights=weight, gains=worth, level=level)
    return {row.measure: row.estimate for row in found}
