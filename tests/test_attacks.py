"""Attacks beside a control: by hand, against a permutation, and how often a judge that resists is called fooled."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.cards import probing
from germane.stats.attacks import excess, flipped_p
from germane.stats.evenness import evenness
from germane.stats.segments import heterogeneity
from germane.stats.spread import changed, spreads

rows = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=2, max_size=12)


@given(rows)
def test_the_p_value_is_the_share_of_all_exchanges_that_give_as_much(found):
    hit, control, query = (np.array(column) for column in zip(*found, strict=True))
    sums = [int((hit[query == q].astype(int) - control[query == q]).sum()) for q in sorted(set(query.tolist()))]
    all_of_them = [sum(s * e for s, e in zip(signs, sums, strict=True)) for signs in product([1, -1], repeat=len(sums))]
    expected = 1.0 if not any(sums) else np.mean([total >= sum(sums) for total in all_of_them])
    assert flipped_p(hit, control, clusters=query) == pytest.approx(expected)


@given(rows)
def test_swapping_attack_and_control_negates_the_excess(found):
    hit, control, query = (np.array(column) for column in zip(*found, strict=True))
    there, back = (excess(*pair, clusters=query) for pair in ((hit, control), (control, hit)))
    assert back.value == pytest.approx(-there.value)
    assert back.low == pytest.approx(-there.high)
    assert there.low <= there.value <= there.high


def test_no_rise_in_few_queries_proves_little():
    found = excess([False] * 20, [False] * 20, clusters=range(20))
    assert found.value == 0
    assert found.high > 0.1


def simulated(rng, queries, obeying):
    """A noisy judge: one in five answers is a step off; an attack obeyed lifts a share of grades to the top."""
    base = rng.integers(0, 3, queries * 3)
    query = np.repeat(np.arange(queries), 3)

    def again():
        return np.clip(base + rng.choice([-1, 0, 0, 0, 0, 0, 0, 0, 0, 1], base.size), 0, 3)

    first = again()
    kept = np.flatnonzero(first < 3)
    before = probing.Before(query[kept], first[kept], again()[kept])
    attacks = []
    for at in range(20):
        grades = again()[kept]
        if at < obeying:
            grades = np.where(rng.random(kept.size) < 0.5, 3, grades)
        attacks.append(probing.Attack(f"a{at}", "f", "", "must not rise", np.arange(kept.size), grades))
    return probing.probed(before, attacks, threshold=2)


@pytest.mark.simulation
def test_a_noisy_judge_is_not_called_fooled_and_a_foolable_one_is(repetitions):
    """20 probes on 60 pairs of 20 queries. No probe works: any is called fooled in at most 5 % of suites, plus the
    Monte Carlo tolerance 3 sqrt(0.05 0.95 / n). Five work in half of the pairs: of those called fooled at most 5 % resist."""
    rng, n = np.random.default_rng(4), repetitions(reduced=100, whole=1000)
    false = np.mean([any(row.verdict == probing.FOOLED for row in simulated(rng, 20, 0)) for _ in range(n)])
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n)
    wrong, right = [], []
    for _ in range(n):
        verdicts = [row.verdict == probing.FOOLED for row in simulated(rng, 20, 5)]
        wrong.append(sum(verdicts[5:]) / max(sum(verdicts), 1))
        right.append(sum(verdicts[:5]) / 5)
    assert np.mean(wrong) <= 0.05 + 3 * np.std(wrong) / np.sqrt(n)
    assert np.mean(right) > 0.9


def test_no_answer_is_neither_a_rise_nor_a_pass():
    before = probing.Before(np.array(list("abcd")), np.array([0, 0, 0, -1]), np.array([0, 0, 0, 0]))
    (row,) = probing.probed(
        before, [probing.Attack("x", "f", "", "must not rise", np.arange(4), np.array([2, -1, 0, 2]))], threshold=2
    )
    assert (row.raised.value, row.raised.n, row.silent.value) == (0.5, 2, 0.25)
    assert row.relevant.value == 0.5
    attack = probing.Attack("y", "f", "", "must not rise", np.arange(4), np.array([-1] * 4))
    (silent,) = probing.probed(before, [attack], threshold=2)
    assert (silent.verdict, silent.raised, silent.q) == (probing.NOT_ANSWERED, None, None)
    (empty,) = probing.probed(before, [attack._replace(rows=np.arange(0), grades=np.arange(0))], threshold=2)
    assert (empty.verdict, empty.silent) == (probing.NOT_ANSWERED, None)


# --- evenness ---------------------------------------------------------------------------------------------------------


def test_bands_of_whole_queries_are_compared_as_independent_segments_are():
    rng = np.random.default_rng(0)
    band, x = np.repeat(["a", "b", "c"], 20), rng.normal(size=60) + np.repeat([0, 0.5, 1], 20)
    parts = [x[band == name] for name in "abc"]
    welch = heterogeneity([p.mean() for p in parts], [p.std(ddof=1) / np.sqrt(20) for p in parts], [19] * 3)
    assert evenness(x, band, clusters=range(60)).p == pytest.approx(welch.p)


def test_rows_of_one_query_in_two_bands_are_a_paired_comparison():
    rng = np.random.default_rng(0)
    of_query = np.repeat(rng.normal(size=30) * 5, 2)
    x, band = of_query + np.tile([0.0, 0.3], 30) + rng.normal(size=60) * 0.1, np.tile(["a", "b"], 30)
    assert evenness(x, band, clusters=np.repeat(np.arange(30), 2)).p < 1e-6
    assert evenness(x, band, clusters=range(60)).p > 0.5


@pytest.mark.simulation
@pytest.mark.parametrize("of", ["documents", "queries"])
def test_even_errors_are_called_uneven_as_seldom_as_stated(of, repetitions):
    """60 queries of 15 pairs, four bands: 5 %, with the tolerance 3 sqrt(0.05 0.95 / n) and 1 point for the approximation."""
    rng, n, hits = np.random.default_rng(1), repetitions(reduced=200, whole=2000), 0
    query = np.repeat(np.arange(60), 15)
    for _ in range(n):
        error = np.clip(np.round(rng.normal(0, 0.3, 60)[query] + rng.normal(0, 0.7, query.size)), -2, 2)
        band = rng.integers(0, 4, query.size) if of == "documents" else rng.permutation(np.arange(60) % 4)[query]
        hits += evenness(error, band, clusters=query).p <= 0.05
    assert hits / n == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / n) + 0.01)


# --- spread over paraphrases ------------------------------------------------------------------------------------------


def test_the_values_are_those_of_the_statistics_one_by_one():
    from germane.stats.agreement import cohen_kappa, exact_agreement, macro_f1

    rng = np.random.default_rng(0)
    gold, said = rng.integers(0, 4, 80), rng.integers(0, 4, (3, 80))
    found = spreads(gold, said, gains=[0, 1, 2, 3], clusters=np.repeat(np.arange(20), 4), resamples=100)
    assert found["exact"].values == pytest.approx([exact_agreement(gold, row).value for row in said])
    assert found["quadratic kappa"].values == pytest.approx(
        [cohen_kappa(gold, row, distance="quadratic").value for row in said]
    )
    assert found["macro F1"].values == pytest.approx([macro_f1(gold, row).value for row in said])
    assert found["mean gain"].values == pytest.approx(said.mean(1) / 3)
    assert found["exact"].span.value == pytest.approx(np.ptp(found["exact"].values))
    assert found["exact"].sd.value == pytest.approx(np.std(found["exact"].values, ddof=1))


def test_paraphrases_that_say_the_same_have_no_spread():
    gold, said = np.tile([0, 1, 2, 1], 10), np.tile([0, 1, 1, 1], 10)
    found = spreads(gold, [said] * 3, gains=[0, 1, 2], clusters=np.repeat(np.arange(10), 4), resamples=100)
    for spread in found.values():
        assert (spread.span.value, spread.span.low, spread.span.high) == (0, 0, 0)
    assert not changed([said] * 3).any()


def test_the_seed_and_the_level_are_heard():
    rng = np.random.default_rng(0)
    given = (rng.integers(0, 3, 60), rng.integers(0, 3, (3, 60)))
    options = {"gains": [0, 1, 2], "clusters": np.repeat(np.arange(15), 4), "resamples": 200}
    usual = spreads(*given, **options)["exact"].span
    assert spreads(*given, **options)["exact"].span == usual
    assert spreads(*given, **options, seed=1)["exact"].span != usual
    assert spreads(*given, **options, level=0.5)["exact"].span.high < usual.high
