"""One day's work: sample, pairs, labels, anchors, figures, report, history. Killed in any of these, the next run goes on.

What is asked of a judge lies in the day's folder before it is used; the history gets the day in one transaction, after its
report. So a day is there once, or not yet.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from germane import store
from germane.judges import folder as judge_folder
from germane.judges.loading import locate
from germane.monitor.alerts import Alert, Rules
from germane.monitor.days import Lists
from germane.registry import alerting, days
from germane.registry.database import Registry
from germane.registry.days import AnchorRow, ChangeRow, Claim, DayRow, LevelRow, LineRow, NewDay
from germane.report.day import DayReport
from germane.store.checks import short
from germane.types import InputError, Outcome
from germane.watching import agreeing, asking, calendar, comparing, files, golden, measuring, texts
from germane.watching.comparing import Shown
from germane.watching.plan import FAKE, Plan
from germane.watching.results import History

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger("germane")
ANCHORS = "anchors.parquet"
STEADY = 3
"""Days on either side of a change that its split is averaged over, at most."""

LEARNED = 400
"""Days of the history that the detectors are shown: weekdays and noise are learned in some weeks."""

VOCABULARY = 28
"""Days whose sampled queries say which words are known."""

SILENT, SILENCE = (Outcome.TIMEOUT, Outcome.ERROR), 0.1
"""Outcomes of a language model that say nothing of a pair, and the share of them from which a day waits for a better one."""

SHOWN_DAYS, GOLDEN_DAYS = 90, 56
"""Of the history, in a day's report, and those whose golden pairs are in it."""


class Asking(Protocol):
    """Labels pairs: `pipeline.label.label`, with the judge and how it is asked. labels: the store; None goes past it."""

    def __call__(self, pairs: Path, out: Path, *, labels: Path | None) -> Any: ...


