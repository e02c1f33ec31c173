"""The dashboards' pages: who may call them, and how each is written."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from germane.report import charts
from germane.report import looks as look_charts
from germane.report.timeline import HIGH, Timeline, timeline
from germane.web import entering
from germane.web.access import DECIDES, OWNS, Call, Page
from germane.web.app import COMMON
from germane.web.boards import (
    alarms,
    api,
    experiments,
    gathering,
    judges,
    labels,
    people,
    rows,
    samples,
    scraped,
    sharing,
    spent,
    views,
)
from germane.web.boards.keeping import kept
from germane.web.pages import away


def overview(call: Call) -> Response:
    """Levels day by day: charts and their table."""
    found = gathering.overview(call)
    asked = {name: call.query.get(name, "") for name in ("metric", "segment", "days", "until")}
    text = urlencode({name: value for name, value in asked.items() if value})
    drawn = [(metric, _chart(found, metric)) for metric in found.metrics]
    more: dict[str, Any] = {"windows": gathering.WINDOWS, "high": HIGH, "asked": asked, "asked_text": text}
    more["rows"] = rows.of_overview(found, call.base)
    return call.page("overview.html.j2", here="/", found=found, latest=_latest(found), charts=drawn, **more)


def segments(call: Call) -> Response:
    """A day's levels in every segment, drawn and in a table, one for each metric."""
    found, tables = gathering.segments(call), []
    for metric in found.metrics:
        rows = [row for row in found.rows if row.metric == metric]
        if rows:
            axis = charts.axis([x for row in rows for x in (row.level.low, row.level.high)], room=0.04, zero=False)
            tables.append((metric, axis, [(row, charts.mark(axis, row.level)) for row in rows]))
    return call.page("segments.html.j2", here="/segments", found=found, tables=tables)


def alerts(call: Call) -> Response:
    """The alerts."""
    return call.page("alerts.html.j2", here="/alerts", found=alarms.alerts(call))


def alert(call: Call) -> Response:
    """One alert."""
    return call.page("alert.html.j2", here="/alerts", a=alarms.one(call))


def happened(call: Call) -> Response:
    """An alert is acknowledged or resolved."""
    return away(f"/alerts/{alarms.happened(call).id}")


def day(call: Call) -> Response:
    """The report of a day."""
    found = gathering.day(call)
    return call.page("day.html.j2", here="", found=found, labels=gathering.facts_of(found))


def cards(call: Call) -> Response:
    """The judges and their cards."""
    return call.page("judges.html.j2", here="/judges", found=judges.judges(call))


def experiment_index(call: Call) -> Response:
    """Every experiment as it stands."""
    return call.page("experiments.html.j2", here="/experiments", found=experiments.listed(call))


def experiment(call: Call) -> Response:
    """One experiment: its chart, its looks, its decisions."""
    found = experiments.one(call)
    seen = [(each.number, each.at[:10], each.estimate, each.verdict_says) for each in found.looks]
    drawn = look_charts.chart(seen, found.margin_now or found.margin)
    return call.page("experiment.html.j2", here="/experiments", e=found, chart=drawn, high=HIGH, decided=look_charts.DECIDED)


def decided(call: Call) -> Response:
    """A decision about an experiment is written down."""
    return away(f"/experiments/{experiments.decided(call)}")


def data(call: Call) -> Response:
    """What programs may ask."""
    return call.page("data.html.j2", here="/api", document=api.document())


def shares(call: Call) -> Response:
    """The form that makes a link."""
    return call.page("shares.html.j2", here="/shares", days=sharing.DAYS, link="", until=None)


def share(call: Call) -> Response:
    """A new link, which is shown this once."""
    link, until = sharing.share(call)
    return call.page("shares.html.j2", here="/shares", days=sharing.DAYS, link=link, until=until)


def _chart(found: views.Overview, metric: str) -> Timeline | None:
    levels = {day.date: e for day in found.days if (e := day.levels.get(metric)) is not None}
    drawn = [(line.date, line.kind) for line in found.lines]
    raised = [(m.date, _moved(m), m.id) for m in found.alerts if m.metric == metric]
    return timeline(found.first, found.last, levels, drawn=drawn, raised=raised)


def _moved(mark: views.Mark) -> str:
    where = "" if mark.segment == "all" else f" in {mark.segment}"
    return f"{'fell' if mark.direction == 'down' else 'rose'}{where}, raised on {mark.date}"


def _latest(found: views.Overview) -> list[tuple[str, str, Any]]:
    """The last day of each metric that has a level, and that level."""
    made = []
    for metric in found.metrics:
        there = [(day.date, e) for day in found.days if (e := day.levels.get(metric)) is not None]
        made += [(metric, *there[-1])] if there else []
    return made


READING: tuple[Page, ...] = (
    Page("GET", "/", DECIDES, kept(overview, "metric", "segment", "days", "until")),
    Page("GET", "/segments", DECIDES, kept(segments, "date")),
    Page("GET", "/alerts", DECIDES, kept(alerts, "state", "under")),
    Page("GET", "/alerts/{alert}", DECIDES, kept(alert, named=["alert"])),
    Page("GET", "/days/{date}", DECIDES, kept(day, named=["date"])),
    Page("GET", "/experiments", DECIDES, experiment_index),
    Page("GET", "/experiments/{name}", DECIDES, experiment),
    Page("GET", "/judges", DECIDES, cards),
    Page("GET", "/golden-samples", DECIDES, samples.page),
    Page("GET", "/labels", DECIDES, labels.search, files=True),
    Page("GET", "/labels/pair", DECIDES, labels.pair, files=True),
    Page("GET", "/costs", DECIDES, spent.costs),
    Page("GET", "/golden", DECIDES, people.golden),
    Page("GET", "/api", DECIDES, data),
    *api.pages(),
)
"""Pages that a share link opens too."""

PAGES: tuple[Page, ...] = (
    *READING,
    *map(sharing.shared, (*READING, scraped.PAGE)),
    scraped.PAGE,
    Page("POST", "/alerts/{alert}", DECIDES, happened),
    Page("POST", "/experiments/{name}", DECIDES, decided),
    Page("GET", "/shares", OWNS, shares),
    Page("POST", "/shares", OWNS, share),
    *(entry for entry in entering.PAGES if entry.path != "/"),
    *COMMON,
)
"""Pages of the dashboards. Raters judge blind: they are not among those who see what judges say."""
