"""Is the golden set in good health? What the registry's votes say: how many, by how many raters, agreement, age, leaks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

import sqlalchemy as sa

from germane.golden.quality import quality
from germane.golden.results import Quality
from germane.registry import accounts, telling
from germane.registry import tasks as asking
from germane.registry.database import Registry
from germane.registry.days import steady
from germane.registry.of_pairs import rater
from germane.registry.tables import pairs, tasks, votes
from germane.registry.tasks import Task, TaskKind
from germane.report import golden as report
from germane.text import query_digest
from germane.types import Estimate, InputError, Vote, VoteKind
from germane.web.boards.places import Place

LEAST = 20  # pairs that raters must have for figures of their own
SHOWN = 5  # examples of a leak


@dataclass(frozen=True)
class GoldenFigure:
    """A figure of votes. dimension: all, rater, two raters, week, stratum or guide version; name: of it."""

    dimension: str
    name: str
    statistic: str
    found: Estimate


@dataclass(frozen=True)
class GoldenCover:
    """A stratum's pairs: how many have a vote, and how many have those of two raters."""

    stratum: str
    pairs: int
    judged: int
    twice: int


@dataclass(frozen=True)
class GoldenMonth:
    """Votes that stand, by the month in which they were given."""

    month: str
    votes: int


@dataclass(frozen=True)
class GoldenGuide:
    """A version of the guide: since when it is shown, and the votes that stand under it."""

    version: str
    since: str
    votes: int


@dataclass(frozen=True)
class GoldenRater:
    """A rater, by number. right: of `controls`, hidden pairs with a known grade. flags: what stands out."""

    rater: str
    votes: int
    cannot: int
    controls: int
    right: int
    latest: str
    flags: list[str]


@dataclass(frozen=True)
class GoldenTask:
    """A task of the registry. judged: pairs with a vote; twice: with those of two raters or more; filled: with all that were
    asked for; waiting: for adjudication, of which `discussed` are. age: days since a vote, the median of those that stand.

    answer: in a sentence. figures: with intervals over queries. n of each: what it counts.
    """

    name: str
    kind: str
    scale: str
    guide_version: str
    pairs: int
    judged: int
    twice: int
    filled: int
    waiting: int
    discussed: int
    decided: int
    controls: int
    votes: int
    raters: int
    first: str
    last: str
    age: float | None
    answer: str
    figures: list[GoldenFigure]
    people: list[GoldenRater]
    strata: list[GoldenCover]
    guides: list[GoldenGuide]
    months: list[GoldenMonth]
    notes: list[str]


@dataclass(frozen=True)
class GoldenLeak:
    """Golden pairs, or their queries, that occur where they must not. number: how many of `of`."""

    what: str
    against: str
    number: int
    of: int
    examples: list[str]


@dataclass(frozen=True)
class GoldenHealth:
    """The golden set's health. tasks: golden ones first. leaks: found; checked: what was looked at, in words."""

    tasks: list[GoldenTask]
    leaks: list[GoldenLeak]
    checked: list[str]
    notes: list[str]


def health(registry: Registry, place: Place) -> GoldenHealth:
    """The health of every task that people judge."""
    found = asking.listed(registry)
    found.sort(key=lambda task: (task.kind != TaskKind.GOLDEN, task.id))
    made = [_task(registry, task) for task in found]
    leaks, checked = _leaks(registry, place) if found else ([], [])
    notes = [note for task in found for note in telling.overrides_of(registry, task)]
    return GoldenHealth(made, leaks, checked, notes)


def table(found: GoldenHealth) -> Iterable[list[Any]]:
    """Every figure as a row."""
    yield ["task", "dimension", "name", "statistic", "value", "low", "high", "se", "n", "level"]
    for task in found.tasks:
        for f in task.figures:
            ends = (getattr(f.found, name) for name in ("value", "low", "high", "se", "n", "level"))
            yield [task.name, f.dimension, f.name, f.statistic, *(x if abs(x) < float("inf") else None for x in ends)]


