"""Gold: who judged it, several raters' votes to one grade, its parts, and the judge's answers beside it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from germane.cards.admission import distinct, is_human, named, same_scale
from germane.stats.calibration import SUM
from germane.store import Column
from germane.types import InputError, Outcome, Scale

if TYPE_CHECKING:
    import pyarrow as pa

Rule = Literal["majority", "median"]
EXTRA = (
    Column("inclusion_probability", "float64", "chance of the pair to be drawn, empty where it was chosen", nullable=True),
    Column("part", "string", "targeted, or anything else for the random part", nullable=True),
)
"""What gold may have besides a judgment's columns."""


class Pairs(NamedTuple):
    """Gold pairs in order of their ids, the random part and the targeted one.

    gold, other: (n,) grades of people and judge, -1 = no answer. probs: (n, grades), NaN where the judge gave none, or
    None. query: (n,) number of the query in `query_ids`. weight: (n,) 1 / inclusion probability, or None. targeted: (n,).
    """

    gold: NDArray[np.int64]
    other: NDArray[np.int64]
    probs: NDArray[np.float64] | None
    query: NDArray[np.int64]
    query_ids: NDArray[np.object_]
    doc_ids: NDArray[np.object_]
    weight: NDArray[np.float64] | None
    targeted: NDArray[np.bool_]
    outcomes: dict[str, int]
    caveats: list[str]


