"""The cross-encoder's packed engine against the plain one: the same judgments, of pairs and of tables, in any company."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import tiny_encoders as tiny

pytest.importorskip("torch", reason="judging needs torch: pip install 'germane[train]'")

import torch

from germane.inference import products
from germane.judges import as_table, packing, pairs_of
from germane.judges.encoder import CrossEncoder
from germane.training.cross_encoder import CrossEncoderRecipe, train
from germane.training.running import Settings
from germane.types import InputError

KINDS = ("bert", "xlm-roberta", "deberta-v2", "mpnet", "modernbert")


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """A judge of each kind, made when it is first asked for."""
    tmp, known = tmp_path_factory.mktemp("judges"), {}

    def made(kind, **changes):
        key = kind, tuple(changes)
        if key not in known:
            base = tiny.model(tmp / f"{kind}-{len(known)}", kind)
            settings = Settings(batch=8, max_steps=3, learning_rate=1e-2, device="cpu")
            recipe = CrossEncoderRecipe(str(base), max_length=32, settings=settings)
            train(tiny.examples(), None, tmp / f"judge-{len(known)}", recipe=replace(recipe, **changes))
            known[key] = tmp / f"judge-{len(known)}"
        return known[key]

    return made


def table(n=40, seed=0):
    """Pairs of some words, some of them empty."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(tiny.WORDS, rng.integers(1, 40))) for _ in range(n)]
    queries = [" ".join(rng.choice(tiny.WORDS, rng.integers(1, 6))) for _ in range(n)]
    if n > 8:
        queries[3], texts[5], texts[7] = "  ", "", None
    ids = [f"{seed}-{i}" for i in range(n)]
    return pa.table({"query_id": ids, "query": queries, "doc_id": ids, "text": pa.array(texts, pa.string())})


def exact(folder, **options):
    """A judge that rounds nothing on purpose."""
    return CrossEncoder(folder, device="cpu", numbers="float32", **options)


