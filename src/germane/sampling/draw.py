"""From a population of queries to a sample of known odds: strata, allocation, the draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.stats.power import apportion, neyman
from germane.types import Design, InputError, Stratum

if TYPE_CHECKING:
    import pyarrow as pa

STRATA = ("interest", "segment")  # the columns that make strata by default, where the queries have them
UNKNOWN = "unknown"  # the name of a null in a column of strata
UNIT = "distinct queries"
MOST_STRATA = 5000
ALLOCATIONS = ("neyman", "proportional", "equal")

Cell = tuple[str, ...]
Ints = NDArray[np.int64]


class Drawn(NamedTuple):
    """A design as a table (one row a sampled query) and as a value, and what had to be done that was not asked for."""

    table: pa.Table
    design: Design
    notes: tuple[str, ...]


def draw(
    queries: pa.Table,
    *,
    n: int,
    seed: int,
    strata: Sequence[str] | None = None,
    allocation: str = "neyman",
    sd: Mapping[str, float] | None = None,
    cost: Mapping[str, float] | None = None,
    minimum: int = 2,
) -> Drawn:
    """A sample of n queries with the inclusion probability of each: a random sample without replacement in each stratum.

    queries: one row a query, with query_id and the columns of `strata` (default: interest and segment, those that are
    there; () = a simple random sample). A null there is the stratum "unknown". allocation: "neyman" (N_h S_h / sqrt(cost_h)),
    "proportional" or "equal". sd: stratum name -> SD of the paired difference there, from a pilot or an earlier experiment
    (default: equal, which makes Neyman proportional). cost: stratum -> cost of one query. minimum: of every stratum.

    Strata that are too small (one query; or n under two for each) are merged into the one most like them, and `notes` says
    so. The draw depends on query ids and seed only: not on row order, and a larger n keeps what a smaller one drew in each
    stratum, so that its judgments serve again.

    Source: permanent random numbers, Ohlsson (1995), Coordination of samples using permanent random numbers.
    Raises: InputError if n exceeds the population, a column or a stratum is unknown, or an id is missing or twice there.

    >>> import pyarrow as pa
    >>> log = pa.table({"query_id": [f"q{i}" for i in range(100)], "segment": ["head"] * 10 + ["tail"] * 90})
    >>> drawn = draw(log, n=20, seed=7)
    >>> [(s.name, s.population, s.sample) for s in drawn.design.strata], drawn.table.num_rows
    ([('head', 10, 2), ('tail', 90, 18)], 20)
    """
    ids = _ids(queries)
    _check_n(n, len(ids), minimum)
    if allocation not in ALLOCATIONS:
        raise InputError(f"allocation {allocation!r} is unknown: expected one of {', '.join(ALLOCATIONS)}")
    if allocation != "neyman" and (sd or cost):
        raise InputError(f"allocation {allocation!r} uses neither sd nor cost: ask for neyman, or leave them out")
    columns = _strata_columns(queries, strata)
    cells, code = _cells(queries, columns)
    groups, notes = _merged(cells, np.bincount(code, minlength=len(cells)).tolist(), n)
    names = [name_of([cells[c] for c in group]) for group in groups]
    if len(set(names)) < len(names):
        raise InputError(
            f"two strata have one name, {Counter(names).most_common(1)[0][0]!r}: take ' / ' and ' + ' out of their values"
        )
    stratum = _position(groups, len(cells))[code]
    populations = np.bincount(stratum, minlength=len(groups))
    sizes = _allocate(allocation, names, populations, n, minimum, sd, cost)
    taken = _first(stratum, sizes, np.array([_random_number(seed, i) for i in ids], dtype=np.uint64))
    design = Design(
        tuple(Stratum(*row) for row in zip(names, populations.tolist(), sizes.tolist(), strict=True)),
        seed=seed,
        unit=UNIT,
        origin=f"{allocation} allocation over {' x '.join(columns)}" if columns else "simple random sample",
    )
    return Drawn(_design_table(queries, taken, stratum[taken], design), design, tuple(notes))


def read_design_table(designs: pa.Table, *, seed: int | None = None, unit: str = UNIT, origin: str = "") -> Design:
    """What the sampled queries stand for, from a table of designs: population and sample of each stratum, by name.

    Raises: InputError where a stratum's rows disagree on its population, or its inclusion probability is not sample /
    population: then the weights would not be those of the draw.

    >>> import pyarrow as pa
    >>> rows = {"query_id": ["a", "b"], "stratum": ["all"] * 2, "inclusion_probability": [0.5] * 2, "population": [4] * 2}
    >>> read_design_table(pa.table(rows)).strata
    (Stratum(name='all', population=4, sample=2),)
    """
    if not designs.num_rows:
        raise InputError("the design names no queries: draw one with at least 2")
    _ids(designs)
    rows: list[dict[str, Any]] = designs.select(["stratum", "population", "inclusion_probability"]).to_pylist()
    if any(None in row.values() for row in rows):
        raise InputError("the design has a null in stratum, population or inclusion_probability: expected a value in each row")
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["stratum"], []).append(row)
    found = []
    for name, members in sorted(by_name.items()):
        sizes, odds = {m["population"] for m in members}, [m["inclusion_probability"] for m in members]
        if len(sizes) > 1:
            raise InputError(f"stratum {name!r} has populations {sorted(sizes)}: expected one")
        size, sample, low, high = sizes.pop(), len(members), min(odds), max(odds)
        if not (sample <= size and np.isclose([low, high], sample / size, rtol=1e-6).all()):
            raise InputError(
                f"stratum {name!r} has {sample} of {size} queries but inclusion probabilities from {low:.6g} to {high:.6g}: "
                f"expected {sample / size:.6g}; were rows added to the design, or dropped, after the draw?"
            )
        found.append(Stratum(name, size, sample))
    return Design(tuple(found), seed=seed, unit=unit, origin=origin)


def name_of(cells: Sequence[Cell]) -> str:
    """A stratum's name: its columns' values with " / " between them, and " + " where strata were merged.

    >>> name_of([("home", "tail")]), name_of([("art", "tail"), ("home", "tail")]), name_of([("art", "head"), ("home", "tail")])
    ('home / tail', 'art + home / tail', 'art / head + home / tail')
    """
    if not cells[0]:
        return "all"
    levels = [sorted({cell[i] for cell in cells}) for i in range(len(cells[0]))]
    if int(np.prod([len(level) for level in levels])) == len(set(cells)):  # every combination is in: name each column once
        return " / ".join(_listed(level) for level in levels)
    return _listed([" / ".join(cell) for cell in sorted(cells)])


def _listed(names: Sequence[str]) -> str:
    return " + ".join(names) if len(names) <= 3 else f"{names[0]} + {names[1]} + {len(names) - 2} more"


# --- the steps of a draw --------------------------------------------------------------------------------------------


def _ids(table: pa.Table) -> list[str]:
    if "query_id" not in table.column_names:
        raise InputError(f"the queries have no column query_id: found {', '.join(table.column_names) or 'none'}")
    ids: list[Any] = table["query_id"].to_pylist()
    if None in ids:
        raise InputError(f"row {ids.index(None) + 1} of the queries has no query_id: every query needs one")
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0]
        raise InputError(
            f"query_id {twice[0]!r} is there {twice[1]} times: one row a query is expected; merge them, or drop some"
        )
    return [str(i) for i in ids]


def _check_n(n: int, population: int, minimum: int) -> None:
    if not population:
        raise InputError("there are no queries to sample: the table is empty")
    if n > population:
        raise InputError(f"n = {n} is larger than the population of {population} queries: pass n = {population} for a census")
    if n < 2 or minimum < 2:
        raise InputError(f"n = {n} and minimum = {minimum}: both must be 2 or more, since a variance needs two queries")


def _strata_columns(queries: pa.Table, strata: Sequence[str] | None) -> list[str]:
    if strata is None:
        return [c for c in STRATA if c in queries.column_names and queries[c].null_count < queries.num_rows]
    missing = [c for c in strata if c not in queries.column_names]
    if missing:
        raise InputError(f"no column {missing[0]!r} to make strata of: the queries have {', '.join(queries.column_names)}")
    return list(strata)


def _cells(queries: pa.Table, columns: Sequence[str]) -> tuple[list[Cell], Ints]:
    """The distinct combinations of values, sorted by name, and which of them each query is in."""
    import pyarrow as pa

    code = np.zeros(queries.num_rows, dtype=np.int64)
    levels: list[list[str]] = []
    for column in columns:
        text = queries[column].cast(pa.string()).combine_chunks().fill_null(UNKNOWN).dictionary_encode()
        names = [str(name) for name in text.dictionary.to_pylist()]
        rank = np.argsort(np.argsort(np.array(names, dtype=object)))
        code = code * len(names) + rank[text.indices.to_numpy()]
        levels.append(sorted(names))
    present, code = np.unique(code, return_inverse=True)
    if present.size > MOST_STRATA:
        raise InputError(f"{' x '.join(columns)} makes {present.size} strata: at most {MOST_STRATA}; choose coarser columns")
    places = np.unravel_index(present, [len(level) for level in levels]) if levels else ()
    return [tuple(levels[i][p] for i, p in enumerate(row)) for row in zip(*places, strict=True)] if levels else [()], code


def _merged(cells: list[Cell], populations: list[int], n: int) -> tuple[list[list[int]], list[str]]:
    """Groups of cells with two queries each and no more groups than n / 2, and notes: the smallest merges first.

    Its partner is the smallest that shares the last column with it (the segment), else any column, else the smallest of all.
    """
    groups = {c: [c] for c in range(len(cells))}  # by first cell
    sizes = np.array(populations, dtype=float)  # infinite: merged into another
    level = [[frozenset([cell[i]]) for cell in cells] for i in reversed(range(len(cells[0])))]
    code: dict[frozenset[str], int] = {}
    shared = [np.array([code.setdefault(values, len(code)) for values in column]) for column in level]
    crowded = False
    while len(groups) > 1 and (sizes.min() < 2 or 2 * len(groups) > n):
        crowded |= sizes.min() >= 2
        small = int(sizes.argmin())
        others = np.isfinite(sizes)
        others[small] = False
        like = [others & (column == column[small]) for column in shared]
        near = next((rows for rows in (*like[:1], np.any(like, axis=0)) if rows.any()), others) if like else others
        first, second = sorted((small, int(np.where(near, sizes, np.inf).argmin())))
        groups[first] = sorted(groups[first] + groups.pop(second))
        sizes[first], sizes[second] = sizes[first] + sizes[second], np.inf
        for values, column in zip(level, shared, strict=True):
            values[first] |= values[second]
            column[first], column[second] = code.setdefault(values[first], len(code)), -1
    merged = sorted(groups.values(), key=lambda group: name_of([cells[c] for c in group]))
    return merged, _notes(cells, populations, merged, n if crowded else None)


def _notes(cells: list[Cell], populations: list[int], groups: list[list[int]], n: int | None) -> list[str]:
    """What was merged, and why; n if there were too many strata for it."""
    notes = []
    lonely = [name_of([cell]) for cell, size in zip(cells, populations, strict=True) if size < 2]
    if lonely and len(groups) < len(cells):
        notes.append(f"strata of one query, merged into the stratum most like them: {_listed(lonely)}")
    if n is not None:
        notes.append(f"{len(cells)} strata need at least {2 * len(cells)} queries and n is {n}: the smallest were merged")
    names = [name_of([cells[c] for c in group]) for group in groups if len(group) > 1]
    if names:
        rest = f"; {len(names) - 5} more" if len(names) > 5 else ""
        notes.append(f"{len(cells)} strata became {len(groups)}; merged: {'; '.join(names[:5])}{rest}")
    return notes


def _position(groups: list[list[int]], cells: int) -> Ints:
    """The group that each cell is in."""
    where = np.zeros(cells, dtype=np.int64)
    for position, group in enumerate(groups):
        where[group] = position
    return where


def _allocate(
    allocation: str,
    names: list[str],
    populations: Ints,
    n: int,
    minimum: int,
    sd: Mapping[str, float] | None,
    cost: Mapping[str, float] | None,
) -> Ints:
    low = np.minimum(populations, minimum)
    if n < low.sum():
        raise InputError(
            f"n = {n} cannot give {len(names)} strata {minimum} queries each: pass n = {low.sum()} or more, or a lower minimum"
        )
    if allocation == "neyman":
        sds, costs = _by_name("sd", sd, names), _by_name("cost", cost, names)
        return neyman(populations, sds, n, costs=costs, minimum=minimum)
    shares = populations if allocation == "proportional" else np.ones(len(names))
    return apportion(shares, n, low=low, high=populations)


def _by_name(what: str, given: Mapping[str, float] | None, names: list[str]) -> list[float] | None:
    if given is None:
        return None
    for wrong in [name for name in names if name not in given]:
        raise InputError(f"no {what} for stratum {wrong!r}: the strata are {', '.join(map(repr, names))}")
    for wrong in [name for name in given if name not in names]:
        raise InputError(f"{what} names {wrong!r}, which is no stratum: the strata are {', '.join(map(repr, names))}")
    return [float(given[name]) for name in names]


def _random_number(seed: int, query_id: str) -> int:
    """This query's own uniform number under this seed, 0 to 2^64: it stays when other queries come and go."""
    return int.from_bytes(blake2b(f"{seed}:{query_id}".encode(), digest_size=8).digest(), "big")


