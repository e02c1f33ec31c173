"""How watching stands, for Prometheus: of the file that a run leaves, of the dashboards' /metrics, and who may read that."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from functools import partial

import histories
import pytest
from registries import Clock, team
from test_dashboards import Browser
from watched import FIRST, project, write_log

from germane.ops.keys import Keys, keys_of
from germane.pipeline import watch
from germane.registry import database, looking
from germane.registry.database import open_registry
from germane.types import InputError
from germane.watching.metrics import dollars

parser = pytest.importorskip("prometheus_client.parser")
NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)  # two days are over
KEY = "k" * 20


def samples(text):
    """{name: {labels: value}} of the text format."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[" ".join(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def at(monkeypatch):
    real = database.open_registry

    def set_to(moment):
        monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: moment))

    set_to(NOW)
    return set_to


def test_a_run_leaves_a_file_that_says_how_it_went_and_how_watching_stands(tmp_path, at):
    folder = project(tmp_path, days=1, more='metrics = "out/germane.prom"')
    write_log(folder, FIRST.replace(day=3), requests=0)
    began = time.time()
    watch.run(folder)
    said = samples((folder / "out" / "germane.prom").read_text())
    assert said["germane_watch_run_ok"] == {"": 1}
    assert began < said["germane_watch_last_success_timestamp_seconds"][""] <= time.time()
    assert 0 < said["germane_watch_run_seconds"][""] < time.time() - began + 1
    assert said["germane_watch_run_days"] == said["germane_days"] == {"done": 1, "gap": 1}
    assert said["germane_watch_run_labels_asked"][""] > 50
    assert said["germane_watch_run_labels_known"] == {"": 0}
    assert "germane_watch_run_cost_dollars" not in said  # a fake judge says no price, which is not 0
    assert said["germane_last_day_timestamp_seconds"][""] == datetime(2026, 3, 2, tzinfo=UTC).timestamp()
    assert said["germane_days_behind"] == {"": 0}
    registry = open_registry(folder / "registry.sqlite")
    e = looking.series(registry, ["sdcg@5"], "all", "2026-03-02", "2026-03-02")[0].estimate
    registry.close()
    told = [said[name]["sdcg@5"] for name in ("germane_level", "germane_level_low", "germane_level_high", "germane_level_n")]
    assert told == pytest.approx([e.value, e.low, e.high, e.n])
    assert [path.name for path in (folder / "out").iterdir()] == ["germane.prom"]


def test_a_run_that_fails_says_so_and_keeps_when_one_went_well(tmp_path, at):
    folder = project(tmp_path, days=2, more='metrics = "germane.prom"')
    watch.run(folder)
    well = samples((folder / "germane.prom").read_text())
    at(NOW.replace(day=6))  # two more days are over, and have no log
    with pytest.raises(InputError, match="the log of"):
        watch.run(folder)
    ill = samples((folder / "germane.prom").read_text())
    assert (well["germane_watch_run_ok"], ill["germane_watch_run_ok"]) == ({"": 1}, {"": 0})
    success = "germane_watch_last_success_timestamp_seconds"
    assert ill[success] == pytest.approx(well[success])
    assert ill["germane_watch_last_run_timestamp_seconds"][""] > well["germane_watch_last_run_timestamp_seconds"][""]
    assert ill["germane_days_behind"] == {"": 2}
    (folder / "germane.prom").write_bytes(b"\xff nonsense")
    with pytest.raises(InputError, match="the log of"):
        watch.run(folder)
    assert success not in samples((folder / "germane.prom").read_text())


def test_a_file_that_cannot_be_written_is_one_clear_line_and_the_day_stands(tmp_path, at):
    folder = project(tmp_path, days=2, more='metrics = "logs"')
    with pytest.raises(InputError, match="logs") as problem:
        watch.run(folder)
    assert "\n" not in str(problem.value)
    assert watch.status(folder).done == 2


@pytest.mark.parametrize(
    ("said", "paid"),
    [
        ({"asked": 3, "paid": 0.01234567, "currency": "USD"}, 0.01234567),
        ({"asked": 0, "paid": None, "currency": ""}, 0.0),
        ({"asked": 3, "paid": None, "currency": ""}, None),
        ({"asked": 3, "paid": 5.0, "currency": "EUR"}, None),
        ({"asked": 3, "paid": float("nan"), "currency": "USD"}, None),
        ({"pairs": 3}, None),
    ],
)
def test_costs_are_those_of_the_run_and_what_is_not_known_is_no_zero(said, paid):
    assert dollars(said) == paid