# --- a task ------------------------------------------------------------------------------------------------------------

_known: dict[tuple[Any, ...], tuple[GoldenTask, datetime | None]] = {}
_one = threading.Lock()


def _task(registry: Registry, task: Task) -> GoldenTask:
    """A task as it stands; what its votes say is counted once for each number of them: they are only added to."""
    seen = telling.progress(registry, task)
    with steady(registry), registry.reading() as connection:
        last = connection.scalar(sa.select(sa.func.max(votes.c.id)).where(votes.c.task_id == task.id)) or 0
    key = (str(registry.engine.url), task.id, task.scale.version, last, seen.pairs, seen.controls)
    with _one:
        if key not in _known:
            if len(_known) > 64:
                _known.clear()
            _known[key] = _counted(registry, task)
        made, middle = _known[key]
    age = None if middle is None else round((registry.clock() - middle).total_seconds() / 86_400, 1)
    same = {name: getattr(seen, name) for name in ("pairs", "filled", "waiting", "discussed", "decided", "controls")}
    return replace(made, age=age, **same)


def _counted(registry: Registry, task: Task) -> tuple[GoldenTask, datetime | None]:
    """(what the votes of a task say, the median moment of those that stand)."""
    names = {account.name: rater(account.id) for account in accounts.listed(registry)}
    said = [vote._replace(rater=names.get(vote.rater, vote.rater)) for vote in telling.votes_of(registry, task)]
    now = telling.standing(said, VoteKind.VOTE)
    given = sorted(vote.at for vote in now)
    middle = datetime.fromtimestamp(median(at.timestamp() for at in given), given[0].tzinfo) if given else None
    strata = _strata(registry, task, now)
    people = {vote.rater for vote in now}
    guides = Counter(vote.guide_version for vote in now)
    shown = {version: f"{at:%Y-%m-%d}" for version, _, at in asking.versions(registry, task)}
    found, why = _quality(registry, task, said)
    made = GoldenTask(
        name=task.name,
        kind=str(task.kind),
        scale=task.scale.name,
        guide_version=task.scale.version,
        pairs=0,
        judged=sum(s.judged for s in strata),
        twice=sum(s.twice for s in strata),
        filled=0,
        waiting=0,
        discussed=0,
        decided=0,
        controls=0,
        votes=len(now),
        raters=len(people),
        first=f"{given[0]:%Y-%m-%d}" if given else "",
        last=f"{given[-1]:%Y-%m-%d}" if given else "",
        age=None,
        answer=why if found is None else report.answer(found),
        figures=[] if found is None else _figures(found),
        people=_people(registry, task, said, found),
        strata=strata,
        guides=[GoldenGuide(v, shown.get(v, ""), guides.get(v, 0)) for v in dict.fromkeys([*shown, *guides])],
        months=[GoldenMonth(month, n) for month, n in sorted(Counter(f"{at:%Y-%m}" for at in given).items())],
        notes=[] if found is None else list(found.notes),
    )
    return made, middle


def _quality(registry: Registry, task: Task, said: Sequence[Vote]) -> tuple[Quality | None, str]:
    try:
        known = telling.controls_of(registry, task)
        return quality(said, task.scale, controls=known or None, least=LEAST, period="month"), ""
    except InputError as problem:
        return None, f"Nothing can be said of agreement yet: {problem}."


def _figures(found: Quality) -> list[GoldenFigure]:
    made = [GoldenFigure("all", "all", name, e) for name, e in found.found.items()]
    made += [GoldenFigure(part.dimension, part.name, name, e) for part in found.parts for name, e in part.found.items()]
    made += [GoldenFigure("rater", who.name, name, e) for who in found.people for name, e in who.found.items()]
    for two in found.rater_pairs:
        made += [GoldenFigure("two raters", f"{two.a}, {two.b}", name, e) for name, e in two.found.items()]
    return made


