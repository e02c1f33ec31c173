"""Strata, draws of known odds, and the pool of documents that need a grade."""

from collections import Counter
from itertools import product
from math import log2

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from germane.sampling import Allocation, draw, name_of, pool, read_design_table, standing
from germane.sampling.unequal import odds_by_size, systematic
from germane.stats.allocation import neyman
from germane.stats.power import mde
from germane.types import Design, InputError, Stratum


def queries(sizes, **extra):
    """sizes: (interest, segment) -> number of queries."""
    rows = [(interest, segment) for (interest, segment), size in sizes.items() for _ in range(size)]
    columns = {"query_id": [f"q{i:04d}" for i in range(len(rows))], "query": [f"text {i}" for i in range(len(rows))]}
    return pa.table({**columns, "interest": [r[0] for r in rows], "segment": [r[1] for r in rows], **extra})


LOG = queries({("home", "head"): 20, ("home", "tail"): 200, ("art", "head"): 10, ("art", "tail"): 170})


def strata(drawn):
    return {s.name: (s.population, s.sample) for s in drawn.design.strata}


# --- strata and allocation ------------------------------------------------------------------------------------------


def test_strata_are_interest_by_segment_and_proportional_without_a_pilot():
    drawn = draw(LOG, n=40, seed=1)
    assert strata(drawn) == {"art / head": (10, 2), "art / tail": (170, 17), "home / head": (20, 2), "home / tail": (200, 19)}
    assert drawn.notes == ()
    assert drawn.design.seed == 1
    assert drawn.design.unit == "distinct queries"
    assert drawn.design.origin == "neyman allocation over interest x segment"


def test_a_design_says_for_each_query_where_it_stands_and_what_its_odds_were():
    table = draw(LOG, n=40, seed=1).table
    assert table.column_names == ["query_id", "stratum", "inclusion_probability", "population", "interest", "segment"]
    known = {row["query_id"]: row for row in LOG.to_pylist()}
    for row in table.to_pylist():
        query = known[row["query_id"]]
        assert row["stratum"] == f"{query['interest']} / {query['segment']}"
        assert (row["interest"], row["segment"]) == (query["interest"], query["segment"])
        assert row["inclusion_probability"] == pytest.approx(
            {10: 2 / 10, 170: 17 / 170, 20: 2 / 20, 200: 19 / 200}[row["population"]]
        )


def test_a_pilot_moves_the_sample_to_where_differences_vary():
    sd = {"art / head": 0.3, "art / tail": 0.05, "home / head": 0.2, "home / tail": 0.05}
    drawn = draw(LOG, n=40, seed=1, sd=sd)
    expected = neyman([10, 170, 20, 200], [0.3, 0.05, 0.2, 0.05], 40)
    assert [s.sample for s in drawn.design.strata] == expected.tolist()
    assert strata(drawn)["art / head"][1] > 2


def test_cost_minimum_and_allocation_are_not_ignored():
    equal = draw(LOG, n=40, seed=1, allocation="equal")
    assert [s.sample for s in equal.design.strata] == [10, 10, 10, 10]
    proportional = draw(LOG, n=40, seed=1, allocation="proportional", minimum=5)
    assert strata(proportional)["art / head"] == (10, 5)
    dear = draw(LOG, n=80, seed=1, cost={"art / head": 1, "art / tail": 100, "home / head": 1, "home / tail": 1})
    assert strata(dear)["art / tail"][1] < strata(draw(LOG, n=80, seed=1))["art / tail"][1]


def test_without_strata_it_is_a_simple_random_sample():
    drawn = draw(LOG, n=40, seed=1, strata=())
    assert strata(drawn) == {"all": (400, 40)}
    assert drawn.design.origin == "simple random sample"
    assert set(drawn.table["inclusion_probability"].to_pylist()) == {0.1}
    bare = draw(LOG.select(["query_id"]), n=40, seed=1)
    assert strata(bare) == {"all": (400, 40)}


def test_only_columns_that_say_something_make_strata_by_default():
    silent = LOG.drop_columns("interest").append_column("interest", pa.nulls(400, pa.string()))
    assert list(strata(draw(silent, n=20, seed=1))) == ["head", "tail"]


