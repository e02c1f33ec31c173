"""The tour at a tiny size: every chapter is told, the incident is found by the real detector, a second call does nothing."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from test_web_browser import CHECKS, chromium, shot  # noqa: F401  (chromium is a fixture)

from germane import store
from germane.judges import folder
from germane.report import tour as page
from germane.types import Estimate, InputError

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytest.importorskip("langgraph")

from germane.tour import days, raters, story
from germane.tour.story import Tour, tour
from germane.tour.world import Size
from germane.training import scratch

TINY = Size(
    items=1_500, queries=300, golden=14, pairs=1_000, taught=60, made_up=2_500, more=1_600, experiment=60, audit=30, days=18,
    sound=16, left=2, requests=400, sample=120, anchors=30, width=32, layers=1, pieces=1_500, epochs=8, rate=4e-3,
)  # fmt: skip
"""A judge this small sees little: the incident is larger than the tour's, and pages are left with two results."""

NAMES = ("golden", "annotator", "teacher", "student", "labels", "experiment", "filter", "watching")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Tour]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GERMANE_MODELS", str(tmp_path_factory.mktemp("no-models")))
        out = tmp_path_factory.mktemp("tour")
        return out, tour(out, size=TINY)


class Links(HTMLParser):
    """Where a page leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        href = dict(attrs).get("href") or ""
        if tag == "a" and not href.startswith("#"):
            self.found.append(href)


def everything(out: Path) -> dict[str, int]:
    """Every file that the tour left, with when it was written; databases and their journals aside."""
    files = (path for path in out.rglob("*") if path.is_file() and "sqlite" not in path.name)
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in files}


def test_every_chapter_is_told_with_its_report_and_its_figures(made):
    out, found = made
    assert tuple(c.name for c in found.chapters) == NAMES
    for chapter in found.chapters:
        assert chapter.asked.endswith("?")
        assert chapter.answer
        assert chapter.seconds > 0
        assert (out / chapter.report.path).is_file()
        assert all((out / link.path).is_file() for link in chapter.more)
        assert chapter.figures
        for figure in chapter.figures:
            assert (figure.estimate is None) == bool(figure.text)
            if (e := figure.estimate) is not None:
                assert e.low <= e.value <= e.high
                assert e.n > 0


def test_every_link_of_the_pages_resolves_and_they_lead_from_one_to_the_next(made):
    out, found = made
    index = (out / "index.html").read_text(encoding="utf-8")
    pages = [page.page_of(number, chapter) for number, chapter in enumerate(found.chapters, 1)]
    for name in ("index.html", *pages):
        text = (out / name).read_text(encoding="utf-8")
        links = Links(text).found
        assert links
        assert [link for link in links if not (out / link).is_file()] == []
        assert "<script" not in text
        assert "simulated" in text
    assert [link for link in Links(index).found if link in pages][: len(pages)] == pages
    for before, after in pairwise(pages):
        assert after in Links((out / before).read_text(encoding="utf-8")).found


def test_the_incident_is_found_by_the_detector_and_named_search(made):
    out, found = made
    alerts = [json.loads(line) for line in (out / "shop" / "alerts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert alerts
    assert found.days.raised
    assert min(day for day, _ in found.days.raised) >= found.days.broken
    assert any("fell" in said and "search" in said for _, said in found.days.raised)
    assert "Alert on" in found.chapters[-1].answer
    assert len(found.days.levels) == TINY.days
    assert (out / "index.html").read_text(encoding="utf-8").count("Alert: ") >= 1


def test_two_raters_and_a_third_voted_on_the_screens(made):
    out, _ = made
    votes = store.read_table(out / "golden" / "votes.parquet", "judgments")
    pairs = store.read_table(out / "data" / "golden-pairs.parquet", "pairs")
    assert votes.num_rows == 2 * pairs.num_rows
    assert set(votes["judge"].to_pylist()) == {"human:ana", "human:ben"}
    final = store.read_table(out / "golden" / "votes-final.parquet", "judgments")
    assert final.num_rows == pairs.num_rows
    assert final["relevance"].null_count == 0
    assert any("adjudicated by cem" in str(note) for note in final["note"].to_pylist())


def test_judges_say_what_they_are_and_who_taught_them(made):
    out, _ = made
    for name in ("cross-encoder", "teacher", "student"):
        about = folder.read(out / name)
        assert "from scratch" in about.name
        assert "parameters, simulated" in about.name
        assert not about.random_weights  # it was trained: little, but really
    student, encoder = folder.read(out / "student"), folder.read(out / "cross-encoder")
    assert student.lineage[0] == encoder.fingerprint
    assert any(name.startswith("sample/recorded") or "recorded" in name for name in encoder.taught_by)


def test_golden_queries_teach_nobody_and_the_experiment_has_others(made):
    out, _ = made
    queries = {name: {*store.read_table(out / "data" / f"{name}.parquet", kind)["query_id"].to_pylist()} for name, kind in (
        ("golden-pairs", "pairs"), ("learn-pairs", "pairs"), ("more-pairs", "pairs"), ("other-queries", "queries"),
    )}  # fmt: skip
    golden, others = queries["golden-pairs"], queries["other-queries"]
    learned = queries["learn-pairs"] | queries["more-pairs"]
    assert not golden & learned
    assert not others & learned
    assert not others & golden


def test_a_second_call_changes_nothing(made):
    out, found = made
    before = everything(out)
    again = tour(out, size=TINY)
    assert again.made == 0
    assert again.chapters == found.chapters
    assert everything(out) == before


def test_chapters_that_are_lost_are_told_again_from_what_is_there(made):
    out, found = made
    judges = [(out / name / "judge.json").stat().st_mtime_ns for name in ("cross-encoder", "teacher", "student")]
    days = [(out / "shop" / "watch" / day / "labels.parquet").stat().st_mtime_ns for day in found.days.levels]
    for path in (out / story.KEPT).glob("*.json"):  # as if each chapter had been killed at its end
        path.unlink()
    again = tour(out, size=TINY)
    assert again.made == len(NAMES)
    assert [c.answer for c in again.chapters] == [c.answer for c in found.chapters]
    assert again.days == found.days
    assert judges == [(out / name / "judge.json").stat().st_mtime_ns for name in ("cross-encoder", "teacher", "student")]
    assert days == [(out / "shop" / "watch" / day / "labels.parquet").stat().st_mtime_ns for day in found.days.levels]


def test_a_chapter_that_is_redone_takes_those_that_build_on_it_along(tmp_path):
    """Also where it is killed before they are: a chapter without its report is redone, and nothing else."""
    calls: list[str] = []

    def told(die="") -> list[str]:
        telling = story.Telling(tmp_path, [], len(NAMES))

        def do(name: str) -> page.Chapter:
            calls.append(name)
            if name == die:
                raise KeyboardInterrupt
            store.write_text(tmp_path / f"{name}.html", "report")
            return page.Chapter(name, name, "?", name, name, (), page.Link("report", f"{name}.html"))

        calls.clear()
        for name in NAMES:
            telling.tell(name, lambda name=name: do(name))
        return list(calls)

    assert told() == list(NAMES)
    assert told() == []
    (tmp_path / "filter.html").unlink()
    assert told() == ["filter"]
    (tmp_path / "labels.html").unlink()
    assert told() == ["labels", "experiment", "filter"]
    (tmp_path / "student.html").unlink()
    with pytest.raises(KeyboardInterrupt):
        told(die="labels")
    assert calls == ["student", "labels"]
    assert told() == ["labels", "experiment", "filter", "watching"]
    (tmp_path / "golden.html").unlink()
    assert told() == list(NAMES)
    assert told() == []


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (-0.153, -0.175, -0.131, "a judge that errs shrinks it. The interval misses the truth."),
        (-0.275, -0.330, -0.220, "it looks larger than it is, as steps do that alarm early. The interval holds the truth."),
        (-0.2351, -0.3, -0.2, "as large."),
        (0.050, 0.010, 0.090, "the other way. The interval misses the truth."),
        (-0.275, None, None, "it looks larger than it is, as steps do that alarm early."),
    ],
)
def test_what_the_student_sees_is_said_beside_the_truth(value, low, high, said):
    words = days.beside({"value": value, "low": low, "high": high}, -0.235)
    assert words.endswith(f", and the true change is −0.235: {said}")


def test_a_folder_with_another_tour_or_with_something_else_is_refused_in_one_line(made, tmp_path):
    out, _ = made
    with pytest.raises(InputError, match="made with another seed"):
        tour(out, size=TINY, seed=2)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="something else than a tour"):
        tour(tmp_path, size=TINY)
    with pytest.raises(InputError, match="is a file"):
        tour(tmp_path / "mine.txt", size=TINY)


def test_a_missing_extra_says_how_to_install_it(tmp_path, monkeypatch):
    from germane import extras

    real = extras.find_spec
    for package, extra in (("torch", "train"), ("fastapi", "web"), ("langgraph", "llm")):
        monkeypatch.setattr(extras, "find_spec", lambda name, package=package: None if name == package else real(name))
        with pytest.raises(InputError, match=re.escape(f"needs {package}: pip install 'germane[{extra}]'")):
            tour(tmp_path / extra, size=TINY)
        assert not (tmp_path / extra).exists()


def test_a_page_shows_hostile_words_as_words_and_a_number_with_its_interval():
    hostile = "<script>alert(1)</script>"
    e = Estimate(-0.0123, 0.004, -0.02, -0.004, 1234, "", 0.95)
    chapter = page.Chapter(
        "golden", hostile, f"{hostile}?", hostile, hostile, (page.Figure(hostile, e, kind="signed"),),
        page.Link(hostile, "x.html"), (hostile,), (), (hostile,), 1.0,
    )  # fmt: skip
    days = page.Days("2025-09-01", "2025-09-03", "sDCG@10", {"2025-09-01": e, "2025-09-03": e}, (("2025-09-03", hostile),))
    for text in (page.index([chapter], days, [("a", hostile)], hostile), page.chapter([chapter], 1)):
        assert "<script" not in text
    assert "−0.0123" in page.chapter([chapter], 1)
    assert "1,234" in page.chapter([chapter], 1)
    assert page.drawn(days)[0].chart.missing == 1  # a day without a level is a gap


def test_the_field_of_a_form_is_read_as_a_browser_does():
    assert raters.hidden('<input name="token" value="a&amp;b">', "token") == "a&b"
    assert raters.hidden("<p>all are judged</p>", "assignment") == ""


def test_models_from_scratch_are_the_same_for_the_same_texts_and_seed(tmp_path):
    texts = ["a garden chair", "ein blauer Stuhl, 45 cm"] * 20
    for make, name in ((scratch.encoder, "bert"), (scratch.language_model, "llama")):
        counts = {make(tmp_path / f"{name}-{i}", texts, width=32, layers=1, pieces=300) for i in range(2)}
        assert len(counts) == 1
        first, second = (store.sha256(tmp_path / f"{name}-{i}" / "model.safetensors") for i in range(2))
        assert first == second


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_read_wide_and_narrow_by_weak_eyes_too(made, chromium, scheme):  # noqa: F811
    out, found = made
    names = ["index.html", *(page.page_of(number, chapter) for number, chapter in enumerate(found.chapters, 1))]
    for width in (1280, 390):
        seen = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
        for name in names:
            seen.goto((out / name).as_uri())
            assert seen.evaluate(CHECKS) == [], (name, width, scheme)
            shot(seen, f"tour-{name}-{scheme}-{width}")
        seen.context.close()
