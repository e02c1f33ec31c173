"""Vectors in a quarter of the room: int8 with scales."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

LARGEST = 127


class Int8(NamedTuple):
    """Vectors as int8. codes: (n, d). scales: what a code of 1 stands for, (n, 1) or (1, d), float32."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]

    def floats(self) -> NDArray[np.float32]:
        """The vectors again, (n, d) float32, each number off by half a scale at most."""
        return self.codes * self.scales

    def take(self, rows: ArrayLike) -> Int8:
        """These vectors, in this order."""
        at = np.asarray(rows, dtype=np.int64)
        return Int8(self.codes[at], self.scales[at] if len(self.scales) == len(self.codes) else self.scales)


def int8(vectors: ArrayLike, *, by: str = "vector") -> Int8:
    """Vectors (n, d) as int8, symmetric around 0.

    by: "vector", a scale for each, so that new vectors need no old ones; or "dimension", one for each of the d, which suits
    dimensions of very different spread, and is made anew when vectors are added. Either is the largest value / 127.

    Raises: InputError for another `by`, and for numbers that are not finite.

    >>> small = int8([[1.0, -0.4], [0.02, 0.012]])
    >>> small.codes.tolist(), [round(float(x), 3) for x in small.floats().ravel()]
    ([[127, -51], [127, 76]], [1.0, -0.402, 0.02, 0.012])
    """
    x = np.asarray(vectors, dtype=np.float32)
    if by not in ("vector", "dimension"):
        raise InputError(f"int8 scales by {by!r}: expected 'vector' or 'dimension'")
    if not np.isfinite(x).all():
        raise InputError("vectors to store as int8 hold numbers that are not finite: encode those texts again")
    spread = np.abs(x).max(axis=1 if by == "vector" else 0, keepdims=True, initial=0.0)
    least = LARGEST * float(np.finfo(np.float32).tiny)  # below it a scale would be 0, and the numbers are as good as 0
    scales = np.asarray(np.where(spread > least, spread / LARGEST, 1.0), dtype=np.float32)
    return Int8(np.clip(np.rint(x / scales), -LARGEST, LARGEST).astype(np.int8), scales)
