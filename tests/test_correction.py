"""The correction of a judge by an audit: by hand, against ppi-python, properties, and coverage in simulation."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from germane.stats.correction import best_audit_share, corrected, corrected_documents, corrected_se, corrected_variance
from germane.types import InputError

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
    seen = ~np.isnan(people)
    assume(all(judge[seen & (strata == k)].var() > 0.1 * judge[~seen & (strata == k)].var() for k in POPULATIONS))
    c = answer(judge, np.where(seen, judge, NAN), strata)
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


@few
@given(experiments())
def test_the_interval_is_never_shorter_than_the_t_interval(e):
    from germane.stats.means import t_quantile

    x = answer(*e).estimate
    margin = t_quantile(0.975, x.df) * x.se
    assert x.high >= x.value + margin - 1e-12
    assert x.low <= x.value - margin + 1e-12


def test_the_interval_is_longer_on_the_side_of_the_long_tail():
    rng = np.random.default_rng(3)
    y = rng.exponential(0.1, 200)
    f, people = y + rng.normal(0, 0.05, 200), np.where(np.arange(200) < 60, y, NAN)
    x = corrected(f, people, strata=200 * ["a"], populations={"a": 1}).estimate
    assert x.high - x.value > 1.02 * (x.value - x.low)


# --- an oracle ------------------------------------------------------------------------------------------------------


def test_one_disjoint_sample_is_that_of_ppi_python():
    """Its variances divide by n, ours by n - 1; its interval is normal."""
    ppi = pytest.importorskip("ppi_py")
    f, y, _ = experiment(m=600, n=120)
    seen = ~np.isnan(y)
    c = corrected(f, y, strata=600 * ["a"], populations={"a": 1}, nested=False, lam=0.6)
    assert c.estimate.value == pytest.approx(float(ppi.ppi_mean_pointestimate(y[seen], f[seen], f[~seen], lam=0.6)[0]))
    low, high = (float(x[0]) for x in ppi.ppi_mean_ci(y[seen], f[seen], f[~seen], alpha=0.05, lam=0.6))
    assert (high - low) / 2 / 1.959964 == pytest.approx(c.estimate.se, rel=0.01)
    tuned = corrected(f, y, strata=600 * ["a"], populations={"a": 1}, nested=False)
    theirs = float(ppi.ppi_mean_pointestimate(y[seen], f[seen], f[~seen])[0])
    assert tuned.estimate.value == pytest.approx(theirs, abs=0.1 * tuned.estimate.se)


# --- every keyword counts -------------------------------------------------------------------------------------------


def test_every_option_changes_the_answer():
    f, y, names = experiment(bias=0.01)
    f = f + np.where(names == "head", 0.05, 0) * np.random.default_rng(2).normal(size=400)
    usual = answer(f, y, names)
    quarters = np.where(np.arange(400) % 4 == 0, "one", "other")
    changed = {
        "nested": answer(f, y, names, nested=False),
        "lam": answer(f, y, names, lam=0.2),
        "shrunken": answer(f, y, names, lam="shrunken"),
        "folds": answer(f, y, names, folds=np.arange(400) % 3),
        "audit_strata": answer(f, y, names, audit_strata=400 * ["all"]),
        "finer audit_strata": answer(f, y, names, audit_strata=np.char.add(names, quarters)),
        "populations": corrected(f, y, strata=names, populations={"head": 200, "tail": 200}),
        "strata": corrected(f, y, strata=names[::-1], populations=POPULATIONS),
        "finite": corrected(f, y, strata=names, populations={"head": 200, "tail": 1133.34}, finite=True),
    }
    for name, other in changed.items():
        assert (other.estimate.value, other.estimate.se) != (usual.estimate.value, usual.estimate.se), name
    wide = answer(f, y, names, level=0.99).estimate
    assert wide.high - wide.low > 1.2 * (usual.estimate.high - usual.estimate.low)
    assert wide.level == 0.99
    assert not corrected(f, y, strata=names, populations=POPULATIONS).estimate.caveat
    few = corrected(f, y, strata=names, populations=POPULATIONS, minimum_nonzero=81).estimate
    assert few.caveat == "not reliable: 80 of 80 audited differences are not zero, 81 are needed"


def test_folds_are_fitted_on_the_others():
    f, y, _ = experiment(m=60, n=20, strata=1)
    folds = np.arange(60) % 2
    c = corrected(f, y, strata=60 * ["a"], populations={"a": 9}, folds=folds)
    seen = ~np.isnan(y)
    value, rest = 0.0, f[~seen].mean()
    for k in (0, 1):
        others, own = seen & (folds != k), seen & (folds == k)
        lam = np.cov(y[others], f[others])[0, 1] / np.var(f[others], ddof=1)
        value += np.sum(y[own] - (1 - 20 / 60) * lam * (f[own] - rest)) / 20
    assert c.estimate.value == pytest.approx(value)


def test_a_judge_that_hardly_varied_on_the_audited_queries_is_not_blown_up():
    f = np.r_[np.tile([0.0, 1e-4], 10), np.tile([-0.1, 0.1], 40)]
    people = np.r_[np.tile([-0.1, 0.1], 10), np.full(80, NAN)]
    c = corrected(f, people, strata=100 * ["a"], populations={"a": 1})
    assert 0 < c.lam == pytest.approx(0.1 * 0.5e-4 * 20 / 19 / (0.02 * 0.01))  # the covariance divides by 19
    assert c.estimate.value == pytest.approx(c.people_only.value, abs=0.01)


def test_a_strata_own_lam_is_drawn_to_the_pooled_one():
    """Two strata whose judges differ in scale: own lams are 1 and 0.5, and at 40 audited queries own counts 2 to 1."""
    rng = np.random.default_rng(5)
    y = rng.normal(0, 0.1, 400)
    names = np.repeat(["head", "tail"], 200)
    f = np.where(names == "head", y, 2 * y)
    people = np.where(np.arange(400) % 200 < 40, y, NAN)
    pooled, own = (
        corrected(f, people, strata=names, populations={"head": 1, "tail": 1}, lam=x) for x in ("pooled", "shrunken")
    )
    assert 0.5 < pooled.lam < 0.7
    assert own.lam == pytest.approx(2 / 3 * 0.75 + pooled.lam / 3, abs=0.005)
    assert own.estimate.se < pooled.estimate.se
    few = corrected(f[::4], people[::4], strata=names[::4], populations={"head": 1, "tail": 1}, lam="shrunken")
    assert few.lam == pytest.approx(
        corrected(f[::4], people[::4], strata=names[::4], populations={"head": 1, "tail": 1}).lam, abs=0.01
    )


def test_a_finite_target_leaves_out_the_error_of_drawing_the_queries():
    f, y, _ = experiment(m=50, n=20)
    one = dict(strata=50 * ["a"], populations={"a": 50}, lam=0.5)
    left = (y - 0.5 * f)[~np.isnan(y)]
    census = corrected(f, y, **one, finite=True)
    assert census.estimate.se**2 == pytest.approx(left.var(ddof=1) * (1 / 20 - 1 / 50))
    assert census.bias.se**2 == pytest.approx(np.nanvar(y - f, ddof=1) * (1 / 20 - 1 / 50))
    twice = corrected(f, y, **{**one, "populations": {"a": 100}}, finite=True)
    assert twice.estimate.se**2 == pytest.approx(census.estimate.se**2 + np.nanvar(y, ddof=1) * (1 / 50 - 1 / 100))
    apart = corrected(f, y, **one, finite=True, nested=False)
    assert apart.estimate.se**2 == pytest.approx(
        left.var(ddof=1) / 20 + 0.25 * f[np.isnan(y)].var(ddof=1) / 30 - np.nanvar(y, ddof=1) / 50
    )
    half = np.where(np.arange(50) < 25, np.exp(20 * np.abs(f)), NAN)  # of an audited half no skewness remains
    x = corrected(f, half, **one, finite=True).estimate
    assert x.high - x.value == pytest.approx(x.value - x.low)
    x = corrected(f, half, **one).estimate
    assert x.high - x.value > 1.01 * (x.value - x.low)
    with pytest.raises(InputError, match="more queries than its population"):
        corrected(f, y, **{**one, "populations": {"a": 40}}, finite=True)


def documents(seed=1, m=60, **options):
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(m), 6)
    weight = np.tile([0.3, -0.3, 0.2, -0.2, 0.1, -0.1], m)
    y = rng.random(6 * m)
    g = np.clip(y + rng.normal(0, 0.2, 6 * m) + 0.1 * (weight > 0), 0, 1)
    chance = np.abs(weight) * 2
    drawn = rng.random(6 * m) < chance
    given = dict(query=query, weight=weight, judge_gain=g, people_gain=y, chance=chance)
    f = np.bincount(query, weight * g)
    names = np.where(np.arange(m) % 3 == 0, "head", "tail")
    usual = {"strata": names, "populations": POPULATIONS, "minimum_nonzero": 0}
    return corrected_documents(f, **{k: x[drawn] for k, x in given.items()}, **{**usual, **options})


def test_every_option_of_a_document_audit_changes_the_answer():
    usual = documents()
    names = np.where(np.arange(60) % 2 == 0, "head", "tail")
    for option in ({"lam": 0.3}, {"strata": names}, {"populations": {"head": 9, "tail": 9}}, {"finite": True}):
        other = documents(**option)
        assert (other.estimate.value, other.estimate.se) != (usual.estimate.value, usual.estimate.se), option
    assert documents(level=0.8).estimate.high < usual.estimate.high
    assert documents(minimum_nonzero=61).estimate.caveat.startswith("not reliable: people's difference is not zero in")


def test_documents_in_any_order_and_with_swapped_arms():
    rng = np.random.default_rng(6)
    query, weight, y, g, chance = np.repeat(np.arange(20), 3), rng.normal(size=60), *rng.random((3, 60))
    given = dict(query=query, weight=weight, judge_gain=g, people_gain=y, chance=chance)
    names = {"strata": 10 * ["head", "tail"], "populations": POPULATIONS}
    f, order = np.bincount(query, weight * g), rng.permutation(60)
    there = corrected_documents(f, **given, **names).estimate
    shuffled = corrected_documents(f, **{k: x[order] for k, x in given.items()}, **names).estimate
    assert (shuffled.value, shuffled.se) == pytest.approx((there.value, there.se))
    back = corrected_documents(-f, **{**given, "weight": -weight}, **names).estimate
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_documents_that_people_all_saw_leave_only_the_drawing_of_queries():
    """Chance 1 for every document: u is people's own difference, whatever lam; with every query judged nothing is left."""
    rng = np.random.default_rng(2)
    query, weight, y, g = np.repeat(np.arange(30), 2), np.tile([0.5, -0.5], 30), rng.random(60), rng.random(60)
    given = dict(query=query, weight=weight, judge_gain=g, people_gain=y, chance=np.ones(60), strata=30 * ["a"])
    d = np.bincount(query, weight * y)
    c = corrected_documents(np.bincount(query, weight * g), **given, populations={"a": 30}, lam=0.7)
    assert c.estimate.value == pytest.approx(d.mean())
    assert c.estimate.se**2 == pytest.approx(d.var(ddof=1) / 30)
    census = corrected_documents(np.bincount(query, weight * g), **given, populations={"a": 30}, finite=True)
    assert census.estimate.se == pytest.approx(0, abs=1e-9)
    assert "whole answer" in census.notes[0]


