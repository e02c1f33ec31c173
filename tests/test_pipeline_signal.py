"""`germane signal`: the files that it writes, what it refuses, and that no arm is measured by a judge of its own line."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sample_signals import ESCI, FINGERPRINT, TEACHER, World, policy

from germane import cli, compare, sources, store
from germane.pipeline import (
    audit,
    check,
    golden,
    import_,
    signal_apply,
    signal_boost,
    signal_features,
    signal_filter,
    signal_weights,
)
from germane.signal import Filter, files
from germane.signal.filter import Rule
from germane.types import InputError, Refusal


@pytest.fixture
def paths(tmp_path):
    return World(80).write(tmp_path) | {"out": tmp_path / "out"}


def choose(paths, **more):
    return signal_filter.choose(paths["judgments"], paths["golden"], paths["out"], **({"scale": "esci"} | more))


def call(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["germane", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    said = capsys.readouterr()
    return done.value.code, said.out, said.err


def test_a_filter_is_a_policy_with_pages_and_the_same_work_is_done_once(paths):
    found = choose(paths, run=paths["run"], queries=paths["queries"], by="segment")
    assert found.made and found.precision.value > 0.9  # noqa: PT018
    assert found.shown["left out"] > 0
    said = files.read(paths["out"] / "filter.json")
    assert (said.judge, said.fingerprint, said.lineage, said.scale) == ("student", FINGERPRINT, (TEACHER,), "esci")
    assert said.golden == store.sha256(paths["golden"])
    for name in ("filter.html", "filter.md"):
        text = (paths["out"] / name).read_text()
        assert "would vanish" in text and "q0" in text  # noqa: PT018
    again = choose(paths, run=paths["run"], queries=paths["queries"], by="segment")
    assert again == found._replace(made=False)
    assert choose(paths, precision=0.8).made


def test_a_dry_run_says_what_would_vanish_and_writes_no_run(paths):
    found = choose(paths, run=paths["run"], floor=0)
    changed = signal_apply.apply(
        paths["run"], paths["judgments"], paths["out"] / "filter.json", paths["out"] / "run.parquet", kind="filter"
    )
    assert found.shown["left out"] == changed.left_out > 0
    assert found.shown["results"] - changed.left_out == pq.read_metadata(paths["out"] / "run.parquet").num_rows


def test_hostile_titles_and_queries_are_text_in_the_pages(paths, tmp_path):
    world = World(80)
    nasty = "<script>alert(1)</script>\u202e|[x](javascript:y)"
    names = sorted(world.segment)
    pq.write_table(pa.table({"query_id": names, "query": [nasty] * len(names)}), paths["queries"])
    docs = tmp_path / "docs.parquet"
    ids = sorted(set(world.doc))
    pq.write_table(pa.table({"doc_id": ids, "title": [nasty] * len(ids)}), docs)
    choose(paths, run=paths["run"], queries=paths["queries"], docs=docs, floor=0)
    html = (paths["out"] / "filter.html").read_text()
    assert "<script>alert" not in html and "alert(1)" in html  # noqa: PT018
    assert "\u202e" not in html


def test_applying_keeps_order_and_origin_and_names_every_model(paths):
    choose(paths)
    out = paths["out"] / "run.parquet"
    found = signal_apply.apply(paths["run"], paths["judgments"], paths["out"] / "filter.json", out, kind="filter")
    assert found.models == (FINGERPRINT, TEACHER)
    run = sources.read_run(out)
    assert run.origin["engine"] == "made up"
    assert run.origin["models"] == [FINGERPRINT, TEACHER]
    before = sources.read_run(paths["run"]).table
    place = {pair: at for at, pair in enumerate(zip(before["query_id"].to_pylist(), before["doc_id"].to_pylist(), strict=True))}
    left = [place[pair] for pair in zip(run.table["query_id"].to_pylist(), run.table["doc_id"].to_pylist(), strict=True)]
    assert left == sorted(left)
    assert not signal_apply.apply(paths["run"], paths["judgments"], paths["out"] / "filter.json", out, kind="filter").made


def test_a_boost_on_top_of_a_filter_keeps_both_in_the_origin(paths):
    choose(paths)
    folder = paths["out"]
    signal_boost.fit(paths["judgments"], paths["golden"], paths["run"], folder, scale="esci", most=3)
    one, two = folder / "one.parquet", folder / "two.parquet"
    signal_apply.apply(paths["run"], paths["judgments"], folder / "filter.json", one, kind="filter")
    found = signal_apply.apply(one, paths["judgments"], folder / "boost.json", two, kind="boost")
    assert found.moved > 0
    assert [used["kind"] for used in sources.read_run(two).origin["signal"]] == ["filter", "boost"]
    old, new = sources.read_run(one).table, sources.read_run(two).table
    ranks = [dict(zip(zip(t["query_id"].to_pylist(), t["doc_id"].to_pylist(), strict=True), t["rank"].to_pylist(), strict=True))
             for t in (old, new)]  # fmt: skip
    assert max(abs(ranks[0][pair] - ranks[1][pair]) for pair in ranks[0]) <= 3


def test_several_raters_make_one_grade_by_the_rule_that_was_named(paths):
    one = World(80).people()
    three = [one.set_column(3, "judge", pa.array([f"human:{name}"] * one.num_rows)) for name in "abc"]
    pq.write_table(pa.concat_tables(three), paths["golden"])
    for make in (choose, fit):
        with pytest.raises(InputError, match="--adjudicate majority"):
            make(paths)
        assert make(paths, adjudicate="majority").made


def fit(paths, **more):
    return signal_boost.fit(paths["judgments"], paths["golden"], paths["run"], paths["out"], scale="esci", **more)


# --- the guard ----------------------------------------------------------------------------------------------------------


def graded(world, judge):
    """The true grades as this judge's."""
    labels = world.judgments(judge=judge, fingerprint=judge)
    return labels.set_column(2, "relevance", pa.array(world.grade, pa.int16()))


