"""Labelling on Ray: the same blocks, the same table, and an actor that dies costs the block that it had."""

import os
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fragile_judges import fragile, nothing

from germane.judges import Fake
from germane.labelling import work
from germane.labelling.blocks import Blocks
from germane.labelling.local import label
from germane.labelling.ray import Cluster, Pool
from germane.labelling.reading import PairsFile
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
