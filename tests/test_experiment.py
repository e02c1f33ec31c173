import dataclasses
import html

import numpy as np
import pyarrow as pa
import pytest

from germane import experiment, metrics, scales
from germane.experiment import Choices, arms, describe, effects, frame, pool
from germane.types import Estimate, InputError, JudgeCard, Refusal, Report, Run

SCALE = scales.FIVE_LEVEL


def run(lists, name="run", **origin):
    """lists: query -> documents, best first."""
    rows = [(q, d, float(-i), i + 1) for q, docs in lists.items() for i, d in enumerate(docs)]
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    query, doc, score, rank = columns
    table = pa.table(
        {
            "query_id": pa.array(query, pa.string()),
            "doc_id": pa.array(doc, pa.string()),
            "score": pa.array(score, pa.float64()),
            "rank": pa.array(rank, pa.int32()),
        }
    )
    return Run(name, table, origin)


def judgments(grades, judge="human:x", fingerprint="", scale="five-level", guide=""):
    """grades: (query, doc) -> relevance or None."""
    n = len(grades)
    return pa.table(
        {
            "query_id": pa.array([q for q, _ in grades], pa.string()),
            "doc_id": pa.array([d for _, d in grades], pa.string()),
            "relevance": pa.array(list(grades.values()), pa.int16()),
            "judge": [judge] * n,
            "fingerprint": [fingerprint] * n,
            "scale": [scale] * n,
            "guide_version": [guide] * n,
        }
    )


def world(queries=80, docs=12, shown=8, seed=1):
    """Two random rankings of the same documents, everything judged."""
    rng = np.random.default_rng(seed)
    ids = [f"q{i:03d}" for i in range(queries)]
    grades = {(q, f"d{j:02d}"): int(rng.integers(0, 5)) for q in ids for j in range(docs)}
    arms = []
    for _ in range(2):
        arms.append({q: [f"d{j:02d}" for j in rng.permutation(docs)[:shown]] for q in ids})
    arms[1]["q000"] = arms[0]["q000"]
    return arms[0], arms[1], grades


def compare(control, treatment, grades, **given):
    choices = Choices(**{k: given.pop(k) for k in list(given) if k in {f.name for f in dataclasses.fields(Choices)}})
    grades = grades if isinstance(grades, pa.Table) else judgments(grades)
    arms = [arm if isinstance(arm, Run) else run(arm, name) for arm, name in ((control, "old"), (treatment, "new"))]
    return experiment.compare(*arms, grades, scale=given.pop("scale", SCALE), choices=choices, **given)


def design(strata, populations):
    """strata: query -> stratum."""
    rows = sorted(strata)
    counts = {s: sum(1 for x in strata.values() if x == s) for s in set(strata.values())}
    return pa.table(
        {
            "query_id": rows,
            "stratum": [strata[q] for q in rows],
            "inclusion_probability": [counts[strata[q]] / populations[strata[q]] for q in rows],
            "population": [populations[strata[q]] for q in rows],
        }
    )


# --- the estimate ---------------------------------------------------------------------------------------------------


def test_two_queries_by_hand():
    """k = 2: weights 0.6131 and 0.3869. Query a swaps a perfect and a useless result; query b drops a relevant one (0.75)."""
    grades = {("a", "good"): 4, ("a", "bad"): 0, ("b", "x"): 3, ("b", "y"): 0, ("b", "z"): 1}
    report = compare({"a": ["bad", "good"], "b": ["x", "y"]}, {"a": ["good", "bad"], "b": ["z", "y"]}, grades, metric="sDCG@2")
    first, second = 1 / (1 + 1 / np.log2(3)), 1 / np.log2(3) / (1 + 1 / np.log2(3))
    a, b = first - second, (0.25 - 0.75) * first
    assert report.delta.value == pytest.approx((a + b) / 2)
    assert report.delta.se == pytest.approx(abs(a - b) / 2)
    assert report.control.value == pytest.approx((second + 0.75 * first) / 2)
    assert report.lift.value == pytest.approx(report.delta.value / report.control.value)
    assert report.verdict == "not reliable"


def test_the_difference_is_the_mean_of_two_evaluations():
    control, treatment, grades = world()
    report = compare(control, treatment, grades, metric="sDCG@5")
    values = []
    for arm in (control, treatment):
        lists = metrics.Lists.of([[grades[q, d] for d in arm[q]] for q in sorted(arm)])
        (value,) = metrics.measure(["sDCG@5"], lists, gains=SCALE.gains).values()
        values.append(value)
    assert report.delta.value == pytest.approx(np.mean(values[1] - values[0]))
    assert report.delta.se == pytest.approx(np.std(values[1] - values[0], ddof=1) / 80**0.5)
    assert (report.control.value, report.treatment.value) == pytest.approx((values[0].mean(), values[1].mean()))


