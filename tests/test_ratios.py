"""Weighted means over clusters."""

import numpy as np
import pytest

from germane.stats.means import stratified_mean
from germane.stats.moments import Moments
from germane.stats.ratios import weighted_mean
from germane.types import InputError


def test_equal_weights_and_lone_values_give_the_plain_mean_and_its_interval():
    x = np.array([0.1, 0.5, 0.4, 0.9])
    found = weighted_mean(x, np.ones(4), clusters=range(4))
    plain = stratified_mean({"all": Moments.of(x)}, {"all": 4})
    assert (found.value, found.se, found.low, found.high) == pytest.approx((plain.value, plain.se, plain.low, plain.high))


def test_copies_inside_a_cluster_add_no_knowledge():
    x = np.array([0.1, 0.5, 0.4, 0.9])
    once, twice = (
        weighted_mean(x, np.ones(4), clusters=range(4)),
        weighted_mean(np.repeat(x, 2), np.ones(8), clusters=np.repeat(range(4), 2)),
    )
    assert twice.se == pytest.approx(once.se)
    assert twice.df == once.df


def test_weights_level_and_method_count():
    x, w = [0.0, 1.0, 1.0], [1.0, 1.0, 6.0]
    found = weighted_mean(x, w, clusters=[1, 2, 3], level=0.8, method="named")
    assert found.value == pytest.approx(7 / 8)
    assert (found.level, found.method) == (0.8, "named")
    assert found.high - found.low < (lambda e: e.high - e.low)(weighted_mean(x, w, clusters=[1, 2, 3]))


@pytest.mark.simulation
def test_the_interval_of_unequally_drawn_clusters_covers(repetitions):
    """Poisson draws of 400 clusters. Monte Carlo tolerance: 4 sqrt(0.95 x 0.05 / n), and 0.01 for the normal limit."""
    n = repetitions(reduced=400, whole=4000)
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 5, 400)
    cluster = np.repeat(np.arange(400), sizes)
    x = rng.normal(0, 1, 400)[cluster] + rng.normal(0, 1, cluster.size)
    odds = rng.uniform(0.1, 0.6, 400)
    truth, hits = x.mean(), 0
    for _ in range(n):
        kept = (rng.random(400) < odds)[cluster]
        e = weighted_mean(x[kept], 1 / odds[cluster][kept], clusters=cluster[kept])
        hits += e.low <= truth <= e.high
    assert hits / n == pytest.approx(0.96, abs=0.02 + 4 * np.sqrt(0.95 * 0.05 / n))  # without replacement: a little wide


@pytest.mark.parametrize(
    ("values", "weights", "clusters", "said"),
    [
        ([1.0], [1.0], ["a"], "2 are the least"),
        ([1.0, 2.0], [1.0], ["a", "b"], "give one each"),
        ([1.0, np.nan], [1.0, 1.0], ["a", "b"], "row 1"),
        ([1.0, 2.0], [1.0, 0.0], ["a", "b"], "row 1"),
    ],
)
def test_what_has_no_mean_is_said(values, weights, clusters, said):
    with pytest.raises(InputError, match=said):
        weighted_mean(values, weights, clusters=clusters)
