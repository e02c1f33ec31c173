"""Labelled pairs of the simulated marketplace, shares of its ceiling, and the recipe that makes the validation table."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from germane import cards
from germane.cards import ceiling
from germane.cards.lists import Values
from germane.engines import BM25
from germane.judges import Confused, ask
from germane.metrics import sdcg_weights
from germane.simulate import BestTextJudge, Marketplace, costs, labelled, listings, wishes
from germane.text import query_digest
from germane.types import InputError, Run

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def market() -> Marketplace:
    return Marketplace(items=600, queries=120)


@pytest.fixture(scope="module")
def runs(market: Marketplace) -> list[pa.Table]:
    return [BM25(market.docs, fields).search(market.queries, k=10) for fields in (("title",), ("title", "description"))]


@pytest.fixture(scope="module")
def apart(market: Marketplace) -> labelled.Apart:
    return labelled.apart(market, 40, least=4, seed=1)


# --- pairs and labels -----------------------------------------------------------------------------------------------


def test_no_validation_query_is_learned_from_not_even_with_its_words_in_another_order(apart):
    held = {query_digest(text) for text in apart.validation["query"].to_pylist()}
    assert not held & {query_digest(text) for text in apart.train["query"].to_pylist()}
    assert apart.validation.num_rows == 40
    assert apart.train.num_rows <= 80


def test_every_popularity_segment_is_validated_by_known_odds(market, apart):
    segments = set(apart.validation["segment"].to_pylist())
    assert segments == set(apart.train["segment"].to_pylist())
    weights = 1 / apart.design["inclusion_probability"].to_numpy()
    assert weights.sum() == pytest.approx(market.queries.num_rows)


def test_pairs_come_from_the_lists_about_as_many_of_each_query_and_some_at_random(market, apart, runs):
    pairs = labelled.drawn_pairs(market, apart.train, runs, 400, easy=0.1, seed=1)
    listed = labelled.pairs_of(market, apart.train, runs)
    ids = [set(zip(t["query_id"].to_pylist(), t["doc_id"].to_pylist(), strict=True)) for t in (pairs, listed)]
    assert len(ids[0]) == pairs.num_rows == 400
    assert len(ids[0] & ids[1]) == 360
    grades = labelled.people(market, pairs)["relevance"].to_numpy()
    easy = [pair not in ids[1] for pair in zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)]
    assert grades[easy].mean() < 1 < grades[~np.array(easy)].mean()


def test_the_same_seed_draws_the_same_pairs_and_another_seed_draws_others(market, apart, runs):
    first, again, other = (labelled.drawn_pairs(market, apart.train, runs, 200, seed=seed) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_judge_reads_what_the_marketplace_says_it_reads_and_no_seller(market, apart, runs):
    text = labelled.pairs_of(market, apart.validation, runs, k=1)["text"][0].as_py()
    assert [line.partition(":")[0] for line in text.split("\n")] == list(market.fields)


def test_the_ceiling_in_bulk_says_what_the_best_text_judge_says_one_by_one(market, apart, runs):
    pairs = labelled.pairs_of(market, apart.validation, runs, k=2)
    bulk = labelled.best(market, pairs)
    one = ask(BestTextJudge(market), pairs)
    assert bulk["relevance"].equals(one["relevance"])
    assert np.allclose(np.array(bulk["probs"].to_pylist()), np.array(one["probs"].to_pylist()), atol=1e-6)
    assert set(bulk["fingerprint"].to_pylist()) == set(one["fingerprint"].to_pylist())


def test_more_pairs_than_the_lists_hold_are_refused(market, apart, runs):
    with pytest.raises(InputError, match="rank more documents"):
        labelled.drawn_pairs(market, apart.train, runs, 100_000, seed=1)
    with pytest.raises(InputError, match="leave some to learn from"):
        labelled.apart(market, 120, seed=1)


# --- queries made up from listings ----------------------------------------------------------------------------------


def test_queries_made_up_from_listings_are_graded_by_what_listings_say(apart):
    big = Marketplace(items=2_000, queries=120)
    pairs, rule = wishes.made_up(big, 1_500, without=apart.validation, seed=1)
    assert pairs.num_rows == rule.num_rows == 1_500
    grades = rule["relevance"].to_numpy()
    assert set(grades) == {0, 2, 3, 4}
    for query, text, grade in zip(pairs["query"].to_pylist(), pairs["text"].to_pylist(), grades, strict=True):
        if grade == 4 and "purple" in query.split():  # it is purple, or nothing says that it is not
            assert "colour: purple" in text or "colour: " not in text


def test_no_made_up_query_has_the_words_of_a_validation_query():
    big = Marketplace(items=2_000, queries=120)
    pairs, _ = wishes.made_up(big, 600, without=big.queries, seed=1)
    taken = {query_digest(text) for text in big.queries["query"].to_pylist()}
    assert not taken & {query_digest(text) for text in pairs["query"].to_pylist()}


@pytest.fixture(scope="module")
def shop():
    """A marketplace with labels of people, its shelf, and what the labels taught."""
    market = Marketplace(items=4_000, queries=600)
    runs = [BM25(market.docs, ("title",)).search(market.queries, k=25)]
    pairs = labelled.drawn_pairs(market, market.queries, runs, 6_000, seed=1)
    shelf = wishes.shelf_of(market)
    return market, pairs, shelf, wishes.learned(shelf, pairs, labelled.people(market, pairs))


def test_a_query_is_read_as_its_asker_wrote_it(shop):
    shelf = shop[2]
    assert shelf.asked("chest of drawers").kind == "en:chest of drawers"
    found = shelf.asked("womens blue sandals under 100 euro")
    assert found.kind == "en:sandals"
    assert found.wish == {"under": "100", "colour": "blue", "people": "women"}
    assert found.forms["people", "women"] == "womens"
    assert shelf.asked("womens blue sadnals").wish == {"colour": "blue", "people": "women"}  # a typo in one word
    assert shelf.asked("womens blue xylophone") is None
    assert shelf.asked("tiny harbour") == ("", {"brand": "tiny harbour"}, {})


def test_names_of_one_type_are_known_by_how_descriptions_begin(shop):
    shelf = shop[2]
    assert shelf.kind_of["en", "blender"] == shelf.kind_of["en", "hand blender"]
    assert shelf.kind_of["en", "sandals"] != shelf.kind_of["en", "running shoes"]
    assert shelf.akin("en:sandals", "en:dress")  # the same brands
    assert not shelf.akin("en:sandals", "en:hand blender")


def test_labels_teach_what_faults_cost_and_who_judges_unlike_the_others(shop):
    market, pairs, shelf, learned = shop
    rows = list(zip(pairs["query"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True))
    best = market.probabilities(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist()).argmax(axis=1)
    truth = market.truth(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist())
    asked = {query: shelf.asked(query) for query, _ in rows}
    said, plain = [], []
    for (query, doc_id), grade, people in zip(rows, best, truth, strict=True):
        of, i = asked[query], int(doc_id[1:])
        if of is not None and of.kind and shelf.kind[i] == of.kind:
            said.append(learned.costs.grade(shelf.faults(of.kind, of.wish, shelf.listings[i])) == grade)
            plain += [people == grade] if learned.plain[query] > wishes.PLAIN else []
    assert np.mean(said) > 0.9
    kept, rule = wishes.graded(market, pairs, learned, shelf)
    assert kept.num_rows == rule.num_rows > 0.9 * pairs.num_rows  # rare names of a small catalogue are not read
    again = market.probabilities(kept["query_id"].to_pylist(), kept["doc_id"].to_pylist()).argmax(axis=1)
    assert np.mean(again == rule["relevance"].to_numpy()) > 0.9  # of other types too
    assert np.mean(plain) > 0.97


def test_too_few_labels_teach_no_rule(shop):
    market, pairs, shelf, _ = shop
    few = pairs.slice(0, 8)
    with pytest.raises(InputError, match=r"label more|so few pairs"):
        wishes.learned(shelf, few, labelled.people(market, few))


def test_costs_are_found_though_some_askers_are_strict():
    rng = np.random.default_rng(1)
    query = np.repeat(np.arange(300), 10)
    strict = rng.random(300) < 0.25
    wrong = rng.random((3_000, 2)) < 0.4
    grades = np.clip(4 - wrong @ [1, 2] - 2 * strict[query], 0, 4)
    faults = [[name for name, one in zip("ab", row, strict=True) if one] for row in wrong]
    found, plain = costs.fitted(faults, grades, query, 4)
    assert [found.grade(each) for each in ([], ["a"], ["b"], ["a", "b"], ["never seen"])] == [4, 3, 2, 1, 4]
    np.testing.assert_array_equal(plain < 0.5, strict)


def test_costs_of_types_need_few_labels_where_all_judge_alike():
    relations = [["a~b"]] * 3 + [["a~c"]] * 3 + [["a~d", "akin"]] * 3 + [["a~e", "akin"]] * 3
    found = costs.agreed(relations, [0] * 3 + [2] * 3 + [1] * 6, 4)
    assert [found.grade(each) for each in (["a~b"], ["a~c"], ["a~d", "akin"], ["never seen", "akin"])] == [0, 2, 1, 1]


def test_a_rule_that_people_taught_grades_other_types_too(shop):
    market, _, shelf, learned = shop
    asked, rule = wishes.made_up(market, 1_500, without=market.queries, seed=1, people=learned, shelf=shelf)
    assert set(rule["relevance"].to_pylist()) == {0, 1, 2, 3, 4}
    assert set(rule["fingerprint"].to_pylist()) == {"rule:listings-3"}
    again, _ = wishes.made_up(market, 1_500, without=market.queries, seed=1, people=learned, shelf=shelf)
    assert again.equals(asked)


def test_listings_of_made_up_queries_are_what_engines_find(shop):
    market, _, shelf, learned = shop
    engines = [BM25(market.docs, ("title",))]
    asked, rule = wishes.made_up(market, 900, without=market.queries, seed=1, people=learned, shelf=shelf, engines=engines)
    assert asked.num_rows == rule.num_rows == 900
    titles = [text.partition("\n")[0].lower() for text in asked["text"].to_pylist()]
    share = [bool(set(q.split()) & set(t.split())) for q, t in zip(asked["query"].to_pylist(), titles, strict=True)]
    assert np.mean(share) > 0.6  # all but random ones, and those with a typo


def test_a_listing_is_read_as_its_seller_wrote_it():
    docs = {
        "title": ["Nordhafen Blue Oak Garden Chair, 45 cm"] * 10 + ["Gartenstuhl – grün"],
        "brand": ["Nordhafen"] * 10 + ["Elb"],
        "attributes": ["material: oak; size: 45 cm; colour: blue; without: armrests"] * 9 + ["with: cushion", "Farbe: grün"],
        "description": [""] * 9 + ["The colour is blue."] + [""],
        "price": ["EUR 40.00"] * 11,
        "language": ["en"] * 10 + ["de"],
    }
    found = listings.read(pa.table(docs))
    assert found[0].name == found[9].name == "garden chair"
    assert found[0].lacks == {"armre": "armrests"}
    assert found[9].facts == {"colour": "blue", "material": "oak", "measure": "45 cm"}
    assert found[9].has == {"cushi": "cushion"}
    assert found[9].price == 40
    assert found[10].name == ""  # one title alone is no name


# --- shares of the ceiling ------------------------------------------------------------------------------------------


def lists_of(errors: np.ndarray, seed: int = 0) -> Values:
    people = np.random.default_rng(seed).uniform(0.2, 0.6, len(errors))
    return Values(np.arange(len(errors)), None, people, people + errors)


def test_a_judge_with_twice_the_ceilings_errors_reaches_half_of_it():
    errors = np.random.default_rng(1).normal(0.02, 0.05, 300)
    share, unknown = ceiling.shares(lists_of(2 * errors), lists_of(errors), "score")
    for name in ("error", "error P10", "error P90"):
        assert share[f"score {name}"].value == pytest.approx(0.5)
        assert share[f"score {name}"].low == pytest.approx(0.5, abs=1e-6)
    assert unknown == ()


def test_the_ceiling_reaches_all_of_itself():
    lists = lists_of(np.random.default_rng(2).normal(0.03, 0.05, 200))
    share, _ = ceiling.shares(lists, lists, "difference")
    assert {round(e.value, 9) for e in share.values()} == {1.0}


def test_an_error_whose_sign_is_not_known_has_no_share():
    errors = np.random.default_rng(3).normal(0.0, 0.05, 100)
    errors -= errors.mean()
    share, unknown = ceiling.shares(lists_of(errors), lists_of(errors + 0.05), "score")
    assert "score error" in unknown
    assert "score error" not in share


def test_weights_of_whole_numbers_are_as_good_as_copies():
    rng = np.random.default_rng(4)
    errors, best, times = rng.normal(0.05, 0.05, 60), rng.normal(0.04, 0.03, 60), rng.integers(1, 4, 60)
    weighted = [lists_of(x)._replace(weight=times.astype(float)) for x in (errors, best)]
    copied = [lists_of(x) for x in (errors, best)]
    copied = [Values(np.repeat(v.query, times), None, np.repeat(v.people, times), np.repeat(v.judge, times)) for v in copied]
    (one, _), (other, _) = (ceiling.shares(*each, "score") for each in (weighted, copied))
    for name in ("score error", "score error P90", "score rho"):
        assert one[name].value == pytest.approx(other[name].value)


def test_shares_of_scores_and_differences_are_of_the_same_lists(market, apart, runs):
    pairs = labelled.pairs_of(market, apart.validation, runs)
    gold, best = labelled.people(market, pairs), labelled.best(market, pairs)
    confusion = np.full((5, 5), 0.05) + 0.75 * np.eye(5)
    judge = ask(Confused(market.truth, confusion, scale=market.scale, seed=1, name="replay (simulated)"), pairs)
    held = set(apart.validation["query_id"].to_pylist())
    tables = [run.filter([q in held for q in run["query_id"].to_pylist()]) for run in runs]
    arms = [Run(name, table, {}) for name, table in zip("ab", tables, strict=True)]
    experiment = cards.Experiment((), *arms, metric="sDCG@10")
    found = ceiling.beside(gold, judge, best, scale=market.scale, experiment=experiment, design=apart.design)
    assert {"score rho", "difference rho"} <= set(found.share)
    # by hand: rho of sDCG@10 in both arms, judge over ceiling
    gains, weight = np.asarray(market.scale.gains), sdcg_weights(10)
    levels = []
    for table in (gold, judge, best):
        rows = zip(*(table[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True)
        of = {(q, d): grade for q, d, grade in rows}
        sums: dict[tuple[str, str], float] = {}
        for arm in arms:
            for q, d, r in zip(*(arm.table[c].to_pylist() for c in ("query_id", "doc_id", "rank")), strict=True):
                sums[arm.name, q] = sums.get((arm.name, q), 0.0) + weight[r - 1] * gains[of[q, d]]
        levels.append(sums)
    keys = sorted(levels[0])
    odds = dict(zip(apart.design["query_id"].to_pylist(), apart.design["inclusion_probability"].to_pylist(), strict=True))
    values = [np.array([side[k] for k in keys]).round(12) for side in levels]
    query = np.unique([k[1] for k in keys], return_inverse=True)[1]
    w = np.array([1 / odds[k[1]] for k in keys])
    from germane.stats.ranks import spearman_rho

    by_hand = [spearman_rho(values[0], side, clusters=query, weights=w).value for side in values[1:]]
    assert found.share["score rho"].value == pytest.approx(by_hand[0] / by_hand[1])


# --- the recipe -----------------------------------------------------------------------------------------------------


def recipe():
    spec = importlib.util.spec_from_file_location("marketplace_recipe", ROOT / "recipes" / "marketplace.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_is_made_by_one_command_and_says_that_it_is_simulated(tmp_path, monkeypatch, capsys):
    """The command by which the recipe says to try whether it runs: figures say nothing, but the table is whole."""
    pytest.importorskip("torch")
    made = recipe()
    (said,) = re.findall(r"marketplace\.py (--pairs .*?)#", (made.__doc__ or "").replace("\\\n", " "), re.DOTALL)
    options = [*said.split(), "--device", "cpu", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["marketplace.py", *options])
    made.main()
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert table.startswith("Simulation.")
    for figure in (
        "exact",
        "within one",
        "macro F1",
        "score tau-b",
        "difference error P90",
        "exact, single",
        "score rho, tail",
    ):
        assert f"| {figure} |" in table
    assert table in capsys.readouterr().out
