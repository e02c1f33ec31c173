"""What a budget is counted in: characters, words, or the tokens of a named tokenizer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from germane.extras import needs
from germane.types import InputError

UNITS = ("characters", "words", "tokens")
_SPACED = re.compile(r"\S+")


class Unit(Protocol):
    """A way to count a text. mark: how many the mark of a cut costs."""

    @property
    def mark(self) -> int: ...

    def ends(self, text: str) -> Sequence[int]:
        """Where each unit of the text ends, rising: as many as it has."""
        ...


class Characters(NamedTuple):
    """Counts characters."""

    mark: int = 2

    def ends(self, text: str) -> Sequence[int]:
        return range(1, len(text) + 1)


class Words(NamedTuple):
    """Counts what stands between spaces; a text in a script without spaces is one word, so count its characters or tokens."""

    mark: int = 0

    def ends(self, text: str) -> Sequence[int]:
        return [match.end() for match in _SPACED.finditer(text)]


class Tokens(NamedTuple):
    """Counts the tokens of a tokenizer.json, without those that a model puts around a text."""

    tokenizer: Any
    digest: str
    mark: int

    def ends(self, text: str) -> Sequence[int]:
        ends: list[int] = []
        for _, end in self.tokenizer.encode(text, add_special_tokens=False).offsets:
            ends.append(max(end, ends[-1] if ends else 0))
        return ends


@lru_cache(maxsize=8)
def tokens(name: str) -> Tokens:
    """The tokens of a tokenizer by name: a folder with a tokenizer.json, such a file, or a model hub's name.

    Raises: InputError where there is none.
    """
    needs("serve", "tokenizers", by="a budget in tokens")
    from tokenizers import Tokenizer

    path = Path(name).expanduser()
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        if path.is_file():
            found = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        elif path.name == "tokenizer.json" or os.sep in name.removesuffix("/")[:1]:
            raise InputError(f"{path.parent} has no tokenizer.json: save it there with AutoTokenizer's save_pretrained")
        else:
            found = Tokenizer.from_pretrained(name)
    except InputError:
        raise
    except Exception as problem:  # tokenizers raises bare Exceptions, and the hub's client its own
        reason = " ".join(str(problem).split())[:160]
        raise InputError(f"no tokenizer by the name {name!r} ({reason}): give a folder with a tokenizer.json") from problem
    found.no_truncation()  # some are saved with the length that their model was trained at
    found.no_padding()
    found.encode_special_tokens = True  # a text that looks like a mark ("[SEP]") is words, as judges read it
    digest = sha256(found.to_str().encode()).hexdigest()[:16]
    return Tokens(found, digest, len(found.encode(" …", add_special_tokens=False).ids))


def unit_of(name: str, tokenizer: str = "") -> Unit:
    """The unit by its name in `UNITS`.

    Raises: InputError for another name, tokens without a tokenizer, and a tokenizer that is not there.
    """
    if name == "tokens":
        if not tokenizer:
            raise InputError("a budget in tokens needs the name of a tokenizer: --tokens NAME")
        return tokens(tokenizer)
    if name not in UNITS:
        raise InputError(f"budgets in {name!r}: expected {', '.join(UNITS)}")
    return Characters() if name == "characters" else Words()
