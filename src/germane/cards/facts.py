"""What is said of a judge in the manifest beside its judgments: who taught it, on what, how fast it is, what it cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane import store
from germane.cards.admission import distinct
from germane.text import query_digest
from germane.types import InputError, JudgeFacts, Refusal

if TYPE_CHECKING:
    import pyarrow as pa

FLATTERED = "a judge was trained on queries of the golden set: its figures flatter it"


@dataclass(frozen=True)
class Said:
    """A judge as a manifest has it. facts: what a leaderboard shows. note: why the manifest was not used, "" if it was.

    queries, query_ids: digests of the words of the queries that it learned from, and their ids.
    """

    source: str
    facts: JudgeFacts = field(default_factory=JudgeFacts)
    note: str = ""
    queries: frozenset[str] = frozenset()
    query_ids: frozenset[str] = field(default=frozenset())

    def shared(self, ids: Iterable[str], texts: Mapping[str, str]) -> int | None:
        """How many of these queries it learned from, by their words, or by id where no text is known; None if unknown."""
        names = set(ids)
        digests = {query_digest(text) for name in names if (text := texts.get(name))}
        if self.queries and digests:
            return len(self.queries & digests)
        if self.query_ids:
            return len(self.query_ids & names)
        return None if self.queries else 0


def said_of(source: Any, judgments: pa.Table, *, hour_price: float | None = None) -> Said:
    """What the manifest beside a file of judgments says of their judge; nothing where there is none, or it is of another.

    source: the file, or a table in memory. hour_price: of the machine, where no cost is said.
    Raises: InputError for a manifest that holds something else where a fact should be.
    """
    if not isinstance(source, str | Path):
        return Said("judgments")
    name, place = str(source), store.manifest_path(source)
    manifest = store.read_manifest(source)
    if manifest is None:
        stale = f"{name}: its manifest is of other content: what it says of the judge was left out"
        return Said(name, note=stale if place.is_file() else "")
    said = manifest.extra.get("judge") or {}
    if not isinstance(said, Mapping):
        raise InputError(f"{place}: extra.judge is {said!r:.60}: expected an object")
    made_by = {fingerprint for _, fingerprint in distinct(judgments, "judge", "fingerprint") if fingerprint}  # people have none
    if said.get("fingerprint") and {said["fingerprint"]} != made_by:
        other = f"{name}: its manifest speaks of another judge's fingerprint: what it says of the judge was left out"
        return Said(name, note=other)
    queries, ids = (frozenset(_texts(said, key, place)) for key in ("training_queries", "training_query_ids"))
    return Said(name, _facts(said, place, hour_price), "", queries, ids)


def trained_on(
    said: Said, ids: Collection[str], queries: pa.Table | None, allow: Collection[str]
) -> tuple[list[str], list[str]]:
    """Notes and overrides on whether a judge learned from queries of a golden set. queries: their texts.

    Raises: Refusal `--allow trained-on-gold`.
    """
    rows = [] if queries is None else zip(queries["query_id"].to_pylist(), queries["query"].to_pylist(), strict=True)
    texts = {str(query_id): str(text or "") for query_id, text in rows}
    both = said.shared(ids, texts)
    if both is None:
        unseen = (
            f"{said.source}: whether its judge was trained on gold's queries cannot be seen without their texts (--queries)"
        )
        return [unseen], []
    if not both:
        return [], []
    if "trained-on-gold" not in allow:
        raise Refusal(
            f"{said.source}: its judge was trained on {both:,} of gold's {len(ids):,} queries, whose grades it may have seen.",
            "--allow trained-on-gold",
        )
    return [], [f"--allow trained-on-gold: {FLATTERED} ({said.source}, {both:,} of {len(ids):,} queries)"]


def cost_per_million(
    cost: float | None, rows: float | None, rows_per_s: float | None, hour_price: float | None
) -> tuple[float | None, str]:
    """Money for a million pairs, and what it rests on: as paid, else by speed and the price of an hour.

    >>> cost_per_million(2.0, 1000, None, None)
    (2000.0, 'paid')
    """
    if cost is not None and rows:
        return cost / rows * 1e6, "paid"
    if hour_price is not None and rows_per_s:
        return hour_price / rows_per_s / 3600 * 1e6, f"{hour_price:g} an hour"
    return None, ""


def _facts(said: Mapping[str, Any], where: Path, hour_price: float | None) -> JudgeFacts:
    speed, cost, rows = (_number(said, key, where) for key in ("rows_per_s", "cost", "rows"))
    million, paid = cost_per_million(cost, rows, speed, hour_price)
    return JudgeFacts(
        kind=str(said.get("kind") or ""),
        base=str(said.get("base") or ""),
        lineage=_texts(said, "lineage", where),
        taught_by=_texts(said, "taught_by", where),
        rows_per_s=speed or None,
        machine=str(said.get("machine") or ""),
        cost_per_million=million,
        cost_from=paid,
        random_weights=bool(said.get("random_weights")),
        latency_ms=_number(said, "latency_ms", where),
    )


def _number(said: Mapping[str, Any], key: str, where: Path) -> float | None:
    value = said.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InputError(f"{where}: extra.judge.{key} is {value!r}: expected a number, 0 or more, or null")
    return float(value)


def _texts(said: Mapping[str, Any], key: str, where: Path) -> tuple[str, ...]:
    value: Sequence[Any] = said.get(key) or ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"{where}: extra.judge.{key} is {value!r:.60}: expected a list of texts")
    return tuple(map(str, value))
