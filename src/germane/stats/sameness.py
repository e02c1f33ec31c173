"""Whether a faster engine says what the plain model says: three figures, and whether they could have told otherwise.

A label that flips matters where the model was sure; a gain that moves matters on average; and both matter as far as a
comparison moves. None of them alone is enough: of a model that is nearly indifferent labels differ only where its margin is
small, and gains hardly move, whatever the engine does, so that only a comparison tells; and of one that is certain of
everything nothing moves at all, so that an error is planted to see whether it would be found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.types import InputError

MARGIN, GAIN, SHIFT = 0.05, 0.001, 0.05
"""Below which margin of the plain model labels may differ, gains may change on average, and a delta by its standard error."""

PLANTED = 0.1
"""The standard deviation of the error that is planted in logits."""

Floats = NDArray[np.float64]


class Sameness(NamedTuple):
    """How far an engine is from the plain model over n pairs.

    differ: labels that differ. margin: the largest margin (the likeliest grade's probability less the next one's) of the plain
    model among those, 0 if there is none. gain: mean |change of expected gain|. shift: |change of a comparison's delta| by its
    standard error. logit: the largest difference of a logit. planted: what `gain` is with an error of PLANTED in each logit.
    """

    n: int
    differ: int
    margin: float
    gain: float
    shift: float
    logit: float
    planted: float

    @property
    def faults(self) -> tuple[str, ...]:
        """Why this engine cannot take the plain model's place, () if it can."""
        said = []
        if self.margin >= MARGIN:
            said.append(f"a label differs where the margin is {self.margin:.3f}, and only below {MARGIN} may it")
        if self.gain >= GAIN:
            said.append(f"expected gains change by {self.gain:.5f} on average, {GAIN} or more")
        if self.shift >= SHIFT:
            said.append(f"a comparison moves by {self.shift:.1%} of its standard error, {SHIFT:.0%} or more")
        if self.planted < GAIN:
            said.append(
                f"an error of {PLANTED} in each logit moves gains by {self.planted:.5f} alone: this model shows no error"
            )
        return tuple(said)


def sameness(
    plain: ArrayLike,
    other: ArrayLike,
    *,
    gains: ArrayLike,
    query: ArrayLike,
    control: ArrayLike,
    treatment: ArrayLike,
    temperature: float = 1.0,
    weights: ArrayLike = (),
    seed: int = 0,
) -> Sameness:
    """How far logits (n, grades) are from the plain model's.

    gains: (grades,). query: (n,) of each pair. control, treatment: (n,) what a pair's gain counts in the metric of either arm,
    0 where the arm does not show it. temperature, weights: of the judge's decision.

    Raises: InputError for shapes that do not fit, numbers that are not finite, and fewer than two queries.

    >>> logits = np.array([[0.0, 2.0], [1.0, 0.0], [0.5, 0.0], [0.0, 1.0]])
    >>> arms = {"control": [1, 0, 1, 0], "treatment": [0, 1, 0, 1]}
    >>> found = sameness(logits, logits + [0.0, 0.001], gains=[0, 1], query=["a", "a", "b", "b"], **arms)
    >>> found.differ, round(found.gain, 6), found.faults
    (0, 0.000183, ())
    """
    a, b, worth, ours, theirs = (np.asarray(x, dtype=np.float64) for x in (plain, other, gains, treatment, control))
    names, of = np.unique(np.asarray(query), return_inverse=True)
    if a.ndim != 2 or a.shape != b.shape or worth.shape != a.shape[1:] or {(len(a),)} != {of.shape, ours.shape, theirs.shape}:
        raise InputError(
            f"logits {a.shape} and {b.shape} of {len(of)} pairs with {worth.shape} gains: they do not fit together"
        )
    if len(names) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(f"{len(names)} queries: two or more are needed, and logits that are finite numbers")
    p, q = _softmax(a / temperature), _softmax(b / temperature)
    decided = np.asarray(weights, dtype=np.float64) if np.size(weights) else np.ones(a.shape[1])
    ranked = np.sort(p * decided, axis=1)
    differ = (p * decided).argmax(axis=1) != (q * decided).argmax(axis=1)
    noise = np.random.default_rng(seed).normal(0.0, PLANTED, a.shape)
    planted = np.abs((_softmax((a + noise) / temperature) - p) @ worth).mean()
    arms = ours - theirs
    middle = (p @ worth).mean()  # less which an arm that shows more documents hides nothing
    before, after = (np.bincount(of, arms * (probs @ worth - middle)) for probs in (p, q))
    se = before.std(ddof=1) / np.sqrt(len(names))
    moved = abs(after.mean() - before.mean())
    return Sameness(
        len(a),
        int(differ.sum()),
        float((ranked[:, -1] - ranked[:, -2])[differ].max(initial=0.0)),
        float(np.abs((q - p) @ worth).mean()),
        float(moved / se) if se > 0 else float("inf") if moved > 0 else 0.0,
        float(np.abs(a - b).max()),
        float(planted),
    )


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers
