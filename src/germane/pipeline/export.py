"""`germane export`: an experiment query by query, as a table that experiment platforms read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import cards, experiment, sampling, scales, sources, store
from germane.experiment.results import Results, per_query
from germane.types import Estimate, InputError, JudgeCard, Scale

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

FORMS = ("plain", "growthbook", "statsig", "confidence")
"""The shapes that `--for` knows; docs/verbs/export.md has each platform's page."""

PAIRINGS = ("split", "arms")
"""How a pair of values becomes a test of two groups: see `_split` and `_arms`."""

SUFFIXES = (".parquet", ".csv")


class Export(NamedTuple):
    """What `export` wrote, and the difference that a reader of the table must find in it."""

    out: str
    made: bool
    form: str
    rows: int
    queries: int
    metric: str
    delta: Estimate
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Units:
    """What a platform sees: one row a unit.

    rows: index of each unit's query. unit_id: names. treated: whether it stands in the treatment. value: its value, each
    query counted once. weighted: the same so that plain means over all units give the stratified difference.
    """

    rows: NDArray[np.int64]
    unit_id: list[str]
    treated: NDArray[np.bool_]
    value: Floats
    weighted: Floats


def export(
    control: Path,
    treatment: Path,
    judgments: Path,
    out: Path,
    *,
    scale: Scale | str | Path,
    design: Path | None = None,
    metric: str = "sDCG@25",
    level: float = 0.95,
    condensed: bool = False,
    allow: Sequence[str] = (),
    card: JudgeCard | str | Path | None = None,
    form: str = "plain",
    name: str | None = None,
    at: str | None = None,
    pairing: str = "split",
) -> Export:
    """The experiment's queries with strata, weights and both arms, written to `out` (.parquet or .csv) in a platform's form.

    name: the experiment's id, `control-treatment` by default. at: when it ran (ISO 8601, UTC unless it says otherwise);
    growthbook and statsig need it. pairing: how a platform that knows no pairs sees them: "split" (its interval is that
    of the pairs) or "arms" (each arm's own values; its interval takes the arms for independent, and is far too wide).

    Raises: Refusal and InputError as `compare` does; InputError for another form, pairing, suffix, or a missing time.
    """
    _check(out, form, pairing)
    asked = {"metric": metric, "level": level, "condensed": condensed, "allow": sorted(allow), "form": form, "pairing": pairing}
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    when = _time(at, form)
    inputs = [path for path in (control, treatment, judgments, design, card) if isinstance(path, str | Path)]
    work: dict[str, Any] = {"verb": "export", "inputs": inputs, "parameters": {**asked, "scale": of, "name": name, "at": at}}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        said = manifest.extra
        delta = Estimate(**said["delta"])
        return Export(str(out), False, form, manifest.rows or 0, said["queries"], said["metric"], delta, tuple(said["notes"]))
    runs = [sources.open_run(run) for run in (control, treatment)]
    found = per_query(
        runs[0],
        runs[1],
        sources.open_judgments(judgments, scale=of),
        scale=of,
        choices=experiment.Choices(metric, level, condensed, tuple(allow)),
        design=None if design is None else sources.read_design(design),
        card=cards.read(card) if isinstance(card, str | Path) else card,
    )
    table = _shaped(found, form, name or f"{runs[0].name}-{runs[1].name}", when, pairing)
    notes = (*found.warnings, *found.overrides, *_notes(found, form, pairing))
    store.write_bytes(out, _bytes(table, out))
    extra = {"queries": found.table.num_rows, "metric": found.metric, "delta": found.delta, "notes": notes}
    store.write_manifest(out, **work, schema=f"results {form}", rows=table.num_rows, extra=extra)
    return Export(str(out), True, form, table.num_rows, found.table.num_rows, found.metric, found.delta, notes)


def _check(out: Path, form: str, pairing: str) -> None:
    if form not in FORMS:
        raise InputError(f"--for {form}: there is no such form; known are {', '.join(FORMS)}")
    if pairing not in PAIRINGS:
        raise InputError(f"--pairing {pairing}: there is no such pairing; known are {', '.join(PAIRINGS)}")
    if Path(out).suffix not in SUFFIXES:
        raise InputError(f"--out {out}: expected a name that ends in {' or '.join(SUFFIXES)}")


def _time(at: str | None, form: str) -> datetime | None:
    """When the experiment ran, in UTC. Raises: InputError where a platform needs it and it is not given, or is no time."""
    if at is None:
        if form in ("growthbook", "statsig"):
            raise InputError(f"--for {form} needs the time of the experiment: pass --at, as 2026-05-04 or 2026-05-04T12:00:00Z")
        return None
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        raise InputError(f"--at {at}: expected a date or time in ISO 8601, as 2026-05-04 or 2026-05-04T12:00:00Z") from None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _shaped(found: Results, form: str, name: str, when: datetime | None, pairing: str) -> pa.Table:
    if form == "plain":
        return found.table
    units = _split(found) if pairing == "split" else _arms(found)
    shapes: dict[str, Callable[[], pa.Table]] = {
        "growthbook": lambda: _growthbook(found, units, name, when),
        "statsig": lambda: _statsig(found, units, name, when),
        "confidence": lambda: _confidence(found, units),
    }
    return shapes[form]()


