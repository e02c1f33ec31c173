"""What leaves germane is read by others: the difference and the interval that they compute must be those of the report."""

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import cli, scales, sources, store
from germane.pipeline.check import check
from germane.pipeline.compare import compare
from germane.pipeline.export import export
from germane.types import InputError, Refusal


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two runs of 61 queries, their grades, and a design of two strata, one of them sampled ten times as thinly."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(3)
    queries = [f"q{i}" for i in range(61)]
    grades = {query: {f"d{j}": int(rng.integers(0, 4)) for j in range(12)} for query in queries}
    for arm, quality in (("control", 0.3), ("treatment", 0.6)):
        scores = {q: {d: quality * g + rng.normal() for d, g in of.items()} for q, of in grades.items()}
        sources.write_run(sources.read_run(scores, name=arm), folder / f"{arm}.run")
    sources.write_judgments(sources.read_judgments(grades, scale=scales.TREC), folder / "grades.qrels")
    head = np.arange(61) < 20
    pd.DataFrame(
        {
            "query_id": queries,
            "stratum": np.where(head, "head", "tail"),
            "population": np.where(head, 20, 4100),
            "inclusion_probability": np.where(head, 1.0, 0.01),
            "segment": np.where(head, "head", "tail"),
        }
    ).to_csv(folder / "design.csv", index=False)
    return folder


def arguments(files, *, design=False):
    given = [files / name for name in ("control.run", "treatment.run", "grades.qrels")]
    return given, {"scale": "trec", "metric": "sDCG@10", "design": files / "design.csv" if design else None}


def exported(files, out, *, design=False, **options):
    given, asked = arguments(files, design=design)
    made = export(*given, out, **asked, **options)
    return made, (pq.read_table(out) if out.suffix == ".parquet" else pd.read_csv(out))


def welch(a, b):
    """(difference, standard error) of two groups as experiment platforms compute them."""
    return b.mean() - a.mean(), np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))


@pytest.mark.parametrize("design", [False, True])
def test_the_plain_table_holds_the_delta_of_compare(files, tmp_path, design):
    given, asked = arguments(files, design=design)
    report = compare(*given, **asked)
    made, table = exported(files, tmp_path / "plain.parquet", design=design)
    assert made.delta == report.delta
    weight, control, treatment, difference = (table[c].to_numpy() for c in ("weight", "control", "treatment", "difference"))
    assert (weight * difference).mean() == pytest.approx(report.delta.value, abs=1e-12)
    assert (weight * control).mean() == pytest.approx(report.control.value, abs=1e-12)
    assert treatment - control == pytest.approx(difference)
    assert weight.mean() == pytest.approx(1)
    assert (table["results_control"].to_numpy() == 10).all()
    assert not table["unjudged_treatment"].to_numpy().any()
    if design:
        assert table["stratum"].to_pylist() == table["segment"].to_pylist()
        assert table["interest"].null_count == 61
        assert set(table["inclusion_probability"].to_pylist()) == {1.0, 0.01}
        head = np.array(table["stratum"].to_pylist()) == "head"
        assert weight[head].mean() / weight[~head].mean() == pytest.approx((20 / 20) / (4100 / 41))
    else:
        assert set(weight) == {1.0}


def test_a_table_is_made_once_and_again_when_something_changes(files, tmp_path):
    out = tmp_path / "plain.parquet"
    first, _ = exported(files, out)
    again, _ = exported(files, out)
    assert (first.made, again.made) == (True, False)
    assert again == first._replace(made=False)
    assert exported(files, out, design=True)[0].made
    assert store.read_manifest(out).verb == "export"


