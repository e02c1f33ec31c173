"""Which image is whose, by a table of documents; and what they are, so that other images make another job."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from germane import sources, store
from germane.judges.images import FIELD, Images
from germane.types import InputError


@dataclass(frozen=True)
class Pictures:
    """Images as files have them. folder: where they lie. docs: the documents' table; its column names each one's file."""

    folder: Path
    docs: Path
    column: str = FIELD

    def open(self) -> Images:
        """The images by doc_id; a document whose column is empty has none.

        Raises: InputError for a folder that is not there, and documents without this column, or with nothing in it.
        """
        docs = sources.read_docs(self.docs)
        if self.column not in docs.column_names:
            raise InputError(f"{self.docs} has no column {self.column!r} of images: it has {', '.join(docs.column_names)}")
        rows = zip(docs["doc_id"].to_pylist(), docs[self.column].to_pylist(), strict=True)
        names = {str(doc_id): str(name) for doc_id, name in rows if name}
        if not names:
            raise InputError(f"{self.docs}: column {self.column!r} names no image")
        return Images(self.folder, names)


def digest(images: Images, doc_ids: Iterable[str]) -> str:
    """64 hex digits of the names and contents of these documents' images.

    Raises: InputError where not one of the images is there, which is a wrong folder and not many missing images.
    """
    inside, found = images.folder.resolve(), dict[str, str]()
    for doc_id in sorted(set(doc_ids)):
        if name := images.names.get(doc_id):
            path = (images.folder / name).resolve()
            there = path.is_relative_to(inside) and path.is_file()
            found[doc_id] = f"{name}\n{store.sha256(path) if there else ''}"
    if not any(said.rpartition("\n")[2] for said in found.values()):
        raise InputError(f"{images.folder} holds no image of these documents ({len(found):,} of them have a name of one)")
    return hashlib.sha256("\n".join(f"{doc_id}\n{said}" for doc_id, said in found.items()).encode()).hexdigest()
