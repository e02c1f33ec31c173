"""What golden pairs say of a judge's doubts: which grades to accept, which pairs to send to people, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.cards import labels
from germane.cards.admission import distinct, is_human, named
from germane.cards.gold import Pairs, Rule, adjudicate, digest, joined, who
from germane.cards.segments import Segments, dimensions
from germane.cards.signals import By, Signal, signal
from germane.stats import agreement, clustered, ranks, routing
from germane.stats.clustered import Undefined
from germane.stats.routing import Cut, Golden, Measure
from germane.types import Estimate, InputError, RoutePoint, Routing, Scale, SignalLevel, Slice

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_PAIRS, LEAST_QUERIES = 30, 10
"""Fewer golden pairs with an answer, or queries, promise nothing: intervals over fewer queries are rough (`clustered.FEW`)."""

SHOWN = 20
"""Even steps of the curve; where a signal has no more levels than this, their ends are points of it too."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """What is asked of a routing. quality: the target; budget: labels of people; people: their accuracy, or "raters" of gold.

    relevant: the lowest grade that counts as relevant. price: of one label by a person.
    """

    by: By = "auto"
    measure: Measure = "exact"
    quality: float | None = None
    budget: int | None = None
    people: float | Literal["raters"] = 1.0
    price: float | None = None
    relevant: int | None = None
    level: float = 0.95


class Sent(NamedTuple):
    """Rows of the judgments by what becomes of them. accepted: (rows,) of the judge's grade that is kept. order: rows that go
    to people, the least certain first; why: the reason of each."""

    accepted: Flags
    order: NDArray[np.int64]
    why: list[str]


class _Sides(NamedTuple):
    """What a routing rests on. golden: the pairs; counts: (levels,) open pairs of the table in each level; open: (rows,)."""

    golden: Golden
    counts: NDArray[np.int64]
    unanswered: int
    open: Flags
    asked: Asked
    relevant: int
    two_grades: bool


def build(
    gold: pa.Table,
    judgments: pa.Table,
    asked: Asked,
    *,
    scale: Scale,
    chance: NDArray[np.float64],
    name: str = "gold",
    design: pa.Table | None = None,
    adjudication: Rule | None = None,
    segments: Segments | None = None,
) -> tuple[Routing, Sent | None]:
    """What routing is worth on golden pairs, and which rows go where, None without a rule.

    gold, judgments: tables of judgments, as `cards.build` has them. chance: (rows,) 0 to 1 for each row of judgments, which
    says who of a level that is divided goes to people. segments: the columns to split by.

    Raises: InputError for judgments of people, no signal, a target that is none, and too few golden pairs or queries.
    """
    _checked(asked, scale)
    for judge, fingerprint in distinct(judgments, "judge", "fingerprint"):
        if is_human(judge, fingerprint):
            raise InputError(f"the judgments are of people ({named(judge, fingerprint)}): there is no judge to route")
    judge, fingerprint, _, caveats = who(gold, judgments, scale)
    one, _, notes = adjudicate(gold, adjudication)
    pairs = joined(one, judgments, design, len(scale.labels))
    found = signal(judgments, len(scale.labels), asked.by)
    at = _rows(judgments, pairs)
    kept = ~pairs.targeted & (at >= 0)
    _enough(pairs, kept, found.level[np.maximum(at, 0)])
    people, said = _people(gold, pairs, asked, len(scale.labels))
    weights = None if pairs.weight is None else pairs.weight[kept]
    golden = Golden(pairs.gold[kept], pairs.other[kept], found.level[at[kept]], people[kept], pairs.query[kept], weights)
    sides = _sides(judgments, gold, found, golden, asked, scale)
    answer = _chosen(sides, found)
    cut = answer.pop("cut")
    slices = _slices(pairs, kept, golden, cut, segments, design, asked.level)
    tells = _tells(golden, asked)
    routed = Routing(
        judge,
        fingerprint,
        scale.name,
        found.name,
        asked.measure,
        said,
        f"{name} ({int(kept.sum()):,} pairs of {len(set(golden.query.tolist())):,} queries)",
        digest(gold),
        int(kept.sum()),
        len(set(golden.query.tolist())),
        int(sides.open.sum()),
        _known(judgments, sides),
        sides.unanswered,
        asked.level,
        tells,
        _levels(sides, found),
        tuple(_curve(sides, found)),
        target=asked.quality,
        budget=asked.budget,
        judge_cost=_cost(judgments),
        price=asked.price,
        slices=slices,
        notes=tuple(dict.fromkeys([*_notes(sides, found, pairs, kept, cut, tells), *caveats, *notes, *pairs.caveats])),
        **answer,
    )
    return routed, None if cut is None else _sent(judgments, sides, found, cut, chance)


def _checked(asked: Asked, scale: Scale) -> None:
    """Raises: InputError for what cannot be asked."""
    if asked.quality is not None and not 0 < asked.quality <= 1:
        raise InputError(f"--quality {asked.quality:g}: give the quality to reach, above 0 and up to 1, as 0.85")
    if asked.budget is not None and asked.budget < 0:
        raise InputError(f"--budget {asked.budget}: give the number of labels that people can give, 0 or more")
    if asked.price is not None and not asked.price > 0:
        raise InputError(f"--price-per-label {asked.price:g}: give what a label of a person costs, above 0, as 0.4")
    if asked.measure == "within-one" and len(scale.labels) == 2:
        raise InputError(f"--measure within-one: on the two grades of {scale.name!r} it is always 1; ask for exact")


def _enough(pairs: Pairs, kept: Flags, level: NDArray[np.int64]) -> None:
    """Raises: InputError where golden pairs are too few to say anything."""
    answered = kept & (level >= 0)
    n, queries = int(answered.sum()), len(set(pairs.query[answered].tolist()))
    if not kept.any():
        raise InputError("no golden pair drawn at random is among the judgments: are query_id and doc_id the same in both?")
    if n < LEAST_PAIRS or queries < LEAST_QUERIES:
        raise InputError(
            f"{n} golden pairs of {queries} queries have the judge's answer, which promises nothing: {LEAST_PAIRS} pairs of "
            f"{LEAST_QUERIES} queries are the least"
        )


def _rows(judgments: pa.Table, pairs: Pairs) -> NDArray[np.int64]:
    """(n,) the row of the judgments that each golden pair is, -1 for none."""
    ids = zip(judgments["query_id"].to_pylist(), judgments["doc_id"].to_pylist(), strict=True)
    wanted = zip(pairs.query_ids[pairs.query].tolist(), pairs.doc_ids.tolist(), strict=True)
    row = {pair: at for at, pair in enumerate(ids)}
    return np.array([row.get(pair, -1) for pair in wanted], dtype=np.int64)


def _people(gold: pa.Table, pairs: Pairs, asked: Asked, grades: int) -> tuple[NDArray[np.float64], str]:
    """(n, grades) chance of people's grades on each golden pair, and in words what is taken of them."""
    if asked.people == "raters":
        _, votes = labels.votes_of(gold, pairs)
        said = "one more of gold's raters, as the others of each pair say (the vote that made gold left out)"
        return routing.left_votes(pairs.gold, votes, grades), said
    said = (
        "taken to give gold's grade" if asked.people == 1 else f"taken to give gold's grade in {asked.people:.0%}, else one off"
    )
    return routing.blurred(pairs.gold, float(asked.people), grades), said


