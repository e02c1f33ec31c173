"""Cards on disk: JSON, one a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from germane.types import InputError, JudgeCard


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


def _is_card(path: Path) -> bool:
    """Whether a JSON file looks like a card, so that other JSON may live in the folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return path.name == "card.json"
    return isinstance(found, Mapping) and {"fingerprint", "agreement", "bars"} <= set(found)