@pytest.mark.parametrize("metric", ["sDCG@5", "nDCG@5", "P(rel=3)@5", "sDCG(short=observed)@5"])
def test_swapping_the_arms_negates_the_difference(metric):
    control, treatment, grades = world()
    there, back = compare(control, treatment, grades, metric=metric), compare(treatment, control, grades, metric=metric)
    assert back.delta.value == pytest.approx(-there.delta.value)
    assert (back.delta.low, back.delta.high) == pytest.approx((-there.delta.high, -there.delta.low))
    assert {there.verdict, back.verdict} <= {"better", "worse", "no clear difference"}


def test_strata_weigh_by_their_population_and_not_by_their_sample():
    control, treatment, grades = world()
    strata = {q: "head" if q < "q040" else "tail" for q in control}
    report = compare(control, treatment, grades, design=design(strata, {"head": 100, "tail": 900}), metric="sDCG@5")
    alone = compare(control, treatment, grades, metric="sDCG@5")
    parts = {e.name: e for e in report.by_segment}
    assert report.delta.value == pytest.approx(0.1 * parts["head"].delta.value + 0.9 * parts["tail"].delta.value)
    assert alone.delta.value == pytest.approx(0.5 * parts["head"].delta.value + 0.5 * parts["tail"].delta.value)
    assert [e.share for e in report.by_segment] == pytest.approx([0.1, 0.9])
    assert "simple random sample" in " ".join(alone.warnings)
    assert "simple random sample" not in " ".join(report.warnings)


def test_only_documents_that_moved_need_a_grade():
    control, treatment, grades = world()
    for q in list(control)[:40]:  # half of the pages differ in two neighbours alone
        treatment[q] = [control[q][1], control[q][0], *control[q][2:]]
    moved = {}
    for q in control:
        ranks = [{d: i for i, d in enumerate(arm[q][:5])} for arm in (control, treatment)]
        moved |= {(q, d): grades[q, d] for d in set(ranks[0]) | set(ranks[1]) if ranks[0].get(d) != ranks[1].get(d)}
    assert len(moved) < len(grades) / 2
    strata = design(dict.fromkeys(control, "all"), {"all": 1000})
    whole = compare(control, treatment, grades, design=strata, metric="sDCG@5")
    part = compare(control, treatment, moved, design=strata, metric="sDCG@5")
    assert (part.delta.value, part.delta.se) == pytest.approx((whole.delta.value, whole.delta.se))
    assert part.unjudged.low == part.unjudged.high == pytest.approx(part.delta.value)
    assert part.lift is None
    assert part.control.caveat.startswith("at least")
    assert part.overrides == ()


def test_an_aa_experiment_says_that_nothing_differs():
    control, _, grades = world()
    report = compare(control, control, grades)
    assert report.verdict == "no difference at all"
    assert report.answer.startswith("No difference: new and old score the same on every query")
    assert (report.control_name, report.delta.se) == ("old", 0)
    assert not any("Not reliable" in w for w in report.warnings)


def test_differences_that_are_all_equal_give_no_answer_and_say_why():
    control = {f"q{i:03d}": ["x", "y"] for i in range(50)}
    treatment = {q: ["y", "x"] for q in control}
    grades = {(q, d): 4 if d == "y" else 0 for q in control for d in "xy"}
    report = compare(control, treatment, grades, metric="sDCG@2")
    assert report.verdict == "not reliable"
    assert "nothing varied" in report.answer
    assert "too few" not in report.answer


def test_the_level_is_printed_as_it_is():
    control, treatment, grades = world()
    assert "99.9% interval" in compare(control, treatment, grades, level=0.999).answer


def test_a_report_survives_json():
    control, treatment, grades = world()
    report = compare(control, treatment, grades, design=design(dict.fromkeys(control, "all"), {"all": 1000}))
    assert Report.from_json(report.to_json()) == report
    assert len(report.to_pandas()) == 1 + len(report.by_segment)
    assert html.escape(report.answer) in report._repr_html_()


