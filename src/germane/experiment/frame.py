"""The frame: which queries an experiment is about, what they stand for, and which segments they belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import sampling
from germane.experiment.arms import Arms
from germane.store.stored import first_of
from germane.types import Design, InputError, Refusal, Stratum

if TYPE_CHECKING:
    import pyarrow as pa

Names = NDArray[np.object_]

ABSENT_AT_MOST = 0.2
"""A larger share of the design's queries without a result in either arm is taken for runs of other queries."""

ONE_ARMED_AT_MOST = 0.05
"""A larger share of queries that only one arm answered is taken for unpaired traffic, not for empty pages."""


@dataclass(frozen=True)
class Frame:
    """The experiment's queries, sorted by id, and what they stand for.

    strata: (Q,) stratum of each query. populations: stratum -> size. dimensions: name -> (Q,) segment
    of each query. warnings: what a reader must know. overrides: refusals that the user insisted past.
    """

    queries: Any
    strata: Names
    populations: Mapping[str, int]
    dimensions: Mapping[str, Names]
    design: Design
    warnings: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def rows(self) -> dict[str, NDArray[np.intp]]:
        """Stratum -> places of its queries."""
        return rows_of(self.strata)


def rows_of(strata: Names) -> dict[str, NDArray[np.intp]]:
    """Stratum -> indices of its queries, by name; None is nobody's stratum."""
    import pyarrow as pa

    encoded = pa.array(strata, pa.string(), from_pandas=True).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    names = encoded.dictionary.to_pylist()
    edges = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return dict(sorted((str(name), order[edges[i] : edges[i + 1]]) for i, name in enumerate(names)))


def build(
    arms: Arms,
    design: pa.Table | None,
    allow: frozenset[str],
    *,
    paired: bool = True,
    failed: Collection[str] = (),
) -> Frame:
    """The frame of a comparison.

    With a design: its queries, every one; a query that an arm has no row for is an empty page there. Without: the
    queries of the two runs that somebody judged, as a simple random sample of an unknown population.

    paired: False for two live arms, which answer different queries by nature. failed: queries that an engine failed to
    answer when an arm was collected, which are left out: that is no empty page.

    Raises: InputError where nothing overlaps; Refusal `--allow one-armed` for many queries that one arm alone answered,
    `--allow absent` for many queries of the design that are in neither run.
    """
    frame = _assumed(arms) if design is None else _designed(design, _asked(arms))
    if failed:
        lost = np.isin(np.array(frame.queries.to_pylist(), dtype=object), np.array(sorted(failed), dtype=object))
        frame = restrict(frame, ~lost, "an engine failed to answer them when an arm was collected, which is no empty page")
    if len(frame.queries) < 2:
        raise InputError("the experiment has 1 query: 2 are the least for an interval, and some hundreds for a useful one")
    number = arms.numbers(frame.queries)
    answered = [np.append(flags, False)[number] for flags in (arms.in_control, arms.in_treatment)]
    one_armed, none = int((answered[0] != answered[1]).sum()), int((~answered[0] & ~answered[1]).sum())
    return _paired(frame, one_armed if paired else 0, none, allow)


def restrict(frame: Frame, keep: NDArray[np.bool_], why: str) -> Frame:
    """The frame with only some of its queries; strata keep their populations, and what is lost is said."""
    if keep.all():
        return frame
    said = [f"{int((~keep).sum())} of {len(keep)} queries were left out: {why}"]
    strata = frame.strata[keep]
    lost = sorted(set(frame.populations) - set(strata))
    if lost:
        share = sum(frame.populations[name] for name in lost) / sum(frame.populations.values())
        said.append(f"With them went whole strata, {share:.1%} of the population: {', '.join(lost)}.")
    populations = {name: size for name, size in frame.populations.items() if name not in lost}
    if tuple(populations) == ("all",) and frame.design.origin.endswith("(assumed: no design was given)"):
        populations = {"all": len(strata)}
    if len(strata) < 2:
        raise InputError(f"{len(strata)} queries are left, and 2 are the least for an interval: {why}")
    return replace(
        frame,
        queries=frame.queries.filter(keep),
        strata=strata,
        populations=populations,
        dimensions={name: values[keep] for name, values in frame.dimensions.items()},
        design=_design_of(strata, populations, frame.design),
        warnings=(*frame.warnings, *said, *_lone(strata, populations)),
    )


def _designed(design: pa.Table, either: Any) -> Frame:
    design = design.sort_by("query_id")
    queries = design["query_id"].combine_chunks()
    overlap = int(_among(queries, either).sum())
    if not overlap:
        raise InputError(
            f"none of the design's {len(queries)} queries is in either run (design: {queries[0]}, run: {_first(either)}): "
            "collect both arms on the design's queries"
        )
    drawn = sampling.read_design_table(design)
    strata, populations = _strata(design, drawn.unit)
    names: list[str] = [
        name for name in ("segment", "interest") if name in design.column_names and design[name].null_count < len(design)
    ]
    dimensions: dict[str, Names] = {name: _objects(design[name], missing="(none)") for name in names}
    if not dimensions and len(populations) > 1:
        dimensions = {"stratum": strata.copy()}
    notes = []
    outside = len(either) - overlap
    if outside:
        notes.append(f"{outside} queries of the runs are not in the design and were left out.")
    used = _design_of(strata, populations, replace(drawn, origin=drawn.origin or "given by the user"))
    sure = int((design["inclusion_probability"].to_numpy() >= 1).sum()) if drawn.unit != sampling.UNIT else 0
    if sure:
        notes.append(
            f"{sure} queries were sure to be drawn: each stands for its own traffic, the others for equal parts of the rest."
        )
    lone = [] if sure else _lone(strata, populations)
    return Frame(queries, strata, populations, dimensions, used, tuple(lone), (), tuple(notes))


