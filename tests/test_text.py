import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.text import clip, document_text, document_texts, pair_digest, query_digest, words
from germane.types import InputError


def test_the_title_comes_first_and_empty_fields_say_nothing():
    text = document_text({"brand": "Ilmare", "description": " ", "title": "Chair", "colour": None})
    assert text == "title: Chair\nbrand: Ilmare"


def test_the_order_that_is_asked_for_wins_and_leaves_the_rest_out():
    assert document_text({"title": "Chair", "brand": "Ilmare", "size": "4"}, order=("size", "title")) == "size: 4\ntitle: Chair"


def test_a_field_over_its_budget_is_cut_between_words_and_marked():
    assert document_text({"title": "one two three"}, budgets={"title": 9}) == "title: one two …"
    assert document_text({"title": "x" * 400}) == "title: " + "x" * 298 + " …"


def test_line_breaks_in_a_field_cannot_pretend_to_be_another_field():
    assert document_text({"title": "Chair\nbrand: Ilmare\u2028x\x00y"}) == "title: Chair brand: Ilmare x y"


@given(st.text(max_size=80), st.integers(2, 60))
def test_a_clipped_text_keeps_its_budget_and_one_line(text, budget):
    line = clip(text, budget)
    assert len(line) <= budget
    assert len(line.splitlines()) <= 1


def test_a_table_gives_one_text_a_row_and_numbers_are_no_text():
    table = pa.table({"doc_id": ["a", "b"], "title": ["Chair", None], "price": [1.0, 2.0]})
    assert document_texts(table).to_pylist() == ["title: Chair", ""]
    with pytest.raises(InputError, match="no field 'brand'"):
        document_texts(table, order=("brand",))


def test_documents_without_any_text_column_have_empty_texts():
    assert document_texts(pa.table({"doc_id": ["a", "b"]})).to_pylist() == ["", ""]


def test_words_fold_case_width_and_composition():
    assert words("Stra\u00dfe STRASSE \uff21\uff22") == ["strasse", "strasse", "ab"]
    assert words("Stu\u0308hle") == words("Stühle")
    assert words("1.5 l - 42") == ["1", "5", "l", "42"]


def test_a_query_is_found_by_its_words_alone():
    assert query_digest("Größe  42") == query_digest("GRÖSSE-42")
    assert query_digest("size 42") != query_digest("size 4 2")
    assert query_digest("blue chair") == hashlib.sha256(b"blue chair").hexdigest()[:16]


def test_a_pair_is_found_by_both_its_texts():
    assert pair_digest("blue chair", "title: A chair") == pair_digest("Blue Chair", "Title: a chair")
    assert pair_digest("blue chair", "a chair") != pair_digest("blue", "chair a chair")
    assert pair_digest("blue chair", "") != query_digest("blue chair")