def test_the_answer_names_the_arms_and_what_the_sample_stands_for():
    control, treatment, grades = world()
    better = {q: sorted(docs, key=lambda d: -grades[q, d]) for q, docs in treatment.items()}
    strata = design(dict.fromkeys(control, "all"), {"all": 1000})
    up = compare(control, better, grades, design=strata, metric="sDCG@5")
    assert up.verdict == "better"
    assert up.answer.startswith("new is more relevant than old: sDCG@5 rises by 0.")
    assert up.answer.endswith("over 1,000 distinct queries by a sample of 80.")
    down = compare(better, control, grades, metric="sDCG@5")
    assert down.verdict == "worse"
    assert down.answer.startswith("new is less relevant than old: sDCG@5 falls by 0.")
    assert down.answer.endswith("over 80 queries.")


# --- queries without results, and strata of one ---------------------------------------------------------------------


def test_an_empty_page_is_a_page_without_gain():
    control, treatment, grades = world()
    del treatment["q003"]
    report = compare(control, treatment, grades, design=design(dict.fromkeys(control, "all"), {"all": 1000}), metric="sDCG@5")
    assert report.delta.n == 80
    assert any("1 of 80 queries have results in one arm only" in w for w in report.warnings)


def test_many_queries_of_one_arm_are_refused_as_unpaired_traffic():
    control, treatment, grades = world()
    treatment = {q: docs for q, docs in treatment.items() if q > "q010"}
    with pytest.raises(Refusal, match="11 of 80 queries have results in one arm only") as refusal:
        compare(control, treatment, grades)
    assert refusal.value.override == "--allow one-armed"
    report = compare(control, treatment, grades, allow=["one-armed"])
    assert any("one-armed" in line for line in report.overrides)


def test_a_stratum_of_one_query_keeps_its_weight_and_borrows_variance():
    """Head: 1 % of the population, 79 queries; tail: 99 %, one query. The answer is the tail's, and very unsure."""
    control, treatment, grades = world()
    strata = {q: "tail" if q == "q001" else "head" for q in control}
    report = compare(control, treatment, grades, design=design(strata, {"head": 100, "tail": 9900}), metric="sDCG@5")
    each = {e.name: e for e in report.by_segment}
    lone = report.delta.value * 100 - each["head"].delta.value
    assert each["tail"].delta is None
    assert lone / 99 == pytest.approx(single_difference(control, treatment, grades, "q001"))
    pooled = each["head"].delta.se * 79**0.5
    assert report.delta.se == pytest.approx(pooled * (0.01**2 / 79 + 0.99**2) ** 0.5)
    assert any("1 strata with one query each stand for 99.0%" in w for w in report.warnings)
    assert [tuple(s) for s in report.design.strata] == [("head", 100, 79), ("tail", 9900, 1)]


def single_difference(control, treatment, grades, query):
    values = [
        metrics.measure(["sDCG@5"], metrics.Lists.of([[grades[query, d] for d in arm[query]]]), gains=SCALE.gains)
        for arm in (control, treatment)
    ]
    return float(values[1]["sDCG@5"][0] - values[0]["sDCG@5"][0])


def test_strata_of_one_query_each_are_weighted_too():
    control, treatment, grades = world(queries=6)
    populations = {f"s{i}": 10 ** (i % 3) for i in range(6)}
    report = compare(
        control, treatment, grades, design=design({f"q00{i}": f"s{i}" for i in range(6)}, populations), metric="sDCG@5"
    )
    weighted = sum(populations[f"s{i}"] * single_difference(control, treatment, grades, f"q00{i}") for i in range(6))
    assert report.delta.value == pytest.approx(weighted / sum(populations.values()))
    assert report.delta.df == 5


def test_a_segment_weighs_its_strata_however_few_queries_they_have_in_it():
    control, treatment, grades = world()
    table = design({q: "A" if q < "q040" else "B" for q in control}, {"A": 100_000, "B": 100})
    table = table.append_column("segment", pa.array(["head"] * 39 + ["tail"] * 41))
    tail = compare(control, treatment, grades, design=table, metric="sDCG@5").by_segment[1]
    lone = single_difference(control, treatment, grades, "q039")
    rest = np.mean([single_difference(control, treatment, grades, f"q{i:03d}") for i in range(40, 80)])
    assert tail.delta.value == pytest.approx((2500 * lone + 100 * rest) / 2600)
    assert tail.share == pytest.approx(2600 / 100_100)


def test_a_segment_of_one_query_is_shown_without_a_number():
    control, treatment, grades = world()
    table = design(dict.fromkeys(control, "all"), {"all": 1000})
    table = table.append_column("segment", pa.array(["head"] + ["tail"] * 79))
    head, tail = compare(control, treatment, grades, design=table).by_segment
    assert (head.delta, head.p, head.q, head.found) == (None, None, None, False)
    assert "2 are the least" in head.note
    assert head.share + tail.share == pytest.approx(1)


