"""The judge's agreement with people on fresh golden samples, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from germane.report import words
from germane.report.probing import Grid
from germane.types import Estimate

HEADS = (
    "period",
    "judge",
    "guide version",
    "pairs",
    "same grade",
    "kappa",
    "judge minus people, in gain",
    "people, same grade",
    "people, kappa",
)
NONE = "no value"


def grid(title: str, rows: Sequence[Any]) -> Grid:
    """A table of agreement. rows: as `watching.agreeing.Agreed` has them, the latest first in the table."""
    lead = (
        "Pairs of each day, drawn by design from what was shown and judged by people; weighted by requests. People among "
        "themselves are as good as a judge can be."
    )
    return Grid(title, lead, HEADS, tuple(_cells(row) for row in reversed(rows)))


def _cells(row: Any) -> tuple[str, ...]:
    named = row.period, row.judge, row.guide, words.count(row.pairs)
    shares = _share(row.exact), _number(row.kappa), _number(row.gain, sign=True)
    return (*named, *shares, _share(row.people_exact), _number(row.people_kappa))


def _share(e: Estimate | None) -> str:
    return (
        NONE
        if e is None
        else f"{words.percent(e.value)} ({words.percent(e.low)} to {words.percent(e.high)}; n {words.count(e.n)})"
    )


def _number(e: Estimate | None, *, sign: bool = False) -> str:
    if e is None:
        return NONE
    value = words.signed(e.value, 3) if sign else words.plain(e.value)
    return f"{value} ({words.interval(e, 3, sign=sign)}; n {words.count(e.n)})"
