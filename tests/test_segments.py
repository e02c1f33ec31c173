"""Segments: one pass says what stratified_difference says of each, and skewness does not make discoveries."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.oneway import anova_oneway

from germane.experiment.effects import PerQuery, difference_of
from germane.experiment.frame import Frame
from germane.experiment.segments import segments as segments_of
from germane.stats.means import UNDERSAMPLED, p_value, stratified_difference, stratified_mean
from germane.stats.moments import Moments
from germane.stats.multiple import adjusted_p, fcr_level
from germane.stats.segments import (
    guarded_interval,
    guarded_p,
    heterogeneity,
    segment_differences,
    segment_means,
    shrunken,
)
from germane.types import Design, InputError

POPULATIONS = np.array([50.0, 400.0, 1000.0, 30.0])


@st.composite
def experiments(draw):
    """Differences with zeros and repeats, strata of one query and segments of none among them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(2, 40))
    d = (
        rng.choice([0.0, 0.1, 0.3, -0.2], size)
        if draw(st.booleans())
        else np.where(rng.random(size) < 0.4, 0, rng.normal(size=size))
    )
    return d, rng.integers(0, 4, size), np.stack([rng.integers(-1, 4, size), rng.integers(4, 9, size)])


@st.composite
def whole_strata(draw):
    """The same with segments made of whole strata."""
    d, strata, _ = draw(experiments())
    return d, strata, np.stack([np.array([0, 1, 0, -1])[strata], np.array([2, 2, 3, 2])[strata], np.full(d.size, 4)])


def one_by_one(d, strata, inside, level, minimum_nonzero):
    """The segment by stats.means, its strata's populations shared out by sampled queries."""
    parts = {str(h): Moments.of(d[inside & (strata == h)]) for h in np.unique(strata[inside])}
    populations = {name: POPULATIONS[int(name)] * m.n / (strata == int(name)).sum() for name, m in parts.items()}
    options = {"level": level, "lone": "borrow"}
    mean = stratified_mean(parts, populations, **options)
    return (
        stratified_difference(parts, populations, minimum_nonzero=minimum_nonzero, **options),
        mean,
        sum(populations.values()),
    )


@given(whole_strata(), st.sampled_from([0.95, 0.8]), st.sampled_from([0, 3, 30]))
@settings(max_examples=80)
def test_one_pass_says_of_every_segment_what_a_loop_says(experiment, level, minimum_nonzero):
    d, strata, segments = experiment
    found = segment_differences(d, strata, segments, POPULATIONS, level=level, minimum_nonzero=minimum_nonzero, guard=False)
    guarded = segment_differences(d, strata, segments, POPULATIONS, minimum_nonzero=minimum_nonzero)
    means = segment_means(d, strata, segments, POPULATIONS, level=level)
    for s in range(found.n.size):
        inside = (segments == s).any(axis=0)
        assert found.n[s] == inside.sum()
        assert found.measured[s] == (inside.sum() >= 2)
        if inside.sum() < 2:
            assert np.isnan(found.value[s])
            assert means[s] is None
            continue
        e, mean, weight = one_by_one(d, strata, inside, level, minimum_nonzero)
        for ours, theirs in ((found.estimate(s), e), (means[s], mean)):
            numbers = [(e.value, e.se, e.low, e.high, e.df) for e in (ours, theirs)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-9, abs=1e-12)
            assert (ours.n, ours.method, ours.level, ours.caveat) == (theirs.n, theirs.method, theirs.level, theirs.caveat)
        assert found.weight[s] == pytest.approx(weight)
        assert found.reliable[s] == (not e.caveat)
        if e.caveat:
            assert np.isnan(found.p[s])
        else:
            assert found.p[s] == pytest.approx(2 * scipy.stats.t.sf(abs(e.value / e.se), e.df), rel=1e-6)
            if e.df >= 10:  # what is found has an interval of its own without 0
                assert guarded.p[s] >= p_value(e) * (1 - 1e-9)


