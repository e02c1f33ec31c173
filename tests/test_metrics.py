"""Metrics by hand, against trec_eval, ir_measures, cwl-eval and gdeval, and as properties that hold for any lists."""

import math
import shutil
import warnings
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from germane.metrics import (
    Judged,
    Lists,
    Metric,
    grade_arrays,
    measure,
    offsets_of,
    parse_metrics,
    rank_arrays,
    ranking,
    sdcg_weights,
)
from germane.types import InputError

SCALE = (0.0, 1 / 3, 2 / 3, 1.0)
ESCI = (0.0, 0.01, 0.1, 1.0)
ALL = [
    "sDCG@5",
    "nDCG@5",
    "nDCG",
    "P(rel=2)@5",
    "RR",
    "RR(rel=2)@3",
    "ERR@5",
    "SDCG(max_rel=3)@5",
    "Judged@5",
    "Share(rel=3)@5",
]

grade = st.integers(0, 3)
result = st.one_of(st.none(), grade)
results = st.lists(result, min_size=1, max_size=12)


def one(metric, row, judged=None, gains=SCALE):
    """The value of one query; by default what is judged is what is shown."""
    pool = [x for x in row if x is not None] if judged is None else judged
    (values,) = measure(metric, Lists.of([row]), Judged.of([pool]), gains=gains).values()
    assert values.shape == (1,)
    return float(values[0])


# --- by hand --------------------------------------------------------------------------------------------------------


def test_sdcg_is_the_discounted_gain_over_a_page_full_of_top_grades():
    page = 1 + 1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)
    assert one("sDCG@4", [3, 0, None, 1]) == pytest.approx((1 + 1 / 3 / math.log2(5)) / page)
    assert one("sDCG@4", [3, 3, 3, 3]) == pytest.approx(1)


def test_the_discounts_sum_to_the_published_constants():
    assert 1 / sdcg_weights(25)[0] == pytest.approx(8.131766, abs=5e-7)
    assert 1 / sdcg_weights(10)[0] == pytest.approx(4.543559, abs=5e-7)
    assert sdcg_weights(25).sum() == pytest.approx(1)


def test_missing_ranks_count_zero_unless_the_name_says_otherwise():
    shown = 1 + 1 / math.log2(3)
    assert one("sDCG@25", [3, 3]) == pytest.approx(shown / 8.131766, abs=1e-7)
    assert one("sDCG(short=observed)@25", [3, 3]) == pytest.approx(1)
    assert one("sDCG(short=observed)@2", [3, 0, 3]) == pytest.approx(1 / shown)


def test_the_gain_of_a_metric_is_the_one_its_name_says():
    second, row = sdcg_weights(4)[1], [0, 2, 0, 0]
    assert one("sDCG@4", row) == pytest.approx(second * 2 / 3)
    assert one("sDCG@4", row, gains=ESCI) == pytest.approx(second * 0.1)
    assert one("sDCG(gain=scale)@4", row, gains=ESCI) == pytest.approx(second * 0.1)
    assert one("sDCG(gain=linear)@4", row, gains=ESCI) == pytest.approx(second * 2 / 3)
    assert one("sDCG(gain=exp)@4", row, gains=ESCI) == pytest.approx(second * 3 / 7)
    assert one("sDCG(gain=[0,1,2,8])@4", row, gains=None) == pytest.approx(second * 2 / 8)
    assert one("nDCG@4", row, [3, 2], gains=ESCI) == pytest.approx(2 / math.log2(3) / (3 + 2 / math.log2(3)))
    assert one("nDCG(gain=scale)@4", row, [3, 2], gains=ESCI) == pytest.approx(0.1 / math.log2(3) / (1 + 0.1 / math.log2(3)))
    assert one("nDCG(gain=[0,1,2,8])@4", row, [3, 2]) == pytest.approx(2 / math.log2(3) / (8 + 2 / math.log2(3)))


