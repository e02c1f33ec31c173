"""Labelling: equal pairs once, nothing lost and nothing twice, the same bytes however often it was killed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.judges import Fake, as_table, ask, pairs_of
from germane.labelling import content, reading, speed, work
from germane.labelling.blocks import Blocks
from germane.labelling.content import same_content
from germane.labelling.local import label
from germane.labelling.reading import PairsFile
from germane.scales import get
from germane.types import InputError, Judgment, Outcome

ESCI = get("esci")


class Counting(Fake):
    """A fake, asked pair by pair, that remembers what it was asked, is mute on "mute", and can fail after so many."""

    label = block = None

    def __init__(self, *, after=None):
        super().__init__(ESCI)
        self.asked, self.after = [], after

    def __call__(self, pairs):
        for pair, said in zip(pairs := list(pairs), super().__call__(pairs), strict=True):
            if self.after is not None and len(self.asked) >= self.after:
                raise RuntimeError("the power failed")
            self.asked.append((pair.query.text, pair.doc.fields["text"]))
            mute = "mute" in pair.doc.fields["text"]
            yield said._replace(relevance=None, outcome=Outcome.ABSTAINED, note="mute") if mute else said


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(work, "BLOCK", 8)
    monkeypatch.setattr(work, "SORTED", 32)
    monkeypatch.setattr(reading, "PIECE", 10)


def written(folder, rows=200, seed=0):
    rng = np.random.default_rng(seed)
    texts = [" ".join(["word"] * int(n)) for n in rng.integers(1, 30, rows)]
    texts[3] = "mute"
    path = folder / "pairs.parquet"
    columns = {"query_id": [f"q{i // 10}" for i in range(rows)], "query": [f"query {i // 20}" for i in range(rows)]}
    columns |= {"doc_id": [f"d{i}" for i in range(rows)], "text": texts}
    store.write_table(pa.table(columns), path, "pairs", verb="pairs", parameters={})
    return path


def labelled(path, judge, name="out.parquet", by_query=False, **options):
    out = path.with_name(name)
    with Blocks(path.with_name(f".{name}.parts"), {"judge": judge.fingerprint}) as blocks:
        return out, label(judge, PairsFile(path, **options), out, blocks, by_query=by_query), blocks


def test_a_server_is_asked_the_pairs_of_one_query_one_after_the_other_and_the_table_is_the_same(tmp_path, small, monkeypatch):
    monkeypatch.setattr(work, "SORTED", 128)
    texts = [f"{'word ' * (i % 7)}{i}" for i in range(120)]
    columns = {"query_id": [f"q{i % 5}" for i in range(120)], "query": [f"query {i % 5}" for i in range(120)]}
    columns |= {"doc_id": [f"d{i}" for i in range(120)], "text": texts, "context": [["home", None][i % 2] for i in range(120)]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    for context in (False, True):
        by_length, by_query = Counting(), Counting()
        one, _, _ = labelled(tmp_path / "pairs.parquet", by_length, f"length{context}.parquet", context=context)
        other, _, _ = labelled(tmp_path / "pairs.parquet", by_query, f"query{context}.parquet", context=context, by_query=True)
        assert one.read_bytes() == other.read_bytes()
        order = [texts.index(text) for _, text in by_query.asked[:120]]  # after them come those that measure the latency
        begins = [(i % 5, i % 2 if context else 0) for i in order]
        runs = [begin for begin, before in zip(begins, [None, *begins], strict=False) if begin != before]
        assert len(runs) == len(set(runs)) == (10 if context else 5)
        assert [i for i in order if i % 5 == 0 and not i % 2] == list(range(0, 120, 10))  # within a query as in the file
        assert sorted(order) == list(range(120))


def test_the_answers_stand_in_the_order_of_the_file_and_are_those_of_the_judge_itself(tmp_path, small):
    path = written(tmp_path)
    out, did, _ = labelled(path, Counting())
    found = store.read_table(out, "judgments")
    assert found.to_pylist() == ask(Counting(), store.read_table(path, "pairs")).to_pylist()
    assert did.outcomes == {"label": 199, "abstained": 1}
    assert pq.read_schema(out).metadata[b"germane.kind"] == b"judgments"
    assert did.rows == 200
    assert did.rows_per_s > 0
    assert did.latency_ms > 0


def test_pairs_of_the_same_words_are_asked_once_and_answered_each(tmp_path, small):
    path, judge = written(tmp_path), Counting()
    words = {(row["query"], row["text"]) for row in pq.read_table(path).to_pylist()}
    _, did, _ = labelled(path, judge)
    for_latency = speed.FEW + 1
    assert did.computed == len(words) < 200
    assert sorted(judge.asked[: did.computed]) == sorted(words)
    assert len(judge.asked) <= did.computed + for_latency


def test_a_job_that_broke_off_goes_on_and_asks_nothing_twice(tmp_path, small):
    path = written(tmp_path)
    whole, _, _ = labelled(path, Counting(), "whole.parquet")
    first, second = Counting(after=50), Counting()
    with pytest.raises(InputError, match=r"the power failed.*what was finished is kept"):
        labelled(path, first)
    assert not (tmp_path / "out.parquet").exists()
    out, did, _ = labelled(path, second)
    kept = set(first.asked[:48])  # six whole blocks of 8
    assert not kept & set(second.asked[: did.computed - 48])
    assert len(kept) == 48
    assert out.read_bytes() == whole.read_bytes()


def test_another_judge_starts_anew(tmp_path, small):
    path = written(tmp_path)
    folder = tmp_path / ".out.parquet.parts"
    with Blocks(folder, {"judge": "a"}) as blocks:
        blocks.commit(0, pa.table({"row": [0]}), seconds=1.0)
        assert blocks.has(0, 1)
        assert not blocks.has(0, 2)
        assert not blocks.has(1, 1)
    with Blocks(folder, {"judge": "a"}) as blocks:
        assert blocks.has(0, 1)
    with Blocks(folder, {"judge": "b"}) as blocks:
        assert not blocks.has(0, 1)
    assert path.exists()


def test_a_block_that_is_damaged_is_made_again(tmp_path):
    with Blocks(tmp_path / "parts", {}) as blocks:
        blocks.commit(0, pa.table({"row": [0]}), seconds=1.0)
        (tmp_path / "parts" / "part-00000000.parquet").write_bytes(b"PAR1 cut short")
        assert not blocks.has(0, 1)


def test_two_jobs_on_one_output_are_refused(tmp_path):
    with Blocks(tmp_path / "parts", {}), pytest.raises(InputError, match="another germane label is at work"):
        Blocks(tmp_path / "parts", {}).__enter__()


def test_a_pair_that_comes_twice_is_named_by_row(tmp_path):
    columns = {"query_id": ["q", "q", "q"], "query": ["a", "a", "a"], "doc_id": ["x", "y", "x"], "text": ["1", "2", "3"]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet", row_group_size=2)
    with pytest.raises(InputError, match=r"row 3|more than once"):
        same_content(PairsFile(tmp_path / "pairs.parquet"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"query_id": ["q"], "query": ["a"], "doc_id": ["x"]}, "'text' is missing"),
        ({"query_id": ["q"], "query": ["a"], "doc_id": ["x"], "text": pa.array([None], pa.string())}, "text"),
        ({name: pa.array([], pa.string()) for name in ("query_id", "query", "doc_id", "text")}, "nothing to label"),
    ],
)
def test_pairs_that_cannot_be_read_are_said(tmp_path, columns, said):
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match=said):
        same_content(PairsFile(tmp_path / "pairs.parquet"))


def test_a_judge_that_loses_pairs_is_refused(tmp_path, small):
    class Losing(Fake):
        label = block = None

        def __call__(self, pairs):
            yield from list(super().__call__(pairs))[1:]

    with pytest.raises(InputError, match="gave 7 answers for 8 pairs"):
        labelled(written(tmp_path), Losing(ESCI))


class Streaming(Fake):
    """Takes two tables before it answers the first; breaks on "bad", wherever it stands among those that it has taken."""

    block = 8

    def __init__(self, *, loses=0):
        super().__init__(ESCI)
        self.loses, self.streams, self.alone = loses, 0, 0

    def _answer(self, pairs):
        if any("bad" in text for text in pairs["text"].to_pylist()):
            raise RuntimeError("bad pair")
        return Fake.label(self, pairs)

    def label(self, pairs):
        self.alone += 1
        return self._answer(pairs)

    def labels(self, tables):
        self.streams += 1
        held = []
        for table in tables:
            held.append(table)
            if len(held) > 2:
                yield self._answer(held.pop(0)).slice(self.loses)
        for table in held:
            yield self._answer(table).slice(self.loses)


def test_a_judge_that_takes_the_next_blocks_while_it_computes_one_says_the_same(tmp_path, small):
    path = written(tmp_path)
    out, did, _ = labelled(path, judge := Streaming())
    assert store.read_table(out, "judgments").to_pylist() == ask(Fake(ESCI), store.read_table(path, "pairs")).to_pylist()
    assert (did.rows, judge.streams) == (200, 1)


@pytest.mark.parametrize("bad", [(0,), (199,), (10, 11, 150)])
def test_pairs_that_break_it_cost_themselves_alone(tmp_path, small, bad):
    path = written(tmp_path)
    table = store.read_table(path, "pairs")
    texts = ["bad" if i in bad else text for i, text in enumerate(table["text"].to_pylist())]
    table = table.set_column(table.column_names.index("text"), "text", [texts])
    path = tmp_path / "bad.parquet"
    store.write_table(table, path, "pairs", verb="pairs", parameters={})
    _, did, _ = labelled(path, judge := Streaming())
    assert did.outcomes == {"error": len(bad), "label": 200 - len(bad)}
    assert did.quarantined == len(bad)
    assert judge.streams > 1  # it went on
    assert judge.alone < 60


def test_a_stream_that_loses_answers_is_broken(tmp_path, small):
    with pytest.raises(InputError, match="it is broken"):
        labelled(written(tmp_path), Streaming(loses=1))


def test_pairs_of_another_format_and_a_limit_are_read_too(tmp_path, small):
    (tmp_path / "pairs.csv").write_text("query_id,query,doc_id,text\nq,chair,a,oak\nq,chair,b,elm\nq,chair,c,ash\n")
    out, did, _ = labelled(tmp_path / "pairs.csv", Counting(), limit=2)
    assert did.rows == 2
    assert store.read_table(out, "judgments")["doc_id"].to_pylist() == ["a", "b"]


def test_probabilities_are_kept(tmp_path, small):
    class Sure(Fake):
        label = block = None

        def __call__(self, pairs):
            for said in super().__call__(pairs):
                yield said._replace(probs=tuple(float(i == said.relevance) for i in range(4)))

    out, _, _ = labelled(written(tmp_path), Sure(ESCI))
    found = store.read_table(out, "judgments")
    assert all(row["probs"][row["relevance"]] == 1.0 for row in found.to_pylist())


JOB = """
import sys, time
from pathlib import Path
from germane.judges import Fake
from germane.labelling import local, reading, work
from germane.labelling.blocks import Blocks
from germane.scales import get

