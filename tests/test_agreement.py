"""Agreement: by hand, against scikit-learn, scipy and statsmodels, as properties, on published labels, and by simulation."""

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import cohen_kappa_score, f1_score, precision_score, recall_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from germane.stats.agreement import (
    agreement_within,
    cohen_kappa,
    confusion,
    exact_agreement,
    f1,
    false_relevant_rate,
    krippendorff_alpha,
    macro_f1,
    precision,
    recall,
    specificity,
)
from germane.stats.clustered import Undefined, share
from germane.stats.ranks import kendall_tau_b, spearman_rho
from germane.types import InputError


def alpha(gold, other, **options):
    return krippendorff_alpha(np.column_stack([gold, other]), **options)


STATISTICS = {
    "exact": exact_agreement,
    "within one": agreement_within,
    "precision": partial(precision, grade=1),
    "recall": partial(recall, grade=1),
    "false relevant": partial(false_relevant_rate, threshold=2),
    "specificity": partial(specificity, threshold=2),
    "F1": partial(f1, grade=1),
    "macro F1": macro_f1,
    "kappa": cohen_kappa,
    "linear kappa": partial(cohen_kappa, distance="linear"),
    "quadratic kappa": partial(cohen_kappa, distance="quadratic"),
    "nominal alpha": partial(alpha, difference="nominal"),
    "ordinal alpha": alpha,
    "interval alpha": partial(alpha, difference="interval"),
    "tau-b": kendall_tau_b,
    "rho": spearman_rho,
}
SYMMETRIC = sorted(set(STATISTICS) - {"precision", "recall", "false relevant", "specificity"})
every_statistic = pytest.mark.parametrize("name", STATISTICS)


def raters(n=400, seed=3, queries=20):
    """Two raters' grades 0 to 3 of n pairs, the query of each, and a weight."""
    rng = np.random.default_rng(seed)
    query = rng.integers(queries, size=n)
    gold = rng.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1])
    ease = rng.uniform(0.2, 0.95, size=queries)
    other = np.where(rng.random(n) < ease[query], gold, rng.integers(4, size=n))
    return gold, other, query, rng.choice([1.0, 2.0, 5.0], size=n)


@st.composite
def pairs_of_grades(draw):
    n = draw(st.integers(4, 40))
    grade = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    return np.array(draw(grade)), np.array(draw(grade)), np.array(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))


def value_or_none(statistic, *arguments, **options):
    try:
        return statistic(*arguments, **options)
    except Undefined:
        return None


# --- by hand --------------------------------------------------------------------------------------------------------


def test_kappa_of_a_table_worked_by_hand():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement 0.7, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    gold, other = np.repeat([1, 1, 0, 0], [20, 5, 10, 15]), np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert cohen_kappa(gold, other).value == pytest.approx(0.4)
    assert exact_agreement(gold, other).value == pytest.approx(0.7)
    assert precision(gold, other, grade=1).value == pytest.approx(20 / 30)
    assert recall(gold, other, grade=1).value == pytest.approx(20 / 25)
    assert f1(gold, other, grade=1).value == pytest.approx(40 / 55)
    assert false_relevant_rate(gold, other, threshold=1).value == pytest.approx(10 / 25)
    assert confusion(gold, other).tolist() == [[15, 10], [5, 20]]


def test_alpha_of_krippendorffs_own_example():
    """Four observers, twelve units, missing answers. Source: Krippendorff (2011), Computing alpha-reliability, section C."""
    gone = np.nan
    ratings = np.array([
        [1, 2, 3, 3, 2, 1, 4, 1, 2, gone, gone, gone],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, gone, 3],
        [gone, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, gone],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, gone],
    ]).T  # fmt: skip
    assert krippendorff_alpha(ratings, difference="nominal").value == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(ratings, difference="ordinal").value == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(ratings, difference="interval").value == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha(ratings).n == 11  # the last unit has one rating, and nothing to agree with


def test_alpha_knows_how_far_apart_the_values_are():
    near, far = np.array([[0, 0], [1, 1], [1, 2], [9, 9]]), np.array([[0, 0], [1, 1], [1, 9], [9, 9]])
    assert krippendorff_alpha(near, difference="interval").value > krippendorff_alpha(far, difference="interval").value + 0.3


