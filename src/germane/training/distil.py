"""Distils a student of two towers from the labels of a teacher: its probabilities, and its margins within a query."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.extras import needs
from germane.inference import exporting, towers
from germane.inference.tokens import Tokens
from germane.judges import folder, lexical, two_tower
from germane.judges.encoder import prefixes_of
from germane.judges.loading import locate
from germane.judges.saying import decide, probabilities
from germane.training import finishing, losses, negatives
from germane.training.examples import Examples, split
from germane.training.finishing import NOBODY, Lineage, Trained
from germane.training.running import Batch, History, Settings, all_here, fit, identity, is_first_process
from germane.training.student import Parts, groups, margins, scored, student, vectors
from germane.types import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StudentRecipe:
    """How a student is made. base: a sentence encoder, or the folder of a student, which is then trained further.

    separate: a tower for queries and one for documents, not one for both. dimension: of the vectors, by a projection.
    margin: weight of the margins in the loss; 0 is none. hard: lowest-graded documents a query, those most like it by
    mined_by ("bm25", or "vectors": of the base before training); None learns from all. negatives.py says more.
    head_rate: learning rate of the head, which starts from nothing. prefixes: before query and document; None is what the
    base wants. stop_on: "macro F1" or "log loss" of dev picks the epoch. decision: "likeliest" grade, or "macro F1".
    onnx: export the towers, in fp32 and int8.
    """

    base: str
    name: str = ""
    separate: bool = False
    dimension: int | None = None
    lexical: bool = True
    margin: float = 1.0
    hard: int | None = None
    mined_by: str = "bm25"
    max_query: int = 64
    max_text: int = 256
    prefixes: tuple[str, str] | None = None
    head_rate: float = 1e-3
    stop_on: str = "log loss"
    decision: str = "likeliest"
    onnx: bool = True
    settings: Settings = field(default_factory=lambda: Settings(epochs=4, batch=64, learning_rate=5e-5))

    def __post_init__(self) -> None:
        for name, allowed in (
            ("mined_by", ("bm25", "vectors")),
            ("stop_on", ("macro F1", "log loss")),
            ("decision", ("likeliest", "macro F1")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r}: expected {' or '.join(map(repr, allowed))}")
        if self.margin < 0 or self.max_query < 4 or self.max_text < 4:
            raise InputError(
                f"margin {self.margin}, max_query {self.max_query}, max_text {self.max_text}: give a margin of 0 or more, and "
                "at least 4 tokens"
            )


def train(
    train: Examples,
    dev: Examples | None,
    out: Path,
    *,
    recipe: StudentRecipe,
    checkpoints: Path | None = None,
    lineage: Lineage = NOBODY,
) -> Trained:
    """Trains a student and saves it at `out`. dev: to calibrate and stop by, best people's grades; else a part by query.

    The loss is the cross-entropy to the teacher's probabilities plus `margin` times the squared error of the margins
    between expected gains of two documents of a query.

    Sources: margins of expected gain: Walmart (2025), arXiv 2505.07105; of scores: Hofstätter et al. (2020), MarginMSE.
    Raises: InputError for a base that is no encoder, and what `fit` and `folder.writing` refuse.
    """
    needs("train", "torch", "transformers", "accelerate", by="training/distil.py")
    if dev is None:
        train, dev = split(train, seed=recipe.settings.seed)
    whole = checkpoints or out.with_name(f".{out.name}.checkpoints")
    kept = whole / identity(recipe, train, dev)
    fitted, parts, random = _built(recipe, train)
    rows, said = _chosen(train, fitted, parts, recipe)
    history = _fit(fitted, rows, dev, parts, recipe, kept)
    logits = scored(fitted, dev, parts)
    temperature = finishing.calibrate(logits, dev.target)
    about = folder.About(
        kind=two_tower.KIND,
        name=recipe.name or out.name,
        scale=train.scale,
        base=recipe.base,
        max_length=parts.text.max_length,
        temperature=temperature,
        weights=_decision(logits, temperature, dev, recipe),
        settings=_settings(recipe, parts, len(fitted.towers)),
        lineage=lineage.fingerprints,
        taught_by=lineage.taught_by,
        random_weights=random,
    )
    found = finishing.scores(logits, dev, about)
    notes = (*train.notes, *said, *_notes(recipe, parts, random))
    if is_first_process():
        with folder.writing(out, about) as part:
            save(fitted, parts, part, onnx=recipe.onnx)
            finishing.write_training(part, about, recipe, rows, dev, history, found, lineage, notes)
        shutil.rmtree(whole, ignore_errors=True)
    all_here()
    return Trained(out, folder.read(out).fingerprint, history, found, notes)


# --- one training ---------------------------------------------------------------------------------------------------


def _built(recipe: StudentRecipe, train: Examples) -> tuple[Any, Parts, bool]:
    """The student before it learns, what reads for it, and whether its base's weights are random."""
    from transformers import set_seed

    set_seed(recipe.settings.seed)
    bases = _bases(recipe)
    made = [towers.started(base, dimension=recipe.dimension) for base in bases]
    tower: Any
    tower, tokenizer, random = made[0]
    shape: Any = tower.shape
    prefixes = recipe.prefixes or _prefixes(recipe.base, tower.encoder.config)
    lengths = (min(recipe.max_query, shape.most), min(recipe.max_text, shape.most))
    saved = tokenizer.backend_tokenizer.to_str()
    query, text = (Tokens(saved, max_length=n, pad=shape.pad, prefix=p) for n, p in zip(lengths, prefixes, strict=True))
    parts = Parts(tokenizer, query, text, lexical.idf(set(train.text)) if recipe.lexical else None)
    rate = recipe.settings.learning_rate
    faster = recipe.head_rate / rate if rate > 0 and recipe.head_rate > 0 else 1.0
    features = parts.features(train.query, train.text)
    return student([tower for tower, *_ in made], features, len(train.scale.labels), faster), parts, random


