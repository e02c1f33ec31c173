"""The service as a process: reloads, growth, overload, slow and broken clients, and its end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from served_students import IDS, TEXTS, more, numbers, stocked, student

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from germane.serve.generations import Generations

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return student(tmp_path_factory.mktemp("students"))


@pytest.fixture
def docs(judge, tmp_path):
    return stocked(judge, tmp_path / "v")


class Served:
    """A `germane serve` of its own."""

    def __init__(self, judge, docs, *options):
        code = "from germane.cli import main; import sys; sys.argv[0] = 'germane'; main()"
        said = ["serve", "--student", judge, "--docs", docs, "--engine", "onnx", "--port", 0, "--watch", 0.1, *options]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, said)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines, self.errors = [], []
        self._ears = [threading.Thread(target=self._hear, args=of, daemon=True) for of in
                      ((self.process.stdout, self.lines), (self.process.stderr, self.errors))]  # fmt: skip
        for ear in self._ears:
            ear.start()
        self.wait(lambda: any("open http" in line for line in self.lines) or self.process.poll() is not None)
        assert self.process.poll() is None, self.errors
        self.port = int(re.search(r":(\d+)/docs", "".join(self.lines))[1])
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def _hear(self, stream, lines):
        lines.extend(stream)

    def wait(self, until, seconds=60):
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, (self.lines, self.errors)
            time.sleep(0.02)

    def ask(self, doc_ids=IDS, query="red chair"):
        return self.client.post("/v1/score", json={"query": query, "doc_ids": doc_ids})

    def ready(self):
        return self.client.get("/readyz").json()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        for ear in self._ears:
            ear.join(5)
        self.client.close()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


@pytest.fixture
def serve(judge, docs):
    begun = []

    def start(*options):
        begun.append(Served(judge, docs, *options))
        return begun[-1]

    yield start
    for served in begun:
        served.stop()


def asking(served, stop, found):
    """Asks on and on until told to stop."""
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=30) as client:
        while not stop.is_set():
            answer = client.post("/v1/score", json={"query": "red chair", "doc_ids": IDS})
            found.append((answer.status_code, answer.json()["model"]["generation"], numbers(answer.json()).tolist()))


def test_documents_that_are_added_and_a_reload_lose_no_request(judge, docs, serve):
    served = serve("--deadline-ms", "60000")
    stop, found = threading.Event(), []
    asker = threading.Thread(target=asking, args=(served, stop, found))
    asker.start()
    for n in range(3):
        more(judge, docs, [f"title: black lamp {n}", f"{n} shelf"], first=1000 + 2 * n)
        served.wait(lambda n=n: served.ask([f"d{1001 + 2 * n}"]).json()["documents"][0]["known"])
    reached = served.ready()["generation"]
    served.process.send_signal(signal.SIGHUP)
    served.wait(lambda: served.ready()["generation"] > reached)
    stop.set()
    asker.join()
    assert {status for status, _, _ in found} == {200}
    assert len({generation for _, generation, _ in found}) > 1
    assert all(gains == found[0][2] for _, _, gains in found)
    assert served.ready()["documents"] == len(TEXTS) + 6


def test_a_broken_folder_is_refused_and_the_old_generation_answers_until_it_is_mended(judge, docs, serve):
    served = serve("--deadline-ms", "60000")
    before = numbers(served.ask().json())
    number = served.ready()["generation"]
    log = docs / "log-1.jsonl"
    sound = log.read_bytes()
    log.write_bytes(sound + json.dumps({"sizes": [1] * 6, "digest": "0" * 64}).encode() + b"\n")
    served.wait(lambda: served.ready()["problem"])
    ready = served.ready()
    assert (ready["ready"], ready["generation"]) == (True, number)
    assert "is not what was written there" in ready["problem"]
    np.testing.assert_array_equal(numbers(served.ask().json()), before)
    assert "germane_reload_ok 0.0" in served.client.get("/metrics").text
    assert any("goes on answering" in line for line in served.errors)
    log.write_bytes(sound)
    served.wait(lambda: served.ready()["problem"] is None)
    np.testing.assert_array_equal(numbers(served.ask().json()), before)


def test_another_student_s_folder_is_refused_and_a_pair_that_fits_takes_over(judge, tmp_path):
    mine, docs = tmp_path / "student", tmp_path / "v"
    shutil.copytree(judge, mine)
    stocked(mine, docs)
    made = Generations(mine, docs, engine="onnx")
    other = student(tmp_path / "other", seed=5)
    stocked(other, tmp_path / "w")
    os.replace(docs, tmp_path / "old")
    os.replace(tmp_path / "w", docs)
    assert not made.look()
    assert "holds vectors of another student" in made.problem
    assert made.now.number == 1
    assert not made.look()  # nothing changed since
    os.replace(mine, tmp_path / "gone")
    os.replace(other, mine)
    assert made.look()
    assert (made.now.number, made.problem) == (2, None)
    assert made.now.documents.vectors.rows(IDS).min() >= 0
    made.close()


def test_a_compacted_and_a_replaced_folder_take_over(judge, docs, tmp_path):
    from germane.inference.vector_store import VectorStore

    made = Generations(judge, docs, engine="onnx")
    old = made.now
    VectorStore(docs).compact(IDS[3:])
    assert made.look()
    assert made.now.documents.vectors.rows(IDS[:4]).tolist() == [-1, -1, -1, 0]
    assert old.documents.vectors.rows(IDS[:2]).tolist() == [0, 1]  # whoever reads it still can
    said = made.now.student.score_docs("red chair", IDS, made.now.documents)
    assert said.known.sum() == len(IDS) - 3  # of texts: the arrays are of the generation before
    made.now.student.read(VectorStore(docs))
    assert made.look()
    again = made.now.student.score_docs("red chair", IDS, made.now.documents)
    assert made.now.documents.words is not None
    np.testing.assert_allclose(again.gains, said.gains, atol=1e-6)
    shutil.rmtree(docs)
    assert not made.look()
    assert "is no folder of vectors" in made.problem
    np.testing.assert_allclose(made.now.student.score_docs("red chair", IDS, made.now.documents).gains, said.gains, atol=1e-6)
    stocked(judge, docs)
    assert made.look()
    assert made.now.documents.vectors.rows(IDS).min() == 0
    made.close()


@pytest.mark.parametrize("name", ["vectors-1.bin", "read/words-1.bin", "read/bits-1.bin"])
def test_a_corrupt_file_is_refused_at_the_start(judge, docs, name):
    path = docs / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = run("serve", "--student", judge, "--docs", docs, "--engine", "onnx", "--port", 0)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is not what was written there" in done.stderr


def run(*words):
    code = "from germane.cli import main; import sys; sys.argv[0] = 'germane'; main()"
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)


def test_a_port_in_use_is_said_in_one_line(judge, docs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--student", judge, "--docs", docs, "--port", taken.getsockname()[1])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot serve on 127.0.0.1" in done.stderr


def test_overload_is_shed_with_429_and_the_next_request_is_answered(serve):
    served = serve("--deadline-ms", "60000", "--threads", "1", "--queue", "2", "--no-access-log")
    codes, lock = [], threading.Lock()
    served.ask()

    def flood():
        with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", timeout=30) as client:
            for n in range(15):
                found = client.post("/v1/score", json={"query": f"q {n} {threading.get_ident()}", "doc_ids": IDS * 25})
                with lock:
                    codes.append((found.status_code, found.headers.get("retry-after")))

    floods = [threading.Thread(target=flood) for _ in range(12)]
    for one in floods:
        one.start()
    for one in floods:
        one.join()
    assert set(codes) == {(200, None), (429, "1")}
    assert served.ask().status_code == 200
    assert "germane_requests_inside 0.0" in served.client.get("/metrics").text


def test_slow_clients_are_let_go_and_hold_nobody_up(judge, docs, tmp_path):
    code = SLOW.format(student=str(judge), docs=str(docs))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        head = b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        slow[0].sendall(head[:20])  # half a head
        slow[1].sendall(head + b'{"query')  # half a body
        body = json.dumps({"query": "red", "doc_ids": IDS}).encode()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(5):
                assert client.post("/v1/score", content=body).status_code == 200
        for one in slow:
            one.settimeout(20)
        assert slow[0].recv(100) == b""
        assert b"408" in slow[1].recv(1000)
        assert slow[2].recv(100) == b""  # nothing at all
        for one in slow:
            one.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


SLOW = """
from pathlib import Path
from germane.serve.app import create_app
from germane.serve.generations import Generations
from germane.serve.limits import Limits
from germane.serve.running import listening, serve
made = Generations(Path({student!r}), Path({docs!r}), engine="onnx", limits=Limits(deadline_ms=60000, body_s=1.0, send_s=1.0))
sock = listening("127.0.0.1", 0)
serve(create_app(made), sock, head_s=0.7, tell=lambda address: print(sock.getsockname()[1], flush=True), access=False)
"""


def test_what_is_in_flight_is_answered_before_the_end(judge, docs, serve):
    served = serve("--deadline-ms", "60000")
    texts = [{"text": f"title: red chair number {n} " + "with many words " * 20} for n in range(1500)]
    found = []
    asker = threading.Thread(
        target=lambda: found.append(served.client.post("/v1/score", json={"query": "red", "texts": texts}))
    )
    asker.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}") as client:
        served.wait(lambda: "germane_requests_inside 1.0" in client.get("/metrics").text)
    served.process.send_signal(signal.SIGTERM)
    asker.join()
    assert found[0].status_code == 200
    assert len(found[0].json()["documents"]) == 1500
    assert served.process.wait(20) == 0
