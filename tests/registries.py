"""Registries to test with: one in a file, one on a PostgreSQL server that the tests start themselves, and what to put in."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from glob import glob
from pathlib import Path

import pytest

from germane.registry import accounts, tasks
from germane.registry.database import Registry
from germane.registry.tasks import Asked, NewPair, TaskKind
from germane.scales import get

PASSWORD = "correct horse"


def _quick_hasher() -> object:
    """Argon2 as it is, with little memory and one pass: tests log in hundreds of times."""
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)


accounts._hasher = cache(_quick_hasher)  # type: ignore[assignment]


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.at = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, **time: float) -> None:
        self.at += timedelta(**time)


def binaries() -> Path | None:
    """Where PostgreSQL's programs are: GERMANE_PG_BIN, or the newest that is installed."""
    if named := os.environ.get("GERMANE_PG_BIN"):
        return Path(named)
    found = [Path(path).parent for path in (shutil.which("initdb"), *sorted(glob("/usr/lib/postgresql/*/bin/initdb"))) if path]
    return found[-1] if found else None


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server of our own, on a socket in a temporary folder; skips with a reason where there is none to start."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL's initdb is not here: install the server's package to test with it")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'germane[postgres]'")
    become: dict[str, int] = {}
    if os.name == "posix" and os.geteuid() == 0:  # the server refuses to run as root
        try:
            who = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        become = {"user": who.pw_uid, "group": who.pw_gid}
    with tempfile.TemporaryDirectory(prefix="germane-pg-", ignore_cleanup_errors=True) as folder:
        if become:
            os.chown(folder, become["user"], become["group"])
        data, options = f"{folder}/data", f"-k {folder} -c listen_addresses='' -c max_connections=120"

        def run(*command: str) -> None:
            subprocess.run(command, check=True, capture_output=True, cwd=folder, **become)  # type: ignore[call-overload]

        run(str(programs / "initdb"), "-D", data, "-U", "germane", "-A", "trust", "-E", "UTF8", "--locale=C")
        run(str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://germane@/postgres?host={folder}"
        finally:
            run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")


def new_database(url: str, name: str) -> str:
    """The URL of a new database of a server."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.replace("/postgres?", f"/{name}?")


def team(registry: Registry, **roles: str) -> dict[str, accounts.Account]:
    """Accounts by name, as `team(registry, ana="rater")`."""
    return {name: accounts.add(registry, name, role, PASSWORD, actor="test") for name, role in roles.items()}


def some_pairs(n: int, *, controls: int = 0, per_query: int = 5) -> list[NewPair]:
    """n pairs, and so many hidden controls with grade 2."""
    made = [
        NewPair(
            f"q{i // per_query}",
            f"d{i}",
            f"query number {i // per_query}",
            (("title", f"Item {i}"), ("brand", "Acme"), ("description", f"What item {i} is.")),
            stratum="head" if i % 2 else "tail",
            more={"inclusion_probability": 0.25},
        )
        for i in range(n)
    ]
    return made + [NewPair("qc", f"c{i}", "a known query", (("title", f"Known item {i}"),), control=2) for i in range(controls)]


def a_task(registry: Registry, n: int = 6, *, controls: int = 0, name: str = "golden", **asked: object) -> tasks.Task:
    """A golden task with n pairs on ESCI's scale."""
    given = some_pairs(n, controls=controls)
    options = Asked(**asked)  # type: ignore[arg-type]
    columns = {"inclusion_probability": "double"}
    loaded = tasks.load(registry, name, TaskKind.GOLDEN, get("esci"), given, options, columns=columns, actor="test")
    return loaded.task
