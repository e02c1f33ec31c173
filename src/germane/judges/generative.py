"""A fine-tuned language model as a judge, in process: it grades by the probabilities of the grades' tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import extras
from germane.extras import quietly
from germane.inference.operations import Read
from germane.judges import folder as folders
from germane.judges import saying
from germane.judges.causal import ADAPTER, MODEL, digest, language_model, tokenizer_of
from germane.judges.images import Images, without_image
from germane.judges.likeliest import LEAST_MASS
from germane.judges.prompts import Frame
from germane.judges.reading import Reader
from germane.types import InputError, Judgment, Outcome, Pair

Floats = NDArray[np.float64]


class Answer(NamedTuple):
    """What came of asking about one pair. logits: (grades,), no numbers where there is no grade. note: what is to be known."""

    logits: Floats
    outcome: Outcome = Outcome.LABEL
    note: str = ""


Asking = Callable[[Sequence[Pair]], Sequence[Answer]]


class Generative:
    """A trained teacher, ready to be asked.

    folder: of the judge. device: as torch names it. batch: pairs at once. images: the folder of documents' images, or
    `Images`, for a judge that was trained with them; a pair whose image is missing is judged on its text, and its note says so.

    Raises: InputError for a folder without such a judge, and for a base that is no longer the one it was trained from.
    """

    def __init__(
        self, folder: str | Path, *, device: str | None = None, batch: int = 16, images: Images | str | Path | None = None
    ) -> None:
        self.about = folders.read(folder, kind="generative")
        self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale
        settings = self.about.settings
        self.images = Images(Path(images)) if isinstance(images, str | Path) else images
        if self.images is not None and not settings["images"]:
            raise InputError(f"{folder} was trained without images: leave them out")
        self.batch = batch
        where = extras.device(device)
        with quietly():
            language = _loaded(Path(folder), self.about, where)
        frame = Frame.restored(language.tokenizer, settings["frame"])
        self._reader = Reader(
            language.model,
            frame,
            limit=self.about.max_length,
            pictures=language.pictures,
            reason_tokens=settings["reason_tokens"],
        )

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        at_once = saying.BLOCK if self.images is None else 4 * self.batch  # opened images are large
        return answered(pairs, self.about, self._asked, block=at_once)

    def score(self, queries: Sequence[str], texts: Sequence[str]) -> Floats:
        """Log-probabilities of the grades' tokens, shape (n, grades): logits before the temperature."""
        return self._reader.read(queries, texts, batch=self.batch).logits

    def reads(self, queries: Sequence[str], texts: Sequence[str]) -> list[Read]:
        """What its model reads of these pairs after the part of the prompt that all share; no images."""
        reader = self._reader
        lengths = [len(row) for row in reader.frame.ids(queries, texts, reader.limit)]
        numbers = str(next(reader.model.parameters()).dtype).removeprefix("torch.")
        return [Read(reader.model.config.to_dict(), np.array(lengths, dtype=np.int64), numbers)]

    def _asked(self, pairs: Sequence[Pair]) -> list[Answer]:
        queries, texts = zip(*map(saying.reads, map(without_image, pairs)), strict=True)
        images = [(None, "")] * len(pairs) if self.images is None else [self.images.of(pair.doc) for pair in pairs]
        found = self._reader.read(queries, texts, [image for image, _ in images], batch=self.batch)
        return [
            graded(logits, mass, said, f"judged on its text: {missing}" if missing else "")
            for logits, mass, said, (_, missing) in zip(found.logits, found.mass, found.said, images, strict=True)
        ]


def graded(logits: Floats, mass: float, said: str = "", note: str = "") -> Answer:
    """The answer that a reading is: a grade, or the reason why it is none."""
    reasons = " ".join(said.split())[:500]
    if not np.isfinite(logits).all():
        return Answer(logits, Outcome.UNPARSEABLE, f"it never came to a grade: {reasons}" if reasons else "")
    if mass < LEAST_MASS:
        nothing = np.full_like(logits, np.nan)
        return Answer(nothing, Outcome.UNPARSEABLE, f"the grades had {mass:.1%} of the probability, under {LEAST_MASS:.0%}")
    return Answer(logits, note="; ".join(filter(None, (note, reasons))))


def answered(pairs: Iterable[Pair], about: folders.About, ask: Asking, *, block: int = saying.BLOCK) -> Iterator[Judgment]:
    """The judgments of a judge that may also fail on a pair, in the order of the pairs. ask: called with pairs that have text.

    What `saying.judgments` does with logits holds here too; an answer's outcome and note come on top of it.
    """
    stream = iter(pairs)
    while chunk := list(islice(stream, block)):
        whole = [i for i, pair in enumerate(chunk) if all(saying.reads(without_image(pair)))]
        answers = dict(zip(whole, ask([chunk[i] for i in whole]) if whole else (), strict=True))
        logits = np.array([answers[i].logits for i in whole], dtype=np.float64).reshape(len(whole), len(about.scale.labels))
        plain = saying.judgments(map(without_image, chunk), about, _same(logits), block=block)
        for i, judgment in enumerate(plain):
            answer = answers.get(i)
            if answer is None:
                yield judgment
            elif answer.outcome is Outcome.LABEL:
                yield judgment._replace(note="; ".join(filter(None, (judgment.note, answer.note))))
            else:
                yield judgment._replace(outcome=answer.outcome, note=answer.note or judgment.note)


def _same(logits: Floats) -> saying.Score:
    return lambda queries, texts: logits


def _loaded(folder: Path, about: folders.About, device: str) -> Any:
    """The judge's weights: its own, or those of the base with the judge's adapter on top."""
    settings = about.settings
    if not (folder / ADAPTER).is_dir():
        return language_model(folder / MODEL, device=device, images=settings["images"])
    from peft import PeftModel

    language = language_model(
        about.base, device=device, images=settings["images"], quantised=settings["quantised"], seed=settings["seed"]
    )
    known, now = settings["base_digest"], digest(about.base, language.model.config)
    if known != now:
        raise InputError(f"{folder} is an adapter of {about.base} {known}, and what has that name now is {now}: get that one")
    model = PeftModel.from_pretrained(language.model, str(folder / ADAPTER), is_trainable=False)
    return language._replace(model=model.eval(), tokenizer=tokenizer_of(str(folder / ADAPTER)))
