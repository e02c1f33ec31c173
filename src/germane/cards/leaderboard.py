"""The leaderboard: every judge on the golden pairs that all of them answered, beside the best one and the one above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.cards import labels, lists
from germane.cards.admission import distinct
from germane.cards.building import build
from germane.cards.entrants import Board, Entrant, Rows, Side, apart, as_judgments, enter, shared, tiers_of, told_apart
from germane.cards.gold import Pairs, Rule, adjudicate, digest, joined
from germane.cards.segments import Dimension, Segments, dimensions
from germane.stats import retention
from germane.stats.clustered import Undefined
from germane.types import Estimate, JudgeCard, Leaderboard, Retention, Scale, Slice, Standing

if TYPE_CHECKING:
    import pyarrow as pa


def stand(
    gold: pa.Table,
    entrants: Sequence[Entrant],
    *,
    scale: Scale,
    name: str = "gold",
    ceiling: Entrant | None = None,
    above: Mapping[str, str] | None = None,
    design: pa.Table | None = None,
    adjudication: Rule | None = None,
    experiment: lists.Experiment | None = None,
    segments: Segments | None = None,
    level: float = 0.95,
) -> Leaderboard:
    """The leaderboard of these judges against people's gold judgments, best first by macro F1.

    Everything but coverage is over the *common* pairs: those of gold's random part that every judge and the ceiling
    answered. A pair without an answer is neither wrong nor grade 0, and nobody gains by answering the easy ones alone: what
    a judge reaches on its own pairs stands apart, in `own`. Fakes and judges of random weights are shown for their speed.
    above: name -> name of the judge that it should keep up with; by default the nearest teacher of its lineage here.
    gold, design, adjudication, experiment, segments: as in `build`, which makes the figures. More parameters than our
    seven: each is a question of its own.

    Raises: InputError as `build`; for no judge but fakes, a judge that comes twice, judges without a pair in common, and
    `above` naming a judge that is not here.
    """
    real, others = apart(entrants)
    one, everyone, notes = adjudicate(gold, adjudication)
    people = as_judgments(one, gold, scale)
    board = Board(people, scale, experiment or lists.Experiment(), segments or Segments(), design, level)
    sides = told_apart([enter(board, gold, each) for each in real])
    tiers = tiers_of(sides, above or {})
    if ceiling is not None:
        apart([ceiling])
        sides = [*sides, enter(board, gold, ceiling)._replace(name="ceiling")]
    rows = shared(sides)
    sides = [_restricted(board, side, rows, with_scores=ceiling is not None) for side in sides]
    made = [_standing(board, side, _card(board, side, rows)) for side in sides]
    last, sides = sides[-1], sides[: len(real)]
    order = sorted(range(len(sides)), key=lambda at: (-made[at].found["macro F1"].value, made[at].name))
    standings = [_compared(board, sides, at, order[0], tiers.get(at), rows, made[at]) for at in order]
    if ceiling is not None:
        split = dimensions(last.common, board.segments, design)
        standings = [
            _beside_ceiling(board, sides[at], last, rows, split, each) for at, each in zip(order, standings, strict=True)
        ]
    always, standings = _caveats(standings)
    pairs = sides[0].pairs
    return Leaderboard(
        scale.name,
        scale.labels,
        name,
        digest(gold),
        int((~pairs.targeted).sum()),
        int(rows.sum()),
        len(set(pairs.query[rows].tolist())),
        tuple(standings),
        metric=board.experiment.metric if _has_lists(board.experiment) else "",
        level=level,
        people=_between_people(gold, everyone, board),
        ceiling=None if ceiling is None else replace(made[-1], caveats=()),
        speed_only=others,
        notes=tuple(dict.fromkeys([*_said(standings, sides, rows, gold), *notes, *always])),
    )


# --- their figures --------------------------------------------------------------------------------------------------


def _restricted(board: Board, side: Side, rows: Rows, *, with_scores: bool) -> Side:
    """The judge on the common pairs alone, with its lists by expected gains, and by its grades where a ceiling is given."""
    common = side.pairs._replace(other=np.where(rows, side.pairs.other, -1))
    side = side._replace(common=common, fine=by_expected_gains(common, board.scale))
    if not _has_lists(board.experiment):
        return side
    drawn = ~common.targeted
    scores = lists.scores(common, drawn, board.experiment, board.scale)[0] if with_scores else None
    expected = None if side.fine is None else lists.scores(side.fine[0], drawn, board.experiment, side.fine[1])[0]
    return side._replace(scores=scores, expected=expected)


def by_expected_gains(pairs: Pairs, scale: Scale) -> tuple[Pairs, Scale] | None:
    """The pairs graded by the judge's expected gains, on a scale as fine as these; None without probabilities."""
    if pairs.probs is None or not (given := (pairs.other >= 0) & ~np.isnan(pairs.probs).any(1)).any():
        return None
    gains = np.asarray(scale.gains, np.float64)
    probs = np.where(given[:, None], pairs.probs, 1.0)
    expected = np.minimum(np.maximum(probs, 0.0) @ gains / probs.sum(1), gains[-1])
    steps = np.unique(np.concatenate([gains, expected[given]]))
    finer = replace(scale, labels=tuple(map(str, range(len(steps)))), gains=tuple(steps.tolist()), aliases={})
    graded = np.where(given, np.searchsorted(steps, expected), -1)
    return pairs._replace(gold=np.searchsorted(steps, gains[pairs.gold]), other=graded), finer


