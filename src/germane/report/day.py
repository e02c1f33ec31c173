"""A watched day prepared for reading: a page with the history as a chart, tables, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.report import charts, samples, words
from germane.report.probing import Grid
from germane.stats.means import t_quantile
from germane.stats.ratios import few
from germane.types import Estimate

if TYPE_CHECKING:
    from germane.registry.alerting import AlertRow
    from germane.registry.days import ChangeRow, DayRow, LevelRow, LineRow, NewAlert

HEIGHT = 240  # of the chart's field, in pixels
LEFT = 7.0  # percent of the width, for the labels of the axis
TABLE = 14  # days in the table below the chart
CAUSES = ("search", "traffic", "catalogue", "judge")
CAUSE_WORDS = {
    "search": "other results for the same queries",
    "traffic": "other queries",
    "catalogue": "documents that came or went",
    "judge": "the judge moved",
}


@dataclass(frozen=True)
class DayReport:
    """All that is said of a day. before: the day that it is compared with, "" if there is none. metric: the first one.

    alerts: raised on it. open: older ones that nobody resolved. dates: days of the chart; history: their levels, of the first
    metric over all; past_lines, gaps: of them. labels: of the scale, worst first. golden: the judge's
    agreement with people by week, where people voted.
    """

    day: DayRow
    before: str
    metric: str
    levels: tuple[LevelRow, ...]
    changes: tuple[ChangeRow, ...]
    lines: tuple[LineRow, ...]
    alerts: tuple[NewAlert, ...]
    open: tuple[AlertRow, ...]
    dates: tuple[str, ...]
    history: tuple[LevelRow, ...]
    past_lines: tuple[LineRow, ...]
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    labels: tuple[str, ...]
    golden: tuple[Any, ...] = ()

    def level(self, metric: str, segment: str = "all") -> Estimate | None:
        """A level of the day; None where there is no answer."""
        return next((r.estimate for r in self.levels if (r.metric, r.segment) == (metric, segment)), None)

    def change(self, metric: str, segment: str = "all", part: str = "same queries") -> Estimate | None:
        """A change from the day before; None where there is none."""
        found = next((r for r in self.changes if (r.metric, r.segment, r.part) == (metric, segment, part)), None)
        return None if found is None else estimate(found)


class Spot(NamedTuple):
    """A day on the chart: x in percent of the width; y, top and bottom in pixels, None where the day has no level."""

    date: str
    x: float
    y: float | None
    top: float
    bottom: float
    today: bool


class Chart(NamedTuple):
    """The first metric over time. marks: (value, pixels). spots: days; joined: lines between neighbours, in percent and pixels.

    drawn: (percent, words) where the judge, guide, scale or design changed; raised: (percent, pixels) of alerts.
    """

    places: int
    marks: tuple[tuple[float, float], ...]
    spots: tuple[Spot, ...]
    joined: tuple[tuple[float, float, float, float], ...]
    drawn: tuple[tuple[float, str], ...]
    raised: tuple[float, ...]
    first: str
    last: str


def html(found: DayReport) -> str:
    """A self-contained HTML page."""
    from germane.report import render

    facts = [
        ("Day", f"{found.day.date}, time zone {found.day.zone}"),
        ("Requests", f"{words.count(found.day.requests)}, of {words.many(found.day.queries, 'query', 'queries')}"),
        ("Sample", f"{words.many(found.day.sampled, 'query', 'queries')}, {words.count(found.day.panel)} of the panel"),
        ("Judge", f"{found.day.judge or 'none'}, fingerprint {found.day.fingerprint or 'none'}"),
        ("Scale", f"{found.day.scale}, guide version {found.day.guide_version}"),
        *_spent(found.day.facts),
    ]
    return render.html_page(
        "day.html.j2",
        title=f"Search on {found.day.date}",
        what="Watching search",
        question=f"How relevant was search on {found.day.date}, and did it change?",
        answer=answer(found),
        notes=[note[:1].upper() + note[1:] for note in found.notes],
        grids=grids(found),
        chart=chart(found),
        height=HEIGHT,
        left=LEFT,
        metric=name(found.metric),
        facts=facts,
        foot="Levels are weighted by requests and by the design. A day without traffic is a gap, and no zero. Intervals are of "
        "that day alone; alerts allow for having looked at every series on every day.",
    )


def to_json(found: DayReport) -> str:
    """The same as one JSON document: every number with its interval and n."""
    return json.dumps(_plain(found), indent=2, ensure_ascii=False) + "\n"


def answer(found: DayReport) -> str:
    """The day in one to three sentences."""
    if found.day.state != "done":
        return f"Nothing is known of {found.day.date}: {found.day.facts.get('why', 'there was no traffic')}."
    e = found.level(found.metric)
    if e is None:
        return f"No query of {found.day.date} has an answer: the judge gave no grades."
    said = f"{name(found.metric)} was {words.plain(e.value)} ({words.interval(e, 3, sign=False)})"
    if found.lines:
        kinds = " and ".join(line.kind for line in found.lines)
        said += f". The {kinds} changed that day, so it is not compared with {found.before}"
    elif (c := found.change(found.metric)) is not None:
        if c.value == 0 and c.se == 0:
            said += f", the same as on {found.before} for the same queries"
        else:
            said += f"; {words.signed(c.value)} ({words.interval(c)}) from {found.before} on the same queries"
    if not found.alerts:
        return f"{said}. No alert."
    return f"{said}. {words.many(len(found.alerts), 'alert')}: {'; '.join(sentence(a) for a in found.alerts[:3])}."


def sentence(alert: NewAlert | AlertRow) -> str:
    """An alert in one sentence without its stop: what, how much, since when, who carries it, and its cause."""
    size = alert.detail["size"]
    moved = "fell" if alert.direction == "down" else "rose"
    said = f"{name(alert.metric)} {moved} by {words.plain(abs(size['value']), 4)}"
    if size.get("low") is not None and size.get("high") is not None:
        ends = sorted((abs(size["low"]), abs(size["high"]))) if size["low"] * size["high"] > 0 else None
        said += f" ({words.plain(ends[0], 4)} to {words.plain(ends[1], 4)})" if ends else ""
    said += f" since {alert.since}" + ("" if alert.segment == "all" else f" in {alert.segment}")
    if alert.part != "same queries":
        said += f" by the {alert.part}"
    if carried := [segment for segment in alert.detail.get("carried_by", ()) if segment != alert.segment]:
        said += f", carried by {', '.join(carried[:3])}"
    split = alert.detail.get("split")
    if split and split.get("cause"):
        said += f"; cause: {split['cause']} ({CAUSE_WORDS.get(split['cause'], '')})"
    return said


def name(metric: str) -> str:
    """A metric in words.

    >>> name("sdcg@25"), name("relevant@25"), name("grade@25:relevant"), name("judge")
    ('sDCG@25', 'Share relevant@25', 'Share of grade relevant@25', 'The judge on its anchors')
    """
    kind, _, rest = metric.partition("@")
    k, _, label = rest.partition(":")
    return {
        "sdcg": f"sDCG@{k}",
        "relevant": f"Share relevant@{k}",
        "grade": f"Share of grade {label}@{k}",
        "judge": "The judge on its anchors",
    }.get(kind, metric)


def chart(found: DayReport) -> Chart | None:
    """Where the marks of the history go; None where there is no level."""
    dates = [*found.dates, found.day.date]
    levels: dict[str, Estimate] = {row.date: row.estimate for row in found.history}
    if (today := found.level(found.metric)) is not None:
        levels[found.day.date] = today
    if not levels:
        return None
    at = _places(dates)
    axis = charts.axis([x for e in levels.values() for x in (e.low, e.high)], room=0.08, zero=False)

    def up(value: float) -> float:
        return round(HEIGHT * (1 - axis.at(value) / 100), 1)

    spots = []
    for date in dates:
        e = levels.get(date)
        ends = (0.0, 0.0) if e is None else (up(e.high), up(e.low))
        spots.append(Spot(date, at[date], None if e is None else up(e.value), *ends, date == found.day.date))
    lines = {line.date: line.kind for line in (*found.past_lines, *found.lines)}
    joined = [
        (one.x, two.x, one.y, two.y)
        for one, two in pairwise(spots)
        if one.y is not None and two.y is not None and two.date not in lines and _next(one.date, two.date)
    ]
    marks = tuple((tick.value, up(tick.value)) for tick in axis.ticks)
    drawn = tuple((at[date], f"{kind} changed") for date, kind in lines.items() if date in at)
    alarms = [a.date for a in found.open] + [a.date for a in found.alerts]
    raised = tuple(dict.fromkeys(at[date] for date in alarms if date in at))
    return Chart(axis.places, marks, tuple(spots), tuple(joined), drawn, raised, dates[0], dates[-1])


def grids(found: DayReport) -> tuple[Grid, ...]:
    """The tables: alerts and what they are made of, history, levels, changes, the design."""
    made = [*_alerts(found), *([_history(found)] if found.history else []), *_levels(found)]
    people = samples.grid("Agreement with people", found.golden)
    return tuple(made + [grid for grid in (_changes(found), _drift(found), people, _strata(found)) if grid.rows])


def estimate(row: ChangeRow, level: float = 0.95) -> Estimate:
    """A change as an estimate, with limits of Student's t at n - 1: few queries say little."""
    df = float(max(row.n - 1, 1))
    margin = t_quantile((1 + level) / 2, df) * row.se
    low, high = row.value - margin, row.value + margin
    return Estimate(row.value, row.se, low, high, row.n, f"difference, {row.part}", level, df, few(row.se, row.n))


