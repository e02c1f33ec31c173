"""`germane experiment`: comparisons that run for days: what was stated before the first look, every look, every decision."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from germane import cards, metrics, scales, settings, sources, store
from germane.experiment import Choices, guards
from germane.experiment.guardrail import Together, standing, unless_unjudged
from germane.experiment.looks import PEOPLE, Taken, is_arm, take
from germane.report import card as card_words
from germane.report import experiments as views
from germane.stats.batches import Batch
from germane.types import Estimate, InputError, JudgeCard, Scale
from germane.watching.plan import registry as registry_of

if TYPE_CHECKING:
    from germane.registry.database import Registry
    from germane.registry.experimenting import Found, Look, Sums, Terms

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST = 64
WORDS = 2000  # characters of a question, a population, a reason
INTENDED = 2000
"""Queries at which the interval is tightest, where no number is planned."""

KINDS = ("ship", "stop", "keep")


@dataclass(frozen=True)
class Stated:
    """What is stated before the first look, and not changed after it.

    control, treatment: names of the arms, with which the names of their runs begin. margin: of non-inferiority, in units of
    the metric, or a share of the control's level if `relative`. population: what is sampled, in words; by: what a unit of it
    is, queries or traffic. card: of the machine that judges; without one, people do. queries, mde: planned. condensed,
    expected: as in `compare`.
    """

    name: str
    question: str
    control: str
    treatment: str
    scale: str | Path
    margin: float
    population: str
    owner: str
    metric: str = "sDCG@25"
    card: str | Path | None = None
    relative: bool = False
    by: str = "queries"
    level: float = 0.95
    queries: int | None = None
    mde: float | None = None
    condensed: bool = False
    expected: bool = False


@dataclass(frozen=True)
class Opened:
    """An experiment that is open. made: now; False: these terms were stated before."""

    experiment: views.Experiment
    made: bool


def open_(name: str, *, actor: str, project: Path | None = None, **stated: Any) -> Opened:
    """The experiment, opened with all that is `Stated`; the same once more changes nothing.

    Raises: InputError for a name that is no slug or is taken by other terms, a metric, scale, card or margin that cannot be.
    """
    root, where = _project(project)
    terms = _terms(Stated(name, **stated), root)
    with _registry(where) as registry:
        from germane.registry import experimenting

        found, made = experimenting.open_(registry, terms, actor=actor)
    return Opened(views.view(found), made)


def look(
    name: str,
    *,
    control: Path,
    treatment: Path,
    judgments: Path,
    actor: str,
    project: Path | None = None,
    design: Path | None = None,
    card: Path | None = None,
    allow: Sequence[str] = (),
    metric: str | None = None,
    scale: str | None = None,
    note: str = "",
) -> views.Experiment:
    """The experiment after one more look: a new batch, measured as `compare` does, and the estimate over all batches.

    card: the judge's, where it lies elsewhere than when the experiment was opened. metric, scale: may be said again.

    Raises: Refusal as `compare`; InputError for another judge, guide, metric, scale, unit or arm than was opened with, for a
    batch that was looked at before, whole or in part, and after a decision to ship or stop. Then nothing is written.
    """
    note = _text(note, "--note", 500)
    root, where = _project(project)
    with _registry(where, there=True) as registry:
        from germane.registry import experimenting

        found = experimenting.find(registry, name)
        experimenting.still_running(name, found.decisions)
        of = _scale(found.terms, root, metric, scale)
        taken = _take(found, of, (control, treatment, judgments, design), _card(found.terms, root, card), tuple(allow))
        _same(found, taken, (control, treatment))
        files = [(_inside(p, root, short=True), p) for p in (control, treatment, judgments, design) if p is not None]
        new = _new(found, taken, files, note)
        experimenting.look(registry, name, new, actor=actor)
        return views.view(experimenting.find(registry, name))


def decide(name: str, kind: str, *, by: str, why: str, actor: str, project: Path | None = None) -> views.Experiment:
    """The experiment after a decision, which supersedes those before; they stay.

    Raises: InputError for an unknown experiment or decision, and for no reason.
    """
    if kind not in KINDS:
        raise InputError(f"decision {kind[:40]!r}: expected one of {', '.join(KINDS)}")
    why, by = _text(why, "--why", WORDS, needed=True), _text(by, "--by", 200, needed=True)
    _, where = _project(project)
    with _registry(where, there=True) as registry:
        from germane.registry import experimenting

        experimenting.decide(registry, name, kind, by=by, why=why, actor=actor)
        return views.view(experimenting.find(registry, name))


def listed(project: Path | None = None) -> list[views.ExperimentRow]:
    """Every experiment, the latest first, as it stands."""
    _, where = _project(project)
    if "://" not in where and not Path(where).is_file():
        return []
    with _registry(where) as registry:
        from germane.registry import experimenting

        return [views.row(found) for found in experimenting.listed(registry)]


def show(name: str, project: Path | None = None) -> views.Experiment:
    """An experiment with every look and decision. Raises: InputError for an unknown name."""
    _, where = _project(project)
    with _registry(where, there=True) as registry:
        from germane.registry import experimenting

        return views.view(experimenting.find(registry, name))


# --- what is stated ----------------------------------------------------------------------------------------------------


def _terms(given: Stated, root: Path) -> Terms:
    from germane.registry.experimenting import Terms

    of = scales.get(given.scale)
    _check(given)
    card, mark = _stated_card(given.card)
    judged = cards.read(card) if card else None
    if judged is not None and judged.scale != of.name:
        raise InputError(f"--card {card}: it is of scale {judged.scale!r}, and the experiment's is {of.name!r}")
    said: dict[str, Any] = {
        "scale": os.path.relpath(given.scale, root) if Path(given.scale).is_file() else str(given.scale),
        "labels": list(of.labels),
        "gains": [float(g) for g in of.gains],
        "scale_version": of.version,
        "condensed": given.condensed,
        "expected": given.expected,
        "card_says": card_words.answer(judged) if judged else "",
    }
    question = given.question or f"Is {given.treatment} as relevant as {given.control}?"
    return Terms(
        name=given.name,
        question=_text(question, "--question", WORDS, needed=True),
        control=_text(given.control, "--control", 200, needed=True),
        treatment=_text(given.treatment, "--treatment", 200, needed=True),
        metric=str(guards.headline(metrics.Metric.parse(given.metric), of)),
        scale=of.name,
        guide_version=judged.guide_version if judged else of.version,
        judge=judged.judge if judged else PEOPLE,
        fingerprint=judged.fingerprint if judged else "",
        card="" if card is None else _inside(card, root),
        card_sha256=mark,
        population=_text(given.population, "--population", WORDS, needed=True),
        unit=given.by,
        margin=float(given.margin),
        relative=given.relative,
        level=float(given.level),
        intended=int(given.queries or INTENDED),
        planned=given.queries,
        mde=given.mde,
        owner=_text(given.owner, "--owner", 200, needed=True),
        terms=said,
    )


def _check(given: Stated) -> None:
    """Raises: InputError for a name that is no slug, arms that cannot be told apart, and numbers out of range."""
    if not SLUG.fullmatch(given.name) or len(given.name) > LONGEST:
        raise InputError(f"experiment {given.name[:80]!r}: expected small letters, digits and single dashes, as title-boost-2")
    if given.control.strip() == given.treatment.strip():
        raise InputError(f"both arms are called {given.control[:80]!r}: give each the name that its runs begin with")
    if given.by not in ("queries", "traffic"):
        raise InputError(f"--by {given.by[:40]}: expected queries (each counts once) or traffic")
    most, of = (0.5, "a share of the control's level, as 0.01") if given.relative else (1, "in units of the metric, as 0.005")
    if not 0 < given.margin < most:
        raise InputError(
            f"--margin {given.margin:g}: expected the largest loss that would not matter, above 0 and below {most:g}, {of}"
        )
    if not 0.5 <= given.level <= 0.9999:
        raise InputError(f"--level {given.level:g}: expected 0.5 to 0.9999")
    if given.queries is not None and given.queries < 2:
        raise InputError(f"--queries {given.queries}: expected the number that is planned, 2 or more")
    if given.mde is not None and not 0 < given.mde < 1:
        raise InputError(f"--mde {given.mde:g}: expected a difference above 0 and below 1")


def _stated_card(card: str | Path | None) -> tuple[Path | None, str]:
    if card is None:
        return None, ""
    path = Path(card)
    path = path / "card.json" if path.is_dir() else path
    return path, store.sha256(path) if path.is_file() else ""


def _inside(path: Path, root: Path, *, short: bool = False) -> str:
    """A path as it is from the project; one outside of it whole, or its name alone: pages are read by others too."""
    full = path.resolve()
    if full.is_relative_to(root.resolve()):
        return str(full.relative_to(root.resolve()))
    return path.name if short else str(full)


def _text(value: str, flag: str, most: int, *, needed: bool = False) -> str:
    text = " ".join(str(value).replace("\x00", "\u2400").split())
    if needed and not text:
        raise InputError(f"{flag} is empty: say it in a few words")
    if len(text) > most:
        raise InputError(f"{flag} has {len(text):,} characters: {most:,} at most")
    return text.encode(errors="replace").decode()


# --- a look ------------------------------------------------------------------------------------------------------------


def _scale(terms: Terms, root: Path, metric: str | None, scale: str | None) -> Scale:
    """The scale as it was opened with. Raises: InputError for another metric or scale, and one that was changed since."""
    named = str(terms.terms["scale"])
    of = scales.get(scale or (root / named if (root / named).is_file() else named))
    was = (terms.scale, list(terms.terms["labels"]), list(terms.terms["gains"]), terms.terms["scale_version"])
    if (of.name, list(of.labels), [float(g) for g in of.gains], of.version) != was:
        raise InputError(
            f"experiment {terms.name} was opened with scale {terms.scale!r} (guide {terms.terms['scale_version']}), and this "
            f"is {of.name!r} (guide {of.version}): grades of one are not grades of the other"
        )
    if metric is not None and (said := str(guards.headline(metrics.Metric.parse(metric), of))) != terms.metric:
        raise InputError(f"experiment {terms.name} was opened with metric {terms.metric}, not {said}")
    return of


def _card(terms: Terms, root: Path, given: Path | None) -> JudgeCard | None:
    """The judge's card. Raises: InputError for one of another judge, and where it is not where it was."""
    if not terms.fingerprint:
        if given is not None:
            raise InputError(f"experiment {terms.name} was opened with people as judges: it has no judge card")
        return None
    card = cards.read(given or root / terms.card)
    if (card.fingerprint, card.guide_version) != (terms.fingerprint, terms.guide_version):
        raise InputError(
            f"experiment {terms.name} was opened with judge {terms.judge!r} ({terms.fingerprint}, guide "
            f"{terms.guide_version}), and the card is of {card.judge!r} ({card.fingerprint}, guide {card.guide_version})"
        )
    return card


