"""Tables on disk: parquet with its kind and schema version inside, and a manifest beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.store import sealed
from germane.store.checks import conform, listed
from germane.store.files import replacing, unreadable
from germane.store.manifests import read_manifest, write_manifest
from germane.store.schemas import SCHEMAS
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_KIND, _VERSION = b"germane.kind", b"germane.schema_version"
_ATTRIBUTION, _MODELS = b"germane.attribution", b"germane.models"
DICTIONARY = 2**26  # bytes: a text that many rows have is written once


def read_table(path: str | Path, kind: str) -> pa.Table:
    """The parquet table of a kind ("queries", "docs", "runs", "pairs", "judgments", "designs"), every row checked.

    Raises: InputError naming file, column, what was found and what was expected.
    """
    table = read_parquet(path)
    check_kind(table, kind, str(path))
    return conform(table, kind, name=str(path))


def read_parquet(path: str | Path) -> pa.Table:
    """Whatever a parquet file holds. A read of a sealed golden test is counted beside it (`store.sealed`).

    Raises: InputError where it is missing, cut short or not parquet, or is a sealed file that was changed.
    """
    import pyarrow.parquet as pq

    sealed.opened(path)
    with explained_parquet(path):
        return whole(pq.ParquetFile(path, page_checksum_verification=True).read())


@contextmanager
def explained_parquet(path: str | Path) -> Iterator[None]:
    """A block in which failing to read a parquet file raises an InputError that says why and what to do."""
    import pyarrow as pa

    try:
        if Path(path).is_dir():
            raise IsADirectoryError
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError)):
            raise InputError(f"cannot read {path}: {unreadable(error)}") from error
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is not a whole parquet file ({reason}): write or copy it again") from error


def whole(table: pa.Table) -> pa.Table:
    """The table, if all its text is UTF-8 and its parts fit together; damage inside a parquet file shows only here.

    Raises: pyarrow.ArrowInvalid or UnicodeDecodeError.
    """
    table.validate(full=True)
    "".join(table.column_names)  # decodes them
    return table


def check_kind(table: pa.Table, kind: str, name: str) -> None:
    """Nothing, if the table says of itself that it is of this kind, in a version known here, or says nothing.

    Raises: InputError where it says something else.
    """
    said = table.schema.metadata or {}
    found, version = (
        said.get(key, default).decode(errors="replace") for key, default in ((_KIND, kind.encode()), (_VERSION, b"0"))
    )
    if found != kind:
        raise InputError(f"{name} is a table of {listed([found])}; expected {kind}: give another file")
    if not version.isdecimal() or int(version) > SCHEMAS[kind].version:
        raise InputError(
            f"{name} has version {listed([version])} of the schema of {kind}; this germane knows up to "
            f"{SCHEMAS[kind].version}: update germane"
        )


def write_table(
    table: pa.Table,
    path: str | Path,
    kind: str,
    *,
    verb: str,
    inputs: Sequence[str | Path] = (),
    parameters: Mapping[str, Any],
    seed: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """The path of the parquet file, now in place whole, with its manifest beside it.

    extra: for the manifest, such as the origin of a run. The table's attribution is added to it.

    Raises: InputError where the table is not of its kind, or the file cannot be written.
    """
    import pyarrow.parquet as pq

    schema = SCHEMAS[kind]
    table = conform(table, kind, name=str(path))
    said = {_KIND: kind.encode(), _VERSION: str(schema.version).encode()}
    if (extra or {}).get("models"):  # whoever copies the file without its manifest still says what ranked it
        said[_MODELS] = json.dumps(sorted(map(str, (extra or {})["models"]))).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **said})
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True, dictionary_pagesize_limit=DICTIONARY)
    given = {"attribution": attribution(table)} if attribution(table) else {}
    write_manifest(
        path,
        verb=verb,
        inputs=inputs,
        parameters=parameters,
        seed=seed,
        schema=f"{kind} {schema.version}",
        rows=table.num_rows,
        extra={**given, **(extra or {})},
    )
    return Path(path)


def models(table: pa.Table) -> list[str]:
    """Fingerprints of the models that had a part in a run, as its own file says; none where it says nothing."""
    said = (table.schema.metadata or {}).get(_MODELS)
    try:
        return [str(model) for model in json.loads(said)] if said else []
    except ValueError:
        return []


def attribution(source: pa.Table | str | Path) -> str:
    """Whose data a table is, or a file by its manifest, and under which licence; "" where nothing says so."""
    if isinstance(source, (str, Path)):
        manifest = read_manifest(source)
        return str(manifest.extra.get("attribution") or "") if manifest else ""
    return (source.schema.metadata or {}).get(_ATTRIBUTION, b"").decode(errors="replace")


def attributed(table: pa.Table, text: str) -> pa.Table:
    """The table, carrying whose data it is."""
    if not text:
        return table
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _ATTRIBUTION: text.encode()})