# --- tables ------------------------------------------------------------------------------------------------------------


def _alerts(found: DayReport) -> list[Grid]:
    rows = [(f"{name(a.metric)}, {a.segment}", a.date, "raised today", sentence(a)) for a in found.alerts]
    for a in found.open:
        state = f"{a.state} by {a.by}" if a.by else a.state
        rows.append((f"{name(a.metric)}, {a.segment}", a.date, state, sentence(a)))
    made = []
    if rows:
        lead = "Those of this day first; older ones stay until somebody resolves them."
        made.append(Grid("Alerts", lead, ("series", "raised", "state", "what moved"), tuple(rows)))
    splits = {(a.segment, a.since, a.part): a.detail["split"] for a in found.alerts if a.detail.get("split")}
    for (segment, since, part), split in splits.items():
        made += _split(f"{name(found.metric)}, {segment}, {part}, since {since}", split)
    return made


def _split(of: str, split: Mapping[str, Any]) -> list[Grid]:
    """What a change is made of, and the queries that carry it with both lists."""
    rows = [(f"{cause}: {CAUSE_WORDS[cause]}", _of(split[cause])) for cause in CAUSES]
    lead = "The four parts add up to the total (Shapley's shares over the order in which they may change)."
    title = f"What the change is made of: {of}"
    lead += "".join(f" {note[:1].upper()}{note[1:]}." for note in split.get("notes", ()))
    rows.append(("total", _of(split["total"])))
    made = [Grid(title, lead, ("part", "change (interval)"), tuple(rows))]
    if examples := split.get("examples"):
        shown = tuple(
            (e["query"], words.signed(e["part"]), ", ".join(e["before"][:10]), ", ".join(e["after"][:10]))
            for e in examples[:10]
        )
        heads = ("query", "its part", "shown before", "shown now")
        made.append(Grid("Queries that carry it", "With the documents that were shown, the top ten.", heads, shown))
    return made


