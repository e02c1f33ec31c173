import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from germane.stats.adjustment import adjusted_difference
from germane.stats.arms import unpaired_difference
from germane.stats.bootstrap import bootstrap_difference
from germane.stats.clusters import clustered_difference, poststratified_difference
from germane.stats.means import SMALL, limits, p_value, relative_lift, stratified_difference, stratified_mean, t_quantile
from germane.stats.moments import Moments, PairedMoments
from germane.stats.traffic import traffic_difference
from germane.types import Estimate, InputError

differences = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=30).filter(lambda x: np.std(x) > 1e-3)
levels = st.lists(st.floats(0.125, 1, width=32), min_size=3, max_size=30).filter(lambda x: np.std(x) > 1e-3)


# Lumley's `survey` package 4.5, data(api): apistrat, a sample of Californian schools, 100 elementary, 50 middle and 50 high.
# Per stratum: population, n, means and centred sums of squares of api00 and of enroll, and of their product. The answers
# are those of svymean(~api00), svymean(~enroll) and svyratio(~api00, ~enroll), with and without fpc.
API = {
    "E": (4421, 100, 674.43, 1553054.51, 416.78, 2730111.16, -705132.54),
    "M": (1018, 50, 636.6, 677418.0, 832.48, 7659056.48, -382099.4),
    "H": (755, 50, 625.82, 585407.38, 1320.7, 22066656.5, -459815.7),
}


def schools():
    return {
        name: PairedMoments(Moments(n, enroll, square, n), Moments(n, api00, spread, n), cross)
        for name, (_, n, api00, spread, enroll, square, cross) in API.items()
    }


def moments(**strata):
    return {name: Moments.of(x) for name, x in strata.items()}


@given(differences, differences)
def test_swapping_the_arms_negates_the_difference(head, tail):
    populations = {"head": 20, "tail": 80}
    there = stratified_difference(moments(head=head, tail=tail), populations)
    back = stratified_difference(moments(head=np.negative(head), tail=np.negative(tail)), populations)
    assert back.value == pytest.approx(-there.value)
    assert back.low == pytest.approx(-there.high)
    assert back.se == pytest.approx(there.se)


@given(differences)
def test_four_copies_of_a_sample_scale_the_variance_exactly(x):
    n = len(x)
    once = stratified_difference(moments(all=x), {"all": 100})
    four = stratified_difference(moments(all=x * 4), {"all": 100})
    assert four.se**2 / once.se**2 == pytest.approx((n - 1) / (4 * n - 1))


@given(differences)
def test_splitting_a_stratum_into_duplicated_halves_keeps_the_value(x):
    """Two strata that each hold the sample of m: se^2 is multiplied by (2m - 1)/(2m - 2) against the doubled sample."""
    m = len(x)
    whole = stratified_difference(moments(all=x * 2), {"all": 100})
    halves = stratified_difference(moments(a=x, b=x), {"a": 50, "b": 50})
    assert halves.value == pytest.approx(whole.value)
    assert halves.se**2 / whole.se**2 == pytest.approx((2 * m - 1) / (2 * m - 2))


@given(differences, st.randoms())
def test_the_order_of_queries_does_not_matter(x, random):
    shuffled = random.sample(x, len(x))
    assert stratified_difference(moments(a=x), {"a": 1}).se == pytest.approx(
        stratified_difference(moments(a=shuffled), {"a": 1}).se
    )


@given(differences, differences, differences)
def test_moments_add_in_any_grouping(x, y, z):
    a, b, c = Moments.of(x), Moments.of(y), Moments.of(z)
    whole = Moments.of(x + y + z)
    for added in ((a + b) + c, a + (b + c)):
        assert (added.n, added.nonzero) == (whole.n, whole.nonzero)
        assert added.mean == pytest.approx(whole.mean)
        assert added.centred_sq == pytest.approx(whole.centred_sq)


@given(levels, levels)
def test_paired_moments_add_to_those_of_the_whole(x, y):
    k = min(len(x), len(y))
    c, t = np.array(x[:k]), np.array(y[:k])
    added = PairedMoments.of(c[:2], t[:2]) + PairedMoments.of(c[2:], t[2:])
    assert added.cross == pytest.approx(PairedMoments.of(c, t).cross)
    assert added.cross == pytest.approx(((c - c.mean()) * ((t - c) - (t - c).mean())).sum())


