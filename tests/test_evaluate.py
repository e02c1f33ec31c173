"""`germane evaluate` against ir_measures, on real product search and on lists made to be awkward."""

import ir_measures
import pandas as pd
import pytest

from germane.pipeline.evaluate import evaluate
from germane.sources import read_docs, read_judgments, read_queries
from germane.types import InputError

QRELS = {"q1": {"a": 3, "b": 0, "c": 1}, "q2": {"a": 2, "d": 0}, "q3": {"e": 1}}
RUN = {"q1": {"b": 9.5, "a": 7.1, "x": 2.0}, "q2": {"a": 4.2}, "q9": {"a": 1.0}}


def oracle(measure: str, qrels, run) -> dict[str, float]:
    """ir_measures' value of one measure for each query."""
    rows = ir_measures.iter_calc([ir_measures.parse_measure(measure)], qrels, run)
    return {row.query_id: row.value for row in rows}


@pytest.fixture(scope="module")
def esci(data):
    """ESCI: qrels on the scale's indices, and the runs of BM25 on titles and on all text."""
    from germane import scales
    from germane.engines import BM25

    folder = data("esci_us_120")
    judged = read_judgments(folder / "judgments.parquet", scale=scales.get("esci"))
    docs, queries = read_docs(folder / "products.parquet"), read_queries(folder / "queries.parquet")
    runs = {name: BM25(docs, fields=fields).search(queries, k=100) for name, fields in (("title", ("title",)), ("all", None))}
    return judged, runs


@pytest.mark.parametrize("run", ["title", "all"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("nDCG@10", "nDCG@10"),
        ("nDCG", "nDCG"),
        ("P@5", "P@5"),
        ("P(rel=3)@5", "P(rel=3)@5"),
        ("RR", "RR"),
        ("RR(rel=3)@10", "RR(rel=3)@10"),
        ("Judged@10", "Judged@10"),
        ("SDCG(max_rel=3)@25", "SDCG(max_rel=3)@25"),
        ("sDCG(gain=linear)@25", "SDCG(max_rel=3)@25"),
    ],
)
def test_esci_measures_equal_those_of_ir_measures(esci, run, ours, theirs):
    judged, runs = esci
    qrels = judged.select(["query_id", "doc_id", "relevance"]).to_pandas()
    rows = runs[run].to_pandas()
    if theirs in ("RR(rel=3)@10", "Judged@10"):  # these two go to providers that break ties in an order of their own
        rows = rows.assign(score=-rows["rank"].astype(float))
    expected = oracle(theirs, qrels, rows[["query_id", "doc_id", "score"]])
    found = evaluate(judged, runs[run], ours, scale="esci")
    values = dict(zip(found.query_ids, next(iter(found.values.values())), strict=True))
    assert len(values) == 120
    assert values == pytest.approx(expected, abs=1e-9)


def test_a_query_that_the_run_lacks_counts_and_one_that_nobody_judged_does_not():
    found = evaluate(QRELS, RUN, "RR P@5")
    assert found.query_ids == ("q1", "q2", "q3")
    assert found.missing == ("q3",)
    assert found.values["RR"].tolist() == [0.5, 1.0, 0.0]
    assert found.means() == pytest.approx({"RR": 0.5, "P@5": (0.2 + 0.2) / 3})


def test_a_judgment_without_an_answer_is_unjudged_and_not_irrelevant():
    table = read_judgments(QRELS)
    silent = pd.DataFrame({"query_id": ["q2"], "doc_id": ["z"], "label": [""]})
    without = evaluate(table, {"q2": {"z": 2.0, "a": 1.0}}, "Judged@10")
    assert without.values["Judged@10"][1] == 0.5
    assert read_judgments(silent)["relevance"].to_pylist() == [None]
    with pytest.raises(InputError, match="hold no grade"):
        evaluate(silent, RUN, "RR")


def test_the_gains_of_a_scale_are_in_the_metric_s_name():
    found = evaluate({"q1": {"a": "E", "b": "I"}}, RUN, "sDCG@5", scale="esci")
    assert list(found.values) == ["sDCG(gain=[0,0.01,0.1,1])@5"]


def test_every_format_gives_the_same_numbers(tmp_path):
    (tmp_path / "j.qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, row in QRELS.items() for d, g in row.items()))
    (tmp_path / "r.run").write_text("".join(f"{q} Q0 {d} 1 {s} x\n" for q, row in RUN.items() for d, s in row.items()))
    frame = pd.DataFrame([(q, d, s) for q, row in RUN.items() for d, s in row.items()], columns=["query_id", "doc_id", "score"])
    found = [
        evaluate(judged, run, ["nDCG@10", "RR"]).to_pandas() for judged in (QRELS, tmp_path / "j.qrels") for run in (RUN, frame)
    ]
    found.append(evaluate(tmp_path / "j.qrels", tmp_path / "r.run", "nDCG@10 RR").to_pandas())
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0], other)


def test_the_level_of_an_interval_is_the_one_that_was_asked_for():
    wide, narrow = (evaluate(QRELS, RUN, "RR", level=level).summary().measures["RR"] for level in (0.95, 0.5))
    assert (wide.level, narrow.level) == (0.95, 0.5)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


@pytest.mark.parametrize(
    ("metrics", "judged", "complaint"),
    [
        ("", QRELS, "no metric is named"),
        ("RR", {"other": {"a": 1}}, "no query is in both"),
        ("sDCG@5", QRELS, "name the judgments' scale"),
    ],
)
def test_what_cannot_be_measured_is_said(metrics, judged, complaint):
    with pytest.raises(InputError, match=complaint):
        evaluate(judged, RUN, metrics)


def test_a_query_that_the_run_lacks_counts_as_in_ir_measures():
    judged, run = {"q1": {"a": 1}, "q2": {"a": 1}}, {"q1": {"a": 2.0, "b": 1.0}}
    names = ["nDCG@10", "P@5", "RR", "Judged@10"]
    oracle = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in names], judged, run)
    ours = evaluate(judged, run, " ".join(names)).means()
    assert ours == pytest.approx({str(measure): value for measure, value in oracle.items()})
