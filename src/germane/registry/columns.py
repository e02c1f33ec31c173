"""Columns that the registry's tables share, and what holds the tables."""

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


def id_() -> sa.Column[int]:
    """The key of a row."""
    return sa.Column("id", sa.Integer, primary_key=True)


def of(table: str, *, needed: bool = True) -> sa.Column[int]:
    """A row of another table."""
    return sa.Column(f"{table.removesuffix('s')}_id", sa.ForeignKey(f"{table}.id"), nullable=not needed)


def text(name: str) -> sa.Column[str]:
    """A text, "" for none."""
    return sa.Column(name, sa.Text, nullable=False)


def moment(name: str, *, needed: bool = True) -> sa.Column[datetime]:
    """A moment in UTC."""
    return sa.Column(name, Moment, nullable=not needed)


def date_(name: str = "date") -> sa.Column[str]:
    """A day."""
    return sa.Column(name, sa.String(10), nullable=False)  # ISO, of the zone of the days: a day is no moment


def number(name: str, *, needed: bool = False) -> sa.Column[float]:
    """A number; none where there is no answer."""
    return sa.Column(name, sa.Float, nullable=not needed)


def json_(name: str) -> sa.Column[Any]:
    """What has parts."""
    return sa.Column(name, sa.JSON, nullable=False)


def count(name: str) -> sa.Column[int]:
    """A whole number that may be large."""
    return sa.Column(name, sa.BigInteger, nullable=False)


def estimate() -> list[sa.Column[Any]]:
    """The columns of an estimate; no number where there is no answer."""
    return [*(number(name) for name in ("value", "se", "low", "high")), count("n"), text("method"), number("level")]
