"""Guides: what a change touches, what is judged again by which odds, and what of a drift is more than noise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from germane.golden import votes
from germane.golden.drift import OTHER, SAME, drift
from germane.golden.guides import diff, lines_of, rejudge, touched
from germane.pipeline import guide as pipeline
from germane.report import guide as page
from germane.scales import get
from germane.types import InputError, Scale, Vote, VoteKind

ESCI = get("esci")
START = datetime(2026, 5, 4, tzinfo=UTC)
BASE = """# Guide

Judge for a buyer.

## relevant

All parts of the query are met.

### Examples

- "face mask" and a costume mask

## partially relevant

Some part is met.

## irrelevant

Nothing is met.
"""
THREE = Scale("masks", ("irrelevant", "partially relevant", "relevant"), (0.0, 0.5, 1.0), BASE)


def test_lines_know_their_grade_and_whether_they_are_an_example():
    lines = {line.text: (line.grade, line.example) for line in lines_of(THREE)}
    assert lines["Judge for a buyer."] == (None, False)
    assert lines["All parts of the query are met."] == (2, False)
    assert lines['- "face mask" and a costume mask'] == (2, True)
    assert lines["Some part is met."] == (1, False)
    assert lines["Nothing is met."] == (0, False)


def test_a_built_in_guide_speaks_of_every_grade():
    for name in ("esci", "five-level", "three-level", "trec"):
        scale = get(name)
        assert {line.grade for line in lines_of(scale)} >= set(range(len(scale.labels)))


def test_a_diff_names_the_grade_and_the_words_and_none_is_none():
    new = replace(THREE, guide=BASE.replace("a costume mask", "a mask that protects"))
    (change,) = diff(THREE, new).changes
    assert (change.grade, change.example) == (2, True)
    assert change.terms() == {"costume", "that", "protects"}
    assert diff(THREE, THREE).changes == ()
    assert "1 line went, 1 line came" in page.text(new, diff(THREE, new))
    assert "<script>" not in page.html(new, diff(THREE, replace(new, guide=new.guide + "<script>alert(1)</script>")))
    with pytest.raises(InputError, match="a guide changed, not a scale"):
        diff(THREE, ESCI)


def sample(n=100):
    texts = [f"query {i} a costume for a party" if i < 12 else f"query {i} a lamp of glass" for i in range(n)]
    grades = [2 if i % 10 == 0 else 0 for i in range(n)]
    ids = {"query_id": [f"q{i}" for i in range(n)], "query": [f"query {i}" for i in range(n)], "doc_id": ["d"] * n}
    return pa.table({**ids, "text": texts}), texts, grades


def test_pairs_with_changed_words_or_of_a_changed_grade_are_touched():
    new = replace(THREE, guide=BASE.replace("a costume mask", "a mask that protects"))
    _, texts, grades = sample()
    found = touched(diff(THREE, new), texts, grades, new)
    assert found.terms == ("costume",)
    assert set(np.flatnonzero(found.score).tolist()) == {*range(12), *range(0, 100, 10)}
    assert "changed words: costume" in found.reason[1]


def test_what_is_judged_again_has_odds_that_weigh_back_to_all_pairs():
    new = replace(THREE, guide=BASE.replace("a costume mask", "a mask that protects"))
    table, texts, grades = sample()
    found = touched(diff(THREE, new), texts, grades, new)
    value = np.arange(100.0)
    totals, counts = [], []
    for seed in range(600):
        drawn = rejudge(table, found, n=24, share=0.5, seed=seed)
        rows = [int(q[1:]) for q in drawn["query_id"].to_pylist()]
        weight = 1 / drawn["inclusion_probability"].to_numpy()
        totals.append(float((weight * value[rows]).sum()))
        counts.append(drawn.num_rows)
    assert set(counts) == {24}
    assert np.mean(totals) == pytest.approx(value.sum(), abs=4 * np.std(totals) / np.sqrt(600))


def test_all_touched_pairs_come_back_when_there_is_room():
    new = replace(THREE, guide=BASE.replace("a costume mask", "a mask that protects"))
    table, texts, grades = sample()
    found = touched(diff(THREE, new), texts, grades, new)
    drawn = rejudge(table, found, n=40, seed=1)
    assert drawn["stratum"].to_pylist().count("touched") == (found.score > 0).sum()
    assert drawn.num_rows == 40


def voted(rng, changed, noise, same_rater=True, queries=80):
    """Votes under two versions: a share `changed` of the truths moves, and raters err by `noise` each time."""
    rows = []
    for q in range(queries):
        for d in range(4):
            truth = int(rng.integers(0, 3))
            later = (truth + 1) % 3 if rng.random() < changed else truth

            def said(grade):
                return int((grade + 1) % 3) if rng.random() < noise else grade

            for i, rater in enumerate(("ann", "bob")):
                rows.append(Vote(f"q{q}", f"d{d}", rater, said(truth), "old", START))
                if same_rater:
                    rows.append(Vote(f"q{q}", f"d{d}", rater, said(truth), "old", START + timedelta(days=2)))
                who = rater if same_rater else ("eve", "kim")[i]
                rows.append(Vote(f"q{q}", f"d{d}", who, said(later), "new", START + timedelta(days=9)))
    return rows


@pytest.mark.parametrize(("same", "how"), [(True, SAME), (False, OTHER)])
@pytest.mark.simulation
def test_a_change_that_is_noise_alone_is_seldom_more_than_noise_and_a_real_one_is_seen(same, how, repetitions):
    """No change: at most 2.5 % of intervals lie above 0, with Monte Carlo error 4 sqrt(0.025 0.975 / repetitions)."""
    n, rng = repetitions(reduced=40, whole=400), np.random.default_rng(8)
    false = 0
    for _ in range(n):
        found = drift(votes.read(voted(rng, 0.0, 0.15, same), THREE), THREE, old="old", new="new")
        assert found.how == how
        false += found.found["more than noise"].low > 0
    assert false / n <= 0.025 + 4 * np.sqrt(0.025 * 0.975 / n)
    found = drift(votes.read(voted(rng, 0.4, 0.15, same), THREE), THREE, old="old", new="new")
    assert found.found["more than noise"].low > 0.1


@pytest.mark.parametrize("again", ["touched", "both", "both with odds"])
@pytest.mark.simulation
def test_pairs_that_are_harder_than_the_others_are_no_drift(again, repetitions):
    """No change, and the pairs that a change may touch are harder: intervals hold 0 as often as they say, 4 Monte Carlo se."""
    n, held = repetitions(reduced=60, whole=600), 0
    for seed in range(n):
        rng = np.random.default_rng(seed)
        hard = np.arange(300) < 90
        truth, wrong = rng.integers(0, 3, 300), np.where(hard, 0.35, 0.03)
        touched_pairs = rng.choice(90, 60, replace=False)
        chosen = touched_pairs if again == "touched" else np.append(touched_pairs, 90 + rng.choice(210, 20, replace=False))
        odds = {(f"q{i // 2}", f"d{i}"): 60 / 90 if hard[i] else 20 / 210 for i in chosen.tolist()}
        rows = []
        for version, people, which in (("old", "ab", range(300)), ("new", "cd", chosen.tolist())):
            for i in which:
                for who in people:
                    said = int((truth[i] + rng.integers(1, 3)) % 3) if rng.random() < wrong[i] else int(truth[i])
                    rows.append(Vote(f"q{i // 2}", f"d{i}", who, said, version, START))
        found = drift(votes.read(rows, THREE), THREE, old="old", new="new", odds=odds if "odds" in again else None)
        held += found.found["more than noise"].low <= 0 <= found.found["more than noise"].high
    assert held / n >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / n) - 0.02


def test_controls_are_no_drift_and_no_change_is_no_certainty():
    rows = []
    for version, day in (("old", 0), ("new", 9)):
        for i in range(30):
            rows += [Vote(f"q{i}", "d", who, 1, version, START + timedelta(days=day)) for who in ("ann", "bob")]
            control = Vote(f"c{i}", "d", "ann", i % 3 if day else 0, version, START, VoteKind.CONTROL)
            rows.append(control)
    odds = {(f"q{i}", "d"): 0.5 for i in range(30)}
    found = drift(votes.read(rows, THREE), THREE, old="old", new="new", odds=odds)
    assert (found.pairs, found.found["changed"].value, found.found["shift"].value) == (30, 0.0, 0.0)
    assert found.found["shift"].high == pytest.approx(2 * found.found["changed"].high)
    assert found.found["shift"].low < 0 < found.found["shift"].high


def test_a_single_query_that_was_judged_twice_says_nothing_of_noise():
    rows = []
    for i in range(8):
        rows += [Vote(f"q{i}", "d", "ann", i % 3, "old", START), Vote(f"q{i}", "d", "bob", 1, "new", START)]
    rows.append(Vote("q0", "d", "eve", 2, "old", START))
    found = drift(votes.read(rows, THREE), THREE, old="old", new="new")
    assert "more than noise" not in found.found
    assert "more than noise" not in page.drift_text(THREE, found)
    assert any("too few of these pairs were judged twice" in note for note in found.notes)


def test_a_drift_needs_votes_under_both_versions():
    rows = [Vote("q", "d", "ann", 1, "old", START), Vote("r", "d", "ann", 1, "new", START)]
    with pytest.raises(InputError, match="no vote was made under guide version 'older'"):
        drift(votes.read(rows, THREE), THREE, old="older", new="new")
    with pytest.raises(InputError, match="no pair was judged under both"):
        drift(votes.read(rows, THREE), THREE, old="old", new="new")


def test_a_guide_in_markdown_is_a_version_of_its_scale(file):
    path = file("guide.md", ESCI.guide + "\nBooks count by their edition.\n")
    shown = pipeline.show(path, scale="esci")
    assert shown.version != ESCI.version == pipeline.show("esci").version
    with pytest.raises(InputError, match="say with --scale which grades it explains"):
        pipeline.show(path)
    with pytest.raises(InputError, match="is empty"):
        pipeline.show(file("empty.md", "\n"), scale="esci")