def test_any_column_can_make_strata():
    table = LOG.append_column("language", pa.array(["en"] * 300 + ["fr"] * 100)).append_column("length", pa.array([1, 2] * 200))
    assert list(strata(draw(table, n=20, seed=1, strata=["language", "length"]))) == ["en / 1", "en / 2", "fr / 1", "fr / 2"]


def test_a_query_without_an_interest_is_in_a_stratum_of_its_own():
    table = queries({("home", "tail"): 20, (None, "tail"): 30})
    drawn = draw(table, n=10, seed=1)
    assert strata(drawn) == {"home / tail": (20, 4), "unknown / tail": (30, 6)}
    assert drawn.table.filter(pa.compute.equal(drawn.table["stratum"], "unknown / tail"))["interest"].null_count == 6


def test_everybody_can_be_drawn():
    census = draw(LOG, n=400, seed=1)
    assert set(census.table["inclusion_probability"].to_pylist()) == {1.0}
    assert set(census.table["query_id"].to_pylist()) == set(LOG["query_id"].to_pylist())


# --- merging --------------------------------------------------------------------------------------------------------


def test_a_stratum_of_one_query_joins_its_own_segment_and_it_is_said():
    table = queries({("art", "head"): 1, ("home", "head"): 9, ("toys", "head"): 20, ("art", "tail"): 70})
    drawn = draw(table, n=20, seed=1)
    assert list(strata(drawn)) == ["art + home / head", "art / tail", "toys / head"]
    assert drawn.notes == (
        "strata of one query, merged into the stratum most like them: art / head",
        "4 strata became 3; merged: art + home / head",
    )
    assert {"art", "home"} >= set(
        drawn.table.filter(pa.compute.equal(drawn.table["stratum"], "art + home / head"))["interest"].to_pylist()
    )


def test_without_its_segment_elsewhere_it_joins_its_interest():
    table = queries({("art", "head"): 1, ("art", "tail"): 70, ("home", "tail"): 50})
    assert list(strata(draw(table, n=20, seed=1))) == ["art / head + tail", "home / tail"]


def test_too_many_strata_for_the_sample_merge_from_the_smallest_up():
    table = queries({(f"i{i}", "tail"): 10 + i for i in range(10)})
    drawn = draw(table, n=8, seed=1)
    assert len(drawn.design.strata) == 4
    assert sum(s.population for s in drawn.design.strata) == table.num_rows
    assert sum(s.sample for s in drawn.design.strata) == 8
    assert drawn.notes[0] == "10 strata need at least 20 queries and n is 8: the smallest were merged"


def test_two_queries_in_all_are_one_stratum():
    drawn = draw(queries({("a", "head"): 1, ("b", "tail"): 1}), n=2, seed=1)
    assert strata(drawn) == {"a / head + b / tail": (2, 2)}


def test_names_of_merged_strata_stay_short_and_apart():
    assert name_of([(i, "tail") for i in "abcdef"]) == "a + b + 4 more / tail"
    assert name_of(list(product("ab", ["head", "tail"]))) == "a + b / head + tail"
    assert name_of([("a", "head"), ("b", "tail"), ("a", "tail")]) == "a / head + a / tail + b / tail"


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["art", "home", "toys", None]), st.sampled_from(["head", "tail", "single"])),
        st.integers(1, 30),
        min_size=1,
    ),
    st.integers(2, 40),
    st.sampled_from(["neyman", "proportional", "equal"]),
)
def test_every_draw_adds_up(sizes, n, allocation):
    table = queries(sizes)
    if n > table.num_rows:
        return
    drawn = draw(table, n=n, seed=3, allocation=allocation)
    assert drawn.table.num_rows == n == len(set(drawn.table["query_id"].to_pylist()))
    assert sum(s.population for s in drawn.design.strata) == table.num_rows
    assert all(2 <= s.sample <= s.population for s in drawn.design.strata)
    assert (1 / drawn.table["inclusion_probability"].to_numpy()).sum() == pytest.approx(table.num_rows)
    assert bool(drawn.notes) == (len(drawn.design.strata) < len(sizes))
    again = read_design_table(drawn.table, seed=3, origin=drawn.design.origin)
    assert again == drawn.design


# --- the draw -------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_the_draw_depends_on_ids_and_seed_and_not_on_row_order(random, seed):
    order = list(range(LOG.num_rows))
    random.shuffle(order)
    assert draw(LOG.take(order), n=30, seed=seed).table.equals(draw(LOG, n=30, seed=seed).table)


