"""The judge cards that lie in a project's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from germane.cards import files
from germane.registry import looking
from germane.report import card as report
from germane.types import InputError, JudgeCard
from germane.web.access import Call
from germane.web.boards import views
from germane.web.boards.sharing import board_of

DEEP = 4  # folders below the project
MANY = 5_000  # files that are looked at
LARGE = 20_000_000  # bytes of a card
_SKIPPED = ("logs", "node_modules", "site", "watch")
_known: dict[tuple[str, int, int], views.Card | str | None] = {}


def judges(call: Call) -> views.Judges:
    """The cards of the project, that of the present judge first."""
    span = looking.ends(call.registry)
    now = looking.found(call.registry, span.last_done, span.last_done) if span else []
    judge, fingerprint, guide = (now[0].judge, now[0].fingerprint, now[0].guide_version) if now else ("", "", "")
    cards, wrong = [], []
    root = board_of(call).project.resolve()
    for path in _files(root):
        match _card(path, root):
            case str(why):
                wrong.append(why)
            case views.Card() as card:
                watches = bool(fingerprint) and (card.fingerprint, card.guide_version) == (fingerprint, guide)
                cards.append(views.Card(**{**vars(card), "watches": watches}))
    cards.sort(key=lambda card: (not card.watches, card.judge, card.file))
    return views.Judges(judge, fingerprint, cards, wrong)


def _files(root: Path) -> Iterator[Path]:
    """JSON files of the project, without those of days, of logs and hidden ones."""
    seen = 0
    for folder, inside, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        inside[:] = sorted(name for name in inside if name[0] != "." and name not in _SKIPPED and depth < DEEP)
        for name in sorted(names):
            if name.endswith(".json") and not name.endswith(".manifest.json"):
                seen += 1
                if seen > MANY:
                    return
                yield Path(folder) / name


def _card(path: Path, root: Path) -> views.Card | str | None:
    """The card in a file, why it cannot be read, or None for JSON that is no card. Files that did not change are not read
    again."""
    try:
        stat = path.stat()
    except OSError:
        return None
    key = str(path), stat.st_size, stat.st_mtime_ns
    if key not in _known:
        if len(_known) > 2 * MANY:
            _known.clear()
        _known[key] = _read(path, root) if stat.st_size <= LARGE else None
    return _known[key]


def _read(path: Path, root: Path) -> views.Card | str | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None if path.name != "card.json" else f"{path.relative_to(root)} cannot be read"
    if not isinstance(found, dict) or not {"fingerprint", "agreement", "bars"} <= set(found):
        return None
    try:
        return _view(files.read(path), str(path.relative_to(root)))
    except InputError:
        return f"{path.relative_to(root)} cannot be read: make it again with germane check"


def _view(card: JudgeCard, file: str) -> views.Card:
    names = [*card.bars, *(name for name in card.agreement if name not in card.bars)]
    statistics = [
        views.Statistic(
            name,
            card.agreement.get(name),
            card.bars.get(name),
            "" if name not in card.bars else "passed" if card.meets(name) else "not passed",
        )
        for name in names
    ]
    named = {name: getattr(card, name) for name in ("judge", "fingerprint", "scale", "guide_version", "gold")}
    passed = bool(card.bars) and card.passed
    return views.Card(
        file, **named, says=report.answer(card), passed=passed, watches=False, statistics=statistics, caveats=list(card.caveats)
    )
