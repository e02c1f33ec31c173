"""What an earlier experiment says of the SD of paired differences, stratum by stratum."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.stats.allocation import Ints, shrunken_sd
from germane.types import Design, InputError, Report, Stratum

WANTED = (
    "expected stratum and sd (and maybe n, cost), or an experiment's results: query_id and difference, or control and "
    "treatment, or its report.json"
)


@dataclass(frozen=True)
class Pilot:
    """SDs by stratum as written (`sd`, with `n` and `cost` where given), or the results that they follow from.

    queries, differences, strata: one entry a query of an earlier experiment; strata None where the file has none. overall:
    the SD to use where nothing is known of a stratum. design: of the experiment, where its report says it.
    """

    name: str
    sd: dict[str, float] = field(default_factory=dict)
    n: dict[str, float] | None = None
    cost: dict[str, float] | None = None
    queries: tuple[str, ...] = ()
    differences: NDArray[np.float64] | None = None
    strata: tuple[str, ...] | None = None
    overall: float | None = None
    design: Design | None = None

    def in_strata(self, names: Sequence[str], stratum: Ints, ids: Sequence[str]) -> tuple[dict[str, float], list[str]]:
        """(SD of each of these strata, notes). stratum, ids: of each query of the population.

        A stratum that is not in the pilot gets the pooled SD, and SDs of few queries are pulled towards it. SDs that were
        written down without n are taken at their word, each of its own stratum.

        Raises: InputError where pilot and population have neither queries nor strata in common.
        """
        if self.differences is not None:
            return self._from_results(self.differences, names, stratum, ids)
        if self.n is None:
            return self.sd, []
        if self.overall is not None:
            return self._from_segments(self.overall, self.n, names)
        if self.sd.keys() != set(names):
            return self.sd, []  # names that do not fit: whoever asked for them says which
        sds, seen = ([of[name] for name in names] for of in (self.sd, self.n))
        return dict(zip(names, shrunken_sd(sds, seen).tolist(), strict=True)), []

    def _from_segments(
        self, overall: float, n: Mapping[str, float], names: Sequence[str]
    ) -> tuple[dict[str, float], list[str]]:
        """From a report's segments: a stratum is one of them, or crosses several, whose ratios to the overall SD multiply."""
        sds, seen, crossed = [], [], 0
        for name in names:
            parts = [name] if name in self.sd else name.split(" / ")
            known = overall > 0 and all(part in self.sd for part in parts)
            crossed += known and len(parts) > 1
            sds.append(overall * prod(self.sd[part] / overall for part in parts) if known else 0.0)
            seen.append(min(n[part] for part in parts) if known else 0.0)
        absent = np.array(seen) == 0
        if absent.all():
            said = f"{self.name} has none of these strata: its overall SD, {overall:.4g}, is used in all of them"
            return dict.fromkeys(names, overall), [said]
        notes = [f"strata that cross segments of {self.name}, whose SDs follow from theirs: {crossed}"] if crossed else []
        if absent.any():
            notes.append(f"strata that {self.name} does not have, which get the pooled SD: {_listed(names, absent)}")
        return dict(zip(names, shrunken_sd(sds, seen).tolist(), strict=True)), notes

    def _from_results(
        self, differences: NDArray[np.float64], names: Sequence[str], stratum: Ints, ids: Sequence[str]
    ) -> tuple[dict[str, float], list[str]]:
        """By query id where the population has it, else by the name of its stratum."""
        by_id, by_name = dict(zip(ids, stratum.tolist(), strict=True)), {name: h for h, name in enumerate(names)}
        labels = self.strata or [""] * len(self.queries)
        rows = [by_id.get(q, by_name.get(s, -1)) for q, s in zip(self.queries, labels, strict=True)]
        groups = [differences[np.array(rows) == h] for h in range(len(names))]
        seen = np.array([len(group) for group in groups])
        if not (seen >= 2).any():
            raise InputError(
                f"{self.name} has no two queries in any of these strata, by query_id or by stratum: is it of the same log?"
            )
        sds = [group.std(ddof=1) if len(group) > 1 else 0.0 for group in groups]
        notes = [f"SDs are of {int(seen.sum()):,} paired differences in {self.name}, those of few queries pulled to the pooled"]
        if (lost := len(rows) - int(seen.sum())) > 0:
            notes.append(f"queries of {self.name} that are in none of these strata, left out: {lost:,}")
        if (seen < 2).any():
            notes.append(
                f"strata with fewer than two queries in {self.name}, which get the pooled SD: {_listed(names, seen < 2)}"
            )
        return dict(zip(names, shrunken_sd(sds, seen).tolist(), strict=True)), notes

    def same_outcomes(self, drawn: Sequence[str], design: Design) -> str:
        """Why a design would be allocated by the very outcomes that it is to estimate, '' if that is not known."""
        known = len(set(drawn) & set(self.queries or ()))
        if 2 * known > len(drawn):
            return f"{known:,} of the {len(drawn):,} queries that were drawn have their outcome in {self.name}"
        if self.design is not None and self.design.seed is not None:
            ours, theirs = ({(s.name, s.population, s.sample) for s in d.strata} for d in (design, self.design))
            if (design.seed, ours) == (self.design.seed, theirs):
                return f"{self.name} is of this very design (seed {design.seed}, the same strata and sizes)"
        return ""


