"""Trains a teacher: a language model, with images or without, learns to say the grade of a pair. To a judge's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.extras import needs, quietly
from germane.judges import causal, folder
from germane.judges.images import Images
from germane.judges.likeliest import LEAST_MASS
from germane.judges.prompts import Frame, Prompt, fenced, frame
from germane.judges.prompts.grading import MARK
from germane.judges.reading import REASON_TOKENS, Pixels, Reader, Reading, prepared
from germane.judges.saying import decide, probabilities
from germane.training import finishing, packing
from germane.training.examples import Examples, split
from germane.training.running import History, Settings, all_here, device_of, fit, identity, is_first_process
from germane.types import Doc, InputError

Floats = NDArray[np.float64]
Reasons = Mapping[tuple[str, str], str]

BASE = "Qwen/Qwen3-VL-4B-Instruct"
DECISIONS = ("likeliest", "macro F1", "prior")
TRIED = 4
"""Rows on which packing is held against its absence before training."""


@dataclass(frozen=True)
class TeacherRecipe:
    """How a teacher is made. base: a folder, or a model's name: any causal or image-text model of transformers.

    max_length: tokens of query and item together; the guide comes on top. lora: rank of the adapters on all linear layers
    of the language model, None trains all weights. quantised: adapters over weights of 4 bits (QLoRA; bitsandbytes and
    CUDA). merged: adapters are merged into the weights that are saved; False, and always with 4-bit weights, saves adapters
    alone. reasoning: reasons are learned, and said before the grade. packed: several examples share a sequence.
    soft: the probabilities that labels carry are learned, where they carry any; False: the grade alone.
    images: the documents' images are read. decision: "likeliest" grade, the one by which "macro F1" is largest on dev, or
    "prior", which lifts rare grades by their share of the labels. name: of the judge, None is its folder's.
    """

    base: str = BASE
    max_length: int = 1024
    lora: int | None = 16
    quantised: bool = False
    merged: bool = True
    reasoning: bool = False
    packed: bool = True
    soft: bool = True
    images: bool = False
    decision: str = "likeliest"
    name: str | None = None
    settings: Settings = field(default_factory=lambda: Settings(epochs=3, batch=16, learning_rate=1e-4))

    def __post_init__(self) -> None:
        if self.decision not in DECISIONS:
            raise InputError(f"decision {self.decision!r}: expected one of {', '.join(DECISIONS)}")
        if self.max_length < 16:
            raise InputError(f"max_length {self.max_length}: a query and an item need 16 tokens at least")
        if self.lora is not None and self.lora < 1:
            raise InputError(f"lora {self.lora}: the rank of adapters is 1 or more")
        if self.quantised and self.lora is None:
            raise InputError("4-bit weights cannot be trained themselves: give a rank of adapters too (--lora 16)")


def train(
    train: Examples,
    dev: Examples | None,
    out: Path,
    *,
    recipe: TeacherRecipe,
    checkpoints: Path | None = None,
    lineage: finishing.Lineage = finishing.NOBODY,
    reasons: Reasons | None = None,
    images: Images | None = None,
) -> finishing.Trained:
    """Trains a teacher on `train` and saves it at `out`; `dev` says when to stop, and calibrates.

    dev: None takes about 15 % of the queries of `train`. checkpoints: where a run that was killed goes on; removed once the
    judge is saved. reasons: (query_id, doc_id) -> what to say before the grade, for a recipe with reasoning; pairs without
    are left out. images: of the documents, for a recipe with images; a document without one is learned from its text.

    Raises: InputError for a base that does not write text, for reasons or images that are missing, for too little memory or
    disk, and for a loss that is no number. Eight parameters: reasons and images are what other trainers do not have.
    """
    needs("train", "torch", "transformers", "accelerate", by="training/sft.py")
    if dev is None:
        train, dev = split(train, seed=recipe.settings.seed)
    train, notes = _with_what_it_needs(train, recipe, reasons, images)
    kept = checkpoints or out.with_name(f".{out.name}.checkpoints")
    built = _built(train, recipe)
    rows, missing = _rows(built, train, recipe, reasons or {}, images)
    dev_images = _opened(dev, images)

    def read() -> Reading:
        return built.reader.read(dev.query, dev.text, dev_images, batch=recipe.settings.batch)

    def stands() -> float:  # what the judge would not answer counts as wrong, or an epoch that answers nothing may win a tie
        found = read()
        return _macro_f1(np.where(found.mass[:, None] < LEAST_MASS, np.nan, found.logits), dev)

    here = kept / identity(recipe, train, dev, more=sorted(map(list, (reasons or {}).items())))
    history, unpacked = _fitted(built, rows, recipe, here, stands)
    _as_it_will_judge(built, recipe)
    logits = read().logits
    about, found, unanswered = _about(built, logits, train, dev, out, recipe, lineage)
    random = (
        f"{recipe.base} has no weights: the base was random, and only these pairs taught it" if about.random_weights else ""
    )
    notes = tuple(filter(None, (*train.notes, *notes, missing, unpacked, unanswered, random)))
    all_here()  # nobody reads the checkpoints any more
    if is_first_process():
        with folder.writing(out, about) as part:
            _save(built, part, recipe)
            finishing.write_training(part, about, recipe, train, dev, history, found, lineage, notes)
        shutil.rmtree(kept, ignore_errors=True)
    all_here()
    return finishing.Trained(out, folder.read(out).fingerprint, history, found, notes)


def _as_it_will_judge(built: _Built, recipe: TeacherRecipe) -> None:
    """Merges adapters and rounds weights to the precision that they are judged with, before they are calibrated and saved."""
    if recipe.lora is not None and recipe.merged and not recipe.quantised:
        built.reader.model = built.reader.model.merge_and_unload()
    if recipe.lora is None:
        built.reader.model.to(causal.precision(device_of(recipe.settings)))


class _Built(NamedTuple):
    reader: Reader
    frame: Frame
    prompt: Prompt
    language: causal.Language


def _built(train: Examples, recipe: TeacherRecipe) -> _Built:
    """The base with its prompt, and with adapters where they are asked for."""
    device = device_of(recipe.settings)
    if recipe.quantised:
        causal.four_bits_there(device)
    dtype = causal.precision(device, halved=recipe.lora is not None)
    with quietly():
        language = causal.language_model(
            recipe.base,
            device=device,
            dtype=dtype,
            images=recipe.images,
            quantised=recipe.quantised,
            seed=recipe.settings.seed,
        )
        model = language.model if recipe.lora is None else _with_adapters(language.model, recipe)
    found, prompt = frame(language.tokenizer, train.scale, reasoning=recipe.reasoning)
    reader = Reader(model, found, limit=recipe.max_length, pictures=language.pictures, reason_tokens=REASON_TOKENS)
    return _Built(reader, found, prompt, language)


def _with_adapters(model: Any, recipe: TeacherRecipe) -> Any:
    """The model with adapters on every linear layer of its language model. Source: Hu et al. (2021); Dettmers et al. (2023)."""
    needs("train", "peft", by="training/sft.py")
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if recipe.quantised:
        again = {"use_reentrant": False}
        model = prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]
            model, use_gradient_checkpointing=recipe.settings.gradient_checkpointing, gradient_checkpointing_kwargs=again
        )
    elif recipe.settings.gradient_checkpointing:
        model.enable_input_require_grads()
    adapters = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora or 0,
        lora_alpha=2 * (recipe.lora or 0),
        lora_dropout=0.05,
        target_modules=_targets(model),
    )
    found = get_peft_model(model, adapters)
    for parameter in found.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # what is learned stays in full precision
    return found


def _targets(model: Any) -> str | list[str]:
    """The layers that get adapters: those of the language model, and not of what sees images."""
    import torch

    if getattr(model.config, "vision_config", None) is None:
        return "all-linear"
    inside = set(map(id, model.get_decoder().modules()))
    seeing = ("visual", "vision")
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and id(module) in inside and not any(part in name for part in seeing)
    ]


# --- what it learns from --------------------------------------------------------------------------------------------


def _with_what_it_needs(
    train: Examples, recipe: TeacherRecipe, reasons: Reasons | None, images: Images | None
) -> tuple[Examples, tuple[str, ...]]:
    if recipe.images and images is None:
        raise InputError("a teacher with images needs the folder where they are (--images)")
    if not recipe.reasoning:
        return train, ()
    has = [bool((reasons or {}).get(ids, "").strip()) for ids in zip(train.query_id, train.doc_id, strict=True)]
    kept = train.take(np.flatnonzero(has))
    if not len(kept) or len(set(kept.grade.tolist())) < 2:
        raise InputError(
            f"a teacher with reasoning learns from reasons, and {len(kept):,} of {len(train):,} labels have one: reasons of at "
            "least two grades are needed, or train without"
        )
    without = len(train) - len(kept)
    return kept, (f"left out: {without:,} pairs without reasons",) if without else ()


def _rows(
    built: _Built, examples: Examples, recipe: TeacherRecipe, reasons: Reasons, images: Images | None
) -> tuple[list[packing.Row], str]:
    """The examples as tokens, and how many images were missing."""
    made, tokens = built.frame, built.language.tokenizer
    pictures = [_picture(built, images, doc_id) for doc_id in examples.doc_id] if images is not None else []
    prompts = made.ids(examples.query, examples.text, recipe.max_length, [p().ids if p else () for p in pictures])
    target = examples.target if recipe.soft else np.eye(len(examples.scale.labels))[examples.grade]
    rows = []
    for i, prompt in enumerate(prompts):
        ids = [*made.head, *prompt]
        start = len(ids)
        if recipe.reasoning:
            words = fenced(reasons[examples.query_id[i], examples.doc_id[i]]).replace(MARK, MARK[:-1])
            said = tokens(words, add_special_tokens=False, verbose=False)["input_ids"]
            ids = [*ids, *said[: REASON_TOKENS - len(made.marking)], *made.marking]
        rows.append(packing.Row(ids, start, target[i], pictures[i] if pictures else None))
    missing = sum(picture is None for picture in pictures)
    return rows, f"{missing:,} of {len(rows):,} documents were learned without an image" if missing else ""


def _picture(built: _Built, images: Images, doc_id: str) -> Callable[[], Pixels] | None:
    """What opens a document's image when its batch comes: the patches of all of them would not fit into memory."""
    doc, config = Doc(doc_id, {}), built.language.model.config
    if images.of(doc)[0] is None:
        return None
    return lambda: prepared(built.language.pictures, config, images.of(doc)[0])


