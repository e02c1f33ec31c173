"""From files to screens and back: pairs, controls and audits go in, and what people said goes into check and compare."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import registries  # noqa: F401  (quick passwords)
from registries import team

from germane import store
from germane.pipeline import compare, golden
from germane.pipeline.annotate import Files, annotate, fields_of
from germane.pipeline.check import check
from germane.pipeline.votes import write_votes
from germane.registry import adjudicating, assigning, tasks, telling
from germane.registry.assigning import Ballot
from germane.registry.database import open_registry
from germane.registry.tasks import Asked
from germane.scales import get
from germane.types import InputError, Refusal, VoteKind


@pytest.fixture
def registry(tmp_path):
    opened = open_registry(tmp_path / "registry.sqlite")
    yield opened
    opened.close()


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def judge_all(registry, task, who, grade):
    """Everything that is left for somebody, with grade(query_id, doc_id)."""
    while given := assigning.take(registry, task, who):
        shown = telling.pair_of(registry, task, given.pair_id)
        said = grade(shown.query_id, shown.doc_id)
        assigning.vote(
            registry, task, who, Ballot(given.id, given.token, said, "" if said is not None else "not enough is shown")
        )


def decide_all(registry, task, who, grade):
    while given := adjudicating.open_pair(registry, task, who):
        shown = telling.pair_of(registry, task, given.pair_id)
        adjudicating.decide(
            registry, task, who, Ballot(given.id, given.token, grade(shown.query_id, shown.doc_id), note="as the guide says")
        )


def germane(*arguments, cwd, **env):
    done = subprocess.run(
        [sys.executable, "-m", "germane.cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


# --- golden -----------------------------------------------------------------------------------------------------------


def test_a_golden_set_made_on_the_screens_flows_into_check(registry, tmp_path):
    rng = random.Random(5)
    truth = {(f"q{q}", f"d{d}"): rng.randrange(4) for q in range(40) for d in range(5)}
    pairs = [
        {
            "query_id": q,
            "query": f"words {q}",
            "doc_id": d,
            "text": f"title: item {d}",
            "inclusion_probability": 0.5,
            "part": "random",
        }
        for q, d in truth
    ]
    controls = [
        {"query_id": "qc", "query": "known", "doc_id": f"c{i}", "text": "title: known", "label": "related"} for i in range(2)
    ]
    files = Files(write(tmp_path / "pairs.csv", pairs), controls=write(tmp_path / "controls.csv", controls))
    annotate(registry, files, scale="trec", asked=Asked(control_every=5), task="golden")
    task = tasks.find(registry)
    people = team(registry, ana="rater", ben="rater", cem="adjudicator")
    for name, slip in (("ana", 0.05), ("ben", 0.15)):
        judge_all(registry, task, people[name], lambda q, d, slip=slip: min(truth.get((q, d), 1) + (rng.random() < slip), 3))
    decide_all(registry, task, people["cem"], lambda q, d: truth[q, d])
    written = write_votes(registry, task, tmp_path / "votes.parquet")
    assert (written.pairs, written.raters, written.votes, written.unanswered) == (200, 2, 400, 0)
    single, final, every = (pq.read_table(path) for path in (written.judgments, written.final, written.every))
    assert set(single["judge"].to_pylist()) == {"human:ana", "human:ben"}
    assert final["inclusion_probability"].unique().to_pylist() == [0.5]
    assert set(every["kind"].to_pylist()) == {"vote", "control", "adjudication"}
    assert every.filter(pa.compute.equal(every["kind"], "control"))["known"].unique().to_pylist() == [1]
    judged = [{"query_id": q, "doc_id": d, "relevance": g, "judge": "m", "fingerprint": "f"} for (q, d), g in truth.items()]
    judged = write(tmp_path / "judged.csv", judged)
    card = check(tmp_path / "votes-final.parquet", judged, scale="trec", out=tmp_path / "card")
    assert card.passed
    assert check(tmp_path / "votes.parquet", judged, scale="trec", out=tmp_path / "card2", adjudicate="majority")


def test_pairs_that_nobody_can_grade_have_no_final_grade_and_say_why(registry, tmp_path):
    pairs = [{"query_id": "q", "query": "w", "doc_id": f"d{i}", "text": "a text"} for i in range(4)]
    annotate(registry, Files(write(tmp_path / "p.csv", pairs)), scale="esci", asked=Asked(), task="t")
    task, people = tasks.find(registry), team(registry, ana="rater", ben="rater")
    judge_all(registry, task, people["ana"], lambda q, d: None if d == "d0" else 3)
    judge_all(registry, task, people["ben"], lambda q, d: 2 if d == "d1" else None if d == "d0" else 3)
    written = write_votes(registry, task, tmp_path / "v.parquet")
    final = {row["doc_id"]: row for row in pq.read_table(written.final).to_pylist()}
    assert {d: row["relevance"] for d, row in final.items()} == {"d0": None, "d1": None, "d2": 3, "d3": 3}
    assert final["d0"]["outcome"] == "abstained"
    assert final["d1"]["note"] == "no grade by unanimous: S 1, E 1"
    assert (
        pq.read_table(written.judgments).filter(pa.compute.field("doc_id") == "d0")["note"].to_pylist()
        == ["not enough is shown"] * 2
    )


def test_an_undone_vote_is_in_the_table_of_every_row_and_in_no_other(registry, tmp_path):
    pairs = [{"query_id": "q", "query": "w", "doc_id": f"d{i}", "text": "a text"} for i in range(2)]
    annotate(registry, Files(write(tmp_path / "p.csv", pairs)), scale="esci", asked=Asked(raters=1), task="t")
    task, ana = tasks.find(registry), team(registry, ana="rater")["ana"]
    given = assigning.take(registry, task, ana)
    assigning.vote(registry, task, ana, Ballot(given.id, given.token, 0))
    assigning.undo(registry, task, ana)
    with pytest.raises(InputError, match="nobody has judged"):
        write_votes(registry, task, tmp_path / "v.parquet")
    judge_all(registry, task, ana, lambda q, d: 3)
    written = write_votes(registry, task, tmp_path / "v.parquet")
    assert pq.read_table(written.judgments)["relevance"].to_pylist() == [3, 3]
    every = pq.read_table(written.every)
    assert every["withdrawn"].to_pylist().count(True) == 1
    assert every.num_rows == 4
    assert [VoteKind(kind) for kind in every["kind"].to_pylist()]


# --- audits -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def experiment(tmp_path):
    """Two runs, a judge's grades of them, and the truth."""
    rng, truth = random.Random(3), {}
    tables = {name: [] for name in ("queries", "docs", "control", "treatment", "judged", "gold")}
    tables["docs"] = [{"doc_id": f"d{d}", "title": f"item {d}"} for d in range(100)]
    for q in range(60):
        tables["queries"].append({"query_id": f"q{q}", "query": f"words of query {q}"})
        for doc in (f"d{d}" for d in rng.sample(range(100), 12)):
            grade = truth[f"q{q}", doc] = rng.choice([0, 0, 1, 2, 3])
            old = 0.5 * grade + rng.gauss(0, 1)
            ids = {"query_id": f"q{q}", "doc_id": doc}
            tables["control"].append(ids | {"score": round(old, 6)})
            tables["treatment"].append(ids | {"score": round(old + 0.25 * grade + rng.gauss(0, 0.7), 6)})
            said = grade if rng.random() < 0.8 else min(3, max(0, grade + rng.choice([-1, 1])))
            tables["judged"].append(ids | {"label": said, "judge": "model", "fingerprint": "m1"})
            if q < 30:
                tables["gold"].append(ids | {"label": grade, "judge": "human:experts"})
    for name, rows in tables.items():
        write(tmp_path / f"{name}.csv", rows)
    return truth


