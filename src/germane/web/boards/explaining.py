"""Why did this pair get this grade? The text as judged, what the judge said, on which days, what others and people said."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from germane import sources, store
from germane.registry import of_pairs
from germane.registry.database import Registry
from germane.text.normal import normal_form
from germane.types import InputError
from germane.watching import files
from germane.web.boards.finding import SECONDS, WHY, WINDOW, Window, cleaned, days_of, outcome_of, until_of, window_of
from germane.web.boards.lists import Condition, Row, beside, reading, shown
from germane.web.boards.places import Place

TOGETHER = 30  # days that are read at once
PARTS = 64
"""Parts of the judgment store that are looked through unless all are asked for, the latest."""

_OF_LABEL = (
    *("relevance", "outcome", "probs", "judge", "fingerprint", "scale", "guide_version", "note"),
    *("self_agreement", "entropy", "cost"),
)


@dataclass(frozen=True)
class Chance:
    """The probability that the judge gave to a grade."""

    grade: str
    probability: float


@dataclass(frozen=True)
class Showing:
    """A day on which the pair was shown: at which rank, and that day's label. changed: another than the one before."""

    date: str
    rank: int
    relevance: int | None
    grade: str
    outcome: str
    judge: str
    fingerprint: str
    guide_version: str
    changed: bool


@dataclass(frozen=True)
class DatedAnswer:
    """What the judge said of the pair as an anchor, asked that day past the store. changed: another than the day before."""

    date: str
    relevance: int | None
    grade: str
    outcome: str
    fingerprint: str
    changed: bool


@dataclass(frozen=True)
class StoredLabel:
    """A label of the same texts in the judgment store, by this judge or another."""

    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    relevance: int | None
    grade: str
    outcome: str
    note: str


@dataclass(frozen=True)
class PersonsVote:
    """What a person said of the pair; a number stands in place of the name. stands: neither changed nor withdrawn since."""

    task: str
    kind: str
    rater: str
    relevance: int | None
    grade: str
    guide_version: str
    at: str
    reason: str
    note: str
    withdrawn: bool
    stands: bool


@dataclass(frozen=True)
class ExplainedPair:
    """A pair and all that is known of its grade. text: of the document as the judge read it, null where it has none.

    date: of the label that is shown, the last one. why: there is no grade. chances: of each grade, worst first, where the judge
    says them. first, last: the days that were looked through. known: the label was in the store before that day.
    """

    query_id: str
    query: str
    doc_id: str
    text: str | None
    date: str
    relevance: int | None
    grade: str
    outcome: str
    why: str
    judge: str
    fingerprint: str
    scale: str
    guide_version: str
    known: bool | None
    note: str
    self_agreement: float | None
    entropy: float | None
    cost: float | None
    chances: list[Chance]
    first: str
    last: str
    showings: list[Showing]
    anchors: list[DatedAnswer]
    stored: list[StoredLabel]
    votes: list[PersonsVote]
    tasks: list[str]
    notes: list[str]


def explained(registry: Registry, place: Place, asked: Mapping[str, str], *, names: bool = True) -> ExplainedPair:
    """One pair. asked: query (text or id), doc, days, until, store ("all": every part of it). names: what people wrote besides
    their grade may be shown, in which names may stand.

    Raises: InputError for a pair that is not in the days that were looked through, nor among the anchors.
    """
    query, doc = cleaned(asked.get("query", ""), "query"), cleaned(asked.get("doc", ""), "doc")
    if not (query and doc):
        raise InputError("name a pair: its query (text or id) and its document's id")
    notes: list[str] = []
    seen = _seen(registry, place, asked, (query, doc), notes)
    label = seen.label
    scale = str(label.get("scale") or seen.scale)
    grade = partial(place.grade, scale)
    outcome = outcome_of(place, seen.date if seen.rows else "", label, seen.text is not None)
    people = of_pairs.peoples_pairs(registry, seen.query, seen.query_id, doc)
    stored = [] if seen.text is None else _stored(place, seen.query, seen.text, asked.get("store", ""), notes)
    return ExplainedPair(
        query_id=seen.query_id,
        query=seen.query,
        doc_id=doc,
        text=seen.text,
        date=seen.date,
        relevance=label.get("relevance"),
        grade=grade(label.get("relevance")),
        outcome=outcome,
        why=WHY.get(outcome, outcome),
        judge=str(label.get("judge") or ""),
        fingerprint=str(label.get("fingerprint") or ""),
        scale=scale,
        guide_version=str(label.get("guide_version") or ""),
        known=seen.known,
        note=str(label.get("note") or ""),
        self_agreement=label.get("self_agreement"),
        entropy=label.get("entropy"),
        cost=label.get("cost"),
        chances=[Chance(grade(i), round(float(p), 6)) for i, p in enumerate(label.get("probs") or ())],
        first=seen.first,
        last=seen.last,
        showings=_showings(seen.rows, seen.labels, grade),
        anchors=_answers(seen.answers, grade),
        stored=stored,
        votes=_votes(registry, people, names=names),
        tasks=[_task(pair) for _, pair in people],
        notes=notes,
    )


