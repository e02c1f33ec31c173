"""What images show, in words: each image captioned once by a model of your choice, and kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from germane import extras
from germane.extras import needs
from germane.judges import causal, reading
from germane.judges.images import FIELD, Images
from germane.judges.loading import locate
from germane.store import sha256
from germane.text import clean
from germane.types import Doc, InputError

PROMPT = "Describe the product in this image in one short sentence."
LONGEST = 40  # tokens of a caption
CAPTION, MISSING, BROKEN, EMPTY = "caption", "missing", "broken", "empty"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


class Captioner(Protocol):
    """Whatever writes captions: images in, as many texts out. fingerprint: of all that decides a caption."""

    @property
    def fingerprint(self) -> str: ...

    def __call__(self, images: Sequence[Any]) -> list[str]: ...


class Captioned(NamedTuple):
    """The caption of each document's image, or None; and the outcome: "caption", or why there is none.

    asked: images that the model was shown now; the others were in the store, or had none to show.
    """

    text: tuple[str | None, ...]
    outcome: tuple[str, ...]
    asked: int


def captions(names: Sequence[str | None], folder: Path, captioner: Captioner, kept: Captions, *, batch: int = 16) -> Captioned:
    """The caption of each image, by its path in a folder; None for a document without one.

    Each image is shown to the model once, however many documents have it and however often this is called: captions are
    appended to `kept` after every batch, so that a kill loses one batch at most. An image that is not there, cannot be read,
    or of which the model says nothing has an outcome with its reason, and no caption.

    Raises: InputError for a folder that is not there, and for a model that cannot be loaded or needs more memory.
    """
    images = Images(folder)
    digests: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in dict.fromkeys(name for name in names if name):
        if path := _inside(folder, name):
            digests[name] = sha256(path)
        else:
            failed[name] = f"{MISSING}: {images.of(Doc(name, {FIELD: name}))[1]}"
    known = dict(kept.read(captioner.fingerprint))
    first: dict[str, str] = {}
    for name, digest in digests.items():
        first.setdefault(digest, name)
    asked, block = 0, []
    for digest, name in first.items():
        if digest in known:
            continue
        image, problem = images.of(Doc(name, {FIELD: name}))
        if image is None:
            failed |= {other: f"{BROKEN}: {problem}" for other, d in digests.items() if d == digest}
            continue
        block.append((digest, image))
        if len(block) == batch:
            known |= _asked(block, captioner, kept)
            asked, block = asked + len(block), []
    if block:
        known |= _asked(block, captioner, kept)
        asked += len(block)
    found = [_told(name, digests, known, failed) for name in names]
    return Captioned(tuple(text for text, _ in found), tuple(outcome for _, outcome in found), asked)


def _inside(folder: Path, name: str) -> Path | None:
    """The file of this name in the folder; None where there is none, or it lies outside."""
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _told(
    name: str | None, digests: Mapping[str, str], known: Mapping[str, str], failed: Mapping[str, str]
) -> tuple[str | None, str]:
    if not name:
        return None, f"{MISSING}: no image is named"
    if name in failed:
        return None, failed[name]
    text = known[digests[name]]
    return (text, CAPTION) if text else (None, f"{EMPTY}: the model said nothing")


def _asked(block: Sequence[tuple[str, Any]], captioner: Captioner, kept: Captions) -> dict[str, str]:
    said = captioner([image for _, image in block])
    found = {digest: clean(text) for (digest, _), text in zip(block, said, strict=True)}
    kept.append(captioner.fingerprint, found)
    return found


def image_names(doc_ids: Sequence[str], folder: Path) -> list[str | None]:
    """The file of each document in a folder, named by its doc_id with a suffix of images; None where there is none."""
    names = {path.stem: path.name for path in sorted(folder.iterdir(), reverse=True) if path.suffix.lower() in SUFFIXES}
    return [names.get(doc_id) for doc_id in doc_ids]


class Captions:
    """A file of captions that only grows: one JSON object a line, by the image's sha256 and the model's fingerprint.

    A line that a kill cut short is no caption; it is passed over, and the image is asked again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, fingerprint: str) -> Iterator[tuple[str, str]]:
        """The sha256 of each image that this model captioned, with the caption; "" where it said nothing."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    said = json.loads(line)
                    if said["model"] == fingerprint:
                        yield str(said["image"]), str(said["caption"])
                except (ValueError, KeyError, TypeError):
                    continue

    def append(self, fingerprint: str, found: Mapping[str, str]) -> None:
        """Adds captions, on disk when this returns. Raises: InputError where they cannot be written."""
        rows = [{"image": digest, "model": fingerprint, "caption": text} for digest, text in found.items()]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                if file.tell() and not _ends_its_line(file):
                    lines = "\n" + lines
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise InputError(
                f"captions could not be written to {self.path} ({problem.strerror}): make room; those before are kept"
            ) from problem


def _ends_its_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


class ImageToText:
    """Captions by any image-to-text or image-text-to-text model of transformers: BLIP, GIT, or a vision-language model.

    name: a hub's name or a folder. prompt: what a model that follows instructions is asked; others continue it, so the
    default for them is none. The most likely words are taken, so that the same image has the same caption.

    Raises: InputError for a model that does not describe images, and for a folder without weights.
    """

    def __init__(
        self, name: str | Path, *, prompt: str | None = None, device: str | None = None, longest: int = LONGEST
    ) -> None:
        needs("train", "torch", "transformers", "PIL", by="captions")
        from transformers import AutoConfig
        from transformers.models.auto import modeling_auto as auto

        self.where, self.longest = locate(name), longest
        try:
            self.config = AutoConfig.from_pretrained(self.where, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as problem:
            raise InputError(f"{name} could not be loaded: {str(problem).strip().splitlines()[0]}") from problem
        if self.config.model_type not in auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            raise InputError(f"{name} is a {self.config.model_type}, which does not describe images: BLIP does, for one")
        here = Path(self.where)
        if here.is_dir() and not [*here.glob("*.safetensors"), *here.glob("pytorch_model*.bin")]:
            raise InputError(f"{name} has no weights: what it says of an image would mean nothing")
        self.device, self.given = extras.device(device), prompt

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of the weights, the prompt and the most that it may say."""
        said = json.dumps([causal.digest(self.where, self.config), self.given, PROMPT, self.longest])
        return "captions:" + hashlib.sha256(said.encode()).hexdigest()[:16]

    def __call__(self, images: Sequence[Any]) -> list[str]:
        """The caption of each image. Raises: InputError where memory is too small, saying what to do."""
        import torch

        try:
            with torch.no_grad(), _quiet():
                said: list[str] = self._generate(images)
                return said
        except (RuntimeError, MemoryError) as problem:
            if isinstance(problem, MemoryError) or "out of memory" in str(problem).lower():
                raise InputError(
                    f"out of memory with {len(images)} images at once: try --batch {len(images) // 2 or 1}"
                ) from problem
            raise

    @cached_property
    def _generate(self) -> Any:
        if self.config.model_type in causal.PICTURES:
            return self._of_patches()
        return self._of_processor()

    def _of_patches(self) -> Any:
        """Qwen's models, whose own processor needs torchvision: see `judges.causal`."""
        import torch

        found = causal.language_model(self.where, device=self.device, images=True)
        model, tokenizer = found.model, found.tokenizer
        mark = "<the image>"
        asked = [{"role": "user", "content": f"{mark}{self.given or PROMPT}"}]
        text = f"{mark}{self.given or PROMPT}"
        if getattr(tokenizer, "chat_template", None):
            text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in text.split(mark))
        filler = reading.padding(tokenizer)

        def generate(images: Sequence[Any]) -> list[str]:
            pixels = [reading.prepared(found.pictures, model.config, image) for image in images]
            rows = [[*before, *p.ids, *after] for p in pixels]
            longest = max(map(len, rows))
            ids = torch.tensor([[filler] * (longest - len(row)) + row for row in rows], device=model.device)
            mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
            given = {**reading.shown(model, ids, pixels), "input_ids": ids, "attention_mask": mask}
            out = model.generate(**given, max_new_tokens=self.longest, do_sample=False, pad_token_id=filler)
            return list(tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True))

        return generate

    def _of_processor(self) -> Any:
        """Any other model, by the processor that it is saved with."""
        import transformers

        auto: Any = transformers  # whose classes are made as they are asked for, without types
        try:
            processor = auto.AutoProcessor.from_pretrained(self.where, trust_remote_code=False)
            options = {"dtype": causal.precision(self.device), "trust_remote_code": False}
            model = auto.AutoModelForImageTextToText.from_pretrained(self.where, **options).to(self.device).eval()
        except (OSError, ValueError, KeyError, ImportError) as problem:
            raise InputError(f"{self.where} could not be loaded: {str(problem).strip().splitlines()[0]}") from problem
        asked, follows = self.given, bool(getattr(processor, "chat_template", None))
        if follows:
            content = [{"type": "image"}, {"type": "text", "text": self.given or PROMPT}]
            asked = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            processor.tokenizer.padding_side = "left"

        def generate(images: Sequence[Any]) -> list[str]:
            texts = {"text": [asked] * len(images), "padding": True} if asked else {}
            shown = [[image] for image in images] if follows else list(images)
            given = processor(images=shown, return_tensors="pt", **texts).to(model.device, model.dtype)
            out = model.generate(**given, max_new_tokens=self.longest, do_sample=False)
            begun = given["input_ids"].shape[1] if follows else 0
            return list(processor.batch_decode(out[:, begun:], skip_special_tokens=True))

        return generate


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' advice on generation."""
    import transformers

    logging: Any = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
