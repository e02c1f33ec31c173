"""Loops over many rows of mapped files, compiled by numba where it is there: without Python's lock, and without its speed's
limit. Where it is not they run as Python, and say the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

AHEAD = 16
"""Rows that a loop touches before it works at them: reads that do not wait for each other, and fit a core's cache."""


def compiled(loop: Callable[..., None]) -> Callable[..., None] | None:
    """The loop, compiled when it is first called: some seconds, and once for a machine where the compiler can keep it.

    None where numba is not there, or cannot be loaded.
    """
    try:
        from numba import njit
    except Exception:  # whatever a broken compiler raises: what it would compile runs without it
        return None
    made: Any
    try:
        made = njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no folder to keep it in
        made = njit(nogil=True)(loop)
    found: Callable[..., None] = made
    return found
