"""People's blind sample inside an experiment: is it one, what does it say of the judge, and what is the answer with it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane import cards, store
from germane.experiment.effects import PerQuery
from germane.experiment.frame import Frame, Names
from germane.experiment.pool import Floats, Ints, Pool
from germane.sampling import UNIT
from germane.stats.correction import Corrected, corrected, corrected_documents
from germane.types import Audit, InputError, JudgeCard, Refusal

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("query_id", "doc_id", "unit", "audit_stratum", "inclusion_probability", "drawn")

GAPS = 0.05
"""A larger share of drawn pairs without an answer is refused: who does not answer is not a random part of the sample."""

MISFIT = 6.0
"""The number of documents that moved, by the audit's odds, may lie so many standard errors from the number that did."""

GOLDEN_MISFIT = 4.0
"""More golden pairs than the odds would draw, by so many standard errors: a blind draw does so less than once in a thousand."""


@dataclass(frozen=True)
class Audited:
    """An audit: the pairs that were drawn, with their odds, and what people said of them (see `sampling.draw_audit`).

    overrides: refusals that were insisted past before, when it was judged; they stand in the report.
    """

    drawn: pa.Table
    said: pa.Table
    name: str = "audit"
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What people said of the drawn pairs that moved, flat: index of query and pool row, chance, and both gains.

    label: the audit stratum of each. answered: False for drawn pairs without an answer, left as the judge graded them. golden:
    so many of them are of the golden set that the judge was checked on.
    """

    unit: str
    name: str
    query: Ints
    row: Ints
    chance: Floats
    people: Floats
    judge: Floats
    label: Names
    answered: NDArray[np.bool_]
    golden: int = 0

    @property
    def gaps(self) -> int:
        return int((~self.answered).sum())


def read(
    about: Frame,
    pool: Pool,
    audit: Audited,
    *,
    gains: Floats,
    card: JudgeCard | None,
    allow: frozenset[str],
    kinds: pa.Table,
    expected: bool = False,
) -> tuple[Answers, tuple[str, ...]]:
    """People's gains on the drawn pairs, and the overrides that were needed; several raters of a pair are averaged.

    gains: of each relevance, in units of the metric. kinds: who judged the experiment, and under which guide. expected: the
    judge's own are those that its probabilities expect, as in the differences that are corrected.

    Raises: InputError for an audit of another experiment, by machines, or without odds; Refusal `--allow golden-audit` for
    the pairs that the judge was checked on, `--allow audit-gaps` for missing answers.
    """
    if about.design.unit not in ("queries", UNIT):
        raise InputError(
            f"this design was drawn by {about.design.unit}, and an audit is weighed by distinct queries: draw the experiment "
            "by queries (germane sample)"
        )
    overrides = [*audit.overrides, *_by_people_and_not_golden(audit.said, card, allow)]
    overrides += _one_guide(audit.said, kinds, allow)
    answered = _gains_of(audit.said, gains)
    unit, query, row, chance, label = _located(about, pool, audit.drawn)
    keys = zip(audit.drawn["query_id"].to_pylist(), audit.drawn["doc_id"].to_pylist(), strict=True)
    people = np.array([answered.get((str(q), str(d)), np.nan) for q, d in keys], dtype=np.float64)
    judge = np.where(pool.relevance[row] < 0, 0.0, gains[np.maximum(pool.relevance[row], 0)])
    if expected and pool.expected is not None:
        judge = np.asarray(pool.expected[row], dtype=np.float64)
    gaps = np.isnan(people)
    if gaps.all():
        raise InputError(
            f"none of the {len(people)} drawn pairs has an answer by people in {audit.name}: have them judged first"
        )
    overrides += _gaps(int(gaps.sum()), len(gaps), audit.name, allow)
    people = np.where(gaps, judge, people)
    answers = Answers(unit, audit.name, query, row, chance, people, judge, label, ~gaps)
    golden, needed = _golden_put_in(about, pool, answers, card, allow)
    overrides += needed
    _fits(about, pool, answers)
    return replace(answers, golden=golden), tuple(overrides)


def correct(
    about: Frame,
    pool: Pool,
    found: PerQuery,
    answers: Answers,
    *,
    weights: Floats,
    level: float,
    minimum_nonzero: int,
) -> tuple[Corrected, Audit]:
    """The paired difference that people would have found, and what the audit says of the judge.

    weights: (k + 1,) of each rank, 0 = not shown.
    """
    weight = (weights[pool.treatment_rank] - weights[pool.control_rank])[answers.row]
    common: dict[str, Any] = {"strata": about.strata, "populations": about.populations, "level": level}
    common["minimum_nonzero"] = minimum_nonzero
    if answers.unit == "documents":
        done = corrected_documents(
            found.difference,
            query=answers.query,
            weight=weight,
            judge_gain=answers.judge,
            people_gain=answers.people,
            chance=answers.chance,
            **common,
        )
        audited = len(answers.row)
    else:
        people, groups = _whole(about, pool, found, answers, weight)
        done = corrected(found.difference, people, audit_strata=groups, **common)
        audited = len(set(answers.query.tolist()))
    notes = list(done.notes)
    if answers.gaps:
        notes.append(f"{answers.gaps} drawn pairs have no answer: they count as the judge graded them")
    if answers.golden:
        notes.append(
            f"{answers.golden:,} of {len(answers.row):,} audited pairs are of the golden set that the judge was checked on, "
            "about as many as a blind draw meets"
        )
    return done, Audit(
        answers.name,
        answers.unit,
        pool.size,
        audited,
        len(answers.row),
        done.lam,
        done.rho,
        done.bias,
        done.judge_only,
        done.people_only,
        tuple(notes),
    )


def _whole(about: Frame, pool: Pool, found: PerQuery, answers: Answers, weight: Floats) -> tuple[Floats, Names]:
    """People's difference of each query (NaN: not audited), and the part of the experiment that each was audited in.

    A query in which nothing moved has difference 0 whatever people say: it is known, in a part of its own.
    """
    moved = _moved(pool)
    people = np.where(moved, np.nan, 0.0)
    audited = np.unique(answers.query)
    people[audited] = np.bincount(answers.query, weight * answers.people, pool.size)[audited]
    people[audited] = np.where(np.abs(people[audited]) < 1e-12, 0.0, people[audited])
    groups = _groups(about, moved, answers)
    return people, np.where(moved, groups, "nothing moved")


def _groups(about: Frame, moved: NDArray[np.bool_], answers: Answers) -> Names:
    """The audit stratum of each query: its own stratum, or the one that was made of small ones.

    Raises: InputError where queries that moved are in a stratum that no part of the audit stands for.
    """
    labels, strata = set(answers.label.tolist()), set(about.strata.tolist())
    merged = sorted(labels - strata)
    lost = sorted({str(name) for name in about.strata[moved]} - labels)
    if lost and len(merged) != 1:
        raise InputError(
            f"no query of stratum {lost[0]!r} was audited, and its documents moved: draw the audit inside this experiment "
            "(germane sample --for audit, with the same design and runs)"
        )
    return np.array([name if name in labels else (merged[0] if merged else name) for name in about.strata], dtype=object)


def _fits(about: Frame, pool: Pool, answers: Answers) -> None:
    """Raises: InputError where the odds are not those of a draw inside this experiment."""
    hint = "was it drawn for these runs, this design and this depth (germane sample --for audit), with every pair kept?"
    if answers.unit == "documents":
        moved = int(pool.moved.sum())
        total = float((1 / answers.chance).sum())
        error = float(np.sqrt(((1 - answers.chance) / answers.chance**2).sum()))
        if abs(total - moved) > MISFIT * error + 1:
            raise InputError(f"by the audit's odds {total:,.0f} documents moved in this experiment, and {moved:,} did: {hint}")
        return
    is_moved = _moved(pool)
    groups = _groups(about, is_moved, answers)
    drawn = {int(q): float(c) for q, c in zip(answers.query, answers.chance, strict=True)}
    for name in sorted(set(answers.label.tolist())):
        members = np.flatnonzero((groups == name) & is_moved)
        inside = [q for q in members.tolist() if q in drawn]
        odds = [drawn[q] for q in inside]
        if not inside or not np.allclose(odds, len(inside) / len(members), rtol=1e-6):
            said = f"{min(odds):.6g}" if odds else "none"
            raise InputError(
                f"audit stratum {name!r} has {len(inside)} of {len(members)} queries that moved, and odds of {said}: "
                f"expected {len(inside) / max(len(members), 1):.6g}; {hint}"
            )
    counted = np.bincount(answers.query, minlength=pool.size)
    wanted = pool.per_query(pool.moved)
    short = [q for q in drawn if counted[q] < wanted[q]]
    if short:
        raise InputError(
            f"query {about.queries[short[0]].as_py()!r} was audited on {int(counted[short[0]])} of the {int(wanted[short[0]])} "
            f"documents that moved: {hint}"
        )


def _moved(pool: Pool) -> NDArray[np.bool_]:
    return np.asarray(pool.per_query(pool.moved) > 0)


def _located(about: Frame, pool: Pool, drawn: pa.Table) -> tuple[str, Ints, Ints, Floats, Names]:
    """(unit, query, pool row, chance, audit stratum) of each drawn pair, in the order of `drawn`.

    Raises: InputError for pairs that did not move in this experiment, odds outside (0, 1], and two units in one audit.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if missing := [name for name in COLUMNS if name not in drawn.column_names]:
        raise InputError(f"the audit's sample has no column {missing[0]!r}: pass what `germane sample --for audit` drew")
    if store.first_duplicate(drawn, ["query_id", "doc_id"]) is not None:
        raise InputError("the audit's sample holds a pair more than once: one row a pair is expected")
    units = drawn["unit"].unique().to_pylist()
    if len(units) != 1 or units[0] not in ("queries", "documents"):
        raise InputError(f"the audit's unit is {' and '.join(map(repr, units))}: expected queries or documents")
    all_drawn = drawn["drawn"].unique().to_pylist()
    if all_drawn != [drawn.num_rows]:
        raise InputError(
            f"the audit holds {drawn.num_rows} pairs, and {' or '.join(map(str, all_drawn))} were drawn: every pair counts, "
            "also those that nobody could judge; keep their rows, with an empty label"
        )
    chance = drawn["inclusion_probability"].to_numpy().astype(np.float64)
    if wrong := np.flatnonzero(~((chance > 0) & (chance <= 1))).tolist():
        raise InputError(f"audit, row {wrong[0] + 1}: inclusion probability {chance[wrong[0]]}: expected above 0 and up to 1")
    query = pc.index_in(drawn["query_id"], value_set=about.queries.cast(pa.string())).fill_null(-1).to_numpy().astype(np.int64)
    rows = np.flatnonzero(np.isin(pool.query, query) & pool.moved)
    ids = pool.docs.take(rows).to_pylist()
    place = {(int(q), str(d)): int(row) for q, d, row in zip(pool.query[rows], ids, rows, strict=True)}
    found = np.array(
        [place.get((int(q), str(d)), -1) for q, d in zip(query, drawn["doc_id"].to_pylist(), strict=True)], dtype=np.int64
    )
    if outside := np.flatnonzero(found < 0).tolist():
        first = {c: drawn[c][outside[0]].as_py() for c in ("query_id", "doc_id")}
        raise InputError(
            f"{len(outside)} of {len(found)} audited pairs are not among the documents that moved in this experiment, first "
            f"query {first['query_id']!r} document {first['doc_id']!r}: an audit is drawn inside it (germane sample --for "
            "audit); golden pairs are no audit"
        )
    return str(units[0]), query, found, chance, np.array(drawn["audit_stratum"].to_pylist(), dtype=object)


