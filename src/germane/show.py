"""What the command line shows: results as text or JSON, a sign of life on long work. The only place that knows Rich."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.ops.logs import as_json
from germane.types import Effect, Equivalence, Estimate, JudgeCard, Leaderboard, Probes, Report, Sensitivity, is_error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def show(result: object, *, as_json: bool = False, folder: Path | None = None) -> None:
    """Print what a verb returned: text for people, or one JSON document. A report is also written to `folder`."""
    if folder and isinstance(result, Report):
        from germane.report import write

        write(result, folder)
    if as_json:
        text = result.to_json() if isinstance(result, Report | JudgeCard | Leaderboard | Probes | Sensitivity) else None
        print(text or json.dumps(plain(result), indent=2, ensure_ascii=False))
    elif isinstance(result, str):
        print(result)
    elif isinstance(result, Report):
        _report(result)
        if folder:
            print(f"report: {folder / 'report.html'}")
    elif isinstance(result, JudgeCard):
        _card(result)
    elif isinstance(result, Probes | Sensitivity):
        _grids(result)
    elif isinstance(result, Leaderboard):
        _leaderboard(result)
    elif isinstance(result, Sequence) and result and hasattr(result[0], "_fields"):
        _rows(result)
    else:
        _facts(result)


def plain(value: object) -> Any:
    """`value` as JSON has it: dataclasses and named tuples as objects, numpy's numbers as numbers, no number as null."""
    if isinstance(value, float) and not isfinite(value):
        return None
    if is_dataclass(value) or hasattr(value, "_fields"):
        return {name: plain(item) for name, item in _items(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if hasattr(value, "to_pylist"):
        return plain(value.to_pylist())
    return str(value) if isinstance(value, Path) else value


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """A sign of life on stderr while the block runs, where stderr is a terminal: what is being done, and for how long.

    A stage says more by logging to "germane": the latest line is shown, and `extra={"done": 3, "total": 9}` draws a bar.
    """
    if not sys.stderr.isatty() or as_json():
        yield
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=None)
        listener = _Listener(lambda record: progress.update(task, **_step(doing, record)))
        logger = logging.getLogger("germane")
        logger.addHandler(listener)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(listener)


class _Listener(logging.Handler):
    """A handler that hands each record to a function."""

    def __init__(self, tell: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record)


def _step(doing: str, record: logging.LogRecord) -> dict[str, Any]:
    step = {"completed": getattr(record, "done", None), "total": getattr(record, "total", None)}
    return {"description": f"{doing}: {record.getMessage()}"} | {key: value for key, value in step.items() if value is not None}


def _items(value: object) -> list[tuple[str, object]]:
    names = [f.name for f in fields(value)] if is_dataclass(value) else getattr(value, "_fields", None)
    pairs = [(name, getattr(value, name)) for name in names] if names else list(getattr(value, "items", lambda: ())())
    return pairs or [("result", value)]


def _facts(result: object) -> None:
    """One line for each thing that a verb says of what it made; what is empty is left out, notes come last, one by one."""
    facts = dict(_items(result))
    made, notes = facts.pop("made", True), facts.pop("notes", ())
    for name, value in facts.items():
        items = [f"{key} {_cell(item)}" for key, item in value.items()] if isinstance(value, dict) else value
        told = ", ".join(map(_cell, items)) if isinstance(items, list | tuple) else _cell(items)
        if told:
            print(f"{name.replace('_', ' ')}: {told}{'' if made or name != 'out' else ' (as it was: nothing had changed)'}")
    for note in notes if isinstance(notes, list | tuple) else ():
        print(f"note: {note}")


def _cell(value: object) -> str:
    if isinstance(value, Estimate):
        return f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f}, n = {value.n})"
    if isinstance(value, float):
        return f"{value:.4g}"
    from germane.report.visible import visible

    return f"{value:,}" if type(value) is int else "" if value is None else visible(str(value))


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    wide = None if (sys.stderr if stderr else sys.stdout).isatty() else 4000  # in a pipe nothing is wrapped
    return Console(stderr=stderr, highlight=False, width=wide)


