"""`germane signal features`: a judge's predictions as features of a ranker, the same for training and for serving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane import scales, sources, store
from germane.signal import applying, evidence, features
from germane.types import InputError

FORMS = {"parquet": ".parquet", "ranklib": ".txt", "lightgbm": ".npz", "xgboost": ".npz"}
SETS = ("opensearch", "elasticsearch")


class Featured(NamedTuple):
    """What was written. rows: in the file; labelled: with a grade; unknown: without a prediction. features: their names."""

    out: str
    made: bool
    form: str
    rows: int
    queries: int
    labelled: int
    unknown: int
    features: tuple[str, ...]
    notes: tuple[str, ...]


def write(judgments: Path, run: Path, out: Path, *, scale: str, form: str = "parquet", labels: Path | None = None) -> Featured:
    """The features of a run's results in a file of the form. labels: people's grades, which RankLib and matrices need.

    Raises: InputError for an unknown form or suffix, judgments that are no signal, and a form that needs labels without them.
    """
    if form not in FORMS:
        raise InputError(f"--to {form}: expected one of {', '.join([*FORMS, *SETS])}")
    if out.suffix != FORMS[form]:
        raise InputError(f"--out {out}: --to {form} writes a {FORMS[form]} file")
    of = scales.get(scale)
    given = [path for path in (judgments, run, labels) if path is not None]
    inputs = [*given, *(beside for path in given if (beside := store.manifest_path(path)).is_file())]
    asked = {"scale": of, "form": form, "labels": labels is not None}
    work: dict[str, Any] = {"verb": "signal features", "inputs": inputs, "parameters": asked}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return _told(out, False, form, manifest.extra)
    if labels is None and form != "parquet":
        raise InputError(f"--to {form} needs a label in each row: give people's judgments with --labels")
    predicted, _ = evidence.predictions(judgments, of)
    before = sources.read_run(run)
    said = {}
    for query, (docs, _scores) in applying.pages(before.table).items():
        probs, _, known = predicted.of(query, docs)
        said[query] = (probs, known)
    grades = None if labels is None else _grades(labels, of)
    made = features.table(before.table, said, of, grades=grades)
    known_rows = int(np.asarray(made["signal_known"].to_numpy()).sum())
    if not known_rows:
        raise InputError(f"none of the results of {before.name} has a prediction: are query_id and doc_id the same in both?")
    labelled = made.num_rows - made["relevance"].null_count
    rows = made.num_rows if form == "parquet" else labelled
    facts: dict[str, Any] = {"rows": rows, "queries": len(said), "labelled": labelled}
    facts |= {"unknown": made.num_rows - known_rows, "features": list(features.of_table(made))}
    extra = {"featured": facts, "models": list(predicted.whose.models)}
    if form == "parquet":
        store.write_table(made, out, "features", **work, extra=extra)
    else:
        found = features.matrices(made)
        data = features.arrays(found) if form in ("lightgbm", "xgboost") else features.ranklib(found).encode()
        store.write_bytes(out, data)
        store.write_manifest(out, **work, rows=rows, extra=extra)
    return _told(out, True, form, extra)


def feature_set(out: Path, *, scale: str, form: str, field: str | None = None) -> Featured:
    """The feature set of a learning-to-rank plugin, as the JSON that it is sent.

    Raises: InputError for an unknown form, another suffix than .json, and a field that cannot be.
    """
    if form not in SETS:
        raise InputError(f"--to {form}: expected one of {', '.join([*FORMS, *SETS])}")
    if out.suffix != ".json":
        raise InputError(f"--out {out}: --to {form} writes a .json file")
    of = scales.get(scale)
    work: dict[str, Any] = {"verb": "signal features", "inputs": [], "parameters": {"scale": of, "form": form, "field": field}}
    names = list(features.names(of))
    extra = {"featured": {"rows": 0, "queries": 0, "labelled": 0, "unknown": 0, "features": names}}
    if store.up_to_date(out, **work):
        return _told(out, False, form, extra)
    store.write_text(out, json.dumps(features.feature_set(of, field=field), indent=2, ensure_ascii=False) + "\n")
    store.write_manifest(out, **work, extra=extra)
    return _told(out, True, form, extra)


def _grades(labels: Path, of: Any) -> dict[tuple[str, str], int]:
    said = sources.read_judgments(labels, scale=of)
    if store.first_duplicate(said, ["query_id", "doc_id"]) is not None:
        raise InputError(f"{labels} grades a pair twice: one grade of each is needed; seal or adjudicate first")
    columns = (said[name].to_pylist() for name in ("query_id", "doc_id", "relevance"))
    return {(str(q), str(d)): int(grade) for q, d, grade in zip(*columns, strict=True) if grade is not None}


def _told(out: Path, made: bool, form: str, extra: Any) -> Featured:
    facts = extra["featured"]
    notes = (
        "unverified against a live server: it follows the documented schema",
        "a feature set names features and has no rows: judgments, run and labels were not read for it",
    )
    counts = facts["rows"], facts["queries"], facts["labelled"], facts["unknown"]
    return Featured(str(out), made, form, *counts, tuple(facts["features"]), notes if form in SETS else ())