@pytest.mark.parametrize(("unit", "suffix"), [("documents", "parquet"), ("queries", "csv")])
def test_an_audit_judged_on_the_screens_flows_into_compare(registry, experiment, tmp_path, unit, suffix):
    runs = ("--control", "control.csv", "--treatment", "treatment.csv")
    n = 150 if unit == "documents" else 20
    drawn = f"audit.{suffix}"
    assert germane("check", "gold.csv", "judged.csv", "--scale", "trec", "--out", "card", cwd=tmp_path)[0] in (0, 1)
    code, told = germane(
        "sample",
        "queries.csv",
        "--for",
        "audit",
        *runs,
        "--docs",
        "docs.csv",
        "-k",
        "10",
        "-n",
        n,
        "--unit",
        unit,
        "--out",
        drawn,
        cwd=tmp_path,
    )
    assert code == 0, told
    found = annotate(registry, Files(tmp_path / drawn), scale="trec", asked=Asked(), task="audit")
    assert found.kind == "audit"
    task, people = tasks.find(registry), team(registry, ana="rater", ben="rater", cem="adjudicator")
    skipped = telling.pair_of(registry, task, 1)
    for name in ("ana", "ben"):
        judge_all(
            registry,
            task,
            people[name],
            lambda q, d: None if (q, d) == (skipped.query_id, skipped.doc_id) else experiment[q, d],
        )
    written = write_votes(registry, task, tmp_path / "answers.parquet")
    before = {(row["query_id"], row["doc_id"]): row for row in read(tmp_path / drawn)}
    for row in pq.read_table(written.final).to_pylist():
        came = before[row["query_id"], row["doc_id"]]
        assert row["inclusion_probability"] == float(came["inclusion_probability"])
        assert (row["unit"], row["audit_stratum"], row["drawn"]) == (came["unit"], came["audit_stratum"], int(came["drawn"]))
    for answers in ("answers.parquet", "answers-final.parquet"):
        more = ("--judgments", "judged.csv", "--scale", "trec", "--metric", "sDCG@10", "--card", "card", "--audit", answers)
        code, told = germane("compare", *runs, *more, cwd=tmp_path)
        assert code == 0, told
        assert "Corrected by people's audit" in told


