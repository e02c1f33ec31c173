"""A look at a running experiment: a new batch of queries measured as `compare` measures, and nothing else than was opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.cards.admission import distinct, is_human, named
from germane.experiment import effects, guards, words
from germane.experiment.frame import Frame
from germane.experiment.measured import Measured, measure
from germane.experiment.pool import Floats, Pool
from germane.experiment.results import weights_of
from germane.sampling import UNIT
from germane.stats.batches import Batch, deviations
from germane.types import Estimate, InputError, JudgeCard, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

    from germane.experiment import Choices

PEOPLE = "people"
ARM_SETTINGS = ("engine", "models", "fields", "k1", "b", "stopwords", "student", "score", "template", "id", "constant")
"""What is said of a ranker in a run's manifest that may not change from look to look."""


class Rows(NamedTuple):
    """The queries of a batch, in order of their ids; arrays are (n,). lists: `marks_of`. weight: 1 on average."""

    query: list[str]
    stratum: list[str]
    lists: list[str]
    weight: Floats
    control: Floats
    difference: Floats
    deviation: Floats
    control_deviation: Floats


@dataclass(frozen=True)
class Taken:
    """A batch that was measured. own: its mean difference alone. guard: of difference + margin times control, if relative.

    control, treatment: levels in this batch. digest: of its queries and lists. unit: queries or traffic. judge, fingerprint,
    guides: of who judged. unjudged: (low, high) of `own` by other grades for what has none, None where that changes nothing.
    arms: what the runs' manifests say of their rankers. design: how its queries were drawn.
    """

    own: Batch
    guard: Batch | None
    rows: Rows
    control: Estimate
    treatment: Estimate
    digest: str
    unit: str
    metric: str
    judge: str
    fingerprint: str
    guides: tuple[str, ...]
    arms: dict[str, dict[str, Any]]
    design: dict[str, Any]
    unjudged: tuple[float, float] | None
    warnings: tuple[str, ...]
    overrides: tuple[str, ...]


def take(
    control: Run,
    treatment: Run,
    judgments: pa.Table,
    *,
    scale: Scale,
    choices: Choices,
    design: pa.Table | None = None,
    card: JudgeCard | None = None,
    relative_margin: float | None = None,
) -> Taken:
    """A batch, measured by `measure`, under every refusal of `compare`; the mean is the stratified paired difference.

    relative_margin: of the control's level; then difference + margin times control, query by query, is what is not to be
    below 0, and its mean has an interval like any other.

    Raises: Refusal and InputError as `compare`; InputError for judgments of several judges, whatever is allowed, and for a
    relative margin where documents without a grade leave the control's level unknown.
    """
    m = measure(control, treatment, judgments, scale=scale, choices=choices, design=design, card=card)
    judge, fingerprint, guides = _who(m)
    about, found = m.about, m.found
    guard = None
    if relative_margin is not None:
        if not found.level_known:
            raise InputError(
                "the margin is a share of the control's level, which is not known: some documents shown have no grade. Have "
                "them judged (germane pairs lists them); an absolute margin needs only those that moved"
            )
        guard = _batch(about, found.difference + relative_margin * found.control)
    levels = [effects.level_of(about, arm, level=choices.level) for arm in (found.control, found.treatment)]
    warned = guards.warnings_of(judge, not fingerprint, _simulated(control, treatment), card, replace(m.plain, caveat=""))
    warned += guards.ties((control.name, treatment.name), m.whole.ties)
    rows = _rows(m)
    unit = "queries" if about.design.unit in ("queries", UNIT) else "traffic"
    return Taken(
        own=Batch(m.plain.n, m.plain.value, m.plain.se),
        guard=guard,
        rows=rows,
        control=levels[0],
        treatment=levels[1],
        digest=digest_of(rows.lists),
        unit=unit,
        metric=str(m.metric),
        judge=judge,
        fingerprint=fingerprint,
        guides=guides,
        arms={name: _settings(run) for name, run in (("control", control), ("treatment", treatment))},
        design=_design(about),
        unjudged=(m.unjudged.low, m.unjudged.high) if m.unjudged.mode == "as zero" else None,
        warnings=(*warned, *words.unjudged_warning(m.unjudged), *about.warnings),
        overrides=m.overrides,
    )


def marks_of(about: Frame, shown: Pool) -> list[str]:
    """(n,) of each query: 64 bits, in hex, of it and of the lists that both arms show for it, whatever was judged of them."""
    docs, ends = shown.docs.to_pylist(), np.asarray(shown.offsets).tolist()
    ranks = (np.asarray(each).tolist() for each in (shown.control_rank, shown.treatment_rank))
    places = list(zip(docs, *ranks, strict=True))
    ids = [str(each) for each in about.queries.to_pylist()]
    rows = ((name, sorted(places[start:end])) for name, start, end in zip(ids, ends[:-1], ends[1:], strict=True))
    return [hashlib.sha256(repr(row).encode(errors="backslashreplace")).hexdigest()[:16] for row in rows]


def digest_of(marks: Sequence[str]) -> str:
    """SHA-256 of a batch by the marks of its queries.

    The same batch under other file names, in another order of rows, or judged anew, is the same batch.
    """
    return hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()


def is_arm(run: str, arm: str, other: str) -> bool:
    """Whether a run's name says that it is of this arm: its name, or its name and more (a date), and not better the other's.

    >>> is_arm("bm25-2026-03-02", "bm25", "hybrid"), is_arm("bm25-title", "bm25", "bm25-title"), is_arm("bm255", "bm25", "x")
    (True, False, False)
    """

    def fits(name: str) -> int:
        rest = run[len(name) :]
        return len(name) if run.startswith(name) and not rest[:1].isalnum() else -1

    return fits(arm) > fits(other)


def _who(m: Measured) -> tuple[str, str, tuple[str, ...]]:
    """Judge, fingerprint and guide versions. Raises: InputError for several judges: their errors do not add up to one."""
    made_by = distinct(m.kinds, "judge", "fingerprint")
    machines = [(judge, mark) for judge, mark in made_by if not is_human(judge, mark)]
    guides = tuple(version for (version,) in distinct(m.kinds, "guide_version") if version)
    if not machines:
        return PEOPLE, "", guides
    if len(made_by) > 1:
        names = ", ".join(named(*each) for each in made_by[:4])
        raise InputError(f"the judgments are of {len(made_by)} judges ({names}): an experiment has one from first to last look")
    return (*machines[0], guides)


def _batch(about: Frame, values: Floats) -> Batch:
    e = effects.difference_of(about, values, level=0.95, minimum_nonzero=0)
    return Batch(e.n, e.value, e.se)


def _rows(m: Measured) -> Rows:
    about, found, weights = m.about, m.found, weights_of(m.about)
    ids, strata = ([str(x) for x in each] for each in (about.queries.to_pylist(), about.strata))
    given = found.control, found.difference
    off = [deviations(values, weights, about.strata) for values in (found.difference, found.control)]
    return Rows(ids, strata, marks_of(about, m.whole), weights, *given, *off)


def _design(about: Frame) -> dict[str, Any]:
    """How the queries were drawn. What is of each stratum can be had from the queries: there may be thousands of strata."""
    sizes = {"strata": len(about.populations), "population": int(sum(about.populations.values()))}
    return {"unit": about.design.unit, "origin": about.design.origin, **sizes}


def _settings(run: Run) -> dict[str, Any]:
    return {name: run.origin[name] for name in ARM_SETTINGS if run.origin.get(name)}


def _simulated(*runs: Run) -> bool:
    return any(bool(run.origin.get("simulated")) for run in runs)
