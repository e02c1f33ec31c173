"""Sealed golden sets: their files are checked whenever they are read, and each read of the test part leaves a line.

A sealed folder has `seal.json`, which names its files with their digests, and `reads.jsonl`, to which lines are only added.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from germane.store.files import sha256, unreadable
from germane.types import InputError

SEAL, READS = "seal.json", "reads.jsonl"
TEST, LABELS = "test", "labels"


@dataclass
class _Reader:
    """Who reads, and the test files that this reader was counted for: one verb counts once, however often it looks."""

    name: str
    counted: set[str] = field(default_factory=set)


_reader: ContextVar[_Reader | None] = ContextVar("germane reader", default=None)


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """A block whose reads of a sealed test are counted once, under this name."""
    token = _reader.set(_Reader(name))
    try:
        yield
    finally:
        _reader.reset(token)


def digest(facts: Mapping[str, Any]) -> str:
    """64 hex digits of a seal: sha256 over all it says but the digest itself.

    >>> digest({"a": 1, "hash": "x"}) == digest({"a": 1})
    True
    """
    said = {name: value for name, value in facts.items() if name != "hash"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_seal(folder: str | Path) -> dict[str, Any]:
    """What a folder's seal says. Raises: InputError where there is none, or it was changed."""
    place = Path(folder) / SEAL
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        whole = isinstance(found, dict) and isinstance(found["files"], dict) and found["hash"] == digest(found)
    except OSError as error:
        raise InputError(f"cannot read {place}: {unreadable(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place} is not the seal of a golden set ({error})") from error
    if not whole:
        raise InputError(f"{place} was changed after the golden set was sealed: take the folder from where it was sealed")
    return dict(found)


def entry(path: str | Path) -> dict[str, Any] | None:
    """What the seal beside a file says of it: part (dev, test), holds (labels, pairs), sha256; None of any other file."""
    file = Path(path)
    if not (file.parent / SEAL).is_file():
        return None
    found = read_seal(file.parent)["files"].get(file.name)
    return None if found is None else dict(found)


def is_test(path: str | Path) -> bool:
    """True for a file of the sealed test part, whether it holds labels or pairs."""
    said = entry(path)
    return said is not None and said["part"] == TEST


def checked(path: str | Path) -> dict[str, Any] | None:
    """`entry`, after the file was held against its digest. Raises: InputError for a file that was changed."""
    said = entry(path)
    if said is not None and Path(path).is_file() and sha256(path) != said["sha256"]:
        raise InputError(
            f"{path} was changed after it was sealed: what it holds is not the golden set any more. Take it from where it was "
            "sealed, or seal the votes again into a new folder"
        )
    return said


def opened(path: str | Path) -> None:
    """Called before a file is read: checks a sealed one, and adds a line where it holds the labels of the test part."""
    said = checked(path)
    if said is None or (said["part"], said["holds"]) != (TEST, LABELS) or not Path(path).is_file():
        return
    who = _reader.get()
    place = str(Path(path).resolve())
    if who is not None:
        if place in who.counted:
            return
        who.counted.add(place)
    line = {"file": Path(path).name, "reader": who.name if who else "python", "at": datetime.now(UTC).isoformat("T", "seconds")}
    _add(Path(path).parent / READS, json.dumps(line, ensure_ascii=False) + "\n")


def _add(place: Path, line: str) -> None:
    """One line more, in one write to the end of the file, so that of several at once none is lost."""
    try:
        file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
    except OSError as error:
        logging.getLogger("germane").warning(
            "this read of the golden test is not counted: %s cannot be written (%s)", place, unreadable(error)
        )


def reads(path: str | Path) -> int:
    """How often the labels of a sealed test file were read, by the lines beside it."""
    name = Path(path).name
    try:
        lines = (Path(path).parent / READS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(f'"file": {json.dumps(name)}' in line for line in lines)


def counted(inputs: Sequence[str | Path]) -> dict[str, str]:
    """For each input that is the labels of a sealed test: how often it was read, in words; for manifests and notes."""
    found = {}
    for path in inputs:
        said = entry(path)
        if said is not None and (said["part"], said["holds"]) == (TEST, LABELS):
            number, folder = reads(path), Path(path).parent
            unknown = (
                "" if os.access(folder, os.W_OK) else " at least (the folder is read-only: this read is not counted there)"
            )
            found[Path(path).as_posix()] = f"test read {number:,} {'time' if number == 1 else 'times'}{unknown}"
    return found


def refuse_test(path: str | Path, why: str) -> None:
    """Raises: InputError for a file of the sealed test part. why: "examples are taken from dev"."""
    if Path(path).is_file() and is_test(path):
        raise InputError(f"{path} holds golden test: {why}, never from what a judge is checked on")
