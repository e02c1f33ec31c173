"""The verb on files: formats by suffix, what a notebook may pass, and the real answer on real labels."""

import json

import pyarrow as pa
import pytest

import germane
from germane import scales, sources
from germane.pipeline.collect import collect
from germane.pipeline.compare import compare
from germane.pipeline.sample import sample
from germane.types import InputError, Refusal

ESCI_FIELDS = ("title", "description", "bullet_points", "brand", "color", "category")


@pytest.fixture(scope="module")
def small():
    """200 pairs of lists as dicts: run -> {query: {doc: score}}."""
    control = {f"q{i}": {f"d{j}": float(-((i * 7 + j * 3) % 11)) for j in range(8)} for i in range(60)}
    treatment = {f"q{i}": {f"d{j}": float(-((i * 5 + j * 2) % 11)) for j in range(8)} for i in range(60)}
    grades = {f"q{i}": {f"d{j}": (i * j) % 4 for j in range(8)} for i in range(60)}
    return control, treatment, grades


def test_files_tables_frames_and_dicts_give_one_answer(small, tmp_path):
    control, treatment, grades = small
    expected = compare(control, treatment, grades, scale="trec").delta
    runs = [sources.read_run(run) for run in (control, treatment)]
    labels = sources.read_judgments(grades, scale=scales.TREC)
    assert compare(runs[0].table, runs[1].table, labels, scale="trec").delta == expected
    frames = [table.to_pandas() for table in (runs[0].table, runs[1].table, labels)]
    assert compare(*frames, scale="trec").delta == expected
    for run_suffix, label_suffix in ((".run", ".qrels"), (".csv", ".csv"), (".jsonl", ".jsonl"), (".parquet", ".parquet")):
        paths = [tmp_path / f"control{run_suffix}", tmp_path / f"treatment{run_suffix}", tmp_path / f"labels{label_suffix}"]
        sources.write_run(runs[0], paths[0])
        sources.write_run(runs[1], paths[1])
        sources.write_judgments(labels, paths[2])
        report = germane.compare(*paths, scale="trec")
        assert report.delta == expected
        assert [i.role for i in report.inputs] == ["control", "treatment", "judgments"]
        assert all(len(i.sha256) == 64 for i in report.inputs)


def test_a_run_against_itself_has_two_names(small):
    control, _, grades = small
    report = compare(control, control, grades, scale="trec")
    assert (report.control_name, report.treatment_name) == ("control", "treatment")
    assert report.verdict == "no difference at all"


def test_the_json_of_a_report_holds_the_delta(small):
    control, treatment, grades = small
    delta = json.loads(compare(control, treatment, grades, scale="trec").to_json())["delta"]
    assert {"value", "se", "low", "high", "n", "method", "level"} <= set(delta)


def test_an_unknown_scale_is_answered_with_the_nearest(small):
    with pytest.raises(InputError, match="Did you mean 'trec'"):
        compare(*small, scale="trek")


@pytest.mark.parametrize("scale", [scales.FIVE_LEVEL, scales.ESCI, scales.TREC], ids=lambda s: s.name)
def test_grades_are_the_same_through_every_format(scale, small, tmp_path):
    """Qrels count grades from 0, whatever numbers the scale's labels go by elsewhere."""
    labels = sources.read_judgments(
        {q: {d: scale.labels[g] for d, g in row.items()} for q, row in small[2].items()}, scale=scale
    )
    for suffix in (".qrels", ".csv", ".parquet"):
        sources.write_judgments(labels, tmp_path / f"j{suffix}")
        again = sources.read_judgments(tmp_path / f"j{suffix}", scale=scale)
        assert again["relevance"].to_pylist() == labels["relevance"].to_pylist()


def test_a_machine_does_not_pass_for_people_through_qrels(small, tmp_path):
    said = sources.read_judgments(small[2], scale=scales.TREC, judge="gpt")
    with pytest.raises(InputError, match="cannot say that 'gpt', a machine, judged"):
        sources.write_judgments(said, tmp_path / "j.qrels")
    assert not list(tmp_path.iterdir())


def test_a_pair_judged_twice_does_not_fit_qrels(small, tmp_path):
    one, other = (sources.read_judgments(small[2], scale=scales.TREC, judge=f"human:{name}") for name in "xy")
    with pytest.raises(InputError, match="judged more than once"):
        sources.write_judgments(pa.concat_tables([one, other]), tmp_path / "j.qrels")


