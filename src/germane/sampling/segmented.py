"""Queries with popularity segments, where they can be made and are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from germane import logs

if TYPE_CHECKING:
    import pyarrow as pa


def with_segments(queries: pa.Table, strata: Sequence[str] | None) -> tuple[pa.Table, list[str]]:
    """The queries with segments, if these are wanted, not there, and can be made; and a note of it."""
    if "segment" in queries.column_names or (strata is not None and "segment" not in strata):
        return queries, []
    by = next((c for c in ("users", "impressions") if c in queries.column_names and not queries[c].null_count), None)
    if by is None or not queries.num_rows:
        note = "no segments: the queries have no users or impressions, so popularity makes no strata"
        return queries, [] if strata is not None else [note]
    cuts = ", ".join(f"{name} to {share:.0%}" for name, share in logs.THRESHOLDS.items())
    return logs.with_segments(queries, by=by).table, [
        f"segments were made from {by}, by the default thresholds ({cuts} of traffic)"
    ]
