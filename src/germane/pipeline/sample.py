"""`germane sample`: from a query log to queries with segments, and from queries to a drawn design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import logs, sampling, sources, store
from germane.stats.power import shrunken_sd
from germane.store.checks import MAX_CHARACTERS
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Segments(NamedTuple):
    """What `segment` wrote: how many queries, in how many of what; and what the log held that is not in the file.

    segments: name -> queries, traffic -> share of all users (or impressions). made: False if nothing had changed.
    """

    out: str
    made: bool
    rows: int
    queries: int
    by: str
    normalise: str
    segments: dict[str, int]
    traffic: dict[str, float]
    least: dict[str, int]
    notes: tuple[str, ...]


class Sample(NamedTuple):
    """What `sample` wrote: how many queries of how many, in all and by stratum, and what was done that was not asked for."""

    out: str
    made: bool
    queries: int
    population: int
    sampled: dict[str, int]
    populations: dict[str, int]
    notes: tuple[str, ...]


def segment(
    log: Path,
    out: Path,
    *,
    columns: Mapping[str, str | None] | None = None,
    normalise: str = logs.NORMAL,
    thresholds: Mapping[str, float] | None = None,
    by: str | None = None,
) -> Segments:
    """One row a query of the log, with its popularity segment, as a table of queries; see `logs.segments`.

    Raises: InputError for a log that cannot be read or has no queries, and for columns that are not there.
    """
    cuts = dict(thresholds or logs.THRESHOLDS)
    asked = {"columns": dict(columns or {}), "normalise": normalise, "thresholds": cuts, "by": by}
    work: dict[str, Any] = {"verb": "segment", "inputs": [log], "parameters": asked}
    if not log.is_file():
        raise InputError(f"{log} is not a file: expected a query log")
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _segments(out, False, manifest.extra["log"])
    found = logs.segments(log, columns=columns, normalise=normalise, thresholds=cuts, by=by)
    facts = asdict(found.facts)
    store.write_table(found.table, out, "queries", **work, extra={"log": facts})
    return _segments(out, True, facts)


def _segments(out: Path, made: bool, facts: Mapping[str, Any]) -> Segments:
    notes = []
    if facts["by"] == "impressions":
        notes.append("no column of users: segments are by impressions, and their names say so")
    said = {
        "empty": "rows without a query, left out",
        "overlong": f"rows with a query of more than {MAX_CHARACTERS:,} characters, left out",
        "unsearched": "rows with 0 impressions, left out",
        "anonymous": "rows without a user, which count as impressions only",
        "several_interests": "queries with several interests, of which the most frequent was taken",
    }
    notes += [f"{words}: {facts[key]:,}" for key, words in said.items() if facts[key]]
    if facts["written"] > facts["queries"]:
        notes.append(f"queries as written: {facts['written']:,}; after normalisation: {facts['queries']:,}")
    same = {name: facts[name] for name in ("rows", "queries", "by", "normalise", "traffic", "least")}
    return Segments(str(out), made, segments=facts["sizes"], notes=tuple(notes), **same)


def sample(
    queries: Path,
    out: Path,
    *,
    n: int,
    seed: int,
    strata: Sequence[str] | None = None,
    allocation: str = "neyman",
    pilot: Path | None = None,
    minimum: int = 2,
) -> Sample:
    """n of the queries, each with its chance of being drawn, as a table of designs; see `sampling.draw`.

    queries: as `segment` or `import` wrote them. Those with users or impressions but without segments get them by the
    default thresholds. pilot: a CSV with stratum and sd (of the paired difference), and, if known, n (queries of the pilot:
    the SD of a few is pulled towards the pooled SD) and cost.

    Raises: InputError if n exceeds the population, or strata, columns or the pilot do not fit.
    """
    asked = {"n": n, "strata": None if strata is None else list(strata), "allocation": allocation, "minimum": minimum}
    inputs = [queries] if pilot is None else [queries, pilot]
    work: dict[str, Any] = {"verb": "sample", "inputs": inputs, "parameters": asked, "seed": seed}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _sample(out, False, manifest.extra)
    table, notes = _with_segments(sources.read_queries(queries), strata)
    sd, cost = (None, None) if pilot is None else _pilot(pilot)
    drawn = sampling.draw(table, n=n, seed=seed, strata=strata, allocation=allocation, sd=sd, cost=cost, minimum=minimum)
    extra = {
        "design": {"unit": drawn.design.unit, "origin": drawn.design.origin},
        "strata": {s.name: [s.population, s.sample] for s in drawn.design.strata},
        "notes": [*notes, *drawn.notes],
    }
    store.write_table(drawn.table, out, "designs", **work, extra=extra)
    return _sample(out, True, extra)


def _sample(out: Path, made: bool, extra: Mapping[str, Any]) -> Sample:
    populations, sampled = ({name: sizes[i] for name, sizes in extra["strata"].items()} for i in (0, 1))
    return Sample(str(out), made, sum(sampled.values()), sum(populations.values()), sampled, populations, tuple(extra["notes"]))


def _with_segments(queries: pa.Table, strata: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
    """The queries with segments, if these are wanted, not there, and can be made; and a note of it."""
    if "segment" in queries.column_names or (strata is not None and "segment" not in strata):
        return queries, []
    by = next((c for c in ("users", "impressions") if c in queries.column_names and not queries[c].null_count), None)
    if by is None or not queries.num_rows:
        note = "no segments: the queries have no users or impressions, so popularity makes no strata"
        return queries, [] if strata is not None else [note]
    cuts = ", ".join(f"{name} to {share:.0%}" for name, share in logs.THRESHOLDS.items())
    return logs.with_segments(queries, by=by).table, [
        f"segments were made from {by}, by the default thresholds ({cuts} of traffic)"
    ]


def _pilot(path: Path) -> tuple[dict[str, float], dict[str, float] | None]:
    """SD and, where it is given, cost of each stratum."""
    import csv

    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; expected a CSV with the columns stratum and sd") from error
    if not rows or not {"stratum", "sd"} <= rows[0].keys():
        raise InputError(
            f"{path} has the columns {', '.join(rows[0]) if rows else 'none'}: expected stratum, sd, and maybe n, cost"
        )
    names = [row["stratum"] for row in rows]
    if len(set(names)) < len(names):
        raise InputError(f"{path} has the stratum {max(names, key=names.count)!r} more than once: expected one row each")
    numbers = {column: _numbers(path, rows, column) for column in ("sd", "n", "cost") if column in rows[0]}
    sd = shrunken_sd(numbers["sd"], numbers["n"]).tolist() if "n" in numbers else numbers["sd"]
    return dict(zip(names, sd, strict=True)), dict(zip(names, numbers["cost"], strict=True)) if "cost" in numbers else None


def _numbers(path: Path, rows: Sequence[Mapping[str, str]], column: str) -> list[float]:
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(float(row[column]))
        except (TypeError, ValueError):
            raise InputError(f"{path}, line {line}: {column} is {row[column]!r}: expected a number") from None
    return found
