"""A simulated search engine for experiments by the thousand: arrays of grades, nothing to read.

Where the marketplace has texts, this has numbers: each query has a stratum and candidates, each candidate a latent
relevance, a control score and a *signal* that the treatment ranks by. People, a judge and a student grade every candidate, each
with errors of its own. Levels and paired differences of sDCG@25 come out of the grades, as they do in a real experiment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.metrics import sdcg_weights
from germane.simulate.raters import RATER
from germane.stats.allocation import apportion
from germane.types import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Who = Literal["truth", "people", "judge", "student"]

DEPTH = 25
TOP = 4  # the best of the grades 0 to 4; gains are linear, grade / 4
BLOCK = 5_000  # queries made at a time, each block from its own stream of chance


class Segment(NamedTuple):
    """A popularity segment. Latent units are grades.

    share: of the distinct queries. level: mean latent relevance of the candidates. knows: correlation of the control's score
    with relevance. signal: correlation of the treatment's signal with relevance. changed: share of the queries that the
    treatment touches. lenient: what the judge adds to every grade. charmed: what it adds for each unit of the signal.
    """

    name: str
    share: float
    level: float
    knows: float
    signal: float
    changed: float
    lenient: float
    charmed: float


class Interest(NamedTuple):
    """What a query is about. share: of the distinct queries. level, signal: are added to the segment's. breadth: multiplies
    its `changed`."""

    share: float
    level: float
    signal: float
    breadth: float


class Constants(NamedTuple):
    """Everything that the simulated search engine is made of. Spreads are standard deviations, in grades.

    candidates: of a query; 25 are shown. query, document: spread of relevance between queries, and inside one. fires:
    share of candidates on which the treatment's signal speaks. luck: spread between queries of its correlation with
    relevance. boost: its weight against the control's score; both have spread 1. judge_query: spread of the judge's own
    liking for the signal, query by query: what a misread intent does to a pair of rankings. judge_document: spread of its
    error on one document. student_query, student_document: the student's, on top of the judge's, which it learned from.
    old: queries that people label. new: queries that a judge labels.
    """

    segments: tuple[Segment, ...]
    interests: tuple[Interest, ...]
    candidates: int
    query: float
    document: float
    fires: float
    luck: float
    boost: float
    judge_query: float
    judge_document: float
    student_query: float
    student_document: float
    old: int
    new: int


# FROZEN before any estimator was run on them (docs/statistics/ladders.md; test_simulate_experiments.py fails when one moves).
# They were chosen so that an experiment of `old` queries labelled by people has an MDE of 1.3 to 1.5 % of the control's level.
FROZEN = Constants(
    segments=(
        #       name      share level knows signal changed lenient charmed
        Segment("head", 0.02, 3.2, 0.60, 0.10, 0.20, 0.05, 0.00),
        Segment("torso", 0.08, 3.0, 0.50, 0.15, 0.30, 0.10, 0.05),
        Segment("tail", 0.38, 2.8, 0.35, 0.30, 0.40, 0.15, 0.12),
        Segment("single", 0.52, 2.4, 0.20, 0.45, 0.55, 0.20, 0.25),
    ),
    interests=(
        #      share level signal breadth
        Interest(0.16, 0.3, 0.25, 1.4),
        Interest(0.14, 0.2, -0.25, 0.5),
        Interest(0.12, 0.1, 0.10, 1.3),
        Interest(0.11, 0.1, -0.10, 1.0),
        Interest(0.10, 0.0, 0.30, 1.5),
        Interest(0.09, 0.0, -0.30, 0.4),
        Interest(0.08, -0.1, 0.00, 0.6),
        Interest(0.07, -0.1, 0.20, 1.2),
        Interest(0.05, -0.2, -0.20, 0.5),
        Interest(0.04, -0.3, 0.35, 1.4),
        Interest(0.02, -0.3, -0.35, 0.3),
        Interest(0.02, -0.4, 0.00, 0.8),
    ),
    candidates=40,
    query=0.9,
    document=1.3,
    fires=0.35,
    luck=0.6,
    boost=4.0,
    judge_query=0.6,
    judge_document=0.4,
    student_query=1.1,
    student_document=1.2,
    old=180,
    new=5_000,
)


@dataclass(frozen=True)
class Experiments:
    """A population of queries whose every candidate is graded by all: what samples are drawn from.

    stratum: (N,) index into `strata`. control, treatment: (N, C) the discount of each candidate's rank there over the sum
    of all 25 discounts, 0 where it is not shown. gains: who -> (N, C) gains from 0 to 1.
    """

    constants: Constants
    strata: tuple[str, ...]
    stratum: Ints
    control: Singles
    treatment: Singles
    gains: dict[str, Singles]

    def __len__(self) -> int:
        return len(self.stratum)

    @cached_property
    def populations(self) -> dict[str, int]:
        """stratum -> how many queries it has."""
        return dict(zip(self.strata, np.bincount(self.stratum, minlength=len(self.strata)).tolist(), strict=True))

    @cached_property
    def weight(self) -> Singles:
        """(N, C): what a document's gain adds to its query's paired difference; 0 where it did not move."""
        return self.treatment - self.control

    def levels(self, who: Who, arm: Literal["control", "treatment"] = "control") -> Floats:
        """sDCG@25 of every query in one arm, by one labeller, shape (N,)."""
        shares = self.control if arm == "control" else self.treatment
        return np.asarray(np.einsum("qc,qc->q", shares, self.gains[who], dtype=np.float64))

    def differences(self, who: Who) -> Floats:
        """Treatment minus control of sDCG@25 for every query, shape (N,): d_q = sum_j w_j g_j."""
        return np.asarray(np.einsum("qc,qc->q", self.weight, self.gains[who], dtype=np.float64))

    def shown(self) -> NDArray[np.bool_]:
        """(N, C): is in the top 25 of either arm: what is labelled when all results of both arms are."""
        return (self.control > 0) | (self.treatment > 0)

    def moved(self) -> NDArray[np.bool_]:
        """(N, C): has another discount in the treatment than in the control: what an experiment needs labels of."""
        return np.asarray(self.weight != 0)


def experiments(queries: int = 100_000, *, seed: int, constants: Constants = FROZEN) -> Experiments:
    """A population of that many queries of the simulated search engine, with every candidate graded by all labellers.

    Strata (interest x popularity segment) have their shares exactly, but for rounding; each has at least two queries.

    Raises: InputError for fewer than two queries a stratum.

    >>> some = experiments(2_000, seed=1)
    >>> len(some), len(some.strata), some.weight.shape
    (2000, 48, (2000, 40))
    """
    pairs = [(number, i.share, s) for number, i in enumerate(constants.interests, 1) for s in constants.segments]
    strata = tuple(f"interest {number:02d} / {s.name}" for number, _, s in pairs)
    shares = np.array([share * s.share for _, share, s in pairs])
    if queries < 2 * len(strata):
        raise InputError(f"{queries} queries for {len(strata)} strata: give at least {2 * len(strata)}, two for each")
    counts = apportion(shares, queries, low=np.full(len(strata), 2), high=np.full(len(strata), queries))
    stratum = np.repeat(np.arange(len(strata)), counts)
    starts = range(0, queries, BLOCK)
    streams = np.random.default_rng(seed).spawn(len(starts))
    blocks = [_block(stratum[at : at + BLOCK], rng, constants) for at, rng in zip(starts, streams, strict=True)]
    control, treatment, *gains = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    names = ("truth", "people", "judge", "student")
    return Experiments(constants, strata, stratum, control, treatment, dict(zip(names, gains, strict=True)))


def _block(stratum: Ints, rng: np.random.Generator, c: Constants) -> tuple[Singles, ...]:
    """(control, treatment, truth, people, judge, student) of some queries, each (n, candidates)."""
    shape = (len(stratum), c.candidates)

    def normal(columns: int = c.candidates) -> Singles:
        return rng.standard_normal((shape[0], columns), dtype=np.float32)

    def of(field: str, kind: tuple[Segment, ...] | tuple[Interest, ...] = c.segments) -> Singles:
        values = np.array([getattr(row, field) for row in kind], dtype=np.float32)
        return values[stratum % len(c.segments) if kind is c.segments else stratum // len(c.segments)][:, None]

    relevance, knows = normal(), of("knows")
    score = knows * relevance + np.sqrt(1 - knows**2) * normal()
    linked = np.clip(of("signal") + of("signal", c.interests) + c.luck * normal(1), -0.9, 0.9)
    fires = rng.random(shape, dtype=np.float32) < c.fires
    spoken = np.where(fires, linked * relevance + np.sqrt(1 - linked**2) * normal(), 0)
    touched = rng.random((shape[0], 1), dtype=np.float32) < of("changed") * of("breadth", c.interests)
    control, treatment = _discounts(score), _discounts(score + np.where(touched, c.boost * spoken, 0))

    latent = of("level") + of("level", c.interests) + c.query * normal(1) + c.document * relevance
    truth = _grades(latent)
    liking = of("charmed") + c.judge_query * normal(1)
    judged = latent + of("lenient") + liking * spoken + c.judge_document * normal()
    learned = judged + c.student_query * normal(1) * spoken + c.student_document * normal()
    gains = (truth, _rated(truth, rng), _grades(judged), np.clip(learned, 0, TOP))
    return control, treatment, *((g / TOP).astype(np.float32) for g in gains)


def _discounts(score: Singles | Floats) -> Singles:
    """The share of the discount that each candidate's rank has, (n, C): 0 below the top 25."""
    shares = np.zeros(score.shape[1], dtype=np.float32)
    shares[:DEPTH] = sdcg_weights(DEPTH)
    found = np.empty(score.shape, dtype=np.float32)
    np.put_along_axis(found, np.argsort(-score, axis=1, kind="stable"), shares[None, :], axis=1)
    return found


def _grades(latent: Singles) -> Singles:
    return np.clip(np.rint(latent), 0, TOP)


def _rated(truth: Singles, rng: np.random.Generator) -> Singles:
    """People's grades: one rater each, who agrees with the truth nine times in ten."""
    edges = np.cumsum(np.array(RATER, dtype=np.float32), axis=1)[:, :-1]
    draw = rng.random(truth.shape, dtype=np.float32)[..., None]
    said: Singles = (draw > edges[truth.astype(np.int64)]).sum(axis=-1).astype(np.float32)
    return said
