import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT

from germane.engines import BM25
from germane.judges import pairs_of
from germane.logs import segments
from germane.simulate import BestTextJudge, Difficulty, Marketplace, demand, difficulty
from germane.simulate.vocabulary import DE, EN, vocabulary
from germane.store import conform
from germane.types import InputError

ALL_FIELDS = ("title", "brand", "attributes", "description")


@pytest.fixture(scope="module")
def market() -> Marketplace:
    return Marketplace()


@pytest.fixture(scope="module")
def runs(market) -> tuple[pa.Table, pa.Table]:
    titles, every = (BM25(market.docs, fields).search(market.queries, k=25) for fields in (("title",), ALL_FIELDS))
    return titles, every


@pytest.fixture(scope="module")
def small() -> Marketplace:
    return Marketplace(seed=3, items=1500, queries=200)


@pytest.fixture(scope="module")
def pairs(small) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(0)
    queries, docs = (table[name].to_pylist() for table, name in ((small.queries, "query_id"), (small.docs, "doc_id")))
    return rng.choice(queries, 4000).tolist(), rng.choice(docs, 4000).tolist()


# --- what is frozen -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(market, runs) -> Difficulty:
    return difficulty(market, *runs)


def test_the_difficulty_is_the_one_that_was_written_down(found):
    """The table of docs/simulator.md. A change here moves every result that was tuned or published on the simulator."""
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    frozen = {name: float(value) for name, value in re.findall(r"^\| (\w+) \| (-?[\d.]+) \|", page, re.MULTILINE)}
    assert set(frozen) == set(found._fields)
    assert found._asdict() == pytest.approx(frozen, abs=0.001)


def test_the_ceiling_is_where_published_judges_are(found):
    """Exact agreement 0.83 +- 0.02 (Pinterest's successor 0.829), tau 0.65 +- 0.03 (Pinterest 0.652)."""
    assert found.exact == pytest.approx(0.83, abs=0.02)
    assert found.tau == pytest.approx(0.65, abs=0.03)


def test_the_true_difference_is_the_difference_of_true_levels(market, runs):
    titles, every = runs
    assert market.delta(titles, every) == pytest.approx(market.levels(every).mean() - market.levels(titles).mean())
    assert market.delta(every, titles) == pytest.approx(-market.delta(titles, every))


# --- the truth ------------------------------------------------------------------------------------------------------


def test_the_truth_of_a_pair_does_not_depend_on_what_is_asked_beside_it(small, pairs):
    queries, docs = pairs
    grades = small.truth(queries, docs)
    assert small.truth(queries[::-1], docs[::-1]).tolist() == grades[::-1].tolist()
    assert [int(small.truth([q], [d])[0]) for q, d in zip(queries[:50], docs[:50], strict=True)] == grades[:50].tolist()
    assert Marketplace(seed=3, items=1500, queries=200).truth(queries, docs).tolist() == grades.tolist()
    assert Marketplace(seed=4, items=1500, queries=200).docs["title"].to_pylist() != small.docs["title"].to_pylist()


def test_an_unknown_pair_has_no_grade(small):
    known = small.queries["query_id"][0].as_py()
    assert small.truth([known, "nobody", known], ["i999999", "i000000", "x"]).tolist() == [-1, -1, -1]
    with pytest.raises(InputError, match="not in this marketplace"):
        small.probabilities(["nobody"], ["i000000"])


def test_the_probabilities_of_text_are_calibrated(market, runs):
    """Each grade on the 123,000 results of the titles: means by forecast, weighted by query, within 4 standard errors."""
    titles, _ = runs
    query, item, _ = market.numbers(titles)
    truth, probs = market.relevance.truth(query, item), market.relevance.probabilities(query, item)
    assert probs.sum(axis=1) == pytest.approx(np.ones(len(query)))
    for grade in range(5):
        bins = np.digitize(probs[:, grade], [0.05, 0.2, 0.4, 0.6, 0.8])
        for b in np.unique(bins):
            rows = bins == b
            error = np.bincount(query[rows], (truth[rows] == grade) - probs[rows, grade])
            size = np.bincount(query[rows])
            error, size = error[size > 0], size[size > 0]
            assert abs(error.sum()) < 4 * np.sqrt((error**2).sum()) + 5


def test_nobody_who_reads_text_agrees_more_often_than_the_best_judge(market, runs):
    """The likeliest grade against the runner-up and the rounded mean, on the same pairs."""
    query, item, _ = market.numbers(runs[0])
    truth, probs = market.relevance.truth(query, item), market.relevance.probabilities(query, item)
    exact = np.mean(probs.argmax(axis=1) == truth)
    assert exact > np.mean(np.argsort(probs, axis=1)[:, -2] == truth)
    assert exact > np.mean(np.round(probs @ np.arange(5)) == truth)
    assert exact == pytest.approx(probs.max(axis=1).mean(), abs=0.01)