def same(found, wanted, tolerance=1e-5):
    """Two tables of judgments, but for what rounding may do to a probability."""
    assert found.schema == wanted.schema
    assert found.drop_columns(["probs"]).equals(wanted.drop_columns(["probs"]))
    for one, other in zip(found["probs"].to_pylist(), wanted["probs"].to_pylist(), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_plain_model_says(judges, kind):
    packed, plain = exact(judges(kind)), exact(judges(kind), engine="torch")
    assert (packed.engine, plain.engine) == ("packed", "torch")
    assert packed.fingerprint == plain.fingerprint
    wanted = as_table(plain(pairs_of(table())))
    same(packed.label(table()), wanted)
    same(plain.label(table()), wanted)
    same(as_table(packed(pairs_of(table()))), wanted)


@pytest.mark.parametrize("changes", [{"marks": True}, {"evidence": True}])
def test_marks_and_evidence_are_read_too(judges, changes):
    folder = judges("bert", **changes)
    same(exact(folder).label(table()), exact(folder, engine="torch").label(table()))


def test_half_precision_is_the_default_where_the_processor_has_it_and_the_model_is_known(judges, monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(products, "halves", lambda has=has: has)
        judge = CrossEncoder(judges("bert"), device="cpu")
        assert judge.engine_version.partition(",")[0] == ("bfloat16" if has else "float32")
        assert judge._stream.engine.encoder.layers[0].up.dtype == (torch.bfloat16 if has else torch.float32)
        said, wanted = judge.score(["red chair"], ["oak chair"]), exact(judges("bert")).score(["red chair"], ["oak chair"])
        assert (np.abs(said - wanted).max() > 0) == has
        np.testing.assert_allclose(said, wanted, atol=0.05)
        assert CrossEncoder(judges("t5"), device="cpu").engine_version.startswith("float32")
        assert CrossEncoder(judges("bert"), device="cpu", engine="torch").engine_version.startswith("float32")


def test_a_family_that_is_not_known_is_computed_as_it_is(judges):
    folder = judges("t5")
    assert CrossEncoder(folder, device="cpu").engine == "torch"
    with pytest.raises(InputError, match="does not know a t5"):
        CrossEncoder(folder, device="cpu", engine="packed")
    with pytest.raises(InputError, match="expected packed, torch"):
        CrossEncoder(folder, device="cpu", engine="tensorrt")


def test_a_model_that_is_read_is_not_in_memory_twice(judges):
    judge = CrossEncoder(judges("bert"), device="cpu")
    body = judge._model.bert
    assert {p.device.type for p in body.encoder.parameters()} == {"meta"}
    assert {p.device.type for p in body.pooler.parameters()} == {"cpu"}


def test_a_table_says_the_same_whatever_comes_before_and_after(judges, monkeypatch):
    monkeypatch.setattr(packing, "CUT", 7)
    judge = CrossEncoder(judges("bert"), device="cpu")
    given = [table(n, seed=n) for n in (9, 1, 30, 12)]
    found = list(judge.labels(iter([*given, table(0)])))
    assert [t.num_rows for t in found] == [9, 1, 30, 12, 0]
    for one, pairs in zip(found, given, strict=False):
        assert one.equals(judge.label(pairs))
        assert one["query_id"].equals(pairs["query_id"])


def test_nothing_is_said_of_no_tables(judges):
    assert list(CrossEncoder(judges("bert"), device="cpu").labels([])) == []


class Joining:
    """An engine that keeps rows until it has had so many, whatever job they are of."""

    joins = True

    def __init__(self, holds):
        self.holds, self.asked = holds, []

    def __call__(self, parts, *, many=False):
        held = []
        self.asked.append(many)
        for part in parts:
            held.append(part)
            while len(held) > self.holds:
                yield np.full((held.pop(0).n, 2), many)
        for part in held:
            yield np.full((part.n, 2), many)


@pytest.mark.parametrize("holds", [0, 1, 5, 100])
def test_big_jobs_share_batches_and_small_ones_do_not(judges, monkeypatch, holds):
    monkeypatch.setattr(packing, "MANY", 10)
    monkeypatch.setattr(packing, "CUT", 4)
    reader = CrossEncoder(judges("bert"), device="cpu")._reader
    engine = Joining(holds)
    sizes = [12, 25, 10, 3, 0, 11]
    jobs = [(["red"] * n, ["oak"] * n) for n in sizes]
    found = list(packing.Packing(reader, engine)(iter(jobs)))
    assert [len(part) for part in found] == sizes
    assert [bool(part.all()) for part in found if len(part)] == [True, True, True, False, True]
    assert engine.asked == [True, False, False, True]


def test_jobs_are_taken_while_the_first_is_computed_and_not_all_at_once(judges, monkeypatch):
    monkeypatch.setattr(packing, "MANY", 4)
    monkeypatch.setattr(packing, "CUT", 4)
    reader = CrossEncoder(judges("bert"), device="cpu")._reader
    taken = []

    def jobs():
        for i in range(100):
            taken.append(i)
            yield ["red"] * 4, ["oak"] * 4

    stream = packing.Packing(reader, Joining(2))(jobs())
    next(stream)
    assert 2 < len(taken) < 20
    stream.close()


def test_a_logit_that_is_no_number_is_no_grade(judges):
    judge = CrossEncoder(judges("bert"), device="cpu")
    real = judge._stream

    def broken(jobs):
        for logits in real(jobs):
            yield np.where(np.arange(len(logits))[:, None] == 2, np.nan, logits)

    judge._stream = broken
    found = judge.label(table(12))
    assert found["outcome"].to_pylist().count("unparseable") == 1
    same(found, as_table(judge(pairs_of(table(12)))))


def test_a_batch_says_how_much_is_computed_at_once(judges):
    assert CrossEncoder(judges("bert"), device="cpu", batch=4)._stream.engine.tokens == 128
