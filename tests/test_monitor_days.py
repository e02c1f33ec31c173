from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_days import day

from germane.monitor.changes import MIX, PAIRED, TAILS, anchors, changes
from germane.monitor.days import JUDGE, Day, Lists
from germane.monitor.levels import levels
from germane.stats.ratios import domain_means, weighted_mean
from germane.types import InputError

values = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=12)


def test_a_level_is_weighted_by_requests_and_design():
    found = Day(
        "2026-01-05",
        np.array(["a", "b"]),
        np.array([3.0, 1.0]),
        np.array([1.0, 0.25]),
        np.array(["head", "tail"]),
        np.ones(2, bool),
        metrics={"sdcg@25": np.array([1.0, 0.0])},
    )
    [level] = levels(found)
    assert level.estimate.value == pytest.approx(3 / 7)  # the tail query stands for four like it
    assert "too few" in level.estimate.caveat


def test_no_answer_is_not_zero():
    [level] = levels(day("2026-01-05", [0.5, 0.7, np.nan]))
    assert level.estimate.value == pytest.approx(0.6)
    assert level.estimate.n == 2


def test_a_segment_without_an_answer_has_no_level():
    found = levels(day("2026-01-05", [0.5, 0.7, np.nan], language=["de", "de", "fr"]))
    assert [level.segment for level in found] == ["all", "language=de"]
    assert levels(day("2026-01-05", [])) == []


def test_without_strata_the_level_is_the_weighted_mean_of_stats():
    rng = np.random.default_rng(1)
    x, w = rng.random(50), rng.random(50) + 0.1
    value, se, n, _ = domain_means(x[:, None], w, np.ones((50, 1), bool), strata=np.full(50, "a"))
    one = weighted_mean(x, w, clusters=np.arange(50))
    assert (value[0], se[0], n[0]) == (pytest.approx(one.value), pytest.approx(one.se), 50)


@pytest.mark.simulation
def test_the_standard_error_of_a_domain_s_mean_is_its_spread_over_samples(repetitions):
    """Stratified draws: mean variance over the variance of estimates; 4 Monte Carlo SDs, and 0.05 for linearisation."""
    times = repetitions(reduced=600, whole=4000)
    rng = np.random.default_rng(3)
    size = {"head": 400, "tail": 1600}
    pop = {
        h: (rng.beta(2, 2, n) * (0.8 if h == "head" else 1), rng.lognormal(0, 0.4, n), rng.random(n) < 0.3)
        for h, n in size.items()
    }
    m = {"head": 60, "tail": 60}
    strata = np.repeat(list(m), list(m.values()))
    found = []
    for _ in range(times):
        rows = {h: rng.choice(size[h], m[h]) for h in size}  # with replacement: no finite correction
        x, w, d = (np.concatenate([pop[h][i][rows[h]] for h in size]) for i in range(3))
        w = w * np.repeat([size[h] / m[h] for h in size], list(m.values()))
        value, se, *_ = domain_means(x[:, None], w, d[:, None], strata=strata)
        found.append((value[0], se[0]))
    estimate, se = np.array(found).T
    assert (se**2).mean() / estimate.var() == pytest.approx(1, abs=4 * np.sqrt(2 / times) + 0.05)


def test_the_panel_is_compared_query_by_query():
    before, after = day("2026-01-05", [0.5, 0.5, 0.2]), day("2026-01-06", [0.4, 0.3, 0.2])
    paired, mix = changes(before, after)
    assert (paired.part, paired.value, paired.n) == (PAIRED, pytest.approx(-0.1), 3)
    d = np.array([-0.1, -0.2, 0.0])
    u = d - d.mean()
    moving = (u**2).sum() ** 2 / (u**4).sum()
    assert paired.se == pytest.approx(np.std(d, ddof=1) / np.sqrt(3) * (1 + TAILS / moving))
    assert (mix.part, mix.value) == (MIX, pytest.approx(0.0))