def test_a_golden_pair_or_one_used_in_training_is_no_audit(registry, experiment, tmp_path):
    runs = ("--control", "control.csv", "--treatment", "treatment.csv")
    germane(
        "sample",
        "queries.csv",
        "--for",
        "audit",
        *runs,
        "--docs",
        "docs.csv",
        "-k",
        "10",
        "-n",
        20,
        "--out",
        "audit.csv",
        cwd=tmp_path,
    )
    first = read(tmp_path / "audit.csv")[0]
    golden = write(tmp_path / "golden.csv", [{name: first[name] for name in ("query_id", "query", "doc_id", "text")}])
    used = write(tmp_path / "used.csv", [{"query_id": first["query_id"], "doc_id": first["doc_id"], "label": "1"}])
    with pytest.raises(Refusal, match="used in prompts or training"):
        annotate(registry, Files(tmp_path / "audit.csv", used=(used,)), scale="trec", asked=Asked())
    annotate(registry, Files(golden), scale="trec", asked=Asked())
    with pytest.raises(Refusal, match=r"kind golden already.*--allow golden-audit"):
        annotate(registry, Files(tmp_path / "audit.csv"), scale="trec", asked=Asked())
    with pytest.raises(InputError, match="is no audit"):
        annotate(registry, Files(golden), scale="trec", asked=Asked(), kind="audit", task="x")
    assert (
        annotate(registry, Files(tmp_path / "audit.csv"), scale="trec", asked=Asked(), allow=("golden-audit",))
        .notes[0]
        .startswith("--allow golden-audit")
    )


# --- files ------------------------------------------------------------------------------------------------------------


def test_documents_bring_whole_fields_and_images_and_never_ids_or_labels(registry, tmp_path):
    docs = [
        {
            "doc_id": "d",
            "title": "Chair",
            "description": "long " * 500,
            "image": "a.jpg",
            "price": 12.5,
            "esci_query_ids": "77",
            "rating": 4.5,
        }
    ]
    pairs = [{"query_id": "q", "query": "chair", "doc_id": "d", "context": "category: home"}]
    files = Files(write(tmp_path / "pairs.csv", pairs), docs=write(tmp_path / "docs.csv", docs))
    annotate(registry, files, scale="esci", asked=Asked())
    shown = telling.pair_of(registry, tasks.find(registry), 1)
    assert [name for name, _ in shown.fields] == ["title", "description", "price"]
    assert (shown.image, shown.context, len(shown.fields[1][1])) == ("a.jpg", "category: home", 2500)


