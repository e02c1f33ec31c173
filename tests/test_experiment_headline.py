"""Which estimator answers: by traffic, adjusted, clustered, unpaired, post-stratified, by expected gains."""

import numpy as np
import pyarrow as pa
import pytest
from test_experiment import SCALE, compare, design, judgments, run, world

import germane
from germane import sampling
from germane.report import html as report_html
from germane.stats.means import stratified_difference
from germane.stats.moments import Moments
from germane.types import InputError, Refusal


def beside(report):
    return {a.name: a.estimate for a in report.alternatives}


def with_columns(table, **columns):
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def designed(queries=80, **columns):
    strata = {f"q{i:03d}": "head" if i < 30 else "tail" for i in range(queries)}
    return with_columns(design(strata, {"head": 100, "tail": 900}), **columns)


def differences(control, treatment, grades):
    """Each query's difference, sorted by query: reports of one query each would do, and this is quicker."""
    weights = 1 / np.log2(np.arange(2, 27))
    weights /= weights.sum()

    def level(arm, q):
        return sum(w * SCALE.gains[grades[q, d]] for w, d in zip(weights, arm[q], strict=False))

    return np.array([level(treatment, q) - level(control, q) for q in sorted(control)])


def test_by_traffic_a_query_counts_as_often_as_it_is_asked():
    control, treatment, grades = world()
    traffic = np.arange(1, 81)
    totals = np.where(np.arange(80) < 30, 3000, 30_000)
    report = compare(control, treatment, grades, design=designed(traffic=traffic, stratum_traffic=totals), by="traffic")
    d = differences(control, treatment, grades)
    head, tail = (np.average(d[rows], weights=traffic[rows]) for rows in (slice(0, 30), slice(30, 80)))
    assert report.delta.value == pytest.approx((3000 * head + 30_000 * tail) / 33_000)
    assert "by traffic" in report.delta.method
    assert beside(report)["by distinct queries"].value == pytest.approx(
        compare(control, treatment, grades, design=designed()).delta.value
    )
    assert any("the headline is by traffic" in note for note in report.notes)
    assert "over 33,000 searches by a sample of 80" in report.answer
    assert "not reliable: by traffic these 80 queries weigh like" in report.delta.caveat


def test_a_sample_drawn_by_traffic_stands_for_traffic_unless_asked_otherwise():
    """Sure queries stand for their own traffic, the others of the stratum for equal parts of the rest."""
    control, treatment, grades = world()
    ids = sorted(control)
    traffic = np.concatenate([[500, 300], np.arange(1, 79)])
    stratum_traffic, left = 20_000, 20_000 - 800
    odds = np.concatenate([[1.0, 1.0], 78 * np.arange(1, 79) / left])
    drawn = pa.table(
        {
            "query_id": ids,
            "stratum": ["all"] * 80,
            "inclusion_probability": odds,
            "population": [400] * 80,
            "traffic": traffic,
            "stratum_traffic": [stratum_traffic] * 80,
            "unit": [sampling.TRAFFIC["impressions"]] * 80,
        }
    )
    d = differences(control, treatment, grades)
    report = compare(control, treatment, grades, design=drawn)
    assert report.delta.value == pytest.approx((500 * d[0] + 300 * d[1] + left * d[2:].mean()) / stratum_traffic)
    by_query = compare(control, treatment, grades, design=drawn, by="queries")
    assert by_query.delta.value == pytest.approx(np.average(d, weights=1 / odds))
    assert "by distinct queries" in by_query.delta.method


def test_adjustment_narrows_the_interval_by_what_was_known_before():
    control, treatment, grades = world()
    rng = np.random.default_rng(4)
    d = differences(control, treatment, grades)
    past = d + rng.normal(0, d.std() / 3, 80)
    report = compare(control, treatment, grades, design=designed(past=past, past_mean=np.zeros(80)), adjust="past")
    plain = compare(control, treatment, grades, design=designed())
    assert report.delta.se < 0.5 * plain.delta.se
    assert beside(report)["without adjusting for past"].value == pytest.approx(plain.delta.value)
    noise = rng.normal(size=80)
    useless = compare(control, treatment, grades, design=designed(past=noise, past_mean=np.zeros(80)), adjust="past")
    assert useless.delta.se > 0.9 * plain.delta.se


