"""A metric over time as a chart: where its line, its band and its marks go. A day that is missing is a gap, and no zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from germane.report import charts
from germane.types import Estimate

WIDE, HIGH = 1000, 220
"""Of the field, in units that are stretched to the page."""


class Run(NamedTuple):
    """Days that follow each other without a gap or a change of judge: their line and their band, as points of the field."""

    line: str
    band: str


class Dot(NamedTuple):
    """A day's level: percent of the width, units of the height, and the ends of its interval."""

    date: str
    x: float
    y: float
    top: float
    bottom: float
    estimate: Estimate
    alone: bool


class At(NamedTuple):
    """Something that happened on a day: percent of the width, and what it was."""

    x: float
    text: str
    number: int = 0


class Timeline(NamedTuple):
    """A chart of days. marks: of the axis, (value, units from above). months: of the calendar. missing: how many days have
    no level."""

    places: int
    marks: tuple[tuple[float, float], ...]
    runs: tuple[Run, ...]
    dots: tuple[Dot, ...]
    drawn: tuple[At, ...]
    raised: tuple[At, ...]
    months: tuple[At, ...]
    missing: int


def timeline(
    first: str,
    last: str,
    levels: Mapping[str, Estimate],
    *,
    drawn: Iterable[tuple[str, str]] = (),
    raised: Iterable[tuple[str, str, int]] = (),
) -> Timeline | None:
    """The chart of the days from the first to the last; None where no day has a level.

    levels: of days that have one. drawn: days on which the judge, guide, scale or design changed, and which of them: no line
    goes across. raised: days of alerts, what they say, and their numbers.
    """
    known = {day: e for day, e in sorted(levels.items()) if math.isfinite(e.value) and first <= day <= last}
    if not known:
        return None
    start, days = _number(first), _number(last) - _number(first) + 1
    numbers = {day: _number(day) for day in known}
    ends = [x for e in known.values() for x in (e.value, e.low, e.high)]
    axis = charts.axis(ends, room=0.08, zero=False)
    low, unit = axis.low, HIGH / (axis.high - axis.low)

    def x(day: str) -> float:
        return round(100 * (_number(day) - start + 0.5) / days, 3)

    def y(value: float) -> float:
        """Units from above, held within the field."""
        return round(HIGH - min(HIGH, max(0.0, (value - low) * unit)), 1)

    lines = [(day, kind) for day, kind in drawn if first <= day <= last]
    runs = _runs(numbers, {day for day, _ in lines})
    single = {run[0] for run in runs if len(run) == 1}
    places = np.round((np.array(list(numbers.values())) - start + 0.5) * (100 / days), 3).tolist()
    # An endless interval ends at its level.
    values, highs, lows = (np.array([getattr(e, name) for e in known.values()]) for name in ("value", "high", "low"))
    above = [
        np.round(HIGH - np.clip((np.where(np.isfinite(end), end, values) - low) * unit, 0, HIGH), 1).tolist()
        for end in (values, highs, lows)
    ]
    each = zip(known, places, *above, known.values(), strict=True)
    dots = tuple([Dot(day, at, level, top, bottom, e, day in single) for day, at, level, top, bottom, e in each])
    by_day = {dot.date: dot for dot in dots}
    return Timeline(
        axis.places,
        tuple((tick.value, y(tick.value)) for tick in axis.ticks),
        tuple(_run([by_day[day] for day in run]) for run in runs if len(run) > 1),
        dots,
        tuple(At(x(day), f"{kind} changed") for day, kind in lines),
        tuple(At(x(day), text, number) for day, text, number in raised if first <= day <= last),
        _months(first, last, x),
        days - len(known),
    )


class Bar(NamedTuple):
    """A part of a day's bar: left edge and width in percent, top and height in units; which part it is, counted from 0."""

    date: str
    x: float
    width: float
    y: float
    height: float
    part: int
    value: float


class Bars(NamedTuple):
    """A chart of days as bars. marks: of the axis, (value, units from above). missing: days that have no bar."""

    places: int
    marks: tuple[tuple[float, float], ...]
    bars: tuple[Bar, ...]
    drawn: tuple[At, ...]
    months: tuple[At, ...]
    missing: int


def stacked(
    first: str, last: str, days: Mapping[str, Sequence[float]], *, drawn: Iterable[tuple[str, str]] = ()
) -> Bars | None:
    """The chart of amounts on the days from the first to the last, their parts above each other; None where no day has one.

    days: the parts of each day that is known, 0 or more.
    """
    known = {day: parts for day, parts in sorted(days.items()) if first <= day <= last}
    if not known:
        return None
    start, count = _number(first), _number(last) - _number(first) + 1
    axis = charts.axis([0.0, *(sum(parts) for parts in known.values())], room=0.0)
    top = max(axis.high, axis.ticks[-1].value if axis.ticks else axis.high)

    def y(value: float) -> float:
        return round(HIGH * (1 - value / top), 2)

    def x(day: str) -> float:
        return round(100 * (_number(day) - start + 0.5) / count, 3)

    width, made = 100 / count, []
    for day, parts in known.items():
        low = 0.0
        for part, value in enumerate(parts):
            if value > 0:
                left = round(x(day) - 0.4 * width, 3)
                made.append(
                    Bar(day, left, round(0.8 * width, 3), y(low + value), round(y(low) - y(low + value), 2), part, value)
                )
            low += value
    lines = tuple(At(x(day), f"{kind} changed") for day, kind in drawn if first <= day <= last)
    marks = tuple((tick.value, y(tick.value)) for tick in axis.ticks if tick.value >= 0)
    return Bars(axis.places, marks, tuple(made), lines, _months(first, last, x), count - len(known))


def _runs(numbers: Mapping[str, int], broken: set[str]) -> list[list[str]]:
    """Days in runs of neighbours; a day on which a line is drawn begins a new one. numbers: of the days, in order."""
    runs: list[list[str]] = []
    before = 0
    for day, number in numbers.items():
        if runs and number - before == 1 and day not in broken:
            runs[-1].append(day)
        else:
            runs.append([day])
        before = number
    return runs


def _run(dots: Sequence[Dot]) -> Run:
    scale = WIDE / 100
    line = " ".join([f"{d.x * scale:g},{d.y:g}" for d in dots])
    above = [f"{d.x * scale:g},{d.top:g}" for d in dots]
    below = [f"{d.x * scale:g},{d.bottom:g}" for d in reversed(dots)]
    return Run(line, " ".join([*above, *below]))


def _months(first: str, last: str, x: Callable[[str], float]) -> tuple[At, ...]:
    """Marks of the calendar: each first of a month, fewer of them over years; the first day of a short time."""
    one, end = date.fromisoformat(first), date.fromisoformat(last)
    every = max(1, (end - one).days // 120)
    made = []
    month = one.year * 12 + one.month - 1
    while (day := date(month // 12, month % 12 + 1, 1)) <= end:
        if day >= one and month % every == 0:
            made.append(At(x(str(day)), f"{day:%Y-%m}"))
        month += 1
    return tuple(made) or (At(x(first), first),)


def _number(day: str) -> int:
    return date.fromisoformat(day).toordinal()
