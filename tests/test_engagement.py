"""The queries that a document was clicked for."""

import pyarrow as pa
import pytest

from germane.engagement import engaged_queries, read_clicks
from germane.text import query_digest
from germane.types import InputError


def log(*rows):
    return pa.table(dict(zip(("doc_id", "query", "user_id"), map(list, zip(*rows, strict=True)), strict=True)))


def listed(found):
    return {row["doc_id"]: row["engaged_queries"] for row in found.table.to_pylist()}


LOG = log(
    *[("d", "Oak table", user) for user in "abc"],
    *[("d", "desk", "a")] * 9,
    *[("d", "oak  TABLE", user) for user in "cd"],
    *[("d", "table", user) for user in "ab"],
    *[("e", "desk", user) for user in "ab"],
    ("f", "lamp", "a"),
)


def test_one_person_who_clicks_often_counts_once_and_spellings_are_one_query():
    clicks = read_clicks(LOG)
    assert (clicks.by, clicks.rows, clicks.nameless) == ("users", 19, 0)
    found = engaged_queries(clicks)
    assert listed(found) == {"d": ["oak table", "table"], "e": ["desk"]}
    assert (found.by, found.rare, found.held_out) == ("users", 2, 0)
    assert listed(engaged_queries(clicks, top=1)) == {"d": ["oak table"], "e": ["desk"]}
    assert listed(engaged_queries(clicks, least=1))["d"] == ["oak table", "table", "desk"]


def test_without_users_clicks_are_counted():
    found = engaged_queries(read_clicks(LOG.drop_columns(["user_id"])), least=3)
    assert (found.by, listed(found)) == ("clicks", {"d": ["desk", "oak table"]})
    counted = pa.table({"product_id": ["d", "d"], "query": ["a", "b"], "clicks": [3, 7]})
    assert listed(engaged_queries(read_clicks(counted))) == {"d": ["b", "a"]}


def test_queries_that_are_to_be_judged_are_left_out_however_they_are_written():
    found = engaged_queries(read_clicks(LOG), least=1, held_out={query_digest("OAK-table!"), query_digest("sofa")})
    assert (listed(found)["d"], found.held_out) == (["table", "desk"], 1)


def test_clicks_by_query_id_take_their_text_from_the_queries():
    clicks = pa.table({"search_id": ["1", "2", "3"], "query_id": ["q1", "q1", "q9"], "doc_id": ["d", "d", "d"]})
    queries = pa.table({"query_id": ["q1"], "query": ["desk"]})
    found = read_clicks(clicks, queries)
    assert (found.table.to_pylist(), found.nameless) == ([{"doc_id": "d", "query": "desk", "clicks": 2}], 1)
    with pytest.raises(InputError, match="only ids of queries: give their texts with --queries"):
        read_clicks(clicks)


def test_events_of_user_behavior_insights_are_read_and_only_clicks_count(data):
    clicks = read_clicks(data("ubi_esci_simulated") / "ubi_events.parquet")
    assert (clicks.by, clicks.rows) == ("users", 3448)
    assert sum(clicks.table["clicks"].to_pylist()) + clicks.nameless == 287
    found = listed(engaged_queries(clicks, least=1))
    assert found["B006588NGY"] == ["hp printer toner", "hp"]


def test_clicks_of_the_simulated_marketplace_are_read():
    from germane.engines.embedded import BM25
    from germane.simulate import Marketplace

    market = Marketplace(items=400, queries=60, seed=1)
    run = BM25(market.docs).search(market.queries, k=10)
    clicks = read_clicks(market.clicks(run), market.queries)
    assert (clicks.by, clicks.nameless) == ("clicks", 0)
    assert all(1 <= len(queries) <= 3 for queries in listed(engaged_queries(clicks, top=3)).values())


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"query": ["a"]}, "no column for the document that was clicked"),
        ({"doc_id": ["d"]}, "no column of the query's text: found doc_id"),
        ({"doc_id": ["d"], "query": ["a"], "clicks": [-1]}, "a count is missing or below 0"),
        ({"doc_id": ["d"], "query": ["a"], "clicks": ["many"]}, "expected whole numbers of clicks"),
        ({"doc_id": ["d"], "query": [" "]}, "none of its 1 rows is a click whose query is known"),
        ({"doc_id": ["d"], "query": ["a"], "action_name": ["view"]}, "none of its 1 rows is a click"),
    ],
)
def test_logs_that_hold_no_clicks_are_refused(table, complaint):
    with pytest.raises(InputError, match=complaint):
        read_clicks(pa.table(table))


def test_no_queries_at_all_are_refused():
    with pytest.raises(InputError, match="expected 1 or more of both"):
        engaged_queries(read_clicks(LOG), top=0)