def test_clusters_are_what_was_sampled():
    control, treatment, grades = world()
    alone = compare(control, treatment, grades, design=designed(user=[f"u{i}" for i in range(80)]), clusters="user")
    plain = compare(control, treatment, grades, design=designed())
    assert (alone.delta.value, alone.delta.se) == pytest.approx((plain.delta.value, plain.delta.se))
    pairs = compare(control, treatment, grades, design=designed(user=[f"u{i // 2}" for i in range(80)]), clusters="user")
    assert pairs.delta.n == 40
    assert beside(pairs)["as if queries were independent"].se == pytest.approx(plain.delta.se)


def test_unpaired_arms_are_two_samples_and_what_a_join_loses_is_said():
    control, treatment, grades = world()
    ids = sorted(control)
    first, second = ({q: arm[q] for q in part} for arm, part in ((control, ids[:50]), (treatment, ids[30:])))
    report = compare(first, second, grades, unpaired=True)
    d = differences({q: control[q] for q in ids}, {q: [] for q in ids}, grades)
    t = differences({q: [] for q in ids}, {q: treatment[q] for q in ids}, grades)
    assert report.delta.value == pytest.approx(t[30:].mean() + d[:50].mean())
    assert "unpaired" in report.delta.method
    assert report.by_segment == report.grades == report.winners == ()
    assert report.differences is report.variance is None
    weights = 1 / np.log2(np.arange(2, 27))
    levels = [sum(w * SCALE.gains[grades[q, d]] for w, d in zip(weights, control[q], strict=False)) for q in ids[:50]]
    assert report.control.value == pytest.approx(np.mean(levels) / weights.sum())
    assert report.treatment.value - report.control.value == pytest.approx(report.delta.value)
    assert "Query by query" not in report_html(report)
    assert any("would lose 75% of the queries" in note for note in report.notes)
    assert report.delta.se > compare(control, treatment, grades).delta.se


def test_an_old_random_sample_is_post_stratified_by_its_population():
    control, treatment, grades = world()
    population = pa.table(
        {
            "query_id": [f"q{i:03d}" for i in range(1000)],
            "query": [f"words {i}" for i in range(1000)],
            "segment": ["head" if i < 30 else "tail" for i in range(1000)],
        }
    )
    rank = lambda lists: {q: {d: float(-i) for i, d in enumerate(docs)} for q, docs in lists.items()}  # noqa: E731
    table = {}
    for (q, doc), grade in grades.items():
        table.setdefault(q, {})[doc] = SCALE.labels[grade]
    report = germane.compare(rank(control), rank(treatment), table, scale="five-level", population=population)
    d = differences(control, treatment, grades)
    assert report.delta.value == pytest.approx(0.03 * d[:30].mean() + 0.97 * d[30:].mean())
    assert "post-stratified" in report.delta.method
    assert "population" in [file.role for file in report.inputs]
    assert beside(report)["without post-stratification"].value == pytest.approx(d.mean())
    with pytest.raises(InputError, match="was sampled and is not in the population"):
        germane.compare(rank(control), rank(treatment), table, scale="five-level", population=population.slice(500))
    strata = {q: "a" if q < "q010" else "b" for q in control}
    given = {"scale": "five-level", "population": population, "design": by_traffic()}
    with pytest.raises(InputError, match="drawn by searches: --population is for"):
        germane.compare(rank(control), rank(treatment), table, **given)
    with pytest.raises(InputError, match="the design has strata already"):
        germane.compare(
            rank(control),
            rank(treatment),
            table,
            scale="five-level",
            population=population,
            design=design(strata, {"a": 100, "b": 200}),
        )


def test_expected_gains_stand_beside_the_likeliest_grades_and_can_be_the_headline():
    control, treatment, grades = world()
    sure = judgments(grades)
    probs = [[0.1 + 0.5 * (g == r) for g in range(5)] for r in grades.values()]
    table = sure.append_column("probs", pa.array(probs, pa.list_(pa.float32())))
    report = compare(control, treatment, table)
    expected = compare(control, treatment, table, expected=True)
    # each expected gain is 0.25 + 0.5 gain: the constant cancels where both pages are full
    assert expected.delta.value == pytest.approx(0.5 * report.delta.value, rel=1e-5)
    assert beside(report)["by the judge's expected gains"].value == pytest.approx(expected.delta.value)
    assert beside(expected)["by the judge's likeliest grades"].value == pytest.approx(report.delta.value)
    assert expected.parameters["gains"] == "expected"
    with pytest.raises(InputError, match="not every judgment has probabilities"):
        compare(control, treatment, sure, expected=True)
    doubled = compare(control, treatment, table, expected=True, metric="sDCG(gain=[0,1,2,3,8])@25")
    exact = compare(control, treatment, sure, metric="sDCG(gain=[0,1,2,3,8])@25")
    assert doubled.delta.value == pytest.approx(0.5 * exact.delta.value, rel=1e-5)  # by the metric's own gains
    with pytest.raises(InputError, match="no sum over ranks"):
        compare(control, treatment, table, expected=True, metric="nDCG@5")


