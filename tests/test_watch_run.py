"""The daily job: each day once, whoever runs it, killed where it may; gaps, missed days, faults of disk and database."""

import errno
import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import killed
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from registries import new_database, postgres
from watched import FIRST, project, write_log

from germane import cli
from germane.pipeline import watch
from germane.registry import database, days, tasks, voted
from germane.types import InputError

NOW = datetime(2026, 3, 5, 9, tzinfo=UTC)  # the first three days are over


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The registry's clock, at a time that a test sets: `clock(moment)`."""
    real = database.open_registry

    def set_to(moment):
        monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: moment))

    set_to(NOW)
    return set_to


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


def history(folder, name="registry.sqlite"):
    """What the registry holds: state of each day, and how many rows each has, whatever the numbers of rows."""
    registry = database.open_registry(folder / name if "://" not in name else name)
    try:
        levels = days.levels_of(registry)
        rows = days.listed(registry)
        return {
            "days": [(row.date, row.state, row.requests, row.sampled) for row in rows],
            "levels": [(r.date, r.metric, r.segment, r.estimate.value) for r in levels],
            "changes": days.changes_of(registry),
            "queries": {row.date: days.queries_of(registry, row.date) for row in rows},
            "anchors": {row.date: days.anchors_of(registry, row.date) for row in rows},
            "golden": [one._replace(pair_id=0) for one in voted.asked(registry)],
            "tasks": [(task.name, task.asked) for task in tasks.listed(registry)],
        }
    finally:
        registry.close()


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A project of three days, the first of which is done."""
    folder = project(tmp_path_factory.mktemp("begun") / "p", days=3, anchors=True)
    _run_at(folder, NOW - timedelta(days=2))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, begun):
    """A project whose three days were done without a fault: what every other way must come to."""
    folder = copied(begun, tmp_path_factory.mktemp("whole"))
    _run_at(folder, NOW)
    return folder


def _run_at(folder, moment):
    real = database.open_registry
    database.open_registry = partial(real, clock=lambda: moment)
    try:
        watch.run(folder)
    finally:
        database.open_registry = real


def copied(folder, place):
    """The same project elsewhere."""
    return Path(shutil.copytree(folder, place / "p"))


def test_days_are_done_once_and_a_second_run_changes_nothing(whole):
    before = history(whole)
    assert [day[:2] for day in before["days"]] == [("2026-03-02", "done"), ("2026-03-03", "done"), ("2026-03-04", "done")]
    found = watch.run(whole)
    assert found.days == ()
    assert "nothing to do" in found.notes[0]
    assert history(whole) == before
    assert len(before["anchors"]["2026-03-03"]) > 20
    assert [sum(one.date == day for one in before["golden"]) for day, *_ in before["days"]] == [20, 20, 20]
    report = json.loads((whole / "watch/2026-03-04/report.json").read_text())
    assert report["day"]["date"] == "2026-03-04"
    assert {"value", "se", "low", "high", "n"} <= set(report["levels"][0]["estimate"])
    page = (whole / "watch/2026-03-04/report.html").read_text()
    assert "sDCG@5" in page
    assert "prefers-color-scheme: dark" in page


STAGES = ("reading the log", "documents", "labels", "anchors", "figures", "report", "history")
PLACES = ("in the transaction: sampled", "in the transaction: golden_draws", "after the transaction")


@pytest.mark.parametrize("stage", [*STAGES, *PLACES])
def test_killed_in_any_stage_the_next_run_leaves_each_day_exactly_once(tmp_path, begun, whole, stage):
    folder = copied(begun, tmp_path)
    said = f"2026-03-03: {stage}" if stage in STAGES else stage
    assert killed.ended(killed.started(folder, NOW, dies=said)) == -signal.SIGKILL
    found = watch.run(folder)
    assert [day.state for day in found.days] == ["done"] * (1 if stage == "after the transaction" else 2)
    assert history(folder) == history(whole)
    assert not list(folder.rglob("*.tmp"))


def test_two_schedulers_at_once_do_no_day_twice(tmp_path, whole):
    folder = project(tmp_path / "p", days=3, anchors=True)
    runs = [killed.started(folder, NOW) for _ in range(3)]
    assert [killed.ended(each) for each in runs] == [0, 0, 0], (folder / "stderr.txt").read_text()
    assert history(folder) == history(whole)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_day_is_claimed_by_one_and_given_back_by_the_dead(kind, tmp_path, request):
    place = str(tmp_path / "r.sqlite")
    if kind == "postgresql":
        place = new_database(request.getfixturevalue("server"), f"claims_{tmp_path.name[-6:]}")
    moment = [NOW]
    one, two = (database.open_registry(place) for _ in range(2))
    one, two = (type(each)(each.engine, lambda: moment[0]) for each in (one, two))
    held = days.claim(one, "2026-03-02")
    with pytest.raises(days.Taken, match="being done by another run"):
        days.claim(two, "2026-03-02")
    moment[0] += days.LEASE + timedelta(seconds=1)  # silent for too long
    taken = days.claim(two, "2026-03-02")
    row = days.DayRow("2026-03-02", "gap", "UTC", 0, 0, 0, 0, "", "", "", "", "", {})
    with pytest.raises(days.Taken, match="taken over"):
        days.write(one, days.NewDay(row), held)
    days.write(two, days.NewDay(row), taken)
    with pytest.raises(days.Taken, match="is done already"):
        days.claim(one, "2026-03-02")
    again = days.Claim(one, "2026-03-02", "made up")
    with one.writing() as connection:
        connection.execute(
            days.claims.insert().values(date="2026-03-02", token="made up", host="h", process=1, until=moment[0])
        )
    with pytest.raises(days.Taken, match="first with this day"):  # the constraint itself
        days.write(one, days.NewDay(row), again)
    assert len(days.listed(one)) == 1
    for statement in ("UPDATE days SET state = 'done'", "DELETE FROM days"):
        with pytest.raises(sa.exc.DBAPIError, match="only added"), one.engine.begin() as connection:
            connection.execute(sa.text(statement))
    one.close()
    two.close()


def test_the_whole_job_on_postgresql_says_what_it_says_on_sqlite(tmp_path, whole, server, monkeypatch):
    url = new_database(server, f"watch_{tmp_path.name[-6:]}")
    monkeypatch.setenv("WATCHED", url)
    folder = project(tmp_path / "p", days=3, anchors=True, more='registry_env = "WATCHED"')
    assert len(watch.run(folder).days) == 3
    assert history(folder, url) == history(whole)


# --- gaps and missed days ---------------------------------------------------------------------------------------------


def test_a_day_without_traffic_is_a_gap_and_no_zero(tmp_path, capsys):
    folder = project(tmp_path, days=3)
    empty = pq.read_table(folder / "logs/2026-03-03.parquet").slice(0, 0)
    pq.write_table(empty, folder / "logs/2026-03-03.parquet")
    found = watch.run(folder)
    assert [day.state for day in found.days] == ["done", "gap", "done"]
    assert "no traffic" in found.days[1].answer
    kept = history(folder)
    assert {date for date, *_ in kept["levels"]} == {"2026-03-02", "2026-03-04"}
    assert {row.before for row in kept["changes"]["2026-03-04"]} == {"2026-03-02"}
    assert [row.level for row in watch.history(folder, metric="sdcg@5") if row.state == "gap"] == [None]
    page = json.loads((folder / "watch/2026-03-04/report.json").read_text())
    assert page["gaps"] == ["2026-03-03"]


def test_a_log_that_is_late_is_waited_for_and_one_that_was_lost_is_a_gap(tmp_path, clock):
    folder = project(tmp_path, days=2)
    found = watch.run(folder)
    assert [day.date for day in found.days] == ["2026-03-02", "2026-03-03"]  # what was done is told
    assert "the log of 2026-03-04 is not there" in found.stopped
    with pytest.raises(InputError, match=r"the log of 2026-03-04 is not there"):
        watch.run(folder)
    assert [day[:2] for day in history(folder)["days"]] == [("2026-03-02", "done"), ("2026-03-03", "done")]
    clock(NOW + timedelta(days=2))
    write_log(folder, FIRST + timedelta(days=4))  # 2026-03-06; those of 4 and 5 never came
    days = [*watch.run(folder, most=1).days, *watch.run(folder).days]  # one at a time as well
    assert [(day.date, day.state) for day in days] == [
        ("2026-03-04", "gap"),
        ("2026-03-05", "gap"),
        ("2026-03-06", "done"),
    ]


def test_other_segments_and_another_scale_draw_a_line_and_stop_nothing(tmp_path, clock):
    folder = project(tmp_path, days=3)
    watch.run(folder, day="2026-03-02")
    settings = (folder / "germane.toml").read_text(encoding="utf-8")
    (folder / "germane.toml").write_text(settings.replace('["language"]', "[]"), encoding="utf-8")
    assert "The design changed that day" in watch.run(folder, day="2026-03-03").days[0].answer
    (folder / "germane.toml").write_text(settings.replace("five-level", "three-level"), encoding="utf-8")
    clock(datetime(2026, 3, 5, 9, tzinfo=UTC))
    assert "changed that day" in watch.run(folder, day="2026-03-04").days[0].answer


def test_a_catalogue_that_has_none_of_the_documents_makes_no_day(tmp_path, clock):
    folder = project(tmp_path, days=1)
    docs = pq.read_table(folder / "docs.parquet")
    other = docs.set_column(docs.column_names.index("doc_id"), "doc_id", pa.array([f"x{i}" for i in range(docs.num_rows)]))
    pq.write_table(other, folder / "docs.parquet")
    with pytest.raises(InputError, match=r"none of the .* documents that were shown on 2026-03-02, .* is in docs.parquet"):
        watch.run(folder, day="2026-03-02")
    assert history(folder)["days"] == []
    pq.write_table(docs, folder / "docs.parquet")
    assert [day.state for day in watch.run(folder, day="2026-03-02").days] == ["done"]


def test_a_segment_may_not_have_a_name_of_the_sample_s_own(tmp_path, clock):
    folder = project(tmp_path, days=1)
    text = (folder / "germane.toml").read_text(encoding="utf-8").replace('["language"]', '["panel"]')
    (folder / "germane.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"'panel' under \[watch\] is a name that the sample itself has"):
        watch.run(folder)


def test_what_stands_where_a_variable_s_name_belongs_is_not_shown(tmp_path, clock):
    folder = project(tmp_path, days=1, more='\n[sinks]\nwebhook_env = "https://hooks.example/SECRET"')
    with pytest.raises(InputError, match=r"'sinks.webhook_env' must be the name of an environment variable") as caught:
        watch.run(folder)
    assert "SECRET" not in str(caught.value)


def test_missed_days_are_caught_up_in_order_and_some_at_a_time(tmp_path, clock):
    folder = project(tmp_path, days=6)
    clock(datetime(2026, 3, 8, 1, tzinfo=UTC))
    assert [day.date for day in watch.run(folder, most=2).days] == ["2026-03-02", "2026-03-03"]
    found = watch.run(folder)
    assert [day.date for day in found.days] == [f"2026-03-0{d}" for d in range(4, 8)]
    assert [day.date for day in watch.run(folder, day="2026-03-05").days] == []


def test_days_of_a_zone_follow_its_midnight(tmp_path, clock):
    folder = project(tmp_path, days=3, more='zone = "Asia/Tokyo"')
    clock(datetime(2026, 3, 4, 14, 59, tzinfo=UTC))  # one minute before midnight in Tokyo
    assert [day.date for day in watch.run(folder).days] == ["2026-03-02", "2026-03-03"]
    clock(datetime(2026, 3, 4, 15, 0, tzinfo=UTC))
    assert [day.date for day in watch.run(folder).days] == ["2026-03-04"]
    kept = history(folder)["days"]
    assert sum(requests for _, _, requests, _ in kept) < 3 * 600  # the last hours of the last day are of a day to come
    assert kept[0][2] < 600  # and those before the first log were never written


def test_a_day_on_which_search_showed_nothing_is_zero_and_no_gap_and_of_the_same_judge(tmp_path):
    folder = project(tmp_path, days=3)
    log = pq.read_table(folder / "logs/2026-03-03.parquet")
    nothing = pa.array([[]] * log.num_rows, pa.list_(pa.string()))
    pq.write_table(log.set_column(log.column_names.index("shown"), "shown", nothing), folder / "logs/2026-03-03.parquet")
    found = watch.run(folder)
    assert [day.state for day in found.days] == ["done"] * 3
    kept = history(folder)
    level = {(date, metric): value for date, metric, segment, value in kept["levels"] if segment == "all"}
    assert level["2026-03-03", "sdcg@5"] == 0.0
    assert ("2026-03-03", "relevant@5") not in level  # a share of nothing
    assert watch.status(folder).lines == ()
    assert {row.before for row in kept["changes"]["2026-03-04"]} == {"2026-03-03"}


# --- lines, judges ----------------------------------------------------------------------------------------------------


def test_another_design_draws_a_line_and_no_change_is_read_across_it(tmp_path, clock):
    folder = project(tmp_path, days=3)
    clock(datetime(2026, 3, 4, 1, tzinfo=UTC))
    watch.run(folder)
    text = (folder / "germane.toml").read_text()
    (folder / "germane.toml").write_text(text.replace("sample = 60", "sample = 50"))
    clock(NOW)
    found = watch.run(folder)
    assert "design changed" in found.days[0].answer
    assert watch.status(folder).lines == ("2026-03-04: design changed",)
    assert history(folder)["changes"].keys() == {"2026-03-03"}
    assert "design changed" in (folder / "watch/2026-03-04/report.html").read_text()


def test_documents_without_text_have_no_grade_and_are_said(tmp_path):
    folder = project(tmp_path, days=1)
    docs = pq.read_table(folder / "docs.parquet")
    pq.write_table(docs.slice(0, 60), folder / "docs.parquet")
    found = watch.run(folder, day="2026-03-02")
    report = json.loads((folder / "watch/2026-03-02/report.json").read_text())
    assert any("have no text" in note for note in report["notes"])
    n = next(row["estimate"]["n"] for row in report["levels"] if row["metric"] == "sdcg@5")
    assert n < report["day"]["sampled"]
    assert found.days[0].state == "done"


# --- faults -----------------------------------------------------------------------------------------------------------


def called(folder, *words, monkeypatch, capsys):
    """Exit code and what the command line said."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["germane", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path, whole):
    folder = project(tmp_path / "p", days=3, anchors=True)
    assert killed.ended(killed.started(folder, NOW, file_limit=7000)) == 2
    said = (folder / "stderr.txt").read_text()
    assert len(said.strip().splitlines()) == 1
    assert said.startswith("germane: ")
    watch.run(folder)
    assert history(folder) == history(whole)


