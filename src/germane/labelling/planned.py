"""What an annotator would be asked, and what that would cost, before anything is spent."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from germane.judges import pairs_of, saying
from germane.judges.calls import A_TOKEN, GUESSED
from germane.judges.graph import marker_of
from germane.judges.llm import CONTEXT, Asked
from germane.judges.prices import Price
from germane.judges.prompts.annotating import Material
from germane.judges.providers import Model
from germane.judges.replies import Replies, Usage, key_of
from germane.labelling.content import same_content
from germane.labelling.reading import PairsFile
from germane.types import Pair

SECONDS = 8.0  # that a call is thought to take, before one was made
IMAGE = 1_000  # tokens that an item's image is thought to take
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


def forecast(
    asked: Asked, pairs: PairsFile, replies: Replies, prices: Sequence[Price | None], *, places: Sequence[str], at_once: int
) -> Forecast:
    """What it takes to label these pairs. prices, places: of each model. Where a model reasons first, that is paid for too.

    With a cheaper model first, the most is that every pair is handed on.

    Raises: InputError for a file that cannot be read.
    """
    number, different = same_content(pairs)
    n = 1 if asked.instructions.mode == "symbol" else asked.voting.n
    prompts, known, sample = _prompts(asked, pairs, replies, n, places)
    fewest = (n // 2 + 1) if asked.voting.early else n
    sizes = [_sizes(replies, model) for model in asked.models]
    letters = sizes[-1].characters_a_token
    read = statistics.fmean(prompts) if prompts else 0.0
    same = len(asked.instructions.system) / letters
    usages, hours = [], 0.0
    for share, size in zip(known, sizes, strict=True):
        most = round(different * n * (1 - share))
        cached = max(most - at_once, 0) * same if same >= 1024 else 0.0  # providers keep prefixes of 1,024 tokens and more
        usages.append((most, Usage(round(most * read), round(cached), round(most * size.written))))
        hours += most * size.seconds / at_once / 3600
    calls = sum(most for most, _ in usages)
    dollars = None
    if None not in prices:
        dollars = sum(price.of(usage) for price, (_, usage) in zip(prices, usages, strict=True) if price is not None)
    left = calls / (n * len(asked.models))
    total = Usage(*map(sum, zip(*(usage for _, usage in usages), strict=True)))
    least = round(usages[0][0] * fewest / n)
    cost = Cost(least, calls, *total, dollars, None if dollars is None or not left else dollars / left, hours)
    return Forecast(len(number), different, statistics.fmean(known), cost, sizes[-1], sample)


def _sizes(replies: Replies, model: Model) -> Sizes:
    """Of this model's kept replies, by the name that its server gives it; else what is assumed."""
    own = (reply for reply in replies.all() if str(reply.engine.get("model_name", "")).startswith(model.name))
    seen = list(islice(own, LOOKED_AT))
    if not seen:
        return Sizes(GUESSED + (A_THOUGHT if model.thinks else 0), SECONDS, A_TOKEN, 0)
    written = statistics.fmean(reply.usage.written for reply in seen)
    seconds = statistics.fmean(reply.seconds for reply in seen)
    return Sizes(written or GUESSED, seconds, A_TOKEN, len(seen))


def _prompts(
    asked: Asked, pairs: PairsFile, replies: Replies, n: int, places: Sequence[str]
) -> tuple[list[float], list[float], str]:
    """Tokens, about, of some prompts, the share of each model's n samples of them that are kept, and one of them as text."""
    lengths: list[float] = []
    sample = ""
    known = [0] * len(asked.models)
    for pair in islice(_all(pairs), LOOKED_AT):
        query, item = saying.reads(pair)
        if not query or not item:
            continue
        query, item, _ = asked.instructions.cut(query, item)
        examples = asked.examples.of(query, item) if asked.examples else ()
        messages = asked.instructions.messages(Material(query, item, (pair.query.context or "")[:CONTEXT]), examples)
        lengths.append(sum(_tokens(m["content"]) for m in messages) + IMAGE * asked.images)
        marker, symbol = marker_of(messages), asked.instructions.mode == "symbol"
        for at, (model, place) in enumerate(zip(asked.models, places, strict=True)):
            known[at] += sum(key_of([*model.decides, symbol, place], messages, marker, i) in replies for i in range(n))
        sample = sample or "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in messages)
    return lengths, [count / (n * len(lengths)) if lengths else 0.0 for count in known], sample


def _tokens(text: str) -> float:
    """About how many tokens a text is: letters of Latin scripts by threes and a half, of others each about one."""
    wide = sum(ord(letter) > 0x2E7F for letter in text)
    other = len(text) - len(text.encode("ascii", "ignore")) - wide
    return (len(text) - wide - other) / A_TOKEN + 1.2 * wide + other / 2


def _all(pairs: PairsFile) -> Iterator[Pair]:
    for piece in pairs.pieces():
        yield from pairs_of(piece)