def _rows(rows: Sequence[Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in rows[0]._fields:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_text(_cell(value)) for value in row))
    _print(table)


def _card(card: JudgeCard) -> None:
    """A judge card's verdict, and each statistic with its interval and bar."""
    from rich.table import Table

    from germane.report import probing

    verdict = "meets every bar" if card.passed else "does not meet every bar"
    head = f"{card.judge} against {card.gold} on scale {card.scale}: {verdict}"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    people = {ceiling.name: f"{ceiling.raters.value:.3f}" for ceiling in card.ceiling}
    for name in ("agreement", "value", "interval", "n", "bar", *(["people"] if people else [])):
        table.add_column(name, justify="left" if name == "agreement" else "right")
    for name, found in card.agreement.items():
        most = "at most " if is_error(name) else ""
        bar = f"{most}{card.bars[name]:.2f} {'met' if card.meets(name) else 'not met'}" if name in card.bars else ""
        cells = (f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}", f"{found.n:,}", bar, people.get(name, ""))
        table.add_row(_text(name), *(cells if people else cells[:-1]))
    notes = [_text(f"paired bias within {e.margin:g}: {e.verdict}{_more(e)}")] if (e := card.equivalence) else []
    for at in card.decisions:
        told = f"experiments of {at.n:,} queries: people and judge decide alike in {at.same.value:.1%}"
        notes.append(_text(f"{told} (Monte Carlo error {at.same.se:.1%}), and in opposite ways in {at.opposite:.1%}"))
    notes += [_text(text) for _, text, _ in probing.card_grids(card)]
    notes += [_text(text) for text in probing.uneven(card)]
    notes += [_text(f"! {caveat}", style="yellow") for caveat in card.caveats]
    _print(_text(head, style="bold"), table, *notes)


def _grids(found: Probes | Sensitivity) -> None:
    """What probes or paraphrases found: the answer, the tables, and what to know."""
    from rich.table import Table

    from germane.report import probing

    if isinstance(found, Probes):
        answer, grids = probing.probes_answer(found), probing.probes_grids(found)
    else:
        answer, grids = probing.sensitivity_answer(found), probing.sensitivity_grids(found)
    parts: list[Any] = [_text(answer, style="bold")]
    for grid in grids:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for at, head in enumerate(grid.heads):
            table.add_column(_text(head), justify="right" if at else "left")
        for row in grid.rows:
            table.add_row(*(_text(cell) for cell in row))
        parts.append(table)
    _print(*parts, *(_text(f"! {note}", style="yellow") for note in found.notes))


def _leaderboard(board: Leaderboard) -> None:
    """The answer, a row a judge in order, and what to know first."""
    from rich.table import Table

    from germane.report.leaderboard import answer, chains, speed

    everyone = (*board.judges, board.ceiling) if board.ceiling else board.judges
    wanted = ("exact", "quadratic kappa", "score tau-b", "expected score tau-b")
    names = [name for name in wanted if any(name in judge.found for judge in everyone)]
    heads = ["judge", "macro F1", "interval", "minus the best", "kept of the one above", "coverage", *names, "rows/s", "cost/M"]
    rows = []
    for judge in everyone:
        e, d, kept = judge.found["macro F1"], judge.to_best, judge.retention and judge.retention.ratio
        cells = [f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}", f"{d.value:+.3f}{' =' * judge.level_with_best}" if d else ""]
        cells += [f"{kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%})" if kept else "", f"{judge.coverage.value:.1%}"]
        cells += [f"{judge.found[name].value:.3f}" if name in judge.found else "" for name in names]
        rows.append([judge.name, *cells, *speed(judge.facts)])
    for other in board.speed_only:
        rows.append([f"{other.name} ({other.why})", *[""] * (5 + len(names)), *speed(other.facts)])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    for at in shown:
        table.add_column(heads[at], justify="right" if at else "left")
    for row in rows:
        table.add_row(*(_text(row[at]) for at in shown))
    notes = [_text("= cannot be told from the best on these pairs")] * any(
        j.to_best and j.level_with_best for j in board.judges
    )
    notes += [_text(chain) for chain in chains(board)] + [_text(f"! {note}", style="yellow") for note in board.notes]
    notes += [_text(f"! overridden: {override}", style="red") for override in board.overrides]
    _print(_text(answer(board), style="bold"), table, *notes)