def measured(paths, judge):
    """The boosted run, and judgments with a card by a judge that is of the student's line or not."""
    world, other, out = World(80), World(40, seed=9), paths["out"]
    other.doc = [f"x{doc}" for doc in other.doc]  # the card is of pairs outside the experiment
    signal_boost.fit(paths["judgments"], paths["golden"], paths["run"], out, scale="esci")
    boosted = out / "boosted.parquet"
    signal_apply.apply(paths["run"], paths["judgments"], out / "boost.json", boosted, kind="boost")
    labels, card = graded(world, judge), check.check(other.people(), graded(other, judge), scale="esci", bars={"exact": 0.5})
    return boosted, labels, card


def test_an_arm_that_used_the_student_is_not_measured_by_its_teacher(paths):
    boosted, labels, card = measured(paths, TEACHER)
    with pytest.raises(Refusal, match=f"was ranked with model {TEACHER}, which is of the judge's own lineage") as refusal:
        compare(paths["run"], boosted, labels, scale="esci", card=card)
    assert refusal.value.override == "--allow lineage"
    insisted = compare(paths["run"], boosted, labels, scale="esci", card=card, allow=["lineage"])
    assert any("lineage" in said for said in insisted.overrides)
    with pytest.raises(Refusal, match="lineage"):
        compare(boosted, paths["run"], labels, scale="esci", card=card)


def test_a_copy_without_its_manifest_still_says_what_ranked_it(paths):
    import shutil

    boosted, labels, card = measured(paths, TEACHER)
    shutil.copy(boosted, copy := paths["out"] / "laundered.parquet")
    with pytest.raises(Refusal, match=f"laundered was ranked with model {TEACHER}"):
        compare(paths["run"], copy, labels, scale="esci", card=card)


def test_people_and_a_judge_of_another_line_measure_it_freely(paths):
    boosted, labels, card = measured(paths, "a stranger")
    assert compare(paths["run"], boosted, labels, scale="esci", card=card).overrides == ()
    assert compare(paths["run"], boosted, paths["golden"], scale="esci").delta.low > 0


def test_with_a_human_audit_the_teacher_may_measure_and_the_report_says_whose_word_counts(paths, tmp_path):
    boosted, labels, card = measured(paths, TEACHER)
    world, drawn, docs = World(80), tmp_path / "audit.parquet", tmp_path / "docs.parquet"
    pq.write_table(pa.table({"doc_id": sorted(set(world.doc)), "title": sorted(set(world.doc))}), docs)
    audit.audit(paths["queries"], drawn, control=paths["run"], treatment=boosted, n=40, seed=1, docs=docs)
    report = compare(paths["run"], boosted, labels, scale="esci", card=card, audit=paths["golden"], audit_sample=drawn)
    assert report.audit is not None
    assert report.overrides == ()
    assert any("of the judge's own lineage" in said and "audit" in said for said in report.warnings)


