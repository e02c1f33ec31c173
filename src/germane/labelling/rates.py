"""How many pairs a second: several ways of asking take turns, so that what slows the machine slows them all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.inference.operations import Read, gigabytes, size_of, tflop
from germane.judges import ask
from germane.stats.means import stratified_mean
from germane.stats.moments import Moments
from germane.types import Estimate, Judge

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 32
"""Pairs of a round, at least."""

WIDE = 2.0
"""Times the low end of an interval that its high end may be, before a rate says nothing."""

Ask = Callable[["pa.Table"], Any]
"""Whoever answers a table of pairs, and returns when the last answer is there."""

_LOG = logging.getLogger("germane")

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


@dataclass(frozen=True)
class Need:
    """What pairs take at the least, by numbers that are multiplied. tokens: read. tflop: operations. gigabytes: moved."""

    tokens: int
    tflop: Mapping[str, float]
    gigabytes: float | None

    @classmethod
    def of(cls, reads: Sequence[Read]) -> Need:
        """What models need that read so much; no operations where a configuration does not say its layers."""
        tokens, operations, moved = 0, dict[str, float](), 0.0
        known = True
        for read in reads:
            tokens += int(read.lengths.sum())
            if (size := size_of(read.config)) is None:
                known = False
                continue
            operations[read.numbers] = operations.get(read.numbers, 0.0) + tflop(size, read.lengths)
            moved += gigabytes(size, read.lengths, each=BYTES.get(read.numbers, 4))
        return cls(tokens, operations if known else {}, moved if known and reads else None)

    def multiplied(self, numbers: str) -> Need:
        """The same for somebody who multiplies other numbers; what is moved is then not known."""
        return Need(self.tokens, {numbers: sum(self.tflop.values())} if self.tflop else {}, None)


@dataclass(frozen=True)
class Rate:
    """How fast somebody answers. rows: pairs of a round. ratio: how many times as long as the first one it takes, for
    as many tokens, or pairs where nobody counts tokens.

    tokens_per_s: None where nobody counts tokens. matmul, memory: the shares of what this machine can do at the most, of
    what the pairs need without padding; None where that is not known. cost_per_million: money.
    """

    named: str
    rows: int
    rows_per_s: Estimate
    tokens_per_s: Estimate | None = None
    matmul: Estimate | None = None
    memory: Estimate | None = None
    cost_per_million: Estimate | None = None
    ratio: Estimate | None = None


def asking(judge: Judge) -> Ask:
    """A judge as labelling asks it: in blocks of its own size, the next ones taken while one is computed."""
    stream, block = getattr(judge, "labels", None), getattr(judge, "block", None)

    def work(pairs: pa.Table) -> None:
        size = block or pairs.num_rows
        parts = [pairs.slice(at, size) for at in range(0, pairs.num_rows, size)]
        for _ in stream(iter(parts)) if stream is not None else map(lambda part: ask(judge, part), parts):
            pass

    return work


def in_turns(
    asks: Mapping[str, Ask], pairs: pa.Table, *, seconds: float, rounds: int, between: Callable[[], Any] | None = None
) -> dict[str, tuple[int, list[float]]]:
    """Pairs of a round, and the seconds of each round, of each way of asking.

    seconds: of all rounds of one way together, about; it is given the first so many pairs that fit. Nothing of the first calls,
    by which that is found out, is counted. between: called once a round.
    """
    rows = {}
    for name, work in asks.items():
        _LOG.info("%s: how many pairs fit", name)
        rows[name] = fitting(work, pairs, seconds / rounds)
        work(pairs.slice(0, rows[name]))
    took: dict[str, list[float]] = {name: [] for name in asks}
    for number in range(rounds):
        for name, work in asks.items():
            _LOG.info("round %d of %d: %s", number + 1, rounds, name, extra={"done": number, "total": rounds})
            took[name].append(_timed(work, pairs.slice(0, rows[name])))
        if between is not None:
            between()
    return {name: (rows[name], took[name]) for name in asks}


def quickest(asks: Mapping[str, Ask], pairs: pa.Table) -> str:
    """The name of the way that answers a few pairs in the least time, each asked twice, of which the first does not count."""
    few = pairs.slice(0, 2 * FEWEST)
    took = {}
    for name, work in asks.items():
        _LOG.info("trying %s", name)
        work(few.slice(0, FEWEST // 4))
        took[name] = _timed(work, few)
    return min(took, key=lambda name: took[name])


def fitting(work: Ask, pairs: pa.Table, seconds: float) -> int:
    """How many of the pairs it answers in so many seconds, about; FEWEST at least, and all at most."""
    few = min(FEWEST, pairs.num_rows)
    _timed(work, pairs.slice(0, few))  # it may compile
    start = took = _timed(work, pairs.slice(0, few))
    while True:
        enough = took >= seconds or (took >= seconds / 2 and took >= 2 * start)
        if enough or few == pairs.num_rows:  # what a job costs at its start is then not most of it
            return int(min(max(few * min(seconds / max(took, 1e-9), 2), FEWEST), pairs.num_rows))
        few = int(min(max(2 * few, few * seconds / max(took, 1e-9) / 2), 16 * few, pairs.num_rows))
        took = _timed(work, pairs.slice(0, few))


def rate(
    named: str,
    rows: int,
    took: Sequence[float],
    *,
    need: Need | None = None,
    matmul: Mapping[str, Sequence[float]] | None = None,
    memory: Sequence[float] = (),
    hour_price: float | None = None,
) -> Rate:
    """The rate of rounds of so many rows that took so many seconds each.

    need: of those rows. matmul: TFLOP/s of this machine by numbers, round by round, since a busy machine's best is less too;
    memory: its GB/s. The interval is of rounds on this
    machine, at this time: another hour may have another rate.

    >>> found = rate("fake", 100, [0.5, 0.5, 0.4], hour_price=3.6)
    >>> round(found.rows_per_s.value, 1), round(found.cost_per_million.value, 2)
    (215.4, 4.64)
    """
    a_second = geometric([rows / each for each in took])
    found = Rate(named, rows, a_second)
    if hour_price is not None:
        money, low, high = (hour_price / 3600 * 1e6 / each for each in (a_second.value, a_second.high, a_second.low))
        se = money * a_second.se / a_second.value
        found = replace(found, cost_per_million=replace(a_second, value=money, se=se, low=low, high=high))
    if need is None:
        return found
    found = replace(found, tokens_per_s=scaled(a_second, need.tokens / rows))
    ceilings = matmul or {}
    if need.tflop and set(need.tflop) <= set(ceilings):
        least = [sum(work / ceilings[numbers][i] for numbers, work in need.tflop.items()) for i in range(len(took))]
        found = replace(found, matmul=geometric([best / each for best, each in zip(least, took, strict=True)]))
    if len(memory) and need.gigabytes:
        found = replace(found, memory=geometric([need.gigabytes / m / t for m, t in zip(memory, took, strict=True)]))
    return found


def geometric(values: Sequence[float]) -> Estimate:
    """The geometric mean of independent rounds, with a t interval of their logarithms, whose limits are above 0 as they are.

    >>> round(geometric([1.0, 4.0]).value, 3)
    2.0
    """
    found = stratified_mean({"all": Moments.of(np.log(values))}, {"all": len(values)})
    value, low, high = (float(np.exp(each)) for each in (found.value, found.low, found.high))
    caveat = "" if high <= WIDE * low else "rounds differ too much to say: measure longer, or more rounds"
    return replace(
        found, value=value, se=value * found.se, low=low, high=high, method="geometric mean of rounds", caveat=caveat
    )


def times(first: tuple[int, Sequence[float]], other: tuple[int, Sequence[float]]) -> Estimate:
    """How many times as long the other one takes for as much: the geometric mean of rounds side by side.

    first, other: what each did in a round (pairs, or tokens), and the seconds of each round.

    >>> round(times((200, [1.0, 1.1]), (100, [1.0, 1.1])).value, 3)
    2.0
    """
    return geometric([b / other[0] * first[0] / a for a, b in zip(first[1], other[1], strict=True)])


def scaled(estimate: Estimate, by: float) -> Estimate:
    """The same in another unit. by: above 0."""
    parts = {name: getattr(estimate, name) * by for name in ("value", "se", "low", "high")}
    return replace(estimate, **parts)


def _timed(work: Ask, pairs: pa.Table) -> float:
    began = time.perf_counter()
    work(pairs)
    return time.perf_counter() - began
