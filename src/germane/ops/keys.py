"""Keys that programs bring: read from a file and the environment, compared in constant time, kept as digests."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence

from germane.types import InputError

LEAST = 16
"""Letters of a key."""


class Keys:
    """Keys of programs. False if there are none."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def known(self, authorization: bytes, other: bytes = b"") -> bool:
        """True if a request brings one of them. authorization: the header, as "Bearer KEY"; other: the key alone."""
        kind, _, rest = authorization.partition(b" ")
        given = hashlib.sha256(rest.strip() if kind.lower() == b"bearer" else other).digest()
        return sum(hmac.compare_digest(given, key) for key in self._digests) > 0  # all of them, so that time tells nothing


def keys_of(file: str | os.PathLike[str] | None, variable: str) -> tuple[str, ...]:
    """The keys of clients: of a file, one a line, and of an environment variable, between commas.

    Raises: InputError for a file that cannot be read, or holds no key, and for keys of fewer than 16 letters.
    """
    said = os.environ.get(variable, "").split(",")
    if file is not None:
        try:
            with open(file, encoding="utf-8") as lines:
                listed = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        except (OSError, UnicodeDecodeError) as problem:
            raise InputError(f"cannot read the keys in {file}: {problem}") from problem
        if not listed:
            raise InputError(f"{file} holds no key: one a line is expected")
        said += listed
    keys = tuple(dict.fromkeys(key.strip() for key in said if key.strip()))
    if any(len(key) < LEAST for key in keys):
        raise InputError(f"a key has fewer than {LEAST} letters: make one with `openssl rand -hex 16`")
    return keys
