"""Choosing: contestants on the same folds, paired differences, the Pareto front, and which tiers can be merged."""

from dataclasses import replace

import counted_judges
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import kendalltau

from germane.cards import Experiment
from germane.stats import agreement, ranks
from germane.stats.clustered import Undefined
from germane.training.beside import Field, board, coverage, differences, priced, tau_difference
from germane.training.folds import Cost, out_of_fold
from germane.training.shootout import Shootout, Tiers, front, shootout, tiers
from germane.types import InputError, JudgeFacts, Run

ESCI = counted_judges.ESCI


@pytest.fixture(scope="module")
def shop():
    """docs, pairs, gold, examples, and what they are measured on, with one ranking a query."""
    docs, pairs, gold = counted_judges.world(40)
    score = pa.array(np.random.default_rng(0).random(pairs.num_rows))
    run = Run("by chance", pairs.select(["query_id", "doc_id"]).append_column("score", score), {})
    on = Field(gold, ESCI, Experiment(runs=(run,), metric="sDCG@10"), "shop")
    return counted_judges.whole(docs, pairs, gold), on


@pytest.fixture(scope="module")
def labels(shop):
    """The same without rankings."""
    return Field(shop[1].gold, ESCI)


@pytest.fixture(scope="module")
def judged(shop, tmp_path_factory):
    """Out-of-fold judgments of counted judges by the share of their labels that is chance."""
    made = {}

    def judge(noise):
        if noise not in made:
            folder = tmp_path_factory.mktemp("folds")
            options = {"name": f"noise {noise}", "folder": folder, "load": counted_judges.load}
            made[noise] = out_of_fold(shop[0], counted_judges.trainer(noise=noise), **options).judgments
        return made[noise]

    return judge


def test_differences_are_those_of_the_statistics_and_turn_with_the_sides(shop, judged):
    _, on = shop
    there, back = (differences(on, *pair) for pair in ((judged(0.0), judged(0.95)), (judged(0.95), judged(0.0))))
    gold, query = on.gold["relevance"].to_numpy(), on.gold["query_id"].to_numpy()
    said = [dict(zip(_ids(judged(n)), judged(n)["relevance"].to_pylist(), strict=True)) for n in (0.0, 0.95)]
    one, other = (np.array([grades[key] for key in _ids(on.gold)]) for grades in said)
    for name, of in (("macro F1", agreement.macro_f1), ("exact", agreement.exact_agreement)):
        apart = of(gold, one, clusters=query).value - of(gold, other, clusters=query).value
        assert there[name].value == pytest.approx(apart)
    assert set(there) == {"macro F1", "exact", "quadratic kappa", "score tau-b", "expected score tau-b"}
    for name, found in there.items():
        assert back[name].value == pytest.approx(-found.value)
        assert back[name].low == pytest.approx(-found.high)


def _ids(table):
    return list(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))


def test_a_judge_and_itself_do_not_differ(shop, judged):
    found = differences(shop[1], judged(0.0), judged(0.0))
    assert {name: e.value for name, e in found.items()} == dict.fromkeys(found, 0.0)


def test_only_pairs_that_both_answered_are_compared(labels, judged):
    half = judged(0.0).slice(0, 240)
    assert differences(labels, half, judged(0.95))["exact"].n == 240
    assert differences(labels, half, judged(0.95).slice(240)) == {}


def test_the_difference_of_tau_is_that_of_scipy_with_a_jackknife_over_queries():
    rng = np.random.default_rng(2)
    people = rng.random(40)
    one, other = people + rng.normal(0, 0.2, 40), people + rng.normal(0, 1.0, 40)
    found = tau_difference(people, one, other, np.arange(40))
    assert found.value == pytest.approx(kendalltau(people, one).statistic - kendalltau(people, other).statistic)
    left = [
        kendalltau(np.delete(people, i), np.delete(one, i)).statistic
        - kendalltau(np.delete(people, i), np.delete(other, i)).statistic
        for i in range(40)
    ]
    assert found.se == pytest.approx(np.sqrt(39 / 40 * ((np.array(left) - found.value) ** 2).sum()))
    with pytest.raises(Undefined):
        tau_difference(people, np.ones(40), other, np.arange(40))


def test_weights_count_a_list_that_often():
    rng = np.random.default_rng(3)
    people, one, other = rng.random((3, 30))
    weights = rng.integers(1, 4, 30).astype(float)
    found = tau_difference(people, one, other, np.arange(30), weights=weights)
    tau = [ranks.kendall_tau_b(people, side, weights=weights).value for side in (one, other)]
    assert found.value == pytest.approx(tau[0] - tau[1])


def test_differences_are_of_the_random_part_and_by_the_weights_that_the_board_counts(shop, judged):
    on = drawn_unevenly(shop[1])
    sides = {"one": judged(0.0), "two": judged(0.95)}
    stood = {s.name: s.found for s in board(on, as_tiers(judged, ("one", 0.0, None), ("two", 0.95, None))).judges}
    found = differences(on, sides["one"], sides["two"])
    assert found["exact"].n == 240
    for name, gap in found.items():
        assert gap.value == pytest.approx(stood["one"][name].value - stood["two"][name].value), name
    even = differences(shop[1], sides["one"], sides["two"])
    assert all(abs(even[name].value - gap.value) > 1e-6 for name, gap in found.items())


