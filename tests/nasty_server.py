"""A server of the OpenAI shape, here, that says what real ones say on good days and on bad ones.

    with server(first(2, busy(after="0"), then=good(lambda text: "E"))) as (url, asked): ...

A behaviour is a function of the request and its number, from 1, that gives a `Reply`. One thread, keep-alive, one asyncio
protocol: fast enough for benchmarks, where it runs as a process of its own: `python tests/nasty_server.py --delay 0.2`.
"""

import argparse
import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, NamedTuple

MODEL, FINGERPRINT = "nasty-1-2026-01-01", "fp_good"


class Reply(NamedTuple):
    """What is sent. body: of the JSON kinds, or a text as it stands. delay: seconds before. cut: bytes of the whole, headers
    included, after which the line goes dead (0: without a word); None: the whole is sent.
    """

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = {}
    delay: float = 0.0
    cut: int | None = None


class Asked(NamedTuple):
    """What was asked. headers: names in small letters. at: seconds of time.monotonic."""

    path: str
    request: dict[str, Any]
    headers: dict[str, str]
    at: float


Behaviour = Callable[[dict[str, Any], int], Reply]


def words(request: Mapping[str, Any]) -> str:
    """What the user says in a request, images left out."""
    content = next((m["content"] for m in reversed(request.get("messages", [])) if m["role"] == "user"), "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def verdict(grade: Any, reasoning: str = "The item is what was asked for.", confidence: Any = 0.9) -> str:
    """The text of a reply as the judge asks for it."""
    return json.dumps({"reasoning": reasoning, "grade": grade, "confidence": confidence}, ensure_ascii=False)


def chat(
    request: Mapping[str, Any],
    content: str | None,
    *,
    finish: str = "stop",
    refusal: str | None = None,
    model: str = MODEL,
    fingerprint: str = FINGERPRINT,
) -> Reply:
    """A chat completion, with as many choices as were asked for, usage, and what is left of a rate."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    logprobs = _logprobs(content or "") if request.get("logprobs") else None
    count = int(request.get("n") or 1)
    choices = [{"index": i, "message": message, "logprobs": logprobs, "finish_reason": finish} for i in range(count)]
    shown, written = len(json.dumps(request.get("messages", []))) // 4, count * (len(content or refusal or "") // 4 + 1)
    usage = {"prompt_tokens": shown, "completion_tokens": written, "total_tokens": shown + written}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "system_fingerprint": fingerprint}
    return Reply(200, {**body, "choices": choices, "usage": usage}, rate(1000))


def _logprobs(content: str) -> dict[str, Any]:
    """Of one token a word, each nearly certain."""
    tokens = [{"token": t, "logprob": -0.01, "bytes": list(t.encode())} for t in re.findall(r"\w+|\W", content)]
    return {"content": [{**t, "top_logprobs": [t]} for t in tokens]}


def rate(left: int, reset: str = "60ms") -> dict[str, str]:
    """The headers that tell what is left of a rate of 1,000 requests and a million tokens."""
    requests = {"limit-requests": "1000", "remaining-requests": str(left), "reset-requests": reset}
    tokens = {"limit-tokens": "1000000", "remaining-tokens": str(1000 * left), "reset-tokens": reset}
    return {f"x-ratelimit-{name}": value for name, value in {**requests, **tokens}.items()}


def error(status: int, message: str, code: str, kind: str = "invalid_request_error", **headers: str) -> Reply:
    """An error as OpenAI words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, named)


# --- good days ------------------------------------------------------------------------------------------------------


def good(grade: Callable[[str], Any] = lambda text: "E", **more: Any) -> Behaviour:
    """A verdict, its grade a function of what the user says."""
    return lambda request, _: chat(request, verdict(grade(words(request))), **more)


def saying(content: str | None, **more: Any) -> Behaviour:
    """The same words to everybody."""
    return lambda request, _: chat(request, content, **more)


