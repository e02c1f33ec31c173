"""Exact search of stored vectors: against every product, in any blocks, with ties."""

import numpy as np
import pytest

from germane.inference.nearest import nearest, products
from germane.inference.vector_store import About, VectorStore
from germane.types import InputError

D = 24


def unit(n: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def stored(folder, vectors: np.ndarray, how: str = "fp16") -> VectorStore:
    store = VectorStore.create(folder, About("t", D, how))
    texts = [f"text {i}" for i in range(len(vectors))]
    store.add(texts, vectors, {f"d{i}": text for i, text in enumerate(texts)})
    return store


@pytest.mark.parametrize("how", ["int8", "fp16", "fp32"])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_the_nearest_are_those_of_all_products(tmp_path, how, block):
    store, queries = stored(tmp_path / "v", unit(300, 1), how), unit(5, 2)
    every = np.array([products(query, store, np.arange(300)) for query in queries])
    for near, scores in zip(nearest(queries, store, 10, block=block), every, strict=True):
        expected = np.lexsort((np.arange(300), -scores))[:10]
        assert near.rows.tolist() == expected.tolist()
        np.testing.assert_array_equal(near.scores, scores[expected])


def test_products_are_cosines_by_hand(tmp_path):
    vectors = np.zeros((2, D), dtype=np.float32)
    vectors[0, :2], vectors[1, 1] = (0.6, 0.8), 1
    store = stored(tmp_path / "v", vectors, "fp32")
    query = np.zeros(D, dtype=np.float32)
    query[1] = 1
    (near,) = nearest(query[None], store, 2)
    assert near.rows.tolist() == [1, 0]
    assert near.scores.tolist() == [1.0, pytest.approx(0.8)]


def test_more_queries_than_go_together_and_neighbours_change_nothing(tmp_path):
    store, queries = stored(tmp_path / "v", unit(400, 3), "int8"), unit(300, 4)
    together = nearest(queries, store, 5)
    for at in (0, 127, 128, 299):
        (alone,) = nearest(queries[at : at + 1], store, 5, block=33)
        assert alone.rows.tolist() == together[at].rows.tolist()
        np.testing.assert_array_equal(alone.scores, together[at].scores)


def test_all_that_tie_with_the_last_are_there(tmp_path):
    vectors = np.repeat(unit(3, 5), [1, 30, 20], axis=0)
    store = stored(tmp_path / "v", vectors)
    (near,) = nearest(vectors[:1], store, 3, block=8)
    tied = 30 if vectors[0] @ vectors[1] > vectors[0] @ vectors[31] else 20
    assert len(near.rows) == 1 + tied
    assert near.rows[0] == 0


def test_only_rows_that_count_are_compared(tmp_path):
    store, among = stored(tmp_path / "v", unit(50, 6)), np.zeros(50, dtype=bool)
    among[[3, 40]] = True
    (near,) = nearest(unit(1, 7), store, 10, among=among, block=16)
    assert sorted(near.rows.tolist()) == [3, 40]
    (none,) = nearest(unit(1, 7), store, 10, among=np.zeros(50, dtype=bool))
    assert len(none.rows) == 0


def test_an_empty_folder_no_query_and_more_than_there_is(tmp_path):
    empty = VectorStore.create(tmp_path / "e", About("t", D))
    (near,) = nearest(unit(1, 8), empty, 3)
    assert len(near.rows) == 0
    store = stored(tmp_path / "v", unit(4, 9))
    assert nearest(np.zeros((0, D), dtype=np.float32), store, 3) == []
    assert len(nearest(unit(1, 8), store, 100)[0].rows) == 4


def test_another_dimension_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"query vectors \(1, 7\).* holds vectors of dimension 24"):
        nearest(np.zeros((1, 7), dtype=np.float32), stored(tmp_path / "v", unit(2, 1)), 3)
