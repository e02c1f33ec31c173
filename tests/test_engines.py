import numpy as np
import pyarrow as pa
import pytest

from germane.engines import BM25, Engine, unanswered
from germane.types import InputError


def docs(**titles: str) -> pa.Table:
    return pa.table({"doc_id": list(titles), "title": list(titles.values())})


def queries(*texts: str) -> pa.Table:
    return pa.table({"query_id": [f"q{i}" for i in range(len(texts))], "query": list(texts)})


CHAIRS = docs(a="blue garden chair", b="garden chair", c="blue vase", d="oak table", e="garden chair")


def ranked(run: pa.Table, query_id: str = "q0") -> list[str]:
    return [row["doc_id"] for row in run.to_pylist() if row["query_id"] == query_id]


def test_the_document_with_all_words_comes_first_and_one_without_any_is_no_result():
    assert ranked(BM25(CHAIRS).search(queries("blue garden chair"))) == ["a", "e", "b", "c"]


def test_scores_are_bm25_by_hand():
    """Lucene's form: idf ln(1 + (N - n + 0.5) / (n + 0.5)), saturation tf / (tf + k1 (1 - b + b length / mean))."""
    run = BM25(docs(a="red red shoe", b="red hat"), k1=1.2, b=0.5).search(queries("shoe red"))
    mean, idf_red, idf_shoe = 2.5, np.log(1 + 0.5 / 2.5), np.log(1 + 1.5 / 1.5)
    first = idf_red * 2 / (2 + 1.2 * (0.5 + 0.5 * 3 / mean)) + idf_shoe * 1 / (1 + 1.2 * (0.5 + 0.5 * 3 / mean))
    second = idf_red * 1 / (1 + 1.2 * (0.5 + 0.5 * 2 / mean))
    assert run["doc_id"].to_pylist() == ["a", "b"]
    assert run["score"].to_pylist() == pytest.approx([first, second], rel=1e-6)


def test_ties_go_to_the_larger_doc_id_also_where_the_page_is_cut():
    same = docs(**{f"d{i:02d}": "garden chair" for i in range(30)})
    assert ranked(BM25(same).search(queries("chair"), k=3)) == ["d29", "d28", "d27"]


def test_the_order_of_documents_and_of_query_words_does_not_matter():
    rng = np.random.default_rng(3)
    words = np.array([f"w{i}" for i in range(40)])
    table = docs(**{f"d{i}": " ".join(rng.choice(words, 6)) for i in range(200)})
    shuffled = table.take(rng.permutation(200))
    there = BM25(table).search(queries("w1 w2 w3 w4", "w7 w9"), k=20)
    back = BM25(shuffled).search(queries("w4 w3 w2 w1", "w9 w7"), k=20)
    assert there.equals(back)


def test_a_page_is_the_beginning_of_a_longer_page():
    rng = np.random.default_rng(4)
    table = docs(**{f"d{i}": " ".join(rng.choice(["a", "b", "c", "d"], 3)) for i in range(100)})
    engine = BM25(table)
    assert ranked(engine.search(queries("a b"), k=100))[:7] == ranked(engine.search(queries("a b"), k=7))


def test_a_query_without_a_match_has_no_rows_and_is_counted():
    asked = queries("xylophone", "chair", "?!", "")
    run = BM25(CHAIRS).search(asked)
    assert set(run["query_id"].to_pylist()) == {"q1"}
    assert unanswered(asked, run).to_pylist() == ["q0", "q2", "q3"]


def test_ranks_count_from_one_in_each_query():
    run = BM25(CHAIRS).search(queries("chair", "blue"))
    assert run["rank"].to_pylist() == [1, 2, 3, 1, 2]
    assert run.schema.types == [pa.string(), pa.string(), pa.float64(), pa.int32()]


def test_only_the_candidates_of_each_query_are_ranked():
    pool = pa.table({"query_id": ["q0", "q0", "q0", "elsewhere"], "doc_id": ["b", "c", "d", "a"]})
    run = BM25(CHAIRS).search(queries("blue garden chair", "chair"), candidates=pool)
    assert ranked(run) == ["b", "c", "d"]  # d has no word of the query: it is last, and not left out
    assert run["score"].to_pylist()[2] == 0
    assert ranked(run, "q1") == []


def test_stop_words_are_not_searched():
    table = docs(a="the chair of the garden", b="the the the")
    assert ranked(BM25(table).search(queries("the chair"))) == ["a", "b"]
    assert ranked(BM25(table, stopwords="english").search(queries("the chair"))) == ["a"]
    with pytest.raises(InputError, match="stopwords 'klingon' are not known"):
        BM25(table, stopwords="klingon")


def test_german_and_greek_words_match_whatever_their_case():
    table = docs(a="Gartenstühle GROSSE Größe", b="ΣΟΦΟΣ")
    engine = BM25(table)
    assert ranked(engine.search(queries("gartenSTÜHLE grösse"))) == ["a"]
    assert ranked(engine.search(queries("σοφος"))) == ["b"]


def test_all_fields_are_searched_when_none_is_named_and_empty_ones_do_no_harm():
    table = pa.table({"doc_id": ["a", "b"], "title": ["chair", "table"], "colour": [None, "blue"], "price": [3.0, 4.0]})
    engine = BM25(table, None)
    assert engine.fields == ("title", "colour")
    assert ranked(engine.search(queries("blue"))) == ["b"]


def test_the_origin_says_what_made_the_run():
    engine: Engine = BM25(CHAIRS, k1=0.9)
    assert engine.origin["k1"] == 0.9
    assert engine.origin["fields"] == ["title"]
    assert engine.name == "BM25 on title"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BM25(CHAIRS, ("brand",)), "no field 'brand'"),
        (lambda: BM25(CHAIRS.slice(0, 0)), "empty"),
        (lambda: BM25(docs(a="?", b="")), "no document has a word"),
        (lambda: BM25(pa.concat_tables([CHAIRS, CHAIRS])), "twice"),
        (lambda: BM25(CHAIRS).search(queries("chair"), k=0), "k is 0"),
        (lambda: BM25(CHAIRS).search(pa.concat_tables([queries("chair")] * 2)), "query_id twice"),
        (
            lambda: BM25(CHAIRS).search(queries("chair"), candidates=pa.table({"query_id": ["q0"], "doc_id": ["z"]})),
            "candidate 'z' of query 'q0'",
        ),
    ],
)
def test_what_cannot_be_searched_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
