"""Metrics of ranked lists, named as in ir_measures, of one query or of many at once. Pure numpy.

The line is: `rank_arrays` orders a run, `grade_arrays` looks its documents up in the judgments, `Lists` and `Judged` hold
the grades of many queries in flat arrays, and `measure` turns them into one number a query and metric.

Unjudged documents (relevance -1) have gain 0 in every metric here, and are never silently so: `Judged@k` counts them, and
`experiment` is the one that decides whether a number that rests on them may be printed.
"""

from germane.metrics.measures import measure, sdcg_weights
from germane.metrics.names import Metric, parse_metrics
from germane.metrics.ranking import Judged, Lists, Ranked, grade_arrays, offsets_of, rank_arrays

__all__ = [
    "Judged",
    "Lists",
    "Metric",
    "Ranked",
    "grade_arrays",
    "measure",
    "offsets_of",
    "parse_metrics",
    "rank_arrays",
    "sdcg_weights",
]
