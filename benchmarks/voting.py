"""What several samples of one judge buy, and what stopping early saves: a simulation, in which each pair's difficulty is known.

No language model is asked. A pair has a true grade and one grade that the judge is drawn to: each of its samples gives that
with the pair's agreement, else another, more likely the nearer. "shared" is the share of pairs that draw the judge to a wrong
grade: all samples of such a pair lean the same way, so that no number of them helps. Where it is 0, errors are independent.
"mixed": agreement differs from pair to pair, as beta(4, 1), 0.8 in the mean. Exit code 1 if stopping early changed a label.

    python benchmarks/voting.py
    python benchmarks/voting.py --pairs 20000 --shared 0 0.1 0.2
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.judges.voting import PRIOR, RULES, Vote, prior_of, vote, wave

SIZE = 4
AGREEMENTS = (0.95, 0.8, 0.6)
SAMPLES = (1, 3, 5, 7, 9)

Votes = tuple[int, ...]


class Asked(NamedTuple):
    """Pairs that were voted on. stopped: the votes that were asked of each, whole: those that would have been."""

    truth: NDArray[np.int64]
    whole: list[Votes]
    stopped: list[Votes]


@cache
def voted(votes: Votes, n: int, rule: str, prior: float = PRIOR) -> Vote:
    return vote(votes, SIZE, n=n, rule=rule, prior=prior)


@cache
def more(votes: Votes, n: int, rule: str) -> int:
    return wave(votes, SIZE, n=n, rule=rule)


def up_to_a_decision(whole: Votes, rule: str) -> Votes:
    asked = 0
    while following := more(tuple(sorted(whole[:asked])), len(whole), rule):
        asked += following
    return tuple(sorted(whole[:asked]))


def drawn(
    pairs: int, n: int, agreements: NDArray[np.float64], shared: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True grades, shape (pairs,), and n samples of each pair, shape (pairs, n)."""
    grades = np.arange(SIZE)
    truth = rng.integers(SIZE, size=pairs)
    step = np.where(truth == 0, 1, np.where(truth == SIZE - 1, -1, rng.choice([-1, 1], size=pairs)))
    drawn_to = np.where(rng.random(pairs) < shared, truth + step, truth)
    others = np.where(grades == drawn_to[:, None], 0.0, 1.0 / np.maximum(abs(grades - drawn_to[:, None]), 1) ** 2)
    chances = (1 - agreements)[:, None] * others / others.sum(axis=1, keepdims=True)
    chances[np.arange(pairs), drawn_to] = agreements
    return truth, (rng.random((pairs, n, 1)) > chances.cumsum(axis=1)[:, None, :-1]).sum(axis=2)


def asked_of(pairs: int, n: int, agreements: NDArray[np.float64], shared: float, rule: str, rng: np.random.Generator) -> Asked:
    truth, samples = drawn(pairs, n, agreements, shared, rng)
    whole = [tuple(row) for row in samples.tolist()]
    return Asked(truth, whole, [up_to_a_decision(row, rule) for row in whole])


def accuracy_and_cost(options: argparse.Namespace) -> int:
    """Prints what n samples buy; returns how many labels stopping early changed."""
    changed = 0
    print("Accuracy (2 standard errors) and calls against n. none: pairs without an answer, counted as wrong.\n")
    print("| shared errors | agreement | n | rule | accuracy | none | calls a pair | saved | labels changed by stopping |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shared in options.shared:
        for name in (*AGREEMENTS, "mixed"):
            rng = np.random.default_rng([options.seed, int(1000 * shared), AGREEMENTS.index(name) if name in AGREEMENTS else 9])
            share = rng.beta(4, 1, size=options.pairs) if name == "mixed" else np.full(options.pairs, float(name))
            for n in SAMPLES:
                for rule in RULES if n > 1 else RULES[:1]:
                    asked = asked_of(options.pairs, n, share, shared, rule, rng)
                    labels = [voted(tuple(sorted(row)), n, rule).relevance for row in asked.whole]
                    differ = sum(
                        voted(row, n, rule).relevance != label for row, label in zip(asked.stopped, labels, strict=True)
                    )
                    changed += differ
                    right = np.mean([label == t for label, t in zip(labels, asked.truth.tolist(), strict=True)])
                    error = 2 * np.sqrt(right * (1 - right) / options.pairs)
                    none = np.mean([label is None for label in labels])
                    calls = np.mean([len(row) for row in asked.stopped])
                    print(
                        f"| {shared:.0%} | {name} | {n} | {rule if n > 1 else 'one sample'} | {right:.3f} ({error:.3f}) | "
                        f"{none:.1%} | {calls:.2f} | {1 - calls / n:.0%} | {differ} |"
                    )
    return changed


def entropy(votes: Votes) -> float:
    shares = np.bincount(votes, minlength=SIZE) / len(votes)
    return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def sureness(options: argparse.Namespace) -> None:
    """Prints how sure votes that stopped early look: uncorrected, under the default prior and under the judge's own."""
    print(
        "\nMean entropy in bits and self-agreement of five votes, median, without shared errors: of the whole vote, and as told"
    )
    print("by votes that stopped early: uncorrected, with the default prior, and with the prior that `prior_of` finds.\n")
    print(
        "| agreement | entropy: whole | uncorrected | default | own "
        "| self-agreement: whole | uncorrected | default | own | prior |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in (*AGREEMENTS, "mixed"):
        rng = np.random.default_rng([options.seed, 77, AGREEMENTS.index(name) if name in AGREEMENTS else 9])
        share = rng.beta(4, 1, size=options.pairs) if name == "mixed" else np.full(options.pairs, float(name))
        asked = asked_of(options.pairs, 5, share, 0.0, "median", rng)
        own = prior_of([row[:3] for row in asked.whole], SIZE)
        ways = [[voted(row, 5, "median", prior) for row in asked.stopped] for prior in (PRIOR, own)]
        whole = [voted(tuple(sorted(row)), 5, "median") for row in asked.whole]
        naive = [
            row.count(answer.relevance) / len(row)
            for row, answer in zip(asked.stopped, whole, strict=True)
            if answer.relevance is not None
        ]
        bits = [np.mean([answer.entropy for answer in answers]) for answers in (whole, *ways)]
        shares = [np.mean([a.self_agreement for a in answers if a.self_agreement is not None]) for answers in (whole, *ways)]
        plain = np.mean([entropy(row) for row in asked.stopped])
        print(
            f"| {name} | {bits[0]:.3f} | {plain:.3f} | {bits[1]:.3f} | {bits[2]:.3f} "
            f"| {shares[0]:.3f} | {np.mean(naive):.3f} | {shares[1]:.3f} | {shares[2]:.3f} | {own:.2f} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--shared", type=float, nargs="+", default=[0.0, 0.1], help="share of pairs with a wrong pull")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(f"A simulation: {options.pairs:,} pairs of a scale of {SIZE} grades, seed {options.seed}. No model was asked.")
    changed = accuracy_and_cost(options)
    sureness(options)
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