def test_the_variance_of_a_share_is_that_of_the_queries_not_of_the_pairs():
    """Ten queries of ten pairs, each wholly right or wholly wrong, are ten answers: var = p (1 - p) / 9."""
    hit, query = np.repeat([1, 1, 1, 1, 1, 1, 1, 0, 0, 0], 10), np.repeat(np.arange(10), 10)
    e = share(hit, clusters=query)
    assert e.se == pytest.approx(np.sqrt(0.7 * 0.3 / 9))
    assert e.df == 9
    assert e.high - e.low > 2.5 * (share(hit).high - share(hit).low)


# --- oracles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_scikit_learn(seed, weighted):
    gold, other, _, w = raters(seed=seed)
    mine, theirs = ({"weights": w}, {"sample_weight": w}) if weighted else ({}, {})
    for distance, name in (("nominal", None), ("linear", "linear"), ("quadratic", "quadratic")):
        expected = cohen_kappa_score(gold, other, weights=name, **theirs)
        assert cohen_kappa(gold, other, distance=distance, **mine).value == pytest.approx(expected, abs=1e-12)
    assert macro_f1(gold, other, **mine).value == pytest.approx(f1_score(gold, other, average="macro", **theirs), abs=1e-12)
    for statistic, oracle in ((precision, precision_score), (recall, recall_score), (f1, f1_score)):
        expected = oracle(gold, other, average=None, **theirs)
        found = [statistic(gold, other, grade=grade, **mine).value for grade in range(4)]
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distinct", [4, 10_000])
@pytest.mark.parametrize("seed", range(3))
def test_rank_correlations_are_those_of_scipy(seed, distinct):
    rng = np.random.default_rng(seed)
    x = rng.integers(distinct, size=150)
    y = np.where(rng.random(150) < 0.5, x, rng.integers(distinct, size=150))
    assert kendall_tau_b(x, y).value == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)
    assert spearman_rho(x, y).value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("statistic", [kendall_tau_b, spearman_rho])
@pytest.mark.parametrize("distinct", [4, 10_000])
def test_an_interval_of_a_rank_correlation_leaves_out_each_query_once(statistic, distinct):
    rng = np.random.default_rng(1)
    x, query, w = rng.integers(distinct, size=60), rng.integers(12, size=60), rng.integers(1, 4, size=60)
    y = np.where(rng.random(60) < 0.5, x, rng.integers(distinct, size=60))
    oracle = kendalltau if statistic is kendall_tau_b else spearmanr
    times = partial(np.repeat, repeats=w)
    whole = oracle(times(x), times(y)).statistic
    left = [oracle(times(x)[times(query) != c], times(y)[times(query) != c]).statistic for c in range(12)]
    e = statistic(x, y, clusters=query, weights=w)
    assert e.value == pytest.approx(whole, abs=1e-12)
    assert e.se == pytest.approx(np.sqrt(11 / 12 * np.sum((np.array(left) - whole) ** 2)), abs=1e-12)


def test_many_rows_of_one_query_go_in_pieces(monkeypatch):
    from germane.stats import ranks

    rng = np.random.default_rng(0)
    x, y, query = rng.random(80), rng.random(80), np.repeat([0, 1, 2], [60, 10, 10])
    whole = kendall_tau_b(x, y, clusters=query), spearman_rho(x, y, clusters=query)
    monkeypatch.setattr(ranks, "AT_ONCE", 80 * 7)
    parts = kendall_tau_b(x, y, clusters=query), spearman_rho(x, y, clusters=query)
    for a, b in zip(whole, parts, strict=True):
        assert (a.value, a.se) == pytest.approx((b.value, b.se), abs=1e-12)


def test_wilson_limits_are_those_of_statsmodels():
    gold, other, _, _ = raters()
    e = exact_agreement(gold, other)
    assert (e.low, e.high) == pytest.approx(proportion_confint((gold == other).sum(), len(gold), 0.05, "wilson"), abs=1e-12)


def test_the_standard_error_of_kappa_is_that_of_statsmodels_where_pairs_are_independent():
    """The jackknife and the asymptotic formula of Fleiss, Cohen and Everitt (1969) agree to 1 % at n = 4,000."""
    gold, other, _, _ = raters(n=4000)
    for name, distance, weights in (("std_kappa", "nominal", None), ("std_kappa", "quadratic", "quadratic")):
        theirs = cohens_kappa(confusion(gold, other), wt=weights)
        assert cohen_kappa(gold, other, distance=distance).se == pytest.approx(theirs[name], rel=0.01)


