"""The packed forward: what an encoder computes of a batch of rows that lie one after the other.

Linear layers, norms and activations see a plain matrix (tokens, width). After the last attention only the first token of each
row goes on, where the head reads no other: a layer's feed-forward is most of its work, and is left out for all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from germane.inference.attention import Group, flex, grouped, varlen
from germane.inference.families import Embedding, Encoder, Layer, Shape
from germane.inference.products import FUSED, product

if TYPE_CHECKING:
    import torch


Act = Callable[..., "torch.Tensor"]


class Inputs(NamedTuple):
    """A batch on its device. ids, positions, kinds: (tokens,). starts: (n + 1,), firsts: (n,) the first token of each row.

    every: (n + 1,) 0, 1, ..., n. longest: tokens of a row at most. groups, blocks: for the attention that needs them.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    kinds: torch.Tensor | None
    starts: torch.Tensor
    firsts: torch.Tensor
    every: torch.Tensor
    longest: int
    groups: tuple[Group, ...] = ()
    blocks: Any = None


class Steps(NamedTuple):
    """The parts of a forward, as they are or compiled. layer, last: (states, layer, inputs) to states."""

    embed: Callable[[Embedding, Inputs], torch.Tensor]
    layer: Callable[[torch.Tensor, Layer, Inputs], torch.Tensor]
    last: Callable[[torch.Tensor, Layer, Inputs], torch.Tensor]


def logits(encoder: Encoder, inputs: Inputs, steps: Steps) -> torch.Tensor:
    """(rows, grades) of a batch."""
    x = steps.embed(encoder.embedding, inputs)
    for layer in encoder.layers[:-1]:
        x = steps.layer(x, layer, inputs)
    if encoder.mean:
        return encoder.head(_mean(encoder, steps.layer(x, encoder.layers[-1], inputs), inputs))
    x = steps.last(x, encoder.layers[-1], inputs)
    return encoder.head(_final(encoder, x))


@cache
def steps_of(shape: Shape, way: str, compiled: bool) -> Steps:
    """The parts for models of this shape: compiled once for all its layers, and for all models of the process."""
    import torch

    act = _act(shape.act)

    def embed(of: Embedding, inputs: Inputs) -> torch.Tensor:
        return _embed(of, inputs, shape.eps)

    def layer(x: torch.Tensor, w: Layer, inputs: Inputs) -> torch.Tensor:
        return _layer(x, w, inputs, shape, act, way)

    def last(x: torch.Tensor, w: Layer, inputs: Inputs) -> torch.Tensor:
        return _layer(x, w, inputs, shape, act, way, last=True)

    if not compiled:
        return Steps(embed, layer, last)
    return Steps(*(torch.compile(part, dynamic=False) for part in (embed, layer, last)))


def _embed(of: Embedding, inputs: Inputs, eps: float) -> torch.Tensor:
    from torch.nn.functional import embedding, layer_norm, linear

    x = embedding(inputs.ids, of.words).float()
    if of.kinds is not None:
        x = x + (of.kinds[0] if inputs.kinds is None else embedding(inputs.kinds, of.kinds)).float()
    if of.positions is not None:
        x = x + embedding(inputs.positions + of.offset, of.positions).float()
    x = x.to(of.norm.dtype)
    if of.project is not None:
        x = linear(x, of.project)
    return layer_norm(x, (len(of.norm),), of.norm, of.norm_bias, eps)


