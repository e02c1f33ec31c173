"""Golden pairs: random ones with odds that are right, hard ones with their reasons, and no pair counted twice."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import sources, store
from germane.pipeline.sample_golden import sample
from germane.sampling.coverage import draw_coverage, frame_of
from germane.sampling.targets import choose, scores
from germane.types import InputError

N, DOCS, K = 40, 30, 20


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Files of a small shop: queries with strata, documents, two arms' runs, two judges."""
    folder, rng = tmp_path_factory.mktemp("market"), np.random.default_rng(3)
    queries = [
        {
            "query_id": f"q{i}",
            "query": f"chair {i}",
            "interest": "home" if i % 3 else "art",
            "segment": "tail" if i % 4 else "head",
        }
        for i in range(N)
    ]
    made = {"verb": "test", "parameters": {}}
    store.write_table(pa.Table.from_pylist(queries), folder / "queries.parquet", "queries", **made)
    docs = pa.table(
        {
            "doc_id": [f"d{i}" for i in range(DOCS)],
            "title": [f"{'odd' if i % 7 == 0 else 'plain'} chair {i}" for i in range(DOCS)],
        }
    )
    store.write_table(docs, folder / "docs.parquet", "docs", **made)
    for arm in ("a", "b"):
        rows = [(f"q{q}", f"d{d}", float(rng.random())) for q in range(N) for d in range(DOCS)]
        run = pa.table({"query_id": [r[0] for r in rows], "doc_id": [r[1] for r in rows], "score": [r[2] for r in rows]})
        store.write_table(run, folder / f"{arm}.parquet", "runs", **made)
    for name in ("x", "y"):
        lines = ["query_id,doc_id,relevance,self_agreement,judge,fingerprint"]
        for q in range(N):
            for d in range(DOCS):
                grade = (q + d) % 4 if name == "x" or d % 7 else 3 - (q + d) % 4
                lines.append(f"q{q},d{d},{grade},{rng.choice([0.6, 1.0, 1.0])},{name},{name}1")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "clicks.csv").write_text(
        "query_id,doc_id,clicks,impressions\n"
        + "".join(f"q{q},d{d},{(q * d) % 50},100\n" for q in range(N) for d in range(DOCS))
    )
    return folder


def draw(market, out, **more):
    options = {
        "runs": [market / "a.parquet", market / "b.parquet"],
        "docs": market / "docs.parquet",
        "n": 60,
        "seed": 5,
        "k": K,
    }
    return sample(market / "queries.parquet", out, **{**options, **more})


def hard(market):
    return {"targeted": 30, "judgments": [market / "x.csv", market / "y.csv"], "scale": "trec", "clicks": market / "clicks.csv"}


def test_every_stratum_is_covered_and_every_reason_has_its_turn(market, tmp_path):
    told = draw(market, tmp_path / "p.parquet", **hard(market))
    table = sources.read_pairs(tmp_path / "p.parquet")
    assert (told.random, told.targeted, table.num_rows) == (60, 30, 90)
    assert len(told.strata) == 2 * 2 * 3
    assert all(drawn >= 1 for _, drawn in told.strata.values())
    assert {
        "judges disagree",
        "the judge contradicts itself",
        "clicks contradict the judge",
        "in a cluster of disagreement",
    } <= set(told.reasons)
    assert all(told.reasons[name] for name in told.reasons if name != "near the boundary of relevant")
    parts, odds = table["part"].to_pylist(), table["inclusion_probability"].to_pylist()
    assert all((p is None) == (part == "targeted") for p, part in zip(odds, parts, strict=True))
    assert not store.first_duplicate(table, ["query_id", "doc_id"])
    assert not draw(market, tmp_path / "p.parquet", **hard(market)).made


