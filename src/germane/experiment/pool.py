"""The pool: every document in the top k of either arm, with its rank in each and its grade. All else is read off it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import metrics
from germane.experiment.arms import Arms
from germane.store import coded
from germane.store.duck import threads
from germane.store.stored import documents_at, in_pieces
from germane.types import Scale

Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]

UNJUDGED = -1

STEP = 1 << 16
"""Queries that are measured at a time: a million pages at once would hold gigabytes of intermediate numbers."""


@dataclass(frozen=True)
class Documents:
    """The document ids of a pool's rows, read from the runs when they are asked for.

    row: (n,) place in the control's table where `of_control`, else in the treatment's.
    """

    control: Any
    treatment: Any
    row: Ints
    of_control: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Any) -> Any:
        """The ids of these rows of the pool, an Arrow array."""
        import pyarrow as pa

        rows = np.asarray(rows, dtype=np.int64)
        first = self.of_control[rows]
        found: Any = pa.concat_arrays(
            [documents_at(table, self.row[rows[which]]) for table, which in ((self.control, first), (self.treatment, ~first))]
        )
        back = np.empty(len(rows), dtype=np.int64)
        back[np.concatenate((np.flatnonzero(first), np.flatnonzero(~first)))] = np.arange(len(rows))
        return found.take(pa.array(back))

    def places(self, among: Any) -> NDArray[np.int32]:
        """(n,): the place of each id among these, -1 for one that is not there; the runs are read in pieces."""
        import pyarrow.compute as pc

        out = np.empty(len(self.row), dtype=np.int32)
        for table, which in ((self.control, self.of_control), (self.treatment, ~self.of_control)):
            found = np.full(table.num_rows, -1, dtype=np.int32)

            def look(first: int, piece: Any, found: Any = found) -> None:
                at = pc.fill_null(pc.index_in(piece["doc_id"], value_set=among.cast(piece["doc_id"].type)), -1)
                found[first : first + piece.num_rows] = at.to_numpy()

            for _ in in_pieces(table, ("doc_id",), look):
                pass
            out[which] = found[self.row[which]]
        return out

    def to_pylist(self) -> list[str]:
        """All of them, for small pools."""
        return [str(name) for name in self.take(np.arange(len(self))).to_pylist()]


@dataclass(frozen=True)
class Pool:
    """Documents shown by either arm, flat, sorted by query, then as the control ranks them. All arrays are (n,) and numpy.

    query: index into the experiment's queries. control_rank, treatment_rank: 1 = top, 0 = not in that arm's top k.
    relevance: index on the scale, -1 = unjudged. Ranks and relevance are the smallest whole numbers that hold them: make
    them wider before counting with them. docs: the document ids. offsets: (size + 1,) where each query's rows start.
    expected: the gain that the judge's probabilities expect, 0 where unjudged; None unless every judged row has them.
    ties: the share of the places shown that equal scores decided, in control and treatment.
    """

    size: int
    query: Ints
    docs: Documents
    control_rank: Ints
    treatment_rank: Ints
    relevance: Ints
    offsets: Ints
    expected: Floats | None = None
    ties: tuple[float, float] = (0.0, 0.0)

    @property
    def moved(self) -> NDArray[np.bool_]:
        """(n,): True where the rank differs between the arms: only there can a grade change the difference."""
        return np.not_equal(self.control_rank, self.treatment_rank)

    @property
    def unjudged(self) -> NDArray[np.bool_]:
        return np.equal(self.relevance, UNJUDGED)

    def per_query(self, values: Any) -> Floats:
        """The sum of `values` (n,) over each query's documents, (size,)."""
        values = np.asarray(values)
        return self.summed(lambda rows: values[rows])

    def summed(self, values: Callable[[slice], Any]) -> Floats:
        """`per_query` of values that are made for a slice of rows at a time, and take no memory for the others."""
        out = np.zeros(self.size)
        for first, last, rows in self._steps():
            weights = np.asarray(values(rows), dtype=np.float64)
            out[first:last] = np.bincount(self.query[rows] - first, weights, last - first)
        return out

    def pages(self, arm: str) -> Ints:
        """(size,): how many documents each page holds."""
        return np.asarray(self.graded(arm).sum(axis=1))

    def graded(self, arm: str) -> Ints:
        """(size, grades + 1): how many documents of each page have each relevance, the unjudged first."""
        return self._graded[arm]

    @cached_property
    def _graded(self) -> dict[str, Ints]:
        width = int(self.relevance.max(initial=-1)) + 2
        found: dict[str, Ints] = {}
        for arm in ("control", "treatment"):
            ranks = self._ranks(arm)
            out = np.empty((self.size, width), dtype=np.int32)
            for first, last, rows in self._steps():
                cell = (self.query[rows] - first).astype(np.int64) * width + (self.relevance[rows].astype(np.int64) + 1)
                counts = np.bincount(cell[ranks[rows] > 0], minlength=(last - first) * width)
                out[first:last] = counts.reshape(-1, width)
            found[arm] = out
        return found

    def shown(self, arm: str) -> float:
        """How many documents the arm's pages hold, on average over queries."""
        return float(self.pages(arm).sum() / self.size)

    def lists(self, arm: str) -> metrics.Lists:
        """One arm's result lists for metrics.measure."""
        offsets = np.concatenate(([0], np.cumsum(self.pages(arm), dtype=np.int64)))
        relevance = np.empty(offsets[-1], dtype=self.relevance.dtype)
        ranks = self._ranks(arm)
        for _, _, rows in self._steps():
            there = ranks[rows] > 0  # ranks of a page are 1, 2, 3 ... without gaps
            at = offsets[self.query[rows][there]] + ranks[rows][there].astype(np.int64) - 1
            relevance[at] = self.relevance[rows][there]
        return metrics.Lists(offsets, relevance)

    def _ranks(self, arm: str) -> Ints:
        return self.control_rank if arm == "control" else self.treatment_rank

    def _steps(self) -> Iterator[tuple[int, int, slice]]:
        """(first query, past the last, their rows) for every `STEP` queries."""
        for first in range(0, self.size, STEP):
            last = min(first + STEP, self.size)
            yield first, last, slice(int(self.offsets[first]), int(self.offsets[last]))


