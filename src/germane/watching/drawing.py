"""The day's sample: queries by strata, with numbers that stay theirs, so that most of the panel is there again tomorrow.

In each stratum a query is in the panel while its permanent number u lies below the panel's share. Once in 1 / step days it
gets a new u, each query on a day of its own: so every day that share of the panel leaves and as much comes in, whatever the
sizes of strata do, and nobody picks. Fresh queries are drawn anew each day from those that are not in the panel.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.logs import popularity
from germane.stats.allocation import apportion
from germane.types import InputError
from germane.watching.reading import DayLog, lists, uniform
from germane.watching.sources import named, quoted

if TYPE_CHECKING:
    import pyarrow as pa

LEAST = 10
"""Queries of each stratum, where it has as many."""

BETWEEN = " / "  # parts of a stratum's name


class Stratum(NamedTuple):
    """What was drawn of a stratum. queries, requests: of the day. panel, fresh: shares of its queries.

    A query's chance of being in the panel is `panel`; of being in the sample, panel + (1 - panel) fresh.
    """

    name: str
    queries: int
    requests: int
    panel: float
    fresh: float
    drawn: int
    drawn_panel: int

    @property
    def odds(self) -> float:
        """The chance of a query of being in the sample."""
        return self.panel + (1 - self.panel) * self.fresh


@dataclass(frozen=True)
class Drawn:
    """The sample of a day. table: query, log_query_id, requests, stratum, panel, panel_probability, probability, shown and the
    segments' columns, in the order of queries. strata: what each stands for.
    """

    table: pa.Table
    strata: tuple[Stratum, ...]


def number(*parts: object) -> float:
    """Strictly between 0 and 1, by the MD5 of the parts: what `uniform` is in SQL.

    >>> round(number(1, "phase", "red shoes"), 6) == round(number("1", "phase", "red shoes"), 6)
    True
    """
    digest = hashlib.md5("\x1f".join(map(str, parts)).encode(), usedforsecurity=False).digest()
    return (int.from_bytes(digest[8:], "little") + 0.5) / 2.0**64


def permanent(seed: int, query: str, day: date, step: float) -> float:
    """A query's number u on a day: the same for 1 / step days.

    >>> days = [date(2026, 3, 2 + d) for d in range(20)]
    >>> len({permanent(1, "red shoes", day, 0.02) for day in days}) <= 2
    True
    """
    return number(seed, "panel", query, floor(day.toordinal() * step + number(seed, "phase", query)))


def draw(log: DayLog, day: date) -> Drawn:
    """The queries of the day's sample, each with what was shown to one of its requests. The same log and day, the same sample.

    Raises: InputError where there are more strata than queries to draw.
    """
    strata = _strata(log)
    plan = log.plan
    u, fresh = _numbers(plan.seed, day, plan.step)
    columns = "".join(f", s{i} AS {named(name)}" for i, name in enumerate(plan.segments))
    log.connection.register("odds", _table(strata))
    table: pa.Table = log.connection.sql(
        f"""SELECT query, query_id AS log_query_id, requests, stratum, u < odds.panel AS panel,
            odds.panel AS panel_probability, odds.panel + (1 - odds.panel) * odds.fresh AS probability{columns}
        FROM (SELECT *, {u} AS u, {fresh} AS f FROM queries JOIN named_strata USING (stratum_number))
        JOIN odds ON stratum = odds.name
        WHERE u < odds.panel OR f < odds.fresh ORDER BY query"""
    ).to_arrow_table()
    log.connection.unregister("odds")
    table = table.append_column("shown", _lists_of(log, table, day))
    names = np.asarray(table["stratum"].to_pylist(), dtype=object)
    panel = np.asarray(table["panel"].to_pylist(), dtype=bool)
    counted = [s._replace(drawn=int((names == s.name).sum()), drawn_panel=int(panel[names == s.name].sum())) for s in strata]
    return Drawn(table, tuple(counted))


def _numbers(seed: int, day: date, step: float) -> tuple[str, str]:
    """SQL for a query's permanent number of the day, and for the one that is drawn anew each day."""
    phase = uniform(f"{seed}", "'phase'", "query")
    epoch = f"CAST(floor({day.toordinal()} * CAST({step!r} AS DOUBLE) + {phase}) AS BIGINT)"
    return uniform(f"{seed}", "'panel'", "query", epoch), uniform(f"{seed}", "'fresh'", f"'{day}'", "query")


