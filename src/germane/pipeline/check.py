"""`germane check`: how far does this judge agree with people, and may its judgments be used?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from germane import cards, report, scales, sources, store
from germane.cards import facts, probing
from germane.golden import folder
from germane.types import InputError, JudgeCard, Probes, Run, Scale, Sensitivity

PROBES, SENSITIVITY = "probes.json", "sensitivity.json"


def check(
    gold: Any,
    judgments: Any,
    *,
    scale: Scale | str | Path,
    out: str | Path | None = None,
    bars: Mapping[str, float] | None = None,
    relevant: str | int | None = None,
    design: Any = None,
    adjudicate: str | None = None,
    raters: Sequence[str] = (),
    run: Any = (),
    control: Any = None,
    treatment: Any = None,
    metric: str = "sDCG@25",
    condensed: bool = False,
    margin: float = 0.002,
    queries: Any = None,
    docs: Any = None,
    by: Sequence[str] = (),
    pairs: Any = None,
    probes: str | Path | None = None,
    sensitivity: str | Path | None = None,
    allow: Collection[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> JudgeCard:
    """The judge card: agreement with people on the same pairs, with intervals over queries; `card.passed` is the verdict.

    gold, judgments: a file, an Arrow table, a data frame or a dict. Gold may hold several raters of a pair (`adjudicate`:
    "majority" or "median"), as rows or side by side in columns (`raters`: their names), and columns inclusion_probability and
    part ("targeted"). bars: name of a statistic -> what its
    interval must reach (`germane.cards.BARS` by default). relevant: the lowest label that counts as relevant. design:
    inclusion probabilities of gold's queries. run: one ranked list or several, for the judge's errors in sDCG. control,
    treatment: two, for its errors in paired differences and for decisions. condensed: take documents that people or judge
    left open out of the lists first. margin: the largest paired bias that would not matter. queries, docs, by: tables and
    columns to split by; a column of numbers in bands. pairs: texts that the judge read, for by="length". probes, sensitivity:
    what `germane probe` wrote of this judge. allow: "trained-on-gold", to check a judge on queries that it learned from; seen
    with `queries`. seed: of the resampled experiments. out: a folder for card.json (and its manifest), card.html and
    card.md; the same files and parameters again do nothing. More parameters than our seven: each is a question that the card
    answers.

    Raises: InputError for input that cannot be compared (`germane.cards.build`).

    >>> gold = {"q1": {"a": 0, "b": 3}, "q2": {"a": 1, "b": 3}, "q3": {"a": 2, "b": 0}}
    >>> card = check(gold, gold, scale="trec")
    >>> card.agreement["exact"].value, round(card.agreement["exact"].low, 2), card.passed
    (1.0, 0.14, False)
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    queries = folder.texts_beside(gold) if queries is None else queries
    runs = _several(run)
    given = [
        s
        for s in (gold, judgments, design, *runs, control, treatment, queries, docs, pairs, *_parts(probes, sensitivity))
        if s is not None
    ]
    files = [Path(source) for source in given if isinstance(source, str | Path) and str(source) != "-"]
    on_disk = len(files) == len(given)
    files += [beside for path in files if (beside := store.manifest_path(path)).is_file()]
    bars = dict(cards.BARS if bars is None else bars)
    parameters: dict[str, Any] = {"scale": of, "bars": bars, "relevant": relevant, "level": level, "adjudicate": adjudicate}
    parameters |= {"metric": metric, "condensed": condensed, "margin": margin, "by": list(by), "seed": seed}
    parameters |= {
        "allow": sorted(allow),
        "raters": list(raters),
        "lists": [len(runs), control is not None, treatment is not None],
        "parts": [pairs is not None, probes is not None, sensitivity is not None],
    }
    work: dict[str, Any] = {"verb": "check", "inputs": files, "parameters": parameters}
    if out is not None and on_disk and _made(Path(out), work):
        return cards.read(out)
    if (control is None) != (treatment is None):
        raise InputError(
            "a paired difference needs both arms: give control and treatment (for one ranked list, give it as run)"
        )
    if not 0 < margin <= 1:
        raise InputError(f"margin {margin}: give the largest paired bias in sDCG that would not matter, above 0, as 0.002")
    lists = cards.Experiment(
        tuple(sources.read_run(each) for each in runs), _run(control), _run(treatment), metric, condensed, margin, seed
    )
    people = sources.read_raters(gold, raters, scale=of, more=cards.EXTRA) if raters else None
    people = sources.read_judgments(gold, scale=of, more=cards.EXTRA) if people is None else people
    machine = sources.read_judgments(judgments, scale=of)
    asked = None if queries is None else sources.read_queries(queries)
    said = facts.said_of(judgments, machine)
    notes, overrides = facts.trained_on(said, {str(name) for name in people["query_id"].unique().to_pylist()}, asked, allow)
    card = cards.build(
        people,
        machine,
        scale=of,
        name=str(gold) if isinstance(gold, str | Path) else "gold",
        bars=bars,
        relevant=None if relevant is None else of.relevance(relevant),
        design=None if design is None else sources.read_design(design),
        level=level,
        adjudication=adjudicate,  # type: ignore[arg-type]  # adjudicate() says which there are
        experiment=lists,
        segments=cards.Segments(
            asked,
            None if docs is None else sources.read_docs(docs),
            (by,) if isinstance(by, str) else tuple(by),
            None if pairs is None else sources.read_pairs(pairs),
        ),
    )
    more = (*([said.note] if said.note else []), *notes, *overrides, *store.sealed.counted(files).values())
    card = replace(card, lineage=said.facts.lineage, caveats=(*card.caveats, *more))
    if probes is not None:
        card = probing.with_probes(card, probing.read_part(probes, Probes, PROBES))
    if sensitivity is not None:
        card = probing.with_sensitivity(card, probing.read_part(sensitivity, Sensitivity, SENSITIVITY))
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


def _parts(probes: str | Path | None, sensitivity: str | Path | None) -> list[Path]:
    """The files of probes and sensitivity, where their folder was named."""
    given = ((probes, PROBES), (sensitivity, SENSITIVITY))
    return [Path(path) / name if Path(path).is_dir() else Path(path) for path, name in given if path is not None]


def _several(run: Any) -> list[Any]:
    """The runs, where one or several were given."""
    if run is None:
        return []
    one = isinstance(run, str | Path | Run | Mapping) or not isinstance(run, Iterable) or hasattr(run, "columns")
    return [run] if one else list(run)


def _run(source: Any) -> Run | None:
    return None if source is None else sources.read_run(source)


def _made(folder: Path, work: dict[str, Any]) -> bool:
    """Whether the folder holds the card of the same work on the same files."""
    whole = all((folder / f"card.{kind}").is_file() for kind in ("html", "md", "json"))
    return whole and all(path.is_file() for path in work["inputs"]) and store.up_to_date(folder / "card.json", **work)
