"""What stands around the estimate: who won and lost, how each arm is graded, who is shown, and where the variance lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from germane.experiment.effects import PerQuery, between_share, difference_of, level_of
from germane.experiment.frame import Frame
from germane.experiment.pool import Floats, Ints, Pool
from germane.types import Estimate, Exposure, Grades, Histogram, InputError, QueryResult, Result, Scale, VarianceParts

if TYPE_CHECKING:
    import pyarrow as pa

BINS = 20
SHOWN = 5
MOST_GROUPS = 12


def histogram(difference: Floats) -> Histogram:
    """Counts of the differences that are not zero in equal bins, symmetric around 0, and the zeros apart."""
    moved = difference[difference != 0]
    reach = float(np.abs(moved).max()) if moved.size else 1.0
    counts, edges = np.histogram(moved, bins=BINS, range=(-reach, reach))
    return Histogram(tuple(float(e) for e in edges), tuple(int(c) for c in counts), int(difference.size - moved.size))


def grades(frame: Frame, pool: Pool, scale: Scale, *, level: float) -> tuple[Grades, ...]:
    """The share of a query's top k that carries each label, per arm, best label first; every query counts the same.

    "unjudged" comes last, and "empty page" after it where an arm has any.
    """
    counts = [pool.graded(arm) for arm in ("control", "treatment")]
    shown = [pool.pages(arm) for arm in ("control", "treatment")]
    rows = []
    for relevance, label in [*reversed(list(enumerate(scale.labels))), (-1, "unjudged")]:
        of_label = (count[:, relevance + 1] if relevance + 1 < count.shape[1] else np.zeros(len(count)) for count in counts)
        control, treatment = (part / np.maximum(page, 1.0) for part, page in zip(of_label, shown, strict=True))
        rows.append(Grades(label, *_both(frame, control, treatment, level=level)))
    empty = [(page == 0).astype(np.float64) for page in shown]
    if empty[0].any() or empty[1].any():
        rows.append(Grades("empty page", *_both(frame, *empty, level=level)))
    return tuple(rows)


def _both(frame: Frame, control: Floats, treatment: Floats, *, level: float) -> tuple[Estimate, Estimate, Estimate]:
    """Control, treatment and their paired difference."""
    difference = difference_of(frame, treatment - control, level=level, minimum_nonzero=0)
    return level_of(frame, control, level=level), level_of(frame, treatment, level=level), difference


def exposure(frame: Frame, pool: Pool, docs: pa.Table, column: str, *, level: float) -> tuple[Exposure, ...]:
    """The share of discounted attention that each group of documents gets in each arm, groups by size.

    Attention at rank i is 1 / log2(i + 1); a query's shares sum to 1 over its groups, an empty page gives none.
    Raises: InputError for a column that the documents do not have, or with too many groups to read.
    """
    import pyarrow as pa

    if column not in docs.column_names:
        raise InputError(f"--groups {column}: the documents have no such column; they have {', '.join(docs.column_names)}")
    ids = docs["doc_id"].combine_chunks()
    named = docs[column].cast(pa.string()).combine_chunks().fill_null("(none)")
    encoded = pa.concat_arrays([named, pa.array(["(none)"])]).dictionary_encode()
    codes = encoded.indices.to_numpy()[pool.docs.places(ids)]  # -1, no such document, finds the "(none)" at the end
    names = [str(name) for name in encoded.dictionary.to_pylist()]
    used = np.unique(codes)
    names, codes = [names[code] for code in used], np.searchsorted(used, codes).astype(np.int16)
    if len(names) > MOST_GROUPS:
        raise InputError(f"--groups {column} has {len(names)} values: at most {MOST_GROUPS} groups can be read side by side")
    shares: dict[str, list[Floats]] = {name: [] for name in names}
    deepest = max(int(pool.control_rank.max()), int(pool.treatment_rank.max()))
    weights = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 2 + deepest))))
    for ranks in (pool.control_rank, pool.treatment_rank):
        total = pool.summed(_attention(weights, ranks))
        for code, name in enumerate(names):
            part = pool.summed(_attention(weights, ranks, codes == code))
            shares[name].append(np.divide(part, total, out=np.zeros_like(part), where=total > 0))
    found = [Exposure(name, *_both(frame, control, treatment, level=level)) for name, (control, treatment) in shares.items()]
    return tuple(sorted(found, key=lambda e: -e.control.value))


def _attention(weights: Floats, ranks: Ints, which: NDArray[np.bool_] | None = None) -> Callable[[slice], Floats]:
    """A function from rows to the weights of their ranks, 0 where `which` is False."""
    if which is None:
        return lambda rows: np.asarray(weights[ranks[rows]])
    return lambda rows: np.asarray(weights[ranks[rows]] * which[rows])


def variance(frame: Frame, pool: Pool, found: PerQuery, gains: Floats | None) -> VarianceParts:
    """Where the variance of levels, of differences and of single gains lies."""
    sd_level, level_between = between_share(found.control, frame.strata, frame.populations)
    sd_difference, difference_between = between_share(found.difference, frame.strata, frame.populations)
    inside = None if gains is None else _intraclass(pool, gains)
    nonzero = int(np.count_nonzero(found.difference))
    return VarianceParts(sd_level, sd_difference, level_between, difference_between, inside, nonzero)


def extremes(
    frame: Frame, pool: Pool, found: PerQuery, queries: pa.Table | None, docs: pa.Table | None
) -> tuple[tuple[QueryResult, ...], tuple[QueryResult, ...]]:
    """(winners, losers): the queries with the largest gains and losses, with both result lists and grades."""
    order = np.lexsort((np.arange(len(found.difference)), -found.difference))
    best = [int(q) for q in order[:SHOWN] if found.difference[q] > 0]
    worst = [int(q) for q in order[::-1][:SHOWN] if found.difference[q] < 0]
    rows = np.concatenate(
        [np.arange(pool.offsets[q], pool.offsets[q + 1]) for q in [*best, *worst]] or [np.array([], np.int64)]
    )
    ids = dict(zip(rows.tolist(), map(str, pool.docs.take(rows).to_pylist()), strict=True))
    titles = _titles(docs, set(ids.values()))
    texts = _texts(queries, [frame.queries[q].as_py() for q in best + worst])

    def lists(q: int, ranks: Ints) -> tuple[Result, ...]:
        mine = rows[(pool.query[rows] == q) & (ranks[rows] > 0)]
        return tuple(
            Result(
                int(ranks[row]),
                ids[int(row)],
                titles.get(ids[int(row)], ""),
                None if pool.relevance[row] < 0 else int(pool.relevance[row]),
            )
            for row in mine[np.argsort(ranks[mine])]
        )

    def result(q: int) -> QueryResult:
        query_id = str(frame.queries[q].as_py())
        both = (float(found.control[q]), float(found.treatment[q]))
        ranked = lists(q, pool.control_rank), lists(q, pool.treatment_rank)
        return QueryResult(query_id, texts.get(query_id, query_id), str(frame.strata[q]), *both, *ranked)

    return tuple(result(q) for q in best), tuple(result(q) for q in worst)


def _intraclass(pool: Pool, gains: Floats) -> float | None:
    """The share of the variance of the control's graded gains that lies between queries, 0 to 1; None if none varies.

    One-way random effects with unequal group sizes. Source: Donner (1986), intraclass correlation, ANOVA estimator.
    """
    counts = pool.graded("control")[:, 1:]  # of each grade; the unjudged are left out
    gain = gains[: counts.shape[1]]
    n = counts.sum(axis=1).astype(np.float64)
    if not n.any():
        return None
    sums = counts @ gain
    groups, total = int((n > 0).sum()), float(n.sum())
    if groups < 2 or total <= groups:
        return None
    means = np.divide(sums, n, out=np.zeros_like(sums), where=n > 0)
    between = float((n * (means - sums.sum() / total) ** 2).sum()) / (groups - 1)
    within = float((counts * (gain - means[:, None]) ** 2).sum()) / (total - groups)
    size = (total - float((n**2).sum()) / total) / (groups - 1)
    part = max((between - within) / size, 0.0)
    return part / (part + within) if part + within > 0 else None


def _titles(docs: pa.Table | None, wanted: set[str]) -> dict[str, str]:
    """doc_id -> what a reader knows it by: its title, or its first field."""
    if docs is None:
        return {}
    import pyarrow as pa
    import pyarrow.compute as pc

    fields = [name for name in docs.column_names if name != "doc_id"]
    if not fields:
        return {}
    field = "title" if "title" in fields else "name" if "name" in fields else fields[0]
    kept = docs.filter(pc.is_in(docs["doc_id"], value_set=pa.array(sorted(wanted), docs["doc_id"].type)))
    titles = kept[field].cast(pa.string()).to_pylist()
    return {str(d): str(t or "") for d, t in zip(kept["doc_id"].to_pylist(), titles, strict=True)}


def _texts(queries: pa.Table | None, wanted: list[str]) -> dict[str, str]:
    if queries is None:
        return {}
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = queries.filter(pc.is_in(queries["query_id"], value_set=pa.array(wanted, queries["query_id"].type)))
    return {str(q): str(text) for q, text in zip(kept["query_id"].to_pylist(), kept["query"].to_pylist(), strict=True)}