def _sides(judgments: pa.Table, gold: pa.Table, found: Signal, golden: Golden, asked: Asked, scale: Scale) -> _Sides:
    """The pairs that are open: that no person has graded yet; all, where gold has every one (a rehearsal)."""
    graded = gold.filter(gold["relevance"].is_valid())  # ties too: people have seen them
    known = {*zip(graded["query_id"].to_pylist(), graded["doc_id"].to_pylist(), strict=True)}
    ids = zip(judgments["query_id"].to_pylist(), judgments["doc_id"].to_pylist(), strict=True)
    open_ = np.array([pair not in known for pair in ids])
    open_ = open_ if open_.any() else np.ones(len(open_), bool)
    levels = found.level[open_]
    counts = np.bincount(levels[levels >= 0], minlength=len(found.values)).astype(np.int64)
    relevant = labels.threshold(scale) if asked.relevant is None else asked.relevant
    return _Sides(golden, counts, int((levels < 0).sum()), open_, asked, relevant, len(scale.labels) == 2)


def _known(judgments: pa.Table, sides: _Sides) -> int:
    return judgments.num_rows - int(sides.open.sum())


def _statistics(sides: _Sides) -> Iterator[labels.Statistic]:
    """What is said of either part."""
    yield "exact", agreement.exact_agreement, {}
    if not sides.two_grades:
        yield "within one", agreement.agreement_within, {}
    yield "false relevant", agreement.false_relevant_rate, {"threshold": sides.relevant}


