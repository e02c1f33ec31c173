"""What a path holds, before anybody knows what it is: bytes from a file, a gzip or standard input, and a first look."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from germane.store.files import unreadable
from germane.types import InputError

_LOOK = 1 << 16


class Content:
    """A file, a gzipped file or standard input ("-"), readable more than once.

    name: for messages. suffix: lower case, without ".gz". head: the first 64 KiB, unzipped.

    Raises: InputError where it is missing, unreadable or empty, or is not UTF-8 text.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = None if str(path) == "-" else Path(path)
        self.name = "standard input" if self.path is None else str(path)
        suffixes = [] if self.path is None else [s.lower() for s in self.path.suffixes]
        self.zipped = bool(suffixes) and suffixes[-1] == ".gz"
        self.suffix = "".join(suffixes[:-1][-1:] if self.zipped else suffixes[-1:])
        self.stem = "stdin" if self.path is None else self.path.name.removesuffix(".gz").rsplit(".", 1)[0]
        self._drained = self._drain()
        with self.open() as stream:
            self.head = stream.read(_LOOK)
        if not self.head.strip():
            raise InputError(f"{self.name} is empty: expected at least one row")

    def open(self) -> BinaryIO:
        """A new stream of its bytes, unzipped, from the start."""
        if self._drained is not None or self.path is None:
            return io.BytesIO(self._drained or b"")
        with self._explained():
            return self.path.open("rb")

    def _drain(self) -> bytes | None:
        """All the bytes of what is not read twice from disk: standard input, a named pipe, a gzip; None of other files."""
        with self._explained():
            if self.path is None:
                return sys.stdin.buffer.read()
            if self.path.is_dir():
                raise IsADirectoryError
            if self.zipped:
                return gzip.decompress(self.path.read_bytes())
            return self.path.read_bytes() if self.path.is_fifo() else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except gzip.BadGzipFile as error:
            raise InputError(f"{self.name} is no gzip ({error}): take .gz off its name, or zip it again") from error
        except (EOFError, zlib.error) as error:
            raise InputError(f"{self.name} is not a whole gzip ({error}): zip or copy it again") from error
        except OSError as error:
            raise InputError(f"cannot read {self.name}: {unreadable(error)}") from error

    @property
    def place(self) -> str:
        """Its path if it can be read again, else ""."""
        return str(self.path) if self.path is not None and self.path.is_file() else ""

    @cached_property
    def data(self) -> bytes:
        """All its bytes, unzipped."""
        with self.open() as stream:
            return stream.read()

    @property
    def is_parquet(self) -> bool:
        """True if it begins as parquet files do."""
        return self.head.startswith(b"PAR1")

    def lines(self) -> list[bytes]:
        """Its lines without their ends and without a byte order mark.

        Raises: InputError naming the first line that is not UTF-8.
        """
        lines = self.data.removeprefix(b"\xef\xbb\xbf").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                found = f"byte 0x{line[error.start]:02x} at position {error.start + 1}"
                raise InputError(
                    f"{self.name}, line {number:,}: found {found}; expected UTF-8 text: save it as UTF-8"
                ) from None
        return lines

    def require_text(self) -> None:
        """Nothing, if it looks like text in UTF-8.

        Raises: InputError for UTF-16 and for binary files.
        """
        if self.head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{self.name} is UTF-16; expected UTF-8 text: save it as UTF-8")
        if b"\0" in self.head:
            raise InputError(f"{self.name} holds zero bytes and is no text; expected UTF-8 text or parquet")
