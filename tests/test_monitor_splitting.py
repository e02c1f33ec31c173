import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_days import seen

from germane.monitor.changes import MIX, PAIRED
from germane.monitor.counterfactual import Anchors, mapped, merged
from germane.monitor.splitting import CAUSES, Split, split
from germane.types import InputError

N, K = 60, 5
DISCOUNT = 1 / np.log2(np.arange(K) + 2.0)
DISCOUNT /= DISCOUNT.sum()


def catalogue(seed: int = 1) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [{f"d{q}-{j}": round(float(g), 3) for j, g in enumerate(np.sort(rng.random(7))[::-1])} for q in range(N)]


def ranked(pool: list[dict[str, float]], first: int = 0) -> list[list[str]]:
    """Each query's documents by gain; with `first`, so many of the best come last."""
    return [(list(p)[first:] + list(p)[:first])[:K] for p in pool]


def gains(pool: list[dict[str, float]], docs: list[list[str]], factor: float = 1.0) -> list[list[float]]:
    return [[factor * p[d] for d in row] for p, row in zip(pool, docs, strict=True)]


def parts(found: Split) -> list[float]:
    return [getattr(found, cause).value for cause in CAUSES]


def level(docs_gains: list[list[float]], requests: list[float] | None = None) -> float:
    return float(np.average([np.dot(DISCOUNT[: len(g)], g) for g in docs_gains], weights=requests))


POOL = catalogue()
BEFORE = seen("2026-01-05", ranked(POOL), gains(POOL, ranked(POOL)))


def test_nothing_changed_is_nothing():
    found = split(BEFORE, seen("2026-01-12", ranked(POOL), gains(POOL, ranked(POOL))), k=K)
    assert parts(found) == [0.0] * 4
    assert (found.total.value, found.cause, found.examples) == (0.0, "", ())


def test_another_order_of_the_same_documents_is_search():
    docs = ranked(POOL, first=2)
    found = split(BEFORE, seen("2026-01-12", docs, gains(POOL, docs)), k=K)
    assert found.cause == "search"
    assert found.search.value == pytest.approx(level(gains(POOL, docs)) - level(gains(POOL, ranked(POOL))))
    assert parts(found)[1:] == [0.0, 0.0, 0.0]
    assert found.search.high < 0
    example = found.examples[0]
    assert example.before == tuple(ranked(POOL)[int(example.query[1:])])
    assert example.part < 0


def test_documents_that_left_are_catalogue():
    gone = [next(iter(p)) for p in POOL]
    docs = [list(p)[1 : K + 1] for p in POOL]
    found = split(BEFORE, seen("2026-01-12", docs, gains(POOL, docs)), gone=gone, k=K)
    assert found.cause == "catalogue"
    assert found.search.value == pytest.approx(0.0, abs=1e-12)
    unnamed = split(BEFORE, seen("2026-01-12", docs, gains(POOL, docs)), k=K)
    assert unnamed.cause == "search"  # nobody said that they left


def test_documents_that_arrived_are_catalogue():
    docs = [[f"new{q}", *row[: K - 1]] for q, row in enumerate(ranked(POOL))]
    graded = [[1.0, *g[: K - 1]] for g in gains(POOL, ranked(POOL))]
    found = split(BEFORE, seen("2026-01-12", docs, graded), arrived=[f"new{q}" for q in range(N)], k=K)
    assert found.cause == "catalogue"
    assert found.catalogue.value > 0


def test_the_same_documents_graded_harder_are_the_judge():
    found = split(BEFORE, seen("2026-01-12", ranked(POOL), gains(POOL, ranked(POOL), 0.9)), k=K)
    assert found.cause == "judge"
    assert found.judge.value == pytest.approx(-0.1 * level(gains(POOL, ranked(POOL))))


def test_anchors_tell_a_harder_judge_from_a_worse_search():
    """New documents in every list, graded by a judge that became harder: only the anchors know how the old one saw them."""
    pool = [{f"x{q}-{j}": g for j, g in enumerate(p.values())} for q, p in enumerate(POOL)]
    after = seen("2026-01-12", ranked(pool), gains(pool, ranked(pool), 0.9))
    said = np.linspace(0, 1, 400)
    assert split(BEFORE, after, k=K).cause == "search"
    found = split(BEFORE, after, anchors=Anchors(said, 0.9 * said), k=K)
    assert found.cause == "judge"
    assert found.search.value == pytest.approx(0.0, abs=0.01)


