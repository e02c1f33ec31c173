"""The registry's tables: accounts, tasks, pairs, who was given what, and every vote. Votes and log are only added to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class Moment(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, which SQLite keeps without its zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True)


def _of(table: str, *, needed: bool = True) -> sa.Column[int]:
    return sa.Column(f"{table.removesuffix('s')}_id", sa.ForeignKey(f"{table}.id"), nullable=not needed)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _moment(name: str, *, needed: bool = True) -> sa.Column[datetime]:
    return sa.Column(name, Moment, nullable=not needed)


accounts = sa.Table(
    "accounts",
    metadata,
    _id(),
    _text("name"),
    sa.Column("key", sa.Text, nullable=False, unique=True),  # the name without case: two that look alike are one
    _text("role"),
    _text("password"),  # argon2
    _moment("created_at"),
    _moment("disabled_at", needed=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    _id(),
    _of("accounts"),
    sa.Column("digest", sa.Text, nullable=False, unique=True),  # of the cookie, which is nowhere kept
    _text("csrf"),
    _moment("created_at"),
    _moment("seen_at"),
    _moment("ended_at", needed=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _id(),
    _text("name"),
    _text("address"),
    _moment("at"),
    sa.Index(None, "name", "at"),
    sa.Index(None, "address", "at"),
)

tasks = sa.Table(
    "tasks",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _text("kind"),  # golden or audit
    sa.Column("scale", sa.JSON, nullable=False),  # name, labels, gains, aliases; the guide stands in `guides`
    _text("guide_version"),
    sa.Column("raters", sa.Integer, nullable=False),  # votes that a pair gets
    _text("adjudicate"),  # any: every disagreement; majority: where more than half do not agree
    sa.Column("entropy_bar", sa.Float),  # a judge's entropy from which a pair is adjudicated although people agree
    sa.Column("control_every", sa.Integer, nullable=False),  # one hidden control in so many pairs
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("lease_seconds", sa.Integer, nullable=False),
    _text("search_url"),
    sa.Column("columns", sa.JSON, nullable=False),  # name -> Arrow type of what pairs bring besides
    _moment("created_at"),
    sa.CheckConstraint("raters >= 1", name="raters"),
    sa.CheckConstraint("kind IN ('golden', 'audit')", name="kind"),
)

guides = sa.Table(
    "guides",
    metadata,
    _id(),
    _of("tasks"),
    _text("version"),
    _text("text"),
    _moment("at"),
    sa.UniqueConstraint("task_id", "version"),
)

pairs = sa.Table(
    "pairs",
    metadata,
    _id(),
    _of("tasks"),
    sa.Column("place", sa.Integer, nullable=False),  # in a random order of the task
    _text("query_id"),
    _text("doc_id"),
    _text("query"),
    sa.Column("fields", sa.JSON, nullable=False),  # what a rater is shown: [[name, value], ...]
    _text("context"),
    _text("image"),
    _text("stratum"),
    sa.Column("entropy", sa.Float),
    sa.Column("more", sa.JSON, nullable=False),  # odds and whatever else came with the pair, kept as it came
    sa.Column("control", sa.Integer),  # the known grade of a hidden control
    sa.Column("filled", sa.Boolean, nullable=False),  # every vote that was asked for is there
    sa.Column("disputed", sa.Boolean, nullable=False),  # waits for a third person
    sa.Column("discussed", sa.Boolean, nullable=False),
    sa.Column("decided", sa.Boolean, nullable=False),
    sa.UniqueConstraint("task_id", "query_id", "doc_id"),
    sa.Index(None, "task_id", "filled", "place"),
    sa.Index(None, "task_id", "control", "filled"),
    sa.Index(None, "task_id", "disputed"),
    sa.Index(None, "query_id", "doc_id"),
)

assignments = sa.Table(
    "assignments",
    metadata,
    _id(),
    _of("tasks"),
    _of("pairs"),
    _of("accounts"),
    _text("kind"),
    sa.Column("slot", sa.Integer),  # 1 to raters for votes, 0 for the adjudicator; none for controls, and once it was lost
    _text("token"),  # of the page that shows it: one vote each
    _text("guide_version"),
    _moment("shown_at"),
    _moment("lease_until"),
    _moment("done_at", needed=False),
    sa.UniqueConstraint("pair_id", "account_id", "kind"),
    sa.UniqueConstraint("pair_id", "slot"),  # no pair gets one vote too many, whatever the code above it does
    sa.Index(None, "account_id", "task_id", "done_at"),
    sa.Index(None, "task_id", "done_at"),
)

votes = sa.Table(
    "votes",
    metadata,
    _id(),
    _of("tasks"),
    _of("pairs"),
    _of("accounts"),
    _text("kind"),
    sa.Column("relevance", sa.Integer),
    _text("guide_version"),
    _moment("at"),
    _text("reason"),
    _text("note"),
    sa.Column("seconds", sa.Float),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("token", sa.Text, nullable=False, unique=True),
    sa.Index(None, "pair_id", "account_id"),
    sa.Index(None, "account_id", "task_id"),
    sa.Index(None, "task_id", "at"),
)

remarks = sa.Table(
    "remarks",
    metadata,
    _id(),
    _of("tasks"),
    _of("pairs"),
    _of("accounts"),
    _text("kind"),  # discussion, or a question to the guide
    _text("text"),
    _text("guide_version"),
    _moment("at"),
    _moment("closed_at", needed=False),
    sa.Index(None, "task_id", "kind"),
    sa.Index(None, "pair_id"),
)

log = sa.Table(
    "log",
    metadata,
    _id(),
    _moment("at"),
    _text("actor"),  # an account's name, or who called the command line
    _text("action"),
    _text("subject"),
    sa.Column("detail", sa.JSON, nullable=False),
)

NOT_KEPT = ("sessions", "attempts")  # left out of backups
