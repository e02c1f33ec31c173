"""Refusals: numbers that could be wrong and look right are not printed unless the user insists, and then it is said."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from germane import cards, store
from germane.experiment.effects import PerQuery, difference_of, share_difference
from germane.experiment.frame import Frame
from germane.experiment.pool import Pool
from germane.types import Estimate, InputError, JudgeCard, Refusal, Run, Scale, Unjudged

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = cards.ALLOW | {
    "unjudged": "unjudged documents could turn the answer",
    "one-armed": "queries that only one arm answered count as empty pages",
    "lineage": "the judge and the treatment's ranker have a model in common",
}
"""Every override that `--allow` accepts here, and what it lets pass."""

SHARE_GAP = 0.01
"""Unjudged shares of the two arms may differ by this much (of the results shown) before the comparison is refused."""

NEGLIGIBLE = 0.1
"""Bounds narrower than this many standard errors cannot turn an answer that the same interval gives at both ends."""


def known(allow: Collection[str]) -> frozenset[str]:
    """The overrides asked for. Raises: InputError for one that does not exist."""
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: there is no such override; known are {', '.join(ALLOW)}")
    return frozenset(allow)


def once_each(judgments: pa.Table) -> pa.Table:
    """query_id, doc_id, relevance and judge of each pair, once: the same answer twice is one.

    Raises: InputError naming a pair that was graded twice, and differently.
    """
    if store.first_duplicate(judgments, ["query_id", "doc_id"]) is None:
        return judgments.select(["query_id", "doc_id", "relevance", "judge"])
    sql = """
        SELECT query_id, doc_id, max(relevance) AS relevance, min(judge) AS judge, min(relevance) AS least,
               list(DISTINCT judge ORDER BY judge) AS judges
        FROM judgments GROUP BY query_id, doc_id
    """
    with store.database(judgments=judgments) as query:
        twice = query(f"SELECT * FROM ({sql}) WHERE least < relevance ORDER BY query_id, doc_id").to_pylist()
        if twice:
            pair = twice[0]
            raise InputError(
                f"{len(twice)} pairs have two different grades, first query {pair['query_id']!r} document {pair['doc_id']!r}: "
                f"{pair['least']} and {pair['relevance']} by {' and '.join(pair['judges'])}: adjudicate, or choose one judge"
            )
        return query(f"SELECT query_id, doc_id, relevance, judge FROM ({sql})")


def lineage(
    judgments: pa.Table, card: JudgeCard | None, treatment: Run, control: Run, allow: frozenset[str]
) -> tuple[str, ...]:
    """Overrides needed because the judge taught, or was taught by, a model that a ranker used.

    A run's origin lists the fingerprints of the models its ranker used under `models`.
    Raises: Refusal `--allow lineage`.
    """
    import pyarrow.compute as pc

    family = {f for f in pc.unique(judgments["fingerprint"]).to_pylist() if f} | set(card.lineage if card else ())
    for run in (treatment, control):
        shared = sorted(family & {str(model) for model in run.origin.get("models", ())})
        if shared and "lineage" not in allow:
            raise Refusal(
                f"{run.name} was ranked with model {shared[0]}, which is of the judge's own lineage: it would be marking its "
                "own work. Measure with people, or with a judge that had no part in it.",
                "--allow lineage",
            )
        if shared:
            return (f"--allow lineage: {run.name} was ranked with {shared[0]}, of the judge's own lineage.",)
    return ()


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
        raise Refusal(
            f"{' '.join(reasons)} Have them judged (germane pairs lists them, most valuable first), "
            "or pass --condensed to compare judged documents only.",
            "--allow unjudged, which counts them as not relevant",
        )
    return (f"--allow unjudged: {' '.join(reasons)} They are counted as not relevant.",)


def _reasons(frame: Frame, pool: Pool, found: PerQuery, delta: Estimate, bounds: Unjudged) -> list[str]:
    reasons = []
    if bounds.high > bounds.low and _can_turn(frame, found, delta, bounds):
        reasons.append(
            f"{bounds.moved} unjudged documents moved between the arms: with them the difference could be anything from "
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


def warnings_of(judge: str, human: bool, simulated: bool, card: JudgeCard | None, delta: Estimate) -> list[str]:
    """What could make the answer wrong, in the order in which a reader should hear it."""
    said = []
    if not human:
        said.append(f"Measured by the judge {judge} alone, without an audit by people: its own error is not corrected.")
    if card is not None and not card.passed:
        said.append(f"The judge's card fails its bars: {', '.join(cards.misses(card))}.")
    if delta.caveat:
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
