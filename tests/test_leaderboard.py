"""`leaderboard`: every judge on the same golden pairs, paired with the best and its teacher; what it reads and refuses."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt

import germane.cli.leaderboard
from germane import cli, metrics, scales, sources, store
from germane.pipeline.check import check
from germane.pipeline.leaderboard import leaderboard
from germane.report import leaderboard as page
from germane.stats import agreement, ranks, retention
from germane.text import query_digest
from germane.types import InputError, Leaderboard, Refusal

TREC = scales.get("trec")
QUERIES, DOCS = 40, 6
IDS = [(f"q{q:02}", f"d{d}") for q in range(QUERIES) for d in range(DOCS)]
QUERY = np.repeat(np.arange(QUERIES), DOCS)
NASTY = "<script>alert('x')</script>\u202e | [a](b)"


def truth(seed=0):
    return np.random.default_rng(seed).integers(0, 4, len(IDS))


def said(wrong, seed=1):
    """A judge that is one grade off on a share of pairs."""
    rng, gold = np.random.default_rng(seed), truth()
    return np.clip(gold + np.where(rng.random(len(gold)) < wrong, rng.choice([-1, 1], len(gold)), 0), 0, 3)


def judged(grades, judge="human:a", fingerprint="", probs=None, skip=()):
    """A table of judgments; pairs whose numbers are in `skip` have no answer."""
    relevance = [None if at in skip else int(g) for at, g in enumerate(grades)]
    columns = {"query_id": [q for q, _ in IDS], "doc_id": [d for _, d in IDS], "relevance": pa.array(relevance, pa.int16())}
    if probs is not None:
        columns["probs"] = pa.array([None if row is None else list(map(float, row)) for row in probs], pa.list_(pa.float32()))
    for name, value in (("judge", judge), ("fingerprint", fingerprint), ("scale", "trec")):
        columns[name] = [value] * len(IDS)
    return pa.table(columns)


GOLD = judged(truth())
GOOD, FAIR, BAD = (
    judged(said(wrong, seed), name, f"f-{name}")
    for name, wrong, seed in (("teacher", 0.3, 1), ("student", 0.5, 2), ("old", 0.9, 3))
)


def soft(wrong=0.3, seed=1):
    """Probabilities around a judge's grades."""
    p = np.full((len(IDS), 4), 0.1)
    p[np.arange(len(IDS)), said(wrong, seed)] = 0.7
    return p


def run(seed):
    order = np.random.default_rng(seed).random(len(IDS))
    lists: dict[str, dict[str, float]] = {}
    for (query, doc), score in zip(IDS, order, strict=True):
        lists.setdefault(query, {})[doc] = float(score)
    return lists


def board(*judgments, gold=GOLD, **options):
    return leaderboard(gold, list(judgments), **({"scale": "trec"} | options))


def save(path, table, **facts):
    """A file of judgments with what its manifest says of the judge."""
    whole = sources.read_judgments(table, scale=TREC)
    return store.write_table(whole, path, "judgments", verb="label", parameters={}, extra={"judge": facts} if facts else {})


@pytest.fixture
def files(tmp_path):
    """Gold, and three judges of whom the manifests speak: an annotator that is not here taught two of them."""
    lineage = {"lineage": ["f-teacher", "f-o3"], "taught_by": ["teacher", "annotator"]}
    return [
        save(tmp_path / "gold.parquet", GOLD),
        save(
            tmp_path / "teacher.parquet",
            GOOD,
            fingerprint="f-teacher",
            lineage=["f-o3"],
            taught_by=["annotator"],
            rows_per_s=80,
            machine="H200",
            cost=12.0,
            rows=1_000_000,
        ),
        save(
            tmp_path / "student.parquet",
            FAIR,
            fingerprint="f-student",
            **lineage,
            rows_per_s=2000,
            machine="two cores",
            latency_ms=3.2,
        ),
        save(tmp_path / "old.parquet", BAD),
    ]


# --- the order and the same pairs -------------------------------------------------------------------------------------


