"""Query logs to segments: real logs, every format, every dirt, and properties."""

import json
import sqlite3
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from germane.logs import popularity, segments, with_segments
from germane.text.normal import NORMAL, normal_form, query_id
from germane.types import InputError

SEARCHES = {
    "query": ["Red shoes", "red  shoes", "red shoes", "hat", "LOR", "lor", "größe l", "Ｇröße L"],
    "user": ["a", "b", "b", "a", "a", "a", "c", None],
}


def rows(table, *columns):
    return [tuple(row.values()) for row in table.select(list(columns)).to_pylist()]


# --- real logs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def berlin(data):
    return data("berlin_search_terms") / "search_terms_monthly.parquet"


@pytest.mark.parametrize(
    ("normalise", "queries", "single", "hundred"),
    [("none", 15_214, 9_518, 40), ("case", 13_214, 8_188, 45), (NORMAL, 13_208, 8_180, 45)],
)
def test_berlin_has_as_many_queries_as_its_source_says(berlin, normalise, queries, single, hundred):
    table, facts = segments(berlin, normalise=normalise)
    impressions = table["impressions"].to_numpy()
    assert (table.num_rows, (impressions == 1).sum(), (impressions >= 100).sum()) == (queries, single, hundred)
    assert (facts.rows, facts.written, facts.impressions) == (25_211, 15_214, 48_290)
    assert facts.sizes["single (impressions)"] == single


def test_without_users_every_segment_says_that_it_goes_by_impressions(berlin):
    table, facts = segments(berlin, normalise="none")
    assert facts.by == "impressions"
    assert "users" not in table.column_names
    assert table["segment"].unique().to_pylist() == [f"{s} (impressions)" for s in ("head", "torso", "tail", "single")]
    assert rows(table, "query", "impressions")[:3] == [
        ("Friedrichshain-Kreuzberg", 766),
        ("vermessung AT ba-fk.berlin.de", 594),
        ("verkehr", 318),
    ]


def test_ubi_counts_distinct_clients(data):
    table, facts = segments(data("ubi_esci_simulated") / "ubi_queries.parquet")
    assert facts.columns == {"query": "user_query", "user": "client_id"}
    assert (facts.by, facts.rows, facts.empty, facts.queries) == ("users", 473, 6, 172)
    assert rows(table, "query", "users", "impressions", "segment")[0] == ("gold", 10, 42, "head")
    raw = pq.read_table(data("ubi_esci_simulated") / "ubi_queries.parquet").to_pylist()
    clients = {(normal_form(row["user_query"]), row["client_id"]) for row in raw if row["user_query"].strip()}
    assert dict(rows(table, "query", "users")) == Counter(query for query, _ in clients)


def test_the_countries_of_bing_are_not_languages_but_may_be_told_to_be(data):
    log = data("bing_coronavirus_queries_2020_01") / "queries_by_country.parquet"
    table, _ = segments(log, columns={"language": "country", "impressions": None})
    assert table.num_rows == len(set(rows(table, "query", "language"))) > 6_265
    assert len(set(table["query_id"].to_pylist())) == table.num_rows


# --- what is read ---------------------------------------------------------------------------------------------------


def written(folder, kind):
    """SEARCHES as a log of this kind."""
    table = pa.table(SEARCHES)
    if kind == "arrow":
        return table
    if kind == "pandas":
        return table.to_pandas()
    if kind == "ibis":
        import ibis

        connection = ibis.duckdb.connect()
        connection.con.register("arrow", table)
        connection.con.execute("CREATE TABLE searches AS FROM arrow")
        return connection.table("searches")
    path = folder / f"log.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind in ("csv", "tsv"):
        separator = "\t" if kind == "tsv" else ","
        pyarrow.csv.write_csv(table, path, pyarrow.csv.WriteOptions(delimiter=separator))
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "jsonl", "ndjson", "arrow", "pandas", "ibis"])
def test_a_log_is_the_same_log_in_every_format(tmp_path, kind):
    table, facts = segments(written(tmp_path, kind))
    assert rows(table, "query", "users", "impressions", "segment") == [
        ("red shoes", 2, 3, "head"),
        ("größe l", 1, 2, "single"),
        ("hat", 1, 1, "single"),
        ("lor", 1, 2, "single"),
    ]
    assert (facts.rows, facts.empty, facts.anonymous, facts.written, facts.queries) == (8, 0, 1, 8, 4)
    assert table["query_id"].to_pylist()[0] == query_id("red shoes")


