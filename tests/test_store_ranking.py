"""Ranks from scores as trec_eval makes them, the grades of what was ranked, and joins larger than memory."""

import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_tables import judgments_table, run_table

from germane import metrics, store
from germane.store import duck, ranking
from germane.types import InputError

ids = st.text("abZé7-😀", min_size=1, max_size=3)
scores = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 16777216.0, 16777217.0]),
    st.floats(-3e38, 3e38, allow_nan=False),
)
runs = st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=8), min_size=1, max_size=4)


def flat(run):
    rows = [(q, d, s) for q, docs in run.items() for d, s in docs.items()]
    return run_table(*rows)


def by_hand(run):
    """The rule as trec_eval states it, in Python."""
    rows = []
    for query in sorted(run, key=str.encode):
        order = sorted(run[query], key=lambda d: (np.float32(run[query][d]), d.encode()), reverse=True)
        rows += [{"query_id": query, "doc_id": d, "score": run[query][d], "rank": i} for i, d in enumerate(order, 1)]
    return rows


@given(runs, st.randoms(use_true_random=False))
def test_ranks_follow_single_precision_scores_then_document_ids_in_any_row_order(run, random):
    table = flat(run)
    rows = list(range(table.num_rows))
    random.shuffle(rows)
    assert store.rank(table.take(rows)).to_pylist() == by_hand(run)


@given(runs)
def test_ranks_are_those_of_pytrec_eval(run):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    ranked = store.rank(flat(run))
    for row in ranked.to_pylist():
        query = row["query_id"]
        evaluator = pytrec_eval.RelevanceEvaluator({query: {row["doc_id"]: 1}}, {"recip_rank"})
        assert evaluator.evaluate({query: run[query]})[query]["recip_rank"] == 1 / row["rank"]


@given(runs)
def test_the_store_and_the_metrics_rank_alike(run):
    table = flat(run)
    queries, documents = (sorted(set(table[c].to_pylist()), key=str.encode) for c in ("query_id", "doc_id"))
    query = [queries.index(q) for q in table["query_id"].to_pylist()]
    doc = [documents.index(d) for d in table["doc_id"].to_pylist()]
    ranked = metrics.rank_arrays(query, doc, table["score"].to_numpy())
    assert store.rank(table).drop_columns(["rank"]).equals(table.take(ranked.order))


def test_a_ranked_run_of_many_chunks_and_slices_is_ranked_the_same():
    rng = np.random.default_rng(1)
    table = run_table(*((f"q{i % 7}", f"d{i}", float(rng.integers(0, 5))) for i in range(300)))
    pieces = pa.concat_tables([table.slice(at, 37) for at in range(0, 300, 37)])
    assert pieces["query_id"].num_chunks > 1
    assert store.rank(pieces).equals(store.rank(table))
    assert store.rank(store.rank(table)).equals(store.rank(table))


def test_text_beyond_32_bit_offsets_is_taken_apart_and_put_together(monkeypatch):
    table = run_table(*((f"q{i % 7}", f"d{i}", float(i % 5)) for i in range(300)))
    expected = store.rank(table)
    monkeypatch.setattr(ranking, "_OFFSETS_END", 100)
    assert store.rank(table).equals(expected)


RUN = run_table(("q1", "a", 3.0), ("q1", "b", 2.0), ("q1", "c", 1.0), ("q2", "a", 1.0), ("q3", "z", 1.0))
LABELS = judgments_table([("q1", "b", 3), ("q1", "c", 0), ("q1", "a", None), ("q2", "a", 1), ("q2", "never shown", 2)])


@pytest.fixture(params=["arrow", "duckdb"])
def either_join(request, monkeypatch):
    monkeypatch.setattr(ranking, "_SMALL", 10**9 if request.param == "arrow" else -1)


def rows_of(table):
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.usefixtures("either_join")
def test_an_unjudged_document_has_no_grade_and_keeps_its_place():
    assert rows_of(store.graded(RUN, LABELS)) == [
        ("q1", "a", 1, None),
        ("q1", "b", 2, 3),
        ("q1", "c", 3, 0),
        ("q2", "a", 1, 1),
        ("q3", "z", 1, None),
    ]


@pytest.mark.usefixtures("either_join")
def test_condensed_takes_the_unjudged_out_before_it_ranks_and_cuts():
    assert rows_of(store.graded(RUN, LABELS, condensed=True, k=1)) == [("q1", "b", 1, 3), ("q2", "a", 1, 1)]


@pytest.mark.usefixtures("either_join")
def test_a_cut_and_a_choice_of_queries_leave_the_rest_as_it_is():
    assert rows_of(store.graded(RUN, LABELS, k=2, queries=pa.array(["q1", "q9"]))) == [("q1", "a", 1, None), ("q1", "b", 2, 3)]
    assert store.graded(RUN, LABELS, queries=pa.array([], pa.string())).num_rows == 0
    assert store.graded(RUN, LABELS.slice(0, 0), condensed=True).num_rows == 0


@given(runs, st.dictionaries(st.tuples(ids, ids), st.one_of(st.none(), st.integers(-2, 4)), max_size=12), st.integers(1, 5))
@settings(max_examples=40)
def test_grades_are_those_of_a_dictionary(run, labels, k):
    labels |= {(q, d): 1 for q, docs in run.items() for d in list(docs)[:2]}
    judged = judgments_table([(q, d, grade) for (q, d), grade in labels.items()])
    table = flat(run)
    for condensed in (False, True):
        kept = {
            query: {d: s for d, s in docs.items() if not condensed or labels.get((query, d)) is not None}
            for query, docs in run.items()
        }
        expected = [
            (row["query_id"], row["doc_id"], row["rank"], labels.get((row["query_id"], row["doc_id"])))
            for row in by_hand(kept)
            if row["rank"] <= k
        ]
        assert rows_of(store.graded(table, judged, k=k, condensed=condensed)) == expected


def test_a_pair_with_two_labels_is_refused_by_name():
    two = pa.concat_tables([LABELS, judgments_table([("q1", "b", 1)], judge="human:bob")])
    with pytest.raises(InputError, match="query 'q1', document 'b' has the labels 3 by human:ann and 1 by human:bob"):
        store.graded(RUN, two)
    assert store.graded(RUN, pa.concat_tables([LABELS, judgments_table([("q1", "b", None)], judge="human:bob")])).num_rows == 5


def test_a_join_larger_than_its_memory_spills_and_cleans_up(monkeypatch, tmp_path):
    monkeypatch.setattr(duck, "_memory", lambda: 60 << 20)
    monkeypatch.setattr(duck.tempfile, "tempdir", str(tmp_path))
    n = 400_000
    left = pa.table({"id": [f"{i:032d}" for i in range(n)], "x": np.arange(n)})
    with store.database(t=left, u=left) as query:
        total = query("SELECT count(*) AS n FROM (SELECT * FROM t JOIN u USING (id) ORDER BY id DESC, t.x)")["n"][0].as_py()
    assert total == n
    assert not os.listdir(tmp_path)


def test_a_join_that_fits_nowhere_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(duck, "_memory", lambda: 1 << 20)
    table = pa.table({"id": [f"{i:032d}" for i in range(200_000)]})
    with (
        pytest.raises(InputError, match="not enough memory or temporary disk space for this join"),
        store.database(t=table, u=table) as query,
    ):
        query("SELECT list(id) FROM (SELECT * FROM t ORDER BY id)")