def _listed(names: Sequence[str], which: Any) -> str:
    found = [name for name, yes in zip(names, which, strict=True) if yes]
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def read_pilot(path: str | Path) -> Pilot:
    """SDs of paired differences from a file: by stratum, one row a query of an earlier experiment, or its report.json.

    Raises: InputError for a file that is none of these, or holds what is no number.
    """
    path = Path(path)
    if path.suffix == ".json":
        return _report(path)
    rows = _rows(path)
    columns = set(rows[0]) if rows else set()
    if "query_id" in columns and ("difference" in columns or {"control", "treatment"} <= columns):
        return _results(path, rows)
    if not {"stratum", "sd"} <= columns:
        raise InputError(f"{path} has the columns {', '.join(rows[0]) if rows else 'none'}: {WANTED}")
    names = [str(row["stratum"]) for row in rows]
    if len(set(names)) < len(names):
        raise InputError(f"{path} has the stratum {max(names, key=names.count)!r} more than once: expected one row each")
    numbers = {c: dict(zip(names, _numbers(path, rows, c), strict=True)) for c in ("sd", "n", "cost") if c in columns}
    return Pilot(path.name, sd=numbers["sd"], n=numbers.get("n"), cost=numbers.get("cost"))


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return table
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, ValueError) as error:  # Arrow's errors are ValueErrors
        raise InputError(f"{path} cannot be read: {error}; {WANTED}") from error


def _results(path: Path, rows: Sequence[dict[str, Any]]) -> Pilot:
    ids = [str(row["query_id"]) for row in rows]
    if len(set(ids)) < len(ids):
        raise InputError(f"{path} has the query {max(ids, key=ids.count)!r} more than once: expected one row a query")
    if "difference" in rows[0]:
        difference = np.array(_numbers(path, rows, "difference"))
    else:
        difference = np.array(_numbers(path, rows, "treatment")) - np.array(_numbers(path, rows, "control"))
    strata = tuple(str(row["stratum"]) for row in rows) if "stratum" in rows[0] else None
    return Pilot(path.name, queries=tuple(ids), differences=difference, strata=strata)


def _report(path: Path) -> Pilot:
    """An effect's SD is its standard error times sqrt(n): exact where a segment is one stratum."""
    try:
        report = Report.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no report of germane ({error}): {WANTED}") from error
    effects = [effect for effect in report.by_segment if effect.delta is not None]
    names = [effect.name for effect in effects]
    effects = [effect for effect in effects if names.count(effect.name) == 1]  # a name in two dimensions says nothing
    sds = {e.name: e.delta.se * sqrt(e.delta.n) for e in effects if e.delta is not None}
    counts = {e.name: float(e.delta.n) for e in effects if e.delta is not None}
    strata = tuple(Stratum(*s) for s in report.design.strata)
    design = Design(strata, report.design.seed, report.design.unit, report.design.origin)
    if report.variance is None:
        raise InputError(f"{path} is of unpaired arms, which have no paired differences: give an experiment that has")
    return Pilot(path.name, sd=sds, n=counts, overall=report.variance.sd_difference, design=design)


def _numbers(path: Path, rows: Sequence[dict[str, Any]], column: str) -> list[float]:
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(float(row[column]))
        except (TypeError, ValueError):
            raise InputError(f"{path}, line {line}: {column} is {row[column]!r}: expected a number") from None
        if not isfinite(found[-1]) and column != "sd":
            raise InputError(f"{path}, line {line}: {column} is {row[column]!r}: expected a finite number")
    return found
