"""The benchmark of the screens, small: raters at once, a server that is killed; no vote is lost or one too many."""

import subprocess
import sys

from conftest import ROOT


def test_raters_at_once_and_a_killed_server_lose_no_vote_and_add_none():
    small = ("--raters", "6", "--seconds", "3", "--every", "1", "--kills", "2")
    command = [sys.executable, str(ROOT / "benchmarks" / "annotate.py"), *small]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "18 votes of 18; lost 0, extra 0" in done.stdout
    assert done.stdout.count("lost 0, extra 0") == 2