def _history(found: DayReport) -> Grid:
    levels = {row.date: row.estimate for row in found.history}
    if (today := found.level(found.metric)) is not None:
        levels[found.day.date] = today
    drawn = {line.date: f"{line.kind} changed" for line in (*found.past_lines, *found.lines)}
    rows = []
    for date in reversed([*found.dates, found.day.date][-TABLE:]):
        e = levels.get(date)
        cells = ("gap" if e is None else words.plain(e.value), "" if e is None else words.interval(e, 3, sign=False))
        rows.append((date, *cells, "" if e is None else words.count(e.n), drawn.get(date, "")))
    heads = ("day", name(found.metric), "interval", "n", "")
    return Grid("The last days", f"The last {TABLE}, latest first; all of them: germane watch history.", heads, tuple(rows))


def _levels(found: DayReport) -> list[Grid]:
    """A table of all metrics over all, and one of the first two metrics by segment."""
    whole = [row for row in found.levels if row.segment == "all"]
    rows = tuple((name(r.metric), *_cells(r.estimate), _moved(found, r)) for r in whole)
    heads = ("metric", "level", "interval", "n", f"since {found.before or 'the day before'}, same queries")
    made = [Grid("Levels", "Means over requests.", heads, rows)] if rows else []
    parts = [r for r in found.levels if r.segment != "all" and not r.metric.startswith("grade@")]
    if parts:
        cells = tuple((f"{r.segment}: {name(r.metric)}", *_cells(r.estimate), _moved(found, r)) for r in parts)
        made.append(Grid("Levels by segment", "A query counts where it was asked most.", ("segment", *heads[1:]), cells))
    return made


