import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from germane.stats.clusters import clustered_difference, poststratified_difference, ratio_moments
from germane.stats.means import stratified_difference, t_quantile
from germane.stats.moments import Moments
from germane.types import InputError

rows = st.lists(st.tuples(st.floats(-1, 1, width=32), st.sampled_from("ab"), st.integers(0, 6)), min_size=12, max_size=40)
POPULATIONS = {"a": 30, "b": 70}


def split(rows):
    """Values, strata and clusters, with two clusters in each stratum at least."""
    d, strata, clusters = zip(*rows, *[(0.1 * i, name, 10 + i) for name in "ab" for i in range(3)], strict=True)
    return np.array(d), np.array(strata), np.array(clusters)


@settings(max_examples=40)
@given(rows)
def test_clusters_of_one_row_are_the_plain_estimate_exactly(rows):
    d, strata, _ = split(rows)
    plain = stratified_difference({s: Moments.of(d[strata == s]) for s in "ab"}, POPULATIONS)
    for each in ("row", "cluster"):
        e = clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=np.arange(d.size), each=each)
        assert (e.value, e.se, e.low, e.high, e.n, e.df) == (plain.value, plain.se, plain.low, plain.high, plain.n, plain.df)
        assert e.caveat == plain.caveat


@settings(max_examples=40)
@given(rows, st.randoms())
def test_the_order_of_rows_and_the_names_of_clusters_do_not_matter(rows, random):
    d, strata, clusters = split(rows)
    order = np.array(random.sample(range(d.size), d.size))
    one = clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=clusters)
    names = np.array([f"user {c}" for c in clusters])
    other = clustered_difference(d[order], strata=strata[order], populations=POPULATIONS, clusters=names[order])
    assert (other.value, other.se) == pytest.approx((one.value, one.se))


@settings(max_examples=40)
@given(rows)
def test_swapping_the_arms_negates_it(rows):
    d, strata, clusters = split(rows)
    there = clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=clusters)
    back = clustered_difference(-d, strata=strata, populations=POPULATIONS, clusters=clusters)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


@settings(max_examples=40)
@given(rows)
def test_repeating_every_row_inside_its_cluster_is_no_new_evidence(rows):
    d, strata, clusters = split(rows)
    once = clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=clusters)
    often = clustered_difference(
        np.tile(d, 5), strata=np.tile(strata, 5), populations=POPULATIONS, clusters=np.tile(clusters, 5)
    )
    assert (often.value, often.se, often.df, often.n) == pytest.approx((once.value, once.se, once.df, once.n))


def test_a_ratio_of_totals_by_hand():
    """Clusters x (0.1, 0.3), y (0), z (0.2): totals 0.4, 0, 0.2, sizes 2, 1, 1, mean 0.15."""
    e = clustered_difference([0.1, 0.3, 0.0, 0.2], strata=["a"] * 4, populations={"a": 9}, clusters=["x", "x", "y", "z"])
    residuals = np.array([0.4 - 0.3, 0.0 - 0.15, 0.2 - 0.15])
    assert e.value == pytest.approx(0.6 / 4)
    assert e.se == pytest.approx(np.sqrt(3 / 2 * (residuals**2).sum()) / 4)
    assert (e.n, e.df) == (3, 2)
    assert e.method.startswith("paired difference by request, 3 clusters")


def test_by_cluster_each_query_counts_once():
    e = clustered_difference(
        [0.1, 0.3, 0.0, 0.2], strata=["a"] * 4, populations={"a": 9}, clusters=["x", "x", "y", "z"], each="cluster"
    )
    assert e.value == pytest.approx((0.2 + 0.0 + 0.2) / 3)
    assert e.method.startswith("paired difference by cluster, 3 clusters")


