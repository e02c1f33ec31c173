"""`check` beyond labels: scores, paired differences, decisions, segments, several raters, targeted pairs, and the verb."""

import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import germane
from germane import cards, cli, metrics, scales
from germane.pipeline.check import check
from germane.stats.agreement import cohen_kappa, krippendorff_alpha
from germane.stats.clustered import mean
from germane.stats.means import stratified_difference
from germane.stats.moments import Moments
from germane.types import InputError, JudgeCard

TREC = scales.get("trec")
QUERIES, DOCS = 60, 6


def truth(seed=0):
    return np.random.default_rng(seed).integers(0, 4, (QUERIES, DOCS))


def said(grades, seed=1, wrong=0.5):
    """A judge that is one grade off on a share of pairs."""
    rng = np.random.default_rng(seed)
    step = np.where(rng.random(grades.shape) < wrong, rng.choice([-1, 1], grades.shape), 0)
    return np.clip(grades + step, 0, 3)


def judgments(grades, judge="human:a", fingerprint="", more=None, skip=()):
    rows = [(f"q{q:02}", f"d{d}", int(grades[q, d])) for q in range(len(grades)) for d in range(DOCS) if (q, d) not in skip]
    columns = dict(zip(("query_id", "doc_id", "relevance"), map(list, zip(*rows, strict=True)), strict=True))
    fixed = {"judge": [judge] * len(rows), "fingerprint": [fingerprint] * len(rows), "scale": ["trec"] * len(rows)}
    return pa.table(columns | fixed | (more(rows) if more else {}))


def machine(grades=None, **kind):
    return judgments(said(truth()) if grades is None else grades, "llm", "f1", **kind)


def run(seed):
    order = np.random.default_rng(seed).random((QUERIES, DOCS))
    return {f"q{q:02}": {f"d{d}": float(order[q, d]) for d in range(DOCS)} for q in range(QUERIES)}


def sdcg(scores, grades, k):
    """sDCG@k of each query by germane.metrics, from the same lists."""
    rows = []
    for q in range(QUERIES):
        ranked = sorted(scores[f"q{q:02}"].items(), key=lambda item: -item[1])
        rows.append([int(grades[q, int(doc[1:])]) for doc, _ in ranked])
    return metrics.measure(f"sDCG@{k}", metrics.Lists.of(rows), gains=TREC.gains)[f"sDCG@{k}"].round(12)


def card(gold=None, judged=None, **options):
    given = {"scale": "trec", "metric": "sDCG@3"} | options
    return check(judgments(truth()) if gold is None else gold, machine() if judged is None else judged, **given)


# --- scores, differences, decisions -----------------------------------------------------------------------------------


def test_scores_are_the_metric_under_both_graders_on_the_same_lists():
    found = card(run=run(5)).agreement
    people, judge = sdcg(run(5), truth(), 3), sdcg(run(5), said(truth()), 3)
    error = judge - people
    assert found["score error"].value == pytest.approx(error.mean())
    assert found["score error"].low == pytest.approx(mean(error).low)
    assert found["score error P10"].value == pytest.approx(np.quantile(error, 0.1, method="averaged_inverted_cdf"))
    assert found["score error P90"].value == pytest.approx(np.quantile(error, 0.9, method="averaged_inverted_cdf"))
    from scipy.stats import kendalltau, spearmanr

    assert found["score tau-b"].value == pytest.approx(kendalltau(people, judge).statistic, abs=1e-6)
    assert found["score rho"].value == pytest.approx(spearmanr(people, judge).statistic, abs=1e-6)
    assert found["score rho"].n == QUERIES


def test_two_lists_are_twice_the_rows_of_the_same_queries():
    found = card(run=[run(5), run(6)]).agreement["score error"]
    both = [sdcg(run(s), said(truth()), 3) - sdcg(run(s), truth(), 3) for s in (5, 6)]
    expected = mean(np.concatenate(both), clusters=[*range(QUERIES)] * 2)
    assert (found.value, found.low, found.n) == pytest.approx((expected.value, expected.low, 2 * QUERIES))


