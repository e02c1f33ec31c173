"""Golden pairs that watched days put up for people: the draw and its odds, tasks that are whole, agreement, correction."""

import csv
import io
import json
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa
from registries import new_database, postgres, team
from watched import project

from germane import cli
from germane.monitor.days import Day
from germane.pipeline import watch
from germane.registry import backups, database, days, draws, tasks, voted
from germane.registry.assigning import Ballot, take, vote
from germane.registry.draws import Draw, Drawn
from germane.registry.tasks import Asked, NewPair, TaskKind
from germane.report import words
from germane.scales import get
from germane.types import Estimate
from germane.watching import agreeing, correcting, golden
from germane.watching.golden import Candidate

DAY = date(2026, 3, 2)
NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)
GAINS = (0.0, 0.5, 1.0)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    real = database.open_registry
    monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: NOW))


@pytest.fixture
def registry(tmp_path):
    opened = database.open_registry(tmp_path / "registry.sqlite")
    yield opened
    opened.close()


# --- the draw -----------------------------------------------------------------------------------------------------------


def shown(n=40, *, rare=2):
    """n lists of 5 documents; `rare` documents have the best grade."""
    rng = np.random.default_rng(3)
    made = []
    for q in range(n):
        weight = float(rng.integers(1, 30))
        for rank in range(1, 6):
            grade = 2 if q < rare and rank == 1 else int(rng.random() < 0.3)
            made.append(Candidate(f"q{q}", f"query {q}", "head", f"d{q}-{rank}", rank, grade, "f", weight, 0.2))
    return made


def test_every_grade_is_drawn_and_odds_are_those_that_are_told():
    known = shown()
    days_ = [DAY + timedelta(d) for d in range(700)]
    counts, total, told = np.zeros(len(known)), [], {}
    for day in days_:
        found = golden.chosen(known, 9, seed=1, day=day)
        assert len(found) == 9
        assert {known[row].relevance for row in found} == {0, 1, 2}
        for row, chance in found.items():
            counts[row] += 1
            told[row] = chance
        total.append(sum(known[row].weight / chance for row, chance in found.items()))
    chances = np.array([told.get(row, 0.0) for row in range(len(known))])
    assert chances.sum() == pytest.approx(9, abs=0.02)
    error = np.sqrt(np.maximum(chances * (1 - chances), 1e-9) / len(days_))
    assert (np.abs(counts / len(days_) - chances) < 4.5 * error + 1e-9).all()
    all_shown = sum(one.weight for one in known)
    assert np.mean(total) == pytest.approx(all_shown, rel=0.01)  # one requests' weight a grade: the total is known exactly


def test_the_draw_is_the_same_again_and_another_on_another_day():
    known = shown()
    assert golden.chosen(known, 9, seed=1, day=DAY) == golden.chosen(known, 9, seed=1, day=DAY)
    assert golden.chosen(known, 9, seed=1, day=DAY) != golden.chosen(known, 9, seed=1, day=DAY + timedelta(1))
    assert golden.chosen(known, 9, seed=1, day=DAY) != golden.chosen(known, 9, seed=2, day=DAY)


def test_all_are_drawn_where_there_are_few_and_fewer_pairs_than_grades_are_one_stratum():
    known = shown(2)
    assert golden.chosen(known, 100, seed=1, day=DAY) == dict.fromkeys(range(10), 1.0)
    assert golden.chosen([], 5, seed=1, day=DAY) == {}
    found = [golden.chosen(shown(), 2, seed=1, day=DAY + timedelta(d)) for d in range(3)]
    assert all(len(each) == 2 for each in found)


def test_ranks_are_spread():
    ranks = [shown()[row].rank for row in golden.chosen(shown(rare=0), 10, seed=1, day=DAY)]
    assert len(set(ranks)) == 5


# --- tasks, with the day ------------------------------------------------------------------------------------------------


def a_day(registry, pairs, day="2026-03-02", *, scale="three-level"):
    """A day of the history that puts these pairs up: (query, doc, judge's grade, weight, chance)."""
    made = [
        Drawn(NewPair(q, d, q, (("text", f"{q} {d}"),)), rank, grade, "f1", weight, chance, 0.5)
        for rank, (q, d, grade, weight, chance) in enumerate(pairs, start=1)
    ]
    row = days.DayRow(day, "done", "UTC", 10, 5, 5, 2, "judge one", "f1", "v1", scale, "", {})
    new = days.NewDay(row, golden=Draw(day[:7], get(scale), 1, tuple(made)))
    days.write(registry, new, days.claim(registry, day))


