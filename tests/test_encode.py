"""Documents encoded once: by `encode`, by `label --vectors`, and scored by their ids."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from sample_students import furniture, recipe, tiny_bert

from germane import sources, store
from germane.inference.vector_store import VectorStore
from germane.judges import as_table, ask, pairs_of
from germane.judges import two_tower as towers
from germane.judges.two_tower import TwoTower
from germane.pipeline.encode import encode
from germane.pipeline.label import label
from germane.types import InputError

TITLES = [f"{colour} {thing} {n}" for n in range(3) for colour in ("red", "blue", "green") for thing in ("chair", "lamp")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student that has learned for three steps, and reads lexical features."""
    from germane.training import distil

    where = tmp_path_factory.mktemp("students")
    distil.train(furniture(), None, where / "student", recipe=recipe(tiny_bert(where / "base")))
    return where / "student"


@pytest.fixture
def few(monkeypatch):
    """Five texts go on disk together."""
    monkeypatch.setattr(towers, "CHUNK", 5)
    monkeypatch.setattr("germane.pipeline.encode.CHUNK", 5)


def catalogue(path, titles, ids=None):
    rows = {"doc_id": ids or [f"d{i}" for i in range(len(titles))], "title": titles}
    store.write_table(pa.table(rows), path, "docs", verb="import", parameters={})
    return path


def pairs_file(path, texts):
    rows = [
        (f"q{q}", query, f"d{i}", text) for q, query in enumerate(("red chair", "blue lamp")) for i, text in enumerate(texts)
    ]
    table = pa.table(dict(zip(("query_id", "query", "doc_id", "text"), map(list, zip(*rows, strict=True)), strict=True)))
    store.write_table(table, path, "pairs", verb="pairs", parameters={})
    return path


def texts_of(titles):
    return [f"title: {title}" for title in titles]


def test_a_catalogue_is_encoded_once_and_a_change_costs_what_changed(folder, tmp_path, few):
    docs = catalogue(tmp_path / "docs.parquet", TITLES)
    did = encode(docs, folder, tmp_path / "v", engine="onnx")
    assert (did.made, did.documents, did.new, did.known, did.total, did.store) == (True, 18, 18, 0, 18, "fp16")
    student = TwoTower(folder, engine="onnx")
    found = VectorStore(tmp_path / "v")
    np.testing.assert_allclose(found.take(found.find(texts_of(TITLES))), student.encode_texts(texts_of(TITLES)), atol=1e-3)
    again = encode(docs, folder, tmp_path / "v", engine="onnx")
    assert (again.made, again.new, again.known, again.rows_per_s) == (False, 0, 18, None)
    grown = catalogue(tmp_path / "grown.parquet", ["green sofa", *TITLES[1:], TITLES[3], ""])
    more = encode(grown, folder, tmp_path / "v", engine="onnx")
    assert (more.new, more.known, more.empty, more.total) == (1, 18, 1, 19)
    found.refresh()
    assert found.texts(found.rows(["d0", "d18"])) == ["title: green sofa", f"title: {TITLES[3]}"]
    assert found.rows(["d19"]).tolist() == [-1]


def test_pruned_documents_and_their_texts_leave(folder, tmp_path):
    encode(catalogue(tmp_path / "docs.parquet", TITLES), folder, tmp_path / "v", engine="onnx")
    did = encode(catalogue(tmp_path / "less.parquet", TITLES[:4]), folder, tmp_path / "v", engine="onnx", prune=True)
    assert (did.made, did.new, did.removed, did.total) == (True, 0, 14, 4)
    assert VectorStore(tmp_path / "v").ids() == ["d0", "d1", "d2", "d3"]