# --- what cannot be answered, and what is said ----------------------------------------------------------------------


def test_strata_with_one_audited_query_are_merged_and_named():
    f, y, names = experiment(m=100, n=30)
    names = names.astype(object)
    names[:3] = ["rare", "rare", "odd"]
    y[:3] = [0.1, NAN, NAN]
    c = corrected(f, y, strata=names, populations={"head": 50, "tail": 40, "rare": 5, "odd": 5})
    assert c.notes == (
        "audit strata with fewer than 2 audited queries: odd, rare; their judge's error is estimated together, with head",
    )
    assert np.isfinite([c.estimate.se, c.people_only.value]).all()


def test_merged_strata_of_a_disjoint_audit_by_hand():
    """Strata a and c have one audited query each: their residual is one mean, their judge's means keep their strata."""
    names = np.array(list("aabbcc" + "aaabbbccc"))
    rng = np.random.default_rng(4)
    y, f = rng.normal(size=15), rng.normal(size=15)
    y[[1, 5, *range(6, 15)]] = NAN
    sizes = {"a": 20.0, "b": 50.0, "c": 30.0}
    c = corrected(f, y, strata=names, populations=sizes, nested=False, lam=0.5)
    assert c.notes[0].startswith(
        "audit strata with fewer than 2 audited queries: a, c; their judge's error is estimated together, as one"
    )
    left, rest = y - 0.5 * f, np.isnan(y)
    together = left[(names != "b") & ~rest]
    own = {k: f[(names == k) & rest] for k in "abc"}
    inside = left[(names == "b") & ~rest]
    judged = sum(0.5 * sizes[k] / 100 * own[k].mean() for k in "abc")
    assert c.estimate.value == pytest.approx(judged + 0.5 * together.mean() + 0.5 * inside.mean())
    variance = 0.25 * (together.var(ddof=1) / 2 + inside.var(ddof=1) / 2)
    variance += sum((0.5 * sizes[k] / 100) ** 2 * own[k].var(ddof=1) / own[k].size for k in "abc")
    assert c.estimate.se**2 == pytest.approx(variance)