@given(experiments())
@settings(max_examples=80)
def test_strata_that_lie_across_segments_add_what_their_mixture_varies_by(experiment):
    """A loop: the variance inside cells as by stats.means, and share^2 / n (1 - f) m / (m - 1) ((mean - R)^2 - its noise)."""
    d, strata, segments = experiment
    found = segment_differences(d, strata, segments, POPULATIONS, minimum_nonzero=0, guard=False)
    means = segment_means(d, strata, segments, POPULATIONS)
    for s in range(found.n.size):
        inside = (segments == s).any(axis=0)
        cells = {str(h): d[inside & (strata == h)] for h in np.unique(strata[inside])}
        if inside.sum() < 2 or all(x.size == 1 for x in cells.values()):
            continue
        parts = {name: Moments.of(x) for name, x in cells.items()}
        weight = {name: POPULATIONS[int(name)] * m.n / (strata == int(name)).sum() for name, m in parts.items()}
        pooled = sum(m.centred_sq for m in parts.values()) / sum(m.n - 1 for m in parts.values())
        even = UNDERSAMPLED * sum(weight.values()) / sum(m.n for m in parts.values())
        spread = {
            name: pooled if m.n == 1 or (m.centred_sq == 0 and weight[name] > even * m.n) else m.variance
            for name, m in parts.items()
        }
        for ours, plain in zip((found.estimate(s), means[s]), one_by_one(d, strata, inside, 0.95, 0)[:2], strict=True):
            mixing = 0.0
            for name, part in parts.items():
                share, m = weight[name] / sum(weight.values()), (strata == int(name)).sum()
                noise = (1 - 2 * share) * spread[name] / part.n + plain.se**2
                if m > part.n:
                    mixing += share**2 / part.n * (1 - part.n / m) * m / (m - 1) * ((part.mean - plain.value) ** 2 - noise)
            assert ours.value == pytest.approx(plain.value)
            assert ours.se**2 == pytest.approx(plain.se**2 + max(mixing, 0), abs=1e-12)
            assert ours.df <= max(ours.n - 1, plain.df) + 1e-9


def test_a_segments_share_of_two_unlike_strata_by_hand():
    """Two strata of 4, half of each inside, means 1 and 0: variance inside 0.02 / 8 each, of the shares below."""
    d = [0.9, 1.1, 5.0, 5.0, -0.1, 0.1, 7.0, 7.0]
    s = segment_differences(d, [0] * 4 + [1] * 4, [0, 0, 1, 1] * 2, [50, 50], minimum_nonzero=0)
    inside = 2 * 0.25 * 0.02 / 2
    mixing = 2 * 0.25 / 2 * 0.5 * (4 / 3) * (0.5**2 - inside)  # shares of 1/2 each: 1 - 2 share is 0
    assert s.value[0] == pytest.approx(0.5)
    assert s.se[0] == pytest.approx(np.sqrt(inside + mixing))
    below = 2 * (0.25 * 0.02 / 2) ** 2 + 2 * 2 * (0.25 / 2 * 0.5 * (4 / 3) * 0.5) ** 2 * 0.02 / 2
    assert s.df[0] == pytest.approx(min((inside + mixing) ** 2 / below, 3))


def test_one_stratum_shared_by_all_segments_adds_nothing():
    rng = np.random.default_rng(2)
    d, segments = rng.normal(size=90), np.arange(90) % 3
    s = segment_differences(d, np.zeros(90, int), segments, [1000.0])
    for k in range(3):
        plain = stratified_difference({"a": Moments.of(d[segments == k])}, {"a": 1})
        assert (s.se[k], s.df[k], s.low[k]) == pytest.approx((plain.se, plain.df, plain.low), rel=1e-12)


@pytest.mark.simulation
@pytest.mark.parametrize("effects", [(0.8, 0.5), (0.06, -0.02), (0.0, 0.0)])
def test_segments_across_unlike_strata_are_covered(repetitions, effects):
    """A fifth of each of two strata of 200, level or effect. Tolerance: 4 Monte Carlo standard errors.

    By the spread inside the strata alone the first two are covered in 0.90 and 0.91.
    """
    repeats, rng = repetitions(reduced=300, whole=3000), np.random.default_rng(0)
    strata, mean = np.repeat([0, 1], 200), np.array(effects)
    spread = 0.2 if effects[0] > 0.5 else 0.06
    held = {"difference": 0, "level": 0}
    for _ in range(repeats):
        segment = (rng.random(400) > 0.2).astype(int)
        d = mean[strata] + spread * rng.normal(size=400)
        e = segment_differences(d, strata, segment, [1e5, 1e5])
        held["difference"] += e.low[0] <= mean.mean() <= e.high[0]
        level = segment_means(d, strata, segment, [1e5, 1e5])[0]
        held["level"] += level.low <= mean.mean() <= level.high
    for count in held.values():
        assert count / repeats == pytest.approx(0.95, abs=0.015 + 4 * np.sqrt(0.05 * 0.95 / repeats))


