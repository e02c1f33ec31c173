"""Texts to vectors: tokens, batches, towers of torch and ONNX, int8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sample_students import tiny_bert

from germane.inference.encoding import encode
from germane.inference.tokens import Tokens
from germane.inference.vectors import int8
from germane.types import InputError

TEXTS = ["red chair", "a blue table without arms", "", "sofa", "red chair", "lamp " * 40]


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """A saved tower with a projection to 16 numbers, as it is in memory too."""
    from germane.inference import towers

    folder = tmp_path_factory.mktemp("tower")
    made, tokenizer, random = towers.started(tiny_bert(folder / "base"), dimension=16)
    assert not random
    (folder / "saved").mkdir()
    towers.save(made, tokenizer, folder / "saved")
    return made.eval(), folder / "saved"


def tokens(folder: Path, **options: object) -> Tokens:
    saved = (folder / "tokenizer.json").read_text(encoding="utf-8")
    return Tokens(saved, **({"max_length": 24, "pad": 0} | options))


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_a_text_is_cut_with_its_marks_kept(tower):
    short = tokens(tower[1], max_length=4)(["red blue green black"])[0]
    assert len(short) == 4
    assert (short[0], short[-1]) == (2, 3)


def test_a_text_that_looks_like_a_mark_is_read_as_words(tower):
    assert tokens(tower[1])(["red [SEP] blue"])[0].count(3) == 1


def test_the_prefix_stands_before_each_text(tower):
    assert tokens(tower[1], prefix="red ")(["chair"]) == tokens(tower[1])(["red chair"])


def test_rows_are_padded_on_the_right_and_masked(tower):
    ids, mask = tokens(tower[1], pad=9).padded([[2, 5, 3], [2, 3]])
    assert ids.tolist() == [[2, 5, 3], [2, 3, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_a_file_that_is_no_tokenizer_is_refused():
    with pytest.raises(InputError, match=r"tokenizer\.json cannot be read"):
        Tokens("{}", max_length=8, pad=0)


# --- towers ---------------------------------------------------------------------------------------------------------


def test_a_saved_tower_gives_the_same_vectors(tower):
    from germane.inference import towers

    there = encode(TEXTS, tokens(tower[1]), towers.runs(tower[0]), dimension=16)
    back = encode(TEXTS, tokens(tower[1]), towers.runs(towers.load(tower[1])), dimension=16)
    np.testing.assert_allclose(there, back, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(there, axis=1), 1.0, atol=1e-5)


def test_vectors_do_not_depend_on_the_batch(tower):
    from germane.inference import towers

    run, cut = towers.runs(tower[0]), tokens(tower[1])
    whole = encode(TEXTS, cut, run, dimension=16)
    alone = np.concatenate([encode([text], cut, run, dimension=16) for text in TEXTS])
    np.testing.assert_allclose(whole, alone, atol=1e-6)
    np.testing.assert_array_equal(whole[0], whole[4])


def test_no_texts_give_no_vectors(tower):
    from germane.inference import towers

    assert encode([], tokens(tower[1]), towers.runs(tower[0]), dimension=16).shape == (0, 16)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_each_pooling_sees_no_padding(tmp_path, pooling):
    from germane.inference import towers

    base = Path(tiny_bert(tmp_path / "base"))
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in
               (("Transformer", ""), ("Pooling", "1_Pooling"))]  # fmt: skip
    (base / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (base / "1_Pooling").mkdir()
    (base / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}), encoding="utf-8")
    made, _, _ = towers.started(str(base))
    assert made.shape.pooling == pooling
    run, cut = towers.runs(made.eval()), tokens(base)
    there = encode(TEXTS, cut, run, dimension=32)
    np.testing.assert_allclose(there[3], encode(["sofa"], cut, run, dimension=32)[0], atol=1e-6)


def test_a_configuration_without_weights_gives_random_ones_and_says_so(tmp_path):
    from germane.inference import towers

    assert towers.started(tiny_bert(tmp_path / "base", weights=False))[2]


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        ([{"type": "sentence_transformers.models.CNN", "path": "1_CNN"}], "has a module 'CNN'"),
        ([{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}], "lacks 1_Pooling/config.json"),
    ],
)
def test_a_base_with_unknown_modules_is_refused(tmp_path, modules, complaint):
    from germane.inference import towers

    base = Path(tiny_bert(tmp_path / "base"))
    (base / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        towers.started(str(base))


def test_a_base_that_is_no_encoder_is_refused(tmp_path):
    from transformers import LlamaConfig

    from germane.inference import towers

    base = Path(tiny_bert(tmp_path / "base"))
    LlamaConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=50).save_pretrained(base)
    with pytest.raises(InputError, match="is a language model"):
        towers.started(str(base))
    with pytest.raises(InputError, match="could not be read"):
        towers.started(str(tmp_path))


def test_a_real_sentence_encoder_gives_what_sentence_transformers_gives():
    """all-MiniLM-L6-v2. The peer's vectors are kept here: its import alone takes longer than this file."""
    from germane.inference import towers
    from germane.judges.loading import models_folder

    if not (models_folder() / "all-MiniLM-L6-v2").is_dir():
        pytest.skip("all-MiniLM-L6-v2 is not under GERMANE_MODELS")
    made, tokenizer, random = towers.started(str(models_folder() / "all-MiniLM-L6-v2"))
    cut = Tokens(tokenizer.backend_tokenizer.to_str(), max_length=256, pad=made.shape.pad)
    found = encode(["red chair of oak", "Wie heißt du?"], cut, towers.runs(made.eval()), dimension=384)
    assert not random
    np.testing.assert_allclose(found[:, :4], PEER, atol=1e-5)