def test_paired_differences_are_treatment_minus_control_under_both():
    made = card(control=run(5), treatment=run(6))
    people, judge = (sdcg(run(6), g, 3) - sdcg(run(5), g, 3) for g in (truth(), said(truth())))
    assert made.agreement["difference error"].value == pytest.approx((judge - people).mean())
    assert made.agreement["difference error"].n == QUERIES
    assert made.agreement["score error"].n == 2 * QUERIES
    assert made.bias_at[0].se == pytest.approx(judge.std(ddof=1) / 10)
    assert made.equivalence.verdict == "underpowered"
    assert made.decisions[0].n == QUERIES
    assert [d.n for d in made.decisions[1:]] == [300, 1000, 3000]
    assert made.agreement["decision agreement"].value == made.decisions[0].same.value
    assert "decision sign agreement" in made.agreement


def test_swapping_the_arms_negates_the_bias_and_nothing_else():
    there, back = (card(control=run(a), treatment=run(b)).agreement for a, b in ((5, 6), (6, 5)))
    assert back["difference error"].value == pytest.approx(-there["difference error"].value)
    assert back["difference error P10"].value == pytest.approx(-there["difference error P90"].value)
    for name in ("difference tau-b", "difference rho", "score error"):
        assert back[name].value == pytest.approx(there[name].value)


def test_a_moved_document_alone_needs_a_grade():
    """Only the top two of three places are swapped: the third, without a grade, changes scores and no difference."""
    control = {f"q{q:02}": {"d0": 3.0, "d1": 2.0, "d2": 1.0} for q in range(QUERIES)}
    treatment = {q: {"d1": 3.0, "d0": 2.0, "d2": 1.0} for q in control}
    gold = judgments(truth(), skip={(q, 2) for q in range(QUERIES)})
    made = card(gold, control=control, treatment=treatment)
    assert made.agreement["difference error"].n == QUERIES
    assert "score error" not in made.agreement
    assert any("scores of run: 60 of 60 queries were left out" in text for text in made.caveats)
    two = card(gold, control=control, treatment=treatment, metric="sDCG@2")
    assert two.agreement["score error"].n == 2 * QUERIES


def test_queries_with_an_open_document_are_left_out_or_their_lists_condensed():
    gold = judgments(truth(), skip={(0, 0), (1, 3)})
    whole, dense = (card(gold, control=run(5), treatment=run(6), metric="sDCG@6", condensed=c) for c in (False, True))
    assert whole.agreement["difference error"].n == QUERIES - 2
    assert any("2 of 60 queries were left out" in text and "--condensed" in text for text in whole.caveats)
    assert dense.agreement["difference error"].n == QUERIES
    assert any("taken out of the lists first" in text for text in dense.caveats)


def test_strata_of_the_design_narrow_the_bias_as_they_do_a_difference():
    ids = [f"q{q:02}" for q in range(QUERIES)]
    stratum = np.repeat(["head", "tail"], [20, 40])
    population = {"head": 100, "tail": 900}
    chance = [{"head": 20, "tail": 40}[s] / population[s] for s in stratum]
    design = pa.table(
        {
            "query_id": ids,
            "stratum": list(stratum),
            "inclusion_probability": chance,
            "population": [population[s] for s in stratum],
        }
    )
    made = card(control=run(5), treatment=run(6), design=design)
    people, judge = (sdcg(run(6), g, 3) - sdcg(run(5), g, 3) for g in (truth(), said(truth())))
    parts = {s: Moments.of((judge - people)[stratum == s]) for s in ("head", "tail")}
    expected = stratified_difference(parts, population)
    assert made.agreement["difference error"].value == pytest.approx(expected.value)
    assert made.agreement["difference error"].se == pytest.approx(expected.se)
    assert [(s.dimension, s.name) for s in made.slices] == [("stratum", "head"), ("stratum", "tail")]
    assert made.slices[0].found["difference rho"].n == 20


def test_margin_metric_seed_and_level_are_heard():
    arms = {"control": run(5), "treatment": run(6)}
    usual = card(**arms)
    assert card(**arms, margin=0.5).equivalence.verdict == "equivalent"
    assert card(**arms, metric="sDCG@5").agreement["score error"] != usual.agreement["score error"]
    assert card(**arms, seed=1).decisions != usual.decisions
    assert card(**arms).decisions == usual.decisions
    wide = card(**arms, level=0.99)
    assert wide.agreement["score error"].low < usual.agreement["score error"].low
    assert wide.agreement["difference rho"].low < usual.agreement["difference rho"].low


