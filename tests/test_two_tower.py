"""The student as a judge: engines, stored vectors, and what it refuses."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from sample_students import furniture, recipe, tiny_bert

from germane.inference.vectors import int8
from germane.judges.loading import load
from germane.judges.two_tower import TwoTower
from germane.types import Doc, InputError, Judge, Outcome, Pair, Query

PAIRS = furniture(6, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student that has learned for three steps."""
    from germane.training import distil

    where = tmp_path_factory.mktemp("students")
    distil.train(furniture(), None, where / "student", recipe=recipe(tiny_bert(where / "base")))
    return where / "student"


@pytest.fixture(scope="module")
def student(folder):
    return TwoTower(folder, device="cpu")


def pair(query: str, text: str) -> Pair:
    return Pair(Query("q", query), Doc("d", {"text": text}))


def test_a_student_is_a_judge_that_load_opens(folder, student):
    judge: Judge = load(folder, device="cpu")
    assert isinstance(judge, TwoTower)
    said = list(judge([pair("red chair", "chair\nred"), pair("", "chair"), pair("red chair", " ")]))
    assert [j.outcome for j in said] == [Outcome.LABEL, Outcome.ABSTAINED, Outcome.ABSTAINED]
    assert sum(said[0].probs) == pytest.approx(1.0)
    assert said[0].fingerprint == student.fingerprint == student.about.fingerprint
    assert list(judge([])) == []


def test_a_pair_has_the_same_logits_in_a_batch_and_alone(student):
    whole = student.score(PAIRS.query, PAIRS.text)
    alone = np.concatenate([student.score([q], [t]) for q, t in zip(PAIRS.query, PAIRS.text, strict=True)])
    assert whole.shape == (len(PAIRS), 3)
    np.testing.assert_allclose(whole, alone, atol=1e-5)


def test_vectors_made_before_give_the_numbers_of_the_call(student):
    texts = list(PAIRS.text[:8])
    q, d = student.encode_queries(["red chair"])[0], student.encode_texts(texts)
    features = student.features(["red chair"] * 8, texts)
    there = student.score_vectors(q, d, features)
    np.testing.assert_allclose(there, student.score(["red chair"] * 8, texts), atol=1e-5)
    np.testing.assert_allclose(there, student.score_vectors(np.tile(q, (8, 1)), d, features), atol=1e-6)


@pytest.mark.parametrize("by", ["vector", "dimension"])
def test_int8_vectors_are_scored_as_they_are(student, by):
    texts = list(PAIRS.text[:8])
    q, d = student.encode_queries(PAIRS.query[:8]), student.encode_texts(texts)
    features = student.features(PAIRS.query[:8], texts)
    small = int8(d, by=by)
    np.testing.assert_array_equal(student.score_vectors(q, small, features), student.score_vectors(q, small.floats(), features))
    np.testing.assert_allclose(student.score_vectors(q, small, features), student.score_vectors(q, d, features), atol=0.05)
    half = d.astype(np.float16)
    np.testing.assert_allclose(student.score_vectors(q, half, features), student.score_vectors(q, d, features), atol=0.01)


def test_onnx_gives_the_labels_of_torch(folder, student):
    onnx = TwoTower(folder, engine="onnx")
    there, back = student.score(PAIRS.query, PAIRS.text), onnx.score(PAIRS.query, PAIRS.text)
    np.testing.assert_allclose(there, back, atol=1e-4)
    assert (there.argmax(1) == back.argmax(1)).all()


def test_int8_weights_give_nearly_its_logits_and_depend_on_no_neighbour(folder, student):
    small = TwoTower(folder, engine="onnx-int8")
    whole = small.score(PAIRS.query, PAIRS.text)
    np.testing.assert_allclose(whole, student.score(PAIRS.query, PAIRS.text), atol=0.2)
    np.testing.assert_allclose(whole[5:6], small.score(PAIRS.query[5:6], PAIRS.text[5:6]), atol=1e-6)


@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
def test_the_onnx_engines_load_neither_torch_nor_transformers(folder, engine):
    code = f"""
import sys
from germane.judges.loading import load
from germane.types import Doc, Pair, Query
judge = load({str(folder)!r}, engine={engine!r})
print(next(judge([Pair(Query("q", "red chair"), Doc("d", {{"title": "red chair"}}))])).relevance is None)
print(*sorted({{"torch", "transformers", "sentence_transformers", "onnx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout.split() == ["False"], done.stderr


def test_torch_does_not_load_sentence_transformers(folder):
    code = f"""
import sys
from germane.judges.two_tower import TwoTower
TwoTower({str(folder)!r}, device="cpu").score(["red chair"], ["chair"])
print("sentence_transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout.split() == ["False"], done.stderr


def test_what_cannot_be_scored_is_refused(folder, student, tmp_path):
    with pytest.raises(InputError, match="engine 'tensorrt'"):
        TwoTower(folder, engine="tensorrt")
    with pytest.raises(InputError, match="takes \\(n, 32\\)"):
        student.score_vectors(np.zeros((2, 16)), np.zeros((2, 16)), student.features(["a", "b"], ["c", "d"]))
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "head.npz").write_bytes(b"other")
    with pytest.raises(InputError, match="not the file that this judge was saved with"):
        TwoTower(tmp_path / "copy", device="cpu")


def test_a_judge_of_other_features_is_refused(folder, monkeypatch):
    from germane.judges import lexical

    monkeypatch.setattr(lexical, "NAMES", lexical.NAMES[1:])
    with pytest.raises(InputError, match="another version of germane"):
        TwoTower(folder, device="cpu")


@pytest.mark.parametrize("kind", ["fp32", "fp16", "int8"])
def test_a_search_gets_the_logits_that_pairs_get(kind):
    from germane.inference.vectors import int8
    from germane.judges.head import Head, floats

    rng = np.random.default_rng(3)
    shapes = {"product": (48, 8), "difference": (48, 6), "hidden": (19, 10), "hidden_bias": (10,), "out": (10, 4)}
    shapes |= {"out_bias": (4,), "direct": (5, 4), "mean": (4,), "spread": (4,)}
    head = Head(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})
    d = rng.normal(size=(700, 48)).astype(np.float32)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    stored = {"fp32": d, "fp16": d.astype(np.float16), "int8": int8(d)}[kind]
    features = rng.normal(size=(700, 4)).astype(np.float32)
    query = d[5]
    true = head.pairs(query[None], np.zeros(700, dtype=np.int64), stored, np.arange(700), features)
    np.testing.assert_allclose(head.one(query, stored, features), true, atol=2e-4)
    assert head.one(query, floats(stored)[:0], features[:0]).shape == (0, 4)