EVERYTHING = {
    **SEARCHES,
    "impressions": [1, 2, 1, 1, 1, 1, 1, 1],
    "interest": list("xyxyxyxy"),
    "language": ["en"] * 4 + [None] * 4,
}


@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")  # Ibis on pandas 3: theirs to mend
def test_a_warehouse_that_is_not_duckdb_gives_the_same_queries(tmp_path):
    import ibis

    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute(f"CREATE TABLE searches ({', '.join(EVERYTHING)})")
        shop.executemany("INSERT INTO searches VALUES (?, ?, ?, ?, ?)", zip(*EVERYTHING.values(), strict=True))
    shop.close()
    warehouse = ibis.sqlite.connect(tmp_path / "shop.db", type_map={"": "string"})
    searches = warehouse.table("searches").cast({"impressions": "int64"})
    assert segments(searches).table.equals(segments(pa.table(EVERYTHING)).table)
    warehouse.disconnect()


@pytest.mark.parametrize(
    "dialect", ["postgres", "bigquery", "snowflake", "databricks", "trino", "clickhouse", "mysql", "athena"]
)
def test_what_is_asked_of_a_warehouse_can_be_said_in_its_sql(dialect, monkeypatch):
    import ibis
    from ibis.expr.types import Table

    asked = []
    ask = Table.to_pyarrow
    monkeypatch.setattr(Table, "to_pyarrow", lambda self, **options: asked.append(self) or ask(self, **options))
    segments(pa.table(EVERYTHING))
    assert len(asked) == 3  # the texts that may change, the counts, the queries
    assert all("SELECT" in ibis.to_sql(expression, dialect=dialect) for expression in asked)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_query_of_digits_stays_as_it_was_typed(tmp_path, kind):
    path = tmp_path / f"log.{kind}"
    if kind == "csv":
        path.write_text('query,count\n007,1\n1e5,1\n1.10,1\n"a, ""b""",1\nNULL,1\nnan,1\n')
    else:
        texts = ('"007"', '"1e5"', '"1.10"', r'"a, \"b\""', '"NULL"', '"nan"')
        path.write_text("".join(f'{{"query": {text}}}\n' for text in texts))
    table, facts = segments(path)
    assert table["query"].to_pylist() == ["007", "1.10", "1e5", 'a, "b"', "nan", "null"]
    assert facts.empty == 0


