"""Attention among the tokens of each row alone, where rows lie one after the other without padding.

Three ways, of which none computes what stands between rows:
- `varlen`, a kernel that is told where rows begin: on CUDA, where scores need no more than a product of query and key;
- `flex`, blocks of 128 x 128 tokens, those between rows left out: on CUDA, where scores depend on the distance too;
- `grouped`, rows of about one length side by side: everywhere, for any scores. On a CPU of exactly one length.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.inference.ragged import Ints, starts_of

if TYPE_CHECKING:
    import torch

WAYS = ("varlen", "flex", "grouped")
TILE = 128
"""Tokens of a block of `flex`."""

Bias = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]  # queries and keys (n, heads, L, d) to what scores get added


class Group(NamedTuple):
    """Rows of about one length. rows: (n,) which. at: (n, L) their tokens. real: (n, L) False where a shorter one is filled."""

    rows: torch.Tensor
    at: torch.Tensor
    real: torch.Tensor | None


@cache
def has_varlen() -> bool:
    """True where torch has attention of variable length for the GPU that is here, windows included (torch 2.11)."""
    import torch

    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return "window_size" in inspect.signature(varlen_attn).parameters


def varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    starts: tuple[torch.Tensor, torch.Tensor],
    longest: tuple[int, int],
    window: int = -1,
) -> torch.Tensor:
    """(tokens of q, heads, d) what each query finds among the keys of its row, of (tokens, heads, d) each in half precision.

    starts, longest: of the queries' rows, and of the keys'. window: tokens to either side that are looked at, -1 all.
    """
    import torch
    from torch.nn.attention.varlen import varlen_attn

    more: dict[str, Any] = {} if window < 0 else {"window_size": (window, window)}
    found: Any = varlen_attn(q, k, v, *starts, *longest, **more)
    return torch.as_tensor(found)


def grouped(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    groups: Sequence[Group],
    *,
    first: bool = False,
    bias: Bias | None = None,
    window: int = -1,
    scale: float | None = None,
) -> torch.Tensor:
    """(tokens of q, heads, d) as `varlen`, group by group. first: q holds the first token of each row alone."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention as attend

    out = torch.empty_like(q)
    for group in groups:
        keys, values = (part[group.at].transpose(1, 2) for part in (k, v))
        queries = (q[group.rows][:, None] if first else q[group.at]).transpose(1, 2)
        mask = _mask(queries, keys, group, bias, window)
        found = attend(queries, keys, values, attn_mask=mask, scale=scale).transpose(1, 2)
        if first:
            out[group.rows] = found[:, 0]
        elif group.real is None:
            out[group.at] = found
        else:
            out[group.at[group.real]] = found[group.real]
    return out


def _mask(q: torch.Tensor, k: torch.Tensor, group: Group, bias: Bias | None, window: int) -> torch.Tensor | None:
    """What is added to scores (n or 1, heads or 1, queries, keys), or where they count; None for neither."""
    import torch

    counts = None if group.real is None else group.real[:, None, None, :]
    length = k.shape[2]
    if 0 <= window < length - 1:
        places = torch.arange(length, device=k.device)
        near = (places[None, :] - places[: q.shape[2], None]).abs() <= window
        counts = near[None, None] if counts is None else counts & near
    if bias is None:
        return counts
    added = bias(q, k)
    return added if counts is None else added.masked_fill(~counts, float("-inf"))


def groups_of(lengths: Ints, *, step: int, device: Any) -> tuple[Group, ...]:
    """The groups of rows whose lengths are the same when rounded up to a multiple of step; 1: nothing is filled."""
    import torch

    begins = starts_of(lengths)[:-1]
    rounded = -(-lengths // step) * step
    made = []
    for size in np.unique(rounded):
        rows = np.flatnonzero(rounded == size)
        size = int(min(size, lengths[rows].max()))
        places = np.arange(size)
        real = places < lengths[rows, None]
        at = begins[rows, None] + np.where(real, places, 0)
        there = [torch.from_numpy(part).to(device) for part in (rows, at, real)]
        made.append(Group(there[0], there[1], None if real.all() else there[2]))
    return tuple(made)


# --- by blocks: scores that depend on the distance ------------------------------------------------------------------


def blocks_of(lengths: Ints, tokens: int) -> tuple[Ints, Ints, Ints]:
    """For `flex`: (tokens,) the row of each token; for each block of queries how many blocks of keys it looks at, and which:
    (blocks,) and (blocks, blocks). tokens: a multiple of TILE; those behind the last row look at none but their own block.
    """
    used = int(lengths.sum())
    edges = np.unique(np.concatenate([[used], np.arange(-(-used // TILE) * TILE, tokens + 1, TILE)]))
    lengths = np.concatenate([lengths, np.diff(edges)])
    starts, blocks = starts_of(lengths), tokens // TILE
    row = np.repeat(np.arange(len(lengths)), lengths)
    first = starts[row[::TILE]] // TILE
    last = (starts[row[TILE - 1 :: TILE] + 1] - 1) // TILE
    which = np.minimum(first[:, None] + np.arange(blocks), blocks - 1)
    return row, last - first + 1, which


def flex(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    blocks: Any,
    by_distance: torch.Tensor,
    scale: float | None = None,
) -> torch.Tensor:
    """(tokens, heads, d) as `varlen`, with by_distance (heads, 2 M - 1) added to scores: M - 1 + key's place - query's."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    middle = by_distance.shape[1] // 2

    def added(score: Any, batch: Any, head: Any, query: Any, key: Any) -> Any:
        return score + by_distance[head, torch.clamp(key - query, -middle, middle) + middle]

    q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
    found: Any = flex_attention(q, k, v, score_mod=added, block_mask=blocks, scale=scale)
    return torch.as_tensor(found[0].transpose(0, 1))


def block_mask(row: torch.Tensor, count: torch.Tensor, which: torch.Tensor) -> Any:
    """What `flex` takes, over tensors that may be filled anew for each batch."""
    from torch.nn.attention.flex_attention import BlockMask

    def same(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return row[query] == row[key]

    return BlockMask.from_kv_blocks(count[None, None], which[None, None], BLOCK_SIZE=TILE, mask_mod=same)
