"""Refusals: numbers that could be wrong and look right are not printed unless the user insists, and then it is said."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from germane import cards, metrics
from germane.experiment.effects import PerQuery, difference_of, share_difference
from germane.experiment.frame import Frame
from germane.experiment.pool import Pool
from germane.types import Audit, Estimate, InputError, JudgeCard, Refusal, Run, Scale, Unjudged

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = cards.ALLOW | {
    "unjudged": "unjudged documents could turn the answer",
    "one-armed": "queries that only one arm answered count as empty pages",
    "lineage": "the judge and the treatment's ranker have a model in common",
    "depth": "the runs were cut at different depths",
    "short-lists": "condensed lists are shorter in one arm",
    "other-guide": "the judge was shown another guide than the scale's",
    "absent": "many queries of the design are in neither run",
    "learned-strata": "the strata were learned on the experiment's own outcomes",
    "golden-audit": "the audit is the golden set that the judge was checked on",
    "audit-gaps": "drawn pairs of the audit have no answer",
}
"""Every override that `--allow` accepts here, and what it lets pass."""

SHARE_GAP = 0.01
"""Unjudged shares of the two arms may differ by this much (of the results shown) before the comparison is refused."""

CUT = 0.5
"""A run of which so many pages end at its deepest rank was cut there; otherwise pages are short because little was found."""

SHORT = 0.5
"""Condensed lists may differ in length by what, were it all of the top grade, makes this many standard errors of delta."""

MOVED_ONLY = 0.2
"""Unmoved documents less judged than moved ones by this share: then only what moved was sent to the judge."""

LEARNED = 6
"""Differences of one sign in each of at least two strata, and of both signs in all: by luck once in a thousand or less."""

TIES = 0.05
"""A larger share of the places shown that equal scores decided is worth a warning."""

NEGLIGIBLE = 0.1
"""Bounds narrower than this many standard errors cannot turn an answer that the same interval gives at both ends."""


def known(allow: Collection[str]) -> frozenset[str]:
    """The overrides asked for. Raises: InputError for one that does not exist."""
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: there is no such override; known are {', '.join(ALLOW)}")
    return frozenset(allow)


def headline(metric: metrics.Metric, scale: Scale) -> metrics.Metric:
    """The metric with the scale's gains in its name.

    Raises: InputError for one that does not grow with relevance, or whose gains are not one a grade.
    """
    if metric.name in ("Judged", "Share"):
        raise InputError(
            f"{metric} is no measure of relevance, so more of it is not better; the report shows the shares of grades and of "
            "unjudged results for every metric: compare by sDCG@25"
        )
    gains = metric["gain"] if metric.name in ("sDCG", "nDCG") else None
    if isinstance(gains, tuple) and len(gains) != len(scale.labels):
        raise InputError(
            f"{metric} has {len(gains)} gains, and scale {scale.name!r} has {len(scale.labels)} grades: give one each"
        )
    return metric.with_gains(scale.gains)


def depth(pool: Pool, k: int | None, names: tuple[str, str], allow: frozenset[str]) -> tuple[str, ...]:
    """Overrides needed because one run was cut above k, and not where the other was: the deeper one wins by its depth.

    Raises: Refusal `--allow depth`.
    """
    pages = [pool.pages(arm) for arm in ("control", "treatment")]
    deepest = [int(page.max()) for page in pages]
    shorter = pages[int(np.argmin(deepest))]
    cut = float((shorter[shorter > 0] == min(deepest)).mean()) >= CUT if shorter.any() else False
    if deepest[0] == deepest[1] or not cut or (k is not None and min(deepest) >= k):
        return ()
    said = f"{names[0]} never shows more than {deepest[0]} results, {names[1]} shows up to {deepest[1]}"
    if "depth" not in allow:
        raise Refusal(
            f"{said}: ranks that a run does not reach count as no gain, so the deeper run wins by its depth. Collect both to "
            f"the same depth, or compare at {min(deepest)} (--metric sDCG@{min(deepest)}).",
            "--allow depth",
        )
    return (f"--allow depth: {said}; missing ranks count as no gain.",)


def worth_condensing(pool: Pool) -> None:
    """Raises: InputError where condensing would lose what is known: all that moved is graded, or little else is."""
    if not (pool.moved & pool.unjudged).any():
        raise InputError("every document that moved between the arms has a grade: --condensed would only lose the others")
    if _only_moved(pool):
        missing, missing_moved = _missing(pool)
        raise InputError(
            f"{missing:.0%} of the documents that did not move are unjudged, and {missing_moved:.0%} of those that did: it "
            "seems that only what moved was judged, and condensing would throw the rest away. Have the missing ones judged "
            "(germane pairs lists them), or pass --allow unjudged"
        )


def _missing(pool: Pool) -> tuple[float, float]:
    """Unjudged shares of the documents that did not move, and of those that did."""
    shares = [float(pool.unjudged[which].mean()) if which.any() else 0.0 for which in (~pool.moved, pool.moved)]
    return shares[0], shares[1]


def _only_moved(pool: Pool) -> bool:
    """True if it seems that only documents that moved were sent to the judge."""
    missing, missing_moved = _missing(pool)
    return missing - missing_moved > MOVED_ONLY


def condensed(frame: Frame, closed: Pool, delta: Estimate, k: int | None, allow: frozenset[str]) -> tuple[str, ...]:
    """Overrides needed because condensed lists are shorter in one arm, which alone can make a difference.

    Raises: Refusal `--allow short-lists`.
    """
    weights = np.concatenate(
        ([0.0], metrics.sdcg_weights(int(max(closed.control_rank.max(), closed.treatment_rank.max(), k or 0))))
    )
    reached = closed.summed(lambda rows: weights[closed.treatment_rank[rows]] - weights[closed.control_rank[rows]])
    gap = difference_of(frame, reached, level=delta.level, minimum_nonzero=0)
    if abs(gap.value) <= SHORT * delta.se:
        return ()
    said = (
        f"Condensed lists hold {closed.shown('control'):.1f} documents a query in the control and "
        f"{closed.shown('treatment'):.1f} in the treatment; that alone could make a difference of {gap.value:+.4f}."
    )
    if "short-lists" not in allow:
        raise Refusal(
            f"{said} Collect deeper runs, or rank each query's judged documents (germane collect --candidates).",
            "--allow short-lists",
        )
    return (f"--allow short-lists: {said}",)


def guide(judgments: pa.Table, scale: Scale, allow: frozenset[str]) -> tuple[str, ...]:
    """Overrides needed because a machine judge was shown another guide than the scale's of today.

    Raises: Refusal `--allow other-guide`.
    """
    rows = judgments.group_by(["fingerprint", "guide_version"]).aggregate([]).to_pylist()
    shown = {row["guide_version"] for row in rows if row["fingerprint"] and row["guide_version"]}
    other = sorted(shown - {scale.version})
    if not other:
        return ()
    said = f"The judge was shown guide {other[0]}, and the guide of scale {scale.name!r} is {scale.version}."
    if "other-guide" not in allow:
        raise Refusal(
            f"{said} Grades of one guide are not grades of another: judge again, or pass the scale that was used.",
            "--allow other-guide",
        )
    return (f"--allow other-guide: {said}",)


def ties(names: tuple[str, str], shares: tuple[float, float]) -> list[str]:
    """A warning for each arm in which equal scores decided many of the places shown."""
    return [
        f"{share:.0%} of the places shown in {name} were decided between equal scores (in single precision, as "
        "trec_eval does), by document id: its order there means nothing."
        for name, share in zip(names, shares, strict=True)
        if share > TIES
    ]


def lineage(
    judgments: pa.Table,
    card: JudgeCard | None,
    treatment: Run,
    control: Run,
    allow: frozenset[str],
    *,
    audited: bool = False,
) -> tuple[str, ...]:
    """Overrides needed because the judge taught, or was taught by, a model that a ranker used.

    A run's origin lists the fingerprints of the models its ranker used under `models`. audited: people corrected the judge on
    a blind sample of this experiment; whom it favours is then in the correction, and none is needed.
    Raises: Refusal `--allow lineage`.
    """
    found = kinship(judgments, card, treatment, control)
    if found is None or audited:
        return ()
    name, model = found
    if "lineage" not in allow:
        raise Refusal(
            f"{name} was ranked with model {model}, which is of the judge's own lineage: it would be marking its own work. "
            "Measure with people, with a judge that had no part in it, or with an audit by people (sample --for audit).",
            "--allow lineage",
        )
    return (f"--allow lineage: {name} was ranked with {model}, of the judge's own lineage.",)


def kinship(judgments: pa.Table, card: JudgeCard | None, treatment: Run, control: Run) -> tuple[str, str] | None:
    """The first run whose ranker used a model of the judge's own line, and that model's fingerprint; None if none did."""
    import pyarrow.compute as pc

    family = {f for f in pc.unique(judgments["fingerprint"]).to_pylist() if f} | set(card.lineage if card else ())
    for run in (treatment, control):
        if shared := sorted(family & {str(model) for model in run.origin.get("models", ())}):
            return run.name, shared[0]
    return None


def kinship_notes(judgments: pa.Table, card: JudgeCard | None, treatment: Run, control: Run) -> list[str]:
    """A warning where the judge and a ranker have a model in common, and only the audit makes the answer people's."""
    found = kinship(judgments, card, treatment, control)
    if found is None:
        return []
    return [
        f"{found[0]} was ranked with model {found[1]}, of the judge's own lineage: the difference is corrected by people's "
        "audit, and what is shown by the judge alone (levels, segments) is not to be leaned on."
    ]


