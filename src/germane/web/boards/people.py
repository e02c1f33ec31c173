"""The page of the golden set's health."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from germane.report import charts
from germane.report.golden import SHARES, SIGNED
from germane.types import Estimate
from germane.web.access import Call
from germane.web.boards import goldens
from germane.web.boards.goldens import GoldenFigure, GoldenHealth, GoldenTask
from germane.web.boards.places import place
from germane.web.boards.sharing import board_of

ALPHA, AGREE = "alpha (ordinal)", "full agreement"
OF_RATERS = ("same as the others", "severity")
OF_TWO = ("exact agreement", "quadratic kappa")
MOST = 30  # pairs of raters on the page; all of them are in the data


class PartRow(NamedTuple):
    """A part of the votes: alpha, where its mark goes, and the share of pairs on which all agree."""

    name: str
    alpha: Estimate | None
    mark: charts.Mark | None
    agree: Estimate | None


class Parts(NamedTuple):
    """A table of the parts of one dimension, drawn on one axis."""

    dimension: str
    axis: charts.Axis
    rows: tuple[PartRow, ...]


class Told(NamedTuple):
    """A task as the page shows it. over: (statistic, estimate). two: (names, their figures)."""

    task: GoldenTask
    over: tuple[tuple[str, Estimate], ...]
    parts: tuple[Parts, ...]
    raters: dict[str, dict[str, Estimate]]
    two: tuple[tuple[str, dict[str, Estimate]], ...]
    more: int


def find(call: Call) -> GoldenHealth:
    """The golden set's health."""
    return goldens.health(call.registry, place(board_of(call).project))


def golden(call: Call) -> Response:
    """The golden set's health, task by task."""
    found = find(call)
    words: dict[str, Any] = {"shares": SHARES, "signed_": SIGNED, "of_raters": OF_RATERS, "of_two": OF_TWO}
    return call.page("golden.html.j2", here="/golden", found=found, told=[_told(task) for task in found.tasks], **words)


def _told(task: GoldenTask) -> Told:
    over = tuple((f.statistic, f.found) for f in task.figures if f.dimension == "all")
    dimensions = dict.fromkeys(f.dimension for f in task.figures if f.dimension not in ("all", "rater", "two raters"))
    two = tuple(_by_name(task.figures, "two raters").items())
    parts = tuple(_parts(task.figures, dimension) for dimension in dimensions)
    return Told(task, over, parts, _by_name(task.figures, "rater"), two[:MOST], len(two) - MOST)


def _by_name(figures: Sequence[GoldenFigure], dimension: str) -> dict[str, dict[str, Estimate]]:
    found: dict[str, dict[str, Estimate]] = {}
    for f in figures:
        if f.dimension == dimension:
            found.setdefault(f.name, {})[f.statistic] = f.found
    return found


def _parts(figures: Sequence[GoldenFigure], dimension: str) -> Parts:
    by_name = _by_name(figures, dimension)
    alphas = [found[ALPHA] for found in by_name.values() if ALPHA in found]
    axis = charts.axis([x for e in alphas for x in (e.low, e.high)], room=0.04)
    rows = []
    for name, found in by_name.items():
        alpha = found.get(ALPHA)
        rows.append(PartRow(name, alpha, None if alpha is None else charts.mark(axis, alpha), found.get(AGREE)))
    return Parts(dimension, axis, tuple(rows))