def test_a_label_that_the_store_kept_is_no_change_of_the_judge():
    pool = [{f"x{q}-{j}": g for j, g in enumerate(p.values())} for q, p in enumerate(POOL)]
    after = seen("2026-01-12", ranked(pool), gains(pool, ranked(pool)))
    kept = after._replace(lists=type(after.lists)(*_lists(after), fresh=[np.zeros(K, bool)] * N))
    said = np.linspace(0, 1, 400)
    found = split(BEFORE, kept, anchors=Anchors(said, 0.9 * said), k=K)
    assert found.judge.value == 0.0


def _lists(s):
    return s.lists.query, s.lists.docs, s.lists.gains, ()


def test_queries_that_are_asked_more_are_traffic():
    own = np.array([level([g]) for g in gains(POOL, ranked(POOL))])
    requests = np.where(own < np.median(own), 3.0, 1.0).tolist()
    found = split(BEFORE, seen("2026-01-12", ranked(POOL), gains(POOL, ranked(POOL)), requests), k=K)
    assert found.cause == "traffic"
    assert found.traffic.value == pytest.approx(level(gains(POOL, ranked(POOL)), requests) - level(gains(POOL, ranked(POOL))))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_parts_add_up_exactly_and_swapping_the_days_negates_them(seed):
    rng = np.random.default_rng(seed)
    pools = catalogue(seed)
    one = [list(rng.permutation(list(p))[:K]) for p in pools]
    two = [[d for d in rng.permutation(list(p)) if rng.random() < 0.9][:K] for p in pools]
    before = seen("2026-01-05", one, [[float(rng.random()) for _ in row] for row in one], rng.random(N) + 0.1)
    after = seen("2026-01-12", two, [[float(rng.random()) for _ in row] for row in two], rng.random(N) + 0.1)
    gone = {d for p in pools for d in list(p)[:1]}
    found = split(before, after, gone=gone, k=K)
    change = level(after.lists.gains, after.day.requests) - level(before.lists.gains, before.day.requests)
    assert sum(parts(found)) == pytest.approx(found.total.value, abs=1e-12)
    assert found.total.value == pytest.approx(change, abs=1e-12)
    back = split(after, before, arrived=gone, k=K)
    assert parts(back) == pytest.approx([-x for x in parts(found)], abs=1e-12)


def test_days_are_averaged_and_still_add_up():
    docs = ranked(POOL, first=1)
    after = seen("2026-01-13", docs, gains(POOL, docs))
    other = seen("2026-01-12", ranked(POOL), gains(POOL, ranked(POOL)))
    found = split([BEFORE, BEFORE], [other, after], k=K)
    single = split(BEFORE, after, k=K)
    assert found.total.value == pytest.approx(single.total.value / 2)
    assert sum(parts(found)) == pytest.approx(found.total.value)
    with pytest.raises(InputError, match="2 days before and 1 after"):
        split([BEFORE, BEFORE], after, k=K)


def test_a_document_without_an_answer_takes_that_of_the_other_day():
    docs = ranked(POOL)
    after = gains(POOL, docs)
    after[0][0] = np.nan
    assert split(BEFORE, seen("2026-01-12", docs, after), k=K).total.value == 0.0
    docs[0][0] = "unknown"
    found = split(BEFORE, seen("2026-01-12", docs, after), k=K)
    assert found.total.n == N - 1
    assert "1 of 60 queries are left out" in found.notes[0]


def test_a_change_that_noise_explains_has_no_cause():
    rng = np.random.default_rng(3)
    docs = [list(rng.permutation(row)) for row in ranked(POOL)]
    mixed = seen("2026-01-05", docs, gains(POOL, docs))
    docs = [list(rng.permutation(row)) for row in ranked(POOL)]
    assert split(mixed, seen("2026-01-12", docs, gains(POOL, docs)), k=K).cause == ""


def test_two_causes_alike_are_not_one():
    docs = ranked(POOL, first=1)
    loss = level(gains(POOL, docs)) / level(gains(POOL, ranked(POOL)))
    after = seen("2026-01-12", docs, gains(POOL, docs, loss))
    said = np.linspace(0, 1, 400)
    found = split(BEFORE, after, anchors=Anchors(said, loss * said), k=K)
    assert found.search.high < 0
    assert found.judge.high < 0
    assert found.cause == ""


