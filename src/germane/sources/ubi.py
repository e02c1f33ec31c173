"""Queries of User Behavior Insights (UBI) 1.3.0: one row a request, with query_id, client_id, user_query, timestamp."""

from __future__ import annotations

from typing import Any

from germane.sources.raw import Raw
from germane.store.checks import compute


def is_ubi(raw: Raw) -> bool:
    """True if its columns are those of UBI's queries."""
    return {"query_id", "user_query"} <= set(raw.table.column_names)


def queries(raw: Raw) -> Raw:
    """Its distinct query texts, sorted: query_id (the text itself), query, users (distinct client_id) and impressions.

    UBI's own query_id names a request, and search as you type gives one to several texts, so it cannot name a query.
    Blank queries are left out: events that follow no search carry none. For strata by popularity see logs.py.
    """
    import pyarrow as pa

    pc = compute()
    table = raw.table
    columns = {"query": pc.utf8_trim_whitespace(table["user_query"].cast(pa.string())), "impressions": table["query_id"]}
    if "client_id" in table.column_names:
        columns["users"] = table["client_id"]
    requests: Any = pa.Table.from_arrays(list(columns.values()), list(columns))
    requests = requests.filter(pc.greater(pc.utf8_length(columns["query"]), 0))
    counted = [(c, "count_distinct" if c == "users" else "count") for c in columns if c != "query"]
    asked = requests.group_by("query", use_threads=False).aggregate(counted).sort_by("query")
    asked = asked.rename_columns([c.replace("_count_distinct", "").replace("_count", "") for c in asked.column_names])
    return raw.with_table(asked.append_column("query_id", asked["query"]))
