"""`germane signal weights`: how much each row counts in the loss of a ranker that learns from clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane import scales, sources, store
from germane.signal import applying, evidence, weights
from germane.types import InputError


class Weighed(NamedTuple):
    """What was written. rows: weights; unknown: rows without a prediction, which weigh 1; clicked: rows with a click, None
    where no clicks were given. least, most, mean: of the weights."""

    out: str
    made: bool
    rows: int
    unknown: int
    clicked: int | None
    least: float
    most: float
    mean: float
    notes: tuple[str, ...]


def write(
    judgments: Path,
    run: Path,
    out: Path,
    *,
    scale: str,
    clicks: Path | None = None,
    base: float = 0.1,
    power: float = 1.0,
    floor: float = 0.2,
    ceiling: float = 5.0,
    negatives: str = "even",
) -> Weighed:
    """A weight for each result of a run, the rows of a ranker's training data; see `signal.weights.weights`.

    clicks: pairs that were clicked (query_id, doc_id). The schedule over steps of training is `signal.weights.at_step`.
    Raises: InputError for judgments that are no signal, no prediction of any row, and parameters that cannot be.
    """
    of = scales.get(scale)
    how = weights.Weighing(base, power, floor, ceiling, negatives)  # type: ignore[arg-type]  # weights() says which there are
    given = [path for path in (judgments, run, clicks) if path is not None]
    inputs = [*given, *(beside for path in given if (beside := store.manifest_path(path)).is_file())]
    asked: dict[str, Any] = {"scale": of, "how": how, "clicks": clicks is not None}
    work: dict[str, Any] = {"verb": "signal weights", "inputs": inputs, "parameters": asked}
    if out.suffix != ".parquet":
        raise InputError(f"--out {out}: a table of germane is a .parquet file")
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, manifest.extra)
    predicted, _ = evidence.predictions(judgments, of)
    before = sources.read_run(run)
    top = of.gains[-1]
    ids, docs, gain, known = [], [], [], []
    for query, (names, _scores) in applying.pages(before.table).items():
        _, found, there = predicted.of(query, names)
        ids += [query] * len(names)
        docs += names
        gain += (found / top).tolist()
        known += there.tolist()
    if not any(known):
        raise InputError(f"none of the results of {before.name} has a prediction: are query_id and doc_id the same in both?")
    hit = None if clicks is None else _clicked(clicks, ids, docs)
    made = weights.weights(np.clip(gain, 0, 1), known, how, clicked=hit)
    extra = _write(out, work, ids, docs, made, np.array(gain), hit, list(predicted.whose.models))
    return _told(out, True, extra)


def _write(
    out: Path, work: dict[str, Any], ids: list[str], docs: list[str], made: Any, gain: Any, hit: Any, models: list[str]
) -> dict[str, Any]:
    import pyarrow as pa

    columns: dict[str, Any] = {"query_id": ids, "doc_id": docs, "weight": made}
    columns["gain"] = pa.array(gain, pa.float64(), mask=~np.isfinite(gain))
    columns |= {} if hit is None else {"clicked": hit}
    facts: dict[str, Any] = {
        "rows": len(ids),
        "unknown": int((~np.isfinite(gain)).sum()),
        "clicked": None if hit is None else int(hit.sum()),
    }
    facts |= {"least": float(made.min()), "most": float(made.max()), "mean": float(made.mean())}
    extra = {"weighed": facts, "models": models}
    store.write_table(pa.table(columns), out, "weights", **work, extra=extra)
    return extra


def _clicked(clicks: Path, ids: list[str], docs: list[str]) -> Any:
    said = sources.read_candidates(clicks)
    pairs = set(zip(said["query_id"].to_pylist(), said["doc_id"].to_pylist(), strict=True))
    hit = np.array([pair in pairs for pair in zip(ids, docs, strict=True)], dtype=bool)
    if not hit.any():
        raise InputError(f"no result of the run was clicked in {clicks}: are query_id and doc_id the same in both?")
    return hit


def _told(out: Path, made: bool, extra: Any) -> Weighed:
    return Weighed(str(out), made, **extra["weighed"], notes=())
