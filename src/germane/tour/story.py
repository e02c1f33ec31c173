"""`germane tour`: the whole story on a simulated marketplace, from golden votes to an alert, and pages that tell it.

Read `tour` from top to bottom. Each chapter calls the verbs that a team would call, leaves its files and its report in the
folder, and says what came out. A chapter that is done is not done again, unless one that it builds on is; killed in any of
them, the next call goes on there, and whatever was voted, labelled, trained or watched stands.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from germane import store
from germane.extras import needs
from germane.report import tour as page
from germane.report.tour import Chapter, Days, Figure
from germane.tour import days, judges, people, search
from germane.tour.world import SMALL, Base, Size, World
from germane.types import InputError, decode

_LOG = logging.getLogger("germane")
KEPT = "chapters"
"""The folder of what each chapter found, as JSON."""

BUILT_ON = {
    "annotator": ("golden",),
    "teacher": ("golden", "annotator"),
    "student": ("golden", "annotator", "teacher"),
    "labels": ("student",),
    "experiment": ("golden", "student", "labels"),
    "filter": ("golden", "student", "labels"),
    "watching": ("golden", "student"),
}
"""Chapter -> those whose files it reads."""


@dataclass(frozen=True)
class Tour:
    """What the tour found. page: where to begin reading. made: chapters done by this call. seconds: of all, when done."""

    out: str
    page: str
    chapters: tuple[Chapter, ...]
    days: Days
    made: int
    seconds: float


class Telling:
    """The chapters as they come: each is done once, kept, and told on the pages."""

    def __init__(self, out: Path, facts: list[tuple[str, str]], count: int) -> None:
        self.out, self.facts, self.count = out, facts, count
        self.chapters: list[Chapter] = []
        self.days: Days | None = None
        self.made = 0

    def tell(self, name: str, do: Callable[[], Chapter | tuple[Chapter, Days]]) -> None:
        """A chapter, done now unless it was before; then the pages."""
        number = len(self.chapters) + 1
        path = self.out / KEPT / f"{number}-{name}.json"
        kept = _kept(path, self.out)
        if kept is None:
            self._forget(name)
            _LOG.info("chapter %s of %s, %s", number, self.count, name, extra={"done": number - 1, "total": self.count})
            since = time.perf_counter()
            said = do()
            chapter, days_ = said if isinstance(said, tuple) else (said, None)
            kept = replace(_known(chapter), seconds=round(time.perf_counter() - since, 1)), days_
            told = {"chapter": asdict(kept[0]), "days": None if days_ is None else asdict(days_)}
            store.write_text(path, json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
            self.made += 1
            _LOG.info("%s: %.0f s", name, kept[0].seconds, extra={"done": number, "total": self.count})
            self._told(*kept)
            self.pages()
        else:
            self._told(*kept)

    def _forget(self, name: str) -> None:
        """Chapters that build on this one count as not done, from before it is redone: a kill between them changes nothing."""
        for later in after(name):
            for path in (self.out / KEPT).glob(f"*-{later}.json"):
                path.unlink(missing_ok=True)

    def _told(self, chapter: Chapter, of_days: Days | None) -> None:
        self.chapters.append(chapter)
        self.days = of_days or self.days

    def pages(self) -> None:
        """The pages of the chapters so far; those that say the same already are left alone."""
        for number, chapter in enumerate(self.chapters, 1):
            _write(self.out / page.page_of(number, chapter), page.chapter(self.chapters, number))
        _write(self.out / "index.html", page.index(self.chapters, self.days, self.facts, answer(self.chapters)))


def tour(
    out: Path = Path("tour"),
    *,
    encoder: str | None = None,
    language_model: str | None = None,
    seed: int = 1,
    size: Size = SMALL,
) -> Tour:
    """The story, chapter by chapter; its folder begins at index.html. A second call does nothing anew, a killed one goes on.

    encoder: base of cross-encoder and student, a folder or a model's name; by default a small BERT from scratch, with word
    pieces of the listings: a larger one learns too little in minutes. language_model: base of the teacher; by default a small
    Llama from scratch, since a real one takes an hour on two cores. seed: of draws and training; the marketplace stays.

    Raises: InputError where an extra is missing, for a base that cannot be read, and for a folder that holds another tour.
    """
    needs("train", "torch", "transformers", "accelerate", by="the tour")
    needs("web", "fastapi", "sqlalchemy", "alembic", "argon2", "python_multipart", "httpx", by="the tour")
    needs("llm", "langgraph", "langchain_core", by="the tour")
    asked = {"seed": seed, "size": size._asdict(), "encoder": encoder, "language_model": language_model}
    _same(out, asked)
    world, found = World(out, size, seed), list[tuple[Base, Base]]()

    def bases() -> tuple[Base, Base]:
        found.extend([world.bases(encoder, language_model)] if not found else [])
        return found[0]

    told = Telling(out, _facts(size, seed), 8)
    with alone() if encoder is None and language_model is None else nullcontext():
        _tell(told, world, bases)
    told.pages()
    assert told.days is not None
    seconds = round(sum(c.seconds for c in told.chapters), 1)
    return Tour(str(out), str(out / "index.html"), tuple(told.chapters), told.days, told.made, seconds)


def _tell(told: Telling, world: World, bases: Callable[[], tuple[Base, Base]]) -> None:
    """The chapters, in order."""
    # People say what is relevant, and a model that labels is held against them.
    told.tell("golden", lambda: people.chapter(world))
    told.tell("annotator", lambda: judges.annotator(world))
    # Models of our own learn from its labels: two teachers, and a student that is cheap enough for every result.
    told.tell("teacher", lambda: judges.taught(world, *bases()))
    told.tell("student", lambda: judges.pupil(world, bases()[0]))
    # The student grades what search shows: an experiment is read, and bad results are left out.
    told.tell("labels", lambda: search.labels(world))
    told.tell("experiment", lambda: search.experiment(world))
    told.tell("filter", lambda: search.filtered(world))
    # And it watches search, day by day.
    told.tell("watching", lambda: days.chapter(world))


def after(name: str) -> set[str]:
    """The chapters that build on one, or on one that does.

    >>> sorted(after("student"))
    ['experiment', 'filter', 'labels', 'watching']
    """
    found = {later for later, read in BUILT_ON.items() if name in read}
    return found.union(*map(after, found))


@contextmanager
def alone() -> Iterator[None]:
    """A block in which torch computes on one core: models this small gain little from a second, and wait where it is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def answer(chapters: list[Chapter]) -> str:
    """The tour in a sentence: how far it is, and how it ends."""
    last = chapters[-1]
    return last.answer if last.name == "watching" else f"{len(chapters)} chapters are told so far. {last.title}: {last.answer}"