PAIRS = [("hat", "d1", 2, 4.0, 0.5), ("hat", "d2", 0, 4.0, 0.5), ("shoe", "d3", 1, 2.0, 1.0)]


def judged(registry, said, *, task="watch 2026-03"):
    """Votes by name of rater: {name: {(query, doc): grade}}; those without a grade there are abstained."""
    people = team(registry, **dict.fromkeys(said, "rater"))
    of = tasks.find(registry, task)
    with registry.reading() as connection:
        named = {row.id: (row.query_id, row.doc_id) for row in connection.execute(sa.select(tasks.pairs))}
    for name, grades in said.items():
        while (given := take(registry, of, people[name])) is not None:
            grade = grades.get(named[given.pair_id])
            vote(registry, of, people[name], Ballot(given.id, given.token, grade, "" if grade is not None else "unclear"))


def test_pairs_of_a_month_are_one_task_for_two_raters_and_only_added(registry):
    a_day(registry, PAIRS)
    a_day(registry, [*PAIRS[:1], ("bag", "d4", 2, 1.0, 0.25)], "2026-03-03")
    a_day(registry, PAIRS, "2026-04-01")
    assert [(task.name, task.kind, task.asked.raters) for task in tasks.listed(registry)] == [
        ("watch 2026-03", "golden", 2),
        ("watch 2026-04", "golden", 2),
    ]
    found = voted.asked(registry)
    assert [(one.date, one.query, one.rank, one.chance) for one in found[:5]] == [
        ("2026-03-02", "hat", 1, 0.5),
        ("2026-03-02", "hat", 2, 0.5),
        ("2026-03-02", "shoe", 3, 1.0),
        ("2026-03-03", "hat", 1, 0.5),
        ("2026-03-03", "bag", 2, 0.25),
    ]
    assert found[0].pair_id == found[3].pair_id  # drawn again in its month: the same votes
    assert found[0].pair_id != found[5].pair_id
    for statement in ("UPDATE golden_draws SET chance = 1", "DELETE FROM golden_draws"):
        with pytest.raises(sa.exc.DBAPIError, match="only added"), registry.engine.begin() as connection:
            connection.execute(sa.text(statement))


def test_what_an_owner_asks_of_a_task_stays_and_another_scale_has_its_own(registry):
    a_day(registry, PAIRS)
    task = tasks.find(registry, "watch 2026-03")
    three = replace(task.asked, raters=3)
    tasks.load(registry, task.name, TaskKind.GOLDEN, task.scale, [], three, actor="owner")
    a_day(registry, PAIRS, "2026-03-03")
    assert tasks.find(registry, "watch 2026-03").asked.raters == 3
    a_day(registry, PAIRS, "2026-03-04", scale="esci")
    a_day(registry, PAIRS, "2026-03-05", scale="esci")
    assert [task.name for task in tasks.listed(registry)] == ["watch 2026-03", "watch 2026-03 esci"]


def test_a_pair_of_an_audit_is_left_out(registry):
    held = [NewPair("hat", "d1", "hat", (("text", "hat d1"),))]
    tasks.load(registry, "audit", TaskKind.AUDIT, get("three-level"), held, Asked(), actor="owner")
    a_day(registry, PAIRS)
    assert [one.query for one in voted.asked(registry)] == ["hat", "shoe"]
    a_day(registry, PAIRS[:1], "2026-03-03")
    assert len(voted.asked(registry)) == 2


def test_a_day_that_cannot_be_written_puts_nothing_up(registry, monkeypatch):
    def dies(*given, **more):
        raise RuntimeError

    monkeypatch.setattr(days, "record", dies)
    with pytest.raises(RuntimeError):
        a_day(registry, PAIRS)
    assert tasks.listed(registry) == []
    assert voted.asked(registry) == []


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


def test_a_backup_carries_the_draws_from_sqlite_to_postgresql(registry, tmp_path, server):
    a_day(registry, PAIRS)
    judged(registry, {"ana": {("hat", "d1"): 2, ("hat", "d2"): 0, ("shoe", "d3"): 2}})
    backups.backup(registry, tmp_path / "backup.zip", actor="test")
    url = new_database(server, "golden")
    backups.restore(url, tmp_path / "backup.zip", actor="test")
    other = database.open_registry(url)
    assert voted.asked(other) == voted.asked(registry)
    assert voted.said(other) == voted.said(registry)
    a_day(other, PAIRS[:1], "2026-03-03")
    with pytest.raises(sa.exc.DBAPIError, match="only added"), other.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM golden_draws"))
    other.close()


