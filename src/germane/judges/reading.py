"""The probabilities of the grades, read from a language model: the next token after the prompt, or after its reasons."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.judges.prompts import Frame
from germane.judges.prompts.grading import MARK

Floats = NDArray[np.float64]
REASON_TOKENS = 200
BLOCK = 512
"""Pairs whose tokens and images are made at once."""


class Reading(NamedTuple):
    """What the model said of n pairs. logits: (n, grades) log-probabilities of the grades' tokens among all tokens.

    mass: (n,) what they add up to. said: the reasons, "" where none were asked for. A pair that was never answered within
    the tokens allowed has logits that are no numbers, and mass 0.
    """

    logits: Floats
    mass: Floats
    said: list[str]


class Reader:
    """A language model and its prompt. limit: tokens of query and item. pictures: what turns images into patches.

    The part of the prompt that all pairs share is computed once a call. Pairs are sorted by length and padded on the left.
    """

    def __init__(
        self, model: Any, frame: Frame, *, limit: int, pictures: Any = None, reason_tokens: int = REASON_TOKENS
    ) -> None:
        self.model, self.frame, self.limit, self.pictures = model, frame, limit, pictures
        self.reason_tokens = reason_tokens

    def read(self, queries: Sequence[str], texts: Sequence[str], images: Sequence[Any] = (), *, batch: int = 16) -> Reading:
        """What the model says of each pair. images: PIL images or None, one a pair, or nothing at all."""
        import torch

        n, size = len(queries), len(self.frame.grades)
        found = Reading(np.full((n, size), np.nan), np.zeros(n), [""] * n)
        with torch.no_grad(), self._sixteen():
            prefix = self._prefix() if n > 1 else None
            for start in range(0, n, BLOCK):  # patches of images are large: not all at once
                part = slice(start, start + BLOCK)
                self._read_block(queries[part], texts[part], images[part], prefix, batch, found, start)
        return found

    def _read_block(
        self,
        queries: Sequence[str],
        texts: Sequence[str],
        images: Sequence[Any],
        prefix: Any,
        batch: int,
        found: Reading,
        start: int,
    ) -> None:
        """Reads some of the pairs and writes what was found at `start`. One loop's body, with all that it goes on."""
        import torch

        pixels = [None if image is None else prepared(self.pictures, self.model.config, image) for image in images]
        pixels = pixels or [None] * len(queries)
        rows = self.frame.ids(queries, texts, self.limit, [p.ids if p else () for p in pixels])
        for at in batches([len(row) for row in rows], [p is not None for p in pixels], batch):
            if pixels[at[0]] is not None:
                state = self._with_images([rows[i] for i in at], [p for i in at if (p := pixels[i])])
            else:
                state = self._as_text([rows[i] for i in at], prefix)
            logits, said = self._reasons(state) if self.frame.mark else (state.logits, [""] * len(at))
            chosen = torch.log_softmax(logits.double(), dim=-1)[:, list(self.frame.grades)].cpu().numpy()
            there = [start + i for i in at]
            found.logits[there] = chosen
            found.mass[there] = np.nan_to_num(np.exp(chosen)).sum(axis=1)
            for i, words in zip(there, said, strict=True):
                found.said[i] = words

    def _sixteen(self) -> AbstractContextManager[Any]:
        """Weights of 32 bits on a GPU, as in training, are multiplied in 16."""
        import torch

        weight = next(self.model.parameters())
        on = weight.is_cuda and torch.cuda.is_bf16_supported()
        return torch.autocast("cuda", torch.bfloat16, enabled=on)

    def _prefix(self) -> Any:
        """Keys and values of the shared beginning; None where the model's layers cannot go on from copies of them."""
        import torch

        config = self.model.config
        kinds = set(getattr(config.get_text_config(), "layer_types", None) or ["full_attention"])
        if not self.frame.head or kinds != {"full_attention"} or not _shares(config):
            return None
        head = torch.tensor([self.frame.head], device=self.model.device)
        positions = torch.arange(head.shape[1], device=head.device)[None]
        given = self.model(input_ids=head, position_ids=positions, use_cache=True, logits_to_keep=1)
        return kept(given)

    def _as_text(self, rows: list[list[int]], prefix: Any) -> State:
        import torch

        head = [] if prefix is not None else list(self.frame.head)
        ids, mask = self._padded([head + row for row in rows])
        before = 0 if prefix is None else len(self.frame.head)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + before
        cache = None
        if prefix is not None:
            cache = copy.deepcopy(prefix)
            cache.batch_repeat_interleave(len(rows))
            mask = torch.cat([mask.new_ones(len(rows), before), mask], dim=1)
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            **{remembering(self.model): cache},
            use_cache=bool(self.frame.mark) or cache is not None,
            logits_to_keep=1,
        )
        return State(out.logits[:, -1], mask, positions[:, -1] + 1, kept(out) if self.frame.mark else None)

    def _with_images(self, rows: list[list[int]], pixels: list[Any]) -> State:
        import torch

        ids, mask = self._padded([list(self.frame.head) + row for row in rows])
        given = shown(self.model, ids, pixels)
        out = self.model(input_ids=ids, attention_mask=mask, **given, use_cache=bool(self.frame.mark), logits_to_keep=1)
        inner = getattr(self.model, "base_model", self.model)
        deltas = next((m.rope_deltas for m in inner.modules() if getattr(m, "rope_deltas", None) is not None), None)
        step = mask.sum(dim=1) + (deltas.reshape(-1).to(mask.device) if deltas is not None else torch.zeros_like(mask[:, 0]))
        return State(out.logits[:, -1], mask, step, kept(out) if self.frame.mark else None)

    def _padded(self, rows: list[list[int]]) -> tuple[Any, Any]:
        """Token ids and mask (rows, longest), padded on the left, so that every prompt ends in the last column."""
        import torch

        tokenizer, longest = self.frame.tokenizer, max(map(len, rows))
        filler = padding(tokenizer)
        ids = torch.tensor([[filler] * (longest - len(row)) + row for row in rows], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.model.device)
        return ids, mask

    def _reasons(self, state: State) -> tuple[Any, list[str]]:
        """Goes on greedily until each row has written the mark; the logits after it (no number where it never does)."""
        import torch

        tokenizer, n = self.frame.tokenizer, state.logits.shape[0]
        logits, mask, step, cache = state
        found = torch.full_like(logits, float("nan"))
        said: list[list[int]] = [[] for _ in range(n)]
        going = [True] * n
        ends = {i for i in (tokenizer.eos_token_id, self.model.generation_config.eos_token_id) if isinstance(i, int)}
        three = _many_axes(self.model.config)
        for _ in range(self.reason_tokens):
            following = logits.argmax(dim=-1)
            for i, token in enumerate(following.tolist()):
                if going[i]:
                    said[i].append(token)
                    going[i] = token not in ends
            if not any(going):
                break
            mask = torch.cat([mask, mask.new_ones(n, 1)], dim=1)
            at = step[:, None].expand(3, n, 1) if three else step[:, None]
            known = {remembering(self.model): cache}
            out = self.model(input_ids=following[:, None], attention_mask=mask, position_ids=at, use_cache=True, **known)
            logits, cache, step = out.logits[:, -1], kept(out), step + 1
            for i in range(n):
                if going[i] and tokenizer.decode(said[i][-12:]).rstrip(" ").endswith(MARK):
                    found[i], going[i] = logits[i], False
            if not any(going):
                break
        words = [tokenizer.decode(tokens, skip_special_tokens=True).removesuffix(MARK).strip() for tokens in said]
        return found, words