def test_the_draw_is_the_same_on_every_machine():
    drawn = "q0220 q0225 q0242 q0344 q0001 q0006 q0168 q0196"
    assert draw(LOG, n=8, seed=1).table["query_id"].to_pylist() == drawn.split()


def test_another_seed_draws_others():
    one, two = (set(draw(LOG, n=40, seed=seed, strata=()).table["query_id"].to_pylist()) for seed in (1, 2))
    assert len(one & two) < 15


def test_a_larger_sample_keeps_the_smaller_one_so_that_its_judgments_serve_again():
    for allocation in ("neyman", "proportional", "equal"):
        small, large = (draw(LOG, n=n, seed=1, allocation=allocation).table["query_id"].to_pylist() for n in (40, 80))
        assert set(small) < set(large)


def test_next_months_log_keeps_most_of_this_months_sample():
    old = queries({("home", "tail"): 1000})
    new = old.slice(100)  # a tenth of the queries is gone
    before, after = (set(draw(log, n=100, seed=1).table["query_id"].to_pylist()) for log in (old, new))
    assert len(before & after) == len(before & set(new["query_id"].to_pylist())) > 80


def test_every_query_of_a_stratum_has_the_odds_that_are_printed():
    """200 seeds, 20 of 100: each query is drawn about 40 times; the chi-square of the 100 counts lies within 99.99 %."""
    from scipy.stats import chi2

    log = queries({("home", "tail"): 100})
    counts = Counter(i for seed in range(200) for i in draw(log, n=20, seed=seed).table["query_id"].to_pylist())
    found = np.array([counts[i] for i in log["query_id"].to_pylist()])
    statistic = ((found - 40) ** 2 / (40 * 0.8)).sum() * 99 / 100
    assert chi2.ppf(0.00005, 99) < statistic < chi2.ppf(0.99995, 99)


@pytest.mark.simulation
def test_the_weighted_mean_of_a_draw_is_the_population_mean(repetitions):
    """Draws under many seeds from one population. Monte Carlo tolerance: 4 standard errors of their mean."""
    rng = np.random.default_rng(2)
    d = dict(zip(LOG["query_id"].to_pylist(), np.where(np.arange(400) < 30, 0.2, 0.0) + rng.normal(0, 0.1, 400), strict=True))
    thetas = []
    for seed in range(repetitions(reduced=100, whole=2000)):
        table = draw(LOG, n=40, seed=seed, allocation="equal").table
        values = np.array([d[i] for i in table["query_id"].to_pylist()])
        thetas.append((values / table["inclusion_probability"].to_numpy()).sum() / 400)
    assert np.mean(thetas) == pytest.approx(np.mean(list(d.values())), abs=4 * np.std(thetas) / np.sqrt(len(thetas)))


# --- what cannot be drawn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 401}, "n = 401 is larger than the population of 400 queries: pass n = 400 for a census"),
        ({"n": 1}, "both must be 2 or more"),
        ({"n": 0}, "both must be 2 or more"),
        ({"n": 40, "minimum": 1}, "both must be 2 or more"),
        ({"n": 40, "minimum": 30}, "n = 40 cannot give 4 strata 30 queries each: pass n = 90 or more"),
        ({"n": 40, "strata": ["colour"]}, "no column 'colour' to make strata of: the queries have query_id, query, interest"),
        ({"n": 40, "strata": ["query_id"]}, "400 strata|larger"),
        ({"n": 40, "allocation": "optimal"}, "allocation 'optimal' is unknown"),
        ({"n": 40, "allocation": "equal", "cost": {"all": 1.0}}, "'equal' uses no cost"),
        ({"n": 40, "sd": {"art / head": 0.1}}, "no sd for stratum 'art / tail': the strata are 'art / head', 'art / tail'"),
        ({"n": 40, "strata": (), "sd": {"all": 0.1, "art": 0.1}}, "sd names 'art', which is no stratum"),
        ({"n": 40, "strata": (), "sd": {"all": float("nan")}}, "must be finite"),
    ],
)
def test_a_draw_that_cannot_be_is_an_error(options, message):
    if options.get("strata") == ["query_id"]:  # every query its own stratum: merged until n can hold them
        assert len(draw(LOG, seed=1, **options).design.strata) == 20
        return
    with pytest.raises(InputError, match=message):
        draw(LOG, seed=1, **options)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pa.array([], pa.string()), "there are no queries to sample"),
        (["a", "b", "a", "c"], "query_id 'a' is there 2 times"),
        (["a", None, "c"], "row 2 of the queries has no query_id"),
    ],
)
def test_queries_that_have_no_ids_cannot_be_drawn(ids, message):
    with pytest.raises(InputError, match=message):
        draw(pa.table({"query_id": ids}), n=2, seed=1)