def test_a_judge_that_is_the_people_has_no_error_and_proves_no_equivalence():
    made = card(judged=machine(truth()), control=run(5), treatment=run(6))
    assert made.agreement["score error"].value == 0
    assert made.agreement["difference rho"].value == pytest.approx(1)
    assert made.agreement["decision agreement"].value == 1
    assert made.agreement["difference error"].caveat.startswith("not reliable: 0 of 60")
    assert made.equivalence.verdict == "underpowered"


def test_a_judge_that_is_one_grade_off_throughout_does_not_pass():
    kind = card(judged=machine(np.minimum(truth() + 1, 3)))
    assert kind.agreement["quadratic kappa"].low > cards.BARS["quadratic kappa"]
    assert not kind.passed
    assert any(text.startswith("gain error is 0.2") for text in cards.misses(kind))


# --- parts of gold ----------------------------------------------------------------------------------------------------


def test_targeted_pairs_are_reported_apart_and_never_mixed_in():
    def part(rows):
        return {"part": ["targeted" if doc == "d0" else "random" for _, doc, _ in rows]}

    wrong = said(truth())
    wrong[:, 0] = 3 - truth()[:, 0]
    made = card(judgments(truth(), more=part), machine(wrong))
    without = card(judgments(truth(), skip={(q, 0) for q in range(QUERIES)}), machine(wrong))
    assert made.agreement == without.agreement
    assert made.targeted["exact"].value == 0
    assert made.targeted["exact"].n == QUERIES
    assert any("60 targeted pairs" in text for text in made.caveats)
    assert made.confusion == without.confusion


def test_a_pair_without_a_chance_is_a_targeted_one_and_the_others_weigh_by_theirs():
    def chance(rows):
        return {"inclusion_probability": [None if d == "d0" else 0.1 if q < "q30" else 1.0 for q, d, _ in rows]}

    wrong = truth().copy()
    wrong[:30] = 3 - wrong[:30]
    made = card(judgments(truth(), more=chance), machine(wrong), run=run(5), metric="sDCG@1")
    assert made.agreement["exact"].value == pytest.approx(1 / 11)
    assert made.agreement["exact"].method.startswith("weighted")
    assert made.targeted["exact"].value == 0.5
    assert not any("simple random sample" in text for text in made.caveats)
    assert made.agreement["score error"].method.startswith("weighted")


def test_a_chance_is_a_probability_and_some_pairs_are_random():
    def chances(value):
        return lambda rows: {"inclusion_probability": pa.array([value] * len(rows), pa.float64())}

    for wrong in (-0.5, 0.0, 1.5):
        with pytest.raises(InputError, match=f"inclusion probability {wrong:g}"):
            card(judgments(truth(), more=chances(wrong)))
    with pytest.raises(InputError, match="were chosen"):
        card(judgments(truth(), more=chances(None)))


def test_every_level_is_split_by_columns_of_queries_and_labels_by_those_of_documents():
    ids = [f"q{q:02}" for q in range(QUERIES)]
    queries = pa.table(
        {"query_id": ids, "query": ids, "language": ["de" if q < 20 else "fr" for q in range(QUERIES)], "shop": ids}
    )
    docs = pa.table({"doc_id": [f"d{d}" for d in range(DOCS)], "type": ["book"] * 2 + ["tool"] * 4, "brand": [None] * DOCS})
    arms = {"control": run(5), "treatment": run(6)}
    made = card(**arms, queries=queries, docs=docs)
    german, french, book, tool = made.slices
    assert [(s.dimension, s.name) for s in made.slices] == [
        ("language", "de"),
        ("language", "fr"),
        ("type", "book"),
        ("type", "tool"),
    ]
    alone = card(judgments(truth()[:20]), machine(), **arms).agreement
    for name in ("exact", "quadratic kappa", "score error", "difference rho", "difference error", "gain error"):
        assert german.found[name] == alone[name]
    assert german.found["difference error"].n == 20
    assert "decision agreement" in french.found
    assert book.found["exact"].n == 2 * QUERIES
    assert "score error" not in tool.found
    assert [s.dimension for s in card(queries=queries, docs=docs, by=["type"]).slices] == ["type", "type"]
    many = card(queries=queries, by="shop")
    assert many.slices[0].name == "(other)"
    assert any("fewer than 2 queries were left out" in text for text in many.caveats)
    assert [s.name for s in card(docs=docs, by=["docs.type"]).slices] == ["book", "tool"]
    with pytest.raises(InputError, match="--by colour: no such column; queries has query_id"):
        card(queries=queries, by=["colour"])
    with pytest.raises(InputError, match="none of gold's query_id"):
        card(queries=pa.table({"query_id": ["x"], "query": ["x"], "language": ["de"]}), by=["language"])