def _bases(recipe: StudentRecipe) -> list[str]:
    """Where each tower starts: one for both, or the same base twice; a student's own towers."""
    where = locate(recipe.base)
    if (Path(where) / folder.ABOUT).is_file():
        about = folder.read(where, kind=two_tower.KIND)
        own = [str(Path(where) / name) for name in two_tower.towers_of(about.settings)]
        return own if len(own) > 1 else own * (2 if recipe.separate else 1)
    return [where] * (2 if recipe.separate else 1)


def _prefixes(base: str, config: Any) -> tuple[str, str]:
    where = locate(base)
    if (Path(where) / folder.ABOUT).is_file():
        query, text = folder.read(where).settings["prefixes"]
        return str(query), str(text)
    return towers.prompts_of(where) or prefixes_of(base, config)


def _chosen(train: Examples, fitted: Any, parts: Parts, recipe: StudentRecipe) -> tuple[Examples, list[str]]:
    """The rows that are learned from: all, or the hard ones of those with the lowest grades; and a word on it."""
    if recipe.hard is None:
        return train, []
    like = negatives.by_bm25(train) if recipe.mined_by == "bm25" else negatives.by_vectors(*vectors(fitted, train, parts))
    rows = negatives.hardest(train, like, most=recipe.hard)
    said = f"learned from {len(rows):,} of {len(train):,} pairs: {recipe.hard} hard ones of the lowest grade a query at most"
    return train.take(rows), [said]


