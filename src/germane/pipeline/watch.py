"""`germane watch`: the daily job, and what its history says. The job labels, so this is a page that shows two stages."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import settings, store
from germane.ops import logs
from germane.pipeline.label import label
from germane.report import day as page
from germane.types import InputError
from germane.watching import calendar, samples
from germane.watching import plan as plans
from germane.watching.plan import FAKE, Plan

if TYPE_CHECKING:
    from germane.registry.database import Registry

_LOG = logging.getLogger("germane")
AGO = 400
"""Days that are caught up at once, at most."""


class Did(NamedTuple):
    """A day that the job did. state: done or gap. alerts: raised on it."""

    date: str
    state: str
    answer: str
    alerts: int
    report: str


class Watching(NamedTuple):
    """What `watch run` did. days: that it did now, in order; left: that another run is at. sent: alerts that went out.

    unsent: sink -> why alerts wait for the next run. stopped: what stood in the way of the next day, "" where nothing did.
    """

    registry: str
    days: tuple[Did, ...]
    left: tuple[str, ...]
    sent: int
    unsent: Mapping[str, str]
    notes: tuple[str, ...]
    stopped: str = ""


class Standing(NamedTuple):
    """Where watching stands. done: days; missing: that are over and not in the history. lines: latest last."""

    registry: str
    first: str
    last: str
    done: int
    gaps: int
    missing: str
    running: str
    level: Any
    judge: str
    alerts: int
    unsent: int
    lines: tuple[str, ...]
    notes: tuple[str, ...]


class Told(NamedTuple):
    """An alert as it is listed."""

    id: int
    date: str
    state: str
    by: str
    what: str


class Series(NamedTuple):
    """A day of a series: its level, or why there is none."""

    date: str
    metric: str
    segment: str
    level: Any
    state: str


def run(project: Path | None = None, *, day: str | None = None, most: int = AGO) -> Watching:
    """Does every day that is over and not in the history yet, in order, or one day; then sends what alerts there are.

    project: a folder with germane.toml, this one by default. day: only this one. most: days, the others are for the next run.

    Raises: InputError for wrong settings, a log that is not there, and a registry that does not answer. Where days were done
    before that, they stand and are told, with `stopped`; the next run goes on.
    """
    from germane.watching import job, metrics, sinks

    plan = _plan(project)
    did: list[Did] = []
    left: list[str] = []
    notes: list[str] = []
    stopped = ""
    with _opened(plan) as registry, metrics.told(plan.metrics, registry, plan.zone) as told:
        try:
            todo, more = _due(plan, registry, day, most)
            notes += [f"{more} more days wait for the next run"] if more else []
            work = job.Work(plan, registry, partial(_ask, plan), _write)
            for each in todo:
                with logs.about(day=str(each)):
                    found = _one(plan, registry, work, each)
                if found is None:
                    left.append(str(each))
                    break  # days are done in order
                did.append(found)
                told.dates.append(found.date)
                _LOG.info("%s: %s", each, found.answer, extra={"event": "day", "day": str(each), **_logged(found)})
        except InputError as problem:
            if not did:
                raise
            stopped = str(problem)
        finally:
            sent = sinks.deliver(registry, plan, job.sinks_of(plan))
    notes += [] if did or left else ["nothing to do: every day that is over is in the history"]
    notes += [f"{each} is left to another run" for each in left]
    return Watching(registry.name, tuple(did), tuple(left), sent.sent, dict(sent.failed), tuple(notes), stopped)


def _logged(found: Did) -> dict[str, Any]:
    """What the log's fields say of a day."""
    return {"state": found.state, "alerts": found.alerts, "report": found.report}


def init(project: Path | None = None) -> Mapping[str, Any]:
    """Adds [watch] and [sinks] to germane.toml, to be filled in, and says what a scheduler is to call.

    Raises: InputError where there is no germane.toml, or it has [watch] already.
    """
    found = settings.load(project)
    if found.path is None:
        raise InputError("there is no germane.toml here: make a project with `germane init` first")
    text = found.path.read_text(encoding="utf-8")
    written = False
    if "[watch]" not in text:
        store.write_text(found.path, f"{text.rstrip()}\n\n{TEMPLATE}")
        settings.read(found.path)
        written = True
    root = found.path.resolve().parent
    return {
        "settings": str(found.path),
        "made": written,
        "cron": f"17 5 * * * cd {root} && germane watch run",
        "notes": () if written else ("[watch] is there already: it stays as it is",),
    }


