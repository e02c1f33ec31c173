"""`sample`: a log to queries with segments, queries to a design, on files."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.pipeline.sample import sample, segment
from germane.sampling import Pilot, read_design_table
from germane.types import Design, Effect, Estimate, InputError, Refusal, Stratum

LOG = "query,user\n" + "".join(f"Popular {i % 4},u{i}\n" for i in range(80)) + "".join(f"rare {i},v{i}\n" for i in range(60))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(LOG + ",u1\n")
    return path


@pytest.fixture
def queries(log, tmp_path):
    segment(log, tmp_path / "queries.parquet")
    return tmp_path / "queries.parquet"


def test_a_log_becomes_a_table_of_queries_with_a_manifest_that_says_how(log, tmp_path):
    out = tmp_path / "new" / "queries.parquet"
    made = segment(log, out, thresholds={"head": 0.4})
    assert (made.rows, made.queries, made.by, made.made) == (141, 64, "users", True)
    assert made.segments == {"head": 4, "single": 60}
    assert made.notes == ("rows without a query, left out: 1",)
    table = store.read_table(out, "queries")
    assert table.column_names == ["query_id", "query", "users", "impressions", "segment"]
    manifest = store.read_manifest(out)
    assert manifest.verb == "segment"
    assert manifest.parameters["normalise"] == "unicode+case+space"
    assert manifest.parameters["thresholds"] == {"head": 0.4}
    assert manifest.extra["log"]["least"] == {"head": 20, "single": 1}
    assert manifest.inputs[0].sha256 == store.sha256(log)


def test_a_log_without_users_says_so(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("query,impressions\nLOR,5\nlor,3\nhat,1\n")
    made = segment(log, tmp_path / "out.parquet")
    assert made.segments == {"head (impressions)": 1, "single (impressions)": 1}
    assert made.notes == (
        "no column of users: segments are by impressions, and their names say so",
        "queries as written: 3; after normalisation: 2",
    )


def test_a_second_run_does_nothing_and_says_the_same(log, tmp_path):
    out, design = tmp_path / "queries.parquet", tmp_path / "design.parquet"
    first, drawn = segment(log, out), sample(out, design, n=20, seed=1)
    before = (out.stat().st_mtime_ns, design.stat().st_mtime_ns)
    assert segment(log, out) == first._replace(made=False)
    assert sample(out, design, n=20, seed=1) == drawn._replace(made=False)
    assert (out.stat().st_mtime_ns, design.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    "options", [{"by": "impressions"}, {"normalise": "none"}, {"thresholds": {"top": 0.9}}, {"columns": {"user": None}}]
)
def test_another_option_makes_another_table(log, tmp_path, options):
    out = tmp_path / "queries.parquet"
    first = segment(log, out)
    second = segment(log, out, **options)
    assert second.made
    assert second != first


def test_a_design_is_drawn_with_a_manifest_that_says_how(queries, tmp_path):
    out = tmp_path / "design.parquet"
    made = sample(queries, out, n=20, seed=7)
    assert (made.population, made.queries) == (64, 20)
    assert made.sampled == {"head": 2, "single": 18}
    design = read_design_table(store.read_table(out, "designs"))
    assert {s.name: (s.population, s.sample) for s in design.strata} == {"head": (4, 2), "single": (60, 18)}
    manifest = store.read_manifest(out)
    assert (manifest.seed, manifest.parameters["n"], manifest.parameters["allocation"]) == (7, 20, "neyman")
    assert manifest.extra["design"] == {"unit": "distinct queries", "origin": "neyman allocation over segment"}


@pytest.mark.parametrize(
    "options", [{"n": 21}, {"seed": 8}, {"strata": []}, {"allocation": "equal"}, {"minimum": 4}, {"strata": ["users"]}]
)
def test_another_option_makes_another_design(queries, tmp_path, options):
    out = tmp_path / "design.parquet"
    sample(queries, out, n=20, seed=7)
    before = store.sha256(out)
    assert sample(queries, out, **{"n": 20, "seed": 7, **options}).made
    assert store.sha256(out) != before


def test_queries_with_users_get_segments_when_they_have_none(tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text("query_id,query,users\n" + "".join(f"{i},text {i},{50 if i < 9 else 1}\n" for i in range(40)))
    made = sample(path, tmp_path / "d.parquet", n=12, seed=1)
    assert made.sampled == {"head": 3, "single": 9}
    assert made.notes == ("segments were made from users, by the default thresholds (head to 50%, torso to 80% of traffic)",)
    assert sample(path, tmp_path / "d.parquet", n=12, seed=1, strata=()).notes == ()


def test_queries_without_counts_are_a_simple_random_sample_and_it_is_said(tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text("query_id,query\n" + "".join(f"{i},text {i}\n" for i in range(40)))
    made = sample(path, tmp_path / "d.parquet", n=12, seed=1)
    assert made.sampled == {"all": 12}
    assert "no users or impressions" in made.notes[0]
    with pytest.raises(InputError, match="no column 'segment'"):
        sample(path, tmp_path / "d.parquet", n=12, seed=1, strata=["segment"])


def test_esci_can_be_drawn_by_its_query_source(data, tmp_path):
    made = sample(data("esci_us_120") / "queries.parquet", tmp_path / "d.parquet", n=60, seed=1, strata=["query_source"])
    assert made.sampled == {"behavioral": 7, "negations": 15, "other": 15, "parse_pattern": 23}


def test_berlin_becomes_a_design_of_four_segments(data, tmp_path):
    segment(data("berlin_search_terms") / "search_terms_monthly.parquet", tmp_path / "q.parquet", normalise="case")
    made = sample(tmp_path / "q.parquet", tmp_path / "d.parquet", n=500, seed=1, minimum=30)
    assert made.population == 13_214
    assert made.populations["single (impressions)"] == 8_188
    assert (made.sampled["head (impressions)"], made.populations["head (impressions)"]) == (30, 239)


# --- pilots ---------------------------------------------------------------------------------------------------------


def test_a_pilot_moves_the_sample(queries, tmp_path):
    pilot = tmp_path / "pilot.csv"
    pilot.write_text("stratum,sd\nhead,0.5\nsingle,0.1\n")
    assert sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot).sampled == {"head": 4, "single": 16}
    pilot.write_text("stratum,sd,cost\nhead,0.1,1\nsingle,0.1,100\n")  # another content, so drawn anew
    assert sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot).sampled["head"] == 4


def test_a_small_pilot_is_not_taken_at_its_word(queries, tmp_path):
    pilot = tmp_path / "pilot.csv"
    pilot.write_text("stratum,sd,n\nhead,0.2,20\nsingle,0.0,3\n")
    assert sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot).sampled == {"head": 2, "single": 18}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none: expected stratum and sd"),
        ("name,sd\nhead,1\n", "has the columns name, sd: expected stratum and sd"),
        ("stratum,sd\nhead,much\nsingle,1\n", "line 2: sd is 'much': expected a number"),
        ("stratum,sd\nhead\n", "line 2: sd is None: expected a number"),
        ("stratum,sd\nhead,1\nhead,2\n", "the stratum 'head' more than once"),
        ("stratum,sd\nhead,1\n", "no sd for stratum 'single'"),
        ("stratum,sd\nhead,-1\nsingle,1\n", "must be finite and not negative"),
        (b"stratum,sd\nh\xe9ad,1\n", "cannot be read"),
    ],
)
def test_a_pilot_that_does_not_fit_is_an_error(queries, tmp_path, text, message):
    pilot = tmp_path / "pilot.csv"
    pilot.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot)
    assert not (tmp_path / "d.parquet").exists()


def results(file, name="results.csv", **columns):
    """An earlier experiment on the log's queries: head varies, single hardly does."""
    import random

    rng = random.Random(1)
    table = columns.pop("table")
    rows = [
        f"{q['query_id']},{q['segment']},{0.5},{0.5 + rng.gauss(0, 0.3 if q['segment'] == 'head' else 0.03):.6f}"
        for q in store.read_table(table, "queries").to_pylist()
    ]
    return file(name, "query_id,stratum,control,treatment\n" + "\n".join(rows[: columns.get("rows")]) + "\n")