NOTHING = np.array(5 * ["a"] + ["none"] + 4 * ["b"])
"""Audit strata: one query of stratum b, in which nothing moved, is a group of its own."""


@pytest.mark.parametrize("lam", [0.0, 0.4])
@pytest.mark.parametrize("finite", [False, True])
def test_one_query_that_is_known_stands_for_itself_alone(lam, finite):
    """Strata a and b of 5 judged queries each. The sixth query is known, so only the other four of b are estimated."""
    f = np.array([0.3, 0.1, -0.1, 0.2, 0.0, 0.0, 0.4, 0.1, 0.2, 0.3])
    y = np.array([0.2, 0.1, NAN, NAN, NAN, 0.0, 0.5, 0.3, NAN, NAN])
    sizes = {"a": 20, "b": 80}
    c = corrected(f, y, strata=5 * ["a"] + 5 * ["b"], populations=sizes, audit_strata=NOTHING, lam=lam, finite=finite)
    left = y - lam * f
    b = 0.2 * 0.0 + 0.8 * (lam * f[6:].mean() + left[6:8].mean())
    assert c.estimate.value == pytest.approx(0.2 * (lam * f[:5].mean() + left[:2].mean()) + 0.8 * b)
    assert c.people_only.value == pytest.approx(0.2 * 0.15 + 0.8 * 0.8 * 0.4)
    assert c.bias.value == pytest.approx(0.2 * 0.05 + 0.8 * 0.8 * -0.15)
    assert c.notes == ()
    second = 0.04 * left[:2].var(ddof=1) * (1 / 2 - 1 / 5) + 0.64**2 * left[6:8].var(ddof=1) * (1 / 2 - 1 / 4)
    fpc = (0.75, 15 / 16) if finite else (1, 1)
    first = 0.04 / 5 * fpc[0] * 0.005
    first += 0.64 / 5 * fpc[1] * (0.8 * 0.02 + 0.2 * 0.32**2 + 0.8 * 0.08**2)  # inside the four, and between them and it
    assert c.estimate.se**2 == pytest.approx(second + first)