def status(project: Path | None = None) -> Standing:
    """Where watching stands: days done and missing, the last level, open alerts."""
    from germane.registry import alerting, days

    plan = _plan(project)
    with _opened(plan) as registry:
        rows = days.listed(registry)
        done = [row for row in rows if row.state == days.DONE]
        metric = f"sdcg@{plan.k}"
        last = days.levels_of(registry, metric=metric, segment="all", first=done[-1].date) if done else []
        known = {row.date for row in rows}
        first = date.fromisoformat(rows[0].date) if rows else plan.start  # what lies before the first day is passed over
        over = calendar.yesterday(registry.clock(), plan.zone)
        missing = [] if first is None else [d for d in calendar.days(first, over) if str(d) not in known]
        running = [f"{at} (process {process} on {host})" for at, host, process in days.claimed(registry)]
        unsent = alerting.unsent(registry)
        return Standing(
            registry.name,
            rows[0].date if rows else "",
            rows[-1].date if rows else "",
            len(done),
            len(rows) - len(done),
            calendar.ranges(missing),
            ", ".join(running),
            last[-1].estimate if last else None,
            f"{done[-1].judge}, fingerprint {done[-1].fingerprint}" if done else "",
            len(alerting.listed(registry, open_only=True)),
            len(unsent),
            tuple(f"{line.date}: {line.kind} changed" for line in days.lines_of(registry)),
            tuple(f"alert {alert} waits for {sink}: {error}" for alert, sink, _, error, _ in unsent if error),
        )


def alerts(
    project: Path | None = None,
    *,
    acknowledge: int | None = None,
    resolve: int | None = None,
    note: str = "",
    every: bool = False,
) -> list[Any]:
    """Alerts that are open, or all of them; one may be acknowledged or resolved first, which is kept with who did it."""
    from germane.registry import alerting

    if acknowledge is not None and resolve is not None:
        raise InputError("--acknowledge and --resolve: give one of them")
    with _opened(_plan(project)) as registry:
        if acknowledge is not None:
            return [alerting.acknowledge(registry, acknowledge, actor=_me(), note=note)]
        if resolve is not None:
            return [alerting.resolve(registry, resolve, actor=_me(), note=note)]
        return alerting.listed(registry, open_only=not every)


def history(
    project: Path | None = None, *, metric: str | None = None, segment: str | None = "all", first: str | None = None
) -> list[Series]:
    """The levels of a metric in a segment, day by day; gaps are rows without a level. None: of all."""
    from germane.registry import days

    plan = _plan(project)
    asked = {"metric": metric, "segment": segment, "first": first and str(calendar.day_of(first, what="--first"))}
    with _opened(plan) as registry:
        found = [Series(r.date, r.metric, r.segment, r.estimate, "done") for r in days.levels_of(registry, **asked)]
        rows = [row for row in days.listed(registry) if row.state == days.GAP and row.date >= (asked["first"] or "")]
    gaps = [Series(row.date, metric or "", segment or "", None, "gap") for row in rows]
    return sorted([*found, *gaps], key=lambda r: r.date)


def golden(project: Path | None = None, *, first: str | None = None) -> samples.Samples:
    """How far the judge agrees with people on the golden pairs of the days, by guide, week and day, and people with people.

    first: from this day on. Where nobody voted yet there are no rows, and a note says so.
    """
    plan = _plan(project)
    since = first and str(calendar.day_of(first, what="--first"))
    with _opened(plan) as registry:
        return samples.of(plan, registry, since)


def listed(found: Sequence[Any]) -> list[Told]:
    """Alerts for a terminal."""
    return [Told(a.id, a.date, a.state, a.by, page.sentence(a)) for a in found]


# --- days --------------------------------------------------------------------------------------------------------------


def _due(plan: Plan, registry: Registry, day: str | None, most: int) -> tuple[list[date], int]:
    """The days to do, in order, and how many more there are."""
    from germane.registry import days

    over = calendar.yesterday(registry.clock(), plan.zone)
    rows = days.listed(registry)
    known = {row.date for row in rows}
    if day is not None:
        wanted = calendar.day_of(day, what="--date")
        if wanted > over:
            raise InputError(f"--date {wanted}: that day is not over in {plan.zone.key}; the last one that is over is {over}")
        later = [row.date for row in rows if row.date > str(wanted)]
        if later and str(wanted) not in known:
            raise InputError(
                f"--date {wanted}: {later[0]} is in the history, and days are done in order: this one is passed over"
            )
        return ([] if str(wanted) in known else [wanted]), 0
    last = date.fromisoformat(rows[-1].date) if rows else None
    first = last + calendar.DAY if last else plan.start or over
    todo = list(calendar.days(first, over))
    return todo[:most], len(todo[most:])


