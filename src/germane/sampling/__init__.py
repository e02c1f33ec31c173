"""From a population of queries to a sample of known odds; which documents need a grade, and which of them an audit."""

from germane.sampling.afterwards import post_stratified
from germane.sampling.audits import AuditDraw, draw_audit, gain_sd
from germane.sampling.designs import TRAFFIC, UNIT, read_design_table, standing
from germane.sampling.draw import Drawn, draw
from germane.sampling.pilots import Pilot, read_pilot
from germane.sampling.pool import Pool, pool
from germane.sampling.population import Allocation, Population
from germane.sampling.strata import STRATA, name_of

__all__ = [
    "STRATA",
    "TRAFFIC",
    "UNIT",
    "Allocation",
    "AuditDraw",
    "Drawn",
    "Pilot",
    "Pool",
    "Population",
    "draw",
    "draw_audit",
    "gain_sd",
    "name_of",
    "pool",
    "post_stratified",
    "read_design_table",
    "read_pilot",
    "standing",
]