def test_judges_stand_in_order_of_macro_f1_with_the_figures_of_their_cards():
    made = board(BAD, GOOD, FAIR)
    assert [judge.name for judge in made.judges] == ["teacher", "student", "old"]
    for judge, table in zip(made.judges, (GOOD, FAIR, BAD), strict=True):
        card = check(GOLD, table, scale="trec")
        assert judge.found == {name: e for name, e in card.agreement.items() if name != "coverage"}
        assert judge.own == {name: e for name, e in card.agreement.items() if name in judge.own}
        assert (judge.coverage, judge.outcomes, judge.confusion) == (card.agreement["coverage"], card.outcomes, card.confusion)
        assert {f"F1 of {label}" for label in TREC.labels} <= set(judge.found)
    assert (made.pairs, made.common, made.queries) == (len(IDS), len(IDS), QUERIES)


def test_the_order_of_the_files_changes_nothing():
    assert board(GOOD, FAIR, BAD) == board(BAD, FAIR, GOOD)


def test_all_are_compared_on_the_pairs_that_every_one_answered():
    """The bad judge answers only pairs that it gets right: on the common pairs that helps the others as much."""
    easy = np.flatnonzero(said(0.9, 3) == truth())[:60]
    picky = judged(said(0.9, 3), "old", "f-old", skip=set(range(len(IDS))) - set(easy.tolist()))
    made = board(GOOD, picky)
    old, teacher = (next(j for j in made.judges if j.name == name) for name in ("old", "teacher"))
    assert made.common == old.found["exact"].n == teacher.found["exact"].n == len(easy)
    assert old.found["exact"].value == 1.0
    assert teacher.found["exact"].value == np.mean(said(0.3, 1)[easy] == truth()[easy])
    assert old.coverage.value == len(easy) / len(IDS)
    assert old.outcomes == {"label": 60, "abstained": len(IDS) - 60}
    assert teacher.own["exact"] == check(GOLD, GOOD, scale="trec").agreement["exact"]
    assert made.notes[0] == (
        "under half of gold: only 60 of 240 gold pairs were answered by every judge, and all are compared on these; "
        "old answered the fewest, 60"
    )


def test_a_pair_that_is_missing_is_as_one_without_an_answer():
    gone = FAIR.filter(pa.array([at >= 30 for at in range(len(IDS))]))
    one, other = board(GOOD, gone), board(GOOD, judged(said(0.5, 2), "student", "f-student", skip=range(30)))
    assert [judge.found for judge in one.judges] == [judge.found for judge in other.judges]
    assert one.judges[1].outcomes == {"label": 210, "missing": 30}


def test_differences_to_the_best_are_paired_and_say_who_cannot_be_told_from_it():
    close = judged(said(0.32, 9), "close", "f-close")  # about as good as the teacher, with errors of its own
    made = board(GOOD, close, BAD)
    best, near, far = made.judges
    assert best.to_best is None
    assert best.level_with_best
    expected = retention.difference(truth(), said(0.32, 9), said(0.3, 1), clusters=QUERY, method="difference of macro F1")
    assert near.to_best == expected
    assert near.level_with_best
    assert not far.level_with_best
    assert "close cannot be told from it" in page.answer(made)
    assert "below it by more than noise" in page.answer(board(GOOD, BAD))


def test_a_single_judge_needs_no_other():
    made = board(GOOD)
    assert made.judges[0].to_best is None
    assert page.answer(made).startswith("teacher has a macro F1 of 0.7")
    assert "minus the best" in page.html(made)


def test_several_raters_make_one_grade_and_stand_beside_the_judges():
    raters = pa.concat_tables([judged(truth()), judged(said(0.2, 7), "human:b"), judged(truth(), "human:c")])
    made = board(GOOD, FAIR, gold=raters, adjudicate="majority")
    assert [judge.found["exact"] for judge in made.judges] == [judge.found["exact"] for judge in board(GOOD, FAIR).judges]
    card = check(raters, GOOD, scale="trec", adjudicate="majority")
    assert made.people == {each.name: each.raters for each in card.ceiling}
    assert made.gold_digest == card.gold_digest
    assert "two people, on all of gold" in page.html(made)
    own = board(judged(truth(), "human:c"), FAIR, gold=raters, adjudicate="majority")
    assert any(note.startswith("human:c is among those who made gold") for note in own.notes)


def test_targeted_pairs_are_left_out():
    part = ["targeted" if at < 60 else "random" for at in range(len(IDS))]
    made = board(GOOD, FAIR, gold=GOLD.append_column("part", pa.array(part)))
    assert made.pairs == made.common == 180
    assert any(note.startswith("60 targeted pairs") for note in made.notes)