def test_statsmodels_agrees_on_cluster_robust_errors():
    """The mean's sandwich with its small-sample factor k / (k - 1) (n - 1) / (n - 1)."""
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(2)
    clusters = rng.integers(0, 40, 200)
    d = rng.normal(size=200) + rng.normal(size=40)[clusters]
    e = clustered_difference(d, strata=["all"] * 200, populations={"all": 1}, clusters=clusters, level=0.9)
    fit = OLS(d, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    assert (e.value, e.se) == pytest.approx((fit.params[0], fit.bse[0]))
    plain = stratified_difference({"all": Moments.of(d)}, {"all": 1})
    assert e.se > 1.5 * plain.se


def test_thirty_clusters_must_differ_not_thirty_rows():
    d = np.linspace(0.1, 1, 60)
    common = {"strata": ["a"] * 60, "populations": {"a": 1}, "clusters": np.arange(60) // 3}
    assert clustered_difference(d, **common).caveat.startswith("not reliable: 20 of 20 differences")
    assert clustered_difference(d, **common, minimum_nonzero=20).caveat == ""


def test_a_wider_level_is_a_wider_interval():
    common = {"strata": ["a"] * 6, "populations": {"a": 1}, "clusters": [1, 1, 2, 2, 3, 4]}
    narrow, wide = (clustered_difference([1, 2, 0, 1, 3, 2], **common, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("d", "strata", "clusters", "problem"),
    [
        ([0.1, 0.2], ["a", "a"], [1, 1], "'a' has 1 clusters"),
        ([0.1, 0.2], ["a", "a"], [1], "2 differences and 1 cluster labels"),
        ([0.1, 0.2], ["a"], [1, 2], "2 differences and 1 strata"),
        ([0.1, np.nan], ["a", "a"], [1, 2], "difference 1 is not a finite number"),
        ([], [], [], "no differences"),
    ],
)
def test_what_cannot_be_clustered_is_refused(d, strata, clusters, problem):
    with pytest.raises(InputError, match=problem):
        clustered_difference(d, strata=strata, populations={"a": 5}, clusters=clusters)


@pytest.mark.simulation
def test_users_with_several_requests_are_covered_only_by_clusters(repetitions):
    """60 users with 1 to 9 alike requests. Monte Carlo tolerance: 4 standard errors; rows alone cover far less."""
    repeats, rng = repetitions(reduced=400, whole=4000), np.random.default_rng(5)
    held, naive = 0, 0
    for _ in range(repeats):
        size = rng.integers(1, 10, 60)
        user = np.repeat(np.arange(60), size)
        d = rng.normal(0, 0.1, 60)[user] + rng.normal(0, 0.05, user.size) + 0.02
        e = clustered_difference(d, strata=["a"] * d.size, populations={"a": 1}, clusters=user)
        plain = stratified_difference({"a": Moments.of(d)}, {"a": 1})
        held += e.low <= 0.02 <= e.high
        naive += plain.low <= 0.02 <= plain.high
    assert held / repeats == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.05 * 0.95 / repeats))
    assert naive / repeats < 0.8


# --- clusters across strata ---------------------------------------------------------------------------------------


def test_users_who_are_in_every_stratum_once_are_as_many_means():
    """Equal strata: the estimate is the mean of the users' means, and so is its error, whatever the strata differ by."""
    rng = np.random.default_rng(3)
    by_user = rng.normal(size=(40, 1)) + rng.normal(size=(40, 4)) + np.arange(4)
    user, stratum = np.repeat(np.arange(40), 4), np.tile(np.array(list("wxyz")), 40)
    for each in ("row", "cluster"):
        e = clustered_difference(
            by_user.ravel(), strata=stratum, populations=dict.fromkeys("wxyz", 9), clusters=user, each=each, level=0.9
        )
        means = by_user.mean(axis=1)
        assert (e.value, e.se) == pytest.approx((means.mean(), means.std(ddof=1) / np.sqrt(40)))
        assert (e.n, e.df) == (40, 39)
        assert e.high - e.value == pytest.approx(t_quantile(0.95, 39) * e.se)
        assert e.method.endswith("40 clusters across strata")


def test_a_user_in_two_strata_by_hand():
    """Ann in both (0.1, 0.3 | 0.6), Bob in a (0.2), Cem in b (0.0, 0.0). R_a = 0.2, R_b = 0.2; W = 0.3, 0.7."""
    d, strata = [0.1, 0.3, 0.2, 0.6, 0.0, 0.0], ["a", "a", "a", "b", "b", "b"]
    user = ["ann", "ann", "bob", "ann", "cem", "cem"]
    e = clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=user)
    scale = np.sqrt(2 / 1)
    ann = 0.3 * scale * (0.4 - 0.2 * 2) / 3 + 0.7 * scale * (0.6 - 0.2) / 3
    bob, cem = 0.3 * scale * (0.2 - 0.2) / 3, 0.7 * scale * (0.0 - 0.4) / 3
    assert e.value == pytest.approx(0.2)
    assert e.se == pytest.approx(np.sqrt(ann**2 + bob**2 + cem**2))
    assert e.n == 3
    assert e.caveat == "not reliable: 2 of 3 differences are not zero, 30 are needed"
    assert clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=user, minimum_nonzero=0).caveat == ""


