"""What goes wrong while labelling: kills, full disks, damaged files, judges that break, clocks that jump; nothing is lost."""

import os
import resource
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import germane.cli.label
import germane.cli.measure  # noqa: F401  (their commands join the app)
from germane import cli, store
from germane.judges import Fake, ask
from germane.labelling import asking, work
from germane.labelling.blocks import Blocks
from germane.pipeline import label as stage
from germane.pipeline.label import label
from germane.scales import get
from germane.types import InputError

ESCI = get("esci")
IDS = ["query_id", "doc_id"]


class Real(Fake):
    """A judge whose labels are worth keeping, as far as anybody can tell; it breaks on texts with "bad"."""

    block, broken, asked = 64, False, 0

    def __init__(self):
        super().__init__(ESCI)
        self.name, self.fingerprint = "real", "real:1"

    def label(self, pairs):
        self.asked += pairs.num_rows
        if self.broken or any("bad" in text for text in pairs["text"].to_pylist()):
            raise RuntimeError("out of my depth")
        return super().label(pairs)


@pytest.fixture
def real(monkeypatch):
    judge = Real()
    monkeypatch.setattr(work, "SORTED", 256)
    monkeypatch.setattr(stage, "_load", lambda *_, **__: judge)
    known = {"kind": "cross-encoder", "name": judge.name, "random_weights": False, "blind": False}
    monkeypatch.setattr(stage, "_facts", lambda *_: known | {"fingerprint": judge.fingerprint})
    return judge


def table(rows=1000, *, texts=None, seed=0):
    rng = np.random.default_rng(seed)
    texts = texts or [f"product {i} {'in oak ' * (i % 5)}" for i in rng.integers(0, 400, rows)]
    columns = {"query_id": [f"q{i // 25}" for i in range(rows)], "query": [f"query {i // 50}" for i in range(rows)]}
    return pa.table(columns | {"doc_id": [f"d{i}" for i in range(rows)], "text": texts})


@pytest.fixture
def pairs(tmp_path):
    pq.write_table(table(), tmp_path / "pairs.parquet", row_group_size=300, write_page_checksum=True)
    return tmp_path / "pairs.parquet"


def run(pairs, out, **options):
    return label("fake", pairs, out, scale="esci", **options)


# --- kills ------------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
import pyarrow.parquet
import duckdb
from germane import store
from germane.judges import Fake
from germane.labelling import work
from germane.pipeline import label as stage
from germane.scales import get

class Slow(Fake):
    block = 64
    def label(self, pairs):
        time.sleep(0.004)
        return super().label(pairs)

def made(*_, **__):
    judge = Slow(get("esci"))
    judge.name, judge.fingerprint = "slow", "slow:1"
    return judge

known = {"kind": "cross-encoder", "name": "slow", "fingerprint": "slow:1", "random_weights": False, "blind": False}
work.SORTED, stage._load, stage._facts = 256, made, lambda *_: known
pairs, folder = map(Path, sys.argv[1:])
out, rng, kills = folder / "out.parquet", np.random.default_rng(11), 0

def begun(out, labels):
    if pid := os.fork():
        return pid
    try:
        stage.label("fake", pairs, out, scale="esci", labels=labels)
        os._exit(0)
    finally:
        os._exit(1)

since = time.monotonic()
os.waitpid(begun(folder / "whole.parquet", folder / "other"), 0)
whole, long = (folder / "whole.parquet").read_bytes(), time.monotonic() - since
while kills < 20:
    pid = begun(out, folder / "labels")
    time.sleep(long * rng.uniform(0.05, 0.7))
    os.kill(pid, signal.SIGKILL)
    _, how = os.waitpid(pid, 0)
    kills += os.WIFSIGNALED(how)
    if os.WIFEXITED(how):  # it was done before: from the beginning, with what the store holds now
        assert os.WEXITSTATUS(how) == 0 and out.read_bytes() == whole
        for path in (out, store.manifest_path(out)):
            path.unlink()
        for part in (folder / "labels").iterdir():
            part.unlink()