work.BLOCK, work.SORTED = 8, 64
path, out, log = map(Path, sys.argv[1:4])

class Slow(Fake):
    label = block = None
    def __call__(self, pairs):
        pairs = list(pairs)
        time.sleep(0.01)
        with log.open("a") as file:
            file.writelines(pair.doc.doc_id + "\\n" for pair in pairs)
        yield from super().__call__(pairs)

judge = Slow(get("esci"))
with Blocks(out.with_name("parts"), {"judge": judge.fingerprint}) as blocks:
    local.label(judge, reading.PairsFile(path), out, blocks)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process as POSIX does")
def test_killed_again_and_again_it_loses_nothing_and_repeats_at_most_the_block_in_flight(tmp_path):
    path, out, log = written(tmp_path, 400), tmp_path / "out.parquet", tmp_path / "asked.txt"
    kills, parts, rng = 0, tmp_path / "parts", np.random.default_rng(3)
    for _ in range(4):
        before = len(list(parts.glob("part-*.parquet")))
        job = subprocess.Popen([sys.executable, "-c", JOB, path, out, log])
        more = int(rng.integers(1, 8))
        while job.poll() is None and len(list(parts.glob("part-*.parquet"))) < before + more:
            time.sleep(0.002)
        if job.poll() is None:
            job.send_signal(signal.SIGKILL)
            kills += 1
        job.wait()
    subprocess.run([sys.executable, "-c", JOB, path, out, log], check=True)
    assert kills >= 3
    found = store.read_table(out, "judgments").to_pylist()
    assert found == ask(Fake(ESCI), store.read_table(path, "pairs")).to_pylist()
    words = len({(row["query"], row["text"]) for row in pq.read_table(path).to_pylist()})
    asked = len(log.read_text().splitlines())
    assert asked <= words + 8 * kills + speed.FEW + 1


