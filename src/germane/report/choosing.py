"""A shootout, a ladder of fields or a set of tiers prepared for reading: HTML, Markdown and the console."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from germane.report import charts, words
from germane.report.visible import visible
from germane.training.ablation import Ladder
from germane.training.folds import Cost
from germane.training.shootout import MERGE, SHOWN, UNCLEAR, Contestant, Shootout, TierPair, Tiers
from germane.types import Estimate, Leaderboard

TITLES = {"score tau-b": "tau of {metric}", "expected score tau-b": "tau of {metric}, expected gains"}
_OF_CARDS = ("no design was given", "paired differences and decisions", "labels alone")
COSTS = ("rows/s", "ms a pair alone", "memory, MiB", "parameters", "training, s", "cost a million")


class Cell(NamedTuple):
    """A figure, and what stands small beside it, such as its interval."""

    text: str
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.remark})" if self.remark else self.text


class Table(NamedTuple):
    """A table with a title, a sentence, the names of its columns, and rows: a name and a cell a column."""

    title: str
    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


class Bar(NamedTuple):
    """A judge on the chart of macro F1. tone: "better" for those that stand out."""

    name: str
    estimate: Estimate
    mark: charts.Mark
    tone: str
    remark: str


@dataclass(frozen=True)
class Sheet:
    """What was asked, what the answer is, the chart of macro F1, the tables, and what to know."""

    kind: str
    question: str
    answer: str
    axis: charts.Axis
    bars: tuple[Bar, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


Choice = Shootout | Ladder | Tiers


def html(found: Choice) -> str:
    """A self-contained HTML page."""
    from germane.report import render

    return render.html_page("choosing.html.j2", s=of(found))


def markdown(found: Choice) -> str:
    """The same as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("choosing.md.j2", s=of(found))


def text(found: Choice) -> str:
    """The same for a terminal: the answer, the tables in columns, the notes."""
    sheet = of(found)
    parts = [visible(sheet.answer)]
    for table in sheet.tables:
        rows = [[table.title, *table.columns], *([name, *map(str, cells)] for name, cells in table.rows)]
        parts.append("\n".join(_aligned([[visible(cell) for cell in row] for row in rows])))
    parts += ["\n".join(f"note: {visible(note)}" for note in sheet.notes)] if sheet.notes else []
    return "\n\n".join(parts)


def of(found: Choice) -> Sheet:
    """A result prepared for reading."""
    if isinstance(found, Shootout):
        return _shootout(found)
    return _ladder(found) if isinstance(found, Ladder) else _tiers(found)


def _shootout(found: Shootout) -> Sheet:
    best, metric = found.contestants[0], found.board.metric
    ahead = " and ".join(found.front) if len(found.front) < 3 else ", ".join(found.front)
    near = [c.name for c in found.contestants[1:] if "macro F1" in c.to_best and c.to_best["macro F1"].high >= 0]
    said = f"{best.name} is the best by macro F1, {_plain(best.found['macro F1'])}"
    said += f", and {', '.join(near)} cannot be told from it" if near else ""
    said += f". On the Pareto front of quality and speed: {ahead}."
    quality = _quality([(c.name, c.found) for c in found.contestants], metric, "Agreement with the labels, out of fold.")
    lead = "Minus the best, paired by query: an interval that reaches 0 means that the two cannot be told apart."
    apart = _differences([(c.name, c.to_best) for c in found.contestants[1:]], metric, "Difference to the best", lead)
    remarks = {c.name: "on the Pareto front" if c.on_front else "" for c in found.contestants}
    return Sheet(
        "Shootout of judges",
        f"Which of {words.many(len(found.contestants), 'way', 'ways')} makes the best judge, and what does it cost?",
        said,
        *_chart([(c.name, c.found["macro F1"]) for c in found.contestants], remarks),
        tuple(t for t in (quality, apart, _costs(found.contestants)) if t.rows),
        (_folds(found.folds, found.board), *found.notes, *_known(found.board)),
    )


