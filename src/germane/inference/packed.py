"""The packed engine: rows of tokens in, logits out, no padding computed.

Rows are cut into batches of about as many tokens, whatever their number. For many rows on a GPU all batches have one size, so
that the forward is compiled once and the same kernels see every row: the same row gets the same logits, whatever stands beside
it. What a batch lacks is filled, at the end of a job alone. Some batches are in flight while the next ones are made.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from germane.extras import first_line
from germane.inference import attention
from germane.inference.forward import Inputs, logits, steps_of
from germane.inference.ragged import Rows, batches

if TYPE_CHECKING:
    import torch

    from germane.inference.families import Encoder

Floats = NDArray[np.float64]

TOKENS = 67_584
"""Tokens of a batch on a GPU: 512 for each of the 132 multiprocessors of the one that it was measured on."""

ROOM = 24 << 30
"""Bytes of a GPU's memory from which it has room for that; a quarter of TOKENS on a smaller one."""

FEW = 4096
"""Tokens of a batch elsewhere: they stay in a processor's cache."""

SHORTEST = 16
"""Tokens of a row, on average, that a batch of one size has room for: with shorter ones it is not full."""

IN_FLIGHT = 4
STEP = 32
"""Rows are grouped by length up to a multiple of it on a GPU, where many small groups take longer than some padding."""

_LOG = logging.getLogger("germane")


class Engine(Protocol):
    """Whoever computes: parts of rows in, their logits (rows, grades) out, part by part in the same order.

    many: there are so many rows that it pays to prepare for them, as to compile. It may change the last bits of a logit, so
    that whoever asks for the same rows again says the same.
    """

    def __call__(self, parts: Iterable[Rows], *, many: bool = False) -> Iterator[Floats]: ...


