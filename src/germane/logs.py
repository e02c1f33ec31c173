"""From a query log to one row a query: users, impressions, interest, language, and its popularity segment.

The log is read and summed as Ibis expressions: in DuckDB for files and tables, or in the warehouse that an Ibis table lives
in; only one row a query comes back. Popularity is the number of distinct users who ask a query. A log without users is
segmented by impressions, and every segment's name says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from germane.store.checks import MAX_CHARACTERS
from germane.text.normal import MAY_CHANGE, NORMAL, normal, query_id, steps_of
from germane.types import InputError

if TYPE_CHECKING:
    import pyarrow as pa

# What a column of a log may be called when nothing else is said, in order of preference. query_id is never guessed: in a
# log, such as one of User Behavior Insights, it names one search by one user, not a query text.
ROLES: Mapping[str, Sequence[str]] = {
    "query": ("query", "user_query", "search_term", "search_query", "query_text"),
    "user": ("user", "user_id", "client_id", "visitor_id"),
    "users": ("users",),
    "impressions": ("impressions", "count", "searches"),
    "interest": ("interest",),
    "language": ("language",),
    "query_id": (),
}
THRESHOLDS: Mapping[str, float] = {"head": 0.5, "torso": 0.8}
TAIL, SINGLE, NOBODY = "tail", "single", "no user id"
BY_IMPRESSIONS = " (impressions)"


@dataclass(frozen=True)
class LogFacts:
    """What was found in a log and how its segments were cut: what a manifest stores.

    by: "users" or "impressions". least: segment -> the fewest of these that a query in it has. sizes: its queries. traffic:
    its share of all users (or impressions). columns: role -> the column that was read. Left out are rows without a query
    (empty), with one too long to be a query (overlong), and with 0 impressions (unsearched). anonymous: rows without a user,
    which count as impressions only. written: distinct queries before normalisation. several_interests: queries with more
    than one, of which the most frequent was taken.
    """

    queries: int
    impressions: int
    by: str
    thresholds: Mapping[str, float]
    least: Mapping[str, int]
    sizes: Mapping[str, int]
    traffic: Mapping[str, float]
    rows: int = 0
    empty: int = 0
    overlong: int = 0
    unsearched: int = 0
    anonymous: int = 0
    written: int = 0
    several_interests: int = 0
    normalise: str = "none"
    columns: Mapping[str, str] = field(default_factory=dict)


class Segmented(NamedTuple):
    """One row a query, most popular first, and what was found on the way."""

    table: pa.Table
    facts: LogFacts


def segments(
    log: Any,
    *,
    columns: Mapping[str, str | None] | None = None,
    normalise: str = NORMAL,
    thresholds: Mapping[str, float] = THRESHOLDS,
    by: str | None = None,
) -> Segmented:
    """One row a query: query_id, query, language?, users?, impressions, interest?, segment; most popular first.

    log: a path (.parquet .csv .tsv .jsonl .ndjson), an Arrow table, a pandas frame, or an Ibis table of a warehouse. One row
    a search, or one row a query and day with its impressions. columns: role -> column, where names are not those of `ROLES`;
    None switches a role off. user: an id of who asked, of which distinct ones are counted; users: a count of them, if the log
    has one row a query. query_id: an id of the query's text and language (else `query_id`). normalise: see `normal_form`.
    by: "users" or "impressions" (default: users where the log has them). thresholds: see `popularity`.

    Raises: InputError for a file that cannot be read, a column that is not there, a log without a query, or impressions that
    are missing, negative, or no whole numbers.

    >>> import pyarrow as pa
    >>> log = pa.table({"query": ["Red shoes", "red  shoes", "red shoes", "hat"], "user": ["a", "b", "b", "a"]})
    >>> segments(log).table.select(["query", "users", "impressions", "segment"]).to_pylist()[0]
    {'query': 'red shoes', 'users': 2, 'impressions': 3, 'segment': 'head'}
    """
    import duckdb

    steps = steps_of(normalise)
    name = str(log) if isinstance(log, str | Path) else "the log"
    try:
        rows, found = _rows(log, dict(columns or {}), name)
        rows = _with_normal_text(rows, steps)
        counts = _counted(rows, found, name)
        table, several = _one_row_a_query(rows, found, name)
    except duckdb.Error as error:
        raise InputError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    if not table.num_rows:
        raise InputError(f"{name} has {counts['rows']} rows and no query in them: is {found['query']!r} the right column?")
    segmented, facts = with_segments(table, thresholds=thresholds, by=by)
    facts = replace(facts, **{key: counts[key] for key in counts if key not in found}, several_interests=several)
    return Segmented(segmented, replace(facts, normalise="+".join(steps) or "none", columns=found))


def with_segments(queries: pa.Table, *, thresholds: Mapping[str, float] = THRESHOLDS, by: str | None = None) -> Segmented:
    """The queries, most popular first, with a column `segment` from their users, or from impressions where there are none.

    queries: one row a query, with query, and users or impressions. by: "users" or "impressions", to choose.

    Raises: InputError if the column to go by is not there, or is missing or negative somewhere.

    >>> import pyarrow as pa
    >>> with_segments(pa.table({"query": ["a", "b"], "impressions": [5, 1]})).table["segment"].to_pylist()
    ['head (impressions)', 'single (impressions)']
    """
    import pyarrow as pa

    if by not in (None, "users", "impressions"):
        raise InputError(f"segments by {by!r}: expected users or impressions")
    by = by or ("users" if "users" in queries.column_names else "impressions")
    if by not in queries.column_names:
        raise InputError(
            f"no segments by {by}: the queries have {', '.join(queries.column_names)}; name the column of {by}, or of user ids"
        )
    if queries[by].null_count or not queries.num_rows:
        raise InputError(
            f"{queries[by].null_count} of {queries.num_rows} queries have no {by}: no segments without a number each"
        )
    order: Any = [(by, "descending")] + [
        (c, "ascending") for c in ("query", "language", "query_id") if c in queries.column_names
    ]
    table = queries.sort_by(order)
    counts = table[by].to_numpy()
    code, names = popularity(counts, thresholds)
    names = tuple(name + BY_IMPRESSIONS * (by == "impressions") for name in names)
    column: Any = pa.DictionaryArray.from_arrays(pa.array(code, pa.int32()), pa.array(names)).cast(pa.string())
    table = (table.drop_columns("segment") if "segment" in table.column_names else table).append_column("segment", column)
    inside = {name: counts[code == i] for i, name in enumerate(names) if (code == i).any()}
    total = int(counts.sum())
    facts = LogFacts(
        queries=table.num_rows,
        impressions=int(table["impressions"].to_numpy().sum()) if "impressions" in table.column_names else 0,
        by=by,
        thresholds=dict(thresholds),
        least={name: int(c.min()) for name, c in inside.items()},
        sizes={name: int(c.size) for name, c in inside.items()},
        traffic={name: int(c.sum()) / (total or 1) for name, c in inside.items()},
    )
    return Segmented(table, facts)


def popularity(counts: ArrayLike, thresholds: Mapping[str, float] = THRESHOLDS) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The segment of each query, as an index into the names that come with it, shape (Q,).


    counts: (Q,) distinct users of each query (or impressions). One is "single", none is "no user id". thresholds: of the
    others, segment -> cumulative share of their traffic (the sum of their counts), most popular first; the rest is "tail".
    A query is in the first segment whose threshold is above the share of all that are asked *more* often than it: queries
    asked equally often are never parted, and those at a border belong to the more popular side.

    Source: segments by distinct users, with a single of its own, are Pinterest's (arXiv 2509.03764); thresholds are not
    published: 50 % and 80 % are our choice. Singles stand apart since they can be a fifth of a log: no tail would be left.
    Raises: InputError for thresholds that do not rise within 0 and 1, or negative counts.

    >>> code, names = popularity([50, 20, 20, 6, 4, 1, 1])
    >>> [names[c] for c in code]
    ['head', 'torso', 'torso', 'tail', 'tail', 'single', 'single']
    """
    shares = [*thresholds.values()]
    if shares != sorted(set(shares)) or not all(0 < share <= 1 for share in shares):
        raise InputError(f"thresholds {dict(thresholds)} must rise, above 0 and up to 1: such as head 0.5, torso 0.8")
    names = (*thresholds, TAIL, SINGLE, NOBODY)
    if len(set(names)) < len(names):
        raise InputError(f"{', '.join((TAIL, SINGLE, NOBODY))} name themselves: thresholds are for the other segments")
    levels, level, sizes = np.unique(np.asarray(counts, dtype=np.int64), return_inverse=True, return_counts=True)
    if levels.size and levels[0] < 0:
        raise InputError(f"a query with {levels[0]} users or impressions: expected 0 or more")
    traffic = np.where(levels > 1, levels * sizes, 0)
    total = int(traffic.sum())
    above = total - np.cumsum(traffic)  # of the queries asked more often; exact, as whole numbers
    limits = np.array([ceil(Fraction(str(share)) * total) for share in shares], dtype=np.int64)
    code = np.searchsorted(limits, above, side="right")
    code = np.where(levels == 0, len(names) - 1, np.where(levels == 1, len(names) - 2, code))
    return code[level].astype(np.int64), names


