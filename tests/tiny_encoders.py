"""Models of each named architecture with random weights, small enough to train in a test, and pairs that they can learn."""

from pathlib import Path

import numpy as np

from germane.extras import quietly
from germane.scales import get
from germane.training.examples import Examples
from germane.types import Doc, Pair, Query

ESCI = get("esci")
WORDS = [
    *("red", "blue", "green", "chair", "table", "lamp", "sofa", "shelf", "oak", "steel", "glass", "cotton"),
    *("small", "large", "round", "garden", "title", "query", "document"),
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.15,
}


def tokenizer(folder: Path, *, separates: bool = True, pads: bool = True) -> int:
    """Saves a tokenizer of a few words; the size of its vocabulary. separates: it puts marks around query and document."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, ":", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if separates:
        marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
        words.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", marks)
    named = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]", **({"pad_token": "[PAD]"} if pads else {})}
    named["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[SEP]", **named)
    fast.save_pretrained(folder)
    return len(vocabulary)


def model(folder: Path, kind: str, *, weights: bool = True) -> Path:
    """A folder with a tiny model as one finds it on a hub: no head of grades. weights: False leaves the configuration alone."""
    import transformers as t

    size = tokenizer(folder, separates=kind != "llama", pads=kind != "llama")
    made = {
        "bert": lambda: t.BertModel(t.BertConfig(vocab_size=size, max_position_embeddings=64, **SMALL)),
        "xlm-roberta": lambda: t.XLMRobertaModel(
            t.XLMRobertaConfig(vocab_size=size, max_position_embeddings=66, type_vocab_size=1, pad_token_id=0, **SMALL)
        ),
        "deberta-v2": lambda: t.DebertaV2Model(
            t.DebertaV2Config(vocab_size=size, relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, **SMALL)
        ),
        "mpnet": lambda: t.MPNetModel(t.MPNetConfig(vocab_size=size, max_position_embeddings=66, pad_token_id=0, **SMALL)),
        "modernbert": lambda: t.ModernBertModel(
            t.ModernBertConfig(
                vocab_size=size, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3, **SMALL
            )
        ),
        "t5": lambda: t.T5ForConditionalGeneration(
            t.T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0)
        ),
        "llama": lambda: t.LlamaForCausalLM(
            t.LlamaConfig(vocab_size=size, num_key_value_heads=2, bos_token_id=2, eos_token_id=3, **SMALL)
        ),
        "clip": lambda: t.CLIPTextModel(t.CLIPTextConfig(vocab_size=size, **SMALL)),
        "vit": lambda: t.ViTModel(t.ViTConfig(image_size=16, patch_size=8, **SMALL)),
    }[kind]
    t.set_seed(0)
    with quietly():
        found = made()
        found.save_pretrained(folder) if weights else found.config.save_pretrained(folder)
    return folder


def examples(queries: int = 12, *, docs: int = 6, seed: int = 0) -> Examples:
    """Queries of three words and documents that hold 0 to 3 of them, which is the grade."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(queries):
        asked = list(rng.choice(WORDS[:15], 3, replace=False))
        others = [word for word in WORDS[:15] if word not in asked]
        for j in range(docs):
            grade = int(rng.integers(4))
            held = rng.permutation(asked[:grade] + list(rng.choice(others, 4 - grade, replace=False)))
            rows.append((f"q{i}", f"d{i}-{j}", " ".join(asked), f"title: {' '.join(held)}", grade))
    query_id, doc_id, query, text, grade = zip(*rows, strict=True)
    grades = np.array(grade)
    return Examples(query_id, doc_id, query, text, grades, np.eye(4)[grades], ESCI, (("human:ann", ""),))


def easy(queries: int = 20) -> Examples:
    """Documents that say their grade in one word: what a tiny model learns in a few steps."""
    rows = [
        (f"q{i}", f"d{i}-{j}", f"{WORDS[4 + i % 11]} lamp", f"title: {WORDS[j % 4]} sofa", j % 4)
        for i in range(queries)
        for j in range(8)
    ]
    query_id, doc_id, query, text, grade = zip(*rows, strict=True)
    grades = np.array(grade)
    return Examples(query_id, doc_id, query, text, grades, np.eye(4)[grades], ESCI, (("human:ann", ""),))


def pairs(of: Examples) -> list[Pair]:
    columns = zip(of.query_id, of.query, of.doc_id, of.text, strict=True)
    return [Pair(Query(query_id, query), Doc(doc_id, {"text": text})) for query_id, query, doc_id, text in columns]