def test_segments_with_few_differences_are_not_tested():
    control, treatment, grades = world()
    table = design(dict.fromkeys(control, "all"), {"all": 1000})
    table = table.append_column("segment", pa.array(["head"] * 20 + ["tail"] * 60))
    head, tail = compare(control, treatment, grades, design=table, metric="sDCG@5").by_segment
    assert head.p is None
    assert head.note.startswith("not reliable")
    assert tail.p is not None
    assert tail.q == tail.p
    both = compare(control, treatment, grades, design=table, metric="sDCG@5", minimum_nonzero=5).by_segment
    assert all(e.q is not None for e in both)


def test_without_a_design_unjudged_queries_stay_only_if_nothing_moved():
    control, treatment, grades = world()
    judged = {key: grade for key, grade in grades.items() if key[0] != "q000"}
    kept = compare(control, treatment, judged, metric="sDCG@5")  # q000 is the same in both arms
    assert kept.delta.n == 80
    assert any("1 queries have no judgment and the same results" in w for w in kept.warnings)
    fewer = {key: grade for key, grade in judged.items() if key[0] != "q001"}
    left = compare(control, treatment, fewer, metric="sDCG@5")
    assert left.delta.n == 78
    assert any("2 of 80 queries have no judgment and were left out" in w for w in left.warnings)


# --- unjudged documents ---------------------------------------------------------------------------------------------


def test_unjudged_documents_that_could_turn_the_answer_are_refused():
    control, treatment, grades = world()
    holes = {key: grade for key, grade in grades.items() if key[1] not in ("d00", "d01", "d02")}
    with pytest.raises(Refusal, match="unjudged documents can change the difference") as refusal:
        compare(control, treatment, holes)
    assert "--condensed" in str(refusal.value)
    insisted = compare(control, treatment, holes, allow=["unjudged"])
    assert insisted.unjudged.low < insisted.delta.value < insisted.unjudged.high
    assert any("not relevant" in line for line in insisted.overrides)
    assert insisted.unjudged.mode == "as zero"
    assert insisted.lift is None


@pytest.mark.parametrize("metric", ["sDCG@5", "sDCG(gain=exp)@5", "P(rel=3)@5", "SDCG(max_rel=4)@5", "nDCG@5", "RR(rel=3)@5"])
def test_bounds_hold_whatever_the_missing_grades_are(metric):
    control, treatment, grades = world()
    missing = [key for key in grades if key[1] in ("d00", "d05")]
    holes = {key: grade for key, grade in grades.items() if key not in missing}
    bounds = compare(control, treatment, holes, allow=["unjudged"], metric=metric).unjudged
    worst = {key: 4 if key[1] in control[key[0]][:5] and key[1] not in treatment[key[0]][:5] else 0 for key in missing}
    best = {key: 4 - grade for key, grade in worst.items()}
    for fill in (dict.fromkeys(missing, 0), dict.fromkeys(missing, 4), worst, best):
        full = compare(control, treatment, holes | fill, metric=metric)
        assert bounds.low - 1e-12 <= full.delta.value <= bounds.high + 1e-12


@pytest.mark.parametrize("metric", ["sDCG@5", "sDCG(gain=exp)@5", "P(rel=3)@5", "SDCG(max_rel=4)@5"])
def test_a_linear_metric_is_its_weights_times_its_gains(metric):
    parsed = metrics.Metric.parse(metric)
    weights, gains = pool.linear_parts(parsed, SCALE, 5)
    (value,) = metrics.measure([parsed], metrics.Lists.of([[4, 0, 2, 3, 1]]), gains=SCALE.gains).values()
    assert value[0] == pytest.approx((weights[1:] * gains[[4, 0, 2, 3, 1]]).sum())
    assert (weights[0], gains[-1]) == (0, 1)


def test_unevenly_judged_arms_are_refused_even_if_the_bounds_are_clear():
    queries = [f"q{i:02d}" for i in range(60)]
    rng = np.random.default_rng(2)
    control = {q: ["bad"] * 0 + [f"b{i}" for i in range(5)] for q in queries}
    treatment = {q: [f"g{i}" for i in range(4)] + ["new"] for q in queries}
    grades = {(q, f"b{i}"): int(rng.integers(0, 2)) for q in queries for i in range(5)}
    grades |= {(q, f"g{i}"): 4 for q in queries for i in range(4)}
    with pytest.raises(Refusal, match=r"unevenly judged: 0\.0% of the control's results are unjudged, 20\.0%") as refusal:
        compare(control, treatment, grades, metric="sDCG@5")
    assert "could be anything" not in str(refusal.value)