def test_a_jackknife_over_pairs_leaves_out_each_pair_once():
    gold, other, _, w = raters(n=50)
    whole = f1_score(gold, other, average="macro", sample_weight=w)
    left = [
        f1_score(*(np.delete(v, i) for v in (gold, other)), average="macro", sample_weight=np.delete(w, i)) for i in range(50)
    ]
    expected = np.sqrt(49 / 50 * np.sum((np.array(left) - whole) ** 2))
    assert macro_f1(gold, other, weights=w).se == pytest.approx(expected, abs=1e-12)


# --- published labels -----------------------------------------------------------------------------------------------


def test_three_raters_of_products_agree_as_published(data):
    table = pq.read_table(data("icecat_multirater") / "broad_query_set_3raters.parquet")
    votes = [table[f"rater_{i}"].to_numpy() for i in (1, 2, 3)]
    query = table["query"].to_numpy()
    pairs = [(votes[0], votes[1]), (votes[0], votes[2]), (votes[1], votes[2])]
    assert [round(cohen_kappa(a, b).value, 3) for a, b in pairs] == [0.682, 0.646, 0.601]
    assert [round(cohen_kappa(a, b, distance="quadratic").value, 3) for a, b in pairs] == [0.799, 0.776, 0.737]
    same = share((votes[0] == votes[1]) & (votes[1] == votes[2]), clusters=query)
    assert round(100 * same.value, 1) == 71.5
    ceiling = krippendorff_alpha(np.column_stack(votes), clusters=query)
    assert ceiling.low < 0.77 < ceiling.high


def test_thirty_three_judges_agree_with_people_as_published(data):
    from csv import DictReader

    folder = data("llmjudge_2024")
    table = pq.read_table(folder / "labels.parquet")
    with open(folder / "published_agreement.csv", encoding="utf-8") as file:
        published = {row["submission"]: row for row in DictReader(file) if row["in_labels"] == "True"}
    human = table["human"].to_numpy()
    for name, row in published.items():
        judge = np.minimum(table[name].to_numpy(), 3)
        assert f"{cohen_kappa(human, judge).value:.4f}" == row["cohen_kappa"], name
        assert f"{alpha(human, judge).value:.4f}" == row["krippendorff_alpha_ordinal"], name
    assert len(published) == 33


def test_pairs_of_one_query_are_worth_less_than_independent_ones_on_real_labels(data):
    table = pq.read_table(data("llmjudge_2024") / "labels.parquet")
    human, judge = table["human"].to_numpy(), table["willia-umbrela1"].to_numpy()
    alone, clustered = cohen_kappa(human, judge), cohen_kappa(human, judge, clusters=table["query_id"].to_numpy())
    assert clustered.se > 5 * alone.se


# --- properties -----------------------------------------------------------------------------------------------------


@given(pairs_of_grades(), st.sampled_from(sorted(STATISTICS)), st.booleans())
def test_values_and_limits_stay_in_their_bounds(given_pairs, name, clustered):
    gold, other, query = given_pairs
    e = value_or_none(STATISTICS[name], gold, other, clusters=query if clustered else None)
    if e is not None:
        lowest = -1 if any(word in name for word in ("kappa", "alpha", "tau", "rho")) else 0
        assert lowest - 1e-9 <= e.low <= e.value + 1e-9
        assert e.value - 1e-9 <= e.high <= 1 + 1e-9
        assert np.isfinite([e.value, e.se, e.low, e.high]).all()
        assert e.high > e.low or "no width" in e.caveat


@given(pairs_of_grades(), st.sampled_from(SYMMETRIC))
def test_it_does_not_matter_who_is_gold(given_pairs, name):
    gold, other, query = given_pairs
    there = value_or_none(STATISTICS[name], gold, other, clusters=query)
    back = value_or_none(STATISTICS[name], other, gold, clusters=query)
    assert (there is None) == (back is None)
    if there is not None:
        assert (there.value, there.low, there.high) == pytest.approx((back.value, back.low, back.high), abs=1e-9)


@given(pairs_of_grades(), st.permutations(range(4)))
def test_nominal_statistics_do_not_care_what_grades_are_called(given_pairs, names):
    gold, other, query = given_pairs
    new = np.array(names)
    for name in ("exact", "macro F1", "kappa", "nominal alpha"):
        there = value_or_none(STATISTICS[name], gold, other, clusters=query)
        here = value_or_none(STATISTICS[name], new[gold], new[other], clusters=query)
        assert (there is None) == (here is None)
        if there is not None:
            assert (there.value, there.low) == pytest.approx((here.value, here.low), abs=1e-9)