@pytest.mark.parametrize(
    ("choices", "columns", "said"),
    [
        ({"by": "weight"}, {}, "expected queries"),
        ({"by": "traffic"}, {}, "no column 'traffic'"),
        ({"adjust": "past"}, {}, "no column 'past'"),
        ({"adjust": "past"}, {"past": [1.0] * 80}, "its mean over each stratum's whole population"),
        ({"adjust": "past"}, {"past": ["x"] * 80, "past_mean": [1.0] * 80}, "must hold numbers"),
        ({"adjust": "past"}, {"past": [None] + [1.0] * 79, "past_mean": [1.0] * 80}, "has no value for query 'q000'"),
        ({"clusters": "user"}, {}, "no column 'user'"),
        ({"clusters": "user", "unpaired": True}, {"user": ["a"] * 80}, "two estimators"),
    ],
)
def test_what_cannot_be_estimated_is_said(choices, columns, said):
    control, treatment, grades = world()
    with pytest.raises(InputError, match=said):
        compare(control, treatment, grades, design=designed(**columns), **choices)


def test_an_estimator_needs_a_design():
    control, treatment, grades = world()
    with pytest.raises(InputError, match="needs a design"):
        compare(control, treatment, grades, by="traffic")


def test_the_plain_headline_is_the_stratified_difference_and_has_nothing_beside_it():
    control, treatment, grades = world()
    report = compare(control, treatment, grades, design=designed())
    d = differences(control, treatment, grades)
    parts = {"head": Moments.of(d[:30]), "tail": Moments.of(d[30:])}
    assert report.delta.value == pytest.approx(stratified_difference(parts, {"head": 100, "tail": 900}).value)
    assert report.alternatives == ()
    assert run({"q": ["a"]}).table.num_rows == 1


def test_segments_are_adjusted_as_asked_and_a_way_that_does_not_exist_is_refused():
    control, treatment, grades = world()
    given = {"design": designed(interest=["a", "b"] * 40, segment=["x"] * 40 + ["y"] * 40)}
    q = {m: [e.q for e in compare(control, treatment, grades, multiple=m, **given).by_segment] for m in ("bh", "by")}
    assert all(late >= early for early, late in zip(q["bh"], q["by"], strict=True) if early is not None)
    assert q["bh"] != q["by"]
    gated = compare(control, treatment, grades, multiple="hierarchical", **given)
    assert "inside the dimensions" in gated.parameters["multiple comparisons"]
    with pytest.raises(InputError, match="expected one of bh, by, hierarchical"):
        compare(control, treatment, grades, multiple="holm")


def test_for_the_logs_own_queries_what_was_judged_is_not_in_doubt():
    control, treatment, grades = world()
    plain = compare(control, treatment, grades, design=designed())
    finite = compare(control, treatment, grades, design=designed(), finite=True)
    assert finite.delta.value == plain.delta.value
    assert finite.delta.se < plain.delta.se
    assert "finite population" in finite.delta.method
    assert beside(finite)["for queries to come"] == plain.delta
    with pytest.raises(InputError, match="--finite needs a design"):
        compare(control, treatment, grades, finite=True)
    with pytest.raises(InputError, match="goes with the plain difference"):
        compare(control, treatment, grades, finite=True, unpaired=True)


def test_a_covariate_that_is_the_outcome_or_of_another_population_is_refused():
    control, treatment, grades = world()
    d = differences(control, treatment, grades)
    with pytest.raises(InputError, match="must be known before the experiment"):
        compare(control, treatment, grades, design=designed(past=d, past_mean=np.full(80, d.mean())), adjust="past")
    noise = np.random.default_rng(1).normal(size=80)
    with pytest.raises(InputError, match="standard errors apart, as no random sample is"):
        compare(control, treatment, grades, design=designed(past=noise, past_mean=np.full(80, 5.0)), adjust="past")
    as_text = designed(past=[str(x) for x in noise], past_mean=["0"] * 80)  # a CSV's columns are text
    number = designed(past=noise, past_mean=np.zeros(80))
    found = [compare(control, treatment, grades, design=table, adjust="past").delta for table in (as_text, number)]
    assert found[0] == found[1]


