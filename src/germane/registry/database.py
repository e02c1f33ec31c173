"""Where the registry lies: SQLite by default, PostgreSQL by its URL; opened, migrated, and read or written in transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError

from germane.extras import needs
from germane.ops.urls import place, without_secrets
from germane.registry.migrations import migrate
from germane.registry.tables import log
from germane.types import InputError

DEFAULT = "registry.sqlite"
BUSY_SECONDS = 20
CACHE = 16_384  # KiB of a connection, as far as it reads: a chart of years is read from thousands of places
_READ = "germane_read"


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Registry:
    """An open registry. `reading` and `writing` are transactions; what `writing` acknowledges survives a power cut."""

    engine: sa.Engine
    clock: Callable[[], datetime] = now
    _one_writer: threading.RLock = field(default_factory=threading.RLock)

    @property
    def name(self) -> str:
        """Where it lies, without a password."""
        return place(self.engine.url.render_as_string(hide_password=False))

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view of everything, however many statements read it."""
        options: dict[str, Any] = {_READ: True}
        if not self.is_sqlite:
            options["isolation_level"] = "REPEATABLE READ"
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is written whole, to the disk, when the block ends well, and else not at all."""
        if self.is_sqlite:  # one writer at a time anyway: queue here rather than poll a lock
            with self._one_writer, self.engine.begin() as connection:
                yield connection
        else:
            with self.engine.begin() as connection:
                yield connection

    def close(self) -> None:
        self.engine.dispose()


def open_registry(where: str | Path | None = None, *, clock: Callable[[], datetime] = now) -> Registry:
    """The registry at a path (SQLite) or a URL (postgresql://...), made if it is new and brought to this version's tables.

    Raises: InputError for a URL that is none, a server that does not answer, a file that is no registry, or one of a newer
    germane. No message holds a password.
    """
    needs("web", "sqlalchemy", "alembic", by="the registry")
    engine = connect(where)
    try:
        registry = Registry(engine, clock)
        with registry.writing() as connection:
            if not registry.is_sqlite:  # two servers that start at once: one migrates, the other waits
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(4741646)"))
            migrate(connection)
    except DBAPIError as problem:
        engine.dispose()
        url = engine.url.render_as_string(hide_password=False)
        raise InputError(f"the registry {place(url)}: {without_secrets(_said(problem), str(where or url))}") from None
    return registry


def connect(where: str | Path | None = None) -> sa.Engine:
    """An engine for the registry, nothing read yet.

    Raises: InputError for a URL that is none, and for a folder that is not there.
    """
    text = str(where or DEFAULT)
    if "://" not in text:
        path = Path(text)
        if path.is_dir() or not path.resolve().parent.is_dir():
            raise InputError(f"--registry {path}: expected the name of a file in a folder that is there, or postgresql://...")
        url = sa.URL.create("sqlite", database=str(path))
    else:
        try:
            url = sa.make_url(text)
        except (ArgumentError, ValueError):  # the latter of a port that is no number
            raise InputError("--registry: not a URL; expected postgresql://USER@HOST/DATABASE, or a file's name") from None
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(url)
        case "postgresql" | "postgres":
            needs("postgres", "psycopg", by="a registry on PostgreSQL")
            url = url.set(drivername="postgresql+psycopg")
            return sa.create_engine(
                url, pool_size=10, max_overflow=30, pool_pre_ping=True, connect_args={"connect_timeout": 10}
            )
    raise InputError(f"--registry: {url.get_backend_name()!r} is no database known here; expected postgresql://... or a file")


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, pool_size=40)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {BUSY_SECONDS * 1000}",
            f"cache_size = -{CACHE}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        kind = "DEFERRED" if connection.get_execution_options().get(_READ) else "IMMEDIATE"
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


def lock(connection: sa.Connection, table: sa.Table, row: int) -> None:
    """Hold a row until the transaction ends, so that who decides by it decides alone. SQLite has one writer anyway."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(table.c.id).where(table.c.id == row).with_for_update(key_share=True))


def record(
    connection: sa.Connection, at: datetime, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """One more row of the log: who did what to what."""
    connection.execute(log.insert().values(at=at, actor=actor, action=action, subject=subject, detail=dict(detail or {})))


def _said(problem: DBAPIError) -> str:
    """What a database complains of, in one line, without its connection's details."""
    text = " ".join(str(problem.orig or "it does not answer").split())[:160]
    return f"{text}: give a file of germane's own, or the URL of a PostgreSQL server that is running"