def test_weights_of_the_design_reach_every_figure():
    chance = pa.array([0.1 if query < 20 else 0.9 for query in QUERY])
    made = board(GOOD, FAIR, gold=GOLD.append_column("inclusion_probability", chance))
    weights = 1 / np.where(QUERY < 20, 0.1, 0.9)
    student = made.judges[1]
    options = {"clusters": QUERY, "weights": weights}
    assert student.found["macro F1"].value == pytest.approx(agreement.macro_f1(truth(), said(0.5, 2), **options).value)
    assert student.to_best.value == pytest.approx(retention.difference(truth(), said(0.5, 2), said(0.3, 1), **options).value)


# --- lists, probabilities, slices, the ceiling ------------------------------------------------------------------------


def sdcg(scores, gains, k):
    """sDCG@k of each query, of the pairs' gains (n,)."""
    of = dict(zip(IDS, gains, strict=True))
    ordered = [[of[query, doc] for doc, _ in sorted(scores[query].items(), key=lambda item: -item[1])] for query in scores]
    weights = metrics.sdcg_weights(k)
    return np.array([np.dot(weights, row[:k]) for row in ordered]).round(12)


def test_scores_are_by_grades_and_by_expected_gains():
    table = judged(said(0.3, 1), "teacher", "f-teacher", probs=soft())
    found = board(table, FAIR, run=run(5), metric="sDCG@3").judges[0].found
    gains = np.array(TREC.gains) / TREC.gains[-1]
    people, grades = (sdcg(run(5), gains[g], 3) for g in (truth(), said(0.3, 1)))
    expected = sdcg(run(5), soft().astype(np.float32).astype(float) @ gains, 3)
    for prefix, judge in (("score", grades), ("expected score", expected)):
        assert found[f"{prefix} error"].value == pytest.approx(np.mean(judge - people), abs=1e-6)
        assert found[f"{prefix} tau-b"].value == pytest.approx(ranks.kendall_tau_b(people, judge).value, abs=1e-3)
        assert found[f"{prefix} rho"].n == QUERIES
        assert {f"{prefix} error P10", f"{prefix} error P90"} <= set(found)
    assert {"calibration error", "expected gain error", "Brier score"} <= set(found)
    assert not any(name.startswith("expected") for name in board(FAIR, run=run(5)).judges[0].found)


def test_two_runs_give_paired_differences_by_both():
    table = judged(said(0.3, 1), "teacher", "f-teacher", probs=soft())
    found = board(table, control=run(5), treatment=run(6), metric="sDCG@3").judges[0].found
    gains = np.array(TREC.gains) / TREC.gains[-1]
    people, judge = (
        sdcg(run(6), g, 3) - sdcg(run(5), g, 3) for g in (gains[truth()], soft().astype(np.float32).astype(float) @ gains)
    )
    assert found["expected difference error"].value == pytest.approx(np.mean(judge - people), abs=1e-6)
    assert {"difference error", "decision agreement", "expected difference rho"} <= set(found)


def test_lists_are_of_the_common_pairs_for_every_judge():
    gap = judged(said(0.5, 2), "student", "f-student", skip=[0, 7])
    whole, dense = (board(GOOD, gap, run=run(5), condensed=c) for c in (False, True))
    assert {judge.found["score rho"].n for judge in whole.judges} == {QUERIES - 2}
    assert {judge.found["score rho"].n for judge in dense.judges} == {QUERIES}


def test_slices_have_the_figures_of_each_judge_on_them():
    queries = pa.table(
        {
            "query_id": [f"q{q:02}" for q in range(QUERIES)],
            "query": [f"words {q}" for q in range(QUERIES)],
            "language": ["de" if q < 15 else "en" for q in range(QUERIES)],
            "segment": [("head", "tail")[q % 2] for q in range(QUERIES)],
        }
    )
    made = board(GOOD, FAIR, queries=queries, by=["language", "segment"])
    slices = {(each.dimension, each.name): each.found for each in made.judges[1].slices}
    assert set(slices) == {("language", "de"), ("language", "en"), ("segment", "head"), ("segment", "tail")}
    german = QUERY < 15
    expected = agreement.macro_f1(truth()[german], said(0.5, 2)[german], clusters=QUERY[german])
    assert slices["language", "de"]["macro F1"] == expected
    assert slices["language", "de"]["exact"].n == 15 * DOCS
    text = page.markdown(made)
    assert "## By language" in text
    assert f"{expected.value:.3f} ({expected.low:.3f} to {expected.high:.3f}, n = 90)" in text