def test_moments_keep_their_digits_when_the_mean_is_large():
    x = np.random.default_rng(1).normal(size=1000)
    assert Moments.of(x + 1e9).variance == pytest.approx(Moments.of(x).variance, rel=1e-5)


def test_one_stratum_is_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(3)
    c, t = rng.uniform(size=50), rng.uniform(size=50)
    e = stratified_difference({"all": PairedMoments.of(c, t).difference}, {"all": 50}, level=0.9)
    oracle = stats.ttest_rel(t, c)
    low, high = oracle.confidence_interval(0.9)
    assert (e.value, e.low, e.high) == pytest.approx((np.mean(t - c), low, high))
    assert p_value(e) == pytest.approx(oracle.pvalue)


def test_two_equal_strata_are_welch_of_scipy():
    """With weights 1/2 and -(-1/2), Satterthwaite's degrees of freedom are Welch's."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=12), rng.normal(2, 3, size=7)
    e = stratified_mean(moments(a=a, b=-b), {"a": 50, "b": 50})
    oracle = stats.ttest_ind(a, b, equal_var=False)
    assert e.df == pytest.approx(oracle.df)
    assert 2 * e.value / (2 * e.se) == pytest.approx(oracle.statistic)


def test_statsmodels_weighted_means_agree_on_the_value():
    from statsmodels.stats.weightstats import DescrStatsW

    x, y = [0.1, 0.5, 0.3], [0.7, 0.2, 0.9, 0.4]
    e = stratified_mean(moments(x=x, y=y), {"x": 30, "y": 10})
    oracle = DescrStatsW(x + y, weights=[0.75 / 3] * 3 + [0.25 / 4] * 4)
    assert e.value == pytest.approx(oracle.mean)


def test_the_lift_is_the_ratio_with_the_delta_methods_variance_by_hand():
    c, t = np.array([0.5, 0.7, 0.4, 0.9]), np.array([0.6, 0.9, 0.4, 0.95])
    e = relative_lift({"all": PairedMoments.of(c, t)}, {"all": 4})
    d = t - c
    ratio = d.mean() / c.mean()
    var = (np.var(d, ddof=1) - 2 * ratio * np.cov(d, c)[0, 1] + ratio**2 * np.var(c, ddof=1)) / 4 / c.mean() ** 2
    assert (e.value, e.se) == pytest.approx((ratio, var**0.5))


@pytest.mark.parametrize(
    ("finite", "api00", "enroll", "ratio"),
    [(False, 9.536132, 18.940763, 0.0422085863), (True, 9.40894088, 18.5085107, 0.0413595064)],
)
def test_rs_survey_package_agrees_on_means_and_ratio_of_a_stratified_sample(finite, api00, enroll, ratio):
    populations = {name: row[0] for name, row in API.items()}
    mean = stratified_mean({name: m.difference for name, m in schools().items()}, populations, finite=finite)
    assert (mean.value, mean.se) == (pytest.approx(662.287363577655), pytest.approx(api00, rel=1e-6))
    pupils = stratified_mean({name: m.control for name, m in schools().items()}, populations, finite=finite)
    assert (pupils.value, pupils.se) == (pytest.approx(595.282131094607), pytest.approx(enroll, rel=1e-6))
    lift = relative_lift(schools(), populations, finite=finite)
    assert (lift.value, lift.se) == (pytest.approx(1.11256046332155), pytest.approx(ratio, rel=1e-6))
    assert (", finite population" in lift.method) == (", finite population" in mean.method) == finite


def test_a_census_has_no_error_for_a_finite_population_and_one_for_future_queries():
    parts, sizes = moments(a=[0.1, 0.2, 0.4], b=[0.0, 0.3]), {"a": 3, "b": 2}
    census = stratified_difference(parts, sizes, finite=True)
    assert (census.se, census.low, census.high) == (0, census.value, census.value)
    assert stratified_difference(parts, sizes, finite=True, minimum_nonzero=0).caveat == "a census: nothing is left to chance"
    assert stratified_difference(parts, sizes).se > 0


@pytest.mark.parametrize("verb", [stratified_mean, stratified_difference])
def test_a_sample_larger_than_its_finite_population_is_refused(verb):
    with pytest.raises(InputError, match="'a' has 3 sampled queries and a population of 2"):
        verb(moments(a=[0.1, 0.2, 0.4]), {"a": 2}, finite=True)
    assert verb(moments(a=[0.1, 0.2, 0.4]), {"a": 2}).n == 3


@given(differences, differences)
def test_a_large_population_makes_no_use_of_being_finite(head, tail):
    parts = moments(head=head, tail=tail)
    one, other = (stratified_difference(parts, {"head": 1e12, "tail": 3e12}, finite=finite) for finite in (False, True))
    assert (one.se, one.low) == pytest.approx((other.se, other.low))


@given(levels, st.floats(0.1, 10))
def test_the_lift_does_not_depend_on_the_unit(x, factor):
    t = [v * 1.1 + 0.01 * i for i, v in enumerate(x)]
    one = relative_lift({"all": PairedMoments.of(x, t)}, {"all": 9})
    other = relative_lift({"all": PairedMoments.of(np.multiply(x, factor), np.multiply(t, factor))}, {"all": 9})
    assert (one.value, one.se) == pytest.approx((other.value, other.se))


def test_an_undersampled_stratum_without_a_change_borrows_variance_instead_of_promising_certainty():
    """Each of its queries stands for more than twice the average: 0.9 / 2 against 1 / 8."""
    busy, quiet = [0.1, -0.2, 0.3, 0.0, 0.2, 0.1], [0.0] * 2
    e = stratified_difference(moments(busy=busy, quiet=quiet), {"busy": 10, "quiet": 90})
    pooled = Moments.of(busy).centred_sq / 6
    assert e.se**2 == pytest.approx(0.01 * Moments.of(busy).variance / 6 + 0.81 * pooled / 2)
    even = stratified_difference(moments(busy=busy, quiet=quiet), {"busy": 75, "quiet": 25})
    assert even.se**2 == pytest.approx(0.75**2 * Moments.of(busy).variance / 6)
    lift = relative_lift(
        {"busy": PairedMoments.of([0.5] * 6, np.add(0.5, busy)), "quiet": PairedMoments.of([0.5] * 2, [0.5] * 2)},
        {"busy": 10, "quiet": 90},
    )
    assert lift.se == pytest.approx(e.se / 0.5)


def test_every_stratum_has_its_own_variance_however_thin():
    busy = [0.1, -0.2, 0.3, 0.4, 0.2, -0.1]
    parts = moments(busy=busy, one=[0.2, 0.0, 0.0], two=[0.0] * 4, three=[0.1, -0.3])
    e = stratified_difference(parts, {"busy": 40, "one": 10, "two": 30, "three": 20}, limits="t")
    terms = {"busy": 0.4**2 * parts["busy"].variance / 6, "one": 0.1**2 * parts["one"].variance / 3}
    terms["three"] = 0.2**2 * parts["three"].variance / 2
    assert e.se**2 == pytest.approx(sum(terms.values()))
    assert e.df == pytest.approx(sum(terms.values()) ** 2 / sum(a**2 / (parts[k].n - 1) for k, a in terms.items()))


def test_many_strata_of_two_have_welchs_degrees_of_freedom():
    rng = np.random.default_rng(2)
    parts = moments(**{f"s{i}": rng.normal(size=2) for i in range(SMALL)})
    e = stratified_difference(parts, dict.fromkeys(parts, 10), limits="t")
    terms = [m.variance / 2 / SMALL**2 for m in parts.values()]
    assert e.df == pytest.approx(max(sum(terms) ** 2 / sum(a**2 / 3 for a in terms) - 2, 1))


@pytest.mark.simulation
def test_strata_of_unlike_spread_and_unlike_weight_are_covered(repetitions):
    """Floors: 20 small strata of 4 and 4 large ones of 4 with 4 times the SD; pooled they covered 0.70. 4 standard errors."""
    times, rng, hits = repetitions(reduced=600, whole=4000), np.random.default_rng(3), 0
    weight = {f"s{i}": 0.03 if i < 20 else 0.1 for i in range(24)}
    for _ in range(times):
        parts = moments(**{name: rng.normal(0, 0.05 if w < 0.1 else 0.2, 4) for name, w in weight.items()})
        e = stratified_difference(parts, weight)
        hits += e.low <= 0 <= e.high
    assert hits / times == pytest.approx(0.95, abs=0.015 + 4 * np.sqrt(0.95 * 0.05 / times))


def test_the_level_takes_each_stratums_own_variance_however_thin():
    parts = moments(a=[0.2, 0.4], b=[0.5, 0.9])
    e = stratified_mean(parts, {"a": 50, "b": 50})
    assert e.df == pytest.approx((0.005 + 0.02) ** 2 / (0.005**2 + 0.02**2))


LEANING = np.r_[np.zeros(60), np.linspace(0.01, 0.05, 30), [0.4, 0.9, 1.4]]


def test_a_leaning_mean_reaches_farther_where_its_tail_is():
    e = stratified_difference(moments(a=LEANING), {"a": 1})
    plain = stratified_difference(moments(a=LEANING), {"a": 1}, limits="t")
    assert e.method == "paired difference, limits corrected for skewness"
    assert e.high > plain.high
    assert plain.low < e.low < e.value
    assert (e.value, e.se, e.df) == (plain.value, plain.se, plain.df)
    back = stratified_difference(moments(a=-LEANING), {"a": 1})
    assert (back.low, back.high) == pytest.approx((-e.high, -e.low))


def test_p_values_and_intervals_agree_on_what_is_significant():
    rng = np.random.default_rng(6)
    leaned = 0
    for _ in range(200):
        e = stratified_difference(moments(a=rng.gamma(0.3, 1, 60) - 0.2), {"a": 1})
        leaned += "skewness" in e.method
        for bound in (e.low, e.high):
            assert p_value(e, null=bound) == pytest.approx(0.05, abs=1e-6)
        assert (p_value(e) < 0.05) == (e.low > 0 or e.high < 0)
    assert leaned > 150


def test_the_lift_leans_as_its_difference_does():
    c = PairedMoments.of(np.full(LEANING.size, 0.5), 0.5 + LEANING)
    gain, lift = stratified_difference({"a": c.difference}, {"a": 1}), relative_lift({"a": c}, {"a": 1})
    assert (lift.low, lift.high) == pytest.approx((gain.low / 0.5, gain.high / 0.5))


def test_limits_follow_from_value_error_and_degrees_of_freedom():
    e = stratified_difference(moments(a=LEANING), {"a": 1})
    wider = limits(Estimate(e.value, 2 * e.se, 0, 0, e.n, "", e.level, e.df), like=e)
    assert wider.high - wider.value == pytest.approx(2 * (e.high - e.value))
    again = limits(e)
    assert (again.low, again.high) == pytest.approx((e.low, e.high))


@given(differences)
def test_cubes_add_and_are_those_of_scipy(x):
    added = Moments.of(x[:1]) + Moments.of(x[1:])
    assert added.centred_cubes == pytest.approx(Moments.of(x).centred_cubes, abs=1e-9)
    assert Moments.of(x).third == pytest.approx(stats.kstat(x, 3), abs=1e-9)


def coverage_script():
    path = Path(__file__).resolve().parents[1] / "docs" / "coverage_means.py"
    spec = importlib.util.spec_from_file_location("coverage_means", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_coverage_tables_interval_is_the_products():
    script, rng = coverage_script(), np.random.default_rng(3)
    for n, strata in ((40, 1), (40, 20), (60, 12), (300, 60)):
        for zeros in (0, 0.5, 0.9):
            shape = (6, strata, n // strata)
            d = np.where(rng.random(shape) < zeros, 0.0, rng.gamma(0.25, 0.2, shape) - 0.04)
            share = script.weights(strata)
            many = script.intervals(script.Sums.of(d), share)
            for row in range(len(d)):
                parts = {str(h): Moments.of(d[row, h]) for h in range(strata)}
                e = stratified_difference(parts, dict(zip(parts, share, strict=True)))
                ours = (many.value[row], many.se[row], many.df[row], many.low[row], many.high[row])
                assert ours == pytest.approx((e.value, e.se, e.df, e.low, e.high), rel=1e-8, abs=1e-12)
                assert many.reliable[row] == (not e.caveat)


@pytest.mark.simulation
@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize(("n", "strata", "zeros"), [(40, 1, 0.0), (100, 50, 0.0), (100, 1, 0.5), (300, 60, 0.8)])
def test_wherever_thirty_differences_are_not_zero_the_interval_covers(kind, n, strata, zeros, repetitions):
    """Among experiments called reliable: 94 to 96 %, give or take 4 Monte Carlo standard errors; A/A errors 4 to 6 %.

    Two skewed queries a stratum are the known exception, a little too long: up to 97.5 % (docs/statistics/means.md).
    """
    repeats = repetitions(reduced=1500, whole=20_000)
    found = coverage_script().cell(n, strata, zeros, kind, repeats)
    off = 0.01 + 4 * np.sqrt(0.05 * 0.95 / (repeats * found.reliable))
    too_long = 0.015 if (kind, strata) == ("skewed", 50) else 0.0
    assert 0.95 - off <= found.covered_reliable <= 0.95 + off + too_long
    assert 0.05 - off - too_long <= found.false_alarms <= 0.05 + off


def test_a_stratum_of_one_query_borrows_the_others_variance_if_asked():
    strata, populations = moments(many=[0.1, -0.2, 0.3, 0.0], one=[0.5]), {"many": 10, "one": 90}
    e = stratified_difference(strata, populations, lone="borrow")
    assert e.value == pytest.approx(0.1 * 0.05 + 0.9 * 0.5)
    assert e.se**2 == pytest.approx(strata["many"].variance * (0.1**2 / 4 + 0.9**2))
    assert stratified_mean(strata, populations, lone="borrow").se == pytest.approx(e.se)
    with pytest.raises(ValueError, match="'one' has 1 judged queries"):
        stratified_mean(strata, populations)
    pairs = {name: PairedMoments.of([0.5] * m.n, [0.5 + m.mean] * m.n) for name, m in strata.items()}
    with pytest.raises(ValueError, match="'one' has 1 judged queries"):
        relative_lift(pairs, populations)
    assert relative_lift(pairs, populations, lone="borrow").value == pytest.approx(e.value / 0.5)


def test_strata_of_one_query_each_are_collapsed_for_the_variance_alone():
    e = stratified_difference(moments(a=[0.1], b=[0.3], c=[-0.2]), {"a": 1, "b": 2, "c": 3}, lone="borrow")
    parts = np.array([0.1 / 6, 0.6 / 6, -0.6 / 6])
    assert (e.value, e.df) == (pytest.approx(parts.sum()), 2)
    assert e.se**2 == pytest.approx(3 * parts.var(ddof=1))


def test_an_interval_on_a_handful_of_queries_of_a_large_stratum_is_not_reliable():
    rng = np.random.default_rng(1)
    strata = moments(head=rng.normal(size=60), tail=[0.1, 0.3])
    e = stratified_difference(strata, {"head": 100, "tail": 9900})
    assert e.caveat.startswith("not reliable: the variance rests on few queries")
    assert stratified_difference(strata, {"head": 9900, "tail": 10}).caveat == ""


def test_arms_that_never_differ_say_so_instead_of_giving_a_p_value():
    e = stratified_difference(moments(a=[0.0] * 50), {"a": 50})
    assert (e.value, e.se, e.caveat) == (0, 0, "not reliable: 0 of 50 differences are not zero, 30 are needed")
    with pytest.raises(ValueError, match="standard error is 0"):
        p_value(e)


def test_a_constant_is_a_constant_whatever_rounding_says():
    assert Moments.of([0.1] * 7).centred_sq == 0
    assert "nothing varied" in stratified_difference(moments(a=[0.1] * 50), {"a": 50}).caveat


def test_thirty_nonzero_differences_are_asked_for():
    few, enough = [0.0] * 71 + [0.01 * i for i in range(1, 30)], [0.0] * 70 + [0.01 * i for i in range(1, 31)]
    assert stratified_difference(moments(a=few), {"a": 1}).caveat.startswith("not reliable: 29 of 100")
    assert stratified_difference(moments(a=enough), {"a": 1}).caveat == ""
    assert stratified_difference(moments(a=few), {"a": 1}, minimum_nonzero=29).caveat == ""


@pytest.mark.parametrize("level", [0, 1, 1.5])
def test_a_level_outside_zero_and_one_is_refused(level):
    with pytest.raises(ValueError, match="give one between 0 and 1"):
        stratified_mean(moments(a=[0, 1]), {"a": 1}, level=level)


def test_a_wider_level_gives_a_wider_interval():
    x = moments(a=np.linspace(-1, 1, 40))
    narrow, wide = (stratified_difference(x, {"a": 1}, level=level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    c = PairedMoments.of(np.linspace(0.2, 0.8, 40), np.linspace(0.1, 0.95, 40))
    narrow, wide = (relative_lift({"a": c}, {"a": 1}, level=level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    ("strata", "populations", "problem"),
    [
        ({"single": Moments.of([0.2])}, {"single": 5}, "'single' has 1 judged queries"),
        ({"a": Moments.of([0.2, 0.1])}, {}, "'a' was sampled but has no population"),
        ({"a": Moments.of([0.2, 0.1])}, {"a": 0}, "'a' was sampled but has no population"),
        ({}, {}, "no strata"),
    ],
)
def test_what_has_no_answer_is_refused_by_name(strata, populations, problem):
    with pytest.raises(ValueError, match=problem):
        stratified_difference(strata, populations)


def test_values_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="value 1 is not a finite number"):
        Moments.of([0.1, np.nan])
    with pytest.raises(ValueError, match="no values"):
        Moments.of([])
    with pytest.raises(ValueError, match="2 control and 3 treatment"):
        PairedMoments.of([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="needs one above 0"):
        relative_lift({"a": PairedMoments.of([0, 0], [0, 1])}, {"a": 1})


def test_quantiles_are_those_of_scipy():
    assert t_quantile(0.9, 7) == pytest.approx(stats.t.ppf(0.9, 7))
    assert t_quantile(0.9, None) == pytest.approx(stats.norm.ppf(0.9))


@pytest.mark.simulation
def test_the_interval_covers_the_truth():
    """2,000 experiments, two unequal strata. Monte Carlo tolerance: 4 sqrt(p (1 - p) / 2000) = 0.0195."""
    rng = np.random.default_rng(7)
    truth = 0.2 * 0.05 + 0.8 * 0.01
    hits = 0
    for _ in range(2000):
        e = stratified_difference(
            moments(head=rng.normal(0.05, 0.2, 40), tail=rng.normal(0.01, 0.1, 60)), {"head": 20, "tail": 80}
        )
        hits += e.low <= truth <= e.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.0195)


@pytest.mark.simulation
def test_the_lifts_interval_covers_the_truth():
    """2,000 experiments of 150 queries, control and difference correlated. Monte Carlo tolerance 0.0195."""
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(2000):
        strata = {}
        for name, mean in (("head", 0.6), ("tail", 0.4)):
            c = rng.normal(mean, 0.15, 75)
            strata[name] = PairedMoments.of(c, c + rng.normal(0.02, 0.08, 75) - 0.2 * (c - mean))
        e = relative_lift(strata, {"head": 30, "tail": 70})
        hits += e.low <= 0.02 / 0.46 <= e.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.0195)


SENSELESS = [
    ({"a": np.nan, "b": 1}, "'a' has a population of nan"),
    ({"a": np.inf, "b": 1}, "'a' has a population of inf"),
    ({"a": -5, "b": 10}, "'a' has a population of -5"),
    ({"a": 0, "b": 0}, "'a' was sampled but has no population"),
    ({"a": 1, "b": 1, "never sampled": np.nan}, "'never sampled' has a population of nan"),
    ({"a": 1e308, "b": 1e308}, "add up to no finite number"),
]


@pytest.mark.parametrize(("sizes", "said"), SENSELESS)
def test_no_estimator_takes_a_population_that_is_no_number_of_queries(sizes, said):
    d, strata = np.array([0.1, 0.3, 0.2, 0.0, 0.4, 0.5]), np.repeat(["a", "b"], 3)
    rows = {"a": slice(0, 3), "b": slice(3, 6)}
    parts = {name: Moments.of(d[at]) for name, at in rows.items()}
    pairs = {name: PairedMoments.of(1 + d[at], 1 + 2 * d[at]) for name, at in rows.items()}
    estimators = [
        lambda: stratified_mean(parts, sizes),
        lambda: stratified_difference(parts, sizes),
        lambda: relative_lift(pairs, sizes),
        lambda: clustered_difference(d, strata=strata, populations=sizes, clusters=[0, 1, 2, 3, 4, 5]),
        lambda: clustered_difference(d, strata=strata, populations=sizes, clusters=[0, 1, 2, 0, 1, 2]),
        lambda: poststratified_difference(d, strata, sizes),
        lambda: adjusted_difference(d, d**2, strata=strata, populations=sizes, covariate_means=[0.1]),
        lambda: bootstrap_difference(d, strata=strata, populations=sizes, seed=1, resamples=100),
        lambda: unpaired_difference(d, d, strata_control=strata, strata_treatment=strata, populations=sizes),
    ]
    for estimator in estimators:
        with pytest.raises(InputError, match=said):
            estimator()
    with pytest.raises(InputError, match=said.replace("population", "traffic total")):
        traffic_difference(d, d + 1, strata=strata, traffic_totals=sizes)
