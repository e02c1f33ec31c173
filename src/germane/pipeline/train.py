"""`germane train cross-encoder|teacher|student`: labelled pairs in, the folder of a judge out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane import scales, sources, store
from germane.cards import facts
from germane.cards.admission import distinct
from germane.golden import folder as folder_of_golden
from germane.judges import folder, pictures
from germane.judges.committee import convene
from germane.judges.loading import contents, locate
from germane.judges.pictures import Pictures
from germane.text import query_digest
from germane.training.catalogue import CONSTRUCTED, catalogue
from germane.training.examples import Examples, examples
from germane.training.finishing import Lineage, Trained
from germane.training.running import Settings
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

NEAR = 0.9
"""Jaccard similarity of the words of two pairs from which they count as the same pair typed twice."""


class Summary(NamedTuple):
    """What training made. scores: on the held-out queries on which the judge was also calibrated, so a little flattered."""

    out: str
    made: bool
    judge: str
    fingerprint: str
    pairs: int
    queries: int
    scores: Mapping[str, float]
    epochs: int
    rows_per_s: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """The files that a judge is trained from. dev: pairs and labels to calibrate and stop by; without it, a part by query.

    sealed: pairs (or queries) of a golden test set that it must never see. drop_sealed: leave their queries out instead of
    refusing. before: (pairs, labels, scale) of other tasks, to learn from first. catalogue: documents, to learn word
    matching from first, by searches made of their titles. pictures: the documents' images, for a teacher that sees.
    """

    pairs: Path
    labels: Path
    scale: str | Scale
    dev: tuple[Path, Path] | None = None
    sealed: Path | None = None
    drop_sealed: bool = False
    before: tuple[tuple[Path, Path, str], ...] = ()
    catalogue: Path | None = None
    pictures: Pictures | None = None

    @property
    def files(self) -> list[Path]:
        more = [path for each in self.before for path in each[:2]]
        images = self.pictures.docs if self.pictures else None
        sealed = None if self.sealed is None else folder_of_golden.test_pairs(self.sealed)
        single = [path for path in (sealed, self.catalogue, images) if path is not None]
        return [self.pairs, self.labels, *(self.dev or ()), *single, *more]


def cross_encoder(given: Given, out: Path, *, options: Mapping[str, Any]) -> Summary:
    """A judge that reads query and document together. options: fields of `CrossEncoderRecipe` and of its `Settings`."""
    from germane.training import cross_encoder as training

    recipe = _recipe(training.CrossEncoderRecipe, options)
    return _train(given, out, "train cross-encoder", recipe, training.train, before=True)


def teacher(given: Given, out: Path, *, options: Mapping[str, Any]) -> Summary:
    """A language model, or one that also sees, fine-tuned to grade. options: fields of `TeacherRecipe` and its `Settings`.

    It sees where `given` has pictures. With the option "reasoning" it learns the notes of the labels as reasons.
    """
    from germane.training import sft as training

    recipe = _recipe(training.TeacherRecipe, {**options, "images": given.pictures is not None})
    more: dict[str, Any] = {}
    if recipe.reasoning:
        more["reasons"] = _reasons(given)
    if given.pictures is not None:
        more["images"] = given.pictures.open()
    return _train(given, out, "train teacher", recipe, partial(training.train, **more))


def student(given: Given, out: Path, *, options: Mapping[str, Any]) -> Summary:
    """Two towers that learn from a teacher's probabilities and margins. options: fields of `StudentRecipe` and `Settings`."""
    from germane.training import distil as training

    return _train(given, out, "train student", _recipe(training.StudentRecipe, options), training.train, soft=True)


class Convened(NamedTuple):
    """What a committee is."""

    out: str
    made: bool
    judge: str
    fingerprint: str
    members: tuple[str, ...]


def committee(members: Sequence[Path], out: Path, *, name: str | None = None) -> Convened:
    """Several trained judges as one: `germane.judges.committee.convene`. The same members again do nothing."""
    prints = tuple(folder.read(member).fingerprint for member in members)
    known = folder.read(out) if (out / folder.ABOUT).is_file() else None
    if known is not None and list(prints) == known.settings.get("members"):
        return Convened(str(out), False, known.name, known.fingerprint, prints)
    about = convene(members, out, name=name)
    return Convened(str(out), True, about.name, about.fingerprint, prints)