def unjudged(
    frame: Frame, pool: Pool, found: PerQuery, delta: Estimate, bounds: Unjudged, allow: frozenset[str]
) -> tuple[str, ...]:
    """Overrides needed because documents without a grade could turn the answer, or fall unevenly on the arms.

    Raises: Refusal `--condensed`, which leaves them out of both lists, or `--allow unjudged`, which counts them 0.
    """
    reasons = _reasons(frame, pool, found, delta, bounds)
    if not reasons:
        return ()
    if "unjudged" not in allow:
        other = "" if _only_moved(pool) else ", or pass --condensed to compare judged documents only"
        raise Refusal(
            f"{' '.join(reasons)} Have them judged (germane pairs lists them, most valuable first){other}.",
            "--allow unjudged, which counts them as not relevant",
        )
    return (f"--allow unjudged: {' '.join(reasons)} They are counted as not relevant.",)


def _reasons(frame: Frame, pool: Pool, found: PerQuery, delta: Estimate, bounds: Unjudged) -> list[str]:
    reasons = []
    if bounds.high > bounds.low and _can_turn(frame, found, delta, bounds):
        reasons.append(
            f"{bounds.moved} unjudged documents can change the difference: with them it could be anything from "
            f"{bounds.low:+.4f} to {bounds.high:+.4f}."
        )
    gap = share_difference(frame, pool, level=delta.level)
    if abs(gap.value) > SHARE_GAP and (gap.low > 0 or gap.high < 0):
        reasons.append(
            f"The arms are unevenly judged: {bounds.control.value:.1%} of the control's results are unjudged, "
            f"{bounds.treatment.value:.1%} of the treatment's."
        )
    return reasons


