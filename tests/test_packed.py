"""The packed engine says what transformers says of each row, whatever stands beside it, and computes no padding for it."""

import threading
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch", reason="the packed engine needs torch: pip install 'germane[train]'")

import torch
import transformers as t

from germane.inference import attention, families, forward, products
from germane.inference.ahead import ahead
from germane.inference.packed import Packed, _inputs
from germane.inference.ragged import Rows

SMALL = {
    **{"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64},
    **{"initializer_range": 0.3, "num_labels": 4, "vocab_size": 50, "max_position_embeddings": 300, "pad_token_id": 1},
}
MARKS = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
LENGTHS = (1, 2, 5, 5, 99, 200, 64, 37, 200, 1, 17)


def deberta(**changes):
    usual = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0, "position_biased_input": False}
    return t.DebertaV2ForSequenceClassification(t.DebertaV2Config(**{**SMALL, **usual, **changes}))


def modern(**changes):
    config = {**SMALL, **MARKS, "local_attention": 20, "global_attn_every_n_layers": 2}
    return t.ModernBertForSequenceClassification(t.ModernBertConfig(**{**config, **changes}))


MODELS = {
    "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**SMALL)),
    "bert, relu": lambda: t.BertForSequenceClassification(t.BertConfig(hidden_act="relu", **SMALL)),
    "roberta": lambda: t.RobertaForSequenceClassification(t.RobertaConfig(**SMALL)),
    "xlm-roberta": lambda: t.XLMRobertaForSequenceClassification(t.XLMRobertaConfig(type_vocab_size=1, **SMALL)),
    "mpnet": lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**SMALL)),
    "deberta": lambda: deberta(),
    "deberta v3": lambda: deberta(position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True),
    "deberta, kinds": lambda: deberta(type_vocab_size=2, position_biased_input=True),
    "deberta, c2p": lambda: deberta(pos_att_type=["c2p"]),
    "deberta, p2c": lambda: deberta(pos_att_type=["p2c"], position_buckets=8),
    "deberta, no places": lambda: deberta(pos_att_type=[], relative_attention=False),
    "modernbert": modern,
    "modernbert, mean": lambda: modern(classifier_pooling="mean"),
}


def made(name):
    """A model whose norms and biases are no ones and zeros, so that one left out would be seen."""
    t.set_seed(0)
    model = MODELS[name]().eval()
    for weight in model.parameters():
        if weight.ndim == 1:
            torch.nn.init.normal_(weight, 0.5, 0.3)
    return model