def test_one_id_with_two_texts_is_refused_before_anything_is_encoded(folder, tmp_path, monkeypatch):
    path = tmp_path / "docs.csv"
    path.write_text("doc_id,title\na,red chair\nb,lamp\na,blue chair\n")
    with pytest.raises(InputError, match="both hold doc_id 'a'"):
        encode(path, folder, tmp_path / "v", engine="onnx")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"doc_id": ["a", "b", "c", "a"], "title": TITLES[:4]}), tmp_path / "docs.parquet")
    monkeypatch.setattr("germane.sources.catalogue.PIECE", 2)
    with pytest.raises(InputError, match="row 1 and row 4 both hold doc_id 'a'"):
        encode(tmp_path / "docs.parquet", folder, tmp_path / "v", engine="onnx")
    assert not (tmp_path / "v").exists()


def test_a_catalogue_in_pieces_is_the_whole_one(tmp_path, monkeypatch):
    docs = catalogue(tmp_path / "docs.parquet", TITLES)
    monkeypatch.setattr("germane.sources.catalogue.PIECE", 7)
    count, pieces = sources.docs_in_pieces(docs)
    pieces = list(pieces)
    assert (count, [piece.num_rows for piece in pieces]) == (18, [7, 7, 4])
    assert pa.concat_tables(pieces).to_pylist() == sources.read_docs(docs).to_pylist()


def test_documents_of_one_field_text_are_read_as_they_stand(folder, tmp_path):
    path = tmp_path / "docs.csv"
    path.write_text("doc_id,text\na, red chair \n")
    encode(path, folder, tmp_path / "v", engine="onnx")
    assert VectorStore(tmp_path / "v").find(["red chair"]).tolist() == [0]
    with pytest.raises(InputError, match="holds texts of other fields or budgets"):
        encode(catalogue(tmp_path / "docs.parquet", TITLES), folder, tmp_path / "v", engine="onnx")


def test_a_text_that_gives_no_number_has_no_vector_and_costs_itself_alone(folder, tmp_path, monkeypatch):
    made = TwoTower.encode_texts

    def broken(self, texts):
        found = made(self, texts)
        found[[i for i, text in enumerate(texts) if "blue lamp 1" in text]] = np.nan
        return found

    monkeypatch.setattr(TwoTower, "encode_texts", broken)
    did = encode(catalogue(tmp_path / "docs.parquet", TITLES), folder, tmp_path / "v", engine="onnx")
    assert (did.new, did.failed, did.total) == (17, 1, 17)
    assert did.notes == (f"1 texts gave no number, such as that of 'd{TITLES.index('blue lamp 1')}': they have no vector",)
    pairs = pairs_file(tmp_path / "pairs.parquet", texts_of(TITLES))
    said = store.read_table(_labelled(folder, pairs, tmp_path / "j.parquet", tmp_path / "v"), "judgments")
    assert [row["doc_id"] for row in said.to_pylist() if row["outcome"] == "unparseable"] == ["d9", "d9"]


def _labelled(folder, pairs, out, vectors, **options):
    label(folder, pairs, out, engine="onnx", vectors=vectors, **options)
    return out


@pytest.mark.parametrize(("kind", "changed", "off"), [("fp32", False, 1e-5), ("fp16", True, 2e-3), ("int8", True, 2e-2)])
def test_labels_of_stored_vectors_are_nearly_those_of_the_judge_and_say_how_they_were_stored(
    folder, tmp_path, kind, changed, off
):
    encode(catalogue(tmp_path / "docs.parquet", TITLES[:9]), folder, tmp_path / "v", engine="onnx", store=kind)
    pairs = pairs_file(tmp_path / "pairs.parquet", texts_of(TITLES))
    found = store.read_table(_labelled(folder, pairs, tmp_path / "j.parquet", tmp_path / "v"), "judgments")
    true = ask(TwoTower(folder, engine="onnx"), store.read_table(pairs, "pairs"))
    np.testing.assert_allclose(np.array(found["probs"].to_pylist()), np.array(true["probs"].to_pylist()), atol=off)
    assert (found["fingerprint"][0].as_py() != true["fingerprint"][0].as_py()) == changed
    manifest = store.read_manifest(tmp_path / "j.parquet")
    assert manifest.parameters["vectors"] == manifest.extra["judge"]["vectors"] == kind
    assert manifest.extra["judge"]["fingerprint"] == found["fingerprint"][0].as_py()
    assert len(VectorStore(tmp_path / "v")) == 18


