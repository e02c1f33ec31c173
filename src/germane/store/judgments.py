"""The judgment store: every label that was ever made, found again by what the judge read, so that it is made once."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.store.checks import compute, conform, short
from germane.store.duck import database
from germane.store.files import numbering
from germane.store.schemas import SCHEMAS, arrow_type
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_KEYS = ["query_key", "document_key"]
_JOB = b"germane.job"
_DIGITS = 32  # hex digits of a document's hash that are kept: 128 bits


class JudgmentStore:
    """A folder of parquet parts that only grows. Several processes may append and look up at the same time.

    A judgment is found by what it depends on: the query's text (`query_key`), the document as the judge read it
    (`document_key`), the scale, the version of the guide, and the judge: its fingerprint, or for people their name.
    Ids play no part, so a label serves wherever the same query meets the same document. Every answer is kept; where
    several share a key, the first label that was stored is the label, for good. A part is put in place whole: a killed
    append leaves nothing, or all of it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"judgment store {folder} is a file; expected a folder: name another")

    def append(self, judgments: pa.Table, pairs: pa.Table) -> int:
        """The number of judgments that were stored: all of them, answers that are no label included.

        pairs: at least the pairs that the judgments speak of, with the texts that the judge read.

        Raises: InputError for a judgment without its pair, or where the folder cannot be written.
        """
        import pyarrow as pa

        judgments = conform(judgments, "judgments", name="judgments to store")
        if not judgments.num_rows:
            return 0
        for column in SCHEMAS["judgments"].columns:  # every part has all of them, so that parts can be read together
            if column.name not in judgments.column_names:
                kind: Any = arrow_type(column.type)
                none: Any = pa.nulls(judgments.num_rows, kind)
                judgments = judgments.append_column(column.name, none)
        with database(said=_numbered(judgments), keyed=_keyed(pairs)) as query:
            stored = query(
                "SELECT said.* EXCLUDE (row), query_key, document_key FROM said LEFT JOIN keyed USING (query_id, doc_id) "
                "ORDER BY said.row"
            )
        row = compute().index(compute().is_null(stored["query_key"]), True).as_py()
        if row >= 0:
            query_id, doc_id = (short(stored[c][row].as_py()) for c in ("query_id", "doc_id"))
            raise InputError(f"judgment of query {query_id}, document {doc_id} has no pair: give the texts that the judge read")
        return self.add([stored])

    def add(self, keyed: Iterable[pa.Table], *, job: str = "") -> int:
        """The number of judgments that were stored, as one part, whatever their number; 0 for none.

        keyed: judgments with what they are found by, query_key and document_key. job: names the work that made them: what a
        job has added before, whether or not it lived to know that, is not added again.

        Raises: InputError where the folder cannot be written, or a part of it cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = self._parts(all_of_them=True)
        if job and any((self._schema(part).metadata or {}).get(_JOB) == job.encode() for part in self._parts()):
            return 0
        tables = iter(keyed)
        if (table := next(tables, None)) is None:
            return 0
        keys = [pa.field(name, pa.string()) for name in _KEYS]
        schema = pa.schema([*SCHEMAS["judgments"].arrow(), *keys], {_JOB: job.encode()} if job else None)
        rows, number = 0, int(parts[-1].stem.split("-")[1]) + 1 if parts else 1
        with (
            numbering(lambda n: self.folder / f"part-{n:08d}.parquet", number) as file,
            pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            while table is not None:
                writer.write_table(table.select(schema.names).cast(schema))
                rows += table.num_rows
                table = next(tables, None)
        return rows

    def lookup(
        self, pairs: pa.Table, *, scale: str, guide_version: str, fingerprint: str, judge: str | None = None
    ) -> pa.Table:
        """The judgments that these pairs already have, in their order and under their ids.

        fingerprint: of a machine judge; "" for people, whose labels come one a person, or only that of `judge`.

        Raises: InputError where a part cannot be read.
        """
        import pyarrow as pa

        if not self._parts() or not pairs.num_rows:
            return pa.Table.from_pylist([], SCHEMAS["judgments"].arrow())
        keyed = _keyed(pairs).sort_by("row")
        found = self.found(keyed, scale=scale, guide_version=guide_version, fingerprint=fingerprint, judge=judge)
        ids = keyed.select(["query_id", "doc_id"]).take(found["row"])
        columns: dict[str, Any] = {name: ids[name] for name in ids.column_names}
        columns |= {name: found[name] for name in found.column_names if name != "row"}
        return conform(pa.table(columns), "judgments", name=str(self.folder))

    def found(self, keys: pa.Table, *, scale: str, guide_version: str, fingerprint: str, judge: str | None = None) -> pa.Table:
        """The judgments that are stored under these keys: row (of `keys`, from 0, in order) and the columns without ids.

        keys: query_key and document_key. Otherwise as `lookup`.
        """
        import duckdb
        import pyarrow as pa

        columns = [c for c in SCHEMAS["judgments"].columns if c.name not in ("query_id", "doc_id")]
        parts = self._parts()
        if not parts:
            return pa.schema([("row", pa.int64()), *((c.name, arrow_type(c.type)) for c in columns)]).empty_table()
        said = {"scale": scale, "guide_version": guide_version, "fingerprint": fingerprint}
        if judge is not None:
            said["judge"] = judge
        wanted = " AND ".join(f"s.{column} = {_quoted(value)}" for column, value in said.items())
        there = {name for part in parts for name in self._schema(part).names}  # those of an earlier version have fewer
        kept = ", ".join(f"s.{c.name}" if c.name in there else f"NULL AS {c.name}" for c in columns)
        files = ", ".join(_quoted(_literal(part)) for part in parts)
        try:
            with database(keyed=_numbered(keys.select(_KEYS))) as query:
                return query(
                    f"""SELECT keyed.row, {kept}
                    FROM read_parquet([{files}], filename = true, file_row_number = true, union_by_name = true) s
                    JOIN keyed ON s.query_key = keyed.query_key AND s.document_key = keyed.document_key
                    WHERE {wanted} AND s.relevance IS NOT NULL
                    QUALIFY row_number() OVER (
                        PARTITION BY keyed.row, s.fingerprint, CASE WHEN s.fingerprint = '' THEN s.judge END
                        ORDER BY s.filename, s.file_row_number) = 1
                    ORDER BY keyed.row, s.judge"""
                )
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"judgment store {self.folder} cannot be read: {reason}: restore that part") from error

    def answers(self, query: str, text: str, *, newest: int | None = None) -> tuple[pa.Table, int, int]:
        """(every label of one pair, by whoever and under whichever guide, as columns without ids, the first that was stored
        first; how many parts were read; how many there are).

        query, text: as the judge read them. newest: read no more than so many parts, the latest.

        Raises: InputError where a part cannot be read.
        """
        import duckdb
        import pyarrow as pa

        columns = [c for c in SCHEMAS["judgments"].columns if c.name not in ("query_id", "doc_id")]
        every = self._parts()
        parts = every if newest is None else every[-newest:]
        if not parts:
            return pa.schema([(c.name, arrow_type(c.type)) for c in columns]).empty_table(), 0, len(every)
        there = {name for part in (parts[0], parts[-1]) for name in self._schema(part).names}
        kept = ", ".join(c.name if c.name in there else f"NULL AS {c.name}" for c in columns)
        files = ", ".join(_quoted(_literal(part)) for part in parts)
        wanted = f"document_key = {_quoted(document_key(text))} AND query_key = {_quoted(query_key(query))}"
        try:
            with database() as ask:
                found = ask(
                    f"SELECT {kept} FROM read_parquet([{files}], filename = true, file_row_number = true, "
                    f"union_by_name = true) WHERE {wanted} ORDER BY filename, file_row_number"
                )
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"judgment store {self.folder} cannot be read: {reason}: restore that part") from error
        return found, len(parts), len(every)

    def __len__(self) -> int:
        """How many answers are stored, repeated ones included."""
        import pyarrow.parquet as pq

        return sum(pq.read_metadata(part).num_rows for part in self._parts())

    def _schema(self, part: Path) -> pa.Schema:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(part)
        except (OSError, pa.ArrowException) as error:
            reason = f"{part.name} is not a whole parquet file"
            raise InputError(f"judgment store {self.folder} cannot be read: {reason}: restore that part") from error

    def _parts(self, *, all_of_them: bool = False) -> list[Path]:
        """Its parts, oldest first; without those that are claimed and not written yet, unless all are asked for."""
        parts = sorted(self.folder.glob("part-*.parquet"))
        return parts if all_of_them else [part for part in parts if part.stat().st_size]


def query_key(text: str) -> str:
    """A query's text as the store knows it: Unicode composed (NFC), white space made single and trimmed; case is kept.

    What is dropped here no reader can see. Case can change what is meant ("US", "us"), and a label made twice costs less
    than a wrong one.

    >>> query_key("  red   Shoes ")
    'red Shoes'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def document_key(text: str) -> str:
    """32 hex digits of what the judge read of a document: any change makes it another document.

    >>> document_key("title: Garden chair")
    '79b41ca2f885f9617aee7a1e573b7f06'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _keyed(pairs: pa.Table) -> pa.Table:
    """Row number, ids and keys of pairs."""
    import pyarrow as pa

    pairs = _numbered(conform(pairs, "pairs", name="pairs")).select(["row", "query_id", "doc_id", "query", "text"])
    with database(pairs=pairs) as query:
        texts: list[Any] = query("SELECT DISTINCT query FROM pairs")["query"].to_pylist()
    keys = pa.table(
        {"query": pa.array(texts, pa.string()), "query_key": pa.array([query_key(text) for text in texts], pa.string())}
    )
    with database(pairs=pairs, keys=keys) as query:
        return query(
            f"""SELECT row, query_id, doc_id, query_key, left(sha256(text), {_DIGITS}) AS document_key
            FROM pairs JOIN keys USING (query)"""
        )


def _numbered(table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    rows: Any = pa.array(np.arange(table.num_rows))
    return table.append_column("row", rows)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _literal(path: Path) -> str:
    """A path in which DuckDB sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path.as_posix())
