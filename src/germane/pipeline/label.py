"""`germane label`: any judge's grades of any number of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from germane import scales, store
from germane.judges import Fake, folder
from germane.judges.folder import trained_on
from germane.judges.loading import load, locate
from germane.labelling import local
from germane.labelling.blocks import Blocks
from germane.labelling.speed import machine
from germane.types import InputError, Judge, Outcome

FAKE = "fake"


class Labelling(NamedTuple):
    """What `label` wrote. made: False if nothing had changed. deduplicated: rows that a row of the same words answered.

    outcomes: of rows. coverage: share of rows with a grade. rows_per_s, latency_ms: of different pairs that were asked, on
    `machine`; latency is of one pair alone.
    """

    out: str
    made: bool
    judge: str
    fingerprint: str
    rows: int
    deduplicated: int
    outcomes: Mapping[str, int]
    coverage: float
    rows_per_s: float
    latency_ms: float | None
    machine: str
    notes: tuple[str, ...]


def label(
    judge: str | Path,
    pairs: Path,
    out: Path,
    *,
    scale: str | Path | None = None,
    device: str | None = None,
    batch: int | None = None,
    limit: int | None = None,
) -> Labelling:
    """A judgment of each row of pairs, in their order, at `out`; killed at any moment, the same call goes on.

    judge: the folder of a trained judge, or "fake", which needs a scale. device, batch: of a trained judge, as torch names
    it and pairs at once. limit: only the first so many rows. Pairs of the same query and text are asked once. What is
    finished lies beside `out` until all is; another judge, file or parameter starts anew.

    Raises: InputError for a folder without a judge, pairs that cannot be read, and another scale than the judge's.
    """
    if out.suffix != ".parquet":
        raise InputError(f"{out}: a table of judgments is a .parquet file")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: give at least one row")
    facts = _facts(judge, scale)
    parameters = {"judge": facts["fingerprint"], "device": device, "batch": batch, "limit": limit}
    work: dict[str, Any] = {"verb": "label", "inputs": [pairs], "parameters": parameters}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, manifest.extra)
    blocks = Blocks(
        out.with_name(f".{out.name}.parts"),
        {"block": local.BLOCK, "sorted": local.SORTED, "pairs": store.sha256(pairs), **parameters},
    )
    with blocks:
        asked = _load(judge, scale, device, batch)
        did = local.label(asked, local.PairsFile(pairs, limit), out, blocks)
        used = getattr(asked, "device", device)
        facts |= {"machine": machine(str(used) if used is not None else None), "rows": did.computed}
        facts |= {"seconds": round(did.seconds, 3), "rows_per_s": round(did.rows_per_s, 2), "latency_ms": did.latency_ms}
        extra = {"judge": facts, "label": {"rows": did.rows, "computed": did.computed, "outcomes": did.outcomes}}
        extra["label"]["notes"] = list(_notes(facts))
        kind = store.SCHEMAS["judgments"]
        store.write_manifest(out, **work, schema=f"{kind.kind} {kind.version}", rows=did.rows, extra=extra)
        blocks.remove()
    return _told(out, True, extra)


def _facts(judge: str | Path, scale: str | Path | None) -> dict[str, Any]:
    """What is known of a judge before it is loaded: the manifest's "judge", which `leaderboard` reads."""
    if str(judge) == FAKE:
        if scale is None:
            raise InputError("--judge fake needs --scale: it makes up grades on any")
        fake = Fake(scales.get(scale))
        return {"kind": FAKE, "name": fake.name, "fingerprint": fake.fingerprint, "random_weights": False}
    place = locate(judge)
    about = folder.read(place)
    if scale is not None and scales.get(scale).version != about.scale.version:
        raise InputError(f"{judge} judges on scale {about.scale.name!r} of its own guide, not on {scale}: leave --scale out")
    return {
        "kind": about.kind,
        "name": about.name,
        "fingerprint": about.fingerprint,
        "base": about.base,
        "lineage": list(about.lineage),
        "taught_by": list(about.taught_by),
        "random_weights": about.random_weights,
        "training_queries": list(trained_on(place)),
    }


def _load(judge: str | Path, scale: str | Path | None, device: str | None, batch: int | None) -> Judge:
    if str(judge) == FAKE and scale is not None:
        return Fake(scales.get(scale))
    return load(locate(judge), device=device, **({} if batch is None else {"batch": batch}))


def _notes(facts: Mapping[str, Any]) -> list[str]:
    if facts["kind"] == FAKE:
        return ["fake: these grades are made up by hash, and say nothing but how fast labelling is"]
    if facts["random_weights"]:
        return ["random weights: this judge was never trained; its grades say nothing but how fast it is"]
    return []


def _told(out: Path, made: bool, extra: Mapping[str, Any]) -> Labelling:
    did, judge = extra["label"], extra["judge"]
    rows = int(did["rows"])
    return Labelling(
        str(out),
        made,
        judge["name"],
        judge["fingerprint"],
        rows,
        rows - int(did["computed"]),
        {str(outcome): did["outcomes"][outcome] for outcome in Outcome if outcome in did["outcomes"]},
        did["outcomes"].get("label", 0) / rows,
        judge["rows_per_s"],
        judge["latency_ms"],
        judge["machine"],
        tuple(did["notes"]),
    )
