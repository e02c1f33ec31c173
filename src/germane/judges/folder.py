"""A trained judge as a folder: judge.json says what it is and how it decides; weights and tokenizer lie beside it.

The folder is put in place whole, or not at all. judge.json holds the digest of every other file, so that a judge whose
weights were changed is refused, and cannot answer under a fingerprint that is not its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from germane.store import sha256
from germane.text import TextPlan
from germane.types import InputError, Scale

ABOUT = "judge.json"
TRAINING = "training.json"
CARD = "README.md"  # may be edited
UNREAD = (ABOUT, CARD, TRAINING)  # not of the fingerprint: what tells of the judge, and does not judge


@dataclass(frozen=True)
class About:
    """What a trained judge is. kind: "cross-encoder", "generative" or "two-tower".

    base: the model that training started from, as it was named. max_length: tokens of query and document together (of each
    tower). temperature: logits are divided by it. weights: of each grade in the decision, () = the likeliest grade stands.
    settings: what a kind needs besides (prompt, pooling, features). lineage: fingerprints of the judges that taught it,
    nearest first; taught_by: their names. random_weights: nothing was ever learned, and it shows nothing but speed.
    """

    kind: str
    name: str
    scale: Scale
    base: str
    max_length: int
    temperature: float = 1.0
    weights: tuple[float, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    lineage: tuple[str, ...] = ()
    taught_by: tuple[str, ...] = ()
    random_weights: bool = False
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The kind and 16 hex digits of all that decides a judgment: weights, tokenizer, text, guide, temperature, decision.

        "random:" stands for the kind where nothing was learned: `compare` refuses such a judge as it does a fake.
        """
        shown = [self.kind, self.scale.labels, self.scale.version, self.max_length, self.temperature, self.weights]
        files = {name: digest for name, digest in self.files.items() if name not in UNREAD}
        decides = json.dumps([*shown, self.settings, files], sort_keys=True, ensure_ascii=False)
        return f"{'random' if self.random_weights else self.kind}:{hashlib.sha256(decides.encode()).hexdigest()[:16]}"

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "fingerprint": self.fingerprint}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> About:
        said = json.loads(text)
        if not isinstance(said, dict):
            raise TypeError("it is no object")
        fingerprint = said.pop("fingerprint", None)
        scale = said["scale"]
        scale = Scale(scale["name"], tuple(scale["labels"]), tuple(scale["gains"]), scale["guide"], scale["aliases"])
        listed = {name: tuple(said[name]) for name in ("weights", "lineage", "taught_by")}
        about = cls(**{**said, **listed, "scale": scale})
        if about.fingerprint != fingerprint:
            raise ValueError("it was changed after the judge was saved: its fingerprint is another")
        return about


@contextmanager
def writing(out: Path, about: About) -> Iterator[Path]:
    """A new folder to save weights into; when the block ends well, it becomes `out`, with judge.json in it.

    Raises: InputError as `replacing`.
    """
    with replacing(out, ABOUT, "judge") as part:
        yield part
        whole = replace(about, files={name: digest for name, digest in digests(part).items() if name != ABOUT})
        (part / ABOUT).write_text(whole.to_json(), encoding="utf-8")


@contextmanager
def replacing(out: Path, mark: str, kind: str) -> Iterator[Path]:
    """A new folder to write into; when the block ends well, it becomes `out`, whole; what stood there stays if it fails.

    mark: the file by which such a folder is known. kind: what it is called in messages.

    Raises: InputError where `out` is something else than such a folder, and where the disk is full.
    """
    if out.exists() and not (out / mark).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there, and is no {kind}: name a new folder")
    part, old = (out.with_name(f".{out.name}.{uuid4().hex[:8]}.{end}") for end in ("part", "old"))
    try:
        part.mkdir(parents=True)
        yield part
        if out.exists():
            os.replace(out, old)
        os.replace(part, out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as problem:
        kept = "what stood there before still does"
        raise InputError(f"{out} could not be written ({problem.strerror or problem}): {kept}") from problem
    finally:
        shutil.rmtree(part, ignore_errors=True)


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file below a folder, by its path in it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: sha256(folder / name) for name in names}


def read(folder: str | Path, *, kind: str | None = None) -> About:
    """What the judge in a folder is. kind: what it has to be, if that matters.

    Raises: InputError for a folder without a judge, of another kind, or with files that are not those it was saved with.
    """
    path = Path(folder) / ABOUT
    if not path.is_file():
        raise InputError(f"{folder} is no judge: it has no {ABOUT}; `germane train` makes such folders")
    try:
        about = About.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{path} is not as germane wrote it ({problem}): train or copy the judge again") from problem
    if kind is not None and about.kind != kind:
        raise InputError(f"{folder} is a {about.kind}, not a {kind}")
    for name, digest in about.files.items():
        if not (Path(folder) / name).is_file():
            raise InputError(f"{folder} lacks {name}: copy the judge's whole folder again")
        if name != CARD and _digest(Path(folder) / name) != digest:
            raise InputError(f"{Path(folder) / name} is not the file that this judge was saved with: train or copy it again")
    return about


def _digest(path: Path) -> str:
    """Its sha256, computed once a process as long as the file stays: weights of gigabytes take seconds, and are read twice."""
    there = path.stat()
    return _digest_of(str(path.resolve()), there.st_ino, there.st_size, there.st_mtime_ns)


@cache
def _digest_of(path: str, *state: int) -> str:
    return sha256(path)


def trained_on(folder: str | Path) -> tuple[str, ...]:
    """Digests (`germane.text.query_digest`) of the queries that the judge in a folder learned from; () if not known."""
    try:
        return tuple(map(str, json.loads((Path(folder) / TRAINING).read_text(encoding="utf-8"))["queries"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def learned_text(folder: str | Path) -> str | None:
    """The digest of the plan that made the texts which the judge in a folder learned from; None if not known."""
    said = _text(folder)
    return str(said["digest"]) if said.get("digest") else None


def learned_plan(folder: str | Path) -> TextPlan | None:
    """The plan itself; None if not known."""
    said = {name: value for name, value in _text(folder).items() if name != "cut"}
    return TextPlan.from_dict(said) if said else None


def _text(folder: str | Path) -> Mapping[str, Any]:
    try:
        said = json.loads((Path(folder) / TRAINING).read_text(encoding="utf-8")).get("text")
    except (OSError, ValueError, AttributeError):
        return {}
    return said if isinstance(said, Mapping) else {}


def merge_training(folders: Sequence[Path], part: Path) -> None:
    """Writes a training.json into a new folder that lists the queries which any of these judges learned from."""
    queries = sorted({digest for folder in folders for digest in trained_on(folder)})
    (part / "training.json").write_text(json.dumps({"kind": "committee", "queries": queries}) + "\n", encoding="utf-8")