class State(NamedTuple):
    """Where a batch stands: logits of the next token (rows, tokens), mask, next position (rows,), keys and values."""

    logits: Any
    mask: Any
    step: Any
    cache: Any


class Pixels(NamedTuple):
    """One image: its patches, the grid they lie in, and the tokens that stand for it in the prompt."""

    values: Any
    grid: Any
    ids: list[int]


def prepared(pictures: Any, config: Any, image: Any) -> Pixels:
    """An image as patches, and the tokens that it takes in the prompt."""
    made = pictures(images=[image], return_tensors="pt")
    grid = made["image_grid_thw"]
    count = int(grid[0].prod()) // pictures.merge_size**2
    ids = [config.vision_start_token_id, *[config.image_token_id] * count, config.vision_end_token_id]
    return Pixels(made["pixel_values"], grid, ids)


def shown(model: Any, ids: Any, pixels: Sequence[Pixels]) -> dict[str, Any]:
    """What a model is given of images beside the tokens `ids`, in the order of the rows."""
    import torch

    return {
        "pixel_values": torch.cat([p.values for p in pixels]).to(model.device),
        "image_grid_thw": torch.cat([p.grid for p in pixels]).to(model.device),
        "mm_token_type_ids": (ids == model.config.image_token_id).int(),
    }


def batches(lengths: Sequence[int], apart: Sequence[bool], size: int) -> list[list[int]]:
    """Rows in batches of `size`, longest first, those that are to be kept `apart` in batches of their own.

    >>> batches([3, 9, 5], [False, False, True], 2)
    [[1, 0], [2]]
    """
    made = []
    for kind in (False, True):
        rows = sorted((i for i, other in enumerate(apart) if other == kind), key=lambda i: (-lengths[i], i))
        made += [rows[i : i + size] for i in range(0, len(rows), size)]
    return made


def remembering(model: Any) -> str:
    """What a model's forward calls the keys and values that it is given: "cache" since transformers 5.24."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"


def kept(out: Any) -> Any:
    """The keys and values that came back, under either name."""
    return out.cache if hasattr(out, "cache") else out.past_key_values


def padding(tokenizer: Any) -> int:
    """The token that fills what no row needs; it is masked, so any will do."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(i for i in known if i is not None))


def _many_axes(config: Any) -> bool:
    """Whether positions have three axes, as in models that see images."""
    rope = getattr(config.get_text_config(), "rope_parameters", None) or {}
    return "mrope_section" in rope or getattr(config, "vision_config", None) is not None


def _shares(config: Any) -> bool:
    """Whether the model takes plain positions after a shared beginning: of those that see images, not all do."""
    return not _many_axes(config) or config.model_type == "qwen3_vl"
