"""What clicks tell: the queries that a document was clicked for most, and what a query is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import store
from germane.logs import ROLES
from germane.sources.loading import load
from germane.sources.names import DOC_ID, QUERY, QUERY_ID
from germane.sources.raw import Raw
from germane.store.checks import compute, listed
from germane.text import query_digest
from germane.text.normal import normal_form
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

# object_id and action_name: of User Behavior Insights, whose events are of many kinds.
DOCUMENT = (*DOC_ID, "object_id", "item_id")
TEXT = tuple(name for name in (*ROLES["query"], *QUERY) if name != "text")
ACTION, CLICK = "action_name", "click"
COUNT = ("clicks",)


class Clicks(NamedTuple):
    """One row a document and query: doc_id, query (in normal form), clicks, and users where the log knows who clicked.

    rows: that were read. nameless: clicks left out since their query is not known.
    """

    table: pa.Table
    rows: int
    nameless: int

    @property
    def by(self) -> str:
        """What engagement is counted in: users, or clicks where nobody knows whose they were."""
        return "users" if "users" in self.table.column_names else "clicks"


class Engaged(NamedTuple):
    """doc_id and engaged_queries (a list, most engaged first), of documents that have any.

    by: "users" or "clicks". rare: pairs of document and query left out since fewer than `least` clicked. held_out: pairs
    left out since their query is to be judged.
    """

    table: pa.Table
    by: str
    rare: int
    held_out: int


def read_clicks(clicks: Any, queries: pa.Table | None = None) -> Clicks:
    """Clicks, summed by document and query.

    clicks: a file or table with a document (doc_id, product_id, object_id), its query's text, or a query_id that `queries`
    knows (query_id, query), and where there are any a user id, a count of clicks, and UBI's action_name, of which clicks count.
    Texts that have one normal form (`text.normal.normal_form`) are one query.

    Raises: InputError for columns that are not there, counts that are none, and clicks of which no query is known.

    >>> import pyarrow as pa
    >>> log = pa.table({"query": ["oak table", "Oak  table"], "doc_id": ["d", "d"], "user_id": ["u", "v"]})
    >>> read_clicks(log).table.to_pylist()
    [{'doc_id': 'd', 'query': 'oak table', 'clicks': 2, 'users': 2}]
    """
    import pyarrow as pa

    pc = compute()
    raw = load(clicks, "pairs", "candidates")
    doc, text = raw.require("the document that was clicked", DOCUMENT), raw.find(TEXT)
    query_id = None if text else raw.find(QUERY_ID)
    if text is None and (query_id is None or queries is None):
        found = "only ids of queries: give their texts with --queries" if query_id else f"{listed(raw.table.column_names)}"
        raise InputError(f"{raw.name}: no column of the query's text: found {found}")
    columns = {"doc_id": raw.table[doc], "query": _texts(raw, text, query_id, queries)}
    columns = {name: values.cast(pa.string()) for name, values in columns.items()}
    columns["clicks"] = _counts(raw)
    if user := raw.find(ROLES["user"]):
        columns["user"] = raw.table[user].cast(pa.string())
    table: Any = pa.table(columns)
    if action := raw.find((ACTION,)):
        table = table.filter(pc.equal(raw.table[action], CLICK))
    text_there = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(pc.coalesce(table["query"], ""))), 0)
    known = table.filter(pc.and_(text_there, pc.is_valid(table["doc_id"])))
    if not known.num_rows:
        raise InputError(f"{raw.name}: none of its {raw.table.num_rows:,} rows is a click whose query is known")
    users = ', count(DISTINCT "user") AS users' if user else ""
    with store.database(known=known, normal=_normal(known["query"])) as query:
        summed = query(
            f"SELECT doc_id, normal.text AS query, sum(clicks)::BIGINT AS clicks{users} FROM known JOIN normal USING (query) "
            "WHERE normal.text <> '' GROUP BY ALL ORDER BY doc_id, normal.text"
        )
    return Clicks(summed, raw.table.num_rows, table.num_rows - known.num_rows)


def engaged_queries(clicks: Clicks, *, top: int = 5, least: int = 2, held_out: Collection[str] = ()) -> Engaged:
    """The `top` queries of each document that most people clicked it for, of those that at least `least` did.

    Counted in distinct users where they are known, else in clicks, which one person can make many of. held_out: digests
    (`text.query_digest`) of queries that are to be judged. A document that carries the very query it is judged for tells the
    judge how popular it is for it, and the judge then grades clicks instead of relevance: hold those out.

    Raises: InputError for top or least below 1.

    >>> import pyarrow as pa
    >>> log = pa.table({"query": ["oak table", "desk", "desk"], "doc_id": ["d", "d", "d"], "clicks": [2, 2, 1]})
    >>> engaged_queries(read_clicks(log)).table["engaged_queries"].to_pylist()
    [['desk', 'oak table']]
    """
    import pyarrow as pa

    if min(top, least) < 1:
        raise InputError(f"the top {top} queries with at least {least} {clicks.by}: expected 1 or more of both")
    hidden = set(held_out)
    texts = compute().unique(clicks.table["query"]).to_pylist() if hidden else []
    names = pa.table({"query": pa.array([text for text in texts if query_digest(text) in hidden], pa.string())})
    with store.database(clicks=clicks.table, hidden=names) as query:
        marked = f"SELECT *, {clicks.by} < {least} AS rare, query IN (SELECT query FROM hidden) AS seen FROM clicks"
        counts = query(f"SELECT count(*) FILTER (seen), count(*) FILTER (rare AND NOT seen) FROM ({marked})")
        order = "users DESC, clicks DESC, query" if clicks.by == "users" else "clicks DESC, query"
        found = query(
            f"SELECT doc_id, list(query ORDER BY place) AS engaged_queries FROM (SELECT doc_id, query, row_number() OVER "
            f"(PARTITION BY doc_id ORDER BY {order}) AS place FROM ({marked}) WHERE NOT rare AND NOT seen) "
            f"WHERE place <= {top} GROUP BY doc_id ORDER BY doc_id"
        )
    seen, rare = (int(column[0].as_py()) for column in counts.columns)
    return Engaged(found, clicks.by, rare, seen)


def interests_from_catalogue(
    pairs: pa.Table, docs: pa.Table, column: str = "category", *, share: float = 0.5, least: int = 2, depth: int | None = None
) -> pa.Table:
    """query and interest: the category that most of the documents share that are good for a query; null where none has enough.

    pairs: query, doc_id, and a weight (such as clicks; 1 by default), of relevant or clicked documents. docs: doc_id and the
    category; depth: only its first entries, of a list, or of a path with " > ", else ", ", between them. share: of a query's
    weight that the category must have; least: documents with a category that the query must have.

    Raises: InputError for a column that is not there, and where no query gets an interest.

    >>> import pyarrow as pa
    >>> good = pa.table({"query": ["desk", "desk", "lamp"], "doc_id": ["a", "b", "c"]})
    >>> docs = pa.table({"doc_id": ["a", "b", "c"], "category": ["Desks", "Desks", "Lamps"]})
    >>> interests_from_catalogue(good, docs).to_pylist()
    [{'query': 'desk', 'interest': 'Desks'}, {'query': 'lamp', 'interest': None}]
    """
    import pyarrow as pa

    if column not in docs.column_names:
        raise InputError(f"docs have no column {column!r} of categories: found {', '.join(docs.column_names)}")
    of = dict(zip(docs["doc_id"].to_pylist(), (_category(c, depth) for c in docs[column].to_pylist()), strict=True))
    weight: list[Any] = pairs["weight"].to_pylist() if "weight" in pairs.column_names else [1] * pairs.num_rows
    votes: dict[str, Counter[str]] = {}
    held: Counter[str] = Counter()
    for query, doc, w in zip(pairs["query"].to_pylist(), pairs["doc_id"].to_pylist(), weight, strict=True):
        found = votes.setdefault(str(query), Counter())
        if name := of.get(doc):
            found[name] += w
            held[str(query)] += 1
    labels: list[str | None] = []
    for query, counts in votes.items():
        name, most = min(counts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        sure = held[query] >= least and most >= share * counts.total() and most > 0
        labels.append(name if sure else None)
    if not any(labels):
        raise InputError(
            f"no query has {least} documents with a {column}, {share:.0%} of them the same: give more pairs, or a lower share"
        )
    return pa.table({"query": pa.array(list(votes), pa.string()), "interest": pa.array(labels, pa.string())})


def _texts(raw: Raw, text: str | None, query_id: str | None, queries: pa.Table | None) -> Any:
    """The text of each click's query; null where it is not known."""
    import pyarrow as pa

    pc = compute()
    if text is not None or queries is None:
        return raw.table[text or ""]
    ids = queries["query_id"].cast(pa.string()).combine_chunks()
    return queries["query"].combine_chunks().take(pc.index_in(raw.table[query_id or ""].cast(pa.string()), value_set=ids))


