"""A judge that reads query and document together: any encoder of text, or a decoder, with a head of one logit a grade.

The checkpoint in the judge's folder (model/) is an ordinary one of transformers, which sentence-transformers and vLLM load
too. Of T5 the encoder alone is used: the logits of a linear head, averaged over the tokens.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import extras
from germane.extras import first_line, needs, quietly
from germane.inference import families, products
from germane.inference.families import Encoder
from germane.inference.operations import Read
from germane.inference.packed import Packed
from germane.judges import folder as folders
from germane.judges.loading import locate
from germane.judges.marking import KINDS, Reader, Row
from germane.judges.packing import Packing, Texts
from germane.judges.saying import Stream, judgments, tables
from germane.types import InputError, Judgment, Pair, Scale

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

Floats = NDArray[np.float64]

KIND = "cross-encoder"
MODEL = "model"
"""The folder of the checkpoint inside the judge's."""

SHORTEST = 16
"""Tokens that a pair needs at least: half are the query's."""

_BY = "judges/encoder.py"
_ENCODER_OF = ("t5", "mt5", "umt5")  # models of two halves, of which we use the encoder
_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "longformer")  # count positions from the pad token


ENGINES, NUMBERS = ("packed", "torch"), ("float32", "bfloat16")
BLOCKS = {"cuda": 16_384, "cpu": 256}
"""Pairs that are put on disk together, by device: some seconds of work."""


class CrossEncoder:
    """The cross-encoder in a folder. device: as torch names it, None is the best there is. batch: pairs read at once.

    engine: "packed" computes no padding, by default where it knows the model (`inference.families`); "torch" is the model as
    transformers has it, for any other. numbers: that are multiplied, "float32" or "bfloat16", by default the latter on a GPU,
    and packed on a CPU that has it. All of these say the same up to rounding; and the same pair has the same grade whatever
    stands around it, up to that.

    Raises: InputError for a folder that holds no cross-encoder, and for one that needs packages, a device or an engine not
    there.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str | None = None,
        batch: int | None = None,
        engine: str | None = None,
        numbers: str | None = None,
    ) -> None:
        needs("train", "torch", "transformers", by=_BY)
        import torch

        for what, given, known in (("engine", engine, ENGINES), ("numbers", numbers, NUMBERS)):
            if given not in (None, *known):
                raise InputError(f"{what} {given!r}: expected {', '.join(known)}")
        self.about = folders.read(folder, kind=KIND)
        self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale
        self.device = extras.device(device)
        self.block = BLOCKS["cuda" if self.device.startswith("cuda") else "cpu"]
        self._batch = batch or (256 if self.device.startswith("cuda") else 32)
        where = str(Path(folder) / MODEL)
        asked = "torch" if self.device.startswith("mps") and engine is None else engine
        self._model, encoder, used = _loaded(where, self.about, self.device, numbers, asked)
        said = self.about.settings
        self._reader = Reader(
            tokenizer_of(where),
            self.about.max_length,
            tuple(said.get("prefixes", ("", ""))),
            takes(self._model),
            bool(said.get("evidence")),
            bool(said.get("marks")),
        )
        self.engine = "torch" if encoder is None else "packed"
        self.engine_version, self._numbers = f"{used}, torch {torch.__version__}", used
        self._stream: Stream = self._plainly
        if encoder is not None:
            longest = self.about.max_length
            self._stream = Packing(self._reader, Packed(encoder, longest=longest, tokens=batch and batch * longest))

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        return judgments(pairs, self.about, self.score)

    def label(self, pairs: pa.Table) -> pa.Table:
        """The judgments of a table of pairs; see `types.Bulk`."""
        return next(self.labels([pairs]))

    def labels(self, pairs: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same of tables one after the other; while one is computed, the next ones are taken and read."""
        return tables(pairs, self.about, self._stream)

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Floats:
        """The logits of each grade before temperature, shape (n, grades)."""
        return next(self._stream([(queries, texts)]))

    def reads(self, queries: Sequence[str], texts: Sequence[str]) -> list[Read]:
        """What its model reads of these pairs."""
        lengths = self._reader.packed(queries, texts).lengths
        return [Read(self._model.config.to_dict(), np.asarray(lengths, dtype=np.int64), self._numbers)]

    def warm_up(self) -> None:
        """Compiles what many pairs need, if anything is, before they come."""
        if isinstance(self._stream, Packing):
            self._stream.engine.warm_up()

    def _plainly(self, jobs: Iterable[Texts]) -> Iterator[Floats]:
        for queries, texts in jobs:
            yield scored(self._model, self._reader, self._reader.rows(queries, texts), self._batch)


