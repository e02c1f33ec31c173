"""`sample`: a log to queries with segments, queries to a design, on files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.pipeline.sample import sample, segment
from germane.sampling import read_design_table
from germane.types import InputError

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
