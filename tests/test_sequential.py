"""Confidence sequences hold at every look; CUSUM and e-detectors alarm as rarely as they say, and see a drop at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from germane.stats.run_length import cusum_threshold, run_length
from germane.stats.sequential import confidence_sequence, cusum, e_detector, standard_errors
from germane.types import InputError

EARLY = {"burn_in": 2, "minimum_nonzero": 1, "minimum_df": 0}
series = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=40).filter(lambda x: np.std(x[:2]) > 1e-3)


# --- the confidence sequence ----------------------------------------------------------------------------------------------


def test_the_interval_is_the_formula_of_the_paper_by_hand():
    """mean +- sd sqrt(2 (t r^2 + 1) / (t^2 r^2) log(sqrt(t r^2 + 1) / alpha)), at each look."""
    x = np.array([0.1, -0.2, 0.3, 0.05, 0.0, 0.4])
    found = confidence_sequence(x, intended=50, level=0.9, **EARLY)
    alpha = 0.1
    u = np.linspace(0.01, 60, 2_000_000)
    r = np.sqrt(u[np.argmin((u + 1) / u * np.log((u + 1) / alpha**2))] / 50)  # r by search, not by Lambert's W
    for look, value, high in zip(found.looks, found.value, found.high, strict=True):
        t, seen = int(look), x[: int(look)]
        margin = seen.std(ddof=1) * np.sqrt(2 * (t * r**2 + 1) / (t**2 * r**2) * np.log(np.sqrt(t * r**2 + 1) / alpha))
        assert value == pytest.approx(seen.mean())
        assert high - value == pytest.approx(margin, rel=1e-4)
    assert found.estimate.high == found.high[-1]
    assert found.estimate.se == pytest.approx(x.std(ddof=1) / np.sqrt(6))
    assert (found.estimate.n, found.estimate.level) == (6, 0.9)


def test_it_is_tightest_in_standard_errors_where_it_was_meant_to_be():
    t = np.arange(10, 20_000)
    for intended in (200, 2000):
        assert t[np.argmin(standard_errors(t, intended=intended))] == pytest.approx(intended, abs=1)
    assert standard_errors(1000, intended=1000, level=0.99) > standard_errors(1000, intended=1000, level=0.95) > 1.96


def test_a_stratified_sequence_is_the_stratified_mean_at_every_look():
    rng = np.random.default_rng(5)
    names = rng.permutation(np.repeat(["head", "tail"], [60, 40]))
    x = np.where(names == "head", 0.2, -0.1) + rng.normal(0, 0.1, 100)
    found = confidence_sequence(x, intended=100, strata=names, populations={"head": 10, "tail": 90}, **EARLY)
    for at in (0, 20, -1):
        t = int(found.looks[at])
        head, tail = (x[:t][names[:t] == name] for name in ("head", "tail"))
        se = np.sqrt(0.01 * head.var(ddof=1) / head.size + 0.81 * tail.var(ddof=1) / tail.size)
        assert found.value[at] == pytest.approx(0.1 * head.mean() + 0.9 * tail.mean())
        assert found.high[at] - found.value[at] == pytest.approx(se * standard_errors(t, intended=100)[()])
    assert found.estimate.method.startswith("stratified")


def test_a_stratum_that_has_not_varied_yet_borrows_the_variance_of_the_others():
    x = np.array([0.1, 0.0, 0.3, 0.0, -0.2, 0.0])
    names = ["a", "b"] * 3
    found = confidence_sequence(x, intended=10, strata=names, populations={"a": 1, "b": 1}, **EARLY)
    pooled = x[::2].var(ddof=1) * 2 / 4
    assert found.estimate.se**2 == pytest.approx(0.25 * x[::2].var(ddof=1) / 3 + 0.25 * pooled / 3)


@given(series)
def test_swapping_the_arms_negates_every_look(x):
    there = confidence_sequence(x, intended=20, **EARLY)
    back = confidence_sequence(np.negative(x), intended=20, **EARLY)
    assert back.low == pytest.approx(-there.high)
    assert back.looks.tolist() == there.looks.tolist()


@given(series, st.floats(0.01, 100))
def test_another_unit_of_the_metric_scales_the_interval(x, unit):
    there, other = (confidence_sequence(np.multiply(x, by), intended=20, **EARLY) for by in (1, unit))
    assert other.high == pytest.approx(unit * there.high, rel=1e-6, abs=1e-9 * unit)


def test_there_is_no_interval_before_its_time_and_it_says_what_is_missing():
    x = np.where(np.arange(600) % 4 == 0, np.random.default_rng(2).normal(0, 0.1, 600), 0.0)
    young = confidence_sequence(x[:200], intended=1000)
    assert young.estimate is None
    assert young.decided is None
    assert not young.looks.size
    assert young.caveat == "no interval yet: 200 queries so far, 300 are needed"
    assert confidence_sequence(x, intended=1000).caveat == (
        "no interval yet: 150 of 600 differences are not zero, 200 are needed"
    )
    assert confidence_sequence(x, intended=1000, minimum_nonzero=100).looks[0] == 397  # the 100th of every fourth
    assert confidence_sequence(x, intended=1000, minimum_nonzero=100, burn_in=450).looks[0] == 450
    lone = confidence_sequence(x, intended=9, strata=["a"] * 599 + ["b"], populations={"a": 1, "b": 1}, **EARLY)
    assert lone.caveat == "no interval yet: a stratum has fewer than 2 queries so far"
    assert confidence_sequence(np.full(400, 0.3), intended=9).caveat.startswith("no interval: nothing varied")


def test_the_experiment_may_stop_where_the_interval_first_leaves_out_0():
    x = np.random.default_rng(1).normal(0.02, 0.1, 2000)
    found = confidence_sequence(x, intended=1000)
    first = np.flatnonzero((found.low > 0) | (found.high < 0))[0]
    assert found.decided == found.looks[first]
    assert confidence_sequence(x - x.mean(), intended=1000).decided is None


@pytest.mark.simulation
@pytest.mark.parametrize("zeros", [0.0, 0.8])
def test_the_truth_is_inside_at_every_one_of_3_000_looks(zeros, repetitions):
    """Nominal 5 %, and less in finite time; t intervals at every look err in half of all experiments.

    Monte Carlo tolerance: 4 sqrt(0.05 0.95 / n), 0.044 at 400.
    """
    n, rng, wrong, peeked = repetitions(reduced=400, whole=4000), np.random.default_rng(int(10 * zeros)), 0, 0
    looks = np.arange(30, 3001)
    critical = stats.t.ppf(0.975, looks - 1)
    for _ in range(n):
        x = np.where(rng.random(3000) < zeros, 0.0, rng.normal(0, 0.1, 3000))
        wrong += confidence_sequence(x, intended=1000).decided is not None
        mean = np.cumsum(x)[29:] / looks
        sd = np.sqrt(np.maximum(np.cumsum(x**2)[29:] / looks - mean**2, 1e-12) * looks / (looks - 1))
        peeked += bool((abs(mean) > critical * sd / np.sqrt(looks)).any())
    assert wrong / n <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / n)
    assert peeked / n > 0.35


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"differences": [0.1, float("nan")]}, "difference 1 is not a finite number"),
        ({"differences": []}, "no differences"),
        ({"differences": [[0.1, 0.2]]}, r"shape \(1, 2\)"),
        ({"level": 1.0}, "level is 1.0"),
        ({"intended": 0}, "intended is 0"),
        ({"burn_in": 1}, "burn_in 1"),
        ({"strata": ["a"]}, "2 differences and 1 strata"),
        ({"strata": ["a", "b"]}, "without populations"),
        ({"strata": ["a", "b"], "populations": {"a": 1}}, "stratum 'b' has no population"),
        ({"strata": ["a", "b"], "populations": {"a": 1, "b": 0}}, "stands for more than 0 queries"),
    ],
)
def test_a_sequence_that_cannot_be_is_refused_in_one_line(change, complaint):
    with pytest.raises(InputError, match=complaint):
        confidence_sequence(**({"differences": [0.1, 0.2], "intended": 100} | change))


# --- CUSUM ------------------------------------------------------------------------------------------------------------


def test_cusum_by_hand_forgets_small_changes_and_starts_anew_after_an_alarm():
    found = cusum([1.0, 2.0, -1.0, 3.0, 1.0, -4.0], sd=2.0, target=1.0, k=0.25, h=0.6)
    # z: 0, 0.5, -1, 1, 0, -2.5; up: 0, .25, 0, .75 alarm, 0, 0; down: 0, 0, .75 alarm, 0, 0, 2.25 alarm
    assert found.statistic.tolist() == [0.0, 0.25, 0.75, 0.75, 0.0, 2.25]
    assert found.alarm.tolist() == [False, False, True, True, False, True]
    assert (int(found.first), found.threshold) == (2, 0.6)
    up = cusum([1.0, 2.0, -1.0, 3.0, 1.0, -4.0], sd=2.0, target=1.0, k=0.25, h=0.6, direction="up")
    assert up.alarm.tolist() == [False, False, False, True, False, False]
    assert cusum([0.0, 0.1], sd=1.0).first == -1


def test_run_lengths_are_those_of_the_textbook():
    """Montgomery, Introduction to Statistical Quality Control (6th ed., 2009), tables 9.3 and 9.4; k 0.5, h 4 and 5."""
    for shift, four, five in ((0.0, 168, 465), (0.5, 26.6, 38.0), (1.0, 8.38, 10.4), (2.0, 3.34, 4.01), (4.0, 1.71, 2.01)):
        assert run_length(4.0, shift=shift) == pytest.approx(four, rel=0.004)
        assert run_length(5.0, shift=shift) == pytest.approx(five, rel=0.004)
    for k, h in ((0.25, 8.01), (0.5, 4.77), (0.75, 3.34), (1.0, 2.52)):
        assert cusum_threshold(370, k=k) == pytest.approx(h, abs=0.01)


@given(st.floats(5, 5000), st.floats(0.1, 2.0), st.booleans())
@settings(max_examples=25)
def test_the_threshold_gives_the_run_length_that_was_asked_for(arl0, k, two_sided):
    h = cusum_threshold(arl0, k=k, two_sided=two_sided)
    if h > 1e-6:  # below it, even a threshold of 0 is rarer than asked
        assert run_length(h, k=k, two_sided=two_sided) == pytest.approx(arl0, rel=1e-6)


@pytest.mark.simulation
def test_cusum_alarms_as_rarely_as_it_says(repetitions):
    """Run lengths are near geometric: the Monte Carlo error of their mean is mean / sqrt(n)."""
    n = repetitions(reduced=300, whole=4000)
    first = cusum(np.random.default_rng(8).normal(size=(n, 1200)), sd=1.0, arl0=100).first
    assert (first >= 0).all()
    assert first.mean() + 1 == pytest.approx(100, rel=4 / np.sqrt(n))


# --- e-detectors ---------------------------------------------------------------------------------------------------------


def test_an_e_detector_is_a_sum_over_all_moments_at_which_the_change_may_have_begun():
    x, shifts = np.array([0.5, -1.0, 2.0, 1.5]), np.array([0.25, 0.5, 1.0, 2.0, 4.0])
    found = e_detector(x, sd=2.0, direction="up", arl0=1e9)
    for t in range(1, 5):
        starts = [np.exp(shifts * x[s:t].sum() / 2 - (t - s) * shifts**2 / 2) for s in range(t)]
        assert np.exp(found.statistic[t - 1]) == pytest.approx(np.mean(np.sum(starts, axis=0)))
        largest = e_detector(x[:t], sd=2.0, direction="up", arl0=1e9, kind="cusum").statistic[-1]
        assert np.exp(largest) == pytest.approx(np.mean(np.max(starts, axis=0)))
    assert found.threshold == pytest.approx(np.log(1e9))


def test_bounded_queries_multiply_within_a_look():
    x = np.array([[0.2, -0.4], [0.1, 0.3]])
    found = e_detector(x, bound=0.5, null=0.1, direction="down", arl0=1e9)
    bets = np.array([0.05, 0.1, 0.25, 0.5, 0.9])[:, None, None]
    looks = np.prod(1 - bets * (x - 0.1) / 0.5, axis=2)
    assert np.exp(found.statistic) == pytest.approx([looks[:, 0].mean(), (looks[:, 1] * (looks[:, 0] + 1)).mean()])
    assert e_detector([0.2, -0.4], bound=1.0).statistic.shape == (2,)


def test_either_direction_is_the_mean_of_both():
    x = np.random.default_rng(4).normal(size=30)
    either, up, down = (np.exp(e_detector(x, sd=1.0, direction=d, arl0=1e9).statistic) for d in ("either", "up", "down"))
    assert either == pytest.approx((up + down) / 2)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30), st.sampled_from(["sr", "cusum"]))
@settings(max_examples=30)
def test_the_largest_start_is_at_most_the_sum_of_all(x, kind):
    sums = e_detector(x, sd=1.0, arl0=1e12 / 2).statistic
    assert (e_detector(x, sd=1.0, kind=kind, arl0=1e12 / 2).statistic <= sums + 1e-9).all()


@pytest.mark.simulation
@pytest.mark.parametrize("kind", ["sr", "cusum"])
def test_false_alarms_are_rarer_than_promised_whatever_the_shape(kind, repetitions):
    """Skewed values within a bound: not one assumption of a normal detector holds, and the promise does (within 3 errors)."""
    n = repetitions(reduced=200, whole=2000)
    x = np.minimum(np.random.default_rng(6).exponential(0.1, (n, 2000, 1)), 1.0)
    x -= 0.1 * (1 - np.exp(-10))
    first = e_detector(x, bound=1.0, arl0=50, kind=kind).first
    seen = np.where(first < 0, 2000, first + 1)
    assert seen.mean() + 3 * seen.std() / np.sqrt(n) > 50


@pytest.mark.simulation
def test_a_panel_sees_in_three_days_what_fresh_samples_do_not(repetitions):
    """A drop of 0.01 in 200 queries: SD 0.05 of a query's difference from its own past, or 0.2 between queries."""
    n, rng = repetitions(reduced=300, whole=3000), np.random.default_rng(11)
    step = np.where(np.arange(33) < 30, 0.0, 0.01)
    for spread, detect, low, high in (
        (0.05, cusum, 0.85, 1.0),
        (0.05, e_detector, 0.75, 1.0),
        (0.2, cusum, 0.0, 0.1),
        (0.2, e_detector, 0.0, 0.05),
    ):
        sd = spread / np.sqrt(200)
        alarm = detect(rng.normal(0, sd, (n, 33)) - step, sd=sd, direction="down").alarm
        share = alarm[:, 30:].any(1).mean()
        assert low <= share <= high, (spread, detect.__name__, share)