@given(pairs_of_grades())
def test_ordinal_statistics_care_only_for_the_order(given_pairs):
    gold, other, query = given_pairs
    new = np.array([0, 1, 5, 70])
    for name in ("ordinal alpha", "tau-b", "rho"):
        there = value_or_none(STATISTICS[name], gold, other, clusters=query)
        here = value_or_none(STATISTICS[name], new[gold], new[other], clusters=query)
        assert (there is None) == (here is None)
        if there is not None:
            assert (there.value, there.low) == pytest.approx((here.value, here.low), abs=1e-9)


@given(pairs_of_grades(), st.sampled_from(sorted(STATISTICS)), st.floats(1e-6, 1e6))
def test_weights_matter_only_relative_to_each_other(given_pairs, name, scale):
    gold, other, query = given_pairs
    w = 1.0 + np.arange(len(gold)) % 3
    there = value_or_none(STATISTICS[name], gold, other, clusters=query, weights=w)
    here = value_or_none(STATISTICS[name], gold, other, clusters=query, weights=w * scale)
    assert (there is None) == (here is None)
    if there is not None:
        assert (there.value, there.se, there.low) == pytest.approx((here.value, here.se, here.low), abs=1e-7)


@given(pairs_of_grades(), st.sampled_from(sorted(STATISTICS)), st.randoms())
def test_row_order_and_names_of_queries_do_not_matter(given_pairs, name, random):
    gold, other, query = given_pairs
    order = list(range(len(gold)))
    random.shuffle(order)
    there = value_or_none(STATISTICS[name], gold, other, clusters=query)
    named = [f"query {9 - q}" for q in query[order]]
    here = value_or_none(STATISTICS[name], gold[order], other[order], clusters=named)
    assert (there is None) == (here is None)
    if there is not None:
        assert (there.value, there.se, there.low) == pytest.approx((here.value, here.se, here.low), abs=1e-9)


@given(pairs_of_grades(), st.sampled_from(sorted(set(STATISTICS) - {"nominal alpha", "ordinal alpha", "interval alpha"})))
def test_a_whole_weight_is_a_pair_that_often(given_pairs, name):
    """Alpha is the exception: its n - 1 counts the pairs that people rated."""
    gold, other, query = given_pairs
    w = 1 + np.arange(len(gold)) % 3
    there = value_or_none(STATISTICS[name], gold, other, clusters=query, weights=w)
    here = value_or_none(STATISTICS[name], *(np.repeat(v, w) for v in (gold, other)), clusters=np.repeat(query, w))
    assert (there is None) == (here is None)
    if there is not None:
        assert there.value == pytest.approx(here.value, abs=1e-9)


@given(pairs_of_grades())
def test_agreement_with_oneself_is_perfect_and_not_certain(given_pairs):
    gold, _, query = given_pairs
    for statistic in (exact_agreement, macro_f1, cohen_kappa, alpha, kendall_tau_b, spearman_rho):
        e = value_or_none(statistic, gold, gold, clusters=query)
        if e is not None:
            assert e.value == pytest.approx(1)
            assert e.high == 1
            assert e.low < 0.95


# --- every keyword is heard -----------------------------------------------------------------------------------------


@every_statistic
def test_clusters_widen_the_interval_where_queries_differ(name):
    gold, other, query, _ = raters(n=2000)
    alone, clustered = STATISTICS[name](gold, other), STATISTICS[name](gold, other, clusters=query)
    assert clustered.value == pytest.approx(alone.value)
    assert clustered.se > 1.2 * alone.se
    assert "20 clusters" in clustered.method


@every_statistic
def test_weights_move_the_value_and_are_named(name):
    gold, other, _, _ = raters(n=2000)
    heavy = np.where(gold == other, 5.0, 1.0) * np.where(gold == 1, 2.0, 1.0)
    plain, weighted = STATISTICS[name](gold, other), STATISTICS[name](gold, other, weights=heavy)
    assert abs(plain.value - weighted.value) > 0.01
    assert weighted.method.startswith("weighted")
    assert not plain.method.startswith("weighted")


@every_statistic
@pytest.mark.parametrize("clustered", [False, True])
def test_a_higher_level_is_a_wider_interval(name, clustered):
    gold, other, query, _ = raters()
    options = {"clusters": query} if clustered else {}
    usual, wide = STATISTICS[name](gold, other, **options), STATISTICS[name](gold, other, level=0.99, **options)
    assert wide.low < usual.low < usual.high < wide.high
    assert (usual.level, wide.level) == (0.95, 0.99)