def test_the_best_text_judge_is_a_judge(small):
    ids = small.queries["query_id"][:5].to_pylist()
    table = pa.table({"query_id": ids, "query": ["x"] * 5, "doc_id": ["i000001"] * 5, "text": ["y"] * 5})
    said = list(BestTextJudge(small)(pairs_of(table)))
    assert [j.query_id for j in said] == ids
    assert all(j.relevance == int(np.argmax(j.probs)) and j.fingerprint.startswith("simulated:") for j in said)


def merits(small: Marketplace, wish: dict[str, object], **item: object) -> float:
    """The merit of an item for a query, both made by hand out of the first ones."""
    demand, catalogue = small.demand, small.catalogue
    blank = {"kind": -1, "broad": -1, "brand": -1, "colour": -1, "material": -1, "people": -1, "with_": -1, "without": -1}
    for name, value in {**blank, "measure": np.nan, "ceiling": np.nan, **wish}.items():
        getattr(demand, name)[0] = value
    for name, value in {"price": 10.0, **item}.items():
        if name == "features":
            catalogue.features[0] = 0
            for feature, state in value.items():
                catalogue.features[0, feature] = state
        else:
            getattr(catalogue, name)[0] = value
    demand.department[0] = small.words.department_of[demand.kind[0]]
    return float(small.relevance.merit(np.array([0]), np.array([0]))[0])


def test_what_the_texts_say_decides_the_merit():
    """A chair of the right colour, one of another, an accessory with the chair's words, and "without"."""
    here = Marketplace(seed=5, items=300, queries=30)
    kinds = [k.key for k in here.words.kinds]
    chair, cushion, dress, bench = (kinds.index(name) for name in ("garden_chair", "chair_cushion", "dress", "garden_bench"))
    item = {
        "kind": chair,
        "colour": 3,
        "material": here.words.kinds[chair].materials[0],
        "people": -1,
        "measure": 48.0,
        "brand": 0,
    }
    right = merits(here, {"kind": chair, "colour": 3}, **item, features={})
    assert right > 3.5
    assert right > merits(here, {"kind": chair, "colour": 9}, **item, features={}) > 2.4
    assert merits(here, {"kind": chair}, **item, features={}) > merits(here, {"kind": bench}, **item, features={})
    assert merits(here, {"kind": bench}, **item, features={}) > merits(here, {"kind": cushion}, **item, features={})
    assert merits(here, {"kind": cushion}, **item, features={}) > merits(here, {"kind": dress}, **item, features={})
    armrests = here.words.kinds[chair].features[0]
    without = [merits(here, {"kind": chair, "without": armrests}, **item, features={armrests: s}) for s in (-1, 0, 1)]
    with_ = [merits(here, {"kind": chair, "with_": armrests}, **item, features={armrests: s}) for s in (1, 0, -1)]
    assert without == sorted(without, reverse=True)
    assert without[0] - without[2] > 1
    assert with_ == sorted(with_, reverse=True)
    sizes = [merits(here, {"kind": chair, "measure": 48.0}, **{**item, "measure": m}, features={}) for m in (48.0, 52.0, 60.0)]
    assert sizes == sorted(sizes, reverse=True)
    assert merits(here, {"kind": chair, "ceiling": 5.0}, **item, features={}) < right
    assert merits(here, {"kind": chair, "brand": 5}, **item, features={}) < right


# --- the catalogue, the queries and the log -------------------------------------------------------------------------


def test_items_and_queries_are_tables_of_their_kind(market):
    assert conform(market.docs, "docs", name="docs").num_rows == 20_000
    assert conform(market.queries, "queries", name="queries").num_rows == 5_000
    assert len(set(market.queries["query"].to_pylist())) == 5_000
    assert set(market.docs["seller_kind"].to_pylist()) == {"established", "small", "new"}
    for language in ("en", "de"):
        assert market.docs["language"].to_pylist().count(language) > 8_000
        assert market.queries["language"].to_pylist().count(language) > 1_800


def test_every_fact_of_an_item_that_counts_is_in_its_text(small):
    """Colour, material and people by word, in the item's language."""
    words, catalogue = small.words, small.catalogue
    for i, row in enumerate(small.docs.to_pylist()):
        text = " ".join(row[field] for field in ALL_FIELDS).casefold()
        language = DE if row["language"] == "de" else EN
        facts = (catalogue.colour, words.colours), (catalogue.material, words.materials), (catalogue.people, words.people)
        for values, names in facts:
            if values[i] >= 0:
                assert names[values[i]][language].casefold() in text
        for feature in np.flatnonzero(catalogue.features[i] == -1):
            assert words.feature(feature, language).casefold() in text
        assert row["price"] == f"EUR {catalogue.price[i]:.2f}"


