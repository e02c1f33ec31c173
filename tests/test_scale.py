"""Experiments from large files: read in pieces, pooled in blocks of queries, and the same report to the last digit."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from germane import scales, sources, store
from germane.experiment import arms, pool
from germane.pipeline.compare import compare
from germane.store import coded, stored
from germane.types import InputError, Refusal, Run

SCALE = scales.FIVE_LEVEL
DOCS = [f"d{i:02d}" for i in range(14)]


@pytest.fixture
def small_blocks(monkeypatch):
    """Two queries a block and forty rows a piece, so that small data crosses every border."""
    monkeypatch.setattr(coded, "BITS", 1)
    monkeypatch.setattr(coded, "QUERIES", 2)
    monkeypatch.setattr(pool, "STEP", 3)
    monkeypatch.setattr(stored, "PIECE", 40)


def world(queries=48, seed=1, unjudged=0.0):
    """Two runs and their judgments as tables in random row order, some pages empty, some scores equal."""
    rng = np.random.default_rng(seed)
    runs = []
    for arm in range(2):
        rows = []
        for q in range(queries):
            shown = rng.permutation(DOCS)[: 0 if q == 3 or q == 5 + arm else 8]
            score = rng.integers(0, 6, len(shown)).astype(float)
            rows += [(f"q{q:03d}", str(d), float(s)) for d, s in zip(shown, score, strict=True)]
        runs.append(pa.table(dict(zip(("query_id", "doc_id", "score"), map(list, zip(*rows, strict=True)), strict=True))))
    pairs = [(f"q{q:03d}", d) for q in range(queries) for d in DOCS if rng.random() >= unjudged]
    grades = pa.array(rng.integers(0, 5, len(pairs)), pa.int16())
    judged = pa.table({"query_id": [q for q, _ in pairs], "doc_id": [d for _, d in pairs], "relevance": grades})
    for name, text in (("judge", "human:x"), ("fingerprint", ""), ("scale", "five-level"), ("guide_version", "")):
        judged = judged.append_column(name, pa.repeat(text, len(pairs)))
    return [table.take(rng.permutation(table.num_rows)) for table in (*runs, judged)]


def saved(folder, control, treatment, judgments, **more):
    """The files, in row groups of a few rows."""
    folder.mkdir(exist_ok=True)
    tables = {"control": control, "treatment": treatment, "judgments": judgments, **more}
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=90)
    return {name: folder / f"{name}.parquet" for name in tables}


def both_ways(monkeypatch, files, **given):
    """The report from tables in memory, and from files in pieces; an error's text where there is one."""
    found = []
    for big in (10**9, 0):
        monkeypatch.setattr(stored, "BIG", big)
        try:
            found.append(json.loads(compare(**files, scale=SCALE, **{"metric": "sDCG@5", **given}).to_json()))
        except (InputError, Refusal) as problem:
            found.append(str(problem))
    return found