# --- /metrics of the dashboards ------------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path):
    clock = Clock()
    clock.at = clock.at.replace(month=4, day=13)
    opened = open_registry(tmp_path / "registry.sqlite", clock=clock)
    histories.write(opened, gaps=(9,), missing=(20, 21), alerts=(25, 27))
    yield opened
    opened.close()


def with_keys(browser, *keys):
    board = browser.http.app.state.site
    object.__setattr__(board, "keys", Keys(keys))
    return browser


def test_the_dashboards_say_how_watching_stands(registry, tmp_path):
    said = samples(Browser(registry, tmp_path).get("/metrics").text)
    assert said["germane_days"] == {"done": 37, "gap": 1}
    assert said["germane_days_behind"] == {"": 2}
    assert said["germane_alerts"] == {"raised": 2, "acknowledged": 0, "resolved": 0}
    assert set(said["germane_level"]) == {"sdcg@25", "relevant@25", "grade@25:g2"}
    assert said["germane_outbox_waiting"] == {"file": 0, "webhook": 0, "email": 0}


def test_without_a_day_there_is_no_level_and_no_zero(tmp_path):
    empty = open_registry(tmp_path / "empty.sqlite")
    said = samples(Browser(empty, tmp_path).get("/metrics").text)
    assert not {name for name in said if name.startswith(("germane_level", "germane_last", "germane_days"))}
    empty.close()


def test_metrics_are_for_those_who_read_pages_and_scrapers_with_a_key(registry, tmp_path):
    team(registry, olga="owner", cem="adjudicator", ana="rater")
    stranger = with_keys(Browser(registry, tmp_path), KEY)
    refused = stranger.get("/metrics", 401)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "sdcg" not in refused.text
    for name in ("olga", "cem"):
        Browser(registry, tmp_path, name).get("/metrics")
    Browser(registry, tmp_path, "ana").get("/metrics", 401)  # raters judge blind
    asked = {f"Bearer {KEY}": 200, f"bearer  {KEY}": 200, f"Bearer {KEY}x": 401, KEY: 401, f"Basic {KEY}": 401, "Bearer é": 401}
    for said, status in asked.items():
        headers = {"Authorization": said.encode("latin-1")}
        assert stranger.http.get("/metrics", headers=headers).status_code == status, said
    no_key = Browser(registry, tmp_path)
    assert no_key.http.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401
    olga = Browser(registry, tmp_path, "olga")
    link = re.search(r"http://testserver(/s/[^\"]+)/", olga.post("/shares", olga.get("/shares"), days="1").text)[1]
    no_key.get(f"{link}/metrics")
    no_key.get(f"{link[:-1]}_/metrics", 404)


def test_keys_are_read_from_the_environment_and_are_long(monkeypatch):
    monkeypatch.setenv("GERMANE_METRICS_KEYS", f"{KEY}, {'l' * 16},")
    assert keys_of(None, "GERMANE_METRICS_KEYS") == (KEY, "l" * 16)
    monkeypatch.setenv("GERMANE_METRICS_KEYS", "short")
    with pytest.raises(InputError, match="fewer than 16"):
        keys_of(None, "GERMANE_METRICS_KEYS")


# --- processes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """(the first process, address, numbers of the processes that answer) of dashboards served by two processes."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n')
    registry = open_registry(tmp_path / "registry.sqlite")
    histories.write(registry, 10)
    registry.close()
    command = [sys.executable, "-m", "germane.cli", "web", "--project", str(tmp_path), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = next(line for line in process.stdout if line.startswith("open ")).removeprefix("open ").strip()
    yield process, address, lambda: children(process.pid)
    process.kill()
    process.wait()
    process.stdout.close()


def children(pid):
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return {int(line) for line in done.stdout.split()}


def get(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


def test_processes_answer_and_count_together_are_replaced_and_end_together(served):
    process, address, workers = served
    for _ in range(12):
        assert "How relevant is search" in get(address)
    said = samples(get(f"{address}metrics"))
    assert said["germane_requests_total"]["200 /"] == 12  # whichever process is asked
    assert said["germane_request_seconds_count"]["/"] == 12
    first = workers()
    assert len(first) == 2
    os.kill(min(first), signal.SIGKILL)
    assert until(lambda: len(workers()) == 2 and workers() != first)
    assert "How relevant is search" in get(address)
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert until(lambda: not any(alive(pid) for pid in first))


def test_no_process_is_left_where_the_first_is_killed(served):
    process, address, workers = served
    get(address)
    left = workers()
    process.kill()
    process.wait()
    assert until(lambda: not any(alive(pid) for pid in left))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
