"""The effect in each segment of each dimension, and whether the segments of a dimension differ at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from germane.experiment.effects import PerQuery
from germane.experiment.frame import Frame, Names, rows_of
from germane.experiment.pool import Floats, Ints
from germane.stats.multiple import Method, adjusted_p, fcr_level, gated_p
from germane.stats.segments import Segments, heterogeneity, segment_differences, segment_means, shrunken
from germane.types import Effect, Estimate, InputError, Interaction

Multiple = Literal["bh", "by", "hierarchical"]
MULTIPLE: dict[str, str] = {
    "bh": "Benjamini-Hochberg over all segments of all dimensions",
    "by": "Benjamini-Yekutieli over all segments of all dimensions",
    "hierarchical": "Benjamini-Hochberg inside the dimensions whose segments differ, adjusted for choosing these",
}
"""How segments are adjusted for being many, in the words of the report."""


class Parts(NamedTuple):
    """What segments add to a report."""

    effects: tuple[Effect, ...] = ()
    interactions: tuple[Interaction, ...] = ()


class _Slot(NamedTuple):
    """Segment s of the arrays: its dimension and name."""

    dimension: str
    name: str


def segments(frame: Frame, found: PerQuery, *, level: float, minimum_nonzero: int, multiple: str = "bh") -> Parts:
    """Every segment's effect with p-values adjusted over all of them, and one test a dimension of whether they differ.

    multiple: "bh", "by" (any dependence), or "hierarchical": only the segments of dimensions that differ are tested.
    A segment with too few differences that are not zero is shown with its caveat; it is not tested, not shrunken, and not
    part of its dimension's test. Found segments have an interval adjusted for having been selected.

    Raises: InputError for another `multiple`.
    """
    if multiple not in MULTIPLE:
        raise InputError(f"multiple={multiple!r} is unknown: pass one of {', '.join(MULTIPLE)}")
    if not frame.dimensions:
        return Parts()
    slots, codes = _numbered(frame.dimensions)
    strata, populations = np.empty(len(frame.strata), dtype=np.int64), []
    for h, (name, rows) in enumerate(frame.rows.items()):
        strata[rows] = h
        populations.append(frame.populations[name])
    numbers = segment_differences(found.difference, strata, codes, populations, level=level, minimum_nonzero=minimum_nonzero)
    control: tuple[Estimate | None, ...] = (None,) * len(slots)
    if found.level_known:
        control = segment_means(found.control, strata, codes, populations, level=level)
    total = float(sum(frame.populations.values()))
    effects = [_effect(slot, numbers, s, control[s], total) for s, slot in enumerate(slots)]
    method: Method = "by" if multiple == "by" else "bh"
    interactions = _interactions(slots, numbers, method)
    effects = _judged(effects, numbers, interactions, multiple, level)
    return Parts(tuple(_shrink(effects, slots, numbers, level)), interactions)


def _numbered(dimensions: Mapping[str, Names]) -> tuple[list[_Slot], Ints]:
    """(the segments, dimension by dimension and by name; (D, Q) the number of each query's segment)."""
    slots: list[_Slot] = []
    codes = []
    for dimension, names in dimensions.items():
        code = np.full(len(names), -1, dtype=np.int64)
        for name, rows in rows_of(names).items():
            code[rows] = len(slots)
            slots.append(_Slot(dimension, name))
        codes.append(code)
    return slots, np.stack(codes)


def _effect(slot: _Slot, numbers: Segments, s: int, control: Estimate | None, total: float) -> Effect:
    share = float(numbers.weight[s]) / total
    if not numbers.measured[s]:
        note = f"{int(numbers.n[s])} sampled query: 2 are the least for an interval"
        return Effect(slot.dimension, slot.name, share, None, None, None, None, False, note)
    delta = numbers.estimate(s)
    p = float(numbers.p[s]) if numbers.reliable[s] else None
    return Effect(slot.dimension, slot.name, share, control, delta, p, None, False, delta.caveat)


def _interactions(slots: list[_Slot], numbers: Segments, method: Method) -> tuple[Interaction, ...]:
    """One test a dimension with at least two reliable segments, its p adjusted over the dimensions."""
    found = []
    for dimension, rows in _families(slots, numbers).items():
        if rows.size >= 2:
            test = heterogeneity(numbers.value[rows], numbers.se[rows], numbers.df[rows], numbers.skewness[:, rows])
            told = f"Welch's test that {rows.size} segments have one effect, guarded against skewness"
            found.append(Interaction(dimension, test.statistic, test.df, test.p, test.p, told))
    adjusted = adjusted_p([test.p for test in found], method=method)
    return tuple(replace(test, q=float(q)) for test, q in zip(found, adjusted, strict=True))


def _judged(
    effects: list[Effect], numbers: Segments, interactions: tuple[Interaction, ...], multiple: str, level: float
) -> list[Effect]:
    """The effects with q, found, and the adjusted interval of those that were found."""
    tested = np.flatnonzero(numbers.reliable)
    if not tested.size:
        return effects
    judged = list(effects)
    if multiple != "hierarchical":
        method: Method = "by" if multiple == "by" else "bh"
        q = adjusted_p(numbers.p[tested], method=method)
        count = int((q <= 1 - level).sum())
        at = fcr_level(count, tested.size, level=level, method=method) if count else level
        return _marked(judged, numbers, tested, q, at, level)
    gates = {test.dimension: test.q for test in interactions}
    dimensions = list(dict.fromkeys(effect.dimension for effect in effects))
    family = np.array([dimensions.index(effects[s].dimension) for s in tested])
    gate = [gates.get(dimension, 1.0) for dimension in dimensions]
    q, read = gated_p(numbers.p[tested], family, gate, level=level)
    opened = 1 - (1 - level) * sum(g <= 1 - level for g in gate) / len(gate)
    for k in np.unique(family):
        rows = tested[family == k]
        if not read[family == k].all():
            for s in rows:
                judged[s] = replace(judged[s], note=f"not tested: the segments by {dimensions[k]} do not clearly differ")
            continue
        count = int((q[family == k] <= 1 - level).sum())
        at = fcr_level(count, rows.size, level=opened) if count else level
        judged = _marked(judged, numbers, rows, q[family == k], at, level)
    return judged


def _marked(effects: list[Effect], numbers: Segments, rows: Ints, q: Floats, at: float, level: float) -> list[Effect]:
    """The effects with these q; those found with their interval at the level `at`."""
    marked = list(effects)
    count, (low, high) = int((q <= 1 - level).sum()), numbers.interval(at)
    for s, value in zip(rows.tolist(), q.tolist(), strict=True):
        adjusted, delta, found = None, marked[s].delta, bool(value <= 1 - level)
        if found and delta is not None:
            told = f"{delta.method}, adjusted for selection: {count} found of {rows.size} tested"
            adjusted = replace(delta, low=float(low[s]), high=float(high[s]), method=told, level=at)
        marked[s] = replace(marked[s], q=value, found=found, adjusted=adjusted)
    return marked


def _shrink(effects: list[Effect], slots: list[_Slot], numbers: Segments, level: float) -> list[Effect]:
    """The effects with those of one dimension pulled towards each other, where at least four are reliable."""
    pulled = list(effects)
    for rows in _families(slots, numbers).values():
        together = shrunken(numbers.value[rows], numbers.se[rows], numbers.df[rows], level=level)
        if together is None:
            continue
        told = f"shrunken towards the mean of {rows.size} segments"
        for i, s in enumerate(rows.tolist()):
            value, se, low, high = (float(x[i]) for x in (together.value, together.se, together.low, together.high))
            estimate = Estimate(value, se, low, high, int(numbers.n[s]), told, level, float(numbers.df[s]))
            pulled[s] = replace(pulled[s], shrunken=estimate)
    return pulled


def _families(slots: list[_Slot], numbers: Segments) -> dict[str, Ints]:
    """Dimension -> its reliable segments."""
    of = np.array([slot.dimension for slot in slots])
    return {name: np.flatnonzero((of == name) & numbers.reliable) for name in dict.fromkeys(of.tolist())}