def test_a_machine_has_a_name_and_memory_a_peak():
    assert "processor" in speed.machine("cpu")
    peak = speed.PeakMemory()
    assert as_table([Judgment("q", "d", 0, None, "j", "f", "esci", "")]).num_rows == 1
    assert peak.mib("cpu") is None or peak.mib("cpu") > 1


def test_no_pairs_have_no_latency():
    assert speed.latency_ms(Fake(ESCI), []) is None


def test_a_gpu_is_named_and_measured_where_it_is_used_and_only_there(monkeypatch):
    from types import SimpleNamespace

    held = SimpleNamespace(memory=0)
    cuda = SimpleNamespace(
        is_available=lambda: True,
        get_device_name=lambda: "a GPU",
        memory_allocated=lambda: held.memory,
        max_memory_allocated=lambda: 3 * 2**20,
        reset_peak_memory_stats=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert (speed.machine("cuda:0"), speed.PeakMemory().mib("cuda:0")) == ("a GPU", 3.0)
    assert "processor" in speed.machine("cpu")
    assert "processor" in speed.machine(None)
    held.memory = 1
    assert speed.machine(None) == "a GPU"


@pytest.mark.parametrize("block", [1, 7, 32, 50, 1000])
def test_blocks_of_any_size_give_the_same_table(tmp_path, small, block):
    path = written(tmp_path)
    out, _, _ = labelled(path, Fake(ESCI))
    judge = Fake(ESCI)
    judge.block = block
    other, _, _ = labelled(path, judge, "other.parquet")
    assert other.read_bytes() == out.read_bytes()


def test_a_judge_that_takes_tables_says_the_same_pair_by_pair(tmp_path):
    table = store.read_table(written(tmp_path), "pairs")
    assert Fake(ESCI).label(table).equals(as_table(Fake(ESCI)(pairs_of(table))))


def test_answers_come_to_rows_far_from_the_first_of_their_words(tmp_path, small):
    rng = np.random.default_rng(2)
    numbers = rng.permutation(np.repeat(np.arange(60), 5))
    columns = {"query_id": [f"q{i}" for i in range(300)], "query": ["chair"] * 300}
    columns |= {"doc_id": [f"d{i}" for i in range(300)], "text": [f"oak {n}" for n in numbers]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    out, did, _ = labelled(tmp_path / "pairs.parquet", Fake(ESCI))
    assert (did.computed, did.deduplicated) == (60, 240)
    assert store.read_table(out, "judgments").to_pylist() == ask(Fake(ESCI), pa.table(columns)).to_pylist()


def test_digests_that_wait_on_disk_find_the_same(tmp_path, monkeypatch):
    path = written(tmp_path, 500)
    number, different = same_content(PairsFile(path))
    monkeypatch.setattr(content, "PART", 20)
    monkeypatch.setattr(content, "HELD", 1)
    found = content.contents(PairsFile(path), tmp_path)
    assert (found.number == number).all()
    assert found.different == different
    assert sorted(tmp_path.iterdir()) == [path, store.manifest_path(path)]  # nothing is left behind


def test_a_plan_that_is_damaged_is_made_again_with_its_blocks(tmp_path, small):
    path = written(tmp_path)
    whole, _, _ = labelled(path, Counting(), "whole.parquet")
    with pytest.raises(InputError):
        labelled(path, Counting(after=50))
    (tmp_path / ".out.parquet.parts" / "rows.parquet").write_bytes(b"PAR1")
    out, _, _ = labelled(path, Counting())
    assert out.read_bytes() == whole.read_bytes()