class Work:
    """A day on its way into the history."""

    def __init__(self, plan: Plan, registry: Registry, ask: Asking, write: Callable[[DayReport, Path], None]) -> None:
        self.plan, self.registry, self.ask, self.write = plan, registry, ask, write

    def do(self, day: date, held: Claim) -> DayReport:
        """The day's report, once the day is in the history.

        Raises: InputError for what stands in the way; the next run goes on where this one stood.
        """
        _LOG.info("%s: reading the log", day)
        drawn = files.sample(self.plan, day)
        if not drawn.table.num_rows:
            return self._gap(day, held, drawn.facts, "no traffic: the log of the day holds no query")
        _LOG.info("%s: documents", day)
        facts = dict(drawn.facts) | {"documents": files.pairs(self.plan, day, drawn, self._fingerprint())}
        _known_at_all(self.plan, day, facts["documents"])
        said = self._labelled(day, facts)
        anchors = self._anchored(day, facts)
        facts.setdefault("judge", self._last_judge(day))
        _LOG.info("%s: figures", day)
        shown = self._shown(day, drawn.table, said, facts)
        people = golden.drawn(self.plan, day, drawn.table, said, shown.day.weights)
        facts["golden"] = golden.told(people)
        new, history = self._compared(day, shown, anchors, facts)
        new = replace(new, golden=people)
        _LOG.info("%s: report", day)
        report = self._report(new, history)
        self.write(report, files.folder(self.plan, day))
        _LOG.info("%s: history", day)
        days.write(self.registry, new, held)
        files.forget(self.plan, [*history.dates, str(day)])
        return report

    def gap(self, day: date, held: Claim, why: str) -> DayReport:
        """A day of which nothing is known, and that says so: no zero."""
        return self._gap(day, held, {}, why)

    # --- labels ---------------------------------------------------------------------------------------------------------

    def _fingerprint(self) -> str:
        """Of a judge whose labels are kept from day to day: in the store, or reply by reply."""
        plan = self.plan
        if plan.asks_a_model:
            return asking.annotator(plan).asked().fingerprint
        return "" if plan.judge == FAKE else judge_folder.read(locate(plan.judge)).fingerprint

    def _labelled(self, day: date, facts: dict[str, Any]) -> pa.Table | None:
        """The judgments of the day's pairs; None where there is no pair."""
        _LOG.info("%s: labels", day)
        out = files.folder(self.plan, day) / files.LABELS
        if not facts["documents"]["pairs"]:
            facts["labels"] = {"pairs": 0, "known": 0, "asked": 0, "coverage": None, "cost": "", "notes": []}
            return None
        did = self._asked(files.folder(self.plan, day) / files.PAIRS, out, labels=self.plan.labels)
        facts["labels"] = _told_of(did)
        facts["judge"] = {"judge": did.judge, "fingerprint": did.fingerprint}
        return store.read_parquet(out)

    def _anchored(self, day: date, facts: dict[str, Any]) -> list[AnchorRow]:
        """What the judge says of the anchors today, asked past the store."""
        if self.plan.anchors is None:
            return []
        _LOG.info("%s: anchors", day)
        out = files.folder(self.plan, day) / ANCHORS
        did = self._asked(self.plan.anchors, out, labels=None)
        facts["anchors"] = _told_of(did)
        facts.setdefault("judge", {"judge": did.judge, "fingerprint": did.fingerprint})
        said = store.read_parquet(out)
        columns: list[Any] = [said[name].to_pylist() for name in AnchorRow._fields]
        return [AnchorRow(*row) for row in zip(*columns, strict=True)]

    def _asked(self, pairs: Path, out: Path, *, labels: Path | None) -> Any:
        """What was labelled. Raises: InputError where a judge that is elsewhere was silent on too many pairs.

        Then the labels are taken away: what it did answer is kept reply by reply, and the next run asks for the rest.
        """
        did = self.ask(pairs, out, labels=labels)
        silent = sum(n for outcome, n in did.outcomes.items() if outcome in SILENT) if self.plan.asks_a_model else 0
        if silent <= SILENCE * did.rows:
            return did
        for path in (out, store.manifest_path(out)):
            path.unlink(missing_ok=True)
        raise InputError(
            f"{did.judge} did not answer {silent:,} of {did.rows:,} pairs: is its server up? The next run asks for these again"
        )

    def _last_judge(self, day: date) -> dict[str, str]:
        """Who judged last, for a day that shows nothing to judge: it is of no other judge."""
        done = [row for row in days.listed(self.registry) if row.state == days.DONE and row.date < str(day)]
        return {"judge": done[-1].judge, "fingerprint": done[-1].fingerprint} if done else {"judge": "", "fingerprint": ""}

    # --- figures --------------------------------------------------------------------------------------------------------

    def _shown(self, day: date, table: pa.Table, said: pa.Table | None, facts: Mapping[str, Any]) -> Shown:
        judge = str(facts.get("judge", {}).get("fingerprint", ""))
        said = store.SCHEMAS["judgments"].arrow().empty_table() if said is None else said
        seen, lists = measuring.day(str(day), table, said, self.plan, judge=judge, totals=measuring.totals(facts))
        return Shown(
            seen, np.asarray(table["panel_probability"].to_numpy(), np.float64), self._with_fresh(str(day), table, lists)
        )

    def _with_fresh(self, day: str, table: pa.Table, lists: Lists) -> Lists:
        """The lists, with which labels were made that day."""
        old = files.known(self.plan, day)
        ids: list[Any] = table["query_id"].to_pylist()
        fresh = [np.array([(qid, doc) not in old for doc in docs], np.bool_) for qid, docs in zip(ids, lists.docs, strict=True)]
        return Lists(lists.query, lists.docs, lists.gains, lists.fingerprint, fresh)

    def past(self, row: DayRow) -> Shown:
        """A day of the history, with its lists where its files are still there."""
        found = days.queries_of(self.registry, row.date)
        day, odds = comparing.day_of(row, found)
        table, said = files.shown(self.plan, row.date), files.labels(self.plan, row.date)
        lists = None
        queries = set() if table is None else {str(query) for query in table["query"].to_pylist()}
        as_now = (row.scale, row.guide_version) == (self.plan.scale.name, self.plan.scale.version)
        if as_now and table is not None and said is not None and queries == set(day.query.tolist()):
            plan = replace(self.plan, columns=replace(self.plan.columns, segments=()))  # other segments, the same lists
            again, lists = measuring.day(row.date, table, said, plan, judge=row.fingerprint, totals=day.totals)
            order = {query: i for i, query in enumerate(again.query.tolist())}
            rows = [order[query] for query in day.query.tolist()]
            lists = measuring.taken(self._with_fresh(row.date, table, lists), rows)
        return Shown(day, odds, lists)

    def _compared(self, day: date, shown: Shown, anchors: list[AnchorRow], facts: dict[str, Any]) -> tuple[NewDay, History]:
        """The day as the history takes it, and the history before it."""
        plan, history = self.plan, self._history(day)
        levels = [LevelRow(str(day), *level) for level in comparing.levels(shown.day, level=plan.level)]
        changes: list[ChangeRow] = []
        drawn: list[LineRow] = []
        if history.last is not None:
            before = self.past(history.last)
            drawn = comparing.lines(str(day), _of(history.last), _of(self._row(day, "done", facts, shown)))
            found = [] if drawn else comparing.changes(before, shown)
            facts["drift"] = comparing.drifted(before.day, shown.day, self._words(history), level=plan.level, graded=not drawn)
            found += comparing.of_anchors(days.anchors_of(self.registry, history.last.date), anchors, plan.scale)
            changes = [ChangeRow(str(day), history.last.date, c.metric, c.segment, c.part, c.value, c.se, c.n) for c in found]
        every = {**history.changes, str(day): changes}
        known = {(a.metric, a.segment, a.part, a.direction) for a in history.open}
        learned = [date for date in history.dates if date >= str(day - LEARNED * calendar.DAY)]
        rules, dates = Rules(per_quarter=plan.per_quarter), [*learned, str(day)]
        raised = [
            alert
            for alert in comparing.detected(dates, every, [*history.lines, *drawn], rules, level=plan.level)
            if alert.date == str(day) and (alert.metric, alert.segment, alert.part, alert.direction) not in known
        ]
        splits = {(a.since, a.segment, a.part): self._split(a, day, shown, anchors, history) for a in raised}
        alerts = [comparing.new_alert(a, splits[a.since, a.segment, a.part]) for a in raised]
        queries = comparing.rows(shown)
        row = self._row(day, "done", facts, shown)
        return NewDay(row, levels, changes, queries, anchors, drawn, alerts, sinks_of(plan)), history

    def _words(self, history: History) -> set[str]:
        """The words of the queries that were sampled on the last days: what is not new."""
        last = history.dates[-VOCABULARY:]
        return comparing.vocabulary(query for date in last for query in days.texts_of(self.registry, date))

    def _split(self, alert: Alert, day: date, shown: Shown, anchors: Sequence[AnchorRow], history: History) -> Any:
        """What an alert's change is made of: some days from its beginning on against some before it, of one judge."""
        drawn = max((line.date for line in history.lines), default="")
        done = {row.date: row for row in history.days if row.state == days.DONE and row.date >= drawn}
        before = [row for date, row in done.items() if date < alert.since]
        if not before:
            return None
        after = [date for date in done if date >= alert.since][1 - STEADY :]
        pairs = [(calendar.week_before(date, alert.since, done), date) for date in (*after, str(day))]
        rows = [done[then] if then else before[-1] for then, _ in pairs]  # the same weekday, where it is known
        then, now = [self.past(row) for row in rows], [*(self.past(done[date]) for date in after), shown]
        first = min(row.date for row in rows)
        both = comparing.anchored(days.anchors_of(self.registry, first), anchors, self.plan.scale)
        moved = self._moved(first, str(day), then, now)
        asked: dict[str, Any] = {"segment": alert.segment, "part": alert.part, "k": self.plan.k, "level": self.plan.level}
        return comparing.split(then, now, both, moved, **asked)

    def _moved(self, then: str, now: str, before: Sequence[Shown], after: Sequence[Shown]) -> tuple[set[str], set[str]]:
        """Documents of the lists that came to the catalogue between two days, and that left it."""
        was, there = files.catalogue(self.plan, then), files.catalogue(self.plan, now)
        if was is None or there is None:
            return set(), set()
        old, new = (sorted({d for s in some if s.lists for docs in s.lists.docs for d in docs}) for some in (before, after))
        arrived = {doc for doc, known in zip(new, texts.among(new, was), strict=True) if not known}
        gone = {doc for doc, known in zip(old, texts.among(old, there), strict=True) if not known}
        return arrived, gone

    # --- the history ----------------------------------------------------------------------------------------------------

    def _history(self, day: date) -> History:
        """What is known of the days before."""
        rows = [row for row in days.listed(self.registry) if row.date < str(day)]
        done = [row for row in rows if row.state == days.DONE]
        last = str(max((row.date for row in rows), default=""))
        return History(
            rows,
            done[-1] if done else None,
            days.changes_of(self.registry, first=str(day - LEARNED * calendar.DAY), last=last),
            [line for line in days.lines_of(self.registry) if line.date < str(day)],
            alerting.listed(self.registry, open_only=True),
            days.levels_of(self.registry, metric=f"sdcg@{self.plan.k}", segment="all", last=last),
        )

    def _row(self, day: date, state: str, facts: Mapping[str, Any], shown: Shown | None) -> DayRow:
        plan, said = self.plan, facts.get("judge", {})
        sampled = (0, 0) if shown is None else (len(shown.day), int(shown.day.panel.sum()))
        told = comparing.plain({**facts, "design": files.design(plan)})
        return DayRow(
            str(day),
            state,
            plan.zone.key,
            int(facts.get("requests", 0)),
            int(facts.get("queries", 0)),
            *sampled,
            str(said.get("judge", "")),
            str(said.get("fingerprint", "")),
            plan.scale.version,
            plan.scale.name,
            (files.folder(plan, day) / "report.html").relative_to(plan.root).as_posix(),
            told,
        )

    def _gap(self, day: date, held: Claim, facts: Mapping[str, Any], why: str) -> DayReport:
        notes = [*facts.get("notes", ()), why]
        new = NewDay(self._row(day, "gap", {**facts, "why": why, "notes": notes}, None))
        report = self._report(new, self._history(day))
        self.write(report, files.folder(self.plan, day))
        _LOG.info("%s: history", day)
        days.write(self.registry, new, held)
        return report

    def _report(self, new: NewDay, history: History) -> DayReport:
        since = [row.date for row in history.days][-SHOWN_DAYS:]
        levels = [level for level in history.levels if level.date in since]
        return DayReport(
            new.day,
            "" if history.last is None else history.last.date,
            f"sdcg@{self.plan.k}",
            tuple(new.levels),
            tuple(new.changes),
            tuple(new.lines),
            tuple(new.alerts),
            tuple(history.open),
            tuple(since),
            tuple(levels),
            tuple(line for line in history.lines if line.date in since),
            tuple(row.date for row in history.days if row.state == days.GAP and row.date in since),
            tuple(_notes(new.day.facts)),
            self.plan.scale.labels,
            agreeing.agreement(self.registry, first=since[-GOLDEN_DAYS:][0], by_day=False).weeks if since else (),
        )


