"""The signal at work: what a policy is, whichever part of a search it acts in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from germane.types.estimates import Estimate


@dataclass(frozen=True)
class Policy:
    """What the signal does to which queries, chosen on people's judgments or on experiments, and saved for who serves.

    kind: filter, boost or adaptive. judge, fingerprint, lineage: whose predictions it reads, and who taught that judge; an
    adaptive policy reads none of its own, and names those of its treatments. scale: of the predictions, with so many grades.
    golden: sha256 of the file that it was chosen on. parameters: of the kind. found: what was measured when it was chosen.
    """

    kind: str
    name: str
    judge: str
    fingerprint: str
    lineage: tuple[str, ...]
    scale: str
    grades: int
    golden: str
    parameters: Mapping[str, Any]
    found: Mapping[str, Estimate] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