def test_a_stratum_that_is_one_audited_query_counts_by_its_weight_and_borrows_the_variance_of_drawing_it():
    f, y, _ = experiment(m=61, n=61)
    y[30:60] = NAN
    names = np.array(60 * ["a"] + ["rare"])
    c = corrected(f, y, strata=names, populations={"a": 80, "rare": 20}, lam=0.5)
    left = (y - 0.5 * f)[:30]
    assert c.estimate.value == pytest.approx(0.8 * (left.mean() + 0.5 * f[:60].mean()) + 0.2 * y[60])
    people = y[:30].var(ddof=1)
    assert c.estimate.se**2 == pytest.approx(0.64 * (left.var(ddof=1) / 60 + people / 60) + 0.04 * people)
    said = "audit strata of 1 query, which was audited: rare; their variance is estimated together, with "
    assert c.notes == (said + "the variance of the others",)


def test_single_audited_queries_share_a_variance_and_keep_their_weights():
    f, y, _ = experiment(m=62, n=62)
    y[30:60] = NAN
    names = np.array(60 * ["a"] + ["odd", "rare"])
    c = corrected(f, y, strata=names, populations={"a": 70, "rare": 20, "odd": 10}, lam=0.5)
    left = (y - 0.5 * f)[:30]
    assert c.estimate.value == pytest.approx(0.7 * (left.mean() + 0.5 * f[:60].mean()) + 0.1 * y[60] + 0.2 * y[61])
    assert "odd, rare; their variance is estimated together, as one" in c.notes[0]
    own = 0.05 * (y[60] - y[61]) ** 2 / 2  # 0.1^2 + 0.2^2
    a = 0.49 * (left.var(ddof=1) + y[:30].var(ddof=1)) / 60
    assert c.estimate.se**2 == pytest.approx(a + own)


def test_a_stratum_without_audited_queries_is_still_merged_with_a_sample_and_never_with_a_census():
    f, y, _ = experiment(m=70, n=70)
    y[20:63] = NAN
    names = np.array(60 * ["a"] + 3 * ["none"] + 7 * ["whole"])
    sizes = {"a": 60, "none": 20, "whole": 20}
    c = corrected(f, y, strata=names, populations=sizes, lam=0.0)
    assert c.notes[0].endswith("none; their judge's error is estimated together, with a")
    assert c.estimate.value == pytest.approx(0.8 * y[:20].mean() + 0.2 * y[63:].mean())


