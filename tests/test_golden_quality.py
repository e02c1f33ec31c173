"""The quality of people's votes: known kappas on real raters, and simulated raters whose faults are found."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import scales
from germane.golden import votes
from germane.golden.quality import quality
from germane.golden.results import Quality
from germane.report import golden as page
from germane.types import InputError, Vote, VoteKind

TREC = scales.get("trec")
START = datetime(2026, 5, 4, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def replayed(data, tmp_path_factory):
    """Icecat's three raters as votes."""
    table = pq.read_table(data("icecat_multirater") / "broad_query_set_3raters.parquet")
    ids = [str(q) for q in table["query"].to_pylist()], [str(d) for d in table["doc_id"].to_pylist()]
    rows = []
    for rater in ("rater_1", "rater_2", "rater_3"):
        grades = table[rater].to_pylist()
        rows += [
            Vote(q, d, rater, g, "v", START + timedelta(minutes=i))
            for i, (q, d, g) in enumerate(zip(*ids, grades, strict=True))
        ]
    return quality(rows, TREC)


def test_real_raters_have_their_known_kappas(replayed):
    by_pair = {(p.a, p.b): p.found for p in replayed.rater_pairs}
    order = [("rater_1", "rater_2"), ("rater_1", "rater_3"), ("rater_2", "rater_3")]
    assert [round(by_pair[pair]["kappa"].value, 3) for pair in order] == [0.682, 0.646, 0.601]
    assert [round(by_pair[pair]["quadratic kappa"].value, 3) for pair in order] == [0.799, 0.776, 0.737]
    assert round(replayed.found["full agreement"].value, 3) == 0.715
    assert replayed.found["row-level disagreement"].value == pytest.approx(1 - replayed.found["full agreement"].value)
    assert all(e.low < e.value < e.high for p in replayed.rater_pairs for e in p.found.values())


def test_alpha_is_that_of_the_package_krippendorff(replayed, data):
    krippendorff = pytest.importorskip("krippendorff", reason="a development dependency")
    table = pq.read_table(data("icecat_multirater") / "broad_query_set_3raters.parquet")
    matrix = np.stack([table[f"rater_{i}"].to_numpy().astype(float) for i in (1, 2, 3)])
    for kind in ("nominal", "ordinal", "interval"):
        theirs = krippendorff.alpha(reliability_data=matrix, level_of_measurement=kind)
        assert replayed.found[f"alpha ({kind})"].value == pytest.approx(theirs, abs=1e-9)


def test_it_survives_json_and_has_a_page(replayed):
    assert Quality.from_json(replayed.to_json()) == replayed
    html = page.page(replayed)
    assert "0.682" in html
    assert "71.5%" in html
    assert "0.682" in page.text(replayed)
    assert "71.5%" in page.markdown(replayed)


def simulated(raters=6, queries=60, docs=6, seed=1, faults=None):
    """Votes of raters who see the truth with noise. faults: rater -> function of (grade, week, rng)."""
    rng, rows = np.random.default_rng(seed), []
    for q in range(queries):
        for d in range(docs):
            truth, week = int(rng.integers(0, 4)), 6 * (q * docs + d) / (queries * docs)
            for r in rng.choice(raters, 3, replace=False).tolist():
                grade = int(np.clip(truth + rng.choice([-1, 0, 0, 0, 0, 1]), 0, 3))
                seconds = float(rng.lognormal(2.3, 0.3))
                if faults and r in faults:
                    grade, seconds = faults[r](grade, week, seconds, rng)
                at = START + timedelta(weeks=week)
                rows.append(
                    Vote(f"q{q}", f"d{d}", f"r{r}", grade, "g", at, seconds=seconds, stratum="head" if q % 2 else "tail")
                )
    return rows


def test_a_lenient_a_drifting_and_a_hasty_rater_stand_out_and_the_others_do_not():
    faults = {
        0: lambda grade, week, s, rng: (min(grade + int(rng.random() < 0.8), 3), s),
        1: lambda grade, week, s, rng: (max(grade - int(rng.random() < week / 5), 0), s),
        2: lambda grade, week, s, rng: (grade, s * float(np.exp(-0.4 * week))),
    }
    found = quality(simulated(faults=faults, queries=120), TREC)
    flags = {who.name: who.flags for who in found.people}
    assert "more lenient than the others" in flags["r0"]
    assert "becoming stricter" in flags["r1"]
    assert "becoming faster" in flags["r2"]
    assert next(w for w in found.people if w.name == "r2").found["too fast"].value > 0.1
    assert {part.dimension for part in found.parts} == {"week", "stratum"}


