"""The folder of documents' vectors: nothing lost, nothing twice, nothing taken for what it is not."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from germane.inference import journal, vector_store
from germane.inference.hashes import Index, hashed
from germane.inference.vector_store import About, VectorStore
from germane.inference.vectors import Int8
from germane.types import InputError

ABOUT = About("tower", 8, store="fp32", texts=True, plan="plan")


def vectors(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


def filled(folder, *, blocks=3, rows=5, about=ABOUT):
    store = VectorStore.create(folder, about)
    for block in range(blocks):
        texts = [f"text {block * rows + i}" for i in range(rows)]
        store.add(texts, vectors(rows, block), {f"d{block * rows + i}": text for i, text in enumerate(texts)})
    return store


def test_a_text_is_found_again_with_the_vector_that_was_made_of_it(tmp_path):
    filled(tmp_path / "v")
    again = VectorStore(tmp_path / "v")
    assert len(again) == 15
    np.testing.assert_array_equal(again.take(again.find(["text 7", "text 1"])), [vectors(5, 1)[2], vectors(5, 0)[1]])
    assert again.find(["text 99"]).tolist() == [-1]
    assert again.texts(again.rows(["d7"])) == ["text 7"]
    assert again.rows(["d15", "d3"]).tolist() == [-1, 3]
    assert again.ids() == [f"d{i}" for i in range(15)]


@pytest.mark.parametrize(("kind", "off"), [("int8", 0.02), ("fp16", 2e-3), ("fp32", 0.0)])
def test_each_way_to_store_keeps_its_digits(tmp_path, kind, off):
    store = VectorStore.create(tmp_path, About("tower", 8, store=kind))
    store.add(["a", "b"], vectors(2))
    found = store.take(np.array([1, 0]))
    found = found.floats() if isinstance(found, Int8) else found.astype(np.float32)
    np.testing.assert_allclose(found, vectors(2)[::-1], atol=off)


def test_a_known_text_is_not_stored_again_and_a_changed_text_is_another_one(tmp_path):
    store = filled(tmp_path, blocks=1)
    before = (tmp_path / "vectors-1.bin").stat().st_size
    assert store.add(["text 1", "text 1"], vectors(2)) == 0
    assert (tmp_path / "vectors-1.bin").stat().st_size == before
    assert store.add(["text 1, changed"], vectors(1), {"d1": "text 1, changed"}) == 1
    assert store.texts(store.rows(["d1"])) == ["text 1, changed"]
    assert store.find(["text 1"]).tolist() == [1]
    assert store.ids() == ["d0", "d2", "d3", "d4", "d1"]


def test_two_documents_of_one_text_share_a_vector(tmp_path):
    store = VectorStore.create(tmp_path, ABOUT)
    store.add(["same"], vectors(1), {"a": "same", "b": "same"})
    assert (len(store), store.rows(["a", "b"]).tolist()) == (1, [0, 0])
    store.name({"c": "same"})
    assert store.rows(["c"]).tolist() == [0]
    with pytest.raises(InputError, match="document 'd' has a text without a vector"):
        store.name({"d": "other"})


def test_a_reader_keeps_what_it_sees_while_others_add_and_takes_in_the_rest_when_asked(tmp_path):
    filled(tmp_path, blocks=1)
    reader, writer = VectorStore(tmp_path), VectorStore(tmp_path)
    writer.add(["new"], vectors(1, 9), {"n": "new"})
    assert (len(reader), reader.find(["new"]).tolist()) == (5, [-1])
    reader.refresh()
    assert reader.rows(["n"]).tolist() == [5]
    np.testing.assert_array_equal(reader.take(np.array([5])), vectors(1, 9))


def test_several_writers_at_once_lose_nothing_and_store_nothing_twice(tmp_path):
    VectorStore.create(tmp_path, ABOUT)

    def write(seed):
        store = VectorStore(tmp_path)
        for i in np.random.default_rng(seed).permutation(40):
            store.add([f"text {i}"], vectors(1, int(i)), {f"d{i}": f"text {i}"})

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    store = VectorStore(tmp_path)
    assert len(store) == len(store.ids()) == 40
    for i in range(40):
        np.testing.assert_array_equal(store.take(store.rows([f"d{i}"])), vectors(1, i))


KILLED = """
import os, signal, sys
import numpy as np
from germane.inference import journal
from germane.inference.vector_store import VectorStore
steps = int(sys.argv[2])
write = journal._write
def dying(path, at, part, **how):
    global steps
    steps -= 1
    if steps == 0:
        write(path, at, bytes(part)[: len(part) // 2], **how)
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, at, part, **how)
journal._write = dying
store = VectorStore(sys.argv[1])
store.add(["one", "two"], np.ones((2, 8), dtype=np.float32), {"d1": "one", "d2": "two"})
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
@pytest.mark.parametrize(("step", "before"), [*((step, 1) for step in range(1, 8)), (1, 0), (7, 0)])
def test_kill_9_at_any_write_of_a_block_loses_that_block_alone(tmp_path, step, before):
    filled(tmp_path, blocks=before)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(step)], capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if step < 8 else 0), done.stderr
    store = VectorStore(tmp_path)
    assert (len(store), store.find(["one"]).tolist()) == (5 * before, [-1])
    assert store.add(["one", "two"], vectors(2, 4), {"d1": "one"}) == 2
    again = VectorStore(tmp_path)
    assert len(again) == 5 * before + 2
    np.testing.assert_array_equal(again.take(again.find(["two"])), vectors(2, 4)[1:])


