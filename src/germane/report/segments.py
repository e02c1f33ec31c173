"""What a report says of its segments in words: whether they differ at all, which is to be read before any one of them."""

from __future__ import annotations

from germane.report import words
from germane.types import Report


def differ(report: Report, dimension: str) -> str:
    """Whether the effects of a dimension's segments differ by more than luck: to be read before any one of them."""
    effects = [e for e in report.by_segment if e.dimension == dimension]
    test = next((t for t in report.interactions if t.dimension == dimension), None)
    if test is None:
        if len(effects) < 2:
            return ""
        return "Do the groups differ at all? That cannot be asked: fewer than two of them have enough queries that changed."
    chance = f"p = {words.chance(test.p)}".replace("= under", "under")
    if len(report.interactions) > 1:
        asked = words.many(len(report.interactions), "dimension")
        chance += f", corrected for asking of {asked} {words.chance(test.q)}"
    if test.q <= 1 - report.delta.level:
        return (
            f"Do the groups differ at all? Yes: their effects differ by more than luck explains ({chance}). One number for all "
            "queries hides that: read the groups."
        )
    said = (
        f"Do the groups differ at all? Nothing says so ({chance}): the effect may well be the same in all of them, and then "
        "the one over all queries is the best guess for each."
    )
    if any(e.found for e in effects):
        said += " A group marked found differs from zero, which does not make it different from the others."
    return said