def _opened(examples: Examples, images: Images | None) -> list[Any]:
    if images is None:
        return []
    return [images.of(Doc(doc_id, {}))[0] for doc_id in examples.doc_id]


# --- fitting --------------------------------------------------------------------------------------------------------


def _fitted(
    built: _Built, rows: list[packing.Row], recipe: TeacherRecipe, kept: Path, score: Callable[[], float]
) -> tuple[History, str]:
    """Fits the model; and says so where packing was asked for and is not possible."""
    model, grades = built.reader.model, built.frame.grades
    most, said = _packing(built, rows, recipe)

    def collate(several: list[packing.Row]) -> dict[str, Any]:
        return packing.packed(several, built.language.tokenizer, most)

    def loss(fitted: Any, batch: dict[str, Any]) -> Any:
        return packing.loss(fitted, batch, grades)

    with quietly():
        return fit(model, rows, collate=collate, loss=loss, folder=kept, settings=recipe.settings, score=score), said


def _packing(built: _Built, rows: list[packing.Row], recipe: TeacherRecipe) -> tuple[int | None, str]:
    """The tokens of a sequence, None for one row each. A model that sees from one example into another is not packed."""
    import torch

    if not recipe.packed or recipe.images or len(rows) < 2:
        return None, ""
    model, tokenizer = built.reader.model.eval(), built.language.tokenizer
    found = []
    with torch.no_grad():
        for most in (packing.PACK, None):
            batch = packing.packed(rows[:TRIED], tokenizer, most)
            batch = {name: given.to(model.device) for name, given in batch.items()}
            found.append(float(packing.loss(model, batch, built.frame.grades)))
    close = 1e-3 if next(model.parameters()).dtype == torch.float32 else 3e-2
    if abs(found[0] - found[1]) <= close * max(abs(found[1]), 1.0):
        return packing.PACK, ""
    return None, f"not packed: {recipe.base} sees from one example into the next (loss {found[0]:.4f}, alone {found[1]:.4f})"


