"""Asking a judge block by block, so that a pair which breaks it costs itself alone; and saying how far that is."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from germane.judges import as_table, ask, pairs_of
from germane.labelling.speed import latency_ms
from germane.store import SCHEMAS
from germane.types import InputError, Judge, Judgment, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

IN_A_ROW = 64
"""Pairs that may break a judge one after the other before it is asked whether it can still answer any."""

_LOG = logging.getLogger("germane")

Watch = Callable[[Iterable[Judgment]], Iterator[Judgment]]


class Task(NamedTuple):
    """A block to be asked. rows: (n,) the numbers of its pairs. table: the pairs, in the order in which they are asked."""

    number: int
    rows: NDArray[np.int64]
    table: pa.Table


class Done(NamedTuple):
    """A block that was asked: a judgment of each pair, and the seconds that it took."""

    task: Task
    said: pa.Table
    seconds: float


class Workers(Protocol):
    """Who answers blocks, here or elsewhere. name, block: of the judge; see `types.Bulk`."""

    name: str
    block: int | None

    def answers(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """Each block once, in any order; what one is asked with does not depend on who asks."""
        ...

    def latency_ms(self, pairs: pa.Table) -> float | None: ...


class Here:
    """A judge in this process. watch: sees each answer of a judge that answers pair by pair, as it comes.

    A judge with `labels` (tables to tables, one after the other) takes the next blocks while it computes one. Where it breaks,
    the blocks that it had taken are asked one by one, and it goes on with those after them.
    """

    def __init__(self, judge: Judge, watch: Watch | None = None) -> None:
        self.name, self.block = judge.name, getattr(judge, "block", None)
        self._judge, self._careful = judge, Careful(judge, watch)

    def answers(self, tasks: Iterable[Task]) -> Iterator[Done]:
        tasks, taken = iter(tasks), deque[Task]()
        while True:
            if getattr(self._judge, "labels", None) is not None:
                yield from self._streamed(tasks, taken)
            if not taken and not (taken := deque(islice(tasks, 1))):
                return
            while taken:
                since = time.perf_counter()
                said = self._careful(taken[0].table)
                yield Done(taken.popleft(), said, time.perf_counter() - since)

    def _streamed(self, tasks: Iterator[Task], taken: deque[Task]) -> Iterator[Done]:
        """The blocks that the judge answers before it breaks, if it does; `taken` are then those that it had begun."""
        judge: Any = self._judge
        failed: list[Exception] = []  # of whoever gives the blocks

        def tables() -> Iterator[pa.Table]:
            try:
                for task in tasks:
                    taken.append(task)
                    yield task.table
            except Exception as problem:
                failed.append(problem)
                raise

        stream, since = judge.labels(tables()), time.perf_counter()
        while True:
            try:
                said = next(stream, None)
            except (InputError, OSError):
                raise
            except Exception:
                if failed:
                    raise
                return
            if said is None:
                return
            self._careful.saw(taken[0].table, said)
            yield Done(taken.popleft(), said, time.perf_counter() - since)
            since = time.perf_counter()

    def latency_ms(self, pairs: pa.Table) -> float | None:
        return latency_ms(self._judge, list(pairs_of(pairs)))


class Careful:
    """A judge over tables. A pair that breaks it has the outcome "error", and a note that says why; the others are answered.

    Raises: InputError where it breaks on every pair, or can no longer answer one that it answered before, since then the
    judge is at fault and not the pair; and whatever a judge says itself of input, and the system of files and lines.
    """

    def __init__(self, judge: Judge, watch: Watch | None = None) -> None:
        self._judge, self._watch = judge, watch
        self._good: tuple[pa.Table, pa.Table] | None = None  # a pair that was answered, and what was said
        self._broke = 0  # pairs in a row

    def __call__(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        parts = list(self._parts(table))
        if why := [part.why for part in parts if isinstance(part, _Broken)]:
            self._alive(why[-1])
        return pa.concat_tables([self._without(part) if isinstance(part, _Broken) else part for part in parts])

    def _parts(self, table: pa.Table) -> Iterator[pa.Table | _Broken]:
        """Answers in order; where a judge broke, by halves, down to the pairs that break it."""
        try:
            said = self._asked(table)
        except (InputError, OSError):
            raise
        except Exception as problem:
            if table.num_rows > 1:
                half = table.num_rows // 2
                yield from self._parts(table.slice(0, half))
                yield from self._parts(table.slice(half))
                return
            broken = _Broken(table, f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:200])
            self._broke += 1
            if self._broke % IN_A_ROW == 0:
                self._alive(broken.why)
            yield broken
        else:
            self.saw(table, said)
            yield said

    def saw(self, table: pa.Table, said: pa.Table) -> None:
        """Pairs that were answered. Raises: InputError where some were not."""
        if said.num_rows != table.num_rows:
            raise InputError(
                f"judge {self._judge.name!r} gave {said.num_rows:,} answers for {table.num_rows:,} pairs: it is broken"
            )
        self._broke = 0
        if table.num_rows:
            self._good = table.slice(0, 1), said.slice(0, 1)

    def _asked(self, table: pa.Table) -> pa.Table:
        if self._watch is None or getattr(self._judge, "label", None) is not None:
            return ask(self._judge, table)
        return as_table(self._watch(self._judge(pairs_of(table))))

    def _alive(self, why: str) -> None:
        """Raises: InputError if the judge cannot answer what it answered before, or never answered anything."""
        if self._good is None:
            raise InputError(f"judge {self._judge.name!r} broke on each of its first {self._broke:,} pairs ({why})")
        try:
            ask(self._judge, self._good[0])
        except Exception as problem:
            raise InputError(
                f"judge {self._judge.name!r} broke ({why}), and no longer answers a pair that it answered before: what was "
                "finished is kept, and the same command goes on from there"
            ) from problem

    def _without(self, broken: _Broken) -> pa.Table:
        """No answer to this pair, in the judge's name."""
        import pyarrow as pa

        assert self._good is not None  # or `_alive` had raised
        like = self._good[1].to_pylist()[0]
        ids = {name: broken.table[name][0].as_py() for name in ("query_id", "doc_id")}
        none = dict.fromkeys(like, None) | {name: like[name] for name in ("judge", "fingerprint", "scale", "guide_version")}
        said = none | ids | {"outcome": str(Outcome.ERROR), "note": broken.why}
        return pa.Table.from_pylist([said], SCHEMAS["judgments"].arrow())