def test_precision_counts_a_short_page_as_if_it_were_full():
    assert one("P@5", [1, 0, 3]) == pytest.approx(2 / 5)
    assert one("P(rel=2)@5", [1, 0, 3]) == pytest.approx(1 / 5)
    assert one("P@1", [1, 0, 3]) == 1


def test_reciprocal_rank_is_of_the_first_relevant_result_within_the_cutoff():
    row = [0, None, 1, 3]
    assert one("RR", row) == pytest.approx(1 / 3)
    assert one("RR(rel=2)", row) == pytest.approx(1 / 4)
    assert one("RR(rel=2)@3", row) == 0
    assert one("RR(rel=0)", [None, 0]) == pytest.approx(1 / 2)


def test_err_stops_where_the_reader_is_satisfied():
    stops = [7 / 16, 0, 1 / 16]
    assert one("ERR@3", [3, 0, 1]) == pytest.approx(stops[0] + (1 - stops[0]) * stops[2] / 3)
    assert one("ERR@2", [3, 0, 1]) == pytest.approx(7 / 16)
    assert one("ERR(max_rel=3)@3", [3, None]) == pytest.approx(7 / 8)


def test_shares_are_of_what_is_shown():
    row = [3, None, 0, 3, 1, 1]
    assert one("Judged@4", row) == pytest.approx(3 / 4)
    assert one("Judged@25", row) == pytest.approx(5 / 6)
    assert one("Judged", row) == pytest.approx(5 / 6)
    assert one("Share(rel=3)@4", row) == pytest.approx(2 / 4)
    assert one("Share(rel=1)", row) == pytest.approx(2 / 6)


NDCG_FORMS = {  # gain, ideal
    "nDCG@10": 0.407,  # trec_eval
    "nDCG(dcg='exp-log2')@10": 0.331,  # gdeval
    "nDCG(dcg='exp-log2',ideal=uncut)@10": 0.317,
    "nDCG(dcg='exp-log2',ideal=shown)@10": 0.906,
}


def test_ndcg_has_four_meanings_in_common_tools_and_each_has_its_own_name():
    """Eight top documents of this query were not retrieved; one form does not mind."""
    shown = [3, 1, 0, 2, 0, 0, 1, 0, 2]
    assert {name: round(one(name, shown, shown + [3] * 8), 3) for name in NDCG_FORMS} == NDCG_FORMS


# --- where there is nothing to measure ------------------------------------------------------------------------------


def test_a_query_without_results_is_zero_and_its_shares_are_undefined():
    values = measure([*ALL, "sDCG(short=observed)@5"], Lists.of([[], [3]]), Judged.of([[3], [3]]), gains=SCALE)
    undefined = {name for name, value in values.items() if math.isnan(value[0])}
    assert undefined == {"Judged@5", "Share(rel=3)@5", "sDCG(short=observed)@5"}
    assert all(value[0] == 0 for name, value in values.items() if name not in undefined)
    assert all(np.isfinite(value[1]) for value in values.values())


def test_ndcg_is_zero_where_nothing_is_relevant_and_undefined_where_nothing_is_judged():
    values = measure("nDCG@10", Lists.of([[0, None], [None]]), Judged.of([[0, 0], []]))["nDCG@10"]
    assert values[0] == 0
    assert math.isnan(values[1])


def test_no_queries_give_no_values():
    values = measure(ALL, Lists.of([]), Judged.of([]), gains=SCALE)
    assert {value.shape for value in values.values()} == {(0,)}
    ranked = rank_arrays([], [], [])
    assert (ranked.offsets.tolist(), ranked.order.tolist()) == ([0], [])
    assert len(grade_arrays([], [], [], [], [])) == 0


def test_unjudged_results_have_no_gain_and_are_counted():
    assert one("sDCG@2", [None, 3]) == one("sDCG@2", [0, 3])
    assert one("Judged@2", [None, 3]) == 0.5
    assert one("Judged@2", [0, 3]) == 1


