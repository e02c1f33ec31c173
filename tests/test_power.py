"""Detectable effects and sample sizes: by hand, against scipy and statsmodels, as properties, and simulated."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from germane.stats.allocation import neyman, stratified_se
from germane.stats.correction import corrected_se
from germane.stats.power import (
    adjusted_sd,
    clustered_sd,
    equivalence_sample_size,
    least_sample,
    mde,
    relative_mde,
    sample_size,
    stratified_sample_size,
    traffic_sd,
    unpaired_se,
)
from germane.types import InputError

stratum = st.tuples(
    st.integers(2, 400), st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.1, 0.3, 0.77]), st.sampled_from([0.5, 1.0, 4.0])
)


@st.composite
def designs(draw):
    """populations, sds, costs, and an n that they can hold."""
    rows = draw(st.lists(stratum, min_size=1, max_size=8))
    populations, sds, costs = (np.array(column) for column in zip(*rows, strict=True))
    return populations, sds, costs, draw(st.integers(2 * len(rows), int(populations.sum())))


def test_the_usual_mde_is_two_point_eight_standard_errors():
    assert mde(1.0) == pytest.approx(2.8016, abs=5e-5)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_test_finds_its_mde_with_its_power(level, power):
    from scipy.stats import norm

    effect = mde(0.3, level=level, power=power)
    assert norm.sf(norm.isf((1 - level) / 2) - effect / 0.3) == pytest.approx(power, abs=1e-12)


@pytest.mark.parametrize("power", [0.8, 0.95])
def test_mde_and_sample_size_agree_with_statsmodels(power):
    from statsmodels.stats.power import NormalIndPower

    oracle = NormalIndPower(ddof=0)  # ratio 0: one sample; "larger" at alpha / 2 leaves out the far tail, as we do

    def found(effect, n):
        return oracle.power(effect / 0.06, n, 0.025, ratio=0, alternative="larger")

    assert found(mde(0.06 / np.sqrt(400), power=power), 400) == pytest.approx(power, abs=1e-12)
    n = sample_size(0.06, 0.002, power=power)
    assert found(0.002, n - 1) < power <= found(0.002, n)


@given(st.floats(0.001, 10), st.floats(0.001, 10))
def test_the_sample_size_is_the_least_that_reaches_the_effect(sd, effect):
    assume(sd / effect < 1e5)
    n = sample_size(sd, effect)
    assert mde(sd / np.sqrt(n)) <= effect * (1 + 1e-9)
    if n > 2:
        assert mde(sd / np.sqrt(n - 1)) >= effect * (1 - 1e-9)


def test_one_stratum_needs_what_a_simple_random_sample_needs():
    assert stratified_sample_size([100_000], [0.06], 0.002) == sample_size(0.06, 0.002)


@settings(max_examples=30)
@given(designs(), st.floats(1.01, 3.0))
def test_the_stratified_sample_size_is_the_least_that_reaches_the_effect(design, factor):
    populations, sds, _, _ = design
    assume(sds.any())
    size, smallest = int(populations.sum()), 2 * len(populations)

    def reached(n):
        return mde(stratified_se(populations, sds, neyman(populations, sds, n)))

    effect = reached(size) * factor
    n = stratified_sample_size(populations, sds, effect)
    assert reached(n) <= effect
    assert n == smallest or reached(n - 1) > effect


def test_an_effect_that_a_census_cannot_see_is_out_of_reach():
    with pytest.raises(InputError, match=r"judging all 100 queries has an MDE of 0\.02802"):
        stratified_sample_size([100], [0.1], 0.001)


def test_a_relative_effect_needs_a_level_above_zero():
    assert relative_mde(0.002, 0.7) == pytest.approx(mde(0.002) / 0.7)
    with pytest.raises(InputError, match="needs a mean above 0"):
        relative_mde(0.002, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mde(float("nan")),
        lambda: mde(-0.1),
        lambda: mde(0.1, level=1.0),
        lambda: mde(0.1, power=0.0),
        lambda: mde(0.1, power=0.01),
        lambda: sample_size(0.1, 0.0),
        lambda: sample_size(float("inf"), 0.1),
    ],
)
def test_an_effect_of_nothing_sensible_is_an_error(call):
    with pytest.raises(InputError):
        call()


# --- each estimator -------------------------------------------------------------------------------------------------


def test_what_an_estimator_does_to_the_sd_of_a_query_comes_out_by_hand():
    assert adjusted_sd(0.1, 0.6) == pytest.approx(0.08)
    assert adjusted_sd(0.1, -0.6) == pytest.approx(0.08)
    assert clustered_sd(0.1, 5, 0.75) == pytest.approx(0.2)
    assert clustered_sd(0.1, 1, 0.75) == clustered_sd(0.1, 5, 0) == pytest.approx(0.1)
    assert traffic_sd(0.1, 0.75) == pytest.approx(0.125)
    assert unpaired_se(0.3, 0.4, 9, 16) == pytest.approx(np.sqrt(0.02))


def test_a_correction_comes_out_by_hand():
    # nested: 0.36 / 100 + 0.64 / 400; separate: (1 - 0.64 / 1.25) / 100
    assert corrected_se(1.0, 0.8, n=100, m=400) ** 2 == pytest.approx(0.0052)
    assert corrected_se(1.0, 0.8, n=100, m=400, nested=False) ** 2 == pytest.approx(0.00488)


@given(st.floats(-0.99, 0.99), st.integers(2, 500), st.integers(0, 5000))
def test_a_correction_never_does_worse_than_people_alone(rho, audited, more):
    judged = audited + more
    alone = 0.06 / np.sqrt(audited)
    for nested in (True, False):
        corrected = corrected_se(0.06, rho, n=audited, m=judged, nested=nested)
        assert 0 < corrected <= alone * (1 + 1e-12)
        assert corrected_se(0.06, 0.0, n=audited, m=judged, nested=nested) == pytest.approx(alone)
    # FACTS: corrected / people-only = sqrt(1 - rho^2 + rho^2 n/m)
    ratio = corrected_se(0.06, rho, n=audited, m=judged) / alone
    assert ratio == pytest.approx(np.sqrt(1 - rho**2 + rho**2 * audited / judged))


@pytest.mark.parametrize(("margin", "true"), [(0.02, 0.0), (0.02, 0.005), (0.03, -0.01)])
def test_the_size_of_an_equivalence_test_is_the_least_that_scipy_finds_enough(margin, true):
    from scipy.stats import norm

    def power(n):
        se = 0.2 / np.sqrt(n)
        z = norm.isf(0.05)
        return norm.cdf((margin - true) / se - z) - norm.cdf((-margin - true) / se + z)

    n = equivalence_sample_size(0.2, margin, true=true)
    assert power(n - 1) < 0.8 <= power(n)
    assert equivalence_sample_size(0.2, margin, true=true, power=0.9) > n
    assert equivalence_sample_size(0.2, margin, true=true, level=0.99) > n


def test_a_sample_is_not_searched_for_in_vain():
    with pytest.raises(InputError, match="out of reach: judging all 50 queries has an MDE of"):
        least_sample(lambda n: 5 / n, 0.01, few=2, many=50)
    assert least_sample(lambda n: 5 / n, 0.5, few=2, many=50) == 10


def test_minimum_and_weights_move_the_stratified_sample_size():
    populations, sds = [1000, 9000], [0.12, 0.05]
    n = stratified_sample_size(populations, sds, 0.005)
    assert stratified_sample_size(populations, sds, 0.005, minimum=600) > n
    assert stratified_sample_size(populations, sds, 0.005, weights=[2000, 8000]) > n
    assert stratified_sample_size(populations, sds, 0.005, power=0.9) > n


@pytest.mark.parametrize(
    "call",
    [
        lambda: adjusted_sd(0.1, 1.0),
        lambda: adjusted_sd(-0.1, 0.5),
        lambda: clustered_sd(0.1, 0.5, 0.1),
        lambda: clustered_sd(0.1, 5, 1.1),
        lambda: traffic_sd(0.1, -1),
        lambda: traffic_sd(0.1, float("inf")),
        lambda: unpaired_se(0.1, 0.1, 1, 9),
        lambda: corrected_se(0.1, 0.5, n=11, m=10),
        lambda: equivalence_sample_size(0.1, 0.01, true=0.01),
        lambda: equivalence_sample_size(float("nan"), 0.01),
    ],
)
def test_an_estimator_of_nothing_sensible_is_an_error(call):
    with pytest.raises(InputError):
        call()


# --- the power that was promised ------------------------------------------------------------------------------------


def found(estimates, se, effect):
    """The share of experiments in which a test with this standard error finds an effect."""
    return float((np.abs(estimates + effect) > 1.959964 * se).mean())


@pytest.mark.simulation
def test_experiments_find_their_mde_four_times_in_five(repetitions):
    """Stratified, adjusted, clustered, traffic-weighted, unpaired and corrected estimates of an effect of one MDE, with
    the standard error known. Monte Carlo tolerance: 4 sqrt(0.8 x 0.2 / rounds), 0.025 at 4,000."""
    rounds = repetitions(reduced=4000, whole=40_000)
    rng = np.random.default_rng(23)
    near = pytest.approx(0.8, abs=4 * np.sqrt(0.16 / rounds))

    populations, sds = np.array([1000, 9000]), np.array([0.3, 0.05])
    sample = neyman(populations, sds, 60)
    strata = [rng.normal(0, s, (rounds, k)).mean(axis=1) for s, k in zip(sds, sample, strict=True)]
    se = stratified_se(populations, sds, sample)
    assert found(np.array([0.1, 0.9]) @ strata, se, mde(se)) == near

    x = rng.standard_normal((rounds, 50))
    d = 0.06 * (0.6 * x + 0.8 * rng.standard_normal((rounds, 50)))
    se = adjusted_sd(0.06, 0.6) / np.sqrt(50)
    assert found((d - 0.06 * 0.6 * x).mean(axis=1), se, mde(se)) == near  # the covariate's mean in the population is 0

    own, shared = rng.standard_normal((rounds, 10, 5)), rng.standard_normal((rounds, 10, 1))
    se = clustered_sd(0.06, 5, 0.3) / np.sqrt(50)
    assert found(0.06 * (np.sqrt(0.7) * own + np.sqrt(0.3) * shared).mean(axis=(1, 2)), se, mde(se)) == near

    traffic = rng.permuted(np.tile([1.0] * 40 + [6.0] * 10, (rounds, 1)), axis=1)
    d = rng.normal(0, 0.06, (rounds, 50))
    se = traffic_sd(0.06, traffic[0].std() / traffic[0].mean()) / np.sqrt(50)
    assert found((traffic * d).sum(axis=1) / traffic.sum(axis=1), se, mde(se)) == near

    arms = [rng.normal(0, s, (rounds, n)).mean(axis=1) for s, n in ((0.2, 30), (0.3, 60))]
    se = unpaired_se(0.2, 0.3, 30, 60)
    assert found(arms[1] - arms[0], se, mde(se)) == near

    f = rng.standard_normal((rounds, 200))
    y = 0.06 * (0.7 * f + np.sqrt(0.51) * rng.standard_normal((rounds, 200)))
    lam, part = 0.06 * 0.7, slice(0, 50)
    se = corrected_se(0.06, 0.7, n=50, m=200)
    assert found(lam * f.mean(axis=1) + (y - lam * f)[:, part].mean(axis=1), se, mde(se)) == near
    rest = slice(50, 200)
    lam /= 1 + 50 / 150
    se = corrected_se(0.06, 0.7, n=50, m=150, nested=False)
    assert found(lam * f[:, rest].mean(axis=1) + (y - lam * f)[:, part].mean(axis=1), se, mde(se)) == near
