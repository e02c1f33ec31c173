"""What an annotator would be asked, and what that would cost, before anything is spent."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from germane.judges import pairs_of, saying
from germane.judges.calls import A_TOKEN, GUESSED
from germane.judges.graph import marker_of
from germane.judges.llm import Asked
from germane.judges.prices import Price
from germane.judges.prompts.annotating import Material
from germane.judges.replies import Replies, Usage, key_of
from germane.labelling.local import PairsFile, same_content
from germane.types import Pair

SECONDS = 8.0  # that a call is thought to take, before one was made
LOOKED_AT = 500  # pairs whose prompts are written out to be counted
A_THOUGHT = 1_000  # tokens that a reasoning model is thought to spend on a reply that says 150


class Sizes(NamedTuple):
    """What was measured of replies that are kept, or is assumed. from_replies: how many were measured, 0 for none."""

    written: float
    seconds: float
    characters_a_token: float
    from_replies: int


class Cost(NamedTuple):
    """What labelling is expected to take. calls: with early stopping from the fewest to all. dollars: None where a price is
    not known. hours: with so many calls at once as were asked for.
    """

    calls_least: int
    calls_most: int
    tokens_read: int
    tokens_cached: int
    tokens_written: int
    dollars: float | None
    dollars_a_label: float | None
    hours: float


class Forecast(NamedTuple):
    """A plan for labelling. known: calls whose reply is kept already, of the pairs looked at, as a share of all."""

    pairs: int
    different: int
    known: float
    cost: Cost
    sizes: Sizes
    prompt: str


def forecast(asked: Asked, pairs: PairsFile, replies: Replies, price: Price | None, *, at_once: int) -> Forecast:
    """What it takes to label these pairs; where a model reasons before it writes, that is paid for as well.

    Raises: InputError for a file that cannot be read.
    """
    number, different = same_content(pairs)
    sizes = _sizes(replies, asked.models[-1].thinks)
    prompts, known, sample = _prompts(asked, pairs, replies)
    n = 1 if asked.instructions.mode == "symbol" else asked.voting.n
    least = (n // 2 + 1) if asked.voting.early else n
    left = different * (1 - known)
    read = statistics.fmean(prompts) / sizes.characters_a_token if prompts else 0.0
    same = len(asked.instructions.system) / sizes.characters_a_token
    most = round(left * n)
    cached = max(most - at_once, 0) * same if same >= 1024 else 0.0  # providers keep prefixes of 1,024 tokens and more
    usage = Usage(round(most * read), round(cached), round(most * sizes.written))
    dollars = price.of(usage) if price is not None else None
    cost = Cost(
        round(left * least),
        most,
        *usage,
        dollars,
        None if dollars is None or not left else dollars / left,
        most * sizes.seconds / at_once / 3600,
    )
    return Forecast(len(number), different, known, cost, sizes, sample)


def _sizes(replies: Replies, thinks: bool) -> Sizes:
    seen = list(islice(replies.all(), LOOKED_AT))
    if not seen:
        return Sizes(GUESSED + (A_THOUGHT if thinks else 0), SECONDS, A_TOKEN, 0)
    written = statistics.fmean(reply.usage.written for reply in seen)
    seconds = statistics.fmean(reply.seconds for reply in seen)
    return Sizes(written or GUESSED, seconds, A_TOKEN, len(seen))


def _prompts(asked: Asked, pairs: PairsFile, replies: Replies) -> tuple[list[int], float, str]:
    """Characters of some prompts, the share of them whose first reply is kept, and one of them as text."""
    lengths, known, sample = [], 0, ""
    for pair in islice(_all(pairs), LOOKED_AT):
        query, item = saying.reads(pair)
        if not query or not item:
            continue
        query, item, _ = asked.instructions.cut(query, item)
        examples = asked.examples.of(query, item) if asked.examples else ()
        messages = asked.instructions.messages(Material(query, item, pair.query.context or ""), examples)
        lengths.append(sum(len(m["content"]) for m in messages))
        key = key_of([*asked.models[0].decides, asked.instructions.mode == "symbol"], messages, marker_of(messages), 0)
        known += key in replies
        sample = sample or "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages)
    return lengths, known / len(lengths) if lengths else 0.0, sample


def _all(pairs: PairsFile) -> Iterator[Pair]:
    for piece in pairs.pieces():
        yield from pairs_of(piece)