# --- names ----------------------------------------------------------------------------------------------------------

SHARED = [
    "nDCG@10",
    "nDCG",
    "nDCG(dcg='exp-log2')@10",
    "P@5",
    "P(rel=2)@5",
    "RR",
    "RR@10",
    "RR(rel=2)@10",
    "Judged@10",
    "ERR@10",
    "SDCG(max_rel=3)@25",
    "SDCG(min_rel=1,max_rel=3)@25",
    "NDCG@10",
    "MRR",
    "P(rel=1)@5",
]
OWN = [
    "sDCG@25",
    "sDCG(gain=linear)@25",
    "sDCG(gain=exp,short=observed)@25",
    "sDCG(gain=[0,0.01,0.1,1])@25",
    "sDCG(gain=[0,1e-05,0.3333333333333333,7])@25",
    "nDCG(ideal=shown)@10",
    "nDCG(gain=[0,1,3])",
    "Share(rel=3)@25",
    "ERR(max_rel=3)@20",
]


@pytest.mark.parametrize("text", SHARED)
def test_shared_names_print_as_in_ir_measures(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its parser uses ast.Num
        import ir_measures

        theirs = str(ir_measures.parse_measure(text))
    assert str(Metric.parse(text)) == theirs


@pytest.mark.parametrize("text", [*SHARED[:12], *OWN])
def test_a_printed_name_reads_back_as_the_same_metric(text):
    metric = Metric.parse(text)
    assert str(metric) == text
    assert Metric.parse(str(metric)) == metric
    assert hash(Metric.parse(str(metric))) == hash(metric)


def test_parameters_at_their_default_are_not_part_of_the_name():
    assert Metric.parse("P(rel=1)@5") == Metric.parse("P@5") == Metric("P", 5)
    assert Metric.parse("sDCG(gain=scale,short=zero)@25") == Metric.parse(" sDCG @ 25 ")
    assert Metric.parse("nDCG(dcg='log2',ideal=judged)@10") == Metric.parse("nDCG@10")
    assert Metric.parse("P(rel=2)@5")["rel"] == 2
    assert Metric.parse("P@5")["rel"] == 1


def test_a_gain_that_is_not_linear_is_printed_in_the_name():
    assert str(Metric.parse("sDCG@25").with_gains(ESCI)) == "sDCG(gain=[0,0.01,0.1,1])@25"
    assert str(Metric.parse("nDCG(gain=scale)@10").with_gains(ESCI)) == "nDCG(gain=[0,0.01,0.1,1])@10"
    assert str(Metric.parse("sDCG(short=observed)@25").with_gains(ESCI)) == "sDCG(gain=[0,0.01,0.1,1],short=observed)@25"
    assert str(Metric.parse("sDCG@25").with_gains(SCALE)) == "sDCG@25"
    assert str(Metric.parse("sDCG@25").with_gains((0, 5, 10))) == "sDCG@25"
    assert str(Metric.parse("sDCG@25").with_gains((1, 2, 3))) == "sDCG(gain=[1,2,3])@25"
    for fixed in ("nDCG@10", "sDCG(gain=linear)@25", "sDCG(gain=exp)@25", "P@5"):
        assert str(Metric.parse(fixed).with_gains(ESCI)) == fixed


@given(results, st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_the_name_with_gains_gives_the_same_number_without_a_scale(row, gains):
    gains = (*sorted(gains), 1.0)
    named = str(Metric.parse("sDCG@5").with_gains(gains))
    if "gain=" in named:
        assert one(named, row, gains=None) == pytest.approx(one("sDCG@5", row, gains=gains), abs=1e-12)
    else:
        assert one("sDCG(gain=linear)@5", row) == pytest.approx(one("sDCG@5", row, gains=gains), abs=1e-9)


def test_many_names_in_one_string_are_split_outside_brackets():
    names = "nDCG@10 P(rel=2)@5,Judged@10\n sDCG(gain=[0, 0.5, 1], short=observed)@25 "
    assert [m.name for m in parse_metrics(names)] == ["nDCG", "P", "Judged", "sDCG"]
    assert parse_metrics(" ") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("AP@10", "'AP' is not known.*expected sDCG, nDCG.*ir_measures has more"),
        ("ndcg@10", "did you mean nDCG"),
        ("nDCG@10@5", "is not Name"),
        ("nDCG@ten", "is not Name"),
        ("", "is not Name"),
        ("nDCG@0", "cutoff 0: expected 1 or more"),
        ("P", "P needs a cutoff: write P@10"),
        ("sDCG", "sDCG needs a cutoff"),
        ("P(relevance=2)@5", "no parameter 'relevance': it has rel"),
        ("Judged(rel=2)@5", "no parameter 'rel': it has a cutoff only"),
        ("P(2)@5", "expected parameter=value"),
        ("P(rel=2,rel=3)@5", "each once"),
        ("P(rel=high)@5", "rel='high': expected a grade"),
        ("P(rel=-1)@5", "rel=-1: expected a grade"),
        ("P(rel=True)@5", "rel=True: expected a grade"),
        ("Share@25", r"Share needs rel: write Share\(rel=3\)@25"),
        ("SDCG@25", r"SDCG needs max_rel: write SDCG\(max_rel=3\)@25"),
        ("SDCG(min_rel=3,max_rel=3)@25", "needs max_rel=3 above min_rel=3"),
        ("SDCG(max_rel=0)@25", "needs max_rel=0 above min_rel=0"),
        ("sDCG(gain=log)@25", "gain='log': expected linear or exp or scale"),
        ("sDCG(gain=[0,-1,1])@25", "must not fall"),
        ("sDCG(gain=[-1,1])@25", "expected two or more numbers from 0 up"),
        ("sDCG(gain=[0,0])@25", "the last above 0"),
        ("sDCG(gain=[1])@25", "two or more"),
        ("sDCG(gain=['a','b'])@25", "expected two or more numbers"),
        ("sDCG(short=yes)@25", "short='yes': expected zero or observed"),
        ("nDCG(ideal=best)@25", "ideal='best': expected judged or uncut or shown"),
        ("nDCG(dcg=ln)@25", "no parameter 'dcg'"),
        ("SDCG(dcg='exp-log2',max_rel=3)@25", "no parameter 'dcg'"),
        ("nDCG(judged_only=True)@10", "no parameter 'judged_only'"),
    ],
)
def test_a_name_that_cannot_be_read_is_refused_with_the_way_out(text, says):
    with pytest.raises(InputError, match=says):
        Metric.parse(text)