def drawn_unevenly(on):
    """Half of the queries are targeted; of the others, some were drawn ten times as often."""
    number = [int(query[1:]) for query in on.gold["query_id"].to_pylist()]
    part = pa.array(["targeted" if q % 2 else "random" for q in number])
    chance = pa.array([None if q % 2 else 1.0 if q % 4 else 0.1 for q in number])
    gold = on.gold.append_column("part", part).append_column("inclusion_probability", chance)
    return replace(on, gold=gold)


def test_contestants_stand_in_order_beside_the_best_on_the_same_folds(shop, tmp_path):
    rows, on = shop
    log = {"plain": [], "chance": []}
    made = {
        "chance": counted_judges.trainer(noise=0.95, log=log["chance"]),
        "plain": counted_judges.trainer(log=log["plain"]),
    }
    found = shootout(rows, made, on, folder=tmp_path, load=counted_judges.load, hour_price=1.0, k=3)
    assert [each.name for each in found.contestants] == ["plain", "chance"]
    assert log["plain"] == log["chance"]
    best, other = found.contestants
    assert best.to_best == {}
    assert other.to_best["macro F1"].high < 0
    assert {"macro F1", "exact", "quadratic kappa", "score tau-b", "expected score tau-b"} <= set(best.found)
    assert best.cost.per_million == pytest.approx(1e6 / 3600 / best.cost.rows_per_s)
    assert found.board.judges[0].facts.cost_per_million == best.cost.per_million
    assert "plain" in found.front
    assert "plain: a note" in found.notes
    assert Shootout.from_json(found.to_json()) == found


def test_what_chance_could_have_decided_is_said(shop, labels, tmp_path):
    rows, on = shop[0], labels
    made = {"one": counted_judges.trainer(), "two": counted_judges.trainer(noise=0.02)}
    found = shootout(rows, made, on, folder=tmp_path, load=counted_judges.load, k=3)
    assert any("not shown to be better" in note or "within noise" in note for note in found.notes)


def test_a_shootout_of_nobody_is_refused(shop, tmp_path):
    with pytest.raises(InputError, match="no contestants"):
        shootout(shop[0], {}, shop[1], folder=tmp_path)


@pytest.mark.parametrize(
    ("both", "ahead"),
    [
        ({"a": (0.5, 1.0), "b": (0.4, 2.0)}, {"a", "b"}),
        ({"a": (0.5, 2.0), "b": (0.4, 1.0)}, {"a"}),
        ({"a": (0.5, 2.0), "b": (0.5, 2.0)}, {"a", "b"}),
        ({"a": (0.5, 2.0), "b": (0.5, 1.0)}, {"a"}),
        ({"a": (0.5, None), "b": (0.4, 1.0)}, {"a", "b"}),
        ({"a": (0.4, None), "b": (0.4, 1.0)}, {"b"}),
    ],
)
def test_the_front_holds_whoever_nobody_beats(both, ahead):
    assert front(both) == ahead


def as_tiers(judged, *given):
    made = {}
    for name, noise, speed in given:
        table = judged(noise)
        table = table.set_column(table.column_names.index("judge"), "judge", pa.repeat(name, table.num_rows))
        cost = Cost() if speed is None else Cost(rows_per_s=speed, latency_ms=1000 / speed, machine="one machine")
        fingerprint = pa.repeat(name, table.num_rows)
        table = table.set_column(table.column_names.index("fingerprint"), "fingerprint", fingerprint)
        made[name] = (table, cost, JudgeFacts("x"))
    return made


def test_tiers_are_merged_where_the_cheaper_is_shown_to_be_no_worse(labels, judged):
    found = tiers(labels, as_tiers(judged, ("teacher", 0.0, 5.0), ("student", 0.05, 500.0), ("tiny", 0.97, 5000.0)))
    said = {(pair.dear, pair.cheap): pair for pair in found.pairs}
    assert said["teacher", "student"].verdict == "can be merged"
    assert said["teacher", "student"].why == "no worse by more than 0.02 and cheaper"
    assert said["teacher", "student"].faster == pytest.approx(100)
    assert said["teacher", "student"].quicker == pytest.approx(100)
    assert said["student", "tiny"].verdict == "worth its cost"
    assert said["teacher", "tiny"].difference["exact"].level == 0.9
    assert Tiers.from_json(found.to_json()) == found


def answering(made, name, *, every):
    """The tier answers one pair in so many."""
    table, cost, facts = made[name]
    grades = [grade if at % every == 0 else None for at, grade in enumerate(table["relevance"].to_pylist())]
    outcome = pa.array(["abstained" if grade is None else "label" for grade in grades])
    for column, value in (("relevance", pa.array(grades, pa.int16())), ("outcome", outcome)):
        table = table.set_column(table.column_names.index(column), column, value)
    return made | {name: (table, cost, facts)}