@given(experiments(), st.randoms())
def test_neither_the_order_of_queries_nor_the_arm_called_control_matters(experiment, random):
    d, strata, segments = experiment
    order = np.array(random.sample(range(d.size), d.size))
    there = segment_differences(d, strata, segments, POPULATIONS, minimum_nonzero=3)
    back = segment_differences(-d[order], strata[order], segments[:, order], POPULATIONS, minimum_nonzero=3)
    assert back.value == pytest.approx(-there.value, nan_ok=True)
    assert back.p == pytest.approx(there.p, nan_ok=True, abs=1e-9)
    assert back.interval(0.9)[0] == pytest.approx(-there.interval(0.9)[1], nan_ok=True)


def test_several_experiments_on_one_design_are_each_as_if_alone():
    rng = np.random.default_rng(4)
    d = np.where(rng.random((3, 200)) < 0.3, 0, rng.exponential(size=(3, 200)) - 1)
    strata, segments = rng.integers(0, 4, 200), np.stack([rng.integers(-1, 3, 200), rng.integers(3, 5, 200)])
    together = segment_differences(d, strata, segments, POPULATIONS, minimum_nonzero=10)
    for e in range(3):
        alone = segment_differences(d[e], strata, segments, POPULATIONS, minimum_nonzero=10)
        for name in ("n", "weight", "value", "se", "df", "p"):
            assert getattr(together, name)[5 * e : 5 * e + 5] == pytest.approx(getattr(alone, name), nan_ok=True)
        assert together.skewness[:, 5 * e : 5 * e + 5] == pytest.approx(alone.skewness)


def test_the_numbers_of_segments_may_be_sparse():
    """Many strata times many segments, few of which meet: the same numbers by sorting as by counting."""
    rng = np.random.default_rng(3)
    d, strata, segments = rng.normal(size=300), rng.integers(0, 900, 300), rng.integers(0, 700, 300)
    sparse = segment_differences(d, strata, segments, np.full(900, 10.0), minimum_nonzero=0)
    names, small = np.unique(segments, return_inverse=True)
    dense = segment_differences(d, np.unique(strata, return_inverse=True)[1], small, np.full(900, 10.0), minimum_nonzero=0)
    assert sparse.value[names] == pytest.approx(dense.value, nan_ok=True)
    assert sparse.se[names] == pytest.approx(dense.se, nan_ok=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"differences": [0.1, np.nan, 0.2]}, "value 1 is not a finite number"),
        ({"differences": []}, "no values"),
        ({"strata": [0, 0]}, "one of each query is needed"),
        ({"segments": [[0, 0]]}, "one of each query is needed"),
        ({"populations": [0.0]}, "no population"),
        ({"strata": [0, 0, 5]}, "no population"),
        ({"populations": [np.nan]}, "stratum 0 has a population of nan"),
        ({"populations": [5.0, np.inf]}, "stratum 1 has a population of inf"),
        ({"populations": [-5.0]}, "stratum 0 has a population of -5"),
        ({"populations": [1e308, 1e308]}, "add up to no finite number"),
    ],
)
def test_what_cannot_be_estimated_is_refused(change, said):
    arguments = {"differences": [0.1, 0.0, 0.2], "strata": [0, 0, 0], "segments": [[0, 0, 0]], "populations": [5.0]} | change
    with pytest.raises(ValueError, match=said):
        segment_differences(*arguments.values())


# --- skewness -------------------------------------------------------------------------------------------------------


def test_without_skewness_the_guard_is_students_t():
    t, df = np.array([-3.0, 0.5, 2.2]), np.array([12.0, 40.0, 300.0])
    assert guarded_p(t, df, np.zeros((2, 3))) == pytest.approx(guarded_p(t, df, np.zeros((0, 3))))


def test_a_mean_that_skewness_pushed_down_counts_for_less():
    """Right-skewed samples that missed their large values look surely negative: t overstates them, and not positive ones."""
    plain = guarded_p([-3.0, 3.0], [50, 50], np.zeros((0, 2)))
    skewed = guarded_p([-3.0, 3.0], [50, 50], [[0.4, 0.4]])
    assert skewed[0] > 5 * plain[0]
    assert skewed[1] == pytest.approx(plain[1])