# --- wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "row", "gains", "says"),
    [
        ("sDCG@5", [4], SCALE, "relevance 4 is above 3, the top grade of sDCG@5"),
        ("sDCG@5", [1], None, r"needs to know the top grade.*SDCG\(max_rel=3\)@5"),
        ("sDCG(gain=exp)@5", [1], None, "needs to know the top grade"),
        ("nDCG(gain=scale)@5", [1], None, "needs a scale"),
        ("nDCG(gain=[0,1])@5", [2], None, "relevance 2 is above 1"),
        ("nDCG(gain=exp)@5", [2000], None, "too large for an exponential gain"),
        ("ERR@5", [5], None, r"above max_rel=4 of ERR@5: write ERR\(max_rel=5\)@5"),
        ("sDCG@5", [1], (0.0, 1.0, 0.5), "the scale has gains .* must not fall"),
        ("P@5", [-2], None, "expected integers from 0 up, -1 for unjudged"),
    ],
)
def test_a_grade_or_scale_that_does_not_fit_is_refused(metric, row, gains, says):
    with pytest.raises(InputError, match=says):
        one(metric, row, [max(x, 0) for x in row], gains=gains)


def test_lists_and_judgments_that_do_not_fit_together_are_refused():
    lists = Lists.of([[1], [2]])
    with pytest.raises(InputError, match="needs all judged grades"):
        measure("nDCG@10", lists)
    with pytest.raises(InputError, match="judged holds 1 queries and lists 2"):
        measure("nDCG@10", lists, Judged.of([[1]]))
    with pytest.raises(InputError, match="judged documents only"):
        measure("P@10", lists, Judged(np.array([0, 1, 2]), np.array([1, -1])))
    with pytest.raises(InputError, match="float64 relevances"):
        measure("P@10", Lists(np.array([0, 1]), np.array([1.0])))
    with pytest.raises(InputError, match="offsets that do not rise from 0 to its 1 rows"):
        measure("P@10", Lists(np.array([0, 2]), np.array([1])))


