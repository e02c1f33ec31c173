"""A language model behind an OpenAI-compatible server (vLLM and others) as a judge: the same prompt, the same probabilities.

A saved teacher is asked in its own tokens through /completions, as it is asked in process. What has no tokenizer here, or
is shown images, is asked in words through /chat/completions, where the server's own chat template is put around them.
"""

from __future__ import annotations

import base64
import io
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.extras import needs
from germane.judges import folder as folders
from germane.judges import saying
from germane.judges.causal import ADAPTER, MODEL, tokenizer_of
from germane.judges.generative import Answer, answered, graded
from germane.judges.images import Images, without_image
from germane.judges.likeliest import graded_tokens
from germane.judges.prompts import Frame, Prompt, candidates
from germane.judges.prompts.grading import MARK
from germane.judges.reading import REASON_TOKENS
from germane.types import InputError, Judgment, Outcome, Pair

Floats = NDArray[np.float64]
TOP = 20
"""Likeliest tokens that are asked for: the most that vLLM and OpenAI give. A scale has fewer grades."""
BLOCK = 1024
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
LONGEST_WAIT = 30.0


@dataclass(frozen=True)
class Calling:
    """How a server is asked. at_once: requests in flight. timeout: seconds to wait for one. tries: of one request, in all,
    where the server is busy or fails. wait: seconds before the second try, doubled each time. choice: tells vLLM that only
    the symbols may be said; servers that do not know the field may refuse it.
    """

    at_once: int = 8
    timeout: float = 60.0
    tries: int = 4
    wait: float = 0.5
    choice: bool = False