def _ladder(found: Ladder) -> Sheet:
    first, metric, steps = found.rungs[0], found.board.metric, found.rungs[1:]
    helps = [r.field for r in steps if "macro F1" in r.step and r.step["macro F1"].low > 0]
    hurts = [r.field for r in steps if "macro F1" in r.step and r.step["macro F1"].high < 0]
    said = f"With {first.field} alone macro F1 is {_plain(first.found['macro F1'])}"
    said += f", with all {len(found.rungs)} fields {_plain(found.rungs[-1].found['macro F1'])}. " if steps else ". "
    if steps:
        said += f"Shown to help when added: {', '.join(helps) or 'none'}"
        said += f"; shown to hurt: {', '.join(hurts)}." if hurts else "."
    names = [_rung(at, r.field) for at, r in enumerate(found.rungs)]
    rows = list(zip(names, found.rungs, strict=True))
    quality = _quality([(name, r.found) for name, r in rows], metric, "Each rung reads the fields of those before it too.")
    lead = "Minus the rung before, paired by query: what the field adds."
    step = _differences([(name, r.step) for name, r in rows[1:]], metric, "Each step", lead)
    lead = "Minus the first field alone, paired by query."
    total = _differences([(name, r.total) for name, r in rows[2:]], metric, "Since the first field", lead)
    read = tuple(
        (name, (Cell(words.plain(r.characters, 0)), Cell(words.percent(r.cut)), *_cost(r.cost)[:1])) for name, r in rows
    )
    lead = "The mean length of a text, the share of texts in which the budget cut the new field, and the speed."
    texts = Table("What is read", lead, ("characters", "cut", "rows/s"), read)
    return Sheet(
        "Ladder of fields",
        "What does each field of a document's text add?",
        said,
        *_chart([(name, r.found["macro F1"]) for name, r in rows], {}),
        tuple(t for t in (quality, step, total, texts) if t.rows),
        (_folds(found.folds, found.board), *found.notes, *_known(found.board)),
    )


def _tiers(found: Tiers) -> Sheet:
    merged = [f"{p.dear} into {p.cheap}" for p in found.pairs if p.verdict == MERGE]
    open_ = sum(p.verdict == UNCLEAR for p in found.pairs)
    said = f"Can be merged: {', '.join(merged)}." if merged else "No tier is shown to be replaceable by a cheaper one."
    said += f" For {open_} of {words.many(len(found.pairs), 'pair')} there are too few labels to say." if open_ else ""
    rows = [(f"{p.dear} / {p.cheap}", _pair(p)) for p in found.pairs]
    lead = (
        f"The cheaper tier minus the dearer, paired by query, with 90% intervals: it can do the other's work if it is shown to "
        f"lose less than {found.margin:g} in macro F1 and in exact agreement."
    )
    columns = ("verdict", "macro F1", "exact", "times as fast", "times as quick alone", "cost saved", "queries needed")
    beside = _filled("Pairs of tiers, dearer / cheaper", lead, columns, rows)
    quality = _quality([(c.name, c.found) for c in found.tiers], found.board.metric, "Each tier against the labels.")
    return Sheet(
        "Tiers of judges",
        f"Which of {words.many(len(found.tiers), 'tier')} can be merged?",
        said,
        *_chart([(c.name, c.found["macro F1"]) for c in found.tiers], {}),
        tuple(t for t in (beside, quality, _costs(found.tiers)) if t.rows),
        (*found.notes, *_known(found.board)),
    )


def _pair(pair: TierPair) -> tuple[Cell, ...]:
    gaps = [pair.difference.get(name) for name in ("macro F1", "exact")]
    return (
        Cell(pair.verdict, pair.why),
        *(_figure(e, signed=True) for e in gaps),
        _number(pair.faster, 1),
        _number(pair.quicker, 1),
        Cell("not known") if pair.saved is None else Cell(words.percent(pair.saved)),
        Cell("" if pair.needed is None else f"about {words.count(pair.needed)}"),
    )