class Packed:
    """The packed engine of an encoder on its device.

    longest: tokens of a row at most. tokens: of a batch. way: of attention, one of `attention.WAYS`, the best that is there by
    default. one_size: batches of many rows have one, by default on a GPU. compiled: these are. graphs: each is launched as one
    CUDA graph.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        longest: int,
        tokens: int | None = None,
        way: str | None = None,
        one_size: bool | None = None,
        compiled: bool = True,
        graphs: bool = False,
    ) -> None:
        words = encoder.embedding.words
        self.encoder, self.device, self.longest = encoder, words.device, min(longest, encoder.most)
        self.way = way or _way(encoder, words.dtype, self.device.type)
        least = attention.TILE * -(-self.longest // attention.TILE)
        asked = max(tokens or _room(self.device), least)
        self.tokens = asked // attention.TILE * attention.TILE  # of one size, at most
        self.rows = self.tokens // SHORTEST
        sized = (self.device.type == "cuda" if one_size is None else one_size) and self.way != "grouped"
        self._fixed = _Fixed(self, graphs, compiled) if sized else None

    @property
    def joins(self) -> bool:
        """True if a row among many gets the same bits whatever stands beside it, so that jobs may share batches."""
        return self._fixed is not None and self.way == "varlen"

    def __call__(self, parts: Iterable[Rows], *, many: bool = False) -> Iterator[Floats]:
        waiting: deque[_Part] = deque()
        flying: deque[tuple[_Flight, list[_Share]]] = deque()
        for rows, shares in self._batches(parts, waiting):
            flying.append((self._launched(rows, many), shares))
            while len(flying) > IN_FLIGHT:
                _land(*flying.popleft())
            while waiting and not waiting[0].left:
                yield waiting.popleft().found
        while flying:
            _land(*flying.popleft())
        yield from (part.found for part in waiting)

    def warm_up(self) -> None:
        """Compiles what many rows need, if anything is; the seconds that it takes are not those of labelling."""
        ids = np.full(self.longest, 5, dtype=np.int32)
        row = Rows(ids, None if self.encoder.embedding.kinds is None else ids * 0, np.array([0, len(ids)]))
        for _ in range(3):
            self._launched(row, many=True).landed()

    def _batches(self, parts: Iterable[Rows], waiting: deque[_Part]) -> Iterator[tuple[Rows, list[_Share]]]:
        """Rows of a batch and whose they are; rows of a part go from the longest to the shortest, and on into the next."""
        held: list[Rows] = []
        shares: list[_Share] = []
        room, lines = self.tokens, self.rows
        for rows in parts:
            part = _Part(rows.n, self.encoder.grades)
            waiting.append(part)
            order = np.argsort(-rows.lengths, kind="stable")
            lengths, at = rows.lengths[order], 0
            while at < len(order):
                cut = next(batches(lengths[at : at + lines], room, lines))
                if held and lengths[at] > room:  # it begins the next batch
                    yield _joined(held), shares
                    held, shares, room, lines = [], [], self.tokens, self.rows
                    continue
                chosen = order[at : at + cut.stop]
                held.append(rows.take(chosen))
                shares.append(_Share(part, chosen))
                room, lines, at = room - int(lengths[at : at + cut.stop].sum()), lines - cut.stop, at + cut.stop
                if not lines:
                    yield _joined(held), shares
                    held, shares, room, lines = [], [], self.tokens, self.rows
        if held:
            yield _joined(held), shares

    def _launched(self, rows: Rows, many: bool) -> _Flight:
        if self._fixed is None or not many or len(rows.ids) > self.tokens or rows.lengths.max() > self.longest:
            return self._exactly(rows)
        try:
            return self._fixed.launched(rows)
        except Exception as problem:
            if self._fixed.works or "out of memory" in str(problem):
                raise
            _LOG.warning("the model could not be compiled, and goes on slower as it is: %s", first_line(problem))
            self._fixed = None
            return self._exactly(rows)

    def _exactly(self, rows: Rows) -> _Flight:
        """A batch of its own size, as it is."""
        import torch

        with torch.no_grad():
            way = "varlen" if self.way == "varlen" else "grouped"  # `flex` is slow until it is compiled
            return _flight(logits(self.encoder, _inputs(self, rows), steps_of(self.encoder.shape, way, False)), rows.n)


class _Part:
    """Rows that were given together: their logits, and how many are still to come."""

    def __init__(self, n: int, grades: int) -> None:
        self.found, self.left = np.zeros((n, grades)), n


class _Share(NamedTuple):
    """Which rows of a part a batch holds."""

    part: _Part
    at: NDArray[np.int64]


class _Flight(NamedTuple):
    """Logits on their way to the host. event: None where they are there."""

    logits: torch.Tensor
    n: int
    event: Any = None

    def landed(self) -> Floats:
        if self.event is not None:
            self.event.synchronize()
        return np.asarray(self.logits[: self.n].double().numpy())


def _flight(found: torch.Tensor, n: int) -> _Flight:
    import torch

    if found.device.type != "cuda":
        return _Flight(found.cpu(), n)
    host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
    host.copy_(found, non_blocking=True)
    return _Flight(host, n, _event(found))


def _event(of: torch.Tensor) -> Any:
    """What says when all that was asked of a GPU until now is done; None for what is no GPU."""
    import torch

    if not of.is_cuda:
        return None
    event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def _land(flight: _Flight, shares: list[_Share]) -> None:
    found, at = flight.landed(), 0
    for share in shares:
        share.part.found[share.at] = found[at : at + len(share.at)]
        share.part.left -= len(share.at)
        at += len(share.at)


def _joined(parts: list[Rows]) -> Rows:
    """Rows of several parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    kinds = [part.kinds for part in parts if part.kinds is not None]
    starts = np.concatenate([[0], np.cumsum(np.concatenate([part.lengths for part in parts]))])
    return Rows(np.concatenate([part.ids for part in parts]), np.concatenate(kinds) if kinds else None, starts)


def _room(device: torch.device) -> int:
    """Tokens of a batch that a device has room for."""
    import torch

    if device.type != "cuda":
        return FEW
    return TOKENS if torch.cuda.get_device_properties(device).total_memory >= ROOM else TOKENS // 4


def _way(encoder: Encoder, dtype: torch.dtype, device: str) -> str:
    """How attention is best computed here."""
    import torch

    if device != "cuda" or encoder.shape.bias == "disentangled":
        return "grouped"
    if encoder.shape.bias == "distance":
        return "flex"
    half = dtype in (torch.float16, torch.bfloat16)
    return "varlen" if half and encoder.shape.scale is None and attention.has_varlen() else "grouped"