class _Seen(NamedTuple):
    """Where a pair was seen: on days (rows), as an anchor (answers). label, text, date: of the last of them."""

    query_id: str
    query: str
    text: str | None
    date: str
    label: Mapping[str, Any]
    scale: str
    known: bool | None
    first: str
    last: str
    rows: Sequence[Row]
    labels: Mapping[Any, Mapping[str, Any]]
    answers: Sequence[of_pairs.DatedAnswer]


def _seen(registry: Registry, place: Place, asked: Mapping[str, str], pair: tuple[str, str], notes: list[str]) -> _Seen:
    """Where a pair was seen. Raises: InputError for one that was not."""
    query, doc = pair
    window = window_of(registry, place, days_of(asked.get("days", ""), WINDOW), until_of(asked), notes)
    with reading() as db:
        rows, first = _shown_on(db, place, window, query, doc, notes)
        labels = beside(db, place, rows, files.LABELS, _OF_LABEL, notes)
        read = beside(db, place, rows[:1], files.PAIRS, ("text", "known"), notes)
    words = rows[0].query if rows else query
    same = _anchors_of(place, query, words, doc, notes)
    ids = [(row.query_id, doc) for row in rows] + [(str(anchor["query_id"]), doc) for anchor in same] + [(query, doc)]
    answers = of_pairs.dated_answers(registry, list(dict.fromkeys(ids)), window.first, window.last) if window.first else []
    if rows:
        row, mine = rows[0], read.get(rows[0].key, {})
        of_row = (mine.get("text"), row.date, labels.get(row.key, {}), window.scales.get(row.date, ""), mine.get("known"))
        return _Seen(row.query_id, row.query, *of_row, first, window.last, rows, labels, answers)
    if not same and not answers:
        raise InputError(_unknown(query, doc, window))
    named = (str(same[0]["query_id"]), str(same[0]["query"])) if same else (answers[0].query_id, query)
    text, date = str(same[0]["text"]) if same else None, answers[-1].date if answers else ""
    label, scale = _anchored(place, answers, notes), window.scales.get(date, "")
    return _Seen(named[0], named[1], text, date, label, scale, None, first, window.last, (), {}, answers)


def _shown_on(db: Any, place: Place, window: Window, query: str, doc: str, notes: list[str]) -> tuple[list[Row], str]:
    """The pair on each day on which it was shown, the last day first, and the first day that was looked at."""
    asked = Condition(values={"query": query, "normal": normal_form(query), "doc": doc}, by_day=True)
    asked.of_lists += ["(s.query_id = $query OR s.query = $normal)", "list_contains(s.shown, $doc)"]
    asked.of_rows.append("r.doc_id = $doc")
    rows: list[Row] = []
    began, first = time.monotonic(), window.first
    for read, some in shown(db, place, window.days, asked, notes, each=TOGETHER):
        rows += [row for row in some if row.query_id == (rows or some)[0].query_id]
        if read < len(window.days) and time.monotonic() - began > SECONDS:
            notes.append(
                f"{read:,} of {len(window.days):,} days were looked through, then the time was up: choose an earlier day"
            )
            first = window.days[read - 1]
            break
    return rows, first


def _unknown(query: str, doc: str, window: Window) -> str:
    pair = f"document {doc[:80]!r} was not shown for query {query[:80]!r}"
    if not window.first:
        return f"{pair}: no day is in the history yet"
    return f"{pair} from {window.first} to {window.last}, and is no anchor: look further back with days=1100"


