"""The registry's tables, step by step: every registry that was ever written is brought to today's by `migrate`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from germane.types import InputError


def scripts() -> ScriptDirectory:
    """The steps, as Alembic knows them."""
    return ScriptDirectory(str(Path(__file__).parent))


def revision(connection: sa.Connection) -> str | None:
    """The step that a registry is at; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(connection: sa.Connection, target: str = "head") -> None:
    """Take every step from where the registry is to the target, inside the connection's transaction.

    Raises: InputError for a registry of a newer germane, and for a database that holds something else.
    """
    found, here = scripts(), revision(connection)
    known = {script.revision for script in found.walk_revisions()}
    if here is not None and here not in known:
        raise InputError(f"the registry was written by a newer germane (its tables are at step {here!r}): update germane")
    if here is None and {"votes", "tasks"} & set(sa.inspect(connection).get_table_names()):
        raise InputError("the database has tables of its own named as germane's: give the registry a database for itself")
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        for step in reversed([*found.iterate_revisions(target, here or "base")]):
            step.module.upgrade()
            context.stamp(found, step.revision)
