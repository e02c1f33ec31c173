"""A whole registry in one file, and back: a consistent snapshot while people vote, from either database to either."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from germane.registry.columns import Moment, metadata
from germane.registry.database import Registry, connect, record
from germane.registry.migrations import migrate, revision, scripts
from germane.registry.tables import NOT_KEPT
from germane.store.archives import DAMAGED, TIGHTEST, not_a_bomb
from germane.store.files import replacing, unreadable
from germane.types import InputError

FORM = "germane registry 1"
_CHUNK = 500


class Kept(NamedTuple):
    """What a backup holds. rows: of each table. votes: of these, what people said."""

    file: str
    revision: str
    votes: int
    rows: dict[str, int]


def backup(registry: Registry, path: Path, *, actor: str) -> Kept:
    """The registry as it is at one moment, whole in one file, whoever votes meanwhile. Logins are not in it; passwords'
    hashes are, so that only its owner may read the file.

    Raises: InputError where the file cannot be written.
    """
    data, kept = snapshot(registry)
    with replacing(path) as target:
        if os.name == "posix":
            os.fchmod(target.fileno(), 0o600)
        target.write(data)
    written(registry, path.name, kept, actor=actor)
    return kept._replace(file=str(path))


def snapshot(registry: Registry) -> tuple[bytes, Kept]:
    """The content of a backup, of one moment."""
    counts, parts = {}, {}
    with registry.reading() as connection:
        step = revision(connection)
        for table in metadata.sorted_tables:
            if table.name in NOT_KEPT:
                continue
            rows = [_plain(row._mapping) for row in connection.execute(sa.select(table).order_by(table.c.id))]
            parts[table.name] = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
            counts[table.name] = len(rows)
    about: dict[str, Any] = {"form": FORM, "revision": step, "rows": counts}
    about["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    out = _zipped(about, parts, zipfile.ZIP_DEFLATED)
    if sum(map(len, parts.values())) > len(out) * TIGHTEST:  # more tightly than `restore` takes
        out = _zipped(about, parts, zipfile.ZIP_STORED)
    return out, Kept("", str(step), counts["votes"], counts)


def _zipped(about: dict[str, Any], parts: dict[str, bytes], packing: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        file.writestr("about.json", json.dumps(about, indent=2))
        for name, data in parts.items():
            file.writestr(f"{name}.jsonl", data)
    return out.getvalue()


def written(registry: Registry, name: str, kept: Kept, *, actor: str) -> None:
    """Note in the registry's log that a backup of it was written."""
    with registry.writing() as connection:
        record(connection, registry.clock(), actor, "backup written", name, {"rows": kept.rows})


def restore(where: str | Path | None, path: Path, *, replace: bool = False, actor: str) -> Kept:
    """What was restored, into an empty database, or in place of what is there if `replace`; then brought to today's tables.

    All of it in one transaction: a fault leaves the database as it was.
    Raises: InputError for a file that is no whole backup, and for a database that holds something, without `replace`.
    """
    about, parts = _read(path)
    engine = connect(where)
    registry = Registry(engine)
    try:
        with registry.writing() as connection:
            _emptied(connection, replace)
            if about["revision"] not in {step.revision for step in scripts().walk_revisions()}:
                raise InputError(
                    f"{path} was written by a newer germane (its tables are at step {about['revision']!r}): update germane"
                )
            migrate(connection, about["revision"])
            for table in metadata.sorted_tables:
                if table.name in parts:
                    _fill(connection, table, parts[table.name])
            migrate(connection)
            detail = {"rows": about["rows"], "replaced": replace}
            record(connection, registry.clock(), actor, "registry restored", path.name, detail)
    except DBAPIError as problem:
        reason = " ".join(str(problem.orig).split())[:160]
        raise InputError(f"cannot restore into {registry.name}: {reason!r}") from None
    except InputError:  # which is a ValueError
        raise
    except (SQLAlchemyError, ValueError, TypeError, KeyError, OverflowError) as problem:
        raise _broken(path) from problem
    finally:
        engine.dispose()
    return Kept(str(path), about["revision"], about["rows"]["votes"], about["rows"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """What a backup says of itself, and its rows. Raises: InputError."""
    try:
        with zipfile.ZipFile(path) as file:
            not_a_bomb(path, path.stat().st_size, file.infolist())
            about = json.loads(file.read("about.json"))
            data = {name: file.read(f"{name}.jsonl") for name in about["rows"]}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}
        rows = {name: [json.loads(line) for line in content.splitlines()] for name, content in data.items()}
        wanted = {table.name for table in metadata.sorted_tables} - set(NOT_KEPT)
        whole = about["form"] == FORM and about["sha256"] == digests and set(data) <= wanted and type(about["revision"]) is str
        whole = whole and about["rows"] == {name: len(found) for name, found in rows.items()} and "votes" in rows
    except InputError:  # which is a ValueError
        raise
    except OSError as problem:
        raise InputError(f"cannot read {path}: {unreadable(problem)}") from problem
    except DAMAGED as problem:
        raise _broken(path) from problem
    if not whole or any(type(row) is not dict or "id" not in row for found in rows.values() for row in found):
        raise _broken(path)
    return about, rows


def _broken(path: Path) -> InputError:
    return InputError(f"{path} is no whole backup of a registry: give a file that `germane registry backup` wrote")


def _emptied(connection: sa.Connection, replace: bool) -> None:
    """Nothing of ours is left. Raises: InputError where something is there, without `replace`."""
    there = sa.MetaData()
    there.reflect(connection)
    ours = {table.name for table in metadata.sorted_tables} | {"alembic_version"}
    held = [table for table in there.sorted_tables if table.name in ours]
    rows = sum(int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0) for table in held)
    if rows and not replace:
        raise InputError("the registry to restore into holds something: name another, or pass --replace to lose what is there")
    for table in reversed(held):
        table.drop(connection)
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("DROP FUNCTION IF EXISTS germane_append_only() CASCADE"))


def _fill(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Put rows into a table, as it was when they were kept, under their own numbers, and let new ones follow."""
    held = list(rows[0]) if rows else []
    kinds = {name: table.c[name].type if name in table.c else None for name in held}  # a later version may have dropped one
    into = sa.table(table.name, *(sa.column(name, kind) for name, kind in kinds.items()))
    for start in range(0, len(rows), _CHUNK):
        chunk = [{name: _typed(kinds[name], value) for name, value in row.items()} for row in rows[start : start + _CHUNK]]
        connection.execute(sa.insert(into), chunk)
    if rows and connection.dialect.name != "sqlite":
        last = max(row["id"] for row in rows)
        connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {int(last)})"))


def _plain(row: Any) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def _typed(kind: Any, value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(kind, Moment) and value is not None else value
