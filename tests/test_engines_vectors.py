"""The student's vectors as an engine, and what it refuses."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_students import furniture, recipe, tiny_bert

from germane import sources, store
from germane.engines import unanswered
from germane.engines.vectors import Vectors, fitting
from germane.inference.vector_store import VectorStore
from germane.judges.two_tower import TwoTower
from germane.pipeline.collect import collect
from germane.pipeline.encode import encode
from germane.training.finishing import Lineage
from germane.types import InputError, Refusal

NASTY = (
    "'; DROP TABLE products; --",
    '{"match_all": {}}',
    'title:"x" AND (+red -chair) OR [1 TO *] ~2^9 \\',
    "red\x00chair",
    "🪑🔴",
    "red chair " * 1024,
    "‮chair",
)
TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("chair", "lamp", "sofa", "desk")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A student that has learned for three steps, a catalogue in which two documents have one text, and its vectors."""
    from germane.training import distil

    where = tmp_path_factory.mktemp("students")
    taught = Lineage(taught_by=("teacher",), fingerprints=("teacher:1",))
    distil.train(furniture(), None, where / "student", recipe=recipe(tiny_bert(where / "base")), lineage=taught)
    docs = {"doc_id": [f"d{i:02d}" for i in range(13)], "title": [*TITLES, "red chair"]}
    pq.write_table(pa.table(docs), where / "docs.parquet")
    pq.write_table(queries("red chair", "blue lamp"), where / "queries.parquet")
    encode(where / "docs.parquet", where / "student", where / "vectors", engine="onnx", store="int8")
    return where


@pytest.fixture(scope="module")
def engine(place):
    return Vectors(place / "student", place / "vectors")


def queries(*texts: str) -> pa.Table:
    return pa.table({"query_id": [f"q{i}" for i in range(len(texts))], "query": list(texts)})


def ranked(run: pa.Table, query_id: str = "q0") -> list[str]:
    return [row["doc_id"] for row in run.to_pylist() if row["query_id"] == query_id]


def test_documents_come_by_cosine_and_ties_by_id(place, engine):
    run = engine.search(queries("red chair", "green sofa"), k=5)
    student, vectors = TwoTower(place / "student", engine="onnx"), VectorStore(place / "vectors")
    ids = vectors.ids()
    q = student.encode_queries(["red chair", "green sofa"])[0]
    cosine = dict(zip(ids, vectors.take(vectors.rows(ids)).floats() @ q, strict=True))
    expected = sorted(sorted(ids, reverse=True), key=lambda doc_id: -np.float32(round(float(cosine[doc_id]), 5)))[:5]
    assert ranked(run) == expected
    assert expected.index("d12") + 1 == expected.index("d00")  # one text: the larger id first
    np.testing.assert_allclose(run["score"].to_pylist()[:5], [cosine[d] for d in expected], atol=1e-6)
    assert run["rank"].to_pylist() == [1, 2, 3, 4, 5] * 2
    assert run.schema.types == [pa.string(), pa.string(), pa.float64(), pa.int32()]


def test_it_ranks_by_its_own_scores_as_trec_eval_does(engine):
    run = engine.search(queries("red chair", "desk"), k=13)
    again = store.rank(run.drop_columns(["rank"]))
    assert again.to_pylist() == run.to_pylist()


def test_a_page_is_the_beginning_of_a_longer_one_and_k_may_pass_the_catalogue(engine):
    asked = queries("red chair")
    assert ranked(engine.search(asked, k=4)) == ranked(engine.search(asked, k=1000))[:4]
    assert len(ranked(engine.search(asked, k=1000))) == 13


def test_an_empty_query_has_no_results(engine):
    asked = queries("", "  ", "chair")
    run = engine.search(asked)
    assert unanswered(asked, run).to_pylist() == ["q0", "q1"]
    assert engine.failures == ()


@pytest.mark.parametrize("text", NASTY)
def test_nasty_queries_are_only_text(engine, text):
    assert len(ranked(engine.search(queries(text), k=3))) == 3


def test_a_query_of_which_the_tower_makes_no_number_has_failed_and_is_no_empty_page(place, monkeypatch):
    engine = Vectors(place / "student", place / "vectors")
    whole = engine.student.encode_queries

    def broken(texts):
        made = whole(texts)
        made[[text == "chair" for text in texts]] = np.nan
        return made

    monkeypatch.setattr(engine.student, "encode_queries", broken)
    run = engine.search(queries("chair", "lamp"), k=2)
    assert [failure.query_id for failure in engine.failures] == ["q0"]
    assert set(run["query_id"].to_pylist()) == {"q1"}


def test_the_nearest_are_ranked_by_expected_gain(place):
    engine = Vectors(place / "student", place / "vectors", rescore=6)
    near = ranked(Vectors(place / "student", place / "vectors").search(queries("red chair"), k=6))
    gains = engine.student.score_docs("red chair", near, engine.store).gains
    run = engine.search(queries("red chair"), k=4)
    assert sorted(gains, reverse=True)[:4] == pytest.approx(run["score"].to_pylist())
    assert set(ranked(run)) <= set(near)
    assert engine.origin["score"] == "expected gain of the 6 nearest"
    with pytest.raises(InputError, match="rescore=6 is less than k = 10"):
        engine.search(queries("red chair"), k=10)


