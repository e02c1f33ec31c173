"""All that fresh golden samples say, for a program and for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from germane.watching.plan import Plan

if TYPE_CHECKING:
    from germane.registry.database import Registry


class Samples(NamedTuple):
    """What people say of the golden pairs of days, as `watching.agreeing.Agreement` has it. levels: corrected by it."""

    drawn: int
    judged: int
    votes: int
    unsure: int
    tasks: tuple[str, ...]
    guides: tuple[Any, ...]
    weeks: tuple[Any, ...]
    days: tuple[Any, ...]
    levels: tuple[Any, ...]
    notes: tuple[str, ...]


class ToldAgreed(NamedTuple):
    """A period's agreement as it is listed."""

    period: str
    guide: str
    pairs: int
    exact: Any
    kappa: Any
    bias_in_gain: Any
    people_exact: Any
    people_kappa: Any


class ToldLevel(NamedTuple):
    """A day's level and the same corrected by people, as they are listed."""

    date: str
    level: Any
    corrected: Any
    judge_minus_people: Any


def of(plan: Plan, registry: Registry, first: str | None) -> Samples:
    """Agreement by guide version, week and day, and the last levels beside the same corrected. first: from this day on."""
    from germane.watching import agreeing, correcting

    found = agreeing.agreement(registry, first=first, level=plan.level)
    levels = correcting.levels(registry, f"sdcg@{plan.k}", first=first) if found.votes else []
    counts = (found.drawn, found.judged, found.votes, found.unsure, found.tasks)
    cut = [f"corrected level of {e.date}: {e.corrected.caveat}" for e in levels if correcting.CUT in e.corrected.caveat]
    return Samples(*counts, found.guides, found.weeks, found.days, tuple(levels), (*found.notes, *cut))


def tables(found: Samples) -> tuple[list[ToldAgreed], list[ToldLevel]]:
    """The same for a terminal: all days by guide version, then weeks; and corrected levels."""
    rows = [
        ToldAgreed(r.period, r.guide, r.pairs, r.exact, r.kappa, r.gain, r.people_exact, r.people_kappa)
        for r in (*found.guides, *found.weeks)
    ]
    return rows, [ToldLevel(r.date, r.level, r.corrected, r.bias) for r in found.levels]