def test_pairs_carry_how_unsure_a_judge_was_and_nothing_where_none_said_it(market, tmp_path):
    lines = ["query_id,doc_id,relevance,entropy,judge,fingerprint"]
    lines += [f"q{q},d{d},1,{0.0 if q % 2 else 1.5},z,z1" for q in range(N // 2) for d in range(DOCS)]
    (tmp_path / "z.csv").write_text("\n".join(lines) + "\n")
    draw(market, tmp_path / "p.parquet", judgments=[market / "x.csv", tmp_path / "z.csv"], scale="trec")
    rows = sources.read_pairs(tmp_path / "p.parquet").to_pylist()
    for row in rows:
        number = int(row["query_id"][1:])
        assert row["entropy"] == (None if number >= N // 2 else 0.0 if number % 2 else 1.5)
    assert {row["entropy"] for row in rows} == {None, 0.0, 1.5}
    draw(market, tmp_path / "none.parquet", judgments=[market / "x.csv"], scale="trec")
    assert "entropy" not in sources.read_pairs(tmp_path / "none.parquet").column_names


def test_the_random_part_does_not_know_the_targeted_one(market, tmp_path):
    draw(market, tmp_path / "a.parquet")
    draw(market, tmp_path / "b.parquet", **hard(market))
    random = [
        {
            (r["query_id"], r["doc_id"], r["inclusion_probability"])
            for r in sources.read_pairs(tmp_path / f"{x}.parquet").to_pylist()
            if r["part"] == "random"
        }
        for x in "ab"
    ]
    assert random[0] == random[1]


@pytest.mark.parametrize("allocation", ["root", "proportional", "equal"])
@pytest.mark.simulation
def test_the_random_part_estimates_without_bias_although_hard_pairs_are_drawn_too(market, allocation, repetitions):
    """Horvitz-Thompson's total and Hajek's mean over draws. Tolerance: 4 standard errors of the mean over the repetitions.

    Hajek's is a ratio, biased by order 1/n: 0.002 more. Counting the hard pairs in would be off by far more.
    """
    n = repetitions(reduced=300, whole=3000)
    queries = sources.read_queries(market / "queries.parquet")
    runs = [sources.read_run(market / f"{arm}.parquet").table for arm in "ab"]
    frame = frame_of(runs, k=K, queries=queries, strata=["interest", "segment"])
    judges = [sources.read_judgments(market / f"{x}.csv") for x in "xy"]
    found = scores(frame, judges, grades=4, relevant=2, clicks=None, texts=None)
    value = found["judges disagree"] + 0.1 * np.arange(frame.num_rows) / frame.num_rows  # what hard pairs have more of
    total, mean, naive = [], [], []
    for seed in range(n):
        drawn = draw_coverage(frame, n=60, seed=seed, allocation=allocation).frame
        took = drawn["drawn"].to_numpy()
        weight = 1 / drawn["inclusion_probability"].to_numpy()[took]
        more = list(choose(frame, found, n=30, drawn=took, seed=seed))
        assert not took[more].any()
        total.append((weight * value[took]).sum())
        mean.append((weight * value[took]).sum() / weight.sum())
        naive.append(value[np.concatenate([np.flatnonzero(took), more])].mean())
    assert np.mean(total) == pytest.approx(value.sum(), abs=4 * np.std(total) / np.sqrt(n))
    assert np.mean(mean) == pytest.approx(value.mean(), abs=4 * np.std(mean) / np.sqrt(n) + 0.002)
    assert np.mean(naive) > value.mean() + 0.2


def test_a_larger_sample_keeps_what_a_smaller_one_drew(market):
    queries = sources.read_queries(market / "queries.parquet")
    frame = frame_of([sources.read_run(market / "a.parquet").table], k=K, queries=queries, strata=["segment"])
    few, many = (draw_coverage(frame, n=n, seed=2).frame["drawn"].to_numpy() for n in (30, 90))
    assert (many | ~few).all()


def test_pairs_used_elsewhere_are_left_out_before_the_draw_and_the_odds_know_it(market, tmp_path):
    pq.write_table(pa.table({"query_id": ["q0"] * DOCS, "doc_id": [f"d{i}" for i in range(DOCS)]}), tmp_path / "used.parquet")
    plain = draw(market, tmp_path / "a.parquet")
    told = draw(market, tmp_path / "b.parquet", without=[tmp_path / "used.parquet"])
    table = sources.read_pairs(tmp_path / "b.parquet")
    assert "q0" not in table["query_id"].to_pylist()
    assert told.frame + told.excluded == plain.frame
    expected = sum(size for size, _ in told.strata.values())
    assert expected == told.frame
    assert (1 / table["inclusion_probability"].to_numpy()).sum() == pytest.approx(told.frame)


def test_a_designs_odds_count_too(market, tmp_path):
    rows = [(f"q{i}", "all", 0.5, N) for i in range(0, N, 2)]
    design = pa.table(
        dict(
            zip(("query_id", "stratum", "inclusion_probability", "population"), map(list, zip(*rows, strict=True)), strict=True)
        )
    )
    store.write_table(design, tmp_path / "design.parquet", "designs", verb="test", parameters={})
    told = draw(market, tmp_path / "p.parquet", design=tmp_path / "design.parquet")
    table = sources.read_pairs(tmp_path / "p.parquet")
    assert (1 / table["inclusion_probability"].to_numpy()).sum() == pytest.approx(2 * told.frame)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n": 5}, "n = 5 and 12 strata: ask for 12 or more"),
        ({"n": 10**6}, "pairs that may be drawn"),
        ({"targeted": 5}, "give --judgments"),
        ({"allocation": "neyman"}, "expected one of root, proportional, equal"),
        ({"strata": ["colour"]}, "no column 'colour'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(market, tmp_path, more, said):
    with pytest.raises(InputError, match=said):
        draw(market, tmp_path / "p.parquet", **more)
    assert not (tmp_path / "p.parquet").exists()