def _loaded(
    where: str, about: folders.About, device: str, numbers: str | None, engine: str | None
) -> tuple[Any, Encoder | None, str]:
    """The model of a judge on its device, its encoder for the packed engine where that knows it, and the numbers of both.

    Raises: InputError where that engine is asked for by name and does not know it.
    """
    import torch

    usual = "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"
    dtype = getattr(torch, numbers or usual)
    if about.settings.get("quantised"):
        model, encoder = adapted(where, about, dtype), None
    elif engine == "torch" or not families.known(config := config_of(where)):
        model, encoder = opened(where, config_of(where), dtype)[0].to(device), None
    else:
        model = opened(where, config, torch.float32)[0].to(device).eval()  # its head stays in fp32
        laid = device == "cpu" and products.available()
        encoder = families.read(model, None if laid else dtype)
        if encoder is None:
            model = model.to(dtype)
        elif laid:
            usual = "bfloat16" if products.halves() else "float32"
            encoder = products.laid_out(encoder, getattr(torch, numbers or usual))
        model = model if encoder is None else families.emptied(model)
    if engine == "packed" and encoder is None:
        raise InputError(f"engine 'packed' does not know a {model.config.model_type} like {about.name}: leave --engine out")
    return model.eval(), encoder, numbers or usual


# --- what a model takes ---------------------------------------------------------------------------------------------


def marked(model: Any) -> Any:
    """The model with `KINDS` kinds of tokens, so that it can be told which ones query and document share.

    A new kind starts as the one that it is split from: the model says what it said before.
    Raises: InputError for a model that knows no kinds of tokens.
    """
    import torch

    embeddings = getattr(getattr(model, model.base_model_prefix, None), "embeddings", None)
    old = getattr(embeddings, "token_type_embeddings", None)
    if old is None:
        raise InputError(f"a {model.config.model_type} knows no kinds of tokens, so it cannot be told of shared ones: no marks")
    if model.config.type_vocab_size < KINDS:
        last = old.num_embeddings - 1
        new = torch.nn.Embedding(KINDS, old.embedding_dim)
        new.weight.data = old.weight.data[[0, last, last, 0, *[last] * (KINDS - 4)]].clone()
        embeddings.token_type_embeddings = new  # type: ignore[union-attr]
        model.config.type_vocab_size = KINDS
    return model


def prefixes_of(base: str, config: Any) -> tuple[str, str]:
    """What a base wants before query and document: e5's own words; names for a decoder, which has no separator."""
    if re.search(r"(^|[/_-])e5-", base) and "instruct" not in base:
        return ("query: ", "passage: ")
    return ("query: ", "\ndocument: ") if is_decoder(config) else ("", "")


def tokenizer_of(where: str) -> Any:
    """The tokenizer of a model, with a token to pad with.

    Raises: InputError where there is none, or where reading it needs a package that is not there.
    """
    from transformers import AutoTokenizer

    with quietly():
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
        except (OSError, ValueError, ImportError, KeyError, TypeError) as problem:
            raise InputError(f"the tokenizer of {where} could not be read: {first_line(problem)}") from problem
    if not tokenizer.is_fast or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(f"the tokenizer of {where} has no words: a base needs its tokenizer.json beside its config.json")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


# --- models of transformers -----------------------------------------------------------------------------------------


def config_of(base: str) -> Any:
    """The configuration of a base, if a head of grades can stand on it.

    Raises: InputError for what holds no model, or one that does not read text.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as READ_TEXT,
    )

    where = locate(base)
    with quietly():
        try:
            config = AutoConfig.from_pretrained(where)
        except (OSError, ValueError, KeyError) as problem:
            raise InputError(f"base {base!r} could not be read: {first_line(problem)}") from problem
    if config.model_type not in _ENCODER_OF and type(config) not in READ_TEXT:
        raise InputError(
            f"base {base!r} is a {config.model_type!r}, no encoder of text: name a BERT, RoBERTa, T5, Llama or such"
        )
    return config


def is_decoder(config: Any) -> bool:
    """True for a model that reads from left to right (Llama), and grades at its last token."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as WRITE
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as FILL

    both = config.model_type in WRITE and config.model_type in FILL  # BERT is in both, and reads both ways by default
    return config.model_type in WRITE and not both


def limit_of(config: Any) -> int | None:
    """Tokens that a model can read at once, None for any number."""
    most = getattr(config, "max_position_embeddings", None)
    if most is None or config.model_type in _ENCODER_OF:
        return None
    return int(most) - (int(config.pad_token_id or 0) + 1 if config.model_type in _OFFSET else 0)


