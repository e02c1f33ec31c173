"""The card: four levels of agreement, overall and by segment, with the ceiling that people set beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.cards import bars as bars_of
from germane.cards import labels, lists
from germane.cards.gold import Pairs, Rule, adjudicate, digest, joined, pair_keys, who
from germane.cards.segments import Dimension, Segments, dimensions
from germane.cards.unevenness import unevenness
from germane.stats import agreement
from germane.types import BiasAt, Ceiling, Decisions, Equivalence, Estimate, InputError, JudgeCard, Scale, Slice

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.bool_]


def build(
    gold: pa.Table,
    judgments: pa.Table,
    *,
    scale: Scale,
    name: str = "gold",
    bars: Mapping[str, float] | None = None,
    relevant: int | None = None,
    design: pa.Table | None = None,
    level: float = 0.95,
    adjudication: Rule | None = None,
    experiment: lists.Experiment | None = None,
    segments: Segments | None = None,
) -> JudgeCard:
    """The card of one judge against people's gold judgments: every statistic with an interval over queries.

    gold, judgments: tables of judgments; pairs that gold lacks are ignored, pairs that the judge did not answer lower
    the coverage and nothing else. Gold may have `gold.EXTRA` columns: pairs without a chance, or of part "targeted", are
    reported apart. bars: name of a statistic -> what its interval must reach (`JudgeCard.meets`), `BARS` by default.
    relevant: the lowest grade that counts as relevant in "false relevant" and "specificity"; by default the
    lowest with more than half of the top gain. design: inclusion probabilities of gold's queries; queries outside it
    were chosen by hand, and are left out. adjudication: how several raters of a pair make one grade. experiment: ranked
    lists, for scores, differences and decisions. More parameters than our seven: each changes what the card claims.

    Raises: InputError for gold that is not by people or has a pair twice without a rule, more than one judge or guide
    version, another scale, a bar without such a statistic, and where no pair is in both.
    """
    bars = bars_of.known(bars_of.BARS if bars is None else bars, scale)
    relevant = labels.threshold(scale) if relevant is None else relevant
    if not 0 < relevant < len(scale.labels):
        raise InputError(f"relevant={relevant}: on scale {scale.name!r} give a grade from 1 to {len(scale.labels) - 1}")
    judge, fingerprint, guide, caveats = who(gold, judgments, scale)
    one, everyone, notes = adjudicate(gold, adjudication)
    pairs = joined(one, judgments, design, len(scale.labels))
    caveats += notes + pairs.caveats
    random = ~pairs.targeted
    if not (pairs.other >= 0).any():
        raise InputError(
            f"judge {judge!r} answered none of {len(random)} gold pairs: are query_id and doc_id the same in both?"
        )
    if not (random & (pairs.other >= 0)).any():
        raise InputError(
            f"all {int(pairs.targeted.sum()):,} gold pairs that {judge!r} could be checked on were chosen (targeted): a card "
            "needs some that were drawn at random"
        )
    found, empty = labels.found(pairs, random, scale, relevant=relevant, level=level)
    calibrated, reliability, notes = labels.probabilities(pairs, random, scale, level=level)
    caveats += [f"{name} has no value on these pairs" for name in empty] + notes
    ceiling: tuple[Ceiling, ...] = ()
    if everyone is not None:  # ties belong to it: without them people would seem to agree more than they do
        ceiling, notes = labels.ceiling(gold, joined(everyone, judgments, design, len(scale.labels)), level=level)
        caveats += notes
    split = dimensions(pairs, segments or Segments(), design)
    levels = _Levels(pairs, random, experiment, scale, level, _strata(pairs, design))
    caveats += levels.caveats
    both = random & (pairs.other >= 0)
    counts = agreement.confusion(pairs.gold[both], pairs.other[both], size=len(scale.labels))
    targeted, notes = _targeted(pairs, scale, relevant, level)
    slices, more = _slices(split, levels, relevant)
    return JudgeCard(
        judge,
        fingerprint,
        scale.name,
        guide,
        f"{name} ({int(random.sum()):,} pairs of {len(set(pairs.query[random].tolist())):,} queries)",
        _ordered(found | calibrated | levels.found),
        tuple(tuple(int(n) for n in row) for row in counts),
        pairs.outcomes,
        dict(bars),
        caveats=tuple(dict.fromkeys(caveats + notes + more)),
        gold_digest=digest(gold),
        gold_pairs=pair_keys(gold),
        slices=slices,
        targeted=targeted,
        ceiling=ceiling,
        reliability=reliability,
        equivalence=levels.equivalence,
        bias_at=levels.bias_at,
        decisions=levels.decisions,
        unevenness=unevenness(split, pairs, random, level=level),
    )


class _Levels:
    """Scores, differences and decisions over all of gold's random part, and over any part of its queries."""

    def __init__(
        self, pairs: Pairs, rows: Rows, experiment: lists.Experiment | None, scale: Scale, level: float, strata: Any
    ) -> None:
        self.pairs, self.rows, self.scale, self.level, self.strata = pairs, rows, scale, level, strata
        self.experiment = experiment or lists.Experiment()
        self.equivalence: Equivalence | None = None
        self.bias_at: tuple[BiasAt, ...] = ()
        self.scores, notes = lists.scores(pairs, rows, self.experiment, scale)
        self.differences, more = lists.differences(pairs, rows, self.experiment, scale)
        self.caveats = [*notes, *more]
        if self.experiment.control is None and not self.experiment.runs:
            self.caveats = [
                "labels alone: scores need a ranked list (--run), differences and decisions --control and --treatment"
            ]
        self.found, self.decisions, empty = self.of(np.ones(len(pairs.query_ids), bool), whole=True)
        self.caveats += [f"{name} has no value on these lists" for name in empty]
        if self.differences is not None and (error := self.found.get("difference error")) is not None:
            self.equivalence, self.bias_at, said = lists.bias(self.differences, error, self.experiment)
            self.caveats += said

    def of(self, queries: Rows, *, whole: bool = False) -> tuple[dict[str, Estimate], tuple[Decisions, ...], list[str]]:
        """The statistics over these queries (a mask), the tables of decisions, and the names of what has no value."""
        estimates: dict[str, Estimate] = {}
        tables: tuple[Decisions, ...] = ()
        empty: list[str] = []
        for prefix, values in (("score", self.scores), ("difference", self.differences)):
            if values is None or not queries[values.query].any():
                continue
            part = values.only(queries[values.query])
            found, without = lists.found(part, prefix, strata=self.strata, level=self.level)
            estimates, empty = estimates | found, empty + without
            if prefix == "difference":
                more = {} if whole else {"sizes": (), "experiments": 500}
                decided, tables = lists.decided(part, self.experiment, level=self.level, **more)  # type: ignore[arg-type]
                estimates |= decided
        return estimates, tables, empty