def _card(board: Board, side: Side, rows: Rows) -> JudgeCard:
    """The judge's card on the common pairs: its other answers are left out, so that they count as missing."""
    import pyarrow as pa

    pairs, held = side.pairs, int(rows.sum())
    columns: dict[str, Any] = {"query_id": pairs.query_ids[pairs.query[rows]], "doc_id": pairs.doc_ids[rows]}
    columns |= {"relevance": pairs.other[rows], "outcome": pa.repeat("label", held)}
    if pairs.probs is not None:
        columns["probs"] = [None if np.isnan(row).any() else row.tolist() for row in pairs.probs[rows]]
    who = {"judge": side.judge, "fingerprint": side.fingerprint, "scale": board.scale.name, "guide_version": side.guide}
    kept = pa.table(columns | {name: pa.repeat(value, held) for name, value in who.items()})
    options: dict[str, Any] = {"experiment": board.experiment, "segments": board.segments, "level": board.level}
    return build(board.gold, kept, scale=board.scale, design=board.design, **options)


def _standing(board: Board, side: Side, card: JudgeCard) -> Standing:
    drawn, at_least = ~side.pairs.targeted, labels.threshold(board.scale)
    own, _ = labels.found(side.pairs, drawn, board.scale, relevant=at_least, level=board.level)
    found = {name: e for name, e in card.agreement.items() if name != "coverage"} | _expected(board, side)
    slices = tuple(replace(s, found={name: e for name, e in s.found.items() if name != "coverage"}) for s in card.slices)
    return Standing(
        side.name,
        side.judge,
        side.fingerprint,
        side.guide,
        side.entrant.facts,
        own.pop("coverage"),
        side.pairs.outcomes,
        found,
        own,
        card.confusion,
        slices,
        caveats=card.caveats,
    )


def _expected(board: Board, side: Side) -> dict[str, Estimate]:
    """Scores and differences of lists by expected gains: names as on a card, with "expected" before them."""
    found: dict[str, Estimate] = {}
    strata = _strata(side.common, board.design)
    if side.expected is not None:
        found = lists.found(side.expected, "expected score", strata=strata, level=board.level)[0]
    if side.fine is not None and board.experiment.control is not None:
        moved = lists.differences(side.fine[0], ~side.common.targeted, board.experiment, side.fine[1])[0]
        if moved is not None:
            found |= lists.found(moved, "expected difference", strata=strata, level=board.level)[0]
    return found


