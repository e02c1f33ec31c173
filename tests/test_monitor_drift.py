import numpy as np
import pytest
from sample_days import day

from germane.monitor.days import Day
from germane.monitor.drift import agreement, distance, labels_moved, moved, new_words, vocabulary
from germane.types import InputError


def market(date, shares):
    names = [name for name, count in shares.items() for _ in range(count)]
    return day(date, [0.5] * len(names), market=names)


def test_shares_that_moved():
    e = moved(market("2026-01-05", {"de": 50, "fr": 50}), market("2026-01-06", {"de": 80, "fr": 20}), "market")
    assert e.value == pytest.approx(0.3)
    assert 0 < e.low < 0.3 < e.high
    assert e.caveat == ""


def test_a_value_that_was_never_there_counts():
    e = moved(market("2026-01-05", {"de": 50}), market("2026-01-06", {"de": 40, "it": 10}), "market")
    assert e.value == pytest.approx(0.2)


def test_many_values_are_taken_together():
    before = market("2026-01-05", {f"m{i}": 10 for i in range(30)})
    assert moved(before, market("2026-01-06", {f"m{i}": 10 for i in range(30)}), "market").value == 0
    assert moved(before, market("2026-01-06", {f"n{i}": 10 for i in range(30)}), "market").value == pytest.approx(
        0.3
    )  # of 9 of 30, the rest is one


def test_one_value_cannot_move():
    e = moved(market("2026-01-05", {"de": 5}), market("2026-01-06", {"de": 9}), "market")
    assert (e.value, e.low, e.high) == (0, 0, 0)
    with pytest.raises(InputError, match="no column"):
        moved(market("2026-01-05", {"de": 5}), market("2026-01-06", {"de": 9}), "language")


@pytest.mark.simulation
def test_chance_alone_hardly_ever_shows(repetitions):
    """The low limit is above 0 in 2.5 % of draws without a change at most; tolerance: 3 binomial SDs."""
    times = repetitions(reduced=200, whole=2000)
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(times):
        shares = [rng.choice(["a", "b", "c", "d"], 150, p=[0.4, 0.3, 0.2, 0.1]) for _ in range(2)]
        days = [day(date, [0.5] * 150, x=s.tolist()) for date, s in zip(("2026-01-05", "2026-01-06"), shares, strict=True)]
        hits += moved(*days, "x").low > 0
    assert hits <= 0.05 * times + 3 * np.sqrt(times * 0.05 * 0.95)


def test_labels_that_moved():
    def graded(date, good):
        x = np.array(good)
        return Day(
            date, np.arange(x.size).astype(str), np.ones(x.size), np.ones(x.size), np.full(x.size, "a"), np.ones(x.size, bool),
            metrics={"grade@25:good": x, "grade@25:bad": 1 - x},
        )  # fmt: skip

    names = ("grade@25:good", "grade@25:bad")
    e = labels_moved(graded("2026-01-05", [0.8] * 40 + [np.nan]), graded("2026-01-06", [0.6] * 40), names)
    assert e.value == pytest.approx(0.2)
    with pytest.raises(InputError, match="no 'grade@25:fair'"):
        labels_moved(graded("2026-01-05", [0.8]), graded("2026-01-06", [0.6]), ("grade@25:fair",))


def test_the_distance_is_that_of_the_set_that_moved_most():
    e = distance((np.array([0.5, 0.3, 0.2]), np.eye(3) * 1e-4), (np.array([0.2, 0.4, 0.4]), np.eye(3) * 1e-4), n=10)
    assert e.value == pytest.approx(0.3)


def words_of(queries, requests=None):
    n = len(queries)
    return Day("2026-01-05", np.array(queries), np.ones(n) if requests is None else np.array(requests), np.ones(n),
               np.full(n, "a"), np.ones(n, bool))  # fmt: skip


def test_words_never_seen_before():
    known = vocabulary(["Red hat", "corona beer"])
    e = new_words(words_of(["red hat", "corona test", "<b>hat</b>"], [6.0, 3.0, 1.0]), known)
    assert e.value == pytest.approx(0.4)
    none = new_words(words_of(["red", "hat"]), known)
    assert none.value == 0 < none.high
    with pytest.raises(InputError, match="no queries"):
        new_words(words_of([]), known)


def test_agreement_by_date_and_guide():
    when = ["2026-01-05"] * 4 + ["2026-02-05"] * 4
    guide = ["v1"] * 4 + ["v2"] * 4
    found = agreement(when, guide, ["a", "b", "c", "d"] * 2, [0, 1, 2, 3] * 2, [0, 1, 2, 3, 1, 2, 3, 3])
    shown = {(a.date, a.guide, a.measure): a.estimate.value for a in found}
    assert shown["2026-01-05", "v1", "exact"] == 1
    assert shown["2026-02-05", "v2", "exact"] == 0.25
    assert shown["2026-02-05", "v2", "within one"] == 1
    assert shown["2026-02-05", "v2", "lean"] == 0.75
    assert next(iter(shown))[0] == "2026-01-05"
    assert all(a.measure != "lean" for a in agreement(["x"], ["v"], ["q"], [1], [1]))
    with pytest.raises(InputError, match="guides of another length"):
        agreement(["x"], [], ["q"], [1], [1])