def test_levels_are_of_the_estimand_that_was_asked_for():
    control, treatment, grades = world()
    traffic, totals = np.arange(1, 81), np.where(np.arange(80) < 30, 3000, 30_000)
    report = compare(control, treatment, grades, design=designed(traffic=traffic, stratum_traffic=totals), by="traffic")
    assert report.treatment.value - report.control.value == pytest.approx(report.delta.value)


def test_a_design_whose_queries_nobody_answered_is_refused():
    control, treatment, grades = world()
    strata = {f"q{i:03d}": "all" for i in range(400)}
    with pytest.raises(Refusal, match=r"320 of 400 queries of the design have no results.*--allow absent"):
        compare(control, treatment, grades, design=design(strata, {"all": 1000}))
    report = compare(control, treatment, grades, design=design(strata, {"all": 1000}), allow=["absent"])
    assert any("absent" in override for override in report.overrides)
    alone = compare({q: control[q] for q in sorted(control)[:50]}, treatment, grades, unpaired=True)
    assert alone.overrides == ()


def test_strata_that_sort_queries_by_their_own_outcome_are_refused():
    control, treatment, grades = world()
    d = differences(control, treatment, grades)
    ids = sorted(control)
    strata = {q: "up" if x > 0 else "down" for q, x in zip(ids, d, strict=True)}
    with pytest.raises(Refusal, match=r"learned on this experiment's own outcomes.*--allow learned-strata"):
        compare(control, treatment, grades, design=design(strata, {"up": 500, "down": 500}))


def test_probabilities_that_are_none_are_refused():
    control, treatment, grades = world()
    for row in ([0.5, 0.5, 0.5, 0.0, 0.0], [2.5, -0.5, -1.0, 0.0, 0.0]):
        table = judgments(grades).append_column("probs", pa.array([row] * len(grades), pa.list_(pa.float32())))
        with pytest.raises(InputError, match="1 in sum"):
            compare(control, treatment, table, expected=True)


@pytest.mark.parametrize("asked", [{"clusters": "user"}, {"adjust": "past"}, {"by": "traffic"}])
def test_a_stratum_of_one_query_keeps_its_weight_in_every_estimator(asked):
    control, treatment, grades = world()
    strata = {f"q{i:03d}": "alone" if i == 0 else "head" if i < 30 else "tail" for i in range(80)}
    table = design(strata, {"alone": 5, "head": 95, "tail": 900})
    noise = np.random.default_rng(2).normal(size=80)
    columns = {"user": [f"u{i}" for i in range(80)], "past": noise, "past_mean": np.zeros(80)}
    columns |= {
        "traffic": np.full(80, 2),
        "stratum_traffic": [{"alone": 10, "head": 190, "tail": 1800}[strata[q]] for q in sorted(strata)],
    }
    report = compare(control, treatment, grades, design=with_columns(table, **columns), **asked)
    assert report.delta.se > 0
    assert any("one query" in warning for warning in report.warnings)


def by_traffic(queries=80):
    """A design drawn in proportion to traffic, without a query that was sure to be drawn."""
    traffic = np.full(queries, 10)
    columns = {"stratum": ["all"] * queries, "inclusion_probability": [0.1] * queries, "population": [queries * 10] * queries}
    columns |= {"traffic": traffic, "stratum_traffic": [queries * 100] * queries, "unit": ["searches"] * queries}
    return pa.table({"query_id": [f"q{i:03d}" for i in range(queries)], **columns})


@pytest.mark.parametrize("asked", [{"adjust": "past"}, {"finite": True}])
def test_a_design_drawn_by_traffic_is_not_read_as_one_of_distinct_queries(asked):
    control, treatment, grades = world()
    table = with_columns(by_traffic(), past=np.random.default_rng(1).normal(size=80), past_mean=np.zeros(80))
    assert compare(control, treatment, grades, design=table).delta.se > 0
    with pytest.raises(InputError, match="drawn by searches"):
        compare(control, treatment, grades, design=table, **asked)


@pytest.mark.parametrize("asked", [{"unpaired": True}, {"by": "traffic"}])
def test_a_level_that_rests_on_unjudged_documents_says_so_in_every_estimator(asked):
    control, treatment, grades = world()
    holes = {pair: grade for i, (pair, grade) in enumerate(grades.items()) if i % 40}
    table = designed(traffic=np.full(80, 2), stratum_traffic=np.where(np.arange(80) < 30, 200, 1800))
    report = compare(control, treatment, holes, design=table, allow=["unjudged"], **asked)
    assert report.control.caveat.startswith("at least")
    assert report.treatment.caveat.startswith("at least")