# --- several raters ---------------------------------------------------------------------------------------------------


def raters(*grades):
    return pa.concat_tables([judgments(g, f"human:r{i}") for i, g in enumerate(grades)])


def test_majority_and_median_make_one_grade_of_several_and_leave_ties_out():
    def one(*votes):
        grades = [np.full((QUERIES, DOCS), v) for v in votes]
        gold, everyone, _ = cards.adjudicate(raters(*grades), rule)
        return (gold["relevance"][0].as_py() if gold.num_rows else None), everyone.num_rows

    size = QUERIES * DOCS
    rule = "majority"
    assert [one(1, 1, 3), one(3, 0, 1), one(2, 2), one(0, 1), one(0, 0, 1, 1), one(0, 0, 1, 2)] == [
        (1, size),
        (None, size),
        (2, size),
        (None, size),
        (None, size),
        (None, size),
    ]
    rule = "median"
    assert [one(1, 1, 3), one(3, 0, 1), one(0, 1), one(0, 2, 2, 3)] == [(1, size), (1, size), (None, size), (2, size)]


def test_three_raters_are_gold_and_its_ceiling():
    votes = [said(truth(), seed) for seed in (7, 8, 9)]
    made = card(raters(*votes), adjudicate="majority")
    ceiling = {c.name: c for c in made.ceiling}
    pairs = [(votes[i].ravel(), votes[j].ravel()) for i, j in ((0, 1), (0, 2), (1, 2))]
    expected = np.mean([cohen_kappa(a, b, distance="quadratic").value for a, b in pairs])
    assert ceiling["quadratic kappa"].raters.value == pytest.approx(expected)
    assert ceiling["quadratic kappa"].raters.n == QUERIES * DOCS
    stacked = np.column_stack([v.ravel() for v in votes])
    assert ceiling["alpha"].raters.value == pytest.approx(krippendorff_alpha(stacked).value)
    with_judge = np.mean([cohen_kappa(v.ravel(), said(truth()).ravel()).value for v in votes])
    assert ceiling["kappa"].judge.value == pytest.approx(with_judge)
    ties = int(sum(len(set(row)) == 3 for row in stacked.tolist()))
    assert any(f"{ties} ties were left out" in text for text in made.caveats)
    assert made.agreement["exact"].n == QUERIES * DOCS - ties
    assert card(raters(*votes), adjudicate="median").agreement["exact"].n == QUERIES * DOCS


def test_several_raters_need_a_rule_that_exists_and_answer_once():
    votes = [said(truth(), seed) for seed in (7, 8)]
    with pytest.raises(InputError, match="--adjudicate majority"):
        card(raters(*votes))
    with pytest.raises(InputError, match="expected majority or median"):
        card(raters(*votes), adjudicate="mean")
    twice = pa.concat_tables([raters(*votes), judgments(votes[0], "human:r0")])
    with pytest.raises(InputError, match="judged query 'q00', document 'd0' more than once"):
        cards.adjudicate(twice, "median")
    assert card(adjudicate="majority").ceiling == ()


def test_raters_side_by_side_are_raters_in_rows(tmp_path):
    votes = [said(truth(), seed) for seed in (7, 8, 9)]
    rows = judgments(votes[0]).select(["query_id", "doc_id"])
    for i, vote in enumerate(votes):
        rows = rows.append_column(f"r{i}", pa.array(vote.ravel()))
    wide = card(rows, adjudicate="majority", raters=["r0", "r1", "r2"])
    assert replace(wide, caveats=()) == replace(card(raters(*votes), adjudicate="majority"), caveats=())
    with pytest.raises(InputError, match="no column 'r9' of a rater's labels: found query_id, doc_id, r0"):
        card(rows, adjudicate="majority", raters=["r0", "r9"])


