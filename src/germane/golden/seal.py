"""Freezing a golden set: one grade a pair by the rule, dev and test apart by query, and what must be settled before."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.chance import keys, uniform
from germane.golden.rules import RULES, Settled, State, settle
from germane.golden.votes import CONTROL, Votes
from germane.text import query_digest
from germane.types import InputError, Outcome, Refusal, Scale, Vote

if TYPE_CHECKING:
    import pyarrow as pa

DEV, TEST = "dev", "test"
SALT, SALT_STRATA, SALT_START = 0x7365616C, 0x73747261, 0x73747274  # "seal", "stra", "strt"
JUDGE = "human:golden"
PROBLEMS = {State.DISPUTED: "still need an adjudicator", State.OPEN: "have fewer votes than asked for"}


class Frozen(NamedTuple):
    """A golden set, ready to be written. labels: judgments with inclusion_probability, part and split; facts: for the seal."""

    labels: pa.Table
    facts: dict[str, Any]
    notes: tuple[str, ...]


def freeze(
    votes: Votes,
    scale: Scale,
    *,
    pairs: pa.Table | None = None,
    rule: str = "majority",
    raters: int = 2,
    test: float = 0.5,
    seed: int,
    leave_out: bool = False,
) -> Frozen:
    """One grade a pair, and each query in dev or test: by chance inside its stratum, the same for the same seed.

    pairs: with the queries' text (those of the same words go to the same part), strata, odds and part. raters: votes that a
    pair needs. test: the share of the queries. leave_out: pairs without a settled grade are left out, and counted.
    Raises: InputError for votes under several guide versions, and pairs that the votes lack; Refusal `--leave-out` for pairs
    that are disputed or have too few votes.
    """
    if rule not in RULES:
        raise InputError(f"rule {rule!r}: expected one of {', '.join(RULES)}")
    if not 0 < test < 1:
        raise InputError(f"--test {test:g}: expected the share of the queries that are the test, above 0 and under 1")
    now = votes.standing()
    now = now.take(np.flatnonzero(now.kind != CONTROL))
    guide = _one_guide(now)
    settled = _settled(now, rule, raters, scale)
    left = Counter(each.state for each in settled.values())
    if (unsettled := {state: left[state] for state in PROBLEMS if left[state]}) and not leave_out:
        first = next(pair for pair, each in settled.items() if each.state in unsettled)
        what = " and ".join(f"{count:,} pairs {PROBLEMS[state]}" for state, count in unsettled.items())
        raise Refusal(
            f"{what}, the first is query {first[0]!r}, document {first[1]!r}. Settle them, and seal then.", "--leave-out"
        )
    kept = {pair: each for pair, each in settled.items() if each.state in (State.GRADED, State.CANNOT_JUDGE)}
    if not kept:
        raise InputError("no pair has a settled grade: there is nothing to seal")
    about = _about(now, pairs)
    part = _parts(kept, about, test, seed)
    notes = [f"left out: {count:,} pairs that {PROBLEMS[state]}" for state, count in unsettled.items()]
    if guide and guide != scale.version:
        notes.append(f"the votes were made under guide version {guide}, and scale {scale.name!r} now has {scale.version}")
    facts = _facts(kept, part, scale, guide, rule, raters, test, seed, {str(s): n for s, n in unsettled.items()})
    return Frozen(_table(kept, part, about, scale, guide), facts, tuple(notes))


def _one_guide(now: Votes) -> str:
    used = [now.guides[number] for number in np.unique(now.guide).tolist()]
    if len(used) > 1:
        named = ", ".join(repr(guide or "not said") for guide in sorted(used))
        raise InputError(
            f"the votes were made under {len(used)} guide versions ({named}): a golden set has one; judge the others again "
            "(germane guide impact), or seal those of one version"
        )
    return used[0] if used else ""


def _settled(now: Votes, rule: str, raters: int, scale: Scale) -> dict[tuple[str, str], Settled]:
    of: dict[tuple[str, str], list[Vote]] = {}
    for vote in now.rows():
        of.setdefault((vote.query_id, vote.doc_id), []).append(vote)
    return {pair: settle(of[pair], raters, rule, scale) for pair in sorted(of)}


class About(NamedTuple):
    """What is known of a pair besides votes. chance: None where it was chosen, or nothing is known."""

    query: str
    stratum: str
    chance: float | None
    part: str


def _about(now: Votes, pairs: pa.Table | None) -> dict[tuple[str, str], About]:
    names = zip(*(now.pairs[i][now.pair].tolist() for i in (0, 1)), strict=True)
    found = {pair: About("", now.strata[s], None, "") for pair, s in zip(names, now.stratum.tolist(), strict=True)}
    if pairs is None:
        return found
    columns = ("query", "stratum", "inclusion_probability", "part")
    given = [pairs[c].to_pylist() if c in pairs.column_names else [None] * pairs.num_rows for c in columns]
    ids = zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)
    known = {(str(q), str(d)): row for (q, d), row in zip(ids, zip(*given, strict=True), strict=True)}
    if missing := [pair for pair in found if pair not in known]:
        raise InputError(
            f"{len(missing):,} judged pairs are not in the pairs, such as query {missing[0][0]!r}, document {missing[0][1]!r}: "
            "give the pairs that people judged"
        )
    for pair, before in found.items():
        query, stratum, chance, part = known[pair]
        drawn = None if part == "targeted" or chance is None else float(chance)
        found[pair] = About(str(query or ""), str(stratum or before.stratum), drawn, str(part or ""))
    return found


def _parts(kept: dict[tuple[str, str], Settled], about: dict[tuple[str, str], About], test: float, seed: int) -> dict[str, str]:
    """dev or test of each query id; queries of the same words are one, and of each stratum the share that was asked for.

    Strata and the queries in them stand in random order, and a systematic draw with a random start goes through all of them:
    every query is in the test with chance `test`, whatever the size of its stratum, which gets its share to within one query.
    """
    group = {query: query_digest(text) if (text := about[query, doc].query) else query for query, doc in kept}
    stratum: dict[str, str] = {}
    for query, doc in kept:
        name = about[query, doc].stratum.split(" / rank ")[0]  # the query's part of the stratum
        stratum[group[query]] = min(stratum.get(group[query], name), name)
    names = sorted(stratum)
    if len(names) < 2:
        raise InputError("all pairs are of one query: dev and test need different ones, at least two")
    number = dict(zip(names, uniform(seed, SALT, keys(names)).tolist(), strict=True))
    strata = sorted(set(stratum.values()))
    place = dict(zip(strata, uniform(seed, SALT_STRATA, keys(strata)).tolist(), strict=True))
    order = sorted(names, key=lambda name: (place[stratum[name]], stratum[name], number[name]))
    (start,) = uniform(seed, SALT_START, keys(["start"])).tolist()
    cuts = np.floor(start + test * np.arange(len(order) + 1))
    taken = {name: bool(cuts[i + 1] > cuts[i]) for i, name in enumerate(order)}
    if len(set(taken.values())) < 2:
        taken[order[0]] = not taken[order[0]]
    return {query: TEST if taken[name] else DEV for query, name in group.items()}


def _table(
    kept: dict[tuple[str, str], Settled], part: dict[str, str], about: dict[tuple[str, str], About], scale: Scale, guide: str
) -> pa.Table:
    import pyarrow as pa

    n = len(kept)
    rows = list(kept.items())
    facts = [about[pair] for pair, _ in rows]
    columns: dict[str, Any] = {
        "query_id": pa.array([pair[0] for pair, _ in rows], pa.string()),
        "doc_id": pa.array([pair[1] for pair, _ in rows], pa.string()),
        "relevance": pa.array([each.relevance for _, each in rows], pa.int16()),
        "judge": pa.repeat(JUDGE, n),
        "fingerprint": pa.repeat("", n),
        "scale": pa.repeat(scale.name, n),
        "guide_version": pa.repeat(guide, n),
        "outcome": pa.array([str(Outcome.ABSTAINED if e.relevance is None else Outcome.LABEL) for _, e in rows], pa.string()),
        "note": pa.array([f"{e.how}: {e.note}" if e.note else e.how for _, e in rows], pa.string()),
        "split": pa.array([part[pair[0]] for pair, _ in rows], pa.string()),
    }
    if any(fact.part or fact.chance is not None for fact in facts):
        columns["inclusion_probability"] = pa.array([fact.chance for fact in facts], pa.float64())
        columns["part"] = pa.array([fact.part or "random" for fact in facts], pa.string())
    return pa.table(columns)


def _facts(
    kept: dict[tuple[str, str], Settled],
    part: dict[str, str],
    scale: Scale,
    guide: str,
    rule: str,
    raters: int,
    test: float,
    seed: int,
    left_out: dict[str, int],
) -> dict[str, Any]:
    how = Counter(each.how for each in kept.values())
    grades = Counter(each.relevance for each in kept.values())
    split = {name: [query for query, of in part.items() if of == name] for name in (DEV, TEST)}
    return {
        "scale": scale.name,
        "labels": list(scale.labels),
        "guide_version": guide,
        "rule": rule,
        "raters": raters,
        "seed": seed,
        "test": test,
        "queries": {name: len(queries) for name, queries in split.items()},
        "pairs": {name: sum(part[query] == name for query, _ in kept) for name in (DEV, TEST)},
        "settled": dict(how),
        "grades": {"cannot judge" if g is None else scale.labels[g]: n for g, n in sorted(grades.items(), key=_grade)},
        "left_out": left_out,
    }


def _grade(item: tuple[int | None, int]) -> int:
    return -1 if item[0] is None else item[0]
