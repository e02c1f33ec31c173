"""The page of labels a day and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from germane.report.timeline import HIGH, Bars, stacked
from germane.web.access import Call
from germane.web.boards import costs as counting
from germane.web.boards.costs import Costs, LabelDay
from germane.web.boards.spans import WINDOWS

PARTS = ("taken from the store", "asked of the judge")
"""What a day's bar is made of. Pairs of the same words are asked once, so that the parts may be fewer than the day's pairs."""


def find(call: Call) -> Costs:
    """Labels a day. Raises: InputError for a day or a number of days that is none."""
    return counting.costs(call.registry, call.query)


def costs(call: Call) -> Response:
    """Labels a day: charts, tables, totals."""
    found = find(call)
    asked = {name: call.query.get(name, "") for name in ("days", "until")}
    text = urlencode({name: value for name, value in asked.items() if value})
    more: dict[str, Any] = {"asked": asked, "asked_text": text, "windows": WINDOWS, "high": HIGH, "parts": PARTS}
    return call.page("costs.html.j2", here="/costs", found=found, labels=_labels(found), money_bars=_money(found), **more)


def _labels(found: Costs) -> Bars | None:
    days = {d.date: parts for d in found.days if (parts := _parts(d))}
    return _drawn(found, days)


def _parts(day: LabelDay) -> tuple[float, ...]:
    """From the store, and asked; of days before this was counted, what the store did not have."""
    if day.pairs is None or day.known is None:
        return ()
    return float(day.known), float(day.asked if day.asked is not None else max(day.pairs - day.known, 0))


def _money(found: Costs) -> list[tuple[str, Bars]]:
    """The cost a day, by currency."""
    made = []
    for currency in sorted({day.currency for day in found.days if day.currency}):
        days = {}
        for day in found.days:
            if day.currency == currency and day.paid is not None:
                days[day.date] = (day.paid,)
        if (bars := _drawn(found, days)) is not None:
            made.append((currency, bars))
    return made


def _drawn(found: Costs, days: Mapping[str, tuple[float, ...]]) -> Bars | None:
    return stacked(found.first, found.last, days, drawn=[(day, "judge") for day in found.changed]) if days else None