def _strata(log: DayLog) -> list[Stratum]:
    """The strata of the day, in order of their traffic, with the shares that give about as many queries as were asked for."""
    plan = log.plan
    _with_popularity(log)
    parts = ["popularity", *(f"s{plan.segments.index(name)}" for name in plan.strata)]
    listed = ", ".join(parts)
    log.connection.execute(
        f"CREATE TABLE named_strata AS SELECT row_number() OVER (ORDER BY {listed}) AS stratum_number, "
        f"concat_ws({quoted(BETWEEN)}, {listed}) AS stratum, {listed} FROM (SELECT DISTINCT {listed} FROM queries)"
    )
    same = " AND ".join(f"q.{part} = n.{part}" for part in parts)
    kept = "".join(f", q.s{i}" for i in range(len(plan.segments)))
    log.connection.execute(
        f"CREATE TABLE placed AS SELECT q.query, q.query_id, q.requests{kept}, n.stratum_number "
        f"FROM queries q JOIN named_strata n ON {same}"
    )
    log.connection.execute("DROP TABLE queries; ALTER TABLE placed RENAME TO queries")
    log.connection.execute("CREATE OR REPLACE TABLE named_strata AS SELECT stratum_number, stratum FROM named_strata")
    rows = log.connection.execute(
        "SELECT stratum, count(*), sum(requests)::BIGINT FROM queries JOIN named_strata USING (stratum_number) "
        "GROUP BY stratum ORDER BY 3 DESC, 1"
    ).fetchall()
    return _allocated([(str(name), int(queries), int(requests)) for name, queries, requests in rows], plan.sample, plan.panel)


def _allocated(rows: list[tuple[str, int, int]], sample: int, panel: float) -> list[Stratum]:
    """By traffic, at least LEAST of each stratum. One that is taken whole is all panel."""
    size = np.array([queries for _, queries, _ in rows], dtype=np.int64)
    low = np.minimum(size, LEAST)
    if low.sum() > sample:
        raise InputError(
            f"{len(rows)} strata need {low.sum():,} queries a day, and watch.sample is {sample:,}: raise it, or name fewer "
            "columns in watch.strata"
        )
    traffic = np.array([requests for *_, requests in rows], dtype=np.float64)
    n = apportion(traffic / traffic.sum(), int(min(sample, size.sum())), low=low, high=size)
    made = []
    for (name, queries, requests), take in zip(rows, n.tolist(), strict=True):
        rate = take / queries
        share = 1.0 if rate >= 1 else panel * rate
        rest = 0.0 if share >= 1 else (rate - share) / (1 - share)
        made.append(Stratum(name, queries, requests, share, rest, 0, 0))
    return made


def _with_popularity(log: DayLog) -> None:
    """A column `popularity` of the queries: head, torso, tail or single, by the day's requests."""
    import pyarrow as pa

    rows = log.connection.execute("SELECT requests, count(*) FROM queries GROUP BY 1 ORDER BY 1").fetchall()
    levels, sizes = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    code, names = popularity(np.repeat(levels, sizes))
    first: NDArray[np.int64] = np.cumsum(sizes) - sizes
    said = pa.table({"requests": pa.array(levels), "popularity": pa.array([names[c] for c in code[first]], pa.string())})
    log.connection.register("said", said)
    log.connection.execute("CREATE TABLE popular AS SELECT queries.*, said.popularity FROM queries JOIN said USING (requests)")
    log.connection.execute("DROP TABLE queries; ALTER TABLE popular RENAME TO queries")
    log.connection.unregister("said")


def _table(strata: list[Stratum]) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: [getattr(s, name) for s in strata] for name in ("name", "panel", "fresh")})


def _lists_of(log: DayLog, table: pa.Table, day: date) -> Any:
    """The list that each drawn query was shown, in the order of the table, cut at the depth that is watched."""
    import pyarrow as pa

    found = lists(log, table, seed=log.plan.seed, day=day)
    return pa.array([found[str(query)] for query in table["query"].to_pylist()], pa.list_(pa.string()))
