"""A new judge takes over: its grades are mapped on the old one's, and past decisions are made again."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import cli, scales, sources
from germane.cards import build
from germane.pipeline.bridge import bridge
from germane.pipeline.compare import compare
from germane.types import InputError, Refusal

QUERIES, DOCS = 120, 12


def told(grades, judge, fingerprint=""):
    """Judgments of one judge: {query: {doc: grade}} with its name and fingerprint."""
    table = sources.read_judgments(grades, scale=scales.TREC, judge=judge)
    at = table.schema.get_field_index("fingerprint")
    return table.set_column(at, "fingerprint", pa.array([fingerprint] * table.num_rows))


@pytest.fixture(scope="module")
def world():
    """People's grades, a lenient copy that gives one grade in ten a step more, and two runs of which one follows people."""
    rng = np.random.default_rng(8)
    grades = {f"q{q}": {f"d{d}": int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])) for d in range(DOCS)} for q in range(QUERIES)}
    lenient = {q: {d: min(g + (rng.random() < 0.1), 3) for d, g in of.items()} for q, of in grades.items()}
    inverted = {q: {d: 3 - g for d, g in of.items()} for q, of in grades.items()}
    runs = {
        arm: {q: {d: quality * g + rng.normal() for d, g in of.items()} for q, of in grades.items()}
        for arm, quality in (("control", 0.0), ("treatment", 0.5))
    }
    return grades, lenient, inverted, runs


def test_the_table_counts_every_pair_by_hand(world):
    grades, lenient, _, _ = world
    found = bridge(told(grades, "human:a"), told(lenient, "human:b"), scale="trec").table
    flat = np.array([(grades[q][d], lenient[q][d]) for q in grades for d in grades[q]])
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (flat[:, 0], flat[:, 1]), 1)
    assert found.counts == tuple(map(tuple, counts.tolist()))
    assert (found.pairs, found.queries, found.overlap) == (QUERIES * DOCS, QUERIES, 1.0)
    assert found.agreement["exact"].value == pytest.approx((flat[:, 0] == flat[:, 1]).mean())
    gains = np.array(scales.TREC.gains)
    assert found.shift.value == pytest.approx((gains[flat[:, 1]] - gains[flat[:, 0]]).mean())
    assert found.shift.low > 0
    row = found.by_grade[1]
    inside = flat[flat[:, 0] == 1]
    assert (row.grade, row.pairs) == (scales.TREC.labels[1], len(inside))
    assert row.changed == pytest.approx((inside[:, 1] != 1).mean())
    assert row.shift.value == pytest.approx((gains[inside[:, 1]] - gains[1]).mean())
    assert found.by_grade[3].shift.value == 0
    assert bridge(told(grades, "human:a"), told(lenient, "human:b"), scale="trec", level=0.5).table.shift.low > found.shift.low


def test_a_past_experiment_says_what_compare_says_under_each_judge(world):
    grades, lenient, _, runs = world
    old, new = told(grades, "human:a"), told(lenient, "human:b")
    found = bridge(old, new, scale="trec", past={"ab": (runs["control"], runs["treatment"])}, metric="sDCG@10")
    (decision,) = found.past
    deltas = [compare(runs["control"], runs["treatment"], t, scale="trec", metric="sDCG@10").delta for t in (old, new)]
    assert [decision.old, decision.new] == deltas
    assert decision.change.value == pytest.approx(deltas[1].value - deltas[0].value)
    assert decision.change.se < deltas[0].se  # paired by query
    assert (decision.old_verdict, decision.new_verdict, decision.turned) == ("better", "better", False)
    assert found.turned == ()
    assert "The past decision stands" in found.answer
    deeper = bridge(old, new, scale="trec", past={"ab": (runs["control"], runs["treatment"])}, metric="sDCG@5")
    assert deeper.past[0].old.value != decision.old.value