def test_a_judge_s_text_is_shown_as_the_fields_that_it_was_made_of():
    assert fields_of("title: A\nkey features: b, c") == [("title", "A"), ("key features", "b, c")]
    assert fields_of("Prose with: a colon\nand more") == [("text", "Prose with: a colon\nand more")]


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"query_id": "q", "doc_id": "d", "text": "t"}], "no column 'query'"),
        ([{"query_id": "q", "doc_id": "d", "query": "t"}], "no column 'text'"),
        ([{"query_id": "q", "query": "t", "text": "t"}], "no column for doc_id"),
        ([{"query_id": "q", "doc_id": "d", "query": "t", "text": "t"}] * 2, "is there twice"),
        ([{"query_id": "q", "doc_id": "", "query": "t", "text": "t"}], "without an id"),
    ],
)
def test_pairs_that_lack_something_are_named(registry, tmp_path, rows, complaint):
    with pytest.raises(InputError, match=complaint):
        annotate(registry, Files(write(tmp_path / "pairs.csv", rows)), scale="esci", asked=Asked())
    assert tasks.listed(registry) == []


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_commands_say_wrong_input_in_one_line(tmp_path):
    write(tmp_path / "p.csv", [{"query_id": "q", "doc_id": "d", "query": "w", "text": "t"}])
    wrong = [
        ("annotate", "--pairs", "p.csv"),
        ("annotate", "--pairs", "none.csv", "--scale", "esci"),
        ("annotate", "--pairs", "p.csv", "--scale", "nope"),
        ("annotate", "--pairs", "p.csv", "--scale", "esci", "--images", "nowhere"),
        ("annotate", "--pairs", "p.csv", "--scale", "esci", "--search-url", "javascript:{query}"),
        ("annotate", "--pairs", "p.csv", "--scale", "esci", "--guide", "none.md"),
        ("annotate", "--pairs", "p.csv", "--scale", "esci", "--allow", "everything"),
        ("annotate", "--docs", "p.csv"),
        ("votes", "--out", "v.parquet"),
        ("votes", "--out", "v.csv"),
        ("account", "add", "ana"),
        ("account", "disable", "nobody"),
        ("registry", "restore", "p.csv"),
        ("registry", "backup", "b.zip", "--registry", "postgresql://u:secret@/x?host=/nowhere"),
    ]
    for arguments in wrong:
        code, told = germane(*arguments, cwd=tmp_path)
        assert code == 2, (arguments, told)
        assert len(told.strip().splitlines()) == 1, told
        assert "secret" not in told


def test_accounts_backup_and_restore_by_command(tmp_path):
    write(tmp_path / "p.csv", [{"query_id": "q", "doc_id": "d", "query": "w", "text": "t"}])
    code, told = germane("annotate", "--pairs", "p.csv", "--scale", "esci", "--no-serve", "-o", "json", cwd=tmp_path)
    assert json.loads(told)["new"] == 1, told
    assert germane("account", "add", "olga", "--role", "owner", cwd=tmp_path, GERMANE_PASSWORD="a long password") == (
        0,
        "account olga: owner\n",
    )
    assert "olga  owner" in germane("account", "list", cwd=tmp_path)[1]
    assert germane("registry", "backup", "b.zip", cwd=tmp_path)[0] == 0
    assert germane("registry", "restore", "b.zip", cwd=tmp_path)[0] == 2
    code, told = germane("registry", "restore", "b.zip", cwd=tmp_path, GERMANE_REGISTRY="other.sqlite")
    assert code == 0, told
    assert "olga  owner" in germane("account", "list", "--registry", "other.sqlite", cwd=tmp_path)[1]


def test_an_override_of_an_audit_stands_in_its_tables_and_in_the_report(registry, experiment, tmp_path):
    runs = ("--control", "control.csv", "--treatment", "treatment.csv")
    drawn = ("--docs", "docs.csv", "-k", "10", "-n", 20, "--out", "audit.csv")
    germane("sample", "queries.csv", "--for", "audit", *runs, *drawn, cwd=tmp_path)
    first = read(tmp_path / "audit.csv")[0]
    golden = write(tmp_path / "golden.csv", [{name: first[name] for name in ("query_id", "query", "doc_id", "text")}])
    annotate(registry, Files(golden), scale="trec", asked=Asked(), task="golden")
    annotate(registry, Files(tmp_path / "audit.csv"), scale="trec", asked=Asked(raters=1), task="a", allow=("golden-audit",))
    task, who = tasks.find(registry, "a"), team(registry, ana="rater")["ana"]
    while given := assigning.take(registry, task, who):
        assigning.vote(registry, task, who, assigning.Ballot(given.id, given.token, 2))
    written = write_votes(registry, task, tmp_path / "votes.parquet")
    assert written.notes[0].startswith("--allow golden-audit")
    for path in (written.judgments, written.final, written.every):
        assert store.read_manifest(path).extra["overrides"][0].startswith("--allow golden-audit")
    audited = compare._audited(written.judgments, None, get("trec"))
    assert audited.overrides[0].startswith("--allow golden-audit")