def test_traffic_that_moves_is_mix_and_no_paired_difference():
    paired, mix = changes(day("2026-01-05", [1.0, 0.0], [1, 1]), day("2026-01-06", [1.0, 0.0], [1, 3]))
    assert paired.value == 0
    assert mix.value == pytest.approx(-0.25)


def test_a_query_asked_on_one_day_is_mix():
    before = day("2026-01-05", [1.0, 1.0])
    after = day("2026-01-06", [1.0, 1.0, 0.0, 0.0])
    paired, mix = changes(before, after)
    assert (paired.value, paired.n) == (0.0, 2)
    assert (mix.value, mix.n) == (pytest.approx(-0.5), 4)


@settings(max_examples=40, deadline=None)
@given(values, st.data())
def test_both_parts_add_up_to_the_change_of_the_panel_s_level(before, data):
    n = len(before)
    after = data.draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
    w0, w1 = (data.draw(st.lists(st.floats(0.5, 9), min_size=n, max_size=n)) for _ in range(2))
    found = changes(day("2026-01-05", before, w0), day("2026-01-06", after, w1))
    change = np.average(after, weights=w1) - np.average(before, weights=w0)
    shares = (np.array(w0) / np.sum(w0) + np.array(w1) / np.sum(w1)) / 2
    within = float(shares @ (np.array(after) - np.array(before)))
    mix = next(c.value for c in found if c.part == MIX)
    assert mix + within == pytest.approx(change, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(values)
def test_swapping_the_days_negates_the_change(x):
    y = list(reversed(x))
    there = changes(day("2026-01-05", x), day("2026-01-06", y))
    back = changes(day("2026-01-05", y), day("2026-01-06", x))
    assert [c.value for c in back] == pytest.approx([-c.value for c in there])
    assert [c.se for c in back] == pytest.approx([c.se for c in there])


def test_days_of_two_judges_are_not_compared():
    a, b = day("2026-01-05", [0.5, 0.5]), day("2026-01-06", [0.5, 0.5])
    with pytest.raises(InputError, match="two judges, x and y"):
        changes(_with(a, judge="x"), _with(b, judge="y"))
    with pytest.raises(InputError, match="two guides"):
        changes(_with(a, guide="v1"), _with(b, guide="v2"))
    with pytest.raises(InputError, match="is not before"):
        changes(b, a)


def test_an_empty_day_has_no_change():
    assert changes(day("2026-01-05", []), day("2026-01-06", [0.5, 0.5])) == []
    assert changes(day("2026-01-05", []), day("2026-01-06", [])) == []


def test_anchors_are_the_judge_s_own_change():
    before = {("hat", "d1"): 1.0, ("hat", "d2"): 0.5, ("shoe", "d3"): np.nan, ("shoe", "d4"): 0.5}
    [c] = anchors(before, {("hat", "d1"): 0.75, ("hat", "d2"): 0.5, ("shoe", "d3"): 1.0, ("shoe", "d4"): 0.5})
    assert (c.metric, c.value, c.n) == (JUDGE, pytest.approx(-0.25 / 3), 3)
    assert anchors({}, before) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"probability": np.array([0.0, 1.0])}, "probability"),
        ({"requests": np.array([np.nan, 1.0])}, "no finite number of requests"),
        ({"query": np.array(["a", "a"])}, "stands there twice"),
        ({"panel": np.ones(3, bool)}, "panel of shape"),
        ({"metrics": {"sdcg@25": np.ones(1)}}, "sdcg@25 of shape"),
    ],
)
def test_a_day_that_cannot_be_is_refused(changed, told):
    columns = {
        "query": np.array(["a", "b"]),
        "requests": np.ones(2),
        "probability": np.ones(2),
        "stratum": np.array(["all", "all"]),
        "panel": np.ones(2, bool),
    }
    with pytest.raises(InputError, match=told):
        Day("2026-01-05", **columns | changed)


def test_lists_have_a_gain_for_each_document():
    with pytest.raises(InputError, match="2 documents and 1 gains"):
        Lists(np.array(["a"]), [("d1", "d2")], [np.ones(1)])


def _with(one: Day, **changed: str) -> Day:
    return replace(one, **changed)