def test_results_of_an_earlier_experiment_move_the_sample(queries, tmp_path, file):
    pilot = results(file, table=queries)
    made = sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot, allow=["same-outcomes"])
    assert made.sampled["head"] == 4  # all it has; 2 without the pilot
    assert made.mde is not None
    assert "SDs are of 64 paired differences in results.csv" in made.notes[-1] + made.notes[0] + " ".join(made.notes)


def test_results_by_difference_and_from_parquet_say_the_same(queries, tmp_path, file):
    import csv

    pilot = results(file, table=queries)
    rows = list(csv.DictReader(pilot.read_text().splitlines()))
    table = pa.table(
        {
            "query_id": [row["query_id"] for row in rows],
            "difference": [float(row["treatment"]) - float(row["control"]) for row in rows],
        }
    )
    pq.write_table(table, tmp_path / "results.parquet")
    one, two = (
        sample(queries, tmp_path / f"{p.suffix}.parquet", n=20, seed=7, pilot=p, allow=["same-outcomes"])
        for p in (pilot, tmp_path / "results.parquet")
    )
    assert one.sampled == two.sampled
    assert one.mde == pytest.approx(two.mde)


def test_queries_of_an_older_log_are_known_by_their_stratum(queries, tmp_path, file):
    rows = [f"old{i},{'head' if i < 10 else 'single'},{(-1) ** i * (0.3 if i < 10 else 0.03)}" for i in range(60)]
    pilot = file("old.csv", "query_id,stratum,difference\n" + "\n".join(rows) + "\nx,torso,0.1\n")
    made = sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot)
    assert made.sampled["head"] == 4
    assert "queries of old.csv that are in none of these strata, left out: 1" in made.notes


