"""What a call to a language model tells besides its text: tokens used, the likeliest tokens; and the shape of what is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from germane.judges.replies import Usage

MOST_TOKENS = 50_000_000  # that a server can mean of one call


def used(read: Any, cached: Any, written: Any, messages: Sequence[Mapping[str, Any]], text: str) -> tuple[Usage, bool]:
    """The tokens of a call, as told; of what is not told, or cannot be, what letters say, at most; and whether that was so."""
    bounds = most_tokens(messages), len(text) // 3 + 1
    sound = [type(n) is int and 0 < n <= MOST_TOKENS for n in (read, written)]
    if text == "" and written == 0:
        sound[1] = True
    one, two = (n if ok else bound for n, ok, bound in zip((read, written), sound, bounds, strict=True))
    kept = cached if type(cached) is int and 0 <= cached <= one and sound[0] else 0
    return Usage(one, kept, two), not all(sound)


def most_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Tokens that messages have at most, about: letters of English in threes, others one or two tokens each, 2,000 an image."""
    total = 0.0
    for message in messages:
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        for part in parts:
            text = str(part.get("text", ""))
            plain = len(text.encode("ascii", "ignore"))
            total += plain / 3 + 2 * (len(text) - plain) + 2_000 * (part.get("type") == "image_url")
    return int(total) + 50


def with_caching(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages, the first marked to be kept: Anthropic keeps a prompt's beginning where it is asked to."""
    first = {"type": "text", "text": messages[0]["content"], "cache_control": {"type": "ephemeral"}}
    return [{"role": "system", "content": [first]}, *map(dict, messages[1:])]


def texts(content: Any) -> str:
    """The text of a reply in parts; reasoning and other kinds of parts are left out."""
    parts = content if isinstance(content, list) else []
    return "".join(
        p if isinstance(p, str) else str(p.get("text", "")) if p.get("type") in ("text", None) else "" for p in parts
    )


def tops(logprobs: Any) -> dict[str, float]:
    """The likeliest tokens at the first place of a reply.

    vLLM puts the token that was drawn first, in the place of the last one: where it is less likely than all others, it is
    none of the likeliest, and would say of what is not told that it is less likely still.
    """
    try:
        told = [(str(t["token"]), float(t["logprob"])) for t in logprobs["content"][0]["top_logprobs"]]
    except (TypeError, KeyError, IndexError, ValueError):
        return {}
    told = [(token, value) for token, value in told if isfinite(value) and value <= 1e-6]  # some tell of what cannot be
    drawn = len(told) > 2 and told[0][1] < min(value for _, value in told[1:])
    found: dict[str, float] = {}
    for token, value in told[1:] if drawn else told:  # tokens of the same letters are one here
        found[token] = min(float(np.logaddexp(found[token], value)), 0.0) if token in found else value
    return found
