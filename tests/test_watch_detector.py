"""The daily job with its real detectors: simulated days whose incident is known, found in time and named by its cause."""

import shutil
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.pipeline import watch
from germane.registry import alerting, database, days
from germane.scales import get
from germane.simulate.incidents import ANCHORS, POOL, STEPS, ShownDay, shown_days
from germane.simulate.years import Incident, Market

FIRST, K, SEED = date(2026, 3, 2), 10, 3
BEGINS, AFTER = 18, 3
"""The day of the incident, counted from 0, and the days within which it is to be found."""
MARKET = Market(queries=160, segments={"language": {"en": 0.6, "de": 0.4}})
SCALE = get("trec")
SETTINGS = """\
scale = "trec"
[watch]
log = "logs/{date}.parquet"
docs = "docs/{date}.parquet"
judge = "fake"
segments = ["language"]
anchors = "anchors.parquet"
sample = 400
k = 10
golden = 0
start = "2026-03-02"
"""


class Judge(NamedTuple):
    """Says of each document what the simulation knows of that day. declared: it says that it is another judge."""

    seen: dict[str, ShownDay]
    declared: bool = False

    def __call__(self, plan, pairs, out, *, labels):
        day = out.parent.name
        found = self.seen[day]
        if labels is None:
            grade = {f"a{i}": round(float(gain) * STEPS) for i, gain in enumerate(found.anchors)}
        else:
            flat = zip(found.docs.ravel().tolist(), found.gains.ravel().tolist(), strict=True)
            grade = {f"d{doc}": round(gain * STEPS) for doc, gain in flat if doc >= 0}
        rows = store.read_parquet(pairs).select(["query_id", "doc_id"]).to_pylist()
        mark = "judge:two" if self.declared and day >= str(FIRST + timedelta(BEGINS)) else "judge:one"
        said = {"judge": "simulated", "fingerprint": mark, "outcome": "label", "scale": SCALE.name}
        said |= {"guide_version": SCALE.version}
        made = [{**row, **said, "relevance": grade[row["doc_id"]], "note": "", "probs": None} for row in rows]
        schema = store.SCHEMAS["judgments"].arrow()
        with store.replacing(out) as file:
            pq.write_table(pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in made], schema), file)
        return Answered(len(rows), 0, len(rows), 1.0, "", (), "simulated", mark)


class Answered(NamedTuple):
    rows: int
    known: int
    asked: int
    coverage: float
    cost: str
    notes: tuple[str, ...]
    judge: str
    fingerprint: str
    calls: str = ""
    outcomes: dict = {}  # noqa: RUF012
    paid: float | None = None
    currency: str = ""


@cache
def simulated(cause, segment="all", drop=0.1):
    """Date -> what was shown. Days before the incident are the same whatever the cause."""
    incident = Incident(BEGINS, cause, segment, drop) if cause else None
    made = shown_days(MARKET, incident, days=BEGINS + AFTER, seed=SEED)
    return {str(FIRST + timedelta(t)): day for t, day in enumerate(made)}


def written(folder, seen, first, last):
    """The logs and catalogues of these days, by number."""
    rng = np.random.default_rng(1)
    for t in range(first, last):
        name = str(FIRST + timedelta(t))
        day = seen[name]
        requests = np.maximum(rng.poisson(6 * day.requests), 1)
        rows = np.repeat(np.arange(len(day.names)), requests)
        shown = [[f"d{doc}" for doc in docs if doc >= 0] for docs in day.docs.tolist()]
        log = {"time": [datetime(FIRST.year, FIRST.month, FIRST.day, 9) + timedelta(t)] * len(rows)}
        log |= {"query": [str(day.names[row]) for row in rows], "shown": [shown[row] for row in rows]}
        pq.write_table(
            pa.table(log | {"language": [str(day.segments["language"][row]) for row in rows]}), folder / f"logs/{name}.parquet"
        )
        docs = [f"d{doc}" for doc in range(MARKET.queries * POOL) if doc not in day.gone]
        pq.write_table(pa.table({"doc_id": docs, "text": docs}), folder / f"docs/{name}.parquet")