def test_grades_beyond_the_cutoff_are_not_looked_at():
    assert one("sDCG@1", [3, 9]) == pytest.approx(1)
    assert one("ERR(max_rel=3)@1", [3, 9]) == pytest.approx(7 / 8)


# --- ranking --------------------------------------------------------------------------------------------------------


def slow_rank(query, doc, score, queries):
    rows = [[] for _ in range(queries)]
    for row, q in enumerate(query):
        rows[q].append(row)
    with np.errstate(over="ignore"):
        single = np.asarray(score, dtype=np.float64).astype(np.float32)
    return [sorted(of, key=lambda row: (single[row], doc[row]), reverse=True) for of in rows]


@given(st.data())
def test_ranks_are_by_score_in_single_precision_then_by_document_whatever_the_row_order(data):
    queries = data.draw(st.integers(1, 8))
    pairs = data.draw(st.lists(st.tuples(st.integers(0, queries - 1), st.integers(0, 20)), unique=True, max_size=60))
    near = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 + 1e-6, -1.0, 1e300, -1e300, 1e-300, math.inf, -math.inf])
    score = [data.draw(st.one_of(near, st.floats(-2, 2))) for _ in pairs]
    query, doc = [q for q, _ in pairs], [d for _, d in pairs]
    with patch.object(ranking, "_BLOCK", data.draw(st.sampled_from([1, 3, 1 << 16]))):
        ranked = rank_arrays(np.array(query, dtype=int), np.array(doc, dtype=int), score, queries=queries)
    found = [ranked.order[a:b].tolist() for a, b in zip(ranked.offsets[:-1], ranked.offsets[1:], strict=True)]
    assert found == slow_rank(query, doc, score, queries)


def test_queries_without_rows_are_ranked_as_empty_lists():
    assert rank_arrays([1], [0], [0.5], queries=4).offsets.tolist() == [0, 0, 1, 1, 1]
    assert rank_arrays([1], [0], [0.5]).offsets.tolist() == [0, 0, 1]


@given(st.data())
def test_grades_are_found_by_query_and_document_whatever_the_row_order(data):
    pair = st.tuples(st.integers(0, 5), st.integers(0, 9))
    run = data.draw(st.lists(pair, unique=True, max_size=40))
    qrels = data.draw(st.dictionaries(pair, st.integers(-2, 3), max_size=40))
    top = data.draw(st.sampled_from([0, 2**31, 2**32 - 10]))
    with patch.object(ranking, "_BLOCK", data.draw(st.sampled_from([1, 3, 1 << 16]))):
        found = grade_arrays(
            np.array([q for q, _ in run], dtype=int),
            np.array([d + top for _, d in run], dtype=int),
            np.array([q for q, _ in qrels], dtype=int),
            np.array([d + top for _, d in qrels], dtype=int),
            np.array([*qrels.values()], dtype=int),
        )
    assert found.tolist() == [max(qrels[p], 0) if p in qrels else -1 for p in run]