def _quality(rows: Sequence[tuple[str, Mapping[str, Estimate]]], metric: str, lead: str) -> Table:
    return _statistics("Quality", lead, rows, metric, signed=False)


def _differences(rows: Sequence[tuple[str, Mapping[str, Estimate]]], metric: str, title: str, lead: str) -> Table:
    return _statistics(title, lead, rows, metric, signed=True)


def _statistics(
    title: str, lead: str, rows: Sequence[tuple[str, Mapping[str, Estimate]]], metric: str, *, signed: bool
) -> Table:
    names = [name for name in SHOWN if any(name in found for _, found in rows)]
    columns = tuple(TITLES.get(name, name).format(metric=metric) for name in names)
    shown = [(name, tuple(_figure(found.get(n), signed=signed) for n in names)) for name, found in rows]
    return Table(title, lead, columns, tuple(shown))


def _costs(contestants: Iterable[Contestant]) -> Table:
    lead = "Measured here, after a warm-up: pairs labelled in a second, one pair alone, the most memory, the saved weights."
    machines = dict.fromkeys(c.cost.machine for c in contestants if c.cost.machine)
    lead += f" On {', '.join(machines)}." if machines else ""
    return _filled("Cost", lead, COSTS, [(c.name, _cost(c.cost)) for c in contestants])


def _filled(title: str, lead: str, columns: Sequence[str], rows: Sequence[tuple[str, tuple[Cell, ...]]]) -> Table:
    """The table without columns of which nothing is known; without rows if none is left."""
    kept = [i for i in range(len(columns)) if any(cells[i].text not in ("", "not known") for _, cells in rows)]
    return Table(
        title,
        lead,
        tuple(columns[i] for i in kept),
        tuple((name, tuple(cells[i] for i in kept)) for name, cells in rows) if kept else (),
    )


def _figure(e: Estimate | None, *, signed: bool) -> Cell:
    if e is None:
        return Cell("not measured")
    value = words.signed(e.value, 3) if signed else words.plain(e.value)
    return Cell(value, "nothing varied" if e.se == 0 else words.interval(e, 3, sign=signed))


def _cost(cost: Cost) -> tuple[Cell, ...]:
    speed = cost.rows_per_s
    return (
        _number(speed, 1 if speed is not None and speed < 1000 else 0),
        _number(cost.latency_ms, 1),
        _number(cost.memory_mib, 0),
        Cell("not known") if cost.parameters is None else Cell(words.count(cost.parameters)),
        _number(cost.training_s, 0),
        _number(cost.per_million, 2),
    )


def _chart(rows: Sequence[tuple[str, Estimate]], remarks: Mapping[str, str]) -> tuple[charts.Axis, tuple[Bar, ...]]:
    axis = charts.axis([x for _, e in rows for x in (e.low, e.high)], room=0.02)
    made = []
    for name, e in rows:
        remark = "; ".join(part for part in (remarks.get(name, ""), e.caveat) if part)
        made.append(Bar(name, e, charts.mark(axis, e), "better" if remarks.get(name) else "open", remark))
    return axis, tuple(made)


def _folds(k: int, board: Leaderboard) -> str:
    pairs, queries = words.count(board.common), words.count(board.queries)
    return f"{k} folds by query: each of {pairs} pairs ({queries} queries) was judged by a judge that never saw its query"


def _known(board: Leaderboard) -> list[str]:
    """What the board says, but for what is left out here by design."""
    return [note for note in board.notes if not note.startswith(_OF_CARDS)]


def _rung(at: int, name: str) -> str:
    return name if at == 0 else f"+ {name}"


def _plain(e: Estimate) -> str:
    return f"{words.plain(e.value)} ({words.interval(e, 3, sign=False)})"


def _number(value: float | None, places: int) -> Cell:
    return Cell("not known") if value is None else Cell(words.plain(value, places))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