def weighted(y, lam, rows, sizes, finite):
    """(value, variance) of strata a and b in one audit group: a weighted mean, by hand. rows: audited rows of each."""
    m = {"a": 4, "b": 16}
    omega = np.concatenate([np.full(len(rows[k]), sizes[k] / 100 / m[k]) for k in "ab"])
    p = omega / omega.sum()
    i = np.concatenate([rows["a"], rows["b"]])
    kept = 1 - 2 * p + (p**2).sum()
    left, people = y["left"][i], y["people"][i]
    second = (p**2 * (left - p @ left) ** 2 / kept).sum() * (1 - i.size / 20)
    outer = np.concatenate([np.full(len(rows[k]), (sizes[k] / 100 / m[k]) ** 2 * (1 - finite * m[k] / sizes[k])) for k in "ab"])
    whole = sum((sizes[k] / 100) ** 2 / m[k] * (1 - finite * m[k] / sizes[k]) for k in "ab")
    first = whole * (outer / outer.sum() * (people - p @ people) ** 2 / kept).sum()
    return second, first


@pytest.mark.parametrize("finite", [False, True])
def test_strata_of_unequal_weights_in_one_audit_group_count_their_own_spread(finite):
    rng = np.random.default_rng(7)
    f, y = rng.normal(size=(2, 20)) * np.repeat([0.5, 0.05], [4, 16])
    seen = np.isin(np.arange(20), [0, 1, 4, 5, 6, 7, 8, 9])
    sizes = {"a": 60, "b": 40}
    given = dict(strata=4 * ["a"] + 16 * ["b"], populations=sizes, audit_strata=20 * ["both"], finite=finite)
    c = corrected(f, np.where(seen, y, NAN), lam=0.5, **given)
    rows = {"a": [0, 1], "b": [4, 5, 6, 7, 8, 9]}
    p = np.where(np.arange(20) < 4, 0.15, 0.025)
    mean = p[seen] @ (y - 0.5 * f)[seen] / p[seen].sum()
    assert c.estimate.value == pytest.approx(mean + 0.5 * p @ f)
    second, first = weighted({"left": y - 0.5 * f, "people": y}, 0.5, rows, sizes, finite)
    assert c.estimate.se**2 == pytest.approx(second + first)
    second, first = weighted({"left": y, "people": y}, 0.0, rows, sizes, finite)
    assert c.people_only.se**2 == pytest.approx(second + first)
    second, first = weighted({"left": f - y, "people": f - y}, 0.0, rows, sizes, finite)
    assert c.bias.se**2 == pytest.approx(second + first)
    assert c.estimate.df < 4  # two queries hold nearly all


@pytest.mark.parametrize("folds", [None, np.arange(20) % 2])
def test_lam_of_strata_of_unequal_weights_makes_their_variance_small_and_is_that_of_the_others(folds):
    """lam = sum v_i f_i Y_i / sum v_i f_i^2 from the mean of the others, v_i = p_i^2 / (1 - 2 p_i + sum p^2)."""
    rng = np.random.default_rng(8)
    f, y = rng.normal(size=(2, 20))
    seen = np.flatnonzero(np.arange(20) % 4 < 2)
    omega = np.where(np.arange(20) < 4, 0.15, 0.025)
    p = omega[seen] / omega[seen].sum()
    v = p**2 / (1 - 2 * p + (p**2).sum())

    def lam(kept):
        x, z = f[seen][kept], y[seen][kept]
        x, z = x - np.average(x, weights=p[kept]), z - np.average(z, weights=p[kept])
        return (v[kept] * x * z).sum() / (v[kept] * x * x).sum()

    people = np.where(np.isin(np.arange(20), seen), y, NAN)
    given = dict(strata=4 * ["a"] + 16 * ["b"], populations={"a": 60, "b": 40}, audit_strata=20 * ["both"])
    c = corrected(f, people, **given, folds=folds)
    assert c.lam == pytest.approx(lam(np.ones(10, bool)))
    own = np.arange(20) if folds is None else folds
    each = np.array([lam(own[seen] != own[i]) for i in seen])
    rest = np.setdiff1d(np.arange(20), seen)
    gap = f[seen] - np.average(f[rest], weights=omega[rest])
    assert c.estimate.value == pytest.approx(p @ y[seen] - (1 - omega[seen].sum()) * (p * each) @ gap)