@pytest.mark.parametrize("name", ["sample.parquet", "catalogue.npy", "pairs.parquet", "labels.parquet", "report.html"])
def test_a_disk_that_fills_at_any_file_leaves_no_half_of_it(tmp_path, begun, whole, monkeypatch, capsys, name):
    folder = copied(begun, tmp_path)
    real = os.replace

    def full(draft, target):
        if Path(target).name == name and "2026-03-03" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(draft, target)

    monkeypatch.setattr(os, "replace", full)
    code, _, err = called(folder, "watch", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "the disk is full" in err
    assert not (folder / "watch/2026-03-03" / name).exists()
    monkeypatch.setattr(os, "replace", real)
    watch.run(folder)
    assert history(folder) == history(whole)


def test_a_database_that_goes_away_is_one_line_and_the_next_run_goes_on(tmp_path, begun, whole, monkeypatch, capsys):
    folder = copied(begun, tmp_path)
    real = days.write

    def away(registry, new, held):
        if new.day.date == "2026-03-03":
            with registry.engine.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE levels RENAME TO gone")
        real(registry, new, held)

    monkeypatch.setattr(days, "write", away)
    code, _, err = called(folder, "watch", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "run the same command again" in err
    monkeypatch.setattr(days, "write", real)
    engine = database.connect(folder / "registry.sqlite")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE gone RENAME TO levels")
    engine.dispose()
    watch.run(folder)
    assert history(folder) == history(whole)


def test_a_postgresql_server_that_is_away_is_one_line_without_its_password(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WATCHED", f"postgresql://me:secret@/x?host={tmp_path}")
    folder = project(tmp_path / "p", days=1, more='registry_env = "WATCHED"')
    code, _, err = called(folder, "watch", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "secret" not in err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("segments = ", "segment = "), "unknown key 'watch.segment': did you mean 'watch.segments'?"),
        (('judge = "fake"', 'judge = "no/such"'), "no/such is no judge"),
        (('docs = "docs.parquet"', 'docs = "none.parquet"'), "watch.docs: no files named none.parquet"),
        (("k = 5", 'registry = "postgresql://me:secret@host/db"'), "watch.registry holds a password"),
        (("k = 5", 'registry_env = "NOT_SET"'), "names the variable NOT_SET, which is not set"),
        (('log = "logs/{date}.parquet"', 'log = "logs/{date}.log"'), "the log of 2026-03-02 is not there"),
        (('scale = "five-level"', 'scale = "six"'), "no scale 'six'"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_2(tmp_path, monkeypatch, capsys, change, complaint):
    folder = project(tmp_path, days=1)
    text = (folder / "germane.toml").read_text()
    assert change[0] in text
    (folder / "germane.toml").write_text(text.replace(*change))
    code, _, err = called(folder, "watch", "run", "--date", "2026-03-02", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert complaint in err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--date", "2026-03-05"), "that day is not over"),
        (("run", "--date", "soon"), "--date 'soon' is no day"),
        (("run", "--project", "nowhere"), "there is no germane.toml in it"),
        (("alerts", "--acknowledge", "7"), "there is no alert 7"),
        (("alerts", "--acknowledge", "7", "--resolve", "7"), "give one of them"),
        (("history", "--first", "x"), "--first 'x' is no day"),
    ],
)
def test_wrong_options_are_one_line_and_exit_2(tmp_path, monkeypatch, capsys, words, complaint):
    code, _, err = called(project(tmp_path), "watch", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert complaint in err


def test_init_adds_the_settings_once_and_says_what_a_scheduler_calls(tmp_path, monkeypatch, capsys):
    (tmp_path / "germane.toml").write_text('scale = "esci"\n')
    code, out, _ = called(tmp_path, "watch", "init", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert f"cd {tmp_path} && germane watch run" in out
    text = (tmp_path / "germane.toml").read_text()
    assert called(tmp_path, "watch", "init", "--output", "json", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    assert (tmp_path / "germane.toml").read_text() == text
    code, _, err = called(tmp_path, "watch", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, "watch.log is not set" in err) == (2, True)


def test_every_verb_of_watching_prints_json(whole, monkeypatch, capsys):
    for words in (("run",), ("status",), ("alerts",), ("history", "--segment", "every")):
        code, out, _ = called(whole, "watch", *words, "--output", "json", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 0
        json.loads(out)
    code, out, _ = called(whole, "watch", "history", "--metric", "sdcg@5", monkeypatch=monkeypatch, capsys=capsys)
    assert out.count("2026-03") == 3
