"""A design as a table, one row a sampled query, and what each of its queries stands for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.sampling.strata import STRATA
from germane.types import Design, InputError, Stratum

if TYPE_CHECKING:
    import pyarrow as pa

UNIT = "distinct queries"
TRAFFIC = {"impressions": "searches", "users": "users"}  # a column of traffic -> what one unit of it is

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def read_design_table(designs: pa.Table, *, seed: int | None = None, unit: str = UNIT, origin: str = "") -> Design:
    """What the sampled queries stand for, from a table of designs: population and sample of each stratum, by name.

    With a column `unit` other than "distinct queries", queries were drawn with odds proportional to their traffic; the
    population of a stratum is then its traffic, `stratum_traffic`, in that unit.

    Raises: InputError where a stratum's rows disagree on its population, or its inclusion probabilities are not those of
    the draw: sample / population, or proportional to traffic and summing to the sample.

    >>> import pyarrow as pa
    >>> rows = {"query_id": ["a", "b"], "stratum": ["all"] * 2, "inclusion_probability": [0.5] * 2, "population": [4] * 2}
    >>> read_design_table(pa.table(rows)).strata
    (Stratum(name='all', population=4, sample=2),)
    """
    if not designs.num_rows:
        raise InputError("the design names no queries: draw one with at least 2")
    ids_of(designs)
    unit = _unit(designs, unit)
    needed = ["stratum", "population", "inclusion_probability"] + (["traffic", "stratum_traffic"] if unit != UNIT else [])
    if absent := [column for column in needed if column not in designs.column_names]:
        raise InputError(f"the design is of {unit} and has no column {absent[0]}: draw it with `germane sample --by traffic`")
    table: Any = designs.select(needed)
    if unit == UNIT:  # a stratum's rows are all alike, and there may be a million
        table = table.group_by(needed, use_threads=False).aggregate([([], "count_all")])
    rows: list[dict[str, Any]] = table.to_pylist()
    if any(None in row.values() for row in rows):
        raise InputError(f"the design has a null in {_or(needed)}: expected a value in each row")
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["stratum"], []).append(row)
    check = _of_queries if unit == UNIT else _of_traffic
    found = [Stratum(name, check(name, members), _count(members)) for name, members in sorted(by_name.items())]
    return Design(tuple(found), seed=seed, unit=unit, origin=origin)


def standing(designs: pa.Table) -> Floats:
    """The share of the whole population that each row stands for, shape (n,): its weight in an estimated mean.

    1 / inclusion probability where the unit is a query, traffic / inclusion probability where it is a search or a user, over
    the population of all strata.

    >>> import pyarrow as pa
    >>> rows = {"query_id": ["a", "b"], "stratum": ["all"] * 2, "inclusion_probability": [0.5] * 2, "population": [4] * 2}
    >>> standing(pa.table(rows)).tolist()
    [0.5, 0.5]
    """
    design = read_design_table(designs)
    units = np.ones(designs.num_rows) if design.unit == UNIT else designs["traffic"].to_numpy().astype(float)
    share: Floats = units / designs["inclusion_probability"].to_numpy() / sum(s.population for s in design.strata)
    return share


def _or(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _unit(designs: pa.Table, unit: str) -> str:
    if "unit" not in designs.column_names:
        return unit
    units = designs["unit"].unique().to_pylist()
    if len(units) > 1 or units[0] not in (UNIT, *TRAFFIC.values()):
        raise InputError(
            f"the design's column unit holds {units}: expected one of {_or([UNIT, *TRAFFIC.values()])} in all rows"
        )
    return str(units[0])


def _one(name: str, column: str, members: list[dict[str, Any]]) -> int:
    values = {m[column] for m in members}
    if len(values) > 1:
        raise InputError(
            f"stratum {name!r} has {'populations' if column == 'population' else column} {sorted(values)}: expected one"
        )
    return int(values.pop())


def _count(members: list[dict[str, Any]]) -> int:
    return sum(m.get("count_all", 1) for m in members)


def _of_queries(name: str, members: list[dict[str, Any]]) -> int:
    size, sample = _one(name, "population", members), _count(members)
    odds = [m["inclusion_probability"] for m in members]
    low, high = min(odds), max(odds)
    if not (sample <= size and np.isclose([low, high], sample / size, rtol=1e-6).all()):
        raise InputError(
            f"stratum {name!r} has {sample} of {size} queries but inclusion probabilities from {low:.6g} to {high:.6g}: "
            f"expected {sample / size:.6g}; were rows added to the design, or dropped, after the draw?"
        )
    return size


def _of_traffic(name: str, members: list[dict[str, Any]]) -> int:
    """Odds are a constant times the traffic, none above 1; those that are 1 are all there, and the rest sum to the rest."""
    total, size = _one(name, "stratum_traffic", members), _one(name, "population", members)
    traffic, odds = (np.array([m[c] for m in members], dtype=float) for c in ("traffic", "inclusion_probability"))
    if not ((traffic > 0).all() and traffic.sum() <= total and len(members) <= size and ((odds > 0) & (odds <= 1)).all()):
        raise InputError(
            f"stratum {name!r} has {len(members)} of {size} queries with {traffic.sum():.0f} of {total} units of traffic: "
            "expected traffic above 0, odds above 0 and up to 1, and no more than there is; was the design changed?"
        )
    sure = odds >= 1
    left, drawn = total - traffic[sure].sum(), int((~sure).sum())
    expected = np.where(sure, 1.0, drawn * traffic / left if left > 0 else 0.0)
    if not np.isclose(odds, expected, rtol=1e-6).all() or (
        drawn and traffic[sure].min(initial=np.inf) * drawn < left * (1 - 1e-9)
    ):
        worst = int(np.abs(odds - expected).argmax())
        raise InputError(
            f"stratum {name!r} has an inclusion probability of {odds[worst]:.6g} for a traffic of {traffic[worst]:.0f}: "
            f"expected {expected[worst]:.6g}, proportional to it; were rows added to the design, or dropped, after the draw?"
        )
    return total


def ids_of(table: pa.Table) -> list[str]:
    """The query ids of a table, one row a query, or an InputError that names the row."""
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


def design_table(
    queries: pa.Table, rows: Ints, *, names: list[str], stratum: Ints, odds: Floats, traffic: Ints | None, unit: str
) -> pa.Table:
    """The sampled `rows` as a table of designs. stratum, odds, traffic: of all queries; traffic None if unknown."""
    import pyarrow as pa

    where, label = stratum[rows], np.array(names, dtype=object)
    columns: dict[str, Any] = {
        "query_id": queries["query_id"].take(rows).cast(pa.string()),
        "stratum": pa.array(label[where].tolist(), pa.string()),
        "inclusion_probability": pa.array(odds[rows], pa.float64()),
        "population": pa.array(np.bincount(stratum)[where], pa.int64()),
    }
    if traffic is not None:
        totals = np.array([int(traffic[stratum == h].sum()) for h in range(len(names))])
        columns |= {"traffic": pa.array(traffic[rows], pa.int64()), "stratum_traffic": pa.array(totals[where], pa.int64())}
    if unit != UNIT:
        columns["unit"] = pa.array([unit] * len(rows), pa.string())
    columns |= {name: queries[name].take(rows).cast(pa.string()) for name in STRATA if name in queries.column_names}
    return pa.table(columns).sort_by([("stratum", "ascending"), ("query_id", "ascending")])