def test_a_tier_that_leaves_pairs_open_cannot_take_the_place_of_one_that_answers_them(labels, judged):
    made = as_tiers(judged, ("teacher", 0.0, 5.0), ("lazy", 0.0, 500.0))
    found = tiers(labels, answering(made, "lazy", every=6))
    (pair,) = found.pairs
    assert (pair.verdict, pair.why) == ("worth its cost", "lazy answers only 16.7% of the pairs, teacher 100.0%")
    assert pair.difference["coverage"].value == pytest.approx(-5 / 6)
    assert {tier.name: round(tier.found["coverage"].value, 3) for tier in found.tiers} == {"teacher": 1.0, "lazy": 0.167}
    (pair,) = tiers(labels, answering(made, "teacher", every=6)).pairs
    assert pair.verdict == "can be merged"


def test_a_tier_that_leaves_a_few_pairs_open_is_judged_by_the_margin(labels, judged):
    made = as_tiers(judged, ("a", 0.0, 5.0), ("b", 0.0, 50.0))
    table, cost, facts = made["b"]
    made["b"] = (table.filter(pa.array(np.arange(len(table)) % 120 != 0)), cost, facts)
    assert tiers(labels, made).pairs[0].verdict == "can be merged"
    made["b"] = (table.slice(0, len(table) - 12), cost, facts)
    (pair,) = tiers(labels, made).pairs
    assert (pair.verdict, pair.why) == ("unclear", "n too small; b answers only 97.5% of the pairs, a 100.0%")
    assert tiers(labels, made, margin=0.1).pairs[0].verdict == "can be merged"


def test_coverage_is_of_the_random_part_and_weighted(shop, judged):
    on = drawn_unevenly(shop[1])
    whole = judged(0.0)
    often = np.array([int(query[1:]) % 4 != 0 for query in whole["query_id"].to_pylist()])
    assert coverage(on, whole.filter(pa.array(often)), whole).value == pytest.approx(-10 / 11)


def test_who_is_cheaper_is_read_from_costs_and_else_from_the_order(labels, judged):
    (pair,) = tiers(labels, as_tiers(judged, ("fast", 0.97, 500.0), ("slow", 0.0, 5.0))).pairs
    assert (pair.dear, pair.cheap) == ("slow", "fast")
    (pair,) = tiers(labels, as_tiers(judged, ("first", 0.0, None), ("second", 0.05, None))).pairs
    assert (pair.dear, pair.cheap, pair.faster) == ("first", "second", None)
    assert pair.why == "no worse by more than 0.02; what each costs is not known"


def test_money_says_who_is_cheaper_before_speed_does(labels, judged):
    made = as_tiers(judged, ("api", 0.0, 500.0), ("own", 0.05, 5.0))
    for name, price in (("api", 400.0), ("own", 100.0)):
        table, cost, facts = made[name]
        made[name] = (table, replace(cost, per_million=price), facts)
    (pair,) = tiers(labels, made).pairs
    assert (pair.dear, pair.cheap, pair.saved) == ("api", "own", 0.75)


def test_too_few_pairs_show_nothing_and_how_many_would_is_said(labels, judged):
    many = as_tiers(judged, ("a", 0.0, 5.0), ("b", 0.95, 50.0))
    few = {name: (table.slice(0, 60), cost, facts) for name, (table, cost, facts) in many.items()}
    (pair,) = tiers(labels, few).pairs
    assert (pair.verdict, pair.why) == ("unclear", "n too small")
    assert pair.needed > 5


def test_the_margin_decides(labels, judged):
    (pair,) = tiers(labels, as_tiers(judged, ("a", 0.0, 5.0), ("b", 0.95, 50.0)), margin=0.9).pairs
    assert pair.verdict == "can be merged"


def test_a_fake_is_no_tier(labels, judged):
    made = as_tiers(judged, ("a", 0.0, 5.0), ("b", 0.05, 50.0), ("fake", 0.95, 500.0))
    table, cost, _ = made["fake"]
    at = table.column_names.index("fingerprint")
    made["fake"] = (table.set_column(at, "fingerprint", pa.repeat("fake:1", table.num_rows)), cost, JudgeFacts("fake"))
    found = tiers(labels, made)
    assert len(found.pairs) == 1
    assert "fake is a fake: it is no tier" in found.notes
    del made["b"]
    with pytest.raises(InputError, match="no tiers"):
        tiers(labels, made)


def test_wrong_margins_and_a_single_tier_are_refused(labels, judged):
    with pytest.raises(InputError, match="two or more"):
        tiers(labels, as_tiers(judged, ("a", 0.0, 5.0)))
    with pytest.raises(InputError, match="margin 0"):
        tiers(labels, as_tiers(judged, ("a", 0.0, 5.0), ("b", 0.05, 50.0)), margin=0)


def test_a_price_by_the_hour_becomes_one_by_the_million_unless_it_was_paid():
    assert priced(Cost(rows_per_s=100.0), 3.6).per_million == pytest.approx(10.0)
    assert priced(Cost(rows_per_s=100.0, per_million=7.0), 3.6).per_million == 7.0
    assert priced(Cost(), 3.6).per_million is None