def run(folder, judge, last):
    """Every day that is over before day `last`."""
    real = database.open_registry
    moment = datetime(FIRST.year, FIRST.month, FIRST.day, 9, tzinfo=UTC) + timedelta(days=last)
    database.open_registry, ask = partial(real, clock=lambda: moment), watch._ask
    watch._ask = judge
    try:
        return watch.run(folder)
    finally:
        database.open_registry, watch._ask = real, ask


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Days without an incident."""
    folder = tmp_path_factory.mktemp("quiet") / "p"
    for name in ("logs", "docs"):
        (folder / name).mkdir(parents=True)
    (folder / "germane.toml").write_text(SETTINGS)
    anchors = {"query_id": [f"aq{i}" for i in range(ANCHORS)], "query": ["anchor"] * ANCHORS}
    anchors |= {"doc_id": [f"a{i}" for i in range(ANCHORS)], "text": [f"a{i}" for i in range(ANCHORS)]}
    pq.write_table(pa.table(anchors), folder / "anchors.parquet")
    written(folder, simulated(None), 0, BEGINS)
    run(folder, Judge(simulated(None)), BEGINS)
    return folder


def raised(folder):
    registry = database.open_registry(folder / "registry.sqlite")
    try:
        return alerting.listed(registry), days.lines_of(registry), days.listed(registry)
    finally:
        registry.close()


def struck(quiet, tmp_path, seen, **how):
    """The project after the days of an incident."""
    folder = Path(shutil.copytree(quiet, tmp_path / "p"))
    written(folder, seen, BEGINS, BEGINS + AFTER)
    run(folder, Judge(seen, **how), BEGINS + AFTER)
    return folder


def test_before_an_incident_no_alert_is_raised(quiet):
    alerts, lines, done = raised(quiet)
    assert (alerts, lines) == ([], [])
    assert [row.state for row in done] == ["done"] * BEGINS
    assert all(row.sampled == MARKET.queries for row in done)


@pytest.mark.parametrize("cause", ["search", "traffic", "catalogue", "judge"])
def test_an_incident_is_found_within_days_and_named_by_its_cause(quiet, tmp_path, cause):
    folder = struck(quiet, tmp_path, simulated(cause))
    alerts, lines, _ = raised(folder)
    assert lines == []
    began = str(FIRST + timedelta(BEGINS))
    of_level = [alert for alert in alerts if alert.metric in ("sdcg@10", "relevant@10") or alert.metric.startswith("grade")]
    first = min(of_level, key=lambda alert: alert.date)
    assert began <= first.since <= first.date <= str(FIRST + timedelta(BEGINS + AFTER - 1))
    split = first.detail["split"]
    assert split["cause"] == cause
    parts = [split[name]["value"] for name in ("search", "traffic", "catalogue", "judge")]
    assert sum(parts) == pytest.approx(split["total"]["value"])
    assert split["total"]["value"] < 0
    if cause == "judge":  # the fixed anchors say so themselves
        assert any(alert.metric == "judge" and alert.direction == "down" for alert in alerts)
    if cause == "search":
        assert split["examples"][0]["before"] != split["examples"][0]["after"]
    page = (folder / f"watch/{first.date}/report.html").read_text()
    assert f"cause: {cause}" in page


def test_a_drop_in_one_segment_is_told_of_that_segment(quiet, tmp_path):
    alerts, _, _ = raised(struck(quiet, tmp_path, simulated("search", "language=de", 0.15)))
    [first, *_] = sorted((a for a in alerts if a.metric == "sdcg@10"), key=lambda alert: alert.date)
    assert "language=de" in (first.segment, *first.detail["carried_by"])
    assert "language=en" not in (first.segment, *first.detail["carried_by"])


def test_a_judge_that_says_it_is_another_draws_a_line_and_is_never_a_drop(quiet, tmp_path):
    alerts, lines, _ = raised(struck(quiet, tmp_path, simulated("judge"), declared=True))
    assert [(line.date, line.kind) for line in lines] == [(str(FIRST + timedelta(BEGINS)), "judge")]
    assert alerts == []
