"""Trains a cross-encoder: a base that reads text, and pairs with grades, to a judge's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.extras import needs, quietly
from germane.judges import encoder, folder
from germane.judges.loading import locate
from germane.judges.marking import Reader
from germane.judges.saying import decide, probabilities
from germane.metrics.measures import sdcg_weights
from germane.text import words
from germane.training import finishing, losses
from germane.training.examples import Examples, split
from germane.training.running import History, Settings, all_here, device_of, fit, identity, is_first_process
from germane.types import InputError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Batch = dict[str, Any]

LOSSES = ("cross-entropy", "ordinal", "soft", "pairwise")
STOPS = ("macro F1", "tau", "last")
DECISIONS = ("likeliest", "macro F1", "prior")
TOGETHER = 8
"""Rows of one query that the pairwise loss sees at once, at most."""


@dataclass(frozen=True)
class CrossEncoderRecipe:
    """How a cross-encoder is made. base: a folder, or a model's name.

    max_length: tokens of query and document together. loss: "cross-entropy" of the grade; "soft", of the probabilities
    that the labels carry; "ordinal", which knows the order of the grades; "pairwise", which also puts the documents of one
    query in order (`losses`). class_weighting: "balanced" lets each grade weigh the same. decision: "likeliest" grade, the
    one by which "macro F1" is largest on dev, or "prior", which lifts rare grades by their share of the labels.
    stop_on: the best epoch has the largest "macro F1", or "tau" of sDCG, on dev; "last" is the last one. held_out: share of
    the queries that is dev where none is given. before_epochs, before_rate: epochs and learning rate of intermediate training;
    None is the same.
    lora: rank of adapters that are trained in place of the weights; quantised: over weights of 4 bits.
    prefixes: before query and document; None is what the base wants. evidence: begins each document with what its words
    and numbers share with the query (`marking.shared`). marks: tells it which tokens query and document share, by kinds of
    tokens (`encoder.marked`): a small model need not learn to compare. name: of the judge, None is its folder's.
    """

    base: str
    max_length: int = 256
    loss: str = "cross-entropy"
    class_weighting: str | None = None
    label_smoothing: float = 0.0
    decision: str = "likeliest"
    stop_on: str = "macro F1"
    held_out: float = 0.15
    before_epochs: float | None = None
    before_rate: float | None = None
    lora: int | None = None
    quantised: bool = False
    prefixes: tuple[str, str] | None = None
    evidence: bool = False
    marks: bool = False
    name: str | None = None
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        choices = (
            ("loss", self.loss, LOSSES),
            ("decision", self.decision, DECISIONS),
            ("stop_on", self.stop_on, STOPS),
            ("class_weighting", self.class_weighting, (None, "balanced")),
        )
        for name, given, known in choices:
            if given not in known:
                raise InputError(f"{name} {given!r}: expected one of {', '.join(map(str, known))}")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out {self.held_out}: give a share of the queries above 0 and below 1, to calibrate by")
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing {self.label_smoothing}: expected 0 to less than 1")
        if self.max_length < encoder.SHORTEST:
            raise InputError(f"max_length {self.max_length}: a query and a document need {encoder.SHORTEST} tokens at least")
        if self.lora is not None and self.lora < 1:
            raise InputError(f"lora {self.lora}: the rank of adapters is 1 or more")
        if self.quantised and self.lora is None:
            raise InputError("4-bit weights cannot be trained themselves: give a rank of adapters too (--lora 16)")


def train(
    train: Examples,
    dev: Examples | None,
    out: Path,
    *,
    recipe: CrossEncoderRecipe,
    checkpoints: Path | None = None,
    lineage: finishing.Lineage = finishing.NOBODY,
    before: Sequence[Examples] = (),
) -> finishing.Trained:
    """Trains a cross-encoder on `train` and saves it at `out`; `dev` says when to stop, and calibrates.

    dev: None takes `recipe.held_out` of the queries of `train`. before: examples that the body learns from first, one after
    the other, with a head of their own; where their scale is the same, the head is kept. checkpoints: where a run that was
    killed goes on; removed once the judge is saved.

    Raises: InputError for a base that is no encoder of text, for too little memory or disk, and for a loss that is no number.
    """
    needs("train", "torch", "transformers", "accelerate", by="training/cross_encoder.py")
    if dev is None:
        train, dev = split(train, recipe.held_out, seed=recipe.settings.seed)
    if before and recipe.quantised:
        raise InputError("intermediate training needs weights that can be merged, and 4-bit weights cannot: leave one out")
    whole = checkpoints or out.with_name(f".{out.name}.checkpoints")
    kept = whole / identity(recipe, train, dev, *before)
    start = _Start(locate(recipe.base), random=False)
    for i, examples in enumerate(before):
        start = _intermediate(start, examples, recipe, kept / f"before-{i}")
    model, reader, random = _built(start, train, recipe)
    rows = reader.rows(dev.query, dev.text)

    def stands() -> float:
        return _stands(encoder.scored(model, reader, rows, recipe.settings.batch), dev, recipe)

    history = _fitted(model, reader, train, recipe, kept / "last", None if recipe.stop_on == "last" else stands)
    model = _merged(model, recipe)  # as it will judge: 16 bits round what was learned
    logits = encoder.scored(model, reader, rows, recipe.settings.batch)
    temperature = finishing.calibrate(logits, dev.target)
    probs = probabilities(logits, temperature)
    about = folder.About(
        kind=encoder.KIND,
        name=recipe.name or out.name,
        scale=train.scale,
        base=recipe.base,
        max_length=reader.max_length,
        temperature=temperature,
        weights=_weights(recipe, train, probs, dev),
        settings={
            "prefixes": list(reader.prefixes),
            "evidence": recipe.evidence,
            "marks": recipe.marks,
            "quantised": recipe.quantised,
            **({"adapts": recipe.base} if recipe.quantised else {}),  # its weights are not among the files
        },
        lineage=lineage.fingerprints,
        taught_by=lineage.taught_by,
        random_weights=random,
    )
    found = {**finishing.scores(logits, dev, about), "tau of sDCG@25": tau_of_sdcg(probs, dev)}
    notes = (*train.notes, *_notes(reader, recipe, random))
    all_here()  # nobody reads the checkpoints any more
    if is_first_process():
        with folder.writing(out, about) as part:
            _save(model, reader, part)
            finishing.write_training(part, about, recipe, train, dev, history, found, lineage, notes)
        shutil.rmtree(whole, ignore_errors=True)
    all_here()
    return finishing.Trained(out, folder.read(out).fingerprint, history, found, notes)


def tau_of_sdcg(probs: Floats, examples: Examples, k: int = 25) -> float:
    """Kendall's tau-b of each query's sDCG by people and by a judge's expected gains, over queries; 0 where it has none.

    Both rate one ranking: the labelled documents of a query by the share of its words that they hold, then by doc_id. It is
    no engine's ranking, but any fixed one serves to choose an epoch by. probs: (n, grades).
    """
    from scipy.stats import kendalltau

    gains = np.asarray(examples.scale.gains)
    asked, share = examples.asked, [_held(q, t) for q, t in zip(examples.query, examples.text, strict=True)]
    order = sorted(range(len(examples)), key=lambda i: (asked[i], -share[i], examples.doc_id[i]))
    said, true = probs @ gains, gains[examples.grade]
    weight, sdcg, place = sdcg_weights(k), np.zeros((2, int(asked.max()) + 1)), dict.fromkeys(asked.tolist(), 0)
    for i in order:
        rank = place[int(asked[i])]
        place[int(asked[i])] += 1
        if rank < k:
            sdcg[:, asked[i]] += weight[rank] * np.array([true[i], said[i]]) / gains.max()
    tau = float(kendalltau(*sdcg).statistic) if sdcg.shape[1] > 1 else 0.0
    return tau if np.isfinite(tau) else 0.0


# --- one stage of training ------------------------------------------------------------------------------------------


class _Start(NamedTuple):
    """Where a stage begins: a folder or hub name, and whether its weights were random at the very beginning."""

    where: str
    random: bool
    scale: tuple[str, ...] = ()


def _intermediate(start: _Start, examples: Examples, recipe: CrossEncoderRecipe, kept: Path) -> _Start:
    """Fits the body on other examples for as long as the last stage, and keeps it: it is not done again after a kill."""
    done = kept / "done"
    if not done.is_dir():
        model, reader, random = _built(start, examples, recipe)
        epochs, rate = recipe.before_epochs or recipe.settings.epochs, recipe.before_rate or recipe.settings.learning_rate
        stage = replace(recipe, settings=replace(recipe.settings, epochs=epochs, learning_rate=rate))
        _fitted(model, reader, examples, stage, kept / "steps", None)
        model = _merged(model, recipe)
        all_here()
        if is_first_process():
            part = kept / "part"
            shutil.rmtree(part, ignore_errors=True)
            _save(model, reader, part)
            (part / "random.json").write_text(json.dumps(random), encoding="utf-8")
            part.replace(done)
            shutil.rmtree(kept / "steps", ignore_errors=True)
        all_here()
    random = json.loads((done / "random.json").read_text(encoding="utf-8"))
    return _Start(str(done / encoder.MODEL), random, examples.scale.labels)


def _built(start: _Start, examples: Examples, recipe: CrossEncoderRecipe) -> tuple[Any, Reader, bool]:
    """The model that a stage fits, what reads for it, and whether its weights are random."""
    import torch
    from transformers import set_seed

    set_seed(recipe.settings.seed)  # a new head is drawn here
    config, tokenizer = encoder.config_of(start.where), encoder.tokenizer_of(start.where)
    same = start.scale == examples.scale.labels
    config = encoder.graded(config, examples.scale, tokenizer.pad_token_id)
    sixteen = recipe.lora is not None and device_of(recipe.settings).startswith("cuda") and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if sixteen else torch.float32
    model, random = encoder.opened(start.where, config, dtype, **(encoder.four_bit(dtype) if recipe.quantised else {}))
    if recipe.marks:
        model = encoder.marked(model)
    if start.scale and not same:
        heads = [part for name, part in _heads(model).items() if name in ("classifier", "score")]
        for layer in [layer for head in heads for layer in head.modules() if isinstance(layer, torch.nn.Linear)]:
            layer.reset_parameters()
    if recipe.settings.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise InputError(f"base {recipe.base!r} cannot checkpoint gradients: leave --gradient-checkpointing out")
    if recipe.lora is not None:
        with quietly():
            model = _with_adapters(model, recipe.lora, quantised=recipe.quantised)
    prefixes = recipe.prefixes if recipe.prefixes is not None else encoder.prefixes_of(recipe.base, config)
    length = min(recipe.max_length, encoder.limit_of(config) or recipe.max_length)
    return (
        model,
        Reader(tokenizer, length, tuple(prefixes), encoder.takes(model), recipe.evidence, recipe.marks),
        random or start.random,
    )


def _with_adapters(model: Any, rank: int, *, quantised: bool) -> Any:
    """The model with adapters on every linear layer of its body; its head is trained whole. Source: Hu et al. (2021), LoRA."""
    needs("train", "peft", by="training/cross_encoder.py")
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if quantised:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    tokens = type(model).__name__.endswith("ForTokenClassification")
    adapters = LoraConfig(
        task_type="TOKEN_CLS" if tokens else "SEQ_CLS",
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.05,
        target_modules="all-linear",
        modules_to_save=list(_heads(model)),
    )
    found = get_peft_model(model, adapters)
    for parameter in found.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # what is learned stays in full precision
    return found


def _heads(model: Any) -> dict[str, Any]:
    """The parts of a model that stand on its body, and hold weights."""
    parts = dict(model.named_children())
    return {
        name: part for name, part in parts.items() if name != model.base_model_prefix and any(True for _ in part.parameters())
    }


def _fitted(
    model: Any,
    reader: Reader,
    examples: Examples,
    recipe: CrossEncoderRecipe,
    kept: Path,
    score: Callable[[], float] | None,
) -> History:
    """Fits a model on examples. The pairwise loss reads groups of rows of one query; the others read rows."""
    import torch

    rows, asked = reader.rows(examples.query, examples.text), examples.asked
    size = len(examples.scale.labels)
    target = examples.target if recipe.loss == "soft" else np.eye(size)[examples.grade]
    groups = _groups(asked, recipe.settings.seed) if recipe.loss == "pairwise" else [[i] for i in range(len(examples))]
    together = TOGETHER if recipe.loss == "pairwise" else 1
    settings = replace(recipe.settings, batch=max(recipe.settings.batch // together, 1))
    gains = torch.tensor(examples.scale.gains, dtype=torch.float32)
    weights = torch.tensor(_class_weights(examples), dtype=torch.float32) if recipe.class_weighting else None

    def collate(several: list[list[int]]) -> Batch:
        at = [i for group in several for i in group]
        wanted = {"target": torch.tensor(target[at], dtype=torch.float32), "query": torch.tensor(asked[at])}
        return {**reader.padded([rows[i] for i in at]), **wanted}

    def loss(fitted: torch.nn.Module, batch: Batch) -> torch.Tensor:
        wanted, query = batch["target"], batch["query"]
        logits = encoder.logits_of(fitted, {name: given for name, given in batch.items() if name in reader.takes})
        of_grade = None if weights is None else weights.to(logits.device)
        form = losses.ordinal if recipe.loss == "ordinal" else losses.cross_entropy
        found = form(logits, wanted, weights=of_grade, smoothing=recipe.label_smoothing)
        if recipe.loss == "pairwise":
            found = found + losses.order_of_gains(logits, wanted, query, gains.to(logits.device))
        return found

    with quietly():
        history = fit(model, groups, collate=collate, loss=loss, folder=kept, settings=settings, score=score)
    return history._replace(rows_per_s=history.rows_per_s * len(examples) / len(groups))


def _groups(asked: NDArray[np.int64], seed: int) -> list[list[int]]:
    """Rows of one query in groups of at most `TOGETHER`, drawn at random."""
    shuffled = np.random.default_rng(seed).permutation(len(asked))
    by_query: dict[int, list[int]] = {}
    for i in shuffled.tolist():
        by_query.setdefault(int(asked[i]), []).append(i)
    return [rows[start : start + TOGETHER] for rows in by_query.values() for start in range(0, len(rows), TOGETHER)]


def _weights(recipe: CrossEncoderRecipe, train: Examples, probs: Floats, dev: Examples) -> tuple[float, ...]:
    """Weights of the grades in the decision; () where the likeliest stands."""
    if recipe.decision == "macro F1":
        return finishing.decision_weights(probs, dev.grade)
    return finishing.prior_weights(train.grade, probs.shape[1]) if recipe.decision == "prior" else ()


def _class_weights(examples: Examples) -> Floats:
    """Weights that let each grade that occurs weigh the same, 1 on average over the rows."""
    counts = np.bincount(examples.grade, minlength=len(examples.scale.labels))
    return np.where(counts > 0, len(examples) / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)


def _stands(logits: Floats, dev: Examples, recipe: CrossEncoderRecipe) -> float:
    probs = probabilities(logits)
    if recipe.stop_on == "tau":
        return tau_of_sdcg(probs, dev)
    return finishing.macro_f1(dev.grade, decide(probs), len(dev.scale.labels))


# --- saving ---------------------------------------------------------------------------------------------------------


def _merged(model: Any, recipe: CrossEncoderRecipe) -> Any:
    """The model with its adapters merged in, but those over 4-bit weights, which stay adapters."""
    with quietly():
        return model.merge_and_unload() if recipe.lora is not None and not recipe.quantised else model


def _save(model: Any, reader: Reader, part: Path) -> None:
    """The checkpoint: whole weights, or adapters alone over 4-bit weights."""
    with quietly(), _disk():
        model.save_pretrained(part / encoder.MODEL)
        (part / encoder.MODEL / "README.md").unlink(missing_ok=True)  # peft's template; the judge has a card of its own
        reader.tokenizer.save_pretrained(part / encoder.MODEL)


@contextmanager
def _disk() -> Iterator[None]:
    """Lets a full disk be an OSError, whoever finds it: safetensors has an error of its own."""
    try:
        yield
    except Exception as problem:
        if "no space left" in str(problem).lower():
            raise OSError(28, "No space left on device") from problem
        raise


def _notes(reader: Reader, recipe: CrossEncoderRecipe, random: bool) -> Iterator[str]:
    if random:
        yield f"{recipe.base} has no weights: the base was random, and only these pairs taught it anything"
    if reader.max_length < recipe.max_length:
        yield f"{recipe.base} reads {reader.max_length} tokens at most, not {recipe.max_length}"


def _held(query: str, text: str) -> float:
    """The share of a query's different words that a text holds."""
    asked = set(words(query))
    return len(asked & set(words(text))) / max(len(asked), 1)