def first(times: int, this: Behaviour, then: Behaviour) -> Behaviour:
    """One behaviour for the first requests, another from then on."""
    return lambda request, number: (this if number <= times else then)(request, number)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One behaviour a request, and then from the beginning."""
    return lambda request, number: behaviours[(number - 1) % len(behaviours)](request, number)


def slow(seconds: float, then: Behaviour) -> Behaviour:
    """The same, later."""
    return lambda request, number: then(request, number)._replace(delay=seconds)


def always(reply: Reply) -> Behaviour:
    return lambda request, number: reply


# --- bad days: what comes instead of an answer ----------------------------------------------------------------------


def busy(after: str | None = None) -> Behaviour:
    """429. after: what Retry-After says, None for nothing; `date_in` makes a date."""
    told = error(429, "Rate limit reached for requests", "rate_limit_exceeded", "requests")
    return always(told._replace(headers={**rate(0, "1s"), **({"retry-after": after} if after is not None else {})}))


def date_in(seconds: float) -> str:
    """A time from now as HTTP writes it, in whole seconds."""
    return formatdate(time.time() + seconds, usegmt=True)


def failing(status: int = 500) -> Behaviour:
    """500 and its like, not in JSON."""
    return always(Reply(status, "<html><body>upstream error</body></html>", {"content-type": "text/html"}))


def hanging_up(cut: int = 0, then: Behaviour | None = None) -> Behaviour:
    """The line goes dead after so many bytes of a good reply."""
    return lambda request, number: (then or good())(request, number)._replace(cut=cut)


NO_QUOTA = always(error(429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota"))
BAD_KEY = always(error(401, "Incorrect API key provided", "invalid_api_key"))
NO_MODEL = always(error(404, "The model does not exist or you do not have access to it", "model_not_found"))
FILTERED = always(error(400, "The response was filtered due to the content management policy", "content_filter"))
TOO_LONG = always(error(400, "This model's maximum context length is 8192 tokens", "context_length_exceeded"))
HALF_A_BODY = always(Reply(200, '{"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"role": "assi'))
NO_JSON = always(Reply(200, "<html>A proxy's page</html>", {"content-type": "text/html"}))
NO_CHOICES = always(Reply(200, {"id": "chatcmpl-1", "object": "chat.completion", "model": MODEL, "choices": []}))


def without(parameter: str, then: Behaviour) -> Behaviour:
    """400 where a request has a parameter that this server does not know: "logprobs", "response_format", "seed"."""
    refused = error(400, f"Unsupported parameter: '{parameter}' is not supported with this model.", "unsupported_parameter")
    return lambda request, number: refused if request.get(parameter) else then(request, number)


def deaf_to(parameter: str, then: Behaviour) -> Behaviour:
    """A server that takes a parameter and does as if it were not there."""
    return lambda request, number: then({k: v for k, v in request.items() if k != parameter}, number)


# --- bad days: answers that are none --------------------------------------------------------------------------------

CUT_OFF = saying(verdict("E")[:40], finish="length")
ANOTHER_NAME = saying(verdict("Excellent"))
TWO_VERDICTS = saying(f"{verdict('E')}\n\nOn second thought:\n\n{verdict('S')}")
REFUSAL_FIELD = saying(None, refusal="I'm sorry, I can't assist with that.")
REFUSAL_IN_WORDS = saying("I'm sorry, but I can't help with that.")
STOPPED_BY_FILTER = saying("", finish="content_filter")
EMPTY = saying("")
NULL = saying(None)
LONG = saying("word " * 20_000)  # 100 kB
LONG_AND_GOOD = saying("word " * 20_000 + verdict("E"))


def drifting(after: int, before: Behaviour, then: Callable[[str], Any]) -> Behaviour:
    """Another model answers under the same name after so many requests: other grades, and it says who it is."""
    return first(after, before, then=good(then, model="nasty-2-2026-06-01", fingerprint="fp_other"))


# --- the server -----------------------------------------------------------------------------------------------------


class _Line(asyncio.Protocol):
    """One connection: requests come whole or in pieces, and are answered in turn."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], Reply], lines: set[asyncio.Transport]) -> None:
        self.answer, self.lines, self.held = answer, lines, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.lines.add(transport)

    def connection_lost(self, problem: Exception | None) -> None:
        self.lines.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            start, *lines = self.held[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self.held) < whole:
                return
            body, self.held = self.held[end + 4 : whole], self.held[whole:]
            reply = self.answer(start.split(" ")[1], headers, body)
            if reply.delay:
                asyncio.get_running_loop().call_later(reply.delay, self.send, reply)
            else:
                self.send(reply)

    def send(self, reply: Reply) -> None:
        if self.transport.is_closing():  # whoever asked has gone
            return
        body = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode("utf-8", "surrogatepass")
        fixed = {"content-type": "application/json", "server": "nasty", **reply.headers, "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self.transport.write((f"HTTP/1.1 {reply.status} {reply.status}\r\n{head}\r\n".encode() + body)[: reply.cut])
        if reply.cut is not None:
            self.transport.close()


@contextmanager
def server(behaviour: Behaviour, *, port: int = 0) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a server, up to and with /v1, and the list of what it is asked, which grows.

    What a behaviour raises is answered with 500, and raised where the block ends.
    """
    asked: list[Asked] = []
    lines: set[asyncio.Transport] = set()
    faults: list[Exception] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path.endswith("/models"):
            return Reply(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        try:
            request = json.loads(body)
            asked.append(Asked(path, request, headers, time.monotonic()))
            return behaviour(request, len(asked))
        except Exception as problem:
            faults.append(problem)
            return error(500, repr(problem), "behaviour")

    loop = asyncio.new_event_loop()
    made = loop.run_until_complete(loop.create_server(lambda: _Line(answer, lines), "127.0.0.1", port, backlog=1024))
    thread = threading.Thread(target=loop.run_forever, name="nasty-server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}/v1", asked
    finally:
        asyncio.run_coroutine_threadsafe(_closed(made, lines), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    if faults:
        raise faults[0]


async def _closed(made: asyncio.Server, lines: set[asyncio.Transport]) -> None:
    made.close()
    while lines:
        for line in list(lines):
            line.abort()
        await asyncio.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds before each reply")
    parser.add_argument("--grade", default="E")
    options = parser.parse_args()
    with server(slow(options.delay, good(lambda text: options.grade)), port=options.port) as (url, asked):
        print(url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(asked)} requests")


if __name__ == "__main__":
    main()