def _numbers(rows: Rows) -> tuple[NDArray[np.int32], ...]:
    """Ids, positions, kinds (0 where there are none) and starts, as a model takes them."""
    positions = np.arange(len(rows.ids)) - np.repeat(rows.starts[:-1], rows.lengths)
    kinds = np.zeros_like(rows.ids) if rows.kinds is None else rows.kinds
    return rows.ids, positions.astype(np.int32), kinds, rows.starts.astype(np.int32)


def _inputs(engine: Packed, rows: Rows) -> Inputs:
    """A batch of exactly these rows, on the engine's device."""
    import torch

    device = engine.device
    ids, positions, kinds, starts = (torch.from_numpy(part).to(device) for part in _numbers(rows))
    every = torch.arange(rows.n + 1, dtype=torch.int32, device=device)
    longest = int(rows.lengths.max())
    made = Inputs(ids, positions, None if rows.kinds is None else kinds, starts, starts[:-1], every, longest)
    if engine.way == "varlen":
        return made
    return made._replace(groups=attention.groups_of(rows.lengths, step=STEP if device.type == "cuda" else 1, device=device))


class _Fixed:
    """Batches of one size: the inputs lie where they lay before, so that a graph of the launches can be replayed."""

    def __init__(self, engine: Packed, graphs: bool, compiled: bool) -> None:
        import torch

        self.engine, self.graphs, self.works = engine, graphs, False
        self.steps = steps_of(engine.encoder.shape, engine.way, compiled)
        self.blocks = engine.tokens // attention.TILE if engine.way == "flex" else 0
        sizes = [engine.tokens] * 3 + [engine.rows + 1, engine.rows]
        sizes += [engine.tokens, self.blocks, self.blocks**2] if self.blocks else []
        self._ends = np.cumsum([0, *(-(-size // 64) * 64 for size in sizes)])  # each begins where a GPU reads best
        self._there = torch.zeros(int(self._ends[-1]), dtype=torch.int32, device=engine.device)
        self._hosts: deque[tuple[torch.Tensor, Any]] = deque()
        self._graph: Any = None
        self._out: torch.Tensor | None = None
        slots = [self._there[at : at + size] for at, size in zip(self._ends[:-1].tolist(), sizes, strict=True)]
        every = torch.arange(engine.rows + 1, dtype=torch.int32, device=engine.device)
        blocks = None
        if self.blocks:
            row, count, which = slots[5:]
            blocks = attention.block_mask(row, count, which.view(self.blocks, self.blocks))
        ids, positions, kinds, starts, firsts = slots[:5]
        self._inputs = Inputs(ids, positions, kinds, starts, firsts, every, engine.longest, (), blocks)

    def launched(self, rows: Rows) -> _Flight:
        import torch

        with torch.no_grad():
            self._fill(rows)
            if not self.graphs:
                found = self._forward()
                self.works = True
                return _flight(found, rows.n)
            if self._graph is None:
                self._record()
            self._graph.replay()
            self.works = True
            assert self._out is not None
            return _flight(self._out, rows.n)

    def _forward(self) -> torch.Tensor:
        return logits(self.engine.encoder, self._inputs, self.steps)

    def _record(self) -> None:
        """Runs the forward until it is compiled, then records its launches."""
        import torch

        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._forward()
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._out = self._forward()

    def _fill(self, rows: Rows) -> None:
        """Puts a batch where the forward reads it; what is left over are tokens of no row, and rows of no token."""
        pinned = self._pinned()
        host = pinned.numpy()
        ids, positions, kinds, starts = _numbers(rows)
        last = np.full(self.engine.rows + 1, starts[-1])
        last[: len(starts)] = starts
        parts = [ids, positions, kinds, last, starts[:-1]]
        if self.blocks:
            row, count, which = attention.blocks_of(rows.lengths, self.engine.tokens)
            parts += [row, count, which.ravel()]
        for at, end, part in zip(self._ends[:-1], self._ends[1:], parts, strict=True):
            host[at : at + len(part)] = part
            host[at + len(part) : end] = 0
        self._there.copy_(pinned, non_blocking=True)
        self._hosts.append((pinned, _event(self._there)))

    def _pinned(self) -> torch.Tensor:
        """Memory for the next batch, once what was copied from it before is there."""
        import torch

        if len(self._hosts) <= IN_FLIGHT:
            return torch.zeros(len(self._there), dtype=torch.int32, pin_memory=self._there.is_cuda)
        pinned, copied = self._hosts.popleft()
        if copied is not None:
            copied.synchronize()
        return pinned
