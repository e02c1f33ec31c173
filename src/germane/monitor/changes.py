"""What changed from one day to the next on the panel: the same queries, and the mix of them."""

from __future__ import annotations

from typing import NamedTuple

PAIRED = "same queries"
MIX = "mix of queries"


class Change(NamedTuple):
    """A metric's change between two days in a segment, in units of the metric, with its standard error over n queries.

    part: "same queries" is the paired difference of queries at the mean of both days' traffic; "mix of queries" is what
    the traffic's move between queries adds. The two add up to the change of the panel's level.
    """

    metric: str
    segment: str
    value: float
    se: float
    n: int
    part: str = PAIRED