def test_a_changed_text_is_encoded_again_whatever_its_id(folder, tmp_path):
    encode(catalogue(tmp_path / "docs.parquet", TITLES), folder, tmp_path / "v", engine="onnx", store="fp32")
    texts = ["title: yellow sofa", *texts_of(TITLES[1:])]
    pairs = pairs_file(tmp_path / "pairs.parquet", texts)
    found = store.read_table(_labelled(folder, pairs, tmp_path / "j.parquet", tmp_path / "v"), "judgments")
    true = ask(TwoTower(folder, engine="onnx"), store.read_table(pairs, "pairs"))
    np.testing.assert_allclose(found["probs"].to_pylist(), true["probs"].to_pylist(), atol=1e-5)
    vectors = VectorStore(tmp_path / "v")
    assert vectors.texts(vectors.rows(["d0"])) == [f"title: {TITLES[0]}"]  # what a document's text is, the catalogue says
    assert len(vectors) == 19


def test_the_table_of_answers_is_that_of_the_judge_asked_pair_by_pair(folder, tmp_path):
    student = TwoTower(folder, engine="onnx", vectors=tmp_path / "v")
    rows = [("q", "red chair", "a", "red chair"), ("q", " ", "b", "chair"), ("q", "red chair", "c", ""), ("q", "", "d", "")]
    pairs = pa.table(dict(zip(("query_id", "query", "doc_id", "text"), map(list, zip(*rows, strict=True)), strict=True)))
    for table in (pairs, pairs.slice(1, 1), pairs.slice(0, 0)):
        assert student.label(table).to_pylist() == as_table(student(pairs_of(table))).to_pylist()
    assert student.label(pairs).schema == as_table(student(pairs_of(pairs))).schema


def test_another_student_s_vectors_are_refused(folder, tmp_path):
    from germane.training import distil

    other = tmp_path / "other"
    distil.train(furniture(seed=5), None, other, recipe=recipe(tiny_bert(tmp_path / "base", hidden_size=16)))
    encode(catalogue(tmp_path / "docs.parquet", TITLES), folder, tmp_path / "v", engine="onnx")
    pairs = pairs_file(tmp_path / "pairs.parquet", texts_of(TITLES))
    with pytest.raises(InputError, match="holds vectors of another student or engine"):
        label(other, pairs, tmp_path / "j.parquet", engine="onnx", vectors=tmp_path / "v")
    with pytest.raises(InputError, match="holds vectors of another student or engine"):
        encode(tmp_path / "docs.parquet", folder, tmp_path / "v", engine="onnx-int8")
    with pytest.raises(InputError, match="--vectors are of a two-tower judge, and fake is a fake"):
        label("fake", pairs, tmp_path / "j.parquet", scale="esci", vectors=tmp_path / "v")
    assert TwoTower(folder, device="cpu").store(tmp_path / "v").about.store == "fp16"  # torch and onnx make the same ones


def test_documents_are_scored_by_id_and_an_unknown_one_has_no_number(folder, tmp_path):
    encode(catalogue(tmp_path / "docs.parquet", TITLES), folder, tmp_path / "v", engine="onnx", store="fp32")
    student, vectors = TwoTower(folder, engine="onnx"), VectorStore(tmp_path / "v")
    said = student.score_docs("red chair", ["d3", "nowhere", "d0"], vectors)
    assert (said.doc_ids, said.known.tolist()) == (("d3", "nowhere", "d0"), [True, False, True])
    assert np.isnan(said.probs[1]).all()
    assert np.isnan(said.gains[1])
    pairs = pa.table(
        {"query_id": ["q"] * 2, "query": ["red chair"] * 2, "doc_id": ["d3", "d0"], "text": texts_of([TITLES[3], TITLES[0]])}
    )
    true = np.array(ask(student, pairs)["probs"].to_pylist())
    np.testing.assert_allclose(said.probs[[0, 2]], true, atol=1e-5)
    np.testing.assert_allclose(said.gains[[0, 2]], true @ np.array(student.scale.gains), atol=1e-5)
    assert np.isnan(student.score_docs(" ", ["d3"], vectors).gains).all()
    assert student.score_docs("red chair", [], vectors).probs.shape == (0, 3)


