"""Labels a day and what they cost: by day, by month and by judge. A cost that is not known is none, and no 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from germane.registry import looking, spending
from germane.registry.database import Registry
from germane.watching import calendar
from germane.web.boards.spans import window


@dataclass(frozen=True)
class LabelDay:
    """A day. state: done, gap or missing. pairs: shown with a text; known: of them, in the store; asked: of the judge,
    equal ones once; ungraded: without a grade. anchors: asked again, past the store. null: not known.

    cost, anchors_cost: in `currency`, as the judge's price table has it; anchors' in another currency are not known. says: the
    cost in words.
    """

    date: str
    state: str
    judge: str
    fingerprint: str
    pairs: int | None
    known: int | None
    asked: int | None
    ungraded: int | None
    anchors: int | None
    cost: float | None
    anchors_cost: float | None
    currency: str
    says: str

    @property
    def paid(self) -> float | None:
        """What labels and anchors cost together; None where a part that was asked has no cost."""
        if (self.cost is None and self.asked != 0) or (self.anchors_cost is None and self.anchors):
            return None
        return None if self.cost is None and self.anchors_cost is None else (self.cost or 0.0) + (self.anchors_cost or 0.0)


@dataclass(frozen=True)
class LabelTotal:
    """Days together, of a month or of a judge. days: that are done; priced: of them, whose cost is known, that of labels
    and of anchors; cost: of these alone. Other sums are of the days that say them; null: none does."""

    of: str
    judge: str
    fingerprint: str
    days: int
    pairs: int | None
    known: int | None
    asked: int | None
    ungraded: int | None
    anchors: int | None
    priced: int
    cost: float | None
    currency: str


@dataclass(frozen=True)
class Costs:
    """Labels a day. days: every day from the first to the last. months, judges: totals of these days."""

    first: str
    last: str
    days: list[LabelDay]
    months: list[LabelTotal]
    judges: list[LabelTotal]
    changed: list[str]
    notes: list[str]


def costs(registry: Registry, asked: Mapping[str, str]) -> Costs:
    """Labels a day, from the first to the last day that is asked for. Raises: InputError for a day or a number that is none."""
    if (span := looking.ends(registry)) is None:
        return Costs("", "", [], [], [], [], ["no day yet: `germane watch run` does the first"])
    first, last = window(asked, span)
    there = {row.date: row for row in spending.asked(registry, first, last)}
    every = map(str, calendar.days(date.fromisoformat(first), date.fromisoformat(last)))
    days = [_day(there[each]) if each in there else _missing(each) for each in every]
    changed = sorted({line.date for line in looking.drawn(registry, first, last) if line.kind == "judge"})
    done = [day for day in days if day.state == "done"]
    months = _totals(done, lambda day: (day.date[:7], ""))
    judges = _totals(done, lambda day: (day.judge, day.fingerprint))
    free = sum(day.paid is None and (day.asked != 0 or bool(day.anchors)) for day in done)
    notes = (
        [f"the cost of {free:,} of {len(done):,} days is not known: only judges with a price of tokens say it"] if free else []
    )
    return Costs(first, last, days, months, judges, changed, notes)


def table(found: Costs) -> Iterable[list[Any]]:
    """The days as rows, with no number where there is none."""
    names = list(LabelDay.__dataclass_fields__)
    yield names
    for day in found.days:
        yield [getattr(day, name) for name in names]


def _missing(day: str) -> LabelDay:
    return LabelDay(day, "missing", "", "", None, None, None, None, None, None, None, "", "")


def _day(row: spending.Asked) -> LabelDay:
    said, again = row.labels, row.anchors
    pairs, graded = _count(said.get("pairs")), _count(said.get("graded"))
    if graded is None and pairs is not None and isinstance(share := said.get("coverage"), int | float):
        graded = round(share * pairs)
    ungraded = None if pairs is None or graded is None else max(pairs - graded, 0)
    paid, anchors_paid = _money(said), _money(again)
    anchors = _count(again.get("asked"))
    currency = next((str(part.get("currency")) for part, cost in ((said, paid), (again, anchors_paid)) if cost is not None), "")
    if anchors_paid is not None and str(again.get("currency")) != currency:
        anchors_paid = None  # two currencies never add up
    who = (row.judge, row.fingerprint)
    counts = (pairs, _count(said.get("known")), _count(said.get("asked")), ungraded, anchors)
    return LabelDay(row.date, row.state, *who, *counts, paid, anchors_paid, currency, str(said.get("cost") or ""))


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _money(said: Mapping[str, Any]) -> float | None:
    """What was paid; None where no number with its currency is there."""
    value = said.get("paid")
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not said.get("currency"):
        return None
    return float(value)


def _totals(days: Iterable[LabelDay], of: Callable[[LabelDay], tuple[str, str]]) -> list[LabelTotal]:
    """Totals by what `of` says of a day; costs in two currencies never add up to one: they are two rows."""
    groups: dict[tuple[str, str], list[LabelDay]] = {}
    for day in days:
        groups.setdefault(of(day), []).append(day)
    made = []
    for (name, fingerprint), some in groups.items():
        known = sorted({day.currency for day in some if day.currency}) or [""]
        for currency in known:
            made.append(_total(name, fingerprint, currency, [d for d in some if (d.currency or known[0]) == currency]))
    return made


def _total(name: str, fingerprint: str, currency: str, days: list[LabelDay]) -> LabelTotal:
    paid = [cost for day in days if (cost := day.paid) is not None]
    sums = {what: _sum(getattr(day, what) for day in days) for what in ("pairs", "known", "asked", "ungraded", "anchors")}
    return LabelTotal(
        of=name,
        judge=name if fingerprint else "",
        fingerprint=fingerprint,
        days=len(days),
        **sums,
        priced=len(paid),
        cost=math.fsum(paid) if paid else None,
        currency=currency,
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
