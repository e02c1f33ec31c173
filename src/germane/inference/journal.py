"""Binary files that grow together: what was added at once is there whole or not at all, and is known again by its digest.

A log says after each block how long every file is and what the block holds. A block counts once its line is on disk; bytes
after the last line are what a killed process left, and the next writer writes over them. Readers map the files as they are,
and stay valid while others add. Each digest is over the one before it too, so that no block can take another's place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.store.files import explained, unreadable
from germane.types import InputError

try:
    import fcntl
except ImportError:  # Windows, where two writers of one folder are the user's to avoid
    fcntl = None  # type: ignore[assignment]

_PIECE = 1 << 24
_AGAIN = "copy the folder again, or remove it and run `germane encode`"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A block that only one process runs for a folder; others wait. The system lets go of it when the process ends."""
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("ab")
    with file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Journal:
    """The files `names` of one generation in a folder. about: what they belong to; another one makes other digests.

    verify: every byte is read once and compared with its digest. new: begins the files, where none are.

    Raises: InputError where a file is missing, cut short, or not what was written.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], *, generation: int, about: str, verify: bool = True, new: bool = False
    ) -> None:
        self.folder, self.names, self.generation, self._verify = folder, tuple(names), generation, verify
        self.sizes = dict.fromkeys(self.names, 0)
        self.blocks = 0
        self._digest = hashlib.sha256(about.encode()).hexdigest()
        self._read = 0  # bytes of the log
        if new:
            with explained(self.path("log")):
                self.path("log").open("ab").close()
        self.refresh()

    def path(self, name: str) -> Path:
        return self.folder / f"{name}-{self.generation}.{'jsonl' if name == 'log' else 'bin'}"

    def refresh(self) -> bool:
        """Takes in the blocks that were added since; whether there were any."""
        before = self.blocks
        try:
            with self.path("log").open("rb") as log:
                log.seek(self._read)
                lines = log.read()
        except FileNotFoundError as problem:
            raise InputError(f"{self.path('log')} is missing, and says what the files beside it hold: {_AGAIN}") from problem
        except OSError as problem:
            raise InputError(f"cannot read {self.path('log')}: {unreadable(problem)}") from problem
        whole = lines[: lines.rfind(b"\n") + 1]  # what follows was never finished
        if whole:
            self._take(whole)
        return self.blocks > before

    def append(self, parts: Mapping[str, bytes | memoryview]) -> None:
        """Adds a block: bytes for each file. Only under `locked`, after `refresh`.

        Raises: InputError where it cannot be written; then nothing was added.
        """
        sizes, digest = dict(self.sizes), hashlib.sha256(self._digest.encode())
        try:
            for name in self.names:
                part = parts.get(name, b"")
                with explained(self.path(name)):
                    _write(self.path(name), sizes[name], part)
                digest.update(part)
                sizes[name] += len(part)
            line = json.dumps({"sizes": [sizes[name] for name in self.names], "digest": digest.hexdigest()}) + "\n"
            with explained(self.path("log")):
                _write(self.path("log"), self._read, line.encode(), always=True)
        except InputError:
            for name, size in (*self.sizes.items(), ("log", self._read)):
                with suppress(OSError):
                    os.truncate(self.path(name), size)
            raise
        self.sizes, self._digest = sizes, digest.hexdigest()
        self._read += len(line.encode())
        self.blocks += 1

    def mapped(self, name: str, dtype: Any, width: int | None = None) -> NDArray[Any]:
        """A file as an array in read-only mapped memory: (n,), or (n, width)."""
        kind = np.dtype(dtype)
        rows = self.sizes[name] // (kind.itemsize * (width or 1))
        shape = (rows,) if width is None else (rows, width)
        if not rows:
            return np.zeros(shape, dtype=kind)
        return np.asarray(np.memmap(self.path(name), kind, "r", shape=shape))  # a plain array, which is quicker to index

    def remove(self) -> None:
        """Takes the files away. Whoever has them mapped keeps what is mapped."""
        for name in ("log", *self.names):
            with suppress(OSError):
                self.path(name).unlink(missing_ok=True)

    def _take(self, whole: bytes) -> None:
        blocks = [self._said(line) for line in whole.splitlines()]
        for name, size in zip(self.names, blocks[-1][0], strict=True):
            if (there := self._length(name)) < size:
                raise InputError(f"{self.path(name)} is cut short: it has {there:,} of {size:,} bytes: {_AGAIN}")
        for sizes, digest in blocks:
            self.blocks += 1
            if self._verify and digest != self._found(sizes):
                raise InputError(
                    f"{self.folder}: block {self.blocks:,} of its vectors is not what was written there (a file was changed, "
                    f"swapped, or belongs to another student): {_AGAIN}"
                )
            self.sizes, self._digest = dict(zip(self.names, sizes, strict=True)), digest
        self._read += len(whole)

    def _said(self, line: bytes) -> tuple[list[int], str]:
        try:
            said = json.loads(line)
            sizes, digest = [int(size) for size in said["sizes"]], str(said["digest"])
            if len(sizes) != len(self.names):
                raise ValueError
        except (ValueError, KeyError, TypeError) as problem:
            raise InputError(f"{self.path('log')} is damaged, and says what the files beside it hold: {_AGAIN}") from problem
        return sizes, digest

    def _found(self, sizes: Sequence[int]) -> str:
        digest = hashlib.sha256(self._digest.encode())
        for name, end in zip(self.names, sizes, strict=True):
            at = self.sizes[name]
            if end > at:
                with self.path(name).open("rb") as file:
                    file.seek(at)
                    while at < end and (part := file.read(min(_PIECE, end - at))):
                        digest.update(part)
                        at += len(part)
        return digest.hexdigest()

    def _length(self, name: str) -> int:
        return self.path(name).stat().st_size if self.path(name).exists() else 0


def _write(path: Path, at: int, part: bytes | memoryview, *, always: bool = False) -> None:
    """Puts bytes at a place, cuts off what stood after it, and waits until they are on disk."""
    if not len(part) and not always:
        return
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(at)
        file.seek(at)
        file.write(part)
        file.flush()
        os.fsync(file.fileno())
