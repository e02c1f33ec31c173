"""Numbers in bands with names, and whether a judge's errors are uneven by them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.cards.bands import banded
from germane.pipeline.check import check
from germane.types import InputError, JudgeCard

numbers = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(0, 9)), min_size=1, max_size=60)


@given(numbers)
def test_equal_values_are_in_one_band_and_bands_are_in_order(values):
    found = banded(values)
    if found is None:
        assert len({float(v) for v in values if v is not None}) <= 5
        return
    assert len(found.names) == len(values)
    assert set(found.names) <= set(found.order)
    place = {name: at for at, name in enumerate(found.order)}
    assert len(place) == len(found.order)
    there = sorted((float(v), place[name]) for v, name in zip(values, found.names, strict=True) if v is not None)
    assert [at for _, at in there] == sorted(at for _, at in there)
    assert len({v for v, _ in there}) == len(set(there))
    assert all((name == "(none)") == (v is None) for v, name in zip(values, found.names, strict=True))


def test_bands_are_quarters_with_names_that_can_be_read():
    prices = [*np.linspace(1, 100, 100), None, float("nan")]
    assert banded(prices).order == ("up to 25.8", "over 25.8 to 50.5", "over 50.5 to 75.2", "over 75.2", "(none)")
    counts = [int((banded(prices).names == name).sum()) for name in banded(prices).order]
    assert counts == [25, 25, 25, 25, 2]
    assert banded([1, 2, 3, 3, 2, 1]) is None
    assert banded([0] * 90 + list(range(10))).order == ("up to 0", "over 0")


QUERIES, DOCS = 60, 8


def tables(uneven):
    """A judge with one error in four, or, for documents above a price of 50, two grades too kind in half."""
    rng = np.random.default_rng(2)
    ids = [(f"q{q:02}", f"d{q}-{d}") for q in range(QUERIES) for d in range(DOCS)]
    price = rng.uniform(1, 100, len(ids)).round(2)
    truth = rng.integers(0, 4, len(ids))
    said = np.where(rng.random(len(ids)) < 0.25, np.clip(truth + rng.choice([-1, 1], len(ids)), 0, 3), truth)
    if uneven:
        said = np.where((price > 50) & (rng.random(len(ids)) < 0.5), np.minimum(said + 2, 3), said)
    columns = {"query_id": [q for q, _ in ids], "doc_id": [d for _, d in ids]}
    who = {"judge": ["llm"] * len(ids), "fingerprint": ["f1"] * len(ids), "scale": ["trec"] * len(ids)}
    docs = {"doc_id": columns["doc_id"], "title": ["w " * int(n) for n in rng.integers(1, 90, len(ids))]}
    docs |= {"price": [None if at % 7 == 0 else float(p) for at, p in enumerate(price)]}
    queries = {"query_id": [f"q{q:02}" for q in range(QUERIES)], "query": ["word " * (1 + q % 4) for q in range(QUERIES)]}
    return (
        pa.table(columns | {"relevance": truth}),
        pa.table(columns | {"relevance": said} | who),
        pa.table(docs),
        pa.table(queries),
    )


def card(uneven=False, **options):
    gold, said, docs, queries = tables(uneven)
    return check(gold, said, scale="trec", **{"docs": docs, "queries": queries} | options)


def test_a_column_of_numbers_is_split_in_bands_and_missing_ones_are_a_band():
    made = card(by=["price"])
    names = [s.name for s in made.slices]
    assert names[0].startswith("up to ")
    assert names[3].startswith("over ")
    assert names[-1] == "(none)"
    assert len(names) == 5
    assert sum(s.found["exact"].n for s in made.slices) == QUERIES * DOCS


def test_lengths_of_texts_and_queries_are_dimensions_of_their_own():
    made = card(by=["length", "query length"])
    assert [s.name for s in made.slices if s.dimension == "query length"] == ["1 word", "2 words", "3 words", "4 words"]
    assert next(s.name for s in made.slices if s.dimension == "length").startswith("up to ")
    gold, said, docs, _ = tables(False)
    texts = {"query": ["x"] * docs.num_rows, "text": docs["title"], "query_id": gold["query_id"], "doc_id": gold["doc_id"]}
    judged = check(gold, said, scale="trec", pairs=pa.table(texts), by=["length"])
    assert len(judged.slices) == 4
    for by, complaint in (("length", "--by length needs the texts"), ("query length", "needs the queries' texts")):
        with pytest.raises(InputError, match=complaint):
            check(gold, said, scale="trec", by=[by])
    other = pa.table({name: pa.array(["x"]) for name in ("query_id", "doc_id", "query", "text")})
    with pytest.raises(InputError, match="none of gold's pairs has a text"):
        check(gold, said, scale="trec", pairs=other, by=["length"])


def test_uneven_errors_are_found_and_even_ones_are_not():
    uneven = card(uneven=True, by=["price", "length", "query length"])
    verdicts = {(u.dimension, u.statistic): u.verdict for u in uneven.unevenness}
    assert verdicts["price", "grade error"] == verdicts["price", "exact"] == "uneven"
    assert verdicts["length", "grade error"] == verdicts["query length", "exact"] == "not shown"
    (price,) = [u for u in uneven.unevenness if (u.dimension, u.statistic) == ("price", "grade error")]
    assert price.q >= price.p
    assert "(none)" in price.bands
    assert price.bands[next(name for name in price.bands if name.startswith("over 7"))] > 0.4
    assert {u.verdict for u in card(by=["price", "length", "query length"]).unevenness} == {"not shown"}
    assert JudgeCard.from_json(uneven.to_json()) == uneven


def test_the_card_says_in_words_by_what_errors_are_uneven():
    from germane import report

    for text in (report.card_html(card(uneven=True, by=["price"])), report.card_markdown(card(uneven=True, by=["price"]))):
        assert "Errors are uneven by price: from " in text
    assert "Not shown to be uneven by price" in report.card_markdown(card(by=["price"]))