def test_condensed_lists_close_up_over_unjudged_documents():
    grades = {("a", "x"): 4, ("a", "y"): 0, ("b", "x"): 2, ("b", "y"): 1}
    control = {"a": ["?", "x", "y"], "b": ["x", "?", "y"]}
    treatment = {"a": ["y", "?", "x"], "b": ["y", "x", "!"]}
    closed = ({"a": ["x", "y"], "b": ["x", "y"]}, {"a": ["y", "x"], "b": ["y", "x"]})
    condensed = compare(control, treatment, grades, metric="sDCG@2", condensed=True)
    assert condensed.delta.value == pytest.approx(compare(*closed, grades, metric="sDCG@2").delta.value)
    assert condensed.unjudged.mode == "condensed"
    assert any(w.startswith("Condensed") for w in condensed.warnings)


def test_condensing_leaves_out_queries_of_which_nothing_is_judged():
    control, treatment, grades = world()
    strata = design(dict.fromkeys(control, "all"), {"all": 1000})
    holes = {key: grade for key, grade in grades.items() if key[0] not in ("q001", "q002")}
    report = compare(control, treatment, holes, design=strata, condensed=True)
    assert report.delta.n == 78
    assert any("2 of 80 queries were left out" in w for w in report.warnings)


def test_condensing_is_refused_where_it_would_only_lose_documents():
    control, treatment, grades = world()
    with pytest.raises(InputError, match="would only lose the others"):
        compare(control, treatment, grades, condensed=True)


def test_an_abstention_is_an_unjudged_document_and_not_a_zero():
    control, treatment, grades = world()
    silent = {key: None if key[1] == "d00" else grade for key, grade in grades.items()}
    with pytest.raises(Refusal, match="unjudged"):
        compare(control, treatment, silent)


def test_a_condensed_report_tells_what_was_unjudged_before():
    control, treatment, grades = world(docs=30, shown=20)
    holes = {key: grade for key, grade in grades.items() if (int(key[0][1:]) + int(key[1][1:])) % 5}
    report = compare(control, treatment, holes, metric="sDCG@5", condensed=True)
    insisted = compare(control, treatment, holes, metric="sDCG@5", allow=["unjudged"])
    assert report.unjudged.control.value == pytest.approx(insisted.unjudged.control.value)
    assert report.unjudged.control.value > 0.1
    assert (report.unjudged.low, report.unjudged.high) == pytest.approx((insisted.unjudged.low, insisted.unjudged.high))
    assert report.unjudged.mode == "condensed"


def test_condensed_lists_that_are_shorter_in_one_arm_are_refused():
    control, treatment, grades = world(docs=30, shown=25)
    control = {q: docs[:12] for q, docs in control.items()}
    holes = {key: grade for key, grade in grades.items() if (int(key[0][1:]) + int(key[1][1:])) % 4}
    given = {"metric": "sDCG@10", "condensed": True}
    with pytest.raises(Refusal, match="that alone could make a difference") as refusal:
        compare(control, treatment, holes, **given)
    assert refusal.value.override == "--allow short-lists"
    assert any("short-lists" in line for line in compare(control, treatment, holes, allow=["short-lists"], **given).overrides)


def test_condensing_what_was_judged_only_where_it_moved_is_refused():
    control, treatment, grades = world()
    for q in list(control)[:60]:
        treatment[q] = [control[q][1], control[q][0], *control[q][2:]]
    moved = {(q, d): grades[q, d] for q in list(control)[1:60] for d in control[q][:2]}
    for q in list(control)[60:]:
        treatment[q] = control[q]
    for key in list(moved)[::6]:
        del moved[key]
    with pytest.raises(InputError, match="only what moved was judged"):
        compare(control, treatment, moved, condensed=True, metric="sDCG@5")
    with pytest.raises(Refusal) as refusal:
        compare(control, treatment, moved, metric="sDCG@5")
    assert "--condensed" not in str(refusal.value)


def test_runs_cut_at_different_depths_are_refused():
    control, _, grades = world()
    shallow = {q: docs[:4] for q, docs in control.items()}
    with pytest.raises(Refusal, match="never shows more than 4 results") as refusal:
        compare(shallow, control, grades)
    assert refusal.value.override == "--allow depth"
    assert compare(shallow, control, grades, metric="sDCG@4").verdict == "no difference at all"
    assert any("depth" in line for line in compare(shallow, control, grades, allow=["depth"]).overrides)
    one_short = control | {"q003": control["q003"][:4]}
    assert compare(one_short, control, grades).overrides == ()


