"""What people and programs see of a result."""

import io
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sample_report import full

from germane import show
from germane.types import Estimate


class Made(NamedTuple):
    out: str
    made: bool
    rows: int
    sizes: dict[str, int]
    empty: str
    notes: tuple[str, ...]


REPORT = full()
MADE = Made("x.parquet", True, 12345, {"head": 3, "tail": 4}, "", ("two were left out", "so were three"))


def test_what_a_verb_made_is_one_line_a_fact_and_one_a_note(capsys):
    show.show(MADE)
    assert capsys.readouterr().out.splitlines() == [
        "out: x.parquet",
        "rows: 12,345",
        "sizes: head 3, tail 4",
        "note: two were left out",
        "note: so were three",
    ]


def test_a_verb_that_had_nothing_to_do_says_so(capsys):
    show.show(MADE._replace(made=False))
    assert capsys.readouterr().out.startswith("out: x.parquet (as it was: nothing had changed)\n")


def test_json_holds_every_field_as_it_is(capsys):
    show.show(MADE, as_json=True)
    assert json.loads(capsys.readouterr().out) == MADE._asdict() | {"notes": list(MADE.notes)}


def test_rows_are_aligned_columns_that_no_width_breaks(capsys):
    show.show([MADE, MADE._replace(out="y" * 300)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["out", "made", "rows", "sizes", "empty", "notes"]
    assert lines[0].index("made") == lines[1].index("True") == lines[2].index("True")


def test_values_of_other_packages_become_plain():
    found = show.plain({"a": np.float64(0.5), "b": np.arange(2), "c": Path("d"), "e": (Estimate(1, 1, 1, 1, 1, "m"),)})
    assert json.loads(json.dumps(found))["e"][0]["method"] == "m"
    assert (found["a"], found["b"], found["c"]) == (0.5, [0, 1], "d")


def test_a_report_on_a_console_is_question_answer_numbers_and_doubts(capsys):
    show.show(REPORT)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[:2] == [REPORT.question, REPORT.answer]
    assert "The known truth of this simulation is +0.0142: inside the interval." in lines
    assert f"{REPORT.delta.value:+.4f}" in lines[3]
    assert f"{REPORT.delta.n:,}" in lines[3]
    for effect in REPORT.by_segment:
        assert effect.delta is None or f"{effect.dimension}: {effect.name}" in out
    for doubt in (*REPORT.warnings, *REPORT.overrides):
        assert doubt in out
    assert "interest: home, as one picked among many: +0.0035 to +0.0393" in lines
    assert "By interest: Do the groups differ at all? Yes" in out


def test_a_report_as_json_is_the_report(capsys, tmp_path):
    show.show(REPORT, as_json=True, folder=tmp_path)
    assert type(REPORT).from_json(capsys.readouterr().out) == REPORT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.md"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sign_of_life_goes_to_a_terminal_only(terminal, monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return terminal

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with show.busy("germane compare"):
        logging.getLogger("germane").info("reading %d runs", 2, extra={"done": 1, "total": 4})
    assert ("germane compare: reading 2 runs" in screen.getvalue()) == terminal
    assert logging.getLogger("germane").handlers == []


def test_text_from_outside_commands_no_terminal(capsys):
    nasty = "\x1b[2J[red]\u202efdp.exe"
    show.show([MADE._replace(out=nasty)])
    effect = replace(REPORT.by_segment[0], name=nasty)
    show.show(replace(REPORT, question=nasty, warnings=(nasty,), by_segment=(effect,)))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert out.count("[U+001B][2J[red][U+202E]fdp.exe") == 4
