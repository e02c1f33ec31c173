"""The experiments registry: what was stated stays, each batch counts once, no look mixes judges, a decision stays on record."""

import csv
import io
import json
import math
import re
import subprocess
import sys
import threading
from html import unescape

import experiments_made as made
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from experiments_made import HOSTILE, STATED
from registries import Clock, new_database, postgres, team
from sqlalchemy.exc import DBAPIError

from germane import cli
from germane.experiment.guardrail import unless_unjudged, verdict_of
from germane.pipeline import experiments
from germane.pipeline.compare import compare
from germane.registry import backups, experimenting, telling
from germane.registry.database import open_registry
from germane.report.looks import chart, verdict_words
from germane.stats.batches import Batch
from germane.types import Estimate, InputError, Refusal

fastapi = pytest.importorskip("fastapi")

from test_dashboards import Browser  # noqa: E402


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request, tmp_path):
    place = str(tmp_path / "registry.sqlite")
    if request.param == "postgresql":
        name = f"e{abs(hash(request.node.name)) % 10**9}_{tmp_path.name[-12:]}"
        place = new_database(request.getfixturevalue("server"), name)
    opened = open_registry(place, clock=Clock())
    yield opened
    opened.close()


@pytest.fixture
def shop(tmp_path):
    return made.project(tmp_path / "shop")


def opened(project, name="title-boost", **stated):
    return experiments.open_(name, actor="test", project=project, **(STATED | stated))


def looked(project, files, name="title-boost", **options):
    given = {"control": files.control, "treatment": files.treatment, "judgments": files.judgments, "design": files.design}
    return experiments.look(name, actor="test", project=project, **(given | options))


def terms(name="x", **changed):
    given = {name: "" for name in experimenting.Terms._fields} | {"name": name, "unit": "queries", "margin": 0.01}
    given |= {"relative": False, "level": 0.95, "intended": 100, "planned": None, "mde": None, "terms": {}}
    return experimenting.Terms(**(given | changed))


def new_look(digest, *, n=4, wait=None):
    """A look of n queries whose estimate is the mean of the batches' sizes."""
    queries = [experimenting.Query(f"q{digest}{i}", "all", f"{digest}{i}", 1.0, 0.5, 0.1 * i, 0.1, 0.0) for i in range(n)]

    def estimate_of(past, sums):
        if wait is not None:
            wait()
        return Estimate(len(past) + 1.0, 0.1, -math.inf, math.nan, len(sums), "made up", 0.95), "", "not known yet"

    return experimenting.NewLook(digest, (n, 0.1, 0.01), None, queries, {"control": {}}, estimate_of)


# --- rows, on both databases ------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_and_only_added_to(registry):
    found, now = experimenting.open_(registry, terms(question=HOSTILE), actor="ana")
    assert now
    assert found.state == "running"
    experimenting.look(registry, "x", new_look("a"), actor="ana")
    experimenting.decide(registry, "x", "keep", by="olga", why=HOSTILE, actor="ana")
    experimenting.look(registry, "x", new_look("b", n=2), actor="ana")
    experimenting.decide(registry, "x", "stop", by="olga", why="no gain", actor="ana")
    found = experimenting.find(registry, "x")
    assert (found.terms.question, found.state, found.decisions[0].why) == (HOSTILE, "stopped", HOSTILE)
    assert [(look.number, look.estimate.value, look.estimate.n) for look in found.looks] == [(1, 1.0, 4), (2, 2.0, 6)]
    assert all(math.isnan(look.estimate.low) and math.isnan(look.estimate.high) for look in found.looks)
    assert [(d.kind, d.look, d.by, d.actor) for d in found.decisions] == [
        ("keep", 1, "olga", "ana"),
        ("stop", 2, "olga", "ana"),
    ]
    assert [each.looks for each in experimenting.listed(registry)] == [(found.looks[-1],)]
    for statement in (
        "UPDATE experiments SET margin = 0.5",
        "UPDATE looks SET low = 0",
        "DELETE FROM looked",
        "DELETE FROM decisions",
    ):
        with pytest.raises(DBAPIError, match="only added"), registry.writing() as connection:
            connection.execute(sa.text(statement))
    actions = [entry.action for entry in telling.entries(registry)]
    assert sorted(actions) == sorted(["experiment opened", *["experiment looked at"] * 2, *["experiment decided"] * 2])