def _first(stratum: Ints, sizes: Ints, numbers: NDArray[np.uint64]) -> Ints:
    """Rows of the sizes[h] smallest numbers in each stratum h."""
    order = np.lexsort((numbers, stratum))
    starts = np.concatenate([[0], np.cumsum(np.bincount(stratum, minlength=sizes.size))[:-1]])
    place = np.arange(stratum.size) - starts[stratum[order]]
    taken: Ints = order[place < sizes[stratum[order]]]
    return taken


def _design_table(queries: pa.Table, rows: Ints, stratum: Ints, design: Design) -> pa.Table:
    import pyarrow as pa

    names = np.array([s.name for s in design.strata], dtype=object)
    populations = np.array([s.population for s in design.strata])
    odds = np.array([s.sample / s.population for s in design.strata])
    columns: dict[str, Any] = {
        "query_id": queries["query_id"].take(rows).cast(pa.string()),
        "stratum": pa.array(names[stratum].tolist(), pa.string()),
        "inclusion_probability": pa.array(odds[stratum], pa.float64()),
        "population": pa.array(populations[stratum], pa.int64()),
    }
    columns |= {name: queries[name].take(rows).cast(pa.string()) for name in STRATA if name in queries.column_names}
    return pa.table(columns).sort_by([("stratum", "ascending"), ("query_id", "ascending")])