def _strata(pairs: Pairs, design: pa.Table | None) -> NDArray[np.object_] | None:
    """(queries,) the stratum of each, or None without a design."""
    if design is None or "stratum" not in design.column_names:
        return None
    of = dict(zip(design["query_id"].to_pylist(), design["stratum"].to_pylist(), strict=True))
    return np.array([of.get(name, "(none)") for name in pairs.query_ids], dtype=object)


def _targeted(pairs: Pairs, scale: Scale, relevant: int, level: float) -> tuple[dict[str, Estimate], list[str]]:
    """The statistics of labels over the pairs that were chosen, unweighted, and what is to be said of them."""
    chosen = pairs.targeted
    if not chosen.any():
        return {}, []
    alone = pairs._replace(weight=None)
    note = f"{int(chosen.sum()):,} targeted pairs stand for nothing else: they are reported apart"
    if not (chosen & (pairs.other >= 0)).any():
        return {}, [f"{note}; the judge answered none of them"]
    return labels.found(alone, chosen, scale, relevant=relevant, level=level, by_grade=False)[0], [note]


def _slices(split: Mapping[str, Dimension], levels: _Levels, relevant: int) -> tuple[tuple[Slice, ...], list[str]]:
    """Every level over every segment; labels alone over kinds of documents. Segments with fewer than 2 queries are left out."""
    pairs, slices, alone = levels.pairs, [], []
    for dimension, values in split.items():
        for name in values.names(levels.rows):
            rows = levels.rows & (values.of_pairs == name)
            if len(set(pairs.query[rows & (pairs.other >= 0)].tolist())) < 2:
                alone.append(f"{dimension} {name}")
                continue
            found, _ = labels.found(pairs, rows, levels.scale, relevant=relevant, level=levels.level, by_grade=False)
            more = {} if values.of_queries is None else levels.of(values.of_queries == name)[0]
            slices.append(Slice(dimension, str(name), _ordered(found | more)))
    shown = ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")
    notes = [f"segments with answers on fewer than 2 queries were left out: {shown}"] if alone else []
    return tuple(slices), notes


def _ordered(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Labels first, their grades one by one after them, then scores, differences and decisions."""
    place = {name: at for at, name in enumerate(bars_of.OF_LABELS)}
    levels = ("labels", "scores", "differences", "decisions")

    def key(name: str) -> tuple[int, int]:
        return levels.index(bars_of.level_of(name)), place.get(name, len(place))

    return {name: found[name] for name in sorted(found, key=key)}