def _people(registry: Registry, task: Task, said: Sequence[Vote], found: Quality | None) -> list[GoldenRater]:
    known = telling.controls_of(registry, task)
    flags = {} if found is None else {who.name: list(who.flags) for who in found.people}
    by_name: dict[str, list[Vote]] = {}
    for vote in telling.standing(said, VoteKind.VOTE, VoteKind.CONTROL):
        by_name.setdefault(vote.rater, []).append(vote)
    made = []
    for name, mine in sorted(by_name.items(), key=lambda item: (len(item[0]), item[0])):
        checks = [vote for vote in mine if vote.kind == VoteKind.CONTROL]
        right = sum(known.get((vote.query_id, vote.doc_id)) == vote.relevance for vote in checks)
        plain = [vote for vote in mine if vote.kind == VoteKind.VOTE]
        cannot = sum(vote.relevance is None for vote in plain)
        latest = f"{max(vote.at for vote in mine):%Y-%m-%d}"
        made.append(GoldenRater(name, len(plain), cannot, len(checks), right, latest, flags.get(name, [])))
    return made


def _strata(registry: Registry, task: Task, now: Sequence[Vote]) -> list[GoldenCover]:
    """How far the pairs of each stratum are judged."""
    raters = Counter((vote.query_id, vote.doc_id) for vote in now)
    asked = sa.select(pairs.c.stratum, pairs.c.query_id, pairs.c.doc_id)
    asked = asked.where(pairs.c.task_id == task.id, pairs.c.control.is_(None))
    held: dict[str, list[int]] = {}
    with steady(registry), registry.reading() as connection:
        for stratum, query, doc in connection.execute(asked):
            held.setdefault(stratum, []).append(raters.get((query, doc), 0))
    return [GoldenCover(s, len(n), sum(x > 0 for x in n), sum(x > 1 for x in n)) for s, n in sorted(held.items())]


# --- leaks -------------------------------------------------------------------------------------------------------------


def _leaks(registry: Registry, place: Place) -> tuple[list[GoldenLeak], list[str]]:
    """Golden pairs among audits', and golden queries that the judge learned from; and what was looked at."""
    golden = sa.select(pairs.c.query_id, pairs.c.doc_id, pairs.c.query).join(tasks, tasks.c.id == pairs.c.task_id)
    golden = golden.where(pairs.c.control.is_(None))
    with steady(registry), registry.reading() as connection:
        mine = connection.execute(golden.where(tasks.c.kind == str(TaskKind.GOLDEN))).all()
        others = {(q, d) for q, d, _ in connection.execute(golden.where(tasks.c.kind == str(TaskKind.AUDIT)))}
    found, checked = [], [f"{len(mine):,} golden pairs against {len(others):,} pairs of audits, by their ids"]
    both = [f"{query}, {doc}" for id_, doc, query in mine if (id_, doc) in others]
    if both:
        found.append(GoldenLeak("pairs that an audit has too", "audit tasks", len(both), len(mine), both[:SHOWN]))
    learned, name = _learned(place)
    if learned:
        queries = {query_digest(query): query for _, _, query in mine if query}
        hits = [query for digest, query in queries.items() if digest in learned]
        checked.append(f"{len(queries):,} golden queries against {len(learned):,} that the judge learned from, by their words")
        if hits:
            found.append(GoldenLeak("queries that the judge learned from", name, len(hits), len(queries), hits[:SHOWN]))
    return found, checked


def _learned(place: Place) -> tuple[frozenset[str], str]:
    """Digests of the queries that the project's judge learned from."""
    if place.judge is None:
        return frozenset(), ""
    from germane.judges.folder import trained_on
    from germane.judges.loading import locate

    try:
        return frozenset(trained_on(locate(str(place.judge)))), place.judge.name
    except InputError:
        return frozenset(), ""
