"""Rows of long tables, written without a template: a page of three years has a thousand, and templates take longer.

All that is text passes `escape`; numbers are ours, and pass `germane.report.words`.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from germane.report.words import count, interval, plain
from germane.types import Estimate
from germane.web.boards import views


def of_overview(found: views.Overview, base: str) -> Markup:
    """A row for each day, the last one first. base: what stands before every address."""
    before = escape(base)
    states: dict[str, str] = {}
    made: list[str] = []
    for day in reversed(found.days):
        state = states.setdefault(day.state, escape("no answer" if day.state == "done" else day.state))
        there = day.state != "missing"
        head = f'<a href="{before}/days/{day.date}">{day.date}</a>' if there else day.date
        cells = [_level(day.levels[metric], state) for metric in found.metrics]
        requests = "" if day.requests is None else count(day.requests)
        happened = "".join([f"{escape(kind)} changed " for kind in day.lines])
        happened += "".join([f'<a href="{before}/alerts/{number}">alert {number}</a> ' for number in day.alerts])
        made.append(
            f'<tr{"" if day.state == "done" else _GAP}><th scope="row">{head}</th>\n{"".join(cells)}\n'
            f'<td class="number">{requests}</td>\n<td>{happened}</td></tr>\n'
        )
    return Markup("".join(made))


_GAP = ' class="gap"'


def _level(e: Estimate | None, state: str) -> str:
    if e is None:
        return f'<td class="number">{state}</td><td></td><td></td>'
    if e.low > 0 and e.high < 999:  # as nearly all are: what plain and interval write
        return (
            f'<td class="number">{e.value:.3f}</td><td class="number">{e.low:.3f} to {e.high:.3f}</td>'
            f'<td class="number">{e.n:,}</td>'
        )
    return (
        f'<td class="number">{plain(e.value)}</td><td class="number">{interval(e, 3, sign=False)}</td>'
        f'<td class="number">{count(e.n)}</td>'
    )