def test_a_file_cut_short_is_refused(tmp_path):
    filled(tmp_path)
    os.truncate(tmp_path / "vectors-1.bin", 100)
    with pytest.raises(InputError, match=r"vectors-1\.bin is cut short: it has 100 of 480 bytes: copy the folder again"):
        VectorStore(tmp_path)


@pytest.mark.parametrize("name", ["vectors", "contents", "texts", "names", "ids"])
def test_a_changed_byte_in_any_file_is_refused_and_its_block_named(tmp_path, name):
    filled(tmp_path)
    path = tmp_path / f"{name}-1.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="block 2 of its vectors is not what was written there"):
        VectorStore(tmp_path)


def test_a_file_swapped_for_another_folder_s_is_refused(tmp_path):
    filled(tmp_path / "a")
    filled(tmp_path / "b", about=About("other tower", 8, store="fp32", texts=True))
    (tmp_path / "b" / "vectors-1.bin").replace(tmp_path / "a" / "vectors-1.bin")
    VectorStore(tmp_path / "a")  # the same bytes: nothing is wrong
    for name in ("vectors.json", "log-1.jsonl"):
        whole = (tmp_path / "a" / name).read_bytes()
        (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
        with pytest.raises(InputError, match="block 1 of its vectors is not what was written there"):
            VectorStore(tmp_path / "a")
        (tmp_path / "a" / name).write_bytes(whole)


def test_a_log_that_is_gone_or_damaged_is_refused(tmp_path):
    filled(tmp_path)
    log = tmp_path / "log-1.jsonl"
    lines = log.read_bytes()
    log.write_bytes(b"{}\n" + lines)
    with pytest.raises(InputError, match=r"log-1\.jsonl is damaged"):
        VectorStore(tmp_path)
    log.unlink()
    with pytest.raises(InputError, match=r"log-1\.jsonl is missing"):
        VectorStore(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tower": "other"}, "holds vectors of another student or engine"),
        ({"dimension": 4}, "holds vectors of another student or engine"),
        ({"store": "int8"}, "stores vectors as fp32, not int8"),
        ({"plan": "another"}, "holds texts of other fields or budgets"),
    ],
)
def test_another_student_s_folder_is_refused(tmp_path, change, said):
    filled(tmp_path)
    with pytest.raises(InputError, match=said):
        VectorStore.create(tmp_path, About(**{**vars(ABOUT), **change}))