def _fit(fitted: Any, rows: Examples, dev: Examples, parts: Parts, recipe: StudentRecipe, kept: Path) -> History:
    """Fits towers and head by `fit`, in batches of several documents of a query."""
    import torch

    taken, asked = groups(rows, recipe.settings.seed), rows.asked
    queries, texts = parts.query(rows.query), parts.text(rows.text)
    features, target = parts.features(rows.query, rows.text), rows.target.astype(np.float32)
    gains = torch.tensor(rows.scale.gains, dtype=torch.float32)
    size = len(rows) / len(taken)
    settings = replace(recipe.settings, batch=max(round(recipe.settings.batch / size), 1))

    def collate(several: list[list[int]]) -> Batch:
        at = [i for group in several for i in group]
        place = [n for n, group in enumerate(several) for _ in group]
        query_ids, query_mask = parts.query.padded([queries[group[0]] for group in several])
        text_ids, text_mask = parts.text.padded([texts[i] for i in at])
        arrays = {
            "query_ids": query_ids, "query_mask": query_mask, "text_ids": text_ids, "text_mask": text_mask,
            "place": np.array(place), "features": features[at], "target": target[at], "query": asked[at],
        }  # fmt: skip
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        target, query = batch["target"], batch["query"]
        logits = model(**{name: given for name, given in batch.items() if name not in ("target", "query")})
        found = losses.cross_entropy(logits, target)
        if recipe.margin:
            found = found + recipe.margin * margins(logits, target, query, gains.to(logits.device))
        return found

    history = fit(
        fitted,
        taken,
        collate=collate,
        loss=loss,
        folder=kept,
        settings=settings,
        score=lambda: _stands(scored(fitted, dev, parts), dev, recipe),
    )
    return history._replace(rows_per_s=history.rows_per_s * size)


def _stands(logits: NDArray[np.float64], dev: Examples, recipe: StudentRecipe) -> float:
    """How good the student is on dev, larger is better, once calibrated there."""
    probs = probabilities(logits, finishing.calibrate(logits, dev.target))
    if recipe.stop_on == "log loss":
        return float(np.log(np.maximum(probs[np.arange(len(dev)), dev.grade], 1e-12)).mean())
    weights = finishing.decision_weights(probs, dev.grade) if recipe.decision == "macro F1" else ()
    return finishing.macro_f1(dev.grade, decide(probs, weights), len(dev.scale.labels))


# --- saving ---------------------------------------------------------------------------------------------------------


def save(fitted: Any, parts: Parts, part: Path, *, onnx: bool) -> None:
    """Writes towers, tokenizers, head and weights of words into a judge's folder, and the towers as ONNX too."""
    names = two_tower.towers_of({"separate": len(fitted.towers) > 1})
    for name, tower in zip(names, fitted.towers, strict=True):
        (part / name).mkdir()
        towers.save(tower, parts.tokenizer, part / name)
        if onnx:
            exporting.export(tower, part / name / two_tower.FILES["onnx"])
            exporting.quantised(tower, part / name / two_tower.FILES["onnx"], part / name / two_tower.FILES["onnx-int8"])
    np.savez(part / two_tower.HEAD, allow_pickle=False, **fitted.head.plain()._asdict())
    if parts.weights is not None:
        said = json.dumps(parts.weights, ensure_ascii=False)
        (part / two_tower.WEIGHTS).write_text(said, encoding="utf-8")


def _settings(recipe: StudentRecipe, parts: Parts, count: int) -> dict[str, Any]:
    """What about.settings holds: all that decides a vector or a feature, besides the files."""
    return {
        "separate": count > 1,
        "prefixes": [parts.query.prefix, parts.text.prefix],
        "max_query": parts.query.max_length,
        "lexical": list(lexical.NAMES) if recipe.lexical else [],
    }


def _notes(recipe: StudentRecipe, parts: Parts, random: bool) -> Iterator[str]:
    if random:
        yield f"{recipe.base} has no weights: the base was random, and only these pairs taught it anything"
    if parts.text.max_length < recipe.max_text:
        yield f"{recipe.base} reads {parts.text.max_length} tokens at most, not {recipe.max_text}"


def _decision(logits: NDArray[np.float64], temperature: float, dev: Examples, recipe: StudentRecipe) -> tuple[float, ...]:
    if recipe.decision != "macro F1":
        return ()
    return finishing.decision_weights(probabilities(logits, temperature), dev.grade)