@contextmanager
def alive(held: Claim) -> Iterator[None]:
    """A block during which others see that this run lives; then the day is given back, if it is still this run's."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(days.LEASE.total_seconds() / 5):
            try:
                held.renew()
            except InputError:  # the database is away, or the day was taken over: writing it will say so
                continue

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        try:
            held.give_back()
        except InputError as problem:
            _LOG.warning("%s", problem)


def _known_at_all(plan: Plan, day: date, found: Mapping[str, Any]) -> None:
    """Raises: InputError where no document that was shown has a text: a day is done once, and this one would have no level."""
    if found["documents"] and found["missing"] == found["documents"]:
        raise InputError(
            f"none of the {found['documents']:,} documents that were shown on {day}, such as "
            f"{short(found['missing_example'])}, is in {plan.documents(day).name}: name the catalogue of the log's ids; "
            "the next run tries again"
        )


def sinks_of(plan: Plan) -> list[str]:
    """The sinks that the settings name."""
    sinks = plan.sinks
    named = {"file": sinks.file, "webhook": sinks.webhook_env, "email": sinks.email_to}
    return [name for name, value in named.items() if value]


def _of(row: DayRow) -> dict[str, str]:
    """What a line is drawn at, if it is another on the next day."""
    design = store.manifests.plain(row.facts.get("design", {}))
    return {"judge": row.fingerprint, "guide": row.guide_version, "scale": row.scale, "design": files._digest(design)}


def _told_of(did: Any) -> dict[str, Any]:
    """What asking the judge came to. graded: pairs with a grade. known, asked: different pairs that an earlier day asked, and
    that this one did. paid: by this day; None where it is not known, which is not 0."""
    names = ("known", "asked", "coverage", "cost", "calls", "paid", "currency")
    graded = did.outcomes.get("label", 0)
    return {"pairs": did.rows, "graded": graded, **{name: getattr(did, name) for name in names}, "notes": list(did.notes)}


def _notes(facts: Mapping[str, Any]) -> list[str]:
    said = [*facts.get("notes", ()), *facts.get("labels", {}).get("notes", ())]
    found = facts.get("documents", {})
    if found.get("missing"):
        example = found["missing_example"]
        said.append(
            f"{found['missing']:,} of {found['documents']:,} documents that were shown have no text in the file of documents, "
            f"such as {example!r}: they have no grade"
        )
    return list(dict.fromkeys(said))