PEER = [  # sentence-transformers 6.2, encode, the first four numbers
    [0.023299481719732285, -0.002975292969495058, -0.07967399060726166, 0.047849297523498535],
    [-0.04422180727124214, 0.1181616559624672, 0.05134541168808937, -0.042642753571271896],
]


# --- ONNX -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tower):
    from germane.inference import exporting

    off = exporting.export(tower[0], tower[1] / "tower.onnx")
    exporting.quantised(tower[0], tower[1] / "tower.onnx", tower[1] / "tower-int8.onnx")
    return tower[1], off


def test_onnx_is_torch_to_a_tolerance(tower, exported):
    from germane.inference import sessions, towers

    folder, off = exported
    assert off < 1e-5
    there = encode(TEXTS, tokens(folder), towers.runs(tower[0]), dimension=16)
    back = encode(TEXTS, tokens(folder), sessions.session(folder / "tower.onnx"), dimension=16)
    np.testing.assert_allclose(there, back, atol=1e-5)


def test_int8_is_near_and_smaller(tower, exported):
    from germane.inference import sessions, towers

    folder, _ = exported
    there = encode(TEXTS, tokens(folder), towers.runs(tower[0]), dimension=16)
    back = encode(TEXTS, tokens(folder), sessions.session(folder / "tower-int8.onnx"), dimension=16, batch=1)
    assert (there * back).sum(axis=1).min() > 0.98
    assert (folder / "tower-int8.onnx").stat().st_size < (folder / "tower.onnx").stat().st_size


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_a_fused_graph_is_the_tower_for_one_text(tmp_path, kind, pooling):
    from dataclasses import replace

    import tiny_encoders

    from germane.inference import exporting, fused, sessions, towers

    made, _, _ = towers.started(str(tiny_encoders.model(tmp_path / "base", kind)), dimension=8)
    made.eval().shape = replace(made.shape, pooling=pooling)
    encoder = fused.fits(made)
    fused.write(made, encoder, tmp_path / "fp32.onnx", int8=False)
    fused.write(made, encoder, tmp_path / "int8.onnx", int8=True)
    whole, small = sessions.session(tmp_path / "fp32.onnx"), sessions.session(tmp_path / "int8.onnx")
    for length in (1, 2, 9, 30):
        ids, mask = (part.numpy() for part in exporting._sample(made, 1, length))
        there = towers.runs(made)(ids, mask)
        np.testing.assert_allclose(there, whole(ids, mask), atol=1e-5)
        assert (there * small(ids, mask)).sum() > 0.97
        np.testing.assert_array_equal(small(ids, mask), small.begin(ids, mask)())