def _strata(pairs: Pairs, design: pa.Table | None) -> NDArray[np.object_] | None:
    if design is None or "stratum" not in design.column_names:
        return None
    of = dict(zip(design["query_id"].to_pylist(), design["stratum"].to_pylist(), strict=True))
    return np.array([of.get(name, "(none)") for name in pairs.query_ids], dtype=object)


# --- beside each other ----------------------------------------------------------------------------------------------


def _compared(
    board: Board, sides: Sequence[Side], at: int, best: int, above: int | None, rows: Rows, standing: Standing
) -> Standing:
    """The standing with its paired differences: to the best judge, and to the one above."""
    to_best = None if at == best else _difference(board, sides[at], sides[best], rows, retention.macro_f1, "macro F1")
    if above is None:
        return replace(standing, to_best=to_best)
    low, high = sides[at], sides[above]
    gaps: dict[str, Estimate] = {}
    for grade, label in enumerate(board.scale.labels):
        gap = _difference(board, low, high, rows, retention.f1(grade), f"F1 of {label}")
        gaps |= {} if gap is None else {f"F1 of {label}": gap}
    difference = _difference(board, low, high, rows, retention.macro_f1, "macro F1")
    assert difference is not None  # some grade is always given
    kept = Retention(high.name, _ratio(board, low, high, rows, retention.macro_f1, "macro F1"), difference, gaps)
    return replace(standing, to_best=to_best, retention=kept)


def _beside_ceiling(
    board: Board, side: Side, ceiling: Side, rows: Rows, split: Mapping[str, Dimension], standing: Standing
) -> Standing:
    """The standing with each figure of agreement as a share of the ceiling's, whole and slice by slice."""
    whole = _shares(board, side, ceiling, rows, np.ones(len(side.common.query_ids), bool))
    slices = []
    for dimension, values in split.items():
        for name in sorted(set(values.of_pairs[rows])):
            queries = None if values.of_queries is None else np.asarray(values.of_queries == name)
            found = _shares(board, side, ceiling, rows & (values.of_pairs == name), queries)
            slices += [Slice(dimension, str(name), found)] if found else []
    return replace(standing, of_ceiling=whole, slices_of_ceiling=tuple(slices))


def _shares(board: Board, side: Side, ceiling: Side, rows: Rows, queries: Rows | None) -> dict[str, Estimate]:
    """Name of the statistic -> its ratio to the ceiling's, over these pairs and the lists of these queries."""
    statistics: dict[str, retention.Statistic] = {
        "exact": retention.exact,
        "within one": retention.within_one,
        "quadratic kappa": retention.quadratic_kappa,
    }
    statistics |= {"macro F1": retention.macro_f1}
    statistics |= {f"F1 of {label}": retention.f1(grade) for grade, label in enumerate(board.scale.labels)}
    if len(board.scale.labels) < 3:
        del statistics["within one"]
    found = {name: _ratio(board, side, ceiling, rows, of, name) for name, of in statistics.items()}
    for prefix, mine, theirs in (
        ("score", side.scores, ceiling.scores),
        ("expected score", side.expected, ceiling.expected),
    ):
        if mine is None or theirs is None or queries is None:
            continue
        mine, theirs = mine.only(queries[mine.query]), theirs.only(queries[theirs.query])
        if len(mine.query) > 1 and np.array_equal(mine.query, theirs.query):
            for of in ("tau-b", "rho"):
                options: dict[str, Any] = {"of": of, "clusters": mine.query, "weights": mine.weight, "level": board.level}
                found[f"{prefix} {of}"] = _or_none(retention.list_ratio, mine.people, mine.judge, theirs.judge, **options)
    return {name: e for name, e in found.items() if e is not None}


def _ratio(board: Board, one: Side, other: Side, rows: Rows, of: retention.Statistic, name: str) -> Estimate | None:
    return _paired(retention.ratio, board, one, other, rows, of, f"ratio of {name}")


