"""The correction of a judge by an audit: by hand, against ppi-python, properties, and coverage in simulation."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from germane.stats.correction import corrected, corrected_documents

NAN = float("nan")
few = settings(max_examples=30)
number = st.integers(-64, 64).map(lambda i: i / 64)


@st.composite
def experiments(draw):
    """(judge, people, strata): two strata, each with three or more audited queries and two others, none of them all equal."""
    judge, people, strata = [], [], []
    for name in ("head", "tail"):
        n, rest = draw(st.integers(3, 8)), draw(st.integers(2, 8))
        judge += draw(st.lists(number, min_size=n + rest, max_size=n + rest))
        people += draw(st.lists(number, min_size=n, max_size=n)) + rest * [NAN]
        strata += (n + rest) * [name]
    seen = ~np.isnan(people)
    for x in (np.array(judge)[seen], np.array(people)[seen]):
        for name in ("head", "tail"):
            if np.std(x[np.array(strata)[seen] == name]) < 0.05:
                assume(False)
    return np.array(judge), np.array(people), np.array(strata)


POPULATIONS = {"head": 30, "tail": 170}


def answer(judge, people, strata, **options):
    return corrected(judge, people, strata=strata, populations=POPULATIONS, minimum_nonzero=0, **options)


def experiment(seed=1, m=400, n=80, rho=0.8, bias=0.0, strata=2):
    """(judge, people with NaN, names): people's differences have mean 0.02 and SD 0.1."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0.02, 0.1, m)
    f = rho * y + np.sqrt(1 - rho**2) * rng.normal(0, 0.1, m) + bias
    y[rng.permutation(m)[n:]] = NAN
    return f, y, np.where(np.arange(m) % strata == 0, "head", "tail")


# --- by hand --------------------------------------------------------------------------------------------------------


def test_a_nested_audit_of_one_stratum_by_hand():
    f, y = [0.3, 0.1, -0.1, 0.2, 0.0, 0.4, 0.1, 0.2], [0.2, 0.1, -0.2, 0.1, NAN, NAN, NAN, NAN]
    c = corrected(f, y, strata=8 * ["a"], populations={"a": 100}, lam=0.5)
    left = np.array([0.2 - 0.15, 0.1 - 0.05, -0.2 + 0.05, 0.1 - 0.1])
    assert c.estimate.value == pytest.approx(0.5 * np.mean(f) + left.mean())
    assert c.estimate.se**2 == pytest.approx(left.var(ddof=1) * (1 / 4 - 1 / 8) + np.var(y[:4], ddof=1) / 8)
    assert c.bias.value == pytest.approx(0.075)
    assert c.bias.se**2 == pytest.approx(0.0025 / 4)
    assert (c.people_only.value, c.people_only.n) == (pytest.approx(0.05), 4)
    assert c.judge_only.value == pytest.approx(np.mean(f))
    assert c.estimate.df == pytest.approx(3)


def test_a_disjoint_audit_takes_the_judges_mean_from_the_other_rows():
    f, y = [0.3, 0.1, -0.1, 0.2, 0.0, 0.4, 0.1, 0.2], [0.2, 0.1, -0.2, 0.1, NAN, NAN, NAN, NAN]
    c = corrected(f, y, strata=8 * ["a"], populations={"a": 100}, lam=0.5, nested=False)
    left = np.array([0.05, 0.05, -0.15, 0.0])
    assert c.estimate.value == pytest.approx(0.5 * np.mean(f[4:]) + left.mean())
    assert c.estimate.se**2 == pytest.approx(left.var(ddof=1) / 4 + 0.25 * np.var(f[4:], ddof=1) / 4)
    assert c.judge_only.value == pytest.approx(np.mean(f[4:]))


def test_strata_count_by_their_populations():
    f = np.array([0.1, 0.3, 0.2, 0.0, 0.5, 0.1, 0.4, 0.2])
    y = np.array([0.2, 0.1, NAN, NAN, 0.4, 0.3, NAN, NAN])
    names = np.repeat(["head", "tail"], 4)
    c = answer(f, y, names, lam=1.0)
    head, tail = f[:4].mean() + (y - f)[:2].mean(), f[4:].mean() + (y - f)[4:6].mean()
    assert c.estimate.value == pytest.approx(0.15 * head + 0.85 * tail)
    parts = [np.var((y - f)[i : i + 2], ddof=1) / 4 + np.var(y[i : i + 2], ddof=1) / 4 for i in (0, 4)]
    assert c.estimate.se**2 == pytest.approx(0.15**2 * parts[0] + 0.85**2 * parts[1])


def test_a_lam_of_its_own_is_the_regression_on_the_other_audited_queries():
    f, y, _ = experiment(m=40, n=12, strata=1)
    c = corrected(f, y, strata=40 * ["a"], populations={"a": 9})
    seen = np.flatnonzero(~np.isnan(y))
    rest = f[np.isnan(y)].mean()
    value = 0.0
    for i in seen:
        others = seen[seen != i]
        lam = np.cov(y[others], f[others])[0, 1] / np.var(f[others], ddof=1)
        value += (y[i] - (1 - 12 / 40) * lam * (f[i] - rest)) / 12
    assert c.estimate.value == pytest.approx(value)
    assert c.lam == pytest.approx(np.cov(y[seen], f[seen])[0, 1] / np.var(f[seen], ddof=1))
    assert c.rho == pytest.approx(np.corrcoef(y[seen], f[seen])[0, 1])