# --- reading a log --------------------------------------------------------------------------------------------------


def _rows(log: Any, columns: Mapping[str, str | None], name: str) -> tuple[Any, dict[str, str]]:
    """The log as an Ibis table with one column a role, and role -> the column it was."""
    if type(log).__module__.startswith("ibis."):
        found = _roles(log.columns, columns, name)
        return _typed(log, found), found
    import ibis

    connection = ibis.duckdb.connect(temp_directory=gettempdir())
    rows = _file(connection, Path(log)) if isinstance(log, str | Path) else _given(connection, log)
    found = _roles(rows.columns, columns, name)
    if isinstance(log, str | Path) and Path(log).suffix.lower() != ".parquet":  # read a file of text once, not at every scan
        rows = connection.create_table("log", rows.select(*set(found.values())), temp=True)
    return _typed(rows, found), found


def _given(connection: Any, log: Any) -> Any:
    import pyarrow as pa

    connection.con.register("given", log if isinstance(log, pa.Table) else pa.Table.from_pandas(log, preserve_index=False))
    return connection.table("given")


def _file(connection: Any, path: Path) -> Any:
    """The file as an Ibis table; a file of text as columns of text, so that a query of digits stays what was typed."""
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"):
        raise InputError(f"{path} has the suffix {kind!r}: expected a query log as .parquet, .csv, .tsv, .jsonl or .ndjson")
    if not path.is_file():
        raise InputError(f"{path} is not a file: expected a query log")
    if kind == ".parquet":
        return connection.read_parquet(path)
    if kind in (".csv", ".tsv"):
        return connection.read_csv(path, all_varchar=True, header=True, delim="\t" if kind == ".tsv" else ",")
    sniffed = connection.read_json(path, format="newline_delimited")
    return connection.read_json(path, format="newline_delimited", columns=dict.fromkeys(sniffed.columns, "VARCHAR"))


