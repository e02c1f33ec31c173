"""What people are asked: a task with its scale, guide and pairs. Golden and audit tasks are kept apart."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from germane.golden import leaks
from germane.registry.database import Registry, record
from germane.registry.tables import guides, pairs, tasks, votes
from germane.types import InputError, Refusal, Scale

if TYPE_CHECKING:
    import pyarrow as pa

OVERRIDE = "golden-audit"
LOADED = "task loaded"  # in the log
ODDS = "inclusion_probability"
_CHUNK = 500  # rows a statement
_WORDS = ("query_id", "doc_id", "query", "text")


class TaskKind(StrEnum):
    """Golden pairs teach, check and calibrate judges; an audit corrects one in one experiment, and must be new to it."""

    GOLDEN = "golden"
    AUDIT = "audit"


@dataclass(frozen=True)
class Asked:
    """How a task is judged. raters: votes a pair. adjudicate: "any" disagreement, or only where there is no "majority".

    entropy_bar: pairs whose judge's entropy reaches it are adjudicated although people agree. control_every: one hidden
    control in so many pairs. lease_seconds: a pair that nobody votes on for so long goes to somebody else. search_url: with
    {query} in it.
    """

    raters: int = 2
    adjudicate: str = "any"
    entropy_bar: float | None = None
    control_every: int = 10
    lease_seconds: int = 1800
    search_url: str = ""
    seed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.raters <= 99:
            raise InputError(f"{self.raters} raters a pair: expected 1 to 99")
        if self.adjudicate not in ("any", "majority"):
            raise InputError(
                f"adjudicate {self.adjudicate!r}: expected any (every disagreement) or majority (where there is none)"
            )
        if self.control_every < 2:
            raise InputError(f"a control in every {self.control_every} pairs: expected 2 or more")
        if self.lease_seconds < 1:
            raise InputError(f"a lease of {self.lease_seconds} seconds: expected 1 or more")


class Task(NamedTuple):
    """A task as the registry has it; `scale` carries the guide that is shown now."""

    id: int
    name: str
    kind: TaskKind
    scale: Scale
    asked: Asked
    columns: Mapping[str, str]


@dataclass(frozen=True)
class NewPair:
    """A pair to be judged. fields: what a rater is shown, in order. more: kept as it came. control: its known grade."""

    query_id: str
    doc_id: str
    query: str
    fields: Sequence[tuple[str, str]]
    context: str = ""
    image: str = ""
    stratum: str = ""
    entropy: float | None = None
    control: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Loaded(NamedTuple):
    """What `load` did. new: pairs that were not in the task yet; known: that were. new_guide: of a task that was there."""

    task: Task
    new: int
    known: int
    overrides: tuple[str, ...]
    new_guide: bool = False


def load(
    registry: Registry,
    name: str,
    kind: TaskKind,
    scale: Scale,
    given: Sequence[NewPair],
    asked: Asked,
    *,
    columns: Mapping[str, str] | None = None,
    used: Sequence[pa.Table] = (),
    allow: Iterable[str] = (),
    actor: str,
) -> Loaded:
    """The task of this name with these pairs: made if it is new, else with what is new of them, asked as it is said now.

    A new guide of a known task becomes a new version; votes keep theirs. Known pairs get the odds, strata and entropies that
    are given now. used: pairs that have been in prompts, calibration or training, as `golden.leaks` takes them, which no audit
    may hold.

    Raises: InputError for another kind or scale than the task has; Refusal `--allow golden-audit` where golden and audit
    pairs meet.
    """
    with registry.writing() as connection:
        fresh, overrides, changed = put(
            connection,
            name,
            kind,
            scale,
            given,
            asked,
            columns=columns,
            used=used,
            allow=allow,
            actor=actor,
            at=registry.clock(),
        )
    return Loaded(find(registry, name), fresh, len(given) - fresh, overrides, changed)


def put(
    connection: sa.Connection,
    name: str,
    kind: TaskKind,
    scale: Scale,
    given: Sequence[NewPair],
    asked: Asked,
    *,
    columns: Mapping[str, str] | None = None,
    used: Sequence[pa.Table] = (),
    allow: Iterable[str] = (),
    actor: str,
    at: datetime,
) -> tuple[int, tuple[str, ...], bool]:
    """What `load` does, inside a transaction: how many pairs were new, the overrides, and if a known task has a new guide.

    Twelve parameters: those of `load`, and the moment.
    """
    alone(connection)
    overrides = _kept_apart(connection, kind, given, used, frozenset(allow))
    row = connection.execute(sa.select(tasks).where(tasks.c.name == name)).first()
    number = _made(connection, name, kind, scale, asked, columns or {}, at) if row is None else row.id
    if row is not None:
        _asked_anew(connection, row, kind, scale, asked, columns or {})
        if any(getattr(row, name) != value for name, value in _said(asked).items()):
            _stand_anew(connection, number)
    if changed := _new_guide(connection, number, scale, at):
        record(connection, at, actor, "guide shown", name, {"version": scale.version})
    changed_facts = _facts_anew(connection, number, name, given)
    fresh = _added(connection, number, given, asked.seed)
    if changed_facts:
        _stand_anew(connection, number)
    detail = {"kind": kind, "pairs": fresh, "changed": changed_facts, "overrides": list(overrides)}
    record(connection, at, actor, LOADED, name, detail)
    return fresh, overrides, changed and row is not None


def alone(connection: sa.Connection) -> None:
    """Hold the table of tasks until the transaction ends, so that no two put pairs into one. SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE"))


