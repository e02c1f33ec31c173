"""The frame: which queries an experiment is about, what they stand for, and which segments they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import sampling, store
from germane.types import Design, InputError, Refusal, Run, Stratum

if TYPE_CHECKING:
    import pyarrow as pa

Names = NDArray[np.object_]

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


def build(control: Run, treatment: Run, judgments: pa.Table, design: pa.Table | None, allow: frozenset[str]) -> Frame:
    """The frame of a comparison.

    With a design: its queries, every one; a query that an arm has no row for is an empty page there. Without: the
    queries of the two runs that somebody judged, as a simple random sample of an unknown population.

    Raises: InputError where nothing overlaps; Refusal `--allow one-armed` for many queries that one arm alone answered.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    in_control, in_treatment = (_asked(run) for run in (control, treatment))
    either = pc.unique(pa.concat_arrays([in_control, in_treatment]))
    frame = _assumed(control, treatment, judgments, either) if design is None else _designed(design, either)
    if len(frame.queries) < 2:
        raise InputError("the experiment has 1 query: 2 are the least for an interval, and some hundreds for a useful one")
    answered = [_among(frame.queries, arm) for arm in (in_control, in_treatment)]
    one_armed, none = int((answered[0] != answered[1]).sum()), int((~answered[0] & ~answered[1]).sum())
    return _paired(frame, one_armed, none, allow)


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
    strata = np.array(design["stratum"].to_pylist(), dtype=object)
    populations = dict(zip(strata, design["population"].to_pylist(), strict=True))
    drawn = sampling.read_design_table(design)
    names: list[str] = [
        name for name in ("segment", "interest") if name in design.column_names and design[name].null_count < len(design)
    ]
    dimensions: dict[str, Names] = {
        name: np.array(["(none)" if v is None else v for v in design[name].to_pylist()], object) for name in names
    }
    if not dimensions and len(populations) > 1:
        dimensions = {"stratum": strata.copy()}
    notes = []
    outside = len(either) - overlap
    if outside:
        notes.append(f"{outside} queries of the runs are not in the design and were left out.")
    used = _design_of(strata, populations, replace(drawn, origin=drawn.origin or "given by the user"))
    return Frame(queries, strata, populations, dimensions, used, tuple(_lone(strata, populations)), (), tuple(notes))


def _design_of(strata: Names, populations: Mapping[str, int], was: Design) -> Design:
    """The design with the strata that are used, and how many queries each of them has."""
    rows = tuple(Stratum(name, populations[name], int((strata == name).sum())) for name in sorted(populations))
    return replace(was, strata=rows)


def _assumed(control: Run, treatment: Run, judgments: pa.Table, either: Any) -> Frame:
    """No design: judged queries as a simple random sample; unjudged ones stay only if their arms do not differ at all."""
    import pyarrow.compute as pc

    answered = judgments.filter(pc.is_valid(judgments["relevance"]))
    judged = pc.is_in(either, value_set=pc.unique(answered["query_id"]).cast(either.type))
    unjudged_ids = either.filter(pc.invert(judged))
    warnings = ["No design was given: the queries are taken as a simple random sample of the traffic that they stand for."]
    queries = either.filter(judged)
    if not len(queries):
        raise InputError(
            f"no query of the two runs has a judgment (run: {_first(either)}, judgments: "
            f"{_first(pc.unique(judgments['query_id']))}): are these the judgments of the same queries?"
        )
    if len(unjudged_ids):
        if _identical(control, treatment, unjudged_ids):
            queries = either
            warnings.append(f"{len(unjudged_ids)} queries have no judgment and the same results in both arms: they count as 0.")
        else:
            warnings.append(
                f"{len(unjudged_ids)} of {len(either)} queries have no judgment and were left out; if only queries that "
                "changed were judged, the difference is overstated: pass the design (--design) that they were sampled by."
            )
    silent = answered.filter(pc.invert(pc.is_in(answered["query_id"], value_set=either)))
    if absent := len(pc.unique(silent["query_id"])):
        warnings.append(
            f"{absent} queries with judgments have no results in either run and were left out. If they were asked, they are "
            "empty pages in both arms: pass the design (--design) and they count."
        )
    queries = queries.take(pc.sort_indices(queries))
    size = len(queries)
    design = Design((Stratum("all", size, size),), None, "queries", "simple random sample (assumed: no design was given)")
    return Frame(queries, np.full(size, "all", dtype=object), {"all": size}, {}, design, tuple(warnings))


def _identical(control: Run, treatment: Run, queries: Any) -> bool:
    """True if the two runs list the same documents in the same order for these queries."""
    import pyarrow.compute as pc

    columns = ["query_id", "rank", "doc_id"]
    parts = []
    for run in (control, treatment):
        kept = run.table.filter(pc.is_in(run.table["query_id"], value_set=queries))
        parts.append(store.rank(kept).select(columns).sort_by([("query_id", "ascending"), ("rank", "ascending")]))
    return bool(parts[0].equals(parts[1]))


def _lone(strata: Names, populations: Mapping[str, int]) -> list[str]:
    """A sentence about strata of one query: they keep their weight, and their variance is that of the others."""
    names, counts = np.unique(strata.astype(str), return_counts=True)
    alone = [str(name) for name, count in zip(names, counts, strict=True) if count < 2]
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
    if none:
        warnings.append(f"{none} of {size} queries of the design have no results in either arm; they count as no difference.")
    return replace(frame, warnings=tuple(warnings), overrides=tuple(overrides))


def _asked(run: Run) -> Any:
    """The distinct query ids of a run, one Arrow array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.unique(run.table["query_id"].cast(pa.string()).combine_chunks())


def _among(queries: Any, some: Any) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(queries, value_set=some).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _first(ids: Any) -> str:
    return repr(ids[0].as_py()) if len(ids) else "none"
