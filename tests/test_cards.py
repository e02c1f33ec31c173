"""Judge cards: what is on them, what a card is refused for, and the gate in front of a comparison."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from germane import cards, scales
from germane.pipeline.check import check
from germane.stats.agreement import cohen_kappa, exact_agreement
from germane.store import read_manifest
from germane.types import Estimate, InputError, JudgeCard, Refusal, Scale

TREC = scales.get("trec")
BINARY = Scale("binary", ("no", "yes"), (0.0, 1.0), "Is it what was asked for?")


def table(rows, judge="human:nist", fingerprint="", scale="trec", guide="g1"):
    """Judgments from {(query, document): grade, or the outcome that stands in its place}."""
    answers = list(rows.values())
    return pa.table(
        {
            "query_id": [query for query, _ in rows],
            "doc_id": [doc for _, doc in rows],
            "relevance": pa.array([a if isinstance(a, int) else None for a in answers], pa.int16()),
            "judge": [judge] * len(rows),
            "fingerprint": [fingerprint] * len(rows),
            "scale": [scale] * len(rows),
            "guide_version": [guide] * len(rows),
            "outcome": ["label" if isinstance(a, int) else a for a in answers],
            "note": [""] * len(rows),
        }
    )


def people(queries=40, documents=8):
    return {(f"q{q}", f"d{d}"): (q + 3 * d) % 4 for q in range(queries) for d in range(documents)}


def machine(wrong=7, **kind):
    """A judge that is one grade off in one of `wrong` pairs."""
    rows = {pair: abs(grade - 1) if i % wrong == 0 else grade for i, (pair, grade) in enumerate(people().items())}
    return table(rows, **({"judge": "llm", "fingerprint": "f1"} | kind))


def card(**changes):
    good = Estimate(0.8, 0.02, 0.76, 0.84, 400, "by hand")
    plain = JudgeCard("llm", "f1", "trec", "g1", "gold", {"kappa": good}, ((1, 0), (0, 1)), {"label": 400}, {"kappa": 0.5})
    return replace(plain, **changes)


# --- the card -------------------------------------------------------------------------------------------------------


def test_a_card_holds_what_the_statistics_say():
    gold, judged = table(people()), machine()
    found = cards.build(gold, judged, scale=TREC, name="gold.parquet")
    a, b, query = gold["relevance"].to_numpy(), judged["relevance"].to_numpy(), gold["query_id"].to_numpy()
    assert found.agreement["exact"] == exact_agreement(a, b, clusters=query)
    assert found.agreement["quadratic kappa"] == cohen_kappa(a, b, distance="quadratic", clusters=query)
    assert (found.judge, found.fingerprint, found.scale, found.guide_version) == ("llm", "f1", "trec", "g1")
    assert found.gold == "gold.parquet (320 pairs of 40 queries)"
    assert sum(map(sum, found.confusion)) == 320
    assert found.outcomes == {"label": 320}
    assert found.bars == cards.BARS
    assert found.passed
    for name in ("within one", "alpha", "macro F1", "tau-b", "rho", "false relevant", "precision of related", "F1 of related"):
        assert name in found.agreement


def test_rows_in_any_order_give_the_same_card():
    gold, judged = table(people()), machine()
    turned = judged.take(pa.array(range(judged.num_rows - 1, -1, -1)))
    assert cards.build(gold, turned, scale=TREC) == cards.build(gold, judged, scale=TREC)


def test_no_answer_lowers_coverage_and_is_no_grade():
    rows = people()
    silent = {
        pair: "abstained" if i % 5 == 0 else "timeout" if i % 5 == 1 else grade for i, (pair, grade) in enumerate(rows.items())
    }
    del silent["q0", "d7"]
    found = cards.build(table(rows), table(silent, judge="llm", fingerprint="f1"), scale=TREC)
    assert found.outcomes == {"label": 191, "abstained": 64, "timeout": 64, "missing": 1}
    assert found.agreement["coverage"].value == pytest.approx(191 / 320)
    assert found.agreement["exact"].value == 1
    assert found.agreement["exact"].n == 191
    assert not found.passed
    assert cards.misses(found)[0].startswith("coverage is 0.597")


def test_pairs_that_people_left_open_are_left_out_and_counted():
    rows = people()
    rows["q0", "d0"] = rows["q1", "d0"] = "abstained"
    found = cards.build(table(rows), machine(), scale=TREC)
    assert found.agreement["coverage"].n == 318
    assert any(caveat.startswith("2 gold pairs have no grade from people") for caveat in found.caveats)


def test_judgments_outside_gold_are_ignored():
    few = {pair: grade for pair, grade in people().items() if pair[0] < "q2"}
    assert cards.build(table(few), machine(), scale=TREC).outcomes == {"label": len(few)}


def test_the_design_weighs_queries_and_leaves_out_those_chosen_by_hand():
    rows = people()
    off = {pair: (grade + 1) % 4 if pair[0] in ("q1", "q2") else grade for pair, grade in rows.items()}
    ids = [f"q{q}" for q in range(39)]
    design = pa.table({"query_id": ids, "inclusion_probability": [0.01 if q in ("q1", "q2") else 1.0 for q in ids]})
    gold, judged = table(rows), table(off, judge="llm", fingerprint="f1")
    plain, weighted = (cards.build(gold, judged, scale=TREC, design=d) for d in (None, design))
    assert plain.agreement["exact"].value == pytest.approx(38 / 40)
    assert weighted.agreement["exact"].value == pytest.approx(37 / 237)
    assert weighted.agreement["exact"].method.startswith("weighted")
    assert any(caveat.startswith("8 gold pairs are of queries outside the design") for caveat in weighted.caveats)
    assert any("simple random sample" in caveat for caveat in plain.caveats)
    assert not any("simple random sample" in caveat for caveat in weighted.caveats)


def test_relevant_bars_and_level_are_heard():
    gold, judged = table(people()), machine()
    usual = cards.build(gold, judged, scale=TREC)
    low = cards.build(gold, judged, scale=TREC, relevant=1)
    assert usual.agreement["specificity"].method.startswith("specificity at grade 2")
    assert low.agreement["specificity"].method.startswith("specificity at grade 1")
    strict = cards.build(gold, judged, scale=TREC, bars={"exact": 0.9999})
    assert (strict.passed, dict(strict.bars)) == (False, {"exact": 0.9999})
    wide = cards.build(gold, judged, scale=TREC, level=0.99)
    assert wide.agreement["exact"].low < usual.agreement["exact"].low


@pytest.mark.parametrize(("scale", "label"), [("esci", "E"), ("trec", "highly relevant"), ("five-level", "relevant")])
def test_relevant_means_more_than_half_of_the_top_gain(scale, label):
    of = scales.get(scale)
    rows = {pair: grade for pair, grade in people().items() if grade < len(of.labels)}
    found = cards.build(table(rows, scale=scale), table(rows, "llm", "f1", scale), scale=of)
    assert f"at grade {of.labels.index(label)}" in found.agreement["false relevant"].method


def test_two_grades_have_no_within_one():
    rows = {pair: grade % 2 for pair, grade in people().items()}
    found = cards.build(table(rows, scale="binary"), table(rows, "llm", "f1", "binary"), scale=BINARY)
    assert "within one" not in found.agreement
    assert found.passed


def test_a_grade_that_nobody_gave_is_a_caveat_and_not_a_zero():
    rows = {pair: grade for pair, grade in people().items() if grade < 3}
    found = cards.build(table(rows), table(rows, "llm", "f1"), scale=TREC)
    assert "recall of perfectly relevant" not in found.agreement
    assert "recall of perfectly relevant has no value on these pairs" in found.caveats


def test_a_judge_that_says_one_thing_only_fails():
    rows = people()
    same = cards.build(table(rows), table(dict.fromkeys(rows, 0), "llm", "f1"), scale=TREC)
    assert same.agreement["quadratic kappa"].value == 0
    assert not same.passed
    only = cards.build(table(dict.fromkeys(rows, 0)), table(dict.fromkeys(rows, 0), "llm", "f1"), scale=TREC)
    assert "quadratic kappa" not in only.agreement
    assert cards.misses(only) == ("quadratic kappa could not be computed, the bar is 0.4",)


def test_people_may_be_checked_against_people():
    rows = people()
    found = cards.build(table(rows), table(rows, "human:second"), scale=TREC)
    assert found.judge == "human:second"


@pytest.mark.parametrize(
    ("gold", "judged", "options", "complaint"),
    [
        ({"judge": "llm", "fingerprint": "f0"}, {}, {}, "gold holds judgments of 'llm'"),
        ({"fingerprint": "f0"}, {}, {}, "gold holds judgments of 'human:nist'"),
        ({"scale": "esci"}, {}, {}, "on scale 'esci', not on 'trec'"),
        ({}, {"scale": "esci"}, {}, "on scale 'esci', not on 'trec'"),
        ({}, {"scale": ""}, {}, "on scale '', not on 'trec'"),
        ({}, {"fingerprint": ""}, {}, "have no fingerprint"),
        ({"guide": "g0"}, {}, {}, "under guide 'g0' and the judge under 'g1'"),
        ({}, {}, {"bars": {}}, "no bars"),
        ({}, {}, {"bars": {"exakt": 0.5}}, "no bar can be set on 'exakt'"),
        ({}, {}, {"bars": {"false relevant": 0.0}}, "how large it may be either way"),
        ({}, {}, {"bars": {"exact": 70}}, "the bar on 'exact' is 70"),
        ({}, {}, {"relevant": 0}, "relevant=0"),
        ({}, {}, {"relevant": 4}, "relevant=4"),
    ],
)
def test_a_card_is_refused_where_answers_cannot_be_compared(gold, judged, options, complaint):
    with pytest.raises(InputError, match=complaint):
        cards.build(table(people(), **gold), machine(**judged), scale=TREC, **options)


def test_a_card_is_of_one_judge_under_one_guide():
    gold, one = table(people()), machine()
    with pytest.raises(InputError, match="2 judges"):
        cards.build(gold, pa.concat_tables([one, machine(fingerprint="f2")]), scale=TREC)
    with pytest.raises(InputError, match="judgments table was made under 2 guide versions"):
        cards.build(gold, pa.concat_tables([one.slice(0, 9), machine(guide="g2").slice(9)]), scale=TREC)
    with pytest.raises(InputError, match="gold table was made under 2 guide versions"):
        cards.build(pa.concat_tables([gold.slice(0, 9), table(people(), guide="g2").slice(9)]), one, scale=TREC)


def test_gold_has_each_pair_once():
    gold = table(people())
    with pytest.raises(InputError, match="gold has more than one judgment of query 'q0', document 'd0'"):
        cards.build(pa.concat_tables([gold, table({("q0", "d0"): 1}, judge="human:b")]), machine(), scale=TREC)
    with pytest.raises(InputError, match="judgments has more than one"):
        cards.build(gold, pa.concat_tables([machine(), machine().slice(0, 1)]), scale=TREC)


def test_gold_and_judge_without_a_common_pair_are_refused():
    with pytest.raises(InputError, match="answered none of 320 gold pairs"):
        cards.build(table(people()), table({("other", "d1"): 1}, "llm", "f1"), scale=TREC)
    for gold, judged in ((table(people()).slice(0, 0), machine()), (table(people()), machine().slice(0, 0))):
        with pytest.raises(InputError, match="empty"):
            cards.build(gold, judged, scale=TREC)
    with pytest.raises(InputError, match="no gold pair can be used: 320 gold pairs have no grade"):
        cards.build(table(dict.fromkeys(people(), "abstained")), machine(), scale=TREC)


@pytest.mark.parametrize(
    ("gold_guide", "guide", "who"), [("", "g1", "gold does"), ("g1", "", "the judgments do"), ("", "", "judgments do")]
)
def test_an_unknown_guide_is_a_caveat(gold_guide, guide, who):
    found = cards.build(table(people(), guide=gold_guide), machine(guide=guide), scale=TREC)
    assert found.guide_version == guide
    assert any(f"{who} not name a guide version" in caveat for caveat in found.caveats)


# --- on disk --------------------------------------------------------------------------------------------------------


def test_a_written_card_reads_back_equal(tmp_path):
    made = cards.build(table(people()), machine(), scale=TREC)
    path = cards.write(made, tmp_path / "llm" / "card.json")
    assert cards.read(path) == made
    assert cards.read(tmp_path / "llm") == made


def test_find_takes_the_card_of_this_judge_scale_and_guide(tmp_path):
    for name, made in {
        "a": card(),
        "b": card(fingerprint="f2"),
        "c": card(guide_version="g2"),
        "d": card(scale="esci"),
    }.items():
        cards.write(made, tmp_path / name / "card.json")
    (tmp_path / "notes.json").write_text("[1, 2]")
    (tmp_path / "a" / "card.json.manifest.json").write_text("{}")
    assert cards.find(tmp_path, "f1", "trec", "g1") == card()
    assert cards.find(tmp_path, "f2", "trec", "g1").fingerprint == "f2"
    assert cards.find(tmp_path, "f1", "trec", "g9") is None
    assert cards.find(tmp_path / "none", "f1", "trec", "g1") is None
    cards.write(card(bars={"kappa": 0.1}), tmp_path / "again.json")
    with pytest.raises(InputError, match="are cards of the same judge"):
        cards.find(tmp_path, "f1", "trec", "g1")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"judge": "x"}', '{"fingerprint": 1, "agreement": 2, "bars": 3}'])
def test_a_broken_card_is_named(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"card\.json"):
        cards.read(path)
    with pytest.raises(InputError, match=r"absent\.json"):
        cards.read(tmp_path / "absent.json")


# --- the gate -------------------------------------------------------------------------------------------------------


def test_people_need_no_card():
    assert cards.gate(table(people()), None, scale=TREC) == ()
    two = pa.concat_tables([table(people()), table({("q9", "d99"): 1}, judge="human:b")])
    assert cards.gate(two, None, scale=TREC) == ()
    assert cards.gate(table(people(), scale="", guide=""), None, scale=TREC) == ()


def test_a_judge_with_a_card_that_passed_may_enter():
    assert cards.gate(machine(), card(), scale=TREC) == ()


@pytest.mark.parametrize(
    ("judged", "given", "flag"),
    [
        ({}, None, "no-card"),
        ({}, {"fingerprint": "f2"}, "no-card"),
        ({}, {"scale": "esci"}, "no-card"),
        ({}, {"guide_version": "g2"}, "no-card"),
        ({"fingerprint": ""}, {"fingerprint": ""}, "no-card"),
        ({"judge": "human:nist"}, None, "no-card"),
        ({}, {"bars": {"kappa": 0.77}}, "failed-card"),
        ({}, {"bars": {"macro F1": 0.1}}, "failed-card"),
        ({}, {"bars": {}}, "failed-card"),
        ({"fingerprint": "fake:0"}, {"fingerprint": "fake:0"}, "fake"),
        ({"fingerprint": "random:0"}, {"fingerprint": "random:0"}, "fake"),
    ],
)
def test_the_gate_refuses_and_names_the_flag(judged, given, flag):
    passed = None if given is None else card(**given)
    with pytest.raises(Refusal, match=f"--allow {flag}") as refusal:
        cards.gate(machine(**judged), passed, scale=TREC)
    assert refusal.value.override == f"--allow {flag}"
    others = set(cards.ALLOW) - {flag}
    with pytest.raises(Refusal):
        cards.gate(machine(**judged), passed, scale=TREC, allow=others)
    assert cards.gate(machine(**judged), passed, scale=TREC, allow={flag}) == (f"--allow {flag}: {cards.ALLOW[flag]}",)


def test_a_mix_is_refused_and_each_part_still_needs_its_card():
    mixed = pa.concat_tables([machine(), machine(fingerprint="f2")])
    with pytest.raises(Refusal, match="2 judges"):
        cards.gate(mixed, card(), scale=TREC)
    with pytest.raises(Refusal, match="no-card"):
        cards.gate(mixed, card(), scale=TREC, allow={"mixed-judges"})
    assert len(cards.gate(mixed, card(), scale=TREC, allow={"mixed-judges", "no-card"})) == 2
    with pytest.raises(Refusal, match="2 judges"):
        cards.gate(pa.concat_tables([machine(), table(people())]), card(), scale=TREC)
    guides = pa.concat_tables([table({("q1", "d1"): 1}), table({("q1", "d2"): 1}, guide="g2")])
    with pytest.raises(Refusal, match="2 guide versions"):
        cards.gate(guides, None, scale=TREC)
    assert cards.gate(guides, None, scale=TREC, allow={"mixed-guides"})


def test_what_no_flag_can_allow():
    everything = set(cards.ALLOW)
    with pytest.raises(InputError, match="on scale 'trec', not on 'esci'"):
        cards.gate(machine(), card(), scale=scales.get("esci"), allow=everything)
    with pytest.raises(InputError, match="relevance 3 is not on scale 'binary'"):
        cards.gate(table({("q", "d"): 3}, scale=""), None, scale=BINARY, allow=everything)
    with pytest.raises(InputError, match="empty"):
        cards.gate(machine().slice(0, 0), card(), scale=TREC, allow=everything)
    with pytest.raises(InputError, match="--allow anything"):
        cards.gate(machine(), card(), scale=TREC, allow={"anything"})


# --- the verb -------------------------------------------------------------------------------------------------------


def test_check_writes_a_card_that_opens_the_gate(tmp_path):
    gold, judged = table(people()), machine()
    pq.write_table(gold, tmp_path / "gold.parquet")
    pq.write_table(judged, tmp_path / "llm.parquet")
    made = check(tmp_path / "gold.parquet", str(tmp_path / "llm.parquet"), scale="trec", out=tmp_path / "cards" / "llm")
    assert made.gold.startswith(str(tmp_path / "gold.parquet"))
    found = cards.find(tmp_path / "cards", "f1", "trec", "g1")
    assert found == made
    assert cards.gate(judged, found, scale=TREC) == ()
    for name in ("card.html", "card.md"):
        assert "quadratic kappa" in (tmp_path / "cards" / "llm" / name).read_text(encoding="utf-8")
    assert json.loads((tmp_path / "cards" / "llm" / "card.json").read_text())["judge"] == "llm"


def test_the_same_check_again_does_nothing_and_another_does_it_anew(tmp_path):
    pq.write_table(table(people()), tmp_path / "gold.parquet")
    pq.write_table(machine(), tmp_path / "llm.parquet")
    given = {"scale": "trec", "out": tmp_path / "card"}
    made = check(tmp_path / "gold.parquet", tmp_path / "llm.parquet", **given)
    path = tmp_path / "card" / "card.json"
    manifest, stamp = read_manifest(path), path.stat().st_mtime_ns
    assert manifest is not None
    assert (manifest.verb, len(manifest.inputs)) == ("check", 2)
    assert check(tmp_path / "gold.parquet", tmp_path / "llm.parquet", **given) == made
    assert path.stat().st_mtime_ns == stamp
    (tmp_path / "card" / "card.html").unlink()
    check(tmp_path / "gold.parquet", tmp_path / "llm.parquet", **given)
    assert (tmp_path / "card" / "card.html").is_file()
    for change in ({"bars": {"exact": 0.1}}, {"level": 0.9}, {"relevant": "related"}):
        assert check(tmp_path / "gold.parquet", tmp_path / "llm.parquet", **given, **change) != made
    pq.write_table(machine(wrong=3), tmp_path / "llm.parquet")
    assert check(tmp_path / "gold.parquet", tmp_path / "llm.parquet", **given) != made


def test_check_takes_labels_bars_and_a_design():
    gold, judged = table(people()), machine()
    design = pa.table(
        {
            "query_id": [f"q{q}" for q in range(40)],
            "stratum": ["all"] * 40,
            "inclusion_probability": [0.1] * 20 + [0.5] * 20,
            "population": pa.array([400] * 40, pa.int64()),
        }
    )
    made = check(gold, judged, scale=TREC, relevant="related", bars={"exact": 0.1}, design=design, level=0.9)
    assert "at grade 1" in made.agreement["specificity"].method
    assert dict(made.bars) == {"exact": 0.1}
    assert made.agreement["exact"].level == 0.9
    assert made.agreement["exact"].method.startswith("weighted")


def test_a_published_llm_judge_gets_its_card(data):
    labels = pq.read_table(data("llmjudge_2024") / "labels.parquet")
    ids = {"query_id": labels["query_id"], "doc_id": labels["passage_id"]}
    made = [pa.array([text] * labels.num_rows) for text in ("umbrela", "gpt-4o/umbrela")]
    judged = pa.table({**ids, "relevance": labels["willia-umbrela1"], "judge": made[0], "fingerprint": made[1]})
    found = check(pa.table({**ids, "relevance": labels["human"]}), judged, scale="trec")
    assert f"{found.agreement['kappa'].value:.4f}" == "0.2863"
    assert f"{found.agreement['alpha'].value:.4f}" == "0.4918"
    assert not found.passed  # 25 queries do not show a quadratic kappa of 0.4: it is 0.504, at least 0.364
    assert check(pa.table({**ids, "relevance": labels["human"]}), judged, scale="trec", bars={"quadratic kappa": 0.3}).passed
    wrong = pc.if_else(pc.equal(labels["human"], 0), 1, 0)
    nonsense = pa.table({**ids, "relevance": wrong, "judge": made[0], "fingerprint": made[1]})
    assert not check(
        pa.table({**ids, "relevance": labels["human"]}), nonsense, scale="trec", bars={"quadratic kappa": 0.0}
    ).passed
