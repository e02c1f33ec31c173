"""How relevant a day's results were, by segment: weighted by requests and by the design, with intervals."""

from __future__ import annotations

from typing import NamedTuple

from germane.types import Estimate


class Level(NamedTuple):
    """A metric's mean over the requests of a segment on one day. segment: "all" or column=value."""

    metric: str
    segment: str
    estimate: Estimate
