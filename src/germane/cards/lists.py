"""The levels of scores, paired differences and decisions: the judge's errors once they are summed over ranked lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import metrics
from germane.cards.gold import Pairs
from germane.stats import clustered, equivalence, ranks
from germane.stats.clustered import Undefined
from germane.stats.means import MINIMUM_NONZERO
from germane.types import BiasAt, Decisions, Equivalence, Estimate, InputError, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = 12
"""Decimal places of a query's sDCG that count: the rest is the noise of adding in another order, and would break ties."""

SIZES = (300, 1000, 3000)
"""Queries of the experiments whose decisions are tried, beside as many as gold has."""


class Experiment(NamedTuple):
    """The ranked lists that the judge's grades are summed over. runs: for scores; control and treatment: for differences.

    metric: sDCG@K. condensed: take documents that people or judge left open out of the lists first. margin: the largest
    paired bias that would not matter. seed: of the resampled experiments.
    """

    runs: tuple[Run, ...] = ()
    control: Run | None = None
    treatment: Run | None = None
    metric: str = "sDCG@25"
    condensed: bool = False
    margin: float = 0.002
    seed: int = 0


class Values(NamedTuple):
    """One row a list: the number of its query, its weight, and sDCG (or the paired difference) by people and by the judge."""

    query: NDArray[np.int64]
    weight: NDArray[np.float64] | None
    people: NDArray[np.float64]
    judge: NDArray[np.float64]

    def only(self, rows: NDArray[np.bool_]) -> Values:
        weight = None if self.weight is None else self.weight[rows]
        return Values(self.query[rows], weight, self.people[rows], self.judge[rows])


def depth(metric: str) -> int:
    """The K of sDCG@K. Raises: InputError for another metric."""
    (parsed,) = metrics.parse_metrics(metric)
    if parsed.name != "sDCG" or parsed.k is None:
        raise InputError(f"metric {metric!r}: check sums a judge's errors by sDCG, as sDCG@25: only there do they add up")
    return parsed.k


def scores(pairs: Pairs, rows: NDArray[np.bool_], experiment: Experiment, scale: Scale) -> tuple[Values | None, list[str]]:
    """sDCG of each list by people and by the judge, of every query whose whole top k both graded; and what is to be said."""
    k, given, notes, parts = depth(experiment.metric), _runs(experiment), [], []
    for run in given:
        shown = _shown(pairs, rows, (None, run), k, experiment.condensed, scale)
        values, left, asked = _summed(shown, len(pairs.query_ids))
        notes += _left_out(f"scores of {run.name}", left, asked, "a document of its top", k, experiment.condensed)
        parts.append(values)
    if not given:
        return None, ["scores were left out: they need a ranked list (--run)"]
    query, people, judge = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    if not len(query):
        return None, notes
    weight, said = _weights(pairs, rows)
    return Values(query, None if weight is None else weight[query], people, judge), notes + said


def differences(pairs: Pairs, rows: NDArray[np.bool_], experiment: Experiment, scale: Scale) -> tuple[Values | None, list[str]]:
    """Treatment minus control by people and by the judge, of every query whose moved documents both graded."""
    control, treatment, k = experiment.control, experiment.treatment, depth(experiment.metric)
    if control is None or treatment is None:
        return None, ["paired differences and decisions were left out: they need two runs (--control and --treatment)"]
    shown = _shown(pairs, rows, (control, treatment), k, experiment.condensed, scale)
    values, left, asked = _summed(shown, len(pairs.query_ids))
    notes = _left_out("paired differences", left, asked, "a document that moved in the top", k, experiment.condensed)
    if not len(values[0]):
        return None, notes
    weight, _ = _weights(pairs, rows)
    return Values(values[0], None if weight is None else weight[values[0]], values[1], values[2]), notes