def _more(found: Equivalence) -> str:
    """How many audited queries a margin asks for, where it could not be shown."""
    needs = f"; about {found.needed:,} queries would show it if there is none" if found.needed else ""
    return needs if found.verdict == "underpowered" else ""


def _text(value: str, style: str = "") -> Text:
    """Text that may come from outside: nothing in it commands the terminal."""
    from rich.text import Text

    from germane.report.visible import visible

    return Text(visible(value), style=style)


def _print(*parts: Any) -> None:
    """Rich on a terminal; in a pipe the same words in full width, without the spaces that fill lines up."""
    console = _console()
    if console.is_terminal:
        console.print(*parts, sep="\n")
        return
    with console.capture() as held:
        console.print(*parts, sep="\n")
    print("\n".join(line.rstrip() for line in held.get().strip("\n").splitlines() if line.strip()))


def _report(report: Report) -> None:
    """The first screen of a report: question, answer, the estimate by segment, and what could make it wrong."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("queries")
    for name in (report.metric, f"{report.delta.level:.0%} interval", "n"):
        table.add_column(_text(name), justify="right")
    found: list[tuple[str, Estimate, Effect | None]] = [("all", report.delta, None)]
    found += [(f"{effect.dimension}: {effect.name}", effect.delta, effect) for effect in report.by_segment if effect.delta]
    for name, delta, effect in found:
        mark = " *" if effect and effect.found else " ?" if delta.caveat.startswith("not reliable") else ""
        table.add_row(_text(name), f"{delta.value:+.4f}{mark}", f"{delta.low:+.4f} to {delta.high:+.4f}", f"{delta.n:,}")
    for other in report.alternatives:
        e = other.estimate
        table.add_row(_text(other.name), f"{e.value:+.4f}", f"{e.low:+.4f} to {e.high:+.4f}", f"{e.n:,}")
    notes = [_text("* differs from 0 after looking at all segments")] * any(effect.found for effect in report.by_segment)
    unsure = any(
        e.startswith("not reliable") for e in (report.delta.caveat, *(s.delta.caveat for s in report.by_segment if s.delta))
    )
    notes += [_text("? not reliable: too few queries that differ")] * unsure
    for effect in report.by_segment:
        if effect.adjusted is not None:
            low, high = f"{effect.adjusted.low:+.4f}", f"{effect.adjusted.high:+.4f}"
            notes.append(_text(f"{effect.dimension}: {effect.name}, as one picked among many: {low} to {high}"))
    from germane.report.segments import differ

    for test in report.interactions:
        notes.append(_text(f"By {test.dimension}: {differ(report, test.dimension)}"))
    if report.audit is not None:
        from germane.report.beside import audit

        notes += [_text(text) for text in audit(report, 4)]
        notes += [_text("Segments are by the judge alone: the audit corrects all queries together")] * bool(report.by_segment)
    if report.truth is not None:
        inside = "inside" if report.delta.low <= report.truth <= report.delta.high else "outside"
        notes.append(_text(f"The known truth of this simulation is {report.truth:+.4f}: {inside} the interval."))
    notes += [_text(f"! {warning}", style="yellow") for warning in report.warnings]
    notes += [_text(f"! overridden: {override}", style="red") for override in report.overrides]
    _print(_text(report.question, style="dim"), _text(report.answer, style="bold"), table, *notes)
