"""What a query is about: a classifier of queries to interests, calibrated, that says "other" where it does not know.

An encoder makes a vector of the query, and a linear layer decides. By default the encoder stays as it was (method
"vectors"); "fine-tuned" trains it as well, from that linear layer on.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from germane.extras import needs
from germane.inference import towers
from germane.inference.encoding import encode
from germane.inference.tokens import Tokens
from germane.judges import folder
from germane.judges.loading import locate
from germane.stats.agreement import exact_agreement, macro_f1
from germane.stats.calibration import calibration_error
from germane.store import sha256
from germane.text import query_digest, words
from germane.training import answering
from germane.training.running import Settings, device_of, fit
from germane.types import Estimate, InputError, decode

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OTHER = "other"
ABOUT, HEAD, ENCODER = "interests.json", "head.npz", "encoder"
METHODS = ("vectors", "fine-tuned")
LOOSE = 100.0  # scikit-learn's C: 30 to 300 did alike on wands_queries, 3 worse, for vectors of length 1


@dataclass(frozen=True)
class Recipe:
    """How a classifier of interests is made.

    method: "vectors" (a frozen encoder) or "fine-tuned". least: queries that an interest needs; rarer ones are learned too,
    so that their queries are not taken for others', but are answered "other".
    precision: share of answers other than "other" that are to be right; the threshold is the lowest that reaches it on
    queries held out. names: the interest's own name counts as an example of it. folds: for what is held out. max_length:
    tokens of a query. prefix: what the encoder wants before each text ("query: " for E5). settings: of fine-tuning.
    """

    method: str = "vectors"
    least: int = 3
    precision: float = 0.8
    names: bool = True
    folds: int = 5
    max_length: int = 64
    prefix: str = ""
    settings: Settings = field(default_factory=lambda: Settings(epochs=10, batch=16, learning_rate=5e-5))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method {self.method!r}: expected {' or '.join(METHODS)}")
        if min(self.least, self.folds - 1) < 1 or not 0 < self.precision <= 1:
            raise InputError("expected least of 1 or more, 2 folds or more, and a precision above 0 and up to 1")


@dataclass(frozen=True)
class About:
    """What is in the folder of a classifier. interests: that it tells apart; rare: those of them that it calls "other".

    slope, offset: see `answering.calibrated`. measured: on queries held out, each with its interval; see `Trained`.
    """

    interests: tuple[str, ...]
    rare: tuple[str, ...]
    threshold: float
    slope: float
    offset: float
    recipe: Recipe
    base: str
    pad: int
    dimension: int
    measured: Mapping[str, Estimate]
    files: Mapping[str, str] = field(default_factory=dict)
    random_weights: bool = False


class Trained(NamedTuple):
    """What training made, and how good it is on queries that it did not see (folds; calibration and threshold too).

    interests: that it answers. rare: queries whose interest is not among them. measured: "accuracy" (the right interest, or
    rightly "other"), "likeliest" (the likeliest interest is the right one, without a threshold), "answered" (share that is
    not "other"), "precision" (of those, right), "macro F1" (over interests and "other") and "calibration error" (of the
    likeliest's probability).
    """

    interests: tuple[str, ...]
    queries: int
    rare: int
    threshold: float
    measured: Mapping[str, Estimate]
    notes: tuple[str, ...]


def train(queries: pa.Table, out: Path, *, base: str | Path, recipe: Recipe | None = None, column: str = "interest") -> Trained:
    """Fits a classifier on queries (query, and their interest in `column`), measures it on held-out folds, and saves it.

    base: any sentence encoder, or an encoder as DistilBERT's, by folder or hub name. Queries without an interest, or whose
    interest is "other", teach when to say nothing. The same words are never in two folds.

    Raises: InputError for a missing column, no text, fewer than two interests with enough queries, and a base that is no
    encoder of text.
    """
    needs("train", "torch", "transformers", "sklearn", by="training/interests.py")
    recipe = recipe or Recipe()
    texts, labels, left_out = _labelled(queries, column)
    counts = Counter(label for label in labels if label != OTHER)
    known = tuple(sorted(counts))
    common = np.array([counts[name] >= recipe.least for name in known], dtype=bool)
    if common.sum() < 2:
        raise InputError(
            f"{common.sum()} of {len(counts)} interests have {recipe.least} queries or more: two are needed to tell apart; "
            "give more labelled queries, or a lower --least"
        )
    number = {name: i for i, name in enumerate(known)} | {OTHER: len(known)}
    codes = np.array([number[label] for label in labels], dtype=np.int64)
    logits, fold = _out_of_fold(texts, codes, known, str(locate(base)), recipe, out)
    measured, tuning = _measured(logits, codes, fold, common, recipe.precision)
    model = _Model.fitted(texts, codes, known, str(locate(base)), recipe, out)
    notes = [f"queries left out without text: {left_out:,}"] if left_out else []
    if not tuning.reached:
        notes.append(
            f"no threshold is {recipe.precision:.0%} right on held-out queries: the one that is right most often is used"
        )
    if model.random:
        notes.append("the base has random weights: what it says means nothing")
    about = About(
        interests=known,
        rare=tuple(name for name, often in zip(known, common, strict=True) if not often),
        threshold=tuning.threshold,
        slope=tuning.slope,
        offset=tuning.offset,
        recipe=recipe,
        base=str(base),
        pad=model.pad,
        dimension=model.dimension,
        measured=measured,
        random_weights=model.random,
    )
    model.save(out, about)
    rare = int((~np.append(common, False)[codes]).sum())
    answers = tuple(name for name, often in zip(known, common, strict=True) if often)
    return Trained(answers, len(texts), rare, tuning.threshold, measured, tuple(notes))


def predict(folder: Path, queries: pa.Table) -> pa.Table:
    """The queries with `interest` and `interest_probability` (0 to 1).

    The probability is that of the likeliest interest; where it is below the threshold, the interest is "other".

    Raises: InputError for a folder that holds no classifier, or one whose files were changed.
    """
    import pyarrow as pa

    about = read(folder)
    tower: Any = towers.load(folder / ENCODER)
    saved = (folder / ENCODER / "tokenizer.json").read_text(encoding="utf-8")
    tokens = Tokens(saved, max_length=about.recipe.max_length, pad=about.pad, prefix=about.recipe.prefix)
    texts = [str(text) for text in queries["query"].to_pylist()]
    vectors = encode(texts, tokens, towers.runs(tower), dimension=about.dimension)
    with np.load(folder / HEAD) as head:
        logits = np.asarray(vectors, dtype=np.float64) @ head["weight"] + head["bias"]
    best, likeliest = answering.calibrated(logits, about.slope, about.offset), logits.argmax(axis=1)
    names = [about.interests[i] if p >= about.threshold else OTHER for i, p in zip(likeliest, best, strict=True)]
    names = [OTHER if name in about.rare else name for name in names]
    table = queries.drop_columns([c for c in ("interest", "interest_probability") if c in queries.column_names])
    table = table.append_column("interest", pa.array(names, pa.string()))
    return table.append_column("interest_probability", pa.array(best.astype(np.float64)))


def read(folder: str | Path) -> About:
    """What the classifier in a folder is.

    Raises: InputError where there is none, or its files are not those it was saved with.
    """
    path = Path(folder) / ABOUT
    if not path.is_file():
        raise InputError(f"{folder} holds no interests: `germane train interests` makes such folders")
    try:
        about: About = decode(About, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as problem:
        raise InputError(f"{path} cannot be read: {problem}") from problem
    for name, digest in about.files.items():
        if not (Path(folder) / name).is_file() or sha256(Path(folder) / name) != digest:
            raise InputError(f"{Path(folder) / name} is not the file that it was saved with: train or copy the folder again")
    return about


# --- fitting --------------------------------------------------------------------------------------------------------


class _Model:
    """An encoder and the linear layer on its vectors."""

    def __init__(self, tower: Any, tokenizer: Any, recipe: Recipe, random: bool) -> None:
        self.tower, self.tokenizer, self.random = tower, tokenizer, random
        self.pad, self.dimension = int(tower.shape.pad), int(tower.shape.dimension)
        saved = tokenizer.backend_tokenizer.to_str()
        self.tokens = Tokens(saved, max_length=recipe.max_length, pad=self.pad, prefix=recipe.prefix)
        self.weight, self.bias = np.zeros((self.dimension, 0)), np.zeros(0)

    @classmethod
    def started(cls, base: str, recipe: Recipe) -> _Model:
        tower, tokenizer, random = towers.started(base)
        return cls(tower.to(device_of(recipe.settings)).eval(), tokenizer, recipe, random)

    @classmethod
    def fitted(cls, texts: Sequence[str], codes: Ints, known: tuple[str, ...], base: str, recipe: Recipe, out: Path) -> _Model:
        """A model fitted on the texts whose code is a known interest."""
        model = cls.started(base, recipe)
        rows, labels = _examples(texts, codes, known, recipe)
        model.weight, model.bias = _linear(model.vectors(rows), labels, len(known))
        if recipe.method == "fine-tuned":
            model._tuned(rows, labels, recipe, out)
        return model

    def vectors(self, texts: Sequence[str]) -> Floats:
        found = encode(texts, self.tokens, towers.runs(self.tower), dimension=self.dimension)
        return np.asarray(found, dtype=np.float64)

    def logits(self, texts: Sequence[str]) -> Floats:
        return np.asarray(self.vectors(texts) @ self.weight + self.bias)

    def _tuned(self, rows: Sequence[str], labels: Ints, recipe: Recipe, out: Path) -> None:
        """Trains encoder and layer together from where they stand. Source: Kumar et al. (2022), linear probing first."""
        import torch
        from torch.nn.functional import cross_entropy

        class Classifier(torch.nn.Module):
            def __init__(self, tower: Any, weight: Floats, bias: Floats) -> None:
                super().__init__()
                self.tower, self.layer = tower, torch.nn.Linear(*weight.shape)
                with torch.no_grad():
                    self.layer.weight.copy_(torch.from_numpy(weight.T))
                    self.layer.bias.copy_(torch.from_numpy(bias))

            def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                found: torch.Tensor = self.layer(self.tower(ids, mask))
                return found

        def collate(batch: list[Any]) -> dict[str, Any]:
            ids, mask = self.tokens.padded([tokens for tokens, _ in batch])
            return {"ids": torch.from_numpy(ids), "mask": torch.from_numpy(mask), "label": torch.tensor([y for _, y in batch])}

        def loss(model: Any, batch: Mapping[str, Any]) -> Any:
            return cross_entropy(model(batch["ids"], batch["mask"]), batch["label"])

        whole = Classifier(self.tower, self.weight, self.bias).to(device_of(recipe.settings))
        pairs = list(zip(self.tokens(list(rows)), labels.tolist(), strict=True))
        work = out.with_name(f".{out.name}.{uuid4().hex[:8]}.fit")
        try:
            settings = replace(recipe.settings, seed=recipe.seed)
            fit(whole, pairs, collate=collate, loss=loss, folder=work, settings=settings)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self.weight = whole.layer.weight.detach().cpu().double().numpy().T
        self.bias = whole.layer.bias.detach().cpu().double().numpy()

    def save(self, out: Path, about: About) -> None:
        """The folder, whole or not at all; a classifier that stood there is replaced."""
        with folder.replacing(out, ABOUT, "classifier of interests") as part:
            towers.save(self.tower.cpu(), self.tokenizer, part / ENCODER)
            np.savez(part / HEAD, weight=self.weight.astype(np.float32), bias=self.bias.astype(np.float32))
            whole = replace(about, files=folder.digests(part))
            (part / ABOUT).write_text(json.dumps(asdict(whole), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _out_of_fold(
    texts: Sequence[str], codes: Ints, known: tuple[str, ...], base: str, recipe: Recipe, out: Path
) -> tuple[Floats, Ints]:
    """(n, interests) what each text's fold says of it, fitted on the others; and (n,) the fold."""
    fold = _folds(texts, recipe)
    logits = np.zeros((len(texts), len(known)))
    frozen = _Model.started(base, recipe) if recipe.method == "vectors" else None
    given = None if frozen is None else frozen.vectors(texts)
    named = None if frozen is None else frozen.vectors(known)
    for i in range(recipe.folds):
        learn, held = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
        if given is None or named is None:
            model = _Model.fitted([texts[int(j)] for j in learn], codes[learn], known, base, recipe, out)
            logits[held] = model.logits([texts[int(j)] for j in held])
            continue
        kept = learn[codes[learn] < len(known)]
        rows, labels = given[kept], codes[kept]
        if recipe.names:
            rows, labels = np.concatenate([rows, named]), np.concatenate([labels, np.arange(len(known))])
        weight, bias = _linear(rows, labels, len(known))
        logits[held] = given[held] @ weight + bias
    return logits, fold


def _folds(texts: Sequence[str], recipe: Recipe) -> Ints:
    """(n,) the fold of each text; the same words are in one."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(query_digest(text), len(numbers)) for text in texts])
    if len(numbers) < recipe.folds:
        raise InputError(f"{len(numbers)} different queries in {recipe.folds} folds: give more queries, or fewer folds")
    place = np.empty(len(numbers), dtype=np.int64)
    place[np.random.default_rng(recipe.seed).permutation(len(numbers))] = np.arange(len(numbers)) % recipe.folds
    fold: Ints = place[group]
    return fold


def _examples(texts: Sequence[str], codes: Ints, known: tuple[str, ...], recipe: Recipe) -> tuple[list[str], Ints]:
    kept = np.flatnonzero(codes < len(known))
    rows, labels = [texts[int(i)] for i in kept], codes[kept]
    if recipe.names:
        return [*rows, *known], np.concatenate([labels, np.arange(len(known))])
    return rows, labels


def _linear(vectors: Floats, labels: Ints, size: int) -> tuple[Floats, Floats]:
    """Weight (d, interests) and bias of multinomial logistic regression; an interest without an example is never likely."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    there = np.unique(labels)
    weight, bias = np.zeros((vectors.shape[1], size)), np.full(size, -30.0)
    if len(there) == 1:
        bias[there] = 0.0
        return weight, bias
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few steps short of the optimum is as good
        found = LogisticRegression(C=LOOSE, max_iter=300).fit(vectors, labels)
    coef, intercept = found.coef_.T, found.intercept_
    if len(there) == 2:  # scikit-learn then keeps one column, for the second
        coef, intercept = np.concatenate([-coef, coef], axis=1) / 2, np.concatenate([-intercept, intercept]) / 2
    weight[:, there], bias[there] = coef, intercept
    return weight, bias


def _measured(
    logits: Floats, codes: Ints, fold: Ints, common: NDArray[np.bool_], precision: float
) -> tuple[dict[str, Estimate], answering.Tuning]:
    """Figures on held-out queries, each fold tuned on the others; and the tuning on all of them.

    common: (interests,) True for those that are answered.
    """
    size = logits.shape[1]
    best, answered = np.zeros(len(codes)), np.zeros(len(codes), dtype=bool)
    likeliest = logits.argmax(axis=1)
    for i in range(int(fold.max()) + 1):
        held = fold == i
        tuning = answering.tuned_on(logits[~held], codes[~held], common, precision)
        best[held] = answering.calibrated(logits[held], tuning.slope, tuning.offset)
        answered[held] = (best[held] >= tuning.threshold) & common[likeliest[held]]
    gold = np.where(np.append(common, False)[codes], codes, size)
    said = np.where(answered, likeliest, size)
    right, ones = (likeliest == codes).astype(np.int64), np.ones(len(codes), dtype=np.int64)
    found = {
        "accuracy": exact_agreement(gold, said),
        "likeliest": exact_agreement(ones, right),
        "answered": exact_agreement(ones, answered.astype(np.int64)),
        "macro F1": macro_f1(gold, said),
        "calibration error": calibration_error(np.column_stack([1 - best, best]), right),
    }
    if answered.any():
        found["precision"] = exact_agreement(gold[answered], said[answered])
    return found, answering.tuned_on(logits, codes, common, precision)


def _labelled(queries: pa.Table, column: str) -> tuple[list[str], list[str], int]:
    """Texts, their interests ("other" where there is none), and how many rows had no text."""
    for name in ("query", column):
        if name not in queries.column_names:
            raise InputError(f"the queries have no column {name!r}: found {', '.join(queries.column_names)}")
    rows = zip(queries["query"].to_pylist(), queries[column].to_pylist(), strict=True)
    kept = [(str(q), str(i).strip() if i is not None and str(i).strip() else OTHER) for q, i in rows if words(q or "")]
    if not kept:
        raise InputError("no query has text: nothing can be learned")
    texts, labels = zip(*kept, strict=True)
    return list(texts), list(labels), queries.num_rows - len(kept)
