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


# --- the interval of a level under the real draw --------------------------------------------------------------------------


@pytest.mark.parametrize("zipf", [0.6, 0.8, 1.05])
def test_a_level_has_its_interval_whatever_number_of_queries_a_stratum_gave(zipf, repetitions):
    """Each query of a fixed day is drawn by its own number, so that a stratum gives more or fewer than were aimed at."""
    from germane.logs import popularity
    from germane.watching.drawing import TOP, WEIGHT, _allocated

    rng, n, sample = np.random.default_rng(int(100 * zipf)), 6000, 300
    requests = np.sort(np.maximum(1, np.round(n / 3 / np.arange(1, n + 1) ** zipf)).astype(int))
    code, names = popularity(requests)
    stratum = np.array([names[c] for c in code])
    means = {"head": 0.9, "torso": 0.6, "tail": 0.3, "single": 0.1}
    x = np.clip(rng.normal([means[s] for s in stratum], 0.1), 0, 1)
    stratum = np.where(requests >= WEIGHT * requests.sum() / sample, TOP, stratum)
    truth, query = float((requests * x).sum() / requests.sum()), np.arange(n).astype(str)
    sizes = [(s, int((stratum == s).sum()), int(requests[stratum == s].sum())) for s in dict.fromkeys(stratum.tolist())]
    strata = _allocated(sorted(sizes, key=lambda row: -row[2]), sample, 0.5)
    aimed = np.array([{s.name: s.odds for s in strata}[h] for h in stratum])
    totals, size = {s.name: float(s.requests) for s in strata}, {s.name: s.queries for s in strata}
    inside, times, errors, said = 0, repetitions(reduced=400, whole=4000), [], []
    for _ in range(times):
        taken = rng.random(n) < aimed
        share = {s: (taken & (stratum == s)).sum() / size[s] for s in size}
        p = np.array([share[h] for h in stratum[taken]])
        columns = (query[taken], requests[taken].astype(float), p, stratum[taken], np.ones(p.size, bool))
        day = Day("2026-03-01", *columns, metrics={"m": x[taken]}, varied=np.zeros(p.size, bool), totals=totals)
        found = levels(day)[0].estimate
        inside += found.low <= truth <= found.high
        errors.append(found.value - truth)
        said.append(found.se)
    assert inside / times > 0.95 - 0.02 - 4 * np.sqrt(0.95 * 0.05 / times)  # few and heavy queries: a little less than said
    assert 0.85 < np.sqrt(np.mean(np.square(said))) / np.std(errors) < 1.15
    assert abs(np.mean(errors)) < 4 * np.std(errors) / np.sqrt(times) + 0.1 * np.std(errors)


def test_each_stratum_has_the_requests_that_it_had_whatever_was_drawn():
    columns = (
        np.array(["a", "b", "c"]),
        np.array([5.0, 1.0, 2.0]),
        np.array([0.5, 0.1, 0.1]),
        np.array(["head", "tail", "tail"]),
    )
    told = Day("2026-03-01", *columns, np.ones(3, bool), totals={"head": 10.0, "tail": 60.0, "single": 7.0})
    assert told.weights.tolist() == [10.0, 20.0, 40.0]
    with pytest.raises(InputError, match="no total of requests is given for stratum 'tail'"):
        Day("2026-03-01", *columns, np.ones(3, bool), totals={"head": 10.0})


def test_a_day_that_was_taken_whole_leaves_nothing_to_chance_but_which_list_was_taken():
    whole = {"probability": np.ones(3), "stratum": np.array(["head"] * 3), "metrics": {"m": np.array([0.2, 0.5, 0.9])}}

    def day(varied):
        return Day("2026-03-01", np.array(["a", "b", "c"]), np.ones(3), panel=np.ones(3, bool), varied=varied, **whole)

    sure = levels(day(np.zeros(3, bool)))[0].estimate
    assert (sure.se, sure.low, sure.high) == (0.0, sure.value, sure.value)
    assert "no chance of the draw is left" in sure.caveat
    unsure, untold = levels(day(np.array([True, False, False])))[0].estimate, levels(day(None))[0].estimate
    assert 0 < unsure.se < untold.se


def test_a_day_of_which_a_part_has_no_answer_is_not_known_whole():
    n = 60
    metrics = {"m": np.where(np.arange(n) % 2, np.nan, np.linspace(0, 1, n))}
    columns = (np.arange(n).astype(str), np.ones(n), np.ones(n), np.array(["head"] * n), np.ones(n, bool))
    found = levels(Day("2026-03-01", *columns, metrics=metrics, varied=np.zeros(n, bool)))[0].estimate
    assert found.n == 30
    assert found.se > 0.01
    assert "every query" not in found.method


def test_rounding_is_no_spread():
    n = 200
    columns = (np.arange(n).astype(str), np.ones(n), np.full(n, 0.1), np.array(["tail"] * n), np.ones(n, bool))
    for value in (0.1, 0.7, 1 / 3):
        found = levels(Day("2026-03-01", *columns, metrics={"m": np.full(n, value)}))[0].estimate
        assert found.se == 0
        assert "nothing varied" in found.caveat