def test_sums_over_looks_are_those_of_the_rows(registry):
    experimenting.open_(registry, terms(), actor="t")
    seen = []

    def sums_of(past, sums):
        seen.append({row.query: row for row in sums})
        return Estimate(0, 0, 0, 0, 1, ""), "", "not known yet"

    for digest, twice in (("a", 0.2), ("b", -0.5)):
        q = experimenting.Query("q", "all", f"q {digest}", 1.0, 0.5, 0.0, twice, 2.0)
        other = experimenting.Query(f"only {digest}", "all", f"only {digest}", 2.0, 0.5, 0.1, 0.3, 0.0)
        experimenting.look(registry, "x", experimenting.NewLook(digest, (2, 0, 0), None, [q, other], {}, sums_of), actor="t")
    q = seen[-1]["q"]
    assert len(seen[-1]) == 3
    assert q[1:] == pytest.approx((2.0, -0.3, 4.0, 0.29, -0.6, 8.0, False))
    assert seen[-1]["only a"].moved
    assert experimenting.find(registry, "x").looks[-1].facts["repeated"] == 1


def test_looks_at_once_come_one_after_the_other_and_a_batch_counts_once(registry):
    experimenting.open_(registry, terms(), actor="t")
    gate, said = threading.Barrier(8), []

    def one(digest):
        gate.wait()
        try:
            said.append(experimenting.look(registry, "x", new_look(digest), actor="t").number)
        except InputError as problem:
            said.append(str(problem))

    threads = [threading.Thread(target=one, args=(digest,)) for digest in ("a", "b", "c", "d") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(x for x in said if isinstance(x, int)) == [1, 2, 3, 4]
    assert sum("was look" in str(x) for x in said) == 4
    found = experimenting.find(registry, "x")
    assert [(look.number, look.estimate.value, look.estimate.n) for look in found.looks] == [
        (i, float(i), 4 * i) for i in range(1, 5)
    ]


def test_the_constraint_holds_where_no_lock_does(registry, monkeypatch):
    """Two writers that both read "no look yet": the database takes one of them."""
    experimenting.open_(registry, terms(), actor="t")
    monkeypatch.setattr(experimenting, "_looks", lambda *_, **__: [])
    experimenting.look(registry, "x", new_look("a"), actor="t")
    with pytest.raises(InputError, match="another look was first"):
        experimenting.look(registry, "x", new_look("b"), actor="t")
    monkeypatch.undo()
    assert [look.digest for look in experimenting.find(registry, "x").looks] == ["a"]


def test_decisions_of_two_who_saw_the_same_page_are_one(registry):
    experimenting.open_(registry, terms(), actor="t")
    experimenting.decide(registry, "x", "ship", by="a", why="w", actor="a", seen=0)
    with pytest.raises(InputError, match="somebody decided meanwhile"):
        experimenting.decide(registry, "x", "stop", by="b", why="w", actor="b", seen=0)
    with pytest.raises(InputError, match="expected one of ship, stop, keep"):
        experimenting.decide(registry, "x", "'; DROP TABLE looks; --", by="b", why="w", actor="b")
    with pytest.raises(InputError, match="was shipped by a on 2026-05-04: no look after that"):
        experimenting.look(registry, "x", new_look("a"), actor="t")
    experimenting.decide(registry, "x", "keep", by="b", why="the release was rolled back", actor="b", seen=1)
    assert experimenting.look(registry, "x", new_look("a"), actor="t").number == 1


def test_a_backup_carries_experiments_into_either_database(registry, tmp_path):
    experimenting.open_(registry, terms(), actor="t")
    experimenting.look(registry, "x", new_look("a"), actor="t")
    experimenting.decide(registry, "x", "ship", by="a", why="w", actor="a")
    before = experimenting.find(registry, "x")
    backups.backup(registry, tmp_path / "b.zip", actor="t")
    backups.restore(tmp_path / "other.sqlite", tmp_path / "b.zip", actor="t")
    other = open_registry(tmp_path / "other.sqlite", clock=Clock())
    after = experimenting.find(other, "x")
    assert repr(after) == repr(before)  # numbers that are none are not equal to themselves
    experimenting.decide(other, "x", "keep", by="a", why="w", actor="a")
    experimenting.look(other, "x", new_look("b"), actor="t")
    other.close()


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_experiments_registry import experimenting, new_look, open_registry
registry = open_registry(sys.argv[1])
experimenting.look(registry, "x", new_look("a", wait=lambda: os._exit(9)), actor="t")
"""


def test_a_look_that_is_killed_leaves_nothing_and_is_taken_again(tmp_path):
    registry = open_registry(tmp_path / "registry.sqlite")
    experimenting.open_(registry, terms(), actor="t")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "registry.sqlite"), str(made.__file__).rpartition("/")[0]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stderr
    assert experimenting.find(registry, "x").looks == ()
    assert experimenting.look(registry, "x", new_look("a"), actor="t").number == 1
    registry.close()


# --- a look -----------------------------------------------------------------------------------------------------------


def test_a_batch_is_measured_as_compare_measures_and_batches_add_up(shop):
    opened(shop)
    batches = [made.batch(shop, str(i), first=160 * i, queries=160, strata=True) for i in range(3)]
    reports = [compare(b.control, b.treatment, b.judgments, scale="trec", metric="sDCG@5", design=b.design) for b in batches]
    for files, report in zip(batches, reports, strict=True):
        found = looked(shop, files)
        assert found.looks[-1].batch.value == pytest.approx(report.delta.value)
        assert found.looks[-1].batch.se == pytest.approx(report.delta.se)
        assert found.looks[-1].control.value == pytest.approx(report.control.value)
    assert found.estimate.value == pytest.approx(np.mean([r.delta.value for r in reports]))
    assert found.estimate.se == pytest.approx(np.sqrt(sum(r.delta.se**2 for r in reports)) / 3)
    assert math.isnan(found.looks[0].estimate.low)
    assert "160 queries so far" in found.looks[0].caveat
    assert (found.looks[0].verdict, found.verdict, found.passes) == ("not known yet", "superior", True)
    assert found.first_pass == next(look.number for look in found.looks if look.passes)
    assert found.estimate.n == 480
    assert "the 400 queries that were planned are reached" in found.notes


def test_people_s_and_a_machine_s_judgments_are_never_mixed(shop):
    card = made.card(shop)
    opened(shop, "by-people")
    opened(shop, "by-machine", card=card)
    guide = made.SCALE.version
    machine = made.batch(shop, "m", judge="machine", fingerprint="f1", guide=guide)
    people, other = made.batch(shop, "p"), made.batch(shop, "o", judge="machine", fingerprint="f2", guide=guide)
    with pytest.raises(Refusal, match="has no card"):
        looked(shop, machine, "by-people")
    with pytest.raises(InputError, match=r"was opened with people as judge, and these judgments are of 'machine' \(f1\)"):
        looked(shop, machine, "by-people", allow=("no-card",))
    with pytest.raises(InputError, match=r"was opened with 'machine' \(f1\) as judge, and these judgments are of people"):
        looked(shop, people, "by-machine")
    with pytest.raises(Refusal):
        looked(shop, other, "by-machine")
    with pytest.raises(InputError, match=r"opened with 'machine' \(f1\).*'machine' \(f2\)"):
        looked(shop, other, "by-machine", allow=("no-card",))
    with pytest.raises(InputError, match="was opened with judge 'machine'"):
        looked(shop, other, "by-machine", card=made.card(shop, fingerprint="f2"))
    with pytest.raises(InputError, match="it has no judge card"):
        looked(shop, people, "by-people", card=card)
    mixed = shop / "mixed.parquet"
    tables = [pq.read_table(machine.judgments), pq.read_table(made.batch(shop, "n", first=900).judgments)]
    pq.write_table(pa.concat_tables(tables), mixed)
    with pytest.raises(InputError, match="of 2 judges"):
        looked(shop, machine, "by-machine", judgments=mixed, allow=("mixed-judges", "mixed-guides", "no-card"))
    assert looked(shop, machine, "by-machine").looks[-1].number == 1
    assert looked(shop, people, "by-people").looks[-1].number == 1
    assert [len(experiments.show(name, shop).looks) for name in ("by-people", "by-machine")] == [1, 1]


def test_another_arm_metric_scale_unit_or_guide_is_refused_in_one_line_and_nothing_is_written(shop):
    opened(shop)
    files = made.batch(shop, "one")
    cases = [
        ({"control": files.treatment}, "this run is called 'treatment-one', and the experiment's control is 'control'"),
        ({"control": files.treatment, "treatment": files.control}, "this run is called"),
        ({"metric": "sDCG@10"}, "was opened with metric sDCG@5, not sDCG@10"),
        ({"scale": "esci"}, "was opened with scale 'trec'"),
        ({"judgments": made.batch(shop, "old", guide="another guide").judgments}, "were made under another guide"),
    ]
    for changed, says in cases:
        with pytest.raises(InputError, match=says) as problem:
            looked(shop, files, **changed)
        assert "\n" not in str(problem.value)
    opened(shop, "by-traffic", by="traffic")
    with pytest.raises(InputError, match="samples traffic, and this design was drawn by queries"):
        looked(shop, files, "by-traffic")
    with pytest.raises(InputError, match="there is no experiment 'nothing'"):
        looked(shop, files, "nothing")
    assert experiments.show("title-boost", shop).looks == []


def test_the_same_batch_again_is_refused_under_other_names_and_judged_anew(shop):
    opened(shop)
    files = made.batch(shop, "one")
    looked(shop, files)
    again = made.Files(*(shop / path.name.replace("one", "copy") for path in files[:3]))
    for old, new in zip(files[:2], again[:2], strict=True):
        table = pq.read_table(old)
        pq.write_table(table.take(np.random.default_rng(1).permutation(table.num_rows)), new)
    table = pq.read_table(files.judgments)
    pq.write_table(table.set_column(2, "relevance", [[0] * table.num_rows]), again.judgments)
    for each in (files, again):
        with pytest.raises(InputError, match=r"this batch .* was look 1"):
            looked(shop, each)
    assert len(experiments.show("title-boost", shop).looks) == 1


def joined(shop, name, *parts):
    """A batch of several batches: what a file holds that grows from day to day."""
    made_of = []
    for which, kind in enumerate(("control", "treatment", "grades")):
        made_of.append(shop / f"{kind}-{name}.parquet")
        pq.write_table(pa.concat_tables([pq.read_table(part[which]) for part in parts]), made_of[-1])
    return made.Files(*made_of)


def test_a_file_that_grows_is_refused_and_a_few_of_before_are_not(shop, monkeypatch, capsys):
    opened(shop)
    one, two = made.batch(shop, "one", queries=25), made.batch(shop, "two", first=100, queries=20)
    few = [made.batch(shop, f"few{n}", queries=n, seed=0) for n in (12, 15)]  # of the first batch, which has seed 0 too
    looked(shop, one)
    grown = joined(shop, "grown", one, two)
    with pytest.raises(
        InputError, match=r"25 of the 45 queries .* same lists in both arms as in look 1, .* and would count twice"
    ):
        looked(shop, grown)
    table = pq.read_table(grown.judgments)
    pq.write_table(table.set_column(2, "relevance", [[1] * table.num_rows]), grown.judgments)
    monkeypatch.chdir(shop)
    files = ["--control", grown.control.name, "--treatment", grown.treatment.name, "--judgments", grown.judgments.name]
    code, out, err = run(monkeypatch, capsys, "look", "title-boost", *files)  # judged anew: the same rows still
    assert (code, out, err.count("\n")) == (2, "", 1)
    with pytest.raises(InputError, match="15 of the 35 queries"):
        looked(shop, joined(shop, "more", few[1], two))
    assert len(experiments.show("title-boost", shop).looks) == 1
    assert looked(shop, joined(shop, "few", few[0], two)).looks[-1].repeated == 12
    with pytest.raises(InputError, match=r"in look 1, which had 25"):
        looked(shop, joined(shop, "all", grown, made.batch(shop, "three", first=200, queries=20)))


def test_another_ranker_behind_the_same_name_is_another_experiment(shop, monkeypatch):
    opened(shop)
    real = experiments.sources.open_run
    k1 = [1.2]
    monkeypatch.setattr(experiments.sources, "open_run", lambda p: (r := real(p))._replace(origin={**r.origin, "k1": k1[0]}))
    looked(shop, made.batch(shop, "one"))
    k1[0] = 0.9
    with pytest.raises(InputError, match=r"its manifest says k1 0.9, and that of the first look said 1.2"):
        looked(shop, made.batch(shop, "two", first=100))


def test_what_was_stated_is_not_moved_after_it(shop):
    assert opened(shop).made
    assert not opened(shop).made
    for changed in ({"margin": 0.5}, {"metric": "sDCG@10"}, {"control": "other"}, {"level": 0.9}, {"relative": True}):
        with pytest.raises(InputError, match="what was stated before the first look is not changed"):
            opened(shop, **changed)
    assert experiments.show("title-boost", shop).margin == 0.02


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"margin": 0.0}, "--margin 0: expected the largest loss"),
        ({"margin": -0.1}, "--margin -0.1"),
        ({"margin": math.nan}, "--margin nan"),
        ({"margin": 0.6, "relative": True}, "a share of the control's level"),
        ({"treatment": "control"}, "both arms are called 'control'"),
        ({"by": "users"}, "--by users"),
        ({"population": "  "}, "--population is empty"),
        ({"question": "x" * 3000}, "--question has 3,000 characters"),
        ({"metric": "Judged@5"}, "no measure of relevance"),
        ({"scale": "esci", "card": "CARD"}, "it is of scale 'trec'"),
        ({"card": "nowhere.json"}, "nowhere.json"),
        ({"queries": 1}, "--queries 1"),
        ({"mde": 0.0}, "--mde 0"),
        ({"level": 1.0}, "--level 1"),
    ],
)
def test_wrong_terms_are_one_line_and_open_nothing(shop, changed, says):
    if changed.get("card") == "CARD":
        changed = changed | {"card": made.card(shop)}
    with pytest.raises(InputError, match=re.escape(says)) as problem:
        opened(shop, **changed)
    assert "\n" not in str(problem.value)
    assert experiments.listed(shop) == []


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "a b", "a--b", "-a", "a-", "x" * 65, "<b>", "é", "a\n", "list?"])
def test_a_name_is_a_slug(shop, name):
    with pytest.raises(InputError, match="expected small letters, digits and single dashes"):
        opened(shop, name)


def test_a_relative_margin_is_held_against_the_control_query_by_query(shop):
    opened(shop, relative=True, margin=0.05, question=HOSTILE)
    opened(shop, "absolute", margin=0.05)
    differences, controls = [], []
    for i in range(3):
        files = made.batch(shop, str(i), first=150 * i, queries=150, quality=0.52)
        found = looked(shop, files)
        looked(shop, files, "absolute")
        differences.append(found.looks[-1].batch.value)
        controls.append(found.looks[-1].control.value)
    with open_registry(shop / "registry.sqlite").reading() as connection:
        rows = connection.execute(sa.text("SELECT look_id, control, difference FROM looked WHERE look_id IN (1, 3, 5)")).all()
    y = np.array([d + 0.05 * c for _, c, d in rows])
    look = experimenting.find(open_registry(shop / "registry.sqlite"), "title-boost").looks[-1]
    assert look.guard[0] == pytest.approx(differences[-1] + 0.05 * controls[-1])
    assert y.mean() == pytest.approx(np.mean(differences) + 0.05 * np.mean(controls))
    assert found.margin_now == pytest.approx(0.05 * np.mean(controls))
    wide = found.estimate.high - found.estimate.low
    verdict = verdict_of(found.estimate, found.margin_now)  # by the level as if it were known: near, and not the same
    assert found.verdict in (verdict, "not known yet")
    assert wide == pytest.approx(
        experiments.show("absolute", shop).estimate.high - experiments.show("absolute", shop).estimate.low
    )
    with pytest.raises((InputError, Refusal)):
        looked(shop, made.batch(shop, "gaps", first=900, unjudged=1), allow=("unjudged",))


def test_repeated_queries_are_said_and_count_once(shop):
    opened(shop)
    looked(shop, made.batch(shop, "one", queries=200, seed=1))
    found = looked(shop, made.batch(shop, "two", queries=300, seed=2))  # 200 of them again, with other lists
    assert found.estimate.n == 300
    assert found.looks[-1].repeated == 200
    assert any("count as one each (200 repeats" in note for note in found.notes)


def without(files, *docs):
    """The batch with no grade for these documents."""
    table = pq.read_table(files.judgments)
    pq.write_table(table.filter(pa.array([doc not in docs for doc in table["doc_id"].to_pylist()])), files.judgments)
    return files


def test_an_overridden_verdict_says_so_everywhere_and_does_not_pass_where_grades_could_undo_it(shop, monkeypatch, capsys):
    opened(shop)
    clean = looked(shop, made.batch(shop, "one", queries=320))
    assert (clean.verdict, clean.overrides, clean.looks[-1].verdict_says) == ("superior", [], "superior")
    gaps = without(made.batch(shop, "two", first=400, queries=320, quality=0.7), "d0", "d1")
    with pytest.raises(Refusal):
        looked(shop, gaps)
    found = looked(shop, gaps, allow=("unjudged",))
    assert found.estimate.low > 0  # by zeros for what has no grade
    assert (found.verdict, found.passes, found.overrides) == ("not known yet", False, ["--allow unjudged"])
    assert found.guardrail.startswith("With 1 safeguard overridden: not known yet, which is no pass: with other grades")
    third = looked(shop, made.batch(shop, "three", first=800, queries=1500))  # whole again: those of look 2 weigh little now
    assert (third.verdict, third.looks[-1].overrides, third.overrides) == ("superior", [], ["--allow unjudged"])
    experiments.decide("title-boost", "ship", by="olga", why="w", actor="t", project=shop)
    says = "With 1 safeguard overridden: superior"
    assert third.guardrail.startswith(says)
    assert [each.verdict_says for each in third.looks][1:] == ["With 1 safeguard overridden: not known yet", says]
    monkeypatch.chdir(shop)
    assert says in run(monkeypatch, capsys, "list")[1]
    assert run(monkeypatch, capsys, "show", "title-boost")[1].count(says) == 3  # guardrail, look, decision
    browser = Browser(open_registry(shop / "registry.sqlite"), shop)
    (row,) = browser.get("/api/experiments").json()["experiments"]
    assert (row["overrides"], row["verdict"], row["verdict_says"]) == (["--allow unjudged"], "superior", says)
    assert browser.get("/api/experiments/title-boost").json()["overrides"] == ["--allow unjudged"]
    assert "With 1 safeguard overridden:" in browser.get("/experiments").text
    page = browser.get("/experiments/title-boost").text
    assert f"<b>{says}" in page
    assert 'class="said right"' not in page


def test_bounds_of_one_batch_and_of_all_withhold_a_pass_and_no_other_verdict():
    batches = [Batch(100, 0.03, 0.01), Batch(100, 0.03, 0.01)]
    for bounds, says in (
        ([None, None], "superior"),
        ([None, (-0.02, 0.05)], "not known yet"),  # its own reach -0.01
        ([(-0.02, 0.05), None], "superior"),  # together from 0.005
        ([(-0.08, 0.05), None], "not known yet"),
        ([None, (0.0, 0.05)], "superior"),
    ):
        assert unless_unjudged("superior", batches, bounds, margin=0.01) == says
        assert unless_unjudged("inferior", batches, bounds, margin=0.01) == "inferior"


def test_verdicts_are_words_and_not_known_is_no_pass():
    nothing = Estimate(0.1, 0.01, math.nan, math.nan, 10, "")
    assert verdict_of(nothing, 0.1) == verdict_of(None, 0.1) == "not known yet"
    worse = Estimate(-0.01, 0.001, -0.013, -0.007, 900, "")
    assert verdict_of(worse, 0.02) == "non-inferior"
    assert "it is worse, and by less than the margin" in verdict_words("non-inferior", worse, 0.02, False)
    assert verdict_of(worse, 0.005) == "inferior"
    assert verdict_of(worse, 0.01) == "not known yet"
    assert "no pass" in verdict_words("not known yet", worse, 0.01, False)
    assert verdict_of(worse, 0.02, Estimate(0, 0, -0.001, 0.1, 9, "")) == "not known yet"
    assert verdict_of(Estimate(0.01, 0, 0.001, 0.02, 9, ""), 0.01) == "superior"


def test_the_chart_has_a_band_only_where_there_is_an_interval():
    nan = math.nan
    seen = [(1, "2026-03-02", Estimate(0.05, 0.1, nan, nan, 100, ""), "not known yet")]
    alone = chart(seen, 0.01)
    assert (alone.band, alone.line, alone.dots[0].top) == ("", "", None)
    seen += [(k, f"2026-03-0{k + 1}", Estimate(0.01, 0.01, -0.02 / k, 0.04, 100 * k, ""), "x") for k in (2, 3, 4)]
    found = chart(seen, 0.01)
    assert len(found.band.split()) == 6
    assert len(found.line.split()) == 4
    assert found.zero.y < found.margin.y
    assert chart([], 0.01) is None


# --- the command and the pages ----------------------------------------------------------------------------------------


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["germane", "experiment", *map(str, words)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    said = capsys.readouterr()
    return done.value.code, said.out, said.err


def test_every_verb_says_in_json_what_its_page_shows(shop, monkeypatch, capsys):
    monkeypatch.chdir(shop)
    files = made.batch(shop, "one", queries=320)
    flags = ["--control", "control", "--treatment", "treatment", "--margin", "0.02", "--population", "March", "--scale", "trec"]
    code, out, _ = run(monkeypatch, capsys, "open", "boost", *flags, "--metric", "sDCG@5", "-o", "json")
    assert (code, json.loads(out)["made"]) == (0, True)
    given = ["--control", files.control.name, "--treatment", files.treatment.name, "--judgments", files.judgments.name]
    code, out, _ = run(monkeypatch, capsys, "look", "boost", *given, "-o", "json")
    assert code == 0
    found = json.loads(out)
    code, out, err = run(monkeypatch, capsys, "look", "boost", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, _ = run(monkeypatch, capsys, "decide", "boost", "ship", "--why", "better", "--by", "olga", "-o", "json")
    assert json.loads(out)["decisions"][0]["by"] == "olga"
    code, out, _ = run(monkeypatch, capsys, "show", "boost", "-o", "json")
    shown = json.loads(out)
    assert shown["looks"] == found["looks"]
    browser = Browser(open_registry(shop / "registry.sqlite"), shop)
    assert browser.get("/api/experiments/boost").json() == shown
    code, out, _ = run(monkeypatch, capsys, "list", "-o", "json")
    assert browser.get("/api/experiments").json()["experiments"] == json.loads(out)
    code, out, _ = run(monkeypatch, capsys, "show", "boost")
    assert "decision 1" in out
    assert "look 1" in out
    code, out, _ = run(monkeypatch, capsys, "list")
    assert out.startswith("boost: shipped, 1 looks, ")
    code, out, err = run(monkeypatch, capsys, "decide", "boost", "maybe", "--why", "x")
    assert (code, out) == (2, "")


def test_without_a_registry_a_list_makes_none(shop, monkeypatch, capsys):
    monkeypatch.chdir(shop)
    assert run(monkeypatch, capsys, "list")[1] == "no experiment\n"
    assert run(monkeypatch, capsys, "show", "x")[0] == 2
    assert not (shop / "registry.sqlite").exists()


@pytest.fixture
def site(shop):
    """A project with an experiment of three looks, all of whose words are hostile."""
    words = {"question": HOSTILE, "population": HOSTILE, "owner": HOSTILE}
    opened(shop, **words)
    for i in range(3):
        looked(shop, made.batch(shop, str(i), first=150 * i, queries=150), note=HOSTILE)
    registry = open_registry(shop / "registry.sqlite")
    yield shop, registry
    registry.close()


def test_pages_show_estimate_verdict_margin_looks_and_let_nothing_run(site):
    shop, registry = site
    browser = Browser(registry, shop)
    index, page = browser.get("/experiments").text, browser.get("/experiments/title-boost").text
    for text in (index, page):
        assert "<script>alert" not in text
        assert "\u202e" not in text
        assert "superior" in text
        assert 'aria-current="page">Experiments' in text
    e = experiments.show("title-boost", shop)
    assert f"{e.estimate.value:+.4f}" in index
    assert f"{e.estimate.low:+.4f} to {e.estimate.high:+.4f}" in page
    assert page.count('class="band"') == 1
    assert page.count('class="dot"') == 3
    assert "0.02 (absolute)" in page
    assert "450 queries in 3 looks" in page
    assert '<td class="number"><span class="quiet">none yet</span></td>' in page  # look 1 has no interval, and no zero
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/experiments/title-boost/looks.csv").text)))
    assert [row["look"] for row in rows] == ["1", "2", "3"]
    assert (rows[0]["low"], rows[0]["verdict"], rows[0]["passes"]) == ("", "not known yet", "False")
    assert float(rows[2]["low"]) == e.estimate.low
    for path in ("/experiments/none", "/experiments/..%2Fx", "/experiments/<b>", "/experiments/A"):
        browser.get(path, 404)
        browser.get(f"/api{path}", 404)
    schema = browser.get("/openapi.json").json()
    assert schema["paths"]["/api/experiments/{name}"]["get"]["parameters"][0]["schema"] == {"type": "string"}
    assert "/api/experiments/{name}/looks.csv" in schema["paths"]


def test_an_adjudicator_decides_by_a_form_and_others_do_not(site):
    shop, registry = site
    team(registry, olga="owner", cem="adjudicator", ana="rater")
    cem, ana, olga = (Browser(registry, shop, name) for name in ("cem", "ana", "olga"))
    page, path = cem.get("/experiments/title-boost"), "/experiments/title-boost"
    ana.get(path, 403)
    ana.get("/experiments", 403)
    assert ana.post(path, page, what="ship", why="x", seen="0").status_code == 403
    assert cem.http.post(path, data={"what": "ship", "why": "x", "seen": "0"}).status_code == 403  # no token
    assert olga.post(path, page, what="ship", why="x", seen="0").status_code == 403  # another session's form
    for wrong in (
        {"what": "ship", "why": " ", "seen": "0"},
        {"what": "x", "why": "y", "seen": "0"},
        {"what": "ship", "why": "y"},
    ):
        assert cem.post(path, page, **wrong).status_code == 422
    assert cem.post("/experiments/none", page, what="ship", why="x", seen="0").status_code == 404
    assert cem.post(path, page, what="ship", why=HOSTILE, seen="0").status_code == 303
    assert cem.post(path, page, what="stop", why="from the old page", seen="0").status_code == 422
    decided = experiments.show("title-boost", shop).decisions
    assert [(d.kind, d.by, d.look, d.verdict) for d in decided] == [("ship", "cem", 3, "superior")]
    again = olga.get(path)
    assert "Ship it" in again.text
    assert "<script>alert" not in again.text
    assert olga.post(path, again, what="keep", why="rolled back", seen="1").status_code == 303
    text = olga.get(path).text
    assert text.count("superseded") == 1
    assert text.index("rolled back") < text.index("Ship it")


def test_a_share_link_reads_experiments_and_has_no_form(site):
    shop, registry = site
    team(registry, olga="owner")
    olga, reader = Browser(registry, shop, "olga"), Browser(registry, shop)
    made_link = olga.post("/shares", olga.get("/shares"), days="7")
    base = unescape(re.search(r'<a href="http://testserver(/s/[^"]+)/">', made_link.text)[1])
    path = "/experiments/title-boost"
    assert olga.post(path, olga.get(path), what="keep", why="ben says no", seen="0").status_code == 303
    assert "ben says no" in olga.get(path).text
    for path in ("/api/experiments", "/api/experiments/title-boost"):
        shared = reader.get(base + path).text
        assert '"keep"' in shared
        assert not [word for word in ("olga", "ben says", "search team") if word in shared]
    for path in ("/experiments", "/experiments/title-boost", "/api/experiments/title-boost/looks.csv"):
        answer = reader.get(base + path)
        assert not [word for word in ("olga", "ben says", "search team") if word in answer.text]
        assert "csrf" not in answer.text
        assert "<form" not in answer.text
        ways = re.findall(r'(?:href|action)="(/[^"]*)"', answer.text)
        assert all(way.startswith((base, "/static/")) for way in ways), path
    assert reader.http.post(f"{base}/experiments/title-boost", data={"what": "ship"}).status_code == 405
