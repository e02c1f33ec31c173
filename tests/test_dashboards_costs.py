"""Labels a day and the golden set's health: sums, what is not known, and votes without names."""

import csv
import io
import json
import math
from datetime import timedelta

import histories
import numpy as np
import pytest
import sqlalchemy as sa
import watched
from registries import Clock, a_task, team

from germane import cli
from germane.golden.quality import quality
from germane.pipeline import watch
from germane.registry import days as history
from germane.registry import spending, tables, tasks, telling
from germane.registry.database import open_registry
from germane.registry.tasks import NewPair, TaskKind
from germane.report.timeline import HIGH, stacked
from germane.scales import get

pytest.importorskip("fastapi")

from test_dashboards import Browser

from germane.web.boards import costs, goldens
from germane.web.boards.places import Place, place


@pytest.fixture
def clock():
    made = Clock()
    made.at = made.at.replace(month=4, day=11)
    return made


@pytest.fixture
def registry(tmp_path, clock):
    opened = open_registry(tmp_path / "registry.sqlite", clock=clock)
    yield opened
    opened.close()


def labels(asked, paid=None, currency="", **more):
    said = {"pairs": 100, "graded": 95, "known": 100 - asked, "asked": asked, "coverage": 0.95, "paid": paid}
    return {**said, "currency": currency, "cost": "" if paid is None else "some", "notes": [], **more}


def write(registry, **more):
    """Seven days: of a version before, free, paid, paid with anchors, missing, a gap, free of charge; a judge changes."""
    facts = {1: {"labels": labels(10)}, 2: {"labels": labels(20, 0.5, "USD")}, 6: {"labels": labels(0, 0.0, "USD")}}
    facts |= {3: {"labels": labels(30, 1.25, "USD"), "anchors": labels(40, 0.25, "USD")}}
    facts |= {int(name.removeprefix("on_")): said for name, said in more.items()}
    return histories.write(registry, 7, segments=2, metrics=2, gaps=(5,), missing=(4,), judged_anew=(3,), facts=facts)


# --- costs -------------------------------------------------------------------------------------------------------------


def test_a_cost_that_is_not_known_is_none_and_no_zero(registry):
    spent = write(registry)
    found = costs.costs(registry, {})
    by_day = {day.date: day for day in found.days}
    assert [day.cost for day in found.days] == [None, None, 0.5, 1.25, None, None, 0.0]
    old = by_day[spent[0]]  # as versions before wrote it
    assert (old.pairs, old.known, old.asked, old.ungraded, old.anchors) == (50_000, 49_000, None, 0, None)
    assert (by_day[spent[4]].state, by_day[spent[4]].pairs) == ("missing", None)
    assert (by_day[spent[5]].state, by_day[spent[5]].pairs) == ("gap", None)
    assert (by_day[spent[3]].ungraded, by_day[spent[3]].anchors, by_day[spent[3]].anchors_cost) == (5, 40, 0.25)
    assert "the cost of 2 of 5 days is not known" in found.notes[0]


def test_totals_are_of_the_days_that_say_them_by_month_and_judge(registry):
    spent = write(registry)
    found = costs.costs(registry, {})
    (month,) = found.months
    assert (month.of, month.days, month.pairs, month.asked, month.anchors) == ("2026-03", 5, 50_400, 60, 40)
    assert (month.priced, month.cost, month.currency) == (3, 2.0, "USD")
    assert [(t.judge, t.fingerprint, t.days, t.cost, t.priced) for t in found.judges] == [
        ("judge one", "f0", 3, 0.5, 1),
        ("judge 2", "f1", 2, 1.5, 2),
    ]
    assert found.changed == [spent[3]]