class _Part(NamedTuple):
    """A block's share of the pool, by query in the block. sizes: rows of each query. ties: places shown, and tied ones."""

    query: Ints
    row: Ints
    of_control: NDArray[np.bool_]
    control_rank: Ints
    treatment_rank: Ints
    relevance: Ints
    expected: NDArray[np.float32] | None
    ties: NDArray[np.int64]


def build(arms: Arms, queries: Any, *, k: int | None, condensed: bool = False) -> Pool:
    """The pool of these queries. Condensed: unjudged documents leave each list before it is cut at k."""
    place = np.full(-(-len(arms.ids) // coded.QUERIES) * coded.QUERIES + 1, -1, dtype=np.int32)
    place[arms.numbers(queries)] = np.arange(len(queries), dtype=np.int32)
    place[len(arms.ids) :] = -1
    blocks = sorted({*arms.control.parts, *arms.treatment.parts})

    def part(block: int) -> _Part:
        here = place[block * coded.QUERIES : (block + 1) * coded.QUERIES]
        lists = [_kept(run.parts.get(block), here) for run in (arms.control, arms.treatment)]
        return _part(lists[0], lists[1], arms.grades.parts.get(block), k=k, condensed=condensed)

    with ThreadPoolExecutor(threads() if len(blocks) > 1 else 1) as workers:
        parts = list(workers.map(part, blocks))
    return _assembled(arms, place, dict(zip(blocks, parts, strict=True)), len(queries))


def _kept(block: coded.Listed | None, place: Ints) -> coded.Listed:
    """The rows of the queries that have a place."""
    if block is None:
        none = np.array([], dtype=np.uint16)
        return coded.Listed(none, none.astype(np.uint64), none, none.astype(bool))
    wanted = place[block.query] >= 0
    return block if wanted.all() else block.at(wanted)


def _part(
    control: coded.Listed, treatment: coded.Listed, grades: coded.Graded | None, *, k: int | None, condensed: bool
) -> _Part:
    ties = np.array([*_ties(control, k), *_ties(treatment, k)])
    if not condensed:
        control, treatment = (_cut(arm, k) for arm in (control, treatment))
    partner, graded_by = _matched(control, treatment, grades)
    relevance = _looked_up(None if grades is None else grades.relevance, graded_by, np.int8(UNJUDGED))
    expected = None if grades is None or grades.expected is None else _looked_up(grades.expected, graded_by, np.float32(np.nan))
    n = len(control.query)
    judged = relevance >= 0
    control_rank, treatment_rank = (
        _ranks(arm.query, keep if condensed else None, k) for arm, keep in ((control, judged[:n]), (treatment, judged[n:]))
    )
    alone = treatment_rank > 0
    first = np.flatnonzero(control_rank) if condensed else slice(None)
    shared = partner[first]
    alone[shared[shared >= 0]] = False
    rest = np.flatnonzero(alone)
    partners_rank = np.append(treatment_rank, 0).astype(np.int32)[shared]
    query = np.concatenate((control.query[first], treatment.query[rest]))
    order = np.argsort(query, kind="stable")

    def of(a: Any, b: Any) -> Any:
        return np.concatenate((a, b))[order]

    count = len(shared), len(rest)
    return _Part(
        query[order],
        of(control.row[first], treatment.row[rest]),
        of(np.ones(count[0], dtype=bool), np.zeros(count[1], dtype=bool)),
        of(_small(control_rank[first]), np.zeros(count[1], dtype=np.int8)),
        of(_small(partners_rank), _small(treatment_rank[rest])),
        of(relevance[:n][first], relevance[n:][rest]),
        None if expected is None else of(expected[:n][first], expected[n:][rest]),
        ties,
    )


def _small(values: Ints) -> Ints:
    """The same in the smallest signed type that holds them."""
    return np.asarray(values.astype(np.min_scalar_type(-int(values.max(initial=0)) - 1)))


def _positions(query: Ints) -> Ints:
    """(n,): the place of each row among those of its query, from 1; rows are sorted by query."""
    counts = np.bincount(query)
    return np.arange(1, len(query) + 1) - np.repeat(np.cumsum(counts) - counts, counts)


def _ties(arm: coded.Listed, k: int | None) -> tuple[int, int]:
    """(places shown, those that equal scores decided)."""
    shown = _positions(arm.query) <= (k or len(arm.query))
    return int(shown.sum()), int((shown & arm.tied).sum())


def _cut(arm: coded.Listed, k: int | None) -> coded.Listed:
    shown = _positions(arm.query) <= (k or len(arm.query))
    return arm if shown.all() else arm.at(shown)


def _ranks(query: Ints, keep: NDArray[np.bool_] | None, k: int | None) -> Ints:
    """(n,): ranks from 1, of the rows to keep alone; 0 for the others and below k."""
    if keep is None:
        return np.asarray(_positions(query), dtype=np.int32)
    out = np.zeros(len(query), dtype=np.int32)
    ranks = _positions(query[keep])
    out[keep] = np.where(ranks <= (k or len(query)), ranks, 0)
    return out


def _looked_up(values: Any, at: Ints, missing: Any) -> Any:
    """values[at], and `missing` where at is -1."""
    return np.full(len(at), missing) if values is None else np.append(values, missing.astype(values.dtype))[at]


def _matched(control: coded.Listed, treatment: coded.Listed, grades: coded.Graded | None) -> tuple[Ints, Ints]:
    """(row of the treatment that each of the control's rows is too, row of the grades of each row of both), -1 = none.

    All three are sorted together, as integers that hold query, document and who they are of; equal ones stand together:
    the control's row first, then the treatment's, then the judgment.
    """
    query = [control.query, treatment.query, *([] if grades is None else [grades.query])]
    doc = [control.doc, treatment.doc, *([] if grades is None else [grades.doc])]
    n, m = len(query[0]), len(query[1])
    docs = np.concatenate(doc)
    keys = coded.pair_keys(np.concatenate(query), docs)
    keys &= ~np.uint64(3)
    keys[n : n + m] |= np.uint64(1)
    keys[n + m :] |= np.uint64(2)
    order = np.argsort(keys)
    keys = keys[order]
    same = np.flatnonzero((keys[1:] ^ keys[:-1]) < 4)
    one, two = order[same], order[same + 1]
    if (docs[one] != docs[two]).any():  # some bits of the hashes were equal, and not all: rare, and slower
        order = np.lexsort((np.repeat((0, 1, 2), (n, m, len(docs) - n - m)), docs, np.concatenate(query)))
        queries, docs = np.concatenate(query)[order], docs[order]
        same = np.flatnonzero((queries[1:] == queries[:-1]) & (docs[1:] == docs[:-1]))
        one, two = order[same], order[same + 1]
    partner, graded_by = np.full(n, -1, dtype=np.int32), np.full(n + m, -1, dtype=np.int32)
    judged = two >= n + m
    graded_by[one[judged]] = two[judged] - (n + m)
    both = one[~judged], two[~judged]
    partner[both[0]] = both[1] - n
    graded_by[both[0]] = graded_by[both[1]]  # where there are two rows, the judgment stands after the second
    return partner, graded_by


def _assembled(arms: Arms, place: Ints, parts: dict[int, _Part], size: int) -> Pool:
    """The parts as one pool, in the order of the experiment's queries."""
    offsets = np.zeros(size + 1, dtype=np.int64)
    for block, part in parts.items():
        counts = np.bincount(part.query, minlength=coded.QUERIES)
        here = place[block * coded.QUERIES : (block + 1) * coded.QUERIES]
        offsets[1:][here[counts > 0]] = counts[counts > 0]
    np.cumsum(offsets, out=offsets)
    n = int(offsets[-1])
    columns = ("query", "row", "of_control", "control_rank", "treatment_rank", "relevance")
    types = {c: np.result_type(*{getattr(p, c).dtype for p in parts.values()}) if parts else np.int8 for c in columns}
    types["query"] = np.dtype(np.int32)
    made: dict[str, Any] = {c: np.empty(n, dtype=types[c]) for c in columns}
    with_probs = bool(parts) and all(p.expected is not None or not (p.relevance >= 0).any() for p in parts.values())
    expected = np.full(n, np.nan) if with_probs else None
    ties = np.zeros(4, dtype=np.int64)
    for block in list(parts):
        part = parts.pop(block)
        query = place[block * coded.QUERIES + part.query.astype(np.int64)]
        at = offsets[query] + _positions(part.query) - 1
        made["query"][at] = query
        for column in columns[1:]:
            made[column][at] = getattr(part, column)
        if expected is not None and part.expected is not None:
            expected[at] = part.expected
        ties += part.ties
    if expected is not None:
        expected[made["relevance"] < 0] = 0.0
        expected = None if np.isnan(expected).any() else expected
    docs = Documents(arms.control.source, arms.treatment.source, made["row"], made["of_control"].astype(bool))
    share = tuple(float(tied / shown) if shown else 0.0 for shown, tied in ties.reshape(2, 2).tolist())
    return Pool(
        size,
        made["query"],
        docs,
        made["control_rank"],
        made["treatment_rank"],
        made["relevance"],
        offsets,
        expected,
        (share[0], share[1]),
    )


def judged_of(arms: Arms, queries: Any) -> metrics.Judged:
    """All grades of each query, for metrics that look at an ideal list."""
    number = arms.numbers(queries)
    place = np.full(-(-len(arms.ids) // coded.QUERIES) * coded.QUERIES + 1, -1, dtype=np.int32)
    place[number] = np.arange(len(queries), dtype=np.int32)
    place[len(arms.ids) :] = -1
    rows, grades = [], []
    for block, part in arms.grades.parts.items():
        row = place[block * coded.QUERIES + part.query.astype(np.int64)]
        keep = (row >= 0) & (part.relevance >= 0)
        rows.append(row[keep])
        grades.append(part.relevance[keep])
    row, relevance = (np.concatenate(c) if c else np.array([], dtype=np.int32) for c in (rows, grades))
    counts = np.bincount(row, minlength=len(queries))
    return metrics.Judged(np.concatenate(([0], np.cumsum(counts))), relevance[np.argsort(row, kind="stable")])


def linear_parts(metric: metrics.Metric, scale: Scale, k: int) -> tuple[Floats, Floats] | None:
    """(weight of each rank (k + 1,), gain of each relevance), if the metric is their sum over ranks; None if it is not.

    Rank 0 is "not shown" and weighs nothing. Then a paired difference is sum (w_treatment - w_control) g, and documents
    that did not move need no grade.
    """
    if metric.name == "P":
        weights = np.full(k, 1 / k)
    elif metric.name == "SDCG" or (metric.name == "sDCG" and metric["short"] == "zero"):
        weights = metrics.sdcg_weights(k)
    else:
        return None
    each_alone = metrics.Lists.of([[relevance] for relevance in range(len(scale.labels))])
    (values,) = metrics.measure([metric], each_alone, gains=scale.gains).values()
    return np.concatenate(([0.0], weights)), values / weights[0]
