"""Links by which somebody without an account may read, and no more, until they expire."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from germane.registry.database import record
from germane.types import InputError
from germane.web.access import NOBODY, Call, Page, refused
from germane.web.boards.site import Board

DAYS = (1, 7, 30, 90)
PREFIX = "/s/{token}"


def signed(secret: bytes, until: datetime) -> str:
    """The token of a link that may be read until a moment: when it expires, a random part, and a signature over both."""
    said = f"{int(until.timestamp())}.{secrets.token_urlsafe(6)}"
    return f"{said}.{_signature(secret, said)}"


def expires(secret: bytes, token: str) -> datetime | None:
    """Until when a token may be used; None for one that was not signed here."""
    said, _, signature = token.rpartition(".")
    if not secret or not hmac.compare_digest(_signature(secret, said).encode(), signature.encode(errors="replace")):
        return None
    return datetime.fromtimestamp(int(said.partition(".")[0]), UTC)


def shared(entry: Page) -> Page:
    """The page, as whoever has a link reads it: nobody is logged in, and all its links stay under the token."""
    return Page(entry.method, PREFIX + entry.path, NOBODY, _reading(entry.handle), machine=entry.machine, files=entry.files)


def share(call: Call) -> tuple[str, datetime]:
    """A new link, and until when it may be read; kept in the log without its token.

    Raises: InputError for a number of days that is not offered.
    """
    board = board_of(call)
    text = call.form.get("days", "")
    if text not in {str(n) for n in DAYS}:
        raise InputError(f"a link for {text[:20]!r} days: expected one of {', '.join(map(str, DAYS))}")
    at = call.registry.clock()
    until = at + timedelta(days=int(text))
    with call.registry.writing() as connection:
        record(connection, at, call.who.name, "dashboards shared", f"until {until:%Y-%m-%d %H:%M} UTC")
    return f"{board.public_url or call.origin}/s/{signed(board.secret, until)}/", until


def board_of(call: Call) -> Board:
    """The site, which is one of dashboards."""
    assert isinstance(call.site, Board)
    return call.site


def _reading(handle: Callable[[Call], Response]) -> Callable[[Call], Response]:
    def answer(call: Call) -> Response:
        token = call.path.get("token", "")
        until = expires(board_of(call).secret, token)
        bare = replace(call, session=None, base="")
        if until is None:
            return refused(bare, 404, "There is no such link.")
        if until <= call.registry.clock():
            return refused(bare, 410, f"This link expired on {until:%Y-%m-%d %H:%M} UTC: ask for a new one.")
        return handle(replace(call, session=None, base=f"/s/{token}"))

    return answer


def _signature(secret: bytes, said: str) -> str:
    digest = hmac.new(secret, f"germane share: {said}".encode(errors="replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