@given(
    st.floats(-6, 6),
    st.floats(2, 200),
    st.lists(st.floats(-1, 1).filter(lambda g: g == 0 or abs(g) > 1e-4), min_size=0, max_size=3),
    st.floats(0.5, 0.999),
)
def test_the_guarded_interval_excludes_0_exactly_where_the_guarded_p_is_small(t, df, candidates, level):
    g = np.array(candidates).reshape(-1, 1)
    p = guarded_p([t], [df], g)[0]
    low, high = guarded_interval(np.array([t]), np.ones(1), np.array([df]), g, level=level)
    if abs(p - (1 - level)) > 1e-9:
        assert (low[0] > 0 or high[0] < 0) == (p < 1 - level)


def test_the_guard_can_be_left_out():
    rng = np.random.default_rng(1)
    d, segments = rng.exponential(0.1, 400) - 0.12, np.repeat([[0, 1, 2, 3]], 100)
    arguments = (d, np.zeros(400, int), segments, [1000.0])
    guarded, plain = segment_differences(*arguments), segment_differences(*arguments, guard=False)
    assert (guarded.p > 1.3 * plain.p).all()
    assert guarded.low == pytest.approx(plain.low)


@pytest.mark.simulation
def test_skewed_differences_make_no_more_than_5_percent_false_discoveries(repetitions):
    """30 dependent segments, no effect anywhere, 80 % zeros. Tolerance: 3 sqrt(0.05 x 0.95 / repetitions) above 0.05.

    Plain t finds something in a tenth of these experiments, which shows that the simulation is hard enough.
    """
    size = repetitions(reduced=500, whole=5000)
    rng = np.random.default_rng(11)
    strata = np.repeat(np.arange(104), 40)
    segments = np.stack([strata // 4, 26 + strata % 4])
    false = {True: 0, False: 0}
    for _ in range(size):
        d = np.where(rng.random(strata.size) < 0.8, 0, rng.exponential(0.05, strata.size) - 0.05)
        for guard in false:
            found = segment_differences(d, strata, segments, np.full(104, 50), guard=guard)
            false[guard] += bool((adjusted_p(found.p[found.reliable]) <= 0.05).any())
    assert false[True] / size <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / size)
    assert false[False] / size > 0.07


def test_a_found_segments_adjusted_interval_excludes_0_and_is_wider():
    rng = np.random.default_rng(5)
    segments = np.repeat([np.arange(10)], 60)
    d = rng.exponential(0.1, 600) - 0.1 + np.where(segments == 3, 0.08, 0)
    found = segment_differences(d, np.zeros(600, int), segments, [1000.0])
    hit = adjusted_p(found.p) <= 0.05
    low, high = found.interval(fcr_level(int(hit.sum()), 10))
    assert hit[3]
    assert ((low[hit] > 0) | (high[hit] < 0)).all()
    assert (low < found.low).all()
    assert (high > found.high).all()


# --- do the segments differ at all? ---------------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_heterogeneity_is_welchs_test_of_statsmodels(seed, k):
    rng = np.random.default_rng(seed)
    groups = [rng.normal(0, 1 + i, 5 + 3 * i) for i in range(k)]
    oracle = anova_oneway(groups, use_var="unequal", welch_correction=True)
    se = [g.std(ddof=1) / np.sqrt(g.size) for g in groups]
    ours = heterogeneity([g.mean() for g in groups], se, [g.size - 1 for g in groups])
    assert (ours.statistic, *ours.df, ours.p) == pytest.approx((oracle.statistic, *oracle.df, oracle.pvalue))


@given(st.integers(0, 2**32), st.floats(-1, 1))
def test_an_effect_that_all_segments_share_is_no_difference_between_them(seed, shift):
    rng = np.random.default_rng(seed)
    y, se, df = rng.normal(size=5), rng.uniform(0.5, 2, 5), rng.uniform(10, 99, 5)
    assert heterogeneity(y + shift, se, df).statistic == pytest.approx(heterogeneity(y, se, df).statistic, abs=1e-9)


def test_skewness_makes_segments_look_less_different():
    arguments = ([0.02, -0.02, 0.0], [0.006, 0.006, 0.006], [60, 80, 120])
    assert heterogeneity(*arguments, skewness=np.full((1, 3), 0.4)).p > 2 * heterogeneity(*arguments).p


@pytest.mark.parametrize(("se", "said"), [([0.1], "1 segments"), ([0.1, 0.0], "standard error is 0")])
def test_what_cannot_differ_is_refused(se, said):
    with pytest.raises(ValueError, match=said):
        heterogeneity([0.1, 0.2][: len(se)], se, [20.0, 20.0][: len(se)])


# --- shrunken effects -----------------------------------------------------------------------------------------------


def test_four_effects_shrink_as_by_hand():
    """Equal errors: A = s^2 - V = 0.0002917 - 0.0001; B = (k-3)/(k-1) V/(V+A) = 0.0001 / (3 x 0.0002917) = 0.1143."""
    found = shrunken([0.03, 0.00, 0.01, -0.01], [0.01] * 4, [1e9] * 4)
    pull = 0.0001 / 0.000875
    assert found.between == pytest.approx(np.sqrt(0.000875 / 3 - 0.0001))
    assert found.mean == pytest.approx(0.0075)
    assert found.value[0] == pytest.approx(0.03 - pull * 0.0225)
    variance = 0.0001 * (1 - 0.75 * pull) + 2 * pull**2 * 0.0225**2
    assert found.se[0] == pytest.approx(np.sqrt(variance))
    assert found.low[0] == pytest.approx(found.value[0] - 1.959964 * found.se[0])
    assert shrunken([0.03, 0.00, 0.01, -0.01], [0.01] * 4, [1e9] * 4, level=0.8).low[0] > found.low[0]


def test_effects_that_differ_less_than_their_noise_shrink_the_most():
    found = shrunken([0.003, 0.001, 0.002, 0.0, 0.001, 0.002], [0.01] * 6, [50] * 6)
    assert found.between == 0
    assert np.ptp(found.value) < 0.5 * 0.003


def test_three_segments_are_too_few_to_shrink():
    assert shrunken([0.1, 0.2, 0.3], [0.1] * 3, [50] * 3) is None


@pytest.mark.simulation
@pytest.mark.parametrize(("k", "between"), [(4, 0.0), (4, 1.0), (12, 0.5), (30, 1.0)])
def test_shrunken_effects_err_less_and_their_intervals_hold(repetitions, k, between):
    """Tolerance on the coverage averaged over segments: 4 sqrt(0.95 x 0.05 / repetitions) below 0.95."""
    size = repetitions(reduced=400, whole=4000)
    rng = np.random.default_rng(2)
    se = rng.uniform(0.5, 1.5, k)
    held, errors, plain = [], [], []
    for _ in range(size):
        truth = rng.normal(0.3, between, k)
        y = rng.normal(truth, se)
        found = shrunken(y, se, np.full(k, 1e6))
        held.append(((found.low <= truth) & (truth <= found.high)).mean())
        errors.append(((found.value - truth) ** 2).mean())
        plain.append(((y - truth) ** 2).mean())
    assert np.mean(held) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / size)
    assert np.mean(errors) < np.mean(plain)


