"""Calls to a language model: bounded in number and money, tried again where that is worth it, each reply kept at once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, NamedTuple

from germane.judges.failures import LONGEST_WAIT, Problem, classed, hidden
from germane.judges.prices import Price
from germane.judges.providers import PROVIDERS, Endpoint, Model, chat
from germane.judges.replies import NONE, Replies, Reply, Usage, key_of
from germane.judges.sample import Recording
from germane.judges.told import most_tokens, texts, tops, used, with_caching
from germane.types import InputError, Outcome

TOP = 20  # likeliest tokens that are asked for in the mode "symbol": the most that OpenAI and vLLM give
A_TOKEN = 3.5  # characters, about: for estimates before anything is known
GUESSED = 150  # tokens that a reply is thought to have, before one came


class Stopped(InputError):
    """The job ended before its end on purpose, and nothing is lost: the same command goes on. CLI exit code 1."""

    exit_code = 1


class Failure(NamedTuple):
    """A call without a reply, for this pair. It is not kept: another run asks again."""

    outcome: Outcome
    why: str


@dataclass(frozen=True)
class Calling:
    """How a model is called. at_once: calls in flight at most. timeout: seconds for one. tries: of one call in all. wait:
    seconds before the second try, doubled each time. patience: times more that a call is sent where the server says that it
    is too busy. budget: dollars at most, kept replies not counted.
    """

    at_once: int = 16
    timeout: float = 120.0
    tries: int = 5
    wait: float = 0.5
    patience: int = 12
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.tries < 1 or not 0 < self.timeout < inf or not 0 <= self.wait < inf:
            raise InputError("calls: at least one at once, one try, and a time limit above 0 seconds that ends")
        if self.budget is not None and not 0 < self.budget < inf:
            raise InputError(f"--budget {self.budget:g}: give dollars above 0, or leave it out")


@dataclass
class Spent:
    """What a run has cost so far. known: replies that were there. tries: calls that were sent, repeated ones included.

    reserved: dollars that calls in flight may cost at most. longest: tokens of a reply so far. guessed: replies whose server
    told no usage, so that their tokens were counted from letters. counted: calls of cut pairs that a pair was charged for.
    """

    calls: int = 0
    known: int = 0
    tries: int = 0
    usage: Usage = NONE
    money: float = 0.0
    reserved: float = 0.0
    longest: int = 0
    guessed: int = 0
    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    engines: dict[str, Counter[str]] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)

    def add(self, reply: Reply, price: Price | None) -> None:
        self.calls += 1
        self.longest = max(self.longest, reply.usage.written)
        self.usage += reply.usage
        self.money += price.of(reply.usage) if price else 0.0
        if len(self.seconds) < 10_000:
            self.seconds.append(reply.seconds)


class Gate:
    """How many calls may be in flight: halved when the server says that it is too much, and raised again bit by bit.

    A server that says how long to wait is left alone for so long, by all calls.
    """

    def __init__(self, most: int) -> None:
        self.most, self.allowed = most, float(most)
        self.inside, self.until, self._slowed = 0, 0.0, 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        while self._waiting and self._waiting[0].done():  # who stopped waiting
            self._waiting.popleft()
        if self.inside >= int(self.allowed) or self._waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.leave()  # its place was given to it at the same moment
                raise
        else:
            self.inside += 1
        while (left := self.until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def leave(self) -> None:
        self.inside -= 1
        self._next()

    def well(self) -> None:
        self.allowed = min(self.most, self.allowed + 1 / self.allowed)

    def too_much(self, wait: float) -> None:
        now = time.monotonic()
        self.until = max(self.until, now + wait)
        if now - self._slowed > 1.0:  # one burst of refusals halves it once
            self.allowed, self._slowed = max(1.0, self.allowed / 2), now

    def _next(self) -> None:
        while self._waiting and self.inside < int(self.allowed):
            turn = self._waiting.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)


class Caller:
    """One model at one place, asked through LangChain. price: None where it is not known. offline: kept replies alone.
    recording: what answers in the model's place.

    Made and used inside one event loop. `spent` is what it has cost; a reply is in `replies` before it is given out.
    """

    def __init__(
        self,
        model: Model,
        endpoint: Endpoint,
        calling: Calling,
        replies: Replies,
        *,
        price: Price | None,
        spent: Spent,
        gate: Gate,
        symbol: bool = False,
        offline: bool = False,
        recording: Recording | None = None,
    ) -> None:
        self.model, self.endpoint, self.calling, self.replies = model, endpoint, calling, replies
        self.price, self.spent, self.gate, self.symbol, self.offline = price, spent, gate, symbol, offline
        self.recording = recording
        self._worked = False
        self._place: str | None = None
        self._chat: Any = None
        self._client: Any = None
        self._bound: dict[str, Any] = {}
        self._asking: dict[str, asyncio.Future[Reply | Failure]] = {}

    def open(self, schema: Mapping[str, Any]) -> None:
        """Makes the chat model. schema: of a verdict, for models that are bound to it.

        Raises: InputError for a missing package or key.
        """
        if self.offline or self.recording is not None:
            return
        self._client = _fast_client(self.calling)
        self._chat = chat(self.model, self.endpoint, timeout=self.calling.timeout, client=self._client)
        body: dict[str, Any] = {} if self.model.provider == "openai" else {"max_tokens": self.model.most}
        if self.symbol:
            self._bound = {"logprobs": True, "top_logprobs": TOP}
        elif self.model.structured == "schema":
            form = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": dict(schema)}}
            body["response_format"] = form
        elif self.model.structured == "tool":
            tool = {"title": "verdict", "description": "The verdict on the pair.", **schema}
            self._chat = self._chat.bind_tools([tool], tool_choice="verdict")
        if PROVIDERS[self.model.provider].shape and body:
            self._bound["extra_body"] = body

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def _answered(self, engine: Mapping[str, str]) -> None:
        self.spent.engines.setdefault(str(self.model), Counter())["/".join(engine.values())] += 1

    def _once(self, key: str, reply: Reply) -> Reply:
        """The reply, its tokens counted the first time alone."""
        if key in self.spent.counted:
            return replace(reply, usage=NONE)
        self.spent.counted.add(key)
        return reply

    async def ask(
        self, messages: Sequence[Mapping[str, Any]], *, marker: str, sample: int, cut: bool = False
    ) -> Reply | Failure:
        """The reply to these messages: a kept one, or a new one, which is then kept.

        cut: of a pair that others may be the same as, once cut: only the first of them is told what it cost.

        Raises: InputError for what would fail for every pair (no model, no access); Stopped at the budget.
        """
        if self.recording is not None:
            said = self.recording.reply(messages, sample) if len(messages) == 2 else None  # nobody answers a question back
            self.spent.known += said is not None
            return said or Failure(Outcome.ABSTAINED, "not in the recording")
        key = self.key(messages, marker=marker, sample=sample)
        known = self.replies.get(key)
        if known is not None:
            self.spent.known += 1
            self._answered(known.engine)
            if self.replies.earlier(known):
                return replace(known, usage=NONE)  # paid for by another day
            return self._once(key, known) if cut else known
        if self.offline:
            return Failure(Outcome.ABSTAINED, "not among the recorded replies")
        if (same := self._asking.get(key)) is not None:  # the same call is in flight for another pair
            found = await asyncio.shield(same)
            return found if isinstance(found, Failure) else replace(found, usage=NONE)  # paid for by the other
        self._asking[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._tried(messages, key)
            self._asking[key].set_result(found)
            return self._once(key, found) if cut and isinstance(found, Reply) else found
        except BaseException:
            self._asking[key].cancel()
            raise
        finally:
            del self._asking[key]

    def now(self, said: Reply | Failure) -> bool:
        """Whether the model was asked for this now, or before a kill of the same day."""
        if self.offline or self.recording is not None:
            return False
        return isinstance(said, Failure) or not self.replies.earlier(said)

    def key(self, messages: Sequence[Mapping[str, Any]], *, marker: str, sample: int) -> str:
        """Under which a reply to these messages is kept."""
        if self._place is None:
            self._place = self.endpoint.place(self.model)
        return key_of([*self.model.decides, self.symbol, self._place], messages, marker, sample)

    async def _tried(self, messages: Sequence[Mapping[str, Any]], key: str) -> Reply | Failure:
        why, outcome, tried, busy = "", Outcome.TIMEOUT, 0, 0
        while True:
            await self.gate.enter()
            try:
                most = await self._afford(messages)
                self.spent.tries += 1
                began = time.perf_counter()
                try:
                    said = await self._invoke(messages)
                    found: Reply | Problem = self._read(said, messages, time.perf_counter() - began)
                except Exception as problem:
                    found = self._failed(problem, messages, time.perf_counter() - began)
                finally:
                    self.spent.reserved = max(self.spent.reserved - most, 0.0)
                if isinstance(found, Reply):
                    self.replies.put(key, found)
                    self.spent.add(found, self.price)
                    self.gate.well()
                    self._worked = True
                    return found
                if found.fatal:
                    raise InputError(found.why)
                if not found.again:
                    self.spent.failures[found.outcome] += 1
                    return Failure(found.outcome, found.why)
                why, outcome, wait = found.why, found.outcome, found.wait
                if found.crowded:
                    self.gate.too_much(wait)
            finally:
                self.gate.leave()
            # A server that is too busy says nothing of this pair: that uses up patience, and no try.
            busy, tried = busy + found.crowded, tried + (not found.crowded)
            if tried >= self.calling.tries or busy > self.calling.patience:
                break
            backoff = self.calling.wait * 2 ** (tried + busy - 1) * (1 + random.random() / 4)
            await asyncio.sleep(min(max(wait, backoff), LONGEST_WAIT))
        self.spent.failures[outcome] += 1
        times = tried + busy
        return Failure(outcome, f"no answer in {times} tries: {why}" if times > 1 else why)

    async def _invoke(self, messages: Sequence[Mapping[str, Any]]) -> Any:
        said = with_caching(messages) if self.model.provider == "anthropic" else list(messages)
        return await asyncio.wait_for(self._chat.ainvoke(said, **self._bound), self.calling.timeout + 5)

    async def _afford(self, messages: Sequence[Mapping[str, Any]]) -> float:
        """Dollars that this call may cost at most, now reserved; waits for calls in flight where theirs are in the way.

        Raises: Stopped where the budget does not hold them.
        """
        if self.calling.budget is None or self.price is None:
            return 0.0
        written = max(self.model.most, self.spent.longest)  # some servers do not keep to the limit that they are given
        most = self.price.of(Usage(most_tokens(messages), 0, written))
        while self.spent.money + self.spent.reserved + most > self.calling.budget:
            if self.spent.reserved < 1e-12:
                raise Stopped(
                    f"stopped before the budget of ${self.calling.budget:g} was passed: ${self.spent.money:.4f} are spent in "
                    f"{self.spent.calls:,} calls, one more could cost ${most:.4f}, and every reply is kept: run the same "
                    "command again with more, and it goes on"
                )
            await asyncio.sleep(0.02)
        self.spent.reserved += most
        return most

    def _read(self, said: Any, messages: Sequence[Mapping[str, Any]], seconds: float) -> Reply:
        """LangChain's message as a reply."""
        told = dict(getattr(said, "response_metadata", None) or {})
        text = said.content if isinstance(said.content, str) else texts(said.content)
        calls = getattr(said, "tool_calls", None) or []
        if calls and not self.symbol:
            text = "\n".join(json.dumps(call.get("args"), ensure_ascii=False) for call in calls)
        counted = getattr(said, "usage_metadata", None) or {}
        cached = (counted.get("input_token_details") or {}).get("cache_read") or 0
        usage, guessed = used(counted.get("input_tokens"), cached, counted.get("output_tokens"), messages, text)
        self.spent.guessed += guessed
        engine = {k: self._hidden(str(told[k]))[:100] for k in ("model_name", "system_fingerprint") if told.get(k)}
        self._answered(engine)
        headers = told.get("headers") or {}
        limits = {k: str(v) for k, v in headers.items() if k.lower().startswith("x-ratelimit-limit")}
        self.spent.limits.update({k: self._hidden(v)[:40] for k, v in limits.items()})
        ended = self._hidden(str(told.get("finish_reason") or told.get("stop_reason") or "stop"))[:100]
        refusal = (getattr(said, "additional_kwargs", None) or {}).get("refusal") or ""
        text, refusal = self._hidden(text), self._hidden(str(refusal))
        likeliest = {self._hidden(token): value for token, value in tops(told.get("logprobs")).items()}
        return Reply(text, ended, refusal[:500], likeliest, usage, engine, round(seconds, 4), self.replies.day)

    def _hidden(self, text: str) -> str:
        return hidden(text, self.model, self.endpoint)

    def _failed(self, problem: Exception, messages: Sequence[Mapping[str, Any]], seconds: float) -> Problem:
        late = seconds >= 0.9 * self.calling.timeout
        found = classed(problem, self.model, self.endpoint, late, self.calling.timeout)
        shown = any(not isinstance(message["content"], str) for message in messages)
        if found.perhaps and (self._worked or (found.perhaps == "image" and not shown)):
            return found._replace(fatal=False)  # it was taken for other pairs, or not asked for: this one alone is refused
        return found


def _fast_client(calling: Calling) -> Any:
    """An HTTP client that costs half as much a call as the usual one; None where aiohttp is not installed."""
    try:
        from openai import DefaultAioHttpClient

        return DefaultAioHttpClient(timeout=calling.timeout)
    except (ImportError, RuntimeError):
        return None
