"""An adaptive policy prepared for reading: who gets what, the Pareto front, and whether it beats one treatment for all."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from germane.report import charts, words
from germane.report.probing import Grid
from germane.report.signal import View
from germane.signal.adaptive import CONTROL
from germane.signal.treatments import Learned, Limits, Point
from germane.types import Estimate, Policy

HEIGHT = 320  # of the chart's field, in pixels
LEFT = 9.0  # percent of the width, for the labels of the engagement's axis


class Dot(NamedTuple):
    """A policy on the chart. x, left, right: percent of the width; y, top, bottom: pixels."""

    name: str
    tone: str
    x: float
    left: float
    right: float
    y: float
    top: float
    bottom: float


class Chart(NamedTuple):
    """Engagement against relevance. ticks: of relevance; marks: (value, pixels) of engagement; limit: pixels.

    front: lines from point to point of the policies that no other beats, (x1, x2) in percent and (y1, y2) in pixels.
    """

    ticks: tuple[charts.Tick, ...]
    places: int
    marks: tuple[tuple[float, float], ...]
    limit: float
    dots: tuple[Dot, ...]
    front: tuple[tuple[float, float, float, float], ...]


class Page(NamedTuple):
    """What the page shows: its text and tables, and the chart."""

    view: View
    chart: Chart


def html(page: Page) -> str:
    """A self-contained HTML page."""
    from germane.report import render

    return render.html_page("policy.html.j2", chart=page.chart, height=HEIGHT, left=LEFT, **page.view._asdict())


def of_policy(policy: Policy, found: Learned, limits: Limits, *, simulated: bool = False) -> Page:
    """An adaptive policy prepared for reading."""
    notes = [*policy.notes]
    if simulated:
        notes.insert(0, "this is a simulation: queries, clicks and grades were made by a program")
    view = View(
        "An adaptive policy",
        "Adaptive policy",
        "Which treatment should each type of query get?",
        answer(found, limits),
        tuple(notes),
        (_points(found, limits), _versus(found), _cells(found)),
        (
            ("Types of query", ", ".join(map(str, policy.parameters["by"]))),
            ("Limit", f"engagement not below {words.percent(limits.engagement, sign=True)}, by the low end of its interval"),
            ("Judge of the treatments", policy.judge or "not said"),
            ("Outcomes", f"sha256 {policy.golden[:16]}"),
        ),
        "The figures are of queries that had no part in choosing, in folds. A type that is too thin, or in which nothing is "
        "shown, gets the control.",
    )
    return Page(view, chart(found, limits))


def answer(found: Learned, limits: Limits) -> str:
    """Whether to adapt, in two or three sentences."""
    me = found.adaptive
    if all(name == CONTROL for name in found.choice.values()):
        return "Leave every type of query as it is: no treatment is shown to help within the limit on engagement."
    said = f"Adaptive: relevance {words.signed(me.relevance.value)} ({words.interval(me.relevance)}), "
    said += f"engagement {_percent(me.engagement)}, {'within' if found.held else 'not shown to be within'} the limit."
    beaten = [v.name for v in found.versus if v.verdict.startswith("dominates")]
    if beaten:
        said += f" It dominates {' and '.join(beaten)} for all."
    else:
        said += " It dominates no uniform treatment: what it gains in one objective is not shown in the other."
    fits = [p for p in found.points if p.name in {v.name for v in found.versus} and p.engagement.low >= limits.engagement]
    if fits:
        best = max(fits, key=lambda p: p.relevance.value)
        if any(v.name == best.name and v.relevance.high < 0 for v in found.versus):
            more = words.signed(best.relevance.value)
            return f"{said} {best.name} for all has more relevance within the limit ({more}): use that."
        return f"{said} The best uniform one within the limit is {best.name}: relevance {words.signed(best.relevance.value)}."
    return f"{said} No uniform treatment is shown to keep the limit."


def chart(found: Learned, limits: Limits) -> Chart:
    """Where the marks of the Pareto front go."""
    points = [p for p in found.points if p.name != found.adaptive.name] + [found.adaptive]
    x = charts.axis([v for p in points for v in (p.relevance.low, p.relevance.high)], ticks=6)
    y = charts.axis([limits.engagement, *(v for p in points for v in (p.engagement.low, p.engagement.high))], room=0.04)

    def across(value: float) -> float:
        return round(LEFT + (100 - LEFT) * x.at(value) / 100, 2)

    def up(value: float) -> float:
        return round(HEIGHT * (1 - y.at(value) / 100), 1)

    def dot(p: Point) -> Dot:
        r, e = p.relevance, p.engagement
        tone = "better" if p.name == found.adaptive.name else "grey" if p.name.startswith("adaptive") else "worse"
        tone = "open" if p.name == CONTROL else tone
        return Dot(p.name, tone, across(r.value), across(r.low), across(r.high), up(e.value), up(e.high), up(e.low))

    front = sorted((p.relevance.value, p.engagement.value) for p in found.points if p.front)
    lines = [(across(a[0]), across(b[0]), up(a[1]), up(b[1])) for a, b in pairwise(front)]
    ticks = tuple(charts.Tick(t.value, across(t.value)) for t in x.ticks)
    marks = tuple((t.value, up(t.value)) for t in y.ticks)
    return Chart(ticks, x.places, marks, up(limits.engagement), tuple(dot(p) for p in points), tuple(lines))


def _points(found: Learned, limits: Limits) -> Grid:
    rows = []
    for p in found.points:
        keeps = "yes" if p.engagement.low >= limits.engagement else "no"
        relevance = f"{words.signed(p.relevance.value)} ({words.interval(p.relevance)})"
        rows.append((p.name, relevance, _percent(p.engagement), keeps, "yes" if p.front else ""))
    lead = "Against the control, on queries that had no part in choosing; each interval is of that policy alone."
    heads = ("policy", "relevance", "engagement", "keeps the limit", "on the front")
    return Grid("Policies", lead, heads, tuple(rows))


def _versus(found: Learned) -> Grid:
    rows = tuple(
        (v.name, f"{words.signed(v.relevance.value)} ({words.interval(v.relevance)})", _percent(v.engagement), v.verdict)
        for v in found.versus
    )
    lead = "The adaptive policy minus one treatment for all, paired by query; intervals allow for all of these comparisons."
    return Grid("Adaptive against uniform", lead, ("treatment for all", "relevance", "engagement", "the adaptive policy"), rows)


def _cells(found: Learned) -> Grid:
    rows = []
    for cell in found.cells:
        e, a = cell.relevance, cell.engagement
        known = e.se < float("inf")
        own = f"{words.signed(e.value)} ({words.interval(e)})" if known else words.signed(e.value)
        chosen = "chosen" if found.choice.get(cell.kind) == cell.treatment else cell.why
        q = "" if cell.q is None else words.chance(cell.q)
        cells = [f"{cell.kind}: {cell.treatment}", words.count(cell.queries), own, words.signed(cell.shrunk[0]), q]
        cells += [_percent(a) if known else words.percent(a.value, sign=True), words.percent(cell.shrunk[1], sign=True), chosen]
        rows.append(tuple(cells))
    lead = "Each treatment on each type. Chosen by the shrunk effects; q is adjusted for all of them (Benjamini-Hochberg)."
    heads = ("type: treatment", "queries", "relevance", "shrunk", "q", "engagement", "shrunk", "")
    return Grid("Types of query", lead, heads, tuple(rows))


def _percent(e: Estimate) -> str:
    low, high = words.percent(e.low, sign=True), words.percent(e.high, sign=True)
    return f"{words.percent(e.value, sign=True)} ({low} to {high})"