def test_single_queries_of_strata_in_a_document_audit_count_their_own_spread():
    """Strata c, d and e have one judged query each, of weights 0.2, 0.1 and 0.1: their u are 0.8, 0 and 0, their mean 0.4."""
    given = dict(query=[0, 1, 4], weight=[0.5, 0.5, 0.4], judge_gain=[1, 0, 1], people_gain=[1, 1, 1], chance=[0.5, 0.5, 0.5])
    sizes = {"a": 60, "c": 20, "d": 10, "e": 10}
    c = corrected_documents([0.3, 0.0, 0.1, 0.2, 0.4, 0.0, 0.0], **given, strata=list("aaaacde"), populations=sizes, lam=0.0)
    u = np.array([1.0, 1.0, 0, 0])
    assert c.estimate.value == pytest.approx(0.6 * u.mean() + 0.2 * 0.8)
    rare = 0.4**2 * 0.4**2 * (0.5**2 / 0.375 + 2 * 0.25**2 / 0.875)  # kept: 1 - 2 p + 0.375
    assert c.estimate.se**2 == pytest.approx(0.36 * u.var(ddof=1) / 4 + rare)


def test_a_judge_who_says_the_same_everywhere_is_not_used():
    _, y, names = experiment()
    c = answer(np.full(400, 0.3), y, names)
    assert (c.lam, c.rho) == (0, None)
    assert c.estimate.value == pytest.approx(c.people_only.value)
    assert c.notes == ("the judge's differences are all equal on the audited queries: lam = 0, the answer is people's alone",)


def test_people_who_say_the_same_everywhere_are_no_proof_of_certainty():
    f, y, names = experiment()
    c = corrected(f, np.where(np.isnan(y), NAN, 0.0), strata=names, populations=POPULATIONS)
    assert c.estimate.caveat == "not reliable: 0 of 80 audited differences are not zero, 30 are needed"
    same = corrected(f, np.where(np.isnan(y), NAN, 0.5), strata=names, populations=POPULATIONS)
    assert same.estimate.caveat == "nothing varied: every audited query has the same value"


def test_a_stratum_without_variance_borrows_it_where_it_weighs():
    rng = np.random.default_rng(1)
    names = np.repeat(["head", "tail"], 50)
    y = np.where(names == "head", rng.normal(0, 0.1, 100), 0.0)
    people = np.where(np.arange(100) % 50 < 20, y, NAN)
    c = answer(y, people, names, lam=0.0)
    head = people[:20].var(ddof=1)
    assert c.estimate.se**2 == pytest.approx(0.15**2 * head / 20 + 0.85**2 * (head / 2) / 20)


def test_an_audit_of_every_judged_query_is_people_alone():
    f, y, names = experiment(m=80, n=80)
    c = answer(f, y, names)
    assert (c.estimate.value, c.estimate.se) == pytest.approx((c.people_only.value, c.people_only.se))
    assert c.notes == ("every judged query was audited: the judge adds nothing, and the answer is people's alone",)


def test_few_audited_queries_for_large_strata_are_not_relied_on():
    f, y, _ = experiment(m=400, n=400)
    names = np.where(np.arange(400) < 200, "head", "tail")
    y[5:200] = NAN
    c = corrected(f, y, strata=names, populations={"head": 900, "tail": 100})
    assert c.estimate.caveat == "not reliable: few audited queries stand for large strata (4.0 degrees of freedom)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": 400 * [NAN]}, "0 audited queries: people's answer on at least 2 is needed"),
        ({"people": 399 * [NAN] + [0.1]}, "1 audited queries"),
        ({"people": [0.1]}, "400 differences by the judge and 1 by people"),
        ({"people": 399 * [NAN] + [np.inf]}, "row 399 is infinite"),
        ({"judge": [NAN] + 399 * [0.1]}, "row 0 is nan: leave out queries"),
        ({"strata": ["a"]}, "strata has 1 names for 400 queries"),
        ({"populations": {"head": 5}}, "'tail' has queries but no population"),
        ({"populations": {"head": 5, "tail": -1}}, "the population of stratum 'tail' is -1: its number of queries is expected"),
        ({"populations": {"head": 5, "tail": NAN}}, "the population of stratum 'tail' is nan"),
        ({"populations": {"head": np.inf, "tail": 5}}, "the population of stratum 'head' is inf"),
        ({"lam": "own"}, "lam is 'own': give a number"),
        ({"lam": NAN}, "lam is nan"),
        ({"level": 95}, "level is 95"),
        ({"folds": [1]}, "1 folds for 400 queries"),
        ({"folds": 400 * [1]}, "all in one fold"),
        ({"nested": False, "audit_strata": [str(i % 4) for i in range(200)] + 200 * ["x"]}, "split over audit strata"),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    f, y, names = experiment()
    given = {"judge": f, "people": y, "strata": names, "populations": POPULATIONS, **change}
    with pytest.raises(InputError, match=message):
        corrected(given.pop("judge"), given.pop("people"), **given)


