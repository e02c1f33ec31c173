import numpy as np
import pytest

from germane.simulate.incidents import SHOWN, Trouble, metrics_of, shown_days
from germane.simulate.years import HOLIDAYS, Incident, Market, year
from germane.types import InputError


def test_a_year_is_fixed_by_its_seed():
    one, two, other = (year(Market(queries=100), days=20, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one.paired, two.paired, equal_nan=True)
    assert not np.array_equal(one.paired, other.paired, equal_nan=True)


def test_figures_are_those_of_the_sample():
    [y] = year(Market(queries=300, rotation=0.0), days=10, seed=3)
    assert np.isnan(y.paired[0]).all()
    assert y.n[5].tolist() == y.member.sum(0).tolist()
    inside = y.sample[:, y.member[:, 1]]
    assert abs(y.paired[5, 1] - (inside[5] - inside[4]).mean()) < 3 * y.paired_se[5, 1]
    # the metric's change is the paired one at mean shares, and the mix
    assert y.level[5] - y.level[4] == pytest.approx(y.paired[5] + y.mix[5], abs=2e-3)


def test_a_query_differs_from_day_to_day_as_stated():
    for lasting in (0.0, 0.5):
        [y] = year(Market(lasting=lasting, weekday=0.0), days=60, seed=1)
        assert np.diff(y.sample, axis=0).std() == pytest.approx(0.05, rel=0.05)


def test_metrics_move_alike():
    a, b = year(Market(), days=40, metrics=2, seed=1)
    assert 0.7 < np.corrcoef(np.diff(a.sample, axis=0).ravel(), np.diff(b.sample, axis=0).ravel())[0, 1] < 0.9


@pytest.mark.parametrize("cause", ["search", "catalogue", "judge", "traffic"])
def test_an_incident_lowers_the_level_by_its_drop(cause):
    drops = []
    for seed in range(8):
        [y] = year(Market(weekday=0, weekend=0, drift=0), incidents=[Incident(20, cause, "all", 0.05)], days=40, seed=seed)
        drops.append(1 - y.level[20:, 0].mean() / y.level[:20, 0].mean())
    assert np.mean(drops) == pytest.approx(0.05, abs=0.006)
    paired = y.paired[20, 0]
    assert (abs(paired) < 4 * y.paired_se[20, 0]) == (cause == "traffic")  # of the same queries there is no drop


def test_an_incident_elsewhere_is_refused():
    with pytest.raises(InputError, match="language=xx"):
        year(Market(queries=50), incidents=[Incident(3, "search", "language=xx", 0.1)], days=5, seed=1)


@pytest.mark.parametrize("cause", ["search", "catalogue", "judge", "traffic"])
def test_shown_days_fall_by_the_drop(cause):
    market = Market(weekend=0.0)
    days = list(shown_days(market, Incident(10, cause, "all", 0.05), days=20, seed=2))
    weight = np.stack([d.requests for d in days])
    level = (weight * np.stack(metrics_of(days))).sum(1) / weight.sum(1)
    assert 1 - level[10:].mean() / level[:10].mean() == pytest.approx(0.05, abs=0.01)
    assert bool(days[-1].gone) == (cause == "catalogue")
    assert bool((days[-1].anchors != days[0].anchors).any()) == (cause == "judge")


def test_what_left_is_shown_no_more():
    days = list(shown_days(Market(queries=200), Incident(3, "catalogue", "all", 0.1), days=6, seed=1))
    assert not set(days[-1].docs.ravel().tolist()) & days[-1].gone
    assert days[-1].docs.shape == (200, SHOWN)


def test_a_store_hides_a_judge_that_changed_from_what_it_judged_before():
    struck = Incident(8, "judge", "all", 0.1)
    calm, stored, anew = (
        np.stack(metrics_of(list(shown_days(Market(queries=400), what, days=12, seed=1, store=kept))))[8:].mean()
        for what, kept in ((None, True), (struck, True), (struck, False))
    )
    assert anew < stored <= calm


def test_a_year_has_its_wave():
    [calm], [wavy] = (year(Market(queries=500, weekday=0, drift=0, wave=wave), metrics=1, seed=4) for wave in (0.0, 0.03))
    apart = (wavy.level - calm.level)[:, 0]
    assert apart.max() == pytest.approx(0.015, rel=0.1)
    assert apart.min() == pytest.approx(-0.015, rel=0.1)
    assert abs(apart.mean()) < 1e-3


def test_holidays_move_traffic_and_nothing_else():
    [calm], [other] = (year(Market(queries=500, holidays=amount), seed=4) for amount in (0.0, 0.5))
    assert np.array_equal(calm.sample, other.sample)
    differ = np.abs(other.level - calm.level).max(1) > 1e-12
    assert np.flatnonzero(differ).tolist() == list(range(*HOLIDAYS))


def test_documents_that_give_way_are_told_and_no_worse():
    market, struck = Market(queries=1000, quiet=1.0), Incident(3, "search", "all", 0.0)
    days = list(shown_days(market, struck, days=5, seed=1, trouble=Trouble(churn=0.2)))
    was, now = set(days[2].docs.ravel().tolist()), set(days[3].docs.ravel().tolist())
    assert was - now == was & days[3].gone
    assert now - was == now & days[3].arrived
    assert len(now & days[3].arrived) / days[3].docs.size == pytest.approx(0.2, abs=0.01)
    assert metrics_of([days[3]])[0].mean() == pytest.approx(metrics_of([days[2]])[0].mean(), abs=0.02)


def test_a_judge_that_changed_in_one_segment_may_move_few_anchors():
    struck = Incident(3, "judge", "interest=toys", 0.2)
    moved = {}
    for alike in (True, False):
        days = list(shown_days(Market(queries=400), struck, days=4, seed=1, trouble=Trouble(alike=alike, anchors=500)))
        moved[alike] = int((days[3].anchors != days[2].anchors).sum())
    assert 0 < moved[False] < moved[True] / 4