def _train(given: Given, out: Path, verb: str, recipe: Any, train: Any, *, soft: bool = False, before: bool = False) -> Summary:
    scale = _scale(given)
    work: dict[str, Any] = {"verb": verb, "inputs": given.files, "seed": recipe.settings.seed}
    work["parameters"] = {"scale": scale, "recipe": recipe, "drop_sealed": given.drop_sealed, "dev": given.dev is not None}
    work["parameters"]["base"] = contents(recipe.base)
    work["parameters"] |= _more(given)
    made = out / folder.ABOUT
    if (above := next((p for p in out.parents if p.exists()), None)) is not None and not above.is_dir():
        raise InputError(f"--out {out}: {above} is a file")
    if out.exists() and not made.is_file() and (not out.is_dir() or any(out.iterdir())):  # known before hours of training
        raise InputError(f"{out} is there, and is no judge: name a new folder")
    if store.up_to_date(made, **work) and (manifest := store.read_manifest(made)):
        said = manifest.extra["summary"]
        return Summary(**{**said, "made": False, "notes": tuple(said["notes"])})
    soft = soft or getattr(recipe, "loss", "") == "soft" or getattr(recipe, "soft", False)
    rows = _examples(given.pairs, given.labels, scale, soft=soft)
    rows, dropped = _unsealed(rows, given.pairs, given)
    dev = None if given.dev is None else _examples(*given.dev, scale, soft=soft)
    if dev is not None and given.dev is not None:
        dev, more_dropped = _unsealed(dev, given.dev[0], given)
        dropped += more_dropped
        _apart(rows, dev)
    first = tuple(_before(given, scale, dropped)) if before else ()
    more: dict[str, Any] = {"lineage": _lineage(given, recipe.base, first)} | ({"before": first} if before else {})
    trained: Trained = train(rows, dev, out, recipe=recipe, **more)
    queries = len(set(rows.asked.tolist()))
    history, notes = trained.history, tuple(dict.fromkeys((*rows.notes, *dropped, *trained.notes)))
    summary = Summary(
        str(out), True, out.name, trained.fingerprint, len(rows), queries, dict(trained.dev), len(history.losses),
        round(history.rows_per_s, 1), notes,
    )  # fmt: skip
    store.write_manifest(made, **work, extra={"summary": {**summary._asdict(), "notes": list(notes)}})
    return summary


def _more(given: Given) -> dict[str, Any]:
    """What else decides the work, besides the bytes of the files: which file is what, scales, images."""
    more: dict[str, Any] = {}
    if given.before:
        more["before"] = [scales.get(name) for *_, name in given.before]
    if given.sealed is not None or given.catalogue is not None:
        more["sealed"], more["catalogue"] = given.sealed is not None, given.catalogue is not None
    if given.pictures is not None:
        asked = [given.pairs, *(given.dev or ())[:1]]
        ids = (str(doc_id) for path in asked for doc_id in store.read_table(path, "pairs")["doc_id"].to_pylist())
        more["images"] = pictures.digest(given.pictures.open(), ids)
    return more


def _reasons(given: Given) -> dict[tuple[str, str], str]:
    """What labels say in their notes, by query_id and doc_id."""
    labels = sources.read_judgments(given.labels, scale=_scale(given))
    columns = (labels[name].to_pylist() for name in ("query_id", "doc_id", "relevance", "note"))
    rows = zip(*columns, strict=True)
    return {(str(q), str(d)): note for q, d, grade, note in rows if grade is not None and note and note.strip()}


def _scale(given: Given) -> Scale:
    return given.scale if isinstance(given.scale, Scale) else scales.get(given.scale)


def _examples(pairs: Path, labels: Path, scale: Scale, *, soft: bool = False) -> Examples:
    for path in (pairs, labels):
        store.sealed.refuse_test(path, "a judge learns from dev, or from other labels")
    return examples(store.read_table(pairs, "pairs"), sources.read_judgments(labels, scale=scale), scale, soft=soft)


def _before(given: Given, scale: Scale, dropped: list[str]) -> Iterator[Examples]:
    """What is learned from first, without what somebody is to be tested on: searches of the catalogue, then other tasks."""
    if given.catalogue is not None:
        made = catalogue(sources.read_docs(given.catalogue), scale)
        if given.sealed is not None:
            known = {query_digest(query) for query in _texts(given.sealed)["query"]}
            made = made.take([i for i, query in enumerate(made.query) if query_digest(query) not in known])
        yield made
    for pairs, labels, name in given.before:
        rows, said = _unsealed(_examples(pairs, labels, scales.get(name)), pairs, given)
        dropped += said
        yield rows


