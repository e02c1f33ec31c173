"""`germane signal policy`: which treatment for which type of query, learned from experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane import store
from germane.report import policy as page
from germane.report import signal as written
from germane.signal import adaptive, evidence, files, treatments
from germane.sources import loading
from germane.types import Estimate, InputError, Policy

PAGES = ("policy.html", "policy.md")


class Adapted(NamedTuple):
    """What was learned. choice: type of query -> treatment. relevance, engagement (a relative change): on queries that did not
    choose it. held: whether the limit holds there. versus: treatment -> how the policy stands to it, everywhere alike."""

    out: str
    made: bool
    choice: dict[str, str]
    relevance: Estimate
    engagement: Estimate
    held: bool
    dominates: bool
    versus: dict[str, str]
    notes: tuple[str, ...]


def learn(
    outcomes: Path,
    out: Path,
    *,
    by: Sequence[str],
    queries: Path | None = None,
    engagement: float = -0.005,
    shown: bool = True,
    policies: Mapping[str, str] | None = None,
    level: float = 0.95,
) -> Adapted:
    """An adaptive policy in a folder: policy.json, policy.html with the Pareto front, and policy.md.

    outcomes: a table of outcomes, every query under every treatment. by: columns of it, or of queries, that make a type.
    engagement: the relative change that is allowed. shown: only treatments shown to raise relevance in a type. policies:
    treatment -> the file of the filter or boost that it is, so that the policy can be applied.

    Raises: InputError for a query that lacks a treatment, columns that are not there, and outcomes that can choose nothing.
    """
    if not by:
        raise InputError("--by is missing: name the columns that make a type of query, as --by segment --by interest")
    given = [path for path in (outcomes, queries, *(Path(p) for p in (policies or {}).values())) if path is not None]
    inputs = [*given, *(beside for path in given if (beside := store.manifest_path(path)).is_file())]
    limits = treatments.Limits(engagement, shown, level=level)
    asked = {"by": list(by), "limits": limits, "policies": sorted(policies or {}), "queries": queries is not None}
    work: dict[str, Any] = {"verb": "signal policy", "inputs": inputs, "parameters": asked}
    place = out / "policy.json"
    if all((out / name).is_file() for name in PAGES) and store.up_to_date(place, **work):
        manifest = store.read_manifest(place)
        return _told(place, False, files.read(place), dict(manifest.extra if manifest else {}))
    table = _table(outcomes)
    found = treatments.learn(_outcomes(table, by, queries, outcomes), limits)
    simulated = bool((manifest := store.read_manifest(outcomes)) and manifest.extra.get("simulated"))
    policy = _policy(found, by, policies or {}, outcomes)
    view = page.of_policy(policy, found, limits, simulated=simulated)
    store.write_text(out / "policy.html", page.html(view))
    store.write_text(out / "policy.md", written.markdown(view.view))
    files.write(policy, place)
    extra = {
        "held": found.held,
        "dominates": found.dominates,
        "versus": {v.name: v.verdict for v in found.versus},
        **({"simulated": True} if simulated else {}),
    }
    store.write_manifest(place, **work, extra=extra)
    return _told(place, True, policy, extra)


def _table(outcomes: Path) -> Any:
    raw = loading.load(outcomes, "outcomes", "candidates")
    return store.conform(raw.table, "outcomes", name=raw.name, at=raw.at, parse=raw.text)


def _outcomes(table: Any, by: Sequence[str], queries: Path | None, name: Path) -> treatments.Outcomes:
    """The table as arrays, queries in the order of their ids. Raises: InputError for a query without some treatment."""
    ids = sorted({str(q) for q in table["query_id"].to_pylist()})
    tried = sorted({str(t) for t in table["treatment"].to_pylist()})
    if adaptive.CONTROL in tried:
        raise InputError(f"{name}: a treatment is called {adaptive.CONTROL!r}, which is the name of doing nothing: rename it")
    row, column = ({text: at for at, text in enumerate(texts)} for texts in (ids, tried))
    at = np.array([row[str(q)] for q in table["query_id"].to_pylist()], dtype=np.int64)
    to = np.array([column[str(t)] for t in table["treatment"].to_pylist()], dtype=np.int64)
    there = np.zeros((len(ids), len(tried)), bool)
    there[at, to] = True
    if not there.all():
        q, t = (int(x[0]) for x in np.nonzero(~there))
        raise InputError(
            f"{name}: query {ids[q]!r} has no outcome under {tried[t]!r}: every query needs a row for each treatment"
        )
    cells: dict[str, Any] = {}
    for column_name in ("relevance_control", "relevance", "engagement_control", "engagement"):
        cells[column_name] = np.empty((len(ids), len(tried)))
        values = np.asarray(table[column_name].to_numpy(), dtype=np.float64)
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(f"{name}: row {bad + 1} has {column_name} {values[bad]}: expected a number")
        cells[column_name][at, to] = values
    if (cells["engagement_control"] < 0).any() or (cells["engagement"] < 0).any():
        raise InputError(f"{name}: an engagement is below 0: give counts or rates, as clicks a search")
    types = _types(table, by, queries, ids, name)
    return treatments.Outcomes(
        tuple(ids),
        np.array([types[q] for q in ids]),
        tuple(tried),
        cells["relevance"] - cells["relevance_control"],
        cells["engagement"] - cells["engagement_control"],
        cells["engagement_control"].mean(axis=1),
    )


def _types(table: Any, by: Sequence[str], queries: Path | None, ids: Sequence[str], name: Path) -> dict[str, str]:
    """query_id -> type, from the outcomes where they have the columns, else from the queries."""
    missing = [column for column in by if column not in table.column_names]
    if missing and queries is None:
        raise InputError(f"--by {missing[0]}: no such column in {name}; it has {', '.join(table.column_names)}; see --queries")
    known = evidence.types_of(queries, tuple(by)) if missing else _of_rows(table, by, name)
    if unknown := [q for q in ids if q not in known]:
        raise InputError(f"{len(unknown):,} of {len(ids):,} queries have no type, such as {unknown[0]!r}: give their columns")
    return known


def _of_rows(table: Any, by: Sequence[str], name: Path) -> dict[str, str]:
    """query_id -> type, by the outcomes' own columns. Raises: InputError for a query that has two."""
    found: dict[str, str] = {}
    columns = [table["query_id"].to_pylist(), *(table[column].to_pylist() for column in by)]
    for query, *parts in zip(*columns, strict=True):
        if all(part not in (None, "") for part in parts):
            kind = " | ".join(map(str, parts))
            if found.setdefault(str(query), kind) != kind:
                raise InputError(f"{name}: query {str(query)!r} is of type {found[str(query)]!r} and of {kind!r}: expected one")
    return found


