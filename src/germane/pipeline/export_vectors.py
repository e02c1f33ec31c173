"""`germane export --vectors`: the student's vectors for an engine that searches them: parquet, OpenSearch, PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from germane import sources, store
from germane.engines import opening
from germane.engines.loading import NUMBERS, copied, load, statements
from germane.inference import vector_store
from germane.inference.vector_store import VectorStore
from germane.judges.head import floats
from germane.types import InputError

if TYPE_CHECKING:
    from germane.inference.encoding import Vectors
    from germane.inference.hashes import Rows

FORMS = {"parquet": ".parquet", "opensearch": ".ndjson", "elasticsearch": ".ndjson", "pgvector": ".copy"}
"""What `--to` knows, and how its files end."""

ACTIONS = ("update", "index")
TOGETHER = 8192
"""Documents whose vectors are read and written at once."""


class Exported(NamedTuple):
    """What was written, or loaded. beside: files that say what the target must be. made: False if nothing had changed.

    without: documents of the catalogue that have no vector.
    """

    out: str
    made: bool
    form: str
    documents: int
    without: int
    dimension: int
    tower: str
    beside: tuple[str, ...] = ()


def export_vectors(
    vectors: Path,
    out: Path | None,
    *,
    to: str,
    docs: Path | None = None,
    field: str = "vector",
    numbers: str = "vector",
    action: str = "update",
    table: str = "product_vectors",
    url_env: str = "",
) -> Exported:
    """The vectors in a folder of `germane encode`, document by document, in the form of another engine, 8,192 at a time.

    to: "parquet" (doc_id, vector), "opensearch" or "elasticsearch" (lines of _bulk, and the mapping beside), "pgvector" (lines
    of COPY, and the statements beside). docs: only the documents of this catalogue. field: what the vector is called.
    numbers: of pgvector, "vector" (4 bytes a number) or "halfvec" (2). action: of _bulk, "update" of documents that are there,
    or "index" of new ones. url_env: the environment variable of a PostgreSQL server's address, into whose `table` they are
    put, all or none; then `out` is not needed.

    Raises: InputError for a folder without vectors, another form, a name of another suffix, and a table that holds another
    student's vectors.
    """
    _check(out, to, numbers, action, url_env)
    vector_store.about(vectors)  # says what is wrong with the folder, before it is read as an input
    asked = {"to": to, "field": field, "numbers": numbers, "action": action, "table": table}
    inputs = [path for path in (vectors, docs) if path]
    work: dict[str, Any] = {"verb": "export", "inputs": inputs, "parameters": asked}
    if out and not url_env and store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return Exported(
            str(out), False, **{**manifest.extra["exported"], "beside": tuple(manifest.extra["exported"]["beside"])}
        )
    source = _Source(VectorStore(vectors), docs)
    about = source.store.about
    said: dict[str, Any] = {"form": to, "documents": len(source), "without": source.without, "dimension": about.dimension}
    said |= {"tower": about.tower}
    if url_env:
        url = opening.address(opening.Server(url_env), "postgres")
        load(url, table, source.pieces(), field=field, numbers=numbers, dimension=about.dimension, tower=about.tower)
        return Exported(f"table {table}", True, **said)
    assert out is not None  # `_check` saw to it
    said["beside"] = _beside(out, to, field, numbers, table, about.dimension, about.tower)
    with store.replacing(out) as file:
        if to == "parquet":
            _parquet(file, source, field)
        else:
            for ids, values in source.pieces():
                file.write(copied(ids, values) if to == "pgvector" else _bulk(ids, values, field, action))
    store.write_manifest(out, **work, rows=len(source), extra={"exported": said})
    return Exported(str(out), True, **said)


def _check(out: Path | None, to: str, numbers: str, action: str, url_env: str) -> None:
    if to not in FORMS:
        raise InputError(f"--to {to}: there is no such form; known are {', '.join(FORMS)}")
    if numbers not in NUMBERS:
        raise InputError(f"--numbers {numbers}: expected {' or '.join(NUMBERS)}")
    if action not in ACTIONS:
        raise InputError(f"--action {action}: expected {' or '.join(ACTIONS)}")
    if url_env and to != "pgvector":
        raise InputError("--url-env loads into PostgreSQL: it is for --to pgvector; send the lines of the others with curl")
    if url_env and out is not None:
        raise InputError("--url-env loads into a table, and writes no file: leave --out out")
    if not url_env and (out is None or out.suffix != FORMS[to]):
        raise InputError(f"--out {out}: expected a name that ends in {FORMS[to]}")


class _Source:
    """Documents and their vectors, in the order in which they were first named."""

    def __init__(self, vectors: VectorStore, docs: Path | None) -> None:
        self.store = vectors
        at, rows = vectors.places(None if docs is None else _ids(docs))
        self.without = int((at < 0).sum())
        self._at, self._rows = at[at >= 0], rows[at >= 0]
        if not len(self._at):
            raise InputError(f"no document {f'of {docs} ' if docs else ''}has a vector in {vectors.folder}: encode them first")

    def __len__(self) -> int:
        return len(self._at)

    def pieces(self) -> Iterator[tuple[list[str], Vectors]]:
        """Ids and vectors (n, d)."""
        for start in range(0, len(self), TOGETHER):
            some: Rows = self._rows[start : start + TOGETHER]
            yield self.store.ids(self._at[start : start + TOGETHER]), floats(self.store.take(some))


def _ids(docs: Path) -> Iterator[str]:
    for piece in sources.docs_in_pieces(docs)[1]:
        yield from (str(doc_id) for doc_id in piece["doc_id"].to_pylist())


def _parquet(file: BinaryIO, source: _Source, field: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field("doc_id", pa.string()), pa.field(field, pa.list_(pa.float32()))])
    with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True, use_dictionary=False) as writer:
        for ids, values in source.pieces():
            ends: Any = pa.array(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32))
            lists: Any = pa.ListArray.from_arrays(ends, pa.array(values.ravel()))
            writer.write_table(pa.table({"doc_id": pa.array(ids, pa.string()), field: lists}, schema=schema))


def _bulk(ids: Sequence[str], values: Vectors, field: str, action: str) -> bytes:
    """Two lines of _bulk a document; an id is one JSON value, whatever it holds."""
    name, form = json.dumps(field, ensure_ascii=False), ",".join(["%.9g"] * values.shape[1])
    lines = []
    for doc_id, row in zip(ids, values.tolist(), strict=True):
        held = f"{{{name}:[{form % tuple(row)}]}}"
        lines.append(json.dumps({action: {"_id": doc_id}}, ensure_ascii=False))
        lines.append(held if action == "index" else f'{{"doc":{held}}}')
    return ("\n".join(lines) + "\n").encode()


def _beside(out: Path, to: str, field: str, numbers: str, table: str, dimension: int, tower: str) -> tuple[str, ...]:
    """The file that says what the target must be, written; none for parquet, which says it itself."""
    if to == "parquet":
        return ()
    if to == "pgvector":
        place = out.with_suffix(".sql")
        store.write_text(place, statements(table, field, numbers, dimension, tower, out.name))
    else:
        place = out.with_suffix(".mapping.json")
        store.write_text(place, json.dumps(mapping(to, field, dimension, tower), indent=2, ensure_ascii=False) + "\n")
    return (str(place),)


def mapping(to: str, field: str, dimension: int, tower: str) -> dict[str, Any]:
    """The body that makes an index for these vectors. `_meta` says whose they are, and `collect` reads it.

    Source: documentation of OpenSearch 2.19 and 3.x (k-NN vector: space_type on the field, cosinesimil for every engine), and
    of Elasticsearch 8 and 9 (dense_vector).
    """
    meta = {"germane_tower": tower}
    if to == "elasticsearch":
        held: dict[str, Any] = {"type": "dense_vector", "dims": dimension, "index": True, "similarity": "cosine"}
        return {"mappings": {"_meta": meta, "properties": {field: held}}}
    held = {"type": "knn_vector", "dimension": dimension, "space_type": "cosinesimil"}
    return {"settings": {"index": {"knn": True}}, "mappings": {"_meta": meta, "properties": {field: held}}}