def _one(plan: Plan, registry: Registry, work: Any, day: date) -> Did | None:
    """A day, done by this run; None where another is at it. A day without a log is a gap once a later one has a log.

    Raises: InputError for a log that is not there yet.
    """
    from germane.registry import days
    from germane.watching import files, job

    try:
        held = days.claim(registry, str(day))
    except days.Taken:
        done = {row.date: row for row in days.listed(registry)}
        if (row := done.get(str(day))) is None:
            return None
        return Did(row.date, row.state, "done by another run", 0, row.report)
    with job.alive(held):
        if files.has_log(plan, day):
            found = work.do(day, held)
        elif plan.table or not any(plan.has_log(each) for each in _later(plan, registry, day)):
            said = f"no request of {plan.table} is later, and none is near its end" if plan.table else _absent(plan, day)
            raise InputError(f"the log of {day} is not there: {said}; the next run tries again")
        else:
            found = work.gap(day, held, "its log is not there, and that of a later day is")
    return Did(found.day.date, found.day.state, page.answer(found), len(found.alerts), found.day.report)


def _absent(plan: Plan, day: date) -> str:
    there = {path.name for path in plan.files(day)}
    said = f"no file {plan.log.replace(plans.DATE, str(plan.missing(day)[0]))}"
    return f"{said}, and {', '.join(sorted(there))} has a part of it" if there else said


def _later(plan: Plan, registry: Registry, day: date) -> Iterator[date]:
    return calendar.days(day + calendar.DAY, calendar.yesterday(registry.clock(), plan.zone))


def _ask(plan: Plan, pairs: Path, out: Path, *, labels: Path | None) -> Any:
    """The judge's grades of pairs, killed and gone on with as `label` does."""
    options: dict[str, Any] = {"scale": plan.scale_name if plan.judge == FAKE else None, "labels": labels}
    if plan.asks_a_model:
        from germane.watching import asking

        options["annotator"] = asking.annotator(plan, out.parent if labels is None else None, day=out.parent.name)
    return label(plan.judge, pairs, out, **options)


def _write(report: page.DayReport, folder: Path) -> None:
    """The day's report as a page and as JSON; both are made before either is written."""
    texts = {"report.html": page.html(report), "report.json": page.to_json(report)}
    for name, text in texts.items():
        store.write_text(folder / name, text)


def _plan(project: Path | None) -> Plan:
    if project is not None and not (project / settings.FILE).is_file():
        raise InputError(f"--project {project}: there is no {settings.FILE} in it")
    return plans.of(settings.load(project))


@contextmanager
def _opened(plan: Plan) -> Iterator[Registry]:
    from germane.registry.database import open_registry

    opened = open_registry(plan.registry)
    try:
        yield opened
    finally:
        opened.close()


def _me() -> str:
    try:
        return f"command line ({getpass.getuser()})"
    except (OSError, KeyError):
        return "command line"


TEMPLATE = """\
[watch]               # of `germane watch`; paths are relative to this file
log = ""              # a day's log: "logs/{date}.parquet", .csv or .jsonl; * stands for any text; or "table:SCHEMA.NAME"
log_env = ""          # of a table: a variable that holds the URL of its database
time = "time"         # its columns: when, what was asked, and the ids of the documents that were shown, in order
query = "query"
shown = "shown"
segments = []         # columns by which levels are told: ["language", "device"]
strata = []           # some of them, by which the sample is drawn too
docs = ""             # the catalogue, with {date} if there is one a day; or `pairs`, a file of pairs with their texts
judge = ""            # the folder of a trained judge, llm:PROVIDER/MODEL, or fake
anchors = ""          # pairs that are judged again every day, so that a judge that moves is seen
zone = "UTC"          # of the days
log_zone = "UTC"      # of {date} in names of logs, and of times without a zone
start = ""            # the first day, as 2026-03-02; by default the first run's yesterday
sample = 2000         # queries a day
panel = 0.5           # share of them that stays from day to day
step = 0.02           # share of the panel that is new each day
k = 25                # results a query
golden = 20           # pairs a day that people are asked about, in `germane annotate`'s screens; 0: none
per_quarter = 1.0     # false alarms, at most
metrics = ""          # a file that each run leaves for Prometheus, as "/var/lib/node_exporter/germane.prom"
registry = "registry.sqlite"  # the history; registry_env names a variable with a URL instead

[sinks]               # where alerts go; every line may be left out
file = "reports/alerts.jsonl"
webhook_env = ""      # a variable that holds the address of a webhook, in Slack's shape
email_to = []
email_from = ""
smtp_host = ""
smtp_user = ""
password_env = ""     # a variable that holds the mail server's password
"""
