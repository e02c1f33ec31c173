"""Chance that depends on names alone: the same pair draws the same number, in any order, in any batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def keys(names: Iterable[str]) -> Keys:
    """A 64-bit key for each name: the first bytes of its BLAKE2b hash."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def uniform(seed: int, *parts: Keys | int) -> NDArray[np.float64]:
    """A number strictly between 0 and 1 for each row of the keys (broadcast together), fixed by the seed and the keys.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014), once for each part, as a counter-based generator.

    >>> there = uniform(7, keys(["q1", "q2"]), keys(["d1", "d2"]))
    >>> back = uniform(7, keys(["q2", "q1"]), keys(["d2", "d1"]))
    >>> bool((there == back[::-1]).all())
    True
    """
    state = np.array([seed % 2**64], dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = mix(state + np.uint64(0x9E3779B97F4A7C15) ^ mix(np.asarray(part, dtype=np.uint64)))
        state = mix(state)
    return ((state >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def mix(z: Keys) -> Keys:
    """Each 64-bit word turned into another, one to one, without a visible pattern."""
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