def _policy(found: treatments.Learned, by: Sequence[str], policies: Mapping[str, str], outcomes: Path) -> Policy:
    tried = {cell.treatment for cell in found.cells}
    if unknown := sorted(set(policies) - tried):
        raise InputError(f"--treatment {unknown[0]}: the outcomes have no such treatment; they have {', '.join(sorted(tried))}")
    parts, said = {}, [(name, files.read(path)) for name, path in policies.items()]
    for name, part in said:
        files.fits(part, fingerprint=said[0][1].fingerprint, scale=said[0][1].scale, where=policies[name])
        if part.kind not in adaptive.PARTS:
            raise InputError(
                f"--treatment {name}: {policies[name]} is a policy of kind {part.kind!r}: expected a filter or a boost"
            )
        parts[name] = {"kind": part.kind, "parameters": dict(part.parameters)}
    about = said[0][1] if said else Policy(adaptive.KIND, "", "", "", (), "", 0, "", {})
    without = sorted(set(found.choice.values()) - set(parts) - {adaptive.CONTROL})
    notes = [
        f"treatment {name!r} is known by its name alone: it cannot be applied (--treatment {name}=FILE)" for name in without
    ]
    return Policy(
        adaptive.KIND,
        "adaptive",
        about.judge,
        about.fingerprint,
        about.lineage,
        about.scale,
        about.grades,
        store.sha256(outcomes),
        {"choice": found.choice, "by": list(by), "parts": parts},
        {"relevance": found.adaptive.relevance, "engagement": found.adaptive.engagement},
        (*found.notes, *notes),
    )


def _told(place: Path, made: bool, policy: Policy, extra: Mapping[str, Any]) -> Adapted:
    return Adapted(
        str(place),
        made,
        dict(policy.parameters["choice"]),
        policy.found["relevance"],
        policy.found["engagement"],
        bool(extra["held"]),
        bool(extra["dominates"]),
        dict(extra["versus"]),
        policy.notes,
    )
