"""Files that appear whole or not at all: written beside their place, flushed, then renamed onto it."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from germane.types import InputError

_REASONS = {
    errno.EACCES: "permission denied: choose a folder that you may write to",
    errno.EPERM: "permission denied: choose a folder that you may write to",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EFBIG: "it would be larger than a file may be here: raise the limit (ulimit -f) or choose another file system",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder: give the name of a file",
    errno.ENAMETOOLONG: "the name is too long for this file system: choose a shorter one",
    errno.ENOENT: "the folder does not exist and cannot be made here",
}


def write_bytes(path: str | Path, data: bytes) -> Path:
    """The path, now holding exactly these bytes; a kill at any moment leaves the old file or the new one.

    Raises: InputError where the file cannot be written (no permission, full disk, a folder in its place).
    """
    with replacing(path) as file:
        file.write(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """The path, now holding exactly this text as UTF-8; see `write_bytes`."""
    return write_bytes(path, text.encode())


def create_bytes(path: str | Path, data: bytes) -> bool:
    """True if this made the file, whole; False if another was there first, which then stays as it is.

    Raises: InputError where the file cannot be written.
    """
    try:
        with _drafted(path, _place_first) as file:
            file.write(data)
    except _Taken:
        return False
    return True


@contextmanager
def replacing(path: str | Path, *, sweep: bool = True) -> Iterator[BinaryIO]:
    """A binary file to write; when the block ends well it takes the place of `path`, otherwise nothing changes.

    Missing folders are made. A pipe or a device, such as /dev/null, is written as it is. sweep: drafts of this file that a
    killed process left are removed first, which reads the whole folder.

    Raises: InputError where the file cannot be written.
    """
    with _drafted(path, os.replace, sweep=sweep) as file:
        yield file


@contextmanager
def numbering(name: Callable[[int], Path], first: int) -> Iterator[BinaryIO]:
    """A binary file to write; when the block ends well it stands at `name(n)` with the least n from `first` that is free.

    Raises: InputError where the file cannot be written.
    """

    def place(draft: Path, _: Path) -> None:
        number = first
        while True:
            try:
                return _place_first(draft, name(number))
            except _Taken:
                number += 1

    with _drafted(name(first).with_name("next"), place) as file:
        yield file


class _Taken(Exception):
    """The place of a new file is taken."""


@contextmanager
def _drafted(path: str | Path, place: Callable[[Path, Path], None], *, sweep: bool = True) -> Iterator[BinaryIO]:
    """A file beside `path` that is flushed to disk and then put in place by `place(draft, target)`."""
    with explained(path):
        target = Path(os.path.realpath(path))  # a link stays a link
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            with target.open("wb") as file:  # a folder fails here, by name
                yield file
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if sweep:
            _sweep(target)
        draft = target.with_name(f"{_draft_prefix(target)}{os.getpid()}-{os.urandom(4).hex()}.tmp")
        try:
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            place(draft, target)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        _flush_folder(target.parent)


def _place_first(draft: Path, target: Path) -> None:
    """Put the draft in a place that nobody has taken; where the file system has no links, claim it first, empty."""
    try:
        os.link(draft, target)
    except FileExistsError as error:
        raise _Taken from error
    except OSError:
        try:
            target.open("xb").close()
        except FileExistsError as error:
            raise _Taken from error
        os.replace(draft, target)


@contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """A block in which failing to write `path` raises an InputError that says why and what to do."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise InputError(f"cannot write {path}: {reason} (nothing half-written is left)") from error


def sha256(path: str | Path) -> str:
    """64 hex digits of a file's content; of a folder: of the names and digests of all files in it, sorted by name.

    Raises: InputError where it cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.endswith(".tmp"))
            lines = (f"{file.relative_to(path).as_posix()} {sha256(file)}\n" for file in files)
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {unreadable(error)}") from error


def unreadable(error: OSError) -> str:
    """Why a file cannot be read, and what to do, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file: check the path"
    if isinstance(error, IsADirectoryError):
        return "it is a folder: give the name of a file"
    if isinstance(error, PermissionError):
        return "permission denied: ask its owner for the right to read it"
    return error.strerror or str(error)


def _draft_prefix(target: Path) -> str:
    return f".{target.name[:80]}.{platform.node()[:40]}."


def _sweep(target: Path) -> None:
    """Remove the drafts of this file that a killed process on this machine left behind."""
    if os.name != "posix":  # elsewhere asking whether a process lives can end it
        return
    prefix = _draft_prefix(target)
    for draft in target.parent.iterdir():
        if draft.name.startswith(prefix) and draft.name.endswith(".tmp"):
            pid = draft.name[len(prefix) :].partition("-")[0]
            if pid.isdecimal() and not _alive(int(pid)):
                draft.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
