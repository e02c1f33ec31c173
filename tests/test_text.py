import hashlib
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane import sources
from germane.text import (
    Composed,
    Cut,
    TextPlan,
    clip,
    compose,
    compose_table,
    document_text,
    document_texts,
    pair_digest,
    query_digest,
    text_fields,
    words,
)
from germane.text.composing import one_line
from germane.text.duplicates import near, shingles
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


def test_fields_that_are_known_come_in_their_order_and_others_after_them():
    fields = {"wash": "cold", "description": "soft", "colour": "red", "brand": "X", "title": "Sock", "caption": "a sock"}
    names = [line.partition(":")[0] for line in document_text(fields).splitlines()]
    assert names == ["title", "brand", "colour", "description", "caption", "wash"]


def test_a_list_is_cut_between_its_entries_and_what_was_cut_is_said():
    found = compose({"tags": ["red wine", None, "", "white\nwine", "beer"]}, TextPlan(budgets={"tags": 24}))
    assert found == Composed("tags: red wine, white wine …", (Cut("tags", 20, 26),))
    assert str(found.cuts[0]) == "tags 20/26"
    assert compose({"tags": ["red wine", "beer"]}) == Composed("tags: red wine, beer")
    assert compose({"tags": ["an entry too long to keep"]}, TextPlan(budgets={"tags": 12})).text == "tags: an entry …"
    assert compose({"tags": []}) == Composed("")


def test_a_field_that_is_a_list_by_its_name_is_cut_between_entries_though_it_came_as_one_text():
    assert document_text({"category": "Home, Garden, Chairs"}, budgets={"category": 17}) == "category: Home, Garden …"
    bullets = "Soft wool.\nWash it cold, by hand.\nMade in Wales."  # sentences, though their field is a list elsewhere
    assert document_text({"bullet_points": bullets}) == "bullet_points: Soft wool. Wash it cold, by hand. Made in Wales."
    assert document_text({"bullet_points": bullets}, budgets={"bullet_points": 29}).endswith("cold, by …")
    assert (
        document_text({"bullet_points": bullets.splitlines()}, budgets={"bullet_points": 29}) == "bullet_points: Soft wool. …"
    )
    assert document_text({"wash": "Home, Garden, Chairs"}, budgets={"wash": 19}) == "wash: Home, Garden, …"


def test_ids_and_addresses_are_never_text_since_some_give_labels_away():
    fields = {"title": "Chair", "esci_query_ids": ["99", "606"], "image_url": "http://x", "url": "http://y", "shop_id": "7"}
    assert document_text(fields) == "title: Chair"
    table = pa.table({"doc_id": ["a"], **{name: [value] for name, value in fields.items()}})
    assert text_fields(table) == ["title"]
    assert document_texts(table).to_pylist() == ["title: Chair"]
    with pytest.raises(InputError, match="'esci_query_ids' is never text"):
        document_texts(table, order=("title", "esci_query_ids"))


def test_real_products_are_text_without_what_gives_their_labels_away(data):
    raw = pq.read_table(data("esci_us_120") / "products.parquet")
    assert "esci_query_ids" in raw.column_names
    for table in (raw, sources.read_docs(data("esci_us_120") / "products.parquet")):
        assert [n for n in text_fields(table) if "id" in n or "url" in n] == []
        found = compose_table(table.slice(0, 300), TextPlan(budgets={"category": 30}))
        assert not any("esci" in text or "query_ids" in text for text in found.text.to_pylist())
        assert found.plan.order == ("title", "brand", "category", "color", "bullet_points", "description")
        assert found.shares["category"] > 0.3
    first = raw.slice(0, 300)
    for row, text in zip(first.to_pylist(), compose_table(first, TextPlan(("category",), {"category": 60})).text, strict=True):
        kept = text.as_py().removeprefix("category: ")
        assert not kept.endswith(" …") or kept[:-2] in [", ".join(row["category"][:i]) for i in range(1, 9)]


def test_a_script_without_spaces_is_cut_where_its_budget_ends():
    assert clip("Nike " + "靴" * 90, 60) == "Nike " + "靴" * 53 + " …"


def test_budgets_count_words():
    found = compose({"title": "one two three four", "description": "five six"}, TextPlan(budgets={"title": 2}, unit="words"))
    assert found == Composed("title: one two …\ndescription: five six", (Cut("title", 2, 4),))
    found = compose({"category": ["Home", "Garden", "Garden chairs"]}, TextPlan(budgets={"category": 3}, unit="words"))
    assert found == Composed("category: Home, Garden …", (Cut("category", 2, 4),))
    assert TextPlan(unit="words").budget("title") == 50
    assert compose({"title": "one", "description": "two"}, TextPlan(budgets={"title": 0})).text == "description: two"


def test_a_total_takes_from_the_last_fields_first():
    fields = {"title": "one two three", "brand": "four five", "note": "six seven eight nine"}
    assert compose(fields, TextPlan(unit="words", total=8)) == Composed(
        "title: one two three\nbrand: four five\nnote: six …"[: -len("\nnote: six …")], (Cut("note", 0, 4),)
    )
    found = compose(fields, TextPlan(unit="words", total=9))
    assert found.text == "title: one two three\nbrand: four five\nnote: six …"
    assert found.cuts == (Cut("note", 1, 4),)
    assert compose(fields, TextPlan(unit="words", total=12)).cuts == ()


