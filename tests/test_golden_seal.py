"""Sealing: what is refused, what is apart, what is counted, and what goes out and comes back."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import scales, sources, store
from germane.golden import folder, votes
from germane.golden.seal import freeze
from germane.pipeline import golden as pipeline
from germane.pipeline.check import check
from germane.store import sealed
from germane.types import InputError, Refusal, Vote, VoteKind

ESCI = scales.get("esci")
START = datetime(2026, 5, 4, 9, tzinfo=UTC)
GUIDE = ESCI.version


def rows_of(queries=20, docs=4):
    rows = []
    for q in range(queries):
        for d in range(docs):
            for rater in ("ann", "bob"):
                stratum = f"{'head' if q < 5 else 'tail'} / rank 1-3"
                rows.append(Vote(f"q{q}", f"d{d}", rater, (q + d) % 4, GUIDE, START, stratum=stratum, note="=1+1"))
    return rows


def pairs_of(rows):
    ids = sorted({(v.query_id, v.doc_id, v.stratum) for v in rows})
    table = {
        "query_id": [q for q, *_ in ids],
        "query": [f"blue chair number {q}" for q, *_ in ids],
        "doc_id": [d for _, d, _ in ids],
        "text": [f"item {d} of query {q}, a chair in oak for the kitchen" for q, d, _ in ids],
        "stratum": [s for *_, s in ids],
        "inclusion_probability": [None if d == "d3" else 0.25 for _, d, _ in ids],
        "part": ["targeted" if d == "d3" else "random" for _, d, _ in ids],
        "reason": ["secret" for _ in ids],
    }
    return pa.table(table)


@pytest.fixture
def sealed_set(tmp_path):
    """A sealed folder, with texts."""
    rows = rows_of()
    pq.write_table(pa.Table.from_pylist([{**v._asdict(), "kind": str(v.kind)} for v in rows]), tmp_path / "votes.parquet")
    store.write_table(pairs_of(rows), tmp_path / "pairs.parquet", "pairs", verb="test", parameters={})
    out = tmp_path / "golden"
    pipeline.seal(tmp_path / "votes.parquet", out, scale="esci", pairs=tmp_path / "pairs.parquet", seed=3)
    return out


def test_dev_and_test_share_no_query_and_every_stratum_gives_its_share(sealed_set):
    dev, test = (pq.read_table(sealed_set / f"{part}.parquet") for part in ("dev", "test"))
    ours, theirs = (set(t["query_id"].to_pylist()) for t in (dev, test))
    assert not ours & theirs
    assert len(ours) == len(theirs) == 10
    head = {f"q{i}" for i in range(5)}
    assert len(head & theirs) in (2, 3)
    assert set(test["split"].to_pylist()) == {"test"}
    assert test["inclusion_probability"].null_count == test["part"].to_pylist().count("targeted") == 10
    assert "reason" not in pq.read_table(sealed_set / "test-pairs.parquet").column_names


def test_every_query_is_in_the_test_with_the_same_chance_whatever_the_size_of_its_stratum():
    from germane.golden.seal import TEST, About, _parts

    sizes = {"a": 1, "b": 1, "c": 3, "d": 5, "e": 1, "f": 2}
    kept = {(f"{name}{i}", "d"): None for name, size in sizes.items() for i in range(size)}
    about = {pair: About("", f"{pair[0][0]} / rank 1-3", None, "") for pair in kept}
    for share in (0.5, 0.3):
        seeds = 2000
        parts = [_parts(kept, about, share, seed) for seed in range(seeds)]
        for query, _ in kept:
            chance = sum(part[query] == TEST for part in parts) / seeds
            assert chance == pytest.approx(share, abs=5 * (0.25 / seeds) ** 0.5), query
        whole = {sum(name.startswith("d") and of == TEST for name, of in part.items()) for part in parts}
        assert whole <= ({2, 3} if share == 0.5 else {1, 2}), "a stratum gets its share to within one query"


def test_the_same_seed_gives_the_same_hash_and_another_another(sealed_set, tmp_path):
    files = {"scale": "esci", "pairs": tmp_path / "pairs.parquet"}
    again = pipeline.seal(tmp_path / "votes.parquet", tmp_path / "b", seed=3, **files)
    other = pipeline.seal(tmp_path / "votes.parquet", tmp_path / "c", seed=4, **files)
    assert again.hash == pipeline.status(sealed_set).hash != other.hash
    assert not pipeline.seal(tmp_path / "votes.parquet", sealed_set, seed=3, **files).made
    with pytest.raises(InputError, match="is never written over"):
        pipeline.seal(tmp_path / "votes.parquet", sealed_set, seed=4, **files)


def test_queries_of_the_same_words_go_to_the_same_part():
    rows = rows_of(queries=12)
    table = pairs_of(rows)
    same = ["Blue CHAIR!" if q in ("q1", "q2", "q3") else f"other {q}" for q in table["query_id"].to_pylist()]
    table = table.set_column(1, "query", pa.array(same))
    for seed in range(8):
        found = freeze(votes.read(rows, ESCI), ESCI, pairs=table, seed=seed).labels
        split = dict(zip(found["query_id"].to_pylist(), found["split"].to_pylist(), strict=True))
        assert split["q1"] == split["q2"] == split["q3"]


def test_unsettled_pairs_are_refused_or_left_out_and_counted():
    rows = rows_of()
    rows[0] = rows[0]._replace(relevance=3)  # q0 d0: I and E
    rows = rows[:-1]  # the last pair has one vote
    with pytest.raises(Refusal, match="1 pairs still need an adjudicator and 1 pairs have fewer votes than asked for"):
        freeze(votes.read(rows, ESCI), ESCI, seed=1)
    found = freeze(votes.read(rows, ESCI), ESCI, seed=1, leave_out=True)
    assert found.labels.num_rows == 78
    assert found.facts["left_out"] == {"needs adjudication": 1, "open": 1}
    above = Vote("q0", "d0", "eve", 2, GUIDE, START + timedelta(hours=1), VoteKind.ADJUDICATION, "a substitute")
    assert freeze(votes.read([*rows, above], ESCI), ESCI, seed=1, leave_out=True).facts["settled"]["adjudicated"] == 1


def test_mixed_guides_and_mixed_scales_are_refused(file):
    rows = rows_of()
    rows[5] = rows[5]._replace(guide_version="other")
    with pytest.raises(InputError, match="2 guide versions"):
        freeze(votes.read(rows, ESCI), ESCI, seed=1)
    path = file("j.csv", "query_id,doc_id,relevance,judge,scale\nq,d,1,human:a,esci\nq,e,1,human:a,trec\n")
    with pytest.raises(InputError, match="judgments on scale esci, trec; expected esci"):
        votes.read(path, ESCI)


def test_a_changed_file_and_a_changed_seal_are_refused(sealed_set):
    with (sealed_set / "test.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="was changed after it was sealed"):
        sources.read_judgments(sealed_set / "test.parquet")
    said = json.loads((sealed_set / "seal.json").read_text())
    said["files"]["test.parquet"]["sha256"] = store.sha256(sealed_set / "test.parquet")
    (sealed_set / "seal.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"seal\.json was changed"):
        sources.read_judgments(sealed_set / "test.parquet")


def test_reads_of_the_test_are_counted_once_a_verb_and_those_of_dev_are_not(sealed_set):
    sources.read_judgments(sealed_set / "dev.parquet", scale=ESCI)
    sources.read_pairs(sealed_set / "test-pairs.parquet")
    assert sealed.reads(sealed_set / "test.parquet") == 0
    with sealed.reading("germane check"):
        sources.read_judgments(sealed_set / "test.parquet", scale=ESCI)
        sources.read_judgments(sealed_set / "test.parquet", scale=ESCI)
    sources.read_judgments(sealed_set / "test.parquet", scale=ESCI)
    assert pipeline.status(sealed_set).readers == {"germane check": 1, "python": 1}


def test_check_takes_the_sealed_test_and_its_card_and_manifest_say_how_often_it_was_read(sealed_set, tmp_path):
    test = sealed_set / "test.parquet"
    card = check(test, sealed_set / "test.parquet", scale="esci", out=tmp_path / "card")
    assert "test read 2 times" in card.caveats
    manifest = store.read_manifest(tmp_path / "card" / "card.json")
    assert list(manifest.extra["test_reads"].values()) == ["test read 2 times"]
    check(test, sealed_set / "test.parquet", scale="esci", out=tmp_path / "card")  # made already: nothing is read
    assert sealed.reads(test) == 2


def test_many_readers_at_once_lose_no_line(sealed_set):
    code = f"from germane import sources\nfor _ in range(10): sources.read_judgments({str(sealed_set / 'test.parquet')!r})"
    several = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait() for process in several] == [0] * 4
    assert sealed.reads(sealed_set / "test.parquet") == 40


def test_a_folder_that_cannot_be_written_is_read_with_a_note(sealed_set, caplog):
    (sealed_set / "reads.jsonl").mkdir()  # as where nothing may be written: root may write everywhere
    assert sources.read_judgments(sealed_set / "test.parquet").num_rows == 40
    assert "this read of the golden test is not counted" in caplog.text


def test_the_test_part_is_no_example_and_no_training_data(sealed_set):
    with pytest.raises(InputError, match="holds golden test: examples are taken from dev"):
        sealed.refuse_test(sealed_set / "test.parquet", "examples are taken from dev")
    assert folder.test_pairs(sealed_set) == folder.test_pairs(sealed_set / "test.parquet") == sealed_set / "test-pairs.parquet"
    assert folder.test_pairs(Path("other.parquet")) == Path("other.parquet")


# --- leaks ------------------------------------------------------------------------------------------------------------------


def leak(sealed_set, tmp_path, rows):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [(found.kind, found.golden) for found in pipeline.leaks(sealed_set, [path]).found]


def test_each_kind_of_leak_is_found_and_other_data_is_none(sealed_set, tmp_path):
    text = "item d1 of query q7, a chair in oak for the kitchen"
    query = "blue chair number q7"
    apart = {"query_id": "x", "doc_id": "y", "query": "a red lamp", "text": "a lamp"}
    assert leak(sealed_set, tmp_path, [apart]) == []
    assert leak(sealed_set, tmp_path, [{"query_id": "q7", "doc_id": "d1"}])[0] == ("the same pair, by its ids", 1)
    shouted = {"query_id": "x", "doc_id": "y", "query": query.upper() + "!", "text": text.upper()}
    assert ("the same pair, by its words", 1) in leak(sealed_set, tmp_path, [shouted])
    longer = {**shouted, "query": f"{query} ", "text": f"{text} " + "today"}
    assert leak(sealed_set, tmp_path, [longer])[0][0].startswith("nearly the same pair")
    assert leak(sealed_set, tmp_path, [{**apart, "query": query}]) == [("the same query, by its words", 4)]
    same_ids = {"query_id": "q7", "doc_id": "d1", "query": "a red lamp", "text": "a lamp"}
    assert leak(sealed_set, tmp_path, [same_ids]) == []  # another data set's ids


def test_a_judge_that_learned_from_golden_queries_is_a_leak(sealed_set, tmp_path):
    from germane.text import query_digest

    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "training.json").write_text(json.dumps({"queries": [query_digest("Blue chair number Q7")]}))
    (found,) = pipeline.leaks(sealed_set, [judge]).found
    assert found.golden == 4


# --- export -----------------------------------------------------------------------------------------------------------------


def test_what_goes_out_comes_back_with_the_same_grades(sealed_set, tmp_path):
    sealed_labels = pq.read_table(sealed_set / "dev.parquet")
    grades = sorted(zip(*(sealed_labels[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True))
    for form, suffix in (("trec", "qrels"), ("esci", "csv"), ("jsonl", "jsonl"), ("parquet", "parquet"), ("csv", "csv")):
        out = tmp_path / form
        pipeline.export(sealed_set, out, form=form)
        table = sources.read_judgments(out / f"dev.{suffix}", scale=ESCI)
        assert sorted(zip(*(table[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True)) == grades, form


def test_quepid_has_ratings_by_query_text_and_hugging_face_a_card_with_splits(sealed_set, tmp_path):
    pipeline.export(sealed_set, tmp_path / "quepid", form="quepid")
    assert (tmp_path / "quepid" / "dev.csv").read_text().splitlines()[0] == '"query","docid","rating"'
    table = sources.read_judgments(tmp_path / "quepid" / "dev.csv", scale=ESCI)
    assert table["relevance"].to_pylist() == pq.read_table(sealed_set / "dev.parquet")["relevance"].drop_null().to_pylist()
    assert table["query_id"][0].as_py().startswith("blue chair number")
    pipeline.export(sealed_set, tmp_path / "hf", form="hf", licence='odd: "licence"')
    card = (tmp_path / "hf" / "README.md").read_text()
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == 'odd: "licence"'
    assert front["configs"][0]["data_files"] == [{"split": part, "path": f"data/{part}-*.parquet"} for part in ("dev", "test")]
    for part in ("dev", "test"):
        (file,) = (tmp_path / "hf").glob(f"data/{part}-*.parquet")
        assert sources.read_judgments(file, scale=ESCI).num_rows == 40
        assert set(pq.read_table(file)["label"].to_pylist()) == set("ESCI")


def test_text_that_a_spreadsheet_would_run_is_no_formula_in_csv(tmp_path):
    rows = [Vote(q, "d", "ann", 1, GUIDE, START) for q in ("q1", "q2")]
    table = pairs_of(rows).set_column(1, "query", pa.array(['=HYPERLINK("x")', "+1"]))
    pq.write_table(pa.Table.from_pylist([{**v._asdict(), "kind": "vote"} for v in rows]), tmp_path / "v.parquet")
    store.write_table(table, tmp_path / "p.parquet", "pairs", verb="test", parameters={})
    pipeline.seal(tmp_path / "v.parquet", tmp_path / "s", scale="esci", pairs=tmp_path / "p.parquet", seed=1, raters_per_pair=1)
    pipeline.export(tmp_path / "s", tmp_path / "out", form="quepid")
    lines = [line for part in ("dev", "test") for line in (tmp_path / "out" / f"{part}.csv").read_text().splitlines()[1:]]
    assert all(line.startswith("\"'") for line in lines)


def test_an_id_that_would_be_a_formula_is_not_written_to_csv(tmp_path, file):
    path = file("g.csv", "query_id,query,doc_id,text,relevance\nq,tables,=1+1,oak,E\nq,tables,-5,oak,E\n")
    with pytest.raises(InputError, match=r"doc_id '=1\+1' would be a formula in a spreadsheet: write \.jsonl or \.parquet"):
        pipeline.export(path, tmp_path / "x.csv", form="csv", scale="esci", pairs=path)
    assert not (tmp_path / "x.csv").exists()
    pipeline.export(path, tmp_path / "x.jsonl", form="jsonl", scale="esci", pairs=path)
    read = sources.read_judgments(tmp_path / "x.jsonl", scale=ESCI)
    assert read["doc_id"].to_pylist() == ["-5", "=1+1"]


def test_quepid_knows_a_query_by_its_words(tmp_path, file):
    rows = "query_id,query,doc_id,text,relevance\nq1,tables,d,oak,E\nq2,tables,d,oak,{}\nq2,tables,e,oak,I\n"
    same = file("same.csv", rows.format("E"))
    pipeline.export(same, tmp_path / "x.csv", form="quepid", scale="esci", pairs=same)
    assert (tmp_path / "x.csv").read_text().splitlines()[1:] == ['"tables","d",100', '"tables","e",0']
    other = file("other.csv", rows.format("I"))
    with pytest.raises(InputError, match="queries 'q1' and 'q2' have the same words and rate document 'd' differently"):
        pipeline.export(other, tmp_path / "y.csv", form="quepid", scale="esci", pairs=other)


def test_a_pair_that_a_judge_was_unsure_of_waits_for_a_third_person():
    rows = rows_of()
    rows = [row._replace(queued=(row.query_id, row.doc_id) == ("q0", "d0")) for row in rows]
    with pytest.raises(Refusal, match="1 pairs still need an adjudicator"):
        freeze(votes.read(rows, ESCI), ESCI, seed=1)
    table = pa.Table.from_pylist([{**v._asdict(), "kind": str(v.kind)} for v in rows])
    with pytest.raises(Refusal, match="1 pairs still need an adjudicator"):
        freeze(votes.read(table, ESCI), ESCI, seed=1)
    above = Vote("q0", "d0", "eve", 0, GUIDE, START + timedelta(hours=1), VoteKind.ADJUDICATION, "agreed")
    assert freeze(votes.read([*rows, above], ESCI), ESCI, seed=1).facts["settled"]["adjudicated"] == 1


def test_texts_that_a_spreadsheet_would_run_come_back_from_csv_as_they_were(tmp_path, file):
    texts = ["=1+1", "'=1+1", "''-5", "'plain", "-1", "plain"]
    rows = [{"query_id": f"q{i}", "query": t, "doc_id": "d", "text": f"@{t}", "relevance": "E"} for i, t in enumerate(texts)]
    (tmp_path / "g.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "g.jsonl"
    done = pipeline.export(path, tmp_path / "x.csv", form="csv", scale="esci", pairs=path)
    assert (done.pairs, done.left_out) == ({"x.csv": 6}, 0)
    assert "'=1+1" in (tmp_path / "x.csv").read_text()
    back = sources.read_pairs(tmp_path / "x.csv")
    assert back["query"].to_pylist() == texts
    assert back["text"].to_pylist() == [f"@{t}" for t in texts]
    (tmp_path / "x.csv.manifest.json").unlink()
    assert sources.read_pairs(tmp_path / "x.csv")["query"].to_pylist()[0] == "'=1+1"


def test_what_a_form_has_no_place_for_is_counted_and_nobody_s_data_is_called_amazon_s(tmp_path, file):
    path = file("g.csv", "query_id,query,doc_id,text,relevance\nq,tables,d,oak,E\nq,tables,e,oak,\n")
    done = pipeline.export(path, tmp_path / "x.csv", form="esci", scale="esci", pairs=path)
    assert (done.pairs, done.left_out) == ({"x.csv": 1}, 1)
    back = sources.read_judgments(tmp_path / "x.csv", scale=ESCI)
    assert store.attribution(back) == ""


def test_pairs_without_texts_are_sealed_with_those_of_their_files_and_never_without_their_odds(tmp_path):
    rows = rows_of()
    pq.write_table(pa.Table.from_pylist([{**v._asdict(), "kind": str(v.kind)} for v in rows]), tmp_path / "v.parquet")
    task = {"raters": 2, "adjudicate": "any", "columns": ["inclusion_probability", "part"]}
    store.write_manifest(tmp_path / "v.parquet", verb="votes", inputs=[], parameters={}, extra={"task": task})
    whole = pairs_of(rows)
    pq.write_table(whole.drop_columns(["text", "query"]), tmp_path / "bare.parquet")
    pq.write_table(whole.select(["query_id", "query"]).group_by(["query_id", "query"]).aggregate([]), tmp_path / "q.parquet")
    ids = sorted(set(whole["doc_id"].to_pylist()))
    pq.write_table(pa.table({"doc_id": ids, "title": [f"item {d}" for d in ids]}), tmp_path / "d.parquet")
    of = {"scale": "esci", "seed": 1}
    with pytest.raises(InputError, match=r"no column 'query': give the texts with --queries"):
        pipeline.seal(tmp_path / "v.parquet", tmp_path / "s", pairs=tmp_path / "bare.parquet", **of)
    files = {"queries": tmp_path / "q.parquet", "docs": tmp_path / "d.parquet"}
    pipeline.seal(tmp_path / "v.parquet", tmp_path / "s", pairs=tmp_path / "bare.parquet", **files, **of)
    (first,) = pq.read_table(tmp_path / "s" / "dev-pairs.parquet").slice(0, 1).to_pylist()
    assert first["text"] == f"title: item {first['doc_id']}"
    assert pq.read_table(tmp_path / "s" / "dev.parquet")["inclusion_probability"].to_pylist().count(0.25) > 0
    pq.write_table(whole.drop_columns(["inclusion_probability"]), tmp_path / "odd.parquet")
    with pytest.raises(InputError, match=r"would be sealed without them \(inclusion_probability\)"):
        pipeline.seal(tmp_path / "v.parquet", tmp_path / "t", pairs=tmp_path / "odd.parquet", **of)
    with pytest.raises(InputError, match="give these with --pairs"):
        pipeline.seal(tmp_path / "v.parquet", tmp_path / "t", docs=tmp_path / "d.parquet", **of)


def test_a_card_for_others_shows_the_guide_that_raters_were_shown_or_none(tmp_path):
    rows = [row._replace(guide_version="old") for row in rows_of()]
    for name, known in (("known", {"old": "Our own rubric."}), ("unknown", {})):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist([{**v._asdict(), "kind": str(v.kind)} for v in rows]), path)
        extra = {"task": {"raters": 2, "columns": [], "guides": known}}
        store.write_manifest(path, verb="votes", inputs=[], parameters={}, extra=extra)
        pipeline.seal(path, tmp_path / name, scale="esci", seed=1)
        pipeline.export(tmp_path / name, tmp_path / f"{name}-hf", form="hf")
        card = (tmp_path / f"{name}-hf" / "README.md").read_text()
        assert ("The guide that raters were shown" in card, "Our own rubric." in card) == (bool(known), bool(known))


def test_a_judge_that_learned_from_sealed_queries_is_seen_by_the_texts_beside_the_labels(sealed_set, tmp_path):
    from germane.text import query_digest

    test = pq.read_table(sealed_set / "test.parquet")
    said = test.select(["query_id", "doc_id", "relevance", "scale", "guide_version", "outcome"])
    n = said.num_rows
    for name, value in {"judge": "m", "fingerprint": "f1", "note": ""}.items():
        said = said.append_column(name, pa.repeat(value, n))
    learned = [query_digest(text) for text in pq.read_table(sealed_set / "test-pairs.parquet")["query"].to_pylist()]
    extra = {"judge": {"name": "m", "fingerprint": "f1", "training_queries": learned}}
    store.write_table(said, tmp_path / "said.parquet", "judgments", verb="label", parameters={}, extra=extra)
    with pytest.raises(Refusal, match="its judge was trained on 10 of gold's 10 queries"):
        check(sealed_set / "test.parquet", tmp_path / "said.parquet", scale="esci")


def test_a_form_that_needs_texts_says_so(tmp_path, file):
    path = file("g.csv", "query_id,doc_id,relevance\nq,d,E\n")
    with pytest.raises(InputError, match="--to quepid holds the queries' text"):
        pipeline.export(path, tmp_path / "x.csv", form="quepid", scale="esci")
    with pytest.raises(InputError, match="--to excel: expected one of"):
        pipeline.export(path, tmp_path / "x.csv", form="excel", scale="esci")


# --- the command line and audits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("quality", "none.parquet", "--scale", "esci"), "cannot read none.parquet"),
        (("seal", "v.csv", "--scale", "esci", "--out", "s", "--test", "2"), "--test 2: expected the share"),
        (("seal", "v.csv", "--scale", "esci", "--out", "s", "--raters", "1"), "all pairs are of one query"),
        (("seal", "v.csv", "--scale", "esci", "--out", "s", "--rule", "coin"), "rule 'coin'"),
        (("status", "."), "there is no such file"),
        (("leaks", "v.csv", "--against", "none.csv"), "cannot read none.csv"),
        (("export", "v.csv", "--to", "trec", "--out", "x.qrels"), "pass --scale"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, arguments, complaint):
    (tmp_path / "v.csv").write_text("query_id,doc_id,relevance\nq\u202e,d,E\nq\u202e,e,I\n")
    done = subprocess.run(
        [sys.executable, "-m", "germane.cli", "golden", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_sealed_pair_enters_no_audit(sealed_set):
    from germane.pipeline.audit import _apart
    from germane.pipeline.compare import _audited

    mine = pa.table({"query_id": ["q1", "z"], "doc_id": ["d1", "z"], "query": ["blue chair number q1", "z"]})
    with pytest.raises(InputError, match=r"1 of 2 drawn pairs are in .*golden"):
        _apart(mine, [sealed_set])
    _apart(mine.slice(1), [sealed_set])
    known = pq.read_table(sealed_set / "dev-pairs.parquet").slice(0, 1).to_pylist()[0]
    words = {"query_id": ["7"], "doc_id": ["7"], "query": [known["query"].upper()], "text": [known["text"] + "."]}
    with pytest.raises(InputError, match=r"1 of 1 drawn pairs are in .*golden"):
        _apart(pa.table(words), [sealed_set])
    with pytest.raises(InputError, match="is of a sealed golden set"):
        _audited(sealed_set / "dev.parquet", None, ESCI)


def test_two_queries_of_a_long_text_are_two_pairs_and_labels_of_fields_hide_none():
    from germane.golden import leaks

    text = " ".join(f"word{i}" for i in range(200))
    row = {"query_id": ["1"], "doc_id": ["a"], "query": ["red oak chair"], "text": [f"title: Chair\ndescription: {text}"]}
    other = {"query_id": ["2"], "doc_id": ["b"], "query": ["cheap gift for mother"], "text": row["text"]}
    assert leaks.shared(pa.table(row), pa.table(other)).tolist() == []
    same = other | {"query": ["oak chair, red"], "text": [f"Chair\n{text} more"]}
    assert leaks.shared(pa.table(row), pa.table(same)).tolist() == [0]
    fan = {"query_id": ["1"], "doc_id": ["a"], "query": ["fan"], "text": [text]}
    computer = {"query_id": ["2"], "doc_id": ["b"], "query": ["computer fan"], "text": [text]}
    assert leaks.shared(pa.table(fan), pa.table(computer)).tolist() == []


def test_targeted_pairs_are_in_no_figure_over_all():
    from germane.golden.quality import quality

    rows, pairs = [], {"query_id": [], "doc_id": [], "inclusion_probability": [], "part": []}
    for q in range(40):
        for part, chance in (("random", 0.5), ("targeted", None)):
            for name, value in (("query_id", f"q{q}"), ("doc_id", part), ("inclusion_probability", chance), ("part", part)):
                pairs[name].append(value)
            for number, rater in enumerate(("ann", "bob")):
                grade = q % 4 if part == "random" else (None if q % 2 else (q + number) % 4)
                rows.append(Vote(f"q{q}", part, rater, grade, GUIDE, START))
    found = quality(rows, ESCI, pairs=pa.table(pairs)).found
    values = {name: found[name].value for name in ("full agreement", "exact agreement", "kappa", "cannot judge")}
    assert values == {"full agreement": 1.0, "exact agreement": 1.0, "kappa": 1.0, "cannot judge": 0.0}
    assert found["cannot judge"].n == 80