@pytest.mark.simulation
def test_raters_without_a_fault_are_rarely_flagged(repetitions):
    """Six raters, three tests each, adjusted within each test: any flag in at most 3 x 5 % of the sets, with MC error."""
    n = repetitions(reduced=30, whole=300)
    flagged = sum(any(w.flags for w in quality(simulated(seed=100 + i), TREC).people) for i in range(n))
    assert flagged / n < 0.15 + 4 * np.sqrt(0.15 * 0.85 / n)


def test_controls_undone_and_changed_votes_are_counted_as_what_they_are():
    rows = simulated(queries=20)
    extra = [Vote(f"c{i}", "d", "r0", 3 if i < 8 else 2, "g", START, VoteKind.CONTROL) for i in range(10)]
    undone = rows[0]._replace(at=rows[0].at + timedelta(seconds=5), withdrawn=True)
    found = quality([*rows, *extra, undone], TREC, controls={(f"c{i}", "d"): 3 for i in range(10)}, least=5)
    assert found.votes == len(rows) - 1
    assert found.found["controls passed"].value == pytest.approx(0.8)
    unknown = quality([*rows, *extra], TREC)
    assert any("give them with --controls" in note for note in unknown.notes)


def test_the_same_rater_again_is_noise_only_if_it_is_a_second_judgment():
    rows = simulated(queries=20)
    slip = [v._replace(at=v.at + timedelta(seconds=30), relevance=0) for v in rows[:5]]
    assert "same grade again" not in quality([*rows, *slip], TREC).found
    later = [v._replace(at=v.at + timedelta(days=3)) for v in rows[:40]]
    assert quality([*rows, *later], TREC).found["same grade again"].value == 1


def test_targeted_pairs_stand_apart_and_random_ones_are_weighted():
    rows = simulated(queries=20)
    ids = sorted({(v.query_id, v.doc_id) for v in rows})
    odds = [None if i % 3 == 0 else 0.5 for i in range(len(ids))]
    table = pa.table({"query_id": [q for q, _ in ids], "doc_id": [d for _, d in ids], "inclusion_probability": odds})
    found = quality(rows, TREC, pairs=table)
    assert found.found["full agreement"].n == sum(p is not None for p in odds)
    assert {part.name for part in found.parts if part.dimension == "part"} == {"random", "targeted"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relevance": 9}, "a vote of 9: scale 'trec' has 0 to 3"),
        ({"rater": ""}, "a vote has no rater"),
        ({"withdrawn": True}, "no vote stands"),
    ],
)
def test_wrong_votes_are_refused_by_name(change, said):
    with pytest.raises(InputError, match=said):
        quality([Vote("q", "d", "ann", 1, "g", START)._replace(**change)], TREC)


def test_a_machine_is_no_rater(file):
    path = file("j.csv", "query_id,doc_id,relevance,judge,fingerprint\nq,d,1,llm,abc\n")
    with pytest.raises(InputError, match="a machine: votes are people's"):
        votes.read(path, TREC)


def test_votes_are_the_same_from_rows_a_table_and_files(tmp_path):
    rows = simulated(queries=4)
    table = pa.Table.from_pylist([{**v._asdict(), "kind": str(v.kind)} for v in rows])
    pq.write_table(table, tmp_path / "v.parquet")
    text = [{**v._asdict(), "kind": str(v.kind), "at": v.at.isoformat()} for v in rows]
    import json

    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in text))
    for source in (table, tmp_path / "v.parquet", tmp_path / "v.jsonl"):
        assert votes.read(source, TREC).rows() == rows


def test_odds_that_are_not_known_are_refused_and_not_taken_for_targeted():
    rows = [Vote(f"q{i}", "d", rater, 1, "v", START) for i in range(6) for rater in ("ann", "bob")]
    some = pa.table({"query_id": ["q0"], "doc_id": ["d"], "inclusion_probability": [0.5]})
    with pytest.raises(InputError, match="5 judged pairs are not in the pairs"):
        quality(rows, TREC, pairs=some)