def test_documents_with_large_codes_are_found_in_many_small_queries():
    query, doc = np.arange(40_000), np.arange(40_000) + (2**32 - 40_000)
    found = grade_arrays(query, doc, query[::2], doc[::2], query[::2] % 4)
    assert (found[::2] == query[::2] % 4).all()
    assert (found[1::2] == -1).all()
    with pytest.raises(InputError, match=f"document {2**32 - 40_000 + 3} is judged twice for query 3"):
        grade_arrays(query, doc, np.append(query, 3), np.append(doc, doc[3]), np.append(query, 0))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: rank_arrays([0, 0, 1, 1, 1], [1, 2, 5, 6, 5], [1, 2, 3, 4, 5]),
            "document 5 occurs twice in the list of query 1",
        ),
        (lambda: rank_arrays([0, 1, 1], [5, 5, 5], [1, 2, 3]), "document 5 occurs twice in the list of query 1"),
        (lambda: grade_arrays([0, 0], [5, 5], [0], [1], [1]), "document 5 occurs twice in the list of query 0"),
        (lambda: grade_arrays([0], [5], [1, 1], [2, 2], [1, 0]), "document 2 is judged twice for query 1"),
        (lambda: rank_arrays([0, 1], [5, 5], [1, math.nan]), "row 1 has score NaN"),
        (lambda: rank_arrays([0, 1], [5, 5], [1]), "2 query codes, 2 doc codes and 1 scores"),
        (lambda: rank_arrays([0, -1], [5, 5], [1, 2]), "query holds int64"),
        (lambda: rank_arrays([0, 1], ["a", "b"], [1, 2]), "doc holds"),
        (lambda: rank_arrays([0, 7], [5, 5], [1, 2], queries=2), "query code 7 found, but there are 2 queries"),
        (lambda: grade_arrays([0], [5], [0], [5], [0.5]), "relevance holds float64"),
        (lambda: offsets_of([1, 0], queries=2), "not sorted"),
    ],
)
def test_rows_that_cannot_be_ranked_or_graded_are_refused_by_name(call, says):
    with pytest.raises(InputError, match=says):
        call()


# --- oracles --------------------------------------------------------------------------------------------------------