@pytest.mark.parametrize("detect", [cusum, e_detector])
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"values": [0.0, float("inf")]}, "value 1 is not a finite number"),
        ({"values": []}, "there are no values"),
        ({"sd": 0.0}, "sd is 0.0"),
        ({"arl0": 1}, "arl0 is 1"),
        ({"direction": "sideways"}, "direction 'sideways'"),
    ],
)
def test_a_detector_that_cannot_be_is_refused_in_one_line(detect, change, complaint):
    with pytest.raises(InputError, match=complaint):
        detect(**({"values": [0.1, 0.2], "sd": 1.0} | change))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, "either sd .* or bound"),
        ({"sd": 1.0, "bound": 1.0}, "either sd .* or bound"),
        ({"bound": 0.1}, "lies 0.2 from null, and the bound is 0.1"),
        ({"sd": 1.0, "kind": "max"}, "kind 'max' is unknown"),
    ],
)
def test_an_e_detector_needs_to_know_what_bounds_the_noise(change, complaint):
    with pytest.raises(InputError, match=complaint):
        e_detector([0.1, 0.2], **change)


def test_cusum_needs_a_slack_and_a_threshold_above_0():
    with pytest.raises(InputError, match="k is 0"):
        cusum([0.1], sd=1.0, k=0)
    with pytest.raises(InputError, match="h is -1"):
        cusum([0.1], sd=1.0, h=-1)


def test_a_heavy_stratum_with_few_queries_has_no_interval_yet():
    rng = np.random.default_rng(3)
    names = np.where(rng.random(1500) < 0.01, "heavy", "light")
    x, sizes = rng.normal(0.02, 0.1, 1500), {"heavy": 50, "light": 50}
    found = confidence_sequence(x, intended=1000, strata=names, populations=sizes)
    assert found.caveat.startswith("no interval yet: large strata have few queries")
    assert confidence_sequence(x, intended=1000, strata=names, populations=sizes, minimum_df=0).estimate is not None
    even = confidence_sequence(x, intended=1000, strata=rng.choice(["a", "b"], 1500), populations={"a": 50, "b": 50})
    assert even.looks[0] == 300