def test_values_that_hold_our_separator_must_not_make_one_name_of_two_strata():
    table = queries({("a / b", "c"): 5, ("a", "b / c"): 5})
    with pytest.raises(InputError, match="two strata have one name, 'a / b / c'"):
        draw(table, n=8, seed=1)


def test_a_column_with_a_value_a_query_is_no_stratum():
    table = pa.table({"query_id": [str(i) for i in range(6000)]})
    with pytest.raises(InputError, match="makes 6000 strata: at most 5000"):
        draw(table, n=10, seed=1, strata=["query_id"])


def designed(**columns):
    rows = {"query_id": ["a", "b", "c"], "stratum": ["x", "x", "y"]}
    rows |= {"inclusion_probability": [0.5, 0.5, 0.1], "population": [4, 4, 10]}
    return pa.table({**rows, **columns})


def test_a_table_of_designs_gives_its_strata_back():
    assert read_design_table(designed()) == Design((Stratum("x", 4, 2), Stratum("y", 10, 1)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"population": [4, 5, 10]}, r"stratum 'x' has populations \[4, 5\]"),
        (
            {"inclusion_probability": [0.5, 0.4, 0.1]},
            "stratum 'x' has 2 of 4 queries but inclusion probabilities from 0.4 to 0.5",
        ),
        ({"inclusion_probability": [0.5, 0.5, 0.2]}, "expected 0.1; were rows added to the design, or dropped"),
        ({"population": [1, 1, 10]}, "stratum 'x' has 2 of 1 queries"),
        ({"stratum": ["x", "x", None]}, "a null in stratum"),
        ({"query_id": ["a", "a", "b"]}, "query_id 'a' is there 2 times"),
    ],
)
def test_a_design_whose_weights_are_not_those_of_its_draw_is_an_error(columns, message):
    with pytest.raises(InputError, match=message):
        read_design_table(designed(**columns))


def test_an_empty_design_stands_for_nothing():
    with pytest.raises(InputError, match="the design names no queries"):
        read_design_table(designed().slice(0, 0))


# --- by traffic -----------------------------------------------------------------------------------------------------

SEARCHED = queries(
    {("home", "head"): 6, ("home", "tail"): 60, ("art", "tail"): 40},
    impressions=[500, 90, 80, 70, 60, 50] + [1 + i % 7 for i in range(100)],
)


def test_by_traffic_the_odds_are_proportional_to_traffic_and_certain_for_the_largest():
    drawn = draw(SEARCHED, n=30, seed=1, by="traffic", strata=["segment"])
    assert strata(drawn) == {"head": (850, 6), "tail": (sum(1 + i % 7 for i in range(100)), 24)}
    assert drawn.design.unit == "searches"
    assert drawn.design.origin == "neyman allocation over segment, odds proportional to searches"
    rows = drawn.table.to_pylist()
    assert {row["unit"] for row in rows} == {"searches"}
    known = {row["query_id"]: row["impressions"] for row in SEARCHED.to_pylist()}
    tail = [row for row in rows if row["stratum"] == "tail"]
    assert all(row["traffic"] == known[row["query_id"]] for row in rows)
    assert all(row["inclusion_probability"] == pytest.approx(24 * row["traffic"] / row["stratum_traffic"]) for row in tail)
    assert {row["population"] for row in tail} == {100}
    assert read_design_table(drawn.table, seed=1, origin=drawn.design.origin) == drawn.design


def test_a_query_that_is_due_more_than_once_is_certain_and_the_rest_is_shared():
    drawn = draw(SEARCHED.slice(0, 6), n=3, seed=4, by="traffic", strata=())
    odds = {row["traffic"]: row["inclusion_probability"] for row in drawn.table.to_pylist()}
    assert odds[500] == 1.0
    assert all(value == pytest.approx(2 * t / 350) for t, value in odds.items() if t != 500)
    assert read_design_table(drawn.table).strata == (Stratum("all", 850, 3),)


