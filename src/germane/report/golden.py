"""The quality of a golden set's votes prepared for reading: a page, Markdown, and text for a terminal.

`page(quality)` is what a web page shows; `sheet(quality)` has the same as sentences and tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.report import charts, words
from germane.report.probing import Grid
from germane.report.visible import visible
from germane.types import Estimate

if TYPE_CHECKING:
    from germane.golden.results import Part, Quality, RaterQuality

SHARES = {
    "row-level disagreement", "full agreement", "exact agreement", "cannot judge", "same as the others", "too fast",
    "controls passed", "controls within one", "same grade again", "right by Dawid-Skene",
}  # fmt: skip
SIGNED = {"severity", "severity on controls", "severity drift, a week", "seconds drift, a week"}
MOST = 60  # rows of a table on the page


class Point(NamedTuple):
    """A row of the chart: a name, the figure and where it goes."""

    name: str
    estimate: Estimate
    mark: charts.Mark


class Sheet(NamedTuple):
    """All that the page shows. chart: alpha over time, or of the raters' pairs where time is not known."""

    title: str
    what: str
    question: str
    answer: str
    notes: tuple[str, ...]
    grids: tuple[Grid, ...]
    facts: tuple[tuple[str, str], ...]
    chart_name: str
    axis: charts.Axis
    chart: tuple[Point, ...]
    foot: str


def page(found: Quality) -> str:
    """A self-contained HTML page."""
    from germane.report import render

    return render.html_page("golden.html.j2", **sheet(found)._asdict())