# --- agreement ----------------------------------------------------------------------------------------------------------


def test_agreement_by_hand(registry):
    a_day(registry, PAIRS)
    assert agreeing.agreement(registry).notes == ("no votes yet",)
    assert agreeing.agreement(registry).weeks == ()
    said = {("hat", "d1"): 2, ("hat", "d2"): 1, ("shoe", "d3"): 1}
    judged(registry, {"ana": said, "ben": {**said, ("shoe", "d3"): 0}})
    found = agreeing.agreement(registry)
    assert (found.drawn, found.judged, found.votes, found.unsure) == (3, 3, 6, 0)
    [week] = found.weeks
    assert (week.period, week.judge, week.fingerprint, week.pairs, week.votes) == ("2026-W10", "judge one", "f1", 3, 6)
    # weights 8, 8, 2; both agree on d1, neither on d2, one of two on d3
    assert week.exact.value == pytest.approx((8 + 0 + 1) / 18)
    assert week.exact.n == 6
    assert week.within_one.value == 1.0
    assert week.gain.value == pytest.approx((0 - 8 * 0.5 + 2 * 0.25) / 18)
    assert week.people_exact.value == pytest.approx(16 / 18)
    assert week.people_exact.n == 3
    assert [row.period for row in found.days] == ["2026-03-02"]
    assert [row.period for row in found.guides] == ["all"]
    assert agreeing.agreement(registry, by_day=False).days == ()
    assert agreeing.agreement(registry, first="2026-03-03").drawn == 0


def test_a_pair_without_a_vote_is_no_zero_and_those_of_its_grade_stand_for_it(registry):
    pairs = [("hat", "d1", 2, 1.0, 0.5), ("cap", "d2", 2, 1.0, 0.5), ("shoe", "d3", 0, 1.0, 1.0), ("bag", "d4", 0, 1.0, 1.0)]
    a_day(registry, pairs)
    judged(registry, {"ana": {("hat", "d1"): 2, ("shoe", "d3"): 1, ("bag", "d4"): 1}})  # d2: cannot judge
    found = agreeing.agreement(registry)
    assert (found.judged, found.votes, found.unsure) == (3, 3, 1)
    assert "1 of 4 pairs wait for a vote" in found.notes[0]
    assert found.weeks[0].exact.value == pytest.approx(4 / 6)  # d1 stands for both of grade 2
    assert found.weeks[0].people_exact is None


def test_another_guide_version_is_a_row_of_its_own(registry):
    a_day(registry, PAIRS)
    judged(registry, {"ana": {("hat", "d1"): 2, ("hat", "d2"): 0, ("shoe", "d3"): 1}})
    task = tasks.find(registry)
    tasks.load(registry, task.name, task.kind, replace(task.scale, guide="Another rubric."), [], task.asked, actor="owner")
    judged(registry, {"ben": {("hat", "d1"): 0, ("hat", "d2"): 0, ("shoe", "d3"): 0}})
    found = agreeing.agreement(registry)
    assert [(row.exact.value, row.kappa and row.people_exact) for row in found.guides] == [
        (1.0, None),
        (pytest.approx(8 / 18), None),
    ]
    assert len({row.guide for row in found.guides}) == 2


def pair(number, grade, weight, *, day="2026-03-02", judge="j"):
    return voted.Asked(day, "t", number, f"q{number}", 1, grade, judge, "f", weight, 0.5, 0.5, (0.0, 1.0))


def test_votes_under_another_guide_version_move_no_weight():
    """Under v2 one pair of ten of grade 0 has a vote, which stands for all ten; under v1 all have."""
    asked = [pair(i, int(i >= 10), 1.0 if i >= 10 else 100.0) for i in range(20)]
    first = [voted.Said(i, 1, asked[i].relevance, "v1") for i in range(20)]
    second = [voted.Said(0, 2, 1, "v2"), *(voted.Said(i, 2, 1, "v2") for i in range(10, 20))]
    found = agreeing.of(asked, first + second)
    assert [row.guide for row in found.guides] == ["v1", "v2"]
    assert found.guides[1].exact.value == pytest.approx(10 / (100 * 10 + 10))
    assert found.guides[:1] == agreeing.of(asked, first).guides
    alone = agreeing.of(asked, second)
    assert (found.guides[1:], found.weeks[1:], found.days[1:]) == (alone.guides, alone.weeks, alone.days)


