"""Kinds of tables: what each must hold, how a wrong one is named, and reading one from disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_tables import EXAMPLES, MADE, run_table

from germane import store
from germane.store import checks
from germane.types import InputError, Outcome

# --- schemas and checks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(store.SCHEMAS))
def test_every_kind_of_table_comes_back_from_disk_as_it_went(tmp_path, kind):
    path = store.write_table(EXAMPLES[kind], tmp_path / "deep" / "table.parquet", kind, **MADE)
    assert store.read_table(path, kind).equals(EXAMPLES[kind])
    said = pq.read_schema(path).metadata
    assert said[b"germane.kind"] == kind.encode()
    assert said[b"germane.schema_version"] == str(store.SCHEMAS[kind].version).encode()


@pytest.mark.parametrize("kind", sorted(store.SCHEMAS))
def test_every_kind_names_a_missing_column_with_what_was_found_and_expected(kind):
    for column in store.SCHEMAS[kind].columns:
        if column.name in EXAMPLES[kind].column_names and not column.optional:
            broken = EXAMPLES[kind].drop_columns([column.name])
            message = f"my file: column '{column.name}' is missing: found .*; a table of {kind} has "
            with pytest.raises(InputError, match=message):
                store.conform(broken, kind, name="my file")


def test_large_text_categories_and_whole_number_ids_become_plain_text():
    odd = pa.table(
        {
            "query_id": pa.array([7, 7], pa.int32()),
            "doc_id": pa.array(["b", "a"]).dictionary_encode(),
            "score": pa.array([1, 2], pa.int8()),
        }
    )
    large = odd.set_column(1, "doc_id", pa.array(["b", "a"], pa.large_string()))
    for table in (odd, large):
        made = store.conform(table, "runs", name="run")
        assert made.schema.types == [pa.string(), pa.string(), pa.float64()]
        assert made.to_pylist()[0] == {"query_id": "7", "doc_id": "b", "score": 1.0}


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("query_id", [1.0, 2.0], "column 'query_id' has type double; expected string"),
        ("query_id", [True, False], "column 'query_id' has type bool; expected string"),
        ("query_id", [None, "q"], "row 1, column 'query_id': empty; expected text"),
        ("doc_id", ["a", ""], "row 2, column 'doc_id': empty; expected text that names the document"),
        ("doc_id", ["a", "b" * 10_001], "row 2, column 'doc_id': 10,001 characters; expected at most 10,000"),
        ("score", [True, False], "column 'score' has type bool; expected double"),
        ("score", ["1", "2"], "column 'score' has type string; expected double"),
        ("score", [1.0, None], "row 2, column 'score': empty; expected a number"),
        ("score", [1.0, float("nan")], "row 2, column 'score': found nan for query 'q', document 'b'; expected a finite"),
        ("score", [float("-inf"), 1.0], "row 1, column 'score': found -inf for query 'q', document 'a'"),
        ("score", [1e39, 1.0], r"row 1, column 'score': found 1e\+39"),
    ],
)
def test_a_run_with_a_wrong_value_names_its_row_and_column(column, values, message):
    run = run_table(("q", "a", 2.0), ("q", "b", 1.0))
    run = run.set_column(run.column_names.index(column), column, pa.array(values))
    with pytest.raises(InputError, match="^control.parquet[:,] " + message):
        store.conform(run, "runs", name="control.parquet")


@pytest.mark.parametrize("large", [True, False])
def test_a_document_twice_in_a_query_names_both_rows_and_scores(monkeypatch, large):
    monkeypatch.setattr(checks, "_LARGE", 0 if large else 10**9)
    run = run_table(("q", "a", 2.0), ("p", "a", 1.0), ("r", "z", 1.0), ("q", "a", 0.5), ("r", "z", 0.0))
    with pytest.raises(InputError, match=r"run: row 1 and row 4 both hold query_id 'q', doc_id 'a' \(score 2.0 and 0.5\)"):
        store.conform(run, "runs", name="run")


@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("abcd")), max_size=12))
@settings(max_examples=25)
def test_the_first_duplicate_is_found_by_hash_as_by_comparison(keys):
    columns = [pa.array([key[i] for key in keys], pa.string()) for i in range(2)]
    table = pa.Table.from_arrays(columns, ["query_id", "doc_id"])
    again = [(keys.index(key), row) for row, key in enumerate(keys) if keys.index(key) < row]
    answer = min(again, default=None)
    for large in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checks, "_LARGE", large)
            assert checks.first_duplicate(table, ["query_id", "doc_id"]) == answer


def test_numbers_in_text_are_read_only_where_a_format_has_no_types():
    text = pa.table({"query_id": ["q"], "doc_id": ["a"], "score": [" 1e-3 "]})
    assert store.conform(text, "runs", name="r", parse=True)["score"].to_pylist() == [0.001]
    with pytest.raises(InputError, match="column 'score' has type string"):
        store.conform(text, "runs", name="r")
    design = EXAMPLES["designs"].set_column(3, "population", pa.array(["10.0"]))
    assert store.conform(design, "designs", name="d", parse=True)["population"].to_pylist() == [10]
    with pytest.raises(InputError, match=r"d, row 1, column 'population': found 10.5; expected a whole number"):
        store.conform(design.set_column(3, "population", pa.array(["10.5"])), "designs", name="d", parse=True)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("inclusion_probability", 0.0, "found 0.0; expected above 0 and up to 1"),
        ("inclusion_probability", 1.5, "found 1.5; expected above 0 and up to 1"),
        ("inclusion_probability", float("nan"), "found nan; expected above 0"),
        ("population", 0, "found 0; expected 1 or more"),
    ],
)
def test_a_design_with_an_impossible_chance_or_population_is_refused(column, value, message):
    design = EXAMPLES["designs"]
    design = design.set_column(design.column_names.index(column), column, pa.array([value]))
    with pytest.raises(InputError, match=message):
        store.conform(design, "designs", name="design")


def test_a_stratum_has_one_population():
    design = pa.table(
        {"query_id": ["1", "2"], "stratum": ["tail"] * 2, "inclusion_probability": [0.1] * 2, "population": [10, 12]}
    )
    with pytest.raises(InputError, match="stratum 'tail' has populations 10 and 12; expected the same"):
        store.conform(design, "designs", name="design")


def test_no_answer_is_not_zero_and_a_label_is_an_answer():
    judgments = EXAMPLES["judgments"]
    zero = judgments.set_column(2, "relevance", pa.array([3, 0], pa.int16()))
    with pytest.raises(InputError, match="row 2: found relevance 0 with outcome 'abstained'; expected a relevance"):
        store.conform(zero, "judgments", name="j")
    missing = judgments.set_column(2, "relevance", pa.array([None, None], pa.int16()))
    with pytest.raises(InputError, match="row 1: found relevance None with outcome 'label'"):
        store.conform(missing, "judgments", name="j")
    odd = judgments.set_column(judgments.column_names.index("outcome"), "outcome", pa.array(["label", "shrug"]))
    with pytest.raises(InputError, match="row 2, column 'outcome': found 'shrug'; expected one of label, abstained"):
        store.conform(odd, "judgments", name="j")
    assert {str(o) for o in Outcome} == {"label", "abstained", "unparseable", "refused", "timeout", "filtered", "error"}


def test_a_query_as_long_as_a_document_is_refused():
    with pytest.raises(InputError, match="row 1, column 'query': 200,000 characters; expected at most 10,000: is a document's"):
        store.conform(pa.table({"query_id": ["q"], "query": ["x" * 200_000]}), "queries", name="q.parquet")
    longest = pa.table({"query_id": ["q"], "query": ["ü" * 10_000]})
    assert store.conform(longest, "queries", name="q").num_rows == 1


def test_a_column_that_is_there_twice_is_refused():
    twice = pa.Table.from_arrays([pa.array(["q"])] * 2, ["query_id", "query_id"])
    with pytest.raises(InputError, match="column 'query_id' is there more than once"):
        store.conform(twice, "queries", name="q")


def test_tables_that_conform_can_be_joined_end_to_end():
    one = store.conform(EXAMPLES["runs"], "runs", name="a")
    two = store.conform(pa.table({"query_id": ["2"], "doc_id": ["a"], "score": [1], "rank": [1]}), "runs", name="b")
    assert pa.concat_tables([one, two]).num_rows == 2


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_table_of_another_kind_or_a_newer_version_is_named(tmp_path):
    path = store.write_table(EXAMPLES["runs"], tmp_path / "x.parquet", "runs", **MADE)
    with pytest.raises(InputError, match=r"x\.parquet is a table of runs; expected judgments"):
        store.read_table(path, "judgments")
    newer = pq.read_table(path).replace_schema_metadata({"germane.kind": "runs", "germane.schema_version": "99"})
    pq.write_table(newer, path)
    with pytest.raises(InputError, match="has version 99 of the schema of runs; this germane knows up to 1: update germane"):
        store.read_table(path, "runs")


def test_a_parquet_file_cut_at_any_byte_is_one_clear_error(tmp_path):
    whole = store.write_table(EXAMPLES["runs"], tmp_path / "r.parquet", "runs", **MADE).read_bytes()
    cut = tmp_path / "cut.parquet"
    for size in [0, 3, 4, 8, *range(9, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.parquet is not a whole parquet file") as raised:
            store.read_table(cut, "runs")
        assert "\n" not in str(raised.value)


def test_a_damaged_parquet_file_is_one_clear_error_or_the_table_that_was_written(tmp_path):
    """Every page has a checksum: no value changes unseen. A column's name or a note on the schema may."""
    table = EXAMPLES["runs"]
    whole = store.write_table(table, tmp_path / "r.parquet", "runs", **MADE).read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 8)):
            damaged[at] ^= int(rng.integers(1, 256))
        (tmp_path / "d.parquet").write_bytes(damaged)
        try:
            found = store.read_table(tmp_path / "d.parquet", "runs")
        except InputError as error:
            refused += "\n" not in str(error)
        else:
            assert found.select(["query_id", "doc_id", "score"]).equals(table.select(["query_id", "doc_id", "score"]))
            refused += 1
    assert refused == 300


@pytest.mark.parametrize(("make", "message"), [(None, "there is no such file"), (Path.mkdir, "it is a folder")])
def test_what_is_not_a_file_is_named(tmp_path, make, message):
    path = tmp_path / "runs.parquet"
    if make:
        make(path)
    with pytest.raises(InputError, match=f"cannot read .*runs.parquet: {message}"):
        store.read_table(path, "runs")
