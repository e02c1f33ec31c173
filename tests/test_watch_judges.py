"""Watching with a judge that was trained: its store, anchors that go past it, and the line that another judge draws."""

import json
from datetime import UTC, datetime
from functools import partial

import pytest
from sample_students import furniture, recipe, tiny_bert
from watched import project

from germane import store
from germane.pipeline import watch
from germane.registry import database, days


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """Two students that have learned for some steps, of other weights."""
    from germane.training import distil

    where = tmp_path_factory.mktemp("students")
    base = tiny_bert(where / "base")
    for name, seed in (("one", 1), ("two", 2)):
        distil.train(furniture(seed=seed), None, where / name, recipe=recipe(base))
    return where


def test_what_the_judge_said_before_is_not_asked_again_but_anchors_are_and_another_judge_draws_a_line(
    tmp_path, students, monkeypatch
):
    real = database.open_registry
    folder = project(tmp_path, days=3, anchors=True, requests=200)
    text = (folder / "germane.toml").read_text().replace('judge = "fake"', f'judge = "{students / "one"}"')
    (folder / "germane.toml").write_text(text)
    monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: datetime(2026, 3, 4, 9, tzinfo=UTC)))
    watch.run(folder)
    first, second = (json.loads((folder / f"watch/2026-03-0{d}/report.json").read_text())["day"]["facts"] for d in (2, 3))
    assert first["labels"]["known"] == 0
    assert second["labels"]["known"] > second["labels"]["pairs"] / 2
    asked = [store.read_manifest(folder / f"watch/2026-03-0{d}/anchors.parquet").extra["label"]["known"] for d in (2, 3)]
    assert asked == [0, 0]
    known = store.read_parquet(folder / "watch/2026-03-03/pairs.parquet")["known"].to_pylist()
    assert sum(known) == second["labels"]["known"]
    (folder / "germane.toml").write_text(text.replace(str(students / "one"), str(students / "two")))
    monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: datetime(2026, 3, 5, 9, tzinfo=UTC)))
    found = watch.run(folder)
    assert "The judge changed that day" in found.days[0].answer
    registry = real(folder / "registry.sqlite")
    changes = days.changes_of(registry)["2026-03-04"]
    assert {row.metric for row in changes} <= {"judge"}  # kept with its date, and not read by the detectors
    assert [(line.date, line.kind) for line in days.lines_of(registry)] == [("2026-03-04", "judge")]
    registry.close()
