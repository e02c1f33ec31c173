"""Experiments: what was asked and stated before the first look, every look, every decision. All of it is only added to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from germane.registry.database import Registry, lock, record
from germane.registry.days import new_id, steady
from germane.registry.experiment_tables import decisions, experiments, looked, looks
from germane.types import Estimate, InputError

RUNNING, SHIPPED, STOPPED = "running", "shipped", "stopped"
STATES = {"ship": SHIPPED, "stop": STOPPED, "keep": RUNNING}
"""What an experiment is after a decision; before the first one it is running."""

REPEATED = 0.5
"""The share from which on queries with the lists of an earlier look, of its queries or of the batch's, are that look again.

Head queries that are sampled every day come again, with the same lists where nothing moved, and are one query each in the
interval; a file that grows holds all of an earlier look.
"""

_CHUNK = 1000


class Unknown(InputError):
    """There is no experiment of this name."""


class Terms(NamedTuple):
    """What is stated before the first look, and stays. judge: people, or the name of a machine.

    population: what is sampled, in words; unit: queries, each counted once, or traffic. margin: of non-inferiority, in units
    of the metric, or, if relative, as a share of the control's level. intended: queries at which the interval is tightest.
    terms: how the metric is read, the scale's labels and gains, what the card said.
    """

    name: str
    question: str
    control: str
    treatment: str
    metric: str
    scale: str
    guide_version: str
    judge: str
    fingerprint: str
    card: str
    card_sha256: str
    population: str
    unit: str
    margin: float
    relative: bool
    level: float
    intended: int
    planned: int | None
    mde: float | None
    owner: str
    terms: Mapping[str, Any]


class Look(NamedTuple):
    """A look. estimate: over all batches so far, with no ends (NaN) where there is no interval yet; caveat says why.

    batch: (n, value, se) of its own queries alone; guard: (value, se) of what is held against a relative margin, or None.
    """

    number: int
    digest: str
    estimate: Estimate
    caveat: str
    verdict: str
    batch: tuple[int, float, float]
    guard: tuple[float, float] | None
    facts: Mapping[str, Any]
    actor: str
    at: datetime


class Decision(NamedTuple):
    """A decision: ship, stop or keep, by whom and why, at which look (0: before any) and what the guardrail said of it."""

    number: int
    kind: str
    by: str
    why: str
    look: int
    verdict: str
    actor: str
    at: datetime


class Query(NamedTuple):
    """A query of a look: weight 1 on average; control and difference in units of the metric; deviations of `stats.batches`.

    lists: a mark of the query and of what both arms show for it.
    """

    query: str
    stratum: str
    lists: str
    weight: float
    control: float
    difference: float
    deviation: float
    control_deviation: float


class Sums(NamedTuple):
    """A query over all looks that it is in: sums of weights and deviations, and of products of deviations."""

    query: str
    weight: float
    deviation: float
    control_deviation: float
    squares: float
    products: float
    control_squares: float
    moved: bool


@dataclass(frozen=True)
class Found:
    """An experiment with its looks and decisions, in order. looks: of a list, the last one alone."""

    id: int
    terms: Terms
    actor: str
    at: datetime
    looks: tuple[Look, ...]
    decisions: tuple[Decision, ...]

    @property
    def state(self) -> str:
        return STATES[self.decisions[-1].kind] if self.decisions else RUNNING


@dataclass(frozen=True)
class NewLook:
    """A batch that was measured.

    estimate_of: earlier looks, and sums over all queries, these included -> the estimate, its caveat and the verdict.
    """

    digest: str
    batch: tuple[int, float, float]
    guard: tuple[float, float] | None
    queries: Sequence[Query]
    facts: Mapping[str, Any]
    estimate_of: Callable[[Sequence[Look], Sequence[Sums]], tuple[Estimate, str, str]]


def open_(registry: Registry, terms: Terms, *, actor: str) -> tuple[Found, bool]:
    """The experiment, and whether it was made now: the same terms again make nothing.

    Raises: InputError for a name that other terms have: what was stated is not changed.
    """
    row = {**terms._asdict(), "terms": dict(terms.terms)}
    try:
        with steady(registry), registry.writing() as connection:
            if connection.scalar(sa.select(experiments.c.id).where(experiments.c.name == terms.name)) is None:
                at = registry.clock()
                connection.execute(experiments.insert().values(**row, actor=actor, at=at))
                record(connection, at, actor, "experiment opened", terms.name, {"margin": terms.margin})
                return _one(connection, terms.name), True
    except IntegrityError:  # somebody opened one of this name a moment ago
        pass
    there = find(registry, terms.name)
    if other := [name for name in Terms._fields if _plain(getattr(there.terms, name)) != _plain(getattr(terms, name))]:
        was, now = (str(getattr(each, other[0]))[:80] for each in (there.terms, terms))
        raise InputError(
            f"experiment {terms.name} is open since {there.at:%Y-%m-%d} with another {other[0].replace('_', ' ')} ({was}, not "
            f"{now}): what was stated before the first look is not changed; open one under another name"
        )
    return there, False


def look(registry: Registry, name: str, new: NewLook, *, actor: str) -> Look:
    """The look, written whole with its queries, once: two at the same time come one after the other.

    Raises: InputError for an experiment that was decided for good, and for a batch that was looked at before, whole or in part.
    """
    try:
        with steady(registry), registry.writing() as connection:
            held = _row(connection, name)
            lock(connection, experiments, held.id)
            past, taken = _looks(connection, held.id), _decisions(connection, held.id)
            still_running(name, taken)
            _fresh(name, past, new.digest)
            _not_again(connection, held, new.queries)
            sums = _with(_sums(connection, held.id), new.queries)
            estimate, caveat, verdict = new.estimate_of(past, sums)
            facts = {**new.facts, "repeated": sum(each.batch[0] for each in past) + new.batch[0] - len(sums)}
            facts["overridden"] = _overridden(past, new.facts)
            at, number = registry.clock(), (past[-1].number if past else 0) + 1
            row = {"experiment_id": held.id, "number": number, "digest": new.digest, **_of_estimate(estimate)}
            row |= {"caveat": caveat, "verdict": verdict, "facts": facts, "actor": actor, "at": at}
            row |= dict(zip(("batch_n", "batch_value", "batch_se"), new.batch, strict=True))
            row |= dict(zip(("guard_value", "guard_se"), new.guard or (None, None), strict=True))
            key = new_id(connection, looks.insert().values(**row))
            rows = [{**query._asdict(), "look_id": key} for query in new.queries]
            for start in range(0, len(rows), _CHUNK):
                connection.execute(looked.insert(), rows[start : start + _CHUNK])
            record(connection, at, actor, "experiment looked at", name, {"look": number, "verdict": verdict})
            return Look(number, new.digest, estimate, caveat, verdict, new.batch, new.guard, facts, actor, at)
    except IntegrityError:  # a constraint says so where a lock did not
        _fresh(name, find(registry, name).looks, new.digest)
        raise InputError(f"experiment {name}: another look was first: look again") from None


def decide(registry: Registry, name: str, kind: str, *, by: str, why: str, actor: str, seen: int | None = None) -> Decision:
    """The decision, added to those before, which stay. seen: decisions that its maker knew of; None: not asked.

    Raises: InputError for a kind that there is none of, and where somebody decided meanwhile.
    """
    if kind not in STATES:
        raise InputError(f"decision {kind[:40]!r}: expected one of {', '.join(STATES)}")
    meanwhile = InputError(f"experiment {name}: somebody decided meanwhile: read it, and decide again")
    try:
        with steady(registry), registry.writing() as connection:
            held = _row(connection, name)
            lock(connection, experiments, held.id)
            past, known = _decisions(connection, held.id), _looks(connection, held.id, last=True)
            if seen is not None and seen != len(past):
                raise meanwhile
            number, at = len(past) + 1, registry.clock()
            at_look, verdict = (known[-1].number, known[-1].verdict) if known else (0, "")
            made = Decision(number, kind, by, why, at_look, verdict, actor, at)
            connection.execute(decisions.insert().values(experiment_id=held.id, **made._asdict()))
            record(connection, at, actor, "experiment decided", name, {"decision": kind, "look": at_look, "by": by})
            return made
    except IntegrityError:
        raise meanwhile from None


def find(registry: Registry, name: str) -> Found:
    """The experiment with every look and decision. Raises: Unknown."""
    with steady(registry), registry.reading() as connection:
        return _one(connection, name)


def listed(registry: Registry) -> list[Found]:
    """Every experiment, the latest first, each with its last look alone, and all its decisions."""
    with steady(registry), registry.reading() as connection:
        rows = connection.execute(sa.select(experiments).order_by(experiments.c.id.desc())).all()
        last = sa.select(sa.func.max(looks.c.id)).group_by(looks.c.experiment_id)
        latest = {row.experiment_id: row for row in connection.execute(sa.select(looks).where(looks.c.id.in_(last)))}
        taken: dict[int, list[Decision]] = {}
        for row in connection.execute(sa.select(decisions).order_by(decisions.c.id)):
            taken.setdefault(row.experiment_id, []).append(_decision(row))
    return [_found(row, [_look(latest[row.id])] if row.id in latest else [], taken.get(row.id, [])) for row in rows]


# --- rows --------------------------------------------------------------------------------------------------------------


def _row(connection: sa.Connection, name: str) -> Any:
    found = connection.execute(sa.select(experiments).where(experiments.c.name == name)).first()
    if found is None:
        raise Unknown(f"there is no experiment {name[:80]!r}: `germane experiment list` names them")
    return found


def _one(connection: sa.Connection, name: str) -> Found:
    row = _row(connection, name)
    return _found(row, _looks(connection, row.id), _decisions(connection, row.id))


def _found(row: Any, seen: Sequence[Look], taken: Sequence[Decision]) -> Found:
    terms = Terms(*(getattr(row, name) for name in Terms._fields))
    return Found(row.id, terms, row.actor, row.at, tuple(seen), tuple(taken))


def still_running(name: str, taken: Sequence[Decision]) -> None:
    """Nothing, where another look may be taken. Raises: InputError after a decision to ship or stop."""
    if taken and STATES[taken[-1].kind] != RUNNING:
        last = taken[-1]
        raise InputError(
            f"experiment {name} was {STATES[last.kind]} by {last.by} on {last.at:%Y-%m-%d}: no look after that; to take it up "
            "again, decide to keep it running first"
        )


def _fresh(name: str, past: Sequence[Look], digest: str) -> None:
    if twice := [each for each in past if each.digest == digest]:
        raise InputError(
            f"experiment {name}: this batch (the same queries with the same lists in both arms) was look {twice[0].number} on "
            f"{twice[0].at:%Y-%m-%d}: it says nothing new"
        )


def _not_again(connection: sa.Connection, held: Any, queries: Sequence[Query]) -> None:
    """Nothing, where the batch is new. Raises: InputError where it holds an earlier look, or is part of one (`REPEATED`)."""
    marks = {query.lists for query in queries}
    asked = sa.select(looked.c.lists, looks.c.number).join(looks, looks.c.id == looked.c.look_id)
    earlier: dict[int, list[str]] = {}
    for row in connection.execute(asked.where(looks.c.experiment_id == held.id)):
        earlier.setdefault(row.number, []).append(row.lists)
    for number, lists in sorted(earlier.items()):
        again = sum(each in marks for each in lists)
        if again > 1 and again > REPEATED * min(len(lists), len(queries)):
            raise InputError(
                f"experiment {held.name}: {again:,} of the {len(queries):,} queries of this batch come with the same lists in "
                f"both arms as in look {number}, which had {len(lists):,}, and would count twice: give only what is new"
            )


def _overridden(past: Sequence[Look], facts: Mapping[str, Any]) -> list[str]:
    """Every refusal that this look or one before it insisted past, once, by its flag: the estimate is of them all."""
    before = past[-1].facts.get("overridden", ()) if past else ()
    return list(dict.fromkeys([*before, *(text.partition(":")[0] for text in facts.get("overrides", ()))]))


def _looks(connection: sa.Connection, number: int, *, last: bool = False) -> list[Look]:
    asked = sa.select(looks).where(looks.c.experiment_id == number)
    asked = asked.order_by(looks.c.number.desc()).limit(1) if last else asked.order_by(looks.c.number)
    return [_look(row) for row in connection.execute(asked)]


def _look(row: Any) -> Look:
    value, se, low, high, level = (
        math.nan if (x := getattr(row, name)) is None else float(x) for name in ("value", "se", "low", "high", "level")
    )
    estimate = Estimate(value, se, low, high, row.n, row.method, level)
    guard = None if row.guard_value is None else (row.guard_value, row.guard_se)
    batch = (row.batch_n, row.batch_value, row.batch_se)
    return Look(row.number, row.digest, estimate, row.caveat, row.verdict, batch, guard, row.facts, row.actor, row.at)


def _decisions(connection: sa.Connection, number: int) -> list[Decision]:
    asked = sa.select(decisions).where(decisions.c.experiment_id == number).order_by(decisions.c.number)
    return [_decision(row) for row in connection.execute(asked)]


def _decision(row: Any) -> Decision:
    return Decision(*(getattr(row, name) for name in Decision._fields))


def _sums(connection: sa.Connection, number: int) -> list[Sums]:
    """Each query of all looks so far, once."""
    u, c = looked.c.deviation, looked.c.control_deviation
    summed = [sa.func.sum(x) for x in (looked.c.weight, u, c, u * u, u * c, c * c)]
    moved = sa.func.max(sa.case((looked.c.difference != 0, 1), else_=0))
    asked = sa.select(looked.c.query, *summed, moved).join(looks, looks.c.id == looked.c.look_id)
    asked = asked.where(looks.c.experiment_id == number).group_by(looked.c.query).order_by(looked.c.query)
    return [Sums(*row[:7], bool(row[7])) for row in connection.execute(asked)]


def _with(sums: Sequence[Sums], queries: Sequence[Query]) -> list[Sums]:
    """The sums with the queries of a new look."""
    known = {row.query: row for row in sums}
    for q in queries:
        u, c = q.deviation, q.control_deviation
        was = known.get(q.query, Sums(q.query, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, False))
        grown = (w + x for w, x in zip(was[1:7], (q.weight, u, c, u * u, u * c, c * c), strict=True))
        weight, deviation, control, squares, products, control_squares = grown
        moved = was.moved or q.difference != 0
        known[q.query] = Sums(q.query, weight, deviation, control, squares, products, control_squares, moved)
    return list(known.values())


def _of_estimate(e: Estimate) -> dict[str, Any]:
    numbers = {name: getattr(e, name) for name in ("value", "se", "low", "high", "level")}
    found: dict[str, Any] = {name: float(x) if math.isfinite(x) else None for name, x in numbers.items()}
    return {**found, "n": int(e.n), "method": e.method}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
