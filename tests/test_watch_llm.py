"""Watching with a language model as judge: a server here that answers, fails, is killed away from, and changes silently."""

import json
import os
import shutil
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import md5

import killed
import nasty_server
import pytest
from annotators import free_port
from watched import project

from germane import store
from germane.cards import files as cards
from germane.pipeline import watch
from germane.registry import database, days, voted
from germane.scales import get
from germane.settings import load
from germane.types import Estimate, InputError, JudgeCard, Refusal
from germane.watching import asking, comparing, job
from germane.watching import plan as plans

pytest.importorskip("langchain_openai")

FIRST = datetime(2026, 3, 3, 9, tzinfo=UTC)  # the first day is over
PRICES = "[compatible]\nm = [1.0, 1.0, 1.0]\n"


def grade(text):
    """A grade of E, S, C, I that a text has for good."""
    return "ESCI"[md5(text.encode(), usedforsecurity=False).digest()[0] % 4]


def harder(text):
    return {"E": "S", "S": "C"}.get(grade(text), "I")


def watched_by_a_model(folder, port, *, days=3, card=True, more=""):
    """A project whose judge is a model on a server at that port, with a card that it passed."""
    project(folder, days=days, anchors=True, more="golden = 5", requests=120)
    text = (folder / "germane.toml").read_text()
    text = (
        text.replace('judge = "fake"', 'judge = "llm:compatible/m"')
        .replace("sample = 60", "sample = 32")
        .replace("k = 5", "k = 3")
    )
    text = text.replace('scale = "five-level"', 'scale = "esci"')
    text += f'\n[llm]\nurl = "http://127.0.0.1:{port}/v1"\ntries = 1\ntimeout = 20.0\n{more}'
    (folder / "germane.toml").write_text(text)
    (folder / "prices.toml").write_text(PRICES)
    if card:
        asked = asking.annotator(plans.of(load(folder))).asked()
        good = Estimate(0.9, 0.01, 0.88, 0.92, 400, "agreement", 0.95)
        scale = get("esci")
        made = JudgeCard(
            asked.name, asked.fingerprint, "esci", scale.version, "gold", {"exact": good}, ((1,),), {}, {"exact": 0.5}
        )
        (folder / "cards").mkdir()
        cards.write(made, folder / "cards/card.json")
    return folder


@pytest.fixture
def run(monkeypatch):
    real = database.open_registry

    def to(folder, day):
        monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: FIRST + timedelta(days=day - 1)))
        return watch.run(folder)

    return to


def texts_of(folder, name):
    """query and text of a day's pairs, as often as they are asked."""
    rows = store.read_parquet(folder / name).select(["query", "text"]).to_pylist()
    return {(row["query"], row["text"]) for row in rows}


def facts(folder, day):
    return json.loads((folder / f"watch/2026-03-0{day}/report.json").read_text())["day"]["facts"]


def test_pairs_are_paid_for_once_and_anchors_every_day_and_what_failed_is_no_zero(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, more='prices = "prices.toml"\n')
    silent = nasty_server.good(grade)

    def behaviour(request, number):
        text = nasty_server.words(request)
        bad = md5(text.encode(), usedforsecurity=False).digest()[1] % 8 == 0
        return nasty_server.REFUSAL_IN_WORDS(request, number) if bad else silent(request, number)

    with nasty_server.server(behaviour, port=port) as (_, asked):
        run(folder, 1)
        first = len(asked)
        run(folder, 2)
        second = len(asked) - first
    anchors = len(texts_of(folder, "anchors.parquet"))
    one, two = (texts_of(folder, f"watch/2026-03-0{day}/pairs.parquet") for day in (1 + 1, 3))
    assert second >= anchors  # asked anew
    assert second - anchors <= len(two)
    labels = store.read_parquet(folder / "watch/2026-03-02/labels.parquet")
    outcomes = Counter(labels["outcome"].to_pylist())
    assert outcomes["refused"] > 0
    assert labels.filter(labels["relevance"].is_null()).num_rows == sum(n for name, n in outcomes.items() if name != "label")
    said, later = facts(folder, 2), facts(folder, 3)
    assert said["labels"]["coverage"] == pytest.approx(outcomes["label"] / labels.num_rows)
    assert said["labels"]["known"] == 0
    assert later["labels"]["known"] == len(one & two) > 0
    assert said["labels"]["cost"].startswith("$0.")
    assert "answered" in said["labels"]["calls"]
    assert said["anchors"]["pairs"] == 29
    assert said["judge"]["judge"].startswith("llm:compatible/m")
    assert len(one) >= first - anchors > 0
    registry = database.open_registry(folder / "registry.sqlite")
    assert days.lines_of(registry) == []
    graded = {(row.query_id, row.doc_id) for row in days.anchors_of(registry, "2026-03-02") if row.relevance is not None}
    assert 0 < len(graded) < 29
    assert {one.fingerprint for one in voted.asked(registry)} == {said["judge"]["fingerprint"]}
    registry.close()
    page = (folder / "watch/2026-03-02/report.html").read_text()
    assert "asked anew" in page


