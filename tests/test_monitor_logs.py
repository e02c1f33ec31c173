"""Real traffic with a metric that cannot change: what alarms is traffic, and is named so (benchmarks/watching_logs.py)."""

import importlib.util
from itertools import pairwise

import pytest
from conftest import ROOT

from germane.monitor.changes import MIX, PAIRED, changes
from germane.monitor.drift import moved, new_words, vocabulary


@pytest.fixture(scope="module")
def logs():
    spec = importlib.util.spec_from_file_location("watching_logs", ROOT / "benchmarks" / "watching_logs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def months(logs, data):
    return logs.berlin(data("berlin_search_terms").parent)


@pytest.fixture(scope="module")
def january(logs, data):
    data("berlin_search_terms")
    return logs.bing(data("bing_coronavirus_queries_2020_01").parent)


def test_the_same_queries_never_change_in_37_months(months):
    assert len(months) == 37
    for before, after in pairwise(months):
        assert {c.value for c in changes(before.day, after.day) if c.part == PAIRED} == {0.0}


def test_a_calm_log_s_mix_alarms_within_the_budget(logs, months):
    found = logs.alerts(months)
    assert all(a.part == MIX for a in found)
    assert len(found) <= 2  # 1 in 90 periods is allowed, here are 37


def test_new_words_grow_with_the_years(months):
    known = vocabulary(name for m in months[:12] for name in m.day.query.tolist())
    soon, late = (new_words(months[t].day, known) for t in (12, 24))
    assert 0.2 < soon.value < soon.high < late.high
    assert new_words(months[5].day, known).value == 0
    assert moved(months[12].day, months[13].day, "words").low == 0  # lengths of queries hardly move


def test_the_shock_of_january_2020_is_found_and_named_traffic(logs, january):
    """In the log 115 rows on 19 January, 296 on the 20th, 876 on the 21st."""
    found = logs.alerts(january)
    assert found
    assert "2020-01-19" <= found[0].date <= "2020-01-22"
    assert all(a.part == MIX and a.direction == "down" for a in found)
    for alert in found:
        parts = logs.explained(january, alert)
        assert parts.cause == "traffic"
        assert parts.search.value == pytest.approx(0, abs=1e-12)
    known = vocabulary(name for d in january[:10] for name in d.day.query.tolist())
    assert new_words(january[-1].day, known).value > new_words(january[10].day, known).value