def by_hand(control, treatment, judgments, queries, k, condensed):
    """The pool from dictionaries, as its docstring tells it."""
    grades = {
        (q, d): g for q, d, g in zip(*(judgments[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True)
    }
    lists = []
    for run in (control, treatment):
        scores = {}
        for q, d, s in zip(*(run[c].to_pylist() for c in ("query_id", "doc_id", "score")), strict=True):
            scores.setdefault(q, []).append((np.float32(s), d.encode(), d))
        ranked = {q: [d for *_, d in sorted(rows, reverse=True)] for q, rows in scores.items()}
        kept = {q: [d for d in rows if not condensed or grades.get((q, d)) is not None] for q, rows in ranked.items()}
        lists.append({q: {d: i for i, d in enumerate(rows[:k], 1)} for q, rows in kept.items()})
    rows = []
    for number, q in enumerate(queries):
        first, second = (arm.get(q, {}) for arm in lists)
        for d in sorted({**first, **second}, key=lambda d: (first.get(d, 99), second.get(d, 99))):
            grade = grades.get((q, d))
            rows.append((number, d, first.get(d, 0), second.get(d, 0), -1 if grade is None else grade))
    return rows


def rows_of(built):
    return list(
        zip(
            built.query.tolist(),
            built.docs.to_pylist(),
            built.control_rank.tolist(),
            built.treatment_rank.tolist(),
            built.relevance.tolist(),
            strict=True,
        )
    )


def read(tables):
    return arms.read(
        *(Run(name, table, {}) for name, table in zip("ct", tables[:2], strict=True)), tables[2], gains=SCALE.gains
    )


# --- the pool -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("condensed", [False, True])
@pytest.mark.parametrize("k", [1, 5, None])
def test_the_pool_is_that_of_dictionaries(k, condensed):
    tables = world(queries=17, unjudged=0.3)
    queries = ["nobody's", *sorted({*tables[0]["query_id"].to_pylist()})[:-2]]
    built = pool.build(read(tables), pa.array(queries), k=k, condensed=condensed)
    assert rows_of(built) == by_hand(*tables, queries, k, condensed)
    assert built.offsets.tolist() == np.searchsorted(built.query, np.arange(len(queries) + 1)).tolist()


ids = st.text("ab\u00e9\U0001f600", min_size=1, max_size=2)
scores = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, -3e38])
lists = st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=6), min_size=1, max_size=5)
grades = st.dictionaries(st.tuples(ids, ids), st.one_of(st.none(), st.integers(0, 4)), max_size=15)


def flat(run):
    rows = [(q, d, s) for q, docs in run.items() for d, s in docs.items()]
    return pa.table(dict(zip(("query_id", "doc_id", "score"), map(list, zip(*rows, strict=True)), strict=True)))