@pytest.mark.parametrize("kind", ["mpnet", "deberta-v2", "modernbert"])
def test_a_tower_of_another_family_is_quantised_as_it_was_exported(tmp_path, kind):
    import tiny_encoders

    from germane.inference import exporting, fused, sessions, towers

    made, _, _ = towers.started(str(tiny_encoders.model(tmp_path / "base", kind)), dimension=8)
    assert fused.fits(made.eval()) is None
    exporting.export(made, tmp_path / "tower.onnx")
    exporting.quantised(made, tmp_path / "tower.onnx", tmp_path / "tower-int8.onnx")
    ids, mask = (part.numpy() for part in exporting._sample(made, 1, 9))
    small = sessions.session(tmp_path / "tower-int8.onnx")
    assert (towers.runs(made)(ids, mask) * small(ids, mask)).sum() > 0.9
    np.testing.assert_array_equal(small(ids, mask), small.begin(ids, mask)())


def test_a_graph_that_says_something_else_is_not_taken(tower, monkeypatch, tmp_path):
    from germane.inference import exporting, fused

    exporting.export(tower[0], tmp_path / "tower.onnx")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    written = []
    monkeypatch.setattr(fused, "write", lambda *_, int8: written.append(int8))
    monkeypatch.setattr(exporting, "_apart", lambda *_, rows: 1.0)
    exporting.quantised(tower[0], tmp_path / "tower.onnx", tmp_path / "tower-int8.onnx")
    assert written == [False]
    assert (tmp_path / "tower-int8.onnx").stat().st_size > 1000
    assert not (tmp_path / "tower-int8.fp32").exists()


def test_what_a_run_aside_cannot_do_is_said(exported):
    from germane.inference import sessions

    small = sessions.session(exported[0] / "tower-int8.onnx")
    with pytest.raises(InputError, match="could not be run"):
        small.begin(np.full((1, 3), 10**6), np.ones((1, 3), dtype=np.int64))()


def test_an_export_that_differs_from_torch_is_refused_and_removed(tower, monkeypatch, tmp_path):
    from germane.inference import exporting

    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match="differs from torch by"):
        exporting.export(tower[0], tmp_path / "tower.onnx")
    assert not (tmp_path / "tower.onnx").exists()


def test_a_session_without_a_file_or_of_another_file_is_refused(tmp_path):
    from germane.inference import sessions

    with pytest.raises(InputError, match="is not there"):
        sessions.session(tmp_path / "tower.onnx")
    (tmp_path / "tower.onnx").write_text("no graph", encoding="utf-8")
    with pytest.raises(InputError, match="could not be opened"):
        sessions.session(tmp_path / "tower.onnx")


def test_onnx_and_int8_load_neither_torch_nor_transformers(exported):
    folder, _ = exported
    code = f"""
import sys
from pathlib import Path
from germane.inference.encoding import encode
from germane.inference.sessions import session
from germane.inference.tokens import Tokens
from germane.inference.vectors import int8
folder = Path({str(folder)!r})
tokens = Tokens((folder / "tokenizer.json").read_text(), max_length=24, pad=0)
int8(encode(["red chair"], tokens, session(folder / "tower-int8.onnx", threads=1), dimension=16))
print(*sorted({{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == ""


# --- int8 vectors ---------------------------------------------------------------------------------------------------

matrices = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.floats(-4, 4, width=32))


@given(matrices, st.sampled_from(["vector", "dimension"]))
def test_no_number_is_off_by_more_than_half_a_scale(vectors, by):
    small = int8(vectors, by=by)
    assert small.codes.dtype == np.int8
    assert (np.abs(small.floats() - vectors) <= 0.5 * small.scales + 1e-5).all()


@given(matrices)
def test_scales_by_vector_do_not_depend_on_the_other_vectors(vectors):
    whole, first = int8(vectors), int8(vectors[:1])
    np.testing.assert_array_equal(whole.codes[:1], first.codes)
    np.testing.assert_array_equal(whole.take([0]).floats(), first.floats())


def test_scales_by_dimension_suit_dimensions_of_different_spread():
    drawn = np.random.default_rng(1).normal(size=(200, 8)).astype(np.float32) * np.logspace(0, -3, 8, dtype=np.float32)
    off = {by: np.abs(int8(drawn, by=by).floats() - drawn)[:, -1].mean() for by in ("vector", "dimension")}
    assert off["dimension"] < off["vector"] / 10


def test_vectors_that_cannot_be_stored_are_refused():
    with pytest.raises(InputError, match="not finite"):
        int8([[np.nan, 1.0]])
    with pytest.raises(InputError, match="'vector' or 'dimension'"):
        int8([[1.0]], by="row")
