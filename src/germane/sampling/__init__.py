"""From a population of queries to a sample of known odds; which documents need a grade, and which of them an audit."""

from germane.sampling.audits import AuditDraw, draw_audit, gain_sd
from germane.sampling.draw import STRATA, UNIT, Drawn, draw, name_of, read_design_table
from germane.sampling.pool import Pool, pool

__all__ = [
    "STRATA",
    "UNIT",
    "AuditDraw",
    "Drawn",
    "Pool",
    "draw",
    "draw_audit",
    "gain_sd",
    "name_of",
    "pool",
    "read_design_table",
]