@pytest.mark.parametrize("form", ["growthbook", "statsig"])
def test_a_platform_finds_the_difference_and_the_interval_of_the_pairs(files, tmp_path, form):
    given, asked = arguments(files)
    report = compare(*given, **asked)
    made, table = exported(files, tmp_path / "units.csv", form=form, at="2026-05-04T12:00:00+02:00", name="exp-7")
    assert made.rows == len(table) == 61
    assert table["unit_id"].is_unique
    assert set(table["experiment_id"]) == {"exp-7"}
    assert set(table["timestamp"]) == {"2026-05-04 10:00:00Z"}
    value = table["value" if form == "growthbook" else "metric_value"]
    group = table["variation_id"] == 1 if form == "growthbook" else table["group_id"] == "treatment"
    difference, se = welch(value[~group], value[group])
    assert difference == pytest.approx(report.delta.value, abs=1e-12)
    assert se == pytest.approx(report.delta.se, rel=0.06)  # the variance is that of halves, in a random split
    assert value[~group].mean() == pytest.approx(report.control.value, rel=0.15)
    if form == "statsig":
        assert set(table["id_type"]) == {"query_id"}
        assert set(table["metric_name"]) == {made.metric}
        assert set(table["date"]) == {"2026-05-04"}


def test_arms_show_each_arm_s_own_values_and_an_interval_that_is_too_wide(files, tmp_path):
    given, asked = arguments(files)
    report = compare(*given, **asked)
    made, table = exported(files, tmp_path / "arms.csv", form="growthbook", at="2026-05-04", pairing="arms")
    group = table["variation_id"] == 1
    assert len(table) == 122
    assert table["unit_id"].is_unique
    difference, se = welch(table["value"][~group], table["value"][group])
    assert difference == pytest.approx(report.delta.value)
    assert table["value"][group].mean() == pytest.approx(report.treatment.value)
    assert se > report.delta.se
    assert any("far too wide" in note for note in made.notes)


@pytest.mark.parametrize("pairing", ["split", "arms"])
@pytest.mark.parametrize("design", [False, True])
def test_confidence_reads_sums_by_group_that_give_the_delta(files, tmp_path, pairing, design):
    """numerator / denominator is a group's mean, numerator_sum_squares / denominator minus its square the variance."""
    given, asked = arguments(files, design=design)
    report = compare(*given, **asked)
    _, table = exported(files, tmp_path / "c.csv", form="confidence", pairing=pairing, design=design)
    sums = table.groupby("variation_name")[["numerator", "numerator_sum_squares", "denominator"]].sum()
    mean = sums["numerator"] / sums["denominator"]
    variance = sums["numerator_sum_squares"] / sums["denominator"] - mean**2
    assert mean["treatment"] - mean["control"] == pytest.approx(report.delta.value, abs=1e-12)
    if pairing == "split" and not design:
        assert np.sqrt((variance / sums["denominator"]).sum()) == pytest.approx(report.delta.se, rel=0.06)
    if design:
        head = table[table["stratum"] == "head"].set_index("variation_name")
        inside = head["within_numerator"] / head["denominator"]
        effect = next(e for e in report.by_segment if e.name == "head")
        assert inside["treatment"] - inside["control"] == pytest.approx(effect.delta.value, abs=0.01)
        assert list(table.columns[:3]) == ["variation_name", "stratum", "segment"]


def test_the_level_and_the_card_of_the_judge_are_those_of_compare(files, tmp_path):
    given, asked = arguments(files)
    wide, _ = exported(files, tmp_path / "wide.parquet", level=0.99)
    assert wide.delta == compare(*given, **asked, level=0.99).delta
    people = sources.read_judgments(given[2], scale=scales.TREC)
    machine = people
    for name, value in (("judge", "gpt"), ("fingerprint", "f1"), ("guide_version", scales.TREC.version)):
        at = machine.schema.get_field_index(name)
        machine = machine.set_column(at, name, pa.array([value] * machine.num_rows))
    given[2] = tmp_path / "machine.parquet"
    sources.write_judgments(machine, given[2])
    with pytest.raises(Refusal, match="--allow no-card"):
        export(*given, tmp_path / "x.parquet", **asked)
    card = check(people, machine, scale="trec", bars={"exact": 0.5}, out=tmp_path / "card")
    assert export(*given, tmp_path / "x.parquet", **asked, card=tmp_path / "card" / "card.json").delta.n == 61
    assert export(*given, tmp_path / "y.parquet", **asked, card=card).made