def test_every_query_has_its_own_odds_by_traffic():
    """200 seeds, 10 of 40: the chi-square of how often each is drawn lies within 99.99 % of what its odds say."""
    from scipy.stats import chi2

    log = queries({("home", "tail"): 40}, users=[1 + i % 8 for i in range(40)])
    counts = Counter(i for seed in range(200) for i in draw(log, n=10, seed=seed, by="users").table["query_id"].to_pylist())
    traffic = np.array(log["users"].to_pylist())
    expected = 200 * 10 * traffic / traffic.sum()
    found = np.array([counts[i] for i in log["query_id"].to_pylist()])
    statistic = ((found - expected) ** 2 / (expected * (1 - expected / 200))).sum() * 39 / 40
    assert chi2.ppf(0.00005, 39) < statistic < chi2.ppf(0.99995, 39)


@pytest.mark.simulation
def test_the_weighted_mean_of_a_draw_by_traffic_is_the_mean_over_searches(repetitions):
    """Differences that grow with traffic, so that the mean over queries is another. Tolerance: 4 standard errors."""
    traffic = dict(zip(SEARCHED["query_id"].to_pylist(), SEARCHED["impressions"].to_pylist(), strict=True))
    d = {query: 0.1 * np.log(t) for query, t in traffic.items()}
    truth = sum(traffic[q] * d[q] for q in d) / sum(traffic.values())
    thetas = []
    for seed in range(repetitions(reduced=200, whole=2000)):
        table = draw(SEARCHED, n=24, seed=seed, by="traffic").table
        thetas.append(standing(table) @ np.array([d[q] for q in table["query_id"].to_pylist()]))
    assert np.mean(thetas) == pytest.approx(truth, abs=4 * np.std(thetas) / np.sqrt(len(thetas)))
    assert abs(np.mean(list(d.values())) - truth) > 0.1


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30), st.integers(1, 29), st.floats(0, 0.999))
def test_odds_by_size_sum_to_n_and_a_systematic_draw_has_n(sizes, n, start):
    n = min(n, len(sizes))
    odds = odds_by_size(sizes, n)
    assert odds.sum() == pytest.approx(n)
    assert ((odds > 0) & (odds <= 1)).all()
    free = odds < 1
    assert np.ptp(odds[free] / np.array(sizes)[free]) == pytest.approx(0, abs=1e-12) if free.any() else True
    rows = systematic(odds, np.arange(len(sizes))[::-1], start)
    assert len(set(rows.tolist())) == n


def test_sizes_of_nothing_have_no_odds():
    with pytest.raises(InputError, match="expected sizes above 0"):
        odds_by_size([1, 0], 1)
    with pytest.raises(InputError, match="no more than there are"):
        odds_by_size([1, 1], 3)


def test_a_draw_by_queries_keeps_their_traffic_too():
    table = draw(SEARCHED, n=30, seed=1, strata=["segment"]).table
    assert "unit" not in table.column_names
    assert set(table["stratum_traffic"].to_pylist()) == {850, sum(1 + i % 7 for i in range(100))}
    assert read_design_table(table).unit == "distinct queries"


def test_impressions_are_traffic_before_users_and_queries_without_any_are_left_out():
    table = SEARCHED.append_column("users", pa.array([0] + [1] * 105))
    assert draw(table, n=20, seed=1, by="traffic").design.unit == "searches"
    by_users = draw(table, n=20, seed=1, by="users", strata=())
    assert by_users.design.unit == "users"
    assert strata(by_users) == {"all": (105, 20)}
    assert by_users.notes == ("queries without users, which are no part of the users: 1",)