def _roles(given: Sequence[str], columns: Mapping[str, str | None], name: str) -> dict[str, str]:
    for role, column in columns.items():
        if role not in ROLES:
            raise InputError(f"a log has no {role!r}: name the columns of {', '.join(ROLES)}")
        if column is not None and column not in given:
            raise InputError(f"{name} has no column {column!r} for {role}: found {', '.join(given)}")
    guessed = {role: next((c for c in names if c in given), None) for role, names in ROLES.items()}
    found = {role: column for role, column in {**guessed, **columns}.items() if column is not None}
    if "query" not in found:
        raise InputError(f"{name} has no column of queries: found {', '.join(given)}; say which, such as query={given[0]}")
    if "user" in found:
        found.pop("users", None)
    return found


def _typed(rows: Any, found: Mapping[str, str]) -> Any:
    def column(role: str) -> Any:
        raw = rows[found[role]]
        if role not in ("users", "impressions"):
            text = raw.cast("string")
            return text if role == "query" else text.fill_null("") if role == "language" else text.nullif("")
        return raw.try_cast("float64") if raw.type().is_string() else raw.cast("float64")

    as_found = {f"{role} as found": rows[found[role]].cast("string") for role in ("users", "impressions") if role in found}
    return rows.select(**{role: column(role) for role in found}, **as_found)


def _with_normal_text(rows: Any, steps: Sequence[str]) -> Any:
    """The rows with `text`, "" where there is no query. Only texts that may change are brought here to be normalised."""
    import ibis
    import pyarrow as pa

    suspects = rows.filter(rows.query.re_search(MAY_CHANGE)).select("query").distinct().to_pyarrow()["query"].to_pylist()
    changed = {text: plain for text in suspects if (plain := normal(text, steps)) != text}
    if not changed:
        return rows.mutate(text=rows.query.fill_null(""))
    mapping = ibis.memtable(
        pa.table({"as_written": pa.array(changed, pa.string()), "normal": pa.array(changed.values(), pa.string())})
    )
    joined = rows.left_join(mapping, rows.query == mapping.as_written)
    return joined.mutate(text=ibis.coalesce(joined.normal, joined.query, "")).drop("as_written", "normal")


def _counted(rows: Any, found: Mapping[str, str], name: str) -> dict[str, Any]:
    """How many rows there are, and how many cannot be used, and why; impressions or users that are no counts are an error."""
    import ibis

    asked = _is_query(rows)
    counts = {"rows": rows.count(), "empty": (rows.text == "").sum(), "overlong": (rows.text.length() > MAX_CHARACTERS).sum()}
    counts["written"] = rows.query.nunique(where=asked)
    counts["anonymous"] = (asked & rows.user.isnull()).sum() if "user" in found else ibis.literal(0)
    counts["unsearched"] = (asked & (rows.impressions == 0)).sum() if "impressions" in found else ibis.literal(0)
    wrong = {role: _no_count(rows[role]) for role in ("users", "impressions") if role in found}
    counts |= {role: condition.sum() for role, condition in wrong.items()}
    row = rows.aggregate(**counts).to_pyarrow().to_pylist()[0]
    for role, condition in wrong.items():
        if row[role]:
            first = rows.filter(condition).select("query", f"{role} as found").limit(1).to_pyarrow().to_pylist()[0]
            raise InputError(
                f"{name} has {row[role]} of {row['rows']} rows whose {found[role]} is not a whole number, 0 or more: "
                f"{first[f'{role} as found']} for the query {_short(first['query'])}; correct them, or leave them out"
            )
    return {key: int(value or 0) for key, value in row.items()}


