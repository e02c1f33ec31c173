"""Which documents people judge to correct a judge: a random part of this experiment, with the odds of every pair known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.chance import keys, uniform
from germane.sampling.designs import standing
from germane.stats.allocation import apportion
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

UNITS = ("queries", "documents")
EVEN = 0.1
"""The share of a documents' audit that is spread evenly, so that no document that matters has odds near 0.

Source: a defensive mixture, Hesterberg (1995), Weighted average importance sampling; the share is our choice.
"""

SALT = 0x6175646974  # "audit": a replay judge with the same seed must not err where this draw falls

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class AuditDraw(NamedTuple):
    """The pairs that people are to judge, in no telling order, and how many there are of what.

    table: query_id, doc_id, unit, audit_stratum, inclusion_probability (of the query, or of the document), drawn (pairs in
    all). counts: queries
    (of the experiment), moved_queries, moved (documents), audited (units), pairs.
    """

    table: pa.Table
    counts: dict[str, int]
    notes: tuple[str, ...]


def draw_audit(
    moved: pa.Table,
    *,
    n: int,
    unit: str = "queries",
    seed: int,
    designs: pa.Table | None = None,
    spread: ArrayLike | None = None,
) -> AuditDraw:
    """A blind sample of an experiment's documents that moved, for people to judge: n queries whole, or about n documents.

    moved: `sampling.pool(...).table`, every document that moved between the arms (pass it no judgments). spread: (rows,) SD
    of people's gain given what the judge said of each pair, from `gain_sd`; equal if unknown. unit "queries": strata get
    shares of n by W_h times the root mean square of what their queries could be off by, at random inside each; queries in
    which nothing moved are known without people. unit "documents": each document by its own odds, proportional to
    |weight| x spread x what its query stands for, all independent, so that n is an average (Poisson sampling).

    Source: Neyman (1934) for queries; for documents Sarndal, Swensson and Wretman (1992), Model Assisted Survey Sampling,
    section 3.5 (Poisson sampling) and 12.4 (odds proportional to the residual's SD).
    Raises: InputError for an unknown unit, n under 2 or above what moved, spread that is negative or not one a row.

    >>> import pyarrow as pa
    >>> rows = {"query_id": ["a", "a", "b", "c"], "doc_id": ["1", "2", "1", "1"], "weight": [0.5, -0.5, 0.1, 0.2]}
    >>> drawn = draw_audit(pa.table({**rows, "value": [0.2, 0.2, 0.04, 0.08]}), n=2, seed=1)
    >>> drawn.counts["audited"], sorted(set(drawn.table["inclusion_probability"].to_pylist()))
    (2, [0.6666666666666666])
    """
    import pyarrow as pa

    if unit not in UNITS:
        raise InputError(f"an audit of {unit!r}: expected {' or '.join(UNITS)}")
    if not moved.num_rows:
        raise InputError(
            "no document moved between the arms: their difference is 0 whatever people say; there is nothing to audit"
        )
    sd = _spread(spread, moved.num_rows)
    names, query = _codes(moved["query_id"])
    strata, share, queries = _experiment(designs, names)
    ids = keys(names)[query], keys(str(doc) for doc in moved["doc_id"].to_pylist())
    if unit == "queries":
        odds, group, notes = _by_query(moved, query, strata, share, sd, n)
        rows = np.flatnonzero(_smallest(group, odds, uniform(seed, SALT, keys(names)))[query])
        chance, label, audited = odds[query], group[query], len(set(query[rows].tolist()))
    else:
        chance = _by_document(moved["value"].to_numpy(), sd, n)
        rows = np.flatnonzero(uniform(seed, SALT, *ids) < chance)
        label, audited, notes = strata[query], len(rows), []
    if not len(rows):
        raise InputError(f"no document was drawn: n = {n} is too few of {moved.num_rows:,}; ask for 30 or more")
    rows = rows[np.argsort(uniform(seed, SALT + 1, *(key[rows] for key in ids)))]  # an order that tells nothing of the arms
    columns: dict[str, Any] = {
        "query_id": moved["query_id"].take(rows),
        "doc_id": moved["doc_id"].take(rows),
        "unit": pa.repeat(unit, len(rows)),
        "audit_stratum": pa.array([str(name) for name in label[rows]], pa.string()),
        "inclusion_probability": pa.array(chance[rows], pa.float64()),
        "drawn": pa.array(np.full(len(rows), len(rows)), pa.int64()),
    }
    counts = {"queries": queries, "moved_queries": len(names), "moved": moved.num_rows, "audited": audited, "pairs": len(rows)}
    return AuditDraw(pa.table(columns), counts, tuple(notes))


def gain_sd(confusion: ArrayLike, gains: ArrayLike) -> Floats:
    """The SD of people's gain where the judge said each grade, shape (grades,).

    confusion: (grades, grades) counts, people's grade by row, the judge's by column, as on a judge card. Half a pair is
    added to every cell, so that a grade without a single error in a small golden set is not taken for faultless.

    >>> gain_sd([[8, 2], [2, 8]], [0.0, 1.0]).round(3).tolist()
    [0.419, 0.419]
    """
    counts = np.asarray(confusion, dtype=np.float64) + 0.5
    gain = np.asarray(gains, dtype=np.float64)
    if counts.shape != (gain.size, gain.size):
        raise InputError(
            f"a confusion matrix of shape {counts.shape} and {gain.size} gains: expected one row and column a grade"
        )
    odds = counts / counts.sum(axis=0)
    mean = gain @ odds
    return np.asarray(np.sqrt(np.maximum((gain**2) @ odds - mean**2, 0.0)))


def _spread(spread: ArrayLike | None, rows: int) -> Floats:
    sd = np.ones(rows) if spread is None else np.asarray(spread, dtype=np.float64)
    if sd.shape != (rows,) or not (np.isfinite(sd) & (sd >= 0)).all():
        raise InputError(
            f"spread has shape {sd.shape}: expected a number, 0 or more, for each of the {rows} documents that moved"
        )
    return sd if sd.any() else np.ones(rows)


def _codes(ids: Any) -> tuple[list[str], Ints]:
    encoded = ids.combine_chunks().dictionary_encode()
    return [str(name) for name in encoded.dictionary.to_pylist()], encoded.indices.to_numpy().astype(np.int64)


def _experiment(designs: pa.Table | None, names: list[str]) -> tuple[NDArray[np.object_], Floats, int]:
    """(stratum of each of these queries, what one stands for, queries of the experiment)."""
    if designs is None:
        return np.full(len(names), "all", dtype=object), np.ones(len(names)), len(names)
    columns = [designs["query_id"].to_pylist(), designs["stratum"].to_pylist(), standing(designs).tolist()]
    rows: dict[str, tuple[Any, float]] = {str(q): (stratum, share) for q, stratum, share in zip(*columns, strict=True)}
    if missing := [name for name in names if name not in rows]:
        raise InputError(f"query {missing[0]!r} moved and is not in the design: pool the two runs with the same design")
    strata = np.array([rows[name][0] for name in names], dtype=object)
    return strata, np.array([rows[name][1] for name in names]), designs.num_rows


def _by_query(
    moved: pa.Table, query: Ints, strata: NDArray[np.object_], share: Floats, sd: Floats, n: int
) -> tuple[Floats, NDArray[np.object_], list[str]]:
    """(odds of each query that moved, its audit stratum, notes)."""
    if not 2 <= n <= len(strata):
        raise InputError(
            f"n = {n} queries: {len(strata):,} have documents that moved; ask for 2 to {len(strata):,}, 30 or more"
        )
    could = np.bincount(query, (moved["weight"].to_numpy() * sd) ** 2, len(strata))
    group, notes = _merged(strata, n)
    code = np.unique(group.astype(str), return_inverse=True)[1]
    sizes = np.bincount(code)
    parts = np.sqrt(np.bincount(code, share**2 * could) * sizes)  # N_g times the root mean square
    sample = apportion(parts, n, low=np.minimum(sizes, 2), high=sizes)
    return (sample / sizes)[code], group, notes


def _merged(strata: NDArray[np.object_], n: int) -> tuple[NDArray[np.object_], list[str]]:
    """Strata with at least two queries each, and no more of them than n / 2: the smallest are taken together."""
    names, code, sizes = np.unique(strata.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(sizes, kind="stable")
    few = 0  # how many of the smallest become one
    while len(names) - max(few - 1, 0) > 1 and (
        2 * (len(names) - max(few - 1, 0)) > n or (sizes[order[few:]].min(initial=2) < 2) or (0 < sizes[order[:few]].sum() < 2)
    ):
        few = max(few + 1, 2)
    if not few:
        return strata, []
    together = set(order[:few].tolist())
    label = f"{few} small strata together"
    group = np.array([label if c in together else names[c] for c in code.tolist()], dtype=object)
    return group, [f"{few} of {len(names)} strata have too few queries for {n} audited ones, and are audited as one"]


def _smallest(group: NDArray[np.object_], odds: Floats, numbers: Floats) -> NDArray[np.bool_]:
    """True for the queries with the smallest numbers of each group, as many as its odds say."""
    taken = np.zeros(len(group), dtype=bool)
    for name in set(group.tolist()):
        rows = np.flatnonzero(group == name)
        taken[rows[np.argsort(numbers[rows])][: round(float(odds[rows].sum()))]] = True
    return taken


def _by_document(value: Floats, sd: Floats, n: int) -> Floats:
    """Odds that sum to n, proportional to value x sd but for a part that is even, none above 1."""
    if not 2 <= n <= len(value):
        raise InputError(f"n = {n} documents: {len(value):,} moved; ask for 2 to {len(value):,}, 30 or more")
    size = value * sd
    size = (1 - EVEN) * size / size.sum() + EVEN / len(size) if size.sum() > 0 else np.full(len(size), 1 / len(size))
    odds = np.minimum(n * size, 1.0)
    for _ in range(50):  # what full odds cannot take goes to the others
        full = odds >= 1
        left = n - full.sum()
        if full.all() or left <= 0:
            break
        again = np.where(full, 1.0, np.minimum(size / size[~full].sum() * left, 1.0))
        if np.allclose(again, odds):
            break
        odds = again
    return odds