def test_raters_of_icecat_have_their_published_ceiling(data):
    import pyarrow.parquet as pq

    path = data("icecat_multirater") / "broad_query_set_3raters.parquet"
    table, raters = pq.read_table(path), [f"rater_{i}" for i in (1, 2, 3)]
    fixed = {"query_id": table["query"], "doc_id": table["doc_id"]}
    names = {"judge": ["final"] * table.num_rows, "fingerprint": ["x"] * table.num_rows}
    final = pa.table(fixed | {"relevance": table["final_rating"]} | names)
    made = check(path, final, scale="trec", adjudicate="median", raters=raters)
    found = {c.name: c.raters.value for c in made.ceiling}
    assert found["kappa"] == pytest.approx((0.682 + 0.646 + 0.601) / 3, abs=6e-4)
    assert found["quadratic kappa"] == pytest.approx((0.799 + 0.776 + 0.737) / 3, abs=6e-4)
    assert made.agreement["exact"].value == pytest.approx(0.886, abs=6e-4)  # SOURCE.md: final is the median in 88.6 %


# --- probabilities ----------------------------------------------------------------------------------------------------


def probs(rows, peak=0.7):
    return {"probs": [[peak if g == grade else (1 - peak) / 3 for g in range(4)] for *_, grade in rows]}


def test_probabilities_are_checked_against_what_people_said():
    made = card(judged=machine(more=probs))
    share = (said(truth()) == truth()).mean()
    assert made.agreement["expected gain error"].n == QUERIES * DOCS
    expected = share * (0.09 + 3 * 0.01) + (1 - share) * (0.49 + 0.81 + 2 * 0.01)
    assert made.agreement["Brier score"].value == pytest.approx(expected, abs=1e-6)
    assert [r.label for r in made.reliability] == [label for label in TREC.labels for _ in range(2)]
    sharp = card(judged=machine(more=lambda rows: probs(rows, 0.97)))
    assert sharp.agreement["calibration error"].low > made.agreement["calibration error"].low
    assert card().reliability == ()


def test_probabilities_that_are_none_are_refused_and_odd_ones_said():
    def replaced(value):
        return lambda rows: {"probs": [value, *probs(rows)["probs"][1:]]}

    for wrong in ([0.5, 0.5, 0.5, 0.5], [1.2, -0.2, 0.0, 0.0]):
        with pytest.raises(InputError, match="for query 'q00', document 'd0': expected none below 0, and a sum of 1"):
            card(judged=machine(more=replaced(wrong)))
    with pytest.raises(InputError, match="give 2 probabilities"):
        card(judged=machine(more=replaced([0.5, 0.5])))
    assert any("1 answers have no probabilities" in text for text in card(judged=machine(more=replaced(None))).caveats)
    lowest = [0.0, 0.0, 0.0, 0.0]
    lowest[3 - int(said(truth())[0, 0])] = 1.0
    odd = card(judged=machine(more=replaced(lowest)))
    assert any("1 answers are not the grade of the highest probability" in text for text in odd.caveats)


# --- bars, files, the verb --------------------------------------------------------------------------------------------


def test_bars_may_be_set_on_every_level_and_an_error_lies_between_two():
    bars = {"score rho": 0.3, "score error": 0.1, "difference error P90": 0.9, "decision agreement": 0.01}
    assert card(control=run(5), treatment=run(6), bars=bars).passed
    tight = card(control=run(5), treatment=run(6), bars={"difference error P90": 0.001})
    assert cards.misses(tight)[0].startswith("difference error P90 is ")
    assert "either way, the bar is at most 0.001" in cards.misses(tight)[0]
    missing = card(bars={"score rho": 0.1})
    assert not missing.passed
    assert cards.misses(missing) == ("score rho could not be computed, the bar is 0.1",)
    with pytest.raises(InputError, match="how large it may be"):
        card(bars={"score error": -0.1})
    too_low = replace(missing, bars={"gain error": 0.01})
    assert not too_low.meets("gain error")


