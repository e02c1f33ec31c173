"""Small models from scratch: a tokenizer of the texts at hand, and weights that know nothing yet. For where no other is there.

They are for a tour and for tests, not for work: a base that has read much needs far fewer labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from germane.extras import needs, quietly

PIECES = 6_000
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def encoder(
    out: Path,
    texts: Iterable[str],
    *,
    width: int = 192,
    layers: int = 4,
    pieces: int = PIECES,
    punctuation: bool = True,
    dropout: float = 0.1,
    seed: int = 0,
) -> int:
    """Saves a BERT with fresh weights, and word pieces of these texts, at `out`; its number of parameters.

    punctuation: False reads none, which makes the texts of a catalogue a quarter shorter. The same texts, sizes and seed
    give the same files.
    """
    needs("train", "torch", "transformers", "tokenizers", by="training/scratch.py")
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    steps = [] if punctuation else [normalizers.Replace(Regex(r"[^\w\s]"), " ")]
    made.normalizer = normalizers.Sequence([normalizers.BertNormalizer(strip_accents=False), *steps])
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=pieces, special_tokens=marks, show_progress=False))
    around = [(mark, made.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", around)
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), marks, strict=True))
    whole: Any = PreTrainedTokenizerFast(tokenizer_object=made, **named)  # type: ignore[no-untyped-call]
    whole.save_pretrained(out)
    set_seed(seed)
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(width // 32, 1),
        intermediate_size=4 * width,
        max_position_embeddings=512,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = BertModel(config, add_pooling_layer=False)
    with quietly():
        model.save_pretrained(out)
    return int(model.num_parameters())


def language_model(
    out: Path, texts: Iterable[str], *, width: int = 192, layers: int = 4, pieces: int = PIECES, seed: int = 0
) -> int:
    """Saves a Llama with fresh weights, byte pairs of these texts, and a chat template, at `out`; its number of parameters."""
    needs("train", "torch", "transformers", "tokenizers", by="training/scratch.py")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=pieces, initial_alphabet=alphabet, special_tokens=marks, show_progress=False)
    )
    marked = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    whole: Any = PreTrainedTokenizerFast(tokenizer_object=made, **marked)  # type: ignore[no-untyped-call]
    whole.chat_template = CHAT
    whole.save_pretrained(out)
    set_seed(seed)
    heads = max(width // 32, 1)
    config = LlamaConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=3 * width,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=made.token_to_id("<|im_end|>"),
        pad_token_id=made.token_to_id("<|endoftext|>"),
    )
    model = LlamaForCausalLM(config)
    with quietly():
        model.save_pretrained(out)
    return int(model.num_parameters())


def cross_encoder(
    out: Path, texts: Iterable[str], *, width: int, layers: int, heads: int, inner: int, longest: int = 256
) -> None:
    """Saves at `out` a judge that never learned anything, and says so: a BERT of this size with random weights, on esci.

    It is for measuring speed, which does not depend on weights.
    """
    from germane.judges import folder
    from germane.scales import get

    needs("train", "torch", "transformers", "tokenizers", by="training/scratch.py")
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, set_seed

    scale, named = get("esci"), f"BERT of {layers} x {width}, random weights"
    about = folder.About("cross-encoder", "random weights", scale, named, longest, random_weights=True)
    with folder.writing(out, about) as part, quietly():
        encoder(part / "model", texts, width=32, layers=1)
        made: Any = BertConfig
        config = made(
            vocab_size=len(AutoTokenizer.from_pretrained(part / "model")),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            num_labels=len(scale.labels),
        )
        set_seed(0)
        BertForSequenceClassification(config).save_pretrained(part / "model")