def test_queries_that_say_nothing_are_counted_and_left_out(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('query,user\nhat,a\n,b\n"",c\n"  \t",d\n\u3000,e\n' + "x" * 10_001 + ",f\n", encoding="utf-8")
    for normalise in (NORMAL, "none"):
        table, facts = segments(path, normalise=normalise)
        assert (facts.rows, facts.empty, facts.overlong, table.num_rows) == (6, 4, 1, 1)


def test_rows_with_no_impressions_do_not_make_a_query():
    table, facts = segments(pa.table({"query": ["a", "b", "b"], "impressions": [0, 0, 3]}))
    assert rows(table, "query", "impressions") == [("b", 3)]
    assert facts.unsearched == 2


def test_a_query_that_only_strangers_asked_is_not_called_single():
    table, facts = segments(pa.table({"query": ["a", "a", "b", "c"], "user": [None, None, "x", ""]}))
    assert rows(table, "query", "users", "segment") == [("b", 1, "single"), ("a", 0, "no user id"), ("c", 0, "no user id")]
    assert facts.anonymous == 3


def test_one_person_in_two_spellings_is_one_user():
    log = pa.table({"query": ["LOR", "lor", "Lor"], "user": ["a", "a", "b"]})
    assert rows(segments(log).table, "query", "users", "impressions") == [("lor", 2, 3)]
    assert rows(segments(log, normalise="none").table, "users") == [(1,), (1,), (1,)]


def test_the_same_words_in_two_languages_are_two_queries():
    log = pa.table({"query": ["gift", "Gift", "gift", "gift"], "language": ["en", "de", "en", None], "user": list("abcd")})
    table = segments(log).table
    assert rows(table, "query", "language", "users") == [("gift", "en", 2), ("gift", "de", 1), ("gift", None, 1)]
    ids = [query_id("gift", "en"), query_id("gift", "de"), query_id("gift")]
    assert table["query_id"].to_pylist() == ids
    assert len(set(ids)) == 3


def test_a_query_of_several_interests_takes_the_most_frequent_and_says_so():
    log = {
        "query": ["sofa", "sofa", "sofa", "tie", "tie", "new", "old"],
        "interest": ["home", "garden", "home", "gifts", "fashion", None, ""],
        "count": [1, 5, 1, 2, 2, 1, 1],
    }
    table, facts = segments(pa.table(log))
    assert dict(rows(table, "query", "interest")) == {"sofa": "garden", "tie": "fashion", "new": None, "old": None}
    assert facts.several_interests == 2


def test_users_that_were_counted_elsewhere_are_taken_but_never_added():
    log = pa.table({"query": ["LOR", "hat"], "users": [3, 1], "impressions": [9, 1]})
    table, facts = segments(log)
    assert rows(table, "query", "users", "segment") == [("lor", 3, "head"), ("hat", 1, "single")]
    assert facts.by == "users"
    with pytest.raises(InputError, match=r"several rows for 1 queries, such as 'lor', and one person may be counted"):
        segments(pa.table({"query": ["LOR", "lor"], "users": [3, 4]}))
    assert segments(pa.table({"query": ["LOR", "lor"], "users": [3, 4]}), columns={"users": None}).facts.by == "impressions"


def test_ids_that_are_given_are_kept_if_they_name_queries():
    log = pa.table({"query": ["LOR", "lor", "hat"], "id": [7, 7, 8]})
    assert rows(segments(log, columns={"query_id": "id"}).table, "query", "query_id") == [("lor", "7"), ("hat", "8")]
    with pytest.raises(InputError, match="2 query ids for the query 'lor'"):
        segments(pa.table({"query": ["LOR", "lor"], "id": ["7", "9"]}), columns={"query_id": "id"})
    with pytest.raises(InputError, match="gives the query id '7' to several queries"):
        segments(pa.table({"query": ["hat", "lor"], "id": ["7", "7"]}), columns={"query_id": "id"})


def test_segments_can_go_by_impressions_where_there_are_users():
    table, facts = segments(pa.table(SEARCHES), by="impressions")
    assert facts.by == "impressions"
    assert rows(table, "query", "users", "segment")[0] == ("red shoes", 2, "head (impressions)")


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random):
    order = list(range(8))
    random.shuffle(order)
    log = pa.table({**SEARCHES, "interest": ["x", "y", "y", "x", "y", "x", "x", "y"]})
    assert segments(log.take(order)).table.equals(segments(log).table)


