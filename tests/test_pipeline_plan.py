"""`plan`: a budget to a sample and its audit, on files, as text, as JSON and as a page."""

import json
import re
import shlex
from dataclasses import asdict
from html.parser import HTMLParser

import pytest

from germane import store
from germane.cli import app
from germane.pipeline.plan import plan
from germane.pipeline.sample import sample
from germane.report.plan import chart, html
from germane.types import Estimate, InputError, JudgeCard

COSTS = {"people_money": 0.25, "judge_money": 0.01, "rate": 80.0, "moved": 0.3}


@pytest.fixture
def queries(file):
    rows = [f"{i},query {i},{'head' if i < 200 else 'torso' if i < 1000 else 'tail'}" for i in range(4000)]
    return file("queries.csv", "query_id,query,segment\n" + "\n".join(rows) + "\n")


@pytest.fixture
def pilot(file):
    return file("pilot.csv", "stratum,sd,n\nhead,0.12,40\ntorso,0.08,40\ntail,0.05,60\n")


def run(*arguments):
    from typer.testing import CliRunner

    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_a_plan_says_what_to_do_and_what_it_finds_beside_the_other_ways(queries, pilot):
    found = plan(queries, budget={"money": 2000}, rho=0.8, pilot=pilot, control_mean=0.5, **COSTS)
    assert [o.name for o in found.options] == ["with a judge, corrected", "people only", "judge only"]
    best, people, judge = found.options
    assert (best.queries, best.audited) == (found.queries, found.audited)
    assert best.money <= 2000
    assert best.people_labels == round(found.audited * 15)
    assert best.judge_labels == round(found.queries * 15)
    assert best.hours == pytest.approx(best.people_labels / 80)
    assert best.mde == found.mde < people.mde
    assert best.relative == found.relative == found.mde / 0.5
    assert (judge.estimand, people.estimand) == ("the judge's", "people's")
    assert sum(part.queries for part in found.strata) == found.queries
    assert sum(part.audited for part in found.strata) == found.audited
    at = next(point for point in found.curve if point.factor == 1)
    assert (at.corrected, at.people_only, at.judge_only) == (best.mde, people.mde, judge.mde)


def test_the_command_draws_the_very_sample_that_was_planned(queries, pilot, tmp_path):
    found = plan(queries, budget={"labels": 6000}, rho=0.7, pilot=pilot, floors={"head": 60}, minimum=10, seed=5, **COSTS)
    words = shlex.split(found.commands[0])
    assert words[:3] == ["germane", "sample", str(queries)]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    floors = {name: float(value) for name, value in [given["--floor"].split("=")]}
    drawn = sample(
        queries,
        tmp_path / "design.parquet",
        n=int(given["-n"]),
        seed=int(given["--seed"]),
        pilot=pilot,
        floors=floors,
        minimum=int(given["--minimum"]),
    )
    assert drawn.sampled == {part.stratum: part.queries for part in found.strata}
    assert drawn.sampled["head"] >= 60
    assert f"-n {found.audited}" in found.commands[1]
    assert "--for audit" in found.commands[1]


@pytest.mark.parametrize(
    "change",
    [
        {"budget": {"money": 1000}},
        {"budget": {"money": 2000, "labels": 3000}},
        {"budget": {"money": 2000, "hours": 30}},
        {"budget": {"money": 2000, "judge_labels": 9000}},
        {"people_money": 0.5},
        {"judge_money": 0.05},
        {"raters": 2},
        {"k": 10},
        {"moved": 0.5},
        {"rho": 0.5},
        {"rho": None},
        {"sd": 0.1},
        {"strata": []},
        {"floors": {"head": 200}},
        {"minimum": 150},
        {"least_audited": 500},
        {"level": 0.9},
        {"power": 0.9},
    ],
)
def test_everything_that_a_plan_depends_on_moves_it(queries, change):
    options = {"budget": {"money": 2000}, "rho": 0.8, "sd": 0.06, **COSTS}
    before, after = plan(queries, **options), plan(queries, **options | change)
    assert (before.mde, before.strata) != (after.mde, after.strata)


def test_a_larger_budget_never_finds_less(queries):
    found = plan(queries, budget={"labels": 9000}, rho=0.6, sd=0.06, **COSTS)
    for name in ("corrected", "people_only", "judge_only"):
        line = [getattr(point, name) for point in found.curve if getattr(point, name) is not None]
        assert line == sorted(line, reverse=True)


def test_without_a_judge_people_grade_everything_and_it_is_said(queries):
    found = plan(queries, budget={"labels": 5000})
    assert (found.queries, found.audited, len(found.commands)) == (100, 100, 1)
    said = " ".join(found.notes)
    assert "no SD was given: 0.06" in said
    assert "2 x 25 results counts as moved" in said
    assert "no judge" in said
    assert "people grade 100 queries" in found.lines()


def card(agreement=None, scale="esci", confusion=((40, 5, 0, 5), (5, 40, 5, 0), (0, 5, 40, 5), (5, 0, 5, 40))):
    return JudgeCard("j", "f", scale, "v", "gold", agreement or {}, confusion, {}, {})