def test_every_row_is_that_of_its_own_votes():
    """Two weeks, a judge each, three guide versions, several votes a pair: each row as if nobody had voted otherwise."""
    rng = np.random.default_rng(11)
    week = [("2026-03-02", "j"), ("2026-03-03", "j"), ("2026-03-10", "k")]
    asked = [
        pair(40 * n + i, int(rng.integers(2)), float(rng.integers(1, 50)), day=day, judge=judge)
        for n, (day, judge) in enumerate(week)
        for i in range(40)
    ]
    said = [
        voted.Said(one.pair_id, who, int(rng.integers(2)), f"v{rng.integers(3)}")
        for one in asked
        for who in range(3)
        if rng.random() < 0.6
    ]
    found = agreeing.of(asked, said)
    assert (len(found.guides), len(found.weeks), len(found.days)) == (6, 6, 9)
    for row in (*found.guides, *found.weeks, *found.days):
        mine = [one for one in asked if one.judge == row.judge]
        alone = agreeing.of(mine, [vote for vote in said if vote.guide_version == row.guide])
        assert row in (*alone.guides, *alone.weeks, *alone.days)
        assert row.people_exact is not None


# --- correction ---------------------------------------------------------------------------------------------------------


def a_sample(requests, levels, metric, *, probability=1.0):
    """A sampled day of queries q0, q1, ... of one stratum."""
    n = len(requests)
    names = np.array([f"q{i}" for i in range(n)])
    all_ = np.array(["head"] * n)
    metrics = {metric: np.asarray(levels, float)}
    return Day(str(DAY), names, np.asarray(requests, float), np.full(n, probability), all_, np.ones(n, bool), {}, metrics)


def test_a_level_is_corrected_to_what_people_say_where_all_is_judged():
    requested, levels, asked, said, true = [], [], [], [], []
    rng = np.random.default_rng(5)
    for q in range(30):
        judge, people = rng.integers(0, 3, 2), rng.integers(0, 3, 2)
        requests = int(rng.integers(1, 9))
        level = float(np.mean([GAINS[g] for g in judge]))
        requested.append(requests)
        levels.append(level)
        true.append((requests, float(np.mean([GAINS[g] for g in people]))))
        for d in range(2):
            number = 2 * q + d
            asked.append(
                voted.Asked("2026-03-02", "t", number, f"q{q}", d, int(judge[d]), "j", "f", 2.0 * requests, 1.0, 0.5, GAINS)
            )
            said.append(voted.Said(number, 1, int(people[d]), "v"))
    w, day = np.array(requested, float), a_sample(requested, levels, "sdcg@2", probability=0.5)
    plain = float(w @ levels / w.sum())
    level = Estimate(plain, 0.01, plain - 0.02, plain + 0.02, 30, "m", 0.95)
    found = correcting.corrected(level, "sdcg@2", day, asked, said)
    wanted = float(w @ [value for _, value in true] / w.sum())
    assert found.corrected.value == pytest.approx(wanted)
    assert found.bias.value == pytest.approx(plain - wanted)
    assert found.level is level
    assert found.corrected.low < wanted < found.corrected.high
    assert correcting.corrected(level, "sdcg@2", day, asked[:9], said) is None


@pytest.mark.parametrize(("judge", "people", "end"), [(0, 0, 0.0), (2, 2, 1.0)])
def test_a_corrected_level_stays_on_the_scale_and_says_what_it_was(judge, people, end):
    """The judge gives all drawn documents the other grade; those are few and stand for many, so the sum overshoots."""
    asked = [voted.Asked(str(DAY), "t", n, f"q{n}", 1, 2 - judge, "j", "f", 1.0, 0.2, 1.0, GAINS) for n in range(12)]
    said = [voted.Said(n, 1, people, "v") for n in range(12)]
    levels = [1.0 - end] * 12 + [end] * 28
    plain = float(np.mean(levels))
    level = Estimate(plain, 0.01, plain - 0.02, plain + 0.02, 40, "m", 0.95)
    found = correcting.corrected(level, "sdcg@1", a_sample([1.0] * 40, levels, "sdcg@1"), asked, said)
    e, raw = found.corrected, plain - found.bias.value
    assert (raw < 0) if end == 0 else (raw > 1)
    assert e.value == end
    assert 0 <= e.low <= e.value <= e.high <= 1
    assert f"cut at 0 and 1, was {words.plain(raw, 3)} (" in e.caveat


