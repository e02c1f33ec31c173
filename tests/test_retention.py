"""What one judge keeps of another: the same numbers as each judge alone, paired intervals, and their coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.stats import agreement, ranks, retention
from germane.stats.clustered import Undefined
from germane.types import InputError

STATISTICS = {
    "exact": (retention.exact, agreement.exact_agreement, {}),
    "within one": (retention.within_one, agreement.agreement_within, {}),
    "quadratic kappa": (retention.quadratic_kappa, agreement.cohen_kappa, {"distance": "quadratic"}),
    "macro F1": (retention.macro_f1, agreement.macro_f1, {}),
    "F1 of 1": (retention.f1(1), agreement.f1, {"grade": 1}),
}


def sample(rng, clusters=40, each=8, keeps=(0.75, 0.6)):
    """Gold and two judges that give its grade with chances `keeps`, moved by how hard the query is; else any grade."""
    query = np.repeat(np.arange(clusters), each)
    gold = rng.integers(0, 4, len(query))
    hard = rng.normal(0, 0.12, clusters)[query]
    said = []
    for keep in keeps:
        right = rng.random(len(query)) < np.clip(keep + hard, 0.02, 0.98)
        said.append(np.where(right, gold, rng.integers(0, 4, len(query))))
    return gold, said[0], said[1], query


@pytest.mark.parametrize("name", STATISTICS)
def test_a_ratio_and_a_difference_are_those_of_the_judges_alone(name):
    of, alone, more = STATISTICS[name]
    gold, one, other, query = sample(np.random.default_rng(3))
    weights = np.random.default_rng(4).uniform(0.5, 2, 40)[query]
    options = {"clusters": query, "weights": weights}
    a, b = (alone(gold, said, **options, **more).value for said in (one, other))
    assert retention.ratio(gold, one, other, of=of, **options).value == pytest.approx(a / b)
    assert retention.difference(gold, one, other, of=of, **options).value == pytest.approx(a - b)


@pytest.mark.parametrize(("name", "alone"), [("tau-b", ranks.kendall_tau_b), ("rho", ranks.spearman_rho)])
def test_a_ratio_of_rank_correlations_is_that_of_the_judges_alone(name, alone):
    rng = np.random.default_rng(5)
    people = rng.normal(size=60)
    one, other = (np.round(people + rng.normal(0, noise, 60), 1) for noise in (1, 0.5))
    query, weights = np.repeat(np.arange(30), 2), np.repeat(rng.uniform(0.5, 2, 30), 2)
    a, b = (alone(people, side, clusters=query, weights=weights) for side in (one, other))
    e = retention.list_ratio(people, one, other, of=name, clusters=query, weights=weights)
    assert e.value == pytest.approx(a.value / b.value)
    # against a judge without error the ratio is the correlation itself, and so is its standard error
    e = retention.list_ratio(people, one, people, of=name, clusters=query, weights=weights)
    assert (e.value, e.se) == pytest.approx((a.value, a.se), rel=0.05)


@given(st.integers(0, 10_000))
def test_swapping_the_judges_negates_the_difference_and_inverts_the_ratio(seed):
    gold, one, other, query = sample(np.random.default_rng(seed), clusters=12)
    there, back = (retention.difference(gold, *both, clusters=query) for both in ((one, other), (other, one)))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    there, back = (retention.ratio(gold, *both, clusters=query) for both in ((one, other), (other, one)))
    assert (back.value, back.low, back.high) == pytest.approx((1 / there.value, 1 / there.high, 1 / there.low))


@given(st.integers(0, 10_000))
def test_the_order_of_the_rows_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    gold, one, other, query = sample(rng, clusters=12)
    order = rng.permutation(len(gold))
    here = retention.ratio(gold, one, other, clusters=query)
    there = retention.ratio(gold[order], one[order], other[order], clusters=query[order])
    assert (here.value, here.low, here.high) == pytest.approx((there.value, there.low, there.high))


def test_pairing_narrows_the_interval_where_the_same_queries_are_hard_for_both():
    rng = np.random.default_rng(8)
    gold, one, _, query = sample(rng, clusters=60)
    other = np.where(rng.random(len(gold)) < 0.1, rng.integers(0, 4, len(gold)), one)  # nearly the same judge
    e = retention.difference(gold, one, other, clusters=query)
    alone = [agreement.macro_f1(gold, said, clusters=query).se for said in (one, other)]
    assert e.se < 0.6 * np.hypot(*alone)


def test_a_judge_against_itself_keeps_everything_and_the_interval_says_that_it_has_no_width():
    gold, one, _, query = sample(np.random.default_rng(2))
    e, d = retention.ratio(gold, one, one, clusters=query), retention.difference(gold, one, one, clusters=query)
    assert (e.value, e.se, d.value, d.se) == (1, 0, 0, 0)
    assert "no width" in e.caveat
    assert "no width" in d.caveat


def test_what_has_no_value_is_refused_by_name():
    with pytest.raises(Undefined, match="at or below 0"):
        retention.ratio([0, 1, 2], [1, 2, 0], [0, 1, 2])
    with pytest.raises(Undefined, match="2 are the least"):
        retention.ratio([0, 1], [0, 1], [0, 1], clusters=["q", "q"])
    with pytest.raises(Undefined, match="no value on these 2 pairs"):
        retention.difference([0, 0], [0, 0], [0, 1], of=retention.quadratic_kappa)
    with pytest.raises(InputError, match="expected tau-b or rho"):
        retention.list_ratio([1, 2], [1, 2], [1, 2], of="pearson")
    with pytest.raises(InputError, match="same lists"):
        retention.list_ratio([1, 2], [1, 2, 3], [1, 2])


def test_few_clusters_are_said():
    gold, one, other, query = sample(np.random.default_rng(2), clusters=6)
    assert "only 6 clusters" in retention.ratio(gold, one, other, clusters=query).caveat


@pytest.mark.simulation
@pytest.mark.parametrize("clusters", [25, 120])
def test_the_intervals_of_ratio_and_difference_cover_the_truth(clusters, repetitions):
    """Two judges of the same hard and easy queries. Monte Carlo tolerance: 4 sqrt(0.95 x 0.05 / repetitions), and 0.01."""
    times = repetitions(reduced=400, whole=4000)
    gold, one, other, _ = sample(np.random.default_rng(1), clusters=200_000)
    a, b = (agreement.macro_f1(gold, said).value for said in (one, other))
    rng, hits = np.random.default_rng(7), np.zeros(2)
    for _ in range(times):
        *given_, query = sample(rng, clusters=clusters)
        r, d = retention.ratio(*given_, clusters=query), retention.difference(*given_, clusters=query)
        hits += (r.low <= a / b <= r.high, d.low <= a - b <= d.high)
    assert hits / times == pytest.approx([0.95, 0.95], abs=4 * np.sqrt(0.95 * 0.05 / times) + 0.01)


@pytest.mark.simulation
def test_the_interval_of_a_ratio_of_taus_covers_the_truth(repetitions):
    """Monte Carlo tolerance as above; the truth is the mean ratio of 40 samples of 4,000 lists."""
    times = repetitions(reduced=200, whole=2000)

    def draw(rng, n):
        people = rng.normal(size=n)
        shared = rng.normal(0, 0.5, n)
        return people, people + shared + rng.normal(0, 0.6, n), people + shared + rng.normal(0, 0.3, n)

    from scipy.stats import kendalltau

    rng = np.random.default_rng(9)
    large = [draw(rng, 4000) for _ in range(40)]
    truth = np.mean([kendalltau(p, a).statistic / kendalltau(p, b).statistic for p, a, b in large])
    found = [retention.list_ratio(*draw(rng, 100), clusters=np.arange(100)) for _ in range(times)]
    hits = np.mean([e.low <= truth <= e.high for e in found])
    assert hits == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / times) + 0.01)