def test_steps_grade_threshold_distance_and_difference_are_heard():
    gold, other, _, _ = raters()
    assert agreement_within(gold, other, steps=2).value > agreement_within(gold, other).value
    assert agreement_within(gold, other, steps=0).value == exact_agreement(gold, other).value
    for statistic in (precision, recall, f1):
        assert len({statistic(gold, other, grade=grade).value for grade in range(4)}) == 4
    for statistic in (false_relevant_rate, specificity):
        assert len({statistic(gold, other, threshold=grade).value for grade in (1, 2, 3)}) == 3
    assert false_relevant_rate(gold, other, threshold=2).value == pytest.approx(1 - specificity(gold, other, threshold=2).value)
    assert len({cohen_kappa(gold, other, distance=d).value for d in ("nominal", "linear", "quadratic")}) == 3
    assert len({alpha(gold, other, difference=d).value for d in ("nominal", "ordinal", "interval")}) == 3
    assert confusion(gold, other, size=7).shape == (7, 7)
    assert share([1, 1, 0], among=[1, 1, 0], method="hits").value == 1
    assert share([1, 1, 0], method="hits").method.startswith("hits")


def test_weighted_confusion_counts_add_to_the_number_of_pairs():
    counts = confusion([0, 1, 1], [0, 1, 0], weights=[2, 1, 1])
    assert counts.tolist() == [[1.5, 0.0], [0.75, 0.75]]


# --- what has no value, and what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["kappa", "quadratic kappa", "nominal alpha", "ordinal alpha", "interval alpha", "tau-b", "rho"]
)
def test_one_grade_throughout_has_no_chance_corrected_agreement(name):
    with pytest.raises(Undefined, match="no value"):
        STATISTICS[name]([2, 2, 2], [2, 2, 2])


def test_a_grade_that_nobody_gives_has_no_precision_recall_or_f1():
    for statistic in (precision, recall, f1):
        with pytest.raises(Undefined, match="grade 3"):
            statistic([0, 1], [1, 0], grade=3)
    with pytest.raises(Undefined, match="false-relevant"):
        false_relevant_rate([3, 3], [3, 0], threshold=2)


@every_statistic
def test_no_pairs_have_no_agreement(name):
    with pytest.raises(InputError):
        STATISTICS[name]([], [])


@pytest.mark.parametrize(
    ("gold", "complaint"),
    [
        ([0, None, 1], "unanswered"),
        ([0, np.nan, 1], "nan at row 1"),
        ([0, -1, 1], "-1 at row 1"),
        ([0, 0.5, 1], "0.5 at row 1"),
    ],
)
def test_a_missing_grade_is_never_grade_0(gold, complaint):
    with pytest.raises(InputError, match=complaint):
        exact_agreement(gold, [0, 0, 1])
    with pytest.raises(InputError, match=complaint):
        cohen_kappa([0, 0, 1], gold)