@pytest.mark.parametrize(
    ("table", "by", "message"),
    [
        (LOG, "traffic", "drawing by traffic needs a column impressions or users without gaps"),
        (SEARCHED, "users", "needs a column users"),
        (SEARCHED, "clicks", "by 'clicks' is unknown: expected one of queries, traffic"),
        (queries({("a", "b"): 3}, impressions=[5, -1, 2]), "traffic", "impressions of query 'q0001' is -1"),
    ],
)
def test_traffic_that_is_not_there_is_an_error(table, by, message):
    with pytest.raises(InputError, match=message):
        draw(table, n=2, seed=1, by=by)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(1), "proportional to it; were rows added to the design, or dropped"),
        (lambda t: t.set_column(2, "inclusion_probability", pa.array([0.5] * t.num_rows)), "an inclusion probability of 0.5"),
        (lambda t: t.drop_columns("traffic"), "the design is of searches and has no column traffic"),
        (
            lambda t: t.set_column(t.schema.get_field_index("unit"), "unit", pa.array(["clicks"] * t.num_rows)),
            "column unit holds",
        ),
        (lambda t: t.set_column(4, "traffic", pa.array([0] * t.num_rows)), "expected traffic above 0"),
        (lambda t: t.set_column(4, "traffic", pa.array([None] * t.num_rows, pa.int64())), "a null in stratum"),
        (lambda t: t.set_column(5, "stratum_traffic", pa.array(range(1000, 1000 + t.num_rows))), r"has stratum_traffic \[1000"),
    ],
)
def test_a_design_by_traffic_that_was_changed_is_an_error(change, message):
    table = draw(SEARCHED, n=30, seed=1, by="traffic", strata=()).table
    with pytest.raises(InputError, match=message):
        read_design_table(change(table))


def test_what_a_query_stands_for_adds_up_to_the_population():
    assert standing(draw(LOG, n=40, seed=1).table).sum() == pytest.approx(1)
    sure = draw(SEARCHED, n=106, seed=1, by="traffic")
    assert standing(sure.table).sum() == pytest.approx(1)
    assert sure.facts["weights_effect"] == pytest.approx(
        106 * 1.0 * sum(x**2 for x in SEARCHED["impressions"].to_pylist()) / sum(SEARCHED["impressions"].to_pylist()) ** 2
    )


def test_certain_queries_count_by_their_traffic_in_the_mde():
    """All six: the weights are 500 .. 50 of 850, and the standard error is sd sqrt(sum w^2), not sd / sqrt(6)."""
    head = SEARCHED.slice(0, 6)
    drawn = draw(head, n=6, seed=1, by="traffic", strata=(), sd=0.1)
    weights = np.array([500, 90, 80, 70, 60, 50]) / 850
    assert drawn.facts["mde"] == pytest.approx(mde(0.1 * np.sqrt((weights**2).sum())))


# --- floors, other allocations, and n from an effect ----------------------------------------------------------------


def test_a_reported_segment_gets_its_floor_over_its_strata():
    drawn = draw(LOG, n=60, seed=1, floors={"head": 20})
    assert {k: v for k, v in strata(drawn).items() if "head" in k} == {"art / head": (10, 7), "home / head": (20, 13)}
    assert sum(s.sample for s in drawn.design.strata) == 60
    assert drawn.facts["design_effect"] > 1.05
    assert draw(LOG, n=60, seed=1).facts["design_effect"] == pytest.approx(1, abs=0.05)


def test_a_floor_can_be_for_every_value_of_a_column_or_for_a_stratum():
    each = draw(LOG, n=100, seed=1, floors={"segment": 40})
    assert sum(s.sample for s in each.design.strata if "head" in s.name) == 30  # all it has
    assert strata(draw(LOG, n=60, seed=1, floors={"art / head": 9}))["art / head"] == (10, 9)
    assert strata(draw(LOG, n=60, seed=1, floors={"segment:head": 20})) == strata(draw(LOG, n=60, seed=1, floors={"head": 20}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"floors": {"head": 31}}, "segment 'head' has 30 queries and a floor of 31: ask for 30 at most"),
        ({"floors": {"head": 25, "tail": 40}}, "n = 60 cannot meet the floors: they need n = 65 or more"),
        ({"floors": {"body": 5}}, "a floor for 'body', which is no segment: the segments are art, home, head, tail"),
        ({"floors": {"head": 2.5}}, "expected a whole number"),
        ({"allocation": "power", "exponent": 2}, "an exponent of 2"),
        ({"allocation": "power", "cost": {"head": 1.0}}, "'power' uses no cost"),
        ({"effect": 0.01, "sd": 0.1}, "either n or the MDE"),
    ],
)
def test_floors_and_allocations_that_cannot_be_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        draw(LOG, n=60, seed=1, **options)


def test_a_segment_that_was_merged_away_has_no_floor():
    table = queries({("art", "head"): 1, ("art", "tail"): 70, ("home", "tail"): 50})
    with pytest.raises(InputError, match="segment 'head' was merged with others"):
        draw(table, n=20, seed=1, floors={"head": 1})
    double = queries({("x", "a"): 10, ("a", "b"): 10})
    with pytest.raises(InputError, match="'a' is a value of interest and segment: say interest:a"):
        draw(double, n=8, seed=1, floors={"a": 4})