def test_the_standard_error_is_the_delete_one_jackknife_s():
    docs = ranked(POOL, first=2)
    requests = np.random.default_rng(2).random(N) + 0.2
    after = seen("2026-01-12", docs, gains(POOL, docs), requests)
    found = split(BEFORE, after, k=K)
    left = []
    for q in range(N):
        keep = [i for i in range(N) if i != q]

        def less(s, date, keep=keep):
            return seen(date, [s.lists.docs[i] for i in keep], [s.lists.gains[i] for i in keep], s.day.requests[keep])

        left.append(parts(split(less(BEFORE, "2026-01-05"), less(after, "2026-01-12"), k=K)))
    jackknife = np.sqrt((N - 1) / N * ((np.array(left) - np.mean(left, 0)) ** 2).sum(0))
    assert [getattr(found, cause).se for cause in CAUSES] == pytest.approx(jackknife.tolist(), rel=0.05, abs=1e-9)


def test_hostile_ids_are_only_ids():
    docs = [["<script>alert(1)</script>", "'; drop table days; --", "../../etc/passwd"]] * 3
    before = seen("2026-01-05", docs, [[1.0, 0.5, 0.2]] * 3)
    after = seen("2026-01-12", docs, [[0.9, 0.5, 0.2]] * 3)
    assert split(before, after, k=K).examples[0].before == tuple(docs[0])


def test_wrong_days_are_refused():
    with pytest.raises(InputError, match="no query of the panel"):
        split(BEFORE, BEFORE, segment="language=de", k=K)
    with pytest.raises(InputError, match="other queries"):
        split(BEFORE._replace(lists=seen("x", [["a"]], [[1.0]]).lists), BEFORE, k=K)


def test_the_old_ranking_on_the_new_catalogue():
    assert merged(["a", "b", "c"], ["a", "x", "c"], {"x"}, {"b"}, 3) == ["a", "x", "c"]
    assert merged(["a", "b", "c"], ["c", "d", "e"], set(), {"a"}, 3) == ["b", "c", "d"]  # what was ranked below comes up
    assert merged(["a", "b"], ["x", "y"], {"x", "y"}, {"a", "b"}, 2) == ["x", "y"]
    assert merged([], ["x"], {"x"}, set(), 3) == ["x"]
    assert merged(["a"], [], set(), {"a"}, 3) == []


def test_gains_are_mapped_as_the_anchors_moved():
    said = np.repeat([0.0, 0.5, 1.0], 10)
    became = np.repeat([0.0, 0.25, 1.0], 10)
    assert mapped(np.array([0.0, 0.5, 1.0, 0.5]), said, became) == pytest.approx([0.0, 0.25, 1.0, 0.25])
    assert mapped(np.array([0.3]), said, said).tolist() == [0.3]
    assert mapped(np.array([0.3]), np.empty(0), np.empty(0)).tolist() == [0.3]


def test_an_alert_of_the_same_queries_is_not_excused_by_traffic():
    """Search became worse while traffic moved to what it serves well: the level hardly moved, the same queries did."""
    own = np.array([level([g]) for g in gains(POOL, ranked(POOL))])
    docs = ranked(POOL, first=1)
    loss = level(gains(POOL, ranked(POOL))) - level(gains(POOL, docs))
    heavy = np.where(own > np.median(own), 1.0 + 8 * loss, 1.0).tolist()
    after = seen("2026-01-12", docs, gains(POOL, docs), heavy)
    found = split(BEFORE, after, k=K)
    assert found.traffic.value > 0
    assert split(BEFORE, after, part=PAIRED, k=K).cause == "search"
    assert split(BEFORE, after, part=MIX, k=K).cause == "traffic"


def test_few_anchors_that_did_not_move_are_no_proof_that_the_judge_did_not():
    """All documents are new, and a little worse: a harder judge would look the same, and twelve anchors would not tell."""
    pool = [{f"x{q}-{j}": g for j, g in enumerate(p.values())} for q, p in enumerate(POOL)]
    after = seen("2026-01-12", ranked(pool), gains(pool, ranked(pool), 0.97))
    said = np.linspace(0, 1, 4)
    few, many = (split(BEFORE, after, anchors=Anchors(s, s), k=K) for s in (np.tile(said, 3), np.tile(said, 500)))
    assert few.cause == ""
    assert few.search.low < 0 < few.search.high
    assert many.cause == "search"
    assert parts(few) == pytest.approx(parts(many))


def test_anchors_without_an_answer_are_no_anchors():
    docs = ranked(POOL, first=1)
    after = seen("2026-01-12", docs, gains(POOL, docs))
    nothing = Anchors(np.full(30, np.nan), np.full(30, np.nan))
    assert parts(split(BEFORE, after, anchors=nothing, k=K)) == pytest.approx(parts(split(BEFORE, after, k=K)))