# --- what is wrong with it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "options", "message"),
    [
        ({"text": ["a"]}, {}, "no column of queries: found text; say which, such as query=text"),
        ({"query": ["a"]}, {"columns": {"user": "who"}}, "no column 'who' for user: found query"),
        ({"query": ["a"]}, {"columns": {"session": "query"}}, "a log has no 'session': name the columns of query, user"),
        ({"query": ["a"]}, {"by": "users"}, "no segments by users: the queries have query_id, query, impressions"),
        ({"query": ["a"]}, {"by": "clicks"}, "segments by 'clicks': expected users or impressions"),
        ({"query": ["a"]}, {"normalise": "stem+case"}, "normalisation 'stem' is unknown"),
        ({"query": ["a"]}, {"thresholds": {"head": 0.8, "torso": 0.5}}, "must rise"),
        ({"query": ["a"]}, {"thresholds": {"head": 0.0}}, "must rise, above 0"),
        ({"query": ["a"]}, {"thresholds": {"tail": 0.5}}, "name themselves"),
        ({"query": pa.array([], pa.string())}, {}, "the log has 0 rows and no query in them"),
        ({"query": ["", None]}, {}, "the log has 2 rows and no query in them: is 'query' the right column"),
        (
            {"query": ["a", "b"], "count": [3, -5]},
            {},
            "1 of 2 rows whose count is not a whole number, 0 or more: -5 for .* 'b'",
        ),
        ({"query": ["a", "b"], "count": [3, None]}, {}, "1 of 2 rows whose count .* None for the query 'b'"),
        ({"query": ["a", "b"], "count": [3, float("nan")]}, {}, "nan for the query 'b'"),
        ({"query": ["a", "b"], "count": [3, float("inf")]}, {}, "inf for the query 'b'"),
        ({"query": ["a", "b"], "count": [3, 2.5]}, {}, "2.5 for the query 'b'"),
        ({"query": ["a", "b"], "count": ["3", "many"]}, {}, "many for the query 'b'"),
        ({"query": ["a", "b"], "users": [3, None]}, {}, "rows whose users is not a whole number"),
        ({"query": ["a", "b"], "count": [0, 0]}, {}, "2 rows and no query in them"),
    ],
)
def test_a_log_that_cannot_be_used_is_an_error_in_one_line(log, options, message):
    with pytest.raises(InputError, match=message) as caught:
        segments(pa.table(log), **options)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_an_error_in_one_line(tmp_path):
    latin = tmp_path / "latin.csv"
    latin.write_bytes("query,user\ngröße,a\n".encode("latin-1"))
    cut = tmp_path / "cut.parquet"
    pq.write_table(pa.table(SEARCHES), cut)
    cut.write_bytes(cut.read_bytes()[:-20])
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"query": "a"}\n{"query": \n')
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    headless = tmp_path / "headless.csv"
    headless.write_text("query,user\n")
    sheet = tmp_path / "log.xlsx"
    sheet.write_text("x")
    for path in (latin, cut, broken, empty, headless, sheet, tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError) as caught:
            segments(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


# --- normal form ----------------------------------------------------------------------------------------------------


@given(st.text(max_size=20), st.sampled_from(["none", "case", "space", "unicode", "case+space", NORMAL]))
@example("\u03d2\u0301", NORMAL)
@example("İ", NORMAL)
def test_a_normal_form_has_no_other_normal_form(text, normalise):
    once = normal_form(text, normalise)
    assert normal_form(once, normalise) == once


@given(st.text(max_size=20))
def test_two_ways_to_encode_a_letter_are_one_query(text):
    assert normal_form(unicodedata.normalize("NFD", text)) == normal_form(unicodedata.normalize("NFC", text))


@settings(max_examples=15)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=12))
def test_a_log_is_normalised_as_its_texts_are(texts):
    """What goes to the database and what stays in it give one answer."""
    expected = Counter(form for text in texts if (form := normal_form(text)))
    log = pa.table({"query": [*texts, "z"]})
    expected["z"] += 1
    assert dict(rows(segments(log).table, "query", "impressions")) == expected


def test_the_order_of_steps_does_not_matter():
    assert normal_form(" ﬁ  X", "space+case+unicode") == normal_form(" ﬁ  X", NORMAL) == "fi x"


