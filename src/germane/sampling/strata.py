"""The strata of a population of queries: which combinations of values there are, which are merged, what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

STRATA = ("interest", "segment")  # the columns that make strata by default, where the queries have them
UNKNOWN = "unknown"  # the name of a null in a column of strata
MOST_STRATA = 5000

Cell = tuple[str, ...]
Ints = NDArray[np.int64]


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


def strata_columns(queries: pa.Table, strata: Sequence[str] | None) -> list[str]:
    """The columns that make the strata: those asked for, or those of STRATA that the queries have."""
    if strata is None:
        return [c for c in STRATA if c in queries.column_names and queries[c].null_count < queries.num_rows]
    missing = [c for c in strata if c not in queries.column_names]
    if missing:
        raise InputError(f"no column {missing[0]!r} to make strata of: the queries have {', '.join(queries.column_names)}")
    return list(strata)


def cells_of(queries: pa.Table, columns: Sequence[str]) -> tuple[list[Cell], Ints]:
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


def merged(cells: list[Cell], populations: list[int], n: int | None) -> tuple[list[list[int]], list[str]]:
    """Groups of cells with two queries each, at most n / 2 of them unless n is None, and notes: the smallest merges first.

    Its partner is the smallest that shares the last column with it (the segment), else any column, else the smallest of all.
    """
    groups = {c: [c] for c in range(len(cells))}  # by first cell
    sizes = np.array(populations, dtype=float)  # infinite: merged into another
    level = [[frozenset([cell[i]]) for cell in cells] for i in reversed(range(len(cells[0])))]
    code: dict[frozenset[str], int] = {}
    shared = [np.array([code.setdefault(values, len(code)) for values in column]) for column in level]
    crowded = False
    while len(groups) > 1 and (sizes.min() < 2 or (n is not None and 2 * len(groups) > n)):
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
    ordered = sorted(groups.values(), key=lambda group: name_of([cells[c] for c in group]))
    return ordered, _notes(cells, populations, ordered, n if crowded else None)


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


def position(groups: list[list[int]], cells: int) -> Ints:
    """The group that each cell is in."""
    where = np.zeros(cells, dtype=np.int64)
    for position, group in enumerate(groups):
        where[group] = position
    return where


def segments_with_floors(
    floors: Mapping[str, float], columns: Sequence[str], cells: Sequence[Cell], groups: Sequence[Sequence[int]], sizes: Ints
) -> list[tuple[list[int], int]]:
    """For each segment that is to be reported, the strata it is made of and the queries that it gets at least.

    floors: name -> queries. A name is a value of one of the columns ("head"; "segment:head" where two columns have it), a
    stratum, or a column: then each of its values has this floor, or all of its queries where it has fewer. sizes: of the
    groups.

    Raises: InputError for a name that is none of these, a floor above what the segment has, or one merged with others.
    """
    names = [name_of([cells[c] for c in group]) for group in groups]
    values = [sorted({cell[i] for cell in cells}) for i in range(len(columns))]
    found = []
    for name, floor in floors.items():
        if floor != int(floor) or floor < 0:
            raise InputError(f"a floor of {floor:g} for {name!r}: expected a whole number of queries")
        hits = [(i, v) for i, column in enumerate(columns) for v in values[i] if name in (v, f"{column}:{v}")]
        if name in columns and not hits:
            hits = [(columns.index(name), v) for v in values[columns.index(name)]]
        elif len(hits) > 1:
            raise InputError(
                f"{name!r} is a value of {' and '.join(columns[i] for i, _ in hits)}: say {columns[hits[0][0]]}:{name}"
            )
        parts = [[g for g, group in enumerate(groups) if all(cells[c][i] == v for c in group)] for i, v in hits]
        parts = parts or [[names.index(name)]] if name in names else parts
        if not parts:
            known = ", ".join(v for column in values for v in column) or "none"
            raise InputError(f"a floor for {name!r}, which is no segment: the segments are {known}")
        for members in parts:
            most = int(sizes[members].sum())
            if not members:
                raise InputError(f"segment {name!r} was merged with others, being too small: it has no floor of its own")
            if floor > most and name not in columns:
                raise InputError(f"segment {name!r} has {most} queries and a floor of {floor:g}: ask for {most} at most")
            found.append((members, min(int(floor), most)))
    return found
