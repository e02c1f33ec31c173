"""`germane check`: how far does this judge agree with people, and may its judgments be used?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from germane import cards, report, scales, sources, store
from germane.types import JudgeCard, Scale


def check(
    gold: Any,
    judgments: Any,
    *,
    scale: Scale | str | Path,
    out: str | Path | None = None,
    bars: Mapping[str, float] | None = None,
    relevant: str | int | None = None,
    design: Any = None,
    level: float = 0.95,
) -> JudgeCard:
    """The judge card: agreement with people on the same pairs, with intervals over queries; `card.passed` is the verdict.

    gold, judgments: a file, an Arrow table, a data frame or a dict. bars: name of a statistic -> the least value of its
    interval's low end (`germane.cards.BARS` by default). relevant: the lowest label that counts as relevant. design:
    inclusion probabilities of gold's queries. out: a folder for card.json (and its manifest), card.html and card.md; the
    same files and parameters again do nothing. Nothing is random, so there is no seed.

    Raises: InputError for input that cannot be compared (`germane.cards.build`).

    >>> gold = {"q1": {"a": 0, "b": 3}, "q2": {"a": 1, "b": 3}, "q3": {"a": 2, "b": 0}}
    >>> card = check(gold, gold, scale="trec")
    >>> card.agreement["exact"].value, round(card.agreement["exact"].low, 2), card.passed
    (1.0, 0.14, False)
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    given = [source for source in (gold, judgments, design) if source is not None]
    files = [Path(source) for source in given if isinstance(source, str | Path) and str(source) != "-"]
    parameters = {"scale": of, "bars": dict(cards.BARS if bars is None else bars), "relevant": relevant, "level": level}
    work: dict[str, Any] = {"verb": "check", "inputs": files, "parameters": parameters}
    if out is not None and len(files) == len(given) and _made(Path(out), work):
        return cards.read(out)
    card = cards.build(
        sources.read_judgments(gold, scale=of),
        sources.read_judgments(judgments, scale=of),
        scale=of,
        name=str(gold) if isinstance(gold, str | Path) else "gold",
        bars=bars,
        relevant=None if relevant is None else of.relevance(relevant),
        design=None if design is None else sources.read_design(design),
        level=level,
    )
    if out is not None:
        path = write(card, out)["json"]
        store.write_manifest(path, **work)
    return card


def write(card: JudgeCard, folder: str | Path) -> dict[str, Path]:
    """Writes card.html, card.md and card.json into a folder, and gives their paths by "html", "md" and "json"."""
    pages = {"html": report.card_html(card), "md": report.card_markdown(card)}
    paths = {kind: Path(folder) / f"card.{kind}" for kind in pages}
    for kind, path in paths.items():
        store.write_text(path, pages[kind])
    return {**paths, "json": cards.write(card, Path(folder) / "card.json")}


def _made(folder: Path, work: dict[str, Any]) -> bool:
    """Whether the folder holds the card of the same work on the same files."""
    whole = all((folder / f"card.{kind}").is_file() for kind in ("html", "md", "json"))
    return whole and all(path.is_file() for path in work["inputs"]) and store.up_to_date(folder / "card.json", **work)
