"""`germane evaluate`: metrics of one run against judgments, as users of ir_measures expect them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import scales
from germane.metrics import Judged, Lists, Metric, measure, offsets_of, parse_metrics
from germane.types import Estimate, InputError, Scale

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray


class Measured(NamedTuple):
    """One metric of one query, or of all of them (query_id "all"): the columns of ir_measures."""

    query_id: str
    measure: str
    value: float


class Summary(NamedTuple):
    """What is printed as JSON: each metric's mean over the judged queries, and how many of them the run lacks.

    rows: one for each query and metric, where they were asked for.
    """

    measures: dict[str, Estimate]
    queries: int
    missing: tuple[str, ...]
    rows: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """Each metric's value for each judged query. missing: judged queries that the run lacks; they are measured as empty."""

    query_ids: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    missing: tuple[str, ...]
    level: float = 0.95

    def means(self) -> dict[str, float]:
        """Each metric's mean over queries, those without a value (an empty list's share) left out."""
        import numpy as np

        return {name: float(np.nanmean(x)) if np.isfinite(x).any() else float("nan") for name, x in self.values.items()}

    def summary(self, *, by_query: bool = False) -> Summary:
        """Each metric's mean with its interval: queries are a simple random sample of what they stand for.

        One query has no interval: its limits are NaN, null in JSON, and the caveat says why. by_query: with each row.
        """
        import numpy as np

        from germane.stats.means import stratified_mean
        from germane.stats.moments import Moments

        found, none = {}, float("nan")
        for name, x in self.values.items():
            kept = x[np.isfinite(x)]
            if len(kept) < 2:
                mean = float(kept[0]) if len(kept) else none
                caveat = f"no interval: {len(kept)} of the queries have a value, 2 are needed"
                found[name] = Estimate(mean, none, none, none, len(kept), "mean", self.level, None, caveat)
            else:
                found[name] = stratified_mean({"all": Moments.of(kept)}, {"all": len(kept)}, level=self.level)
        return Summary(found, len(self.query_ids), self.missing, tuple(self.rows()) if by_query else ())

    def rows(self) -> list[Measured]:
        """One row for each query and metric."""
        return [
            Measured(query, name, float(x[at])) for at, query in enumerate(self.query_ids) for name, x in self.values.items()
        ]

    def lines(self, *, by_query: bool = False, summary: bool = True, places: int = 4) -> str:
        """The lines that `ir_measures` prints: measure and mean, after query_id, measure and value of each query with -q."""
        found = self.rows() if by_query else []
        if summary:
            found += [Measured("all", name, mean) for name, mean in self.means().items()]
        form = "" if places < 0 else f".{places}f"
        return "\n".join(
            "\t".join([*([row.query_id] if by_query else []), row.measure, f"{row.value:{form}}"]) for row in found
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row a query, one column a metric."""
        import pandas as pd

        return pd.DataFrame(self.values, index=pd.Index(self.query_ids, name="query_id"))


def evaluate(
    judgments: Any, run: Any, metrics: str | Iterable[str], *, scale: str | Scale | None = None, level: float = 0.95
) -> Evaluation:
    """Each metric of each judged query. judgments, run: a file, an Arrow table, a pandas frame or a dict.

    scale: maps labels to grades and gives sDCG its gains; without one, bare qrels keep their integers.
    Queries are those of the judgments; one that the run lacks is an empty list, and counts. One that an engine failed to
    answer when the run was collected is left out.

    Raises: InputError for input that cannot be read, for a metric that is not known, and where no query is in both.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from germane import sources

    wanted = [metric for text in ([metrics] if isinstance(metrics, str) else metrics) for metric in parse_metrics(text)]
    if not wanted:
        raise InputError("no metric is named: give at least one, as in 'nDCG@10 P(rel=2)@5 Judged@10'")
    chosen = scales.get(scale) if isinstance(scale, str) else scale
    judged = _answered(sources.read_judgments(judgments, scale=chosen, judge=None))
    found = sources.read_run(run)
    ranking, failed = found.table, {str(lost["query_id"]) for lost in found.origin.get("failed", ())}
    gains = chosen.gains if chosen else None
    names: Sequence[Metric] = list(dict.fromkeys(metric.with_gains(gains) for metric in wanted))
    if failed:
        judged = judged.filter(pc.invert(pc.is_in(judged["query_id"], value_set=pa.array(sorted(failed), pa.string()))))
    query_ids = tuple(str(query) for query in judged.column("query_id").unique().sort().to_pylist())
    missing = tuple(sorted(set(query_ids) - set(ranking.column("query_id").unique().to_pylist())))
    if len(missing) == len(query_ids):
        raise InputError(
            f"no query is in both: judgments have {query_ids[0]!r} and {len(query_ids) - 1} more, "
            f"the run has {ranking.column('query_id')[0].as_py()!r}: check that both use the same ids"
        )
    values = measure(names, *_flat(ranking, judged, query_ids), gains=gains)
    for metric in names:
        if metric.name == "Judged":  # of an empty list nothing is judged: 0 here, as in ir_measures
            values[str(metric)] = np.nan_to_num(values[str(metric)])
    return Evaluation(query_ids, values, missing, level)


def _answered(judgments: pa.Table) -> pa.Table:
    """The judgments with a grade: no answer is not a grade of 0."""
    found = judgments.filter(judgments.column("relevance").is_valid())
    if found.num_rows == 0:
        raise InputError("the judgments hold no grade: nothing can be measured")
    return found


def _flat(ranking: pa.Table, judged: pa.Table, query_ids: Sequence[str]) -> tuple[Lists, Judged]:
    """Grades of the run's lists and all judged grades, both by query in the order of query_ids."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from germane import store

    order = pa.array(query_ids, pa.string())
    graded = store.graded(ranking, judged, queries=order)
    arrays = []
    for table in (graded, judged.sort_by("query_id")):
        code = pc.index_in(table.column("query_id"), value_set=order).to_numpy()
        grade = table.column("relevance").to_numpy().astype(float)  # null is nan; a negative grade (spam) is judged, and 0
        relevance = np.where(np.isnan(grade), -1, np.maximum(grade, 0)).astype(np.int64)
        arrays.append((offsets_of(code, len(query_ids)), relevance))
    return Lists(*arrays[0]), Judged(*arrays[1])