def test_a_level_on_the_scale_is_left_as_it_is():
    inside = Estimate(0.4, 0.1, 0.2, 0.6, 20, "m", caveat="few")
    assert correcting.on_scale(inside) == inside
    assert correcting.on_scale(replace(inside, high=1 + 1e-12)) == replace(inside, high=1.0)
    assert correcting.on_scale(replace(inside, high=1.25)).caveat == "few; cut at 0 and 1, was 0.400 (0.200 to 1.250)"


@pytest.mark.simulation
def test_the_correction_covers_what_people_would_say(repetitions):
    """A judge that is half a grade too kind; 24 of 400 documents are drawn by design and judged by people."""
    runs, inside, errors = repetitions(reduced=150, whole=2000), 0, []
    for run in range(runs):
        rng = np.random.default_rng(run)
        known, requested, levels, people = [], [], [], {}
        for q in range(80):
            requests, truth = int(rng.integers(1, 20)), rng.integers(0, 3, 5)
            judge = np.minimum(truth + (rng.random(5) < 0.4), 2)
            mean = float(np.mean([GAINS[g] for g in judge]))
            requested.append(requests)
            levels.append(mean)
            for rank, (grade, real) in enumerate(zip(judge.tolist(), truth.tolist(), strict=True)):
                people[f"q{q}", rank] = real
                known.append(Candidate(f"q{q}", f"q{q}", "all", str(rank), rank, grade, "f", float(requests), 0.2))
        w = np.array(requested, float)
        plain = float(w @ levels / w.sum())
        level = Estimate(plain, 0.0, plain, plain, 80, "m", 0.95)
        asked, said = [], []
        for number, (row, chance) in enumerate(golden.chosen(known, 24, seed=run, day=DAY).items()):
            one = known[row]
            asked.append(
                voted.Asked(str(DAY), "t", number, one.query, one.rank, one.relevance, "j", "f", one.weight, chance, 0.2, GAINS)
            )
            said.append(voted.Said(number, 1, people[one.query_id, int(one.doc_id)], "v"))
        found = correcting.corrected(level, "m", a_sample(requested, levels, "m"), asked, said)
        grades = np.array([[GAINS[people[f"q{q}", r]] for r in range(5)] for q in range(80)]).mean(1)
        errors.append(found.corrected.value - 0.5)  # every grade is as likely: people's level is 0.5 in such markets
        inside += found.corrected.low <= 0.5 <= found.corrected.high
        assert abs(grades.mean() - 0.5) < 0.1
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(runs)
    assert inside / runs > 0.92


# --- the job, its report, the command and the page ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched_days(tmp_path_factory):
    """Two days of a project that puts eight pairs a day up."""
    folder = project(tmp_path_factory.mktemp("golden"), days=2, more="golden = 8")
    real = database.open_registry
    database.open_registry = partial(real, clock=lambda: NOW)
    try:
        watch.run(folder)
    finally:
        database.open_registry = real
    return folder