def test_a_missing_rating_takes_its_unit_out_only_where_it_is_left_alone():
    gone = np.nan
    three = krippendorff_alpha([[0, 0, gone], [1, 1, 1], [2, 1, 2], [0, gone, gone]], difference="nominal")
    without = krippendorff_alpha([[0, 0, gone], [1, 1, 1], [2, 1, 2]], difference="nominal")
    assert (three.value, three.se, three.n) == (without.value, without.se, 3)
    with pytest.raises(Undefined, match="two ratings"):
        krippendorff_alpha([[0, gone], [gone, 1]])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"weights": [1, 0, 1]}, "weight 0.0 at row 1"),
        ({"weights": [1, -2, 1]}, "weight -2.0 at row 1"),
        ({"weights": [1, np.nan, 1]}, "weight nan"),
        ({"weights": [1, 1]}, "3 answers and 2 weights"),
        ({"clusters": ["a", "b"]}, "3 answers and 2 cluster"),
    ],
)
def test_wrong_weights_and_clusters_are_refused(options, complaint):
    for statistic in (exact_agreement, cohen_kappa, alpha, kendall_tau_b):
        with pytest.raises(InputError, match=complaint):
            statistic([0, 1, 2], [0, 2, 1], **options)


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="2 gold grades and 3 others"):
        exact_agreement([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="distance 'cubic'"):
        cohen_kappa([0, 1], [0, 1], distance="cubic")
    with pytest.raises(InputError, match="difference 'ratio'"):
        krippendorff_alpha([[0, 1], [1, 1]], difference="ratio")
    with pytest.raises(InputError, match="shape"):
        krippendorff_alpha([0, 1, 1])
    with pytest.raises(InputError, match="infinite"):
        krippendorff_alpha([[0, np.inf], [1, 1]])
    with pytest.raises(InputError, match="does not fit"):
        confusion([0, 5], [0, 1], size=4)
    with pytest.raises(InputError, match="missing or infinite"):
        kendall_tau_b([0.1, np.nan], [0.2, 0.3])
    with pytest.raises(InputError, match="in `among`"):
        share([1, 0], among=[1])


@every_statistic
def test_one_query_says_nothing_about_others(name):
    gold, other, _, _ = raters()
    e = STATISTICS[name](gold, other, clusters=["q1"] * len(gold))
    assert (e.low, e.high) in ((0.0, 1.0), (-1.0, 1.0))
    assert "nothing is known about others" in e.caveat


def test_a_statistic_that_hangs_on_one_query_says_so():
    e = cohen_kappa([0, 0, 0, 1], [0, 0, 0, 1], clusters=[1, 1, 2, 3])
    assert e.value == 1
    assert (e.low, e.high) == (-1, 1)
    assert e.caveat


def test_few_queries_carry_a_caveat():
    gold, other, query, _ = raters()
    assert "only 9 clusters" in exact_agreement(gold, other, clusters=query % 9).caveat
    assert "only 9 clusters" in cohen_kappa(gold, other, clusters=query % 9).caveat
    assert cohen_kappa(gold, other, clusters=query).caveat == ""


def test_perfect_agreement_on_a_rare_grade_is_known_only_from_its_own_pairs():
    gold = np.array([0] * 1000 + [1] * 4)
    assert f1(gold, gold, grade=1).low < 0.6
    assert f1(gold, gold, grade=0).low > 0.99
    assert macro_f1(gold, gold).low < 0.6


# --- coverage -------------------------------------------------------------------------------------------------------


def kinds_of_queries():
    """Four kinds of query, each with its own table of P(gold, judge); the population's table is their mean."""
    shares = np.array([[0.7, 0.2, 0.08, 0.02], [0.4, 0.3, 0.2, 0.1], [0.25, 0.35, 0.3, 0.1], [0.1, 0.2, 0.4, 0.3]])
    right, slip = np.array([0.85, 0.7, 0.55, 0.65]), np.array([0.0, 0.3, 0.6, 0.1])
    tables = np.zeros((4, 4, 4))
    for kind in range(4):
        for grade in range(4):
            wrong = np.exp(-abs(np.arange(4) - grade - slip[kind]))
            wrong[grade] = 0
            said = right[kind] * np.eye(4)[grade] + (1 - right[kind]) * wrong / wrong.sum()
            tables[kind, grade] = shares[kind, grade] * said
    return tables


@pytest.mark.simulation
@pytest.mark.parametrize(("queries", "documents"), [(25, 40), (60, 10), (200, 5)])
def test_intervals_cover_the_agreement_of_the_population_of_queries(queries, documents, repetitions):
    """Monte Carlo tolerance 4 sqrt(0.95 * 0.05 / repetitions), and 0.01 since t limits on 25 clusters are approximate."""
    rng, times = np.random.default_rng(20 + queries), repetitions(reduced=120, whole=4000)
    kinds = kinds_of_queries()
    cells = np.repeat(np.arange(16), np.round(kinds.mean(0).ravel() * 1_000_000).astype(int))
    names = ("exact", "quadratic kappa", "macro F1", "F1", "false relevant", "ordinal alpha", "tau-b", "rho")
    truth = {name: STATISTICS[name](cells // 4, cells % 4).value for name in names}
    hits = dict.fromkeys(names, 0)
    bounds = kinds.reshape(4, 16).cumsum(1)
    for _ in range(times):
        sizes = 1 + rng.poisson(documents - 1, size=queries)
        query = np.repeat(np.arange(queries), sizes)
        kind = rng.integers(4, size=queries)[query]
        cell = (rng.random(len(query))[:, None] > bounds[kind]).sum(1).clip(max=15)
        for name in names:
            e = STATISTICS[name](cell // 4, cell % 4, clusters=query)
            hits[name] += e.low <= truth[name] <= e.high
    tolerance = 4 * np.sqrt(0.95 * 0.05 / times) + 0.01
    assert {name: count / times for name, count in hits.items()} == pytest.approx(dict.fromkeys(names, 0.95), abs=tolerance)