# --- in a report ----------------------------------------------------------------------------------------------------


def experiment(effect=0.0, *, shape=(6, 80), seed=1):
    """(frame, per query): interests of 80 queries each; `effect` in the first, minus that in the second; two halves beside."""
    rng = np.random.default_rng(seed)
    interest = np.repeat(np.arange(shape[0]), shape[1])
    half = np.arange(interest.size) % 2
    d = rng.normal(0, 0.1, interest.size) + effect * (np.select([interest == 0, interest == 1], [1, -1], 0))
    names = np.array([f"i{i}" for i in interest], object)
    halves = np.array(["odd" if h else "even" for h in half], object)
    frame = Frame(
        queries=None,
        strata=names,
        populations={f"i{i}": 1000 * (i + 1) for i in range(shape[0])},
        dimensions={"interest": names, "half": halves},
        design=Design((), None, "queries", ""),
    )
    control = rng.uniform(0.3, 0.7, d.size)
    return frame, PerQuery(control, control + d, d, d, d, np.zeros(0, bool), True)


def test_a_report_s_segments_say_what_they_are_and_what_they_add_up_to():
    frame, found = experiment(0.06)
    effects, interactions = segments_of(frame, found, level=0.95, minimum_nonzero=30)
    assert [(e.dimension, e.name) for e in effects] == [
        *(("interest", f"i{i}") for i in range(6)),
        ("half", "even"),
        ("half", "odd"),
    ]
    overall = difference_of(frame, found.difference, level=0.95, minimum_nonzero=30)
    assert sum(e.share * e.delta.value for e in effects[:6]) == pytest.approx(overall.value)
    assert sum(e.share for e in effects[6:]) == pytest.approx(1)
    assert [e.name for e in effects if e.found] == ["i0", "i1"]
    assert [t.dimension for t in interactions] == ["interest", "half"]
    assert interactions[0].q < 0.01 < interactions[1].q
    assert effects[0].control.value == pytest.approx(found.control[:80].mean())