def markdown(found: Quality) -> str:
    """The same as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("grids.md.j2", **sheet(found)._asdict())


def text(found: Quality) -> str:
    """The same for a terminal: the answer, the tables, the notes."""
    seen = sheet(found)
    parts = [visible(seen.answer)]
    for grid in seen.grids:
        parts.append("\n".join([visible(grid.title) + ":", *_aligned([grid.heads, *grid.rows])]))
    said = [f"note: {visible(note)}" for note in found.notes]
    return "\n\n".join([*parts, *(["\n".join(said)] if said else [])])


def sheet(found: Quality) -> Sheet:
    """The quality prepared for reading."""
    name, axis, chart = _chart(found)
    facts = (
        ("Scale", f"{found.scale}: {', '.join(found.labels)}"),
        ("Votes", f"{words.count(found.votes)} by {words.many(found.raters, 'rater')} on {words.many(found.pairs, 'pair')}"),
        ("Rule", found.rule),
    )
    return Sheet(
        "Quality of the golden votes",
        "Golden set",
        "Do raters see relevance alike, and who does not?",
        answer(found),
        tuple(note[:1].upper() + note[1:] for note in found.notes),
        grids(found),
        facts,
        name,
        axis,
        chart,
        "Intervals are over queries. Agreement says that raters answer alike, not that they are right: controls do.",
    )


def answer(found: Quality) -> str:
    """The state of the votes in one or two sentences."""
    e = found.found.get("row-level disagreement")
    if e is None:
        return f"{words.many(found.votes, 'vote')} on {words.many(found.pairs, 'pair')}, and no pair has two grades yet."
    said = f"Raters differ on {words.percent(e.value)} of {words.many(e.n, 'pair')} ({_ends(e, True)})"
    alpha = found.found.get("alpha (ordinal)")
    said += f"; Krippendorff's alpha is {_figure('alpha', alpha)}." if alpha else "."
    flagged = [f"{who.name} ({', '.join(who.flags)})" for who in found.people if who.flags]
    return said + (f" Look at {'; '.join(flagged[:4])}{' and others' if len(flagged) > 4 else ''}." if flagged else "")


def grids(found: Quality) -> tuple[Grid, ...]:
    """The tables: over all, raters two by two, raters, by part, and the second opinion."""
    rows = tuple((name, _figure(name, e), words.count(e.n), e.method) for name, e in found.found.items())
    made = [Grid("Over all", "Each with its interval over queries.", ("figure", "value", "n", "how"), rows)]
    two = found.rater_pairs[:MOST]
    names = list(dict.fromkeys(name for pair in two for name in pair.found))
    lead = "Pairs that both graded." if len(two) == len(found.rater_pairs) else f"The first {MOST} of {len(found.rater_pairs)}."
    made.append(
        Grid(
            "Raters two by two",
            lead,
            ("raters", "pairs", *names),
            tuple((f"{p.a}, {p.b}", words.count(p.pairs), *(_cell(n, p.found) for n in names)) for p in two),
        )
    )
    made += _people(found.people)
    for dimension in dict.fromkeys(part.dimension for part in found.parts):
        made.append(_parts(dimension, [part for part in found.parts if part.dimension == dimension]))
    made += _second(found)
    return tuple(grid for grid in made if grid.rows)


def _people(people: Sequence[RaterQuality]) -> list[Grid]:
    names = list(dict.fromkeys(name for who in people for name in who.found))
    lead = (
        "Severity: own grade minus the others' mean, in grades; above 0 is lenient. Drift: its change a week, and that of the "
        "logarithm of the seconds. What stands out is tested over all raters at once (Benjamini-Hochberg)."
    )
    rows = tuple(
        (who.name, words.count(who.votes), *(_cell(name, who.found) for name in names), ", ".join(who.flags)) for who in people
    )
    return [Grid("Raters", lead, ("rater", "votes", *names, "stands out"), rows)]


def _parts(dimension: str, parts: Sequence[Part]) -> Grid:
    names = list(dict.fromkeys(name for part in parts for name in part.found))
    rows = tuple((part.name, words.count(part.pairs), *(_cell(name, part.found) for name in names)) for part in parts)
    return Grid(f"By {dimension}", "", (dimension, "pairs", *names), rows)


def _second(found: Quality) -> list[Grid]:
    second = found.second
    if second is None:
        return []
    label = {None: "none"} | dict(enumerate(found.labels))
    confusion = tuple(
        (f"{name}: true {found.labels[true]}", *(words.percent(x) for x in row))
        for name, table in list(second.confusion.items())[:12]
        for true, row in enumerate(table)
    )
    said = "" if second.settled else " The fit had not converged."
    lead = f"Each rater's grades by the model's true grade; {second.rounds} rounds.{said}"
    differs = tuple(
        (f"{d.query_id}, {d.doc_id}", label[d.by_rule], label[d.by_model], words.percent(d.chance))
        for d in second.differs[:MOST]
    )
    more = f"{words.many(second.differ, 'pair')}; surest first. The model weighs raters by how they err."
    return [
        Grid("Raters' confusion by Dawid and Skene's model", lead, ("rater and true grade", *found.labels), confusion),
        Grid("Where the model and the rule differ", more, ("pair", "by the rule", "by the model", "its chance"), differs),
    ]


def _chart(found: Quality) -> tuple[str, charts.Axis, tuple[Point, ...]]:
    key = "alpha (ordinal)"
    timed = [part for part in found.parts if part.dimension in ("day", "week", "month") and key in part.found]
    rows = [(part.name, part.found[key]) for part in timed]
    name = f"Krippendorff's alpha by {timed[0].dimension}" if timed else "Quadratic kappa of raters two by two"
    if not rows:
        rows = [(f"{p.a}, {p.b}", p.found["quadratic kappa"]) for p in found.rater_pairs[:20] if "quadratic kappa" in p.found]
    axis = charts.axis([x for _, e in rows for x in (e.low, e.high)], room=0.02)
    return name, axis, tuple(Point(label, e, charts.mark(axis, e)) for label, e in rows)


def _cell(name: str, found: Any) -> str:
    return _figure(name, found[name]) if name in found else ""


def _figure(name: str, e: Estimate) -> str:
    share = name in SHARES
    if share:
        return f"{words.percent(e.value)} ({_ends(e, True)})"
    write = words.signed if name in SIGNED else words.plain
    return f"{write(e.value, 3)} ({write(e.low, 3)} to {write(e.high, 3)})"


def _ends(e: Estimate, share: bool) -> str:
    write = words.percent if share else words.plain
    return f"{write(e.low)} to {write(e.high)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