@settings(max_examples=40)
@given(rows)
def test_one_label_that_crosses_moves_the_error_by_its_own_covariance_alone(rows):
    d, strata, _ = split(rows)
    d, strata = np.r_[d, d + 0.01], np.r_[strata, strata]  # all strata have variances of their own
    apart = np.arange(d.size)
    joined = apart.copy()
    first, last = np.flatnonzero(strata == "a")[0], np.flatnonzero(strata == "b")[-1]
    joined[last] = joined[first]
    one, two = (clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=c) for c in (apart, joined))
    parts = {s: d[strata == s] for s in "ab"}
    z = [
        w * (d[i] - parts[s].mean()) / np.sqrt(parts[s].size * (parts[s].size - 1))
        for s, i, w in (("a", first, 0.3), ("b", last, 0.7))
    ]
    variances = sum(w**2 * parts[s].var(ddof=1) / parts[s].size for s, w in (("a", 0.3), ("b", 0.7)))
    assert two.value == pytest.approx(one.value)
    assert two.se**2 == pytest.approx(variances + 2 * z[0] * z[1])
    assert (two.n, one.n) == (d.size - 1, d.size)


def test_a_stratum_with_one_cluster_borrows_only_if_asked():
    d, strata = [0.1, 0.3, 0.0, 0.2, 0.4], ["a", "a", "a", "a", "b"]
    for last in ("w", "x"):  # of its own, and one that is in a too
        users = ["x", "x", "y", "z", last]
        with pytest.raises(InputError, match="'b' has 1 clusters"):
            clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=users)
        e = clustered_difference(d, strata=strata, populations=POPULATIONS, clusters=users, lone="borrow")
        alone = clustered_difference(d[:4], strata=strata[:4], populations={"a": 1}, clusters=users[:4])
        assert e.value == pytest.approx(0.3 * 0.15 + 0.7 * 0.4)
        assert e.se**2 == pytest.approx((0.3**2 + 0.7**2 * 3) * alone.se**2)
    with pytest.raises(InputError, match="every stratum has one cluster"):
        clustered_difference([0.1, 0.2], strata=["a", "b"], populations=POPULATIONS, clusters=["x", "x"], lone="borrow")


def test_clusters_across_strata_that_never_differ_say_so():
    e = clustered_difference(
        [0.2] * 6, strata=list("aaabbb"), populations=POPULATIONS, clusters=[1, 2, 3] * 2, minimum_nonzero=3
    )
    assert e.value == pytest.approx(0.2)
    assert (e.se, e.low, e.caveat) == (0, e.value, "nothing varied: every sampled cluster has the same value")


