"""Labelling on Ray: the same blocks, the same table, and an actor that dies costs the block that it had."""

import os
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fragile_judges import fragile, nothing

from germane import store
from germane.judges import Fake
from germane.labelling import work
from germane.labelling.blocks import Blocks
from germane.labelling.local import label
from germane.labelling.ray import Cluster, Pool
from germane.labelling.reading import PairsFile
from germane.pipeline.label import Server
from germane.pipeline.label import label as stage
from germane.scales import get
from germane.types import InputError

ray = pytest.importorskip("ray")
TWO = Cluster(actors=2, cpus=0.5)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:  # the actors' processes import this folder's judges
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "SORTED", 256)
    columns = {"query_id": [f"q{i // 25}" for i in range(2000)], "query": [f"query {i // 50}" for i in range(2000)]}
    columns |= {"doc_id": [f"d{i}" for i in range(2000)], "text": [f"product {i % 1500}" for i in range(2000)]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def labelled(pairs, out, judge):
    with Blocks(out.with_name(f".{out.name}.parts"), {"judge": judge.fingerprint}) as blocks:
        return label(judge, PairsFile(pairs), out, blocks, timed=False)


def test_the_table_is_that_of_one_process_though_an_actor_was_killed(pairs, tmp_path):
    (tmp_path / "marker").touch()
    labelled(pairs, tmp_path / "here.parquet", fragile(str(tmp_path / "marker")))
    (tmp_path / "marker").unlink()
    with Pool(partial(fragile, str(tmp_path / "marker")), TWO) as pool:
        found = labelled(pairs, tmp_path / "there.parquet", pool)
    assert (tmp_path / "marker").exists()  # somebody died
    assert (found.rows, found.computed, found.outcomes) == (2000, found.computed, {"label": 2000})
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()


def test_a_block_over_which_actor_after_actor_dies_stops_the_job_and_the_rest_is_kept(pairs, tmp_path):
    with Pool(partial(fragile, deadly=True), TWO) as pool, pytest.raises(InputError, match=r"3 actors died over block \d+"):
        labelled(pairs, tmp_path / "out.parquet", pool)
    assert list(tmp_path.glob(".out.parquet.parts/part-*.parquet"))


def test_what_a_judge_says_of_input_is_said_and_a_judge_that_cannot_be_made(tmp_path):
    with pytest.raises(InputError, match="there is no judge here"), Pool(nothing, TWO):
        pass


def test_a_cluster_without_room_is_one_line():
    with (
        pytest.raises(InputError, match=r"has 4 CPUs and .* 9 actors of 1 CPUs .*ask for less in \[ray\]"),
        Pool(fragile, Cluster(actors=9)),
    ):
        pass


def test_the_stage_asks_on_ray_with_the_same_bytes(pairs, tmp_path):
    stage("fake", pairs, tmp_path / "here.parquet", scale="esci")
    found = stage("fake", pairs, tmp_path / "there.parquet", scale="esci", ray=TWO)
    assert found.machine.startswith("2 actors, each on ")
    assert found.latency_ms > 0
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    pytest.importorskip("transformers")
    import language_models

    return language_models.teacher(tmp_path_factory.mktemp("teacher"))


def test_a_teacher_is_asked_on_ray_with_the_same_bytes(teacher, pairs, tmp_path):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as an actor of half a CPU has
    try:
        here = stage(teacher, pairs, tmp_path / "here.parquet", limit=60, device="cpu")
    finally:
        torch.set_num_threads(threads)
    there = stage(teacher, pairs, tmp_path / "there.parquet", limit=60, device="cpu", ray=TWO)
    assert here.outcomes == there.outcomes == {"label": 60}
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()


def test_actors_ask_the_server_of_a_teacher_with_the_same_bytes(teacher, pairs, tmp_path):
    pytest.importorskip("httpx")
    from test_served import server

    from germane.judges import folder

    symbols = folder.read(teacher).settings["frame"]["symbols"]

    def answer(path, request, number):
        top = {symbol: -1.5 - 0.1 * ((sum(request["prompt"]) + i) % 4) for i, symbol in enumerate(symbols)}
        return 200, {}, {"choices": [{"text": "?", "logprobs": {"tokens": ["?"], "top_logprobs": [top]}}]}

    with server(answer) as (url, asked):
        stage(teacher, pairs, tmp_path / "here.parquet", limit=200, server=Server(url, "m"))
        before = len(asked)
        found = stage(teacher, pairs, tmp_path / "there.parquet", limit=200, server=Server(url, "m"), ray=TWO)
    assert len(asked) >= 2 * before - 20  # each pair once, and a few again for the latency
    assert found.machine.startswith("2 actors, each on ")
    assert found.machine.endswith(f", asking {url.removesuffix('/v1')}")
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()
    manifest = store.read_manifest(tmp_path / "there.parquet").extra["judge"]
    assert (manifest["engine"], manifest["model"]) == ("served", "m")


def test_a_job_begun_here_goes_on_there(pairs, tmp_path):
    class Dying(Fake):
        block = 64

        def label(self, pairs):
            if "product 700" in pairs["text"].to_pylist():
                raise KeyboardInterrupt
            return super().label(pairs)

    with pytest.raises(KeyboardInterrupt):
        labelled(pairs, tmp_path / "out.parquet", Dying(get("esci")))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".out.parquet.parts/part-*")}
    (tmp_path / "marker").touch()
    with Pool(partial(fragile, str(tmp_path / "marker")), TWO) as pool:
        labelled(pairs, tmp_path / "out.parquet", pool)
    assert before
    labelled(pairs, tmp_path / "whole.parquet", fragile(str(tmp_path / "marker")))
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_an_actor_that_died_with_nothing_to_do_is_replaced(pairs):
    with Pool(fragile, TWO) as pool:
        ray.kill(pool._actors[0])
        assert pool.latency_ms(pq.read_table(pairs).slice(0, 2)) > 0
