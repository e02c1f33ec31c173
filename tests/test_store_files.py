"""Files that are whole or absent whatever happens, and the manifests beside them."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from sample_tables import EXAMPLES, MADE

from germane import store
from germane.store import files
from germane.types import InputError

# --- writing --------------------------------------------------------------------------------------------------------


def test_writing_the_same_table_twice_gives_the_same_bytes(tmp_path):
    one = store.write_table(EXAMPLES["docs"], tmp_path / "a" / "t.parquet", "docs", **MADE)
    two = store.write_table(EXAMPLES["docs"], tmp_path / "b" / "t.parquet", "docs", **MADE)
    assert one.read_bytes() == two.read_bytes()
    assert store.manifest_path(one).read_bytes() == store.manifest_path(two).read_bytes()


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = store.write_text(tmp_path / "report.md", "old")
    with suppress(RuntimeError), files.replacing(path) as file:
        file.write(b"half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.md"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full: free some space or choose another folder"),
        (errno.EACCES, "permission denied: choose a folder that you may write to"),
        (errno.EROFS, "the file system is read-only: choose another folder"),
        (errno.EDQUOT, "the disk quota is used up"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_is_one_clear_error_and_leaves_the_old_file(tmp_path, monkeypatch, number, message, call):
    path = store.write_text(tmp_path / "report.md", "old")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, refuse)
        with pytest.raises(InputError, match=f"cannot write .*report.md: {message}"):
            store.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.md"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_is_one_clear_error():
    with pytest.raises(InputError, match="cannot write /dev/full: the disk is full"):
        store.write_bytes("/dev/full", b"x" * 100_000)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc, where nobody may make a file")
def test_a_folder_that_takes_no_files_is_one_clear_error():
    with pytest.raises(
        InputError, match=r"cannot write /proc/germane/a\.md: the folder does not exist and cannot be made here"
    ):
        store.write_text("/proc/germane/a.md", "x")


def test_a_file_in_the_place_of_a_folder_and_a_folder_in_the_place_of_a_file_are_named(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="a part of the path is a file, not a folder"):
        store.write_text(tmp_path / "file" / "report.md", "x")
    with pytest.raises(InputError, match="it is a folder: give the name of a file"):
        store.write_text(tmp_path / "folder", "x")


def test_devices_and_links_stay_what_they_are(tmp_path):
    store.write_bytes(os.devnull, b"x")
    assert not stat.S_ISREG(os.stat(os.devnull).st_mode)
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "link.md").symlink_to("real.md")
    store.write_text(tmp_path / "link.md", "new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "new"


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    prefix = files._draft_prefix(tmp_path / "a.md")
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f"{prefix}{pid}-00.tmp").write_text("half")
    store.write_text(tmp_path / "a.md", "x")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.md", f"{prefix}{os.getpid()}-00.tmp"])


# A process that has loaded everything and forks: each child writes in its own way and is killed; cheaper than 20 starts.
FORKED = """
import itertools, os, signal, sys, time
from pathlib import Path
import pyarrow as pa, pyarrow.parquet
from germane import store
from germane.store import files

def tables(n):
    return pa.table({"query_id": ["q"] * n, "doc_id": [str(i) for i in range(n)], "score": [1.0] * n})

def write(out, rows):
    store.write_table(tables(rows), out, "runs", verb="collect", inputs=[], parameters={"rows": rows}, seed=None)

def killed(work, seconds=None):
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]

folder = Path(sys.argv[1])
"""
AT_RANDOM = """
out = folder / "run.parquet"
def for_ever():
    for rows in itertools.cycle([1, 20_000]):
        write(out, rows)
for i in range(12):
    killed(for_ever, 0.01 + 0.037 * i)
    rows = store.read_table(out, "runs").num_rows if out.exists() else 1
    manifest = store.read_manifest(out)
    assert rows in (1, 20_000)
    assert manifest is None or manifest.parameters == {"rows": rows}
write(out, 1)
print(sorted(os.listdir(folder)))
"""
AT_EACH_STEP = """
def dying(real, deaths):
    def call(*args, **kwargs):
        if next(deaths):
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if next(deaths):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

def work():
    deaths = iter(i == step for i in range(100))
    for name in ("fsync", "replace"):
        setattr(files.os, name, dying(getattr(os, name), deaths))
    write(out, 2)

