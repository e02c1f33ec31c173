"""Pages and data that were made once, and are handed out until what they show is another.

What is kept holds nothing of who asked: it is made for a caller without a name, a token and a link of their own, whose places
are holes, and each answer fills them anew. So nobody's token can be in another's page. Whether somebody may read is decided
before, at every request. A stamp of the registry is part of the key: what is new there, wherever it was written, is shown at
once. Of many who ask for the same at once, one makes it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from markupsafe import escape
from starlette.responses import Response

from germane.registry import looking
from germane.registry.accounts import Account, Session
from germane.watching import calendar

if TYPE_CHECKING:
    from germane.web.access import Call

MOST = 128_000_000
"""Bytes that a process keeps."""

AT_ONCE = 2
"""Answers that a process makes at once: Python runs one thread at a time, and the database reads beside it."""

SMALL = 1000
"""Bytes below which an answer is not compressed."""

_NAMES = ("name", "csrf", "base")
_HOLES = {name: f"hole{secrets.token_hex(16)}{name}" for name in _NAMES}  # of this process, and never sent
_HOLE = re.compile("(" + "|".join(_HOLES.values()) + ")")
_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # of gzip
_END = b"\x03\x00"  # the empty last block of deflate


@dataclass(frozen=True)
class Kept:
    """An answer without what is of its reader. parts: what stands around the holes; packed: each of them, deflated by itself;
    holes: the names of what goes between; headers: of every answer made of it."""

    parts: tuple[bytes, ...]
    packed: tuple[bytes, ...]
    holes: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    digest: bytes

    @property
    def size(self) -> int:
        return sum(map(len, self.parts)) + sum(map(len, self.packed)) + 1000


@dataclass
class Keep:
    """Kept answers by key: those that were asked for last, of so many bytes at most."""

    most: int = MOST
    made: int = 0
    found: int = 0
    size: int = 0
    _kept: OrderedDict[Hashable, Kept] = field(default_factory=OrderedDict, repr=False)
    _making: dict[Hashable, Future[Kept]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(AT_ONCE), repr=False)

    def of(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under a key; made, by one caller of many, where nothing is. What `make` raises, all of them get."""
        with self._lock:
            if (there := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                self.found += 1
                return there
            if (running := self._making.get(key)) is None:
                mine: Future[Kept] = Future()
                self._making[key] = mine
                self.made += 1
            else:
                self.found += 1
        if running is not None:
            return running.result()
        try:
            with self._places:
                made = make()
        except BaseException as problem:
            with self._lock:
                del self._making[key]
            mine.set_exception(problem)
            raise
        with self._lock:
            del self._making[key]
            self._put(key, made)
        mine.set_result(made)
        return made

    def _put(self, key: Hashable, made: Kept) -> None:
        if made.size > self.most // 4:
            return
        self._kept[key] = made
        self.size += made.size
        while self.size > self.most:
            self.size -= self._kept.popitem(last=False)[1].size


def kept(
    handle: Callable[[Call], Response], *asked: str, named: Sequence[str] = (), personal: bool = True
) -> Callable[[Call], Response]:
    """The page, kept. It must show the days and alerts of the registry alone, which the stamp speaks for.

    asked: the parameters that it reads. named: those of its path. personal: its frame shows who reads it. The page is made for
    a call that holds these and no others.
    """

    def answer(call: Call) -> Response:
        bare, values = _hollow(call, asked, named, personal)
        who = (None if bare.session is None else bare.session.account.role, bare.session and bare.session.id, bool(bare.base))
        key = (handle, tuple(bare.path.items()), tuple(bare.query.items()), who, _stamp(call))
        found = call.site.keep.of(key, lambda: taken(handle(bare)))  # type: ignore[attr-defined]
        return filled(found, values, call.headers)

    return answer


def taken(response: Response) -> Kept:
    """A response, taken apart at its holes."""
    pieces = _HOLE.split(bytes(response.body).decode())
    parts = tuple(piece.encode() for piece in pieces[::2])
    names = {hole: name for name, hole in _HOLES.items()}
    left_out = ("content-length", "cache-control", "etag")
    headers = tuple((name, value) for name, value in response.headers.items() if name not in left_out)
    packed = tuple(map(_packed, parts)) if sum(map(len, parts)) >= SMALL else ()
    digest = hashlib.blake2b(b"\x00".join([*parts, repr(headers).encode()]), digest_size=16).digest()
    return Kept(parts, packed, tuple(names[hole] for hole in pieces[1::2]), headers, digest)


def filled(found: Kept, values: dict[str, str], asked: object) -> Response:
    """The answer to one reader: 304 if their browser has it. values: for the holes. asked: the headers of their request.

    A browser may keep it for its one reader, and has to ask each time whether it still holds.
    """
    get = getattr(asked, "get", lambda name, other: other)
    texts = {name: str(escape(value)).encode() for name, value in values.items()}
    told = "\x00".join(f"{name}={values[name]}" for name in _NAMES)
    tag = f'W/"{hashlib.blake2b(told.encode(), key=found.digest, digest_size=16).hexdigest()}"'
    headers = {"Cache-Control": "private, no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
    if tag in [each.strip() for each in get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    between = [texts[name] for name in found.holes]
    plain = [found.parts[0], *(piece for pair in zip(between, found.parts[1:], strict=True) for piece in pair)]
    body = b"".join(plain)
    if found.packed and re.search(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", get("accept-encoding", "")):
        body = gzipped(found, between, body)
        headers["Content-Encoding"] = "gzip"
    made = Response(body, headers=headers)
    made.raw_headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found.headers]
    return made


def gzipped(found: Kept, between: list[bytes], body: bytes) -> bytes:
    """The body as one gzip file: the parts as they were deflated, and between them what is personal, stored as it is.

    Text of others and a reader's tokens are never compressed together, so that no length tells anything of a token.
    """
    pieces = [_HEAD, found.packed[0]]
    for text, part in zip(between, found.packed[1:], strict=True):
        size = len(text)
        pieces += [b"\x00", size.to_bytes(2, "little"), (size ^ 0xFFFF).to_bytes(2, "little"), text, part]
    ends = zlib.crc32(body).to_bytes(4, "little"), (len(body) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"".join([*pieces, _END, *ends])


def _packed(part: bytes) -> bytes:
    made = zlib.compressobj(2, zlib.DEFLATED, -15)
    return made.compress(part) + made.flush(zlib.Z_FULL_FLUSH)


def _hollow(call: Call, asked: Sequence[str], named: Sequence[str], personal: bool) -> tuple[Call, dict[str, str]]:
    """The call without what is of its caller, and what goes into the holes."""
    values = dict.fromkeys(_NAMES, "")
    session, base = None, ""
    if personal and call.session is not None:
        values |= {"name": call.session.account.name, "csrf": call.session.csrf}
        account = Account(0, _HOLES["name"], call.session.account.role, False, datetime(2000, 1, 1, tzinfo=UTC))
        session = Session(min(call.session.id, 1), account, _HOLES["csrf"])  # 0 is the guest, who cannot log out
    if call.base:  # what a link does not show is left out by it
        base = _HOLES["base"]
        values |= {"base": call.base} if personal else {}
    query = {name: value for name in asked if (value := call.query.get(name, ""))}
    path = {name: call.path.get(name, "") for name in named}
    more: dict[str, Any] = {"form": {}, "cookies": {}, "headers": {}, "address": "", "origin": ""}
    return replace(call, session=session, base=base, query=query, path=path, **more), values


def _stamp(call: Call) -> tuple[object, ...]:
    """What answers depend on beside the call: the registry's days and alerts, and which day is over."""
    zone: ZoneInfo = call.site.zone  # type: ignore[attr-defined]  # of dashboards
    return (*looking.stamp(call.registry), str(calendar.yesterday(call.registry.clock(), zone)))