def test_documents_of_one_grade_that_change_places_change_nothing():
    """Sums in another order differ in the last digit; such noise must not count as a difference."""
    rng = np.random.default_rng(3)
    same = {q: [f"d{j:02d}" for j in range(12)] for q in (f"q{i:03d}" for i in range(100))}
    shuffled = {q: [docs[j] for j in rng.permutation(12)] for q, docs in same.items()}
    grades = {(q, d): 3 if q < "q050" else 1 for q in same for d in same[q]}
    null = compare(same, shuffled, grades)
    assert (null.verdict, null.variance.nonzero, null.delta.se) == ("no difference at all", 0, 0)
    for i in range(5):
        grades[f"q00{i}", "d11"], shuffled[f"q00{i}"] = 4, ["d11", *(f"d{j:02d}" for j in range(11))]
    few = compare(same, shuffled, grades)
    assert few.variance.nonzero == 5
    assert few.delta.caveat.startswith("not reliable: 5 of 100")


@pytest.mark.parametrize("metric", ["Judged@5", "Share(rel=0)@5"])
def test_what_does_not_measure_relevance_is_no_headline(metric):
    control, treatment, grades = world()
    with pytest.raises(InputError, match="no measure of relevance"):
        compare(control, treatment, grades, metric=metric)


def test_gains_that_are_not_one_a_grade_are_refused():
    control, treatment, grades = world()
    with pytest.raises(InputError, match="6 gains, and scale 'five-level' has 5 grades"):
        compare(control, treatment, grades, metric="sDCG(gain=[0,1,2,3,4,5])@5")


def test_for_metrics_that_are_no_sum_an_unmoved_unjudged_document_counts_too():
    control, treatment, grades = world()
    for q in control:
        treatment[q] = [control[q][0], *[d for d in treatment[q] if d != control[q][0]]]
        grades.pop((q, control[q][0]))
    report = compare(control, treatment, grades, metric="RR(rel=3)@5", allow=["unjudged"])
    assert report.unjudged.mode == "as zero"
    assert report.unjudged.moved >= 80


def test_ties_that_decide_what_is_shown_are_said():
    control, treatment, grades = world()
    tied = run(control, "old")
    flat = tied.table.set_column(2, "score", pa.array(np.ones(len(tied.table))))
    assert any("decided between equal scores" in w for w in compare(Run("old", flat, {}), treatment, grades).warnings)
    assert not any("equal scores" in w for w in compare(control, treatment, grades).warnings)


def test_judged_queries_that_no_run_answers_are_said():
    control, treatment, grades = world()
    grades |= {(f"extra{i}", "d00"): 3 for i in range(7)}
    report = compare(control, treatment, grades)
    assert report.delta.n == 80
    assert any("7 queries with judgments have no results in either run" in w for w in report.warnings)


# --- who may judge --------------------------------------------------------------------------------------------------


def card(**given):
    estimate = Estimate(0.8, 0.01, 0.78, 0.82, 1000, "exact agreement")
    base = JudgeCard("m", "f1", "five-level", "", "gold", {"exact": estimate}, ((1,),), {"label": 1}, {"exact": 0.7})
    return dataclasses.replace(base, **given)


def test_a_machine_judge_needs_a_card_and_the_report_says_that_nobody_audited_it():
    control, treatment, grades = world()
    table = judgments(grades, judge="m", fingerprint="f1")
    with pytest.raises(Refusal, match="has no card"):
        compare(control, treatment, table)
    report = compare(control, treatment, table, card=card())
    assert report.warnings[0] == "Measured by the judge m alone, without an audit by people: its own error is not corrected."
    insisted = compare(control, treatment, table, allow=["no-card"])
    assert any("no card" in line for line in insisted.overrides)


def test_a_mix_of_judges_or_of_guides_is_refused():
    control, treatment, grades = world()
    half = {key: grade for key, grade in grades.items() if key[0] < "q040"}
    rest = {key: grade for key, grade in grades.items() if key[0] >= "q040"}
    mixed = pa.concat_tables([judgments(half), judgments(rest, judge="m", fingerprint="f1")])
    with pytest.raises(Refusal, match="judges"):
        compare(control, treatment, mixed, card=card())
    guides = pa.concat_tables([judgments(half, guide="one"), judgments(rest, guide="two")])
    with pytest.raises(Refusal, match="guide versions"):
        compare(control, treatment, guides)
    old = compare(control, treatment, judgments(grades, guide="one"))
    assert any("guide version one" in w for w in old.warnings)


