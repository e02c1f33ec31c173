"""The documents that a day's lists show, as a judge reads them, and which documents the catalogue has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import sources
from germane.judges import folder
from germane.judges.loading import locate
from germane.report.words import many
from germane.sources.names import DOC_ID, plain_name
from germane.sources.raw import Raw
from germane.sources.reading import docs_of
from germane.store.duck import connected
from germane.text import TextPlan, compose_table, text_fields
from germane.types import InputError
from germane.watching.plan import FAKE, Plan
from germane.watching.reading import MEMORY
from germane.watching.sources import literal, named, quoted

if TYPE_CHECKING:
    import pyarrow as pa

Hashes = NDArray[np.uint64]


def texts(plan: Plan, file: Path, ids: Sequence[str]) -> dict[str, str]:
    """The text of each of these documents that the file has.

    Raises: InputError for a file that cannot be read.
    """
    table = _wanted(file, ids, sources.read_docs if plan.docs else sources.read_pairs)
    if not table.num_rows:
        return {}
    if not plan.docs and "text" not in table.column_names:
        raise InputError(
            f"{file} has no column 'text': found {', '.join(table.column_names)}; expected pairs, with their texts"
        )
    if not plan.docs:
        said: list[Any] = table["text"].to_pylist()
        return {str(doc_id): str(text) for doc_id, text in zip(table["doc_id"].to_pylist(), said, strict=True) if text}
    plain = text_fields(table) == ["text"]
    made: list[Any] = table["text"].to_pylist() if plain else compose_table(table, learned(plan)).text.to_pylist()
    return {str(doc_id): str(text) for doc_id, text in zip(table["doc_id"].to_pylist(), made, strict=True) if text}


def look(plan: Plan, file: Path) -> str:
    """What a file of documents, or of pairs, has, in words. Raises: InputError for one that cannot be read."""
    if file.suffix.lower() == ".parquet":
        with connected(MEMORY) as connection:
            columns = _columns(connection, file)
            _id_column(columns, file)
            if plan.pairs and not any(plain_name(name) == "text" for name in columns):
                raise InputError(f"{file} has no column 'text': found {', '.join(columns)}; expected pairs, with their texts")
            with _explained(file):
                rows = int(connection.execute(f"SELECT count(*) FROM {_parquet(file)}").fetchall()[0][0])
    else:
        rows = (sources.read_docs if plan.docs else sources.read_pairs)(file).num_rows
    return many(rows, "document" if plan.docs else "pair")


def learned(plan: Plan) -> TextPlan:
    """The plan of the texts that the judge learned from; the usual one where it is not known."""
    if plan.judge == FAKE or plan.judge.startswith("llm:"):
        return TextPlan()
    said: Any = folder.learned_plan(locate(plan.judge))
    return TextPlan() if said is None else said


def catalogue(plan: Plan, file: Path) -> Hashes:
    """Which documents there are, (m,) sorted: 64 bits of each id, so that ten million take 80 MB. Empty without a catalogue."""
    if not plan.docs:
        return np.empty(0, np.uint64)
    if file.suffix.lower() == ".parquet":
        with connected(MEMORY) as connection:
            column = named(_id_column(_columns(connection, file), file))
            rows = connection.sql(
                f"SELECT DISTINCT md5_number_lower(CAST({column} AS VARCHAR)) AS h FROM {_parquet(file)} ORDER BY h"
            )
            return np.asarray(rows.to_arrow_table()["h"].to_numpy(), np.uint64)
    return np.unique(hashes([str(doc_id) for doc_id in sources.read_docs(file)["doc_id"].to_pylist()]))


def hashes(ids: Sequence[str]) -> Hashes:
    """What the catalogue knows of each id, (n,)."""
    from hashlib import md5

    digests = b"".join(md5(each.encode(), usedforsecurity=False).digest()[8:] for each in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def among(ids: Sequence[str], known: Hashes) -> NDArray[np.bool_]:
    """(n,) Which of these ids the catalogue has."""
    return np.isin(hashes(ids), known)


def _wanted(file: Path, ids: Sequence[str], read: Callable[[Path], pa.Table]) -> pa.Table:
    """The rows of these documents, each once. read: a file that is no parquet."""
    import pyarrow as pa

    if file.suffix.lower() != ".parquet":
        found = read(file)
        return _first(found.filter(_compute().is_in(found["doc_id"], value_set=pa.array(ids, pa.string()))))
    with _explained(file), connected(MEMORY) as connection:
        columns = _columns(connection, file)
        column = _id_column(columns, file)
        connection.register("wanted", pa.table({"wanted_id": pa.array(ids, pa.string())}))
        raw = connection.sql(
            f"SELECT * FROM {_parquet(file)} d WHERE CAST(d.{named(column)} AS VARCHAR) IN (SELECT wanted_id FROM wanted)"
        ).to_arrow_table()
    if not raw.num_rows:
        return pa.table({"doc_id": pa.array([], pa.string())})
    return _first(docs_of(Raw(_first(raw, column), str(file), "parquet", path=str(file))))


def _first(table: pa.Table, column: str = "doc_id") -> pa.Table:
    """The first row of each document: a file of pairs has one for each query."""
    ids = table[column].to_pylist()
    seen: dict[Any, int] = {}
    for row, doc_id in enumerate(ids):
        seen.setdefault(doc_id, row)
    return table if len(seen) == len(ids) else table.take(list(seen.values()))


def _id_column(columns: Sequence[str], file: Path) -> str:
    found = next((c for name in (*DOC_ID, "_id") for c in columns if plain_name(c) == name), None)
    if found is None:
        raise InputError(f"{file} has no column of document ids: found {', '.join(columns)}; expected doc_id")
    return found


def _columns(connection: Any, file: Path) -> list[str]:
    with _explained(file):
        return [str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {_parquet(file)}").fetchall()]


class _explained:  # noqa: N801  (a block, as `with _explained(file):`)
    """A block in which a file that DuckDB cannot read is one line."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, problem: Any, trace: Any) -> None:
        import duckdb

        if isinstance(problem, duckdb.Error):
            raise InputError(f"{self.file} cannot be read: {' '.join(str(problem).split())[:160]}") from problem


def _parquet(file: Path) -> str:
    return f"read_parquet({quoted(literal(file))})"


def _compute() -> Any:
    import pyarrow.compute as pc

    return pc
