"""Ranks from scores as trec_eval makes them, and the grades of what was ranked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from germane.store.checks import compute, conform, first_duplicate
from germane.store.duck import database
from germane.types import InputError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_SMALL = 500_000  # rows up to which Arrow's join is faster than starting DuckDB, and memory no matter
_OFFSETS_END = 2**31 - 1  # bytes that one Arrow array of strings can hold


def rank(run: pa.Table) -> pa.Table:
    """The run with its rank made from score (1 = top), sorted by query_id and rank.

    Single-precision scores fall, and ties by doc_id (as bytes) fall too. Source: trec_eval 9.0.8, form_res_rels.c.

    Raises: InputError where a document is twice in a query, or a score is no finite number.
    """
    return ranked(conform(run, "runs", name="run"))


def ranked(run: pa.Table) -> pa.Table:
    """`rank` of a run that is known to conform."""
    order, ranks = _order(run)
    return _take(run.select(["query_id", "doc_id", "score"]), order).append_column("rank", ranks)


def graded(
    run: pa.Table,
    judgments: pa.Table,
    *,
    k: int | None = None,
    condensed: bool = False,
    queries: pa.Array[Any] | pa.ChunkedArray[Any] | None = None,
) -> pa.Table:
    """query_id, doc_id, rank, relevance of a run, sorted by query_id and rank; relevance null = unjudged.

    k: cut each query there. condensed: take unjudged documents out first, so that ranks close up. queries: only these.
    A judgment without a label leaves its document unjudged. Ranks are made from scores, as `rank` does.

    Raises: InputError where a pair has more than one label: keep one judge, or aggregate them, first.
    """
    import numpy as np
    import pyarrow as pa

    pc = compute()
    run = _plain_ids(run.select(["query_id", "doc_id", "score"]))
    if queries is not None:
        run = run.filter(pc.is_in(run["query_id"], value_set=queries.cast(pa.string())))
    judgments = _plain_ids(judgments.filter(pc.is_valid(judgments["relevance"])))
    _require_one_label(judgments)
    if condensed:
        rows, relevance = _labels(run, judgments)
        run = _take(run, rows)
    order, ranks = _order(run, k)
    run = _take(run, order).drop_columns(["score"])
    if condensed:
        grades: Any = pa.array(relevance[order])
    else:
        rows, relevance = _labels(run, judgments)
        known = np.zeros(run.num_rows, dtype=bool)
        known[rows] = True
        values = np.zeros(run.num_rows, dtype=np.int16)
        values[rows] = relevance
        grades = pa.array(values, mask=~known)
    return run.append_column("rank", ranks).append_column("relevance", grades)


def _plain_ids(table: pa.Table) -> pa.Table:
    """The table with ids of Arrow's one type of text, whichever of its types they came in."""
    import pyarrow as pa

    for column in ("query_id", "doc_id"):
        if not pa.types.is_string(table[column].type):
            table = table.set_column(table.column_names.index(column), column, table[column].cast(pa.string()))
    return table


