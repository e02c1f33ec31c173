"""Strata for a sample that was drawn without them: post-stratification of an old simple random sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from germane.sampling.designs import ids_of
from germane.sampling.strata import STRATA, cells_of, merged, name_of, position, strata_columns
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def post_stratified(
    sampled: Sequence[str], population: pa.Table, *, strata: Sequence[str] | None = None
) -> tuple[pa.Table, tuple[str, ...]]:
    """A design for queries that were drawn at random without strata: each one's stratum and the stratum's size, and notes.

    sampled: query ids. population: all queries that they were drawn from, one row each, with the columns of `strata`
    (default: interest and segment, those that are there), as `germane segment` writes them. Strata with fewer than two
    sampled queries are merged into the one most like them, and notes say so. The numbers per stratum are random: weigh
    them with `stats.clusters.poststratified_difference`.

    Source: Cochran, Sampling Techniques (1977), section 5A.9.
    Raises: InputError for a sampled query that the population lacks, and a population without columns for strata.

    >>> import pyarrow as pa
    >>> log = pa.table({"query_id": [f"q{i}" for i in range(100)], "segment": ["head"] * 10 + ["tail"] * 90})
    >>> design, notes = post_stratified(["q1", "q2", "q50", "q60", "q70"], log)
    >>> design.select(["stratum", "population"]).group_by(["stratum", "population"]).aggregate([]).to_pylist()
    [{'stratum': 'head', 'population': 10}, {'stratum': 'tail', 'population': 90}]
    """
    import pyarrow as pa

    columns = strata_columns(population, strata)
    if not columns:
        raise InputError(
            f"the population has none of the columns {' and '.join(STRATA)}, which make strata: germane segment makes them"
        )
    place = {query: row for row, query in enumerate(ids_of(population))}
    if missing := [query for query in sampled if query not in place]:
        raise InputError(
            f"query {missing[0]!r} was sampled and is not in the population: give all queries that it was drawn from"
        )
    cells, code = cells_of(population, columns)
    rows = np.array([place[query] for query in sampled], dtype=np.int64)
    met = np.bincount(code[rows], minlength=len(cells))
    if met.sum() < 2:
        raise InputError(f"{int(met.sum())} sampled queries: 2 are the least for an interval")
    groups, notes = merged(cells, met.tolist(), None)
    group = position(groups, len(cells))
    names = np.array([name_of([cells[c] for c in members]) for members in groups], dtype=object)
    sizes = np.bincount(group[code], minlength=len(groups))
    drawn = np.bincount(group[code[rows]], minlength=len(groups))
    mine = group[code[rows]]
    table: dict[str, Any] = {
        "query_id": pa.array(list(sampled), pa.string()),
        "stratum": pa.array(names[mine].tolist(), pa.string()),
        "inclusion_probability": pa.array((drawn / sizes)[mine], pa.float64()),
        "population": pa.array(sizes[mine], pa.int64()),
    }
    table |= {name: population[name].take(rows).cast(pa.string()) for name in STRATA if name in population.column_names}
    return pa.table(table).sort_by([("stratum", "ascending"), ("query_id", "ascending")]), tuple(notes)