def test_a_stratum_without_results_gets_the_pooled_sd_and_it_is_said(queries, tmp_path, file):
    rows = [f"old{i},head,{(-1) ** i * 0.3}" for i in range(30)]
    pilot = file("old.csv", "query_id,stratum,difference\n" + "\n".join(rows) + "\n")
    made = sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot)
    assert made.sampled == {"head": 2, "single": 18}
    assert "strata with fewer than two queries in old.csv, which get the pooled SD: single" in made.notes


def test_sds_learned_on_the_outcomes_of_the_drawn_queries_are_refused(queries, tmp_path, file):
    pilot = results(file, table=queries)
    with pytest.raises(
        Refusal, match=r"same outcomes: 20 of the 20 queries that were drawn have their outcome in results\.csv"
    ):
        sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot)
    assert not (tmp_path / "d.parquet").exists()
    made = sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot, allow=["same-outcomes"])
    assert any("learned on the outcomes" in note for note in made.notes)
    with pytest.raises(InputError, match="--allow anything: `sample` knows same-outcomes"):
        sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=pilot, allow=["anything"])
    part = results(file, "part.csv", table=queries, rows=40)
    with pytest.raises(Refusal, match="26 of the 40"):
        sample(queries, tmp_path / "e.parquet", n=40, seed=7, pilot=part)
    less = results(file, "less.csv", table=queries, rows=15)
    half = sample(queries, tmp_path / "e.parquet", n=40, seed=7, pilot=less)
    assert any(note.startswith("queries that were drawn and are in less.csv too: ") for note in half.notes)


def report_of(design, tmp_path, segments):
    """A report.json with the standard errors of two segments, of an experiment with this design."""
    from dataclasses import replace

    from sample_report import full

    effects = tuple(
        Effect("segment", name, 0.5, None, Estimate(0.0, se, -se, se, n, ""), 0.5, 0.5, False)
        for name, (se, n) in segments.items()
    )
    path = tmp_path / "report.json"
    path.write_text(replace(full(), by_segment=effects, design=design).to_json())
    return path


def test_a_report_gives_the_sd_of_each_of_its_segments(queries, tmp_path):
    design = Design((Stratum("head", 4, 4), Stratum("single", 60, 50)), seed=3)
    path = report_of(design, tmp_path, {"head": (0.06, 25), "single": (0.001, 900)})  # SDs 0.3 and 0.03
    made = sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=path)
    assert made.sampled["head"] == 4
    elsewhere = report_of(design, tmp_path, {"garden": (0.06, 25)})
    assert any(
        "has none of these strata: its overall SD" in n
        for n in sample(queries, tmp_path / "e.parquet", n=20, seed=7, pilot=elsewhere).notes
    )


def test_strata_that_cross_the_segments_of_a_report_get_the_product_of_their_ratios():
    sd, n = {"head": 0.2, "tail": 0.05, "home": 0.1, "art": 0.2}, {"head": 900.0, "tail": 900.0, "home": 900.0, "art": 900.0}
    pilot = Pilot("report.json", sd=sd, n=n, overall=0.1)
    found, notes = pilot.in_strata(["art / head", "home / tail"], np.array([0, 1]), ["a", "b"])
    assert found == pytest.approx({"art / head": 0.4, "home / tail": 0.05}, rel=0.2)  # pulled a little to each other
    assert notes == ["strata that cross segments of report.json, whose SDs follow from theirs: 2"]
    found, notes = pilot.in_strata(["art / head", "toys / tail"], np.array([0, 1]), ["a", "b"])
    assert found == pytest.approx({"art / head": 0.4, "toys / tail": 0.4})
    assert notes[-1] == "strata that report.json does not have, which get the pooled SD: toys / tail"


