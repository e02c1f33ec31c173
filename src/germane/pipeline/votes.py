"""`germane votes`: what people said on the screens, as tables that every other verb reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from germane import store
from germane.golden.rules import rule_of, settle
from germane.golden.votes import TASK
from germane.registry import tasks, telling
from germane.registry.database import Registry
from germane.registry.tables import pairs
from germane.registry.tasks import Task, TaskKind
from germane.types import InputError, Outcome, Vote, VoteKind

if TYPE_CHECKING:
    import pyarrow as pa

FILES = ("judgments", "final", "every")


class Votes(NamedTuple):
    """What was written. judgments: a row a pair and rater; final: a row a pair; every: each row that was ever written.

    final holds the third person's decision, else the grade by the task's rule: none where the pair waits for a third person.
    """

    judgments: str
    final: str
    every: str
    task: str
    kind: str
    pairs: int
    raters: int
    votes: int
    adjudicated: int
    unanswered: int
    notes: tuple[str, ...]


def votes(registry: Registry, task: str | None, out: Path) -> Votes:
    """What people said in the task of this name (without one, the only one), as `write_votes` writes it."""
    return write_votes(registry, tasks.find(registry, task), out)


def write_votes(registry: Registry, task: Task, out: Path) -> Votes:
    """Three tables: OUT with the raters' judgments, OUT-final with one grade a pair, OUT-every with each vote as it came.

    The columns that came with the pairs (odds, strata, parts) come back with them, so that `check` weighs a golden set, and
    `compare --audit` takes an audit, as they stand. Of an audit every pair that was drawn is there, answered or not.

    Raises: InputError for a task that nobody has judged, and where a file cannot be written.
    """
    said = telling.votes_of(registry, task)
    with registry.reading() as connection:
        plain = sa.select(pairs).where(pairs.c.task_id == task.id, pairs.c.control.is_(None)).order_by(pairs.c.place)
        shown = {(row.query_id, row.doc_id): row for row in connection.execute(plain)}
    given = telling.standing(said, VoteKind.VOTE)
    if not given:
        raise InputError(f"nobody has judged a pair of task {task.name!r} yet")
    decisions = {(v.query_id, v.doc_id): v for v in telling.standing(said, VoteKind.ADJUDICATION)}
    by_pair: dict[tuple[str, str], list[Vote]] = {}
    for vote in given:
        by_pair.setdefault((vote.query_id, vote.doc_id), []).append(vote)
    every = shown if task.kind == TaskKind.AUDIT else {key: row for key, row in shown.items() if key in by_pair}
    single = [row for key in every for row in _judgments(task, key, by_pair.get(key, ()))]
    if task.asked.entropy_bar is not None:
        queued = {(vote.query_id, vote.doc_id) for vote in given if vote.queued}
        single = [row | {"queued": (row["query_id"], row["doc_id"]) in queued} for row in single]
    final = [_final(task, key, by_pair.get(key, []), decisions.get(key)) for key in every]
    files = [out, out.with_name(f"{out.stem}-final{out.suffix}"), out.with_name(f"{out.stem}-every{out.suffix}")]
    made: dict[str, Any] = {"verb": "votes", "inputs": [], "parameters": {"task": task.name, "registry": registry.name}}
    asked = {"raters": task.asked.raters, "adjudicate": task.asked.adjudicate, "columns": sorted(task.columns)}
    asked["guides"] = {version: text for version, text, _ in tasks.versions(registry, task)}
    overrides = telling.overrides_of(registry, task)
    made["extra"] = {"task": asked, "overrides": list(overrides)}
    for path, rows in zip(files[:2], (single, final), strict=True):
        _write(_table(task, rows, shown), path, "judgments 1", made)
    _write(_every(said, telling.controls_of(registry, task)), files[2], "", made)
    unanswered = sum(row["relevance"] is None for row in final)
    return Votes(
        *(str(files[0]), str(files[1]), str(files[2])),
        task=task.name,
        kind=task.kind,
        pairs=len(every),
        raters=len({vote.rater for vote in given}),
        votes=len(given),
        adjudicated=len(decisions),
        unanswered=unanswered,
        notes=(*overrides, *_notes(task, said, unanswered)),
    )


def _judgments(task: Task, key: tuple[str, str], votes: Any) -> list[dict[str, Any]]:
    """A row for each rater of a pair; a pair of an audit that nobody judged has one without an answer."""
    rows = [
        _row(task, key, vote.relevance, f"human:{vote.rater}", vote.guide_version, _said(vote.reason, vote.note))
        for vote in votes
    ]
    return rows or [_row(task, key, None, "human:nobody yet", task.scale.version, "not judged yet")]


def _final(task: Task, key: tuple[str, str], votes: list[Vote], decision: Vote | None) -> dict[str, Any]:
    """One grade of a pair, and how it came about."""
    judge = f"human:{task.name}"
    if decision is not None:
        note = f"adjudicated by {decision.rater}: {decision.reason}"
        return _row(task, key, decision.relevance, judge, decision.guide_version, note)
    found = settle(votes, task.asked.raters, rule_of(task.asked.adjudicate), task.scale)
    grade, note = found.relevance, found.note
    guide = max((vote.guide_version for vote in votes), key=[v.guide_version for v in votes].count, default=task.scale.version)
    return _row(task, key, grade, judge, guide, note)


def _row(task: Task, key: tuple[str, str], grade: int | None, judge: str, guide: str, note: str) -> dict[str, Any]:
    outcome = Outcome.ABSTAINED if grade is None else Outcome.LABEL
    ids = {"query_id": key[0], "doc_id": key[1], "relevance": grade, "judge": judge, "fingerprint": ""}
    return ids | {"scale": task.scale.name, "guide_version": guide, "outcome": str(outcome), "note": note}


def _said(reason: str, note: str) -> str:
    return ". ".join(part for part in (reason, note) if part)


def _table(task: Task, rows: list[dict[str, Any]], shown: Any) -> pa.Table:
    """Judgments, checked as such, with what came with their pairs beside them."""
    import pyarrow as pa

    columns = {name: [row[name] for row in rows] for name in rows[0]}
    table = store.conform(
        pa.table({**columns, "relevance": pa.array(columns["relevance"], pa.int16())}), "judgments", name="votes"
    )
    if "queued" in columns:
        table = table.append_column("queued", pa.array(columns["queued"], pa.bool_()))
    for name, kind in task.columns.items():
        if name in table.column_names:
            continue
        values = [shown[row["query_id"], row["doc_id"]].more.get(name) for row in rows]
        table = table.append_column(name, pa.array(values, _arrow(kind)))
    return table


def _arrow(kind: str) -> Any:
    """The Arrow type of this name."""
    import pyarrow as pa

    return pa.type_for_alias(kind)  # type: ignore[call-overload]


def _every(said: list[Vote], known: dict[tuple[str, str], int]) -> pa.Table:
    """Every row as `types.Vote` has it, with the known grade of hidden controls."""
    import pyarrow as pa

    columns: dict[str, Any] = {name: [getattr(vote, name) for vote in said] for name in Vote._fields}
    columns["kind"] = [str(kind) for kind in columns["kind"]]
    columns["relevance"] = pa.array(columns["relevance"], pa.int16())
    columns["at"] = pa.array(columns["at"], pa.timestamp("us", "UTC"))
    columns["seconds"] = pa.array(columns["seconds"], pa.float64())
    columns["known"] = pa.array([known.get((vote.query_id, vote.doc_id)) for vote in said], pa.int16())
    return pa.table(columns)


def _write(table: pa.Table, path: Path, schema: str, made: dict[str, Any]) -> None:
    """A parquet file with a manifest; not tied to a kind of table, since it has columns of the pairs besides."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    said = json.dumps(made["extra"]["task"]).encode()
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), TASK: said}), sink, compression="zstd")
    store.write_bytes(path, sink.getvalue().to_pybytes())
    store.write_manifest(path, **made, schema=schema, rows=table.num_rows)


def _notes(task: Task, said: list[Vote], unanswered: int) -> list[str]:
    notes = []
    guides = {vote.guide_version for vote in telling.standing(said, VoteKind.VOTE)}
    if len(guides) > 1:
        notes.append(f"votes under {len(guides)} guide versions ({', '.join(sorted(guides))}): other verbs take one at a time")
    if unanswered:
        notes.append(
            f"{unanswered:,} pairs have no final grade: not judged by all, waiting for a third person, or not to be judged"
        )
    return notes