def test_a_machine_that_was_shown_another_guide_is_refused():
    control, treatment, grades = world()
    table = judgments(grades, judge="m", fingerprint="f1", guide="old")
    with pytest.raises(Refusal, match="was shown guide old") as refusal:
        compare(control, treatment, table, card=card(guide_version="old"))
    assert refusal.value.override == "--allow other-guide"
    today = judgments(grades, judge="m", fingerprint="f1", guide=SCALE.version)
    assert compare(control, treatment, today, card=card(guide_version=SCALE.version)).overrides == ()


def test_bars_lower_than_germanes_own_are_said():
    control, treatment, grades = world()
    report = compare(control, treatment, judgments(grades, judge="m", fingerprint="f1"), card=card(bars={"exact": 0.1}))
    assert any("lower bars than germane's own" in w for w in report.warnings)


def test_people_and_a_machine_together_are_not_people():
    control, treatment, grades = world()
    half = {key: grade for key, grade in grades.items() if key[0] < "q040"}
    rest = {key: grade for key, grade in grades.items() if key[0] >= "q040"}
    mixed = pa.concat_tables([judgments(half), judgments(rest, judge="m", fingerprint="f1")])
    report = compare(control, treatment, mixed, allow=["mixed-judges", "no-card"])
    assert not report.by_people
    assert report.answer.startswith("With 2 safeguards overridden: ")
    assert all(html.escape(line) in report._repr_html_() for line in report.overrides)
    assert compare(control, treatment, grades).by_people


def test_a_judge_may_not_mark_its_own_work():
    control, treatment, grades = world()
    table = judgments(grades, judge="m", fingerprint="f1")
    signalled = run(treatment, "new", models=["student-7"])
    with pytest.raises(Refusal, match="lineage") as refusal:
        compare(control, signalled, table, card=card(lineage=("student-7",)))
    assert refusal.value.override == "--allow lineage"
    with pytest.raises(Refusal, match="lineage"):
        compare(control, run(treatment, "new", models=["f1"]), table, card=card())
    assert compare(control, signalled, table, card=card()).overrides == ()
    insisted = compare(control, signalled, table, card=card(lineage=("student-7",)), allow=["lineage"])
    assert any("student-7" in line for line in insisted.overrides)