@pytest.mark.parametrize(
    ("said", "again", "paid", "currency"),
    [
        (labels(20), labels(40, 0.25, "USD"), None, "USD"),  # labels were asked, and nobody knows at which price
        (labels(20, 0.5, "USD"), labels(40), None, "USD"),
        (labels(0), labels(40, 0.25, "USD"), 0.25, "USD"),
        (labels(20, 0.5, "USD"), labels(0), 0.5, "USD"),
        (labels(20, 0.5, "USD"), labels(40, 0.25, "EUR"), None, "USD"),
        (labels(20, 0.5, "USD"), labels(40, 0.25), None, "USD"),
        (labels(20, math.nan, "USD"), {}, None, ""),
        (labels(20, math.inf, "USD"), {}, None, ""),
    ],
)
def test_a_day_has_a_cost_where_every_part_that_was_asked_has_one(said, again, paid, currency):
    day = costs._day(spending.Asked("2026-03-02", "done", "j", "f", said, again))
    assert (day.paid, day.currency) == (paid, currency)
    (total,) = costs._totals([day], lambda each: (each.date, ""))
    assert (total.cost, total.priced) == (paid, int(paid is not None))


def test_two_currencies_never_add_up(registry):
    write(registry, on_2={"labels": labels(20, 7.0, "EUR")})
    found = costs.costs(registry, {})
    assert [(t.cost, t.currency, t.days) for t in found.months] == [(7.0, "EUR", 3), (1.5, "USD", 2)]
    assert [(t.judge, t.cost, t.currency) for t in found.judges] == [("judge one", 7.0, "EUR"), ("judge 2", 1.5, "USD")]


def test_a_judge_of_whom_no_cost_is_known_has_none(registry):
    write(registry, on_2={"labels": labels(20)}, on_3={"labels": labels(30)}, on_6={"labels": labels(0)})
    found = costs.costs(registry, {})
    assert [(t.cost, t.currency, t.priced) for t in (*found.months, *found.judges)] == [(None, "", 0)] * 3


@pytest.mark.parametrize("wrong", ["12", "", None, True, -3, {"x": 1}, 2.5])
def test_facts_that_are_no_numbers_are_not_known(registry, wrong):
    said = {"pairs": wrong, "known": wrong, "paid": "5", "currency": "USD"}
    write(registry, on_1={"labels": said, "anchors": {"asked": wrong}})
    day = costs.costs(registry, {}).days[1]
    assert (day.pairs, day.known, day.asked, day.ungraded, day.anchors, day.cost) == (None,) * 6


