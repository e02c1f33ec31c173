"""What a judge learns from: joined by ids, split by query, refused where nothing can be learned."""

import numpy as np
import pyarrow as pa
import pytest

from germane.scales import get
from germane.training.examples import examples, folds, joined, split
from germane.types import InputError

ESCI = get("esci")


def pairs(queries=6, docs=4):
    rows = [(f"q{q}", f"query {q}", f"d{d}", f"text of {d}") for q in range(queries) for d in range(docs)]
    return pa.table(dict(zip(("query_id", "query", "doc_id", "text"), map(list, zip(*rows, strict=True)), strict=True)))


def labels(table, grade=lambda i: i % 4, **more):
    n = table.num_rows
    columns = {
        "query_id": table["query_id"],
        "doc_id": table["doc_id"],
        "relevance": pa.array([grade(i) for i in range(n)], pa.int32()),
        "judge": ["human:ana"] * n,
        "fingerprint": [""] * n,
        "scale": ["esci"] * n,
    }
    return pa.table(columns | more)


def test_pairs_and_labels_are_joined_by_their_ids_whatever_their_order():
    table = pairs()
    given = labels(table)
    found = examples(table.take(list(range(table.num_rows))[::-1]), given, ESCI)
    by_id = dict(
        zip(
            zip(given["query_id"].to_pylist(), given["doc_id"].to_pylist(), strict=True),
            given["relevance"].to_pylist(),
            strict=True,
        )
    )
    assert [by_id[k] for k in zip(found.query_id, found.doc_id, strict=True)] == found.grade.tolist()
    assert found.target.argmax(axis=1).tolist() == found.grade.tolist()
    assert found.judges == (("human:ana", ""),)


def test_a_pair_without_an_answer_or_without_text_teaches_nothing_and_is_counted():
    table = pairs()
    table = table.set_column(3, "text", pa.array(["  ", *table["text"].to_pylist()[1:]]))
    found = examples(table, labels(table, grade=lambda i: None if i == 1 else i % 4), ESCI)
    assert len(found) == table.num_rows - 2
    assert found.notes == ("left out: 1 pairs without an answer", "left out: 1 pairs without text")


def test_soft_labels_are_the_judges_probabilities_and_hard_ones_where_it_gave_none():
    table = pairs(queries=2)
    probs = [[0.1, 0.2, 0.3, 0.4]] * 7 + [None]
    given = labels(table, probs=pa.array(probs, pa.list_(pa.float32())))
    found = examples(table, given, ESCI, soft=True)
    assert found.target[0] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found.target[7].tolist() == [0, 0, 0, 1]
    assert examples(table, given, ESCI).target[0].tolist() == [1, 0, 0, 0]


def test_labels_of_one_grade_teach_if_their_probabilities_differ():
    table = pairs(queries=2)
    probs = [[0.1, 0.1, 0.2, 0.6], [0.0, 0.1, 0.1, 0.8]] * 4
    given = labels(table, grade=lambda i: 3, probs=pa.array(probs, pa.list_(pa.float32())))
    assert len(examples(table, given, ESCI, soft=True)) == 8
    with pytest.raises(InputError, match="all 8 labels are 'E'"):
        examples(table, given, ESCI)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda p, j: (p, labels(p, grade=lambda i: 2)), "all 24 labels are 'S': a judge learns from at least two grades"),
        (lambda p, j: (p, labels(p, grade=lambda i: i)), r"label \d+ is not on scale 'esci', whose grades are 0 to 3"),
        (lambda p, j: (p, labels(p, scale=["trec"] * 24)), "on scale 'trec', not on 'esci'"),
        (lambda p, j: (p, labels(p, grade=lambda i: None)), "no labelled pair with text has an answer"),
        (
            lambda p, j: (p.set_column(3, "text", pa.array([""] * 24)), j),
            "all 24 labelled pairs have an empty query or document",
        ),
        (lambda p, j: (p, pa.concat_tables([j, j])), "more than once"),
        (lambda p, j: (p.set_column(2, "doc_id", pa.array(["x"] * 24)), j), "no pair has a label"),
    ],
)
def test_what_teaches_nothing_is_refused_in_one_line(change, complaint):
    table = pairs()
    with pytest.raises(InputError, match=complaint):
        examples(*change(table, labels(table)), ESCI)


def test_no_query_is_on_both_sides_of_a_fold_though_it_has_two_ids():
    table = pairs()
    twin = table.set_column(0, "query_id", pa.array([f"other-{q}" for q in table["query_id"].to_pylist()]))
    twin = twin.set_column(1, "query", pa.array([q.upper() for q in table["query"].to_pylist()]))
    both = pa.concat_tables([table, twin])
    found = examples(both, labels(both), ESCI)
    for learned, held in folds(found, 3, seed=1):
        assert not {found.query[i].lower() for i in learned} & {found.query[i].lower() for i in held}
        assert len(learned) + len(held) == len(found)
    held = np.concatenate([h for _, h in folds(found, 3, seed=1)])
    assert sorted(held.tolist()) == list(range(len(found)))


def test_a_split_leaves_at_least_one_query_on_each_side():
    found = examples(pairs(queries=2), labels(pairs(queries=2)), ESCI)
    learned, dev = split(found, 0.01)
    assert len(set(learned.query)) == len(set(dev.query)) == 1
    with pytest.raises(InputError, match="labels are of one query"):
        split(learned)
    with pytest.raises(InputError, match="5 folds of 2 queries"):
        folds(found, 5)


def test_examples_of_one_scale_can_be_joined():
    found = examples(pairs(), labels(pairs()), ESCI)
    assert len(joined([found, found])) == 2 * len(found)


@pytest.mark.parametrize(
    "wrong", [[None, 0.5, 0.25, 0.25], [0.5, 0.5], [float("nan"), 0, 0, 1], [-1.0, 1, 1, 0], [0.0, 0, 0, 0]]
)
def test_probabilities_that_are_none_name_their_pair(wrong):
    table = pairs(queries=2)
    given = labels(table, probs=pa.array([*[[0.1, 0.2, 0.3, 0.4]] * 7, wrong], pa.list_(pa.float32())))
    with pytest.raises(InputError, match=r"the label of query q1, document d3 has probabilities"):
        examples(table, given, ESCI, soft=True)
