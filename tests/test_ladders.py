"""What each step of an improvement is worth."""

from itertools import combinations, permutations
from math import isclose, log, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.stats.ladders import ladder, shapley, shares
from germane.types import InputError

EMPTY = frozenset()


def sets(steps):
    return [frozenset(c) for size in range(len(steps) + 1) for c in combinations(steps, size)]


@st.composite
def games(draw, low=0.01, high=100.0):
    steps = "abcd"[: draw(st.integers(1, 4))]
    return {taken: draw(st.floats(low, high)) for taken in sets(steps)}


# --- the split without an order -------------------------------------------------------------------------------------


def test_three_steps_by_hand():
    """Shapley's glove game: one left glove, two right ones; a pair is worth 1."""
    value = {s: float("l" in s and bool(s & {"r1", "r2"})) for s in sets(["l", "r1", "r2"])}
    assert shapley(value) == pytest.approx({"l": 2 / 3, "r1": 1 / 6, "r2": 1 / 6})


@given(games())
def test_the_split_is_the_mean_over_every_order(value):
    steps = sorted(max(value, key=len))
    orders = list(permutations(steps))
    expected = dict.fromkeys(steps, 0.0)
    for order in orders:
        for i, step in enumerate(order):
            expected[step] += (value[frozenset(order[: i + 1])] - value[frozenset(order[:i])]) / len(orders)
    assert shapley(value) == pytest.approx(expected, abs=1e-9)


@given(games())
def test_points_sum_and_factors_multiply_to_the_whole(value):
    whole = max(value, key=len)
    assert sum(shapley(value).values()) == pytest.approx(value[whole] - value[EMPTY], abs=1e-9)
    assert prod(shapley(value, scale="ratio").values()) == pytest.approx(value[whole] / value[EMPTY], rel=1e-9)


@given(games())
def test_a_step_that_changes_nothing_is_worth_nothing(value):
    padded = value | {taken | {"dummy"}: v for taken, v in value.items()}
    assert shapley(padded)["dummy"] == pytest.approx(0, abs=1e-9)
    assert shapley(padded, scale="ratio")["dummy"] == pytest.approx(1)
    rest = {step: part for step, part in shapley(padded).items() if step != "dummy"}
    assert rest == pytest.approx(shapley(value), abs=1e-9)


@given(st.lists(st.floats(0.01, 10), min_size=5, max_size=5))
def test_steps_that_do_the_same_are_worth_the_same(by_size):
    value = {taken: by_size[len(taken)] for taken in sets("abcd")}
    for scale in ("points", "ratio"):
        parts = list(shapley(value, scale=scale).values())
        assert parts == pytest.approx([parts[0]] * 4)


@given(games(), st.floats(0.5, 20))
def test_points_scale_with_the_unit_and_factors_do_not(value, unit):
    scaled = {taken: unit * v for taken, v in value.items()}
    assert shapley(scaled) == pytest.approx({s: unit * v for s, v in shapley(value).items()}, abs=1e-9)
    assert shapley(scaled, scale="ratio") == pytest.approx(shapley(value, scale="ratio"))


def test_steps_whose_factors_multiply_are_worth_their_factors():
    factor = {"m": 0.2, "strata": 0.95, "adjustment": 0.8}
    value = {taken: 1.4 * prod(factor[s] for s in taken) for taken in sets(list(factor))}
    assert shapley(value, scale="ratio") == pytest.approx(factor)


@given(games())
def test_shares_sum_to_one_or_are_refused(value):
    for scale in ("points", "ratio"):
        parts = shapley(value, scale=scale)
        sizes = [log(p) if scale == "ratio" else p for p in parts.values()]
        if abs(sum(sizes)) > 1e-6 * sum(map(abs, sizes)):
            assert isclose(sum(shares(parts, scale=scale).values()), 1, abs_tol=1e-6)


def test_shares_of_factors_are_shares_of_their_logarithm():
    assert shares({"a": 0.5, "b": 0.25}, scale="ratio") == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert shares({"a": 0.5, "b": 0.25}) == pytest.approx({"a": 2 / 3, "b": 1 / 3})


@pytest.mark.parametrize(
    ("values", "scale", "complaint"),
    [
        ({}, "points", "no steps"),
        ({EMPTY: 1.0}, "points", "no steps"),
        ({EMPTY: 1.0, frozenset("a"): 1.0, frozenset("ab"): 1.0}, "points", r"no value for \{b\}"),
        ({frozenset("a"): 1.0}, "points", r"no value for \{\}"),
        ({EMPTY: 1.0, frozenset("a"): float("nan")}, "points", r"value of \{a\} is nan"),
        ({EMPTY: 1.0, frozenset("a"): 0.0}, "ratio", r"value of \{a\} is 0.0: expected a finite number above 0"),
        ({EMPTY: 1.0, frozenset("a"): 1.0}, "percent", "scale 'percent' is unknown"),
        ({frozenset("abcdefghijk"): 1.0}, "points", "2048 combinations"),
    ],
)
def test_a_split_that_has_no_answer_is_refused(values, scale, complaint):
    with pytest.raises(InputError, match=complaint):
        shapley(values, scale=scale)


def test_parts_that_cancel_have_no_shares():
    with pytest.raises(InputError, match="cancel"):
        shares({"a": 1.0, "b": -1.0})
    with pytest.raises(InputError, match="factor of 'a'"):
        shares({"a": -1.0}, scale="ratio")


# --- the rungs in their order ---------------------------------------------------------------------------------------


def test_rungs_by_hand():
    first, second, third = ladder([("people", 1.4), ("judge", 0.4), ("strata", 0.2)])
    assert first == ("people", 1.4, 0.0, 1.0, 0.0)
    assert second[1:] == pytest.approx((0.4, 1.0, 0.4 / 1.4, 1.0 / 1.2))
    assert third[1:] == pytest.approx((0.2, 0.2, 0.5, 0.2 / 1.2))


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=6).filter(lambda x: abs(x[0] - x[-1]) > 1e-6))
def test_points_add_and_ratios_multiply_along_the_ladder(mdes):
    rungs = ladder([(str(i), mde) for i, mde in enumerate(mdes)])
    assert sum(r.points for r in rungs) == pytest.approx(mdes[0] - mdes[-1], abs=1e-9)
    assert prod(r.ratio for r in rungs) == pytest.approx(mdes[-1] / mdes[0])
    assert sum(r.share for r in rungs) == pytest.approx(1, abs=1e-3)
    assert [r.mde for r in rungs] == mdes


@pytest.mark.parametrize(
    ("regimes", "complaint"),
    [
        ([("a", 1.0)], "no step"),
        ([("a", 1.0), ("a", 0.5)], "'a' is there twice"),
        ([("a", 1.0), ("b", 0.0)], "MDE of 'b' is 0.0"),
        ([("a", 1.0), ("b", float("inf"))], "MDE of 'b' is inf"),
        ([("a", 1.0), ("b", 1.0)], "no fall"),
    ],
)
def test_a_ladder_without_steps_is_refused(regimes, complaint):
    with pytest.raises(InputError, match=complaint):
        ladder(regimes)