def test_a_ranker_that_was_trained_with_the_signal_says_so_when_its_run_is_brought_in(paths, tmp_path):
    features, run, out = tmp_path / "features.parquet", tmp_path / "ranked.csv", tmp_path / "ranked.parquet"
    signal_features.write(paths["judgments"], paths["run"], features, scale="esci")
    World(80, seed=4).run().to_pandas().to_csv(run, index=False)
    import_.import_("run", run, out, signals=[features])
    assert sources.read_run(out).origin["models"] == [FINGERPRINT, TEACHER]
    labels = graded(World(80), TEACHER)
    with pytest.raises(Refusal, match="of the judge's own lineage"):
        compare(paths["run"], out, labels, scale="esci", allow=["no-card"])
    import_.import_("run", run, out, signals=[paths["judgments"]])
    assert sources.read_run(out).origin["models"] == [FINGERPRINT, TEACHER]
    with pytest.raises(InputError, match="its manifest names no judge"):
        import_.import_("run", run, out, signals=[paths["queries"]])
    with pytest.raises(InputError, match="what a run's ranker used"):
        import_.import_("queries", paths["queries"], out, signals=[features])


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_the_sealed_test_chooses_nothing_unless_one_insists(paths, tmp_path):
    world = World(80)
    same = {"rater": "ann", "kind": "vote", "guide_version": ESCI.version, "at": "2026-05-01T00:00:00+00:00", "seconds": 9.0}
    rows = zip(world.query, world.doc, world.grade.tolist(), strict=True)
    votes = [{"query_id": query, "doc_id": doc, "relevance": grade, **same} for query, doc, grade in rows]
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(json.dumps(vote) + "\n" for vote in votes))
    sealed = tmp_path / "golden"
    golden.seal(file, sealed, scale="esci", raters_per_pair=1, seed=1)
    with pytest.raises(Refusal, match="is the sealed golden test") as refusal:
        choose(paths | {"golden": sealed / "test.parquet"})
    assert refusal.value.override == "--allow golden-test"
    assert not paths["out"].exists()
    insisted = choose(paths | {"golden": sealed / "test.parquet"}, allow=["golden-test"])
    assert insisted.overrides
    assert "golden-test" in (paths["out"] / "filter.md").read_text()
    assert choose(paths | {"golden": sealed, "out": tmp_path / "dev"}).overrides == ()  # a sealed folder is its dev part
    with pytest.raises(Refusal, match="sealed golden test"):
        signal_boost.fit(paths["judgments"], sealed / "test.parquet", paths["run"], tmp_path / "b", scale="esci")


def without_probs(table):
    return table.drop_columns(["probs"])


def twice(table):
    return pa.concat_tables([table, table.slice(0, 1)])


def of_people(table):
    return table.set_column(table.column_names.index("judge"), "judge", [["human:x"] * table.num_rows]).set_column(
        table.column_names.index("fingerprint"), "fingerprint", [[""] * table.num_rows]
    )


