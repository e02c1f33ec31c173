"""What a change is made of: search, traffic, catalogue and judge, in parts that add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.types import Estimate

Floats = NDArray[np.float64]
CAUSES = ("search", "traffic", "catalogue", "judge")


class Anchors(NamedTuple):
    """Fixed pairs, judged on both days past the store. before, after: (m,) gains in 0 to 1, NaN where there is no answer."""

    before: Floats
    after: Floats


class Example(NamedTuple):
    """A query that carries the change: what it adds to it, and both result lists."""

    query: str
    part: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """A change in its four parts, in units of the metric; they add up to the total exactly.

    cause: the part that the interval supports as the main one, "" where none is.
    """

    search: Estimate
    traffic: Estimate
    catalogue: Estimate
    judge: Estimate
    total: Estimate
    cause: str
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()
