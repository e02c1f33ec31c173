"""What germane says of itself while it works: a line of JSON on stderr for each event, where that is asked for.

Every verb and every service writes these lines by one formatter, and no line holds a secret: tokens of share links, passwords
in addresses, keys of headers and the values that `hide` was told are taken out of whatever is logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from germane.types import InputError

HIDDEN = "[hidden]"
LONGEST = 4000
"""Characters of a text in a line."""

LEAST = 6
"""Characters of a secret that is looked for: a shorter one would stand in half of all words."""

VARIABLE = "GERMANE_LOG"


class Form(StrEnum):
    """How lines are written: as text for people, or JSON for programs."""

    TEXT = "text"
    JSON = "json"


_PATTERNS = (
    (re.compile(r"\b\d{9,}\.[\w-]{4,}\.[\w-]{16,}"), HIDDEN),  # the token of a share link, wherever it stands
    (re.compile(r"(?<=/s/)[^/\s\"'?#]+"), HIDDEN),
    (re.compile(r"(?<=://)[^/\s@\"']+(?=@)"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=:-]{6,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(r"(?i)\b([\w-]*(?:csrf|passw(?:or)?d|token|secret|api[_-]?key))(\"?\s*[=:]\s*\"?)[^&\s,\"'}]+"),
        rf"\1\2{HIDDEN}",
    ),
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "event"}


def _told(name: str) -> bool:
    """Whether an attribute of a record is a field of a line: none of logging's own, and none that a library hides there."""
    return name not in _STANDARD and not name.startswith("_")


_LOG = logging.getLogger("germane")
_secrets: set[str] = set()
_form = Form.TEXT
_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


def form_of(text: str, *, what: str) -> Form:
    """The form of this name. Raises: InputError for another; what: where it was said."""
    try:
        return Form(text.strip().lower())
    except ValueError:
        raise InputError(f"{what} is {text[:40]!r}: expected {' or '.join(Form)}") from None


def begin(form: Form) -> None:
    """From now on lines are of this form. JSON: all that is logged, warnings of Python and of packages too, goes to stderr."""
    global _form
    _form = form
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each.formatter, Json)]:
        root.removeHandler(handler)
    if form == Form.JSON:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Json())
        root.addHandler(handler)
        logging.getLogger("germane").setLevel(logging.INFO)
    logging.captureWarnings(form == Form.JSON)


def as_json() -> bool:
    """True if lines are of JSON now."""
    return _form == Form.JSON


def hide(values: Iterable[str]) -> None:
    """These texts are secrets: no line has them from now on."""
    _secrets.update(value for value in values if len(value) >= LEAST)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """A block whose lines have these fields."""
    before = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(before)


@contextmanager
def verb(name: str) -> Iterator[None]:
    """A block that is a verb's work: its lines have the verb's name, and the last of them says for how long it ran."""
    began = time.perf_counter()
    with about(verb=name):
        if as_json():
            _LOG.info("germane %s: begun", name, extra={"event": "verb begun"})
        yield
        if as_json():
            seconds = round(time.perf_counter() - began, 3)
            _LOG.info("germane %s: done", name, extra={"event": "verb done", "seconds": seconds})


def clean(text: str) -> str:
    """The text without secrets, and no longer than a line should be.

    >>> clean("GET https://ana:pa55word@search.example/s/1799999999.aaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbb/days")
    'GET https://[hidden]@search.example/s/[hidden]/days'
    """
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


class Json(logging.Formatter):
    """A record as a line of JSON: time, level, event and message first, then the fields of the block and of the record."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "event": str(getattr(record, "event", "step"))}
        line["message"] = clean(record.getMessage())
        more = {**_about.get(), **{name: value for name, value in vars(record).items() if _told(name)}}
        line = {**{name: _plain(value) for name, value in more.items() if name not in line}, **line}
        line = {name: line[name] for name in ("time", "level", "event", "message")} | line
        if record.exc_info:
            line["exception"] = clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)


def _plain(value: Any) -> Any:
    """A field as JSON has it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {clean(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return clean(str(value))
