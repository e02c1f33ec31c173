"""Tiny language models with random weights, made in a test: their configs, and a tokenizer of their own."""

from functools import cache
from pathlib import Path

from germane.judges.prompts.grading import ASK, ASK_REASONS, PAIR, TASK
from germane.scales import BUILT_IN
from germane.types import Scale

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SHORT = Scale("short", ("I", "C", "S", "E"), (0.0, 0.01, 0.1, 1.0), "Is the product what was asked for?")
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
}


@cache
def tokenizer(chat: bool = True):
    """Byte-level BPE that learned the words of the built-in guides, so that a prompt is some hundred tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator([TASK, *(scale.guide for scale in BUILT_IN.values()), PAIR, ASK, ASK_REASONS], learn)
    made.add_tokens(["<think>"])  # has a meaning of its own, and is not called special
    whole = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    whole.chat_template = TEMPLATE if chat else None
    return whole


def folder(path: Path, kind: str = "llama", *, chat: bool = True, weights: bool = True, **more) -> Path:
    """A model of this kind, saved at `path`, with random weights or with none."""
    import torch
    import transformers

    tokens = tokenizer(chat)
    config = config_of(kind, tokens, **more)
    tokens.save_pretrained(path)
    if not weights:
        config.save_pretrained(path)
        return path
    torch.manual_seed(0)
    auto = transformers.AutoModelForImageTextToText if kind == "qwen3_vl" else transformers.AutoModelForCausalLM
    auto.from_config(config).save_pretrained(path)
    return path


def config_of(kind: str, tokens, **more):
    import transformers

    size = {**TEXT, "vocab_size": len(tokens), **more}
    if kind == "qwen3_vl":
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        }
        rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
        ids = {name: tokens.convert_tokens_to_ids(token) for name, token in IDS.items()}
        return transformers.Qwen3VLConfig(
            text_config={**size, "rope_parameters": rope}, vision_config=vision, tie_word_embeddings=True, **ids
        )
    made = {"llama": transformers.LlamaConfig, "qwen3": transformers.Qwen3Config, "mistral": transformers.MistralConfig}[kind]
    return made(**size, eos_token_id=tokens.eos_token_id, pad_token_id=tokens.pad_token_id, bos_token_id=None)


IDS = {
    "image_token_id": "<|image_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "video_token_id": "<|endoftext|>",
}


def examples(n: int = 24):
    """Three documents a query, on a scale with a short guide: each grade has a word of its own."""
    import numpy as np

    from germane.training.examples import Examples

    grade = np.arange(n) % 4
    words = ("nothing", "charger", "similar", "exact")
    return Examples(
        tuple(f"q{i // 3}" for i in range(n)),
        tuple(f"d{i:02}" for i in range(n)),
        tuple(f"phone {i // 3}" for i in range(n)),
        tuple(f"{words[i % 4]} phone " + "long " * (i % 5) for i in range(n)),
        grade,
        np.eye(4)[grade],
        SHORT,
        (("human:someone", ""),),
    )


def pairs(examples):
    """The examples as pairs to be judged."""
    from germane.types import Doc, Pair, Query

    rows = zip(examples.query_id, examples.query, examples.doc_id, examples.text, strict=True)
    return [Pair(Query(query_id, query), Doc(doc_id, {"text": text})) for query_id, query, doc_id, text in rows]


def teacher(path: Path) -> Path:
    """The folder of a tiny judge that was trained until it says a grade and nothing else."""
    from germane.training import sft
    from germane.training.running import Settings

    base = folder(path / "base")
    settings = Settings(epochs=1, batch=4, learning_rate=0.02, warmup=0.0, device="cpu")
    recipe = sft.TeacherRecipe(base=str(base), max_length=48, lora=None, settings=settings)
    return sft.train(examples(80), examples(12), path / "teacher", recipe=recipe).out