def test_figures_are_shares_of_the_ceiling_on_the_same_pairs():
    peak = judged(said(0.1, 9), "simulator", "f-truth")
    design = pa.table(
        {
            "query_id": [f"q{q:02}" for q in range(QUERIES)],
            "stratum": ["de", "en"] * (QUERIES // 2),
            "inclusion_probability": [0.5] * QUERIES,
            "population": [QUERIES] * QUERIES,
        }
    )
    made = board(GOOD, FAIR, ceiling=peak, run=run(5), metric="sDCG@3", design=design)
    assert [judge.name for judge in made.judges] == ["teacher", "student"]
    assert made.ceiling.name == "ceiling"
    shares = made.judges[0].of_ceiling
    options = {"clusters": QUERY, "weights": np.full(len(IDS), 2.0)}
    expected = retention.ratio(truth(), said(0.3, 1), said(0.1, 9), of=retention.exact, **options)
    assert (shares["exact"].value, shares["exact"].low) == pytest.approx((expected.value, expected.low))
    ratio = made.judges[0].found["score tau-b"].value / made.ceiling.found["score tau-b"].value
    assert shares["score tau-b"].value == pytest.approx(ratio)
    assert shares["score tau-b"].low < ratio < shares["score tau-b"].high
    in_german = next(each for each in made.judges[0].slices_of_ceiling if each.name == "de").found
    assert {"exact", "macro F1", "score tau-b", "score rho"} <= set(in_german)
    assert "Share of the ceiling" in page.html(made)
    short = judged(said(0.1, 9), "simulator", "f-truth", skip=range(100))
    assert board(GOOD, ceiling=short).common == len(IDS) - 100


# --- tiers, lineage, speed --------------------------------------------------------------------------------------------


def test_a_judge_is_set_beside_its_nearest_teacher_or_the_one_that_is_named(files):
    gold, *judges = files
    made = leaderboard(gold, judges, scale="trec")
    teacher, student, old = made.judges
    assert (teacher.retention, old.retention) == (None, None)
    kept = student.retention
    assert kept.above == "teacher"
    assert kept.ratio == retention.ratio(truth(), said(0.5, 2), said(0.3, 1), clusters=QUERY, method="ratio of macro F1")
    assert kept.difference == student.to_best
    assert kept.gaps["F1 of irrelevant"].value == pytest.approx(
        student.found["F1 of irrelevant"].value - teacher.found["F1 of irrelevant"].value
    )
    told = leaderboard(gold, judges, scale="trec", above={"old": "student", "student": "old"}).judges
    assert (told[1].retention.above, told[2].retention.above) == ("old", "student")


def test_who_taught_whom_is_one_line(files):
    gold, *judges = files
    assert page.chains(leaderboard(gold, judges, scale="trec")) == ("annotator > teacher > student",)


def test_speed_and_cost_are_as_the_manifests_say_and_never_invented(files):
    gold, *judges = files
    made = leaderboard(gold, judges, scale="trec", hour_price=1.01)
    teacher, student, old = (judge.facts for judge in made.judges)
    assert (teacher.rows_per_s, teacher.machine, teacher.cost_per_million, teacher.cost_from) == (80, "H200", 12.0, "paid")
    assert student.cost_per_million == pytest.approx(1.01 / 2000 / 3600 * 1e6)
    assert student.cost_from == "1.01 an hour"
    assert (old.rows_per_s, old.latency_ms, old.cost_per_million) == (None, None, None)
    assert student.latency_ms == 3.2
    assert any("different machines (H200, two cores)" in note for note in made.notes)
    without = leaderboard(gold, judges, scale="trec")
    assert without.judges[1].facts.cost_per_million is None
    assert "not measured" in page.html(without)


def test_a_manifest_of_other_content_or_another_judge_says_nothing(files, tmp_path):
    gold, teacher, student, _ = files
    stale = tmp_path / "stale.parquet"
    stale.write_bytes(student.read_bytes())
    Path(f"{stale}.manifest.json").write_text(Path(f"{teacher}.manifest.json").read_text())
    other = save(tmp_path / "other.parquet", BAD, fingerprint="f-teacher", rows_per_s=1e6)
    made = leaderboard(gold, [stale, other], scale="trec")
    assert {judge.facts.rows_per_s for judge in made.judges} == {None}
    assert any("stale.parquet: its manifest is of other content" in note for note in made.notes)
    assert any("another judge's fingerprint" in note for note in made.notes)


def test_fakes_and_random_weights_are_shown_for_their_speed_alone(files, tmp_path):
    gold, *judges = files
    fake = save(tmp_path / "fake.parquet", judged(truth(), "fake", "fake:1:x"), rows_per_s=1e6)
    tiny = save(
        tmp_path / "tiny.parquet", judged(truth(), "tiny", "f-tiny", skip=range(200)), random_weights=True, rows_per_s=9
    )
    bare = save(tmp_path / "bare.parquet", judged(truth(), "bare", "random:1"))
    made = leaderboard(gold, [*judges, fake, tiny, bare], scale="trec")
    assert [judge.name for judge in made.judges] == ["teacher", "student", "old"]
    assert [(each.name, each.why, each.facts.rows_per_s) for each in made.speed_only] == [
        ("fake", "a fake", 1e6),
        ("tiny", "random weights", 9.0),
        ("bare", "random weights", None),
    ]
    assert made.common == len(IDS)
    assert "Speed only" in page.html(made)
    with pytest.raises(InputError, match="only fakes and judges of random weights were given"):
        leaderboard(gold, [fake, tiny], scale="trec")
    with pytest.raises(InputError, match="only fakes and judges of random weights were given"):
        leaderboard(gold, judges, scale="trec", ceiling=tiny)


# --- training on gold -------------------------------------------------------------------------------------------------


def texts(tmp_path):
    path = tmp_path / "queries.csv"
    path.write_text("query_id,query\n" + "".join(f"q{q:02},Words {q}\n" for q in range(QUERIES)))
    return path


def test_a_judge_that_was_trained_on_golds_queries_is_refused_unless_allowed(files, tmp_path):
    gold, *judges = files
    digests = [query_digest(f"words  {q}") for q in (3, 4, 99)]
    seen = save(tmp_path / "seen.parquet", judged(said(0.2, 8), "seen", "f-seen"), training_queries=digests)
    options = {"scale": "trec", "queries": texts(tmp_path)}
    with pytest.raises(Refusal, match=r"seen.parquet: .* trained on 2 of gold's 40 queries.*--allow trained-on-gold"):
        leaderboard(gold, [*judges, seen], **options)
    made = leaderboard(gold, [*judges, seen], **options, allow=["trained-on-gold"])
    assert len(made.overrides) == 1
    assert "2 of 40 queries" in made.overrides[0]
    assert "Overridden" in page.html(made)
    made = leaderboard(gold, [*judges, seen], scale="trec")
    assert any("cannot be seen without their texts (--queries)" in note for note in made.notes)


def test_without_texts_the_ids_say_who_was_trained_on_gold(files, tmp_path):
    gold, *_ = files
    seen = save(tmp_path / "seen.parquet", judged(said(0.2, 8), "seen", "f-seen"), training_query_ids=["q01", "x"])
    with pytest.raises(Refusal, match="trained on 1 of gold's 40 queries"):
        leaderboard(gold, [seen], scale="trec")


def test_other_queries_in_training_are_no_reason_to_refuse(files, tmp_path):
    gold, *_ = files
    clean = save(tmp_path / "clean.parquet", GOOD, training_queries=[query_digest("other words")])
    assert leaderboard(gold, [clean], scale="trec", queries=texts(tmp_path)).overrides == ()


# --- the page, the files, the command line ----------------------------------------------------------------------------


def test_a_board_round_trips_through_json_and_stays_as_it_was(files, tmp_path):
    gold, *judges = files
    options = {"scale": "trec", "out": tmp_path / "out", "queries": texts(tmp_path), "ceiling": gold}
    made = leaderboard(gold, judges, **options)
    assert Leaderboard.from_json(made.to_json()) == made
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert set(first) == {"leaderboard.html", "leaderboard.json", "leaderboard.json.manifest.json", "leaderboard.md"}
    assert leaderboard(gold, judges, **options) == made
    assert first == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    save(judges[2], BAD, fingerprint="f-old", rows_per_s=5)  # the same judgments, and another word of their speed
    assert leaderboard(gold, judges, **options).judges[2].facts.rows_per_s == 5
    assert leaderboard(gold, judges, **options, level=0.9).level == 0.9


def test_hostile_names_are_shown_as_text():
    evil = judged(said(0.3, 1), NASTY, NASTY)
    queries = pa.table({"query_id": [f"q{q:02}" for q in range(QUERIES)], "language": [NASTY, "en"] * (QUERIES // 2)})
    made = board(evil, FAIR, queries=queries.append_column("query", queries["query_id"]))
    source = page.html(made)
    assert "<script>" not in source
    assert "\u202e" not in source
    assert "[U+202E]" in source
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(page.markdown(made))
    assert "<script>" not in rendered
    assert 'href="b"' not in rendered
    lines = page.markdown(made).splitlines()
    head = next(line for line in lines if line.startswith("| judge | coverage"))
    row = next(line for line in lines if line.startswith("| &lt;script"))
    assert row.replace("\\|", "").count("|") == head.count("|")


def test_a_page_shows_every_part_and_needs_nothing_else(files, tmp_path):
    gold, *judges = files
    made = leaderboard(gold, judges, scale="trec", ceiling=gold, run=run(5), metric="sDCG@3", hour_price=1)
    source = page.html(made)
    for part in ("The order", "F1 of each grade", "Agreement with people", "Against the tier above", "Speed and cost"):
        assert part in source
    assert "annotator &gt; teacher &gt; student" in source
    assert "http://" not in source.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in source


def shell(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["germane", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    told = capsys.readouterr()
    return left.value.code, told.out, told.err


def test_the_command_prints_the_order_and_writes_three_files(files, tmp_path, monkeypatch, capsys):
    gold, *judges = files
    options = ["--scale", "trec", "--out", tmp_path / "out", "--hour-price", "1.01", "--above", "old=teacher"]
    code, out, _ = shell(monkeypatch, capsys, "leaderboard", gold, *judges, *options)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("teacher has the highest macro F1 of 3 judges")
    assert [line.split()[0] for line in lines[2:5]] == ["teacher", "student", "old"]
    assert lines[2].split()[-2:] == ["80.0", "12.00"]
    assert "annotator > teacher > student" in lines
    assert (tmp_path / "out" / "leaderboard.html").is_file()
    code, out, _ = shell(monkeypatch, capsys, "leaderboard", gold, *judges, *options, "--output", "json")
    assert code == 0
    assert Leaderboard.from_json(out) == Leaderboard.from_json((tmp_path / "out" / "leaderboard.json").read_text())
    assert json.loads(out)["judges"][0]["name"] == "teacher"


# --- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judgments", "options", "message"),
    [
        ([], {}, "no judgments: name one file a judge"),
        ([GOOD, GOOD], {}, "both of judge 'teacher' .f-teacher.: give each judge once"),
        ([GOOD], {"scale": "esci"}, "judgments on scale trec; expected esci"),
        ([GOOD], {"gold": FAIR}, "^gold holds judgments of 'student' .f-student."),
        ([GOOD, judged(said(0.5), "mute", "f-mute", skip=range(240))], {}, "judge 'mute' answered none of 240 gold pairs"),
        ([judged(said(0.5), "anonymous")], {}, "^judgments: judgments of 'anonymous' have no fingerprint"),
        ([GOOD, FAIR], {"above": {"student": "techer"}}, "no judge 'techer' is on the board: there are teacher, student"),
        ([GOOD, FAIR], {"above": {"student": "student"}}, "a judge cannot be above itself"),
        ([GOOD], {"allow": ["no-card"]}, "there is no such override here; known are trained-on-gold"),
        ([GOOD], {"hour_price": 0.0}, "--hour-price 0: give what an hour of the machine costs"),
        ([GOOD], {"control": run(5)}, "needs both arms"),
        ([GOOD], {"by": ["language"]}, "--by language: no such column"),
    ],
)
def test_wrong_input_is_one_line(judgments, options, message):
    with pytest.raises(InputError, match=message) as told:
        board(*judgments, **options)
    assert "\n" not in str(told.value)


def test_judges_without_a_pair_in_common_are_named():
    first = judged(said(0.3, 1), "first", "f-1", skip=range(120))
    second = judged(said(0.3, 2), "second", "f-2", skip=range(120, 240))
    with pytest.raises(InputError, match=r"judge 'second' .* has no answered pair in common with 'first'"):
        board(first, second)


def test_two_judges_of_one_name_are_told_apart_by_their_fingerprints():
    made = board(GOOD, judged(said(0.5, 2), "teacher", "f-second"))
    assert [judge.name for judge in made.judges] == ["teacher (f-teache)", "teacher (f-second)"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"rows_per_s": "fast"}, "extra.judge.rows_per_s is 'fast': expected a number"),
        ({"cost": -1}, "extra.judge.cost is -1: expected a number, 0 or more"),
        ({"lineage": "f-teacher"}, "extra.judge.lineage is 'f-teacher': expected a list of texts"),
    ],
)
def test_a_manifest_that_says_nonsense_is_named(facts, message, tmp_path):
    with pytest.raises(InputError, match=message):
        board(save(tmp_path / "judge.parquet", GOOD, **facts))


# --- every option reaches its figure ----------------------------------------------------------------------------------


def test_level_raters_and_kinds_of_documents_reach_the_figures():
    narrow, wide = (board(GOOD, FAIR, level=level).judges[1] for level in (0.8, 0.99))
    for of in (lambda j: j.found["macro F1"], lambda j: j.to_best, lambda j: j.coverage, lambda j: j.own["exact"]):
        assert of(narrow).level == 0.8
        assert of(wide).low < of(narrow).low
    columns = {"query_id": [q for q, _ in IDS], "doc_id": [d for _, d in IDS]}
    beside = pa.table(columns | {"anna": truth(), "ben": said(0.2, 7), "carl": truth()})
    made = board(GOOD, gold=beside, raters=["anna", "ben", "carl"], adjudicate="majority")
    assert made.judges[0].found["exact"] == board(GOOD).judges[0].found["exact"]
    docs = pa.table({"doc_id": [f"d{d}" for d in range(DOCS)], "kind": ["shoe", "hat"] * (DOCS // 2)})
    assert {each.name for each in board(GOOD, docs=docs).judges[0].slices} == {"shoe", "hat"}


def test_the_seed_is_that_of_the_resampled_experiments():
    once, again, other = (
        board(BAD, control=run(5), treatment=run(6), metric="sDCG@3", seed=seed).judges[0].found["decision agreement"]
        for seed in (0, 0, 1)
    )
    assert once == again
    assert once != other


def test_every_option_of_the_command_reaches_the_stage(monkeypatch, capsys, tmp_path):
    asked = {}

    def call(verb, *arguments, **options):
        asked.update(options, verb=verb, arguments=arguments)
        return board(GOOD)

    monkeypatch.setattr(germane.cli.leaderboard, "call", call)
    options = {
        "--scale": "trec",
        "--above": "a=b",
        "--ceiling": "c.parquet",
        "--run": "r.run",
        "--control": "x.run",
        "--treatment": "y.run",
        "--metric": "sDCG@5",
        "--design": "design.parquet",
        "--adjudicate": "median",
        "--rater": "anna",
        "--queries": "q.csv",
        "--docs": "d.csv",
        "--by": "language",
        "--hour-price": "2",
        "--allow": "trained-on-gold",
        "--level": "0.9",
        "--seed": "3",
        "--out": str(tmp_path),
    }
    flags = [text for pair in options.items() for text in pair]
    code, _, _ = shell(monkeypatch, capsys, "leaderboard", "gold.csv", "one.csv", "two.csv", *flags, "--condensed")
    assert code == 0
    assert asked == {
        "verb": "leaderboard",
        "arguments": (Path("gold.csv"), [Path("one.csv"), Path("two.csv")]),
        "scale": "trec",
        "above": {"a": "b"},
        "ceiling": Path("c.parquet"),
        "run": [Path("r.run")],
        "control": Path("x.run"),
        "treatment": Path("y.run"),
        "metric": "sDCG@5",
        "condensed": True,
        "design": Path("design.parquet"),
        "adjudicate": "median",
        "raters": ["anna"],
        "queries": Path("q.csv"),
        "docs": Path("d.csv"),
        "by": ["language"],
        "hour_price": 2.0,
        "allow": ("trained-on-gold",),
        "level": 0.9,
        "seed": 3,
        "out": tmp_path,
    }