def paid(folder):
    """What the replies in a folder cost, at 1 a million tokens of any kind."""
    lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    return sum(each["usage"][0] + each["usage"][2] for each in lines) / 1e6


def test_a_day_counts_what_it_asked_and_paid_itself(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, more='prices = "prices.toml"\n')
    text = (folder / "germane.toml").read_text()
    (folder / "germane.toml").write_text(text.replace("[watch]", '[watch]\nmetrics = "m.prom"', 1))
    seen: set = set()
    total = 0.0
    with nasty_server.server(nasty_server.good(grade), port=port) as (_, asked):
        for day in (2, 3, 4):
            before = len(asked)
            run(folder, day - 1)
            pairs, said = texts_of(folder, f"watch/2026-03-0{day}/pairs.parquet"), facts(folder, day)
            labels, anchors = said["labels"], said["anchors"]
            assert labels["asked"] + anchors["asked"] == len(asked) - before
            assert (labels["known"], labels["asked"]) == (len(pairs & seen), len(pairs - seen))
            assert (anchors["known"], anchors["asked"]) == (0, len(texts_of(folder, "anchors.parquet")))
            seen |= pairs
            total += labels["paid"]
            assert total == pytest.approx(paid(folder / "watch/replies"))
            assert anchors["paid"] == pytest.approx(paid(folder / f"watch/2026-03-0{day}/anchor-replies"))
            lines = dict(line.split() for line in (folder / "m.prom").read_text().splitlines() if line.startswith("germane_w"))
            assert float(lines["germane_watch_run_labels_asked"]) == labels["asked"]
            assert float(lines["germane_watch_run_labels_known"]) == labels["known"]
            assert float(lines["germane_watch_run_cost_dollars"]) == pytest.approx(labels["paid"] + anchors["paid"])


def test_a_run_that_is_killed_while_it_asks_asks_nothing_twice(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, days=1, more='at_once = 1\nprices = "prices.toml"\n')
    process: list = []

    def behaviour(request, number):
        if number == 20:
            os.kill(process[0].pid, signal.SIGKILL)
        return nasty_server.good(grade)(request, number)

    with nasty_server.server(behaviour, port=port) as (_, asked):
        process.append(killed.started(folder, FIRST))
        assert killed.ended(process[0]) == -signal.SIGKILL
        run(folder, 1)
    anchors, pairs = (texts_of(folder, name) for name in ("anchors.parquet", "watch/2026-03-02/pairs.parquet"))
    assert len(anchors) + len(pairs) <= len(asked) <= len(anchors) + len(pairs) + 1  # the one in flight
    said = facts(folder, 2)["labels"]
    assert (said["known"], said["asked"]) == (0, len(pairs))
    assert said["paid"] == pytest.approx(paid(folder / "watch/replies"))  # before the kill too


