"""The judgment store: a label is found by what the judge read, made once, and never lost."""

import errno
import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_tables import judgments_table, pairs_table

from germane import store
from germane.store import files
from germane.types import InputError

PAIRS = pairs_table(("1", "red shoes", "a", "title: A"), ("1", "red shoes", "b", "title: B"))
ASKED = {"scale": "esci", "guide_version": "g1", "fingerprint": "f1"}


def machine(*rows, **changes):
    return judgments_table(rows, **({"judge": "llm", "fingerprint": "f1"} | changes))


def test_a_label_is_found_by_what_the_judge_read_and_not_by_ids(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    assert judgments.append(machine(("1", "a", 3), ("1", "b", 0)), PAIRS) == 2
    again = pairs_table(
        ("x", " red   shoes ", "other", "title: B"), ("y", "Red shoes", "c", "title: B"), ("z", "red shoes", "d", "B")
    )
    found = judgments.lookup(again, **ASKED)
    assert [(j["query_id"], j["doc_id"], j["relevance"], j["judge"]) for j in found.to_pylist()] == [("x", "other", 0, "llm")]
    for change in ({"scale": "trec"}, {"guide_version": "g2"}, {"fingerprint": "f2"}):
        assert judgments.lookup(again, **(ASKED | change)).num_rows == 0


def test_a_label_is_made_once_and_every_answer_is_kept(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    judgments.append(machine(("1", "a", None)), PAIRS)
    assert judgments.lookup(PAIRS, **ASKED).num_rows == 0
    judgments.append(machine(("1", "a", 3)), PAIRS)
    judgments.append(machine(("1", "a", 1)), PAIRS)
    assert judgments.lookup(PAIRS, **ASKED)["relevance"].to_pylist() == [3]
    assert len(judgments) == 3


def test_people_have_one_label_each(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    for judge, relevance in (("human:ann", 3), ("human:bob", 2), ("human:ann", 0)):
        judgments.append(judgments_table([("1", "a", relevance)], judge=judge), PAIRS)
    asked = ASKED | {"fingerprint": ""}
    found = judgments.lookup(PAIRS, **asked).to_pylist()
    assert [(j["judge"], j["relevance"]) for j in found] == [("human:ann", 3), ("human:bob", 2)]
    assert judgments.lookup(PAIRS, **asked, judge="human:bob")["relevance"].to_pylist() == [2]


def test_probabilities_come_back(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    said = machine(("1", "a", 3))
    judgments.append(said.add_column(3, "probs", pa.array([[0.1, 0.2, 0.3, 0.4]], pa.list_(pa.float32()))), PAIRS)
    judgments.append(machine(("1", "b", 0)), PAIRS)
    found = judgments.lookup(PAIRS, **ASKED)
    assert found["probs"].to_pylist() == [pytest.approx([0.1, 0.2, 0.3, 0.4]), None]
    assert found.schema.field("probs").type == pa.list_(pa.float32())


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=15)
def test_keys_are_the_same_in_python_and_in_the_store(query, text):
    query = f"q {query}"
    keyed = store.judgments._keyed(pairs_table(("1", query, "a", text)))
    assert keyed["query_key"].to_pylist() == [store.query_key(query)]
    assert keyed["document_key"].to_pylist() == [store.document_key(text)]
    assert store.query_key(store.query_key(query)) == store.query_key(query)


def test_a_judgment_without_its_pair_is_refused_and_nothing_is_stored(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    with pytest.raises(InputError, match="judgment of query '1', document 'z' has no pair: give the texts that the judge read"):
        judgments.append(machine(("1", "a", 3), ("1", "z", 1)), PAIRS)
    assert len(judgments) == 0
    assert judgments.append(machine(), PAIRS) == 0


def test_a_folder_named_like_a_pattern_is_a_folder(tmp_path):
    for name in ("a[b]", "c*d?", "it's"):
        judgments = store.JudgmentStore(tmp_path / name)
        judgments.append(machine(("1", "a", 3)), PAIRS)
        assert judgments.lookup(PAIRS, **ASKED).num_rows == 1


def test_a_damaged_part_and_a_file_for_a_folder_are_named(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    judgments.append(machine(("1", "a", 3)), PAIRS)
    part = next((tmp_path / "store").iterdir())
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(InputError, match=r"judgment store .*store cannot be read: .*part-00000001.parquet"):
        judgments.lookup(PAIRS, **ASKED)
    with pytest.raises(InputError, match="is a file; expected a folder"):
        store.JudgmentStore(part)


def test_appends_of_several_threads_are_all_kept_and_the_first_label_never_changes(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    seen, errors = [], []

    def work(relevance):
        try:
            for _ in range(2):
                judgments.append(machine(("1", "a", relevance)), PAIRS)
                seen.append(judgments.lookup(PAIRS, **ASKED)["relevance"][0].as_py())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(relevance,)) for relevance in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(judgments) == 6
    assert len(set(seen)) == 1


def test_a_file_system_without_links_stores_judgments_too(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(files.os, "link", no_links)
    judgments = store.JudgmentStore(tmp_path / "store")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "part-00000001.parquet").touch()  # claimed by a process that was killed before it wrote
    assert judgments.lookup(PAIRS, **ASKED).num_rows == 0
    judgments.append(machine(("1", "a", 3)), PAIRS)
    judgments.append(machine(("1", "a", 0)), PAIRS)
    assert judgments.lookup(PAIRS, **ASKED)["relevance"].to_pylist() == [3]
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == [f"part-0000000{i}.parquet" for i in (1, 2, 3)]


def test_what_a_job_adds_is_added_once_and_found_by_its_keys(tmp_path):
    judgments = store.JudgmentStore(tmp_path / "store")
    keys = {"query_key": ["red shoes", "red shoes"], "document_key": [store.document_key("title: A"), store.document_key("x")]}
    said = store.conform(machine(("1", "a", 3), ("1", "b", 0)), "judgments", name="")
    for name in ("probs", "self_agreement", "entropy", "cost"):
        said = (
            said.append_column(name, pa.nulls(2, store.SCHEMAS["judgments"].arrow().field(name).type))
            if name not in said.column_names
            else said
        )
    keyed = said.append_column("query_key", pa.array(keys["query_key"])).append_column(
        "document_key", pa.array(keys["document_key"])
    )
    assert judgments.add(iter([keyed.slice(0, 1), keyed.slice(1)]), job="one") == 2
    assert judgments.add(iter([keyed]), job="one") == 0
    assert judgments.add(iter([])) == 0
    assert (len(judgments), len(list((tmp_path / "store").iterdir()))) == (2, 1)
    asked = pa.table({name: list(reversed(values)) for name, values in keys.items()})
    found = judgments.found(asked, **ASKED)
    assert (found["row"].to_pylist(), found["relevance"].to_pylist()) == ([0, 1], [0, 3])
    assert judgments.lookup(PAIRS, **ASKED)["relevance"].to_pylist() == [3]
    assert store.JudgmentStore(tmp_path / "none").found(asked, **ASKED).num_rows == 0