def find(registry: Registry, name: str | None = None) -> Task:
    """The task of this name; without one, the only one.

    Raises: InputError where there is none, or several to choose from.
    """
    found = listed(registry)
    chosen = [task for task in found if name in (None, task.name)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(repr(task.name) for task in found) or "none"
    if name is None and found:
        raise InputError(f"the registry holds {len(found)} tasks ({names}): name one with --task")
    raise InputError(f"the registry holds no task{'' if name is None else f' {name!r}'}; there are: {names}")


def listed(registry: Registry) -> list[Task]:
    """Every task, oldest first."""
    with registry.reading() as connection:
        return [_task(row) for row in connection.execute(_with_guide().order_by(tasks.c.id))]


def _with_guide() -> sa.Select[Any]:
    """Tasks, each with the text of the guide that is shown."""
    return sa.select(tasks, guides.c.text.label("guide")).join(
        guides, sa.and_(guides.c.task_id == tasks.c.id, guides.c.version == tasks.c.guide_version)
    )


def versions(registry: Registry, task: Task) -> list[tuple[str, str, datetime]]:
    """Every version of the guide that was shown: its name, text, and since when."""
    query = sa.select(guides.c.version, guides.c.text, guides.c.at).where(guides.c.task_id == task.id).order_by(guides.c.id)
    with registry.reading() as connection:
        return [(row.version, row.text, row.at) for row in connection.execute(query)]


def _task(row: Any) -> Task:
    said = row.scale
    scale = Scale(said["name"], tuple(said["labels"]), tuple(said["gains"]), row.guide, said["aliases"])
    asked = Asked(row.raters, row.adjudicate, row.entropy_bar, row.control_every, row.lease_seconds, row.search_url, row.seed)
    return Task(row.id, row.name, TaskKind(row.kind), scale, asked, row.columns)


def _said(asked: Asked) -> dict[str, Any]:
    names = ("raters", "adjudicate", "entropy_bar", "control_every", "lease_seconds", "search_url")
    return {name: getattr(asked, name) for name in names}


def _made(
    connection: sa.Connection, name: str, kind: TaskKind, scale: Scale, asked: Asked, columns: Mapping[str, str], at: datetime
) -> int:
    said = {"name": scale.name, "labels": scale.labels, "gains": scale.gains, "aliases": dict(scale.aliases)}
    row = {"name": name, "kind": kind, "scale": said, "guide_version": scale.version, "columns": dict(columns)}
    made = connection.execute(tasks.insert().values(**row, **_said(asked), seed=asked.seed, created_at=at))
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def _asked_anew(
    connection: sa.Connection, row: Any, kind: TaskKind, scale: Scale, asked: Asked, columns: Mapping[str, str]
) -> None:
    """Bring a known task to what is asked now. Raises: InputError for what cannot be changed."""
    if row.kind != kind:
        raise InputError(
            f"task {row.name!r} is of kind {row.kind}, and these pairs are {kind}: give them a --task of their own"
        )
    if (row.scale["name"], list(row.scale["labels"])) != (scale.name, list(scale.labels)):
        raise InputError(
            f"task {row.name!r} is judged on scale {row.scale['name']!r}, not on {scale.name!r}: name another --task"
        )
    if asked.raters < row.raters:
        raise InputError(f"task {row.name!r} has {row.raters} raters a pair, and not fewer: votes are not taken back")
    for name, kind_ in columns.items():
        if row.columns.get(name, kind_) != kind_:
            raise InputError(
                f"column {name!r} is {kind_} here and {row.columns[name]} in the pairs of task {row.name!r}: make them one kind"
            )
    connection.execute(tasks.update().where(tasks.c.id == row.id).values(**_said(asked), columns={**row.columns, **columns}))


def _stand_anew(connection: sa.Connection, task: int) -> None:
    """Where every pair with a vote stands by what is asked now: full or not, disputed or not."""
    from germane.registry.standing import refresh

    row = connection.execute(_with_guide().where(tasks.c.id == task)).one()
    judged = sa.select(votes.c.pair_id).where(votes.c.task_id == task)
    query = sa.select(pairs.c.id).where(pairs.c.task_id == task, pairs.c.control.is_(None), pairs.c.id.in_(judged))
    for number in connection.scalars(query).all():
        refresh(connection, _task(row), number)


def _new_guide(connection: sa.Connection, task: int, scale: Scale, at: datetime) -> bool:
    known = sa.select(guides.c.id).where(guides.c.task_id == task, guides.c.version == scale.version)
    fresh = connection.scalar(known) is None
    if fresh:
        connection.execute(guides.insert().values(task_id=task, version=scale.version, text=scale.guide, at=at))
    connection.execute(tasks.update().where(tasks.c.id == task).values(guide_version=scale.version))
    return fresh


def _facts_anew(connection: sa.Connection, task: int, name: str, given: Sequence[NewPair]) -> int:
    """How many known pairs have other odds, strata or entropies now: they get them, so that one draw's odds stand together.

    Raises: InputError where pairs with odds are given, and pairs with odds of another draw stay in the task beside them.
    """
    columns = (pairs.c.id, pairs.c.query_id, pairs.c.doc_id, pairs.c.stratum, pairs.c.entropy, pairs.c.more)
    query = sa.select(*columns).where(pairs.c.task_id == task, pairs.c.control.is_(None))
    known = {(row.query_id, row.doc_id): row for row in connection.execute(query)}
    now = {(stored(pair.query_id), stored(pair.doc_id)): _row(pair, task, 0) for pair in given if pair.control is None}
    drawn = any(row["more"].get(ODDS) is not None for row in now.values())
    if drawn and (others := [pair for pair, row in known.items() if pair not in now and row.more.get(ODDS) is not None]):
        raise InputError(
            f"task {name!r} has {len(others):,} pairs with odds that are not among these, such as query {others[0][0]!r}, "
            f"document {others[0][1]!r}: two draws have no odds in common. Give the whole of the larger draw, or a --task of "
            "its own"
        )
    changed = 0
    for pair, row in known.items():
        if (given_now := now.get(pair)) is None:
            continue
        values = {"stratum": given_now["stratum"] or row.stratum, "more": {**row.more, **given_now["more"]}}
        values["entropy"] = row.entropy if given_now["entropy"] is None else given_now["entropy"]
        if any(getattr(row, name) != value for name, value in values.items()):
            connection.execute(pairs.update().where(pairs.c.id == row.id).values(**values))
            changed += 1
    return changed


def _added(connection: sa.Connection, task: int, given: Sequence[NewPair], seed: int) -> int:
    """How many of the pairs were new; they stand in a random order behind those that were there."""
    controls = {(pair.query_id, pair.doc_id) for pair in given if pair.control is not None}
    plain = {(pair.query_id, pair.doc_id) for pair in given if pair.control is None}
    if both := sorted(controls & plain):
        raise InputError(f"query {both[0][0]!r} document {both[0][1]!r} is a control and a pair to judge: leave it out of one")
    known = {
        tuple(row) for row in connection.execute(sa.select(pairs.c.query_id, pairs.c.doc_id).where(pairs.c.task_id == task))
    }
    fresh = [pair for pair in given if (pair.query_id, pair.doc_id) not in known]
    last = connection.scalar(sa.select(sa.func.max(pairs.c.place)).where(pairs.c.task_id == task)) or 0
    places = random.Random(f"{seed}/{len(known)}").sample(range(last + 1, last + 1 + len(fresh)), len(fresh))
    rows = [_row(pair, task, place) for pair, place in zip(fresh, places, strict=True)]
    for start in range(0, len(rows), _CHUNK):
        connection.execute(pairs.insert(), rows[start : start + _CHUNK])
    return len(fresh)


def _row(pair: NewPair, task: int, place: int) -> dict[str, Any]:
    names = ("query_id", "doc_id", "query", "context", "image", "stratum", "entropy", "control")
    row = {name: stored(getattr(pair, name)) for name in names}
    row |= {"task_id": task, "place": place, "fields": [[stored(name), stored(value)] for name, value in pair.fields]}
    row |= {"more": json.loads(stored(json.dumps(dict(pair.more), default=str))), "filled": pair.control is not None}
    return row | dict.fromkeys(("disputed", "discussed", "decided"), False)


def stored(value: Any) -> Any:
    """Text without what PostgreSQL cannot keep: the null character and half surrogates; shown as what they are."""
    if not isinstance(value, str):
        return value
    return value.replace("\x00", "\u2400").encode("utf-8", errors="replace").decode()


def _words(given: Iterable[tuple[str, str, str, Iterable[Sequence[str]]]]) -> pa.Table:
    """query_id, doc_id, query and text, as `golden.leaks` takes them, of ids, query and fields."""
    import pyarrow as pa

    rows = [tuple(map(stored, (*ids, "\n".join(value for _, value in fields)))) for *ids, fields in given]
    return pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(_WORDS)})


