"""A job's finished blocks on disk: each is there whole or not at all, so that a killed job goes on where it stood."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from germane.store import write_text
from germane.store.files import explained, replacing
from germane.store.tables import explained_parquet
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

try:
    import fcntl
except ImportError:  # Windows, where two jobs on one output are the user's to avoid
    fcntl = None  # type: ignore[assignment]

_SECONDS, _FAILURES = b"germane.seconds", b"germane.failures"


class Blocks:
    """A folder with one parquet file a finished block, for one job at a time.

    work: what decides the answers. Blocks that were made by other work are removed when the folder is opened.

    Raises: InputError, when entered, while another process has the folder open.
    """

    def __init__(self, folder: Path, work: Mapping[str, Any]) -> None:
        self.folder, self.work = folder, json.dumps(work, sort_keys=True, ensure_ascii=False, default=str)
        self._lock: BinaryIO | None = None

    def __enter__(self) -> Self:
        with explained(self.folder):
            self._lock = self._locked()
        about = self.folder / "work.json"
        if not about.is_file() or about.read_text(encoding="utf-8") != self.work:
            self.clear()
            write_text(about, self.work)
        for draft in self.folder.glob(".*.tmp"):  # of a job that was killed while it wrote
            draft.unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        if problem is not None and not any(self.folder.glob("*.parquet")):
            self.remove()  # refused before anything was done: nothing is left of it
        if self._lock is not None:
            self._lock.close()

    def has(self, number: int, rows: int) -> bool:
        """True if this block is finished, with so many rows; one that cannot be read, to the last byte, is not."""
        if not self._part(number).is_file():
            return False
        try:
            return self.read(1, number)[0].num_rows == rows
        except (InputError, KeyError, ValueError):
            return False

    @property
    def digest(self) -> str:
        """Names the work."""
        return hashlib.sha256(self.work.encode()).hexdigest()

    def failures(self, number: int) -> int:
        """How many pairs of a finished block broke the judge."""
        import pyarrow.parquet as pq

        return int((pq.read_schema(self._part(number)).metadata or {}).get(_FAILURES, b"0"))

    def commit(self, number: int, table: pa.Table, *, seconds: float, failures: int = 0) -> None:
        """Puts a block in place. seconds: that it took, to be added up over all calls of a job that was killed.

        failures: pairs of it that broke the judge.

        Raises: InputError where it cannot be written.
        """
        import pyarrow.parquet as pq

        with replacing(self._part(number), sweep=False) as file:
            said = {_SECONDS: repr(max(seconds, 0.0)).encode(), _FAILURES: str(failures).encode()}
            told = table.replace_schema_metadata(said)
            pq.write_table(told, file, compression="zstd", write_page_checksum=True)

    def read(self, count: int, first: int = 0) -> tuple[pa.Table, list[float]]:
        """`count` blocks from the first as one table, text as dictionaries, which keeps it small; and the seconds of each.

        Raises: InputError where one cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables, seconds = [], []
        for number in range(first, first + count):
            path = self._part(number)
            with explained_parquet(path):
                schema = pq.read_schema(path)
                texts = [field.name for field in schema if pa.types.is_string(field.type)]
                table = pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True).read()
            seconds.append(float((schema.metadata or {})[_SECONDS]))
            tables.append(table.replace_schema_metadata(None))
        return pa.concat_tables(tables).unify_dictionaries(), seconds

    def clear(self) -> None:
        """Takes away what is finished."""
        for old in self.folder.glob("*.parquet"):
            old.unlink()

    def remove(self) -> None:
        """Takes the folder away, once the result is in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def left_over(self) -> None:
        """Takes the folder away if it is of this work, which is done: a kill came after the last step but this."""
        about = self.folder / "work.json"
        with contextlib.suppress(OSError, InputError):
            if about.read_text(encoding="utf-8") == self.work:
                with self:
                    self.remove()

    def _part(self, number: int) -> Path:
        return self.folder / f"part-{number:08d}.parquet"

    def _locked(self) -> BinaryIO:
        """An open file that no other process holds; the system lets go of it when this process ends, however it ends."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / "lock"
            file = path.open("ab")
            if fcntl is None:
                return file
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                file.close()
                raise InputError(
                    f"another germane label is at work on {self.folder}: wait for it, or name another --out"
                ) from problem
            with contextlib.suppress(FileNotFoundError):  # the job before removed the folder between the two steps
                if os.stat(path).st_ino == os.fstat(file.fileno()).st_ino:
                    return file
            file.close()
