"""A routing prepared for reading: what to accept and what to send to people, with the cost-quality curve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from germane.report import charts, words
from germane.report.visible import visible
from germane.types import Estimate, Routing

HEIGHT = 280  # of the chart's field, in pixels
LINES = 12  # of the curve in a terminal
LEFT = 7.0  # percent of the width, for the labels of the quality's axis
TITLES = {
    "exact": "exact agreement",
    "within-one": "agreement within one grade",
    "quadratic kappa": "quadratic kappa",
    "macro F1": "macro F1",
}


class Line(NamedTuple):
    """One series: pieces from point to point, (x1, x2) in percent of the width and (y1, y2) in pixels."""

    name: str
    tone: str
    dashed: bool
    pieces: tuple[tuple[float, float, float, float], ...]


class Chart(NamedTuple):
    """Quality against people's labels. ticks: of the labels' axis; marks: (value, pixels) of the quality's; places: of it.

    band: the path of the curve's interval, in percent of the field's width by pixels. target: pixels; here: the chosen point
    (percent, pixels).
    """

    ticks: tuple[charts.Tick, ...]
    marks: tuple[tuple[float, float], ...]
    places: int
    lines: tuple[Line, ...]
    band: str
    target: float | None
    here: tuple[float, float] | None


class Grid(NamedTuple):
    """A table: its title, the names of its columns (the first of the row's name), and rows of cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class LevelRow(NamedTuple):
    """A level of the judge's certainty on the chart of accuracy."""

    name: str
    pairs: int
    estimate: Estimate | None
    mark: charts.Mark | None


class Sheet(NamedTuple):
    """All that the page shows."""

    question: str
    answer: str
    telling: str
    curve: Grid
    levels: Grid
    slices: Grid
    axis: charts.Axis
    bars: tuple[LevelRow, ...]
    chart: Chart


def html(found: Routing) -> str:
    """A self-contained HTML page."""
    from germane.report import render

    return render.html_page("route.html.j2", r=found, s=of(found), height=HEIGHT, left=LEFT, title=TITLES[found.measure])


def markdown(found: Routing) -> str:
    """The same as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("route.md.j2", r=found, s=of(found))


def text(found: Routing) -> str:
    """The same for a terminal: the answer, whether the signal tells errors, the curve, the levels, the notes."""
    sheet = of(found)
    parts = [visible(sheet.answer), visible(sheet.telling)]
    grids = [grid for grid in (_short(sheet.curve), sheet.levels, sheet.slices) if grid.rows]
    parts += ["\n".join(_aligned([grid.columns, *grid.rows])) for grid in grids]
    said = [f"note: {visible(note)}" for note in found.notes] + [f"overridden: {visible(text)}" for text in found.overrides]
    return "\n\n".join([*parts, *(["\n".join(said)] if said else [])])


def of(found: Routing) -> Sheet:
    """A routing prepared for reading."""
    names = [name for name in ("exact", "within one", "false relevant") if any(name in p.accepted for p in found.curve)]
    axis = charts.axis([x for level in found.levels if (e := level.found.get("exact")) for x in (e.low, e.high)], room=0.02)
    bars = []
    for level in found.levels:
        e = level.found.get("exact")
        bars.append(LevelRow(level.name, level.pairs, e, None if e is None else charts.mark(axis, e)))
    rows = found.rows
    return Sheet(
        f"Which of {words.many(rows, 'label')} of {found.judge} can be accepted, and which pairs should people grade?",
        answer(found),
        telling(found),
        _curve(found, names),
        _levels(found, names),
        _slices(found),
        axis,
        tuple(bars),
        chart(found),
    )


def answer(found: Routing) -> str:
    """What to do, in one or two sentences."""
    point, name = found.chosen, TITLES[found.measure]
    if point is None:
        if not found.reached:
            return f"No: {found.why}."
        alone, all_ = found.curve[-1].quality if found.curve else None, words.many(found.rows, "label")
        said = "is not known" if alone is None else f"is {_plain(alone)}"
        return (
            f"If every answer is accepted, {name} {said}; each of {all_} by people buys more (--quality or --budget chooses)."
        )
    all_ = words.count(found.rows)
    accept = words.count(found.rows - point.labels)
    money = "" if point.money is None else f", for {words.plain(point.money, 2)}"
    said = f"Accept {accept} of {all_} labels and send {words.many(point.labels, 'pair')} to people{money}: "
    said += f"{name} of all is then " + ("not known" if point.quality is None else _plain(point.quality))
    if found.target is not None:
        said += f", shown to reach {found.target:g}"
    if found.target is not None and found.random_labels is not None and found.random_labels != point.labels:
        return f"{said}. Pairs sent at random: {words.count(found.random_labels)} would be needed."
    return f"{said}."


def telling(found: Routing) -> str:
    """Whether the judge knows when it is wrong."""
    if found.tells is None:
        return f"Whether {found.signal} tells errors cannot be seen on these golden pairs."
    chance = f"a wrong grade is less certain than a right one in {_percent(found.tells)}"
    if found.telling:
        return f"The judge knows when it is wrong: by {found.signal}, {chance}; 50% would be chance."
    return (
        f"By {found.signal}, {chance}: not shown to be more than chance, so that routing is no better than sending at random."
    )


def chart(found: Routing) -> Chart:
    """Where the marks of the cost-quality curve go."""
    points = [point for point in found.curve if point.quality is not None]
    series = {"by the judge's doubt": ("better", False), "at random": ("grey", True)}
    values: dict[str, list[tuple[float, Estimate]]] = {name: [] for name in series}
    for p in points:
        for name, e in zip(series, (p.quality, p.random), strict=True):
            if e is not None:
                values[name].append((float(p.labels), e))
    seen = [x for _, e in values["by the judge's doubt"] for x in (e.low, e.high)]
    seen += [e.value for _, e in values["at random"]] + ([found.target] if found.target is not None else [])
    x = charts.axis([float(p.labels) for p in points] or [0.0], room=0.0, ticks=6)
    y = charts.axis(seen, room=0.04, zero=not seen)

    def across(labels: float) -> float:
        return round(LEFT + (100 - LEFT) * x.at(labels) / 100, 2)

    def up(value: float) -> float:
        return round(HEIGHT * (1 - y.at(value) / 100), 1)

    lines = []
    for name, (tone, dashed) in series.items():
        at = [(across(labels), up(e.value)) for labels, e in values[name]]
        lines.append(Line(name, tone, dashed, tuple((a[0], b[0], a[1], b[1]) for a, b in pairwise(at))))
    edge = [(x.at(labels), up(e.high)) for labels, e in values["by the judge's doubt"]]
    edge += [(x.at(labels), up(e.low)) for labels, e in reversed(values["by the judge's doubt"])]
    band = "M" + " L".join(f"{a:g} {b:g}" for a, b in edge) + " Z" if edge else ""
    here = found.chosen
    return Chart(
        tuple(charts.Tick(tick.value, across(tick.value)) for tick in x.ticks),
        tuple((tick.value, up(tick.value)) for tick in y.ticks),
        y.places,
        tuple(lines),
        band,
        None if found.target is None else up(found.target),
        None if here is None or here.quality is None else (across(here.labels), up(here.quality.value)),
    )


def _curve(found: Routing, names: Sequence[str]) -> Grid:
    """The curve in numbers, from none to people to all."""
    priced = any(point.money is not None for point in found.curve)
    title = TITLES[found.measure]
    columns = ["to people", "share", *(["money"] if priced else []), f"{title} of all", "sent at random"]
    columns += [f"{name}, accepted" for name in names] + (["exact, sent"] if "exact" in names else []) + ["rule"]
    rows = []
    for p in reversed(found.curve):
        cells = [words.count(p.labels), words.percent(1 - p.share)]
        cells += [words.plain(p.money, 2) if p.money is not None else ""] if priced else []
        cells += [_cell(p.quality), _cell(p.random), *(_cell(p.accepted.get(name)) for name in names)]
        rows.append(tuple(cells + ([_cell(p.sent.get("exact"))] if "exact" in names else []) + [p.rule]))
    return Grid("What people's labels buy", tuple(columns), tuple(rows))


def _short(curve: Grid) -> Grid:
    """The curve for a terminal: without what is known of either part, and at most `LINES` rows, evenly, with both ends."""
    kept = [at for at, name in enumerate(curve.columns) if not name.endswith((", accepted", ", sent"))]
    step = max(1.0, (len(curve.rows) - 1) / (LINES - 1))
    rows = sorted({round(at * step) for at in range(LINES)} & set(range(len(curve.rows))))
    cut = tuple(tuple(curve.rows[row][at] for at in kept) for row in rows)
    return Grid(curve.title, tuple(curve.columns[at] for at in kept), cut)


def _levels(found: Routing, names: Sequence[str]) -> Grid:
    rows = []
    for level in found.levels:
        n = max((e.n for e in level.found.values()), default=0)
        rows.append((level.name, words.count(level.pairs), words.count(n), *(_cell(level.found.get(name)) for name in names)))
    return Grid("The judge by its own certainty", ("judge's certainty", "pairs", "golden", *names), tuple(rows))


def _slices(found: Routing) -> Grid:
    names = list(dict.fromkeys(name for part in found.slices for name in part.found))
    rows = [(f"{s.dimension}: {s.name}", *(_cell(s.found.get(name)) for name in names)) for s in found.slices]
    return Grid("By segment, under the chosen rule", ("segment", *names), tuple(rows))


def _plain(e: Estimate) -> str:
    return f"{words.plain(e.value)} ({words.interval(e, 3, sign=False)})"


def _percent(e: Estimate) -> str:
    return f"{words.percent(e.value)} of cases ({words.percent(e.low)} to {words.percent(e.high)})"


def _cell(e: Estimate | None) -> str:
    return "" if e is None else _plain(e)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
