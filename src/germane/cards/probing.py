"""What attacks did to a judge's grades, and how far they hang on the words of its prompt; both on a card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from germane.cards.admission import named
from germane.stats.attacks import excess, flipped_p
from germane.stats.clustered import mean, share
from germane.stats.multiple import adjusted_p
from germane.types import Estimate, InputError, JudgeCard, Probed, Probes, Sensitivity

Grades = NDArray[np.int64]
FOOLED, NOT_SHOWN, NOT_ANSWERED = "fooled", "not shown", "not answered"
RAISED = "raised by probes"


class Attack(NamedTuple):
    """An attack by name, and the grades that it led to, -1 for no answer. rows: which of the sample's pairs were attacked."""

    name: str
    family: str
    attacks: str
    expects: str
    rows: NDArray[np.int64]
    grades: Grades


class Before(NamedTuple):
    """The sample, (n,) each: its queries, the judge's grades, and those when asked again, -1 for no answer."""

    queries: NDArray[Any]
    grades: Grades
    again: Grades


def probed(before: Before, attacks: Sequence[Attack], *, threshold: int, level: float = 0.95) -> list[Probed]:
    """What each attack did, with false discoveries over all of them held under 1 - level (Benjamini-Hochberg)."""
    rows = [_one(before, attack, threshold, level) for attack in attacks]
    tested = {at: row.p for at, row in enumerate(rows) if row.p is not None}
    for at, q in zip(tested, adjusted_p(list(tested.values())), strict=True):
        rows[at] = replace(rows[at], q=float(q), verdict=FOOLED if q <= 1 - level else NOT_SHOWN)
    return rows


def noise(before: Before, *, threshold: int, level: float = 0.95) -> dict[str, Estimate]:
    """What asking again did: share raised, share moved, and of what was not relevant the share that became it."""
    both = (before.grades >= 0) & (before.again >= 0)
    first, again, own = before.grades[both], before.again[both], before.queries[both]
    found = {}
    if both.any():
        found["raised"] = share(again > first, clusters=own, level=level, method="share raised")
        found["moved"] = share(again != first, clusters=own, level=level, method="share moved")
    if (first < threshold).any():
        low = first < threshold
        found["relevant"] = share(again >= threshold, among=low, clusters=own, level=level, method="share turned relevant")
    return found


def families(before: Before, attacks: Sequence[Attack], *, level: float = 0.95) -> dict[str, Estimate]:
    """Family of probes -> how much more often a grade rises under it than when asked again, over all its probes."""
    found = {}
    for family in dict.fromkeys(attack.family for attack in attacks):
        parts = [_answered(before, attack) for attack in attacks if attack.family == family]
        first, again, then, own = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if len(first):
            found[family] = replace(excess(then > first, again > first, clusters=own, level=level), method="raised above noise")
    return found


def with_probes(card: JudgeCard, probes: Probes) -> JudgeCard:
    """The card with its probes, and with "raised by probes" among its statistics: of the family that reaches highest.

    Raises: InputError for probes of another judge, scale or guide.
    """
    _same(
        card,
        (probes.fingerprint, probes.scale, probes.guide_version),
        f"the probes are of {named(probes.judge, probes.fingerprint)}",
    )
    worst = probes.worst
    if worst is None:
        return replace(card, probes=probes, caveats=(*card.caveats, "the judge answered no probe"))
    found = replace(
        probes.families[worst], method=f"raised above noise by {worst}, the worst of {len(probes.families)} families"
    )
    return replace(card, probes=probes, agreement={**card.agreement, RAISED: found})


def with_sensitivity(card: JudgeCard, found: Sensitivity) -> JudgeCard:
    """The card with its sensitivity to the prompt's words. Raises: InputError where its judge is none of the paraphrases."""
    names = [each.fingerprint for each in found.paraphrases]
    if card.fingerprint not in names:
        raise InputError(f"none of the {len(names)} paraphrases is the card's judge {named(card.judge, card.fingerprint)}")
    _same(card, (card.fingerprint, found.scale, found.guide_version), "the paraphrases were judged")
    return replace(card, sensitivity=found)


def _same(card: JudgeCard, other: tuple[str, str, str], what: str) -> None:
    if (card.fingerprint, card.scale, card.guide_version) != other:
        raise InputError(
            f"{what} on scale {other[1]!r}, guide {other[2]!r}; the card is of {named(card.judge, card.fingerprint)} on scale "
            f"{card.scale!r}, guide {card.guide_version!r}: probe this judge"
        )


_Found = TypeVar("_Found", Probes, Sensitivity)


def read_part(path: str | Path, kind: type[_Found], name: str) -> _Found:
    """Probes or sensitivity from a JSON file, or from the folder that holds it. Raises: InputError naming the file."""
    place = Path(path) / name if Path(path).is_dir() else Path(path)
    try:
        text = place.read_text(encoding="utf-8")
        if not isinstance(json.loads(text), Mapping):
            raise ValueError("it holds no object")
        return kind.from_json(text)
    except OSError as problem:
        raise InputError(f"{place}: {problem.strerror or problem}: give what `germane probe` wrote") from problem
    except (ValueError, TypeError, AttributeError, KeyError) as problem:
        raise InputError(f"{place} is not what `germane probe` writes: {problem}") from problem


def _answered(before: Before, attack: Attack) -> tuple[Grades, Grades, Grades, NDArray[Any]]:
    """Grades before, when asked again and after the attack, and queries, of pairs that were answered all three times."""
    first, again, own = before.grades[attack.rows], before.again[attack.rows], before.queries[attack.rows]
    all_three = (first >= 0) & (again >= 0) & (attack.grades >= 0)
    return first[all_three], again[all_three], attack.grades[all_three], own[all_three]


def _one(before: Before, attack: Attack, threshold: int, level: float) -> Probed:
    """What one attack did; its q and verdict are set by whoever sees all of them."""
    first, again, then, own = _answered(before, attack)
    silent = None
    if len(attack.rows):
        asked = before.queries[attack.rows]
        silent = share(attack.grades < 0, clusters=asked, level=level, method="share without an answer")
    about = (attack.name, attack.family, attack.attacks, attack.expects)
    if not len(first):
        return Probed(*about, None, None, None, silent, None, None, None, NOT_ANSWERED)
    low = first < threshold
    hit, control, of = then > first, again > first, own
    if attack.expects == "must not move":
        hit, control = then != first, again != first
    if attack.expects == "must not be relevant":
        hit, control, of = (then >= threshold)[low], (again >= threshold)[low], own[low]
    several = len(set(own.tolist())) > 1
    turned = (
        share(then >= threshold, among=low, clusters=own, level=level, method="share turned relevant") if low.any() else None
    )
    return Probed(
        *about,
        raised=share(then > first, clusters=own, level=level, method="share raised"),
        change=mean(then - first, clusters=own, level=level, method="mean change in grades") if several else None,
        relevant=turned,
        silent=silent,
        excess=excess(hit, control, clusters=of, level=level) if len(hit) else None,
        p=flipped_p(hit, control, clusters=of) if len(hit) else None,
        q=None,
        verdict=NOT_SHOWN,
    )
