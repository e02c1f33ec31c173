"""An audit inside an experiment: what it must be, and what `compare` makes of it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from test_experiment import SCALE, compare, design, judgments, run

from germane import cards, sampling
from germane.experiment import Audited
from germane.types import InputError, Refusal


def world(queries=120, docs=10, shown=6, seed=1, error=0.3, lean=0.0):
    """Two rankings of the same documents with true grades, and a judge who errs, and who leans towards the treatment."""
    rng = np.random.default_rng(seed)
    ids = [f"q{i:03d}" for i in range(queries)]
    truth = {(q, f"d{j:02d}"): int(rng.integers(0, 5)) for q in ids for j in range(docs)}
    control, treatment = {}, {}
    for q in ids:
        score = np.array([truth[q, f"d{j:02d}"] for j in range(docs)]) + rng.normal(0, 2, docs)
        other = score + rng.normal(0, 1, docs) + 0.15 * np.array([truth[q, f"d{j:02d}"] for j in range(docs)])
        control[q] = [f"d{j:02d}" for j in np.argsort(-score)[:shown]]
        treatment[q] = [f"d{j:02d}" for j in np.argsort(-other)[:shown]]
    judged = {}
    for (q, d), grade in truth.items():
        wrong = rng.random() < error
        leans = d in treatment[q] and d not in control[q] and rng.random() < lean
        judged[q, d] = int(np.clip(grade + wrong * rng.choice([-1, 1]) + leans, 0, 4))
    return control, treatment, truth, judged


def drawn(control, treatment, n, *, unit="queries", seed=1, designs=None, k=25):
    moved = sampling.pool(run(control).table, run(treatment).table, k=k, designs=designs).table
    return sampling.draw_audit(moved, n=n, unit=unit, seed=seed, designs=designs).table


def recounted(sample):
    """As if so many had been drawn."""
    place = sample.column_names.index("drawn")
    return sample.set_column(place, "drawn", pa.array([sample.num_rows] * sample.num_rows))


def said(sample, truth, judge="human:rater"):
    pairs = zip(sample["query_id"].to_pylist(), sample["doc_id"].to_pylist(), strict=True)
    return judgments({pair: truth[pair] for pair in pairs}, judge=judge)


def machine(judged):
    return judgments(judged, judge="model", fingerprint="f1", guide=SCALE.version)


def answer(control, treatment, judged, sample, answers, **given):
    given = {"allow": ["no-card"], "audit": Audited(sample, answers, "the audit")} | given
    return compare(control, treatment, machine(judged), **given)


@pytest.mark.parametrize("unit", ["queries", "documents"])
def test_an_audit_of_everything_is_what_people_say(unit):
    control, treatment, truth, judged = world()
    moved = sampling.pool(run(control).table, run(treatment).table).table
    every = len(moved["query_id"].unique()) if unit == "queries" else moved.num_rows
    sample = drawn(control, treatment, every, unit=unit)
    found = answer(control, treatment, judged, sample, said(sample, truth))
    people = compare(control, treatment, truth)
    assert found.delta.value == pytest.approx(people.delta.value, abs=1e-12)
    assert found.delta.se == pytest.approx(people.delta.se, rel=0.02)
    assert found.audit.unit == unit
    assert found.audit.pairs == moved.num_rows


def test_the_report_says_first_that_it_is_audited_and_what_either_alone_would_say():
    control, treatment, truth, judged = world()
    sample = drawn(control, treatment, 60)
    found = answer(control, treatment, judged, sample, said(sample, truth))
    alone = compare(control, treatment, machine(judged), allow=["no-card"])
    assert "Corrected by people's audit of 60 queries: " in found.answer
    assert "Not audited: " in alone.answer
    beside = {a.name: a.estimate for a in found.alternatives}
    assert beside["by the judge alone"].value == pytest.approx(alone.delta.value)
    assert found.audit.judge_only == beside["by the judge alone"]
    assert found.audit.people_only == beside["by people alone"]
    assert not any("without an audit" in w for w in found.warnings)
    assert any("without an audit" in w for w in alone.warnings)
    assert found.tipping_bias == pytest.approx(alone.tipping_bias)
    assert found.lift is None


def test_a_judge_who_leans_is_found_and_corrected():
    control, treatment, truth, judged = world(queries=400, lean=0.6)
    people = compare(control, treatment, truth)
    for unit, n in (("queries", 200), ("documents", 800)):
        sample = drawn(control, treatment, n, unit=unit)
        found = answer(control, treatment, judged, sample, said(sample, truth))
        assert found.audit.bias.low > 0
        assert found.delta.low <= people.delta.value <= found.delta.high
        assert not found.audit.judge_only.low <= people.delta.value <= found.audit.judge_only.high


def test_strata_of_the_design_are_audited_and_weighted():
    control, treatment, truth, judged = world(queries=200)
    strata = {f"q{i:03d}": "head" if i < 80 else "tail" for i in range(200)}
    designs = design(strata, {"head": 100, "tail": 10_000})
    sample = drawn(control, treatment, 200 if False else 190, designs=designs)
    found = answer(control, treatment, judged, sample, said(sample, truth), design=designs)
    people = compare(control, treatment, truth, design=designs)
    assert found.delta.value == pytest.approx(people.delta.value, abs=0.004)


def test_several_raters_of_a_pair_are_averaged_and_a_rater_is_not_counted_twice():
    control, treatment, truth, judged = world()
    sample = drawn(control, treatment, 60)
    one = said(sample, truth)
    both = pa.concat_tables([said(sample, {p: 4 for p in truth}, "human:b"), said(sample, {p: 0 for p in truth}, "human:a")])
    middle = answer(control, treatment, judged, sample, both)
    half = answer(control, treatment, judged, sample, said(sample, {p: 2 for p in truth}))
    assert middle.delta.value == pytest.approx(half.delta.value)
    twice = answer(control, treatment, judged, sample, pa.concat_tables([one, one]))
    assert twice.delta.value == answer(control, treatment, judged, sample, one).delta.value


def test_calibration_compares_gains_by_arm_and_rank():
    control, treatment, truth, _ = world(queries=300, error=1.0)
    lenient = {pair: min(grade + 1, 4) for pair, grade in truth.items()}
    sample = drawn(control, treatment, 150)
    rows = answer(control, treatment, lenient, sample, said(sample, truth)).calibration
    assert {(row.arm, row.ranks) for row in rows} == {(a, r) for a in ("control", "treatment") for r in ("1-3", "4-10")}
    assert all(row.difference.low > 0.1 for row in rows)
    assert all(row.difference.value == pytest.approx(row.expected.value - row.people.value) for row in rows)


@pytest.mark.simulation
@pytest.mark.parametrize(("unit", "n"), [("queries", 80), ("documents", 300)])
def test_the_corrected_interval_covers_what_people_would_say(unit, n, repetitions):
    """A leaning judge, new queries each time. Monte Carlo tolerance: 4 sqrt(0.95 x 0.05 / times)."""
    times = repetitions(reduced=30, whole=600)
    control, treatment, truth, judged = world(queries=4000, lean=0.5, docs=6, shown=4)
    whole = compare(control, treatment, truth).delta.value
    rng, hits, alone = np.random.default_rng(3), 0, 0
    ids = sorted(control)
    for seed in range(times):
        kept = [ids[i] for i in rng.choice(4000, 300, replace=False)]
        c, t = ({q: arm[q] for q in kept} for arm in (control, treatment))
        sample = drawn(c, t, n, unit=unit, seed=seed)
        graded = {pair: grade for pair, grade in judged.items() if pair[0] in c}
        found = answer(c, t, graded, sample, said(sample, truth))
        hits += found.delta.low <= whole <= found.delta.high
        alone += found.audit.judge_only.low <= whole <= found.audit.judge_only.high
    assert hits / times == pytest.approx(0.96, abs=0.02 + 4 * np.sqrt(0.95 * 0.05 / times))  # 300 of 4,000: a little wide
    assert alone / times < 0.7


# --- what is no audit -------------------------------------------------------------------------------------------------


def parts(**options):
    control, treatment, truth, judged = world(**options)
    sample = drawn(control, treatment, 60)
    return control, treatment, truth, judged, sample


def test_golden_pairs_are_no_audit():
    control, treatment, truth, judged, sample = parts()
    gold = said(sample, truth)
    checked = machine(
        {pair: judged[pair] for pair in zip(*gold.select(["query_id", "doc_id"]).to_pydict().values(), strict=True)}
    )
    outcome = ["label"] * gold.num_rows
    card = cards.build(gold.append_column("outcome", [outcome]), checked.append_column("outcome", [outcome]), scale=SCALE)
    with pytest.raises(Refusal, match=r"golden set that the judge was checked on.*--allow golden-audit"):
        answer(control, treatment, judged, sample, gold, card=card, allow=["failed-card", "no-card"])
    report = answer(control, treatment, judged, sample, gold, card=card, allow=["failed-card", "no-card", "golden-audit"])
    assert any("golden-audit" in o for o in report.overrides)


@pytest.mark.parametrize("unit", ["queries", "documents"])
def test_an_audit_into_which_golden_pairs_were_put_is_refused_and_a_blind_one_that_met_some_is_not(unit):
    control, treatment, truth, judged = world()
    sample = drawn(control, treatment, 60 if unit == "queries" else 200, unit=unit)
    answers = said(sample, truth)
    gold = answers.slice(0, answers.num_rows // 2)
    ids = zip(*gold.select(["query_id", "doc_id"]).to_pydict().values(), strict=True)
    outcome = ["label"] * gold.num_rows
    checked = machine({pair: judged[pair] for pair in ids}).append_column("outcome", [outcome])
    card = cards.build(gold.append_column("outcome", [outcome]), checked, scale=SCALE)
    allowed = ["failed-card", "no-card"]
    with pytest.raises(Refusal, match=rf"of {answers.num_rows:,} pairs of the audit are of the golden set.*they were put in"):
        answer(control, treatment, judged, sample, answers, card=card, allow=allowed)
    moved = sampling.pool(run(control).table, run(treatment).table, k=25).table
    keys = cards.pair_keys(moved)
    by_chance = replace(card, gold_pairs=keys[: len(keys) // 3])  # sorted by hash: a third at random
    assert set(by_chance.gold_pairs) & set(cards.pair_keys(answers))
    answer(control, treatment, judged, sample, answers, card=by_chance, allow=allowed)


def test_pairs_that_did_not_move_here_are_no_audit():
    control, treatment, truth, judged, sample = parts()
    other = sample.set_column(1, "doc_id", pa.array([f"elsewhere{i}" for i in range(sample.num_rows)]))
    with pytest.raises(InputError, match=r"not among the documents that moved in this experiment.*golden pairs are no audit"):
        answer(control, treatment, judged, other, said(sample, truth))


def test_odds_of_another_draw_are_refused():
    control, treatment, truth, judged, sample = parts()
    fewer = recounted(sample.filter(pa.compute.is_in(sample["query_id"], sample["query_id"].unique()[:40])))
    with pytest.raises(InputError, match=r"40 of 1.. queries that moved, and odds of .*was it drawn for these runs"):
        answer(control, treatment, judged, fewer, said(sample, truth))
    by_document = drawn(control, treatment, 200, unit="documents")
    wrong = by_document.set_column(4, "inclusion_probability", pa.array(np.full(by_document.num_rows, 0.01)))
    with pytest.raises(InputError, match=r"by the audit's odds .* documents moved in this experiment, and"):
        answer(control, treatment, judged, wrong, said(by_document, truth))


def test_a_query_audited_in_part_is_refused():
    control, treatment, truth, judged, sample = parts()
    with pytest.raises(InputError, match="was audited on"):
        answer(control, treatment, judged, recounted(sample.slice(1)), said(sample, truth))
    with pytest.raises(InputError, match=r"pairs, and .* were drawn: every pair counts"):
        answer(control, treatment, judged, sample.slice(1), said(sample, truth))


def test_drawn_pairs_without_an_answer_are_refused_and_with_an_override_count_as_the_judge_said():
    control, treatment, truth, judged, sample = parts()
    some = said(sample, truth).slice(60)
    with pytest.raises(Refusal, match=r"60 of .* drawn pairs have no answer.*--allow audit-gaps"):
        answer(control, treatment, judged, sample, some)
    report = answer(control, treatment, judged, sample, some, allow=["no-card", "audit-gaps"])
    assert any("no answer" in note for note in report.audit.notes)
    few = answer(control, treatment, judged, sample, said(sample, truth).slice(2))
    assert "2 drawn pairs have no answer" in few.audit.notes[-1]
    with pytest.raises(InputError, match=r"none of the .* drawn pairs has an answer"):
        answer(control, treatment, judged, sample, some.slice(0, 0))


def test_machines_do_not_audit_machines():
    control, treatment, truth, judged, sample = parts()
    with pytest.raises(InputError, match="an audit is judged by people"):
        answer(control, treatment, judged, sample, said(sample, truth, judge="model2"))


def test_two_grades_of_one_rater_two_units_and_odds_of_zero_are_refused():
    control, treatment, truth, judged, sample = parts()
    twice = pa.concat_tables([said(sample, truth), said(sample, {p: (g + 1) % 5 for p, g in truth.items()})])
    with pytest.raises(InputError, match="two different grades in the audit"):
        answer(control, treatment, judged, sample, twice)
    zero = sample.set_column(4, "inclusion_probability", pa.array(np.zeros(sample.num_rows)))
    with pytest.raises(InputError, match=r"row 1: inclusion probability 0\.0"):
        answer(control, treatment, judged, zero, said(sample, truth))
    mixed = sample.set_column(2, "unit", pa.array(["queries"] * (sample.num_rows - 1) + ["documents"]))
    with pytest.raises(InputError, match="unit is"):
        answer(control, treatment, judged, mixed, said(sample, truth))


def test_an_audit_corrects_sums_over_documents_only_and_one_estimator_at_a_time():
    control, treatment, truth, judged, sample = parts()
    with pytest.raises(InputError, match="no sum over documents"):
        answer(control, treatment, judged, sample, said(sample, truth), metric="nDCG@5")
    with pytest.raises(InputError, match="two estimators"):
        answer(control, treatment, judged, sample, said(sample, truth), clusters="user")


def test_expected_gains_are_corrected_as_expected_gains():
    """The gains that are corrected are the gains that are compared: an audit of all documents gives people's answer."""
    control, treatment, truth, judged = world(queries=200)
    moved = sampling.pool(run(control).table, run(treatment).table).table
    probs = [[0.04 + 0.8 * (grade == r) for grade in range(5)] for r in judged.values()]
    table = machine(judged).append_column("probs", pa.array(probs, pa.list_(pa.float32())))
    people = compare(control, treatment, truth)
    for unit, n in (("documents", moved.num_rows), ("documents", moved.num_rows // 2), ("queries", 190)):
        sample = drawn(control, treatment, n, unit=unit)
        given = {"allow": ["no-card"], "audit": Audited(sample, said(sample, truth)), "expected": True}
        found = compare(control, treatment, table, **given)
        assert found.delta.value == pytest.approx(people.delta.value, abs=1e-9 if n == moved.num_rows else 0.01)
        assert found.audit.judge_only.value == pytest.approx(0.8 * compare(control, treatment, judged).delta.value, abs=1e-5)


def test_a_design_drawn_by_traffic_takes_no_audit():
    control, treatment, truth, judged = world()
    ids = sorted(control)
    by_traffic = pa.table(
        {
            "query_id": ids,
            "stratum": ["all"] * 120,
            "inclusion_probability": [0.5] * 120,
            "population": [240] * 120,
            "traffic": [10] * 120,
            "stratum_traffic": [2400] * 120,
            "unit": ["searches"] * 120,
        }
    )
    sample = drawn(control, treatment, 60)
    with pytest.raises(InputError, match="weighed by distinct queries"):
        answer(control, treatment, judged, sample, said(sample, truth), design=by_traffic)


def test_people_who_saw_another_guide_answered_another_question():
    control, treatment, truth, judged, sample = parts()
    answers = said(sample, truth).drop_columns(["guide_version"])
    answers = answers.append_column("guide_version", pa.array(["another"] * sample.num_rows))
    with pytest.raises(Refusal, match=r"audit was judged under guide another.*--allow mixed-guides"):
        answer(control, treatment, judged, sample, answers)


def test_a_sample_without_its_columns_or_with_a_pair_twice_is_refused():
    control, treatment, truth, judged, sample = parts()
    with pytest.raises(InputError, match="no column 'inclusion_probability'"):
        answer(control, treatment, judged, sample.drop_columns(["inclusion_probability"]), said(sample, truth))
    with pytest.raises(InputError, match="more than once"):
        answer(control, treatment, judged, recounted(pa.concat_tables([sample, sample])), said(sample, truth))


def test_levels_beside_an_audited_difference_say_that_they_are_the_judges():
    control, treatment, truth, judged, sample = parts()
    report = answer(control, treatment, judged, sample, said(sample, truth))
    assert "not corrected" in report.control.caveat
    copied = answer(control, treatment, judged, sample, said(sample, judged))
    assert (copied.audit.bias.value, copied.audit.bias.se) == pytest.approx((0, 0), abs=1e-12)


def test_calibration_leaves_out_what_nobody_answered():
    control, treatment, truth, _ = world(queries=300, error=1.0)
    lenient = {pair: min(grade + 1, 4) for pair, grade in truth.items()}
    sample = drawn(control, treatment, 150)
    given = {"allow": ["no-card", "audit-gaps"]}
    whole = answer(control, treatment, lenient, sample, said(sample, truth), **given).calibration
    half = answer(control, treatment, lenient, sample, said(sample, truth).slice(sample.num_rows // 2), **given).calibration
    assert sum(row.n for row in half) < 0.6 * sum(row.n for row in whole)
    assert all(row.difference.value > 0.1 for row in half)  # as far off as in the whole: no answer is not agreement