@pytest.mark.simulation
@pytest.mark.parametrize("skewed", [False, True])
def test_users_whose_queries_lie_in_several_strata_are_covered(repetitions, skewed):
    """100 users with a query in each of 6 strata. As 600 clusters: 0.63. Tolerance: 4 Monte Carlo standard errors."""
    repeats, rng = repetitions(reduced=300, whole=3000), np.random.default_rng(0)
    user, stratum = np.repeat(np.arange(100), 6), np.tile(np.arange(6).astype(str), 100)
    held, naive, populations = 0, 0, {str(h): 100 for h in range(6)}
    for _ in range(repeats):
        effect = rng.exponential(0.1, 100) - 0.1 if skewed else rng.normal(0, 0.1, 100)
        d = effect[user] + rng.normal(0, 0.05, 600)
        e = clustered_difference(d, strata=stratum, populations=populations, clusters=user)
        plain = clustered_difference(d, strata=stratum, populations=populations, clusters=np.arange(600))
        held += e.low <= 0 <= e.high
        naive += plain.low <= 0 <= plain.high
    assert held / repeats == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.05 * 0.95 / repeats))
    assert naive / repeats < 0.75


# --- post-stratification ------------------------------------------------------------------------------------------


def test_post_stratification_by_hand():
    d, strata = [0.1, 0.3, 0.0, 0.2, 0.1], ["a", "a", "b", "b", "b"]
    e = poststratified_difference(d, strata, POPULATIONS)
    va, vb = 0.02, 0.01
    variance = (0.3 * va + 0.7 * vb) / 5 + (0.7 * va + 0.3 * vb) / 25
    assert e.value == pytest.approx(0.3 * 0.2 + 0.7 * 0.1)
    assert e.se == pytest.approx(np.sqrt(variance))
    some = poststratified_difference(d, strata, POPULATIONS, finite=True)
    assert some.se**2 == pytest.approx((0.3 * va + 0.7 * vb) / 5 * (1 - 5 / 100) + (0.7 * va + 0.3 * vb) / 25)
    assert some.method.startswith("post-stratified paired difference, finite population")
    assert e.caveat.startswith("not reliable: 4 of 5")
    assert poststratified_difference(d, strata, POPULATIONS, minimum_nonzero=0).caveat == ""
    wide = poststratified_difference(d, strata, POPULATIONS, level=0.99)
    assert wide.low < e.low < e.high < wide.high