def test_what_is_no_folder_of_vectors_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder of vectors"):
        VectorStore(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is no folder of vectors: name a new one"):
        VectorStore.create(tmp_path, ABOUT)
    with pytest.raises(InputError, match="stored as 'fp8'"):
        About("tower", 8, store="fp8")
    filled(tmp_path / "v")
    (tmp_path / "v" / vector_store.ABOUT).write_text("{")
    with pytest.raises(InputError, match="is not as germane wrote it"):
        VectorStore(tmp_path / "v")


def test_vectors_that_are_no_numbers_are_refused_and_nothing_is_stored(tmp_path):
    store = filled(tmp_path, blocks=1)
    with pytest.raises(InputError, match="not finite"):
        store.add(["nan"], np.full((1, 8), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="expected \\(1, 8\\)"):
        store.add(["short"], np.zeros((1, 4), dtype=np.float32))
    assert len(VectorStore(tmp_path)) == 5


def test_a_full_disk_is_one_line_and_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    store = filled(tmp_path, blocks=1)
    write = journal._write

    def full(path, at, part, **how):
        write(path, at, bytes(part)[:3], **how)
        if path.name == "names-1.bin":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "_write", full)
    with pytest.raises(InputError, match=r"cannot write .*: the disk is full"):
        store.add(["one"], vectors(1), {"d": "one"})
    monkeypatch.setattr(journal, "_write", write)
    assert store.find(["one"]).tolist() == [-1]
    assert store.add(["one"], vectors(1), {"d": "one"}) == 1
    assert len(VectorStore(tmp_path)) == 6


def test_compact_keeps_what_is_named_and_readers_keep_what_they_have(tmp_path):
    store = filled(tmp_path)
    store.add(["label's own"], vectors(1, 8))
    reader = VectorStore(tmp_path)
    keep = [f"d{i}" for i in range(0, 15, 2)] + ["unknown"]
    assert store.compact(keep) == 8
    assert store.compact(keep) == 0
    np.testing.assert_array_equal(reader.take(reader.rows(["d3"])), vectors(5)[3:4])
    for seen in (store, VectorStore(tmp_path)):
        assert (len(seen), seen.ids()) == (8, keep[:-1])
        np.testing.assert_array_equal(seen.take(seen.rows(["d4", "d14"])), [vectors(5)[4], vectors(5, 2)[4]])
        assert seen.texts(seen.rows(["d14"])) == ["text 14"]
        assert seen.rows(["d3"]).tolist() == [-1]
    assert {path.name.rpartition("-")[2] for path in tmp_path.glob("*-*")} == {"2.bin", "2.jsonl"}
    reader.refresh()
    assert len(reader) == 8
    reader.add(["after"], vectors(1), {"d3": "after"})
    assert len(VectorStore(tmp_path)) == 9


def test_a_compaction_that_was_killed_did_nothing(tmp_path, monkeypatch):
    store = filled(tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(vector_store, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        store.compact(["d1"])
    monkeypatch.undo()
    assert len(VectorStore(tmp_path)) == 15
    assert VectorStore(tmp_path).compact(["d2"]) == 14
    assert VectorStore(tmp_path).ids() == ["d2"]


def test_an_index_finds_a_million_hashes_and_the_last_row_of_each(monkeypatch):
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**63, size=(20_000, 2)).astype(np.uint64)
    index = Index(lambda rows: hashes[rows % 20_000, 1])
    monkeypatch.setattr("germane.inference.hashes._TAIL", 100)
    for start in range(0, 20_000, 1_000):
        index.add(hashes[start : start + 1_000, 0], start)
    np.testing.assert_array_equal(index.find(hashes), np.arange(20_000))
    index.add(hashes[:10, 0], 20_000)
    np.testing.assert_array_equal(index.find(hashes[:11]), [*range(20_000, 20_010), 10])
    other = hashes[:5].copy()
    other[:, 1] += np.uint64(1)
    assert index.find(other).tolist() == [-1] * 5
    assert len(np.unique(hashed([str(i) for i in range(1000)])[:, 0])) == 1000


@pytest.mark.parametrize("compiled", [True, False])
def test_places_are_those_of_a_search_whatever_the_keys(monkeypatch, compiled):
    from germane.inference import hashes

    rng = np.random.default_rng(5)
    monkeypatch.setattr(hashes, "_FEW", 0)
    if not compiled:  # the same loop as Python
        monkeypatch.setattr(hashes, "_loop", lambda: hashes._guess)
    even, few, uneven = (
        np.sort(rng.integers(0, top, size=n, dtype=np.uint64)) for top, n in ((2**64 - 1, 30_000), (9, 40), (10**6, 3_000))
    )
    for keys in (even, few, uneven, even[:1], np.array([0, 2**64 - 1], dtype=np.uint64)):
        wanted = np.concatenate([rng.choice(keys, 40), rng.integers(0, 2**64 - 1, 40, dtype=np.uint64)])
        wanted = np.concatenate([wanted, np.array([0, 2**64 - 1], dtype=np.uint64), keys[:1], keys[-1:] - np.uint64(1)])
        np.testing.assert_array_equal(hashes._places(keys, wanted), np.searchsorted(keys, wanted))