_GOLDEN = (
    "the golden set that the judge was checked on: golden pairs are partly chosen, and teach prompts and calibration. Draw an "
    "audit inside this experiment (germane sample --for audit)."
)


def _by_people_and_not_golden(said: pa.Table, card: JudgeCard | None, allow: frozenset[str]) -> list[str]:
    rows = said.group_by(["judge", "fingerprint"]).aggregate([]).to_pylist()
    for row in rows:
        if not cards.is_human(row["judge"] or "", row["fingerprint"] or ""):
            raise InputError(f"the audit holds answers of {row['judge']!r}: an audit is judged by people, named human:NAME")
    guides = sorted({str(g) for g in said["guide_version"].unique().to_pylist() if g})
    overrides = []
    if len(guides) > 1:
        message = (
            f"The audit was judged under {len(guides)} guide versions ({', '.join(guides)}): these are different questions."
        )
        overrides += _insist("mixed-guides", message, allow)
    if card is not None and card.gold_digest and card.gold_digest == cards.digest(said):
        overrides += _insist("golden-audit", f"The audit is {_GOLDEN}", allow)
    return overrides


def _golden_put_in(
    about: Frame, pool: Pool, answers: Answers, card: JudgeCard | None, allow: frozenset[str]
) -> tuple[int, list[str]]:
    """Golden pairs in the audit, and overrides needed because they are more than its odds would draw of those that moved here.

    A unit (a query, or a document of one) counts once. Raises: Refusal `--allow golden-audit`.
    """
    known = frozenset(card.gold_pairs if card else ())

    def golden(rows: Ints) -> NDArray[np.bool_]:
        queries = about.queries.take(pool.query[rows]).to_pylist()
        keys = map(cards.pair_key, queries, pool.docs.take(rows).to_pylist())
        return np.fromiter((key in known for key in keys), dtype=bool, count=len(rows))

    if not known or not (mine := golden(answers.row)).any():
        return 0, []
    moved = np.flatnonzero(pool.moved)
    there = moved[golden(moved)]
    unit = answers.query if answers.unit == "queries" else np.arange(len(mine))
    count = len(np.unique(pool.query[there])) if answers.unit == "queries" else len(there)
    first = np.unique(unit[mine], return_index=True)[1]
    chance = answers.chance[mine][first]
    by_odds, se = float((1 / chance).sum()), float(np.sqrt(((1 - chance) / chance**2).sum()))
    if by_odds - count <= GOLDEN_MISFIT * max(se, 1.0):
        return int(mine.sum()), []
    message = (
        f"{int(mine.sum()):,} of {len(mine):,} pairs of the audit are of {_GOLDEN} By the audit's odds {by_odds:,.0f} "
        f"{answers.unit} here would be golden, and {count:,} are: they were put in."
    )
    return int(mine.sum()), _insist("golden-audit", message, allow)


