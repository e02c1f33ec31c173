import json
from pathlib import Path

import pytest

from germane import store
from germane.pipeline import demo as page
from germane.pipeline.demo import JUDGE, demo
from germane.simulate import Marketplace
from germane.simulate.raters import RATER, votes
from germane.types import InputError, Report


@pytest.fixture(autouse=True, scope="module")
def _small():
    """The demo's story in a small town, so that it is told in seconds."""
    market = Marketplace(items=3_000, queries=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "Marketplace", lambda: market)
        patch.setattr(page, "QUERIES", 160)
        patch.setattr(page, "LEAST", 2)
        patch.setattr(page, "GOLD_QUERIES", 40)
        yield


@pytest.fixture(scope="module")
def told(_small, tmp_path_factory) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("demo")
    return demo(out), out


def test_the_demo_ends_in_a_report_that_knows_the_truth(told):
    report, out = told
    assert Report.from_json((out / "report.json").read_text(encoding="utf-8")) == report
    market = page.Marketplace()
    assert report.truth == page.truth(market)
    html = (out / "report.html").read_text(encoding="utf-8")
    inside = report.delta.low <= report.truth <= report.delta.high
    assert f"the known truth of this simulation is {report.truth:+.4f}: {'inside' if inside else 'outside'}" in html.casefold()


def test_everything_in_the_demo_says_that_it_is_simulated(told):
    report, out = told
    assert any("simulation" in warning for warning in report.warnings)
    assert "simulated" in report.judge
    assert "simulated" in report.question
    assert all("simulated" in i.attribution for i in report.inputs if i.role in ("control", "treatment", "judgments", "docs"))
    assert all(
        "simulated" in judge for judge in store.read_table(out / "gold.parquet", "judgments")["judge"].unique().to_pylist()
    )


def test_every_step_leaves_a_file_that_can_be_checked(told):
    report, out = told
    tables = {"docs": "docs", "queries": "queries", "design": "designs", "titles": "runs", "all-fields": "runs"}
    tables |= {"pairs": "pairs", "gold": "judgments", "judgments": "judgments"}
    for name, kind in tables.items():
        path = out / f"{name}.parquet"
        assert store.read_table(path, kind).num_rows
        assert store.read_manifest(path) is not None
    assert (out / "judge" / "card.json").is_file()
    assert report.card is not None
    assert report.card.passed
    assert report.unjudged.moved == 0


def test_the_queries_of_the_log_are_those_of_the_marketplace(told):
    _, out = told
    market = page.Marketplace()
    queries = store.read_table(out / "queries.parquet", "queries")
    assert set(queries["query_id"].to_pylist()) == set(market.queries["query_id"].to_pylist())


def test_the_same_seed_tells_the_same_story_and_another_one_draws_anew(told, tmp_path):
    report, out = told
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert demo(out) == report
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    other = demo(tmp_path, seed=2)
    assert other.truth == report.truth
    assert other.delta != report.delta


def test_the_demo_refuses_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(InputError, match="demo"):
        demo(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.parametrize("matrix", [JUDGE, RATER])
def test_stated_errors_are_probabilities_and_mostly_small(matrix):
    for true, row in enumerate(matrix):
        assert sum(row) == pytest.approx(1)
        assert row[true] == max(row)
        assert sum(row[max(true - 1, 0) : true + 2]) > 0.95


def test_raters_are_several_people_who_do_not_err_together(told):
    _, out = told
    market, pairs = page.Marketplace(), store.read_table(out / "pairs.parquet", "pairs").slice(0, 500)
    said = votes(market, pairs, raters=("a", "b"), seed=1)
    truth = market.truth(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist())
    grades = said["relevance"].to_numpy().reshape(2, 500)
    errors = grades != truth
    assert 0.05 < errors.mean() < 0.2
    assert errors.all(axis=0).mean() < 0.05
    assert json.dumps(sorted(set(said["judge"].to_pylist()))) == '["human:a (simulated)", "human:b (simulated)"]'