def test_a_disjoint_audit_without_other_rows_is_refused():
    f, y, names = experiment(m=80, n=80)
    with pytest.raises(InputError, match="none that only the judge saw"):
        answer(f, y, names, nested=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chance": [0.5, 0.0]}, "chance of audited document 1 is 0: the odds it was drawn with are above 0"),
        ({"chance": [1.5, 0.5]}, "chance of audited document 0 is 1.5"),
        ({"chance": [0.5, NAN]}, "chance of audited document 1 is not a finite number"),
        ({"chance": [0.5]}, "chance has 1 values for 2"),
        ({"query": [0, 9]}, "no row of the judge's 3 queries"),
        ({"query": [0.5, 1.0]}, "whole numbers from 0"),
        ({"query": []}, "no audited documents"),
        ({"judge": [0.1, NAN, 0.2]}, "row 1 is nan"),
        ({"lam": np.inf}, "lam is inf"),
        ({"populations": {"a": NAN}}, "the population of stratum 'a' is nan"),
        ({"populations": {"a": np.inf}}, "the population of stratum 'a' is inf"),
        ({"populations": {"a": -3}}, "the population of stratum 'a' is -3"),
        ({"populations": {"b": 3}}, "'a' has queries but no population"),
    ],
)
def test_documents_that_cannot_be_used_are_named(change, message):
    given = {"judge": [0.1, 0.2, 0.3], "query": [0, 1], "weight": [0.5, 0.5], "judge_gain": [1, 0], "people_gain": [1, 1]}
    given |= {"chance": [0.5, 0.5], "strata": 3 * ["a"], "populations": {"a": 3}, **change}
    with pytest.raises(InputError, match=message):
        corrected_documents(given.pop("judge"), **given)


# --- planning -------------------------------------------------------------------------------------------------------


def test_the_best_share_is_the_cheapest():
    share = best_audit_share(0.7, judge_cost=0.02, people_cost=1.0)
    budget = 100.0

    def variance(x):
        m = budget / (0.02 + x)
        return corrected_variance(0.1, 0.7, n=x * m, m=m)

    assert variance(share) < min(variance(0.9 * share), variance(1.1 * share))
    assert best_audit_share(0.0, judge_cost=1, people_cost=1) == best_audit_share(0.1, judge_cost=1, people_cost=1) == 1


def test_planned_variances_are_those_of_the_facts():
    assert corrected_variance(0.1, 0.8, n=50, m=500) == pytest.approx(0.01 * (0.36 / 50 + 0.64 / 500))
    assert corrected_variance(0.1, 0.8, n=50, m=450, nested=False) == pytest.approx(corrected_variance(0.1, 0.8, n=50, m=500))
    assert corrected_se(0.1, 0.8, n=50, m=450, nested=False) ** 2 == pytest.approx(0.01 * (0.36 / 50 + 0.64 / 500))
    for bad in ({"rho": 1.5}, {"n": 0}, {"m": 10}, {"sd_people": -1}):
        given = {"sd_people": 0.1, "rho": 0.5, "n": 50, "m": 500, **bad}
        with pytest.raises(InputError):
            corrected_se(given["sd_people"], given["rho"], n=given["n"], m=given["m"])
    with pytest.raises(InputError, match="both must be above 0"):
        best_audit_share(0.5, judge_cost=0, people_cost=1)
    with pytest.raises(InputError, match="a correlation lies between"):
        best_audit_share(2, judge_cost=1, people_cost=1)