def _take(found: Found, of: Scale, files: tuple[Path, Path, Path, Path | None], card: JudgeCard | None, allow: Any) -> Taken:
    t = found.terms
    runs = [sources.open_run(path) for path in files[:2]]
    for run, (arm, name, other) in zip(
        runs, (("control", t.control, t.treatment), ("treatment", t.treatment, t.control)), strict=True
    ):
        if not is_arm(run.name, name, other):
            raise InputError(
                f"--{arm}: this run is called {run.name!r}, and the experiment's {arm} is {name!r}: runs of an arm begin with "
                "its name, as the file's name or as --name of collect has it"
            )
    options = Choices(t.metric, t.level, bool(t.terms["condensed"]), allow, expected=bool(t.terms["expected"]))
    return take(
        runs[0],
        runs[1],
        sources.open_judgments(files[2], scale=of),
        scale=of,
        choices=options,
        design=None if files[3] is None else sources.read_design(files[3]),
        card=card,
        relative_margin=t.margin if t.relative else None,
    )


def _same(found: Found, taken: Taken, runs: tuple[Path, Path]) -> None:
    """Nothing, where the batch was measured as the experiment was opened. Raises: InputError for anything else."""
    t = found.terms
    if (taken.judge if t.fingerprint else PEOPLE, taken.fingerprint) != (t.judge, t.fingerprint):
        now = f"{taken.judge!r} ({taken.fingerprint})" if taken.fingerprint else "people"
        was = f"{t.judge!r} ({t.fingerprint})" if t.fingerprint else "people"
        raise InputError(f"experiment {t.name} was opened with {was} as judge, and these judgments are of {now}")
    if other := [guide for guide in taken.guides if guide != t.guide_version]:
        raise InputError(
            f"experiment {t.name} was opened with guide {t.guide_version}, and these judgments were made under {other[0]}"
        )
    if taken.metric != t.metric:
        raise InputError(f"experiment {t.name} was opened with metric {t.metric}, not {taken.metric}")
    if taken.unit != t.unit:
        raise InputError(
            f"experiment {t.name} samples {t.unit}, and this design was drawn by {taken.unit}: their means are two numbers"
        )
    first = found.looks[0].facts.get("arms", {}) if found.looks else {}
    for arm, path in zip(("control", "treatment"), runs, strict=True):
        said, says = first.get(arm) or {}, taken.arms[arm]
        if moved := [name for name in said if name in says and said[name] != says[name]]:
            raise InputError(
                f"--{arm} {path}: its manifest says {moved[0]} {str(says[moved[0]])[:80]}, and that of the first look said "
                f"{str(said[moved[0]])[:80]}: it is another ranker, and another experiment"
            )