def test_power_allocation_lies_between():
    def head(allocation, **options):
        drawn = draw(LOG, n=60, seed=1, strata=["segment"], allocation=allocation, **options)
        return strata(drawn)["head"][1]

    assert head("neyman") == 5 < head("power") < head("power", exponent=0.2) < head("equal") == 30


def test_n_can_follow_from_the_effect_that_is_to_be_found():
    from germane.stats.power import stratified_sample_size

    drawn = draw(LOG, seed=1, effect=0.03, sd=0.1, strata=["segment"])
    assert drawn.table.num_rows == stratified_sample_size([30, 370], [0.1, 0.1], 0.03) == 88
    assert drawn.facts["mde"] <= 0.03
    assert draw(LOG, seed=1, effect=0.03, sd=0.1, strata=["segment"], power=0.9).table.num_rows > 88
    assert draw(LOG, seed=1, effect=0.03, sd=0.1, strata=["segment"], level=0.99).table.num_rows > 88
    assert draw(LOG, seed=1, effect=0.03, sd=0.1, strata=["segment"], floors={"head": 30}).table.num_rows > 88
    with pytest.raises(InputError, match="an MDE needs the SD"):
        draw(LOG, seed=1, effect=0.03)
    with pytest.raises(InputError, match="out of reach: judging all 400 queries"):
        draw(LOG, seed=1, effect=0.001, sd=0.1)
    with pytest.raises(InputError, match="either n or the MDE"):
        draw(LOG, seed=1)


# --- the pool -------------------------------------------------------------------------------------------------------


def run(lists):
    rows = [(query, doc, float(100 - place)) for query, docs in lists.items() for place, doc in enumerate(docs)]
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(("query_id", "doc_id", "score"))})


def pairs(found):
    return [(row["query_id"], row["doc_id"]) for row in found.table.to_pylist()]


def judged(*labels):
    names = ("query_id", "doc_id", "relevance")
    return pa.table(
        {n: pa.array([label[i] for label in labels], pa.int16() if i == 2 else pa.string()) for i, n in enumerate(names)}
    )


CONTROL = run({"q1": "abcd", "q2": "xyz", "q3": "mn"})
TREATMENT = run({"q1": "abdc", "q2": "xyz", "q3": "nmo"})


def test_only_what_moved_needs_a_grade_most_valuable_first():
    found = pool(CONTROL, TREATMENT, k=4)
    # q3 swaps ranks 1 and 2 and gains a third; q1 swaps ranks 3 and 4; q2 is as it was
    assert pairs(found) == [("q3", "o"), ("q3", "m"), ("q3", "n"), ("q1", "c"), ("q1", "d")]
    assert found.counts == {
        "queries": 3, "no_results": 0, "one_arm": 0, "pooled": 10, "moved": 5, "judged": 0, "pairs": 5
    }  # fmt: skip


def test_the_value_of_a_grade_comes_out_by_hand():
    total = 1 + 1 / log2(3) + 1 / log2(4) + 1 / log2(5)
    row = pool(CONTROL, TREATMENT, k=4).table.to_pylist()[0]
    assert row["control_rank"] is None
    assert row["treatment_rank"] == 3
    assert row["weight"] == pytest.approx(1 / log2(4) / total)
    assert row["value"] == pytest.approx(row["weight"] / 3)


def test_below_the_cut_a_document_is_not_there():
    found = pool(CONTROL, TREATMENT, k=3)
    rows = {(r["query_id"], r["doc_id"]): (r["control_rank"], r["treatment_rank"]) for r in found.table.to_pylist()}
    assert rows["q1", "c"] == (3, None)
    assert rows["q1", "d"] == (None, 3)
    assert pool(CONTROL, TREATMENT, k=2).counts["moved"] == 2


def test_a_query_of_a_thin_stratum_is_worth_more():
    design = pa.table(
        {
            "query_id": ["q1", "q3"],
            "stratum": ["tail", "head"],
            "inclusion_probability": [0.01, 1.0],
            "population": [100, 1],
        }
    )
    found = pool(CONTROL, TREATMENT, k=4, designs=design)
    assert pairs(found)[:2] == [("q1", "c"), ("q1", "d")]
    assert found.counts["queries"] == 2
    # W_h / m_h = (100 / 101) / 1, times the discounts' difference
    assert found.table["value"].to_pylist()[0] == pytest.approx(abs(found.table["weight"].to_pylist()[0]) * 100 / 101)


