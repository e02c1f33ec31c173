"""The student while it learns: towers and head of torch, the loss of margins, and batches that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.inference import towers
from germane.inference.encoding import Vectors, encode
from germane.inference.tokens import Tokens
from germane.judges import lexical
from germane.judges.head import Head
from germane.training.examples import Examples

if TYPE_CHECKING:
    import torch

TOGETHER = 8
"""Documents of one query that are read in one batch, at most: margins are between them."""

RANK, HIDDEN = 32, 64  # numbers that the head keeps of product and gap, and of its hidden layer
DROPOUT = 0.1


class Parts(NamedTuple):
    """What reads for a student: the tokenizer to save, tokens of queries and of texts, weights of words."""

    tokenizer: Any
    query: Tokens
    text: Tokens
    weights: dict[str, float] | None

    def features(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
        if self.weights is None:
            return np.zeros((len(queries), 0), dtype=np.float32)
        return lexical.features(queries, texts, weights=self.weights)


@cache
def _classes() -> tuple[type[torch.nn.Module], type[torch.nn.Module]]:
    """The classes of a head and of a student, made when torch is first needed."""
    import torch
    from torch.nn import functional

    class Faster(torch.nn.Module):
        """A linear layer that learns `by` times as fast as the rest, under one optimiser: what is stored is weight / by.

        Source: the equalised learning rate of Karras et al. (2018), section 4.1, with a constant of our own.
        """

        def __init__(self, size: int, out: int, by: float, *, bias: bool = True) -> None:
            super().__init__()
            start = torch.nn.Linear(size, out, bias=bias)
            self.by = by
            self.weight = torch.nn.Parameter(start.weight.detach() / by)
            self.bias = torch.nn.Parameter(start.bias.detach() / by) if bias else None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.linear(x, self.weight * self.by, None if self.bias is None else self.bias * self.by)

    class TorchHead(torch.nn.Module):
        mean: torch.Tensor
        spread: torch.Tensor

        def __init__(self, dimension: int, features: NDArray[np.float32], grades: int, by: float) -> None:
            super().__init__()
            seen = 1 + features.shape[1]
            spread = features.std(axis=0)
            self.register_buffer("mean", torch.from_numpy(features.mean(axis=0)))
            self.register_buffer("spread", torch.from_numpy(np.where(spread > 1e-6, spread, 1.0).astype(np.float32)))
            self.product = Faster(dimension, RANK, by, bias=False)
            self.difference = Faster(dimension, RANK, by, bias=False)
            self.hidden = Faster(2 * RANK + seen, HIDDEN, by)
            self.out = Faster(HIDDEN, grades, by)
            self.direct = Faster(seen, grades, by, bias=False)

        def forward(self, queries: torch.Tensor, texts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
            queries, texts = queries.float(), texts.float()
            cosine = (queries * texts).sum(dim=1, keepdim=True)
            seen = torch.cat([cosine, (features - self.mean) / self.spread], dim=1)
            q, d = (x * x.shape[1] ** 0.5 for x in (queries, texts))
            given = torch.cat([self.product(q * d), self.difference((q - d).abs()), seen], dim=1)
            hidden = functional.relu(self.hidden(functional.dropout(given, DROPOUT, self.training)))
            logits: torch.Tensor = self.out(hidden) + self.direct(seen)
            return logits

        def plain(self) -> Head:
            """The head as arrays, for numpy."""
            named = {name: getattr(self, name) for name in ("product", "difference", "hidden", "out", "direct")}
            weight = {name: (part.weight * part.by).detach().cpu().numpy().T for name, part in named.items()}
            bias = {f"{n}_bias": (named[n].bias * named[n].by).detach().cpu().numpy() for n in ("hidden", "out")}
            moved = {name: getattr(self, name).cpu().numpy() for name in ("mean", "spread")}
            return Head(**{k: np.ascontiguousarray(v, np.float32) for k, v in (weight | bias | moved).items()})

    class Student(torch.nn.Module):
        """Towers and head. One tower for both is held once, so that a checkpoint holds it once."""

        def __init__(self, parts: Sequence[torch.nn.Module], head: torch.nn.Module) -> None:
            super().__init__()
            self.towers, self.head = torch.nn.ModuleList(parts), head

        def forward(self, query_ids: Any, query_mask: Any, text_ids: Any, text_mask: Any, place: Any, features: Any) -> Any:
            queries, texts = self.towers[0](query_ids, query_mask), self.towers[-1](text_ids, text_mask)
            return self.head(queries[place], texts, features)

        def state_dict(self, *given: Any, **options: Any) -> Any:
            """Each tensor once: a base may tie two names to one (T5's embeddings), which safetensors refuses."""
            found, held = super().state_dict(*given, **options), set()
            for name in list(found):
                where = (found[name].data_ptr(), found[name].shape)
                if found[name].numel() and where in held:
                    del found[name]
                held.add(where)
            return found

        def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
            """As it was saved: a tensor that is missing is that of its other name."""
            whole, first = dict(state_dict), dict[Any, str]()
            for name, tensor in super().state_dict().items():
                other = first.setdefault((tensor.data_ptr(), tensor.shape), name)
                if name not in whole and other in whole:
                    whole[name] = whole[other]
            return super().load_state_dict(whole, strict, assign)

        def activation_checkpointing_enable(self, **options: Any) -> None:
            tower: Any
            for tower in self.towers:
                tower.encoder.activation_checkpointing_enable(**options)

        def gradient_checkpointing_enable(self, **options: Any) -> None:  # its name before transformers 5.2x
            tower: Any
            for tower in self.towers:
                tower.encoder.gradient_checkpointing_enable(**options)

    return TorchHead, Student


def margins(logits: torch.Tensor, target: torch.Tensor, query: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """The mean squared error of margins of expected gain between rows of one query; 0 where no query has two rows.

    logits, target: (rows, grades). query: (rows,) number of the query. gains: (grades,), of which the largest counts as 1.
    Source: Walmart (2025), arXiv 2505.07105, on expected gains in place of one score.
    """
    from torch.nn.functional import softmax

    unit = gains / gains.max()
    off = softmax(logits.float(), dim=1) @ unit - target @ unit  # the margin's error is the difference of two such
    same = (query[:, None] == query[None, :]).float().triu(diagonal=1)
    squared = (off[:, None] - off[None, :]) ** 2 * same
    return squared.sum() / same.sum().clamp(min=1.0)


def student(parts: Sequence[torch.nn.Module], features: NDArray[np.float32], grades: int, faster: float) -> Any:
    """Towers with a new head. features: of the training pairs, to standardise by. faster: how much the head learns faster."""
    head, whole = _classes()
    shape: Any = parts[0].shape
    return whole(parts, head(shape.dimension, features, grades, faster))


def groups(examples: Examples, seed: int) -> list[list[int]]:
    """Rows of one query, at most `TOGETHER` in a group, dealt so that each group has of all of the query's grades."""
    drawn = np.random.default_rng(seed)
    asked, order = examples.asked, drawn.permutation(len(examples))
    order = order[np.lexsort((examples.grade[order], asked[order]))]
    found: list[list[int]] = []
    for rows in np.split(order, np.flatnonzero(np.diff(asked[order])) + 1):
        count = -(-len(rows) // TOGETHER)
        found += [rows[i::count].tolist() for i in range(count)]
    return found


def vectors(fitted: Any, examples: Examples, parts: Parts, *, batch: int = 64) -> tuple[Vectors, Vectors]:
    """The vectors (rows, d) of the queries and of the texts of a student as it stands."""
    fitted.eval()
    found = []
    for texts, tokens, tower in (
        (examples.query, parts.query, fitted.towers[0]),
        (examples.text, parts.text, fitted.towers[-1]),
    ):
        found.append(encode(texts, tokens, towers.runs(tower), dimension=tower.shape.dimension, batch=batch))
    return found[0], found[1]


def scored(fitted: Any, examples: Examples, parts: Parts) -> NDArray[np.float64]:
    """The logits (rows, grades) of a student as it stands."""
    head: Head = fitted.head.plain()
    return head(*vectors(fitted, examples, parts), parts.features(examples.query, examples.text))
