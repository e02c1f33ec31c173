"""What `compare` knows of each query, as a table: both arms, their difference, and what the query stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.experiment import effects, frame, pool
from germane.experiment.measured import measure
from germane.types import Design, Estimate, JudgeCard, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.experiment import Choices


@dataclass(frozen=True)
class Results:
    """One experiment query by query, under the same refusals as `compare`.

    about: the queries and what they stand for. found: the metric of each. table: the same with names (see `table_of`).
    delta: the stratified paired difference of distinct queries. overrides: refusals that the user insisted past.
    """

    about: frame.Frame
    found: effects.PerQuery
    table: pa.Table
    delta: Estimate
    metric: str
    overrides: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def design(self) -> Design:
        return self.about.design

    @property
    def weights(self) -> NDArray[np.float64]:
        """(Q,) how much each query counts, 1 on average: the mean of weight times difference is delta."""
        return weights_of(self.about)


def per_query(
    control: Run,
    treatment: Run,
    judgments: pa.Table,
    *,
    scale: Scale,
    choices: Choices,
    design: pa.Table | None = None,
    card: JudgeCard | None = None,
) -> Results:
    """Each query's metric in both arms, by the likeliest grades; `choices` may ask for condensed lists and overrides.

    Raises: Refusal and InputError as `compare` does: a table of wrong numbers is no better than a report of them.
    """
    m = measure(control, treatment, judgments, scale=scale, choices=choices, design=design, card=card)
    table = table_of(m.about, m.shown, m.found, design)
    return Results(m.about, m.found, table, m.plain, str(m.metric), m.overrides, m.about.warnings)


def table_of(about: frame.Frame, shown: pool.Pool, found: effects.PerQuery, design: pa.Table | None) -> pa.Table:
    """One row a query, by query_id.

    query_id, stratum, segment, interest (empty where the design has none); weight: W_h / m_h times the number of queries,
    so that mean(weight * difference) is the stratified difference; inclusion_probability: of the draw; control, treatment,
    difference: in units of the metric, treatment minus control; results_* and unjudged_*: documents on the page, and those
    of them without a grade, which count as not relevant.
    """
    import pyarrow as pa

    n = len(about.queries)
    columns = {
        "query_id": about.queries.cast(pa.string()),
        "stratum": pa.array(about.strata, pa.string()),
        **{name: pa.array(about.dimensions.get(name, [None] * n), pa.string()) for name in ("segment", "interest")},
        "weight": pa.array(weights_of(about)),
        "inclusion_probability": _chances(about, design),
        "control": pa.array(found.control),
        "treatment": pa.array(found.treatment),
        "difference": pa.array(found.difference),
    }
    for arm, ranks in (("control", shown.control_rank), ("treatment", shown.treatment_rank)):
        columns[f"results_{arm}"] = pa.array(shown.per_query(ranks > 0).astype(np.int64))
        columns[f"unjudged_{arm}"] = pa.array(shown.per_query((ranks > 0) & shown.unjudged).astype(np.int64))
    return pa.table(columns)


def weights_of(about: frame.Frame) -> NDArray[np.float64]:
    """(Q,) W_h / m_h of each query, times the number of queries: 1 on average."""
    names, code, counts = np.unique(about.strata.astype(str), return_inverse=True, return_counts=True)
    sizes = np.array([about.populations[str(name)] for name in names], np.float64)
    weights = sizes / sizes.sum() / counts * counts.sum()
    return np.asarray(weights[code], np.float64)


def _chances(about: frame.Frame, design: pa.Table | None) -> Any:
    """The inclusion probabilities of the design; without one every query stands for itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if design is None:
        return pa.array(np.ones(len(about.queries)))
    at = pc.index_in(about.queries, value_set=design["query_id"].combine_chunks().cast(about.queries.type))
    return design["inclusion_probability"].combine_chunks().take(at)
