"""The gate in front of a comparison: whose judgments may be used, and which override insists."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from germane.cards.bars import misses
from germane.types import InputError, JudgeCard, Refusal, Scale

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = {
    "no-card": "the judge has no card for this scale and guide",
    "failed-card": "the judge's card fails its bars",
    "fake": "the judgments are made up by a fake judge, or by one with random weights",
    "mixed-judges": "the judgments are a mix of judges",
    "mixed-guides": "the judgments were made under more than one guide version",
}
"""What `--allow` accepts, and the sentence that a report prints when it was needed."""


def gate(
    judgments: pa.Table,
    card: JudgeCard | None,
    *,
    scale: Scale,
    allow: Collection[str] = (),
) -> tuple[str, ...]:
    """The overrides that were needed to let these judgments in, as sentences for the report; () when none was.

    People (`human:NAME`, no fingerprint) need no card. A machine judge needs one that passed, of its own fingerprint,
    on this scale, under the guide version that its judgments name.

    Raises: Refusal naming `--allow no-card`, `failed-card`, `fake`, `mixed-judges` or `mixed-guides`; InputError for
    an empty table, judgments on another scale, and an `allow` that does not exist.
    """
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known are {', '.join(ALLOW)}")
    made_by = distinct(judgments, "judge", "fingerprint")
    if not made_by:
        raise InputError("the judgments table is empty: there is nothing to compare with")
    same_scale(judgments, scale)
    needed = [key for key, message in _objections(judgments, made_by, card, scale) if _insist(key, message, allow)]
    return tuple(f"--allow {key}: {ALLOW[key]}" for key in dict.fromkeys(needed))


def is_human(judge: str, fingerprint: str) -> bool:
    """True for people: `human:NAME` without a fingerprint, which only machines have.

    >>> is_human("human:nist", ""), is_human("gpt", "a1"), is_human("human:nist", "a1")
    (True, False, False)
    """
    return judge.startswith("human:") and not fingerprint


def _objections(
    judgments: pa.Table, made_by: list[tuple[str, ...]], card: JudgeCard | None, scale: Scale
) -> Iterator[tuple[str, str]]:
    """(key of ALLOW, what is wrong) for each reason not to compare on these judgments."""
    machines = [(judge, fingerprint) for judge, fingerprint in made_by if not is_human(judge, fingerprint)]
    if len(machines) > 1 or (machines and len(made_by) > 1):
        names = ", ".join(named(judge, fingerprint) for judge, fingerprint in made_by[:4])
        yield "mixed-judges", f"The judgments are of {len(made_by)} judges ({names}), whose errors differ: compare with one."
    guides = [guide for (guide,) in distinct(judgments, "guide_version")]
    if len(guides) > 1:
        found = ", ".join(repr(guide) for guide in guides[:4])
        yield "mixed-guides", f"The judgments were made under {len(guides)} guide versions ({found}): judge again under one."
    for judge, fingerprint in machines:
        for guide in guides:
            yield from _card_objections(judge, fingerprint, guide, card, scale)


def _card_objections(
    judge: str, fingerprint: str, guide: str, card: JudgeCard | None, scale: Scale
) -> Iterator[tuple[str, str]]:
    who = named(judge, fingerprint)
    if fingerprint.startswith("fake:"):
        yield "fake", f"Judge {who} is a fake: its judgments say nothing about relevance."
        return
    if fingerprint.startswith("random:"):
        yield "fake", f"Judge {who} has random weights: it never learned anything, and its judgments say nothing."
        return
    if not fingerprint:
        yield "no-card", f"Judge {judge!r} has no fingerprint, so no card can be its own (people are named human:NAME)."
    elif card is None:
        yield "no-card", f"Judge {who} has no card on scale {scale.name!r}: run germane check against people's labels first."
    elif (card.fingerprint, card.scale, card.guide_version) != (fingerprint, scale.name, guide):
        yield (
            "no-card",
            f"The card is of {named(card.judge, card.fingerprint)} on scale {card.scale!r}, guide {card.guide_version!r}; "
            f"the judgments are of {who} on scale {scale.name!r}, guide {guide!r}: run germane check on this judge.",
        )
    elif not card.bars or not card.passed:
        missed = ", ".join(misses(card)) or "no bar was set"
        yield "failed-card", f"The card of judge {who} fails its bars: {missed}."


def _insist(key: str, message: str, allow: Collection[str]) -> bool:
    """True where the user has allowed this. Raises: Refusal where not."""
    if key not in allow:
        raise Refusal(message, f"--allow {key}")
    return True


def same_scale(judgments: pa.Table, scale: Scale) -> None:
    """Raises: InputError for judgments on another scale; people's bare integers ("") may be read on any that holds them."""
    import pyarrow.compute as pc

    for name, judge, fingerprint in distinct(judgments, "scale", "judge", "fingerprint"):
        if name != scale.name and (name or not is_human(judge, fingerprint)):
            raise InputError(
                f"judgments of {judge!r} are on scale {name!r}, not on {scale.name!r}: pass the scale that they are on"
            )
    top = pc.max(judgments["relevance"]).as_py()
    low = pc.min(judgments["relevance"]).as_py()
    for grade in (top, low):
        if grade is not None and not 0 <= grade < len(scale.labels):
            raise InputError(f"relevance {grade} is not on scale {scale.name!r}, whose grades are 0 to {len(scale.labels) - 1}")


def distinct(table: pa.Table, *columns: str) -> list[tuple[str, ...]]:
    """The different rows of these columns, sorted."""
    rows = table.select(list(columns)).group_by(list(columns)).aggregate([]).to_pylist()
    return sorted(tuple("" if row[name] is None else str(row[name]) for name in columns) for row in rows)


def named(judge: str, fingerprint: str) -> str:
    shown = fingerprint if len(fingerprint) <= 24 else f"{fingerprint[:16]}..."
    return f"{judge!r} ({shown})" if fingerprint else repr(judge)