def test_the_digest_is_of_the_labels_and_of_nothing_else():
    gold = judgments(truth())
    turned = gold.take(pa.array(range(gold.num_rows - 1, -1, -1)))
    assert cards.digest(gold) == cards.digest(turned) == cards.digest(judgments(truth(), "human:b")) == card().gold_digest
    other = truth()
    other[0, 0] = (other[0, 0] + 1) % 4
    assert cards.digest(judgments(other)) != cards.digest(gold)
    assert cards.digest(gold.slice(1)) != cards.digest(gold)


def test_cards_survive_json_and_older_ones_are_still_read():
    made = card(raters(truth(), said(truth(), 4)), machine(more=probs), adjudicate="median", control=run(5), treatment=run(6))
    assert JudgeCard.from_json(made.to_json()) == made
    new = ("gold_digest", "gold_pairs", "slices", "targeted", "ceiling", "reliability", "equivalence", "bias_at", "decisions")
    old = {name: value for name, value in json.loads(made.to_json()).items() if name not in new}
    read = JudgeCard.from_json(json.dumps(old))
    assert read.agreement == made.agreement
    assert (read.gold_digest, read.slices, read.equivalence) == ("", (), None)
    with pytest.raises(InputError, match=r"missing fields \['judge'\]"):
        JudgeCard.from_json(json.dumps({name: value for name, value in old.items() if name != "judge"}))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"control": run(5)}, "needs both arms"),
        ({"margin": 0.0}, "margin 0"),
        ({"margin": -0.1}, "margin -0.1"),
        ({"run": run(5), "metric": "nDCG@10"}, "by sDCG"),
        ({"run": {"other": {"d0": 1.0}}}, "none of gold's queries is in the run"),
        ({"control": {"other": {"d0": 1.0}}, "treatment": {"other": {"d0": 1.0}}}, "none of gold's queries"),
    ],
)
def test_what_cannot_be_answered_is_refused(options, complaint):
    with pytest.raises(InputError, match=complaint):
        card(**options)


def test_the_verb_takes_runs_segments_and_raters_and_prints_what_they_say(tmp_path, capsys, monkeypatch):
    def main(arguments):
        monkeypatch.setattr(sys, "argv", ["germane", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0

    votes = raters(truth(), said(truth(), 4), said(truth(), 5))
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("gold", "llm", "a", "b", "queries")}
    germane.write_judgments(germane.read_judgments(votes), paths["gold"])
    germane.write_judgments(germane.read_judgments(machine(more=probs)), paths["llm"])
    for name, seed in (("a", 5), ("b", 6)):
        germane.write_run(germane.read_run(run(seed)), paths[name])
    import pyarrow.parquet as pq

    ids = [f"q{q:02}" for q in range(QUERIES)]
    pq.write_table(pa.table({"query_id": ids, "query": ids, "language": ["de", "fr"] * 30}), paths["queries"])
    options = ["--scale", "trec", "--adjudicate", "majority", "--control", paths["a"], "--treatment", paths["b"]]
    options += ["--queries", paths["queries"], "--metric", "sDCG@3", "--margin", "0.1", "--out", str(tmp_path / "card")]
    assert main(["check", paths["gold"], paths["llm"], *options]) == 0
    told = capsys.readouterr().out
    assert "people" in told
    assert "paired bias within 0.1: equivalent" in told
    assert "queries: people and judge decide alike in" in told
    assert "gain error" in told
    page, text = ((tmp_path / "card" / f"card.{kind}").read_text() for kind in ("html", "md"))
    for words in ("Paired differences", "between people", "By <bdi>language</bdi>", "better", "Do its probabilities"):
        assert words in page
    for words in (
        "| difference rho |",
        "Equivalent: the paired bias",
        "| language |",
        "at most 0.15, passed",
        "queries: people say",
    ):
        assert words in text
    made = cards.read(tmp_path / "card")
    assert made.gold_digest == cards.digest(germane.read_judgments(paths["gold"]))
    assert main(["check", paths["gold"], paths["llm"], *options, "--bar", "score rho=0.999"]) == 1
    assert main(["check", paths["gold"], paths["llm"], "--scale", "trec"]) == 2
    assert "--adjudicate" in capsys.readouterr().err
