"""`germane doctor` of a project that is watched: each fault is a row that says what to do, and nothing is changed."""

import os
import shutil
import sys
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from registries import team
from watched import project

from germane import cli, settings
from germane.pipeline import doctor, watch
from germane.registry import database, days
from germane.watching import checkup

NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)  # 2 and 3 March are over


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A project whose two days are done."""
    folder = project(tmp_path_factory.mktemp("done") / "p", days=2, anchors=True, requests=200)
    real = database.open_registry
    database.open_registry = partial(real, clock=lambda: NOW)
    try:
        watch.run(folder)
    finally:
        database.open_registry = real
    return folder


@pytest.fixture
def folder(done, tmp_path):
    return shutil.copytree(done, tmp_path / "p")


def looked(folder, now=NOW):
    """Subject -> finding; what is there twice, the worst of them."""
    found = {}
    for row in checkup.checkup(settings.load(folder), now=lambda: now):
        if row.subject not in found or row.state == "broken":
            found[row.subject] = row
    return found


def changed(folder, old, new):
    text = (folder / "germane.toml").read_text()
    assert old in text
    (folder / "germane.toml").write_text(text.replace(old, new))


def test_a_project_that_is_in_order_says_so_and_stays_as_it_was(folder):
    before = (folder / "registry.sqlite").read_bytes()
    found = looked(folder)
    assert [row.subject for row in found.values() if row.state == "broken"] == []
    states = {name: row.state for name, row in found.items()}
    assert states["watch settings"] == states["watch log"] == states["watch documents"] == states["watch registry"] == "ok"
    assert states["watch anchors"] == states["watch days"] == states["watch disk"] == "ok"
    assert "200 requests of 2026-03-03" in found["watch log"].found
    assert "300 documents" in found["watch documents"].found
    assert states["watch judge"] == "absent"  # fake
    assert "2 done, 0 gaps" in found["watch days"].found
    assert states["watch accounts"] == "absent"
    assert "pairs wait for people" in found["watch golden"].found
    assert (folder / "registry.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "subject", "state", "says"),
    [
        ('"logs/{date}.parquet"', '"no/{date}.parquet"', "watch log", "absent", "no file no/2026-03-03.parquet"),
        ("k = 5", 'k = 5\nshown = "results"', "watch log", "broken", "no column 'results'"),
        ("k = 5", 'k = 5\nzone = "Mars/Base"', "watch settings", "broken", "is no time zone"),
        ('"docs.parquet"', '"gone.parquet"', "watch documents", "broken", "no files named gone.parquet"),
        ('"docs.parquet"', '"anchors.parquet"', "watch documents", "ok", "29 documents"),
        ('judge = "fake"', 'judge = "no/body"', "watch settings", "broken", "no/body"),
        ('judge = "fake"', 'judge = "llm:openai/o3"', "watch judge", "broken", "OPENAI_API_KEY"),
        ('"anchors.parquet"', '"none.parquet"', "watch anchors", "broken", "no file none.parquet"),
        ("k = 5", 'k = 5\nregistry = "other.sqlite"', "watch registry", "absent", "no other.sqlite yet"),
        ("k = 5", 'k = 5\nregistry = "docs.parquet"', "watch registry", "broken", "not a database"),
        ("k = 5", 'k = 5\nregistry_env = "NOT_SET_HERE"', "watch settings", "broken", "NOT_SET_HERE, which is not set"),
    ],
)
def test_each_fault_is_a_row(folder, monkeypatch, old, new, subject, state, says):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    changed(folder, old, new)
    found = looked(folder)[subject]
    assert (found.state, says in found.found) == (state, True), found


def test_a_log_of_another_zone_and_a_clock_that_is_wrong_are_told(folder):
    log = pq.read_table(folder / "logs/2026-03-02.parquet")
    pq.write_table(log, folder / "logs/2026-03-03.parquet")  # the times are of the day before
    found = looked(folder)["watch log"]
    assert (found.state, found.found) == ("broken", "no request of 2026-03-03 in 2026-03-03.parquet")
    assert "log_zone" in found.advice
    assert looked(folder, NOW - timedelta(days=1))["watch days"].state == "broken"
    assert "clock says" in looked(folder, NOW - timedelta(days=1))["watch days"].found
    shutil.copy(folder / "logs/2026-03-02.parquet", folder / "logs/2026-02-27.parquet")
    assert "is none of" not in looked(folder, NOW - timedelta(days=4))["watch log"].found


def test_days_behind_are_counted(folder):
    assert looked(folder, NOW + timedelta(days=1))["watch days"].state == "absent"
    found = looked(folder, NOW + timedelta(days=9))["watch days"]
    assert (found.state, found.found) == ("broken", "9 behind: the last one is 2026-03-03")


def test_a_claim_of_the_dead_is_told_and_one_of_the_living_is_not(folder):
    registry = database.open_registry(folder / "registry.sqlite", clock=lambda: NOW)
    held = days.claim(registry, "2026-03-04")
    assert "watch claim" not in looked(folder)
    with registry.writing() as connection:
        connection.execute(sa.text("UPDATE claims SET process = 999999999"))
    found = looked(folder)["watch claim"]
    assert found.found.startswith("left behind: 2026-03-04 (process 999999999")
    held.give_back()
    registry.close()


def test_a_registry_of_an_older_or_newer_germane_is_told_and_not_changed(folder):
    engine = database.connect(folder / "registry.sqlite")
    for step, state in (("0004", "absent"), ("9999", "broken")):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{step}'")
        found = looked(folder)["watch registry"]
        assert (found.state, step in found.found) == (state, True)
    engine.dispose()


def test_sinks_say_whether_their_variables_are_set_and_never_what_they_hold(folder, monkeypatch):
    assert looked(folder)["watch sinks"].state == "absent"
    sinks = '[sinks]\nfile = "out/alerts.jsonl"\nwebhook_env = "HOOK"\nemail_to = ["a@b.c"]\nsmtp_host = "mail"\n'
    with (folder / "germane.toml").open("a") as file:
        file.write(sinks + 'smtp_user = "me"\npassword_env = "MAIL_PASSWORD"\n')
    monkeypatch.setenv("HOOK", "https://hooks.example.org/secret")
    monkeypatch.delenv("MAIL_PASSWORD", raising=False)
    found = looked(folder)
    assert (found["sink file"].state, found["sink webhook"].state, found["sink email"].state) == ("ok", "ok", "broken")
    assert "secret" not in str(found)
    assert "MAIL_PASSWORD is not set" in found["sink email"].found


def test_a_disk_without_room_for_a_day_is_told(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    assert looked(folder)["watch disk"].state == "broken"


def test_anchors_without_any_grade_are_told(folder):
    registry = database.open_registry(folder / "registry.sqlite", clock=lambda: NOW)
    row = days.listed(registry)[-1]._replace(date="2026-03-04", at=None)
    silent = [a._replace(relevance=None, outcome="timeout") for a in days.anchors_of(registry, "2026-03-03")]
    days.write(registry, days.NewDay(row, anchors=silent), days.claim(registry, "2026-03-04"))
    registry.close()
    found = looked(folder, NOW + timedelta(days=1))["watch anchors"]
    assert (found.state, found.found) == ("broken", "none of 29 had a grade on 2026-03-04")


def test_with_people_there_is_nothing_to_say_of_accounts(folder):
    registry = database.open_registry(folder / "registry.sqlite")
    team(registry, olga="owner", ana="rater", ben="rater")
    registry.close()
    found = looked(folder)
    assert found["watch accounts"].found == "3 may log in"
    assert "watch golden" not in found


def test_the_command_has_these_rows_where_a_log_is_named_and_else_none(folder, tmp_path, monkeypatch, capsys):
    assert not any(row.subject.startswith("watch") for row in doctor.doctor(tmp_path))
    changed(folder, 'judge = "fake"', 'judge = "llm:openai/o3"')
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["germane", "doctor"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out = capsys.readouterr().out
    assert ended.value.code == 1
    assert "watch registry" in out
    assert os.sep + "secret" not in out


def test_without_the_registrys_packages_one_row_says_which_extra(folder, monkeypatch):
    from germane import extras
    from germane.types import InputError

    def none(*given, **more):
        raise InputError("germane watch needs sqlalchemy")

    monkeypatch.setattr(extras, "needs", none)
    [row] = [row for row in doctor.doctor(folder) if row.subject.startswith("watch")]
    assert (row.state, row.advice) == ("broken", "pip install 'germane[web]'")
