"""The draw of an audit: blind, inside the experiment, every pair with its odds."""

import numpy as np
import pyarrow as pa
import pytest

from germane import sampling
from germane.sampling import draw_audit, gain_sd
from germane.types import InputError


def moved(queries=40, documents=3, seed=1):
    rng = np.random.default_rng(seed)
    n = queries * documents
    weight = rng.normal(0, 0.05, n)
    return pa.table(
        {
            "query_id": [f"q{i // documents}" for i in range(n)],
            "doc_id": [f"d{i}" for i in range(n)],
            "weight": weight,
            "value": np.abs(weight) / queries,
        }
    )


def design(sizes):
    rows = [(f"q{i}", name, m / population, population) for name, ids, population in sizes for i in ids for m in [len(ids)]]
    columns = ("query_id", "stratum", "inclusion_probability", "population")
    return pa.table({c: [row[i] for row in rows] for i, c in enumerate(columns)})


TWO = design([("head", range(10), 100), ("tail", range(10, 40), 900)])


def test_whole_queries_are_drawn_with_all_that_moved_in_them():
    found = draw_audit(moved(), n=10, seed=3, designs=TWO)
    counts = found.table.group_by("query_id").aggregate([("doc_id", "count")])["doc_id_count"].to_pylist()
    assert counts == [3] * 10
    assert found.counts == {"queries": 40, "moved_queries": 40, "moved": 120, "audited": 10, "pairs": 30}


def test_the_odds_of_a_query_are_the_share_of_its_stratum_that_was_drawn():
    found = draw_audit(moved(), n=12, seed=3, designs=TWO).table
    for name, size in (("head", 10), ("tail", 30)):
        rows = found.filter(pa.compute.equal(found["audit_stratum"], name))
        drawn = len(rows["query_id"].unique())
        assert drawn >= 2
        assert rows["inclusion_probability"].to_pylist() == pytest.approx([drawn / size] * rows.num_rows)


def test_queries_whose_documents_can_move_the_answer_more_get_more_of_the_audit():
    table = moved()
    weight = table["weight"].to_numpy().copy()
    weight[:30] *= 20  # the head
    louder = table.set_column(2, "weight", pa.array(weight))

    def of_head(table):
        found = draw_audit(table, n=12, seed=3, designs=TWO).table
        return len(found.filter(pa.compute.equal(found["audit_stratum"], "head"))["query_id"].unique())

    assert of_head(louder) > of_head(table)


def test_the_same_seed_draws_the_same_whatever_the_order_of_rows_and_another_seed_does_not():
    table = moved()
    turned = table.take(list(range(table.num_rows))[::-1])
    pairs = [
        set(
            zip(*draw_audit(t, n=9, seed=s, designs=TWO).table.select(["query_id", "doc_id"]).to_pydict().values(), strict=True)
        )
        for t, s in ((table, 5), (turned, 5), (table, 6))
    ]
    assert pairs[0] == pairs[1] != pairs[2]


def test_the_order_of_the_pairs_tells_nothing_of_arm_rank_or_value():
    """400 pairs: a correlation beyond 4 / sqrt(400) = 0.2 would be one in 16,000."""
    table = moved(queries=400, documents=1)
    found = draw_audit(table, n=400, unit="queries", seed=2).table
    value = dict(zip(table["doc_id"].to_pylist(), table["weight"].to_pylist(), strict=True))
    order = [value[d] for d in found["doc_id"].to_pylist()]
    assert abs(np.corrcoef(order, np.arange(400))[0, 1]) < 0.2
    assert set(found.column_names) == {"query_id", "doc_id", "unit", "audit_stratum", "inclusion_probability", "drawn"}
    assert set(found["drawn"].to_pylist()) == {found.num_rows}


def test_documents_are_drawn_by_odds_that_sum_to_n_and_follow_weight_and_spread():
    table = moved(queries=500)
    odds = sampling.audits._by_document(table["value"].to_numpy(), np.ones(table.num_rows), 100)
    assert odds.sum() == pytest.approx(100)
    assert (np.diff(odds[np.argsort(table["value"].to_numpy())]) >= -1e-12).all()
    spread = np.r_[np.full(750, 3.0), np.full(750, 1.0)]
    louder = sampling.audits._by_document(table["value"].to_numpy(), spread, 100)
    assert louder[:750].sum() > 2 * louder[750:].sum()


def test_each_document_is_drawn_as_often_as_its_odds_say():
    """2,000 draws of 120 documents. Monte Carlo tolerance: 4.5 sqrt(p (1 - p) / 2000)."""
    table, hits, odds = moved(), {}, {}
    for seed in range(2000):
        found = draw_audit(table, n=30, unit="documents", seed=seed)
        for doc, chance in zip(
            found.table["doc_id"].to_pylist(), found.table["inclusion_probability"].to_pylist(), strict=True
        ):
            hits[doc], odds[doc] = hits.get(doc, 0) + 1, chance
    for doc, p in odds.items():
        assert hits[doc] / 2000 == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / 2000) + 1e-9)


def test_strata_too_small_for_the_audit_are_taken_together_and_it_is_said():
    sizes = [(f"s{i}", range(2 * i, 2 * i + 2), 10) for i in range(18)] + [("large", range(36, 40), 100)]
    found = draw_audit(moved(), n=8, seed=1, designs=design(sizes))
    labels = set(found.table["audit_stratum"].to_pylist())
    assert len(labels) <= 4
    assert any("together" in label for label in labels)
    assert "audited as one" in found.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unit": "pages"}, "expected queries or documents"),
        ({"n": 1}, "ask for 2 to 40"),
        ({"n": 41}, "ask for 2 to 40"),
        ({"n": 121, "unit": "documents"}, "120 moved"),
        ({"spread": [1.0]}, "for each of the 120"),
        ({"spread": [-1.0] * 120}, "for each of the 120"),
        ({"moved": moved().slice(0, 0)}, "nothing to audit"),
        ({"designs": design([("head", range(5), 10)])}, "is not in the design"),
    ],
)
def test_what_cannot_be_drawn_is_said(change, said):
    given = {"moved": moved(), "n": 10, "seed": 1, "designs": TWO} | change
    with pytest.raises(InputError, match=said):
        draw_audit(given.pop("moved"), **given)


def test_the_spread_of_gains_is_that_of_people_where_the_judge_said_a_grade():
    sure, torn = gain_sd([[90, 50], [0, 50]], [0.0, 1.0])
    assert sure < 0.1 < torn
    assert torn == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(InputError, match="one row and column a grade"):
        gain_sd([[1, 2]], [0.0, 1.0])
