"""The images of documents: files under one folder, and nothing outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from germane.extras import needs
from germane.types import Doc, InputError, Pair

FIELD = "image"
"""The field of a document that names its image."""
MOST_PIXELS = 50_000_000
LARGEST = 1024
LONGEST = 100  # times as long as wide: beyond it, an image is no picture of a product


@dataclass(frozen=True)
class Images:
    """Where images lie. names: doc_id -> path in the folder, for documents that do not have the field "image".

    Raises: InputError for a folder that is not there.
    """

    folder: Path
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needs("train", "PIL", by="judges with images")
        object.__setattr__(self, "folder", Path(self.folder))
        if not self.folder.is_dir():
            raise InputError(f"images are read from a folder, and {self.folder} is none")

    def of(self, doc: Doc) -> tuple[Any, str]:
        """A document's image (RGB), or None; and why it has none, "" where it was never said to have one."""
        name = doc.fields.get(FIELD) or self.names.get(doc.doc_id)
        if not name:
            return None, ""
        try:
            path = (self.folder / name).resolve()
            if not path.is_relative_to(self.folder.resolve()):
                return None, "its image lies outside of the folder of images"
            if not path.is_file():
                return None, "its image is not there"
            return _opened(path)
        except (OSError, ValueError):  # a name that no file can have
            return None, "its image is not there"


def without_image(pair: Pair) -> Pair:
    """The pair as text alone: the field that names an image is no text."""
    if FIELD not in pair.doc.fields:
        return pair
    return pair._replace(doc=pair.doc._replace(fields={k: v for k, v in pair.doc.fields.items() if k != FIELD}))


def _opened(path: Path) -> tuple[Any, str]:
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large files; what is too large is refused below
            with Image.open(path, formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
                width, height = image.size
                if width * height > MOST_PIXELS or max(width, height) > LONGEST * max(min(width, height), 1):
                    return None, f"its image is too large ({width} x {height})"
                image.thumbnail((LARGEST, LARGEST))  # no judge sees more, and a thousand of them fit into memory
                return image.convert("RGB"), ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for broken files
        return None, "its image cannot be read"
