"""A prompt in the tokens of one model: what stands around query and item, and the one token of each grade.

Texts are turned into tokens apart from what stands around them, so that nothing in a text can become a token of the chat
template. The rendered text around them is kept with the judge: a chat template that writes today's date changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from germane.judges.prompts.grading import MARK, Prompt, candidates, fenced
from germane.types import InputError, Scale

QUERY, ITEM = "GERMANE-THE-QUERY", "GERMANE-THE-ITEM"
QUERY_SHARE = 4
"""A query may take a quarter of the tokens of query and item together: an endless query must not push the item out."""


@dataclass(frozen=True)
class Frame:
    """What stands before the query, between query and item, and after the item, as text; and what the answer may be.

    answers: the text of each grade's token, worst first, as it is written after `parts`. mark: what is written before the
    answer where reasons come first, else "". begins: whether the model's first token (bos) is put before it all.
    """

    tokenizer: Any
    parts: tuple[str, str, str]
    symbols: tuple[str, ...]
    answers: tuple[str, ...]
    mark: str = ""
    begins: bool = False
    head: tuple[int, ...] = field(init=False)
    middle: tuple[int, ...] = field(init=False)
    tail: tuple[int, ...] = field(init=False)
    marking: tuple[int, ...] = field(init=False)
    grades: tuple[int, ...] = field(init=False)
    forbidden: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        head, middle, tail = (tuple(_encode(self.tokenizer, part)) for part in self.parts)
        if self.begins and self.tokenizer.bos_token_id is not None:
            head = (self.tokenizer.bos_token_id, *head)
        context = self.mark or self.parts[2]
        grades = [_one_token(self.tokenizer, context, answer) for answer in self.answers]
        if None in grades or len(set(grades)) < len(grades):
            raise InputError(f"the tokenizer has no single token for each of {', '.join(self.symbols)}: is it the judge's own?")
        values = {
            "head": head,
            "middle": middle,
            "tail": tail,
            "marking": tuple(_encode(self.tokenizer, self.mark)) if self.mark else (),
            "grades": tuple(grades),
            "forbidden": frozenset(_reserved(self.tokenizer)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def settings(self) -> dict[str, Any]:
        """What a judge's folder holds of it, with its tokenizer beside it."""
        return {
            "parts": list(self.parts),
            "symbols": list(self.symbols),
            "answers": list(self.answers),
            "mark": self.mark,
            "begins": self.begins,
        }

    @classmethod
    def restored(cls, tokenizer: Any, settings: dict[str, Any]) -> Frame:
        """The frame of a saved judge."""
        parts = (settings["parts"][0], settings["parts"][1], settings["parts"][2])
        symbols, answers = tuple(settings["symbols"]), tuple(settings["answers"])
        return cls(tokenizer, parts, symbols, answers, settings["mark"], settings["begins"])

    def plain(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """The tokens of texts, fenced, none of them a token with a meaning of its own; at most `limit` of each."""
        safe = [fenced(text) for text in texts]
        made = self.tokenizer(safe, add_special_tokens=False, verbose=False)["input_ids"] if safe else []
        return [
            (ids if self.forbidden.isdisjoint(ids) else self._cut(text))[:limit] for text, ids in zip(safe, made, strict=True)
        ]

    def ids(
        self, queries: Sequence[str], texts: Sequence[str], limit: int, pictures: Sequence[Sequence[int]] = ()
    ) -> list[list[int]]:
        """The prompt of each pair after `head`, as tokens. limit: of query and item. pictures: tokens put before each item."""
        asked = self.plain(queries, max(limit // QUERY_SHARE, 1))
        items = self.plain(texts, limit)
        shown = pictures or [()] * len(queries)
        rest = zip(asked, shown, items, strict=True)
        return [[*q, *self.middle, *shown_, *item[: max(limit - len(q), 0)], *self.tail] for q, shown_, item in rest]

    def _cut(self, text: str) -> list[int]:
        """The tokens of a text that spells reserved tokens: cut inside each of them, so that each is read as letters."""
        names = sorted((n for n in _added(self.tokenizer).values() if len(n) > 1), key=len, reverse=True)
        pieces: list[str] = []
        rest = text
        while found := re.search("|".join(map(re.escape, names)), rest):
            pieces.append(rest[: found.start() + 1])
            rest = rest[found.start() + 1 :]
        pieces.append(rest)
        made = [token for piece in pieces for token in _encode(self.tokenizer, piece)]
        return [token for token in made if token not in self.forbidden]


def frame(tokenizer: Any, scale: Scale, *, reasoning: bool = False) -> tuple[Frame, Prompt]:
    """The prompt for a scale in a model's tokens, with the first set of symbols that are one token each where they stand.

    Raises: InputError where no set of symbols is.
    """
    tried = candidates(scale)
    for symbols in tried:
        prompt = Prompt(scale, symbols, reasoning)
        parts, begins = _rendered(tokenizer, prompt)
        mark = f"\n{MARK}" if reasoning else ""
        context = mark or parts[2]
        gaps = ("", " ") if context[-1:].isspace() else (" ", "")
        for gap in gaps:
            answers = tuple(gap + symbol for symbol in symbols)
            found = [_one_token(tokenizer, context, answer) for answer in answers]
            if None not in found and len(set(found)) == len(found):
                return Frame(tokenizer, parts, symbols, answers, mark, begins), prompt
    shown = "; ".join(" ".join(symbols) for symbols in tried) or "none for so many grades"
    raise InputError(f"no symbols for the grades of {scale.name!r} are single tokens of this model (tried: {shown})")


def _rendered(tokenizer: Any, prompt: Prompt) -> tuple[tuple[str, str, str], bool]:
    """The model's chat template around the prompt, cut where query and item go; and whether bos is still to be put first."""
    said = prompt.text(QUERY, ITEM)
    chat = bool(getattr(tokenizer, "chat_template", None))
    if chat:
        turns = [{"role": "user", "content": said}]
        said = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    else:
        said += "\n\n" if prompt.reasoning else f"\n\n{MARK}"
    if said.count(QUERY) != 1 or said.count(ITEM) != 1 or said.index(QUERY) > said.index(ITEM):
        raise InputError("the model's chat template does not show a message as it was written: it cannot be used for a judge")
    head, rest = said.split(QUERY)
    middle, tail = rest.split(ITEM)
    return (head, middle, tail), not chat


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _one_token(tokenizer: Any, context: str, answer: str) -> int | None:
    """The single token that an answer adds to what stands before it, or None."""
    before, after = _encode(tokenizer, context), _encode(tokenizer, context + answer)
    if len(after) != len(before) + 1 or after[:-1] != before or after[-1] == tokenizer.unk_token_id:
        return None
    return after[-1]


def _added(tokenizer: Any) -> dict[int, str]:
    """Tokens with a meaning of their own, by id; runs of spaces, which some tokenizers add, have none."""
    added = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
    return added | {i: t for i, t in zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)}


def _reserved(tokenizer: Any) -> set[int]:
    """Ids that no text may become. Where the model of the tokenizer itself falls back on "unknown", that one may."""
    reserved = set(_added(tokenizer))
    backend = getattr(tokenizer, "backend_tokenizer", None)
    unknown = getattr(getattr(backend, "model", None), "unk_token", None)
    return reserved - {tokenizer.convert_tokens_to_ids(unknown)} if unknown else reserved