@settings(max_examples=40)
@given(rows)
def test_post_stratification_costs_more_than_a_sample_of_the_same_sizes_drawn_by_stratum(rows):
    """Proportional sizes: the second term is what the sizes' being random costs."""
    d, _, _ = split(rows)
    d = np.tile(d, 2)
    strata = np.repeat(["a", "b"], d.size // 2)
    e = poststratified_difference(d, strata, {"a": 1, "b": 1})
    drawn = {name: Moments.of(d[strata == name]) for name in "ab"}
    plain = sum(0.25 * m.variance / m.n for m in drawn.values())
    assert e.se**2 == pytest.approx(plain * (1 + 1 / d.size))


@settings(max_examples=40)
@given(rows)
def test_one_post_stratum_is_the_plain_mean(rows):
    d, _, _ = split(rows)
    e, plain = poststratified_difference(d, ["a"] * d.size, {"a": 9}), stratified_difference({"a": Moments.of(d)}, {"a": 9})
    assert (e.value, e.se, e.low, e.high) == pytest.approx((plain.value, plain.se, plain.low, plain.high))


def test_what_post_stratification_cannot_answer_is_refused():
    with pytest.raises(InputError, match="stratum 'b' has 70 queries and none was sampled"):
        poststratified_difference([0.1, 0.2], ["a", "a"], POPULATIONS)
    with pytest.raises(ValueError, match="'b' has 1 judged queries"):
        poststratified_difference([0.1, 0.2, 0.3], ["a", "a", "b"], POPULATIONS)
    with pytest.raises(InputError, match="3 sampled queries of a population of 2"):
        poststratified_difference([0.1, 0.2, 0.3], ["a"] * 3, {"a": 2}, finite=True)
    same = poststratified_difference([0.0] * 40, ["a"] * 40, {"a": 50})
    assert (same.se, same.caveat[:28]) == (0, "not reliable: 0 of 40 differ")


def test_symmetric_differences_have_a_symmetric_post_stratified_interval():
    """Post-strata make the error another than the plain one: its ratio to the plain one is no skewness."""
    one = np.array([-0.4, -0.1, 0.1, 0.4, -0.2, 0.2])
    d, strata = np.r_[np.tile(one, 6), np.tile(3 * one, 2)], np.repeat(["a", "b"], [36, 12])
    e = poststratified_difference(d, strata, {"a": 30, "b": 70})
    assert e.high - e.value == pytest.approx(e.value - e.low)
    assert e.high - e.value == pytest.approx(t_quantile(0.975, e.df) * e.se)


def test_a_skewed_post_stratified_mean_leans_as_the_stratified_one_does():
    d, strata = np.random.default_rng(3).exponential(size=60) ** 2, np.repeat(["a", "b"], 30)
    e = poststratified_difference(d, strata, POPULATIONS)
    plain = stratified_difference({s: Moments.of(d[strata == s]) for s in "ab"}, POPULATIONS)
    assert (e.high - e.value) / e.se == pytest.approx((plain.high - plain.value) / plain.se)
    assert e.method == "post-stratified paired difference, limits corrected for skewness"


def test_a_post_stratum_of_one_query_borrows_only_if_asked():
    d, strata = [0.1, 0.3, 0.2, 0.6, 0.5], ["a", "a", "a", "a", "b"]
    e = poststratified_difference(d, strata, POPULATIONS, lone="borrow")
    s2 = np.var(d[:4], ddof=1)
    assert e.value == pytest.approx(0.3 * 0.3 + 0.7 * 0.5)
    assert e.se**2 == pytest.approx(s2 / 5 + s2 / 25)
    with pytest.raises(InputError, match="every stratum has one sampled query"):
        poststratified_difference([0.1, 0.2], ["a", "b"], POPULATIONS, lone="borrow")


@pytest.mark.simulation
def test_post_stratification_of_a_random_sample_covers(repetitions):
    """A random sample of 80 queries, three strata of different means. Tolerance: 4 Monte Carlo standard errors."""
    repeats, rng = repetitions(reduced=400, whole=4000), np.random.default_rng(6)
    share, effect = np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.1, 0.3])
    held = 0
    for _ in range(repeats):
        code = np.r_[rng.choice(3, 74, p=share), [0, 0, 1, 1, 2, 2]]
        d = effect[code] + rng.normal(0, 0.1, code.size)
        e = poststratified_difference(d, code.astype(str), dict(zip("012", share, strict=True)))
        held += e.low <= share @ effect <= e.high
    assert held / repeats == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.05 * 0.95 / repeats))


@pytest.mark.simulation
def test_post_stratified_intervals_are_as_wide_as_t_where_nothing_leans(repetitions):
    """Symmetric differences, more spread in the smaller strata: read back from another error, a lean made some far wider."""
    repeats, rng = repetitions(reduced=300, whole=3000), np.random.default_rng(0)
    share, spread = np.array([0.1, 0.3, 0.6]), np.array([0.3, 0.2, 0.1])
    held, wide = 0, []
    for _ in range(repeats):
        code = np.r_[rng.choice(3, 94, p=share), [0, 0, 1, 1, 2, 2]]
        e = poststratified_difference(rng.normal(0, spread[code]), code.astype(str), dict(zip("012", share, strict=True)))
        held += e.low <= 0 <= e.high
        wide.append((e.high - e.low) / (2 * t_quantile(0.975, e.df) * e.se))
    assert held / repeats == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.05 * 0.95 / repeats))
    assert np.mean(wide) == pytest.approx(1, abs=0.05)
    assert np.quantile(wide, 0.99) < 1.6  # one in a hundred takes its own luck for a lean


def test_the_linearised_values_of_a_ratio_have_its_mean():
    m = ratio_moments(np.array([2.0, 0.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert (m.mean, m.n, m.nonzero) == (pytest.approx(5 / 8), 3, 2)
