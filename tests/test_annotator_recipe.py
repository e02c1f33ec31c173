"""recipes/annotator.py from end to end, with the tests' own server in the place of a real one."""

import importlib.util
import os
import sys

import pytest
from conftest import ROOT

pytest.importorskip("langgraph")


@pytest.fixture
def recipe(tmp_path, monkeypatch, data):
    """The recipe as a module, run in a folder of its own: what it gives, called with more arguments."""
    monkeypatch.setenv("GERMANE_DATA", str(data("esci_us_120").parent))
    monkeypatch.setenv("GERMANE_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "recipes")  # as when it runs as a script
    spec = importlib.util.spec_from_file_location("annotator_recipe", ROOT / "recipes" / "annotator.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "models" / module.MODEL).mkdir(parents=True)
    (tmp_path / "models" / module.MODEL / "config.json").write_text("{}")
    monkeypatch.setattr(module, "environment", lambda *_: sys.executable)

    def run(*server, pairs=40):
        kind = sys.modules["servers"].Kind((), (), server, "compatible", {})
        monkeypatch.setitem(module.KINDS, "vllm", kind)
        monkeypatch.setattr(sys, "argv", ["annotator.py", "--server", "vllm", "--out", "out", "--pairs", str(pairs)])
        return module.main()

    return run


def test_a_judge_of_one_grade_fails_and_is_refused_and_the_server_is_gone(recipe, tmp_path, capsys):
    code = recipe(str(ROOT / "tests" / "nasty_server.py"), "--port", "{port}", "--delay", "0", "--grade", "E")
    said = capsys.readouterr().out
    assert code == 0, said
    (row,) = [line for line in said.splitlines() if line.startswith("| vllm | reasons (schema) |")]
    assert "| label 100% |" in row
    assert row.endswith("| fails | refused |")
    (row,) = [line for line in said.splitlines() if line.startswith("| vllm | symbol |")]
    assert "| unparseable 100% | - | - |" in row, "this server's first token is a brace: no grade, and so no card"
    assert row.endswith("| fails | refused |")
    refused = (tmp_path / "out" / "refused-reasons.txt").read_text()
    assert "does not meet its bars" in refused
    assert refused.endswith("exit code 2\n")
    assert not any(b"nasty_server.py" in line and os.fsencode(tmp_path) in line for line in commands())


def test_a_server_that_does_not_start_is_told_with_its_last_words(recipe):
    with pytest.raises(SystemExit, match=r"(?s)the server ended with 3:.*no such model"):
        recipe("-c", "import sys; print('no such model', flush=True); sys.exit(3)")


def commands():
    """The command lines of what runs."""
    from pathlib import Path

    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found
