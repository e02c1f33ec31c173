"""Is this language model ready to be asked? One small call for each thing that an annotator may want of it."""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from germane.judges.calls import Caller, Calling, Failure, Gate, Spent
from germane.judges.graph import marker_of
from germane.judges.prompts.annotating import Instructions, Material
from germane.judges.providers import Endpoint, Model
from germane.judges.replies import Replies, Reply
from germane.judges.verdicts import Verdict, schema, verdict
from germane.types import InputError, Outcome, Scale

PAIR = Material("red garden chair", "title: Garden chair, red, of steel")
FEW = 3  # tokens that the same text may have more when it comes in parts, without an image
_BEGUN = re.compile(r'\s*\{\s*"reasoning"\s*:')
OK, ABSENT, BROKEN = "ok", "absent", "broken"


class Finding(NamedTuple):
    """What was found of one thing. state: "ok", "absent" (it can be done without) or "broken"."""

    subject: str
    state: str
    found: str
    advice: str = ""


def checkup(model: Model, endpoint: Endpoint, scale: Scale, *, timeout: float = 120.0) -> tuple[Finding, ...]:
    """What a model can do, asked with four small calls: answer at all, keep to a schema, give logprobs, see an image.

    timeout: seconds for each.
    """
    return tuple(asyncio.run(_checkup(model, endpoint, scale, timeout)))


async def _checkup(model: Model, endpoint: Endpoint, scale: Scale, timeout: float) -> list[Finding]:
    spent = Spent()

    async def ask(*, image: str = "", symbol: bool = False, structured: str = "text") -> Reply | Failure:
        most, temperature = (1, 0.0) if symbol else (model.most, model.temperature)
        one = Model(model.provider, model.name, temperature, most, model.effort, structured)
        calling = Calling(1, timeout, tries=1)
        caller = Caller(one, endpoint, calling, Replies(), price=None, spent=spent, gate=Gate(1), symbol=symbol)
        try:
            caller.open(schema(scale))
            instructions = Instructions(scale, mode="symbol" if symbol else "reasons")
            messages = instructions.messages(PAIR._replace(image=image))
            return await caller.ask(messages, marker=marker_of(messages), sample=0)
        finally:
            await caller.close()

    try:
        first = await ask()
    except InputError as problem:
        return [Finding(f"{model}", BROKEN, str(problem), "see docs/annotator.md")]
    if isinstance(first, Failure):
        late = first.outcome is Outcome.TIMEOUT and first.why.startswith("no reply")
        advice = "a slow server needs --timeout SECONDS" if late else "is the address right, and the server up?"
        return [Finding(f"{model}", BROKEN, first.why, advice)]
    said = verdict(first.text, scale)
    words = f"answers in {first.seconds:.2f} s as {first.engine.get('model_name', model.name)}"
    told = f", in words: {scale.labels[said.relevance]}" if isinstance(said, Verdict) and said.relevance is not None else ""
    found = [Finding(f"{model}", OK, words + told)]
    bound = model.structured if model.structured != "text" else "schema"
    kept = _kept(scale)
    found.append(await _of("structured output", ask(structured=bound), kept, "--structured tool, or --structured text"))
    found.append(await _of("logprobs", ask(symbol=True), lambda r: "yes" if r.tops else "", "no --mode symbol with this model"))
    no_images = "no --images with this model: captions are text (germane enrich)"
    found.append(await _of("images", ask(image=_dot()), _saw(first), no_images))
    limits = ", ".join(f"{name.removeprefix('x-ratelimit-limit-')} {value}" for name, value in sorted(spent.limits.items()))
    found.append(Finding("limits", OK if limits else ABSENT, limits or "the server names none in its headers"))
    return found


async def _of(
    subject: str, asking: Coroutine[object, object, Reply | Failure], sees: Callable[[Reply], str], advice: str
) -> Finding:
    try:
        reply = await asking
    except InputError as problem:
        return Finding(subject, ABSENT, str(problem)[:200], advice)
    if isinstance(reply, Failure):
        return Finding(subject, ABSENT, reply.why, advice)
    return Finding(subject, OK, seen) if (seen := sees(reply)) else Finding(subject, ABSENT, "taken, and not done", advice)


def _saw(without: Reply) -> Callable[[Reply], str]:
    """An image is read as some tokens. Servers of models for text alone may leave it out without a word."""
    told = without.usage.read
    return lambda reply: "" if told and reply.usage.read and reply.usage.read <= told + FEW else "yes"


def _kept(scale: Scale) -> Callable[[Reply], str]:
    """A small model that is bound to the schema may write on inside of it until its tokens are spent."""

    def seen(reply: Reply) -> str:
        if isinstance(verdict(reply.text, scale), Verdict):
            return "yes"
        begun = reply.ended in ("length", "max_tokens") and _BEGUN.match(reply.text)
        return f"yes, and cut off at its limit of tokens ({reply.usage.written:,} written)" if begun else ""

    return seen


def _dot() -> str:
    """A white image of 32 x 32 pixels as a data address, without any package for images."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    head = (32).to_bytes(4) * 2 + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress((b"\0" + b"\xff" * 32) * 32)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