def _changes(found: DayReport) -> Grid:
    rows = tuple(
        (f"{name(r.metric)}, {r.segment}", r.part, words.signed(r.value), *_cells(estimate(r))[1:])
        for r in found.changes
        if r.segment == "all"
    )
    lead = f"From {found.before}; a level moves with the same queries and with the mix of queries."
    return Grid("Changes", lead, ("metric", "part", "change", "95% interval", "n"), rows)


def _drift(found: DayReport) -> Grid:
    rows = []
    for each in found.day.facts.get("drift", ()):
        e, about = each["estimate"], each["about"]
        if e["low"] is not None and e["high"] is not None:
            told = f"{words.percent(e['low'])} to {words.percent(e['high'])}"
            what = "requests with words not seen before" if about == "new words" else f"{about}: share that moved"
            rows.append((what, words.percent(e["value"]), told, words.count(e["n"]), e["caveat"]))
    lead = f"Against {found.before}; words against the queries of the last weeks. Drift is no alert."
    return Grid("Drift", lead, ("what", "share", "interval", "n", ""), tuple(rows))


def _strata(found: DayReport) -> Grid:
    rows = tuple(
        (
            s["name"],
            *(words.count(s[name]) for name in ("queries", "requests", "drawn", "drawn_panel")),
            words.percent(s["panel"] + (1 - s["panel"]) * s["fresh"]),
        )
        for s in found.day.facts.get("strata", ())
    )
    heads = ("stratum", "queries", "requests", "sampled", "of the panel", "chance of each query")
    return Grid("The sample", "What each stratum of the day had, and what was drawn of it.", heads, rows)


def _moved(found: DayReport, row: LevelRow) -> str:
    c = found.change(row.metric, row.segment)
    return "" if c is None else f"{words.signed(c.value)} ({words.interval(c)})"


def _cells(e: Estimate) -> tuple[str, str, str]:
    few = f" ({e.caveat})" if e.caveat else ""
    return words.plain(e.value), words.interval(e, 3, sign=False), words.count(e.n) + few


def _of(said: Mapping[str, Any]) -> str:
    if said.get("value") is None:
        return "not known"
    if said.get("low") is None or said.get("high") is None:
        return words.signed(said["value"])
    return f"{words.signed(said['value'])} ({words.signed(said['low'])} to {words.signed(said['high'])})"


def _spent(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not (said := facts.get("labels")):
        return []
    text = f"{words.many(said['pairs'], 'pair')}, {words.count(said['known'])} of them known before"
    text += "" if said["coverage"] is None else f"; {words.percent(said['coverage'])} have a grade"
    rows = [("Labels", text + "".join(f"; {said[name]}" for name in ("cost", "calls") if said.get(name)))]
    if (held := facts.get("anchors")) and held.get("cost"):
        rows.append(("Anchors", f"{words.many(held['pairs'], 'pair')}, asked anew; {held['cost']}; {held['calls']}"))
    return rows


def _places(dates: Sequence[str]) -> dict[str, float]:
    """Where each day stands, in percent of the width, by the calendar: a missing day leaves room."""
    from datetime import date

    numbers = [date.fromisoformat(each).toordinal() for each in dates]
    first, width = numbers[0], max(numbers[-1] - numbers[0], 1)
    room = 100 - LEFT - 2
    return {
        each: round(LEFT + 1 + room * ((n - first) / width if len(dates) > 1 else 0.5), 2)
        for each, n in zip(dates, numbers, strict=True)
    }


def _next(one: str, two: str) -> bool:
    from datetime import date

    return (date.fromisoformat(two) - date.fromisoformat(one)).days == 1


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {key: _plain(item) for key, item in value._asdict().items()}
    if hasattr(value, "__dataclass_fields__"):
        return {key: _plain(getattr(value, key)) for key in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
