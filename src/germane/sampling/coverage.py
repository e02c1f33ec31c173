"""Golden pairs by chance: every kind of query and every depth of the lists, each pair with its odds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.chance import keys, uniform
from germane.stats.allocation import apportion
from germane.store import database, rank
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

DEPTHS = (3, 10)
"""The last ranks of the first buckets; the rest down to k is one more. Our choice: what is seen at once, a page, and beyond."""

SALT = 0x676F6C64  # "gold"
ALLOCATIONS = ("root", "proportional", "equal")


class Coverage(NamedTuple):
    """The random part. frame: every pair that could be drawn: stratum, odds, drawn or not. cells: stratum -> (pairs, drawn)."""

    frame: pa.Table
    cells: dict[str, tuple[int, int]]


def frame_of(
    runs: Sequence[pa.Table], *, k: int, queries: pa.Table, strata: Sequence[str], depths: Sequence[int] = DEPTHS
) -> Any:
    """Every pair in the top k of any run: query_id, doc_id, rank (its best), stratum (the query's cell / rank bucket).

    queries: those that count, with the columns of strata. Raises: InputError where no run shows any of these queries.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not runs:
        raise InputError("which pairs? give at least one run of each ranker, with --run")
    tables = {f"run{i}": rank(table).select(["query_id", "doc_id", "rank"]) for i, table in enumerate(runs)}
    asked = queries.select(["query_id", *strata])
    union = " UNION ALL ".join(f"SELECT * FROM {name} WHERE rank <= {int(k)}" for name in tables)
    sql = f"SELECT query_id, doc_id, min(rank) AS rank FROM ({union}) SEMI JOIN asked USING (query_id) GROUP BY ALL"
    with database(asked=asked, **tables) as query:
        frame = query(f"{sql} ORDER BY query_id, doc_id")
    if not frame.num_rows:
        raise InputError("no run shows any of these queries: do they use the same query ids?")
    rows = pc.index_in(frame["query_id"], value_set=asked["query_id"].combine_chunks())
    parts = [[str(v) if v is not None else "unknown" for v in asked[c].take(rows).to_pylist()] for c in strata]
    bucket = [_bucket(int(r or 0), k, depths) for r in frame["rank"].to_pylist()]
    names = [" / ".join(cell) for cell in zip(*parts, bucket, strict=True)]
    return frame.append_column("stratum", pa.array(names, pa.string()))


def _bucket(place: int, k: int, depths: Sequence[int]) -> str:
    low = 1
    for depth in sorted(depths):
        if place <= depth < k:
            return f"rank {low}-{depth}"
        low = depth + 1 if depth < k else low
    return f"rank {low}-{k}"


def draw_coverage(
    frame: pa.Table, *, n: int, seed: int, allocation: str = "root", chance: NDArray[np.float64] | None = None
) -> Coverage:
    """n pairs of the frame: a random sample without replacement in each stratum, with every pair's odds.

    allocation: root (by the square root of a stratum's pairs: small strata are seen, large ones are not starved), proportional
    or equal; every stratum gets a pair. chance: (rows,) of each pair's query to be in the frame, where queries
    were sampled: the odds are then the product. The draw depends on ids and the seed alone, and a larger n keeps
    what a smaller one drew in each stratum.

    Source: Horvitz and Thompson (1952) for what the odds are for; permanent random numbers: Ohlsson (1995).
    Raises: InputError for n under 1 or above the frame, and an unknown allocation.

    >>> import pyarrow as pa
    >>> rows = pa.table({"query_id": ["q"] * 4, "doc_id": list("abcd"), "stratum": ["x", "y", "y", "y"]})
    >>> draw_coverage(rows, n=2, seed=1).frame["inclusion_probability"].to_pylist()[0]
    1.0
    """
    import pyarrow as pa

    if allocation not in ALLOCATIONS:
        raise InputError(f"allocation {allocation!r}: expected one of {', '.join(ALLOCATIONS)}")
    if not 1 <= n <= frame.num_rows:
        raise InputError(f"n = {n}: the lists hold {frame.num_rows:,} pairs that may be drawn; ask for 1 to {frame.num_rows:,}")
    encoded = frame["stratum"].combine_chunks().dictionary_encode()
    code, names = encoded.indices.to_numpy().astype(np.int64), [str(v) for v in encoded.dictionary.to_pylist()]
    sizes = np.bincount(code, minlength=len(names))
    share = {"root": np.sqrt(sizes), "proportional": sizes.astype(float), "equal": np.ones(len(names))}[allocation]
    low = np.minimum(sizes, 1) if n >= len(names) else np.zeros(len(names), dtype=np.int64)
    if n < len(names):
        raise InputError(f"n = {n} and {len(names)} strata: ask for {len(names)} or more, so that each has a chance")
    sample = apportion(share, n, low=low, high=sizes)
    number = uniform(seed, SALT, keys(map(str, frame["query_id"].to_pylist())), keys(map(str, frame["doc_id"].to_pylist())))
    order = np.lexsort((number, code))
    place = np.empty(len(code), dtype=np.int64)
    place[order] = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    odds = (sample / sizes)[code] * (1.0 if chance is None else chance)
    out = frame.append_column("inclusion_probability", pa.array(odds, pa.float64()))
    out = out.append_column("drawn", pa.array(place < sample[code]))
    return Coverage(out, {name: (int(sizes[i]), int(sample[i])) for i, name in enumerate(names)})
