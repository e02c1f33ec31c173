"""What a manifest says of a judge reaches its card, and a judge is not checked on what it learned from."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.pipeline.check import check
from germane.text import query_digest
from germane.types import InputError, Refusal

QUERIES = [f"q{i}" for i in range(12)]


@pytest.fixture
def files(tmp_path):
    rows = [(q, d, (i + j) % 4) for i, q in enumerate(QUERIES) for j, d in enumerate("abc")]
    columns = [list(c) for c in zip(*rows, strict=True)]
    base = dict(zip(("query_id", "doc_id", "relevance"), columns, strict=True)) | {"scale": ["trec"] * len(rows)}
    pq.write_table(pa.table(base | {"judge": ["human:a"] * len(rows)}), tmp_path / "gold.parquet")
    pq.write_table(pa.table({"query_id": QUERIES, "query": [f"Shoes {i}" for i in range(12)]}), tmp_path / "queries.parquet")
    said = {"fingerprint": "two-tower:1", "lineage": ["generative:2"], "training_queries": [query_digest("shoes  3")]}
    rest = {"guide_version": [""] * len(rows), "outcome": ["label"] * len(rows), "note": [""] * len(rows)}
    table = pa.table(base | {"judge": ["student"] * len(rows), "fingerprint": ["two-tower:1"] * len(rows)} | rest)
    store.write_table(
        table, tmp_path / "said.parquet", "judgments", verb="label", inputs=[], parameters={}, extra={"judge": said}
    )
    return tmp_path


def given(files):
    return files / "gold.parquet", files / "said.parquet"


def test_a_judge_is_not_checked_on_a_query_that_it_learned_from(files):
    with pytest.raises(Refusal, match=r"was trained on 1 of gold's 12 queries.*--allow trained-on-gold"):
        check(*given(files), scale="trec", queries=files / "queries.parquet")
    card = check(*given(files), scale="trec", queries=files / "queries.parquet", allow=["trained-on-gold"])
    assert any("its figures flatter it" in caveat for caveat in card.caveats)


def test_the_card_has_the_lineage_and_says_what_cannot_be_seen(files):
    card = check(*given(files), scale="trec", out=files / "card")
    assert card.lineage == ("generative:2",)
    assert any("cannot be seen without their texts" in caveat for caveat in card.caveats)
    assert check(*given(files), scale="trec", out=files / "card") == card


def test_a_manifest_of_another_judge_or_content_is_not_believed(files):
    place = store.manifest_path(files / "said.parquet")
    said = json.loads(place.read_text())
    said["extra"]["judge"]["fingerprint"] = "two-tower:other"
    place.write_text(json.dumps(said))
    card = check(*given(files), scale="trec")
    assert card.lineage == ()
    assert any("another judge's fingerprint" in caveat for caveat in card.caveats)
    said["extra"]["judge"] = {"fingerprint": "two-tower:1", "lineage": "a text"}
    place.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"extra\.judge\.lineage is 'a text': expected a list of texts"):
        check(*given(files), scale="trec")


def test_labels_of_a_machine_and_of_people_together_keep_what_is_said_of_the_machine(files):
    from germane.cards.facts import said_of

    path = files / "said.parquet"
    table, extra = store.read_table(path, "judgments"), store.read_manifest(path).extra
    people = ["" if i % 2 else "two-tower:1" for i in range(table.num_rows)]
    mixed = table.set_column(table.column_names.index("fingerprint"), "fingerprint", pa.array(people))
    store.write_table(mixed, path, "judgments", verb="label", inputs=[], parameters={}, extra=extra)
    assert said_of(path, mixed).facts.lineage == ("generative:2",)
