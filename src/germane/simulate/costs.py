"""What people take away for each fault of a listing, counted from their labels, so that a rule can grade as they do.

Queries are read as listings are: name, brand, values, features, price. Of the labelled pairs that can be read, an ordered
logit learns what each kind of fault costs. It knows nothing of the truth but these labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit, softmax

Floats = NDArray[np.float64]

RIDGE, LIGHT = 0.5, 0.1  # how much squared costs are held back, of all faults, and where each pair of types has its own
ASKERS = (0.0, 3.0, -3.0)  # as most, strict, mild: what is taken away besides, in logits, to begin with
SHARES = (0.8, 0.1, 0.1)  # of them, to begin with
ROUNDS, STEPS, MORE = 8, 60, 300
OVER = (1.1, 1.25)  # times the price asked for, up to which an item is a little, or somewhat, too dear


class Costs(NamedTuple):
    """What a rule takes away. of: fault -> cost in logits. bounds: of the grades, ascending, in logits."""

    of: Mapping[str, float]
    bounds: tuple[float, ...]

    def grade(self, faults: Iterable[str]) -> int:
        """The likeliest grade of an item with these faults; one that was never seen costs nothing."""
        below = 1 / (1 + np.exp(-(np.array(self.bounds) + sum(self.of.get(fault, 0.0) for fault in faults))))
        return int(np.diff(np.concatenate([[0.0], below, [1.0]])).argmax())


def fitted(faults: Sequence[Sequence[str]], grades: Sequence[int], query: Sequence[int], top: int) -> tuple[Costs, Floats]:
    """Costs that make the grades likeliest, and of each query how likely its asker is as most are: neither strict nor mild.

    faults, grades, query: of each pair of one type, 0 to `top`; queries by number. A query's asker may be stricter or milder
    than most, in all of its pairs: which one is so is found with the costs, in turns (expectation-maximisation).
    Sources: McCullagh (1980), the proportional odds model; Dempster, Laird and Rubin (1977).
    """
    names, found = _counted(faults)
    n = len(faults)
    asker = sparse.kron(sparse.csr_matrix([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.ones((n, 1)))
    x = sparse.hstack([sparse.vstack([found] * len(ASKERS)), asker]).tocsr()
    g, of = np.tile(grades, len(ASKERS)), np.asarray(query)
    v = np.concatenate([[-4.0], np.zeros(top - 1 + len(names)), ASKERS[1:]])
    share, posterior = np.array(SHARES), np.ones((int(of.max()) + 1, len(ASKERS)))
    for _ in range(ROUNDS):
        likely = np.log(np.maximum(_odds(v, x, g, top)[0], 1e-4)).reshape(len(ASKERS), n)
        whole = np.stack([np.bincount(of, each, len(posterior)) for each in likely], axis=1) + np.log(share)
        posterior = softmax(whole, axis=1)
        share = posterior.mean(axis=0)
        v = _likeliest(v, x, g, posterior[of].T.ravel(), top)
    return _costs(v, names, top), posterior[:, 0]


def agreed(faults: Sequence[Sequence[str]], grades: Sequence[int], top: int) -> Costs:
    """Costs that make the grades likeliest where all askers judge alike. faults, grades: of each pair, 0 to `top`."""
    names, x = _counted(faults)
    start = np.concatenate([[-4.0], np.zeros(top - 1 + len(names))])
    return _costs(_likeliest(start, x, np.asarray(grades), np.ones(len(faults)), top, ridge=LIGHT, steps=MORE), names, top)


def _counted(faults: Sequence[Sequence[str]]) -> tuple[list[str], sparse.csr_matrix]:
    """The names of all faults, and which pair has which, shape (pairs, faults)."""
    names = sorted({fault for each in faults for fault in each})
    at = {name: i for i, name in enumerate(names)}
    places = np.array([(i, at[fault]) for i, each in enumerate(faults) for fault in each], dtype=np.int64).reshape(-1, 2)
    return names, sparse.csr_matrix((np.ones(len(places)), places.T), shape=(len(faults), len(names)))


def _likeliest(
    v: Floats, x: sparse.csr_matrix, g: NDArray[np.int64], weight: Floats, top: int, *, ridge: float = RIDGE, steps: int = STEPS
) -> Floats:
    found = minimize(_loss, v, args=(x, g, weight, top, ridge), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    best: Floats = found.x
    return best


def _costs(v: Floats, names: Sequence[str], top: int) -> Costs:
    bounds = np.concatenate([v[:1], v[:1] + np.cumsum(np.exp(v[1:top]))])
    return Costs(dict(zip(names, v[top:].tolist(), strict=False)), tuple(bounds.tolist()))


def _odds(v: Floats, x: sparse.csr_matrix, g: NDArray[np.int64], top: int) -> tuple[Floats, Floats, Floats]:
    """The probability of each grade under parameters v, and of being below its upper and its lower bound."""
    edges = np.concatenate([[-np.inf], v[:1], v[:1] + np.cumsum(np.exp(v[1:top])), [np.inf]])
    shift = x @ v[top:]
    high, low = expit(edges[g + 1] + shift), expit(edges[g] + shift)
    return high - low, high, low


def _loss(
    v: Floats, x: sparse.csr_matrix, g: NDArray[np.int64], weight: Floats, top: int, ridge: float
) -> tuple[float, Floats]:
    """The surprise at the grades with the ridge, and its slope."""
    p, high, low = _odds(v, x, g, top)
    p = np.maximum(p, 1e-12)
    up, down = weight * high * (1 - high) / p, weight * low * (1 - low) / p
    of_bound = np.array([up[g == k].sum() - down[g == k + 1].sum() for k in range(top)])
    of_step = np.array([of_bound.sum(), *(np.exp(v[k]) * of_bound[k:].sum() for k in range(1, top))])
    slope = np.concatenate([of_step, x.T @ (up - down) - ridge * v[top:]])
    return float(-(weight * np.log(p)).sum() + ridge / 2 * (v[top:] ** 2).sum()), -slope


def number(text: str) -> float:
    """The first number of a text, NaN where there is none: "1,5 l" is 1.5."""
    hit = re.search(r"\d+(?:[.,]\d+)?", text)
    return float(hit[0].replace(",", ".")) if hit else float("nan")
