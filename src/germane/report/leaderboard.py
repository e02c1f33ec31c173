"""A Leaderboard prepared for reading: the order with its intervals first, then each kind of figure as a table of judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from germane.report import charts, words
from germane.types import Estimate, JudgeFacts, Leaderboard, Slice, SpeedOnly, Standing, is_error

WIDE = 5
"""Slices side by side in one table: more go into a table of their own."""

Cell = Estimate | str | None
"""A figure, words of ours, or nothing that was measured."""


class Row(NamedTuple):
    """A judge on the chart. tone: of its interval. remark: what to know of its place."""

    standing: Standing
    mark: charts.Mark
    tone: str
    remark: str


class Grid(NamedTuple):
    """A table with a row a judge. signed: columns of differences and errors. counted: each figure has an n of its own."""

    title: str
    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    signed: tuple[bool, ...]
    counted: bool = False


class Split(NamedTuple):
    """One dimension's slices: the tables of macro F1 and exact agreement, and the others."""

    dimension: str
    first: tuple[Grid, ...]
    rest: tuple[Grid, ...]


@dataclass(frozen=True)
class View:
    """A leaderboard's answer, its chart and its tables; empty ones are left out. peak, people: macro F1 of the ceiling and
    between two people, drawn as strokes."""

    board: Leaderboard
    answer: str
    clear: bool
    axis: charts.Axis
    rows: tuple[Row, ...]
    peak: float | None
    people: float | None
    grids: tuple[Grid, ...]
    splits: tuple[Split, ...]
    chains: tuple[str, ...]


def html(board: Leaderboard) -> str:
    """A self-contained HTML page of the leaderboard."""
    from germane.report import render

    return render.html_page("leaderboard.html.j2", v=of(board))


def markdown(board: Leaderboard) -> str:
    """The leaderboard as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("leaderboard.md.j2", v=of(board))


def of(board: Leaderboard) -> View:
    """A leaderboard prepared for reading."""
    first = [judge.found["macro F1"] for judge in board.judges]
    peak = board.ceiling.found["macro F1"].value if board.ceiling else None
    people = board.people["macro F1"].value if "macro F1" in board.people else None
    ends = [x for e in first for x in (e.low, e.high)] + [x for x in (peak, people) if x is not None]
    axis = charts.axis(ends, room=0.02)
    level = [judge.level_with_best for judge in board.judges]
    rows = tuple(
        Row(judge, charts.mark(axis, e), "better" if near else "open", _remark(judge))
        for judge, e, near in zip(board.judges, first, level, strict=True)
    )
    clear = len(board.judges) > 1 and not any(level[1:])
    made = (_grades(board), _agreement(board), _above(board), *_of_lists(board), _probabilities(board), *_shares(board))
    grids = tuple(grid for grid in (*made, _speed(board), _speed_only(board)) if grid.rows and grid.columns)
    return View(board, answer(board), clear, axis, rows, peak, people, grids, _splits(board), chains(board))


def answer(board: Leaderboard) -> str:
    """Who is closest to people, and who cannot be told from that judge, in one sentence."""
    best, *others = board.judges
    e = best.found["macro F1"]
    said = f"{words.plain(e.value)} ({words.interval(e, 3, sign=False)})"
    if not others:
        return f"{best.name} has a macro F1 of {said}."
    start = f"{best.name} has the highest macro F1 of {len(board.judges)} judges, {said}"
    near = [judge.name for judge in others if judge.level_with_best]
    if not near:
        return f"{start}, and each of the others is below it by more than noise."
    who = (
        ", ".join(near[:-1]) + (" and " if len(near) > 1 else "") + near[-1] if len(near) <= 3 else f"{len(near)} of the others"
    )
    return f"{start}; {who} cannot be told from it on these pairs."


def chains(board: Leaderboard) -> tuple[str, ...]:
    """Who taught whom, as "annotator > teacher > student", the longest chains alone; judges that are not here by
    what their pupils call them."""
    everyone: list[Standing | SpeedOnly] = [*board.judges, *board.speed_only]
    known = {judge.fingerprint: judge.name for judge in everyone if judge.fingerprint}
    found = []
    for judge in everyone:
        facts = judge.facts
        called = [
            known.get(f) or (facts.taught_by[i] if i < len(facts.taught_by) else f[:16]) for i, f in enumerate(facts.lineage)
        ]
        called += facts.taught_by[len(facts.lineage) :]
        if called:
            found.append((*reversed(called), judge.name))
    longest = [c for c in dict.fromkeys(found) if not any(c == other[: len(c)] for other in found if len(other) > len(c))]
    return tuple(" > ".join(chain) for chain in longest)


def speed(facts: JudgeFacts) -> tuple[str, str]:
    """Rows a second and cost of a million pairs in words, "" where they are not known.

    >>> speed(JudgeFacts(rows_per_s=83.25, cost_per_million=3.37))
    ('83.2', '3.37')
    """
    rows, cost = facts.rows_per_s, facts.cost_per_million
    return "" if rows is None else words.plain(rows, 1 if rows < 1000 else 0), "" if cost is None else words.plain(cost, 2)


def _remark(judge: Standing) -> str:
    near = "within noise of the best" if judge.to_best is not None and judge.level_with_best else ""
    kept = ""
    if judge.retention is not None and judge.retention.ratio is not None:
        e = judge.retention.ratio
        span = f"{words.percent(e.low)} to {words.percent(e.high)}"
        kept = f"keeps {words.percent(e.value)} ({span}) of {judge.retention.above}"
    return "; ".join(text for text in (near, kept, judge.found["macro F1"].caveat) if text)


def _signed(name: str) -> bool:
    """True for an error that can lie on either side of 0."""
    return is_error(name) and name not in ("calibration error", "Brier score", "false relevant")


def _everyone(board: Leaderboard) -> tuple[Standing, ...]:
    return (*board.judges, board.ceiling) if board.ceiling else board.judges


def _grid(board: Leaderboard, title: str, lead: str, names: Iterable[str], *, counted: bool = False) -> Grid:
    """A table of statistics by name, a column each that any judge has; the ceiling and people among themselves last."""
    everyone = _everyone(board)
    shown = tuple(name for name in names if any(name in judge.found for judge in everyone))
    rows: list[tuple[str, tuple[Cell, ...]]] = [(judge.name, tuple(judge.found.get(n) for n in shown)) for judge in everyone]
    if shown and any(name in board.people for name in shown) and not any(map(is_error, shown)):
        rows.append(("two people, on all of gold", tuple(board.people.get(n) for n in shown)))
    return Grid(title, lead, shown, tuple(rows), tuple(map(_signed, shown)), counted)


def _grades(board: Leaderboard) -> Grid:
    lead = "Of the pairs that people or the judge gave a grade, how far both did: precision and recall in one number."
    return _grid(board, "F1 of each grade", lead, ["macro F1", *(f"F1 of {label}" for label in board.labels)])


def _agreement(board: Leaderboard) -> Grid:
    lead = "On the common pairs, but for two columns: coverage is the share of all gold pairs that the judge answered, and the "
    lead += "last is its macro F1 on all pairs that it answered itself."
    names = [n for n in ("exact", "within one", "quadratic kappa", "gain error") if any(n in j.found for j in board.judges)]
    rows: list[tuple[str, tuple[Cell, ...]]] = [
        (j.name, (j.coverage, *(j.found.get(n) for n in names), j.own.get("macro F1"))) for j in _everyone(board)
    ]
    if board.people:
        rows.append(("two people, on all of gold", (None, *(board.people.get(n) for n in names), board.people.get("macro F1"))))
    columns = ("coverage", *names, "macro F1, own pairs")
    return Grid("Agreement with people", lead, columns, tuple(rows), tuple(map(_signed, columns)), counted=True)


def _above(board: Leaderboard) -> Grid:
    lead = "Each judge beside the one that taught it, or that was named: the share of its macro F1 that is kept, and the "
    lead += "paired differences, on the same pairs."
    labels = [f"F1 of {label}" for label in board.labels]
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for judge in board.judges:
        if (kept := judge.retention) is not None:
            gaps = [kept.gaps.get(name) for name in labels]
            rows.append((judge.name, (kept.above, kept.ratio, kept.difference, *gaps)))
    columns = ("beside", "share kept", "macro F1", *labels)
    return Grid("Against the tier above", lead, columns, tuple(rows), (False, False, True, *[True] * len(labels)))


def _of_lists(board: Leaderboard) -> tuple[Grid, ...]:
    ranks = ("score tau-b", "score rho", "expected score tau-b", "expected score rho")
    errors = [f"{kind} error{end}" for kind in ("score", "expected score") for end in ("", " P10", " P90")]
    paired = ("difference tau-b", "difference rho", "difference error", "difference error P10", "difference error P90")
    decided = ("expected difference rho", "expected difference error", "decision agreement")
    both = "By the judge's grades, and (expected) by its expected gains, where it gives probabilities."
    return (
        _grid(
            board,
            f"Scores: {board.metric} of each list, in order",
            f"{both} Does it rank the lists as people do?",
            ranks,
            counted=True,
        ),
        _grid(board, f"Scores: error in {board.metric}", f"{both} Judge minus people.", errors, counted=True),
        _grid(board, "Paired differences", "Treatment minus control: what an experiment rests on.", paired, counted=True),
        _grid(board, "Paired differences by expected gains, and decisions", both, decided, counted=True),
    )


def _probabilities(board: Leaderboard) -> Grid:
    lead = "Whether probabilities mean what they say; 0 is best. Only judges that give them."
    some = ("calibration error", "expected gain error", "Brier score")
    whole = _grid(board, "Calibration", lead, some, counted=True)
    return whole._replace(rows=tuple(row for row in whole.rows if any(cell is not None for cell in row[1])))


def _shares(board: Leaderboard) -> tuple[Grid, ...]:
    """Labels and lists apart: together they would be too wide to read."""
    names = tuple(dict.fromkeys(name for judge in board.judges for name in judge.of_ceiling))
    grids = []
    for title, shown in (
        ("Share of the ceiling", tuple(name for name in names if "score" not in name.split())),
        ("Share of the ceiling in scores", tuple(name for name in names if "score" in name.split())),
    ):
        rows: list[tuple[str, tuple[Cell, ...]]] = [(j.name, tuple(j.of_ceiling.get(n) for n in shown)) for j in board.judges]
        lead = "Each figure over that of the best judge possible, on the same pairs: 1 is all that can be reached."
        grids.append(Grid(title, lead, shown, tuple(rows), (False,) * len(shown)))
    return tuple(grids)


def _speed(board: Leaderboard) -> Grid:
    facts = [(judge.name, judge.facts) for judge in board.judges]
    if not any(f.kind or f.base or f.rows_per_s is not None or f.cost_per_million is not None for _, f in facts):
        return Grid("", "", (), (), ())
    return _facts_grid("Speed and cost", "As the files of judgments say: nothing here was measured for this page.", facts)


def _speed_only(board: Leaderboard) -> Grid:
    lead = "Fakes and random weights judge nothing: their speed alone is shown."
    grid = _facts_grid("Speed only", lead, [(judge.name, judge.facts) for judge in board.speed_only])
    rows = ((name, (each.why, *cells)) for each, (name, cells) in zip(board.speed_only, grid.rows, strict=True))
    return grid._replace(columns=("what it is", *grid.columns), rows=tuple(rows), signed=(False, *grid.signed))


def _facts_grid(title: str, lead: str, facts: Sequence[tuple[str, JudgeFacts]]) -> Grid:
    columns = ("kind", "base", "rows/s", "ms for one pair", "machine", "cost of a million pairs")
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for name, each in facts:
        rows_per_s, cost = speed(each)
        cost = f"{cost} ({each.cost_from})" if cost and each.cost_from else cost
        alone = "" if each.latency_ms is None else words.plain(each.latency_ms, 1)
        told = (each.kind, each.base, rows_per_s, alone, each.machine, cost)
        rows.append((name, tuple(text or None for text in told)))
    return Grid(title, lead, columns, tuple(rows), (False,) * len(columns))


def _splits(board: Leaderboard) -> tuple[Split, ...]:
    """A table a dimension and statistic, a column a slice; the shares of the ceiling after them."""
    splits = []
    for dimension in dict.fromkeys(each.dimension for judge in board.judges for each in judge.slices):
        kinds = ("macro F1", "exact", "within one", "score tau-b", "score rho", "score error", "difference error")
        first: list[Grid] = []
        rest: list[Grid] = []
        for name in kinds:
            grids = _slice_grids(board, dimension, name, _everyone(board), lambda judge: judge.slices)
            (first if name in ("macro F1", "exact") else rest).extend(grids)
            shares = _slice_grids(board, dimension, name, board.judges, lambda judge: judge.slices_of_ceiling)
            rest += [grid._replace(title=f"{grid.title}, as a share of the ceiling") for grid in shares]
        splits.append(Split(dimension, tuple(first), tuple(rest)))
    return tuple(splits)


def _slice_grids(
    board: Leaderboard,
    dimension: str,
    name: str,
    judges: Sequence[Standing],
    slices: Callable[[Standing], Sequence[Slice]],
) -> list[Grid]:
    found: list[Mapping[str, Estimate]] = [
        {each.name: each.found[name] for each in slices(judge) if each.dimension == dimension and name in each.found}
        for judge in judges
    ]
    names = tuple(dict.fromkeys(each for part in found for each in part))
    grids = []
    for start in range(0, len(names), WIDE):
        shown = names[start : start + WIDE]
        rows = tuple((j.name, tuple(part.get(n) for n in shown)) for j, part in zip(judges, found, strict=True))
        grids.append(Grid(name, "", shown, rows, (_signed(name),) * len(shown), counted=True))
    return grids
