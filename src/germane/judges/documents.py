"""Documents as a search reads them: their vectors, and what the head reads of their texts."""

from __future__ import annotations

from typing import NamedTuple

from germane.inference.vector_store import VectorStore
from germane.judges.lexical_store import LexicalStore


class Documents(NamedTuple):
    """A folder of vectors at one moment. words: None where its texts were not read before: they are read in the search."""

    vectors: VectorStore
    words: LexicalStore | None = None

    @classmethod
    def of(cls, vectors: VectorStore, *, read: bool = True, verify: bool = True) -> Documents:
        """The documents of these vectors. read: whether the head reads their texts.

        Raises: InputError for files that are not what was written.
        """
        return cls(vectors, LexicalStore.of(vectors, verify=verify) if read and vectors.about.texts else None)

    def later(self) -> Documents:
        """The documents with what others added since; these stay as they are, for whoever reads them now.

        Raises: InputError for files that are not what was written; these stay as they are.
        """
        vectors = self.vectors.later()
        return Documents.of(vectors) if self.words is None else Documents(vectors, self.words.later(vectors))

    def lacks(self) -> bool:
        """Whether vectors were added that have no words here."""
        words = self.words
        return words is not None and (words.generation != self.vectors.generation or len(words) < len(self.vectors))
