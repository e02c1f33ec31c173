"""The best use of a budget: by hand, against every other choice, as properties, and simulated."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from germane.stats.adjustment import adjusted_difference
from germane.stats.allocation import neyman, stratified_se
from germane.stats.correction import best_audit_share, corrected, corrected_se
from germane.stats.means import stratified_difference
from germane.stats.moments import Moments
from germane.stats.planning import (
    Budget,
    Choice,
    Prices,
    Strata,
    allocated,
    best_choices,
    curve,
    rho_of_confusion,
    variances,
)
from germane.stats.power import mde
from germane.types import InputError

ONE = Strata.of([10**6], [0.06])
TWO = Strata.of([2000, 8000], [0.08, 0.06])


@st.composite
def plans(draw):
    """strata, budget, prices and rho of a plan that can be made."""
    rows = draw(st.lists(st.tuples(st.integers(2, 40), st.sampled_from([0.02, 0.05, 0.1, 0.3])), min_size=1, max_size=3))
    populations, sds = zip(*rows, strict=True)
    strata = Strata.of(populations, sds)
    judge = draw(st.sampled_from([0.0, 0.05, 0.3, 2.0]))
    budget = Budget(labels=draw(st.none() | st.integers(6, 60)), money=draw(st.integers(6, 60)))
    return strata, budget, Prices(1, people_money=1.0, judge_money=judge), draw(st.floats(-0.95, 0.95))


def test_one_stratum_is_planned_as_the_formula_says():
    """100 documents a query: a query costs people 50 and the judge 1. 10,000 of money."""
    prices = Prices(100, people_money=0.5, judge_money=0.01)
    best = best_choices(ONE, Budget(money=10_000), prices, rho=0.8).best
    share = best_audit_share(0.8, judge_cost=1, people_cost=50)
    # m (1 + 50 share) = 10,000
    assert best.judged == pytest.approx(10_000 / (1 + 50 * share), rel=0.01)
    assert best.share == pytest.approx(share, rel=0.02)  # whole numbers
    assert best.se == pytest.approx(corrected_se(0.06, 0.8, n=best.audited, m=best.judged))


def test_without_a_judge_people_grade_what_the_budget_pays():
    found = best_choices(ONE, Budget(labels=1000), Prices(10))
    assert found.best == found.people_only == Choice(0, 100, pytest.approx(0.006))
    assert found.judge_only is None
    assert best_choices(ONE, Budget(labels=1000), Prices(10, raters=2)).best.audited == 50
    assert best_choices(ONE, Budget(hours=20), Prices(10, rate=40)).best.audited == 80
    assert best_choices(ONE, Budget(money=99.99), Prices(1, people_money=0.1)).best.audited == 999


def test_every_budget_counts_at_once():
    prices = Prices(10, people_money=0.5, judge_money=0.01, rate=100)
    free = best_choices(ONE, Budget(money=3000), prices, rho=0.8).best
    bound = best_choices(ONE, Budget(money=3000, hours=20), prices, rho=0.8).best
    assert bound.audited == 200 < free.audited
    assert bound.judged == (3000 - 200 * 5) * 10 > free.judged  # the rest of the money is the judge's
    capped = best_choices(ONE, Budget(money=3000, hours=20, judge_labels=30_000), prices, rho=0.8).best
    assert (capped.judged, capped.audited) == (3000, 200)


def test_a_judge_that_says_nothing_is_not_paid():
    prices = Prices(10, people_money=0.5, judge_money=0.1)
    found = best_choices(TWO, Budget(money=3000), prices, rho=0.05)
    assert found.best == found.people_only
    assert found.judge_only is not None
    assert found.judge_only.judged == 3000


def test_a_free_judge_grades_everything():
    found = best_choices(TWO, Budget(labels=1000), Prices(10), rho=0.8)
    assert (found.best.judged, found.best.audited) == (10_000, 100)
    assert found.best.se < found.people_only.se


@settings(max_examples=30)
@given(plans())
def test_no_other_two_numbers_are_better(plan):
    strata, budget, prices, rho = plan
    least = 2 * len(strata.populations)
    try:
        found = best_choices(strata, budget, prices, rho=rho, least_audited=2).best
    except InputError:
        assume(False)

    def se(n, m):
        audit, sample = (neyman(strata.populations, strata.sds, size) for size in (n, m))
        parts = [stratified_se(strata.populations, strata.sds, of) ** 2 for of in (audit, sample)]
        return sqrt((1 - rho**2) * parts[0] + rho**2 * parts[1])

    total = int(strata.populations.sum())
    people = min(total, budget.labels or total)
    ways = [se(n, n) for n in range(least, people + 1) if n <= budget.money]
    for n in range(least, people + 1):
        left = budget.money - n
        m = total if prices.judge_money == 0 else min(total, int(left / prices.judge_money + 1e-9))
        ways += [se(n, m)] if left >= 0 and m >= n else []
    assert found.se == pytest.approx(min(ways), rel=1e-9)


@given(plans(), st.floats(1.0, 5.0))
def test_a_larger_budget_never_sees_less(plan, factor):
    strata, budget, prices, rho = plan
    try:
        small = best_choices(strata, budget, prices, rho=rho, least_audited=4)
    except InputError:
        assume(False)
    large = best_choices(strata, budget.times(factor), prices, rho=rho, least_audited=4)
    assert large.best.se <= small.best.se * (1 + 1e-12)
    assert large.people_only.se <= small.people_only.se * (1 + 1e-12)
    assert small.best.se <= small.people_only.se
    if large.judge_only and small.judge_only:
        assert large.judge_only.se <= small.judge_only.se * (1 + 1e-12)


@given(plans())
def test_a_plan_stays_within_its_budget_and_its_strata(plan):
    strata, budget, prices, rho = plan
    try:
        best = best_choices(strata, budget, prices, rho=rho, least_audited=4).best
    except InputError:
        assume(False)
    assert best.audited + best.judged * prices.judge_money <= budget.money * (1 + 1e-9)
    assert best.audited <= (budget.labels or best.audited)
    sample, audit = allocated(strata, best)
    assert sample.sum() == (best.judged or best.audited)
    assert audit.sum() == best.audited
    assert (audit <= sample).all()
    assert (sample <= strata.populations).all()
    assert (audit >= 2).all()


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(2, 12), st.floats(0.01, 1)), min_size=1, max_size=3))
def test_the_variance_of_every_n_is_that_of_its_allocation(rows):
    populations, sds = (np.array(column) for column in zip(*rows, strict=True))
    shares = populations * sds
    low = np.full(len(rows), 2)
    found = variances(shares, low=low, high=populations)
    for n in range(2 * len(rows), int(populations.sum()) + 1):
        sample = neyman(populations, sds, n)
        assert found[n - 2 * len(rows)] == pytest.approx((shares**2 / sample).sum(), rel=1e-9, abs=1e-12)


def test_floors_are_kept_in_the_sample_and_cost_precision():
    floors = Strata.of([2000, 8000], [0.08, 0.06], least=[300, 2])
    free, bound = (best_choices(s, Budget(labels=4000), Prices(10)).best for s in (TWO, floors))
    assert allocated(floors, bound)[0].tolist() == [300, 100]
    assert allocated(TWO, free)[0].tolist() == [100, 300]
    assert bound.se > free.se
    sample, audit = allocated(floors, Choice(400, 100, 0.0))
    assert (sample.tolist(), audit.tolist()) == ([300, 100], [25, 75])


def test_the_curve_leaves_out_budgets_that_are_too_small():
    found = curve(TWO, Budget(labels=1000), Prices(10), factors=[0.1, 0.5, 1.0])
    assert [factor for factor, _ in found] == [0.5, 1.0]
    assert found[1][1] == best_choices(TWO, Budget(labels=1000), Prices(10))
    assert len(curve(TWO, Budget(labels=1000), Prices(10), factors=[0.1], least_audited=5)) == 1


def test_a_confusion_gives_the_correlation_of_gains():
    rng = np.random.default_rng(2)
    table = rng.integers(1, 50, (4, 4))
    gains = np.array([0.0, 0.1, 0.4, 1.0])
    people, judge = (np.repeat(gains[np.arange(16) // 4], table.ravel()), np.repeat(gains[np.arange(16) % 4], table.ravel()))
    assert rho_of_confusion(table, gains) == pytest.approx(np.corrcoef(people, judge)[0, 1])
    assert rho_of_confusion(np.eye(3), [0, 0.5, 1]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": Budget(labels=290)}, "at least 30 queries .* the least budget is labels 300"),
        ({"budget": Budget(money=10)}, "the least budget is money 150"),
        ({"budget": Budget(labels=290, hours=1)}, "least budget is labels 300, hours 3$"),
        ({"budget": Budget()}, "no budget for people"),
        ({"budget": Budget(judge_labels=9)}, "no budget for people"),
        ({"budget": Budget(labels=-1)}, "a budget of -1 labels"),
        ({"budget": Budget(labels=float("nan"))}, "a budget of nan labels"),
        ({"prices": Prices(10, people_money=-1)}, "cost of a people's label is -1"),
        ({"prices": Prices(10, judge_money=-0.5)}, "cost of a judge's label is -0.5"),
        ({"prices": Prices(0)}, "0 documents a query"),
        ({"prices": Prices(10, rate=0)}, "0 labels an hour"),
        ({"prices": Prices(10), "budget": Budget(hours=5)}, "needs the labels that one person gives in an hour"),
        ({"prices": Prices(10), "budget": Budget(money=5)}, "needs the cost of a people's label"),
        ({"rho": 1.0}, "rho is 1.0: expected a correlation above -1 and below 1"),
        ({"rho": float("nan")}, "rho is nan"),
    ],
)
def test_a_plan_that_cannot_be_is_an_error(change, message):
    options = {"budget": Budget(labels=1000), "prices": Prices(10, people_money=0.5, rate=100), "rho": 0.5} | change
    with pytest.raises(InputError, match=message):
        best_choices(TWO, options["budget"], options["prices"], rho=options["rho"])


@pytest.mark.parametrize(
    ("confusion", "message"), [(np.eye(2), "for 3 grades"), ([[1, 0, 0]] + [[0] * 3] * 2, "same gain to all")]
)
def test_a_confusion_that_says_nothing_is_an_error(confusion, message):
    with pytest.raises(InputError, match=message):
        rho_of_confusion(confusion, [0, 0.5, 1])


@pytest.mark.simulation
def test_a_plan_finds_its_mde_four_times_in_five(repetitions):
    """Experiments drawn as the plan says, with the correction's formula in each stratum, and an effect of one MDE.

    Normal differences, lam known. Monte Carlo tolerance: 4 sqrt(0.8 x 0.2 / rounds), 0.036 at 2,000.
    """
    rounds = repetitions(reduced=2000, whole=40_000)
    rng = np.random.default_rng(31)
    rho, sds, share = 0.8, np.array([0.2, 0.05]), np.array([0.2, 0.8])
    strata = Strata.of([2000, 8000], sds)
    choice = best_choices(strata, Budget(money=900), Prices(10, people_money=1.0, judge_money=0.05), rho=rho).best
    sample, audit = allocated(strata, choice)
    estimate = np.zeros(rounds)
    for s, w, m, n in zip(sds, share, sample, audit, strict=True):
        f = rng.standard_normal((rounds, m))
        y = s * (rho * f[:, :n] + sqrt(1 - rho**2) * rng.standard_normal((rounds, n)))
        estimate += w * (s * rho * f.mean(axis=1) + (y - s * rho * f[:, :n]).mean(axis=1))
    assert estimate.std() == pytest.approx(choice.se, rel=4 / sqrt(2 * rounds))
    found = (np.abs(estimate + mde(choice.se)) > 1.959964 * choice.se).mean()
    assert found == pytest.approx(0.8, abs=4 * sqrt(0.16 / rounds))


@pytest.mark.simulation
def test_the_product_s_own_intervals_find_the_mde_that_was_planned(repetitions):
    """Stratified, adjusted and corrected estimates with estimated variances, lam and t limits, at an effect of one MDE.

    Monte Carlo tolerance 4 sqrt(0.8 x 0.2 / rounds): 0.08 at 400 experiments, 0.025 at 4,000; t limits and an estimated lam
    cost under 0.01 at 100 audited queries.
    """
    rounds = repetitions(reduced=400, whole=4000)
    rng = np.random.default_rng(37)
    rho, sds, populations = 0.7, np.array([0.2, 0.05]), {"head": 2000, "tail": 8000}
    strata = Strata.of(list(populations.values()), sds)
    sample, audit = allocated(strata, Choice(600, 150, 0.0))
    names = np.repeat(list(populations), sample)
    sd = np.repeat(sds, sample)
    seen = np.concatenate([np.arange(m) < n for m, n in zip(sample, audit, strict=True)])
    plain = mde(stratified_se(strata.populations, sds, sample))
    parts = [stratified_se(strata.populations, sds, part) ** 2 for part in (audit, sample)]
    planned = {"stratified": plain, "adjusted": sqrt(1 - rho**2) * plain}
    planned["corrected"] = mde(sqrt((1 - rho**2) * parts[0] + rho**2 * parts[1]))
    found = dict.fromkeys(planned, 0)
    for _ in range(rounds):
        f = rng.standard_normal(600)
        y = sd * (rho * f + sqrt(1 - rho**2) * rng.standard_normal(600))
        judge = sd * f
        people = np.where(seen, y, np.nan)
        stratified = stratified_difference(
            {h: Moments.of(y[names == h] + planned["stratified"]) for h in populations}, populations
        )
        adjusted = adjusted_difference(
            y + planned["adjusted"], judge, strata=names, populations=populations, covariate_means=[0.0]
        )
        both = corrected(
            judge + planned["corrected"], people + planned["corrected"], strata=names, populations=populations
        ).estimate
        for name, e in (("stratified", stratified), ("adjusted", adjusted), ("corrected", both)):
            found[name] += e.low > 0 or e.high < 0
    for name, hits in found.items():
        assert hits / rounds == pytest.approx(0.8, abs=4 * sqrt(0.16 / rounds) + 0.01), name
