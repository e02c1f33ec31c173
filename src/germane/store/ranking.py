"""Ranks from scores as trec_eval makes them, and the grades of what was ranked: in DuckDB, spilling to disk if need be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY_SHARE = 0.5  # of the machine, for one join; what does not fit goes to a temporary folder
# trec_eval 9: scores are single precision, ties go by document id, both falling
_RANK = "row_number() OVER (PARTITION BY query_id ORDER BY CAST(score AS FLOAT) DESC, doc_id DESC)::INTEGER AS rank"


def rank(run: pa.Table) -> pa.Table:
    """The run with its rank made from score (1 = top), sorted by query_id and rank.

    Single-precision scores fall, and ties by doc_id (as bytes) fall too. Source: trec_eval 9.0.8, form_res_rels.c.

    Raises: InputError where a document is twice in a query, or a score is no finite number.
    """
    from germane.store.schemas import conform

    run = conform(run, "runs", name="run")
    with database(run=run.select(["query_id", "doc_id", "score"])) as query:
        ranked = query(f"SELECT query_id, doc_id, score, {_RANK} FROM run ORDER BY query_id, rank")
    return ranked.replace_schema_metadata(run.schema.metadata)


def graded(
    run: pa.Table,
    judgments: pa.Table,
    *,
    k: int | None = None,
    condensed: bool = False,
    queries: pa.Array[Any] | pa.ChunkedArray[Any] | None = None,
) -> pa.Table:
    """query_id, doc_id, rank, relevance of a run, sorted by query_id and rank; relevance null = unjudged.

    k: cut each query there. condensed: take unjudged documents out first, so that ranks close up. queries: only these.
    A judgment without a label leaves its document unjudged.

    Raises: InputError where a pair has more than one label: keep one judge, or aggregate them, first.
    """
    import pyarrow as pa

    tables: dict[str, Any] = {"run": run.select(["query_id", "doc_id", "score"]), "judgments": judgments}
    source = "run"
    if queries is not None:
        tables["wanted"] = pa.Table.from_arrays([queries], ["query_id"])
        source = "(SELECT run.* FROM run SEMI JOIN wanted USING (query_id))"
    cut = "" if k is None else f"QUALIFY rank <= {int(k)}"
    labels = "labels AS (SELECT query_id, doc_id, relevance FROM judgments WHERE relevance IS NOT NULL)"
    if condensed:
        sql = f"""WITH {labels},
            pool AS (SELECT r.query_id, r.doc_id, score, relevance FROM {source} r JOIN labels USING (query_id, doc_id))
            SELECT query_id, doc_id, {_RANK}, relevance FROM pool {cut} ORDER BY query_id, rank"""
    else:
        sql = f"""WITH {labels}, ranked AS (SELECT query_id, doc_id, {_RANK} FROM {source} r {cut})
            SELECT r.query_id, r.doc_id, rank, relevance
            FROM ranked r LEFT JOIN labels USING (query_id, doc_id) ORDER BY r.query_id, rank"""
    with database(**tables) as query:
        _one_label_each(query)
        return query(sql)


def _one_label_each(query: Callable[[str], pa.Table]) -> None:
    twice = query(
        """SELECT query_id, doc_id, list(DISTINCT judge ORDER BY judge) AS judges, list(relevance ORDER BY relevance) AS labels
        FROM judgments WHERE relevance IS NOT NULL GROUP BY query_id, doc_id HAVING count(*) > 1
        ORDER BY query_id, doc_id LIMIT 1"""
    ).to_pylist()
    if twice:
        pair = twice[0]
        raise InputError(
            f"judgments: query {pair['query_id']!r}, document {pair['doc_id']!r} has labels {pair['labels']} by "
            f"{', '.join(pair['judges'])}; expected one a pair: keep one judge, or aggregate them first"
        )


@contextmanager
def database(**tables: Any) -> Iterator[Callable[[str], pa.Table]]:
    """A function from SQL to an Arrow table, over these Arrow tables by name; it spills to a folder that goes away."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="germane-") as spill:
        settings: dict[str, Any] = {"temp_directory": spill, "autoinstall_known_extensions": False}
        if memory := _memory():
            settings["memory_limit"] = f"{memory >> 20}MiB"
        connection = duckdb.connect(":memory:", config=settings)
        try:
            for name, table in tables.items():
                connection.register(name, table)
            yield lambda sql: connection.sql(sql).to_arrow_table()
        except duckdb.OutOfMemoryException as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"not enough memory or temporary disk space for this join: {reason}") from error
        finally:
            connection.close()


def _memory() -> int:
    """Bytes that one join may hold; 0 where the system does not say how much there is."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)
    except (AttributeError, ValueError, OSError):
        return 0
