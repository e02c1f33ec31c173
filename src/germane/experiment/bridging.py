"""An old judge and a new one on the same pairs: how their grades map, what a grade is worth, which decisions turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from germane.experiment import words
from germane.experiment.arms import once_each
from germane.experiment.results import Results
from germane.stats import clustered
from germane.stats.agreement import agreement_within, cohen_kappa, confusion, exact_agreement, krippendorff_alpha
from germane.stats.clustered import Undefined
from germane.stats.means import stratified_difference
from germane.stats.moments import Moments
from germane.types import Estimate, InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

MINIMUM_PAIRS = 100
"""With fewer pairs graded by both judges nothing is said of them."""

MINIMUM_QUERIES = 10
"""Fewer queries than this, and an interval over queries rests on a handful. Source: stats/clustered.py, FEW."""

SHIFT = "new gain minus old gain"

MINIMUM_SHARE = 0.8
"""Both judges must have graded so much of what either of them graded; otherwise it is not the same pairs."""


@dataclass(frozen=True)
class GradeShift:
    """What became of the pairs of one old grade: how many, how many got another, and the new gain minus the old."""

    grade: str
    pairs: int
    changed: float
    shift: Estimate | None


@dataclass(frozen=True)
class PastDecision:
    """A past experiment under both judges. change: new delta minus old delta, paired by query, in units of the metric.

    turned: the verdict is another one. clear: the interval of the change leaves out 0, so that it is no accident of sampling.
    """

    name: str
    metric: str
    old: Estimate
    new: Estimate
    change: Estimate
    old_verdict: str
    new_verdict: str
    notes: tuple[str, ...] = ()

    @property
    def turned(self) -> bool:
        return self.old_verdict != self.new_verdict

    @property
    def clear(self) -> bool:
        return self.change.low > 0 or self.change.high < 0


@dataclass(frozen=True)
class Table:
    """The bridge: pairs by old grade (rows) and new grade (columns), and what the statistics of both judges say.

    pairs, queries: graded by both. only_old, only_new: pairs that one of them alone graded. agreement: statistic ->
    estimate. shift: mean gain of the new judge minus that of the old, over all pairs; by_grade: the same by old grade.
    """

    pairs: int
    queries: int
    only_old: int
    only_new: int
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    agreement: Mapping[str, Estimate]
    shift: Estimate
    by_grade: tuple[GradeShift, ...]

    @property
    def overlap(self) -> float:
        """The share (0 to 1) of pairs graded by either that both graded."""
        return self.pairs / (self.pairs + self.only_old + self.only_new)


def table(old: pa.Table, new: pa.Table, *, scale: Scale, level: float = 0.95) -> Table:
    """The bridge of two tables of judgments of one judge each, over the pairs that both graded. Intervals are over queries.

    Raises: InputError where fewer than `MINIMUM_PAIRS` pairs or `MINIMUM_QUERIES` queries have both grades.
    """
    query, before, after, alone = _both(old, new)
    queries = len(set(query.tolist()))
    if len(query) < MINIMUM_PAIRS or queries < MINIMUM_QUERIES:
        raise InputError(
            f"both judges graded {len(query)} pairs of {queries} queries: a bridge needs {MINIMUM_PAIRS} pairs of "
            f"{MINIMUM_QUERIES} queries; have both judge the same pairs"
        )
    gains = np.asarray(scale.gains)
    shift = gains[after] - gains[before]
    rows = []
    for grade, label in enumerate(scale.labels):
        inside = before == grade
        if inside.any():
            changed = float((after[inside] != grade).mean())
            rows.append(GradeShift(label, int(inside.sum()), changed, _known(shift[inside], query[inside], level)))
    return Table(
        pairs=len(query),
        queries=queries,
        only_old=alone[0],
        only_new=alone[1],
        labels=scale.labels,
        counts=tuple(tuple(int(n) for n in row) for row in confusion(before, after, size=len(scale.labels))),
        agreement=_agreement(before, after, query, level),
        shift=clustered.mean(shift, clusters=query, level=level, method=SHIFT),
        by_grade=tuple(rows),
    )


def decision(name: str, old: Results, new: Results, *, level: float = 0.95, minimum_nonzero: int) -> PastDecision:
    """One past experiment under both judges, over the queries that both results have.

    Raises: InputError where they have no two queries in common.
    """
    ids = [[str(query) for query in found.table["query_id"].to_pylist()] for found in (old, new)]
    at = {query: i for i, query in enumerate(ids[1])}
    rows = np.array([i for i, query in enumerate(ids[0]) if query in at], np.int64)
    if len(rows) < 2:
        raise InputError(f"{name}: the two judges have {len(rows)} queries of this experiment in common; 2 are the least")
    notes = []
    if left := len(ids[0]) + len(ids[1]) - 2 * len(rows):
        notes.append(f"{left} queries that one judge alone graded are not in the change")
    change = new.found.difference[[at[ids[0][i]] for i in rows]] - old.found.difference[rows]
    change = np.where(np.abs(change) < 1e-12, 0.0, change)
    strata = old.about.strata[rows].astype(str)
    parts = {str(stratum): Moments.of(change[strata == stratum]) for stratum in np.unique(strata)}
    between = stratified_difference(parts, old.about.populations, level=level, minimum_nonzero=minimum_nonzero, lone="borrow")
    verdicts = (words.verdict_of(old.delta), words.verdict_of(new.delta))
    return PastDecision(name, old.metric, old.delta, new.delta, between, *verdicts, tuple(notes))


def _both(old: pa.Table, new: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], tuple[int, int]]:
    """Query (a number), old grade and new grade of the pairs that both graded, and how many each graded alone."""
    import pyarrow.compute as pc

    keys = ["query_id", "doc_id"]
    once = [once_each(given).select([*keys, "relevance"]) for given in (old, new)]
    tables = [given.filter(pc.is_valid(given["relevance"])) for given in once]
    joined = (
        tables[0].join(tables[1], keys, join_type="inner", right_suffix="_new").sort_by([(key, "ascending") for key in keys])
    )
    before, after = (joined[name].to_numpy().astype(np.int64) for name in ("relevance", "relevance_new"))
    query = joined["query_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    n = joined.num_rows
    return (
        query,
        before,
        after,
        (tables[0].num_rows - n, tables[1].num_rows - n),
    )


def _agreement(
    before: NDArray[np.int64], after: NDArray[np.int64], query: NDArray[np.int64], level: float
) -> dict[str, Estimate]:
    """The statistics that have a value: where both judges always say the same one grade, a kappa has none."""
    wanted: dict[str, Callable[[], Estimate]] = {
        "exact": lambda: exact_agreement(before, after, clusters=query, level=level),
        "within one": lambda: agreement_within(before, after, clusters=query, level=level),
        "cohen kappa": lambda: cohen_kappa(before, after, clusters=query, level=level),
        "quadratic kappa": lambda: cohen_kappa(before, after, distance="quadratic", clusters=query, level=level),
        "alpha": lambda: krippendorff_alpha(np.stack((before, after), axis=1), clusters=query, level=level),
    }
    found = {}
    for name, of in wanted.items():
        try:
            found[name] = of()
        except Undefined:
            continue
    return found


def _known(shift: NDArray[np.float64], query: NDArray[np.int64], level: float) -> Estimate | None:
    """The mean shift of one grade's pairs; None where they are all of one query."""
    if len(set(query.tolist())) < 2:
        return None
    return clustered.mean(shift, clusters=query, level=level, method=SHIFT)