def test_a_golden_or_used_pair_is_known_by_its_document_under_a_query_of_the_same_words(registry, tmp_path):
    odds = {"unit": "documents", "audit_stratum": "all", "inclusion_probability": 0.5, "drawn": 1}
    pair = {"query_id": "1", "query": "red shoes", "doc_id": "a", "text": "title: Red shoes"}
    other = {"query_id": "9", "query": "Red shoes!", "doc_id": "a", "text": "title: Red shoes by Acme"} | odds
    used, audit = write(tmp_path / "used.csv", [pair]), write(tmp_path / "audit.csv", [other])
    with pytest.raises(Refusal, match="used in prompts or training"):
        annotate(registry, Files(audit, used=(used,)), scale="esci", asked=Asked())
    annotate(registry, Files(used), scale="esci", asked=Asked())
    with pytest.raises(Refusal, match="kind golden already"):
        annotate(registry, Files(audit), scale="esci", asked=Asked())
    apart = write(tmp_path / "apart.csv", [other | {"doc_id": "b"}])
    assert annotate(registry, Files(apart, used=(used,)), scale="esci", asked=Asked()).new == 1


def test_votes_say_themselves_how_they_were_asked_and_which_pairs_wait_although_people_agree(registry, tmp_path):
    from germane.golden import votes as kept

    pairs = [
        {"query_id": f"q{i}", "query": f"query {i}", "doc_id": "d", "text": "item", "entropy": e, "inclusion_probability": 0.5}
        for i, e in enumerate((0.2, 1.5, 0.1))
    ]
    given = write(tmp_path / "pairs.csv", pairs)
    asked = Asked(raters=1, entropy_bar=1.0)
    task = tasks.find(registry, annotate(registry, Files(given), scale="esci", asked=asked).task)
    ana = team(registry, ana="rater")["ana"]
    while (ballot := assigning.take(registry, task, ana)) is not None:
        assigning.vote(registry, task, ana, Ballot(ballot.id, ballot.token, 2))
    written = write_votes(registry, task, tmp_path / "votes.parquet")
    for path in map(Path, (written.judgments, written.every)):
        moved = path.with_name(f"moved-{path.name}")
        path.rename(moved)
        assert store.read_manifest(moved) is None
        said = kept.asked_of(moved)
        assert (said["raters"], "inclusion_probability" in said["columns"]) == (1, True)
        with pytest.raises(InputError, match="have odds, and would be sealed without them"):
            golden.seal(moved, tmp_path / "s", scale="esci", seed=1)
        with pytest.raises(Refusal, match="1 pairs still need an adjudicator, the first is query 'q1'"):
            golden.seal(moved, tmp_path / "s", scale="esci", pairs=given, seed=1)


def test_a_bar_on_entropies_that_no_pair_has_is_refused(registry, tmp_path):
    given = write(tmp_path / "pairs.csv", [{"query_id": "q", "query": "a", "doc_id": "d", "text": "item"}])
    with pytest.raises(InputError, match=r"--entropy 1: no pair of .* has an entropy"):
        annotate(registry, Files(given), scale="esci", asked=Asked(entropy_bar=1.0))
    assert not tasks.listed(registry)


def test_pairs_to_judge_again_have_a_task_of_their_own_and_drift_reads_the_votes_of_both(registry, tmp_path):
    from germane.pipeline import guide

    rows = [{"query_id": f"q{i}", "query": f"query {i}", "doc_id": "d", "text": f"item {i}"} for i in range(6)]
    given = write(tmp_path / "pairs.csv", rows)
    new = tmp_path / "new.md"
    new.write_text("# Another guide\n\nE: exact, in another sense.\n")
    ana = team(registry, ana="rater")["ana"]

    def judged(task, out, grade):
        task = tasks.find(registry, task)
        while (ballot := assigning.take(registry, task, ana)) is not None:
            assigning.vote(registry, task, ana, Ballot(ballot.id, ballot.token, grade))
        return Path(write_votes(registry, task, tmp_path / out).every)

    asked = Asked(raters=1)
    annotate(registry, Files(given), scale="esci", asked=asked, task="first")
    before = judged("first", "before.parquet", 3)
    same = annotate(registry, Files(given), scale="esci", asked=asked, task="first", guide=new)
    assert "6 pairs were in the task before: their votes stand" in same.notes[0]
    assert not annotate(registry, Files(given), scale="esci", asked=asked, task="again", guide=new).notes
    after = judged("again", "after.parquet", 2)
    versions = {"old": get("esci").version, "new": str(new)}
    found = guide.drift([before, after], scale="esci", **versions)
    assert (found.pairs, found.found["changed"].value, found.found["shift"].value) == (6, 1.0, -1.0)
    with pytest.raises(InputError, match="no vote was made under guide version"):
        guide.drift(after, scale="esci", **versions)
