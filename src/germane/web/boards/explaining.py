"""Why did this pair get this grade? The text as judged, what the judge said, on which days, what others and people said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from germane import sources, store
from germane.registry import looking, of_pairs
from germane.registry.database import Registry
from germane.text.normal import normal_form
from germane.types import InputError
from germane.watching import files
from germane.web.boards.finding import WHY, WINDOW, Window, cleaned, days_of, outcome_of, until_of, window_of
from germane.web.boards.lists import Condition, Row, labels_of, reading, shown, texts_of
from germane.web.boards.places import Place

PARTS = 64
"""Parts of the judgment store that are looked through unless all are asked for, the latest."""

_LABEL = ("relevance", "outcome", "probs", "judge", "fingerprint", "scale", "guide_version", "note")
_LABEL += ("self_agreement", "entropy", "cost")


@dataclass(frozen=True)
class Chance:
    """The probability that the judge gave to a grade."""

    grade: str
    probability: float


@dataclass(frozen=True)
class Showing:
    """A day on which the pair was shown: at which rank, and the label of that day. changed: it is another than the one before."""

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
    window = window_of(registry, place, days_of(asked.get("days", ""), WINDOW), until_of(asked), notes)
    with reading() as db:
        rows = _shown_on(db, place, window, query, doc, notes)
        labels = labels_of(db, place, rows, _LABEL, notes)
        texts = texts_of(db, place, rows[:1], notes)
    same = _anchors_of(place, query, doc, notes)
    answers = of_pairs.dated_answers(registry, _ids(rows, same, query, doc), window.first, window.last) if window.first else []
    if not rows and not same and not answers:
        raise InputError(_unknown(query, doc, window))
    row = rows[0] if rows else None
    text = texts.get(row.key) if row else same[0]["text"] if same else None
    words = row.query if row else str(same[0]["query"]) if same else query
    query_id = row.query_id if row else str(same[0]["query_id"]) if same else answers[0].query_id
    label = labels.get(row.key, {}) if row else _anchored(place, answers, notes)
    scale = str(label.get("scale") or (window.scales.get(row.date, "") if row else ""))
    grade = lambda relevance, of=scale: place.grade(of, relevance)  # noqa: E731
    outcome = outcome_of(label, text is not None)
    plain = {name: str(label.get(name) or "") for name in ("judge", "fingerprint", "guide_version", "note")}
    numbers = {name: label.get(name) for name in ("relevance", "self_agreement", "entropy", "cost")}
    people = of_pairs.peoples_pairs(registry, words, query_id, doc)
    return ExplainedPair(
        query_id=query_id,
        query=words,
        doc_id=doc,
        text=text,
        date=row.date if row else answers[-1].date if answers else "",
        grade=grade(label.get("relevance")),
        outcome=outcome,
        why=WHY.get(outcome, outcome),
        scale=scale,
        known=_known(place, row),
        chances=_chances(place, scale, label.get("probs")),
        first=window.first,
        last=window.last,
        showings=_showings(rows, labels, grade),
        anchors=_answers(answers, grade),
        stored=[] if text is None else _stored(place, words, text, asked.get("store", ""), notes),
        votes=_votes(registry, people, names=names),
        tasks=[_task(pair) for _, pair in people],
        notes=notes,
        **plain,
        **numbers,
    )


def _shown_on(db: Any, place: Place, window: Window, query: str, doc: str, notes: list[str]) -> list[Row]:
    """The pair on each day on which it was shown, the last day first."""
    asked = Condition(values={"query": query, "normal": normal_form(query), "doc": doc})
    asked.of_lists += ["(s.query_id = $query OR s.query = $normal)", "list_contains(s.shown, $doc)"]
    asked.of_rows.append("r.doc_id = $doc")
    rows = [row for _, some in shown(db, place, window.days, asked, notes, each=30, most=2000, by_day=True) for row in some]
    first = rows[0].query_id if rows else ""
    return [row for row in rows if row.query_id == first]


def _ids(rows: Sequence[Row], same: Sequence[Mapping[str, Any]], query: str, doc: str) -> list[tuple[str, str]]:
    found = [(row.query_id, doc) for row in rows] + [(str(a["query_id"]), doc) for a in same] + [(query, doc)]
    return list(dict.fromkeys(found))


def _unknown(query: str, doc: str, window: Window) -> str:
    pair = f"document {doc[:80]!r} was not shown for query {query[:80]!r}"
    if not window.first:
        return f"{pair}: no day is in the history yet"
    return f"{pair} from {window.first} to {window.last}, and is no anchor: look further back with days=1100"


# --- anchors -----------------------------------------------------------------------------------------------------------


def _anchors_of(place: Place, query: str, doc: str, notes: list[str]) -> list[dict[str, Any]]:
    """The anchors that are this pair, by the query's text or id."""
    if place.anchors is None or not place.anchors.is_file():
        return []
    try:
        table = _anchor_table(str(place.anchors), place.anchors.stat().st_mtime_ns)
    except InputError as problem:
        notes.append(f"the anchors cannot be read: {problem}")
        return []
    wanted = normal_form(query)
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
        found = labels_of(db, place, [row], _LABEL, notes, file=ANCHORS)
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
        changed = bool(made) and made[-1].relevance != relevance
        who = [str(label.get(name) or "") for name in ("outcome", "judge", "fingerprint", "guide_version")]
        made.append(Showing(row.date, row.rank, relevance, grade(relevance), *who, changed))
    return made[::-1]


def _chances(place: Place, scale: str, probs: Sequence[float] | None) -> list[Chance]:
    return [Chance(place.grade(scale, i), round(float(p), 6)) for i, p in enumerate(probs or ())]


def _known(place: Place, row: Row | None) -> bool | None:
    """Whether the day's label was in the store before; None where that is not known."""
    if row is None:
        return None
    import duckdb

    with reading() as db:
        path = place.folder / row.date / files.PAIRS
        if not path.is_file():
            return None
        asked = "SELECT known FROM read_parquet($path) WHERE query_id = $query AND doc_id = $doc"
        try:
            found = db.execute(asked, {"path": str(path), "query": row.query_id, "doc": row.doc_id}).fetchone()
        except duckdb.Error:
            return None
    return None if found is None else bool(found[0])


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