def _quality(sides: _Sides, cut: Cut) -> Estimate | None:
    return routing.quality(sides.golden, cut, measure=sides.asked.measure, level=sides.asked.level)


def _random(sides: _Sides, cut: Cut) -> Estimate | None:
    return routing.at_random(sides.golden, cut, measure=sides.asked.measure, level=sides.asked.level)


def _point(sides: _Sides, found: Signal, cut: Cut) -> RoutePoint:
    kept, asked = sides.golden.accepted(cut), sides.asked
    return RoutePoint(
        _rule(sides, found, cut),
        cut.share,
        cut.labels,
        None if asked.price is None else cut.labels * asked.price,
        _quality(sides, cut),
        _random(sides, cut),
        routing.parts(sides.golden, kept, _statistics(sides), level=asked.level),
        routing.parts(sides.golden, 1 - kept, _statistics(sides), level=asked.level),
    )


def _rule(sides: _Sides, found: Signal, cut: Cut) -> str:
    """A cut in words."""
    if cut.accepted == 0:
        return "accept none"
    if cut.accepted == sides.counts.sum():
        return "accept every answer"
    until = "up to" if found.words[0].startswith("entropy") else "down to"
    if cut.part == 1:
        return f"accept {until} {found.says(cut.level)}"
    return f"accept {until} {found.says(cut.level)}, and of the pairs just there {cut.part:.0%}, drawn at random"


def _curve(sides: _Sides, found: Signal) -> Iterator[RoutePoint]:
    """Points from all to people to none; those that golden pairs say nothing of are left out."""
    for cut in routing.cuts(sides.counts, sides.unanswered, steps=SHOWN):
        point = _point(sides, found, cut)
        if point.quality is not None:
            yield point


def _chosen(sides: _Sides, found: Signal) -> dict[str, Any]:
    """The cut that answers what was asked, as a point, what sending at random would need, and whether it is reached."""
    asked, choices = sides.asked, routing.cuts(sides.counts, sides.unanswered)
    answer: dict[str, Any] = {"cut": None, "chosen": None, "random_labels": None, "reached": True, "why": ""}
    total = int(sides.counts.sum())
    if asked.quality is not None:
        best = routing.fewest(choices, asked.quality, lambda cut: _quality(sides, cut))
        by_chance = routing.fewest(choices, asked.quality, lambda cut: _random(sides, cut))
        answer["random_labels"] = by_chance[0].labels if by_chance else None
        if best is None:
            why = f"no rule is shown to reach {asked.quality:g}, nor people alone: they are {_people_alone(sides)}"
            return answer | {"reached": False, "why": why}
        answer["cut"] = best[0]
        if asked.budget is not None and best[0].labels > asked.budget:
            why = f"{asked.quality:g} needs {best[0].labels:,} labels of people, more than the {asked.budget:,} of the budget"
            answer |= {"reached": False, "why": why, "cut": None}
    elif asked.budget is not None:
        if asked.budget < sides.unanswered:
            why = f"{sides.unanswered:,} pairs have no answer of the judge, more than people can grade within the budget"
            return answer | {"reached": False, "why": why}
        answer["cut"] = routing.cut_at(sides.counts, sides.unanswered, max(0, total - (asked.budget - sides.unanswered)))
    if answer["cut"] is not None:
        answer["chosen"] = _point(sides, found, answer["cut"])
    return answer


def _people_alone(sides: _Sides) -> str:
    """What people alone would reach."""
    alone = _quality(sides, routing.cuts(sides.counts, sides.unanswered)[0])
    return "not known" if alone is None else f"at {alone.value:.3f}, at least {alone.low:.3f}"


def _tells(golden: Golden, asked: Asked) -> Estimate | None:
    """Whether wrong grades are the less certain ones."""
    rows = golden.level >= 0
    steps = 1 if asked.measure == "within-one" else 0
    wrong = abs(golden.gold - golden.other)[rows] > steps
    weights = None if golden.weights is None else golden.weights[rows]
    try:
        return ranks.auc(golden.level[rows], wrong, clusters=golden.query[rows], weights=weights, level=asked.level)
    except Undefined:
        return None


def _levels(sides: _Sides, found: Signal) -> tuple[SignalLevel, ...]:
    rows = []
    for name, inside in found.groups():
        there = (sides.golden.level >= 0) & inside[np.maximum(sides.golden.level, 0)]
        of = routing.parts(sides.golden, there.astype(float), _statistics(sides), level=sides.asked.level)
        rows.append(SignalLevel(name, int(sides.counts[inside].sum()), of))
    return tuple(rows)


