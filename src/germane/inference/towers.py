"""A tower of torch: an encoder of transformers, its tokens pooled, projected, and brought to length 1.

A base may be a folder or hub name of transformers (its tokens are averaged) or of sentence-transformers, whose modules.json
is read here: loading that package takes seconds that a judge does not have. What it computes is the same, and tested.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.extras import first_line, needs, quietly
from germane.inference.encoding import Tower, Vectors
from germane.inference.tokens import Ints
from germane.types import InputError

if TYPE_CHECKING:
    import torch

SHAPE = "tower.json"
PROJECTION = "projection.safetensors"
POOLINGS = ("mean", "cls", "max", "lasttoken")
_BY = "inference/towers.py"
_HALVES = ("t5", "mt5", "umt5")  # models of an encoder and a decoder, of which we use the encoder
_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet")  # positions are counted from the number that pads


@dataclass(frozen=True)
class Shape:
    """What a tower is besides its weights. layers: (in, out, bias, activation) of each after pooling; pad: a token's number."""

    pooling: str
    dimension: int
    pad: int
    most: int
    layers: tuple[tuple[int, int, bool, str], ...] = ()


@cache
def _tower_class() -> type[torch.nn.Module]:
    """The class of towers, made when torch is first needed."""
    import torch

    class TorchTower(torch.nn.Module):
        def __init__(self, encoder: Any, shape: Shape) -> None:
            super().__init__()
            self.encoder, self.shape = encoder, shape
            parts: list[torch.nn.Module] = []
            for size, out, bias, activation in shape.layers:
                parts.append(torch.nn.Linear(size, out, bias=bias))
                if activation == "Tanh":
                    parts.append(torch.nn.Tanh())
            self.projection = torch.nn.Sequential(*parts)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0].float()
            pooled = _pooled(hidden, attention_mask, self.shape.pooling)
            return torch.nn.functional.normalize(self.projection(pooled), dim=-1)

    return TorchTower


def _pooled(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    import torch

    if how == "cls":
        return hidden[:, 0]
    if how == "lasttoken":
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), mask.sum(dim=1) - 1]
    kept = mask.unsqueeze(-1).to(hidden.dtype)
    if how == "max":
        return (hidden + (kept - 1) * 1e9).amax(dim=1)
    return (hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1e-9)


def started(base: str, *, dimension: int | None = None) -> tuple[torch.nn.Module, Any, bool]:
    """A new tower from a base, its tokenizer, and True if its weights are random (a configuration without weights).

    base: what `from_pretrained` takes. dimension: of a projection on top, started orthogonal; None is the base's own.

    Raises: InputError for what is no encoder of text, and for modules of sentence-transformers that are not known here.
    """
    needs("train", "torch", "transformers", by=_BY)
    import torch
    from transformers import AutoConfig, AutoTokenizer

    if (Path(base) / SHAPE).is_file():
        return _again(Path(base), dimension)
    with quietly():
        inner, pooling, dense = _modules(base)
        try:
            config = AutoConfig.from_pretrained(base, subfolder=inner)
            tokenizer = AutoTokenizer.from_pretrained(base, subfolder=inner)
        except (OSError, ValueError, KeyError, ImportError, TypeError) as problem:
            raise InputError(f"base {base!r} could not be read: {first_line(problem)}") from problem
        _is_encoder(base, config, said=bool(pooling))
        if not tokenizer.is_fast:
            raise InputError(f"base {base!r} has no fast tokenizer (tokenizer.json): the student needs one")
        encoder, random = _encoder(base, inner, config)
    size, layers, weights = int(config.hidden_size), [], []
    for out, bias, activation, state in dense:
        layers.append((size, out, bias, activation))
        weights.append(state)
        size = out
    if dimension is not None:
        layers.append((size, dimension, False, "Identity"))
        weights.append(None)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    shape = Shape(pooling or "mean", dimension or size, int(pad), _most(config), tuple(layers))
    tower = _tower_class()(encoder, shape)
    linear = [part for part in tower.projection if isinstance(part, torch.nn.Linear)]  # type: ignore[union-attr]
    for part, state in zip(linear, weights, strict=True):
        if state is None:
            torch.nn.init.orthogonal_(part.weight)
        else:
            part.load_state_dict(state)
    return tower, tokenizer, random


