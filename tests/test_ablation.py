"""The ladder of fields: each added to those before it, on the same pairs and folds."""

import counted_judges
import pyarrow as pa
import pytest

from germane.text import TextPlan
from germane.training.ablation import Ladder, ablate
from germane.training.beside import Field
from germane.types import InputError

FIELDS = ("title", "brand", "description")


@pytest.fixture(scope="module")
def shop():
    return counted_judges.world(40)


def ladder(shop, folder, fields=FIELDS, **options):
    docs, pairs, gold = shop
    made = {"folder": folder, "load": counted_judges.load, "k": 3} | options
    on = Field(gold, counted_judges.ESCI, name="shop")
    return ablate(docs, pairs, fields, made.pop("trainer", counted_judges.trainer()), on, **made)


def test_each_field_adds_what_it_says_and_the_steps_add_up(shop, tmp_path):
    found = ladder(shop, tmp_path)
    assert [rung.fields for rung in found.rungs] == [FIELDS[:1], FIELDS[:2], FIELDS]
    first, second, third = found.rungs
    assert first.step == {}
    assert second.step["macro F1"].low > 0
    assert third.step["macro F1"].low > 0
    assert third.total["exact"].value == pytest.approx(second.step["exact"].value + third.step["exact"].value)
    assert third.found["exact"].value - first.found["exact"].value == pytest.approx(third.total["exact"].value)
    assert first.characters < second.characters < third.characters
    assert Ladder.from_json(found.to_json()) == found


def test_every_rung_is_trained_on_the_same_folds(shop, tmp_path):
    log = []
    ladder(shop, tmp_path, trainer=counted_judges.trainer(log=log))
    assert log[:3] == log[3:6] == log[6:]


def test_pairs_whose_first_field_is_empty_are_left_out_of_every_rung(shop, tmp_path):
    docs, pairs, gold = shop
    title = pa.array([None if i < 5 else t for i, t in enumerate(docs["title"].to_pylist())])
    found = ladder((docs.set_column(docs.column_names.index("title"), "title", title), pairs, gold), tmp_path)
    assert {rung.found["exact"].n for rung in found.rungs} == {len(pairs) - 5}
    assert "left out: 5 pairs without text" in found.notes


def test_budgets_cut_and_it_is_said(shop, tmp_path):
    found = ladder(shop, tmp_path, plan=TextPlan(budgets={"title": 5, "brand": 100}))
    assert 0.7 < found.rungs[0].cut < 0.9  # "thing" alone fits into five characters
    assert found.rungs[1].cut == 0.0


@pytest.mark.parametrize(
    ("fields", "said"), [((), "name each once"), (("title", "title"), "name each once"), (("colour",), "no field 'colour'")]
)
def test_wrong_fields_are_named(shop, tmp_path, fields, said):
    with pytest.raises(InputError, match=said):
        ladder(shop, tmp_path, fields)


def test_a_judged_document_that_is_missing_is_named(shop, tmp_path):
    docs, pairs, gold = shop
    with pytest.raises(InputError, match="docs lack 'd0-0'"):
        ladder((docs.slice(1), pairs, gold), tmp_path)