# --- anchors -----------------------------------------------------------------------------------------------------------


def _anchors_of(place: Place, query: str, words: str, doc: str, notes: list[str]) -> list[dict[str, Any]]:
    """The anchors that are this pair, by the query's id or its words."""
    if place.anchors is None or not place.anchors.is_file():
        return []
    try:
        table = _anchor_table(str(place.anchors), place.anchors.stat().st_mtime_ns)
    except InputError as problem:
        notes.append(f"the anchors cannot be read: {problem}")
        return []
    wanted = normal_form(words)
    return [a for a in table if a["doc_id"] == doc and (a["query_id"] == query or normal_form(str(a["query"])) == wanted)]


@lru_cache(maxsize=4)
def _anchor_table(path: str, changed: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = sources.read_pairs(Path(path)).select(["query_id", "query", "doc_id", "text"]).to_pylist()
    return rows


def _anchored(place: Place, answers: Sequence[of_pairs.DatedAnswer], notes: list[str]) -> dict[str, Any]:
    """The whole answer to an anchor that no day showed: the last one, from the file of its day."""
    from germane.watching.job import ANCHORS

    if not answers:
        return {}
    last = answers[-1]
    row = Row(last.date, last.query_id, "", last.doc_id, 0)
    with reading() as db:
        found = beside(db, place, [row], ANCHORS, _OF_LABEL, notes)
    return found.get(row.key) or {"relevance": last.relevance, "outcome": last.outcome, "fingerprint": last.fingerprint}


def _answers(answers: Sequence[of_pairs.DatedAnswer], grade: Any) -> list[DatedAnswer]:
    made: list[DatedAnswer] = []
    for a in answers:
        changed = bool(made) and made[-1].relevance != a.relevance
        made.append(DatedAnswer(a.date, a.relevance, grade(a.relevance), a.outcome, a.fingerprint, changed))
    return made[::-1]


# --- labels ------------------------------------------------------------------------------------------------------------


def _showings(rows: Sequence[Row], labels: Mapping[Any, Mapping[str, Any]], grade: Any) -> list[Showing]:
    made: list[Showing] = []
    for row in reversed(rows):
        label = labels.get(row.key, {})
        relevance = label.get("relevance")
        outcome, judge, fingerprint, guide = (
            str(label.get(name) or "") for name in ("outcome", "judge", "fingerprint", "guide_version")
        )
        changed = bool(made) and made[-1].relevance != relevance
        said = (relevance, grade(relevance), outcome, judge, fingerprint, guide)
        made.append(Showing(row.date, row.rank, *said, changed))
    return made[::-1]


def _stored(place: Place, query: str, text: str, which: str, notes: list[str]) -> list[StoredLabel]:
    """The labels of these texts in the judgment store."""
    if not place.store.is_dir():
        return []
    try:
        said = store.JudgmentStore(place.store)
        table, read, parts = said.answers(query, text, newest=None if which == "all" else PARTS)
    except InputError as problem:
        notes.append(str(problem))
        return []
    if read < parts:
        notes.append(f"the latest {read:,} of {parts:,} parts of the judgment store were looked through: store=all reads all")
    return [
        StoredLabel(
            str(row["judge"]),
            str(row["fingerprint"]),
            str(row["scale"]),
            str(row["guide_version"]),
            row["relevance"],
            place.grade(str(row["scale"]), row["relevance"]),
            str(row["outcome"]),
            str(row["note"]),
        )
        for row in table.to_pylist()
    ]


# --- people ------------------------------------------------------------------------------------------------------------


def _votes(registry: Registry, people: Sequence[tuple[int, of_pairs.PeoplesPair]], *, names: bool) -> list[PersonsVote]:
    made = []
    for said in of_pairs.opinions(registry, [number for number, _ in people]) if people else ():
        free = (said.reason, said.note) if names else ("", "")
        at = said.at.strftime("%Y-%m-%d %H:%M UTC")
        who = (said.task, said.kind, said.rater, said.relevance, said.grade, said.guide_version, at)
        made.append(PersonsVote(*who, *free, said.withdrawn, said.stands))
    return made


def _task(pair: of_pairs.PeoplesPair) -> str:
    state = "decided" if pair.decided else "to be adjudicated" if pair.disputed else "judged" if pair.filled else "open"
    return f"{pair.task}: {state}"