def found(values: Values, prefix: str, *, strata: Any, level: float) -> tuple[dict[str, Estimate], list[str]]:
    """tau-b, rho, mean error, P10 and P90 of the error, by name, and the names of those without a value.

    strata: (queries,) names, or None.
    """
    error = (values.judge - values.people).round(PLACES)
    options: dict[str, Any] = {"clusters": values.query, "weights": values.weight, "level": level}
    inside = None if strata is None else strata[values.query].astype(str)
    what, reach = "judge minus people", (-1.0, 1.0) if prefix == "score" else (-2.0, 2.0)
    tried: tuple[tuple[str, Callable[[], Estimate]], ...] = (
        ("tau-b", lambda: ranks.kendall_tau_b(values.people, values.judge, **options)),
        ("rho", lambda: ranks.spearman_rho(values.people, values.judge, **options)),
        ("error", lambda: _reliable(clustered.mean(error, strata=inside, bounds=reach, method=what, **options), error)),
        ("error P10", lambda: clustered.quantile(error, 0.1, method=f"P10 of {what}", **options)),
        ("error P90", lambda: clustered.quantile(error, 0.9, method=f"P90 of {what}", **options)),
    )
    estimates, empty = {}, []
    for name, statistic in tried:
        try:
            estimates[f"{prefix} {name}"] = statistic()
        except Undefined:
            empty.append(f"{prefix} {name}")
    return estimates, empty


def bias(values: Values, error: Estimate, experiment: Experiment) -> tuple[Equivalence, tuple[BiasAt, ...], list[str]]:
    """Whether the paired bias is inside the margin, what it does to experiments by size, and from which size on it shows."""
    shown = equivalence.equivalence(error, experiment.margin)
    w = clustered.scaled(values.weight, len(values.judge))
    sd = float(np.sqrt((w * (values.judge - (w * values.judge).mean()) ** 2).sum() / (w.sum() - 1)))
    if not sd > 0:
        return shown, (), ["the judge's differences do not vary: nothing can be said of its bias by number of queries"]
    rows = equivalence.bias_against_queries(error, sd)
    noise, mde = (equivalence.queries_until(error.value, sd, times=t) for t in (1.0, rows[0].mde / rows[0].se))
    said = "the paired bias of this judge is 0 here: it exceeds no noise"
    if noise is not None and mde is not None:
        said = f"a paired bias of {error.value:+.4f} exceeds the noise from {noise:,} queries on, and the MDE from {mde:,} on"
        said += "" if error.low > 0 or error.high < 0 else "; its interval holds 0, so it may be none at all"
    return shown, rows, [said]


def decided(
    values: Values, experiment: Experiment, *, level: float, sizes: Sequence[int] = SIZES, experiments: int = 2000
) -> tuple[dict[str, Estimate], tuple[Decisions, ...]]:
    """How often people and the judge decide alike in resampled experiments; the first are as large as gold."""
    n = len(values.query)
    if n < 2:
        return {}, ()
    options: dict[str, Any] = {"seed": experiment.seed, "weights": values.weight, "level": level, "experiments": experiments}
    found = {"decision agreement": equivalence.decision_agreement(values.people, values.judge, **options)}
    with contextlib.suppress(Undefined):  # no difference at all has no sign
        found["decision sign agreement"] = equivalence.decision_agreement(values.people, values.judge, sign=True, **options)
    tables = equivalence.decisions(values.people, values.judge, sizes=(n, *(s for s in sizes if s > n)), **options)
    return found, tables


def _runs(experiment: Experiment) -> tuple[Run, ...]:
    both = (experiment.control, experiment.treatment)
    return (*experiment.runs, *(run for run in both if run is not None))


def _shown(
    pairs: Pairs, rows: NDArray[np.bool_], runs: tuple[Run | None, Run], k: int, condensed: bool, scale: Scale
) -> pa.Table:
    """A row a document of the top k: number of its query, weight of its place (the second run's minus the first's, if there
    is one), gains by people and judge; null = open."""
    import pyarrow as pa

    from germane import store

    gains = np.asarray(scale.gains) / scale.gains[-1]
    both, asked = rows & (pairs.other >= 0), np.unique(pairs.query[rows])
    graded: dict[str, Any] = {
        "query_id": pairs.query_ids[pairs.query[both]],
        "doc_id": pairs.doc_ids[both],
        "people": gains[pairs.gold[both]],
        "judge": gains[pairs.other[both]],
    }
    numbers: dict[str, Any] = {"query_id": pairs.query_ids[asked], "query": asked}
    places: dict[str, Any] = {"rank": np.arange(k + 1), "weight": np.concatenate([[0.0], metrics.sdcg_weights(k)])}
    tables = {"graded": pa.table(graded), "asked": pa.table(numbers), "places": pa.table(places)}
    tables["control"], tables["treatment"] = (_cut(run, tables["graded"], k, condensed) for run in runs)
    sql = """
        WITH shown AS (
            SELECT coalesce(c.query_id, t.query_id) AS query_id, coalesce(c.doc_id, t.doc_id) AS doc_id,
                   coalesce(c.rank, 0) AS c, coalesce(t.rank, 0) AS t
            FROM control c FULL JOIN treatment t ON c.query_id = t.query_id AND c.doc_id = t.doc_id
        )
        SELECT asked.query, a.weight - b.weight AS weight, people, judge
        FROM shown JOIN asked USING (query_id) LEFT JOIN graded USING (query_id, doc_id)
        JOIN places a ON a.rank = shown.t JOIN places b ON b.rank = shown.c
        ORDER BY asked.query, shown.doc_id
    """
    with store.database(**tables) as query:
        return query(sql)