def _again(folder: Path, dimension: int | None) -> tuple[torch.nn.Module, Any, bool]:
    """A tower that was trained before, to be trained further."""
    from transformers import PreTrainedTokenizerFast

    tower = load(folder)
    known = shape_of(folder).dimension
    if dimension not in (None, known):
        raise InputError(f"{folder} makes vectors of {known} numbers, not of {dimension}: leave --dimension out")
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))  # type: ignore[no-untyped-call]
    return tower, tokenizer, False


def save(tower: Any, tokenizer: Any, folder: Path) -> None:
    """Writes a tower: the encoder as transformers saves it, its tokenizer.json, and what stands on it."""
    from safetensors.torch import save_file

    with quietly():
        tower.encoder.save_pretrained(folder)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / SHAPE).write_text(json.dumps(asdict(tower.shape), indent=2) + "\n", encoding="utf-8")
    if tower.shape.layers:
        save_file({k: v.contiguous().cpu() for k, v in tower.projection.state_dict().items()}, str(folder / PROJECTION))


def shape_of(folder: Path) -> Shape:
    """The shape of a saved tower: needs no torch."""
    try:
        said = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
        return Shape(**{**said, "layers": tuple((a, b, bool(c), d) for a, b, c, d in said["layers"])})
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{folder} holds no tower: {problem}") from problem


def load(folder: Path) -> torch.nn.Module:
    """A saved tower, ready to encode, in single precision on the CPU."""
    needs("train", "torch", "transformers", by=_BY)
    from safetensors.torch import load_file
    from transformers import AutoConfig

    shape = shape_of(folder)
    with quietly():
        encoder, _ = _encoder(str(folder), "", AutoConfig.from_pretrained(folder))
    tower = _tower_class()(encoder, shape)
    if shape.layers:
        tower.projection.load_state_dict(load_file(str(folder / PROJECTION)))  # type: ignore[union-attr]
    return tower.eval()