class World:
    """A seeded run and judgments, as text for others and as arrays for us. Scores tie often, also only in single precision."""

    def __init__(self, seed, queries=40, distinct=False):
        rng = np.random.default_rng(seed)
        self.qrels, self.run = {}, {}
        for q in range(queries):
            docs = [f"d{x}" for x in rng.choice(60, 30, replace=False)]
            shown = rng.choice(docs, rng.integers(1, 26), replace=False)
            score = (
                rng.permutation(len(shown)) if distinct else rng.integers(0, 6, len(shown)) + rng.choice([0, 1e-9], len(shown))
            )
            self.run[str(q)] = {str(d): float(s) for d, s in zip(shown, score, strict=True)}
            judged = rng.choice(docs, rng.integers(1, 20), replace=False)
            self.qrels[str(q)] = {
                str(d): int(r) for d, r in zip(judged, rng.integers(-1 if seed % 2 else 0, 4, len(judged)), strict=True)
            }
        self.ids = sorted(self.qrels)

    def ours(self, names):
        docs = sorted({d for rows in (self.run, self.qrels) for of in rows.values() for d in of})
        code = {d: i for i, d in enumerate(docs)}
        run = [(q, code[d], s) for q, qid in enumerate(self.ids) for d, s in self.run[qid].items()]
        qrels = [(q, code[d], r) for q, qid in enumerate(self.ids) for d, r in self.qrels[qid].items()]
        query, doc, score = zip(*run, strict=True)
        graded_query, graded_doc, relevance = zip(*qrels, strict=True)
        ranked = rank_arrays(query, doc, score, queries=len(self.ids))
        grades = grade_arrays(query, doc, graded_query, graded_doc, relevance)
        judged = Judged(offsets_of(graded_query, len(self.ids)), np.maximum(relevance, 0))
        return measure(names, Lists(ranked.offsets, grades[ranked.order]), judged, gains=SCALE)

    def theirs(self, name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's warnings
            import ir_measures

            found = ir_measures.iter_calc([ir_measures.parse_measure(name)], self.qrels, self.run)
            values = {row.query_id: row.value for row in found}
        return np.array([values[qid] for qid in self.ids])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", ["nDCG@10", "nDCG@3", "nDCG", "P@5", "P(rel=2)@5", "RR", "RR(rel=2)", "RR(rel=3)"])
def test_values_equal_trec_evals_with_its_ties(seed, name):
    world = World(seed)
    np.testing.assert_allclose(world.ours([name])[name], world.theirs(name), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", ["RR@3", "RR(rel=2)@10", "Judged@10", "Judged"])
def test_values_equal_those_of_ir_measures(seed, name):
    world = World(seed, distinct=True)
    np.testing.assert_allclose(world.ours([name])[name], world.theirs(name), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["SDCG(max_rel=3)@25", "SDCG(max_rel=3)@5", "SDCG(min_rel=1,max_rel=3)@10", "SDCG(max_rel=2)@10"]
)
def test_sdcg_equals_that_of_cwl_eval(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # cwl-eval opens a log file where it stands
    world = World(5, queries=20, distinct=True)
    theirs = world.theirs(name)
    np.testing.assert_allclose(world.ours([name])[name], theirs, rtol=0, atol=1e-9)
    if name == "SDCG(max_rel=3)@25":
        np.testing.assert_allclose(world.ours(["sDCG@25"])["sDCG@25"], theirs, rtol=0, atol=1e-9)


@pytest.mark.skipif(shutil.which("perl") is None, reason="gdeval is a Perl script, and perl is not installed")
@pytest.mark.parametrize("name", ["ERR@10", "ERR@3", "nDCG(dcg='exp-log2')@10"])
def test_values_equal_those_of_gdeval(name):
    world = World(6)  # gdeval keeps double precision, so scores that tie only in single precision are left out
    world.run = {q: {d: round(s) for d, s in of.items()} for q, of in world.run.items()}
    np.testing.assert_allclose(world.ours([name])[name], world.theirs(name), rtol=0, atol=5.1e-6)  # it prints five digits


@given(st.lists(grade, min_size=2, max_size=12).filter(any))
def test_ndcg_of_what_is_shown_equals_that_of_scikit_learn(row):
    from sklearn.metrics import ndcg_score

    theirs = ndcg_score([row], [range(len(row), 0, -1)], ignore_ties=True)
    assert one("nDCG(ideal=shown)", row) == pytest.approx(theirs, abs=1e-12)


# --- properties -----------------------------------------------------------------------------------------------------


@given(st.lists(results, min_size=1, max_size=5), st.lists(st.lists(grade, max_size=5), min_size=5, max_size=5))
def test_every_value_lies_between_zero_and_one(rows, unseen):
    judged = [[x for x in row if x is not None] + more for row, more in zip(rows, unseen, strict=False)]
    for name, values in measure([*ALL, *NDCG_FORMS], Lists.of(rows), Judged.of(judged), gains=SCALE).items():
        kept = values[~np.isnan(values)]
        assert ((kept >= 0) & (kept <= 1 + 1e-12)).all(), name


@given(st.lists(grade, min_size=1, max_size=12).filter(any))
def test_the_ideal_order_of_all_judged_documents_has_ndcg_of_exactly_one(grades):
    for name in ("nDCG@5", "nDCG", "nDCG(dcg='exp-log2')@5", "nDCG(ideal=shown)@5"):
        assert one(name, sorted(grades, reverse=True)) == 1


@given(results, st.tuples(grade, grade, grade), st.tuples(grade, grade, grade), st.floats(0, 1))
def test_sdcg_is_linear_in_gains(row, these, those, share):
    a, b = (*np.cumsum(these) / 9.0, 1.0), (*np.cumsum(those) / 9.0, 1.0)
    mixed = tuple(share * x + (1 - share) * y for x, y in zip(a, b, strict=True))
    for name in ("sDCG@5", "sDCG(short=observed)@5"):
        expected = share * one(name, row, gains=a) + (1 - share) * one(name, row, gains=b)
        assert one(name, row, gains=mixed) == pytest.approx(expected, abs=1e-12)


@given(results, st.data())
def test_a_better_document_in_the_same_place_never_lowers_a_value(row, data):
    place = data.draw(st.integers(0, len(row) - 1))
    better = [*row[:place], data.draw(st.integers(row[place] or 0, 3)), *row[place + 1 :]]
    judged = [x for x in row if x is not None] + [better[place], 3, 2]
    for name in ("sDCG@5", "nDCG@5", "nDCG(gain=exp)@5", "P(rel=2)@5", "RR", "RR(rel=2)@3", "ERR@5", "SDCG(max_rel=3)@5"):
        assert one(name, better, judged) >= one(name, row, judged) - 1e-12, name


@given(results, st.data())
def test_moving_the_better_of_two_results_up_never_lowers_a_value(row, data):
    low, high = sorted(data.draw(st.tuples(st.integers(0, len(row) - 1), st.integers(0, len(row) - 1))))
    swapped = list(row)
    if (row[high] or 0) > (row[low] or 0):
        swapped[low], swapped[high] = row[high], row[low]
    for name in ("sDCG@5", "nDCG@5", "P(rel=2)@5", "RR", "ERR@5"):
        assert one(name, swapped, [3, 3, 2, 1]) >= one(name, row, [3, 3, 2, 1]) - 1e-12, name


@given(st.lists(st.lists(result, max_size=8), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_permuting_queries_permutes_values(rows, random):
    judged = [[x for x in row if x is not None] + [2] for row in rows]
    order = list(range(len(rows)))
    random.shuffle(order)
    there = measure(ALL, Lists.of(rows), Judged.of(judged), gains=SCALE)
    back = measure(ALL, Lists.of([rows[i] for i in order]), Judged.of([judged[i] for i in order]), gains=SCALE)
    for name in there:
        np.testing.assert_array_equal(there[name][order], back[name])


@given(st.lists(grade, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_judgments_does_not_matter(judged, random):
    other = list(judged)
    random.shuffle(other)
    np.testing.assert_equal(one("nDCG@5", [3, 1, 0], judged), one("nDCG@5", [3, 1, 0], other))


@settings(max_examples=50)
@given(st.lists(results, min_size=1, max_size=5), st.sampled_from([np.int8, np.int16, np.int32, np.int64]))
def test_the_width_of_the_integers_does_not_matter(rows, dtype):
    lists, judged = Lists.of(rows), Judged.of([[3, 2, 1, 0]] * len(rows))
    narrow = Lists(lists.offsets, lists.relevance.astype(dtype)), Judged(judged.offsets, judged.relevance.astype(dtype))
    names = [*ALL, *NDCG_FORMS, "SDCG(min_rel=1,max_rel=300)@5"]
    wide = measure(names, lists, judged, gains=SCALE)
    for name, values in measure(names, *narrow, gains=SCALE).items():
        np.testing.assert_array_equal(values, wide[name])


@given(results)
def test_shares_of_all_grades_and_of_the_unjudged_make_a_whole(row):
    shares = sum(one(f"Share(rel={x})@5", row) for x in range(4))
    assert shares == pytest.approx(one("Judged@5", row))


def test_metrics_are_keyed_by_their_names_in_the_order_asked_for():
    names = ["P@5", "nDCG@10", "RR"]
    assert list(measure(names, Lists.of([[1]]), Judged.of([[1]]))) == names
    assert list(measure(map(Metric.parse, names), Lists.of([[1]]), Judged.of([[1]]))) == names
    assert list(measure(Metric.parse("P@5"), Lists.of([[1]]))) == ["P@5"]
