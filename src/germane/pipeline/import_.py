"""`germane import`: a user's own file as a checked table, with its manifest."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import scales, sources, store
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

# What a user calls a file -> (kind of table, its reader).
READERS: dict[str, tuple[str, Callable[[Any], pa.Table]]] = {
    "queries": ("queries", sources.read_queries),
    "docs": ("docs", sources.read_docs),
    "pairs": ("pairs", sources.read_pairs),
    "design": ("designs", sources.read_design),
}
KINDS = ("queries", "docs", "run", "judgments", "pairs", "design")


class Imported(NamedTuple):
    """What `import` wrote: the file, how many rows it holds, and whose data it is. made: False if nothing had changed."""

    out: str
    made: bool
    kind: str
    rows: int
    attribution: str


def import_(
    kind: str,
    source: str | Path,
    out: str | Path | None,
    *,
    scale: str | None = None,
    judge: str | None = None,
    signals: Sequence[Path] = (),
) -> Imported:
    """The table that a file holds, written to `out` (parquet, or a run's or judgments' other formats by suffix; "-" prints).

    kind: queries, docs, run, judgments, pairs or design. scale: of judgments, maps labels to their index. judge: who made
    them. signals: files of `germane signal`, or judgments, that the run's ranker used: whose predictions these are goes into
    the run's origin, so that `compare` refuses a judge of that line. A file that was made from the same source before is left
    as it is.

    Raises: InputError for an unknown kind, a missing `out`, and whatever is wrong in the source, with its row.
    """
    kind = _kind(kind)
    if out is None:
        raise InputError("where to? name the file to write, as in --out judgments/mine.parquet, or --out - to print it")
    if kind != "judgments" and judge is not None:
        raise InputError(f"--judge says who made judgments: a file of kind {kind!r} has none; leave it out")
    if kind != "run" and signals:
        raise InputError(f"--signal says what a run's ranker used: a file of kind {kind!r} has none; leave it out")
    asked: dict[str, Any] = {"kind": kind, "scale": scale, "judge": judge} if kind == "judgments" else {"kind": kind}
    asked |= {"signals": [store.sha256(path) for path in signals]} if signals else {}
    work: dict[str, Any] = {"verb": "import", "inputs": [] if str(source) == "-" else [source], "parameters": asked}
    if work["inputs"] and store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return Imported(str(out), False, kind, manifest.rows or 0, str(manifest.extra.get("attribution") or ""))
    if kind == "run":
        run = sources.read_run(source)
        if signals:
            models = [str(model) for model in run.origin.get("models", ())]
            models += [model for path in signals for model in _models(path)]
            run = run._replace(origin={**run.origin, "models": list(dict.fromkeys(models))})
        sources.write_run(run, out, **work)
        return Imported(str(out), True, kind, run.table.num_rows, str(run.origin.get("attribution") or ""))
    if kind == "judgments":
        table = sources.read_judgments(source, scale=scales.get(scale) if scale else None, judge=judge)
        sources.write_judgments(table, out, **work)
    else:
        schema, read = READERS[kind]
        table = read(source)
        _write(table, out, schema, work)
    return Imported(str(out), True, kind, table.num_rows, store.attribution(table))


def _models(path: Path) -> list[str]:
    """The fingerprints that a file of features, weights or judgments rests on: its judge, and who taught that.

    Raises: InputError for a file that does not say.
    """
    manifest = store.read_manifest(path)
    said = dict(manifest.extra) if manifest else {}
    judge = said.get("judge") or {}
    models = said.get("models") or [m for m in (judge.get("fingerprint"), *judge.get("lineage", ())) if m]
    if not models:
        raise InputError(
            f"--signal {path}: its manifest names no judge: give features, weights or judgments as germane wrote them"
        )
    return [str(model) for model in models]


def _kind(name: str) -> str:
    """The kind that a user means: "runs" is a run, "judgements" are judgments."""
    for kind in KINDS:
        if name.rstrip("s") == kind.rstrip("s"):
            return kind
    near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KINDS)}"
    raise InputError(f"no file is of kind {name!r}: {hint}")


def _write(table: pa.Table, out: str | Path, schema: str, work: dict[str, Any]) -> None:
    """Parquet, or CSV lines on standard output for "-"."""
    if str(out) == "-":
        from pyarrow import csv

        csv.write_csv(table, sys.stdout.buffer)
        return
    if Path(out).suffix != ".parquet":
        raise InputError(f"cannot write {out}: a table of {schema} is a .parquet file, or - for CSV on standard output")
    store.write_table(table, out, schema, **work)