KILLED = """
import sys, time
from germane.judges import two_tower
from germane.pipeline import encode, label
two_tower.CHUNK = encode.CHUNK = 5
def slow(does, seconds):
    return lambda *given: time.sleep(seconds) or does(*given)
two_tower.TwoTower.add = slow(two_tower.TwoTower.add, 0.01)
two_tower.TwoTower.score = slow(two_tower.TwoTower.score, 0.3)
if sys.argv[1] == "encode":
    encode.encode({docs!r}, {folder!r}, {out!r}, engine="onnx-int8")
else:
    label.label({folder!r}, {docs!r}, {out!r}, engine="onnx-int8", vectors={vectors!r})
"""


def killed(what, when, **places):
    """Kills (-9) an encoding or labelling in a process of its own as soon as `when` says so."""
    code = KILLED.format(**({"vectors": None} | places)).replace("PosixPath", "__import__('pathlib').Path")
    job = subprocess.Popen([sys.executable, "-c", code, what])
    while job.poll() is None and not when():
        time.sleep(0.001)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL, "it was done before"


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_an_encoding_that_was_killed_goes_on_and_ends_as_if_it_had_not(folder, tmp_path, few):
    titles = [f"{colour} {thing} {n}" for n in range(60) for colour in ("red", "blue", "green") for thing in ("chair", "lamp")]
    docs = catalogue(tmp_path / "docs.parquet", titles)
    encode(docs, folder, tmp_path / "whole", engine="onnx-int8")
    log = tmp_path / "v" / "log-1.jsonl"
    killed("encode", lambda: log.exists() and log.read_bytes().count(b"\n") >= 8, docs=docs, folder=folder, out=tmp_path / "v")
    did = encode(docs, folder, tmp_path / "v", engine="onnx-int8")
    assert did.new + did.known == len(titles)
    assert did.known > 0
    for name in ("vectors-1.bin", "contents-1.bin", "names-1.bin", "log-1.jsonl"):
        assert (tmp_path / "v" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_labels_of_vectors_that_were_killed_twice_are_those_of_a_job_that_was_not(folder, tmp_path, few):
    """Once while the first block's documents are encoded, once when some blocks are on disk and another is in flight."""
    texts = [f"title: {colour} {thing} {n}" for n in range(30) for colour in ("red", "blue") for thing in ("chair", "lamp")]
    pairs = pairs_file(tmp_path / "pairs.parquet", texts)
    label(folder, pairs, tmp_path / "whole.parquet", engine="onnx-int8", vectors=tmp_path / "whole")
    out, log = tmp_path / "j.parquet", tmp_path / "v" / "log-1.jsonl"
    parts = tmp_path / ".j.parquet.parts"

    def done():
        return len(list(parts.glob("part-*.parquet")))

    places = {"docs": pairs, "folder": folder, "out": out, "vectors": tmp_path / "v"}
    killed("label", lambda: log.exists() and log.read_bytes().count(b"\n") >= 2, **places)
    assert not out.exists()
    first = done()
    killed("label", lambda: done() > first, **places)
    assert not out.exists()
    before = {path.name: path.read_bytes() for path in parts.glob("part-*.parquet")}
    assert 0 < len(before) < 3, "of three blocks"
    found = label(folder, pairs, out, engine="onnx-int8", vectors=tmp_path / "v")
    assert found.outcomes == {"label": len(store.read_table(pairs, "pairs"))}
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    vectors, whole = VectorStore(tmp_path / "v"), VectorStore(tmp_path / "whole")
    assert len(vectors) == len(whole) == len(texts)  # each document once
    np.testing.assert_array_equal(vectors.take(vectors.find(texts)), whole.take(whole.find(texts)))
    assert not parts.exists()
