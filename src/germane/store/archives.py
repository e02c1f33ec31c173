"""Folders in one zip file that says what is in it, and back: nothing half-written, and nothing taken on trust.

Each file's SHA-256 stands in the archive's list. What is read back is checked against it, and a name that would leave the
folder, a link, or a small archive that unpacks to a large one is refused before a byte is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from germane.store.files import explained, replacing, unreadable
from germane.types import InputError

LIST = "backup.json"
FORM = "germane backup 1"
CHUNK = 1 << 20
SMALL = 64 << 20
"""Bytes of a file that is read at once, and again where it changes meanwhile."""

TIGHTEST, SLACK = 200, 64 << 20
"""How many times larger than the archive its files may be, with so many bytes for nothing: text packs to a twentieth."""

AGAIN = 5
_PACKED = {".parquet", ".zip", ".gz", ".zst", ".png", ".jpg", ".jpeg", ".webp", ".safetensors", ".onnx", ".npy", ".whl"}


DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
)
"""What reading a zip file, or JSON, that someone damaged raises, beside OSError."""

_MOMENTS = 1 << 63  # nanoseconds that a file's time may lie from 1970, either way


class Entry(NamedTuple):
    """A file of an archive. changed: when its content last changed, in nanoseconds."""

    sha256: str
    size: int
    changed: int


class Archive:
    """An archive that is being written."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self.entries: dict[str, Entry] = {}
        self.grew: list[str] = []

    def add(self, name: str, path: Path) -> None:
        """A file as it is now. One that grows meanwhile is kept up to the length that it had; `grew` says which.

        Raises: InputError for a file that cannot be read, and for one that is rewritten again and again.
        """
        for _ in range(AGAIN):
            try:
                with path.open("rb") as source:
                    before = os.fstat(source.fileno())
                    if before.st_size > SMALL:
                        entry = self._streamed(name, source, before)
                        self._check(name, path, before, os.fstat(source.fileno()), final=True)
                        self.entries[name] = entry
                        return
                    data = source.read(before.st_size)
                    if len(data) == before.st_size and self._check(name, path, before, os.fstat(source.fileno())):
                        self.put(name, data, changed=before.st_mtime_ns)
                        return
            except OSError as problem:
                raise InputError(f"cannot read {path}: {unreadable(problem)}") from problem
            time.sleep(0.05)
        raise InputError(f"{path} is written all the time: back up when what writes it is done")

    def put(self, name: str, data: bytes, *, changed: int = 0) -> None:
        """A file with this content."""
        with self._file.open(self._info(name), "w") as target:
            target.write(data)
        self.entries[name] = Entry(hashlib.sha256(data).hexdigest(), len(data), _moment(changed))

    def _streamed(self, name: str, source: Any, before: os.stat_result) -> Entry:
        digest, left = hashlib.sha256(), before.st_size
        with self._file.open(self._info(name), "w", force_zip64=True) as target:
            while left and (piece := source.read(min(CHUNK, left))):
                digest.update(piece)
                target.write(piece)
                left -= len(piece)
        if left:
            raise InputError(f"{name} became shorter while it was read: back up when what writes it is done")
        return Entry(digest.hexdigest(), before.st_size, _moment(before.st_mtime_ns))

    def _check(self, name: str, path: Path, before: os.stat_result, after: os.stat_result, *, final: bool = False) -> bool:
        """Whether a file is as it was, but for what was added at its end."""
        if before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size:
            return True
        if after.st_size > before.st_size:
            self.grew.append(name)
            return True
        if final:
            raise InputError(f"{path} is rewritten while it is read: back up when what writes it is done")
        return False

    def _info(self, name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, time.localtime()[:6])
        packed = PurePosixPath(name).suffix.lower() in _PACKED
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        info.external_attr = (stat.S_IFREG | 0o600) << 16
        return info


@contextmanager
def writing(path: Path, about: dict[str, Any]) -> Iterator[Archive]:
    """An archive to fill; when the block ends well it stands at the path, which only its owner may read, with its list.

    about: what else the list says; the block may add to it.
    Raises: InputError where the file cannot be written.
    """
    with replacing(path) as target:
        if os.name == "posix":
            os.fchmod(target.fileno(), 0o600)
        with zipfile.ZipFile(target, "w", allowZip64=True) as file:
            archive = Archive(file)
            yield archive
            said = {"form": FORM, **about, "files": {name: entry._asdict() for name, entry in archive.entries.items()}}
            with file.open(archive._info(LIST), "w") as out:
                out.write(json.dumps(said, indent=1, ensure_ascii=False).encode())