@given(lists, lists, grades, st.integers(1, 4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_two_runs_pool_like_dictionaries(control, treatment, said, k, condensed):
    judged = pa.table(
        {
            "query_id": pa.array([q for q, _ in said], pa.string()),
            "doc_id": pa.array([d for _, d in said], pa.string()),
            "relevance": pa.array(list(said.values()), pa.int16()),
        }
    )
    tables = (flat(control), flat(treatment), judged)
    queries = sorted({*control, *treatment}, key=str.encode)
    built = pool.build(read(tables), pa.array(queries), k=k, condensed=condensed)
    hand = by_hand(*tables, queries, k, condensed)
    assert rows_of(built) == hand
    for arm, at in (("control", 2), ("treatment", 3)):
        of_query = [sorted((row[at], row[4]) for row in hand if row[0] == q and row[at]) for q in range(len(queries))]
        assert built.lists(arm).relevance.tolist() == [grade for page in of_query for _, grade in page]
        assert built.pages(arm).tolist() == list(map(len, of_query))


def test_documents_whose_hashes_look_alike_are_told_apart(monkeypatch):
    tables = world(queries=9, unjudged=0.3)
    queries = sorted(set(tables[0]["query_id"].to_pylist()))
    monkeypatch.setattr(
        coded, "pair_keys", lambda query, doc: (query.astype(np.uint64) << np.uint64(8)) | (doc & np.uint64(12))
    )
    built = pool.build(read(tables), pa.array(queries), k=5)
    assert rows_of(built) == by_hand(*tables, queries, 5, False)


def test_places_decided_by_equal_scores_are_counted_down_to_the_cut():
    run = pa.table({"query_id": ["a"] * 4, "doc_id": list("wxyz"), "score": [3.0, 2.0, 1.0, 1.0]})
    judged = pa.table({"query_id": ["a"], "doc_id": ["w"], "relevance": pa.array([1], pa.int16())})
    assert pool.build(read((run, run.slice(0, 2), judged)), pa.array(["a"]), k=3).ties == pytest.approx((1 / 3, 0))
    assert pool.build(read((run, run, judged)), pa.array(["a"]), k=None).ties == (0.5, 0.5)


def test_the_gain_that_probabilities_expect_stands_where_a_document_is_judged():
    run = pa.table({"query_id": ["a", "a", "a"], "doc_id": list("xyz"), "score": [3.0, 2.0, 1.0]})
    judged = pa.table({"query_id": ["a", "a"], "doc_id": ["x", "y"], "relevance": pa.array([4, 0], pa.int16())})
    probs = pa.array([[0, 0, 0, 0.5, 0.5], [0.5, 0.5, 0, 0, 0]], pa.list_(pa.float32()))
    built = pool.build(read((run, run, judged.append_column("probs", probs))), pa.array(["a"]), k=3)
    assert built.expected.tolist() == pytest.approx([0.875, 0.125, 0.0])
    some = pa.array([[0, 0, 0, 0.5, 0.5], None], pa.list_(pa.float32()))
    assert pool.build(read((run, run, judged.append_column("probs", some))), pa.array(["a"]), k=3).expected is None
    assert pool.build(read((run, run, judged)), pa.array(["a"]), k=3).expected is None
    short = pa.array([[0.5, 0.5], [0.5, 0.5]], pa.list_(pa.float32()))
    with pytest.raises(InputError, match=r"a row has 2 probabilities .* and the scale has 5 grades"):
        read((run, run, judged.append_column("probs", short)))


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "given",
    [{}, {"metric": "nDCG@5"}, {"condensed": True, "allow": ["short-lists"]}, {"groups": "kind", "metric": "sDCG@3"}],
    ids=["plain", "nDCG", "condensed", "groups"],
)
def test_a_report_from_pieces_is_the_report(tmp_path, monkeypatch, given):
    tables = world(unjudged=0.02)
    ids = sorted(set(tables[0]["query_id"].to_pylist()))
    design = pa.table(
        {
            "query_id": ids,
            "stratum": ["head" if q < "q013" else "tail" for q in ids],
            "inclusion_probability": [
                sum((q < "q013") == (p < "q013") for p in ids) / (40 if q < "q013" else 900) for q in ids
            ],
            "population": [40 if q < "q013" else 900 for q in ids],
        }
    )
    docs = pa.table({"doc_id": DOCS[2:], "title": [f"title {d}" for d in DOCS[2:]], "kind": ["a", "b", "c"] * 4})
    files = saved(tmp_path / "files", *tables, design=design, docs=docs)
    whole, pieces = both_ways(monkeypatch, files, **{"allow": ["unjudged"], **given})
    assert isinstance(whole, dict), whole
    assert whole == pieces
    assert any("equal scores" in warning for warning in pieces["warnings"])
    assert pieces["winners"][0]["control_results"][0]["doc_id"] in DOCS


def wrong(column, row, value):
    """A change of one value."""

    def change(table):
        values = table[column].to_pylist()
        values[row] = value
        kind = table.schema.field(column).type
        return table.set_column(table.column_names.index(column), column, pa.array(values, kind))

    return change


def twice(table):
    return pa.concat_tables([table, table.slice(7, 1)])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("control", twice, r"row 8 and row \d+ both hold query_id 'q"),
        ("control", wrong("score", 101, float("nan")), "row 102, column 'score': found nan"),
        ("control", wrong("score", 101, 1e300), "row 102, column 'score': found 1e\\+300"),
        ("treatment", wrong("query_id", 60, ""), "row 61, column 'query_id': empty"),
        ("treatment", wrong("query_id", 60, None), "row 61, column 'query_id': empty"),
        ("treatment", wrong("doc_id", 60, ""), "row 61, column 'doc_id': empty"),
        ("treatment", wrong("doc_id", 60, "x" * 10_001), "row 61, column 'doc_id': 10,001 characters"),
        ("judgments", twice, "both hold query_id 'q"),
        ("judgments", wrong("relevance", 99, 7), "row 100, column 'relevance': found 7; expected an index"),
        ("judgments", wrong("scale", 99, "esci"), "judgments on scale esci, five-level; expected five-level"),
        ("judgments", wrong("doc_id", 99, ""), "row 100, column 'doc_id': empty"),
    ],
)
def test_what_is_wrong_in_a_large_file_is_named_as_in_a_small_one(tmp_path, monkeypatch, name, change, said):
    tables = dict(zip(("control", "treatment", "judgments"), world(), strict=True))
    tables[name] = change(tables[name])
    whole, pieces = both_ways(monkeypatch, saved(tmp_path / "files", **tables))
    assert whole == pieces
    with pytest.raises(InputError, match=said):
        raise InputError(whole)


