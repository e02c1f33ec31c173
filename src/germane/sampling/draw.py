"""From a population of queries to a sample of known odds: strata, allocation, the draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.sampling.designs import TRAFFIC, UNIT, design_table, ids_of, standing
from germane.sampling.population import Allocation, Population
from germane.sampling.unequal import odds_by_size, systematic
from germane.stats.allocation import Floats, Ints, kish_effect
from germane.stats.power import mde
from germane.types import Design, InputError, Stratum

if TYPE_CHECKING:
    import pyarrow as pa

BY = ("queries", "traffic", *TRAFFIC)


class Drawn(NamedTuple):
    """A design as a table (one row a sampled query) and as a value, and what had to be done that was not asked for.

    facts: "design_effect" of the allocation (its variance over that of a simple random sample of the same n, where the
    strata's means are equal), "weights_effect" (Kish's), and "mde" where SDs were given.
    """

    table: pa.Table
    design: Design
    notes: tuple[str, ...]
    facts: Mapping[str, float] = {}


def draw(
    queries: pa.Table,
    *,
    n: int | None = None,
    seed: int,
    strata: Sequence[str] | None = None,
    by: str = "queries",
    allocation: str | Allocation = "neyman",
    effect: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
    **division: Any,
) -> Drawn:
    """A sample of n queries with the inclusion probability of each: a random sample without replacement in each stratum.

    queries: one row a query, with query_id and the columns of `strata` (default: interest and segment, those that are
    there; () = a simple random sample). A null there is the stratum "unknown". by: "queries" gives each query of a
    stratum the same odds; "traffic" (impressions, else users; or name one) gives odds proportional to it, so that the sample
    stands for searches, or users, rather than distinct queries. allocation: its method, the rest as keywords of
    `Allocation` (sd, cost, minimum, floors, exponent); sd is of the paired difference, from a pilot or an earlier
    experiment (default: equal, which makes Neyman proportional). effect: instead of n, the MDE to reach at `level` and `power`.
    More parameters than our seven: each changes what is drawn.

    Strata that are too small (one query; or n under two for each) are merged into the one most like them, and `notes` says
    so. The draw depends on query ids, seed and (by traffic) traffic only: not on row order. By queries, a larger n keeps
    what a smaller one drew in each stratum, so that its judgments serve again.

    Source: permanent random numbers, Ohlsson (1995), Coordination of samples using permanent random numbers; odds
    proportional to traffic by `unequal.systematic`.
    Raises: InputError if n exceeds the population, a column or a stratum is unknown, a floor cannot be met, or an id is
    missing or twice there.

    >>> import pyarrow as pa
    >>> log = pa.table({"query_id": [f"q{i}" for i in range(100)], "segment": ["head"] * 10 + ["tail"] * 90})
    >>> drawn = draw(log, n=20, seed=7)
    >>> [(s.name, s.population, s.sample) for s in drawn.design.strata], drawn.table.num_rows
    ([('head', 10, 2), ('tail', 90, 18)], 20)
    """
    how = replace(allocation, **division) if isinstance(allocation, Allocation) else Allocation(allocation, **division)
    ids_of(queries)
    queries, traffic, unit, notes = _measured(queries, by)
    ids = ids_of(queries)
    frame = Population.of(queries, strata, n, how, traffic if unit != UNIT else None)
    _check(n, effect, len(ids), how)
    if n is None:
        n = frame.sample_for(effect or 0.0, level=level, power=power)
    sizes = frame.allocate(n)
    numbers = np.array([_random_number(seed, i) for i in ids], dtype=np.uint64)
    if unit == UNIT:
        odds = (sizes / frame.sizes)[frame.stratum]
        taken = _first(frame.stratum, sizes, numbers)
    else:
        odds, taken = _by_traffic(frame, sizes, numbers, traffic, seed)
    named = f"{how.method} allocation over {' x '.join(frame.columns)}" if frame.columns else "simple random sample"
    origin = named if unit == UNIT else f"{named}, odds proportional to {unit}"
    totals = frame.sizes if unit == UNIT else frame.weights
    rows = zip(frame.names, (int(total) for total in totals), sizes.tolist(), strict=True)
    design = Design(tuple(Stratum(*row) for row in rows), seed=seed, unit=unit, origin=origin)
    table = design_table(queries, taken, names=frame.names, stratum=frame.stratum, odds=odds, traffic=traffic, unit=unit)
    facts = {"weights_effect": kish_effect(standing(table))}
    if (ratio := frame.design_effect(sizes)) is not None:
        facts["design_effect"] = ratio
    if frame.sd is not None:
        facts["mde"] = mde(frame.se(sizes), level=level, power=power)
    return Drawn(table, design, (*notes, *frame.notes), facts)


def _check(n: int | None, effect: float | None, population: int, how: Allocation) -> None:
    if (n is None) == (effect is None):
        raise InputError("give either n or the MDE that n is to reach, one of them")
    if n is not None and n > population:
        raise InputError(f"n = {n} is larger than the population of {population} queries: pass n = {population} for a census")
    if (n is not None and n < 2) or how.minimum < 2:
        raise InputError(f"n = {n} and minimum = {how.minimum}: both must be 2 or more, since a variance needs two queries")


def _measured(queries: pa.Table, by: str) -> tuple[pa.Table, Ints | None, str, list[str]]:
    """(queries that can be drawn, traffic of each if it is known, the unit, notes)."""
    if by not in BY:
        raise InputError(f"by {by!r} is unknown: expected one of {', '.join(BY)}")
    asked = [by] if by in TRAFFIC else list(TRAFFIC)
    whole = [c for c in asked if c in queries.column_names and not queries[c].null_count and queries.num_rows]
    if not whole:
        if by == "queries":
            return queries, None, UNIT, []
        raise InputError(
            f"drawing by {by} needs a column {' or '.join(asked)} without gaps: "
            f"the queries have {', '.join(queries.column_names)}"
        )
    traffic = queries[whole[0]].to_numpy()
    if not (traffic >= 0).all():
        raise InputError(
            f"{whole[0]} of query {queries['query_id'][int(traffic.argmin())].as_py()!r} is {traffic.min()}: expected 0 or more"
        )
    if by == "queries":
        return queries, traffic.astype(np.int64), UNIT, []
    some = traffic > 0
    notes = [f"queries without {whole[0]}, which are no part of the {TRAFFIC[whole[0]]}: {int((~some).sum()):,}"]
    return queries.filter(some), traffic[some].astype(np.int64), TRAFFIC[whole[0]], [] if some.all() else notes


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


def _by_traffic(frame: Population, sizes: Ints, numbers: NDArray[np.uint64], traffic: Any, seed: int) -> tuple[Floats, Ints]:
    """(odds of every query, rows drawn): a systematic sample in random order in each stratum, each with a start of its own."""
    odds, taken = np.zeros(traffic.size), []
    for h, name in enumerate(frame.names):
        rows = np.flatnonzero(frame.stratum == h)
        odds[rows] = odds_by_size(traffic[rows], int(sizes[h]))
        start = _random_number(seed, f"start of stratum {name}") / 2**64
        taken.append(rows[systematic(odds[rows], numbers[rows], start)])
    return odds, np.concatenate(taken)
