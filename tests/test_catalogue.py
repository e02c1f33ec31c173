"""Searches made of a catalogue: grades that are right by construction."""

import pyarrow as pa
import pytest

from germane.scales import get
from germane.simulate import Marketplace
from germane.text import words
from germane.training.catalogue import catalogue
from germane.types import InputError

DOCS = Marketplace(items=1_500, queries=5).docs.select(["doc_id", "title", "brand", "description"])


@pytest.fixture(scope="module")
def made():
    return catalogue(DOCS, get("esci"), most=400, seed=1)


def test_a_product_answers_the_search_of_its_own_title_and_its_neighbours_lack_a_word(made):
    for query, text, grade in zip(made.query, made.text, made.grade.tolist(), strict=True):
        asked, _, unwanted = query.partition(" without ")
        there = [word in words(text) for word in asked.split()]
        if unwanted:
            assert all(there)
            assert (unwanted in words(text)) == (grade == 2)
        elif grade == 3:
            assert all(there)
        elif grade == 2:
            assert not all(there)
        else:
            assert grade == 0
            assert not any(there)


def test_every_grade_by_construction_occurs_and_no_other(made):
    assert set(made.grade.tolist()) == {0, 2, 3}
    assert made.judges == (("catalogue (by construction)", ""),)
    assert any(" without " in query for query in made.query)


def test_the_same_seed_gives_the_same_searches_and_an_empty_word_no_negations(made):
    assert catalogue(DOCS, get("esci"), most=400, seed=1).query == made.query
    assert catalogue(DOCS, get("esci"), most=400, seed=2).query != made.query
    assert not any(" without " in query for query in catalogue(DOCS, get("esci"), most=400, without="").query)


def test_a_catalogue_without_titles_or_neighbours_is_refused():
    with pytest.raises(InputError, match="docs have no column 'name' to make searches of"):
        catalogue(DOCS, get("esci"), title="name")
    with pytest.raises(InputError, match="documents have titles of four words worth searching by: at least 50"):
        catalogue(DOCS.slice(0, 20), get("esci"))
    with pytest.raises(InputError, match="0 documents"):
        catalogue(pa.table({"doc_id": ["a"], "title": pa.array([None], pa.string())}), get("esci"))
