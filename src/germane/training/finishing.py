"""What every trained judge gets at the end: calibrated probabilities, a decision, scores on dev, and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane import store
from germane.judges.folder import About
from germane.judges.saying import decide, probabilities
from germane.store.manifests import plain
from germane.text import query_digest
from germane.training.examples import Examples
from germane.training.running import History
from germane.types import InputError, Scale

Floats = NDArray[np.float64]


class Lineage(NamedTuple):
    """Who taught a judge: their names, their fingerprints and those of their own teachers (nearest first), the files used.

    queries: digests of queries that it knows through others: what its teachers and its base learned from, and what it read
    before. A golden set that shares one flatters the pupil as it does the teacher. text: the plan that the documents' texts
    were made by (`germane.text.TextPlan`), as the manifest of the pairs has it.
    """

    taught_by: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    queries: tuple[str, ...] = ()
    text: Mapping[str, Any] | None = None


NOBODY = Lineage()


@dataclass(frozen=True)
class Trained:
    """A judge that was trained and saved. dev: its scores on the queries that it was calibrated on, so a little flattered."""

    out: Path
    fingerprint: str
    history: History
    dev: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def calibrate(logits: ArrayLike, said: ArrayLike) -> float:
    """The temperature that makes what was said likeliest: logits (n, grades) of pairs the judge did not learn from.

    said: grades (n,), or probabilities (n, grades) as a teacher gives them: a pupil that is fitted to its teacher's likeliest
    grades would be as sure of them as if they were people's. Between 0.05 and 20.
    Source: Guo, Pleiss, Sun, Weinberger (2017), section 4.2.

    >>> round(calibrate([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 4.0]], [0, 1, 1, 1]), 1)
    3.6
    """
    from scipy.optimize import minimize_scalar

    x, y = np.asarray(logits, dtype=np.float64), np.asarray(said)
    y = np.eye(x.shape[1])[y.astype(np.int64)] if y.ndim == 1 else y
    sound = np.isfinite(x).all(axis=1)
    x, y = x[sound], y[sound]
    if not len(y):
        raise InputError("the judge gave no number on the pairs to calibrate on: its training failed")

    def surprise(log_temperature: float) -> float:
        probs = probabilities(x, float(np.exp(log_temperature)))
        return float(-(y * np.log(np.maximum(probs, 1e-12))).sum(axis=1).mean())

    found = minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20.0)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def macro_f1(grade: ArrayLike, said: ArrayLike, size: int) -> float:
    """The mean over grades of F1, a grade that neither people nor judge gave left out.

    >>> macro_f1([0, 0, 1], [0, 1, 1], 2)
    0.6666666666666666
    """
    true, other = np.asarray(grade), np.asarray(said)
    hits = np.bincount(true[true == other], minlength=size)
    given = np.bincount(true, minlength=size) + np.bincount(other, minlength=size)
    return float((2 * hits[given > 0] / given[given > 0]).mean())


def decision_weights(probs: ArrayLike, grade: ArrayLike, *, rounds: int = 4) -> tuple[float, ...]:
    """Weights of the grades (largest 1) with which `decide` has the largest macro F1 on these pairs, by coordinate ascent.

    The likeliest grade is almost never a rare one, so a judge that decides by it has low F1 on rare grades. The weights of
    neighbouring optima are averaged (in logarithms over all that reach 99.5 % of the best), since the maximum is noisy.
    probs: (n, grades), calibrated. grade: (n,) by people, of pairs that the judge did not learn from.
    """
    p, y = np.asarray(probs, dtype=np.float64), np.asarray(grade, dtype=np.int64)
    size = p.shape[1]
    tried = np.linspace(-2.5, 2.5, 41)
    logs = np.zeros(size)
    for _ in range(rounds):
        before = logs.copy()
        for k in range(size):
            found = np.array(
                [macro_f1(y, decide(p, np.exp(np.where(np.arange(size) == k, t, logs)).tolist()), size) for t in tried]
            )
            logs[k] = tried[found >= 0.995 * found.max()].mean()
        logs -= logs.max()
        if np.allclose(before, logs):
            break
    return tuple(float(w) for w in np.exp(logs))


def prior_weights(grade: ArrayLike, size: int, *, power: float = 0.6) -> tuple[float, ...]:
    """Weights of the grades (largest 1) that lift rare ones: 1 / share ** power, by the labels that were learned from.

    With power 0 the likeliest grade stands, with 1 each grade is as welcome as any. Nothing is fitted, so no labels are
    spent; 0.6 was set before it was tried on data. A grade that never occurs has the weight of the rarest.

    >>> [round(w, 2) for w in prior_weights([0, 1, 1, 1], 2)]
    [1.0, 0.52]
    """
    counts = np.bincount(np.asarray(grade, dtype=np.int64), minlength=size).astype(float)
    counts[counts == 0] = counts[counts > 0].min()
    weights = (counts / counts.min()) ** -power
    return tuple(float(w) for w in weights)


def scores(logits: Floats, examples: Examples, about: About) -> dict[str, float]:
    """macro F1, exact agreement and log loss of a judge with these logits on these examples."""
    probs = probabilities(logits, about.temperature)
    said = decide(probs, about.weights)
    rows = np.arange(len(examples))
    return {
        "macro F1": macro_f1(examples.grade, said, len(about.scale.labels)),
        "exact": float((said == examples.grade).mean()),
        "log loss": float(-np.log(np.maximum(probs[rows, examples.grade], 1e-12)).mean()),
        "pairs": float(len(examples)),
    }


def write_training(
    part: Path,
    about: About,
    recipe: Any,
    train: Examples,
    dev: Examples,
    history: History,
    found: Mapping[str, float],
    lineage: Lineage,
    notes: Sequence[str] = (),
) -> None:
    """Writes training.json (what it learned from, how, how well) and README.md (the model card) into a judge's folder.

    Queries are held as digests: enough to find one that is in a golden set too, and no text. More parameters than our
    seven: each is a section of the model card.
    """  # fmt: skip
    said = {
        "kind": about.kind,
        "name": about.name,
        "base": about.base,
        "recipe": plain(asdict(recipe)),
        "pairs": len(train),
        "grades": {label: int((train.grade == i).sum()) for i, label in enumerate(train.scale.labels)},
        "queries": sorted({query_digest(query) for query in (*train.query, *dev.query)} | set(lineage.queries)),
        "dev": {
            "queries": len(set(dev.query)),
            "labels": ", ".join(name for name, _ in dev.judges),
            **{k: round(v, 6) for k, v in found.items()},
        },
        "labels": [list(judge) for judge in train.judges],
        "inputs": [{"path": path.as_posix(), "sha256": store.sha256(path)} for path in lineage.inputs],
        "text": None if lineage.text is None else plain(lineage.text),
        "lineage": list(about.lineage),
        "taught_by": list(about.taught_by),
        "history": {**history._asdict(), "losses": list(history.losses), "scores": list(history.scores)},
        "notes": list(notes),
    }
    (part / "training.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (part / "README.md").write_text(_card(about, said, train.scale), encoding="utf-8")


def _card(about: About, said: Mapping[str, Any], scale: Scale) -> str:
    """The model card. Names come from users, so they stand in code spans without line breaks or backticks."""

    def code(value: object) -> str:
        return f"`{' '.join(str(value).replace('`', ' ').split())}`"

    grades = ", ".join(f"{code(label)} {n:,}" for label, n in said["grades"].items())
    teachers = ", ".join(map(code, about.taught_by)) or "people, or whoever is named under labels"
    random = (
        "\n**Random weights: its base had none that were learned. Its grades count as nothing: use it for speed alone.**\n"
        if about.random_weights
        else ""
    )
    weights = ", ".join(f"{weight:.2f}" for weight in about.weights)
    decision = f"the largest probability times {weights} (worst grade first)" if weights else "the likeliest grade"
    lines = [
        f"# {code(about.name)}: a {about.kind} judge on scale {code(scale.name)}",
        random,
        "- judge.json holds its fingerprint and the digests of its weights, tokenizer, guide and decision.",
        f"- started from {code(about.base)}; taught by {teachers}; labels by {', '.join(code(j[0]) for j in said['labels'])}.",
        f"- learned from {said['pairs']:,} pairs: {grades}.",
        f"- probabilities: softmax of logits / {about.temperature:.3f}, fitted on queries held out of training.",
        f"- decision: {decision}.",
        "",
        "## Scores",
        f"On {said['dev']['queries']} held-out queries ({said['dev']['pairs']:.0f} pairs), on which it was also calibrated and "
        f"stopped, so a little flattered. The labels are by {said['dev']['labels']}: these figures say how well it agrees with "
        "them, and with nobody else.",
        *(f"- {name}: {said['dev'][name]:.3f}" for name in ("macro F1", "exact", "log loss")),
        "",
        "## Limits",
        "- These are no agreement with people on a golden set: `germane check` makes the judge card that comparisons ask for.",
        "- It knows the language, catalogue and guide that it was trained on. Check each slice that you report.",
        "- It must not judge a ranker that learned from it: `compare` refuses that by the fingerprints of its lineage.",
        *(f"- {' '.join(str(note).split())}" for note in said["notes"]),
        "",
    ]
    return "\n".join(lines)