def _labels(run: pa.Table, judgments: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """The rows of the run that have a label, rising, and the labels."""
    import numpy as np
    import pyarrow as pa

    numbers: Any = pa.array(np.arange(run.num_rows))
    pairs = run.select(["query_id", "doc_id"]).append_column("row", numbers)
    labels = judgments.select(["query_id", "doc_id", "relevance"])
    if run.num_rows + judgments.num_rows <= _SMALL:
        found = pairs.join(labels, ["query_id", "doc_id"], join_type="inner")
    else:
        with database(run=pairs, labels=labels) as query:
            found = query("SELECT row, relevance::SMALLINT AS relevance FROM run JOIN labels USING (query_id, doc_id)")
    rows, relevance = found["row"].to_numpy(), found["relevance"].to_numpy()
    order = np.argsort(rows)
    return rows[order], relevance[order]


def _order(run: pa.Table, k: int | None = None) -> tuple[NDArray[np.int64], Any]:
    """The rows by query_id and rank, at most k a query, and their ranks."""
    import numpy as np
    import pyarrow as pa

    query = _codes(run["query_id"])
    falling = falling_key(run["score"].to_numpy())
    if falling is None:
        conform(run, "runs", name="run")  # names the row
        raise AssertionError("a score that is no finite number passed the check of runs")
    key = query << np.uint64(32) | falling
    order = np.arange(len(key)) if (key[1:] > key[:-1]).all() else np.argsort(key)
    key = key[order]
    tied = tied_rows(key)
    if len(tied):
        doc_ids: Any = run["doc_id"]
        order[tied] = order[tied][settled(key[tied], doc_ids.take(pa.array(order[tied])))]
    query = (key >> np.uint64(32)).astype(np.int64)
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    ranks = np.arange(1, len(query) + 1) - np.repeat(starts, np.diff(starts, append=len(query)))
    if k is not None:
        order, ranks = order[ranks <= k], ranks[ranks <= k]
    return order, pa.array(ranks, pa.int32())


def falling_key(score: NDArray[Any]) -> NDArray[np.uint32] | None:
    """(n,): whole numbers in the order of falling single-precision scores, equal for equal ones; None if one is not finite."""
    import numpy as np

    with np.errstate(over="ignore"):
        single = score.astype(np.float32) + np.float32(0)  # -0 is 0
    if not np.isfinite(single).all():
        return None
    bits = single.view(np.uint32)
    return np.where(bits >> np.uint32(31), bits, ~(bits | np.uint32(1 << 31)))


def tied_rows(key: NDArray[Any]) -> NDArray[np.int64]:
    """The places in a sorted key that hold the same as one of their neighbours."""
    import numpy as np

    if len(key) < 2:
        return np.array([], dtype=np.int64)
    equal = key[1:] == key[:-1]
    return np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))


def settled(key: NDArray[Any], doc_ids: Any) -> NDArray[np.int64]:
    """The order in which rows of equal keys stand: by falling document ids, as bytes."""
    import numpy as np
    import pyarrow as pa

    rows = pa.Table.from_arrays([pa.array(key), doc_ids], ["key", "doc"])
    return np.asarray(compute().sort_indices(rows, [("key", "ascending"), ("doc", "descending")]).to_numpy(), dtype=np.int64)


def _codes(ids: pa.ChunkedArray[Any]) -> NDArray[np.uint64]:
    """Whole numbers in the order of the ids as bytes."""
    import numpy as np

    if not len(ids):
        return np.array([], dtype=np.uint64)
    encoded: Any = ids.dictionary_encode().unify_dictionaries()
    order = compute().sort_indices(encoded.chunk(0).dictionary).to_numpy()
    codes = np.empty(len(order), dtype=np.uint64)
    codes[order] = np.arange(len(order), dtype=np.uint64)
    return np.asarray(codes[np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])])


def _take(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """These rows, in this order."""
    import numpy as np
    import pyarrow as pa

    if len(rows) == table.num_rows and (rows == np.arange(len(rows))).all():
        return table
    wide = [c for c in table.column_names if pa.types.is_string(table[c].type) and table[c].nbytes > _OFFSETS_END]
    for column in wide:  # gathered as one array, these would overflow 32-bit offsets
        table = table.set_column(table.column_names.index(column), column, table[column].cast(pa.large_string()))
    table = table.take(rows)
    for column in wide:
        slices = [table[column].slice(at, 1 << 20).cast(pa.string()) for at in range(0, len(rows), 1 << 20)]
        whole = pa.chunked_array([chunk for part in slices for chunk in part.chunks], pa.string())
        table = table.set_column(table.column_names.index(column), column, whole)
    return table


def _require_one_label(labels: Any) -> None:
    twice = first_duplicate(labels, ["query_id", "doc_id"])
    if twice is None:
        return
    pairs = [{c: labels[c][row].as_py() for c in labels.column_names} for row in twice]
    said = " and ".join(f"{pair['relevance']} by {pair.get('judge') or 'a judge without a name'}" for pair in pairs)
    raise InputError(
        f"judgments: query {pairs[0]['query_id']!r}, document {pairs[0]['doc_id']!r} has the labels {said}; expected one a "
        "pair: keep one judge, or aggregate them first"
    )