def _recipe(kind: Any, options: Mapping[str, Any]) -> Any:
    """A recipe with these options, each given to it or to its settings; the rest as they are by default."""
    settings = {f.name for f in fields(Settings)}
    default = kind(**{name: value for name, value in options.items() if name not in settings})
    changed = {name: value for name, value in options.items() if name in settings}
    return replace(default, settings=replace(default.settings, **changed))


def _unsealed(rows: Examples, path: Path, given: Given) -> tuple[Examples, list[str]]:
    """The examples without a query, or a pair in nearly the same words, of the sealed set.

    Raises: InputError where there are such and `drop_sealed` is not set.
    """
    if given.sealed is None:
        return rows, []
    sealed = _texts(given.sealed)
    from germane.text.duplicates import near

    known = {query_digest(query) for query in sealed["query"]}
    same = np.array([query_digest(query) in known for query in rows.query])
    alike = np.zeros(len(rows), dtype=bool)
    if "text" in sealed:
        ours = [f"{query} {text}" for query, text in zip(rows.query, rows.text, strict=True)]
        theirs = [f"{query} {text}" for query, text in zip(sealed["query"], sealed["text"], strict=True)]
        alike[near(ours, theirs, NEAR).a] = True
    bad = same | alike
    if not bad.any():
        return rows, []
    example = rows.query[int(np.flatnonzero(bad)[0])]
    more = int((alike & ~same).sum())
    what = f"{int(same.sum()):,} pairs of queries that are in the sealed set, and {more:,} more in nearly its words"
    if not given.drop_sealed:
        raise InputError(
            f"{path} holds {what}, such as query {example!r}: a judge must not learn from what it is tested on; "
            "--drop-sealed leaves them out"
        )
    if bad.all():
        raise InputError(f"every pair of {path} is of the sealed set: nothing is left to learn from")
    return rows.take(np.flatnonzero(~bad)), [f"left out of {path.name}: {what}"]


def _apart(rows: Examples, dev: Examples) -> None:
    both = {query_digest(q) for q in rows.query} & {query_digest(q) for q in dev.query}
    if both:
        example = next(q for q in dev.query if query_digest(q) in both)
        raise InputError(
            f"{len(both):,} queries are in the training pairs and in dev, such as {example!r}: split by query, or leave dev out"
        )


def _texts(path: Path) -> dict[str, list[str]]:
    """query, and text where there is one, of a pairs or a queries table, or of a sealed golden set's test."""
    table: pa.Table
    path = folder_of_golden.test_pairs(path)
    try:
        table = store.read_table(path, "pairs")
    except InputError:
        table = sources.read_queries(path)
    return {name: [str(v or "") for v in table[name].to_pylist()] for name in ("query", "text") if name in table.column_names}


def _lineage(given: Given, base: str, before: Sequence[Examples]) -> Lineage:
    """Who made the labels, of earlier tasks too, and what is known through them: by the labels' manifests, and by the base.

    People have no lineage. A base that is a judge's folder, or the checkpoint inside one, hands on what it learned from.
    """
    names, fingerprints = list[str](), list[str]()
    judged = (rows for rows in before if rows.judges != CONSTRUCTED)
    queries = {query_digest(query) for rows in judged for query in rows.query}
    learned = [(given.labels, _scale(given)), *((labels, scales.get(name)) for _, labels, name in given.before)]
    for path, scale in learned:
        labels = sources.read_judgments(path, scale=scale)
        machines = [(judge, fingerprint) for judge, fingerprint in distinct(labels, "judge", "fingerprint") if fingerprint]
        if machines:
            said = facts.said_of(path, labels)
            names += [*(judge for judge, _ in machines), *said.facts.taught_by]
            fingerprints += [*(fingerprint for _, fingerprint in machines), *said.facts.lineage]
            queries |= said.queries
    where = Path(locate(base))
    for place in (where, where.parent):
        if (place / folder.ABOUT).is_file():
            about = folder.read(place)
            names += [about.name, *about.taught_by]
            fingerprints += [about.fingerprint, *about.lineage]
            queries |= set(folder.trained_on(place))
    taught_by, elders = tuple(dict.fromkeys(names)), tuple(dict.fromkeys(fingerprints))
    manifest = store.read_manifest(given.pairs)
    text = (manifest.extra.get("text") if manifest else None) or None
    return Lineage(taught_by, elders, tuple(given.files), tuple(sorted(queries)), text)