def among(connection: sa.Connection, kind: TaskKind, given: Sequence[NewPair]) -> list[int]:
    """Rows of the pairs that tasks of a kind hold already, by their ids or words."""
    return _meeting(connection, kind, given)[1]


def _meeting(connection: sa.Connection, kind: TaskKind, given: Sequence[NewPair]) -> tuple[pa.Table, list[int]]:
    columns = (pairs.c.query_id, pairs.c.doc_id, pairs.c.query, pairs.c.fields)
    there = connection.execute(sa.select(*columns).join(tasks).where(tasks.c.kind == kind)).all()
    mine = _words((pair.query_id, pair.doc_id, pair.query, pair.fields) for pair in given)
    return mine, leaks.shared(mine, _words(tuple(row) for row in there)).tolist() if there else []


def _kept_apart(
    connection: sa.Connection, kind: TaskKind, given: Sequence[NewPair], used: Sequence[pa.Table], allow: frozenset[str]
) -> tuple[str, ...]:
    """The overrides that were needed. Raises: Refusal where golden (or used) pairs and an audit meet."""
    if unknown := sorted(allow - {OVERRIDE}):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known is {OVERRIDE}")
    other = TaskKind.AUDIT if kind == TaskKind.GOLDEN else TaskKind.GOLDEN
    mine, meet = _meeting(connection, other, given)
    where = f"are in a task of kind {other} already"
    if not meet and kind == TaskKind.AUDIT:
        meet = sorted({i for table in used for i in leaks.shared(mine, table).tolist()})
        where = "have been used in prompts or training (--used)"
    if not meet:
        return ()
    first = given[meet[0]]
    message = (
        f"{len(meet):,} of {len(given):,} pairs {where}, by their ids or words, first query {first.query_id!r} document "
        f"{first.doc_id!r}: golden pairs teach and check judges, so they cannot audit one."
    )
    if OVERRIDE not in allow:
        raise Refusal(message, f"--allow {OVERRIDE}")
    return (f"--allow {OVERRIDE}: {message}",)
