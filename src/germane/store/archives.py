"""Folders in one zip file that says what is in it, and back: nothing half-written, and nothing taken on trust.

Each file's SHA-256 stands in the archive's list. What is read back is checked against it, and a name that would leave the
folder, a link, or a small archive that unpacks to a large one is refused before a byte is written.
"""

from __future__ import annotations

import hashlib
import io
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
from typing import Any, BinaryIO, NamedTuple

from germane.store.files import explained, replacing, unreadable
from germane.types import InputError

LIST = "backup.json"
FORM = "germane backup 1"
CHUNK = 1 << 20
TIGHTEST, SLACK = 200, 64 << 20
"""How many times larger than the archive its files may be, with so many bytes for nothing: text packs to a twentieth."""

AGAIN = 5
"""How often a file that changes while it is read is read."""

_PAUSE, _FRESH = 0.05, 50_000_000  # seconds; nanoseconds in which a file's time may not tell two writes apart
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
        """A file as it is now. One that is only added to meanwhile is kept up to the length that it had; `grew` says which.

        Raises: InputError for a file that cannot be read, and for one that is rewritten again and again.
        """
        for left in reversed(range(AGAIN)):
            try:
                with path.open("rb") as source:
                    before = os.fstat(source.fileno())
                    if 0 <= time.time_ns() - before.st_mtime_ns < _FRESH:
                        time.sleep(_PAUSE)
                        before = os.fstat(source.fileno())
                    entry = self._write(name, source, before.st_size, _moment(before.st_mtime_ns))
                    after = os.fstat(source.fileno())
                    if _unchanged(before, after) and entry.size == before.st_size:
                        return
                    lines = PurePosixPath(name).suffix == ".jsonl"
                    if (lines or not left) and after.st_size > entry.size and _begins(source, entry):
                        self.grew.append(name)
                        return
            except OSError as problem:
                raise InputError(f"cannot read {path}: {unreadable(problem)}") from problem
            self._undo(name)
            time.sleep(_PAUSE)
        raise InputError(f"{path} is written all the time: back up when what writes it is done")

    def put(self, name: str, data: bytes, *, changed: int = 0) -> None:
        """A file with this content."""
        self._write(name, io.BytesIO(data), len(data), _moment(changed))

    def _write(self, name: str, source: BinaryIO, size: int, changed: int, *, packed: bool = True) -> Entry:
        """So many bytes of a file, fewer if it has no more; not packed where that is tighter than is read back."""
        digest, left = hashlib.sha256(), size
        info = self._info(name, packed=packed)
        with self._file.open(info, "w", force_zip64=size >= CHUNK) as target:
            while left and (piece := source.read(min(CHUNK, left))):
                digest.update(piece)
                target.write(piece)
                left -= len(piece)
        self.entries[name] = Entry(digest.hexdigest(), size - left, changed)
        if packed and info.file_size > info.compress_size * TIGHTEST:
            self._undo(name)
            source.seek(0)
            return self._write(name, source, size, changed, packed=False)
        return self.entries[name]

    def _undo(self, name: str) -> None:
        """The last file was not added: what comes next takes its place."""
        info = self._file.filelist.pop()
        del self._file.NameToInfo[info.filename], self.entries[name]
        self._file.start_dir = info.header_offset

    def _info(self, name: str, *, packed: bool = True) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, time.localtime()[:6])
        already = PurePosixPath(name).suffix.lower() in _PACKED
        info.compress_type = zipfile.ZIP_DEFLATED if packed and not already else zipfile.ZIP_STORED
        info.external_attr = (stat.S_IFREG | 0o600) << 16
        return info


def _unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def _begins(source: BinaryIO, entry: Entry) -> bool:
    """Whether a file begins with what was read of it."""
    source.seek(0)
    digest, left = hashlib.sha256(), entry.size
    while left and (piece := source.read(min(CHUNK, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest() == entry.sha256


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
        if stat.S_ISREG(os.fstat(target.fileno()).st_mode):
            target.truncate(target.tell())  # what was not added may have been longer


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
    """Whether a name is that of a file inside of a folder: no step up, here or on Windows, nor what this system lacks.

    >>> safe("reports/10:30 report."), safe("a/../../x"), safe("a\\\\..\\\\x")
    (True, False, False)
    """
    parts = PurePosixPath(name).parts
    plain = "/".join(parts) == name and not name.startswith("/") and "\0" not in name
    up = any(not part.strip(". ") for part in name.replace("\\", "/").split("/"))
    odd = os.name != "posix" and (bool(set(name) & set("\\:")) or any(part.endswith((" ", ".")) for part in parts))
    return bool(parts) and plain and not up and not odd


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
            raise InputError(
                f"{path}: the content of {name!r} is not what the backup's list says: it is damaged or was changed"
            )
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
