"""A number with its uncertainty, and a file that it rests on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty. Every figure that germane prints is one.

    df: degrees of freedom of the t interval, None for a normal one. caveat: why not to lean on it, "" if nothing is known.
    """

    value: float
    se: float
    low: float
    high: float
    n: int
    method: str
    level: float = 0.95
    df: float | None = None
    caveat: str = ""


@dataclass(frozen=True)
class Input:
    """A file that a result rests on."""

    role: str
    path: str
    sha256: str
    rows: int
    attribution: str = ""