def test_a_design_weighs_the_past_experiment(world):
    grades, lenient, _, runs = world
    half = [int(q[1:]) < QUERIES // 2 for q in grades]
    design = pa.table(
        {
            "query_id": list(grades),
            "stratum": ["head" if h else "tail" for h in half],
            "population": [60 if h else 6000 for h in half],
            "inclusion_probability": [1.0 if h else 0.01 for h in half],
        }
    )
    given = {"scale": "trec", "metric": "sDCG@10"}
    old, new = told(grades, "human:a"), told(lenient, "human:b")
    found = bridge(old, new, past={"ab": (runs["control"], runs["treatment"], design)}, **given).past[0]
    assert found.old == compare(runs["control"], runs["treatment"], old, design=design, **given).delta
    assert found.change.value == pytest.approx(found.new.value - found.old.value)


def test_a_judge_that_turns_everything_turns_the_decision(world):
    grades, _, inverted, runs = world
    past = {"ab": (runs["control"], runs["treatment"]), "aa": (runs["control"], runs["control"])}
    found = bridge(told(grades, "human:a"), told(inverted, "human:b"), scale="trec", past=past)
    assert found.turned == ("ab",)
    assert found.past[0].clear
    assert "1 of 2 past decisions turn: ab from 'better' to 'worse'." in found.answer
    assert found.past[1].change.value == 0
    assert "better -> worse" in found.lines()
    held = json.loads(found.to_json())
    assert (held["turned"], held["overlap"]) == (["ab"], 1.0)


def test_the_folder_holds_markdown_and_json(world, tmp_path):
    grades, lenient, _, _ = world
    bridge(told(grades, "human:a"), told(lenient, "human:b|<b>"), scale="trec", out=tmp_path)
    text = (tmp_path / "bridge.md").read_text()
    assert text.startswith("# From judge human:a to human:b\\|&lt;b&gt;")
    assert json.loads((tmp_path / "bridge.json").read_text())["table"]["pairs"] == QUERIES * DOCS


def test_judges_that_graded_different_pairs_are_refused(world):
    grades, lenient, _, _ = world
    some = {q: {d: g for d, g in of.items() if int(d[1:]) % 3} for q, of in lenient.items()}
    old, new = told(grades, "human:a"), told(some, "human:b")
    with pytest.raises(Refusal, match=r"both graded 960 pairs, 67% of those .* --allow overlap"):
        bridge(old, new, scale="trec")
    found = bridge(old, new, scale="trec", allow=["overlap"])
    assert found.table.only_old == 480
    assert found.overrides[0].startswith("--allow overlap")
    assert any(note.startswith("480 pairs were graded by the old judge and not by the new one") for note in found.notes)


def test_no_answer_is_not_a_grade(world):
    """A new judge that abstains leaves pairs out; they are neither changed nor agreed on."""
    grades, lenient, _, _ = world
    new = told(lenient, "human:b")
    gone = np.arange(new.num_rows) % 20 == 0
    for name, value in (("relevance", None), ("outcome", "abstained")):
        column = [value if g else v for g, v in zip(gone, new[name].to_pylist(), strict=True)]
        new = new.set_column(new.schema.get_field_index(name), name, pa.array(column, new.schema.field(name).type))
    found = bridge(told(grades, "human:a"), new, scale="trec")
    assert found.table.pairs == int((~gone).sum())
    assert f"who gave no grade to {int(gone.sum())} pairs" in " ".join(found.notes)


def test_a_pair_counts_once_even_where_it_was_judged_under_two_guides(world):
    grades, lenient, _, _ = world
    old, new = told(grades, "human:a"), told(lenient, "human:b")
    at = new.schema.get_field_index("guide_version")
    again = new.slice(0, 50).set_column(at, "guide_version", pa.array(["v2"] * 50))
    given = {"scale": "trec", "allow": ["mixed-guides"]}
    assert bridge(old, pa.concat_tables([new, again]), **given).table == bridge(old, new, scale="trec").table
    at = again.schema.get_field_index("relevance")
    other = again.set_column(at, "relevance", pa.array([3 - r for r in again["relevance"].to_pylist()], pa.int16()))
    with pytest.raises(InputError, match="50 pairs have two different grades"):
        bridge(old, pa.concat_tables([new, other]), **given)


def test_machine_judges_need_their_cards_as_in_compare(world):
    grades, lenient, _, _ = world
    people, machine = told(grades, "human:a"), told(lenient, "gpt", "f1")
    with pytest.raises(Refusal, match=r"new: Judge 'gpt' .* has no card .* --allow no-card"):
        bridge(people, machine, scale="trec")
    assert bridge(people, machine, scale="trec", allow=["no-card"]).overrides[0].startswith("new judge: --allow no-card")
    card = build(people, machine, scale=scales.TREC, name="gold", bars={"exact": 0.5})
    assert bridge(people, machine, scale="trec", new_card=card).overrides == ()
    with pytest.raises(Refusal, match="old: Judge 'gpt'"):
        bridge(machine, people, scale="trec", new_card=card)
    assert bridge(machine, people, scale="trec", old_card=card).overrides == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"new": ("human:a", None)}, "both files hold the judgments of 'human:a'"),
        ({"new": ("human:b", 20)}, "both judges graded 20 pairs of 2 queries: a bridge needs 100 pairs of 10 queries"),
        ({"allow": ["everything"]}, "--allow everything: there is no such override"),
        ({"metric": "Judged@10", "past": True}, "ab, old judge: Judged@10 is no measure of relevance"),
    ],
)
def test_what_is_no_bridge_is_said_in_one_line(world, change, complaint):
    grades, lenient, _, runs = world
    judge, rows = change.pop("new", ("human:b", None))
    new = told(lenient, judge)
    options = dict(change)
    if options.pop("past", None):
        options["past"] = {"ab": (runs["control"], runs["treatment"])}
    with pytest.raises(InputError, match=complaint):
        bridge(told(grades, "human:a"), new if rows is None else new.slice(0, rows), scale="trec", **options)
    change["new"] = (judge, rows)


