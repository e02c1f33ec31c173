import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from germane.stats.arms import join_loss, unpaired_difference
from germane.stats.means import p_value
from germane.types import InputError

arms = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=25).filter(lambda x: np.std(x) > 1e-3)
POPULATIONS = {"head": 20, "tail": 80}


def both(control, treatment, **options):
    """Each arm's values, half of them head."""
    names = [np.where(np.arange(len(x)) % 2, "head", "tail") for x in (control, treatment)]
    return unpaired_difference(
        control, treatment, strata_control=names[0], strata_treatment=names[1], populations=POPULATIONS, **options
    )


@given(arms, arms)
def test_one_stratum_is_welchs_test_of_scipy(control, treatment):
    e = unpaired_difference(
        control,
        treatment,
        strata_control=["a"] * len(control),
        strata_treatment=["a"] * len(treatment),
        populations={"a": 5},
        level=0.9,
    )
    oracle = stats.ttest_ind(treatment, control, equal_var=False)
    low, high = oracle.confidence_interval(0.9)
    assert (e.value, e.low, e.high) == pytest.approx((np.mean(treatment) - np.mean(control), low, high))
    assert (e.df, p_value(e)) == pytest.approx((oracle.df, oracle.pvalue))
    assert (e.n, e.method) == (len(control) + len(treatment), "unpaired difference, Welch")


@given(st.lists(st.floats(0, 1, width=32), min_size=8, max_size=30), st.lists(st.floats(0, 1), min_size=8, max_size=30))
def test_swapping_the_arms_negates_it(control, treatment):
    there, back = both(control, treatment), both(treatment, control)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert there.method == "stratified unpaired difference, Welch"


def test_strata_add_their_variances_over_both_arms_by_hand():
    c, t = np.array([0.1, 0.4, 0.2, 0.9, 0.5, 0.3]), np.array([0.3, 0.6, 0.9, 0.2])
    e = both(c, t)
    terms = [w**2 * x.var(ddof=1) / x.size for x in (c, t) for w, x in ((0.8, x[::2]), (0.2, x[1::2]))]
    assert e.se**2 == pytest.approx(sum(terms))
    assert e.df == pytest.approx(sum(terms) ** 2 / (terms[0] ** 2 / 2 + terms[1] ** 2 / 2 + terms[2] ** 2 + terms[3] ** 2))
    assert e.value == pytest.approx(0.8 * t[::2].mean() + 0.2 * t[1::2].mean() - 0.8 * c[::2].mean() - 0.2 * c[1::2].mean())
    assert e.caveat.startswith("not reliable: the variance rests on few queries")


def test_a_wider_level_is_a_wider_interval_and_many_queries_are_reliable():
    rng = np.random.default_rng(1)
    c, t = rng.uniform(size=80), rng.uniform(size=60)
    narrow, wide = both(c, t, level=0.8), both(c, t, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert narrow.caveat == ""


def test_a_stratum_that_one_arm_lacks_is_refused():
    with pytest.raises(InputError, match="'tail' has queries in the control and none in the treatment"):
        unpaired_difference(
            [1, 2, 3, 4],
            [1, 2],
            strata_control=["head", "head", "tail", "tail"],
            strata_treatment=["head", "head"],
            populations=POPULATIONS,
        )
    with pytest.raises(InputError, match="'tail' has queries in the treatment and none in the control"):
        unpaired_difference(
            [1, 2], [1, 2, 3], strata_control=["head"] * 2, strata_treatment=["head", "head", "tail"], populations=POPULATIONS
        )
    with pytest.raises(ValueError, match="has no population"):
        unpaired_difference([1, 2], [1, 3], strata_control=["x"] * 2, strata_treatment=["x"] * 2, populations=POPULATIONS)


def test_a_stratum_of_one_query_borrows_from_its_own_arm_only_if_asked():
    """Control 1, 3 | 5, treatment 2, 6 | 4, 5: variances 2 (lent to the lone 5), 8 and 0.5."""
    names = ["head", "head", "tail"], ["head", "head", "tail", "tail"]
    options = {"strata_control": names[0], "strata_treatment": names[1], "populations": {"head": 1, "tail": 3}}
    with pytest.raises(ValueError, match="has 1 judged queries"):
        unpaired_difference([1, 3, 5], [2, 6, 4, 5], **options)
    e = unpaired_difference([1, 3, 5], [2, 6, 4, 5], **options, lone="borrow")
    terms = np.array([2 / 16 / 2, 2 * 9 / 16, 8 / 16 / 2, 0.5 * 9 / 16 / 2])
    assert e.value == pytest.approx((4 + 3 * 4.5) / 4 - (2 + 3 * 5) / 4)
    assert e.se**2 == pytest.approx(terms.sum())
    assert (e.n, e.method[:10]) == (7, "stratified")
    assert e.df == pytest.approx(terms.sum() ** 2 / (terms**2).sum())
    assert e.high - e.value == pytest.approx(e.value - e.low)


def test_joining_arms_on_the_query_loses_the_singles():
    loss = join_loss(["single"] * 3 + ["head"], ["single"] * 2, ["head"] * 9 + ["torso"])
    assert loss == {"head": 0.1, "single": 1.0, "torso": 0.0}
    assert join_loss([], [], []) == {}


@pytest.mark.simulation
def test_two_live_arms_are_covered(repetitions):
    """Two strata, unequal arms and variances. Tolerance: 4 Monte Carlo standard errors."""
    repeats, rng = repetitions(reduced=500, whole=5000), np.random.default_rng(4)
    held = 0
    for _ in range(repeats):
        c = np.where(np.arange(80) % 2, rng.normal(0.6, 0.2, 80), rng.normal(0.3, 0.1, 80))
        t = np.where(np.arange(50) % 2, rng.normal(0.65, 0.1, 50), rng.normal(0.32, 0.3, 50))
        e = both(c, t)
        held += e.low <= 0.2 * 0.05 + 0.8 * 0.02 <= e.high
    assert held / repeats == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.05 * 0.95 / repeats))