def _counts(raw: Raw) -> Any:
    """How many clicks each row is. Raises: InputError for a count that is no whole number, 0 or more."""
    import pyarrow as pa

    column = raw.find(COUNT)
    if column is None:
        return pa.repeat(1, raw.table.num_rows)
    pc = compute()
    try:
        counts = raw.table[column].cast(pa.int64())
    except pa.ArrowInvalid as problem:
        raise InputError(f"{raw.name}, column {column!r}: {problem}; expected whole numbers of clicks") from None
    if counts.null_count or (len(counts) and pc.min(counts).as_py() < 0):
        raise InputError(f"{raw.name}, column {column!r}: a count is missing or below 0; expected whole numbers of clicks")
    return counts


def _normal(texts: Any) -> pa.Table:
    """Each distinct text with its normal form."""
    import pyarrow as pa

    found: Sequence[str] = compute().unique(texts).to_pylist()
    return pa.table({"query": pa.array(found, pa.string()), "text": pa.array([normal_form(t) for t in found], pa.string())})


def _category(value: Any, depth: int | None) -> str:
    """A category as one name; depth: only so many of its first entries."""
    if isinstance(value, list | tuple):
        entries = [str(entry) for entry in value if entry]
    else:
        entries = str(value or "").split(" > " if " > " in str(value) else ", ")
    return ", ".join(entry.strip() for entry in entries[:depth] if entry.strip())