def test_two_people_may_give_a_pair_the_same_grade_and_not_two(tmp_path, monkeypatch):
    control, treatment, judged = world()
    others = judged.slice(0, 30).set_column(3, "judge", pa.repeat("human:y", 30))
    files = saved(tmp_path / "same", control, treatment, pa.concat_tables([judged, others]))
    whole, pieces = both_ways(monkeypatch, files)
    assert whole == pieces
    assert whole["judge"] == "human:x, human:y"
    other = others.set_column(2, "relevance", pa.array([(g + 1) % 5 for g in others["relevance"].to_pylist()], pa.int16()))
    files = saved(tmp_path / "other", control, treatment, pa.concat_tables([judged, other]))
    whole, pieces = both_ways(monkeypatch, files)
    assert whole == pieces
    assert "30 pairs have two different grades, first query" in whole


def test_labels_of_a_large_file_are_read_as_those_of_a_small_one(tmp_path, monkeypatch):
    control, treatment, judged = world()
    bare = judged.select(["query_id", "doc_id"]).append_column(
        "label", pa.array([SCALE.labels[g] for g in judged["relevance"].to_pylist()])
    )
    whole, pieces = both_ways(monkeypatch, saved(tmp_path / "bare", control, treatment, bare))
    plain, _ = both_ways(monkeypatch, saved(tmp_path / "plain", control, treatment, judged))
    assert whole == pieces
    assert whole["delta"] == plain["delta"]
    assert any("do not say who made them" in warning for warning in pieces["warnings"])


def test_files_of_other_types_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "BIG", 0)
    control, _, judged = world(queries=4)
    numbers = control.set_column(0, "query_id", pa.array([int(q[1:]) for q in control["query_id"].to_pylist()]))
    pq.write_table(numbers, tmp_path / "numbers.parquet")
    pq.write_table(control, tmp_path / "text.parquet")
    pq.write_table(judged, tmp_path / "judged.parquet")
    assert not isinstance(sources.open_run(tmp_path / "numbers.parquet").table, store.Stored)
    run = sources.open_run(tmp_path / "text.parquet")
    assert isinstance(run.table, store.Stored)
    assert run.table.num_rows == run.origin["rows"] == control.num_rows
    assert run.table["doc_id"].equals(sources.read_run(tmp_path / "text.parquet").table["doc_id"])
    assert sources.open_judgments(tmp_path / "judged.parquet", scale=SCALE).num_rows == judged.num_rows
    assert not isinstance(sources.open_run({"q": {"d": 1.0}}).table, store.Stored)


def test_a_large_file_with_a_wrong_byte_is_said(tmp_path, monkeypatch):
    files = saved(tmp_path / "files", *world())
    pq.write_table(pq.read_table(files["control"]), files["control"], write_page_checksum=True, compression="none")
    data = bytearray(files["control"].read_bytes())
    data[len(data) // 3] ^= 1
    files["control"].write_bytes(bytes(data))
    whole, pieces = both_ways(monkeypatch, files)
    assert "control.parquet is not a whole parquet file" in pieces
    assert "control.parquet is not a whole parquet file" in whole