def test_documents_by_hand():
    """u = lam f + sum w (Y - lam f) / pi; one query without audited documents keeps the judge's answer."""
    c = corrected_documents(
        [0.3, 0.0, 0.1, -0.2],
        query=[0, 1, 1, 3],
        weight=[0.5, 0.5, -0.5, -0.5],
        judge_gain=[1, 0, 1, 1],
        people_gain=[1, 1, 1, 0],
        chance=[0.5, 0.5, 0.25, 1],
        strata=4 * ["a"],
        populations={"a": 40},
        lam=1.0,
    )
    u = np.array([0.3, 0.0 + 0.5 * 1 / 0.5, 0.1, -0.2 - 0.5 * (0 - 1)])
    assert c.estimate.value == pytest.approx(u.mean())
    assert c.estimate.se**2 == pytest.approx(u.var(ddof=1) / 4)
    assert c.bias.value == pytest.approx(np.mean([0, -1.0, 0, -0.5]))
    assert c.people_only.value == pytest.approx(np.mean([1.0, 1.0 - 2.0, 0, 0]))
    assert (c.judge_only.value, c.rho) == (pytest.approx(0.05), None)


# --- properties -----------------------------------------------------------------------------------------------------

designs = st.sampled_from([{"nested": True}, {"nested": False}, {"lam": "shrunken"}, {"lam": 0.7}])


@few
@given(experiments(), designs)
def test_swapping_the_arms_negates_everything(e, design):
    judge, people, strata = e
    there, back = answer(judge, people, strata, **design), answer(-judge, -people, strata, **design)
    for a, b in ((there.estimate, back.estimate), (there.bias, back.bias), (there.people_only, back.people_only)):
        assert (b.value, b.low, b.high) == pytest.approx((-a.value, -a.high, -a.low), abs=1e-9)
    assert back.lam == pytest.approx(there.lam)


@few
@given(experiments(), designs, st.randoms())
def test_the_order_of_rows_does_not_matter(e, design, random):
    judge, people, strata = e
    order = random.sample(range(judge.size), judge.size)
    there, back = answer(*e, **design), answer(judge[order], people[order], strata[order], **design)
    assert (back.estimate.value, back.estimate.se) == pytest.approx((there.estimate.value, there.estimate.se), abs=1e-9)


@few
@given(experiments(), designs, number)
def test_a_constant_error_of_the_judge_changes_nothing(e, design, constant):
    judge, people, strata = e
    there, moved = answer(judge, people, strata, **design), answer(judge + constant, people, strata, **design)
    assert (moved.estimate.value, moved.estimate.se) == pytest.approx((there.estimate.value, there.estimate.se), abs=1e-9)
    assert moved.bias.value == pytest.approx(there.bias.value + constant, abs=1e-9)


@few
@given(experiments())
def test_a_judge_who_is_people_has_no_bias_and_is_the_answer(e):
    judge, people, strata = e
    c = answer(judge, np.where(np.isnan(people), NAN, judge), strata)
    assert (c.bias.value, c.bias.se) == pytest.approx((0, 0))
    assert c.estimate.value == pytest.approx(c.judge_only.value, abs=1e-9)
    assert (c.lam, c.rho) == pytest.approx((1, 1))


@few
@given(experiments(), st.booleans())
def test_without_the_judge_it_is_people_alone(e, nested):
    c = answer(*e, lam=0.0, nested=nested)
    assert (c.estimate.value, c.estimate.se) == pytest.approx((c.people_only.value, c.people_only.se))
    _, people, strata = e
    parts = [people[(strata == name) & ~np.isnan(people)] for name in POPULATIONS]
    assert c.estimate.value == pytest.approx(0.15 * parts[0].mean() + 0.85 * parts[1].mean())
    if all(np.var(x) > 0 for x in parts):
        variance = sum(w**2 * x.var(ddof=1) / x.size for w, x in zip((0.15, 0.85), parts, strict=True))
        assert c.estimate.se**2 == pytest.approx(variance)


@few
@given(experiments(), st.booleans())
def test_twice_the_same_data_halves_the_variance_but_for_the_degrees_of_freedom(e, nested):
    """One stratum, fixed lam: every s^2 is multiplied by (2n - 2)/(2n - 1), every 1/n by 1/2."""
    judge, people, _ = e
    seen = ~np.isnan(people)
    n, u = int(seen.sum()), int((~seen).sum())
    one = dict(strata=judge.size * ["a"], populations={"a": 9}, lam=0.6, nested=nested)
    two = {**one, "strata": 2 * judge.size * ["a"]}
    once, twice = corrected(judge, people, **one), corrected(np.tile(judge, 2), np.tile(people, 2), **two)
    assert twice.estimate.value == pytest.approx(once.estimate.value)
    factor = (n - 1) / (2 * n - 1)
    if nested:
        assert twice.estimate.se**2 == pytest.approx(factor * once.estimate.se**2)
    else:
        own = 0.36 * judge[~seen].var(ddof=1) / u
        assert twice.estimate.se**2 == pytest.approx(factor * (once.estimate.se**2 - own) + (u - 1) / (2 * u - 1) * own)