for step in range(13):
    out = folder / str(step) / "run.parquet"
    write(out, 1)
    status = killed(work)
    assert os.WIFSIGNALED(status) == (step < 12), status
    manifest = store.read_manifest(out)
    print(store.read_table(out, "runs").num_rows, manifest and manifest.parameters["rows"], end="; ")
"""
APPENDS = """
judgments = store.JudgmentStore(folder / "store")
said = pa.Table.from_pylist(
    [{"query_id": "1", "doc_id": d, "relevance": r, "judge": "llm", "fingerprint": "f1", "scale": "esci",
      "guide_version": "g1", "outcome": "label", "note": ""} for d, r in (("a", 3), ("b", 0))],
    store.SCHEMAS["judgments"].arrow())
pairs = pa.table({"query_id": ["1", "1"], "query": ["x", "x"], "doc_id": ["a", "b"], "text": ["A", "B"]})
receipts = folder / "receipts"
def for_ever():
    while True:
        judgments.append(said, pairs)
        with receipts.open("ab") as file:
            file.write(b"12")  # two labels are stored
for i in range(5):
    killed(for_ever, 0.05 + 0.2 * i)
    stored = receipts.stat().st_size if receipts.exists() else 0
    assert len(judgments) >= stored and len(judgments) % 2 == 0, (len(judgments), stored)