def digest(gold: pa.Table) -> str:
    """64 hex digits of who got which grade: sha256 over the sorted (query_id, doc_id, relevance) of a table of judgments.

    Row order, judges and notes do not matter; two tables with the same digest hold the same labels.

    >>> import pyarrow as pa
    >>> digest(pa.table({"query_id": ["q"], "doc_id": ["d"], "relevance": [1]}))[:8]
    '00390af5'
    """
    columns = (gold[name].to_pylist() for name in ("query_id", "doc_id", "relevance"))
    rows = sorted(json.dumps([str(q), str(d), r], ensure_ascii=False) for q, d, r in zip(*columns, strict=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def pair_keys(table: pa.Table) -> tuple[str, ...]:
    """12 hex digits of each pair by its ids, sorted, each once: to find a golden pair elsewhere without telling which it is.

    >>> import pyarrow as pa
    >>> pair_keys(pa.table({"query_id": ["q", "q"], "doc_id": ["d", "d"]}))
    ('290280115e3a',)
    """
    return tuple(sorted(set(map(pair_key, table["query_id"].to_pylist(), table["doc_id"].to_pylist()))))


def pair_key(query_id: object, doc_id: object) -> str:
    """12 hex digits of a pair by its ids."""
    return hashlib.sha256(json.dumps([str(query_id), str(doc_id)], ensure_ascii=False).encode()).hexdigest()[:12]


def adjudicate(gold: pa.Table, rule: Rule | None) -> tuple[pa.Table, pa.Table | None, list[str]]:
    """Gold with one row a pair; the same with the ties (of grade 0), None where no pair has several raters; what is to be said.

    majority: the grade that more than half of a pair's raters gave, those without an answer counted. median: the middle
    answer; of an even number, the middle two must be one grade. A pair without such a grade is a tie and is left out.

    Raises: InputError for several raters without a rule, a rule that does not exist, and a rater who judged a pair twice.
    """
    from germane import store

    if rule is not None and rule not in get_args(Rule):
        raise InputError(f"adjudicate {rule!r}: expected majority or median")
    with store.database(gold=gold) as query:
        twice = once(query, "gold", "judge")
        if twice:
            raise InputError(f"gold: {twice['judge']!r} judged {_pair(twice)} more than once: keep one answer of each rater")
        twice = once(query, "gold")
        if twice and rule is None:
            raise InputError(
                f"gold has more than one judgment of {_pair(twice)}: say how several raters make one grade, with "
                "--adjudicate majority or --adjudicate median"
            )
        if not twice:
            return gold, None, []
        said = "any_value(relevance) FILTER (WHERE 2 * votes > raters)"
        middle = "CASE WHEN middle[(len(middle) + 1) // 2] = middle[len(middle) // 2 + 1] THEN middle[len(middle) // 2 + 1] END"
        extra = [column.name for column in EXTRA if column.name in gold.column_names]
        kept = "".join(f", any_value({name}) AS {name}" for name in extra)
        sql = f"""
            WITH votes AS (
                SELECT query_id, doc_id, relevance, count(*) AS votes,
                       sum(count(*)) OVER (PARTITION BY query_id, doc_id) AS raters
                FROM gold GROUP BY query_id, doc_id, relevance
            ), majority AS (SELECT query_id, doc_id, {said} AS relevance FROM votes GROUP BY query_id, doc_id
            ), sorted AS (
                SELECT query_id, doc_id, list_sort(list(relevance) FILTER (WHERE relevance IS NOT NULL)) AS middle
                FROM gold GROUP BY query_id, doc_id
            ), median AS (SELECT query_id, doc_id, {middle} AS relevance FROM sorted
            ), rest AS (
                SELECT query_id, doc_id, count(*) AS raters, count(relevance) AS answers{kept} FROM gold
                GROUP BY query_id, doc_id
            )
            SELECT * FROM rest JOIN {rule} USING (query_id, doc_id)
        """
        made = query(sql)
    tied = made["relevance"].is_null().to_numpy() & (made["answers"].to_numpy() > 0)
    raters = len(distinct(gold, "judge"))
    several = int((made["raters"].to_numpy() > 1).sum())
    how = "the grade of more than half of the raters" if rule == "majority" else "the middle grade of the raters"
    said = f"gold is {how}: {several:,} of {made.num_rows:,} pairs have several, of {raters} raters in all"
    notes = [f"{said}; {int(tied.sum()):,} ties were left out, which flatters"]
    filled: Any = made["relevance"]
    place = made.column_names.index("relevance")
    everyone = made.set_column(place, "relevance", filled.fill_null(0))
    return made.filter(~tied), everyone, notes


def who(gold: pa.Table, judgments: pa.Table, scale: Scale) -> tuple[str, str, str, list[str]]:
    """Judge, fingerprint, guide version and caveats, after checking that the two tables may be compared.

    Raises: InputError for an empty table, gold that is not by people, several judges or guide versions, another scale,
    and a machine without a fingerprint.
    """
    for label, table in (("gold", gold), ("judgments", judgments)):
        if table.num_rows == 0:
            raise InputError(f"the {label} table is empty: there is nothing to check with")
        same_scale(table, scale)
    for judge, fingerprint in distinct(gold, "judge", "fingerprint"):
        if not is_human(judge, fingerprint):
            raise InputError(f"gold holds judgments of {named(judge, fingerprint)}: a card is against people, named human:NAME")
    judges, guides = distinct(judgments, "judge", "fingerprint"), distinct(judgments, "guide_version")
    gold_guides = distinct(gold, "guide_version")
    if len(judges) > 1:
        raise InputError(
            f"the judgments are of {len(judges)} judges ({', '.join(named(*who) for who in judges[:4])}): check one"
        )
    for label, found in (("gold", gold_guides), ("judgments", guides)):
        if len(found) > 1:
            names = ", ".join(repr(guide) for (guide,) in found[:4])
            raise InputError(f"the {label} table was made under {len(found)} guide versions ({names}): check one at a time")
    (judge, fingerprint), ((guide,),) = judges[0], guides
    if not fingerprint and not is_human(judge, fingerprint):
        raise InputError(
            f"judgments of {judge!r} have no fingerprint, so that no card could be this judge's own: say in a column "
            "fingerprint which model, prompt and guide made them"
        )
    asked, caveats = gold_guides[0][0], []
    if asked and guide and asked != guide:
        raise InputError(f"people judged under guide {asked!r} and the judge under {guide!r}: their answers cannot be compared")
    if asked != guide or not guide:
        silent = "gold does not" if guide else "the judgments do not"
        caveats.append(f"{silent} name a guide version: people and judge may have been asked different things")
    return judge, fingerprint, guide, caveats


def joined(gold: pa.Table, judgments: pa.Table, design: pa.Table | None, grades: int) -> Pairs:
    """Gold, one row a pair, with the judge's answers.

    Raises: InputError for a pair that the judge answered twice, a chance outside 0 and 1, and where no pair can be used.
    """
    from germane import store

    tables = {"gold": gold, "judgments": judgments} | ({} if design is None else {"design": design})
    own = "inclusion_probability" in gold.column_names
    chance = "gold.inclusion_probability" if own else "design.inclusion_probability" if design is not None else "1.0"
    part = "coalesce(gold.part, '') = 'targeted'" if "part" in gold.column_names else "false"
    targeted = f"({part} OR gold.inclusion_probability IS NULL)" if own else part
    outside = "(design.query_id IS NULL)" if design is not None else "false"
    probs = "judgments.probs" if "probs" in judgments.column_names else "NULL"
    sql = f"""
        SELECT gold.query_id, gold.doc_id, gold.relevance AS gold, judgments.relevance AS other, {chance} AS chance,
               {targeted} AS targeted, {outside} AND NOT {targeted} AS outside, {probs} AS probs,
               CASE WHEN judgments.query_id IS NULL THEN 'missing' ELSE judgments.outcome END AS outcome
        FROM gold LEFT JOIN judgments USING (query_id, doc_id)
        {"LEFT JOIN design ON design.query_id = gold.query_id" if design is not None else ""}
        ORDER BY gold.query_id, gold.doc_id
    """
    with store.database(**tables) as query:
        if twice := once(query, "judgments"):
            raise InputError(f"judgments has more than one judgment of {_pair(twice)}: one of each pair is needed")
        rows = query(sql)
    caveats = []
    for there, what in (
        (rows["gold"].is_valid().to_numpy(), "have no grade from people"),
        (~rows["outside"].to_numpy(), "are of queries outside the design, chosen by hand"),
    ):
        if left := len(there) - int(there.sum()):
            caveats.append(f"{left:,} gold pairs {what}: they were left out")
    rows = rows.filter(rows["gold"].is_valid().to_numpy() & ~rows["outside"].to_numpy())
    if rows.num_rows == 0:
        raise InputError(f"no gold pair can be used: {'; '.join(caveats)}")
    if design is None and not own:
        caveats.append("no design was given: gold's queries count as a simple random sample")
    apart = rows["targeted"].to_numpy()
    weight = None if design is None and not own else _weights(rows["chance"].to_numpy(), apart)
    outcomes = Counter(rows["outcome"].to_pylist())
    order = [*(str(outcome) for outcome in Outcome), "missing"]
    answer = rows["other"].to_numpy().astype(np.float64)  # null is NaN
    query_ids, code = np.unique(rows["query_id"].to_numpy(), return_inverse=True)  # numbers once, not strings everywhere
    return Pairs(
        rows["gold"].to_numpy().astype(np.int64),
        np.where(np.isnan(answer), -1, answer).astype(np.int64),
        probabilities(rows, grades) if "probs" in judgments.column_names else None,
        code,
        query_ids,
        rows["doc_id"].to_numpy(),
        weight,
        apart,
        {name: outcomes[name] for name in order if name in outcomes},
        caveats,
    )


def once(query: Callable[[str], pa.Table], name: str, *more: str) -> dict[str, Any] | None:
    """The first pair that stands more than once in the table of this name, by these further columns; None if none does."""
    columns = ", ".join(("query_id", "doc_id", *more))
    found = query(f"SELECT {columns} FROM {name} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1").to_pylist()
    return found[0] if found else None


def _pair(row: dict[str, Any]) -> str:
    return f"query {row['query_id']!r}, document {row['doc_id']!r}"


def _weights(chance: NDArray[Any], targeted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """1 / inclusion probability; 1 for targeted pairs, which have none. Raises: InputError for one that is no probability."""
    p = np.where(targeted, 1.0, chance.astype(np.float64))
    if not ((p > 0) & (p <= 1)).all():
        row = int(np.flatnonzero(~((p > 0) & (p <= 1)))[0])
        raise InputError(
            f"gold has inclusion probability {p[row]:g}: expected above 0 and up to 1, or nothing for a pair that was chosen"
        )
    return 1 / p


def probabilities(rows: pa.Table, grades: int) -> NDArray[np.float64]:
    """(n, grades) the column probs, NaN where there are none. Raises: InputError naming a pair whose probabilities are none."""
    found = np.full((rows.num_rows, grades), np.nan)
    for at, probs in enumerate(rows["probs"].to_pylist()):
        if probs is None:
            continue
        if len(probs) != grades or any(p is None for p in probs):
            pair = _pair({name: rows[name][at].as_py() for name in ("query_id", "doc_id")})
            raise InputError(f"judgments give {len(probs)} probabilities for {pair}: expected {grades}, one a grade")
        found[at] = probs
    given = ~np.isnan(found).any(1)
    off = given & ((found < 0).any(1) | (abs(found.sum(1) - 1) > SUM))
    if off.any():
        at = int(np.flatnonzero(off)[0])
        pair = _pair({name: rows[name][at].as_py() for name in ("query_id", "doc_id")})
        said = [round(p, 4) for p in found[at].tolist()]
        raise InputError(f"judgments give the probabilities {said} for {pair}: expected none below 0, and a sum of 1")
    return found