def test_the_log_says_of_each_query_how_many_people_ask_it(market):
    found, facts = segments(market.log, columns={"user": "user_id"})
    asked = {row["query_id"]: row for row in found.to_pylist()}
    stated = market.queries.to_pylist()
    assert set(asked) == {row["query_id"] for row in stated}
    assert all(asked[row["query_id"]]["users"] == row["users"] for row in stated)
    assert all(asked[row["query_id"]]["impressions"] == row["impressions"] for row in stated)
    assert all(asked[row["query_id"]]["interest"] == row["interest"] for row in stated)
    assert facts.written > facts.queries == 5_000


def test_each_popularity_segment_has_queries_enough(market):
    sizes = segments(market.log).facts.sizes
    assert sizes["single"] > 0.3 * 5_000
    assert min(sizes.values()) >= 100
    assert list(sizes) == ["head", "torso", "tail", "single"]


def test_clicks_follow_position_relevance_popularity_and_price(market, runs):
    """Click rates of the first three ranks by grade, and within a grade by what else differs."""
    shown = runs[0].filter(pa.compute.less_equal(runs[0]["rank"], 10))
    clicks = market.clicks(shown)
    by_rank = np.bincount(clicks["rank"].to_numpy())[1:]
    assert len(by_rank) == 10
    assert (np.diff(by_rank) < 0).all()
    count = Counter(zip(clicks["query_id"].to_pylist(), clicks["doc_id"].to_pylist(), strict=True))
    keys = zip(shown["query_id"].to_pylist(), shown["doc_id"].to_pylist(), strict=True)
    clicked = np.array([count[key] for key in keys])
    query = pa.compute.index_in(shown["query_id"], value_set=market.queries["query_id"].combine_chunks()).to_numpy()
    item = np.array([int(doc_id[1:]) for doc_id in shown["doc_id"].to_pylist()])
    times = market.queries["impressions"].to_numpy()[query]
    grade, top = market.relevance.truth(query, item), shown["rank"].to_numpy() <= 3

    def rate(rows: np.ndarray) -> float:
        return clicked[rows & top].sum() / times[rows & top].sum()

    rates = [rate(grade == g) for g in range(5)]
    assert rates == sorted(rates)
    assert rates[4] > 3 * rates[0]
    catalogue = market.catalogue
    usual = np.bincount(catalogue.kind, np.log(catalogue.price)) / np.bincount(catalogue.kind)
    dear = (np.log(catalogue.price) - usual[catalogue.kind])[item] > 0
    known = catalogue.popularity[item] > np.median(catalogue.popularity)
    assert rate((grade == 4) & known) > rate((grade == 4) & ~known)
    assert rate((grade == 4) & ~dear) > rate((grade == 4) & dear)


def test_one_search_clicks_alike_in_any_ranking(small):
    run = BM25(small.docs, ("title",)).search(small.queries, k=10)
    clicks = small.clicks(run)
    assert clicks.equals(small.clicks(run.take(np.arange(run.num_rows)[::-1])))
    assert set(clicks["search_id"].to_pylist()) <= set(small.log["search_id"].to_pylist())


def test_german_colours_take_the_ending_of_their_noun():
    words = vocabulary()
    names = [pair[0] for pair in words.colours]
    blue, pink = names.index("blue"), names.index("pink")
    assert [words.colour(blue, DE, gender) for gender in "mfnp"] == ["blauer", "blaue", "blaues", "blaue"]
    assert words.colour(pink, DE, "m") == "rosa"
    assert words.colour(blue, EN, "m") == "blue"


def test_numbers_are_written_as_their_language_writes_them():
    words = vocabulary()
    kettle = next(k for k in words.kinds if k.key == "kettle")
    assert [words.amount(kettle, 1.5, language) for language in (EN, DE)] == ["1.5 l", "1,5 l"]


@pytest.mark.parametrize(
    ("items", "queries", "message"), [(10, 5, "at least 100"), (200, 0, "at least 100"), (100, 10_000_000, "fewer queries")]
)
def test_a_marketplace_that_cannot_be_is_refused(items, queries, message, monkeypatch):
    monkeypatch.setattr(demand, "MOST_TRIES", 1)
    with pytest.raises(InputError, match=message):
        Marketplace(items=items, queries=queries)