# --- coverage -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    """The script of the docs that simulates many experiments at once."""
    path = Path(__file__).resolve().parents[1] / "docs" / "coverage_correction.py"
    spec = importlib.util.spec_from_file_location("coverage_correction", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["coverage_correction"] = module  # its NamedTuples look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("audit", ["nested", "disjoint"])
def test_many_experiments_at_once_are_the_products_answers_one_by_one(table, audit):
    cell = table.Cell(audit, 40, 8, "skewed", 0.3)
    w = table.world(cell)
    people, judge = table.differences(cell, w, np.random.default_rng(1), 5)
    _, found, alone, _ = table.queries(cell, w, people, judge)
    low, high = table.limits(found, 0.95)
    for i in range(5):
        y = np.where(w.audited, people[i], NAN)
        c = corrected(judge[i], y, strata=w.names, populations=w.populations, nested=audit == "nested")
        x = c.estimate
        assert (x.value, x.se, x.low, x.high) == pytest.approx((found.value[i], found.variance[i] ** 0.5, low[i], high[i]))
        assert c.people_only.value == pytest.approx(alone.value[i])


@pytest.mark.simulation
@pytest.mark.parametrize(
    "cell",
    [
        ("nested", 40, 8),
        ("nested", 100, 50),
        ("nested", 100, 10, "skewed", 0.5),
        ("disjoint", 100, 8, "skewed"),
        ("documents", 40, 8, "ESCI gains"),
    ],
)
def test_the_corrected_interval_holds_peoples_answer(table, repetitions, cell):
    """94 to 96 % of all experiments, with a Monte Carlo tolerance of 4 sqrt(p (1 - p) / n) on either side."""
    n = repetitions(reduced=1000, whole=20_000)
    found = table.run(table.Cell(*cell), n, seed=11)
    tolerance = 4 * (0.95 * 0.05 / n) ** 0.5
    assert 0.94 - tolerance <= found["held"] <= 0.96 + tolerance
    assert found["ratio"] < 0.9


@pytest.mark.simulation
def test_an_audit_may_be_denser_where_the_judge_sees_a_change(repetitions):
    """Audit strata finer than the strata, drawn at rates of 0.1 and 0.5. Monte Carlo tolerance: 4 sqrt(p (1 - p) / n)."""
    n = repetitions(reduced=200, whole=5000)
    rng = np.random.default_rng(8)
    held, values = 0, []
    for _ in range(n):
        y = 0.02 + rng.normal(0, 0.1, 300)
        f = 0.03 + 0.8 * (y - 0.02) + rng.normal(0, 0.06, 300)
        large = np.abs(f) > 0.08
        seen = np.zeros(300, bool)
        for cell, rate in ((large, 0.5), (~large, 0.1)):
            rows = np.flatnonzero(cell)
            seen[rng.choice(rows, max(3, int(rate * rows.size)), replace=False)] = True
        x = corrected(
            f, np.where(seen, y, NAN), strata=300 * ["a"], populations={"a": 1}, audit_strata=np.where(large, "large", "small")
        ).estimate
        held += x.low <= 0.02 <= x.high
        values.append(x.value)
    assert held / n == pytest.approx(0.95, abs=0.01 + 4 * (0.95 * 0.05 / n) ** 0.5)
    assert np.mean(values) == pytest.approx(0.02, abs=4 * np.std(values) / n**0.5)


def merged_experiment(rng):
    """(judge, people, strata): a has 40 of 340 judged queries, half of the population and six times the spread of b."""
    names = np.repeat(["a", "b"], [40, 300])
    y = np.where(names == "a", 0.3, 0.05) * rng.normal(size=340)
    f = y + np.where(names == "a", 0.25, 0.04) * rng.normal(size=340)
    return f, np.where(np.isin(np.arange(340), rng.choice(340, 120, replace=False)), y, NAN), names


@pytest.mark.simulation
@pytest.mark.parametrize("lam", [None, 0.0, 0.7])
def test_small_strata_together_hold_peoples_answer(repetitions, lam):
    """Two strata of unlike weights and spreads, audited as one; with one pooled s^2: 0.88 to 0.92. Tolerance: 4 SE."""
    n = repetitions(reduced=400, whole=5000)
    rng = np.random.default_rng(21)
    held, values, squares = 0, [], []
    for _ in range(n):
        f, y, names = merged_experiment(rng)
        x = corrected(f, y, strata=names, populations={"a": 1, "b": 1}, audit_strata=340 * ["all"], lam=lam).estimate
        held += x.low <= 0 <= x.high
        values.append(x.value)
        squares.append(x.se**2)
    assert held / n + 4 * (0.95 * 0.05 / n) ** 0.5 >= 0.94
    assert held / n <= 0.98
    assert np.mean(squares) ** 0.5 == pytest.approx(np.std(values), rel=0.04 + 3 / n**0.5)