@given(st.dictionaries(st.sampled_from("abcde"), st.text(max_size=60) | st.lists(st.text(max_size=20))), st.integers(0, 99))
def test_a_text_keeps_its_total_and_one_line_a_field(fields, total):
    found = compose(fields, TextPlan(total=total))
    assert len(found.text) <= total
    names = [line.partition(": ")[0] for line in found.text.splitlines()]
    assert names == [name for name in fields if name in names]
    for cut in found.cuts:
        assert 0 <= cut.kept < cut.of
    assert compose(fields).text.count("\n") == max(sum(bool(one_line(v).text) for v in fields.values()) - 1, 0)


def test_budgets_count_the_tokens_of_a_named_tokenizer(tokenizer):
    plan = TextPlan(budgets={"title": 3}, unit="tokens", tokenizer=str(tokenizer))
    found = compose({"title": "red chairs of wood"}, plan)
    assert found == Composed("title: red …", (Cut("title", 1, 5),))
    assert compose({"title": "red chairs"}, plan).cuts == ()
    with pytest.raises(InputError, match="--tokens NAME"):
        compose({"title": "red"}, TextPlan(unit="tokens"))
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        compose({"title": "red"}, TextPlan(unit="tokens", tokenizer=str(tokenizer.parent)))
    with pytest.raises(InputError, match="'bytes': expected characters, words, tokens"):
        compose({"title": "red"}, TextPlan(unit="bytes"))


def test_a_real_tokenizer_counts_at_least_what_the_whole_text_has(data):
    folder = Path(os.environ.get("GERMANE_MODELS") or Path.home() / ".cache/germane/models")
    products = pq.read_table(data("esci_us_120") / "products.parquet").slice(0, 200)
    for name in ("all-MiniLM-L6-v2", "multilingual-e5-small"):
        if not (folder / name / "tokenizer.json").is_file():
            pytest.skip(f"the model {name} is not in {folder}: set GERMANE_MODELS")
        plan = TextPlan(budgets={"bullet_points": 40}, unit="tokens", tokenizer=str(folder / name), total=96)
        found, unit = compose_table(products, plan), plan.counter()
        assert max(len(unit.ends(text)) for text in found.text.to_pylist()) <= 96
        assert found.shares["bullet_points"] > 0.5
        assert unit.ends("word " * 300)[-1] >= 1499  # not truncated at the length that the model was trained at


def test_the_digest_of_a_plan_changes_with_whatever_decides_a_text_and_with_nothing_else(tokenizer, tmp_path):
    plans = [TextPlan(), TextPlan(("title",)), TextPlan(("title",), {"title": 9}), TextPlan(unit="words"), TextPlan(total=9)]
    plans += [TextPlan(("title", "brand")), TextPlan(("brand", "title")), TextPlan(budgets={"wash": 9})]
    plans += [TextPlan(unit="tokens", tokenizer=str(tokenizer))]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert TextPlan(("title",), {"title": 300}).digest == TextPlan(("title",)).digest
    moved = shutil.copytree(tokenizer, tmp_path / "elsewhere")
    assert TextPlan(unit="tokens", tokenizer=str(moved)).digest == plans[-1].digest
    for plan in plans:
        assert TextPlan.from_dict(json.loads(json.dumps(plan.to_dict()))).digest == plan.digest


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"budgets": {"title": -1}}, "a budget of -1 characters for title: expected a whole number, 0 or more"),
        ({"total": 1.5}, "a budget of 1.5 characters for in total"),
        ({"order": ("title", "title")}, "name each once"),
        ({"order": ("title",), "budgets": {"brand": 3}}, "a budget for 'brand', which is not among the fields title"),
    ],
)
def test_plans_that_make_no_sense_are_refused(wrong, complaint):
    with pytest.raises(InputError, match=complaint):
        TextPlan(**wrong)


@pytest.fixture
def tokenizer(tmp_path):
    """A folder with a word-piece tokenizer that cuts its texts, as saved models often do."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = ["[UNK]", "red", "chair", "##s", "of", "wood", "title", ":", "…"]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.enable_truncation(2)
    made.enable_padding(length=9, pad_id=0, pad_token="[UNK]")
    (tmp_path / "model").mkdir()
    made.save(str(tmp_path / "model" / "tokenizer.json"))
    return tmp_path / "model"


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


def brute_force(a, b, threshold, n):
    found = []
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            ours, theirs = shingles(one, n), shingles(other, n)
            if ours and theirs and (alike := len(ours & theirs) / len(ours | theirs)) >= threshold:
                found.append((i, j, pytest.approx(alike)))
    return found


texts = st.lists(st.lists(st.sampled_from(["red", "Red,", "oak", "a", "chair"]), max_size=7).map(" ".join), max_size=8)


@given(texts, texts, st.sampled_from([0.2, 0.5, 2 / 3, 0.8, 1.0]), st.integers(1, 3))
def test_near_duplicates_are_exactly_those_of_comparing_all(a, b, threshold, n):
    found = near(a, b, threshold, n=n)
    assert list(zip(found.a.tolist(), found.b.tolist(), found.similarity.tolist(), strict=True)) == brute_force(
        a, b, threshold, n
    )


def test_a_similarity_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="similarity of 0"):
        near(["a"], ["a"], 0)