def _objects(column: Any, missing: str | None = None) -> Names:
    """The values of a text column, (n,), each distinct one held once."""
    encoded = column.cast("string").combine_chunks().dictionary_encode()
    known = np.array([*encoded.dictionary.to_pylist(), missing], dtype=object)
    return np.asarray(known[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)])


def _strata(design: pa.Table, unit: str) -> tuple[Names, dict[str, int]]:
    """The stratum of each sampled query, and what each stratum stands for in the design's unit.

    Drawn by traffic, the queries of a stratum stand for equal traffic, but for those that were sure to be drawn: each of
    these stands for its own traffic, as a stratum of its own.
    """
    strata = _objects(design["stratum"])
    if unit == sampling.UNIT:
        return strata, dict(zip(strata, design["population"].to_pylist(), strict=True))
    traffic = dict(zip(strata, design["stratum_traffic"].to_pylist(), strict=True))
    own: list[Any] = design["traffic"].to_pylist()
    alone: dict[str, int] = {}
    for row in np.flatnonzero(design["inclusion_probability"].to_numpy() >= 1).tolist():
        traffic[strata[row]] -= own[row]
        strata[row] = f"{strata[row]}: {design['query_id'][row].as_py()}"
        alone[strata[row]] = own[row]
    return strata, {name: size for name, size in traffic.items() if name in set(strata.tolist())} | alone


def _design_of(strata: Names, populations: Mapping[str, int], was: Design) -> Design:
    """The design with the strata that are used, and how many queries each of them has."""
    sizes = {name: len(rows) for name, rows in rows_of(strata).items()}
    rows = tuple(Stratum(name, populations[name], sizes.get(name, 0)) for name in sorted(populations))
    return replace(was, strata=rows)


def _assumed(arms: Arms) -> Frame:
    """No design: judged queries as a simple random sample; unjudged ones stay only if their arms do not differ at all."""
    import pyarrow.compute as pc

    either = arms.in_control | arms.in_treatment
    chosen, unjudged = either & arms.answered, either & ~arms.answered
    warnings = ["No design was given: the queries are taken as a simple random sample of the traffic that they stand for."]
    if not chosen.any():
        raise InputError(
            f"no query of the two runs has a judgment (run: {_first(_asked(arms))}, judgments: "
            f"{first_of(arms.grades.source, 'query_id')!r}): are these the judgments of the same queries?"
        )
    if left := int(unjudged.sum()):
        if arms.same_lists(unjudged):
            chosen = either
            warnings.append(f"{left} queries have no judgment and the same results in both arms: they count as 0.")
        else:
            warnings.append(
                f"{left} of {int(either.sum())} queries have no judgment and were left out; if only queries that "
                "changed were judged, the difference is overstated: pass the design (--design) that they were sampled by."
            )
    if absent := int((arms.answered & ~either).sum()):
        warnings.append(
            f"{absent} queries with judgments have no results in either run and were left out. If they were asked, they are "
            "empty pages in both arms: pass the design (--design) and they count."
        )
    queries = arms.ids.filter(chosen)
    queries = queries.take(pc.sort_indices(queries))
    size = len(queries)
    design = Design((Stratum("all", size, size),), None, "queries", "simple random sample (assumed: no design was given)")
    return Frame(queries, np.full(size, "all", dtype=object), {"all": size}, {}, design, tuple(warnings))


def _lone(strata: Names, populations: Mapping[str, int]) -> list[str]:
    """A sentence about strata of one query: they keep their weight, and their variance is that of the others."""
    alone = [name for name, rows in rows_of(strata).items() if len(rows) < 2]
    if not alone:
        return []
    share = sum(populations[name] for name in alone) / sum(populations.values())
    named = ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")
    return [
        f"{len(alone)} strata with one query each stand for {share:.1%} of the population ({named}): they keep their weight, "
        "and their variance, which one value does not have, is taken from the other strata together."
    ]


def _paired(frame: Frame, one_armed: int, none: int, allow: frozenset[str]) -> Frame:
    """The frame with what is to be said about queries that an arm did not answer."""
    size, warnings, overrides = len(frame.queries), list(frame.warnings), list(frame.overrides)
    if one_armed > ONE_ARMED_AT_MOST * size:
        if "one-armed" not in allow:
            raise Refusal(
                f"{one_armed} of {size} queries have results in one arm only. Live traffic of two arms does not pair: "
                "replay the same queries through both. If these are truly empty pages, say so.",
                "--allow one-armed",
            )
        overrides.append(f"--allow one-armed: {one_armed} of {size} queries in one arm only count as empty pages in the other.")
    elif one_armed:
        warnings.append(f"{one_armed} of {size} queries have results in one arm only; the other arm's page counts as empty.")
    if none > ABSENT_AT_MOST * size:
        said = f"{none} of {size} queries of the design have no results in either arm, and would count as no difference."
        if "absent" not in allow:
            raise Refusal(f"{said} Collect both arms on all of the design's queries.", "--allow absent")
        overrides.append(f"--allow absent: {said}")
    elif none:
        warnings.append(f"{none} of {size} queries of the design have no results in either arm; they count as no difference.")
    return replace(frame, warnings=tuple(warnings), overrides=tuple(overrides))


def _asked(arms: Arms) -> Any:
    """The ids of the queries that some run shows results for."""
    return arms.ids.filter(arms.in_control | arms.in_treatment)


def _among(queries: Any, some: Any) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(queries, value_set=some).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _first(ids: Any) -> str:
    return repr(ids[0].as_py()) if len(ids) else "none"