def _difference(board: Board, one: Side, other: Side, rows: Rows, of: retention.Statistic, name: str) -> Estimate | None:
    return _paired(retention.difference, board, one, other, rows, of, f"difference of {name}")


def _paired(
    made: Any, board: Board, one: Side, other: Side, rows: Rows, of: retention.Statistic, method: str
) -> Estimate | None:
    """A comparison of two judges on these pairs; None where one of them has no value there."""
    pairs = one.pairs
    options: dict[str, Any] = {"of": of, "level": board.level, "method": method, "clusters": pairs.query[rows]}
    options["weights"] = None if pairs.weight is None else pairs.weight[rows]
    return _or_none(made, pairs.gold[rows], one.pairs.other[rows], other.pairs.other[rows], **options)


def _or_none(made: Any, *arguments: Any, **options: Any) -> Estimate | None:
    try:
        found: Estimate = made(*arguments, **options)
    except Undefined:
        return None
    return found


# --- what is to be said ---------------------------------------------------------------------------------------------


def _between_people(gold: pa.Table, everyone: pa.Table | None, board: Board) -> dict[str, Estimate]:
    """How far two people agree on all of gold's pairs, where some have several raters."""
    if everyone is None:
        return {}
    import pyarrow as pa

    nobody = as_judgments(everyone, gold, board.scale)
    silent: Any = pa.nulls(nobody.num_rows, pa.int16())
    nobody = nobody.drop_columns(["relevance"]).append_column("relevance", silent)
    nobody = nobody.append_column("outcome", pa.repeat("abstained", nobody.num_rows))
    found, _ = labels.ceiling(gold, joined(everyone, nobody, board.design, len(board.scale.labels)), level=board.level)
    return {each.name: each.raters for each in found}


def _caveats(standings: Sequence[Standing]) -> tuple[list[str], list[Standing]]:
    """What is said of every judge's card, once; and the standings with what is said of theirs alone."""
    shared = [text for text in standings[0].caveats if all(text in each.caveats for each in standings)]
    return shared, [replace(s, caveats=tuple(text for text in s.caveats if text not in shared)) for s in standings]


def _said(standings: Sequence[Standing], sides: Sequence[Side], rows: Rows, gold: pa.Table) -> list[str]:
    """What a reader should know before any figure."""
    targeted = sides[0].pairs.targeted
    drawn, common, notes = int((~targeted).sum()), int(rows.sum()), []
    if common < drawn:
        answered = {side.name: int((~targeted & (side.pairs.other >= 0)).sum()) for side in sides}
        least = min(answered, key=lambda name: answered[name])
        under = "under half of gold: only " if 2 * common < drawn else ""
        notes.append(
            f"{under}{common:,} of {drawn:,} gold pairs were answered by every judge, and all are compared on these; "
            f"{least} answered the fewest, {answered[least]:,}"
        )
    if chosen := int(targeted.sum()):
        notes.append(f"{chosen:,} targeted pairs of gold were chosen, and are left out")
    makers = {judge for judge, _ in distinct(gold, "judge", "fingerprint")}
    notes += [f"{s.name} is among those who made gold: it agrees with itself in part" for s in standings if s.judge in makers]
    machines = sorted({s.facts.machine or "a machine not named" for s in standings if s.facts.rows_per_s is not None})
    if len(machines) > 1:
        notes.append(f"speeds were measured on different machines ({', '.join(machines)}): they do not compare")
    if len({s.guide_version for s in standings if s.guide_version}) > 1:
        notes.append("the judges worked under different versions of the guide")
    if len(standings) > 2:
        notes.append(
            "each difference to the best judge has an interval of its own, not widened for the best having been picked, nor "
            "for looking at all of them"
        )
    return notes


def _has_lists(experiment: lists.Experiment) -> bool:
    return bool(experiment.runs) or experiment.control is not None
