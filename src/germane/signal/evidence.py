"""People's grades beside a judge's predictions, from files: what thresholds and functions are chosen on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import cards, sources, store
from germane.cards import facts, gold
from germane.cards.admission import distinct, is_human, named
from germane.signal.deciding import ALL, Floats
from germane.types import InputError, Refusal, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = {
    "golden-test": "the policy was chosen on the sealed golden test, which can now check nothing of it",
    "trained-on-gold": "the judge was trained on queries of the golden set: what the policy promises is flattered",
}
"""Every override that `--allow` accepts where a policy is chosen, and what it lets pass."""


class Whose(NamedTuple):
    """Whose predictions they are: name, fingerprint, the fingerprints of who taught it, the scale's name."""

    name: str
    fingerprint: str
    lineage: tuple[str, ...]
    scale: str

    @property
    def models(self) -> tuple[str, ...]:
        """Every fingerprint that a ranker has used once it uses this judge: `compare` refuses a judge of the same line."""
        return (self.fingerprint, *(f for f in self.lineage if f != self.fingerprint))


@dataclass(frozen=True)
class Predictions:
    """A judge's predictions by pair. rows: (query_id, doc_id) -> row. probs: (n, grades), NaN where there are none."""

    whose: Whose
    scale: Scale
    rows: Mapping[tuple[str, str], int]
    probs: Floats
    note: str = ""

    def of(self, query_id: str, doc_ids: Sequence[str]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Probabilities (n, grades), expected gain (n,) and whether they are known (n,) of one query's documents."""
        at = np.array([self.rows.get((query_id, doc), -1) for doc in doc_ids], dtype=np.int64)
        probs = np.full((at.size, len(self.scale.labels)), np.nan)
        probs[at >= 0] = self.probs[at[at >= 0]]
        return probs, probs @ np.asarray(self.scale.gains), np.isfinite(probs).all(axis=1)


@dataclass(frozen=True)
class Evidence:
    """Golden pairs that were drawn at random and have a prediction. grade: (n,) of people; query: (n,) numbers;
    segment: (n,) names, "" where nothing is known; weights: (n,) 1 / inclusion probability, or None."""

    grade: NDArray[np.int64]
    probs: Floats
    query: NDArray[np.int64]
    segment: NDArray[np.object_]
    weights: Floats | None
    query_ids: tuple[str, ...]
    doc_ids: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def queries(self) -> int:
        return len(set(self.query.tolist()))

    def take(self, rows: NDArray[Any]) -> Evidence:
        """The same of some pairs."""
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Evidence(
            self.grade[at],
            self.probs[at],
            self.query[at],
            self.segment[at],
            None if self.weights is None else self.weights[at],
            self.query_ids,
            tuple(self.doc_ids[i] for i in at.tolist()),
            self.notes,
        )


def predictions(judgments: Any, scale: Scale) -> tuple[Predictions, pa.Table]:
    """What one judge predicts, and its table as read. judgments: a file or a table.

    Raises: InputError for judgments of people, of several judges, on another scale, of one pair twice, and without any
    probabilities.
    """
    table = sources.read_judgments(judgments, scale=scale)
    made_by = distinct(table, "judge", "fingerprint")
    name = str(judgments) if isinstance(judgments, str | Path) else "the judgments"
    if len(made_by) != 1:
        names = ", ".join(named(*who) for who in made_by[:4]) or "nobody"
        raise InputError(f"{name} are judgments of {len(made_by)} judges ({names}): a signal is one judge's")
    judge, fingerprint = made_by[0]
    if is_human(judge, fingerprint):
        raise InputError(f"{name} are judgments of people ({judge}): a signal is what a judge predicts, with probabilities")
    if not fingerprint:
        raise InputError(f"{name}: judge {judge!r} has no fingerprint, so no policy could be its own")
    cards.admission.same_scale(table, scale)
    if twice := store.first_duplicate(table, ["query_id", "doc_id"]):
        raise InputError(f"{name} has a pair twice ({twice}): one prediction of each pair is needed")
    if "probs" not in table.column_names or table["probs"].null_count == table.num_rows:
        raise InputError(f"{name} has no probabilities (column probs): a signal is made of them; label with a trained judge")
    probs = gold.probabilities(table, len(scale.labels))
    said = facts.said_of(judgments, table)
    whose = Whose(judge, fingerprint, said.facts.lineage, scale.name)
    ids = zip(map(str, table["query_id"].to_pylist()), map(str, table["doc_id"].to_pylist()), strict=True)
    return Predictions(whose, scale, {pair: row for row, pair in enumerate(ids)}, probs, said.note), table


def evidence(
    golden: Any,
    judgments: Any,
    table: pa.Table,
    scale: Scale,
    *,
    segments: Mapping[str, str] | None = None,
    queries: pa.Table | None = None,
    adjudicate: gold.Rule | None = None,
    allow: Collection[str] = (),
) -> tuple[Evidence, tuple[str, ...]]:
    """Golden pairs beside the predictions, and the overrides that were needed.

    golden: people's judgments; table: the judge's, as `predictions` read it. segments: query_id -> name. queries: texts, to
    see whether the judge learned from them.

    Raises: Refusal `--allow golden-test` for a sealed test, `--allow trained-on-gold`; InputError where nothing can be used.
    """
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known are {', '.join(ALLOW)}")
    overrides = _test(golden, allow)
    people = sources.read_judgments(golden, scale=scale, more=cards.EXTRA)
    _, _, _, caveats = gold.who(people, table, scale)
    one, _, notes = gold.adjudicate(people, adjudicate)
    pairs = gold.joined(one, table, None, len(scale.labels))
    ids = {str(name) for name in people["query_id"].unique().to_pylist()}
    told, insisted = facts.trained_on(facts.said_of(judgments, table), ids, queries, allow)
    probs = pairs.probs if pairs.probs is not None else np.full((len(pairs.gold), len(scale.labels)), np.nan)
    kept = ~pairs.targeted & np.isfinite(probs).all(axis=1)
    if not kept.any():
        raise InputError("no golden pair drawn at random has a prediction: are query_id and doc_id the same in both?")
    if left := int((~pairs.targeted & ~kept).sum()):
        told = [*told, f"{left:,} golden pairs have no prediction of the judge, and say nothing here"]
    names = np.array([(segments or {}).get(str(q), ALL) for q in pairs.query_ids], dtype=object)
    found = Evidence(
        pairs.gold[kept],
        probs[kept],
        pairs.query[kept],
        names[pairs.query[kept]],
        None if pairs.weight is None else pairs.weight[kept],
        tuple(map(str, pairs.query_ids)),
        tuple(map(str, pairs.doc_ids[kept])),
        tuple(dict.fromkeys([*caveats, *notes, *pairs.caveats, *told])),
    )
    return found, (*overrides, *insisted)


def dev_of(golden: Path) -> Path:
    """The file to choose on: of a sealed folder its dev part, else the file as it is."""
    return golden / "dev.parquet" if golden.is_dir() and (golden / store.sealed.SEAL).is_file() else golden


def _test(golden: Any, allow: Collection[str]) -> list[str]:
    """Overrides needed because the sealed test is used to choose. Raises: Refusal `--allow golden-test`."""
    if not isinstance(golden, str | Path) or not Path(golden).is_file() or not store.sealed.is_test(golden):
        return []
    if "golden-test" not in allow:
        raise Refusal(
            f"{golden} is the sealed golden test: what is chosen on it cannot be checked by it. Choose on dev.parquet.",
            "--allow golden-test",
        )
    return [f"--allow golden-test: {ALLOW['golden-test']}"]


def segments_of(queries: Any, column: str | None) -> dict[str, str]:
    """query_id -> its segment. Raises: InputError for a column that is not there, or holds nothing."""
    if column is None:
        return {}
    table = sources.read_queries(queries)
    if column not in table.column_names:
        raise InputError(f"--by {column}: no such column; the queries have {', '.join(table.column_names)}")
    rows = zip(table["query_id"].to_pylist(), table[column].to_pylist(), strict=True)
    found = {str(q): str(name) for q, name in rows if name not in (None, "")}
    if not found:
        raise InputError(f"--by {column}: no query has a value there")
    return found


def known_segments(run: Run, segments: Mapping[str, str], asked: bool) -> None:
    """Raises: InputError for a query of the run whose segment is not known, where segments are asked for."""
    if not asked:
        return
    ids = {str(q) for q in run.table["query_id"].unique().to_pylist()}
    if missing := sorted(ids - set(segments)):
        raise InputError(
            f"{len(missing):,} of {len(ids):,} queries of {run.name} have no segment, such as {missing[0]!r}: give the "
            "queries of this run"
        )


def types_of(queries: Any, columns: Sequence[str]) -> dict[str, str]:
    """query_id -> the type that several columns make: their values with " | " between.

    Raises: InputError as `segments_of`.
    """
    if not columns:
        return {}
    parts = [segments_of(queries, column) for column in columns]
    shared = set(parts[0]).intersection(*parts[1:])
    return {query: " | ".join(part[query] for part in parts) for query in parts[0] if query in shared}
