"""An experiment in words and as a chart: its estimate over the looks, the margin, and what the guardrail says of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from germane.experiment.guardrail import INFERIOR, NON_INFERIOR, SUPERIOR
from germane.experiment.words import insisted
from germane.report import charts
from germane.report.timeline import HIGH, WIDE
from germane.report.words import digits, level, percent, signed
from germane.types import Estimate

DECIDED = {"ship": "ship it", "stop": "stop it", "keep": "keep it running"}


class Dot(NamedTuple):
    """A look: percent of the width, units of the height; top and bottom None where it has no interval."""

    number: int
    date: str
    x: float
    y: float
    top: float | None
    bottom: float | None
    estimate: Estimate
    verdict: str


class Line(NamedTuple):
    """A level line across the chart: units from above, and what it is."""

    y: float
    text: str


class Chart(NamedTuple):
    """The estimate over looks. ticks: of the axis, (value, units from above). band, line: points of the field."""

    places: int
    ticks: tuple[tuple[float, float], ...]
    band: str
    line: str
    dots: tuple[Dot, ...]
    zero: Line
    margin: Line
    dates: tuple[tuple[float, str], ...]


def chart(looks: Sequence[tuple[int, str, Estimate, str]], margin: float) -> Chart | None:
    """The chart of looks (number, date, estimate, verdict), one step each; None where there is none.

    margin: as it stands at the last look, in units of the metric: the line is drawn at minus that. Looks without an interval
    are dots without a band. An early interval far wider than the last ones is cut at the chart's edge.
    """
    if not looks:
        return None
    ends = [(e.low, e.high) for _, _, e, _ in looks if math.isfinite(e.low) and math.isfinite(e.high)]
    narrow = min((high - low for low, high in ends), default=0.0)
    middle = looks[-1][2].value
    reach = max(3 * narrow, 2.5 * margin, abs(middle) * 1.5)
    held = [0.0, -margin, *(e.value for _, _, e, _ in looks)]
    held += [min(max(x, middle - reach), middle + reach) for pair in ends for x in pair]
    axis = charts.axis(held, room=0.08)

    def y(value: float) -> float:
        return round(HIGH * (1 - axis.at(value) / 100), 1)

    dots = []
    for place, (number, date, e, verdict) in enumerate(looks):
        known = math.isfinite(e.low) and math.isfinite(e.high)
        x = round(100 * (place + 0.5) / len(looks), 3)
        top, bottom = (y(e.high), y(e.low)) if known else (None, None)
        dots.append(Dot(number, date, x, y(e.value), top, bottom, e, verdict))
    edges = [d for d in dots if d.top is not None]
    around = [(d.x, d.top) for d in edges] + [(d.x, d.bottom) for d in reversed(edges)]
    told = sorted({0, len(dots) // 2, len(dots) - 1} if len(dots) > 2 else {0, len(dots) - 1})
    return Chart(
        axis.places,
        tuple((tick.value, y(tick.value)) for tick in axis.ticks),
        " ".join(f"{x * WIDE / 100:g},{at:g}" for x, at in around if at is not None) if len(edges) > 1 else "",
        " ".join(f"{d.x * WIDE / 100:g},{d.y:g}" for d in dots) if len(dots) > 1 else "",
        tuple(dots),
        Line(y(0.0), "no difference"),
        Line(y(-margin), "margin"),
        tuple((dots[i].x, dots[i].date) for i in told),
    )


def margin_words(margin: float, relative: bool) -> str:
    """The margin as it was stated.

    >>> margin_words(0.005, False), margin_words(0.01, True)
    ('0.005 (absolute)', '1.0% of the control’s level')
    """
    return f"{percent(margin)} of the control’s level" if relative else f"{margin:g} (absolute)"


def verdict_words(verdict: str, e: Estimate, margin: float, relative: bool, overridden: int = 0) -> str:
    """What a verdict says, in a sentence. overridden: refusals that were insisted past.

    >>> verdict_words("non-inferior", Estimate(0.0, 0.001, -0.003, 0.003, 900, ""), 0.005, False)
    'Non-inferior: if it is worse at all, then by less than the margin of 0.005 (absolute).'
    """
    said = _says(verdict, e, margin, relative)
    return insisted(overridden) + said[0].lower() + said[1:] if overridden else said


def _says(verdict: str, e: Estimate, margin: float, relative: bool) -> str:
    said = margin_words(margin, relative)
    if verdict == SUPERIOR:
        return "Superior: relevance rises, and with it the guardrail passes."
    if verdict == NON_INFERIOR:
        worse = math.isfinite(e.high) and e.high < 0
        how = "it is worse, and" if worse else "if it is worse at all, then"
        return f"Non-inferior: {how} by less than the margin of {said}."
    if verdict == INFERIOR:
        return f"Inferior: relevance falls by the margin of {said} or more. The guardrail fails."
    if not relative and math.isfinite(e.low) and e.low > -margin:
        return (
            f"Not known yet, which is no pass: with other grades for what has none, it could be a loss of the margin of {said}."
        )
    more = " It is worse; by how much is not known." if math.isfinite(e.high) and e.high < 0 else ""
    return f"Not known yet, which is no pass: a loss of the margin of {said} is not ruled out, nor shown.{more}"


def estimate_words(metric: str, e: Estimate, caveat: str, looks: int) -> str:
    """The estimate so far, with its interval, in a sentence."""
    seen = f"{e.n:,} {'query' if e.n == 1 else 'queries'} in {looks} {'look' if looks == 1 else 'looks'}"
    if not math.isfinite(e.low):
        return f"{metric} {signed(e.value)} so far, over {seen}; {caveat}."
    places = digits(e.se)
    ends = f"{signed(e.low, places)} to {signed(e.high, places)}"
    return f"{metric} {signed(e.value, places)} (always-valid {level(e)} {ends}), over {seen}."