def runs(tower: Any) -> Tower:
    """A tower of torch as arrays in, arrays out, on the device that it is on."""
    import torch

    def run(ids: Ints, mask: Ints) -> Vectors:
        device = next(tower.parameters()).device
        with torch.inference_mode():
            found = tower(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
        return np.asarray(found.float().cpu().numpy(), dtype=np.float32)

    return run


# --- reading a base -------------------------------------------------------------------------------------------------

Dense = tuple[int, bool, str, Any]


def _modules(base: str) -> tuple[str, str, Sequence[Dense]]:
    """Where the encoder is inside a base, how its tokens are pooled ("" if it does not say), and its dense layers."""
    listed = _file(base, "modules.json")
    if listed is None:
        return "", "", []
    inner, pooling, dense = "", "", []
    for module in json.loads(listed.read_text(encoding="utf-8")):
        kind, path = str(module["type"]).rpartition(".")[2], str(module["path"])
        if kind == "Transformer":
            inner = path
        elif kind == "Pooling":
            pooling = _pooling(base, path)
        elif kind == "Dense":
            dense.append(_dense(base, path))
        elif kind not in ("Normalize", "Dropout"):
            raise InputError(f"base {base!r} has a module {kind!r}, which a tower does not: name another sentence encoder")
    return inner, pooling or "mean", dense


def _pooling(base: str, path: str) -> str:
    said = _json(base, f"{path}/config.json")
    if "pooling_mode" in said:
        modes = said["pooling_mode"] if isinstance(said["pooling_mode"], list) else [said["pooling_mode"]]
    else:
        names = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "lasttoken"}
        modes = [names.get(key[13:], key[13:]) for key, on in said.items() if key.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise InputError(f"base {base!r} pools its tokens by {' and '.join(modes)}: a tower can by {', '.join(POOLINGS)}")
    return str(modes[0])


def _dense(base: str, path: str) -> Dense:
    from safetensors.torch import load_file

    said, weights = _json(base, f"{path}/config.json"), _file(base, f"{path}/model.safetensors")
    activation = str(said.get("activation_function", "torch.nn.modules.linear.Identity")).rpartition(".")[2]
    if weights is None or activation not in ("Identity", "Tanh"):
        raise InputError(f"base {base!r} has a dense layer that cannot be read: expected safetensors, Tanh or no activation")
    state = {name.removeprefix("linear."): tensor.float() for name, tensor in load_file(str(weights)).items()}
    return int(said["out_features"]), bool(said.get("bias", True)), activation, state


def _file(base: str, name: str) -> Path | None:
    if Path(base).is_dir():
        path = Path(base) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(base, name, _raise_exceptions_for_missing_entries=False)
    except OSError as problem:
        raise InputError(f"base {base!r} could not be read: {first_line(problem)}") from problem
    return Path(found) if found else None


def _json(base: str, name: str) -> dict[str, Any]:
    path = _file(base, name)
    if path is None:
        raise InputError(f"base {base!r} lacks {name}, which its modules.json names")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def prompts_of(base: str) -> tuple[str, str] | None:
    """What a base of sentence-transformers puts before queries and documents, if it says so."""
    path = _file(base, "config_sentence_transformers.json")
    said = json.loads(path.read_text(encoding="utf-8")).get("prompts") or {} if path else {}
    found = (str(said.get("query") or ""), str(said.get("document") or said.get("passage") or ""))
    return found if any(found) else None


def _is_encoder(base: str, config: Any, *, said: bool) -> None:
    """Refuses what reads no text, and language models that nobody made an encoder of (`said`: its modules.json does)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as WRITE
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as FILL

    name = config.model_type
    if not hasattr(config, "vocab_size") or not hasattr(config, "hidden_size"):
        raise InputError(f"base {base!r} is a {name!r}, no encoder of text: name a BERT, MPNet, E5 or such")
    if not said and name in WRITE and name not in FILL:
        raise InputError(
            f"base {base!r} is a language model ({name}), no sentence encoder: name a BERT, MPNet, E5 or such, or one of "
            "sentence-transformers"
        )


def _encoder(base: str, inner: str, config: Any) -> tuple[Any, bool]:
    """The encoder in single precision, without a pooler (it is not used, and its weights would be random)."""
    import torch
    from transformers import AutoModel, AutoModelForTextEncoding

    auto: Any = AutoModelForTextEncoding if config.model_type in _HALVES else AutoModel
    try:
        made = auto._model_mapping[type(config)]
    except KeyError as problem:
        raise InputError(f"base {base!r} is a {config.model_type!r}, no encoder of text: name a BERT, MPNet or E5") from problem
    made = made[0] if isinstance(made, tuple) else made
    bare = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(made.__init__).parameters else {}
    where = Path(base) / inner
    if where.is_dir() and not any(any(where.glob(f"{name}*")) for name in ("model.safetensors", "model-", "pytorch_model")):
        return made(config, **bare).float(), True
    try:
        return auto.from_pretrained(base, subfolder=inner, config=config, dtype=torch.float32, **bare), False
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise InputError(f"the weights of {base!r} could not be read: {first_line(problem)}") from problem


def _most(config: Any) -> int:
    """Tokens that a model can read at once."""
    most = getattr(config, "max_position_embeddings", None)
    if most is None or config.model_type in _HALVES:
        return 1_000_000
    return int(most) - (int(config.pad_token_id or 0) + 1 if config.model_type in _OFFSET else 0)
