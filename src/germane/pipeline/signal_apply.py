"""`germane signal ... --apply`: a run as a policy shows it, which says whose predictions it rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from germane import scales, sources, store
from germane.signal import applying, evidence, files
from germane.types import InputError


class Changed(NamedTuple):
    """What a policy did to a run. models: fingerprints that the new run rests on, which `compare` holds against its judge."""

    out: str
    made: bool
    policy: str
    queries: int
    results: int
    left_out: int
    moved: int
    queries_at_the_floor: int
    without_a_prediction: int
    models: tuple[str, ...]
    notes: tuple[str, ...]


def apply(
    run: Path,
    judgments: Path,
    policy: Path,
    out: Path,
    *,
    kind: str,
    queries: Path | None = None,
    by: str | None = None,
    scale: str | None = None,
) -> Changed:
    """The run under a policy of this kind, as a new run. judgments: the judge's predictions of its results.

    queries, by: where segments are; an adaptive policy names its own columns. scale: of the user's own, as a file. The new
    run's manifest has under `models` the judge's fingerprint and those of who taught it.

    Raises: InputError for a policy of another kind, judge or scale, and for queries without a segment where these count.
    """
    said = files.read(policy)
    if said.kind != kind:
        raise InputError(f"{policy} is a policy of kind {said.kind!r}: apply it with `germane signal {_verb(said.kind)}`")
    columns = tuple(said.parameters.get("by", ())) if kind == "adaptive" else ((by,) if by else ())
    asked = {"policy": files.digest(said), "by": list(columns), "kind": kind}
    given = [path for path in (run, judgments, policy, queries) if path is not None]
    inputs = [*given, *(beside for path in given if (beside := store.manifest_path(path)).is_file())]
    work: dict[str, Any] = {"verb": f"signal {_verb(kind)}", "inputs": inputs, "parameters": asked}
    if out.suffix != ".parquet":
        raise InputError(f"--out {out}: a run with its origin is a .parquet file")
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, str(policy), manifest.extra)
    predicted, _ = evidence.predictions(judgments, scales.get(scale or said.scale))
    made = files.load(policy, fingerprint=predicted.whose.fingerprint, scale=predicted.whose.scale)
    if columns and queries is None:
        raise InputError(f"the segments are in column {', '.join(columns)} of the queries: give them with --queries")
    segments = evidence.types_of(queries, columns)
    before = sources.read_run(run)
    evidence.known_segments(before, segments, bool(columns))
    found = applying.apply(before, predicted, made, segments)
    facts = {
        "queries": found.queries,
        "results": found.results,
        "left_out": len(found.dropped),
        "moved": found.moved,
        "queries_at_the_floor": found.floored,
        "without_a_prediction": found.unknown,
        "emptied": found.emptied,
    }
    used = {"kind": said.kind, "policy": files.digest(said), "judge": said.judge, "fingerprint": predicted.whose.fingerprint}
    table = store.attributed(found.table, store.attribution(before.table) or str(before.origin.get("attribution") or ""))
    extra = {**applying.origin(before, predicted.whose, used), "applied": facts}
    store.write_table(table, out, "runs", **work, extra=extra)
    return _told(out, True, str(policy), extra)


def _verb(kind: str) -> str:
    return "policy" if kind == "adaptive" else kind


def _told(out: Path, made: bool, policy: str, extra: Any) -> Changed:
    facts = dict(extra["applied"])
    emptied = facts.pop("emptied")
    notes = (f"{emptied:,} queries have no result left: give the policy a floor",) * bool(emptied)
    return Changed(str(out), made, policy, **facts, models=tuple(extra["models"]), notes=notes)