def test_strata_that_weigh_differently_are_said_and_seen(files, tmp_path):
    made, table = exported(files, tmp_path / "s.csv", form="statsig", at="2026-05-04", design=True)
    assert set(table["metric_name"]) == {made.metric, f"{made.metric} within strata"}
    assert any(note.startswith("strata weigh differently") for note in made.notes)
    plain, _ = exported(files, tmp_path / "p.csv", form="statsig", at="2026-05-04")
    assert not any(note.startswith("strata weigh differently") for note in plain.notes)


def test_condensed_lists_and_overrides_are_those_of_compare(files, tmp_path):
    given, asked = arguments(files)
    rows = (files / "grades.qrels").read_text().splitlines()
    given[2] = tmp_path / "holes.qrels"
    given[2].write_text("\n".join(row for i, row in enumerate(rows) if i % 6) + "\n")
    with pytest.raises(Refusal, match="--allow unjudged"):
        export(*given, tmp_path / "x.parquet", **asked)
    assert not (tmp_path / "x.parquet").exists()
    for options in ({"allow": ["unjudged"]}, {"condensed": True, "allow": ["short-lists", "depth"]}):
        made = export(*given, tmp_path / "x.parquet", **asked, **options)
        assert made.delta == compare(*given, **asked, **options).delta
    holes = export(*given, tmp_path / "x.parquet", **asked, allow=["unjudged"])
    assert any("--allow unjudged" in note for note in holes.notes)
    assert pq.read_table(tmp_path / "x.parquet")["unjudged_control"].to_numpy().sum() > 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"form": "optimizely"}, "--for optimizely: there is no such form"),
        ({"pairing": "twice"}, "--pairing twice"),
        ({"form": "growthbook"}, "--for growthbook needs the time"),
        ({"form": "statsig", "at": "yesterday"}, "--at yesterday: expected a date"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(files, tmp_path, options, complaint):
    given, asked = arguments(files)
    with pytest.raises(InputError, match=complaint):
        export(*given, tmp_path / "x.parquet", **asked, **options)
    with pytest.raises(InputError, match=r"expected a name that ends in \.parquet or \.csv"):
        export(*given, tmp_path / "x.xlsx", **asked)


def test_growthbook_s_own_library_reads_the_table(files, tmp_path):
    """gbstats computes what the platform shows. Not a dependency: `pip install gbstats` to run this."""
    pytest.importorskip("gbstats", reason="gbstats is not installed")
    from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
    from gbstats.models.statistics import SampleMeanStatistic

    given, asked = arguments(files)
    report = compare(*given, **asked)
    _, table = exported(files, tmp_path / "g.csv", form="growthbook", at="2026-05-04")
    groups = [table["value"][table["variation_id"] == which] for which in (0, 1)]
    statistics = [SampleMeanStatistic(n=len(x), sum=x.sum(), sum_squares=(x**2).sum()) for x in groups]
    found = TwoSidedTTest(*statistics, FrequentistConfig(difference_type="absolute")).compute_result()
    assert found.expected == pytest.approx(report.delta.value)
    assert found.ci == pytest.approx([report.delta.low, report.delta.high], abs=0.1 * report.delta.se)


def test_the_command_writes_the_file_and_names_the_delta(files, tmp_path, monkeypatch, capsys):
    command = ["germane", "export", "--scale", "trec", "--metric", "sDCG@10"]
    for name, file in (("control", "control.run"), ("treatment", "treatment.run"), ("judgments", "grades.qrels")):
        command += [f"--{name}", str(files / file)]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path / "r.csv")])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert "queries: 61" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "r.csv").columns[0] == "query_id"
    monkeypatch.setattr(sys, "argv", [*command, "--for", "growthbook", "--out", str(tmp_path / "g.csv")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "g.csv").exists()
