"""Batches for language models: several examples one after the other in one sequence, none seeing another.

Source: Krell, Kosec, Perez, Fitzgibbon (2021), "Efficient sequence packing without cross-contamination".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.judges.reading import Pixels, padding

if TYPE_CHECKING:
    import torch

PACK = 4096
"""Tokens of one sequence, at most, unless one example alone is longer: attention grows with the square of it."""


class Row(NamedTuple):
    """One example. ids: all that the model reads. start: where reasons begin, len(ids) without any; they are learned as they
    are. target: (grades,) probabilities of the grade, which is what follows the last token. picture: opens its image.
    """

    ids: list[int]
    start: int
    target: NDArray[np.float64]
    picture: Callable[[], Pixels] | None = None


def packs(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Which examples share a sequence of at most `most` tokens: the longest first, each where it first fits.

    >>> packs([5, 3, 4, 2], 7)
    [[0, 3], [2, 1]]
    """
    made: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = next((k for k, left in enumerate(room) if left >= lengths[i]), None)
        if fits is None:
            made.append([i])
            room.append(most - lengths[i])
        else:
            made[fits].append(i)
            room[fits] -= lengths[i]
    return made


def packed(rows: Sequence[Row], tokenizer: Any, most: int | None = PACK) -> dict[str, Any]:
    """A batch of rows in sequences of at most `most` tokens (None: one row a sequence), padded on the left.

    part: (sequences, tokens) which example a token is of, 0 for padding. keep: the columns at which an answer's token is
    said next. reason_at, reason: where reasons' tokens are said, in `keep`, and which; reason_weight: their share of their
    row. grade_at, target: where the grades are, and what they should be, one a row.
    """
    import torch

    lengths = [len(row.ids) for row in rows]
    groups = packs(lengths, most) if most is not None else [[i] for i in range(len(rows))]
    longest = max(sum(lengths[i] for i in group) for group in groups)
    ids = np.full((len(groups), longest), padding(tokenizer))
    positions, part = np.zeros_like(ids), np.zeros_like(ids)
    grade_at = np.zeros((len(rows), 2), dtype=np.int64)
    reasons: list[tuple[int, int, int, float]] = []
    for line, group in enumerate(groups):
        at = longest - sum(lengths[i] for i in group)
        for number, i in enumerate(group, 1):
            row, end = rows[i], at + lengths[i]
            ids[line, at:end], positions[line, at:end], part[line, at:end] = row.ids, np.arange(lengths[i]), number
            grade_at[i] = line, end - 1
            learned = range(row.start, lengths[i])
            reasons += [(line, at + k - 1, row.ids[k], 1 / len(learned)) for k in learned]
            at = end
    columns = [column for _, column in grade_at.tolist()] + [column for _, column, _, _ in reasons]
    keep, place = np.unique(np.array(columns, dtype=np.int64), return_inverse=True)
    grade_at[:, 1] = place[: len(rows)]
    made = {
        "input_ids": torch.from_numpy(ids),
        "position_ids": torch.from_numpy(positions),
        "part": torch.from_numpy(part),
        "keep": torch.from_numpy(keep),
        "grade_at": torch.from_numpy(grade_at),
        "target": torch.from_numpy(np.stack([row.target for row in rows]).astype(np.float32)),
        "reason_at": torch.tensor([[r[0], p] for r, p in zip(reasons, place[len(rows) :].tolist(), strict=True)]).reshape(
            -1, 2
        ),
        "reason": torch.tensor([r[2] for r in reasons], dtype=torch.int64),
        "reason_weight": torch.tensor([r[3] for r in reasons], dtype=torch.float32),
    }
    if opened := [row.picture() for row in rows if row.picture is not None]:
        if most is not None:
            raise ValueError("rows with images are not packed: where an image's tokens are depends on the whole sequence")
        made["pixel_values"] = torch.cat([p.values for p in opened])
        made["image_grid_thw"] = torch.cat([p.grid for p in opened])
    return made


def loss(model: Any, batch: dict[str, Any], grades: Sequence[int]) -> torch.Tensor:
    """The mean over rows of the surprise at the grade (by its probabilities), and at the reasons where there are any.

    A row's reasons weigh as much as its grade, however many tokens they are: the grade is what the judge is for. All other
    tokens are read, and teach nothing.
    """
    import torch

    given = _given(model, batch)
    logits = model(input_ids=batch["input_ids"], **given, use_cache=False, logits_to_keep=batch["keep"]).logits
    n = len(batch["target"])
    of_grade = torch.log_softmax(logits[batch["grade_at"][:, 0], batch["grade_at"][:, 1]].float(), dim=-1)
    found: torch.Tensor = -(batch["target"] * of_grade[:, list(grades)]).sum() / n
    if len(batch["reason"]):
        of_reasons = torch.log_softmax(logits[batch["reason_at"][:, 0], batch["reason_at"][:, 1]].float(), dim=-1)
        surprise = -of_reasons.gather(1, batch["reason"][:, None])[:, 0]
        found = found + (batch["reason_weight"] * surprise).sum() / n
    return found


def _given(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """Positions and mask, as the model's attention takes them; of rows with images, what the model makes positions of."""
    import torch

    part = batch["part"]
    if "pixel_values" in batch:
        of_image = (batch["input_ids"] == _inner(model).config.image_token_id).int()
        images = {name: batch[name] for name in ("pixel_values", "image_grid_thw")}
        return {"attention_mask": part, "mm_token_type_ids": of_image, **images}
    if part.max() <= 1:  # nothing is packed
        return {"attention_mask": part, "position_ids": batch["position_ids"]}
    how = str(_inner(model).config.get_text_config()._attn_implementation)
    if how.startswith("flash"):  # it finds where sequences begin by their positions
        return {"position_ids": batch["position_ids"]}
    same = part[:, :, None] == part[:, None, :]
    seen = (same & torch.ones_like(same[0]).tril())[:, None]
    if how != "sdpa":
        weight = next(model.parameters())
        least = torch.finfo(torch.float32).min
        seen = torch.zeros(seen.shape, device=weight.device).masked_fill(~seen, least)
    return {"attention_mask": seen, "position_ids": batch["position_ids"]}


def _inner(model: Any) -> Any:
    """The model itself, out of what several GPUs wrap around it."""
    return getattr(model, "module", model)