def given(model, lengths=LENGTHS, seed=0):
    """Random rows, of two kinds of tokens where the model tells them apart."""
    rng = np.random.default_rng(seed)
    kinds = [[int(i > n // 2) for i in range(n)] for n in lengths] if getattr(model.config, "type_vocab_size", 0) > 1 else None
    return Rows.of([rng.integers(4, 50, n).tolist() for n in lengths], kinds)


def told(model, rows):
    """What transformers says of each row alone."""
    found = []
    for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True):
        ids = torch.from_numpy(rows.ids[start:end]).long()[None]
        kinds = {} if rows.kinds is None else {"token_type_ids": torch.from_numpy(rows.kinds[start:end]).long()[None]}
        with torch.no_grad():
            found.append(model(input_ids=ids, attention_mask=torch.ones_like(ids), **kinds).logits[0].double().numpy())
    return np.array(found)


def said(engine, *parts):
    return np.concatenate(list(engine(iter(parts))))


# --- each family ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_transformers_says(name):
    model = made(name)
    rows = given(model)
    engine = Packed(families.read(model), longest=200, tokens=256)
    np.testing.assert_allclose(said(engine, rows), told(model, rows), atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "mpnet", "deberta v3", "modernbert"])
def test_rows_of_about_one_length_may_be_filled_up(name, monkeypatch):
    model = made(name)
    rows = given(model)
    monkeypatch.setattr(attention, "groups_of", partial(by_32, attention.groups_of))
    np.testing.assert_allclose(said(Packed(families.read(model), longest=200), rows), told(model, rows), atol=1e-5)


def by_32(groups_of, lengths, *, step, device):
    return groups_of(lengths, step=32, device=device)


@pytest.mark.parametrize("kind", ["t5", "llama", "distilbert", "clip"])
def test_another_family_is_not_read(kind):
    tiny = {"vocab_size": 50, "num_labels": 4}
    model = {
        "t5": lambda: t.T5ForSequenceClassification(
            t.T5Config(**tiny, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0)
        ),
        "llama": lambda: t.LlamaForSequenceClassification(
            t.LlamaConfig(**tiny, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
        ),
        "distilbert": lambda: t.DistilBertForSequenceClassification(t.DistilBertConfig(**tiny, dim=32, n_layers=2, n_heads=4)),
        "clip": lambda: t.CLIPTextModel(t.CLIPTextConfig(vocab_size=50, hidden_size=32, num_attention_heads=4)),
    }[kind]()
    assert families.read(model) is None


def test_a_model_that_was_changed_is_not_read():
    class Adapted(torch.nn.Linear):
        """As peft puts in the place of a layer: its weight is not all that it computes."""

    model = made("bert")
    model.bert.encoder.layer[1].attention.self.query = Adapted(32, 32)
    assert families.read(model) is None
    assert families.read(deberta(conv_kernel_size=3)) is None
    assert families.read(made("bert").bert) is None
    model = made("bert")
    model.config.is_decoder = True
    assert families.read(model) is None


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert():
    return made("bert")


@pytest.mark.parametrize("tokens", [1, 300, 100_000])
def test_parts_come_back_in_order_whatever_the_batches(bert, tokens):
    rng = np.random.default_rng(1)
    parts = [given(bert, rng.integers(1, 90, n), seed=n) for n in (3, 0, 40, 1, 7)]
    found = list(Packed(families.read(bert), longest=90, tokens=tokens)(iter(parts)))
    assert [len(part) for part in found] == [3, 0, 40, 1, 7]
    for part, logits in zip(parts, found, strict=True):
        np.testing.assert_allclose(logits, told(bert, part).reshape(-1, 4), atol=1e-5)


def test_nothing_is_said_of_nothing(bert):
    assert list(Packed(families.read(bert), longest=90)(iter([]))) == []


def test_no_padding_is_computed(bert, monkeypatch):
    rows, seen = given(bert), []
    real = forward._layer
    monkeypatch.setattr(forward, "_layer", lambda x, *a, **k: (seen.append(len(x)), real(x, *a, **k))[1])
    forward.steps_of.cache_clear()
    said(Packed(families.read(bert), longest=200, tokens=10_000), rows)
    assert seen == [sum(LENGTHS)] * 3


def test_the_same_rows_get_the_same_bits(bert):
    rows = given(bert, np.random.default_rng(2).integers(1, 90, 60))
    engine = Packed(families.read(bert), longest=90, tokens=512)
    assert (said(engine, rows) == said(engine, rows)).all()


# --- batches of one size, as a GPU has them --------------------------------------------------------------------------


def one_by_one(q, k, v, starts, longest, window=-1):
    """What a kernel for rows of different lengths does."""
    out = torch.full_like(q, float("nan"))  # as it leaves what belongs to no row
    asked, answered = (edges.tolist() for edges in starts)
    for row in range(len(asked) - 1):
        (a, b), (c, d) = asked[row : row + 2], answered[row : row + 2]
        assert b - a <= longest[0]
        assert d - c <= longest[1]
        if c == d or a == b:
            out[a:b] = 0
            continue
        near = (torch.arange(b - a)[:, None] - torch.arange(d - c)[None]).abs() <= (window if window >= 0 else d)
        parts = (part.transpose(0, 1) for part in (q[a:b], k[c:d], v[c:d]))
        out[a:b] = torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=near).transpose(0, 1)
    return out


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("name", "way"),
    [(name, "varlen") for name in ("bert", "xlm-roberta", "modernbert", "modernbert, mean")] + [("mpnet", "flex")],
)
def test_batches_of_one_size_say_the_same(name, way, monkeypatch):
    model = made(name)
    monkeypatch.setattr(forward, "varlen", one_by_one)
    forward.steps_of.cache_clear()
    rng = np.random.default_rng(3)
    parts = [given(model, rng.integers(1, 200, n), seed=n) for n in (3, 9, 5)]
    engine = Packed(families.read(model), longest=200, tokens=512, way=way, one_size=True, compiled=False)
    for part, logits in zip(parts, engine(iter(parts), many=True), strict=True):
        np.testing.assert_allclose(logits, told(model, part), atol=1e-5)


def test_a_row_has_the_same_bits_in_batches_of_one_size(bert, monkeypatch):
    monkeypatch.setattr(forward, "varlen", one_by_one)
    forward.steps_of.cache_clear()
    rows = given(bert, np.random.default_rng(5).integers(1, 200, 40))
    engine = Packed(families.read(bert), longest=200, tokens=512, way="varlen", one_size=True, compiled=False)
    alone = [np.concatenate([flight_of(engine, rows, [i])]) for i in (0, 7)]
    together = flight_of(engine, rows, [3, 0, 7])
    assert (together[1] == alone[0][0]).all()
    assert (together[2] == alone[1][0]).all()