def _new(found: Found, taken: Taken, files: Sequence[tuple[str, Path]], note: str) -> Any:
    """What is written of the batch. files: what each is called -> where it is."""
    from germane.registry.experimenting import NewLook, Query

    t, rows = found.terms, taken.rows
    columns = (*rows[:3], *(np.asarray(x, float).tolist() for x in rows[3:]))
    queries = [Query(*row) for row in zip(*columns, strict=True)]
    facts: dict[str, Any] = {
        "control": asdict(taken.control),
        "treatment": asdict(taken.treatment),
        "design": taken.design,
        "arms": taken.arms,
        "warnings": list(taken.warnings),
        "overrides": list(taken.overrides),
        "unjudged": taken.unjudged and list(taken.unjudged),
        "inputs": [{"path": name, "sha256": store.sha256(path)} for name, path in files if path.is_file()],
        "note": note,
    }

    def estimate_of(past: Sequence[Look], sums: Sequence[Sums]) -> tuple[Estimate, str, str]:
        batches = [*(Batch(*each.batch) for each in past), taken.own]
        held = [*(Batch(each.batch[0], *each.guard) for each in past if each.guard), *([taken.guard] if taken.guard else [])]
        columns = [np.array(x) for x in zip(*(row[1:] for row in sums), strict=True)]
        together = Together(*columns)
        stands = standing(batches, held, together, margin=t.margin, relative=t.relative, intended=t.intended, level=t.level)
        bounds = [*(each.facts.get("unjudged") for each in past), taken.unjudged]
        so_far = stands.difference
        nothing = float("nan")
        bare = Estimate(so_far.value, so_far.se, nothing, nothing, so_far.queries, "mean of the batches, no interval", t.level)
        return so_far.estimate or bare, so_far.caveat, unless_unjudged(stands.verdict, batches, bounds, margin=t.margin)

    guard = None if taken.guard is None else (taken.guard.value, taken.guard.se)
    return NewLook(taken.digest, taken.own, guard, queries, facts, estimate_of)


# --- where -------------------------------------------------------------------------------------------------------------


def _project(project: Path | None) -> tuple[Path, str]:
    """The project's folder and where its registry lies. Raises: InputError where there is no project."""
    if project is not None and not (project / settings.FILE).is_file():
        raise InputError(f"--project {project}: there is no {settings.FILE} in it")
    found = settings.load(project)
    if found.path is None:
        raise InputError("there is no germane.toml here: name a project with --project, or make one with `germane init`")
    return found.path.parent, registry_of(found, found.path.parent)


@contextmanager
def _registry(where: str, *, there: bool = False) -> Iterator[Registry]:
    """The registry, open for the block. there: it must be, since something is looked for in it."""
    from germane.registry.database import open_registry

    if there and "://" not in where and not Path(where).is_file():
        raise InputError(f"there is no registry yet ({where}): open an experiment with `germane experiment open`")
    opened = open_registry(where)
    try:
        yield opened
    finally:
        opened.close()