def _layer(x: torch.Tensor, w: Layer, inputs: Inputs, shape: Shape, act: Act, way: str, *, last: bool = False) -> torch.Tensor:
    from torch.nn.functional import layer_norm

    def norm(states: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
        return states if weight is None else layer_norm(states, (len(weight),), weight, bias, shape.eps)

    given = norm(x, w.norm, w.norm_bias) if shape.before else x
    found = _attended(given, w, inputs, shape, way, last)
    if last:
        x = x.index_select(0, inputs.firsts)
    x = x + _product(found, w.out, w.out_bias)
    if shape.before:
        return x + _fed(norm(x, w.norm2, w.norm2_bias), w, act, shape)
    x = norm(x, w.norm, w.norm_bias)
    return norm(x + _fed(x, w, act, shape), w.norm2, w.norm2_bias)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    from torch.nn.functional import linear

    return product(x, weight, bias) if weight.is_mkldnn else linear(x, weight, bias)


def _fed(x: torch.Tensor, w: Layer, act: Act, shape: Shape) -> torch.Tensor:
    """Feed-forward; where norms stand before, one half of what is inside gates the other."""
    if w.up.is_mkldnn and shape.act in FUSED and not shape.before:
        return product(product(x, w.up, w.up_bias, shape.act), w.down, w.down_bias)
    inner = _product(x, w.up, w.up_bias)
    if shape.before:
        value, gate = inner.chunk(2, dim=-1)
        return _product(act(value) * gate, w.down, w.down_bias)
    return _product(act(inner), w.down, w.down_bias)


def _act(name: str) -> Act:
    from transformers.activations import ACT2FN

    found: Act = ACT2FN[name]
    return found


def _attended(x: torch.Tensor, w: Layer, inputs: Inputs, shape: Shape, way: str, last: bool) -> torch.Tensor:
    """(tokens or rows, width) what attention finds, before it is projected."""
    heads, width = shape.heads, len(w.qkv) // 3
    first = last and way != "flex"
    if first:  # the first token of each row asks, all tokens answer
        ours, theirs = (None, None) if w.qkv_bias is None else (w.qkv_bias[:width], w.qkv_bias[width:])
        ask, answer = (w.qkv[:width], w.qkv[width:]) if w.ask is None or w.answer is None else (w.ask, w.answer)
        q = _product(x.index_select(0, inputs.firsts), ask, ours).view(-1, heads, width // heads)
        k, v = _product(x, answer, theirs).view(-1, 2, heads, width // heads).unbind(1)
    else:
        q, k, v = _product(x, w.qkv, w.qkv_bias).view(-1, 3, heads, width // heads).unbind(1)
    if shape.bias and q.dtype != w.norm2.dtype:  # what is added to scores is not rounded
        q, k, v = (part.to(w.norm2.dtype) for part in (q, k, v))
    if w.cos is not None and w.sin is not None:
        k = _turned(k, w.cos, w.sin, inputs.positions)
        q = q if first else _turned(q, w.cos, w.sin, inputs.positions)  # a first token's is position 0: not turned
    if way == "varlen":
        starts = (inputs.every if first else inputs.starts, inputs.starts)
        found = varlen(q, k, v, starts, (1 if first else inputs.longest, inputs.longest), w.window)
    elif way == "flex" and w.distance is not None:
        found = flex(q, k, v, inputs.blocks, w.distance, shape.scale)
    else:
        added = _bias(w, shape)
        found = grouped(q, k, v, inputs.groups, first=first, bias=added, window=w.window, scale=shape.scale)
    found = found.reshape(len(found), width)
    return found.index_select(0, inputs.firsts) if last and not first else found


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Rotary positions: (tokens, heads, d) turned by their place. Source: Su et al. (2021), eq. 34."""
    import torch

    half = x.shape[-1] // 2
    a, b = x[..., :half].float(), x[..., half:].float()
    c, s = (part[positions][:, None, :half].float() for part in (cos, sin))
    return torch.cat([a * c - b * s, b * c + a * s], dim=-1).to(x.dtype)


def _final(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import layer_norm

    if encoder.final is not None:
        x = layer_norm(x, (x.shape[-1],), *encoder.final, encoder.shape.eps)
    return x.float()


def _mean(encoder: Encoder, x: torch.Tensor, inputs: Inputs) -> torch.Tensor:
    import torch

    return torch.segment_reduce(_final(encoder, x), "mean", offsets=inputs.starts.long(), axis=0)


# --- scores that are more than query times key ----------------------------------------------------------------------


def _bias(w: Layer, shape: Shape) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """What is added to the scores of queries (n, heads, Lq, d) and keys (n, heads, L, d), the queries being the row's first."""
    if shape.bias == "distance":
        return lambda q, k: _by_distance(w, q, k)
    if shape.bias == "disentangled":
        return lambda q, k: _by_place(w, q, k, shape.scale or 1.0)
    return None


def _by_distance(w: Layer, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Source: Raffel et al. (2020), section 2.1, as MPNet has it."""
    import torch

    assert w.distance is not None
    near = torch.arange(k.shape[2], device=k.device)
    gap = near[None, :] - near[: q.shape[2], None]
    return w.distance[:, gap + w.distance.shape[1] // 2][None]


def _by_place(w: Layer, q: torch.Tensor, k: torch.Tensor, scale: float) -> torch.Tensor:
    """Source: He et al. (2021), DeBERTa, eq. 4. Of each query the products with the places of all distances that rows of this
    length have are made, then read along the diagonals: a view, nothing is gathered.
    """
    assert w.places is not None
    n, heads, length, _ = k.shape
    asked, middle = q.shape[2], len(w.places) // 2
    near = w.places[middle - length + 1 : middle + length]  # query's place less key's: -(length - 1), ..., length - 1
    found: Any = 0
    if w.keys is not None:  # (n, heads, query, distance), distance falling as the key goes on
        c = (q @ w.keys[:, near.flip(0)].transpose(-1, -2)).contiguous()
        found = c.as_strided((n, heads, asked, length), (*_outer(c), 2 * length - 2, 1), length - 1)
    if w.queries is not None:  # (n, heads, key, distance), distance rising as the query goes on
        c = (k @ w.queries[:, near].transpose(-1, -2)).contiguous()
        found = found + c.as_strided((n, heads, asked, length), (*_outer(c), 1, 2 * length - 2), length - 1)
    return found * scale  # type: ignore[no-any-return]


def _outer(c: torch.Tensor) -> tuple[int, int]:
    return c.stride(0), c.stride(1)