def flight_of(engine, rows, order):
    return engine._fixed.launched(rows.take(order)).landed()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it compiles
@pytest.mark.parametrize("name", ["bert", "modernbert", "mpnet"])
def test_what_is_compiled_is_one_graph_and_says_the_same(name, monkeypatch):
    model = made(name)
    compiled = partial(torch.compile, backend="aot_eager", fullgraph=True)  # what torch makes of it, but for the code itself
    monkeypatch.setattr(torch, "compile", lambda part, dynamic: compiled(part, dynamic=dynamic))
    forward.steps_of.cache_clear()
    rows = given(model, [70] * 3)
    encoder = families.read(model)
    with torch.no_grad():
        inputs = _inputs(Packed(encoder, longest=200), rows)
        found = forward.logits(encoder, inputs, forward.steps_of(encoder.shape, "grouped", True))
    forward.steps_of.cache_clear()
    np.testing.assert_allclose(found.numpy(), told(model, rows), atol=1e-5)


def test_blocks_cover_the_rows_and_what_is_left_over_sees_only_itself():
    lengths = np.array([100, 60, 3])
    row, count, which = attention.blocks_of(lengths, 512)
    assert row[:163].tolist() == [0] * 100 + [1] * 60 + [2] * 3
    assert count.tolist() == [2, 2, 1, 1]
    assert which[:2, :2].tolist() == [[0, 1], [0, 1]]
    assert len(set(row[163:256])) == 1
    assert len(set(row[256:])) == 2


def test_what_cannot_be_compiled_is_computed_as_it_is(bert, monkeypatch, caplog):
    def broken(*args):
        raise RuntimeError("there is no compiler here. Install one")

    rows = given(bert, [70] * 9)
    engine = Packed(families.read(bert), longest=200, tokens=256, way="flex", one_size=True, compiled=False)
    monkeypatch.setattr(engine._fixed, "_forward", broken)
    np.testing.assert_allclose(np.concatenate(list(engine([rows], many=True))), told(bert, rows), atol=1e-5)
    assert "goes on slower as it is: there is no compiler here" in caplog.text


def test_few_rows_are_not_filled_up(bert, monkeypatch):
    engine = Packed(families.read(bert), longest=200, tokens=256, way="varlen", one_size=True, compiled=False)
    engine.way = "grouped"
    monkeypatch.setattr(engine._fixed, "launched", None)
    said(engine, given(bert, [70]))


# --- ahead ----------------------------------------------------------------------------------------------------------


def test_what_is_made_ahead_comes_in_order_and_its_problems_too():
    stream = ahead(lambda x: 6 // x, [3, 2, 0])
    assert [next(stream), next(stream)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_nobody_works_ahead_of_a_stream_that_was_closed():
    taken, here = [], threading.get_ident()

    def items():
        for i in range(1000):
            assert threading.get_ident() == here
            taken.append(i)
            yield i

    stream = ahead(lambda i: (i, threading.get_ident()), items(), most=2)
    assert next(stream)[1] != here
    stream.close()
    assert taken == [0, 1, 2]


# --- on a CPU, with weights laid out --------------------------------------------------------------------------------


@pytest.fixture
def has_onednn():
    if not products.available():
        pytest.skip("torch was built without oneDNN")


@pytest.mark.usefixtures("has_onednn")
@pytest.mark.parametrize("name", MODELS)
def test_weights_that_are_laid_out_say_the_same(name):
    model = made(name)
    rows = given(model)
    encoder = products.laid_out(families.read(model), torch.float32)
    assert encoder.weights == families.read(model).weights
    np.testing.assert_allclose(said(Packed(encoder, longest=200, tokens=256), rows), told(model, rows), atol=1e-5)


@pytest.mark.usefixtures("has_onednn")
@pytest.mark.parametrize("name", MODELS)
def test_half_precision_rounds_and_no_more(name):
    model = made(name)
    rows = given(model)
    wanted = told(model, rows)
    half = said(Packed(products.laid_out(families.read(model), torch.bfloat16), longest=200, tokens=256), rows)
    plain = told(model.bfloat16(), rows)
    assert np.abs(half - wanted).max() > 0
    assert np.abs(half - wanted).mean() < 1.5 * np.abs(plain - wanted).mean()  # transformers' own, all of it rounded


def test_half_precision_is_for_processors_that_have_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert not products.halves()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert products.halves() == products.available()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not products.halves()