def _is_query(rows: Any) -> Any:
    return (rows.text != "") & (rows.text.length() <= MAX_CHARACTERS)


def _no_count(number: Any) -> Any:
    return number.isnull() | ~number.between(0, 2**53) | (number % 1 != 0)  # NaN is between nothing


def _short(text: str | None) -> str:
    return repr(text if text is None or len(text) <= 60 else text[:60] + " …")


# --- one row a query ------------------------------------------------------------------------------------------------


def _one_row_a_query(rows: Any, found: Mapping[str, str], name: str) -> tuple[pa.Table, int]:
    """The log summed by text and language, and how many queries had several interests."""
    import ibis

    rows = rows.filter(_is_query(rows))
    if "impressions" in found:
        rows = rows.filter(rows.impressions > 0)
    key = ["text", *(["language"] if "language" in found else [])]
    sums = {"rows": rows.count(), "impressions": rows.impressions.sum() if "impressions" in found else rows.count()}
    if "user" in found:
        sums["users"] = rows.user.nunique()
    if "users" in found:
        sums["users"] = rows.users.max()
    if "query_id" in found:
        sums |= {"query_id": rows.query_id.min(), "ids": rows.query_id.nunique()}
    summed = rows.group_by(key).aggregate(**sums)
    if "interest" not in found:
        return _table(summed.to_pyarrow(), found, name), 0
    known = rows.filter(rows.interest.notnull())
    weight = known.impressions.sum() if "impressions" in found else known.count()
    votes = known.group_by([*key, "interest"]).aggregate(votes=weight)
    window = ibis.window(group_by=key, order_by=[votes.votes.desc(), votes.interest.asc()])
    ranked = votes.mutate(place=ibis.row_number().over(window), interests=votes.count().over(group_by=key))
    first = ranked.filter(ranked.place == 0).drop("votes", "place")
    joined = summed.left_join(first, key).select(*summed.columns, "interest", "interests").to_pyarrow()
    return _table(joined, found, name), int((joined["interests"].fill_null(0).to_numpy() > 1).sum())


def _table(summed: pa.Table, found: Mapping[str, str], name: str) -> pa.Table:
    """With ids, and columns and types as tables of queries have them."""
    import pyarrow as pa

    texts: list[Any] = summed["text"].to_pylist()
    several = np.flatnonzero(summed["rows"].to_numpy() > 1)
    if "users" in found and several.size:
        raise InputError(
            f"{name} has several rows for {several.size} queries, such as {_short(texts[several[0]])}, and one person may be "
            "counted in each of their users: give a column of user ids, one row a query, or switch users off (segments by "
            "impressions)"
        )
    languages: list[Any] = summed["language"].to_pylist() if "language" in found else [""] * len(texts)
    if "query_id" in found:
        ids = _given_ids(summed, texts, name)
    else:
        ids = [query_id(*asked) for asked in zip(texts, languages, strict=True)]
    columns: dict[str, Any] = {"query_id": pa.array(ids, pa.string()), "query": summed["text"].cast(pa.string())}
    if "language" in found:
        columns["language"] = pa.array([language or None for language in languages], pa.string())
    columns |= {name: summed[name].cast(pa.int64()) for name in ("users", "impressions") if name in summed.column_names}
    columns |= {name: summed[name].cast(pa.string()) for name in ("interest",) if name in summed.column_names}
    return pa.table(columns)


def _given_ids(summed: pa.Table, texts: list[str], name: str) -> list[str]:
    ids: list[Any] = summed["query_id"].to_pylist()
    for text, number in zip(texts, summed["ids"].to_pylist(), strict=True):
        if number != 1:
            raise InputError(
                f"{name} has {number} query ids for the query {_short(text)}: expected one for each text (and language); "
                "leave the column out, and ids are made from the text"
            )
    if len(set(ids)) < len(ids):
        twice = next(i for i, times in Counter(ids).most_common(1) if times > 1)
        raise InputError(f"{name} gives the query id {twice!r} to several queries: leave the column out, and ids are made")
    return ids