def _split(found: Results) -> _Units:
    """Each query once: half of them stand in the control by c - d a / n, half in the treatment by c + d b / n.

    Platforms test two groups of different units, and drop a unit that is in both. With a and b units in the halves, the
    difference of their means is mean(d), and its variance s^2 / n: that of the pairs. c is the mean level of both arms,
    so that a relative effect has the right base. Halves alternate by a hash of the query inside each stratum.
    """
    d, w, ids = found.found.difference, found.weights, [str(query) for query in found.table["query_id"].to_pylist()]
    order = sorted(range(len(ids)), key=lambda i: (str(found.about.strata[i]), hashlib.sha256(ids[i].encode()).digest()))
    treated = np.zeros(len(ids), dtype=np.bool_)
    treated[order[1::2]] = True
    share = np.where(treated, treated.mean(), -(1 - treated.mean()))
    base = float(np.mean(w * (found.found.control + found.found.treatment)) / 2)
    return _Units(np.arange(len(ids)), ids, treated, base + d * share, base + w * d * share)


def _arms(found: Results) -> _Units:
    """Each query twice, as two units, with each arm's own value; a weight moves a value away from the mean of all."""
    ids, w = found.table["query_id"].to_pylist(), np.tile(found.weights, 2)
    value = np.concatenate((found.found.control, found.found.treatment))
    base = float(np.mean(w * value))
    names = [f"{query}|{arm}" for arm in ("control", "treatment") for query in ids]
    treated = np.repeat([False, True], len(ids))
    return _Units(np.tile(np.arange(len(ids)), 2), names, treated, value, base + w * (value - base))


def _growthbook(found: Results, units: _Units, name: str, when: datetime | None) -> pa.Table:
    """An assignment query's columns (identifier, timestamp, experiment_id, variation_id, dimensions) and a fact table's."""
    import pyarrow as pa

    n = len(units.unit_id)
    return pa.table(
        {
            "unit_id": units.unit_id,
            "timestamp": pa.array([when] * n, pa.timestamp("s", tz="UTC")),
            "experiment_id": [name] * n,
            "variation_id": np.where(units.treated, "1", "0").tolist(),
            **_named(found, units),
            "value": pa.array(units.value),
            "weighted_value": pa.array(units.weighted),
        }
    )


def _statsig(found: Results, units: _Units, name: str, when: datetime | None) -> pa.Table:
    """Precomputed metrics (unit_id, id_type, date, metric_name, metric_value) and exposures (experiment_id, group_id)."""
    import pyarrow as pa

    n, metrics = len(units.unit_id), [(found.metric, units.weighted)]
    if not np.allclose(found.weights, 1):
        metrics.append((f"{found.metric} within strata", units.value))
    tables = [
        pa.table(
            {
                "unit_id": units.unit_id,
                "id_type": ["query_id"] * n,
                "timestamp": pa.array([when] * n, pa.timestamp("s", tz="UTC")),
                "date": pa.array([when.date() if when else None] * n, pa.date32()),
                "experiment_id": [name] * n,
                "group_id": np.where(units.treated, "treatment", "control").tolist(),
                "metric_name": [metric] * n,
                "metric_value": pa.array(value),
                **_named(found, units),
            }
        )
        for metric, value in metrics
    ]
    return pa.concat_tables(tables)


def _confidence(found: Results, units: _Units) -> pa.Table:
    """Sums by group: the columns that spotify_confidence.StudentsTTest names numerator, its squares and denominator."""
    import pyarrow as pa

    rows = {"variation_name": np.where(units.treated, "treatment", "control").tolist(), **_named(found, units)}
    keys = [key for key in rows if key != "query_id"]
    for column, value in (("numerator", units.weighted), ("within_numerator", units.value)):
        rows[column], rows[f"{column}_sum_squares"] = value, value**2
    sums = [key for key in rows if key not in (*keys, "query_id")]
    grouped = pa.table(rows).group_by(keys, use_threads=False)
    table = grouped.aggregate([*((key, "sum") for key in sums), ("query_id", "count")])
    table = table.rename_columns([column.removesuffix("_sum") for column in table.column_names])
    table = table.rename_columns(["denominator" if column == "query_id_count" else column for column in table.column_names])
    return table.sort_by([(key, "ascending") for key in keys])


def _named(found: Results, units: _Units) -> dict[str, Any]:
    """query_id and the dimensions of each unit; a dimension that the design lacks is left out."""
    names = ["query_id", "stratum"] + [key for key in ("segment", "interest") if found.table[key].null_count == 0]
    return {key: found.table[key].combine_chunks().take(units.rows) for key in names}


def _notes(found: Results, form: str, pairing: str) -> list[str]:
    """What a reader of the platform's page must know."""
    unit = found.design.unit
    said = [] if unit in ("queries", sampling.UNIT) else [f"weights, and with them the difference, are by {unit}"]
    if form == "plain":
        return said
    said += [
        "each query stands in one group with half of its pair's difference: the platform's interval is that of the pairs"
        if pairing == "split"
        else "each query stands in both groups: the platform takes them for independent, and its interval is far too wide"
    ]
    if not np.allclose(found.weights, 1):
        said.append("strata weigh differently: the platform's difference is the stratified one, its interval is not")
    return said


def _bytes(table: pa.Table, out: Path) -> bytes:
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    held = io.BytesIO()
    if Path(out).suffix == ".parquet":
        pq.write_table(table, held, compression="zstd", write_page_checksum=True)
    else:
        csv.write_csv(table, held)
    return held.getvalue()