def test_only_the_candidates_of_each_query_are_ranked(place, engine):
    pool = pa.table({"query_id": ["q0", "q0", "q0", "other"], "doc_id": ["d03", "d00", "d03", "d01"]})
    assert set(ranked(engine.search(queries("red chair", "lamp"), candidates=pool))) == {"d00", "d03"}
    assert ranked(engine.search(queries("red chair", "lamp"), candidates=pool), "q1") == []
    with pytest.raises(InputError, match="candidate 'nowhere' of query 'q0' has no vector"):
        engine.search(queries("red chair"), candidates=pa.table({"query_id": ["q0"], "doc_id": ["nowhere"]}))


def test_only_documents_of_the_catalogue_are_searched(place):
    engine = Vectors(place / "student", place / "vectors", docs=["d12", "d05", "d05", "sold out"])
    assert set(ranked(engine.search(queries("red chair")))) == {"d12", "d05"}
    assert (engine.origin["documents"], engine.origin["without_vector"]) == (2, 1)
    with pytest.raises(InputError, match="none of the 1 documents has a vector"):
        Vectors(place / "student", place / "vectors", docs=["sold out"])


def test_a_document_that_got_another_text_is_found_by_that_text_alone(place, tmp_path):
    student = TwoTower(place / "student", engine="onnx")
    vectors = student.store(tmp_path / "v")
    student.add(vectors, ["red chair", "blue lamp"], {"a": "red chair", "b": "blue lamp"})
    vectors.name({"a": "blue lamp"})
    run = Vectors(student, tmp_path / "v").search(queries("red chair"))
    assert sorted(ranked(run)) == ["a", "b"]
    assert len(set(run["score"].to_pylist())) == 1


def test_vectors_of_another_student_and_no_vectors_are_refused(place, tmp_path):
    from germane.training import distil

    distil.train(furniture(seed=5), None, tmp_path / "other", recipe=recipe(tiny_bert(tmp_path / "base", hidden_size=16)))
    with pytest.raises(InputError, match="vectors of another student"):
        Vectors(tmp_path / "other", place / "vectors")
    with pytest.raises(InputError, match="is no folder of vectors"):
        Vectors(place / "student", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    TwoTower(place / "student", engine="onnx").store(tmp_path / "empty")
    with pytest.raises(InputError, match="no document has a vector"):
        Vectors(place / "student", tmp_path / "empty")


def test_the_encoder_is_the_one_whose_vectors_are_stored(place, tmp_path):
    assert fitting(place / "student", place / "vectors").engine == "onnx"
    TwoTower(place / "student", engine="onnx-int8").store(tmp_path / "small")
    assert fitting(place / "student", tmp_path / "small").engine == "onnx-int8"


def test_collect_writes_its_run_and_names_the_models_that_ranked(place, tmp_path):
    out, folders = tmp_path / "r.parquet", {"student": place / "student", "vectors": place / "vectors"}
    made = collect(place / "queries.parquet", None, out, engine="vectors", k=3, **folders)
    assert (made.queries, made.unanswered, made.results) == (2, 0, 6)
    run = sources.read_run(out)
    about = TwoTower(place / "student", engine="onnx").about
    assert run.origin["models"] == [about.fingerprint, "teacher:1"]  # whom the comparison must not ask
    assert not collect(place / "queries.parquet", None, out, engine="vectors", k=3, **folders).made
    some = collect(place / "queries.parquet", place / "docs.parquet", out, engine="vectors", k=3, **folders)
    assert some.made


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"student": None}, "engine vectors needs a student and its vectors"),
        ({"vectors": None}, "engine vectors needs a student and its vectors"),
        ({"options": {"rescore": 2.5}}, "vectors's rescore is 2.5: expected a whole number"),
        ({"options": {"k1": 1.0}}, "vectors has no option 'k1': expected rescore"),
        ({"engine": "bm25"}, "engine bm25 searches a catalogue"),
        ({"engine": "hybrid"}, "engine hybrid searches a catalogue"),
        ({"engine": "solr"}, "engine 'solr' is unknown"),
        ({"runs": ("a.parquet",)}, "it is for --engine hybrid"),
        ({"failures": "ignore"}, "failures 'ignore': expected stop or list"),
    ],
)
def test_what_does_not_fit_together_is_said_and_nothing_is_written(place, tmp_path, changes, complaint):
    asked = {"engine": "vectors", "student": place / "student", "vectors": place / "vectors"} | changes
    with pytest.raises(InputError, match=complaint):
        collect(place / "queries.parquet", None, tmp_path / "r.parquet", **asked)
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_does_not_let_the_teacher_grade_what_its_student_ranked(place, tmp_path):
    from germane.pipeline.compare import compare

    out, folders = tmp_path / "r.parquet", {"student": place / "student", "vectors": place / "vectors"}
    collect(place / "queries.parquet", None, out, engine="vectors", k=3, **folders)
    collect(place / "queries.parquet", place / "docs.parquet", tmp_path / "bm25.parquet", k=3)
    collect(place / "queries.parquet", None, tmp_path / "rrf.parquet", engine="hybrid", runs=[out, tmp_path / "bm25.parquet"])
    pairs = [(q, f"d{i:02d}") for q in ("q0", "q1") for i in range(13)]
    said = {"query_id": [q for q, _ in pairs], "doc_id": [d for _, d in pairs], "relevance": [1] * 26}
    said |= {"judge": ["teacher"] * 26, "fingerprint": ["teacher:1"] * 26, "scale": ["three-level"] * 26}
    pq.write_table(pa.table(said), tmp_path / "said.parquet")
    for treatment in (out, tmp_path / "rrf.parquet"):
        with pytest.raises(Refusal, match="is of the judge's own lineage"):
            compare(tmp_path / "bm25.parquet", treatment, tmp_path / "said.parquet", scale="three-level", allow=("no-card",))