judgments.append(said, pairs)
found = judgments.lookup(pairs, scale="esci", guide_version="g1", fingerprint="f1")
print(found["relevance"].to_pylist(), len(judgments) >= 2 + stored)
"""

READ_ONLY = """
import stat, tempfile
with tempfile.TemporaryDirectory(dir="/tmp") as name:
    place = Path(name)
    store.write_text(place / "report.md", "old")
    place.chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IROTH | stat.S_IXOTH)
    pid = os.fork()
    if not pid:
        if os.getuid() == 0:
            os.setuid(65534)  # permissions do not bind root
        for target in (place / "report.md", place / "new" / "report.md"):
            try:
                store.write_text(target, "new")
            except store.files.InputError as error:
                print(str(error).replace(name, "FOLDER"), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print(sorted(os.listdir(place)), (place / "report.md").read_text())
    place.chmod(stat.S_IRWXU)
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, and kills with SIGKILL")


def forked(folder, program):
    """What the program printed."""
    done = subprocess.run([sys.executable, "-c", FORKED + program, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_fork
def test_a_kill_at_any_moment_leaves_a_whole_file_and_no_manifest_of_another(tmp_path):
    assert forked(tmp_path, AT_RANDOM) == "['run.parquet', 'run.parquet.manifest.json']"


@needs_fork
def test_a_kill_between_any_two_steps_leaves_the_old_state_the_new_or_a_file_without_a_manifest(tmp_path):
    """Steps of one write: flush, rename, flush the folder; first of the file, then of its manifest."""
    states = forked(tmp_path, AT_EACH_STEP)
    assert states == "; ".join(["1 1"] * 3 + ["2 None"] * 6 + ["2 2"] * 4) + ";"


@needs_fork
def test_a_read_only_folder_is_one_clear_error_and_keeps_what_it_had(tmp_path):
    said = "permission denied: choose a folder that you may write to (nothing half-written is left)"
    assert forked(tmp_path, READ_ONLY).splitlines() == [
        f"cannot write FOLDER/report.md: {said}",
        f"cannot write FOLDER/new/report.md: {said}",
        "['report.md'] old",
    ]


@needs_fork
def test_a_killed_append_leaves_no_half_part_and_loses_no_label(tmp_path):
    assert forked(tmp_path, APPENDS) == "[3, 0] True"


# --- manifests ------------------------------------------------------------------------------------------------------


def test_a_manifest_says_what_a_file_was_made_from(tmp_path):
    queries = store.write_table(EXAMPLES["queries"], tmp_path / "queries.parquet", "queries", **MADE)
    docs = store.write_text(tmp_path / "docs.csv", "doc_id,title\na,Shoes\n")
    out = store.write_table(
        EXAMPLES["runs"],
        tmp_path / "run.parquet",
        "runs",
        verb="collect",
        inputs=[queries, docs],
        parameters={"k": np.int64(25), "fields": ("title",), "folder": Path("x/y")},
        seed=7,
        extra={"engine": "bm25", "attribution": "ACME, CC BY 4.0"},
    )
    manifest = store.read_manifest(out)
    assert manifest == store.Manifest(
        verb="collect",
        inputs=(
            store.InputFile(queries.as_posix(), hashlib.sha256(queries.read_bytes()).hexdigest(), 1),
            store.InputFile(docs.as_posix(), hashlib.sha256(docs.read_bytes()).hexdigest(), None),
        ),
        parameters={"k": 25, "fields": ["title"], "folder": "x/y"},
        seed=7,
        version="0.1.0",
        schema="runs 1",
        rows=1,
        sha256=hashlib.sha256(out.read_bytes()).hexdigest(),
        extra={"engine": "bm25", "attribution": "ACME, CC BY 4.0"},
    )
    assert store.attribution(out) == "ACME, CC BY 4.0"
    assert json.loads((tmp_path / "run.parquet.manifest.json").read_text())["verb"] == "collect"


def test_a_manifest_holds_no_secret(tmp_path):
    store.write_text(tmp_path / "a.txt", "x")
    store.write_manifest(
        tmp_path / "a.txt",
        verb="label",
        inputs=[],
        parameters={
            "api_key": "sk-1",
            "nested": {"OPENAI_API_KEY": "sk-2", "password": "p"},
            "token": "t",
            "max_tokens": 100,
            "url": "postgresql://me:hunter2@db/x",
        },
    )
    text = (tmp_path / "a.txt.manifest.json").read_text()
    assert not [secret for secret in ("sk-1", "sk-2", "hunter2", '"p"', '"t"') if secret in text]
    assert json.loads(text)["parameters"]["max_tokens"] == 100


def test_the_same_inputs_are_nothing_to_do_and_any_change_is_work(tmp_path):
    source, out = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text("a")
    asked = {"verb": "import", "inputs": [source], "parameters": {"k": 25, "p": (1, 2)}, "seed": 1}
    assert not store.up_to_date(out, **asked)
    store.write_table(EXAMPLES["runs"], out, "runs", **asked)
    assert store.up_to_date(out, **asked)
    for change in ({"verb": "collect"}, {"parameters": {"k": 10, "p": (1, 2)}}, {"seed": 2}, {"inputs": []}):
        assert not store.up_to_date(out, **(asked | change))
    source.write_text("b")
    assert not store.up_to_date(out, **asked)
    source.write_text("a")
    assert store.up_to_date(out, **asked)
    moved = source.rename(tmp_path / "moved.csv")
    assert store.up_to_date(out, **(asked | {"inputs": [moved]}))
    with pytest.raises(InputError, match=r"cannot read .*in.csv: there is no such file"):
        store.up_to_date(out, **asked)


def test_another_version_of_germane_does_the_work_again(tmp_path, monkeypatch):
    out = store.write_table(EXAMPLES["runs"], tmp_path / "r.parquet", "runs", **MADE)
    assert store.up_to_date(out, **MADE)
    monkeypatch.setattr("germane.store.manifests._version", lambda: "9.9")
    assert not store.up_to_date(out, **MADE)


def test_a_file_that_was_replaced_by_hand_has_no_manifest(tmp_path):
    out = store.write_table(EXAMPLES["runs"], tmp_path / "r.parquet", "runs", **MADE)
    other = store.write_table(EXAMPLES["docs"], tmp_path / "d.parquet", "docs", **MADE)
    out.write_bytes(other.read_bytes())
    assert store.read_manifest(out) is None
    assert not store.up_to_date(out, **MADE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"verb": "x"}', "null", '{"verb": 1, "nothing": 2}'])
def test_a_manifest_that_is_none_is_named_and_its_file_is_made_again(tmp_path, text):
    out = store.write_table(EXAMPLES["runs"], tmp_path / "r.parquet", "runs", **MADE)
    store.manifest_path(out).write_text(text)
    with pytest.raises(InputError, match=r"r.parquet.manifest.json is not a manifest .*: delete it"):
        store.read_manifest(out)
    assert not store.up_to_date(out, **MADE)


def test_the_digest_of_a_folder_follows_names_and_content(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    before = store.sha256(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    renamed = store.sha256(tmp_path)
    (tmp_path / "c").write_text("3")
    assert len({before, renamed, store.sha256(tmp_path)}) == 3
