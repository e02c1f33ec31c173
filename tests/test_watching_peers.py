"""benchmarks/watching_peers.py: where a tool is not to be had it says so, and alarms are counted against the truth."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("watching_peers")


def test_a_tool_that_is_not_there_is_left_out_with_the_reason(peers, tmp_path):
    python, why = peers.environment(str(tmp_path / "python"), "Evidently")
    assert python == ""
    assert "cannot be run" in why
    python, why = peers.environment(sys.executable, "NannyML")
    assert python == ""
    assert "No module named" in why


def test_alarms_are_counted_against_the_truth(peers):
    tenth, whole = peers.DROPS[0][0], peers.DROPS[1][0]
    given = [
        peers.Case([], 28, 118, ""),
        peers.Case([], 90, 93, tenth),
        peers.Case([], 90, 95, whole),
        peers.Case([], 91, 96, whole),
    ]
    here, there = frozenset({tenth}), frozenset({whole})
    alarms = [
        [(20, here, True), (30, here, True), (30, there, True), (40, there, False)],  # the first is before the quarter
        [(80, here, True), (92, here, True)],
        [(90, there, False)],  # a rise is no drop
        [(95, there, True)],
    ]
    found = peers.scored(alarms, given, 1.0)
    assert (found.false, found.days, found.hits, found.of) == (2, 90, [1, 1], [1, 2])
