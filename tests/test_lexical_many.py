"""Features of documents that were read before are those of their texts, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from germane.inference.vector_store import About, VectorStore
from germane.judges import lexical, lexical_counts, lexical_many, lexical_store
from germane.judges.lexical_store import LexicalStore
from germane.types import InputError

NASTY = [
    "title: Chair without the arms\nblue chair, no wheels; 100 ft hose of 2.5 inch, sugar-free",
    "title: \nonly a body",
    "",
    "!!! --- ???",
    "Kekse ohne Zucker, zuckerfrei\nnicht nicht nicht süß",
    "a a a a\na a a",
    "no no no chairs no chairs chairs chairs",
    "とても青い椅子です\n青い椅子 なし",
    "WH1000XM4 headphones 1,000 w/o case\nwh1000xm4 1.000,5 " + "9" * 400,
    "title: title: title\ntitle",
    "free free free range eggs, cage free\nfree",
    "ﬁne ﬀ Straße STRASSE İstanbul",
    'under_score snake_case 27" monitor 27 inch',
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") + " smile 😀😀",
    "running runner runners run\nrunn runni",
    "x\u2028y\x0bz\x1cw\ttab",
]
QUERIES = [
    "chair without arms", "blue chair", "chairs", "sugar free cookies", "zuckerfrei", "kekse ohne zucker", "a", "a a", "a a a",
    "no chairs", "chairs", "青い椅子", "椅子 なし", "wh1000xm4 headphones", "100 ft hose", "1,000 piece", "9" * 400, "title",
    "title title", "free", "cage free eggs", "fine", "strasse", "27 inch monitor", "monitor 28 inch", "running shoe", "runn",
    "y z", "😀", "", "  ", "!!!", "without", "arms arms", "hose 50 ft 100 gallons 2.5 inch",
    " ".join(f"word{i} {chr(97 + i % 26) * 5}" for i in range(40)), "no no", "nicht süß", "x y z w tab", "2 free",
]  # fmt: skip


def stored(folder, texts):
    store = VectorStore.create(folder, About("tower", 2, store="fp32", texts=True))
    store.add(texts, np.ones((len(texts), 2), dtype=np.float32))
    return store


def said(query, vectors, rows, weights=None):
    store = LexicalStore.of(vectors)
    heaviest = max(weights.values(), default=1.0) if weights else 1.0
    return lexical_many.features(query, np.asarray(rows), store, weights=weights, heaviest=heaviest)


@pytest.mark.parametrize("weights", [None, {"chair": 0.31, "blue": 1.7, "free": 0.1, "a": 0.2}])
def test_nasty_texts_have_the_features_that_their_words_have(tmp_path, weights):
    texts = list(dict.fromkeys(NASTY))
    vectors = stored(tmp_path, texts)
    assert LexicalStore.fill(vectors) == len(texts)
    rows = [*range(len(texts)), 3, 3, 0]
    for query in QUERIES:
        true = lexical.features([query] * len(rows), [texts[i] for i in rows], weights=weights)
        np.testing.assert_array_equal(said(query, vectors, rows, weights), true, err_msg=query)


def test_without_numba_the_same_is_counted_and_it_is_said_once(tmp_path, monkeypatch):
    vectors = stored(tmp_path, list(dict.fromkeys(NASTY)))
    LexicalStore.fill(vectors)
    rows = [*range(len(vectors)), 2]
    with_it = [said(query, vectors, rows) for query in QUERIES]
    monkeypatch.setattr(lexical_counts, "compiled", lambda _: None)
    lexical_counts._loop.cache_clear()
    try:
        with pytest.warns(UserWarning, match="numba is not there"):
            first = said(QUERIES[0], vectors, rows)
        np.testing.assert_array_equal(first, with_it[0])
        for query, there in zip(QUERIES, with_it, strict=True):
            np.testing.assert_array_equal(said(query, vectors, rows), there, err_msg=query)
    finally:
        lexical_counts._loop.cache_clear()


words = st.sampled_from(
    ["no", "without", "free", "a", "the", "chair", "chairs", "chai", "arms", "7", "7ft", "x1", "ft", "zuckerfrei"]
)
line = st.lists(words | st.text(max_size=3), max_size=12).map(" ".join)


@settings(max_examples=60)
@given(st.lists(line | st.tuples(line, line).map("\n".join), min_size=1, max_size=8, unique=True), st.lists(line, max_size=4))
def test_any_text_and_any_query(tmp_path_factory, texts, queries):
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    texts = list(dict.fromkeys(texts))
    vectors = stored(tmp_path_factory.mktemp("v"), texts)
    LexicalStore.fill(vectors)
    for query in queries:
        true = lexical.features([query] * len(texts), texts)
        np.testing.assert_array_equal(said(query, vectors, range(len(texts))), true)


def test_real_products_and_queries(tmp_path, data):
    import pyarrow.parquet as pq

    from germane.text import document_text

    folder = data("esci_us_120")
    rows = pq.read_table(folder / "products.parquet").slice(0, 400).to_pylist()
    fields = ("title", "brand", "color", "bullet_points", "description")
    texts = list(dict.fromkeys(document_text({name: row[name] or "" for name in fields}) for row in rows))
    queries = pq.read_table(folder / "queries.parquet")["query"].to_pylist()
    weights = lexical.idf(texts)
    vectors = stored(tmp_path, texts)
    LexicalStore.fill(vectors)
    ready = [lexical.read(text) for text in texts]
    for query in queries:
        true = lexical.features([query] * len(texts), ready, weights=weights)
        np.testing.assert_array_equal(said(query, vectors, range(len(texts)), weights), true, err_msg=query)


def test_a_store_grows_with_its_vectors_and_a_reader_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(lexical_store, "_TOGETHER", 3)
    monkeypatch.setattr(lexical_store, "_TAIL", 4)
    texts = [f"{text} {i}" for i, text in enumerate(NASTY)]
    vectors = stored(tmp_path, texts[:5])
    assert LexicalStore.of(vectors) is None
    LexicalStore.fill(vectors)
    early = LexicalStore.of(vectors)
    vectors.add(texts[5:], np.ones((len(texts) - 5, 2), dtype=np.float32))
    assert LexicalStore.fill(vectors) == len(texts) - 5
    assert LexicalStore.fill(vectors) == 0
    late = early.later(vectors)
    assert (len(early), len(late)) == (5, len(texts))
    for store, n in ((early, 5), (late, len(texts))):
        for query in QUERIES:
            found = lexical_many.features(query, np.arange(n), store)
            np.testing.assert_array_equal(found, lexical.features([query] * n, texts[:n]), err_msg=query)


def test_a_compacted_folder_is_read_anew(tmp_path):
    vectors = stored(tmp_path, ["red chair", "blue lamp"])
    vectors.name({"b": "blue lamp"})
    LexicalStore.fill(vectors)
    store = LexicalStore.of(vectors)
    vectors.compact(["b"])
    assert store.later(vectors) is None
    assert LexicalStore.fill(vectors) == 1
    assert said("blue lamp", vectors, [0])[0, 0] == 1.0
    assert [path.name for path in (tmp_path / "read").glob("*-1.*")] == []


def test_arrays_of_other_texts_and_changed_arrays_are_refused(tmp_path):
    import shutil

    one, other = stored(tmp_path / "a", ["red chair", "blue lamp"]), stored(tmp_path / "b", ["red chair", "green lamp"])
    LexicalStore.fill(one)
    shutil.copytree(tmp_path / "a" / "read", tmp_path / "b" / "read")
    with pytest.raises(InputError, match="was read of other texts than"):
        LexicalStore.of(other)
    path = tmp_path / "a" / "read" / "words-1.bin"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not what was written there"):
        LexicalStore.of(one)
