"""A sealed folder: written whole, read with its digests, its parts found by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane import sources, store
from germane.store import sealed
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("dev", "test")
MORE = (
    store.Column(
        "inclusion_probability", "float64", "chance of the pair to be drawn, empty where it was chosen", nullable=True
    ),
    store.Column("part", "string", "random or targeted", nullable=True),
    store.Column("split", "string", "dev or test", nullable=True),
)
"""What golden judgments have besides a judgment's columns."""


def write(
    folder: Path, labels: pa.Table, pairs: pa.Table | None, facts: Mapping[str, Any], *, work: Mapping[str, Any]
) -> dict[str, Any]:
    """The seal of the folder, now with dev.parquet, test.parquet and, of pairs, dev-pairs.parquet and test-pairs.parquet.

    Raises: InputError for a folder that is there and not empty: what is sealed is not sealed again.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and is not empty: a sealed set is never written over; name a new folder")
    files: dict[str, Any] = {}
    for part in PARTS:
        mine = labels.filter(pc.equal(labels["split"], pa.scalar(part)))
        tables = {f"{part}.parquet": ("judgments", mine)}
        if pairs is not None:
            rows = pairs.select([c for c in pairs.column_names if c not in ("split", "reason")])
            ids = mine.select(["query_id", "doc_id"])
            kept = rows.join(ids, ["query_id", "doc_id"], join_type="inner").sort_by(
                [("query_id", "ascending"), ("doc_id", "ascending")]
            )
            kept = kept.append_column("split", pa.repeat(part, kept.num_rows))
            tables[f"{part}-pairs.parquet"] = ("pairs", kept)
        for name, (kind, table) in tables.items():
            path = folder / name
            if kind == "judgments":
                _write_labels(table, path, work, part)
            else:
                store.write_table(table, path, kind, **work, extra={"split": part})
            holds = sealed.LABELS if kind == "judgments" else "pairs"
            files[name] = {"part": part, "holds": holds, "rows": table.num_rows, "sha256": store.sha256(path)}
    said = {"germane": "sealed golden set 1", **facts, "files": files}
    said["hash"] = sealed.digest(said)
    import json

    store.write_text(folder / sealed.SEAL, json.dumps(said, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    return said


def _write_labels(table: pa.Table, path: Path, work: Mapping[str, Any], part: str) -> None:
    """Judgments, with the columns beside them that a golden set has: a reader of judgments takes the file as it is."""
    import pyarrow.parquet as pq

    plain: Any = store.conform(table, "judgments", name=str(path))
    for column in (column.name for column in MORE if column.name in table.column_names):
        plain = plain.append_column(column, table[column])
    kind = {b"germane.kind": b"judgments", b"germane.schema_version": str(store.SCHEMAS["judgments"].version).encode()}
    with store.replacing(path) as file:
        made: pa.Table = plain.replace_schema_metadata(kind)
        pq.write_table(made, file, compression="zstd", write_page_checksum=True)
    schema = f"judgments {store.SCHEMAS['judgments'].version}"
    store.write_manifest(path, **work, schema=schema, rows=table.num_rows, extra={"split": part})


def is_sealed(path: str | Path) -> bool:
    """True for the folder of a sealed golden set."""
    return (Path(path) / sealed.SEAL).is_file()


def verified(folder: str | Path) -> dict[str, Any]:
    """The seal, after all its files were held against it. Raises: InputError for one that is missing or was changed."""
    said = sealed.read_seal(folder)
    for name in said["files"]:
        if not (Path(folder) / name).is_file():
            raise InputError(f"{Path(folder) / name} is missing: the seal names it; take the folder from where it was sealed")
        sealed.checked(Path(folder) / name)
    return said


def pairs_of(folder: str | Path, parts: Sequence[str] = PARTS) -> pa.Table:
    """query_id, doc_id, query, text and split of the sealed pairs, of labels only the ids where no pairs were sealed.

    No grade is looked at, so that nothing is counted as a read of the test.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    said, tables = verified(folder), []
    for part in parts:
        name = f"{part}-pairs.parquet" if f"{part}-pairs.parquet" in said["files"] else f"{part}.parquet"
        table = pq.read_table(Path(folder) / name)
        columns = [c for c in ("query_id", "doc_id", "query", "text", "split") if c in table.column_names]
        tables.append(table.select(columns).replace_schema_metadata(None))
    return pa.concat_tables(tables)


def words_of(path: str | Path) -> pa.Table:
    """query_id, doc_id, query and text, those that are there, of a sealed folder, or of any file that names queries or pairs.

    No grade is looked at. Raises: InputError for a file that names no queries, and a folder that is not sealed.
    """
    if is_sealed(path):
        return pairs_of(path)
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder, and no sealed golden set: name a file")
    return sources.read_words(path)


def texts_beside(path: Any) -> Path | None:
    """The file with the texts of sealed labels, dev or test; None of any other file, and of a set sealed without texts."""
    said = sealed.entry(path) if isinstance(path, str | Path) else None
    if said is None or said["holds"] != sealed.LABELS:
        return None
    found = Path(path).with_name(f"{said['part']}-pairs.parquet")
    return found if found.is_file() else None


def test_pairs(path: Path) -> Path:
    """The file of the sealed test's texts, for the folder or for its labels; any other path as it is.

    Raises: InputError for a set that was sealed without texts.
    """
    folder = path if is_sealed(path) else path.parent
    if not is_sealed(folder) or (path != folder and path.name != "test.parquet"):
        return path
    found = folder / "test-pairs.parquet"
    if not found.is_file():
        raise InputError(f"{folder} was sealed without texts: seal it with --pairs, or name the pairs themselves")
    return found
