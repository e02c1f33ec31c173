"""How watching stands, as Prometheus reads it: asked of the history at each scrape, or left in a file by each run.

What is not known has no sample: a level that there is no answer of is no 0.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from germane import store
from germane.judges.prices import CURRENCY
from germane.registry import alerting, days, looking
from germane.types import InputError
from germane.watching import calendar

if TYPE_CHECKING:
    from germane.registry.database import Registry

SUCCESS = "germane_watch_last_success_timestamp_seconds"


class Standing:
    """A collector: the last day, days behind, levels over all with their intervals, alerts, messages that wait."""

    def __init__(self, registry: Registry, zone: ZoneInfo) -> None:
        self.registry, self.zone = registry, zone

    def describe(self) -> list[Any]:
        return []  # the history is not asked before somebody asks

    def collect(self) -> Iterator[Any]:
        """The families, with the numbers of now. Raises: InputError for a registry that does not answer."""
        from prometheus_client.core import GaugeMetricFamily as Gauge

        if (found := looking.span(self.registry)) is not None:
            counted = Gauge("germane_days", "Days of the history: done, and gaps, which have no level.", labels=["state"])
            counted.add_metric([days.DONE], found.done)
            counted.add_metric([days.GAP], found.gaps)
            yield counted
            over = calendar.yesterday(self.registry.clock(), self.zone)
            behind = max((over - date.fromisoformat(found.last)).days, 0)
            yield Gauge("germane_days_behind", "Days that are over and come after the history's last.", behind)
            if found.last_done:
                began = _midnight(found.last_done, self.zone)
                yield Gauge("germane_last_day_timestamp_seconds", "When the last day with levels began.", began)
                yield from self._levels(Gauge, found.last_done)
        standing = looking.counted(self.registry)
        raised = Gauge("germane_alerts", "Alerts by how they stand; raised and acknowledged ones are open.", labels=["state"])
        for state, count in standing.items():
            raised.add_metric([state], count)
        yield raised
        waiting = Gauge("germane_outbox_waiting", "Alerts that a sink has not had yet.", labels=["sink"])
        sinks = [row[1] for row in alerting.unsent(self.registry)]
        for sink in ("file", "webhook", "email"):
            waiting.add_metric([sink], sinks.count(sink))
        yield waiting

    def _levels(self, gauge: Any, day: str) -> Iterator[Any]:
        said = {"value": "", "low": "_low", "high": "_high", "n": "_n"}
        what = {"value": "over all on the last day", "low": "interval, from", "high": "interval, to", "n": "queries behind it"}
        rows = [row for row in looking.levels_on(self.registry, [day], []) if row.segment == "all"]
        for name, suffix in said.items():
            family = gauge(f"germane_level{suffix}", f"A metric's level: {what[name]}.", labels=["metric"])
            for row in rows:
                if math.isfinite(value := float(getattr(row.estimate, name))):
                    family.add_metric([row.metric], value)
            yield family


@dataclass
class Run:
    """A run of the daily job, as far as it came. dates: of the days that it did."""

    dates: list[str] = field(default_factory=list)


@contextmanager
def told(path: Path | None, registry: Registry, zone: ZoneInfo) -> Iterator[Run]:
    """A block that is a run: at its end, well or not, the file says how it went and how watching stands. None: no file.

    Raises: InputError for a file that cannot be written.
    """
    run, began, good = Run(), time.time(), False
    try:
        yield run
        good = True
    finally:
        if path is not None:
            try:
                write(path, registry, zone, run, began=began, good=good)
            except InputError:
                if good:  # what went wrong before is said rather than this
                    raise


def write(path: Path, registry: Registry, zone: ZoneInfo, run: Run, *, began: float, good: bool) -> None:
    """The file, written beside and put in its place whole, as node_exporter reads it at any moment."""
    from germane.extras import needs

    needs("web", "prometheus_client", by="watch.metrics")
    from prometheus_client import CollectorRegistry, generate_latest

    whole = CollectorRegistry()
    whole.register(_Ran(registry, run, began, good, _last_success(path)))
    whole.register(Standing(registry, zone))
    text = generate_latest(whole).decode()
    store.write_text(path, text)


class _Ran:
    """A collector of one run."""

    def __init__(self, registry: Registry, run: Run, began: float, good: bool, before: float | None) -> None:
        self.registry, self.run, self.began, self.good, self.before = registry, run, began, good, before

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily as Gauge

        now = time.time()
        yield Gauge("germane_watch_last_run_timestamp_seconds", "When the last run ended, well or not.", now)
        if (last := now if self.good else self.before) is not None:
            yield Gauge(SUCCESS, "When the last run ended well.", last)
        yield Gauge("germane_watch_run_ok", "1 if the last run ended well, else 0.", float(self.good))
        yield Gauge("germane_watch_run_seconds", "Seconds of the last run.", now - self.began)
        rows = [found for each in self.run.dates if (found := looking.day(self.registry, each)) is not None]
        did = Gauge("germane_watch_run_days", "Days that the last run did.", labels=["state"])
        for state in (days.DONE, days.GAP):
            did.add_metric([state], sum(row.state == state for row in rows))
        yield did
        labels = [row.facts["labels"] for row in rows if row.facts.get("labels")]
        asked, known = (sum(int(each.get(name) or 0) for each in labels) for name in ("asked", "known"))
        yield Gauge("germane_watch_run_labels_asked", "Labels that the last run asked of the judge.", asked)
        yield Gauge("germane_watch_run_labels_known", "Labels that the last run found from earlier days.", known)
        costs = [dollars(part) for row in rows for name in ("labels", "anchors") if (part := row.facts.get(name))]
        paid = [cost for cost in costs if cost is not None]
        if labels and len(paid) == len(costs):
            what = "What the labels and anchors of the last run cost."
            yield Gauge("germane_watch_run_cost_dollars", what, math.fsum(paid))


def dollars(said: Mapping[str, Any]) -> float | None:
    """What a day paid for labels or anchors, in dollars; 0 where nothing was asked, None where it is not known.

    >>> dollars({"asked": 9, "paid": 0.25, "currency": "USD"}), dollars({"asked": 0}), dollars({"asked": 9, "paid": None})
    (0.25, 0.0, None)
    """
    if said.get("asked") == 0 and not said.get("paid"):
        return 0.0
    value = said.get("paid")
    known = type(value) in (int, float) and math.isfinite(value) and said.get("currency") == CURRENCY  # type: ignore[arg-type]
    return float(value) if known and value is not None else None


def _last_success(path: Path) -> float | None:
    """When a run ended well, by the file of the run before; None for none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(rf"^{SUCCESS} (\S+)$", text, re.MULTILINE)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def _midnight(day: str, zone: ZoneInfo) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=zone).timestamp()