def test_the_page_its_data_and_the_command_say_the_same(registry, tmp_path, monkeypatch, capsys):
    write(registry)
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n', encoding="utf-8")
    browser = Browser(registry, tmp_path)
    found = browser.get("/api/costs").json()
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/costs.csv").text)))
    assert [row["cost"] for row in rows] == ["", "", "0.5", "1.25", "", "", "0.0"]
    page = browser.get("/costs").text
    assert "1.2500 USD" in page
    assert "2.0000 USD" in page
    assert page.count("judge changed") == 2  # on both charts
    assert page.count('class="part1"') >= 6
    assert browser.get("/costs?days=7", 422)
    monkeypatch.setattr("sys.argv", ["germane", "watch", "costs", "--project", str(tmp_path), "--output", "json"])
    with pytest.raises(SystemExit):
        cli.main()
    assert json.loads(capsys.readouterr().out) == found
    monkeypatch.setattr("sys.argv", ["germane", "watch", "costs", "--project", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "2.0000 USD" in capsys.readouterr().out


def test_without_a_day_nothing_is_counted(registry, tmp_path):
    assert costs.costs(registry, {}).days == []
    assert "No day yet" in Browser(registry, tmp_path).get("/costs").text
    assert spending.asked(registry, "2026-01-01", "2026-12-31") == []


def test_bars_stand_on_each_other_and_a_day_without_one_is_none():
    chart = stacked("2026-03-01", "2026-03-04", {"2026-03-01": (10.0, 30.0), "2026-03-03": (0.0, 20.0), "2027-01-01": (9.0,)})
    assert [(bar.date, bar.part, bar.value) for bar in chart.bars] == [
        ("2026-03-01", 0, 10.0),
        ("2026-03-01", 1, 30.0),
        ("2026-03-03", 1, 20.0),
    ]
    one, two, three = chart.bars
    assert one.y + one.height == pytest.approx(HIGH)
    assert two.y + two.height == pytest.approx(one.y)
    assert two.height == pytest.approx(3 * one.height, abs=0.1)
    assert three.x == pytest.approx(one.x + 50)
    assert chart.missing == 2
    assert stacked("2026-03-01", "2026-03-04", {}) is None
    zero = stacked("2026-03-01", "2026-03-01", {"2026-03-01": (0.0,)})
    assert (zero.bars, zero.missing) == ((), 0)


def test_the_daily_job_writes_what_it_asked_for(tmp_path):
    project = watched.project(tmp_path, days=1, anchors=True)
    watch.run(project, day=str(watched.FIRST))
    registry = open_registry(project / "registry.sqlite")
    (row,) = history.listed(registry)
    said = row.facts["labels"]
    assert said["pairs"] == said["graded"] >= said["asked"] > 0
    assert (said["known"], said["paid"], said["currency"], said["cost"]) == (0, None, "", "")
    assert 0 < row.facts["anchors"]["asked"] <= 36
    (day,) = costs.costs(registry, {}).days
    assert (day.asked, day.anchors, day.cost) == (said["asked"], row.facts["anchors"]["asked"], None)
    registry.close()


# --- the golden set ------------------------------------------------------------------------------------------------------


def nowhere(tmp_path):
    return Place(tmp_path, tmp_path / "watch", tmp_path / "labels", None, None, get("esci"))


def judged(registry, pairs=60, raters=("ana", "ben", "cem"), **asked):
    """A task whose pairs each have two votes, of raters who agree on two thirds of them."""
    people = team(registry, **dict.fromkeys(raters, "rater"))
    task = a_task(registry, pairs, controls=2, **asked)
    rng = np.random.default_rng(1)
    rows = []
    with registry.writing() as connection:
        found = connection.execute(sa.select(tables.pairs).where(tables.pairs.c.control.is_(None)).order_by(tables.pairs.c.id))
        for number, pair in enumerate(found.all()):
            grade = int(rng.integers(0, 4))
            for place_ in range(2):
                who = people[raters[(number + place_) % len(raters)]].id
                other = grade if place_ == 0 or number % 3 else (grade + 1) % 4
                row = {"task_id": task.id, "pair_id": pair.id, "account_id": who, "relevance": other, "kind": "vote"}
                at = registry.clock() - timedelta(days=60 - number)
                row |= {"at": at, "guide_version": task.scale.version, "reason": "", "note": "", "seconds": 9.0}
                rows.append(row | {"withdrawn": False, "token": f"{number}-{place_}"})
        connection.execute(sa.insert(tables.votes), rows)
    return task, people


def test_without_votes_the_page_says_how_to_begin(registry, tmp_path):
    page = Browser(registry, tmp_path).get("/golden").text
    assert "germane annotate --pairs" in page
    a_task(registry, 4)
    task = goldens.health(registry, nowhere(tmp_path)).tasks[0]
    assert (task.pairs, task.judged, task.twice, task.votes, task.age, task.figures) == (4, 0, 0, 0, None, [])
    assert "Nothing can be said of agreement yet" in task.answer
    assert "Nothing can be said of agreement yet" in Browser(registry, tmp_path).get("/golden").text


def test_the_figures_are_those_of_quality_and_no_name_is_among_them(registry, tmp_path):
    task, people = judged(registry)
    found = goldens.health(registry, nowhere(tmp_path))
    (seen,) = found.tasks
    assert (seen.pairs, seen.judged, seen.twice, seen.votes, seen.raters, seen.controls) == (60, 60, 60, 120, 3, 2)
    known = quality(telling.votes_of(registry, task), task.scale, least=20, period="month").found
    mine = {f.statistic: f.found for f in seen.figures if f.dimension == "all"}
    assert {name: (e.value, e.low, e.high, e.n) for name, e in mine.items()} == {
        name: (e.value, e.low, e.high, e.n) for name, e in known.items()
    }
    assert mine["full agreement"].value == pytest.approx(2 / 3)
    assert {f.name for f in seen.figures if f.dimension == "rater"} == {f"rater {p.id}" for p in people.values()}
    assert [(s.stratum, s.pairs, s.twice) for s in seen.strata] == [("head", 30, 30), ("tail", 30, 30)]
    assert sum(m.votes for m in seen.months) == 120
    assert seen.age == pytest.approx(30.5, abs=0.6)
    assert (seen.guides[0].version, seen.guides[0].votes) == (task.scale.version, 120)
    assert all(math.isfinite(f.found.value) for f in seen.figures)


def test_a_new_vote_a_withdrawn_one_and_the_queue_change_what_is_said(registry, tmp_path):
    judged(registry)
    before = goldens.health(registry, nowhere(tmp_path)).tasks[0]
    with registry.writing() as connection:
        row = connection.execute(sa.select(tables.votes).order_by(tables.votes.c.id)).first()
        again = {**row._mapping, "id": None, "withdrawn": True, "token": "again", "at": registry.clock()}
        connection.execute(sa.insert(tables.votes), [{k: v for k, v in again.items() if k != "id"}])
        connection.execute(sa.update(tables.pairs).where(tables.pairs.c.id.in_([1, 2, 3])).values(disputed=True))
        connection.execute(sa.update(tables.pairs).where(tables.pairs.c.id == 3).values(discussed=True))
    after = goldens.health(registry, nowhere(tmp_path)).tasks[0]
    assert (before.votes, after.votes, before.twice, after.twice) == (120, 119, 60, 59)
    assert (before.waiting, after.waiting, after.discussed) == (0, 3, 1)


def test_leaks_to_audits_and_to_what_the_judge_learned_are_found(registry, tmp_path, monkeypatch):
    a_task(registry, 6)
    pair = NewPair("q0", "d1", "query number 0", (("title", "x"),))
    tasks.load(registry, "audit", TaskKind.AUDIT, get("esci"), [pair], tasks.Asked(), allow=["golden-audit"], actor="test")
    monkeypatch.setattr(goldens, "_learned", lambda place: (frozenset({goldens.query_digest("Query NUMBER 1")}), "student"))
    found = goldens.health(registry, nowhere(tmp_path))
    assert [(leak.what, leak.against, leak.number, leak.of, leak.examples) for leak in found.leaks] == [
        ("pairs that an audit has too", "audit tasks", 1, 6, ["query number 0, d1"]),
        ("queries that the judge learned from", "student", 1, 2, ["query number 1"]),
    ]
    assert "golden-audit" in found.notes[0]
    assert [task.kind for task in found.tasks] == ["golden", "audit"]
    page = Browser(registry, tmp_path).get("/golden").text
    assert "1 of 6" in page


def test_the_golden_page_its_data_and_the_command_say_the_same(registry, tmp_path, monkeypatch, capsys):
    (tmp_path / "germane.toml").write_text('scale = "esci"\n', encoding="utf-8")
    judged(registry, raters=("zoran", "ylva", "xenia"))
    team(registry, olga="owner")
    browser = Browser(registry, tmp_path, "olga")
    found = browser.get("/api/golden").json()
    page = browser.get("/golden").text
    alpha = next(f["found"] for f in found["tasks"][0]["figures"] if f["statistic"] == "alpha (ordinal)")
    assert f"{alpha['value']:.3f}" in page
    assert f"{alpha['low']:.3f} to {alpha['high']:.3f}" in page
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/golden.csv").text)))
    assert len(rows) == len(found["tasks"][0]["figures"])
    for name in ("zoran", "ylva", "xenia"):
        assert name not in page + json.dumps(found) + json.dumps(rows)
    assert place(tmp_path).labels("esci") == get("esci").labels
    monkeypatch.setattr("sys.argv", ["germane", "golden", "health", "--project", str(tmp_path), "--output", "json"])
    with pytest.raises(SystemExit):
        cli.main()
    told = json.loads(capsys.readouterr().out)
    for task in (*told["tasks"], *found["tasks"]):
        task["age"] = None  # the clock of the test is another
    assert told == found
    monkeypatch.setattr("sys.argv", ["germane", "golden", "health", "--project", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Krippendorff" in capsys.readouterr().out
