"""Who may do what: accounts with a role and an argon2 password, their sessions, and how often a wrong password is heard."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import unicodedata
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from germane.registry.database import Registry, record
from germane.registry.tables import accounts, attempts, sessions
from germane.types import InputError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LEAST = 10  # characters of a password
IDLE, LONGEST = timedelta(hours=8), timedelta(days=7)  # of a session
WINDOW = timedelta(minutes=15)
PER_ACCOUNT, PER_ADDRESS = 5, 100  # wrong passwords in a window; a whole team may share an address
_NAME = re.compile(r"[\w][\w.@+-]{0,63}")
_HASHING = threading.BoundedSemaphore(2)  # one costs 64 MB and both cores


class Role(StrEnum):
    """A rater judges; an adjudicator judges, and decides where raters differ; an owner runs it all and never judges."""

    RATER = "rater"
    ADJUDICATOR = "adjudicator"
    OWNER = "owner"


class Account(NamedTuple):
    """Somebody who may log in. disabled: may not any more."""

    id: int
    name: str
    role: Role
    disabled: bool
    created_at: datetime


class Session(NamedTuple):
    """Who is logged in, and the token that their forms carry."""

    id: int
    account: Account
    csrf: str


class TooOften(Exception):
    """Too many wrong passwords: wait so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many wrong passwords: try again in {-(-seconds // 60)} minutes")
        self.seconds = seconds


def add(registry: Registry, name: str, role: str, password: str, *, actor: str) -> Account:
    """A new account.

    Raises: InputError for a name that is taken or has odd characters, an unknown role, and a short password.
    """
    name = unicodedata.normalize("NFKC", name).strip()
    if not _NAME.fullmatch(name):
        raise InputError(f"account {name!r}: expected 1 to 64 letters, digits, or . @ + - _, beginning with a letter or digit")
    if role not in set(Role):
        raise InputError(f"role {role!r}: expected {', '.join(Role)}")
    hashed = _hashed(password)
    with registry.writing() as connection:
        if connection.scalar(sa.select(accounts.c.id).where(accounts.c.key == _key(name))):
            raise InputError(f"account {name!r} is there already (names that differ in case alone are one): choose another")
        at = registry.clock()
        row = {"name": name, "key": _key(name), "role": role, "password": hashed, "created_at": at}
        connection.execute(accounts.insert().values(**row))
        record(connection, at, actor, "account added", name, {"role": role})
    return find(registry, name)


def find(registry: Registry, name: str) -> Account:
    """The account of this name. Raises: InputError where there is none."""
    with registry.reading() as connection:
        row = connection.execute(sa.select(accounts).where(accounts.c.key == _key(name))).first()
    if row is None:
        raise InputError(f"there is no account {name!r}")
    return _account(row)


def listed(registry: Registry) -> list[Account]:
    """Every account, by name."""
    with registry.reading() as connection:
        return [_account(row) for row in connection.execute(sa.select(accounts).order_by(accounts.c.key))]


def disable(registry: Registry, name: str, *, actor: str, disabled: bool = True) -> Account:
    """The account, which may not log in any more, and whose sessions have ended; or may again. Its votes stay.

    Raises: InputError where there is no such account, and for the last owner.
    """
    account = find(registry, name)
    with registry.writing() as connection:
        at = registry.clock()
        others = sa.select(sa.func.count()).where(
            accounts.c.role == Role.OWNER, accounts.c.disabled_at.is_(None), accounts.c.id != account.id
        )
        if disabled and account.role == Role.OWNER and not connection.scalar(others):
            raise InputError(f"{account.name!r} is the last owner: add another owner first")
        mine = accounts.update().where(accounts.c.id == account.id)
        connection.execute(mine.values(disabled_at=at if disabled else None))
        if disabled:
            _end_sessions(connection, account.id, at)
        record(connection, at, actor, "account disabled" if disabled else "account enabled", account.name)
    return account._replace(disabled=disabled)


def set_password(registry: Registry, name: str, password: str, *, actor: str) -> Account:
    """The account, with a new password; its sessions have ended.

    Raises: InputError where there is no such account, and for a short password.
    """
    account, hashed = find(registry, name), _hashed(password)
    with registry.writing() as connection:
        at = registry.clock()
        connection.execute(accounts.update().where(accounts.c.id == account.id).values(password=hashed))
        connection.execute(attempts.delete().where(attempts.c.name == _key(name)))
        _end_sessions(connection, account.id, at)
        record(connection, at, actor, "password set", account.name)
    return account


def log_in(registry: Registry, name: str, password: str, *, address: str) -> str | None:
    """The cookie of a new session; None for a wrong name or password, which take equally long.

    Raises: TooOften after too many wrong passwords of one account, or from one address.
    """
    at, key = registry.clock(), _key(name.replace("\x00", "\u2400").encode("utf-8", errors="replace").decode())
    with registry.writing() as connection:  # counted before the password is looked at, so that many at once are heard too
        if wait := _wait(connection, key, address, at):
            raise TooOften(wait)
        row = connection.execute(sa.select(accounts).where(accounts.c.key == key)).first()
        attempt = connection.execute(attempts.insert().values(name=key, address=address, at=at)).inserted_primary_key
    good = _verified(row.password if row is not None else _nobody(), password)
    if not good or row is None or row.disabled_at is not None:
        with registry.writing() as connection:
            record(connection, at, name[:64], "login refused", name[:64], {"address": address})
        return None
    cookie = secrets.token_urlsafe(32)
    with registry.writing() as connection:
        assert attempt is not None
        connection.execute(attempts.delete().where(sa.or_(attempts.c.id == attempt[0], attempts.c.at < at - 4 * WINDOW)))
        values = {"account_id": row.id, "digest": _digest(cookie), "csrf": secrets.token_urlsafe(24)}
        connection.execute(sessions.insert().values(**values, created_at=at, seen_at=at))
        record(connection, at, row.name, "login", row.name, {"address": address})
    return cookie


def session_of(registry: Registry, cookie: str) -> Session | None:
    """The session that a cookie belongs to, if it has not ended and its account may log in."""
    at = registry.clock()
    query = (
        sa.select(sessions.c.id.label("session_id"), sessions.c.csrf, sessions.c.seen_at, accounts)
        .join(accounts, accounts.c.id == sessions.c.account_id)
        .where(sessions.c.digest == _digest(cookie), sessions.c.ended_at.is_(None), accounts.c.disabled_at.is_(None))
        .where(sessions.c.seen_at > at - IDLE, sessions.c.created_at > at - LONGEST)
    )
    with registry.reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    if row.seen_at < at - timedelta(minutes=5):
        with registry.writing() as connection:
            connection.execute(sessions.update().where(sessions.c.id == row.session_id).values(seen_at=at))
    return Session(row.session_id, _account(row), row.csrf)


def log_out(registry: Registry, session: Session) -> None:
    """End a session."""
    with registry.writing() as connection:
        at = registry.clock()
        connection.execute(sessions.update().where(sessions.c.id == session.id).values(ended_at=at))
        record(connection, at, session.account.name, "logout", session.account.name)


def _wait(connection: sa.Connection, key: str, address: str, at: datetime) -> int:
    """Seconds until this account may be tried from this address again; 0 for now."""
    waits = [0.0]
    for column, value, most in ((attempts.c.name, key, PER_ACCOUNT), (attempts.c.address, address, PER_ADDRESS)):
        recent = sa.select(attempts.c.at).where(column == value, attempts.c.at > at - WINDOW).order_by(attempts.c.at.desc())
        found = connection.execute(recent.limit(most)).scalars().all()
        if len(found) == most:
            waits.append((found[-1] + WINDOW - at).total_seconds())
    return -int(-max(waits) // 1)


def _end_sessions(connection: sa.Connection, account: int, at: datetime) -> None:
    connection.execute(
        sessions.update().where(sessions.c.account_id == account, sessions.c.ended_at.is_(None)).values(ended_at=at)
    )


def _account(row: Any) -> Account:
    return Account(row.id, row.name, Role(row.role), row.disabled_at is not None, row.created_at)


def _key(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()[:64]


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _nobody() -> str:
    """A hash that no password fits, so that an unknown name takes as long as a known one."""
    return _hasher().hash(secrets.token_urlsafe(32))


def _hashed(password: str) -> str:
    if len(password) < LEAST:
        raise InputError(f"a password of {len(password)} characters: expected {LEAST} or more")
    if len(password) > 1000:
        raise InputError("a password of more than 1,000 characters: choose a shorter one")
    with _HASHING:
        return _hasher().hash(password)


def _verified(hashed: str, password: str) -> bool:
    from argon2.exceptions import VerificationError

    try:
        with _HASHING:
            return _hasher().verify(hashed, password[:1000])
    except (VerificationError, UnicodeEncodeError):
        return False