os.waitpid(begun(out, folder / "labels"), 0)
assert out.read_bytes() == whole, "another table than without a kill"
left = sorted(path.name for path in folder.iterdir() if path.name not in ("labels", "other", "pairs.parquet"))
print(kills, len(store.JudgmentStore(folder / "labels")), *left)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes as POSIX does")
def test_killed_at_twenty_random_moments_the_table_is_the_one_of_a_job_that_was_not_killed(pairs, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, pairs, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kills, stored, *left = done.stdout.split()
    words = {(row["query"], row["text"]) for row in table().to_pylist()}
    assert (int(kills), int(stored)) == (20, len(words))  # each label is in the store, and once
    assert left == ["out.parquet", "out.parquet.manifest.json", "whole.parquet", "whole.parquet.manifest.json"]


# --- full disks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [200, 3_000, 12_000])
def test_a_file_that_may_not_grow_is_one_line_and_the_job_goes_on_when_it_may(pairs, tmp_path, most, real):
    whole = run(pairs, tmp_path / "whole.parquet")
    before = sorted(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*larger than a file may be here"):
            run(pairs, tmp_path / "out.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    begun = [] if most == 200 else [tmp_path / ".out.parquet.parts"]  # where not even the plan fits, nothing is left
    assert sorted(tmp_path.iterdir()) == sorted([*before, *begun])
    assert not list(tmp_path.rglob("*.tmp"))
    assert run(pairs, tmp_path / "out.parquet").rows == whole.rows
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_full_disk_is_one_line_and_the_job_goes_on_when_there_is_room(pairs, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        (place / "ballast").write_bytes(b"x" * 30_000)
        with pytest.raises(InputError, match="the disk is full"):
            run(pairs, place / "out.parquet")
        assert not (place / "out.parquet").exists()
        subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
        assert run(pairs, place / "out.parquet").rows == 1000
    finally:
        subprocess.run(["umount", place], check=True)


# --- rows that cannot be labelled -------------------------------------------------------------------------------------


def test_a_damaged_row_group_is_set_aside_and_the_others_are_labelled(pairs, tmp_path):
    group = pq.read_metadata(pairs).row_group(1).column(3)
    content = bytearray(pairs.read_bytes())
    at = group.data_page_offset + 100
    content[at : at + 8] = b"\0" * 8
    pairs.write_bytes(content)
    found = run(pairs, tmp_path / "out.parquet")
    assert found.quarantine == f"300 rows in {tmp_path}/out.quarantine.parquet"
    assert (found.rows, found.coverage) == (1000, 0.7)  # its texts alone are damaged: the ids stand
    aside = pq.read_table(tmp_path / "out.quarantine.parquet").to_pylist()
    assert [row["row"] for row in aside] == list(range(301, 601))
    assert "row group 2 of the file is damaged" in aside[0]["reason"]
    rest = pa.concat_tables([table().slice(0, 300), table().slice(600)])
    said = store.read_table(tmp_path / "out.parquet", "judgments")
    assert said.slice(300, 300)["outcome"].to_pylist() == ["error"] * 300
    assert pa.concat_tables([said.slice(0, 300), said.slice(600)]).equals(
        store.conform(ask(Fake(ESCI), rest), "judgments", name="")
    )


def test_rows_without_ids_words_or_utf8_are_set_aside_with_the_reason(tmp_path):
    columns = {name: values.to_pylist() for name, values in zip(table().column_names, table(10).columns, strict=True)}
    columns["query_id"][1], columns["doc_id"][2], columns["query"][3], columns["text"][4] = None, "", "  ", None
    texts = pa.array([None if text is None else text.encode() for text in columns["text"]], pa.binary()).to_pylist()
    texts[5] = b"caf\xe9"
    whole = pa.table(columns | {"text": pa.Array.from_buffers(pa.string(), 10, pa.array(texts, pa.binary()).buffers())})
    pq.write_table(whole, tmp_path / "pairs.parquet")
    found = run(tmp_path / "pairs.parquet", tmp_path / "out.parquet")
    rows = store.read_table(tmp_path / "out.parquet", "judgments").to_pylist()
    # Two rows have no ids to be known by; three others are in the table, without a grade.
    assert found.outcomes == {"label": 5, "error": 3}
    assert [row["doc_id"] for row in rows] == ["d0", "d3", "d4", "d5", "d6", "d7", "d8", "d9"]
    assert [row["relevance"] is None for row in rows] == [False, True, True, True, False, False, False, False]
    aside = pq.read_table(tmp_path / "out.quarantine.parquet").to_pylist()
    assert [(row["row"], row["reason"]) for row in aside] == [
        (2, "its query_id is missing"),
        (3, "its doc_id is empty"),
        (4, "its query is empty"),
        (5, "its text is missing"),
        (6, "its text is not UTF-8"),
    ]
    assert found.coverage == 0.5


def test_a_pair_that_stands_twice_is_refused_even_if_one_of_them_has_no_text(tmp_path):
    whole = table(3, texts=["a", None, "c"]).set_column(2, "doc_id", pa.array(["x", "y", "y"]))
    pq.write_table(whole, tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match="row 3 names the same query_id and doc_id as row 2"):
        run(tmp_path / "pairs.parquet", tmp_path / "out.parquet")


def broken_on(tmp_path, *rows, many=1000):
    texts = [f"product {i}" for i in range(many)]
    for row in rows:
        texts[row] += " bad"
    pq.write_table(table(many, texts=texts), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def test_pairs_that_break_the_judge_fall_out_alone(tmp_path, real):
    found = run(broken_on(tmp_path, 7, 8, 500), tmp_path / "out.parquet")
    rows = store.read_table(tmp_path / "out.parquet", "judgments").to_pylist()
    assert found.outcomes == {"label": 997, "error": 3}
    assert [i for i, row in enumerate(rows) if row["relevance"] is None] == [7, 8, 500]
    assert rows[7]["note"] == "RuntimeError: out of my depth"
    assert {(row["judge"], row["scale"]) for row in rows} == {("real", "esci")}
    aside = pq.read_table(tmp_path / "out.quarantine.parquet").to_pylist()
    assert [(row["row"], row["doc_id"]) for row in aside] == [(8, "d7"), (9, "d8"), (501, "d500")]
    broken_on(tmp_path)
    assert run(tmp_path / "pairs.parquet", tmp_path / "out.parquet").quarantine == ""
    assert not (tmp_path / "out.quarantine.parquet").exists()


def test_a_judge_that_breaks_on_everything_is_one_line(tmp_path, real):
    real.broken = True
    with pytest.raises(InputError, match=r"judge 'real' broke on each of its first 64 pairs \(RuntimeError: out of my depth\)"):
        run(broken_on(tmp_path), tmp_path / "out.parquet")
    assert real.asked < 1000
    real.broken = False
    assert run(tmp_path / "pairs.parquet", tmp_path / "out.parquet").outcomes == {"label": 1000}


def test_a_judge_that_dies_half_way_is_not_taken_for_bad_pairs(tmp_path, real, monkeypatch):
    def dying(pairs):
        real.broken = real.broken or real.asked > 500
        return Real.label(real, pairs)

    monkeypatch.setattr(real, "label", dying, raising=False)
    with pytest.raises(InputError, match="no longer answers a pair that it answered before"):
        run(broken_on(tmp_path), tmp_path / "out.parquet")
    monkeypatch.undo()
    parts = tmp_path / ".out.parquet.parts"
    assert all(pq.read_table(part)["relevance"].null_count == 0 for part in parts.glob("part-*.parquet"))


def test_more_failures_than_may_be_stop_the_job_which_goes_on_when_more_may(tmp_path, real):
    path = broken_on(tmp_path, 1, 2, 3)
    with pytest.raises(InputError, match=r"3 rows cannot be labelled, and at most 2 may fail.*--failures 3"):
        run(path, tmp_path / "out.parquet", failures=2)
    assert not (tmp_path / "out.parquet").exists()
    assert run(path, tmp_path / "out.parquet", failures=3).quarantine.startswith("3 rows in ")


def test_what_a_judge_says_of_input_or_of_the_line_is_no_fault_of_a_pair(tmp_path, real, monkeypatch):
    def unreachable(pairs):
        raise ConnectionError("nobody answers at host:1")

    monkeypatch.setattr(real, "label", unreachable, raising=False)
    with pytest.raises(ConnectionError):
        run(broken_on(tmp_path), tmp_path / "out.parquet")


# --- two jobs, and clocks ---------------------------------------------------------------------------------------------


def test_a_second_job_on_one_output_is_one_line(pairs, tmp_path):
    with Blocks(tmp_path / ".out.parquet.parts", {}):
        done = CliRunner().invoke(
            cli.app,
            ["label", "--judge", "fake", "--scale", "esci", "--pairs", str(pairs), "--out", str(tmp_path / "out.parquet")],
        )
    assert isinstance(done.exception, InputError)
    assert "another germane label is at work on" in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_clock_that_jumps_changes_nothing(pairs, tmp_path, monkeypatch, real):
    run(pairs, tmp_path / "whole.parquet")
    jumps = np.random.default_rng(5)
    monkeypatch.setattr(time, "time", lambda: float(jumps.uniform(0, 4e9)))
    monkeypatch.setattr(time, "time_ns", lambda: int(jumps.uniform(0, 4e18)))
    real.broken = False
    found = run(pairs, tmp_path / "out.parquet")
    assert found.rows_per_s > 0
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    with Blocks(tmp_path / "parts", {}) as blocks:
        blocks.commit(0, pa.table({"number": [0]}), seconds=-3.0)
        assert blocks.read(1)[1] == [0.0]


def test_progress_counts_pairs_once_and_needs_no_time_of_day(caplog, monkeypatch):
    moments = iter([0.0, 0.0, 1.0])
    monkeypatch.setattr(asking, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    caplog.set_level("INFO", "germane")
    told = asking.Telling(20, None)
    told.finished(10, before=True)
    told.finished(5, 1)
    told.finished(5)
    assert [record.message for record in caplog.records] == ["20 of 20 pairs, 10 a second, 1 without a grade"]


# --- labels from before -----------------------------------------------------------------------------------------------


def test_known_labels_are_not_asked_again_and_new_ones_are_kept_once(pairs, tmp_path, real, monkeypatch):
    labels = tmp_path / "labels"
    first = run(pairs, tmp_path / "some.parquet", limit=400, labels=labels)
    asked, kept = real.asked, len(store.JudgmentStore(labels))
    assert (first.known, kept) == (0, 400 - first.deduplicated)
    real.asked = 0
    found = run(pairs, tmp_path / "out.parquet", labels=labels)
    assert found.known == kept
    assert real.asked < 1000 - found.deduplicated - kept + asked
    assert len(store.JudgmentStore(labels)) == 1000 - found.deduplicated
    run(pairs, tmp_path / "plain.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    again = run(pairs, tmp_path / "again.parquet", labels=labels)
    assert (again.known, again.rows_per_s, again.latency_ms) == (1000 - found.deduplicated, None, None)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()
    assert len(store.JudgmentStore(labels)) == 1000 - found.deduplicated


def test_a_job_that_ends_between_the_table_and_its_manifest_keeps_no_label_twice(pairs, tmp_path, real, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage.store, "write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            run(pairs, tmp_path / "out.parquet", labels=tmp_path / "labels")
    kept = len(store.JudgmentStore(tmp_path / "labels"))
    assert run(pairs, tmp_path / "out.parquet", labels=tmp_path / "labels").made
    assert len(store.JudgmentStore(tmp_path / "labels")) == kept


def test_labels_that_come_in_while_a_job_stands_still_do_not_change_it(pairs, tmp_path, real, monkeypatch):
    labels = tmp_path / "labels"
    real.broken = True
    with pytest.raises(InputError):
        run(pairs, tmp_path / "out.parquet", labels=labels)
    real.broken = False
    run(pairs, tmp_path / "other.parquet", labels=labels)
    found = run(pairs, tmp_path / "out.parquet", labels=labels)
    assert found.known == 0  # as it was when the job began
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_labels_of_a_fake_and_of_random_weights_are_never_kept(pairs, tmp_path, real):
    for fingerprint in ("fake:0", "random:1"):
        real.fingerprint = fingerprint
        run(pairs, tmp_path / f"{fingerprint[:4]}.parquet", labels=tmp_path / "labels")
    assert not (tmp_path / "labels").exists()


def test_compare_refuses_the_labels_of_a_fake(pairs, tmp_path):
    run(pairs, tmp_path / "out.parquet")
    columns = {name: table()[name] for name in IDS} | {"score": np.linspace(1, 0, 1000)}
    for arm in ("control", "treatment"):
        pq.write_table(pa.table(columns), tmp_path / f"{arm}.parquet")
    options = {name: tmp_path / f"{name}.parquet" for name in ("control", "treatment")} | {
        "judgments": tmp_path / "out.parquet"
    }
    given = [part for name, path in options.items() for part in (f"--{name}", str(path))]
    done = CliRunner().invoke(cli.app, ["compare", *given, "--scale", "esci", "--out", str(tmp_path / "report")])
    assert "is a fake: its judgments say nothing about relevance" in str(done.exception)
    assert "--allow fake" in str(done.exception)


def test_a_finished_block_that_was_damaged_is_asked_again(tmp_path, monkeypatch):
    """Its footer can be read, and its pages cannot."""
    pairs = tmp_path / "many.parquet"
    pq.write_table(table(3 * 16_384), pairs)
    whole = label("fake", pairs, tmp_path / "whole.parquet", scale="esci")
    commit, done = Blocks.commit, []

    def stopping(self, number, table, **more):
        commit(self, number, table, **more)
        done.append(number)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Blocks, "commit", stopping)
    with pytest.raises(KeyboardInterrupt):
        label("fake", pairs, tmp_path / "out.parquet", scale="esci")
    monkeypatch.setattr(Blocks, "commit", commit)
    part = tmp_path / ".out.parquet.parts" / "part-00000000.parquet"
    content = bytearray(part.read_bytes())
    content[1000:1050] = bytes(255 - byte for byte in content[1000:1050])
    part.write_bytes(content)
    again = label("fake", pairs, tmp_path / "out.parquet", scale="esci")
    assert (again.rows, again.outcomes) == (whole.rows, whole.outcomes)
    assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))


def test_a_finished_table_is_held_to_what_may_fail_and_needs_its_quarantine(tmp_path):
    rows = {"query_id": ["q", None, "q"], "query": ["chair"] * 3, "doc_id": ["a", "b", "c"], "text": ["oak", "ash", "elm"]}
    pq.write_table(pa.table(rows), tmp_path / "pairs.parquet")
    asked = ("fake", tmp_path / "pairs.parquet", tmp_path / "out.parquet")
    label(*asked, scale="esci")
    with pytest.raises(InputError, match="1 rows cannot be labelled, and at most 0 may fail"):
        label(*asked, scale="esci", failures=0)
    assert not label(*asked, scale="esci", failures=1).made
    (tmp_path / "out.quarantine.parquet").unlink()
    assert label(*asked, scale="esci").made
    assert pq.read_table(tmp_path / "out.quarantine.parquet")["doc_id"].to_pylist() == ["b"]


def test_where_only_the_texts_of_a_row_group_are_damaged_its_ids_stand(tmp_path):
    path = tmp_path / "pairs.parquet"
    rows = {name: [f"{name} {i} in oak and elm" for i in range(3_000)] for name in ("query_id", "query", "doc_id", "text")}
    pq.write_table(
        pa.table(rows), path, row_group_size=1_000, write_page_checksum=True, compression="none", use_dictionary=False
    )
    at = pq.ParquetFile(path).metadata.row_group(1).column(3).data_page_offset
    content = bytearray(path.read_bytes())
    content[at + 400 : at + 440] = bytes(40)
    path.write_bytes(content)
    did = label("fake", path, tmp_path / "out.parquet", scale="esci", failures=1_000)
    assert (did.rows, did.outcomes) == (3_000, {"label": 2_000, "error": 1_000})
    aside = pq.read_table(tmp_path / "out.quarantine.parquet")
    assert aside["doc_id"].to_pylist() == rows["doc_id"][1_000:2_000]
    assert pq.read_table(tmp_path / "out.parquet")["doc_id"].to_pylist() == rows["doc_id"]