class Served:
    """A judge whose model answers elsewhere.

    of: a trained teacher's folder, or an `About` of kind "generative" for a model that was not trained here. url: up to and
    with /v1. model: as the server calls it. key_env: the environment variable that holds the key; it is sent, and never
    shown. images: as in `Generative`. A time limit, a refusal, a filter and an answer without a grade are outcomes of the
    pair; a wrong key, address or model stops all, since it would do so for every pair.

    `engine` is what the server last said of itself. It is no part of the fingerprint.

    Raises: InputError for a folder without such a judge, and for a key that is not there.
    """

    def __init__(
        self,
        of: str | Path | folders.About,
        *,
        url: str,
        model: str,
        key_env: str | None = None,
        images: Images | str | Path | None = None,
        calling: Calling | None = None,
    ) -> None:
        needs("llm", "httpx", by="judges/served.py")
        if not url.startswith(("http://", "https://")):
            raise InputError(f"{_shown(url)!r} is no address of a server: it begins with http:// or https:// and ends with /v1")
        key = os.environ.get(key_env, "").strip() if key_env else ""
        if key_env and not key:
            raise InputError(f"the key of {_shown(url)} should be in the environment variable {key_env}, and that is empty")
        self.url, self.model, self._key = url.rstrip("/"), model, key
        self.calling = calling or Calling()
        self.images = Images(Path(images)) if isinstance(images, str | Path) else images
        self.engine: dict[str, str] = {}
        self._frame: Frame | None = None
        self._prompt: Prompt | None = None
        if isinstance(of, folders.About):
            self.about, self._prompt = _untrained(of, model)
        else:
            self.about = folders.read(of, kind="generative")
            if self.images is None:
                self._frame = _frame(Path(of), self.about)
            else:
                self._prompt = _prompt(self.about)
        self.name, self.fingerprint, self.scale = self.about.name, self.about.fingerprint, self.about.scale
        self._reasoning = bool(self.about.settings["reasoning"])

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        import httpx

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=self.calling.at_once)
        with (
            httpx.Client(timeout=self.calling.timeout, headers=headers, limits=limits) as client,
            ThreadPoolExecutor(self.calling.at_once) as pool,
        ):

            def ask(chunk: Sequence[Pair]) -> list[Answer]:
                waiting = [pool.submit(self._one, client, pair, request) for pair, request in self._requests(chunk)]
                try:
                    return [each.result() for each in waiting]
                except BaseException:
                    for each in waiting:  # what has not begun is not asked any more
                        each.cancel()
                    raise

            yield from answered(pairs, self.about, ask, block=BLOCK)

    # --- what is asked ----------------------------------------------------------------------------------------------

    def _requests(self, pairs: Sequence[Pair]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The note and the request of each pair."""
        asked = {"model": self.model, "temperature": 0, "max_tokens": self._longest()}
        texts = [saying.reads(without_image(pair)) for pair in pairs]
        if self.calling.choice and not self._reasoning:
            asked["structured_outputs"] = {"choice": list(self._symbols())}
        if self._frame is not None:
            rows = self._frame.ids([q for q, _ in texts], [t for _, t in texts], self.about.max_length)
            for row in rows:
                # vLLM then names tokens by id, so that two tokens of the same letters are told apart; others leave it.
                more = {"logprobs": TOP, "return_tokens_as_token_ids": True}
                yield "", {**asked, "prompt": [*self._frame.head, *row], **more}
            return
        assert self._prompt is not None
        for pair, (query, text) in zip(pairs, texts, strict=True):
            image, missing = self.images.of(pair.doc) if self.images else (None, "")
            said = self._prompt.text(query, _short(text, self.about.max_length))
            content: Any = said if image is None else _with_image(said, image)
            messages = [{"role": "user", "content": content}]
            note = f"judged on its text: {missing}" if missing else ""
            yield note, {**asked, "messages": messages, "logprobs": True, "top_logprobs": TOP}

    def _longest(self) -> int:
        return int(self.about.settings.get("reason_tokens", REASON_TOKENS)) + 1 if self._reasoning else 1

    def _symbols(self) -> tuple[str, ...]:
        return self._frame.symbols if self._frame is not None else tuple(self._prompt.symbols if self._prompt else ())

    # --- what comes back --------------------------------------------------------------------------------------------

    def _one(self, client: Any, note: str, request: dict[str, Any]) -> Answer:
        """What became of one pair; tries again where the server says that it may help."""
        import httpx

        path = "/completions" if "prompt" in request else "/chat/completions"
        nothing, why = np.full(len(self.scale.labels), np.nan), ""
        for tried in range(1, self.calling.tries + 1):
            wait = self.calling.wait * 2 ** (tried - 1) * (1 + random.random() / 4)  # not all at the same moment again
            try:
                reply = client.post(self.url + path, json=request)
            except httpx.TimeoutException:
                return Answer(nothing, Outcome.TIMEOUT, f"no reply in {self.calling.timeout:g} s")
            except (httpx.RequestError, httpx.InvalidURL) as problem:
                why = f"nothing answers at {_shown(self.url)} ({type(problem).__name__}): is the server running?"
                if tried == self.calling.tries:
                    raise InputError(why) from None
            else:
                if reply.status_code == 200:
                    return self._read(reply, note)
                why = self._said(reply)
                if reply.status_code not in AGAIN:
                    return self._refused(reply.status_code, why)
                wait = max(wait, _asked_to_wait(reply.headers.get("retry-after", "")))
            if tried < self.calling.tries:
                time.sleep(min(wait, LONGEST_WAIT))
        return Answer(nothing, Outcome.TIMEOUT, f"the server could not answer in {self.calling.tries} tries: {why}")

    def _refused(self, status: int, why: str) -> Answer:
        """A request that will never be answered: for this pair, or for any.

        Raises: InputError where it is for any.
        """
        nothing = np.full(len(self.scale.labels), np.nan)
        if status in (401, 403):
            raise InputError(f"{_shown(self.url)} does not accept the key: {why}")
        if status in (404, 405) or status < 400:
            raise InputError(f"{_shown(self.url)} has no model {self.model!r}, or is no OpenAI-compatible address: {why}")
        filtered = "content_filter" in why or "content management" in why
        return Answer(nothing, Outcome.FILTERED if filtered else Outcome.REFUSED, why)

    def _said(self, reply: Any) -> str:
        """An error as the server tells it, in a line, without our key."""
        try:
            told = reply.json()
            error = told.get("error", told)
            text = (
                " ".join(str(error.get(k)) for k in ("code", "message") if error.get(k)) if isinstance(error, dict) else error
            )
        except (ValueError, AttributeError):
            text = reply.text
        text = " ".join(str(text).split())[:200]
        return f"{reply.status_code} {text.replace(self._key, '***') if self._key else text}".strip()

    def _read(self, reply: Any, note: str) -> Answer:
        """The probabilities of the grades in a reply of either shape."""
        nothing = np.full(len(self.scale.labels), np.nan)
        try:
            told = reply.json()
            choice = told["choices"][0]
            seen = {name: str(told[name]) for name in ("model", "system_fingerprint") if told.get(name)}
            self.engine = {**seen, **({"server": reply.headers["server"]} if "server" in reply.headers else {})}
            if choice.get("finish_reason") == "content_filter":
                return Answer(nothing, Outcome.FILTERED, "the server's content filter stopped it")
            message = choice.get("message") or {}
            if message.get("refusal"):
                return Answer(nothing, Outcome.REFUSED, " ".join(str(message["refusal"]).split())[:200])
            said, tops = _tokens(choice)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return Answer(nothing, Outcome.UNPARSEABLE, "the reply is not of the OpenAI shape")
        if not tops:
            return Answer(nothing, Outcome.UNPARSEABLE, "the server gave no logprobs: probabilities cannot be read without")
        reasons, at = self._answer_at(said, str(message.get("content") or choice.get("text") or ""))
        if at is None or at >= len(tops):
            return graded(nothing, 0.0, reasons)
        return self._graded(tops[at], reasons, note)

    def _answer_at(self, said: Sequence[str], whole: str) -> tuple[str, int | None]:
        """The reasons, and at which token the answer stands: the first, or the one after the mark."""
        if not self._reasoning:
            return "", 0
        marking = self._frame.marking if self._frame is not None else ()
        names = [f"token_id:{i}" for i in marking]
        for i in range(len(said), 0, -1):
            marked = names and list(said[max(i - len(names), 0) : i]) == names
            if marked or "".join(said[:i]).rstrip(" ").endswith(MARK):
                return whole.rpartition(MARK)[0].strip(), i
        return whole, None

    def _graded(self, top: Mapping[str, float], reasons: str, note: str) -> Answer:
        """The answer that the likeliest tokens are."""
        found = graded_tokens(top, self._symbols(), self._frame.grades if self._frame is not None else None)
        if not found.mass > 0:
            return graded(found.shares, 0.0, reasons or found.why)
        return graded(np.log(found.shares), found.mass, reasons, "; ".join(filter(None, (note, found.note))))


def _tokens(choice: Mapping[str, Any]) -> tuple[list[str], list[dict[str, float]]]:
    """The tokens that were said, and at each the likeliest with their log-probabilities, of a chat or a completion."""
    found = choice.get("logprobs")
    if not found:
        return [], []
    if found.get("content") is not None:
        said = [str(each["token"]) for each in found["content"]]
        return said, [{str(t["token"]): float(t["logprob"]) for t in each["top_logprobs"]} for each in found["content"]]
    tops = [{str(k): float(v) for k, v in (each or {}).items()} for each in found.get("top_logprobs") or []]
    return [str(token) for token in found.get("tokens") or []], tops


def _asked_to_wait(said: str) -> float:
    try:
        return max(float(said), 0.0)
    except ValueError:  # a date, or nothing
        return 0.0


def _shown(url: str) -> str:
    """An address without user and password."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if rest else url


def _short(text: str, tokens: int) -> str:
    """About as many characters as so many tokens: without a tokenizer, four to one."""
    return text[: 4 * tokens]


def _with_image(said: str, image: Any) -> list[dict[str, Any]]:
    """A message with the image where the item begins."""
    before, fence, after = said.partition("<item>\n")
    held = io.BytesIO()
    image.save(held, format="PNG")
    address = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
    shown = {"type": "image_url", "image_url": {"url": address}}
    return [{"type": "text", "text": before + fence}, shown, {"type": "text", "text": after}]


def _frame(folder: Path, about: folders.About) -> Frame:
    where = folder / (ADAPTER if (folder / ADAPTER).is_dir() else MODEL)
    needs("train", "transformers", by="judges/served.py")
    return Frame.restored(tokenizer_of(str(where)), dict(about.settings["frame"]))


def _prompt(about: folders.About) -> Prompt:
    """The prompt in words of a trained teacher. Raises: InputError where this version of germane has another."""
    settings = about.settings
    prompt = Prompt(about.scale, tuple(settings["frame"]["symbols"]), settings["reasoning"])
    if prompt.version != settings["prompt"]:
        raise InputError(f"{about.name} was trained under prompt {settings['prompt']}, and this version of germane has another")
    return prompt


def _untrained(about: folders.About, model: str) -> tuple[folders.About, Prompt]:
    """A model that is asked as it is: what it is shown, and its name, are what its fingerprint is made of."""
    if about.kind != "generative":
        raise InputError(f"a server answers for a generative judge, and this one is a {about.kind}")
    reasoning = bool(about.settings.get("reasoning", False))
    symbols = next(iter(candidates(about.scale)), ())
    if not symbols:
        raise InputError(
            f"scale {about.scale.name!r} has {len(about.scale.labels)} grades: there are no single symbols for so many"
        )
    prompt = Prompt(about.scale, symbols, reasoning)
    known = {"prompt": prompt.version, "symbols": list(symbols), "reasoning": reasoning, "served": model}
    return replace(about, settings={**about.settings, **known}), prompt