def _macro_f1(logits: Floats, dev: Examples) -> float:
    """What the best epoch is chosen by; a pair without an answer is none of the grades, and so is wrong."""
    said = decide(probabilities(np.nan_to_num(logits)))
    size = len(dev.scale.labels)
    return finishing.macro_f1(dev.grade, np.where(np.isfinite(logits).all(axis=1), said, (dev.grade + 1) % size), size)


# --- finishing ------------------------------------------------------------------------------------------------------


def _about(
    built: _Built,
    logits: Floats,
    train: Examples,
    dev: Examples,
    out: Path,
    recipe: TeacherRecipe,
    lineage: finishing.Lineage,
) -> tuple[folder.About, dict[str, float], str]:
    """What the judge is, its scores on the answered pairs of dev, and how many were not answered."""
    sound = np.flatnonzero(np.isfinite(logits).all(axis=1))
    if recipe.reasoning and not len(sound):
        raise InputError(
            f"the teacher came to no grade in {REASON_TOKENS} tokens on any dev pair: train longer, or without reasoning"
        )
    temperature = finishing.calibrate(logits, dev.target)
    said, kept = logits[sound], dev.take(sound)
    weights: tuple[float, ...] = ()
    if recipe.decision == "macro F1":
        weights = finishing.decision_weights(probabilities(said, temperature), kept.grade)
    elif recipe.decision == "prior":
        weights = finishing.prior_weights(train.grade, len(dev.scale.labels))
    about = folder.About(
        kind="generative",
        name=recipe.name or out.name,
        scale=dev.scale,
        base=recipe.base,
        max_length=recipe.max_length,
        temperature=temperature,
        weights=weights,
        settings={
            "prompt": built.prompt.version,
            "frame": built.frame.settings,
            "base_digest": causal.digest(recipe.base, built.language.model.config),
            "reasoning": recipe.reasoning,
            "reason_tokens": REASON_TOKENS,
            "images": recipe.images,
            "quantised": recipe.quantised,
            "seed": recipe.settings.seed,
        },
        lineage=lineage.fingerprints,
        taught_by=lineage.taught_by,
        random_weights=built.language.random,
    )
    without = len(dev) - len(sound)
    note = f"{without:,} of {len(dev):,} dev pairs got no grade, and are not in its scores" if without else ""
    return about, finishing.scores(said, kept, about), note


def _save(built: _Built, part: Path, recipe: TeacherRecipe) -> None:
    """Weights (whole, or adapters alone) as safetensors, tokenizer with its chat template, and what reads images."""
    alone = recipe.lora is not None and (recipe.quantised or not recipe.merged)
    where = part / (causal.ADAPTER if alone else causal.MODEL)
    try:
        with quietly():
            if alone:  # peft would look on a hub for the base's vocabulary, which nothing here changes
                built.reader.model.peft_config["default"].base_model_name_or_path = recipe.base
                built.reader.model.save_pretrained(str(where), save_embedding_layers=False)
            else:
                built.reader.model.save_pretrained(str(where))
            built.language.tokenizer.save_pretrained(str(where))
            if built.language.pictures is not None:
                built.language.pictures.save_pretrained(str(where))
    except Exception as problem:  # safetensors has an error of its own for a full disk
        if "no space left" in str(problem).lower():
            raise OSError(28, "No space left on device") from problem
        raise
    (where / "README.md").unlink(missing_ok=True)  # peft's; the judge's own model card lies above