def about(path: Path) -> dict[str, Any]:
    """What an archive's list says; its names are safe, and are those of the archive.

    Raises: InputError for a file that is none, and for one that would write outside of its folder or fill the disk.
    """
    with _reading(path) as file:
        return _about(path, file)


def unpack(path: Path, into: Path) -> dict[str, Any]:
    """What an archive's list says, once all of its files are in a folder, which is empty, as they were.

    Raises: InputError as `about`, for a file whose content is another than the list says, and for a disk that is too small.
    """
    with _reading(path) as file:
        said = _about(path, file)
        entries = {name: Entry(**found) for name, found in said["files"].items()}
        room(into, sum(entry.size for entry in entries.values()))
        for name, entry in entries.items():
            _unpack(path, file, name, entry, into)
    return said


@contextmanager
def _reading(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive to read. Raises: InputError for one that is not there, and for whatever is damaged in it."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except InputError:  # which is a ValueError
        raise
    except OSError as problem:
        raise InputError(f"cannot read {path}: {unreadable(problem)}") from problem
    except DAMAGED as problem:
        raise _broken(path) from problem


def room(folder: Path, needed: int) -> None:
    """Raises: InputError where a folder's disk has less free."""
    there = next(each for each in (folder, *folder.resolve().parents) if each.is_dir())
    if (free := shutil.disk_usage(there).free) < needed + CHUNK:
        raise InputError(
            f"{needed / 1e6:,.0f} MB are needed in {there}, and {free / 1e6:,.0f} MB are free: make room, or name another place"
        )


def not_a_bomb(path: str | Path, packed: int, infos: list[zipfile.ZipInfo]) -> None:
    """Raises: InputError for an archive whose files are far larger than it, or packed as no backup packs them."""
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in infos):
        raise InputError(f"{path} is packed as no backup is: give a file that germane wrote")
    if (size := sum(info.file_size for info in infos)) > packed * TIGHTEST + SLACK:
        raise InputError(f"{path} has {packed:,} bytes and would unpack to {size:,}: no backup packs so tightly; it is refused")


def safe(name: str) -> bool:
    """Whether a name is that of a file inside of a folder, whatever system it is written on."""
    parts = PurePosixPath(name).parts
    plain = "/".join(parts) == name and not name.startswith("/")
    return (
        bool(parts)
        and plain
        and not any(p in ("..", ".") or p.endswith((" ", ".")) for p in parts)
        and not set(name) & set("\\:\0")
    )


def _about(path: Path, file: zipfile.ZipFile) -> dict[str, Any]:
    infos = file.infolist()
    not_a_bomb(path, path.stat().st_size, infos)
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        raise _broken(path)
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not safe(info.filename) or kind not in (0, stat.S_IFREG):
            raise InputError(f"{path} holds {info.filename!r}, which is no file inside of a project: it is refused")
    found = json.loads(file.read(LIST))
    said = found["files"]
    whole = found["form"] == FORM and set(said) | {LIST} == set(names)
    sizes = {info.filename: info.file_size for info in infos}
    if not whole or any(not _fits(Entry(**entry), sizes[name]) for name, entry in said.items()):
        raise _broken(path)
    folders = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
    if folders & set(names):
        raise _broken(path)
    return dict(found)


def _fits(entry: Entry, size: int) -> bool:
    """Whether an entry of a list can be that of a file of so many bytes."""
    plain = type(entry.sha256) is str and type(entry.size) is int and type(entry.changed) is int
    return plain and entry.size == size and -_MOMENTS < entry.changed < _MOMENTS


def _unpack(path: Path, file: zipfile.ZipFile, name: str, entry: Entry, into: Path) -> None:
    target = into / name
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with file.open(name) as source, target.open("xb") as out:
            while piece := source.read(CHUNK):
                digest.update(piece)
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
        if digest.hexdigest() != entry.sha256:
            raise InputError(f"{path}: the content of {name!r} is not what the backup's list says: it is damaged or was changed")
        if entry.changed > 0:
            os.utime(target, ns=(entry.changed, entry.changed))


def _moment(nanoseconds: int) -> int:
    """A file's time, or 0 for one that no list takes."""
    return nanoseconds if -_MOMENTS < nanoseconds < _MOMENTS else 0


def _broken(path: Path) -> InputError:
    return InputError(f"{path} is no whole backup of a project: give a file that `germane backup` wrote")


def described(entries: Mapping[str, Entry]) -> tuple[int, int]:
    """How many files there are, and their bytes."""
    return len(entries), sum(entry.size for entry in entries.values())
