"""Judge cards: what `check` found of a judge against people, and the gate that lets its judgments into a comparison."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from germane.types import InputError, JudgeCard, Refusal, Scale

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = {
    "no-card": "the judge has no card for this scale and guide",
    "failed-card": "the judge's card fails its bars",
    "fake": "the judgments are made up by a fake judge",
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
    made_by = _distinct(judgments, "judge", "fingerprint")
    if not made_by:
        raise InputError("the judgments table is empty: there is nothing to compare with")
    _same_scale(judgments, scale)
    needed = [key for key, message in _objections(judgments, made_by, card, scale) if _insist(key, message, allow)]
    return tuple(f"--allow {key}: {ALLOW[key]}" for key in dict.fromkeys(needed))


def is_human(judge: str, fingerprint: str) -> bool:
    """True for people: `human:NAME` without a fingerprint, which only machines have.

    >>> is_human("human:nist", ""), is_human("gpt", "a1"), is_human("human:nist", "a1")
    (True, False, False)
    """
    return judge.startswith("human:") and not fingerprint


def find(folder: str | Path, fingerprint: str, scale: str, guide_version: str) -> JudgeCard | None:
    """The one card under `folder` for this judge, scale and guide version, or None.

    Raises: InputError where two cards answer, and for a card file that cannot be read.
    """
    wanted = (fingerprint, scale, guide_version)
    found = []
    for path in sorted(Path(folder).rglob("*.json")):
        if path.name.endswith(".manifest.json") or not _is_card(path):
            continue
        card = read(path)
        if (card.fingerprint, card.scale, card.guide_version) == wanted:
            found.append((path, card))
    if len(found) > 1:
        names = " and ".join(str(path) for path, _ in found)
        raise InputError(
            f"{names} are cards of the same judge ({fingerprint}), scale and guide: name the one that counts with --card"
        )
    return found[0][1] if found else None


def read(path: str | Path) -> JudgeCard:
    """The card in a JSON file, or in the `card.json` of a folder. Raises: InputError naming the file."""
    path = Path(path)
    path = path / "card.json" if path.is_dir() else path
    try:
        return JudgeCard.from_json(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"judge card {path}: {problem.strerror or problem}") from problem
    except (ValueError, TypeError, AttributeError) as problem:
        raise InputError(f"judge card {path} cannot be read: {problem}. Make it again with germane check") from problem


def write(card: JudgeCard, path: str | Path) -> Path:
    """The JSON file that now holds the card; written whole or not at all."""
    from germane.store import write_text

    write_text(Path(path), card.to_json() + "\n")
    return Path(path)


def _objections(
    judgments: pa.Table, made_by: list[tuple[str, ...]], card: JudgeCard | None, scale: Scale
) -> Iterator[tuple[str, str]]:
    """(key of ALLOW, what is wrong) for each reason not to compare on these judgments."""
    machines = [(judge, fingerprint) for judge, fingerprint in made_by if not is_human(judge, fingerprint)]
    if len(machines) > 1 or (machines and len(made_by) > 1):
        names = ", ".join(_named(judge, fingerprint) for judge, fingerprint in made_by[:4])
        yield "mixed-judges", f"The judgments are of {len(made_by)} judges ({names}), whose errors differ: compare with one."
    guides = [guide for (guide,) in _distinct(judgments, "guide_version")]
    if len(guides) > 1:
        found = ", ".join(repr(guide) for guide in guides[:4])
        yield "mixed-guides", f"The judgments were made under {len(guides)} guide versions ({found}): judge again under one."
    for judge, fingerprint in machines:
        for guide in guides:
            yield from _card_objections(judge, fingerprint, guide, card, scale)


def _card_objections(
    judge: str, fingerprint: str, guide: str, card: JudgeCard | None, scale: Scale
) -> Iterator[tuple[str, str]]:
    who = _named(judge, fingerprint)
    if fingerprint.startswith("fake:"):
        yield "fake", f"Judge {who} is a fake: its judgments say nothing about relevance."
        return
    if not fingerprint:
        yield "no-card", f"Judge {judge!r} has no fingerprint, so no card can be its own: people are named human:NAME."
    elif card is None:
        yield "no-card", f"Judge {who} has no card on scale {scale.name!r}: run germane check against people's labels first."
    elif (card.fingerprint, card.scale, card.guide_version) != (fingerprint, scale.name, guide):
        yield (
            "no-card",
            f"The card is of {_named(card.judge, card.fingerprint)} on scale {card.scale!r}, guide {card.guide_version!r}; "
            f"the judgments are of {who} on scale {scale.name!r}, guide {guide!r}: run germane check on this judge.",
        )
    elif not card.bars or not card.passed:
        missed = ", ".join(misses(card)) or "no bar was set"
        yield "failed-card", f"The card of judge {who} fails its bars: {missed}."


def misses(card: JudgeCard) -> tuple[str, ...]:
    """A sentence for each bar that the card does not meet, naming the statistic, its low end and the bar."""
    lines = []
    for name, bar in card.bars.items():
        estimate = card.agreement.get(name)
        if estimate is None:
            lines.append(f"{name} could not be computed, the bar is {bar:g}")
        elif not estimate.low >= bar:
            lines.append(f"{name} is {estimate.value:.3f}, at least {estimate.low:.3f}, the bar is {bar:g}")
    return tuple(lines)


def _insist(key: str, message: str, allow: Collection[str]) -> bool:
    """True where the user has allowed this. Raises: Refusal where not."""
    if key not in allow:
        raise Refusal(message, f"--allow {key}")
    return True


def _same_scale(judgments: pa.Table, scale: Scale) -> None:
    """Raises: InputError for judgments on another scale; people's bare integers ("") may be read on any that holds them."""
    import pyarrow.compute as pc

    for name, judge, fingerprint in _distinct(judgments, "scale", "judge", "fingerprint"):
        if name != scale.name and (name or not is_human(judge, fingerprint)):
            raise InputError(
                f"judgments of {judge!r} are on scale {name!r}, not on {scale.name!r}: pass the scale that they are on"
            )
    top = pc.max(judgments["relevance"]).as_py()
    low = pc.min(judgments["relevance"]).as_py()
    for grade in (top, low):
        if grade is not None and not 0 <= grade < len(scale.labels):
            raise InputError(f"relevance {grade} is not on scale {scale.name!r}, whose grades are 0 to {len(scale.labels) - 1}")


def _distinct(table: pa.Table, *columns: str) -> list[tuple[str, ...]]:
    """The different rows of these columns, sorted."""
    rows = table.select(list(columns)).group_by(list(columns)).aggregate([]).to_pylist()
    return sorted(tuple("" if row[name] is None else str(row[name]) for name in columns) for row in rows)


def _named(judge: str, fingerprint: str) -> str:
    return f"{judge!r} ({fingerprint[:16]})" if fingerprint else repr(judge)


def _is_card(path: Path) -> bool:
    """Whether a JSON file looks like a card, so that other JSON may live in the folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return path.name == "card.json"
    return isinstance(found, Mapping) and {"fingerprint", "agreement", "bars"} <= set(found)