def _slices(
    pairs: Pairs,
    kept: Flags,
    golden: Golden,
    cut: Cut | None,
    segments: Segments | None,
    design: pa.Table | None,
    level: float,
) -> tuple[Slice, ...]:
    """In each segment, on golden pairs: how much is accepted, and how right that is. Segments of one query are left out."""
    if cut is None or segments is None or not segments.by:
        return ()
    accepted, found = golden.accepted(cut), []
    try:
        split = dimensions(pairs, segments, design)
    except InputError as problem:  # there, --by is what here --by-segment is
        raise InputError(str(problem).replace("--by ", "--by-segment ", 1)) from None
    for dimension, values in split.items():
        of = values.of_pairs[kept]
        for name in sorted(set(of)):
            rows = of == name
            if len(set(golden.query[rows].tolist())) < 2:
                continue
            options: dict[str, Any] = {"clusters": golden.query[rows], "level": level}
            options["weights"] = None if golden.weights is None else golden.weights[rows]
            method = "share of golden pairs accepted"
            whole = {"accepted": clustered.mean(accepted[rows], bounds=(0.0, 1.0), method=method, **options)}
            exact: list[labels.Statistic] = [("exact where accepted", agreement.exact_agreement, {})]
            whole |= routing.parts(golden, np.where(rows, accepted, 0.0), exact, level=level)
            found.append(Slice(dimension, str(name), whole))
    return tuple(found)


def _notes(sides: _Sides, found: Signal, pairs: Pairs, kept: Flags, cut: Cut | None, tells: Estimate | None) -> list[str]:
    """What is to be known of the figures."""
    golden, notes = sides.golden, [found.note] if found.note else []
    if tells is None:
        notes.append("none of the golden answers is wrong, or all are: whether the signal tells errors cannot be seen")
    if np.isnan(found.values[:, 0]).any():
        silent = int(sides.counts[-1])
        notes.append(f"{silent:,} answers have no {found.words[0].split(' {')[0]}: they go to people before all others")
    if chosen := int((pairs.targeted & (pairs.other >= 0)).sum()):
        notes.append(
            f"{chosen:,} golden pairs were chosen (targeted), stand for nothing else, and are left out of every figure"
        )
    if sides.open.all():
        notes.append("a rehearsal: gold has every pair that is routed, and labels are counted as if it had none of them")
    if cut is not None:
        options: dict[str, Any] = {"clusters": golden.query, "weights": golden.weights, "level": sides.asked.level}
        there = clustered.mean(golden.accepted(cut), bounds=(0.0, 1.0), **options)
        if not there.low - 1e-9 <= cut.share <= there.high + 1e-9:
            notes.append(
                f"gold is not like what is routed: the rule accepts {there.value:.0%} of golden pairs ({there.low:.0%} to "
                f"{there.high:.0%}) and {cut.share:.0%} of the others, so that its figures may not be theirs"
            )
    return notes


def _cost(judgments: pa.Table) -> float | None:
    if "cost" not in judgments.column_names:
        return None
    import pyarrow.compute as pc

    total = pc.sum(judgments["cost"]).as_py()
    return None if total is None else float(total)


def _sent(judgments: pa.Table, sides: _Sides, found: Signal, cut: Cut, chance: NDArray[np.float64]) -> Sent:
    """Which rows are accepted and which go to people, so that exactly the cut's number of open pairs does."""
    level, last = found.level, len(found.values)
    doubt = np.where(level < 0, last, level)
    order = np.lexsort((chance, -doubt))
    accepted = (level >= 0) & (level < cut.level)
    inside = order[level[order] == cut.level]
    if cut.part == 1:
        accepted[inside] = True
    elif cut.part > 0:  # of the open ones exactly as many as were counted, of those that gold has the same share
        open_ = inside[sides.open[inside]]
        accepted[open_[len(open_) - round(cut.part * len(open_)) :]] = True
        rest = inside[~sides.open[inside]]
        accepted[rest[len(rest) - round(cut.part * len(rest)) :]] = True
    rows = order[sides.open[order] & ~accepted[order]]
    outcomes = judgments["outcome"].to_pylist()
    why = [f"no answer: {outcomes[row]}" if level[row] < 0 else found.says(int(level[row])) for row in rows.tolist()]
    return Sent(accepted, rows.astype(np.int64), why)