def test_an_id_says_what_was_asked_and_in_which_language():
    assert query_id("a") == query_id("a", None) == query_id("a", "")
    assert len({query_id("a"), query_id("a", "en"), query_id("aen"), query_id("ena")}) == 4
    assert len(query_id("größe")) == 17


# --- popularity -----------------------------------------------------------------------------------------------------

counts = st.lists(st.integers(0, 40), min_size=1, max_size=60)
cuts = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0]), min_size=1, max_size=3, unique=True).map(
    lambda shares: {f"level {i}": share for i, share in enumerate(sorted(shares))}
)


def named(counts, thresholds=None):
    code, names = popularity(counts, **({} if thresholds is None else {"thresholds": thresholds}))
    return [names[c] for c in code]


def test_segments_come_out_by_hand():
    # 100 without the singles: 50 is head; then 20 and 20 start at 50 and are below 80; 6 starts at 90
    assert named([50, 20, 20, 6, 4, 1, 1]) == ["head", "torso", "torso", "tail", "tail", "single", "single"]
    # a border inside a tie goes to the more popular side: the three 20s start at 40
    assert named([40, 20, 20, 20]) == ["head", "head", "head", "head"]
    assert named([1, 1]) == ["single", "single"]
    assert named([7]) == ["head"]


@given(counts, cuts)
def test_queries_asked_equally_often_are_never_parted(counts, thresholds):
    segment = dict(zip(counts, named(counts, thresholds), strict=True))
    assert named(counts, thresholds) == [segment[c] for c in counts]
    assert all(segment[c] == "single" for c in segment if c == 1)
    assert all(segment[c] == "no user id" for c in segment if c == 0)


@given(counts, cuts)
def test_the_more_popular_is_never_in_the_less_popular_segment(counts, thresholds):
    order = [*thresholds, "tail", "single", "no user id"]
    ranked = [order.index(name) for name in named(sorted(counts, reverse=True), thresholds)]
    assert ranked == sorted(ranked)


@given(counts, cuts)
def test_a_segment_ends_at_the_first_count_that_reaches_its_threshold(counts, thresholds):
    total = sum(c for c in counts if c > 1)
    for name, share in thresholds.items():
        inside = [c for c, n in zip(counts, named(counts, thresholds), strict=True) if n == name]
        if inside:  # whoever is in started below the threshold
            assert sum(c for c in counts if c > min(inside)) < share * total + 1e-9


def test_a_border_at_exactly_the_threshold_is_exact():
    # 0.7 of 10 is 7 in whole numbers, and 7.000000000000001 or less in floating point
    assert named([7, 3], {"head": 0.7}) == ["head", "tail"]
    assert named([3] * 7 + [2] * 9, {"head": 0.7}) == ["head"] * 16


def test_segments_can_be_added_to_queries_that_have_counts():
    queries = pa.table({"query_id": ["1", "2", "3"], "query": ["b", "a", "c"], "users": [2, 2, 9], "segment": ["?"] * 3})
    table, facts = with_segments(queries, thresholds={"head": 0.5})
    assert rows(table, "query", "segment") == [("c", "head"), ("a", "tail"), ("b", "tail")]
    assert facts.least == {"head": 9, "tail": 2}
    assert facts.traffic["head"] == pytest.approx(9 / 13)
    with pytest.raises(InputError, match="1 of 2 queries have no users"):
        with_segments(pa.table({"query": ["a", "b"], "users": [1, None]}))
    with pytest.raises(InputError, match="expected 0 or more"):
        with_segments(pa.table({"query": ["a", "b"], "users": [1, -2]}))


def test_a_power_law_has_a_small_head_and_a_long_tail():
    rng = np.random.default_rng(5)
    facts = with_segments(pa.table({"query": [f"q{i}" for i in range(20_000)], "users": rng.zipf(1.8, 20_000)})).facts
    assert facts.sizes["head"] < facts.sizes["torso"] < facts.sizes["tail"] < facts.sizes["single"]