def test_rho_comes_from_a_card_of_paired_differences_or_else_from_its_confusion(queries, file):
    measured = {"difference rho": Estimate(0.7, 0.05, 0.6, 0.8, 50, "rho")}
    there = plan(queries, budget={"labels": 5000}, card=file("card.json", card(measured).to_json()))
    assert there.options[0].mde == plan(queries, budget={"labels": 5000}, rho=0.7).options[0].mde
    assert any("rho 0.70 is the card's, of paired differences (0.60 to 0.80)" in note for note in there.notes)
    guessed = plan(queries, budget={"labels": 5000}, card=file("other.json", card().to_json()))
    assert any("follows from the card's confusion" in note for note in guessed.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": {"labels": 200}}, "at least 30 queries .* the least budget is labels 450"),
        ({"budget": {}}, "no budget for people"),
        ({"judge_money": -1.0}, "the cost of a judge's label is -1"),
        ({"rho": -1.0}, "rho is -1"),
        ({"moved": 0.0}, "moved is 0.0"),
        ({"sd": 0.0}, "an SD of 0.0"),
        ({"control_mean": 0.0}, "control's mean is 0"),
        ({"strata": ["colour"]}, "no column 'colour' to make strata of"),
        ({"floors": {"head": 201}}, "segment 'head' has 200 queries"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(queries, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        plan(queries, **{"budget": {"money": 2000}, "rho": 0.8, "sd": 0.06, **COSTS, "out": tmp_path / "p"} | options)
    assert not (tmp_path / "p").exists()


def test_a_card_of_a_scale_that_nobody_knows_is_an_error(queries, file):
    strange = file("card.json", card(scale="stars").to_json())
    with pytest.raises(InputError, match="no scale 'stars'"):
        plan(queries, budget={"labels": 5000}, card=strange)
    with pytest.raises(InputError, match="the card is on scale 'stars' and --scale is 'trec'"):
        plan(queries, budget={"labels": 5000}, card=strange, scale="trec")
    with pytest.raises(InputError, match="rho and a judge card"):
        plan(queries, budget={"labels": 5000}, card=strange, rho=0.5)
    with pytest.raises(InputError, match="for 4 grades"):
        plan(queries, budget={"labels": 5000}, card=file("two.json", card(confusion=((1, 0), (0, 1))).to_json()))


def test_a_judge_that_does_not_pay_is_left_out_and_it_is_said(queries):
    found = plan(queries, budget={"money": 2000}, rho=0.1, sd=0.06, **COSTS | {"judge_money": 0.2})
    assert [o.name for o in found.options] == ["people only", "judge only"]
    assert any("the judge does not pay" in note for note in found.notes)
    assert "Let people grade" in found.lines()


def test_a_plan_of_few_queries_is_not_reliable_and_one_of_all_of_them_ends_there(queries):
    few = plan(queries, budget={"labels": 500}, sd=0.06, least_audited=5)
    assert few.audited == 10
    assert any(note.startswith("not reliable: people grade 10 queries") for note in few.notes)
    everything = plan(queries, budget={"labels": 10**9}, sd=0.06)
    assert everything.audited == 4000
    assert any("more budget finds nothing more" in note for note in everything.notes)
    assert not any("not reliable" in note for note in everything.notes)


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.found += [v for name, v in attributes if name in ("src", "href") and v and not v.startswith(("#", "data:"))]


def test_the_page_needs_nothing_else_and_draws_what_the_table_says(queries, tmp_path):
    found = plan(queries, budget={"money": 2000, "hours": 40}, rho=0.8, sd=0.06, out=tmp_path / "p", **COSTS)
    text = (tmp_path / "p" / "plan.html").read_text()
    parsed = Links()
    parsed.feed(text)
    assert parsed.found == []
    assert "script" not in parsed.tags
    assert found.commands[0] in text
    drawn = chart(found)
    assert [line.name for line in drawn.lines] == [
        "a judge, corrected by people", "people only", "judge only, of its own estimand"
    ]  # fmt: skip
    for line in drawn.lines:
        ys = [piece[2] for piece in line.pieces]
        assert ys == sorted(ys)  # down the page: a smaller effect
        assert line.here is not None
        assert line.here[0] == drawn.here
    written = json.loads((tmp_path / "p" / "plan.json").read_text())
    assert written == json.loads(json.dumps(asdict(found)))
    manifest = store.read_manifest(tmp_path / "p" / "plan.json")
    assert (manifest.verb, manifest.parameters["rho"]) == ("plan", 0.8)


def test_a_stratum_s_name_cannot_break_the_page(file):
    rows = [f"{i},q{i},{'<b>x' if i % 2 else 'tail'}" for i in range(200)]
    path = file("q.csv", "query_id,query,segment\n" + "\n".join(rows) + "\n")
    text = html(plan(path, budget={"labels": 5000}))
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text


def test_the_command_line_prints_text_or_json_and_exits_2_in_one_line(queries):
    arguments = (queries, "--labels", 9000, "--rho", 0.8, "--sd", 0.06, "--moved", 0.3, "--floor", "head=50")
    told = run(*arguments)
    assert told.exit_code == 0
    assert re.match(r"Let the judge grade [\d,]+ queries and people 600 of them: that finds an effect of 0\.\d+\.", told.output)
    found = json.loads(run(*arguments, "--output", "json").output)
    assert found["audited"] == 600
    assert found["strata"][0]["stratum"] == "head"
    assert found["strata"][0]["queries"] >= 50
    assert isinstance(run(queries, "--labels", -5).exception, InputError)
