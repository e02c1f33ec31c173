"""What a transformer computes and moves at the least, from its configuration and the lengths of what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GATED = ("modernbert", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3", "smollm3", "qwen3_vl_text")
"""Models whose feed-forward has a gate: three matrices, not two."""


class Size(NamedTuple):
    """A model's layers. width: numbers of a token between them. attended: of all its heads. inner: inside the feed-forward.

    weights: numbers that a token is multiplied with in one layer.
    """

    layers: int
    width: int
    attended: int
    inner: int
    weights: int


class Read(NamedTuple):
    """What one model of a judge reads of some pairs. config: as in its config.json. lengths: (n,) tokens of each row.

    numbers: that it multiplies, "float32", "bfloat16", "float16" or "int8".
    """

    config: Mapping[str, Any]
    lengths: NDArray[np.int64]
    numbers: str


def size_of(config: Mapping[str, Any]) -> Size | None:
    """The layers of a model of transformers, from its config.json; None where that does not say (a mixture of experts too).

    Of a model of two halves it is the encoder. Embeddings, heads and what DeBERTa adds for places are left out.

    >>> size_of({"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536})
    Size(layers=6, width=384, attended=384, inner=1536, weights=1769472)
    """
    said = config.get("text_config") or config
    named = [
        _first(said, "hidden_size", "d_model", "dim", "n_embd"),
        _first(said, "num_hidden_layers", "num_layers", "n_layers", "n_layer"),
        _first(said, "num_attention_heads", "num_heads", "n_heads", "n_head"),
        _first(said, "intermediate_size", "d_ff", "ffn_dim", "n_inner") or _first(said, "hidden_dim"),
    ]
    if not all(named) or any(said.get(name) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None
    width, layers, heads, inner = (int(found) for found in named if found)
    each = int(_first(said, "head_dim", "d_kv") or width // heads)
    shared = int(said.get("num_key_value_heads") or heads)
    gated = said.get("model_type") in _GATED or "gated" in str(said.get("feed_forward_proj", ""))
    weights = 2 * width * heads * each + 2 * width * shared * each + (3 if gated else 2) * width * inner
    return Size(layers, width, heads * each, inner, weights)


def tflop(size: Size, lengths: ArrayLike) -> float:
    """Operations, in 10^12, that rows of these lengths (n,) need without padding: products of matrices and attention.

    Each token attends to each of its row, so that a model with windows, or one that reads from left to right, needs less.
    """
    n = np.asarray(lengths, dtype=np.float64)
    return float(size.layers * (2 * size.weights * n.sum() + 4 * size.attended * (n**2).sum())) / 1e12


def gigabytes(size: Size, lengths: ArrayLike, *, each: int) -> float:
    """What layers hand on, in 10^9 bytes, if each product writes its numbers once and the next one reads them once.

    each: bytes of a number. What stays in a cache moves less; weights are not counted, since many rows share them.
    """
    tokens = float(np.asarray(lengths, dtype=np.float64).sum())
    return size.layers * tokens * (4 * size.width + 7 * size.attended + 2 * size.inner) * each / 1e9


def _first(said: Mapping[str, Any], *names: str) -> Any:
    return next((said[name] for name in names if said.get(name)), None)