def _one_guide(said: pa.Table, kinds: pa.Table, allow: frozenset[str]) -> list[str]:
    """Overrides needed because people and judge were shown different guides. Raises: Refusal `--allow mixed-guides`."""
    people, judge = ({str(g) for g in table["guide_version"].unique().to_pylist() if g} for table in (said, kinds))
    if not people or not judge or people & judge:
        return []
    message = (
        f"The audit was judged under guide {sorted(people)[0]}, the experiment under {sorted(judge)[0]}: different questions."
    )
    return _insist("mixed-guides", message, allow)


def _insist(key: str, message: str, allow: frozenset[str]) -> list[str]:
    if key not in allow:
        raise Refusal(message, f"--allow {key}")
    return [f"--allow {key}: {message}"]


def _gaps(gaps: int, drawn: int, name: str, allow: frozenset[str]) -> list[str]:
    if gaps <= GAPS * drawn:
        return []
    message = (
        f"{gaps} of {drawn} drawn pairs have no answer in {name}; they count as the judge graded them: its errors hide there."
    )
    return _insist("audit-gaps", message, allow)


def _gains_of(said: pa.Table, gain_of: Floats) -> dict[tuple[str, str], float]:
    """(query, document) -> the mean gain over its raters; each counts once."""
    sums: dict[tuple[str, str], dict[str, float]] = {}
    columns: Sequence[list[Any]] = [said[name].to_pylist() for name in ("query_id", "doc_id", "judge", "relevance")]
    for query, doc, judge, relevance in zip(*columns, strict=True):
        if relevance is None:
            continue
        mine = sums.setdefault((str(query), str(doc)), {})
        gain = float(gain_of[relevance])
        if mine.setdefault(str(judge), gain) != gain:
            raise InputError(f"{judge} gave query {query!r} document {doc!r} two different grades in the audit: keep one")
    return {pair: sum(gains.values()) / len(gains) for pair, gains in sums.items()}
