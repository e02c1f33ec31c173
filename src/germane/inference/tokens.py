"""Texts to tokens by the tokenizers library alone: the same numbers for torch and ONNX, without transformers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from germane.extras import needs
from germane.types import InputError

Ints = NDArray[np.int64]


class Tokens:
    """Cuts texts into tokens, at most max_length each, marks of begin and end included. saved: what is in a tokenizer.json.

    pad: the number that fills a shorter row. prefix: put before each text. A text that looks like one of the tokenizer's own
    marks ("[SEP]") is read as words: a document cannot say where it ends.

    Raises: InputError for what is no tokenizer.
    """

    def __init__(self, saved: str, *, max_length: int, pad: int, prefix: str = "") -> None:
        needs("serve", "tokenizers", by="inference/tokens.py")
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(saved)
        except Exception as problem:  # the library raises Exception itself
            raise InputError(f"the tokenizer.json cannot be read: {problem}") from problem
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.encode_special_tokens = True
        self.max_length, self.pad, self.prefix = max_length, pad, prefix

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text."""
        if len(texts) == 1:  # a batch is handed to threads, which take longer to wake up than a query takes to be cut
            return [self._tokenizer.encode(self.prefix + texts[0]).ids]
        return [found.ids for found in self._tokenizer.encode_batch([self.prefix + text for text in texts])]

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
        """Rows as one array (n, longest) filled on the right, and a mask of the same shape that is 1 where tokens are."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = (np.arange(max(lengths.max(initial=0), 1)) < lengths[:, None]).astype(np.int64)
        ids = np.full(mask.shape, self.pad, dtype=np.int64)
        ids[mask == 1] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        return ids, mask