def _facts(size: Size, seed: int) -> list[tuple[str, str]]:
    return [
        ("Simulated", "everything: items, queries, people, the annotator's replies, requests and the incident"),
        ("Marketplace", f"{size.items:,} items, {size.queries:,} queries"),
        ("Seed", f"{seed}, of draws and training"),
    ]


def _same(out: Path, asked: dict[str, Any]) -> None:
    """Notes what the tour in a folder is.

    Raises: InputError where it holds one that was asked for otherwise, or something else.
    """
    place = out / "tour.json"
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: it is a file; name a folder")
    if not place.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"--out {out}: the folder holds something else than a tour; name a new one")
        store.write_text(place, json.dumps(asked, indent=2) + "\n")
        return
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise InputError(f"{place} cannot be read: take the folder away, or name a new one") from problem
    if known != asked:
        names = [name for name in asked if not isinstance(known, dict) or known.get(name) != asked[name]]
        raise InputError(f"--out {out}: that tour was made with another {' and '.join(names)}; name a new folder")


def _kept(path: Path, out: Path) -> tuple[Chapter, Days | None] | None:
    """A chapter that was done, if its report is still there."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        chapter, of_days = decode(Chapter, said["chapter"]), None if said["days"] is None else decode(Days, said["days"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    assert isinstance(chapter, Chapter)
    assert of_days is None or isinstance(of_days, Days)
    there = [chapter.report, *chapter.more]
    return (chapter, of_days) if all((out / link.path).is_file() for link in there) else None


def _known(chapter: Chapter) -> Chapter:
    """The chapter with words in place of figures that too few pairs could not give."""
    unknown = Figure("", None, "not known: too few pairs")
    figures = tuple(
        f if f.estimate is None or all(map(isfinite, (f.estimate.value, f.estimate.low, f.estimate.high)))
        else unknown._replace(name=f.name)
        for f in chapter.figures
    )  # fmt: skip
    return replace(chapter, figures=figures)


def _write(path: Path, text: str) -> None:
    """A page, unless it says the same already."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        store.write_text(path, text)