def _cut(run: Run | None, graded: pa.Table, k: int, condensed: bool) -> pa.Table:
    """query_id, doc_id and rank of the first k results; condensed: of those that are graded."""
    import pyarrow as pa

    from germane import store

    if run is None:
        nothing: dict[str, Any] = {"query_id": pa.array([], pa.string()), "doc_id": pa.array([], pa.string())}
        return pa.table(nothing | {"rank": pa.array([], pa.int32())})
    table = run.table.select(["query_id", "doc_id", "score"])
    if condensed:
        table = table.join(graded.select(["query_id", "doc_id"]), ["query_id", "doc_id"], join_type="left semi")
    table = store.rank(table)
    return table.filter(table["rank"].to_numpy() <= k).select(["query_id", "doc_id", "rank"])


def _summed(shown: pa.Table, size: int) -> tuple[tuple[NDArray[Any], NDArray[Any], NDArray[Any]], int, int]:
    """(query, sum by people, sum by judge) of queries without an open document that counts; how many had one; of how many."""
    query, weight = shown["query"].to_numpy(), shown["weight"].to_numpy()
    open_ = shown["people"].is_null().to_numpy() & (weight != 0)
    there = np.bincount(query, minlength=size) > 0
    whole = there & (np.bincount(query, weights=open_, minlength=size) == 0)
    sums = []
    for name in ("people", "judge"):
        gain = np.nan_to_num(shown[name].to_numpy().astype(np.float64))
        total = np.bincount(query, weights=weight * gain, minlength=size)[whole]
        sums.append(total.round(PLACES) + 0.0)
    return (np.flatnonzero(whole), sums[0], sums[1]), int(there.sum() - whole.sum()), int(there.sum())


def _left_out(what: str, left: int, asked: int, lacking: str, k: int, condensed: bool) -> list[str]:
    if not asked:
        raise InputError(f"{what}: none of gold's queries is in the run: are query_id the same in both?")
    said = [f"{what}: documents that people or judge left open were taken out of the lists first"] if condensed else []
    if left:
        said.append(
            f"{what}: {left:,} of {asked:,} queries were left out, because people or judge left {lacking} {k} open "
            "(--condensed takes such documents out of the lists instead)"
        )
    return said


def _weights(pairs: Pairs, rows: NDArray[np.bool_]) -> tuple[NDArray[np.float64] | None, list[str]]:
    """(queries,) weights: those of their pairs, and the mean where they differ inside a query; and what is to be said."""
    if pairs.weight is None:
        return None, []
    query, weight, size = pairs.query[rows], pairs.weight[rows], len(pairs.query_ids)
    count = np.bincount(query, minlength=size)
    mean = np.bincount(query, weights=weight, minlength=size) / np.maximum(count, 1)
    spread = np.bincount(query, weights=abs(weight - mean[query]), minlength=size)
    uneven = int((spread > 1e-9 * np.maximum(mean, 1)).sum())
    note = f"{uneven:,} queries have pairs of unequal inclusion probability: their lists weigh as the mean of these"
    return np.where(count > 0, mean, 1.0), [note] if uneven else []


def _reliable(e: Estimate, error: NDArray[np.float64]) -> Estimate:
    """The estimate with a caveat where too few errors are not 0."""
    nonzero = int(np.count_nonzero(error))
    if nonzero >= MINIMUM_NONZERO:
        return e
    return replace(e, caveat=f"not reliable: {nonzero} of {len(error)} errors are not zero, {MINIMUM_NONZERO} are needed")
