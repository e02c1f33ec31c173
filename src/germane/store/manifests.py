"""Manifests: what a file was made from, beside it, so that a number can be traced and the same work is not done twice.

The file is put in place first and its manifest after it. A manifest holds the digest of the file that it speaks of; if a
kill falls between the two, or somebody replaces the file, the digests differ and the manifest counts as absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from germane.store import sealed
from germane.store.files import sha256, unreadable, write_text
from germane.types import InputError, decode

_SECRET = re.compile(r"(password|passwd|secret|api_?key|credential|authorization|access_?key|(^|_)token$)", re.IGNORECASE)
_LOGIN_IN_URL = re.compile(r"(\w+://)[^\s/@]+@")


class InputFile(NamedTuple):
    """A file that went in: its path as given, the digest of its content, its rows where that is cheap to know."""

    path: str
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What one file was made from. It holds no time and no secret, so that the same work gives the same bytes."""

    verb: str
    inputs: tuple[InputFile, ...]
    parameters: Mapping[str, Any]
    seed: int | None
    version: str
    schema: str  # kind and version of the table, such as "runs 1"; "" for what is no table
    rows: int | None
    sha256: str  # of the file itself
    extra: Mapping[str, Any] = field(default_factory=dict)  # origin of a run, attribution, notes

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def manifest_path(path: str | Path) -> Path:
    """Where the manifest of a file stands."""
    return Path(f"{path}.manifest.json")


def write_manifest(
    path: str | Path,
    *,
    verb: str,
    inputs: Sequence[str | Path],
    parameters: Mapping[str, Any],
    seed: int | None = None,
    schema: str = "",
    rows: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Manifest:
    """The manifest of a file that is already in place, now written beside it. Secrets are left out.

    Of an input that is a sealed golden test, it says how often that was read by now (extra "test_reads").

    Raises: InputError where an input cannot be read or the manifest cannot be written.
    """
    used = tuple(InputFile(Path(p).as_posix(), sha256(p), _rows(p)) for p in inputs)
    told = dict(extra or {}) | ({"test_reads": reads} if (reads := sealed.counted(inputs)) else {})
    manifest = Manifest(verb, used, plain(parameters), seed, _version(), schema, rows, sha256(path), plain(told))
    write_text(manifest_path(path), manifest.to_json())
    return manifest


def read_manifest(path: str | Path) -> Manifest | None:
    """The manifest of a file; None if it has none, or has one that speaks of other content than the file now has.

    Raises: InputError where the manifest is there and is not one.
    """
    place = manifest_path(path)
    try:
        text = place.read_text(encoding="utf-8")
        manifest = decode(Manifest, json.loads(text))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {place}: {unreadable(error)}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{place} is not a manifest ({error}): delete it; the file it stands beside stays as it is") from error
    if not Path(path).exists() or sha256(path) != manifest.sha256:
        return None
    return manifest if isinstance(manifest, Manifest) else None


def not_among(out: str | Path, inputs: Iterable[str | Path | None]) -> None:
    """Raises: InputError where `out` is one of the files that are read: writing it would destroy that."""
    place = Path(out).resolve()
    for path in inputs:
        if path is not None and str(path) != "-" and Path(path).resolve() == place:
            raise InputError(f"{out} is a file that this reads, and it would be written over: name another for what comes out")


def up_to_date(
    out: str | Path,
    *,
    verb: str,
    inputs: Sequence[str | Path],
    parameters: Mapping[str, Any],
    seed: int | None = None,
) -> bool:
    """True if `out` was made by this version of germane, from the same content with the same parameters, and is unchanged.

    Raises: InputError where an input cannot be read, and where `out` is one of them: it would be lost.
    """
    not_among(out, inputs)
    digests = [sha256(p) for p in inputs]
    try:
        manifest = read_manifest(out)
    except InputError:
        return False
    return manifest is not None and (
        (manifest.verb, manifest.version, manifest.seed) == (verb, _version(), seed)
        and [i.sha256 for i in manifest.inputs] == digests
        and manifest.parameters == plain(parameters)
    )


def plain(value: Any) -> Any:
    """The value as JSON can hold it, with what looks like a password, key or token replaced by "***"."""
    if isinstance(value, Mapping):
        return {str(k): "***" if v and _SECRET.search(str(k)) else plain(v) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=str)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "item") and not isinstance(value, str):
        return plain(value.item())  # a NumPy number
    return _LOGIN_IN_URL.sub(r"\1***@", value.as_posix() if isinstance(value, Path) else str(value))


def _rows(path: str | Path) -> int | None:
    if Path(path).suffix != ".parquet" or not Path(path).is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        return None


def _version() -> str:
    from importlib.metadata import version

    return version("germane")
