"""Labelling: equal pairs once, what is known not again, block by block, and the answers in the order of the file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.labelling import work as works
from germane.labelling.answers import Answers, allowed, failures, write
from germane.labelling.asking import Done, Here, Task, Telling, Workers
from germane.labelling.blocks import Blocks
from germane.labelling.known import Known, keyed
from germane.labelling.reading import PairsFile
from germane.labelling.speed import FEW
from germane.types import Judge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    import pyarrow as pa

FAILURES = 1000
"""Rows that may fail to be labelled before a job stops, unless it was said that more may."""

_LOG = logging.getLogger("germane")


class Labelled(NamedTuple):
    """What a job did. read, rows: of the file, and written. deduplicated: rows that a row of the same words answered. known:
    different pairs that the judgment store knew. computed: those that the judge was asked, now or before a kill. stored: new
    labels in the store. outcomes: of rows. quarantined: rows that could not be labelled; failed: what FAILURES counts.
    rows_per_s: that the judge answered. latency_ms: of one pair alone, None if nothing was left to ask. cost: of all answers,
    None where one of them is not known. now: of the computed, those that a watched day asked; None where no day is.
    """

    read: int
    rows: int
    deduplicated: int
    known: int
    computed: int
    stored: int
    outcomes: dict[str, int]
    quarantined: int
    failed: int
    seconds: float
    rows_per_s: float
    latency_ms: float | None
    cost: float | None = None
    now: int | None = None


def label(
    judge: Judge | Workers,
    pairs: PairsFile,
    out: Path,
    blocks: Blocks,
    *,
    block: int | None = None,
    timed: bool = True,
    known: Known | None = None,
    most_failures: int = FAILURES,
    by_query: bool = False,
) -> Labelled:
    """Writes the judge's answer to each row of pairs, in their order, as a table of judgments at `out`.

    judge: in this process, or workers who have it. blocks: opened; what is finished in it is not asked again. block: pairs
    that are put on disk together; by default what the judge likes. timed: a few pairs are asked alone
    afterwards, to measure the latency. known: labels from before, which are not asked again, and where new ones go.
    most_failures: rows that may fail to be labelled. by_query: pairs of one query are asked one after the other, and not those
    of one length: a server that keeps how prompts begin then has it ready. Nine parameters: a job is that much.

    Raises: InputError for a file without pairs, one pair twice, a judge that loses some, and too many failures.
    """
    crew: Any = judge if hasattr(judge, "answers") else None
    work = works.planned(pairs, blocks, block or getattr(judge, "block", None) or works.BLOCK, known)
    told = Telling(work.count, judge)
    crew = crew or Here(judge, told.watched)  # type: ignore[arg-type]
    tasks = works.tasks(pairs, work, blocks, by_query=by_query)
    some = _ask(crew, tasks, len(work.faults), blocks, told, known, most_failures, getattr(judge, "now", None))
    latency = None if some is None or not timed else crew.latency_ms(some)
    _LOG.info("writing the table")
    answers = Answers(blocks, work)
    did = write(out, pairs, work, answers)
    stored = 0 if known is None else known.keep(blocks, work.blocks, blocks.digest)
    return Labelled(
        read=len(work.number),
        rows=did.rows,
        deduplicated=len(work.number) - len(work.faults) - work.different,
        known=work.different - work.count,
        computed=work.count,
        stored=stored,
        outcomes=did.outcomes,
        quarantined=did.quarantined,
        failed=len(work.faults) + sum(blocks.failures(number) for number in range(work.blocks)),
        seconds=answers.seconds,
        rows_per_s=work.count / max(answers.seconds, 1e-9),
        latency_ms=latency,
        cost=answers.cost,
        now=answers.now,
    )


def _ask(
    crew: Workers,
    tasks: Iterable[Task],
    faults: int,
    blocks: Blocks,
    told: Telling,
    known: Known | None,
    most: int,
    now: Collection[tuple[str, str]] | None,
) -> pa.Table | None:
    """Finishes every block; a few pairs of different lengths, if there was a block to finish. faults: rows that fail anyway."""
    failed = allowed(faults, 0, most)
    some: list[pa.Table] = []

    def left() -> Iterator[Task]:
        nonlocal failed
        for task in tasks:
            if not task.table.num_rows:
                failed += blocks.failures(task.number)
                told.finished(len(task.rows), before=True)
                continue
            if not some:  # spread over the lengths, as the file's pairs are
                spread = np.linspace(0, task.table.num_rows - 1, min(FEW, task.table.num_rows)).astype(np.int64)
                some.append(task.table.take(spread))
            yield task

    for done in crew.answers(left()):
        broke = failures(done.said)
        failed = allowed(failed, broke, most)
        _commit(done, blocks, known, broke, now)
        told.finished(len(done.task.rows), done.said["relevance"].null_count)
    return some[0] if some else None


def _commit(done: Done, blocks: Blocks, known: Known | None, broke: int, now: Collection[tuple[str, str]] | None) -> None:
    import pyarrow as pa

    kept = done.said
    if known is None:
        kept = kept.drop_columns(["query_id", "doc_id"])
    else:  # what the store finds a label by
        for name, column in keyed(done.task.table).to_pydict().items():
            kept = kept.append_column(name, pa.array(column, pa.string()))
    if now is not None:
        ids = zip(*(done.task.table[name].to_pylist() for name in ("query_id", "doc_id")), strict=True)
        kept = kept.append_column("asked", pa.array([pair in now for pair in ids], pa.bool_()))
    kept = kept.append_column("number", pa.array(done.task.rows))
    blocks.commit(done.task.number, kept, seconds=done.seconds, failures=broke)