def not_numbers(table):
    probs = pa.array([[float("nan")] * 4] * table.num_rows, pa.list_(pa.float32()))
    return table.set_column(table.column_names.index("probs"), "probs", probs)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without_probs, "no probabilities"),
        (twice, "expected one row each"),
        (of_people, "judgments of people"),
        (not_numbers, "no golden pair drawn at random has a prediction"),
        (lambda t: pa.concat_tables([t.slice(0, 5), World(80).judgments(fingerprint="other").slice(5)]), "of 2 judges"),
        (lambda _: World(80).judgments(fingerprint=""), "has no fingerprint"),
    ],
)
def test_judgments_that_are_no_signal_are_one_line_and_exit_code_2(paths, change, complaint, monkeypatch, capsys):
    pq.write_table(change(World(80).judgments()), paths["judgments"])
    arguments = ["signal", "filter", paths["judgments"], "--golden", paths["golden"], "--scale", "esci", "--out", paths["out"]]
    code, _, err = call(arguments, monkeypatch, capsys)
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert not paths["out"].exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["filter", "J", "--golden", "G", "--scale", "trec", "--out", "O"], "on scale esci; expected trec"),
        (["filter", "J", "--scale", "esci", "--out", "O"], "--golden is missing"),
        (["filter", "J", "--golden", "nothing.parquet", "--scale", "esci", "--out", "O"], "nothing.parquet"),
        (["filter", "J", "--golden", "G", "--scale", "esci", "--irrelevant", "Z", "--out", "O"], "label 'Z' is not on scale"),
        (["filter", "J", "--golden", "G", "--scale", "esci", "--irrelevant", "E", "--out", "O"], "counts as relevant"),
        (["filter", "J", "--golden", "G", "--scale", "esci", "--class", "I", "--out", "O"], "expected NAME=VALUE"),
        (["filter", "J", "--golden", "G", "--scale", "esci", "--by", "segment", "--out", "O"], "give them with --queries"),
        (["filter", "J", "--golden", "G", "--scale", "esci", "--by", "x", "--queries", "Q", "--out", "O"], "no such column"),
        (["filter", "J", "--golden", "G", "--scale", "esci", "--allow", "all", "--out", "O"], "there is no such override"),
        (["filter", "J", "--apply", "R", "--out", "O.parquet"], "--policy is missing"),
        (["boost", "J", "--golden", "G", "--run", "R", "--scale", "esci", "--pin", "E", "--out", "O"], "expected LABEL=PROB"),
        (["boost", "J", "--golden", "G", "--scale", "esci", "--out", "O"], "--run is missing"),
        (["features", "J", "--run", "R", "--scale", "esci", "--to", "ranklib", "--out", "O.txt"], "needs a label in each row"),
        (["features", "J", "--run", "R", "--scale", "esci", "--to", "word", "--out", "O.npz"], "expected one of parquet"),
        (["features", "J", "--run", "R", "--scale", "esci", "--out", "O.csv"], "writes a .parquet file"),
        (["features", "--scale", "esci", "--to", "opensearch", "--field", 'a"', "--out", "O.json"], "expected letters"),
        (["weights", "J", "--run", "R", "--scale", "esci", "--floor", "2", "--out", "O.parquet"], "floor 2"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(paths, arguments, complaint, monkeypatch, capsys):
    names = {"J": "judgments", "G": "golden", "Q": "queries", "R": "run"}
    made = [str(paths[names[a]]) if a in names else a for a in arguments]
    made = [a.replace("O", str(paths["out"]), 1) if a.startswith("O") else a for a in made]
    code, _, err = call(["signal", *made], monkeypatch, capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert complaint in err
    assert not list(paths["out"].parent.glob("out*"))


def test_a_policy_of_another_judge_scale_or_kind_is_not_applied(paths, tmp_path):
    made = Filter((Rule(0, 0.9, {"": 0.5}),), 4, 0, ESCI.labels)
    out = tmp_path / "run2.parquet"
    for changes, complaint in (
        ({"fingerprint": "another"}, "was chosen for judge"),
        ({"scale": "trec"}, "on scale esci; expected trec"),
        ({"kind": "boost", "parameters": {"curve": {"gain": [], "value": []}, "strength": 0, "most": None}}, "of kind 'boost'"),
    ):
        path = files.write(policy(made, **changes), tmp_path / "policy.json")
        with pytest.raises(InputError, match=complaint):
            signal_apply.apply(paths["run"], paths["judgments"], path, out, kind="filter")
    assert not out.exists()


def test_a_query_without_a_segment_is_an_error_where_segments_count(paths, tmp_path):
    made = Filter((Rule(0, 0.9, {"": 0.5}),), 4, 0, ESCI.labels)
    path = files.write(policy(made), tmp_path / "policy.json")
    few = tmp_path / "few.parquet"
    pq.write_table(World(80).queries().slice(0, 10), few)
    with pytest.raises(InputError, match="70 of 80 queries of run have no segment, such as 'q010'"):
        signal_apply.apply(
            paths["run"], paths["judgments"], path, tmp_path / "x.parquet", kind="filter", queries=few, by="segment"
        )


def test_a_run_of_other_documents_is_an_error(paths, tmp_path):
    path = files.write(policy(Filter((Rule(0, 0.9, {"": 0.5}),), 4, 0)), tmp_path / "policy.json")
    other = tmp_path / "other.csv"
    other.write_text("query_id,doc_id,score\nq000,nobody,1\n")
    with pytest.raises(InputError, match="none of the 1 results of other has a prediction"):
        signal_apply.apply(other, paths["judgments"], path, tmp_path / "x.parquet", kind="filter")


# --- features and weights -----------------------------------------------------------------------------------------------


def test_features_and_weights_are_tables_with_manifests_that_name_the_models(paths, tmp_path):
    out, other = tmp_path / "features.parquet", tmp_path / "weights.parquet"
    found = signal_features.write(paths["judgments"], paths["run"], out, scale="esci", labels=paths["golden"])
    assert (found.rows, found.labelled, found.unknown) == (1600, 1600, 0)
    assert store.read_table(out, "features").num_rows == 1600
    clicks = tmp_path / "clicks.csv"
    clicks.write_text("query_id,doc_id\nq000,d00\nq001,d01\n")
    weighed = signal_weights.write(paths["judgments"], paths["run"], other, scale="esci", clicks=clicks)
    table = store.read_table(other, "weights")
    assert weighed.clicked == 2 == pc.sum(table["clicked"]).as_py()
    assert weighed.mean == pytest.approx(1)
    for path in (out, other):
        assert store.read_manifest(path).extra["models"] == [FINGERPRINT, TEACHER]
    assert not signal_features.write(paths["judgments"], paths["run"], out, scale="esci", labels=paths["golden"]).made
    assert not signal_weights.write(paths["judgments"], paths["run"], other, scale="esci", clicks=clicks).made


def test_json_is_one_document(paths, monkeypatch, capsys):
    arguments = ["signal", "filter", paths["judgments"], "--golden", paths["golden"], "--scale", "esci", "--out", paths["out"]]
    code, out, _ = call([*arguments, "--output", "json"], monkeypatch, capsys)
    assert code == 0
    said = json.loads(out)
    assert said["precision"]["low"] < said["precision"]["value"]
