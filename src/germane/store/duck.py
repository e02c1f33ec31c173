"""DuckDB over Arrow tables, for joins that may not fit in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

MEMORY_SHARE = 0.5  # of the machine, for one join; what does not fit goes to a temporary folder
MAX_THREADS = 16


@contextmanager
def database(**tables: Any) -> Iterator[Callable[[str], pa.Table]]:
    """A function from SQL to an Arrow table, over these Arrow tables by name; see `connected`."""
    with connected() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        yield lambda sql: connection.sql(sql).to_arrow_table()


@contextmanager
def connected(most: int | None = None) -> Iterator[Any]:
    """A connection to an empty database in memory, which spills to a folder that goes away. most: bytes that it may hold.

    Raises: InputError where a join needs more memory and temporary disk than there is.
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="germane-") as spill:
        settings: dict[str, Any] = {
            "temp_directory": spill,
            "threads": threads(),
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
        if memory := min(_memory(), most or _memory()):
            settings["memory_limit"] = f"{memory >> 20}MiB"
        connection = duckdb.connect(":memory:", config=settings)
        try:
            yield connection
        except duckdb.OutOfMemoryException as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"not enough memory or temporary disk space for this join: {reason}") from error
        finally:
            connection.close()


def threads() -> int:
    """Processors that this process may use."""
    known = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(known, MAX_THREADS)


def _memory() -> int:
    """Bytes that one join may hold; 0 where the system does not say how much there is."""
    try:
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE)
    except (AttributeError, ValueError, OSError):
        return 0