class _Broken(NamedTuple):
    """A pair that breaks the judge."""

    table: pa.Table
    why: str


class Telling:
    """Says how far a job is while answers come in, at most twice a second.

    total: pairs to be asked in all. judge: whose money is told, if it costs any. Time is that of a clock which never jumps.
    """

    def __init__(self, total: int, judge: Any) -> None:
        self.judge, self.total = judge, total
        self.done, self.asked, self.without = 0, 0, 0
        self.began = self.last = time.perf_counter()
        self._within = 0  # pairs of the block in flight, and how many of them have no grade
        self._within_without = 0

    def watched(self, answers: Iterable[Judgment]) -> Iterator[Judgment]:
        """The answers, each of them told of."""
        self._within = self._within_without = 0
        for answer in answers:
            self._within += 1
            self._within_without += answer.relevance is None
            self._tell(now_and_then=True)
            yield answer

    def finished(self, rows: int, without: int = 0, *, before: bool = False) -> None:
        """A block is done. before: by an earlier call of the job, so that it says nothing of the rate."""
        self.done += rows
        if not before:
            self.asked += rows
            self.without += without
            self._within = self._within_without = 0
            self._tell(now_and_then=self.done < self.total)

    def _tell(self, *, now_and_then: bool) -> None:
        now = time.perf_counter()
        if now_and_then and now - self.last <= 0.5:
            return
        self.last = now
        done, without = self.done + self._within, self.without + self._within_without
        rate = (self.asked + self._within) / max(now - self.began, 1e-9)
        left = (self.total - done) / max(rate, 1e-9)
        parts = [
            f"{done:,} of {self.total:,} pairs",
            f"{rate:,.0f} a second" if rate >= 1 else f"{60 * rate:.0f} a minute",
        ]
        parts += [f"{left / 60:,.0f} min left"] if left >= 90 else []
        parts += [f"{without:,} without a grade"] if without else []
        money = getattr(getattr(self.judge, "spent", None), "money", 0.0)  # of a judge that costs money
        parts += [f"${money:,.2f}"] if money else []
        _LOG.info(", ".join(parts), extra={"done": done, "total": self.total})
