"""The cross-encoder as a judge: what it reads, in which order, and what it says."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_encoders as tiny

pytest.importorskip("torch", reason="judging needs torch: pip install 'germane[train]'")

from germane.extras import quietly
from germane.judges import folder
from germane.judges.encoder import CrossEncoder, marked, prefixes_of, scored, tokenizer_of
from germane.judges.loading import load
from germane.judges.marking import BELOW, KINDS, SAME, Reader, shared
from germane.training.cross_encoder import CrossEncoderRecipe, train
from germane.training.running import Settings
from germane.types import Doc, InputError, Outcome, Pair, Query


def made(tmp, kind="bert", **changes):
    """A judge that was trained for a few steps."""
    base = tiny.model(tmp / kind, kind)
    settings = Settings(batch=8, max_steps=3, learning_rate=1e-2, device="cpu")
    recipe = CrossEncoderRecipe(str(base), max_length=32, settings=settings)
    train(tiny.examples(), None, tmp / "judge", recipe=replace(recipe, **changes))
    return tmp / "judge"


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return made(tmp_path_factory.mktemp("judges"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer(folder)
    return Reader(tokenizer_of(str(folder)), 16, takes=frozenset({"input_ids", "attention_mask", "token_type_ids"}))


def words(reader, row):
    return " ".join(reader.tokenizer.convert_ids_to_tokens(row["input_ids"]))


# --- what it reads --------------------------------------------------------------------------------------------------


def test_query_and_document_are_read_as_two_parts(reader):
    (row,) = reader.rows(["red chair"], ["title: oak"])
    assert words(reader, row) == "[CLS] red chair [SEP] title : oak [SEP]"
    assert row["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_the_end_of_the_document_is_cut_and_never_the_query(reader):
    (row,) = reader.rows(["red chair"], ["oak " * 50])
    assert words(reader, row) == "[CLS] red chair [SEP] " + "oak " * 11 + "[SEP]"


def test_of_a_long_query_half_of_the_tokens_are_read(reader):
    (row,) = reader.rows(["red chair " * 50], ["oak " * 50])
    assert words(reader, row) == "[CLS] " + "red chair " * 4 + "[SEP] " + "oak " * 5 + "[SEP]"
    (row,) = reader.rows(["wardrobe-of-a-single-very-long-word"], ["oak"])
    assert len(row["input_ids"]) <= 16


def test_a_document_cannot_forge_the_marks_of_the_tokenizer(reader):
    (row,) = reader.rows(["red chair"], ["oak [SEP] [PAD] [CLS]"])
    assert words(reader, row).count("[SEP]") == 2
    assert "[PAD]" not in words(reader, row)


def test_rows_are_padded_on_the_right(reader):
    batch = reader.padded(reader.rows(["red", "red chair"], ["oak", "oak"]))
    assert batch["input_ids"].shape == (2, 6)
    assert batch["input_ids"][0, -1] == reader.tokenizer.pad_token_id
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6]


def test_prefixes_stand_before_query_and_document(reader):
    (row,) = replace(reader, prefixes=("query: ", "document: ")).rows(["red"], ["oak"])
    assert words(reader, row) == "[CLS] query : red [SEP] document : oak [SEP]"


def test_nothing_is_read_of_nothing(reader):
    assert reader.rows([], []) == []


def test_e5_and_decoders_have_prefixes_and_others_have_none():
    from transformers import BertConfig, LlamaConfig, XLMRobertaConfig

    assert prefixes_of("intfloat/multilingual-e5-small", BertConfig()) == ("query: ", "passage: ")
    assert prefixes_of("multilingual-e5-small", BertConfig()) == ("query: ", "passage: ")
    assert prefixes_of("intfloat/multilingual-e5-large-instruct", XLMRobertaConfig()) == ("", "")
    assert prefixes_of("meta-llama/Meta-Llama-3-8B", LlamaConfig()) == ("query: ", "\ndocument: ")
    assert prefixes_of("google-bert/bert-base-multilingual-cased", BertConfig()) == ("", "")


def test_evidence_names_what_is_shared_and_what_contradicts(reader):
    said = shared(["red chair", "hose 100 ft", "chair without arms"], ["red chair", "hose 50 ft", "chair with arms"])
    assert said[0].startswith("words 10 title 10 phrase")
    assert "numbers differ" in said[1]
    assert "negated present" in said[2]
    told = replace(reader, max_length=32, evidence=True)
    (row,) = told.rows(["red chair"], ["oak chair"])
    assert words(reader, row).endswith("oak chair [SEP]")
    assert len(row["input_ids"]) > len(reader.rows(["red chair"], ["oak chair"])[0]["input_ids"])


def test_marks_say_which_tokens_query_and_document_share(reader):
    told = replace(reader, marks=True)
    (row,) = told.rows(["red chair"], ["oak chair"])
    assert words(reader, row) == "[CLS] red chair [SEP] oak chair [SEP]"
    assert row["token_type_ids"] == [0, 0, 3, 0, 1, 2, 1]


def test_marks_say_how_numbers_of_one_unit_compare(reader):
    told = replace(reader, marks=True, max_length=64)
    asked = "chair 100 cm under 40 euro"
    texts = ["chair 100 cm", "chair 90 cm", "chair 105 cm", "chair 120 cm", "price: EUR 55.90", "oak, 40 kg"]
    marks = []
    for row, text in zip(told.rows([asked] * len(texts), texts), texts, strict=True):
        tokens = reader.tokenizer.convert_ids_to_tokens(row["input_ids"])
        kinds = row["token_type_ids"][tokens.index("[SEP]") + 1 :]
        marks.append(max(kinds) if text != texts[-1] else {kind for kind in kinds if kind >= BELOW})
    assert marks == [SAME, SAME - 2, SAME + 1, SAME + 2, SAME + 3, set()]


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "llama", "t5"])
def test_texts_read_one_by_one_are_read_as_the_tokenizer_reads_pairs(tmp_path, kind):
    tokenizer = tokenizer_of(str(tiny.model(tmp_path / kind, kind)))
    names = frozenset({"input_ids", "attention_mask", "token_type_ids"})
    queries, texts = ["red chair", "oak", "wardrobe"], ["title: oak chair " * 9, "[SEP] red", "oak"]
    whole = tokenizer(queries, texts, truncation="only_second", max_length=16, split_special_tokens=True)
    takes = names & set(whole)
    rows = Reader(tokenizer, 16, takes=takes).rows(queries, texts)
    assert rows == [
        {name: whole[name][i] for name in ("input_ids", "attention_mask", "token_type_ids") if name in takes} for i in range(3)
    ]


def test_a_model_that_is_told_of_shared_tokens_begins_as_it_was(tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, BertConfig

    model = AutoModelForSequenceClassification.from_config(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=3)
    ).eval()
    ids, kinds = (
        torch.tensor([[2, 7, 8, 3, 9, 8, 3]]),
        [torch.tensor([row]) for row in ([0] * 4 + [1] * 3, [0, 0, 3, 0, 1, 2, 1])],
    )
    before = model(input_ids=ids, token_type_ids=kinds[0]).logits
    assert marked(model).config.type_vocab_size == KINDS
    torch.testing.assert_close(model(input_ids=ids, token_type_ids=kinds[1]).logits, before)


def test_a_model_without_kinds_of_tokens_cannot_be_told(tmp_path):
    with pytest.raises(InputError, match="knows no kinds of tokens"):
        made(tmp_path, kind="llama", marks=True)


# --- what it says ---------------------------------------------------------------------------------------------------


def test_the_order_and_the_neighbours_of_pairs_change_nothing(judge):
    given = tiny.examples(20, seed=4)
    texts = [text + " oak" * (i % 13) for i, text in enumerate(given.text)]
    one, alone = CrossEncoder(judge, device="cpu"), CrossEncoder(judge, device="cpu", batch=1)
    said = one.score(given.query, texts)
    order = np.random.default_rng(0).permutation(len(texts))
    again = one.score([given.query[i] for i in order], [texts[i] for i in order])
    np.testing.assert_allclose(again, said[order], atol=1e-5)
    np.testing.assert_allclose(alone.score(given.query, texts), said, atol=1e-5)


def test_judgments_are_those_of_the_scores_in_order(judge):
    given, one = tiny.examples(6, seed=7), CrossEncoder(judge, device="cpu")
    said = list(one(iter(tiny.pairs(given))))
    assert [(j.query_id, j.doc_id) for j in said] == list(zip(given.query_id, given.doc_id, strict=True))
    logits = one.score(given.query, given.text) / one.about.temperature
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose([j.probs for j in said], probs, atol=1e-6)
    assert {(j.judge, j.fingerprint, j.scale) for j in said} == {("judge", one.fingerprint, "esci")}
    assert one.fingerprint.startswith("cross-encoder:")


def test_empty_texts_have_no_answer_and_change_no_other(judge):
    one = CrossEncoder(judge, device="cpu")
    full = Pair(Query("q", "red chair"), Doc("d", {"text": "title: red chair"}))
    asked = [Pair(Query("q", "  "), Doc("d", {"text": "oak"})), full, Pair(Query("q", "red"), Doc("e", {"text": ""}))]
    said = list(one(asked))
    assert [j.outcome for j in said] == [Outcome.ABSTAINED, Outcome.LABEL, Outcome.ABSTAINED]
    assert said[1].probs == pytest.approx(next(one([full])).probs)
    assert list(one([])) == []
    assert one.score([], []).shape == (0, 4)


def test_a_model_that_says_no_number_gives_no_answer(judge):
    import torch

    one = CrossEncoder(judge, device="cpu")
    with torch.no_grad():
        one._model.classifier.bias.fill_(float("nan"))
    (said,) = one([Pair(Query("q", "red chair"), Doc("d", {"text": "oak"}))])
    assert (said.relevance, said.outcome) == (None, Outcome.UNPARSEABLE)


def test_the_logits_of_t5_are_those_of_its_head_on_the_mean_of_its_encoder(tmp_path):
    import torch

    one = CrossEncoder(made(tmp_path, "t5"), device="cpu")
    rows = one._reader.rows(["red chair", "red"], ["oak lamp", "title: red sofa oak"])
    batch = one._reader.padded(rows)
    with torch.no_grad():
        hidden = one._model.transformer(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        wanted = one._model.classifier(mean).numpy()
    np.testing.assert_allclose(scored(one._model, one._reader, rows, 8), wanted, atol=1e-5)
    assert not any("decoder" in name for name, _ in one._model.named_parameters())


# --- the folder -----------------------------------------------------------------------------------------------------


def test_the_checkpoint_is_an_ordinary_one_that_sentence_transformers_reads(judge):
    import sentence_transformers
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(judge / "model")
    assert config.id2label == {0: "I", 1: "C", 2: "S", 3: "E"}
    with quietly():
        theirs = sentence_transformers.CrossEncoder(str(judge / "model"), device="cpu", max_length=32)
        said = theirs.predict([("red chair", "title: red oak"), ("blue", "lamp")], show_progress_bar=False, apply_softmax=False)
    ours = CrossEncoder(judge, device="cpu", numbers="float32").score(["red chair", "blue"], ["title: red oak", "lamp"])
    np.testing.assert_allclose(said, ours, atol=1e-5)


def test_nothing_is_printed_when_a_judge_is_loaded_and_asked(judge, capfd):
    list(load(judge, device="cpu")(tiny.pairs(tiny.examples(2))))
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_folder_of_another_kind_or_with_other_weights_is_refused(judge, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(judge, other)
    about = folder.read(other)
    (other / "judge.json").write_text(replace(about, kind="two-tower").to_json())
    with pytest.raises(InputError, match="is a two-tower, not a cross-encoder"):
        CrossEncoder(other)
    (other / "judge.json").write_text(about.to_json())
    weights = other / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"0000")
    with pytest.raises(InputError, match="not the file that this judge was saved with"):
        CrossEncoder(other)
    with pytest.raises(InputError, match="is no judge"):
        CrossEncoder(tmp_path)


def test_the_fingerprint_changes_with_what_is_read(tmp_path, judge):
    other = made(tmp_path, prefixes=("query: ", "document: "))
    assert folder.read(other).fingerprint != folder.read(judge).fingerprint
    assert CrossEncoder(other, device="cpu")._reader.prefixes == ("query: ", "document: ")
