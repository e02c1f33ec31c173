"""`germane probe --paraphrases`: how much do a judge's figures hang on the words of its prompt?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import cards, report, scales, sources, store
from germane.cards import labels, probing
from germane.stats import agreement
from germane.stats.clustered import Undefined, share
from germane.stats.spread import changed, spreads
from germane.types import InputError, Paraphrase, Scale, Sensitivity

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 3
"""Wordings that say something about wordings."""

FILES = ("sensitivity.json", "sensitivity.html", "sensitivity.md")


def paraphrases(
    golden: Any,
    judgments: Sequence[Any],
    *,
    scale: Scale | str | Path,
    out: str | Path | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Sensitivity:
    """The spread of a judge's figures over several wordings of its prompt, on the gold pairs that all of them answered.

    golden: people's grades, one of each pair; best the development half, since it is for choosing a prompt. judgments: a
    file (or table) a wording, each a judge with a fingerprint of its own. out: a folder for sensitivity.json (and its
    manifest), .html and .md; the same files and parameters again do nothing. seed: of the resampled queries.

    Raises: InputError for fewer than three wordings, one judge twice, other scales or guides, and no pair in common.
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    files = [Path(each) for each in (golden, *judgments) if isinstance(each, str | Path)]
    work: dict[str, Any] = {"verb": "probe", "inputs": files, "parameters": {"scale": of, "level": level}, "seed": seed}
    on_disk = len(files) == 1 + len(judgments)
    there = out is not None and on_disk and all((Path(out) / name).is_file() for name in FILES)
    if out is not None and there and store.up_to_date(Path(out) / FILES[0], **work):
        return probing.read_part(out, Sensitivity, FILES[0])
    if len(judgments) < FEWEST:
        raise InputError(f"{len(judgments)} paraphrases: give at least {FEWEST}; two that agree say little about a third")
    people = sources.read_judgments(golden, scale=of)
    tables = [sources.read_judgments(each, scale=of) for each in judgments]
    made = _compared(
        people, tables, _names(judgments), of, str(golden) if isinstance(golden, str | Path) else "gold", level, seed
    )
    if out is not None:
        store.write_text(Path(out) / FILES[1], report.sensitivity_html(made))
        store.write_text(Path(out) / FILES[2], report.sensitivity_markdown(made))
        store.write_text(Path(out) / FILES[0], made.to_json() + "\n")
        store.write_manifest(Path(out) / FILES[0], **work)
    return made


def _names(judgments: Sequence[Any]) -> list[str]:
    """What each wording is called: its file's name, or the whole path where names are alike."""
    stems = [Path(each).stem if isinstance(each, str | Path) else f"paraphrase {at + 1}" for at, each in enumerate(judgments)]
    return stems if len(set(stems)) == len(stems) else [f"{at + 1}: {name}" for at, name in enumerate(stems)]


def _compared(
    people: pa.Table, tables: Sequence[pa.Table], names: list[str], scale: Scale, gold: str, level: float, seed: int
) -> Sensitivity:
    """The sensitivity of judgments to their wording. Seven parameters: what was read, what it is called, and how to count."""
    who = [cards.who(people, table, scale) for table in tables]
    fingerprints, guides = [fingerprint for _, fingerprint, _, _ in who], {guide for _, _, guide, _ in who}
    if len(set(fingerprints)) < len(fingerprints):
        twice = next(f for f in fingerprints if fingerprints.count(f) > 1)
        raise InputError(
            f"two paraphrases have the fingerprint {twice!r}: another wording of the prompt is another fingerprint"
        )
    if len(guides) > 1:
        raise InputError(f"the paraphrases were made under {len(guides)} guide versions: a guide is not a wording, use one")
    pairs = [cards.joined(people, table, None, len(scale.labels)) for table in tables]
    grades = np.stack([each.other for each in pairs])
    truth, query = pairs[0].gold, pairs[0].query
    answered = (grades >= 0).all(0)
    if not answered.any():
        raise InputError("no gold pair was answered under every paraphrase: are query_id and doc_id the same in all files?")
    a, b, own = truth[answered], grades[:, answered], query[answered]
    options: dict[str, Any] = {"clusters": own, "level": level}
    found = spreads(a, b, gains=scale.gains, clusters=own, level=level, seed=seed)
    each = tuple(
        Paraphrase(
            name,
            fingerprint,
            _agreement(a, b[at], options, scale),
            share(grades[at] >= 0, clusters=query, level=level, method="share of gold pairs answered"),
        )
        for at, (name, fingerprint) in enumerate(zip(names, fingerprints, strict=True))
    )
    return Sensitivity(
        scale.name,
        guides.pop(),
        f"{gold} ({int(answered.sum()):,} pairs of {len(set(own.tolist())):,} queries)",
        each,
        {name: spread.span for name, spread in found.items()},
        {name: spread.sd for name, spread in found.items()},
        share(changed(b), method="share of pairs whose grade changes", **options),
        {
            f"{names[i]} and {names[j]}": agreement.exact_agreement(b[i], b[j], **options)
            for i, j in combinations(range(len(names)), 2)
        },
        seed,
        tuple(dict.fromkeys(note for _, _, _, said in who for note in said)),
    )


def _agreement(gold: NDArray[np.int64], other: NDArray[np.int64], options: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """Exact agreement, quadratic kappa, macro F1 and gain error with people, those that have a value."""
    statistics: tuple[labels.Statistic, ...] = (
        ("exact", agreement.exact_agreement, {}),
        ("quadratic kappa", agreement.cohen_kappa, {"distance": "quadratic"}),
        ("macro F1", agreement.macro_f1, {}),
        ("gain error", labels.gain_error, {"scale": scale}),
    )
    found = {}
    for name, statistic, more in statistics:
        try:
            found[name] = statistic(gold, other, **options, **more)
        except Undefined:
            continue
    return found