def test_two_machine_judges_of_the_llmjudge_challenge(data):
    """Labels of 25 queries by two submissions; a published pair of files, and the counts that anybody can repeat."""
    labels = pq.read_table(data("llmjudge_2024") / "labels.parquet").to_pydict()

    def of(name):
        rows = {}
        for query, doc, label in zip(labels["query_id"], labels["passage_id"], labels[name], strict=True):
            rows.setdefault(query, {})[doc] = min(label, 3)
        return told(rows, name, f"llmjudge:{name}")

    found = bridge(of("willia-umbrela1"), of("Olz-gpt4o"), scale="trec", allow=["no-card"])
    assert (found.table.pairs, found.table.queries) == (4423, 25)
    assert found.table.counts[0] == (2119, 207, 8, 1)
    assert found.table.agreement["exact"].value == pytest.approx(0.816, abs=0.0005)
    assert found.table.shift.value == pytest.approx(0.0188, abs=0.0001)


def test_the_command_ends_with_1_where_a_decision_turns(world, tmp_path, monkeypatch, capsys):
    grades, lenient, inverted, runs = world
    monkeypatch.chdir(tmp_path)
    for name, judged in (("a", grades), ("b", lenient), ("c", inverted)):
        sources.write_judgments(told(judged, f"human:{name}"), tmp_path / f"{name}.parquet")
    for arm, run in runs.items():
        sources.write_run(sources.read_run(run, name=arm), tmp_path / f"{arm}.run")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["germane", "bridge", "--scale", "trec", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    past = ("--past", "ab=control.run,treatment.run")
    code, out, _ = call("a.parquet", "b.parquet", *past)
    assert (code, "The past decision stands." in out) == (0, True)
    code, out, _ = call("a.parquet", "c.parquet", *past, "-o", "json", "--out", "made")
    assert (code, json.loads(out)["turned"]) == (1, ["ab"])
    assert (tmp_path / "made" / "bridge.md").is_file()
    code, _, err = call("a.parquet", "b.parquet", "--past", "ab=control.run")
    assert (code, err.count("\n")) == (2, 1)
    assert "--past ab: 1 files; expected NAME=CONTROL,TREATMENT" in err
    assert "--past control.run: expected NAME=CONTROL,TREATMENT" in call("a.parquet", "b.parquet", "--past", "control.run")[2]
    assert "two experiments have one name" in call("a.parquet", "b.parquet", *past, *past)[2]
