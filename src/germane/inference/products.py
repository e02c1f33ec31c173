"""Products of matrices on a CPU: weights laid out once as oneDNN reads them, in half precision where the CPU multiplies that.

What is rounded are the factors of products; sums, norms and states between layers stay in single precision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from germane.inference.families import Encoder, Layer

if TYPE_CHECKING:
    import torch

ROWS = 2048
"""Rows of a product that weights are laid out for; others get the same numbers."""

FUSED = {"gelu": ("gelu", "none"), "gelu_new": ("gelu", "tanh"), "gelu_pytorch_tanh": ("gelu", "tanh"), "relu": ("relu", "")}
"""Activations that are computed inside the product before them."""


def halves() -> bool:
    """True where the CPU multiplies bf16 itself, twice as fast as single precision."""
    import torch

    told: Any = torch.cpu
    asked = [getattr(told, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return available() and any(ask() for ask in asked if ask is not None)


def available() -> bool:
    """True where torch has oneDNN, with the operations that are used here."""
    import torch

    there: Any = torch.backends.mkldnn
    return bool(there.is_available()) and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def laid_out(encoder: Encoder, dtype: torch.dtype) -> Encoder:
    """An encoder on the CPU whose layers multiply in these numbers."""
    return replace(encoder, layers=tuple(_layer(layer, dtype) for layer in encoder.layers))


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, act: str = "") -> torch.Tensor:
    """(n, out) act(x weight^T + bias), in the weight's numbers. weight: laid out. act: one of `FUSED`, "" for none."""
    import torch

    name, kind = FUSED.get(act, ("none", ""))
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x.to(weight.dtype), weight, bias, name, [], kind)
    return found


def _layer(layer: Layer, dtype: torch.dtype) -> Layer:
    width = len(layer.qkv) // 3
    more: dict[str, Any] = {}
    for name in ("qkv", "out", "up", "down"):
        bias = getattr(layer, f"{name}_bias")
        more[name] = packed(getattr(layer, name), dtype)
        more[f"{name}_bias"] = None if bias is None else bias.to(dtype)
    return layer._replace(ask=packed(layer.qkv[:width], dtype), answer=packed(layer.qkv[width:], dtype), **more)


def packed(weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A weight (out, in) laid out for `product`, in these numbers."""
    import torch

    found: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype).contiguous(), ROWS)
    return found