def test_a_pair_graded_twice_and_differently_is_an_error_and_the_same_twice_is_not():
    control, treatment, grades = world()
    other = {key: grade for key, grade in grades.items() if key == ("q000", "d00")}
    same = pa.concat_tables([judgments(grades), judgments(other, judge="human:y")])
    assert compare(control, treatment, same).delta == compare(control, treatment, grades).delta
    differs = {key: (grade + 1) % 5 for key, grade in other.items()}
    with pytest.raises(InputError, match="two different grades, first query 'q000' document 'd00'"):
        compare(control, treatment, pa.concat_tables([judgments(grades), judgments(differs, judge="human:y")]))


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"level": 95}, "level 95 is not between 0 and 1"),
        ({"allow": ["everything"]}, "--allow everything: there is no such override"),
        ({"metric": "sDCG"}, "sDCG@10"),
        ({"groups": "seller"}, "needs the documents"),
        ({"groups": "seller", "docs": pa.table({"doc_id": ["d00"]})}, "no such column"),
        ({"design": design({"other": "all", "more": "all"}, {"all": 9})}, "none of the design's 2 queries"),
        ({"scale": scales.THREE_LEVEL}, "scale"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(given, problem):
    control, treatment, grades = world()
    with pytest.raises(InputError, match=problem) as found:
        compare(control, treatment, grades, **given)
    assert "\n" not in str(found.value)


def test_judgments_of_other_queries_are_refused_by_example():
    control, treatment, _ = world()
    with pytest.raises(InputError, match="no query of the two runs has a judgment"):
        compare(control, treatment, {("other", "d00"): 1})


def test_one_query_is_not_an_experiment():
    with pytest.raises(InputError, match="has 1 query"):
        compare({"a": ["x", "y"]}, {"a": ["y", "x"]}, {("a", "x"): 1, ("a", "y"): 2})


# --- what stands around the estimate --------------------------------------------------------------------------------


def test_grades_and_exposure_are_shares_that_add_up():
    control, treatment, grades = world()
    docs = pa.table({"doc_id": [f"d{j:02d}" for j in range(11)], "title": ["t"] * 11, "seller": ["new"] * 3 + ["old"] * 8})
    report = compare(control, treatment, grades, docs=docs, groups="seller", metric="sDCG@5")
    assert sum(g.control.value for g in report.grades) == pytest.approx(1)
    assert sum(g.treatment.value for g in report.grades) == pytest.approx(1)
    assert sum(g.delta.value for g in report.grades) == pytest.approx(0)
    assert [g.label for g in report.grades] == [*reversed(SCALE.labels), "unjudged"]
    del treatment["q003"]
    *graded, empty = compare(control, treatment, grades, metric="sDCG@5").grades
    assert (empty.label, empty.control.value, empty.treatment.value) == ("empty page", 0, pytest.approx(1 / 80))
    assert sum(g.treatment.value for g in graded) == pytest.approx(79 / 80)
    assert {e.group for e in report.exposure} == {"new", "old", "(none)"}
    assert sum(e.control.value for e in report.exposure) == pytest.approx(1)
    assert sum(e.delta.value for e in report.exposure) == pytest.approx(0)


def test_winners_and_losers_show_both_lists_with_titles_and_grades():
    control, treatment, grades = world()
    docs = pa.table({"doc_id": [f"d{j:02d}" for j in range(12)], "title": [f"item {j}" for j in range(12)]})
    queries = pa.table({"query_id": sorted(control), "query": [f"text of {q}" for q in sorted(control)]})
    report = compare(control, treatment, grades, docs=docs, queries=queries, metric="sDCG@5")
    gains = [w.treatment - w.control for w in report.winners]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0 > report.losers[0].treatment - report.losers[0].control
    best = report.winners[0]
    assert best.query == f"text of {best.query_id}"
    assert [r.doc_id for r in best.control_results] == control[best.query_id][:5]
    assert [r.rank for r in best.treatment_results] == [1, 2, 3, 4, 5]
    assert all(r.relevance == grades[best.query_id, r.doc_id] for r in best.control_results)
    assert best.control_results[0].title == f"item {int(best.control_results[0].doc_id[1:])}"


def test_the_histogram_keeps_zeros_apart():
    counted = describe.histogram(np.array([0.0, 0.0, 0.2, -0.1]))
    assert (sum(counted.counts), counted.zeros) == (2, 2)
    assert counted.edges[0] == -counted.edges[-1] == -0.2
    assert describe.histogram(np.zeros(3)).zeros == 3


def test_variance_that_lies_between_strata_is_found_there():
    rng = np.random.default_rng(5)
    strata = np.array(["a"] * 500 + ["b"] * 500, dtype=object)
    noise = rng.normal(0, 1, 1000)
    sd, share = effects.between_share(noise + np.where(strata == "a", 2.0, 0.0), strata, {"a": 1, "b": 1})
    assert (sd**2, share) == pytest.approx((2, 0.5), abs=0.1)
    assert effects.between_share(noise, strata, {"a": 1, "b": 1})[1] == pytest.approx(0, abs=0.01)


def test_gains_that_depend_on_the_query_alone_lie_between_queries():
    control, treatment, _ = world()
    by_query = {(q, f"d{j:02d}"): i % 5 for i, q in enumerate(control) for j in range(12)}
    assert compare(control, treatment, by_query).variance.gains_between_queries == pytest.approx(1)
    _, _, grades = world()
    assert compare(control, treatment, grades).variance.gains_between_queries < 0.1


def test_the_pool_holds_each_document_once_with_both_ranks():
    runs = run({"a": ["x", "y"], "b": ["z"]}), run({"a": ["y", "w"]})
    grades = judgments({("a", "x"): 1, ("a", "y"): 4})
    built = pool.build(arms.read(*runs, grades), pa.array(["a", "b"]), k=2)
    rows = sorted(
        zip(built.query, built.docs.to_pylist(), built.control_rank, built.treatment_rank, built.relevance, strict=True)
    )
    assert rows == [(0, "w", 0, 2, -1), (0, "x", 1, 0, 1), (0, "y", 2, 1, 4), (1, "z", 1, 0, -1)]
    assert built.lists("control").relevance.tolist() == [1, 4, -1]
    assert built.lists("treatment").offsets.tolist() == [0, 2, 2]


def test_the_frame_is_sorted_whatever_the_order_of_rows():
    control, treatment, grades = world()
    table = design({q: "a" if q < "q040" else "b" for q in control}, {"a": 50, "b": 90})
    shuffled = table.take(np.random.default_rng(1).permutation(80))
    both = arms.read(run(control, "old"), run(treatment, "new"), judgments(grades))
    frames = [frame.build(both, t, frozenset()) for t in (table, shuffled)]
    assert frames[0].queries.equals(frames[1].queries)
    assert frames[0].strata.tolist() == frames[1].strata.tolist()