def test_judgments_that_name_nobody_are_said_to_be_taken_as_peoples(small):
    unnamed = "The judgments do not say who made them: they are taken as people's."
    assert unnamed in compare(*small, scale="trec").warnings
    named = sources.read_judgments(small[2], scale=scales.TREC, judge="human:ann")
    assert unnamed not in compare(*small[:2], named, scale="trec").warnings


@pytest.mark.parametrize("given", [{"queries": {"nope": "text"}}, {"docs": pa.table({"doc_id": ["nope"], "title": ["t"]})}])
def test_texts_of_other_queries_or_documents_are_refused(small, given):
    with pytest.raises(InputError, match=r"are these the (queries|docs) of these runs"):
        compare(*small, scale="trec", **given)


@pytest.fixture(scope="module")
def esci(data, tmp_path_factory):
    """ESCI's queries and products ranked by BM25 on titles and on all text, freely and inside each query's judged pool."""
    folder, out = data("esci_us_120"), tmp_path_factory.mktemp("esci")
    judgments = sources.read_judgments(folder / "judgments.parquet", scale=scales.ESCI)
    sources.write_judgments(judgments, out / "judgments.parquet")
    sample(folder / "queries.parquet", out / "design.parquet", n=120, seed=1, strata=("query_source",))
    for name, fields in (("title", ("title",)), ("all", ESCI_FIELDS)):
        for pool in (None, out / "judgments.parquet"):
            path = out / f"{name}{'_pool' if pool else ''}.parquet"
            given = {"fields": fields, "k": 100, "options": {"stopwords": "english"}, "candidates": pool}
            collect(folder / "queries.parquet", folder / "products.parquet", path, **given)
    return folder, out


def esci_report(esci, suffix="", **given):
    folder, out = esci
    given |= {"scale": "esci", "design": out / "design.parquet", "queries": folder / "queries.parquet"}
    given |= {"docs": folder / "products.parquet"}
    return compare(out / f"title{suffix}.parquet", out / f"all{suffix}.parquet", folder / "judgments.parquet", **given)


def test_the_false_win_on_esci_is_refused(esci):
    """Counting unjudged results as 0, all fields seem to beat titles by 0.03 (t = 3), with 21 % and 15 % unjudged."""
    with pytest.raises(Refusal, match="unevenly judged"):
        esci_report(esci)
    insisted = esci_report(esci, allow=["unjudged"])
    assert insisted.delta.value == pytest.approx(0.031, abs=0.001)
    assert insisted.delta.value / insisted.delta.se == pytest.approx(3.0, abs=0.1)
    assert (insisted.unjudged.control.value, insisted.unjudged.treatment.value) == pytest.approx((0.212, 0.153), abs=0.005)
    assert insisted.overrides


def test_ranking_the_judged_pool_of_esci_shows_no_clear_difference(esci):
    report = esci_report(esci, "_pool")
    assert report.delta.value == pytest.approx(0.0084, abs=0.001)
    assert report.delta.value / report.delta.se == pytest.approx(1.27, abs=0.1)
    assert report.verdict == "no clear difference"
    assert report.unjudged.mode == "complete"
    assert [e.name for e in report.by_segment] == ["behavioral", "negations", "other", "parse_pattern"]
    assert "Apache-2.0" in report.inputs[0].attribution
    assert report.judge.startswith("human:")
    assert (report.design.seed, report.design.origin) == (1, "neyman allocation over query_source")


def test_condensed_lists_of_esci_are_refused_for_their_length(esci):
    """The condensed difference of +0.022 (t = 2.6) is what the treatment's longer condensed lists could make alone."""
    with pytest.raises(Refusal, match=r"23\.0 documents a query in the control and 23\.6 in the treatment"):
        esci_report(esci, condensed=True)
    report = esci_report(esci, condensed=True, allow=["short-lists"])
    assert report.unjudged.mode == "condensed"
    assert any("Condensed lists are short" in w for w in report.warnings)
    assert report.unjudged.control.value == pytest.approx(0.212, abs=0.005)


def test_one_override_may_be_given_as_a_word(esci):
    assert esci_report(esci, allow="unjudged").overrides


def test_labels_of_the_products_file_are_never_searched(esci):
    """esci_query_ids names the queries that a product was judged for."""
    docs = sources.read_docs(esci[0] / "products.parquet")
    assert "esci_query_ids" not in docs.column_names
    assert isinstance(docs, pa.Table)
