"""`watch run` in a process of its own that dies where it is told to. Forked from one that has loaded everything: fast."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

LOADED = ("duckdb", "pyarrow.compute", "pyarrow.parquet", "sqlalchemy.dialects.sqlite", "alembic.operations", "scipy.stats")
LOADED += ("germane.watching.job", "germane.report.render", "germane.pipeline.watch", "germane.cli", "jinja2", "typer")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(LOADED))


def started(folder: Path, now: datetime, *, dies: str = "", file_limit: int = 0) -> Any:
    """The process, begun. dies: the line of the log, or place in the writing of a day, at which it is killed.

    file_limit: bytes that a file may have, as on a disk that is full.
    """
    process = _FORKS.Process(target=_run, args=(str(folder), now, dies, file_limit, str(folder / "stderr.txt")))
    process.start()
    return process


def ended(process: Any) -> int:
    """Its exit code, -9 where it was killed."""
    process.join(120)
    code = process.exitcode
    process.close()
    assert code is not None
    return int(code)


def _run(folder: str, now: datetime, dies: str, file_limit: int, said: str) -> None:
    from germane import cli
    from germane.registry import database, days

    os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    if file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    database.open_registry = partial(database.open_registry, clock=lambda: now)  # type: ignore[assignment]
    logging.getLogger("germane").addHandler(_Killer(dies))
    logging.getLogger("germane").setLevel(logging.INFO)
    if dies.startswith("in the transaction"):
        table = dies.rpartition(": ")[2]
        days._put = _dying(days._put, lambda *given: given[1].name == table)
        days.put_up = _dying(days.put_up, lambda *given: table == "golden_draws")
    if dies == "after the transaction":
        days.write = _dying(days.write, lambda *given: True)
    sys.argv = ["germane", "watch", "run", "--project", folder]
    cli.main()


class _Killer(logging.Handler):
    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self.line:
            os.kill(os.getpid(), signal.SIGKILL)


def _dying(real: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., None]:
    def instead(*given: Any, **more: Any) -> None:
        real(*given, **more)
        if when(*given):
            os.kill(os.getpid(), signal.SIGKILL)

    return instead