def graded(config: Any, scale: Scale, pad: int | None) -> Any:
    """The configuration with a logit for each grade of a scale, named by its labels."""
    config.id2label = dict(enumerate(scale.labels))
    config.label2id = {label: i for i, label in enumerate(scale.labels)}
    config.problem_type = "single_label_classification"
    if config.pad_token_id is None:
        config.pad_token_id = pad
    return config


def opened(where: str, config: Any, dtype: Any, **options: Any) -> tuple[Any, bool]:
    """The model of a checkpoint with the head that its configuration asks for, and True if its weights are random.

    A folder with a configuration and no weights gives random ones. A head that is not in the checkpoint is made anew.
    Raises: InputError for weights that cannot be read, or that are another model's.
    """
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    auto = AutoModelForTokenClassification if config.model_type in _ENCODER_OF else AutoModelForSequenceClassification
    with quietly():
        if Path(where).is_dir() and not _weights(Path(where)):
            return auto.from_config(config).to(dtype), True  # type: ignore[no-untyped-call]
        try:
            model, found = auto.from_pretrained(
                where, config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
        except (OSError, ValueError, RuntimeError, KeyError) as problem:
            raise InputError(f"the weights of {where} could not be read: {first_line(problem)}") from problem
    body = f"{model.base_model_prefix}."
    lost = [name for name in found["missing_keys"] if name.startswith(body) and "pooler" not in name]
    if 2 * len(lost) > sum(name.startswith(body) for name in model.state_dict()):
        raise InputError(f"the weights of {where} are not of its configuration: {len(lost)} are missing, as {sorted(lost)[0]}")
    return model, False


def adapted(where: str, about: folders.About, dtype: Any) -> Any:
    """The quantised base of a judge with the adapters that were trained on it: on a GPU, with bitsandbytes."""
    needs("train", "peft", by=_BY)
    from peft import PeftModel

    base = locate(about.base)
    config = graded(config_of(base), about.scale, tokenizer_of(where).pad_token_id)
    model, _ = opened(base, config, dtype, **four_bit(dtype))
    with quietly():
        return PeftModel.from_pretrained(model, where)


def four_bit(dtype: Any) -> dict[str, Any]:
    """What `from_pretrained` needs to hold weights in 4 bits (NF4). Source: Dettmers et al. (2023), QLoRA.

    Raises: InputError without bitsandbytes, and without a GPU.
    """
    from importlib.util import find_spec

    import torch

    if find_spec("bitsandbytes") is None:
        raise InputError(f"{_BY} needs bitsandbytes for 4-bit weights: pip install bitsandbytes")
    if not torch.cuda.is_available():
        raise InputError("4-bit weights need a CUDA GPU, and there is none here: train with --lora and without --quantised")
    from transformers import BitsAndBytesConfig

    how = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": how, "device_map": {"": torch.cuda.current_device()}}


def takes(model: Any) -> frozenset[str]:
    """The names of the inputs that a model reads; kinds of tokens only where it tells several apart."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = {"input_ids", "attention_mask"}
    if getattr(inner.config, "type_vocab_size", 0) > 1 and "token_type_ids" in inspect.signature(inner.forward).parameters:
        names.add("token_type_ids")
    return frozenset(names)


def logits_of(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Logits (rows, grades); those of tokens are averaged, which for a linear head is the head on the mean of the tokens."""
    found: torch.Tensor = model(**batch).logits
    if found.ndim == 3:
        mask = batch["attention_mask"].unsqueeze(-1).to(found.dtype)
        found = (found * mask).sum(dim=1) / mask.sum(dim=1)
    return found


def scored(model: Any, reader: Reader, rows: Sequence[Row], batch: int) -> Floats:
    """Logits (rows, grades) in the order of the rows, read from the longest to the shortest, so that little is padded."""
    import torch

    parameter = next(model.parameters())
    order = np.argsort([-len(row["input_ids"]) for row in rows], kind="stable")
    found = np.zeros((len(rows), model.config.num_labels))
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            at = order[start : start + batch]
            given = reader.padded([rows[i] for i in at])
            said = logits_of(model, {name: tensor.to(parameter.device) for name, tensor in given.items()})
            found[at] = said.double().cpu().numpy()
    return found


def _weights(where: Path) -> bool:
    return any(any(where.glob(f"{name}*")) for name in ("model.safetensors", "model-", "pytorch_model", "adapter_model"))