@pytest.mark.parametrize("kept", [True, False])
def test_a_model_that_changes_behind_its_name_shows_in_the_anchors_and_is_the_judges_part(tmp_path, run, kept):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, days=2)
    with nasty_server.server(nasty_server.good(grade), port=port):
        run(folder, 1)
    if not kept:  # then every pair is asked again
        shutil.rmtree(folder / "watch/replies")
    with nasty_server.server(nasty_server.good(harder, model="nasty-2", fingerprint="fp_other"), port=port):
        run(folder, 2)
    registry = database.open_registry(folder / "registry.sqlite")
    rows = days.listed(registry)
    assert rows[0].fingerprint == rows[1].fingerprint
    assert days.lines_of(registry) == []
    changes = days.changes_of(registry)["2026-03-03"]
    [moved] = [row for row in changes if row.metric == "judge"]
    [level] = [row for row in changes if (row.metric, row.segment, row.part) == ("sdcg@3", "all", "same queries")]
    assert moved.value + 1.96 * moved.se < 0
    plan = plans.of(load(folder))
    work = job.Work(plan, registry, None, None)
    then, now = (work.past(row) for row in rows)
    anchors = comparing.anchored(*(days.anchors_of(registry, row.date) for row in rows), plan.scale)
    asked = {"segment": "all", "part": "same queries", "k": plan.k, "level": 0.95}
    split = comparing.split([then], [now], anchors, (set(), set()), **asked)
    registry.close()
    parts = {name: getattr(split, name).value for name in ("search", "traffic", "catalogue", "judge")}
    assert sum(parts.values()) == pytest.approx(split.total.value)
    if kept:  # what is kept does not move with the model
        assert level.value == parts["judge"] == 0
    else:
        assert level.value < 0
        assert parts["judge"] < 0  # what else moved is the traffic of these two small days
        assert parts["search"] == pytest.approx(0, abs=1e-9)
        assert parts["catalogue"] == pytest.approx(0, abs=1e-9)


def test_without_a_card_nothing_is_asked(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, days=1, card=False)
    with nasty_server.server(nasty_server.good(grade), port=port) as (_, asked), pytest.raises(Refusal, match="no judge card"):
        run(folder, 1)
    assert asked == []
    registry = database.open_registry(folder / "registry.sqlite")
    assert days.listed(registry) == []
    registry.close()


def test_a_day_stops_at_its_budget_and_goes_on_with_a_larger_one(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, days=1, more='prices = "prices.toml"\nbudget = 0.03\nat_once = 1\n')
    with nasty_server.server(nasty_server.good(grade), port=port) as (_, asked):
        with pytest.raises(InputError, match="before the budget"):
            run(folder, 1)
        paid = len(asked)
        assert paid > 0
        text = (folder / "germane.toml").read_text()
        (folder / "germane.toml").write_text(text.replace("budget = 0.03", "budget = 5.0"))
        found = run(folder, 1)
    assert [day.state for day in found.days] == ["done"]
    many = Counter(json.dumps(each.request["messages"]) for each in asked[: paid + 1])
    assert max(many.values()) == 1


def test_a_server_that_is_away_leaves_the_day_to_the_next_run(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, days=1)
    with pytest.raises(InputError, match=r"did not answer \d+ of \d+ pairs"):
        run(folder, 1)
    registry = database.open_registry(folder / "registry.sqlite")
    assert days.listed(registry) == []
    registry.close()
    with nasty_server.server(nasty_server.good(grade), port=port):
        assert [day.state for day in run(folder, 1).days] == ["done"]
    assert facts(folder, 2)["labels"]["coverage"] == 1.0


def test_a_server_that_fails_half_way_is_asked_for_the_rest_alone(tmp_path, run):
    port = free_port()
    folder = watched_by_a_model(tmp_path / "p", port, days=1, more="at_once = 1\n")
    half = nasty_server.first(40, nasty_server.good(grade), then=nasty_server.failing())
    with nasty_server.server(half, port=port), pytest.raises(InputError, match="The next run asks for these again"):
        run(folder, 1)
    with nasty_server.server(nasty_server.good(grade), port=port) as (_, asked):
        run(folder, 1)
    both = len(texts_of(folder, "anchors.parquet")) + len(texts_of(folder, "watch/2026-03-02/pairs.parquet"))
    assert len(asked) == both - 40
