"""Pairs put together from texts that were cut once are, token by token, what a reader makes of each pair."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("transformers", reason="judging needs transformers: pip install 'germane[train]'")

import tiny_encoders as tiny

from germane.judges.encoder import prefixes_of, tokenizer_of
from germane.judges.loading import models_folder
from germane.judges.marking import Reader

KINDS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
NASTY = [
    *("red chair", "red chair", "", " ", "[SEP] [CLS] [PAD] [MASK]", "</s> <s> <pad> <unk> <mask>", "<|endoftext|>"),
    *("a\x00b\x1fc", "\ufeffbom", "e\u0301 \u00e9 \u200b\u200d \u202e", "\U0001f9d1\u200d\U0001f4bb\U0001f1ea\U0001f1f8"),
    *("\u9999\u6e2f\u8336", "\u0645\u0635\u0628\u0627 \u0623\u062d\u0645", '100 cm, 1/2" x 3.5\u2033', "a\r\nb\tc", "\ufffd"),
    *("x" * 3000, "wort" * 60, "\u00e9" * 40, "\u9999" * 100, "red chair " * 80, "query: red", "\u2581 \u2581", "a" * 16),
    "a " * 17,
]
NAMES = ("all-MiniLM-L6-v2", "all-mpnet-base-v2", "multilingual-e5-small", "SmolLM2-135M-Instruct")


def check(reader, queries, texts):
    found, rows = reader.packed(queries, texts), reader.rows(queries, texts)
    assert found.n == len(rows)
    for i, row in enumerate(rows):
        start, end = found.starts[i : i + 2]
        assert found.ids[start:end].tolist() == row["input_ids"], (queries[i], texts[i])
        if "token_type_ids" in reader.takes:
            assert found.kinds[start:end].tolist() == row["token_type_ids"]
        else:
            assert found.kinds is None


def crossed():
    """Each nasty text as query and as document of each other."""
    n = np.arange(len(NASTY) ** 2)
    return [NASTY[i] for i in n // len(NASTY)], [NASTY[i] for i in n % len(NASTY)]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer(folder)
    return Reader(tokenizer_of(str(folder)), 16)


@pytest.mark.parametrize("changes", [
    {}, {"takes": KINDS}, {"max_length": 64, "takes": KINDS}, {"prefixes": ("query: ", "document: ")},
    {"evidence": True, "takes": KINDS}, {"marks": True, "takes": KINDS}, {"marks": True, "evidence": True, "takes": KINDS},
])  # fmt: skip
def test_they_are_what_the_reader_reads(small, changes):
    check(replace(small, **changes), *crossed())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("most", [16, 128])
def test_they_are_what_a_real_tokenizer_makes_of_both(name, most):
    where = models_folder() / name
    if not where.is_dir():
        pytest.skip(f"{name} is not under GERMANE_MODELS")
    reader = Reader(tokenizer_of(str(where)), most, takes=KINDS)
    check(reader, *crossed())
    check(replace(reader, prefixes=prefixes_of("multilingual-e5-small", None), evidence=True), *crossed())


def test_it_is_the_same_after_the_tokenizer_was_used_for_something_else(small):
    small.tokenizer("red", truncation=True, max_length=3, padding="max_length")
    check(small, ["red chair lamp oak"], ["red chair lamp oak"])


def test_each_text_is_cut_once(small, monkeypatch):
    from germane.judges import marking

    cut = []
    real = marking.cut
    monkeypatch.setattr(marking, "cut", lambda tokenizer, texts: (cut.append(len(texts)), real(tokenizer, texts))[1])
    small.packed(["red"] * 5 + ["blue"], ["oak", "lamp"] * 3)
    assert cut == [2, 2]


def test_nothing_is_put_together_of_nothing(small):
    found = small.packed([], [])
    assert found.n == 0
    assert not len(found.ids)