def called(folder, *words, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["germane", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


def test_the_job_puts_pairs_up_and_without_votes_says_so(watched_days, monkeypatch, capsys):
    registry = database.open_registry(watched_days / "registry.sqlite")
    found = voted.asked(registry)
    assert [sum(one.date == day for one in found) for day in ("2026-03-02", "2026-03-03")] == [8, 8]
    assert all(0 < one.chance <= 1 and one.weight > 0 and 0 < one.part <= 1 for one in found)
    rows = days.listed(registry)
    assert [row.facts["golden"]["drawn"] for row in rows] == [8, 8]
    assert all(sum(row.facts["golden"]["by_grade"]) == 8 for row in rows)
    assert all(row.fields for row in shown_pairs(registry))
    registry.close()
    code, out, _ = called(watched_days, "watch", "golden", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "pairs: 16" in out
    assert "note: no votes yet" in out
    assert ("0." in out, "votes:" in out, "judged" in out) == (False, False, False)
    assert "Agreement with people" not in (watched_days / "watch/2026-03-03/report.html").read_text()


def shown_pairs(registry):
    with registry.reading() as connection:
        return connection.execute(sa.select(tasks.pairs)).all()


def test_votes_come_into_the_command_the_report_and_the_page(tmp_path, monkeypatch, capsys):
    folder = project(tmp_path / "p", days=2, more="golden = 12")
    monkeypatch.setattr(database, "open_registry", partial(database.open_registry.func, clock=lambda: NOW - timedelta(days=1)))
    watch.run(folder)
    registry = database.open_registry(folder / "registry.sqlite")
    truth = {(row.query_id, row.doc_id): (row.id * 7) % 5 for row in shown_pairs(registry)}
    judged(registry, {"ana": truth, "ben": truth})
    registry.close()
    monkeypatch.setattr(database, "open_registry", partial(database.open_registry.func, clock=lambda: NOW))
    watch.run(folder)
    assert "Agreement with people" in (folder / "watch/2026-03-03/report.html").read_text()
    report = json.loads((folder / "watch/2026-03-03/report.json").read_text())
    assert {"value", "low", "high", "n"} <= set(report["golden"][0]["exact"])
    code, out, _ = called(folder, "watch", "golden", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "2026-W10" in out
    assert "corrected" in out
    code, out, _ = called(folder, "watch", "golden", "--output", "json", monkeypatch=monkeypatch, capsys=capsys)
    found = json.loads(out)
    assert (found["drawn"], found["votes"]) == (24, 24)
    assert found["weeks"][0]["people_exact"]["value"] == 1.0
    assert found["levels"][0]["level"]["value"] != found["levels"][0]["corrected"]["value"]
    cut = {row["date"]: "cut at 0 and 1" in row["corrected"]["caveat"] for row in found["levels"]}
    assert [day for day in cut if any(f"corrected level of {day}: " in note for note in found["notes"])] == [
        day for day in cut if cut[day]
    ]
    code, _, err = called(folder, "watch", "golden", "--first", "soon", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, "--first 'soon' is no day" in err) == (2, True)


def test_no_pairs_are_put_up_where_none_are_asked_for(tmp_path):
    folder = project(tmp_path / "p", days=1, more="golden = 0")
    watch.run(folder, day="2026-03-02")
    registry = database.open_registry(folder / "registry.sqlite")
    assert tasks.listed(registry) == []
    assert agreeing.agreement(registry).notes[0].startswith("no pairs were put up yet")
    registry.close()


def test_the_page_says_what_there_is_and_its_numbers_are_data(registry, tmp_path):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from germane.web.app import create_app
    from germane.web.boards import pages, sharing, site

    board = site.Board(registry, project=tmp_path, secret=b"s" * 64, guest=site.guest())
    browser = TestClient(create_app(board, pages.PAGES), base_url="http://127.0.0.1")
    assert "No day yet" in browser.get("/golden-samples").text
    a_day(registry, [("<script>hat", "d1", 2, 4.0, 0.5), *PAIRS[1:]])
    page = browser.get("/golden-samples")
    assert page.status_code == 200
    assert "No votes yet" in page.text
    assert "<td" not in page.text
    assert browser.get("/api/golden-samples").json()["weeks"] == []
    judged(registry, {"ana": {("<script>hat", "d1"): 2, ("hat", "d2"): 1, ("shoe", "d3"): 1}})
    link = f"/s/{sharing.signed(board.secret, NOW + timedelta(1))}"
    page = browser.get(f"{link}/golden-samples?days=30")
    assert "Week by week" in page.text
    assert "<script>hat" not in page.text
    assert browser.get(f"{link}/golden-samples?days=7").status_code == 422
    found = browser.get(f"{link}/api/golden-samples").json()
    assert found["weeks"][0]["exact"]["n"] == 3
    rows = list(csv.DictReader(io.StringIO(browser.get(f"{link}/api/golden-samples.csv").text)))
    assert {row["measure"] for row in rows} >= {"exact", "kappa", "people_exact"}
    assert next(row for row in rows if row["measure"] == "people_exact")["value"] == ""


def test_nothing_is_put_up_where_nothing_has_a_grade(registry):
    with registry.writing() as connection:
        assert draws.put_up(connection, 1, Draw("2026-03", get("esci"), 1), at=NOW) == 0
    assert tasks.listed(registry) == []
