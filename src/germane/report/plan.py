"""A plan of labels: what to do with a budget, and the effect that it can find, as text and as a page with its curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from germane.report import charts, words

HEIGHT = 260  # of the chart's field, in pixels
LEFT = 9.0  # percent of the width, for the labels of the MDE's axis


class Part(NamedTuple):
    """A stratum of the plan: its queries in the log, its SD, how many are drawn, and how many of these people grade."""

    stratum: str
    population: int
    sd: float
    queries: int
    audited: int


class Option(NamedTuple):
    """A way to spend the budget. mde: of `estimand`. relative: mde over the control's mean, None where that was not given."""

    name: str
    estimand: str
    queries: int
    audited: int
    people_labels: int
    judge_labels: int
    hours: float | None
    money: float | None
    mde: float
    relative: float | None


class Point(NamedTuple):
    """The MDEs at another budget: `factor` of the one that was given. None where that way is not open."""

    factor: float
    corrected: float | None
    people_only: float
    judge_only: float | None


@dataclass(frozen=True)
class Plan:
    """What to do with a budget. queries are drawn and judged, `audited` of them by people too (all, without a judge)."""

    queries: int
    audited: int
    share: float
    mde: float
    relative: float | None
    options: tuple[Option, ...]
    strata: tuple[Part, ...]
    curve: tuple[Point, ...]
    axis: str  # what `factor` multiplies: "money", "labels" or "hours", and how much of it
    amount: float
    commands: tuple[str, ...]
    notes: tuple[str, ...]
    parameters: Mapping[str, Any]

    def lines(self) -> str:
        """For the console: what to do, what it sees beside the other ways, where the queries are, what was assumed."""
        return "\n".join(lines(self))


class Line(NamedTuple):
    """One series of the chart: pieces from point to point (x in percent, y in pixels), and where it is at the given budget."""

    name: str
    tone: str
    dashed: bool
    pieces: tuple[tuple[float, float, float, float], ...]
    here: tuple[float, float] | None


class Chart(NamedTuple):
    """The curve: MDE against budget. ticks: of the budget's axis; marks: (value, pixels) of the MDE's; places: of
    both. here: the given budget, in percent."""

    ticks: tuple[charts.Tick, ...]
    marks: tuple[tuple[float, float], ...]
    places: tuple[int, int]
    lines: tuple[Line, ...]
    here: float
    unit: str


SERIES = {
    "corrected": ("a judge, corrected by people", "better", False),
    "people_only": ("people only", "worse", False),
    "judge_only": ("judge only, of its own estimand", "grey", True),
}