def test_a_report_of_this_very_design_is_refused(queries, tmp_path):
    first = sample(queries, tmp_path / "d.parquet", n=20, seed=7)
    strata = tuple(Stratum(name, first.populations[name], first.sampled[name]) for name in first.sampled)
    path = report_of(Design(strata, seed=7), tmp_path, {"head": (0.06, 25), "single": (0.012, 625)})
    with pytest.raises(Refusal, match=r"report\.json is of this very design \(seed 7"):
        sample(queries, tmp_path / "e.parquet", n=20, seed=7, pilot=path)
    assert sample(queries, tmp_path / "e.parquet", n=20, seed=8, pilot=path).made


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.csv", "query_id,difference\na,1\na,2\n", "the query 'a' more than once"),
        ("r.csv", "query_id,difference\na,x\n", "line 2: difference is 'x'"),
        ("r.csv", "query_id,difference\na,nan\n", "expected a finite number"),
        ("r.csv", "query_id,difference\na,1\nb,2\n", "has no two queries in any of these strata"),
        ("r.csv", "query_id,control\na,1\n", "has the columns query_id, control: expected stratum and sd"),
        ("report.json", "{}", "is no report of germane"),
        ("r.parquet", "no parquet", "cannot be read"),
    ],
)
def test_results_that_say_nothing_are_an_error(queries, tmp_path, file, name, text, message):
    with pytest.raises(InputError, match=message):
        sample(queries, tmp_path / "d.parquet", n=20, seed=7, pilot=file(name, text))


# --- n from an effect, floors, traffic ------------------------------------------------------------------------------


def test_n_follows_from_the_effect(queries, tmp_path):
    made = sample(queries, tmp_path / "d.parquet", effect=0.05, sd=0.1, seed=1)
    assert made.queries == 32  # (2.8016 x 0.1 / 0.05)^2
    assert made.mde <= 0.05
    assert sample(queries, tmp_path / "d.parquet", n=32, sd=0.1, seed=1).sampled == made.sampled
    with pytest.raises(InputError, match="a pilot and one SD"):
        sample(queries, tmp_path / "d.parquet", n=20, seed=1, sd=0.1, pilot=tmp_path / "p.csv")


def test_a_design_by_traffic_says_so_in_its_table_and_its_manifest(queries, tmp_path):
    out = tmp_path / "d.parquet"
    made = sample(queries, out, n=20, seed=1, by="traffic")
    assert (made.unit, made.population) == ("searches", 140)
    assert made.sampled == {"head": 4, "single": 16}
    assert made.populations == {"head": 80, "single": 60}
    assert store.read_manifest(out).extra["design"]["unit"] == "searches"
    assert read_design_table(store.read_table(out, "designs")).unit == "searches"
    assert made.weights_effect > 1.5
    assert sample(queries, out, n=20, seed=1, by="users").unit == "users"


@pytest.mark.parametrize(
    "options",
    [
        {"floors": {"head": 4}},
        {"allocation": "power"},
        {"allocation": "power", "exponent": 0.9},
        {"by": "traffic"},
        {"sd": 0.1},
        {"sd": 0.1, "power": 0.9},
        {"sd": 0.1, "level": 0.9},
    ],
)
def test_each_new_option_makes_another_design_or_another_mde(queries, tmp_path, options):
    out = tmp_path / "design.parquet"
    base = {"allocation": "power"} if "exponent" in options else {"sd": 0.1} if len(options) > 1 else {}
    first = sample(queries, out, n=20, seed=7, **base)
    second = sample(queries, out, **{"n": 20, "seed": 7, **base, **options})
    assert second.made
    assert first.sampled != second.sampled or (first.mde, first.unit) != (second.mde, second.unit)


# --- what goes wrong leaves nothing behind --------------------------------------------------------------------------


def test_what_cannot_be_read_leaves_nothing_behind(tmp_path):
    out = tmp_path / "out.parquet"
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"query,user\ngr\xf6\xdfe,a\n")
    with pytest.raises(InputError, match=r"bad\.csv"):
        segment(bad, out)
    with pytest.raises(InputError, match="is not a file"):
        segment(tmp_path / "absent.csv", out)
    with pytest.raises(InputError, match="absent"):
        sample(tmp_path / "absent.parquet", out, n=2, seed=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv"]


def test_a_failed_draw_keeps_the_design_that_was_there(queries, tmp_path):
    out = tmp_path / "design.parquet"
    sample(queries, out, n=20, seed=7)
    before = store.sha256(out)
    with pytest.raises(InputError, match="pass n = 64 for a census"):
        sample(queries, out, n=65, seed=7)
    assert store.sha256(out) == before
    assert store.read_manifest(out) is not None


def test_a_query_as_long_as_a_book_is_left_out_of_the_log_and_counted(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("query,user\nhat,a\n" + "x" * 200_000 + ",b\n")
    made = segment(log, tmp_path / "q.parquet")
    assert (made.queries, made.notes) == (1, ("rows with a query of more than 10,000 characters, left out: 1",))


def test_numbers_survive_json(queries, tmp_path):
    made = sample(queries, tmp_path / "d.parquet", n=20, seed=7)
    assert json.loads(json.dumps(made._asdict()))["sampled"] == made.sampled
    assert isinstance(pq.read_table(tmp_path / "d.parquet"), pa.Table)
