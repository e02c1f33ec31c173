"""`germane sample`: from a query log to queries with segments, and from queries to a drawn design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from germane import logs, sampling, sources, store
from germane.sampling.segmented import with_segments
from germane.store.checks import MAX_CHARACTERS
from germane.text.normal import NORMAL
from germane.types import InputError, Refusal


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
    """What `sample` wrote: how many queries of how many, in all and by stratum, and what was done that was not asked for.

    population, populations: in `unit`. mde: of the paired difference, where SDs were given. design_effect: the variance of
    this allocation over that of a simple random sample of as many. weights_effect: Kish's, what unequal weights would
    cost if all queries varied alike.
    """

    out: str
    made: bool
    queries: int
    unit: str
    population: int
    sampled: dict[str, int]
    populations: dict[str, int]
    mde: float | None
    design_effect: float | None
    weights_effect: float
    notes: tuple[str, ...]


def segment(
    log: Path,
    out: Path,
    *,
    columns: Mapping[str, str | None] | None = None,
    normalise: str = NORMAL,
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
    n: int | None = None,
    seed: int,
    strata: Sequence[str] | None = None,
    by: str = "queries",
    allocation: str = "neyman",
    pilot: Path | None = None,
    sd: float | None = None,
    minimum: int = 2,
    floors: Mapping[str, float] | None = None,
    exponent: float = 0.5,
    effect: float | None = None,
    level: float = 0.95,
    power: float = 0.8,
    allow: Sequence[str] = (),
) -> Sample:
    """n of the queries, each with its chance of being drawn, as a table of designs; see `sampling.draw`.

    queries: as `segment` or `import` wrote them. Those with users or impressions but without segments get them by the
    default thresholds. pilot: SDs of the paired difference, or the results or the report of an earlier experiment; see
    `sampling.read_pilot`. sd: one for all strata. effect: the MDE to reach, instead of n. More parameters than our seven: each
    changes what is drawn.

    Raises: InputError if n exceeds the population, or strata, columns, floors or the pilot do not fit; Refusal
    `--allow same-outcomes` for SDs learned on the outcomes of the queries that are drawn.
    """
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: `sample` knows {', '.join(ALLOW)}")
    if sd is not None and not sd > 0:
        raise InputError(f"--sd {sd:g}: the SD of the paired difference is a number above 0, as 0.08")
    if pilot is not None and sd is not None:
        raise InputError("a pilot and one SD for all strata: give one of them")
    divided = {"minimum": minimum, "floors": dict(floors or {}), "exponent": exponent}
    asked = {"n": n, "strata": None if strata is None else list(strata), "by": by, "allocation": allocation, **divided}
    asked |= {"sd": sd, "effect": effect, "level": level, "power": power, "allow": sorted(allow)}
    inputs = [queries] if pilot is None else [queries, pilot]
    work: dict[str, Any] = {"verb": "sample", "inputs": inputs, "parameters": asked, "seed": seed}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _sample(out, False, manifest.extra)
    table, notes = with_segments(sources.read_queries(queries), strata)
    known = sd if pilot is None else sampling.read_pilot(pilot)
    how = sampling.Allocation(allocation, known, **divided)  # type: ignore[arg-type]
    drawn = sampling.draw(table, n=n, seed=seed, strata=strata, by=by, allocation=how, effect=effect, level=level, power=power)
    insisted = ""
    if isinstance(known, sampling.Pilot):
        notes += (guarded := _guarded(known, drawn, allow))
        insisted = f"; overridden: {ALLOW['same-outcomes']}" if guarded else ""
    extra = {
        "design": {"unit": drawn.design.unit, "origin": drawn.design.origin + insisted},
        "strata": {s.name: [s.population, s.sample] for s in drawn.design.strata},
        "facts": dict(drawn.facts),
        "notes": [*notes, *drawn.notes],
    }
    store.write_table(drawn.table, out, "designs", **work, extra=extra)
    return _sample(out, True, extra)


ALLOW = {"same-outcomes": "the strata's SDs were learned on the outcomes of the queries that were drawn"}


def _guarded(pilot: sampling.Pilot, drawn: sampling.Drawn, allow: Sequence[str]) -> list[str]:
    """What to say of a pilot that is of this very experiment.

    Raises: Refusal: such an allocation knows the outcomes that it is to estimate, and the interval would be too short.
    """
    ids = [str(i) for i in drawn.table["query_id"].to_pylist()]
    why = pilot.same_outcomes(ids, drawn.design)
    if why and "same-outcomes" not in allow:
        raise Refusal(
            f"strata learned on the same outcomes: {why}. An allocation that has seen its own outcomes makes the interval too "
            "short: use the results of an earlier experiment, or another --seed. If it was another treatment, it is none.",
            "--allow same-outcomes",
        )
    if why:
        return [f"{ALLOW['same-outcomes']}: {why}"]
    shared = len(set(ids) & set(pilot.queries))
    said = f"queries that were drawn and are in {pilot.name} too: {shared:,} of {len(ids):,}"
    return [said] if shared else []


def _sample(out: Path, made: bool, extra: Mapping[str, Any]) -> Sample:
    populations, sampled = ({name: sizes[i] for name, sizes in extra["strata"].items()} for i in (0, 1))
    facts = extra["facts"]
    return Sample(
        str(out),
        made,
        sum(sampled.values()),
        extra["design"]["unit"],
        sum(populations.values()),
        sampled,
        populations,
        facts.get("mde"),
        facts.get("design_effect"),
        facts["weights_effect"],
        tuple(extra["notes"]),
    )