def chart(plan: Plan) -> Chart:
    """Where the marks of a plan's curve go."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SERIES}
    for point in plan.curve:
        for name in SERIES:
            if (value := getattr(point, name)) is not None:
                found[name].append((point.factor * plan.amount, value))
    everything = [pair for pairs in found.values() for pair in pairs]
    x = charts.axis([amount for amount, _ in everything], room=0.0, ticks=6)
    y = charts.axis([effect for _, effect in everything], room=0.0)

    def across(amount: float) -> float:
        return round(LEFT + (100 - LEFT) * x.at(amount) / 100, 2)

    def place(pair: tuple[float, float]) -> tuple[float, float]:
        return across(pair[0]), round(HEIGHT * (1 - y.at(pair[1]) / 100), 1)

    lines = []
    for name, (label, tone, dashed) in SERIES.items():
        at = [place(pair) for pair in found[name]]
        pieces = tuple((a[0], b[0], a[1], b[1]) for a, b in pairwise(at))
        here = next((place(pair) for pair in found[name] if abs(pair[0] - plan.amount) < 1e-9 * max(1.0, plan.amount)), None)
        if at:
            lines.append(Line(label, tone, dashed, pieces, here))
    marks = tuple((tick.value, round(HEIGHT * (1 - tick.at / 100), 1)) for tick in y.ticks)
    unit = {"money": "money for labels", "labels": "people's labels", "hours": "people's hours"}[plan.axis]
    ticks = tuple(charts.Tick(tick.value, across(tick.value)) for tick in x.ticks)
    return Chart(ticks, marks, (x.places, y.places), tuple(lines), across(plan.amount), unit)


def html(plan: Plan) -> str:
    """A self-contained page: what to do, the curve, the ways compared, the strata, and what was assumed."""
    from germane.report import render

    return render.html_page(
        "plan.html.j2", p=plan, chart=chart(plan), answer=answer(plan), height=HEIGHT, small=small, left=LEFT, ways=ways(plan)
    )


def ways(plan: Plan) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The options as rows of a table: what, and how it is in each; what is not known of any is left out."""
    rows: list[tuple[str, Callable[[Option], str]]] = [
        ("effect found (MDE)", lambda o: small(o.mde)),
        ("of the control's mean", lambda o: _or_none(o.relative, words.percent)),
        ("whose answer", lambda o: o.estimand),
        ("queries", lambda o: words.count(o.queries)),
        ("graded by people", lambda o: words.count(o.audited)),
        ("people's labels", lambda o: words.count(o.people_labels)),
        ("judge's labels", lambda o: words.count(o.judge_labels)),
        ("people's hours", lambda o: _or_none(o.hours, lambda x: words.plain(x, 1))),
        ("money", lambda o: _or_none(o.money, lambda x: words.plain(x, 2))),
    ]
    found = [(name, tuple(write(o) for o in plan.options)) for name, write in rows]
    return tuple((name, cells) for name, cells in found if any(cells))


def small(effect: float) -> str:
    """An MDE with three significant digits.

    >>> small(0.00873), small(0.0123)
    ('0.0087', '0.012')
    """
    return words.plain(effect, words.digits(effect))


def answer(plan: Plan) -> str:
    """What to do, in one sentence."""
    relative = "" if plan.relative is None else f", {words.percent(plan.relative)} of the control's mean"
    finds = f"an effect of {small(plan.mde)}{relative}"
    if plan.audited == plan.queries and len(plan.options) < 3:
        return f"Let people grade {words.many(plan.queries, 'query', 'queries')}: that finds {finds}."
    return (
        f"Let the judge grade {words.many(plan.queries, 'query', 'queries')} and people {words.count(plan.audited)} of them: "
        f"that finds {finds}."
    )


def lines(plan: Plan) -> list[str]:
    """The plan for the console."""
    head = ["way", "estimand", "queries", "by people", "people's labels", "judge's labels", "hours", "money", "MDE", "relative"]
    rows = [head]
    for o in plan.options:
        row = [o.name, o.estimand, *map(words.count, (o.queries, o.audited, o.people_labels, o.judge_labels))]
        row += [_or_none(o.hours, lambda x: f"{x:,.1f}"), _or_none(o.money, lambda x: f"{x:,.2f}"), small(o.mde)]
        rows.append([*row, _or_none(o.relative, words.percent)])
    strata = [["stratum", "in the log", "SD", "queries", "by people"]]
    strata += [
        [s.stratum, words.count(s.population), f"{s.sd:.4g}", *map(words.count, (s.queries, s.audited))] for s in plan.strata
    ]
    other = [f"{words.plain(plan.amount * p.factor, 0)}: {small(_best(p))}" for p in plan.curve]
    found = [answer(plan), "", *_table(rows), "", *_table(strata), "", f"MDE by {plan.axis}: {', '.join(other)}"]
    return [*found, *(f"note: {note}" for note in plan.notes), *(f"run: {command}" for command in plan.commands)]


def _best(point: Point) -> float:
    return point.people_only if point.corrected is None else min(point.corrected, point.people_only)


def _or_none(value: float | None, write: Callable[[float], str]) -> str:
    return "" if value is None else write(value)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, the first to the left; columns that hold nothing are left out."""
    kept = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in kept}
    text = [[row[i].ljust(widths[i]) if rows[1][i][:1].isalpha() else row[i].rjust(widths[i]) for i in kept] for row in rows]
    return ["  ".join(cells).rstrip() for cells in text]