def test_what_has_a_grade_is_left_out_and_an_abstention_is_no_grade():
    found = pool(CONTROL, TREATMENT, k=4, judgments=judged(("q3", "o", 2), ("q3", "m", None), ("q2", "x", 1), ("q9", "c", 1)))
    assert pairs(found) == [("q3", "m"), ("q3", "n"), ("q1", "c"), ("q1", "d")]
    assert (found.counts["judged"], found.counts["pairs"]) == (1, 4)


def test_everything_lists_what_did_not_move_too_but_last():
    found = pool(CONTROL, TREATMENT, k=4, everything=True)
    assert pairs(found)[:5] == pairs(pool(CONTROL, TREATMENT, k=4))
    assert pairs(found)[5:] == [("q1", "a"), ("q2", "x"), ("q1", "b"), ("q2", "y"), ("q2", "z")]
    assert found.table["value"].to_pylist()[5:] == [0.0] * 5


def test_queries_of_one_arm_and_of_none_are_counted():
    design = pa.table(
        {"query_id": list("abc"), "stratum": ["s"] * 3, "inclusion_probability": [1.0] * 3, "population": [3] * 3}
    )
    found = pool(run({"a": "xy"}), run({"a": "xy", "b": "z", "zz": "x"}), designs=design)
    assert pairs(found) == [("b", "z")]
    assert (found.counts["queries"], found.counts["one_arm"], found.counts["no_results"]) == (2, 1, 1)


def test_runs_of_other_queries_than_the_design_are_an_error():
    design = pa.table({"query_id": ["u"], "stratum": ["s"], "inclusion_probability": [1.0], "population": [1]})
    with pytest.raises(InputError, match="the design names 'u', the control 'q1'"):
        pool(CONTROL, TREATMENT, designs=design)
    with pytest.raises(InputError, match="k is 0"):
        pool(CONTROL, TREATMENT, k=0)
    with pytest.raises(InputError, match="both runs are empty"):
        pool(CONTROL.slice(0, 0), TREATMENT.slice(0, 0))


lists = st.dictionaries(
    st.sampled_from(["q1", "q2", "q3"]), st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), min_size=1
)


@settings(max_examples=40)
@given(lists, lists, st.integers(1, 7), st.randoms(use_true_random=False))
def test_the_pool_is_all_that_delta_needs(control, treatment, k, random):
    """sDCG's delta of each query, from full lists, and from the listed pairs alone."""
    from germane.metrics import sdcg_weights

    found = pool(run(control), run(treatment), k=k)
    gains = {(q, d): random.random() for q in ("q1", "q2", "q3") for d in "abcdef"}
    discount = sdcg_weights(k)
    ids = control.keys() | treatment.keys()

    def level(lists):
        return sum(discount[i] * gains[q, d] for q, docs in lists.items() for i, d in enumerate(docs[:k])) / len(ids)

    listed = found.table.to_pylist()
    delta = sum(row["weight"] * gains[row["query_id"], row["doc_id"]] for row in listed) / len(ids)
    assert delta == pytest.approx(level(treatment) - level(control), abs=1e-12)
    values = [row["value"] for row in listed]
    assert values == sorted(values, reverse=True)
    assert all(value > 0 for value in values)
    assert len(pairs(found)) == len(set(pairs(found)))


@settings(max_examples=20)
@given(lists, lists)
def test_swapping_the_arms_needs_the_same_grades(control, treatment):
    there, back = pool(run(control), run(treatment), k=4), pool(run(treatment), run(control), k=4)
    assert pairs(there) == pairs(back)
    assert np.allclose(there.table["weight"].to_numpy(), -back.table["weight"].to_numpy())


def test_an_allocation_can_be_given_as_a_value():
    one = draw(LOG, n=60, seed=1, allocation=Allocation("power", floors={"head": 20}))
    assert one.table.equals(draw(LOG, n=60, seed=1, allocation="power", floors={"head": 20}).table)
    assert one.table.equals(draw(LOG, n=60, seed=1, allocation=Allocation("power"), floors={"head": 20}).table)