def _can_turn(frame: Frame, found: PerQuery, delta: Estimate, bounds: Unjudged) -> bool:
    """True if the sign of the difference, or what the interval says of 0, is not the same at both bounds."""
    verdicts = set()
    for values in (found.low, found.difference, found.high):
        end = difference_of(frame, values, level=delta.level, minimum_nonzero=0)
        verdicts.add(np.sign(end.low) if np.sign(end.low) == np.sign(end.high) else 0.0)
    if len(verdicts) > 1:
        return True
    crosses = bounds.low < 0 < bounds.high
    return crosses and bounds.high - bounds.low > NEGLIGIBLE * delta.se


def learned_strata(frame: Frame, found: PerQuery, allow: frozenset[str]) -> tuple[str, ...]:
    """Overrides needed because the strata sort the queries by the sign of their own difference.

    Raises: Refusal `--allow learned-strata`: no stratum that was known before the experiment does that.
    """
    names, code = np.unique(frame.strata.astype(str), return_inverse=True)
    up, down = (np.bincount(code, sign, len(names)) for sign in (found.difference > 0, found.difference < 0))
    sorted_ = ((up == 0) | (down == 0)).all() and up.any() and down.any()
    if not sorted_ or (up + down > 0).sum() < 2 or (up + down)[up + down > 0].min() < LEARNED:
        return ()
    said = "In every stratum all differences have one sign: these strata were learned on this experiment's own outcomes."
    if "learned-strata" not in allow:
        raise Refusal(f"{said} Learn strata on past data, or draw without them.", "--allow learned-strata")
    return (f"--allow learned-strata: {said}",)


def warnings_of(
    judge: str, human: bool, simulated: bool, card: JudgeCard | None, delta: Estimate, audit: Audit | None = None
) -> list[str]:
    """What could make the answer wrong, in the order in which a reader should hear it."""
    said = []
    if not human and audit is None:
        said.append(f"Measured by the judge {judge} alone, without an audit by people: its own error is not corrected.")
    if card is not None and not card.passed:
        said.append(f"The judge's card fails its bars: {', '.join(cards.misses(card))}.")
    if card is not None:
        low = [f"{name} {card.bars.get(name, 'none')}" for name, bar in cards.BARS.items() if card.bars.get(name, -1.0) < bar]
        if low:
            said.append(f"The judge's card was checked against lower bars than germane's own: {', '.join(low)}.")
    if delta.caveat and not (delta.se == 0 and delta.value == 0):
        said.append(f"{delta.caveat[0].upper()}{delta.caveat[1:]}.")
    if simulated:
        said.append("This is a simulation: queries, items, judgments and truth were made by a program.")
    return said


def guide_notes(judgments: pa.Table, scale: Scale) -> list[str]:
    """A warning where the judgments were made under another version of the scale's guide than today's."""
    import pyarrow.compute as pc

    versions = [v for v in pc.unique(judgments["guide_version"]).to_pylist() if v]
    old = [v for v in versions if v != scale.version]
    return [f"Judged under guide version {old[0]}; the scale's guide is now {scale.version}."] if old else []
