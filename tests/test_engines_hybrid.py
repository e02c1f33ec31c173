"""Reciprocal rank fusion: by hand, against the formula, and what it refuses."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane import sources, store
from germane.engines import BM25, Failure
from germane.engines.hybrid import Hybrid, fuse
from germane.pipeline.collect import collect
from germane.types import InputError


def run(**queries: str) -> pa.Table:
    """run(q="ab c") ranks a, b, c: spaces do not count."""
    rows = [(q, d, 1.0 / n) for q, docs in queries.items() for n, d in enumerate(docs.replace(" ", ""), 1)]
    query_id, doc_id, score = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [pa.array(query_id, pa.string()), pa.array(doc_id, pa.string()), pa.array(score, pa.float64())]
    return pa.table(dict(zip(("query_id", "doc_id", "score"), columns, strict=True)))


def lists(table: pa.Table) -> dict[str, list[str]]:
    found = defaultdict(list)
    for row in table.to_pylist():
        found[row["query_id"]].append(row["doc_id"])
    return dict(found)


def test_scores_are_sums_of_reciprocal_ranks_by_hand():
    fused = fuse([run(q="abc"), run(q="bd")])
    assert lists(fused) == {"q": ["b", "a", "d", "c"]}
    assert fused["score"].to_pylist() == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63], rel=1e-12)
    assert fused["rank"].to_pylist() == [1, 2, 3, 4]


def test_the_constant_decides_between_high_once_and_middling_twice():
    arms = [run(q="axb"), run(q="cyb")]
    assert lists(fuse(arms, constant=60))["q"][0] == "b"
    assert lists(fuse(arms, constant=0))["q"][:2] == ["c", "a"]


def test_ties_go_to_the_larger_doc_id():
    assert lists(fuse([run(q="ab"), run(q="ba")])) == {"q": ["b", "a"]}
    assert lists(fuse([run(q="ab"), run(q="ba")], k=1)) == {"q": ["b"]}


def test_a_query_that_one_run_lacks_is_ranked_by_the_others():
    assert lists(fuse([run(q="ab"), run(q="b", r="z")])) == {"q": ["b", "a"], "r": ["z"]}
    assert lists(fuse([run(q="ab"), run(q="b", r="z")], queries=["r", "none"])) == {"r": ["z"]}


def _textbook(runs: list[dict[str, list[str]]], constant: int = 60) -> dict[str, dict[str, float]]:
    """The formula as ranx 0.3 writes it: for each run and document 1 / (rank + k), added up."""
    scores: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for one in runs:
        for query, docs in one.items():
            for i, doc in enumerate(docs):
                scores[query][doc] += 1 / (constant + i + 1)
    return scores


DOCS = st.lists(st.sampled_from("abcdefghij"), unique=True, min_size=1, max_size=8)


@given(st.lists(DOCS, min_size=2, max_size=4))
def test_it_is_the_formula_and_the_order_of_the_runs_does_not_matter(found):
    runs = [run(q="".join(docs)) for docs in found]
    fused = fuse(runs)
    expected = _textbook([{"q": docs} for docs in found])["q"]
    assert dict(zip(fused["doc_id"].to_pylist(), fused["score"].to_pylist(), strict=True)) == pytest.approx(expected)
    assert fused.equals(fuse(runs[::-1]))
    order = sorted(sorted(expected, reverse=True), key=lambda doc: -np.float32(expected[doc]))
    assert fused["doc_id"].to_pylist() == order


def test_ranks_come_from_scores_on_any_scale():
    scaled = run(q="abc").set_column(2, "score", pa.array([9000.0, 12.0, -3.0]))
    assert fuse([scaled, run(q="bd")]).equals(fuse([run(q="abc"), run(q="bd")]))


@pytest.mark.parametrize(
    ("runs", "more", "complaint"),
    [
        ([run(q="a")], {}, "two rankings or more, and there is 1"),
        ([], {}, "there are 0"),
        ([run(q="a"), run(q="aa")], {}, "expected one row each"),
        ([run(q="a"), run(q="b")], {"constant": -1}, "constant=-1"),
    ],
)
def test_what_is_no_fusion_is_refused(runs, more, complaint):
    with pytest.raises(InputError, match=complaint):
        fuse(runs, **more)


DOCUMENTS = pa.table({"doc_id": ["a", "b", "c"], "title": ["red shoe", "red hat", "blue hat"], "text": ["hat", "red", "shoe"]})
ASKED = pa.table({"query_id": ["1", "2", "3"], "query": ["red hat", "blue", "zzz"]})


def test_engines_are_fused_as_their_runs_are():
    engines = [BM25(DOCUMENTS, ("title",)), BM25(DOCUMENTS, ("text",))]
    hybrid = Hybrid(engines)
    assert hybrid.search(ASKED, k=2).equals(fuse([e.search(ASKED) for e in engines], k=2, queries=["1", "2", "3"]))
    assert hybrid.name == "RRF of BM25 on title and BM25 on text"
    assert [part["fields"] for part in hybrid.origin["of"]] == [["title"], ["text"]]
    with pytest.raises(InputError, match="two engines or more"):
        Hybrid(engines[:1])


def test_candidates_are_all_ranked_however_many_there_are():
    pool = pa.table({"query_id": ["1"] * 3, "doc_id": ["a", "b", "c"]})
    found = Hybrid([BM25(DOCUMENTS, ("title",)), BM25(DOCUMENTS, ("text",))], depth=1).search(ASKED, k=3, candidates=pool)
    assert set(lists(found)["1"]) == {"a", "b", "c"}


class Failing:
    name, origin = "failing", {"engine": "failing", "models": ["m"]}
    failures = (Failure("1", "it was late"),)

    def search(self, queries, *, k=100):
        return run(**{"2": "c"})


def test_a_query_that_one_engine_failed_has_failed():
    hybrid = Hybrid([BM25(DOCUMENTS, ("title",)), Failing()])
    assert set(lists(hybrid.search(ASKED))) == {"2"}
    assert hybrid.failures == Failing.failures
    assert hybrid.origin["models"] == ["m"]


@pytest.fixture
def files(tmp_path):
    pq.write_table(ASKED, tmp_path / "queries.parquet")
    pq.write_table(DOCUMENTS, tmp_path / "docs.parquet")
    for field in ("title", "text"):
        collect(tmp_path / "queries.parquet", tmp_path / "docs.parquet", tmp_path / f"{field}.parquet", fields=(field,))
    return tmp_path


def test_collect_fuses_runs(files):
    runs = [files / "title.parquet", files / "text.parquet"]
    made = collect(files / "queries.parquet", None, files / "both.parquet", engine="hybrid", runs=runs, k=2)
    assert (made.engine, made.unanswered) == ("RRF of title and text", 1)
    found = sources.read_run(files / "both.parquet")
    assert [part["run"] for part in found.origin["of"]] == ["title", "text"]
    expected = fuse([store.read_table(path, "runs") for path in runs], k=2, queries=["1", "2", "3"])
    assert store.read_table(files / "both.parquet", "runs").to_pylist() == expected.to_pylist()
    other = {"options": {"constant": 1.0}, "k": 2}
    assert collect(files / "queries.parquet", None, files / "both.parquet", engine="hybrid", runs=runs, **other).made


@pytest.mark.parametrize(
    ("docs", "more", "complaint"),
    [
        (True, {"runs": True}, "a fusion of runs searches no documents"),
        (False, {"runs": True, "candidates": True}, "were collected before"),
        (False, {"runs": "one"}, "two rankings or more"),
        (True, {}, "needs a student"),
    ],
)
def test_what_cannot_be_fused_is_said(files, docs, more, complaint):
    runs = {True: [files / "title.parquet", files / "text.parquet"], "one": [files / "title.parquet"]}.get(more.get("runs"), [])
    more_ = {"runs": runs} | ({"candidates": files / "title.parquet"} if "candidates" in more else {})
    catalogue = files / "docs.parquet" if docs else None
    with pytest.raises(InputError, match=complaint):
        collect(files / "queries.parquet", catalogue, files / "r.parquet", engine="hybrid", **more_)
    assert not (files / "r.parquet").exists()
