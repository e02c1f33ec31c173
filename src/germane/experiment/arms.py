"""Both arms and their grades as numbers: read once, in pieces where files are large, before anything is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import store
from germane.store import coded
from germane.types import InputError, Run

if TYPE_CHECKING:
    import pyarrow as pa

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Arms:
    """What a comparison is made from. ids: of the queries by number, Arrow. control, treatment, grades: blocks of rows.

    in_control, in_treatment, answered: (queries,) by number: does the run show something, has some document a grade?
    """

    ids: Any
    control: coded.Blocks
    treatment: coded.Blocks
    grades: coded.Blocks
    in_control: Flags
    in_treatment: Flags
    answered: Flags

    def numbers(self, queries: Any) -> NDArray[np.int64]:
        """(n,): the number of each of these ids; the number of queries, which is nobody's, for one that is not known."""
        import pyarrow.compute as pc

        found = pc.index_in(queries.cast(self.ids.type), value_set=self.ids)
        return np.asarray(pc.fill_null(found, len(self.ids)).to_numpy(zero_copy_only=False), dtype=np.int64)

    def same_lists(self, which: Flags) -> bool:
        """True if both runs list the same documents in the same order for these queries (queries,)."""
        for number in sorted({*self.control.parts, *self.treatment.parts}):
            lists = []
            for run in (self.control, self.treatment):
                block = run.parts.get(number)
                if block is None:
                    lists.append((np.array([], np.uint16), np.array([], np.uint64)))
                    continue
                these = which[number * coded.QUERIES + block.query.astype(np.int64)]
                lists.append((block.query[these], block.doc[these]))
            if not all(np.array_equal(a, b) for a, b in zip(*lists, strict=True)):
                return False
        return True


def read(control: Run, treatment: Run, judgments: pa.Table, *, gains: Sequence[float] | None = None) -> Arms:
    """The two runs, ranked by score, and each pair's grade, once. gains: of each grade, for what `probs` expect.

    Raises: InputError naming a row that does not conform, or a pair that was graded twice, and differently.
    """
    numbers = coded.Numbers()
    runs = [coded.ranked_blocks(run.table, numbers) for run in (control, treatment)]
    grades = coded.graded_blocks(judgments, numbers, gains)
    if grades.twice:
        grades = coded.graded_blocks(once_each(_whole(judgments)), numbers, gains)
    size = len(numbers)
    asked = [_numbers_of(run, size) for run in runs]
    answered = _numbers_of(grades, size, answered=True)
    return Arms(numbers.ids, runs[0], runs[1], grades, asked[0], asked[1], answered)


def once_each(judgments: pa.Table) -> pa.Table:
    """query_id, doc_id, relevance and judge of each pair, once: the same answer twice is one.

    Raises: InputError naming a pair that was graded twice, and differently.
    """
    if store.first_duplicate(judgments, ["query_id", "doc_id"]) is None:
        return judgments
    sql = """
        SELECT query_id, doc_id, max(relevance) AS relevance, min(judge) AS judge, min(relevance) AS least,
               list(DISTINCT judge ORDER BY judge) AS judges
        FROM judgments GROUP BY query_id, doc_id
    """
    with store.database(judgments=judgments.select(["query_id", "doc_id", "relevance", "judge"])) as query:
        twice = query(f"SELECT * FROM ({sql}) WHERE least < relevance ORDER BY query_id, doc_id").to_pylist()
        if twice:
            pair = twice[0]
            raise InputError(
                f"{len(twice)} pairs have two different grades, first query {pair['query_id']!r} document {pair['doc_id']!r}: "
                f"{pair['least']} and {pair['relevance']} by {' and '.join(pair['judges'])}: adjudicate, or choose one judge"
            )
        return query(f"SELECT query_id, doc_id, relevance, judge FROM ({sql})")


def _whole(judgments: Any) -> pa.Table:
    found: pa.Table = judgments.whole() if isinstance(judgments, store.Stored) else judgments
    return found


def _numbers_of(blocks: coded.Blocks, size: int, *, answered: bool = False) -> Flags:
    """(size,): the queries that have a row in these blocks. answered: with a grade."""
    found = np.zeros(size, dtype=bool)
    for number, block in blocks.parts.items():
        query = block.query[block.relevance >= 0] if answered else block.query
        found[number * coded.QUERIES + query.astype(np.int64)] = True
    return found
