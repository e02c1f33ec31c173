"""Where the marks of a report's charts go, in percent of a chart's width. The templates draw them as plain SVG.

Positions are percentages and colours are CSS classes, so that one drawing serves a phone, a printed page, light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from germane.types import Estimate, Histogram


class Tick(NamedTuple):
    """A labelled position on an axis: the value, and where it stands in percent."""

    value: float
    at: float


class Axis(NamedTuple):
    """A linear axis from `low` to `high`, its tick marks, and the decimal places they need."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    places: int

    def at(self, x: float) -> float:
        """Percent of the axis at x, held within 0 and 100."""
        return round(min(100.0, max(0.0, 100 * (x - self.low) / (self.high - self.low))), 2)


class Mark(NamedTuple):
    """An interval on an axis: where it starts, ends and has its point, in percent; whether an end or the point is outside."""

    low: float
    high: float
    at: float
    cut_low: bool
    cut_high: bool
    point_outside: bool


class Bar(NamedTuple):
    """A bar of a histogram: left edge and width in percent, height in percent of the tallest, and what it counts."""

    x: float
    width: float
    height: float
    queries: int
    low: float
    high: float


def axis(values: Iterable[float], *, room: float = 0.06, ticks: int = 5, zero: bool = True) -> Axis:
    """An axis that holds all values, and zero unless told not to, with about `ticks` round tick marks.

    >>> [t.value for t in axis([-0.004, 0.019]).ticks]
    [-0.005, 0.0, 0.005, 0.01, 0.015, 0.02]
    """
    held = [v for v in values if math.isfinite(v)]
    held = held if held and not zero else [0.0, *held]
    low, high = min(held), max(held)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    low, high = low - room * (high - low), high + room * (high - low)
    rough = (high - low) / ticks
    unit: float = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.8)
    places = max(0, -math.floor(math.log10(step)) + (1 if f"{step:.1e}".startswith("2.5") else 0))
    marks = [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    bare = Axis(low, high, (), places)
    return bare._replace(ticks=tuple(Tick(m, bare.at(m)) for m in marks))


def mark(on: Axis, e: Estimate) -> Mark:
    """Where an estimate and its interval go on an axis."""
    outside = not on.low <= e.value <= on.high
    return Mark(on.at(e.low), on.at(e.high), on.at(e.value), e.low < on.low, e.high > on.high, outside)


def forest(estimates: Sequence[Estimate], overall: Estimate) -> Axis:
    """An axis for many intervals. One that is far wider than the rest is cut, with an arrow, and does not squash them."""
    widths = sorted(e.high - e.low for e in estimates) or [0.0]
    reach = 4 * max(widths[len(widths) // 2], overall.high - overall.low)
    near = [x for e in estimates for x in (max(e.low, e.value - reach / 2), min(e.high, e.value + reach / 2))]
    return axis([overall.low, overall.high, *near])


def bars(histogram: Histogram) -> tuple[Axis, tuple[Bar, ...]]:
    """The axis and the bars of a histogram; empty where nothing was counted."""
    if not histogram.counts:
        return axis([]), ()
    on = axis(histogram.edges, room=0.02, ticks=7)
    top = max(*histogram.counts, 1)
    edges = zip(histogram.edges, histogram.edges[1:], strict=False)
    return on, tuple(
        Bar(on.at(low), round(on.at(high) - on.at(low), 2), round(100 * n / top, 2), n, low, high)
        for n, (low, high) in zip(histogram.counts, edges, strict=True)
    )