def test_only_what_was_found_has_an_adjusted_interval_and_it_excludes_0():
    effects, _ = segments_of(*experiment(0.06), level=0.95, minimum_nonzero=30)
    for e in effects:
        assert (e.adjusted is not None) == e.found
        if e.adjusted:
            assert e.adjusted.low > 0 or e.adjusted.high < 0
            assert e.adjusted.level == pytest.approx(1 - 0.05 * 2 / 8)
            assert e.adjusted.high - e.adjusted.low > e.delta.high - e.delta.low
            assert "2 found of 8 tested" in e.adjusted.method


def test_effects_are_pulled_towards_those_of_their_own_dimension():
    effects, _ = segments_of(*experiment(0.06), level=0.95, minimum_nonzero=30)
    assert abs(effects[0].shrunken.value) < abs(effects[0].delta.value)
    assert all(e.shrunken is None for e in effects[6:])  # two halves are too few
    wide, _ = segments_of(*experiment(0.06), level=0.99, minimum_nonzero=30)
    assert wide[0].shrunken.low < effects[0].shrunken.low
    assert wide[0].delta.low < effects[0].delta.low


def test_a_segment_that_is_not_reliable_takes_no_part_in_anything():
    frame, found = experiment(0.06)
    difference = np.where(frame.strata == "i0", np.where(np.arange(480) < 20, 0.5, 0.0), found.difference)
    effects, _ = segments_of(frame, PerQuery(*[difference] * 5, found.can_change, False), level=0.95, minimum_nonzero=30)
    assert effects[0].note == "not reliable: 20 of 80 differences are not zero, 30 are needed"
    assert (effects[0].p, effects[0].q, effects[0].found, effects[0].shrunken, effects[0].control) == (
        None,
        None,
        False,
        None,
        None,
    )
    assert effects[0].delta.value == pytest.approx(0.125)
    fewer, _ = segments_of(frame, PerQuery(*[difference] * 5, found.can_change, False), level=0.95, minimum_nonzero=20)
    assert fewer[0].p is not None


def test_any_dependence_costs_what_benjamini_and_yekutieli_say():
    bh, tests = segments_of(*experiment(0.03), level=0.95, minimum_nonzero=30)
    by, slower = segments_of(*experiment(0.03), level=0.95, minimum_nonzero=30, multiple="by")
    toll = sum(1 / i for i in range(1, 9))
    assert [e.q for e in by] == pytest.approx([min(e.q * toll, 1) for e in bh])
    assert [t.q for t in slower] == pytest.approx([min(t.q * 1.5, 1) for t in tests])


def test_behind_a_gate_only_the_dimensions_that_differ_are_read():
    effects, tests = segments_of(*experiment(0.06), level=0.95, minimum_nonzero=30, multiple="hierarchical")
    assert [t.q <= 0.05 for t in tests] == [True, False]
    assert [e.name for e in effects if e.found] == ["i0", "i1"]
    assert all(e.q is None and e.note == "not tested: the segments by half do not clearly differ" for e in effects[6:])
    assert effects[0].q == pytest.approx(min(2 * adjusted_p([e.p for e in effects[:6]])[0], 1))  # one of two gates opened
    assert effects[0].adjusted.level == pytest.approx(1 - 0.025 * 2 / 6)


def test_an_effect_that_all_share_opens_no_gate():
    frame, found = experiment(0.0)
    d = found.difference + 0.05
    effects, _ = segments_of(
        frame, PerQuery(*[d] * 5, found.can_change, True), level=0.95, minimum_nonzero=30, multiple="hierarchical"
    )
    assert not any(e.found for e in effects)
    assert all(e.delta.low > 0 for e in effects)


def test_another_way_to_adjust_is_refused():
    with pytest.raises(InputError, match="bh, by, hierarchical"):
        segments_of(*experiment(), level=0.95, minimum_nonzero=30, multiple="bonferroni")


def test_without_dimensions_there_are_no_segments():
    frame, found = experiment()
    assert segments_of(dataclasses.replace(frame, dimensions={}), found, level=0.95, minimum_nonzero=30) == ((), ())
