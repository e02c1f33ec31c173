"""A tiny sentence encoder with random weights, and pairs whose grade a rule gives: for the tests of the student."""

import json
from pathlib import Path

import numpy as np
import pytest

from germane import scales
from germane.training.distil import StudentRecipe
from germane.training.examples import Examples
from germane.training.running import Settings
from germane.types import Scale

COLOURS = ("red", "blue", "green", "black")
THINGS = ("chair", "table", "lamp", "sofa", "desk", "shelf")
SCALE = scales.get("three-level")


def tiny_bert(folder: Path, *, weights: bool = True, **changes: object) -> str:
    """A BERT of two layers of 32 numbers, with a tokenizer of some words and of all letters."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(97, 123)] + [str(d) for d in range(10)]
    rest = [*COLOURS, *THINGS, "without", "with", "no", "ft", "hose", "arms", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(marks + rest))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    said |= {"sep_token": "[SEP]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **(shape | changes))
    torch.manual_seed(0)
    if weights:
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    else:
        config.save_pretrained(folder)
    return str(folder)


def furniture(queries: int = 12, *, seed: int = 0, soft: bool = True) -> Examples:
    """Queries of a colour and a thing, each with eight documents: both right is the best grade, one right the middle one."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(queries):
        colour, thing = COLOURS[n % 4], THINGS[(n // 4 + n) % 6]
        for d in range(8):
            c = colour if d < 3 else COLOURS[rng.integers(4)]
            t = thing if d % 2 == 0 else THINGS[rng.integers(6)]
            rows.append((f"q{n}", f"d{d}", f"{colour} {thing}", f"{t}\nit is {c}", int(c == colour) + int(t == thing)))
    return made(rows, SCALE, soft=soft)


def made(rows: list[tuple[str, str, str, str, int]], scale: Scale, *, soft: bool = True) -> Examples:
    """Examples of rows (query_id, doc_id, query, text, grade); soft targets leave 10 % to the other grades."""
    query_id, doc_id, query, text, grades = zip(*rows, strict=True)
    grade, size = np.array(grades), len(scale.labels)
    target = np.eye(size)[grade]
    if soft:
        target = 0.9 * target + 0.1 / size
    return Examples(query_id, doc_id, query, text, grade, target, scale, (("teacher", "teacher:1"),))


def recipe(base: str, **changes: object) -> StudentRecipe:
    """Three steps on the CPU, unless changed."""
    settings = Settings(max_steps=3, batch=16, learning_rate=1e-3, device="cpu")
    return StudentRecipe(base, **({"settings": settings, "max_query": 16, "max_text": 32} | changes))
