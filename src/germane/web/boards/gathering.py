"""The history as pages show it: the overview, the segments, a day. Each asks the registry for the rows that it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from germane.registry import looking
from germane.registry.days import LevelRow, LineRow
from germane.registry.looking import Ends
from germane.report import day as report
from germane.stats.means import t_quantile
from germane.stats.ratios import few
from germane.types import Estimate, InputError
from germane.watching import calendar
from germane.web.access import Call, Missing
from germane.web.boards import views
from germane.web.boards.alarms import alert, read_by
from germane.web.boards.sharing import board_of
from germane.web.boards.spans import WINDOWS as WINDOWS
from germane.web.boards.spans import window

WEEK = timedelta(days=7)


def overview(call: Call) -> views.Overview:
    """Levels day by day: of the metric that is asked for, or of the first two; in one segment, or over all.

    Raises: InputError for a day that is none, and for a metric, a segment or a number of days that is not known.
    """
    of, notes = call.registry, []
    if (span := looking.ends(of)) is None:
        return views.Overview([], "all", "", "", [], [], [], 0, [], [], ["no day yet: `germane watch run` does the first"])
    metrics, segments = looking.names(of, span.last_done)
    asked, segment = call.query.get("metric", ""), call.query.get("segment", "") or "all"
    shown = [_known(asked, metrics, "metric")] if asked else firsts(metrics)
    first, last = window(call.query, span)
    found = looking.traffic(of, first, last)
    known_levels: dict[str, dict[str, Estimate]] = {name: {} for name in shown}
    rows = looking.series(of, shown, segment, first, last)
    if segment not in (*segments, "all"):
        if not rows:
            _known(segment, [*segments, "all"], "segment")
        notes.append(f"{segment[:60]} has no level on the last day, {span.last_done}")
    for row in rows:
        if math.isfinite(row.estimate.value):
            known_levels[row.metric][row.date] = row.estimate
    lines = [views.Line(*line) for line in looking.drawn(of, first, last)]
    marks = [views.Mark(*mark) for mark in looking.raised(of, first, last, shown) if segment in ("all", mark.segment)]
    changed: dict[str, list[str]] = {}
    raised: dict[str, list[int]] = {}
    for line in lines:
        changed.setdefault(line.date, []).append(line.kind)
    for mark in marks:
        raised.setdefault(mark.date, []).append(mark.id)
    days = []
    for each in map(str, calendar.days(date.fromisoformat(first), date.fromisoformat(last))):
        state, requests, drawn = found.get(each, ("missing", None, None))
        days.append(
            views.Point(
                each,
                state,
                requests,
                drawn,
                {name: known_levels[name].get(each) for name in shown},
                changed.get(each, []),
                raised.get(each, []),
            )
        )
    notes += _late(call, span)
    counts = looking.counted(of)
    still = counts["raised"] + counts["acknowledged"]
    return views.Overview(shown, segment, first, last, days, lines, marks, still, metrics, segments, notes)


def segments(call: Call) -> views.Segments:
    """The first two metrics in every segment on a day, the last one by default, beside a week before.

    Raises: InputError for a day that is none.
    """
    of = call.registry
    if (span := looking.ends(of)) is None or not span.last_done:
        return views.Segments("", "", "no day yet", [], [])
    asked = call.query.get("date", "")
    day = str(calendar.day_of(asked, what="date")) if asked else span.last_done
    metrics = firsts(looking.names(of, day)[0])
    before = str(date.fromisoformat(max(day, str(date.min + WEEK))) - WEEK)
    rows: dict[str, list[LevelRow]] = {day: [], before: []}
    for row in looking.levels_on(of, [day, before], metrics):
        if row.metric in metrics:
            rows[row.date].append(row)
    drawn = looking.drawn(of, str(date.fromisoformat(before) + calendar.DAY), day)
    why = _not_compared(before, bool(rows[before]), drawn)
    old = {} if why else {(row.metric, row.segment): row.estimate for row in rows[before]}
    made = [_segment(row, old.get((row.metric, row.segment))) for row in rows[day] if math.isfinite(row.estimate.value)]
    return views.Segments(day, "" if why else before, why, metrics, made)


def day(call: Call) -> views.Day:
    """The report of a day. Raises: Missing for one that is not in the history."""
    of, text = call.registry, call.path.get("date", "")
    try:
        row = looking.day(of, str(calendar.day_of(text, what="date")))
    except InputError:
        row = None
    if row is None:
        raise Missing
    earlier, later = looking.beside(of, row.date)
    metrics = firsts(looking.names(of, row.date)[0])
    levels = [r for r in looking.levels_on(of, [row.date], metrics) if math.isfinite(r.estimate.value)]
    changes = looking.changes_on(of, row.date, metrics)
    lines = looking.drawn(of, row.date, row.date)
    raised = read_by(call, looking.alerts_of(of, on=row.date))
    older = read_by(call, looking.alerts_of(of, raised_before=row.date, open_only=True))
    before = changes[0].before if changes else ""
    told = report.DayReport(
        day=row,
        before=before,
        metric=metrics[0] if metrics else "",
        levels=tuple(levels),
        changes=tuple(changes),
        lines=tuple(lines),
        alerts=tuple(raised),  # type: ignore[arg-type]  # an alert of the registry has all that a new one has
        open=tuple(older),
        dates=(),
        history=(),
        past_lines=(),
        gaps=(),
        notes=tuple(str(note) for note in row.facts.get("notes", ())),
        labels=(),
    )
    plain = {name: getattr(row, name) for name in ("date", "state", "zone", "requests", "queries", "sampled", "panel")}
    plain |= {name: getattr(row, name) for name in ("judge", "fingerprint", "scale", "guide_version")}
    return views.Day(
        **plain,
        answer=report.answer(told),
        before=before,
        earlier=earlier,
        later=later,
        levels=[views.Level(r.metric, r.segment, r.estimate) for r in levels],
        changes=[views.Change(r.metric, r.segment, r.part, report.estimate(r)) for r in changes],
        lines=[views.Line(*line) for line in lines],
        alerts=[alert(each) for each in raised],
        tables=[views.Table(g.title, g.lead, list(g.heads), [list(r) for r in g.rows]) for g in report.grids(told)],
        notes=list(told.notes),
        facts=dict(row.facts),
    )


def firsts(metrics: list[str]) -> list[str]:
    """The first two metrics: sDCG and the share relevant; any others where these are not there."""
    wanted = [name for name in metrics if name.startswith(("sdcg@", "relevant@"))]
    return (wanted or metrics)[:2]


def _known(name: str, known: list[str], what: str) -> str:
    if name not in known:
        raise InputError(f"the {what} {name[:60]!r} is not known: there are {', '.join(dict.fromkeys(known))[:300]}")
    return name


def _late(call: Call, span: Ends) -> list[str]:
    """What to know where the history ends before yesterday."""
    over = calendar.yesterday(call.registry.clock(), board_of(call).zone)
    late = (over - date.fromisoformat(span.last)).days
    if late <= 0:
        return []
    days = "yesterday is" if late == 1 else f"the last {late:,} days are"
    return [f"the history ends on {span.last}: {days} not in it yet"]


def _not_compared(before: str, there: bool, drawn: list[LineRow]) -> str:
    """Why a day is not held against the one a week before; "" where it is."""
    if not there:
        return f"nothing is compared: {before} is not in the history"
    if drawn:
        kinds = " and ".join(dict.fromkeys(line.kind for line in drawn))
        return f"nothing is compared: the {kinds} changed on {drawn[-1].date}"
    return ""


def _segment(row: LevelRow, old: Estimate | None) -> views.SegmentRow:
    old = _answered(old)
    return views.SegmentRow(row.segment, row.metric, row.estimate, old, None if old is None else difference(row.estimate, old))


def difference(now: Estimate, then: Estimate) -> Estimate:
    """The difference of two days' levels, in units of the metric, as if the two samples were independent.

    The panel's queries are in both, so that the interval is wider than it need be. n: the smaller one.
    """
    value, se, n = now.value - then.value, math.hypot(now.se, then.se), min(now.n, then.n)
    df = float(max(n - 1, 1))
    margin = t_quantile((1 + now.level) / 2, df) * se
    method = "difference of two levels, as if independent"
    return Estimate(value, se, value - margin, value + margin, n, method, now.level, df, few(se, n))


def _answered(e: Estimate | None) -> Estimate | None:
    return e if e is not None and math.isfinite(e.value) else None


def facts_of(found: views.Day) -> Mapping[str, Any]:
    """What was labelled on a day, as its facts have it; nothing for a gap."""
    said: Any = found.facts.get("labels")
    return said if isinstance(said, Mapping) else {}
