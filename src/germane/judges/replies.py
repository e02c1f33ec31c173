"""What language models said, kept reply by reply: nothing is paid for twice, and a run can be read again by other rules.

A folder of JSON lines, one file for each process that ever added to it. A reply is on disk before it is used, in one write;
a line that was cut off by a kill is left out when the folder is read. A reply is found by a digest of all that was asked
(model, decoding, messages); texts, addresses and keys are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

from germane.store.files import explained

_SUFFIX = ".replies.jsonl"
_WIDE = 40  # bits of a place that tell where in the file
OFTEN = 1.0  # seconds between two looks at what other processes have kept


class Usage(NamedTuple):
    """Tokens of one call: read, of these known from before (cached), and written, reasoning included."""

    read: int = 0
    cached: int = 0
    written: int = 0

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]
        return Usage(*(a + b for a, b in zip(self, other, strict=True)))


NONE = Usage()


@dataclass(frozen=True)
class Reply:
    """What came back of one call. text: as the model wrote it. ended: "stop", "length", "content_filter", ...

    refusal: the model's own, if it is told apart. tops: at the first token, the likeliest with their log-probabilities.
    engine: what the server said of itself. seconds: that the call took, waiting and tries left out. day: the watched day that
    paid for it, "" for none.
    """

    text: str
    ended: str = "stop"
    refusal: str = ""
    tops: Mapping[str, float] = field(default_factory=dict)
    usage: Usage = NONE
    engine: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    day: str = ""

    def to_json(self, key: str) -> bytes:
        said = {"key": key, **{k: v for k, v in self.__dict__.items() if v or k == "text"}}
        return json.dumps(said, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Reply:
        known = {name: said[name] for name in cls.__dataclass_fields__ if name in said}
        return cls(**{**known, "usage": Usage(*known.get("usage", ()))})


def key_of(model: Sequence[Any], messages: Sequence[Mapping[str, Any]], marker: str, sample: int) -> str:
    """32 hex digits of what was asked: the model and its decoding, the messages without the marker, and which sample."""
    asked = json.dumps([model, messages, sample], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256((asked.replace(marker, "") if marker else asked).encode("utf-8", "replace")).hexdigest()[:32]


class Replies:
    """The replies in a folder; without one, those of this process. `get` and `put` by the key of `key_of`.

    day: of which the calls of now are, so that a killed day still knows later what it paid for; "" for none.

    Raises: InputError for a folder that cannot be read or written.
    """

    def __init__(self, folder: Path | None = None, day: str = "") -> None:
        self.folder, self.day = folder, day
        self._held: dict[str, Reply] = {}
        self._places: dict[bytes, int] = {}  # a file's number and the place in it, as one number: millions of them fit
        self._files: list[Path] = []
        self._open: dict[int, BinaryIO] = {}
        self._out: int | None = None
        self._own, self._end = -1, 0  # the file of this process, and how long it is
        self._read: dict[Path, tuple[int, int]] = {}  # of each file: its number, and how far it was read
        self._looked = time.monotonic()
        self._look()

    def __len__(self) -> int:
        return len(self._held) + len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._held or bytes.fromhex(key) in self._places

    def earlier(self, reply: Reply) -> bool:
        """Whether another day than that of now paid for it."""
        return bool(self.day) and reply.day != self.day

    def get(self, key: str) -> Reply | None:
        if self.folder is None:
            return self._held.get(key)
        place = self._places.get(bytes.fromhex(key))
        if place is None and time.monotonic() - self._looked > OFTEN:  # what other processes have put there meanwhile
            self._looked = time.monotonic()
            self._look()
            place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        number, at = place >> _WIDE, place & ((1 << _WIDE) - 1)
        if number not in self._open:
            self._open[number] = self._files[number].open("rb")
        file = self._open[number]
        file.seek(at)
        return Reply.from_json(json.loads(file.readline()))

    def ready(self) -> None:
        """Raises: InputError where no reply could be kept, before one is paid for."""
        if self.folder is not None:
            with explained(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                handle, name = tempfile.mkstemp(dir=self.folder, prefix=".writable-")
                os.close(handle)
                os.unlink(name)

    def put(self, key: str, reply: Reply) -> None:
        """Keeps a reply: once this returns, a killed process has not lost it."""
        if self.folder is None:
            self._held[key] = reply
            return
        with explained(self.folder):
            if self._own < 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._files.append(self.folder / f"{uuid4().hex[:12]}{_SUFFIX}")
                self._own, self._end = len(self._files) - 1, 0
            if self._out is None:
                self._out = os.open(self._files[self._own], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            line = reply.to_json(key)
            written = os.write(self._out, line)
            if written < len(line):  # a full disk: the line is cut off, and the next begins anew
                os.write(self._out, b"\n")
                raise OSError(28, "no space left on device")
        self._places[bytes.fromhex(key)] = self._own << _WIDE | self._end
        self._end += len(line)

    def close(self) -> None:
        """Closes its files; they are opened again when they are needed."""
        for file in self._open.values():
            file.close()
        self._open.clear()
        if self._out is not None:
            os.close(self._out)
            self._out = None

    def all(self) -> Iterator[Reply]:
        """Every reply, each once."""
        yield from list(self._held.values())
        for key in list(self._places):
            reply = self.get(key.hex())
            assert reply is not None
            yield reply

    def _look(self) -> None:
        """Reads what has come to the folder's files, and new files, since they were last read; its own it knows."""
        if self.folder is not None and self.folder.is_dir():
            own = self._files[self._own] if self._own >= 0 else None
            with explained(self.folder):
                for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
                    if path != own:
                        self._index(path)

    def _index(self, path: Path) -> None:
        if path not in self._read:
            self._files.append(path)
            self._read[path] = len(self._files) - 1, 0
        number, at = self._read[path]
        if path.stat().st_size <= at:
            return
        with path.open("rb") as file:
            file.seek(at)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    break
                key = _key(line)
                if key is not None:
                    self._places.setdefault(key, number << _WIDE | at)
                at += len(line)
        self._read[path] = number, at


def _sound(reply: Reply) -> bool:
    """Whether the parts of a reply are what they should be: a file may have been edited."""
    numbers = all(type(n) is int and n >= 0 for n in reply.usage) and isinstance(reply.seconds, int | float)
    tables = isinstance(reply.tops, Mapping) and isinstance(reply.engine, Mapping)
    return numbers and tables and all(isinstance(text, str) for text in (reply.ended, reply.refusal, reply.day))


def _key(line: bytes) -> bytes | None:
    """The key of a whole line; None for one that was cut off, or is not ours."""
    try:
        said = json.loads(line) if line.endswith(b"\n") else None
        if not isinstance(said, dict) or not isinstance(said.get("text"), str) or not _sound(Reply.from_json(said)):
            return None
        key = bytes.fromhex(said["key"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return key if len(key) == 16 else None
