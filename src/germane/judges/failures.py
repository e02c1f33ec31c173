"""What a provider's failure means: for this pair, for every pair, whether to try again, and when. No key is in what is said."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from germane.judges.providers import Endpoint, Model
from germane.types import InputError, Outcome

AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
LONGEST_WAIT = 60.0
SECRET = 8  # letters that a key has at least: "EMPTY" and "none", which servers of one's own are given, are words


class Problem(NamedTuple):
    """What a failed call means. again: worth another try. fatal: every other pair would fail as well. crowded: the server
    says that it is too much. wait: seconds that it asks for. perhaps: what of the request it may be about, where it may be
    this pair alone.
    """

    outcome: Outcome
    why: str
    again: bool = False
    fatal: bool = False
    crowded: bool = False
    wait: float = 0.0
    perhaps: str = ""


def classed(problem: Exception, model: Model, endpoint: Endpoint, late: bool, timeout: float) -> Problem:
    """What a failed call means: for this pair, for every pair, and whether to try again.

    late: it took as long as it may; clients call other broken connections a timeout too.
    """
    status, said, name = _status(problem), _said(problem, model, endpoint), type(problem).__name__
    where = endpoint.host(model)
    if late and (isinstance(problem, TimeoutError) or "Timeout" in name):
        return Problem(Outcome.TIMEOUT, f"no reply in {timeout:g} s", again=True)
    if status is None and (any(word in name for word in ("Timeout", "Connect")) or isinstance(problem, OSError)):
        return Problem(Outcome.TIMEOUT, f"nothing answers at {where}, or the line broke", again=True)
    if status == 403 and any(word in said.lower() for word in ("moderat", "flagged", "content", "policy", "safety")):
        return Problem(Outcome.FILTERED, said)
    if status in (401, 403):
        return Problem(Outcome.REFUSED, f"{where} does not accept the key for {model}: {said}", fatal=True)
    if status in (404, 405) or f"requested {model.name!r}" in said:  # transformers' server is pinned to one model: 400
        return Problem(Outcome.REFUSED, f"{where} has no model {model.name!r}: {said}", fatal=True)
    if status == 429 and "insufficient_quota" in said:
        return Problem(Outcome.REFUSED, f"{where}: the account has no quota left: {said}", fatal=True)
    if status in AGAIN or (status is not None and status >= 500):
        return Problem(Outcome.TIMEOUT, said, again=True, crowded=status in (429, 503, 529), wait=_asked_to_wait(problem))
    if status is not None:
        for word, hint in _UNSUPPORTED.items():
            if word in said and any(no in said.lower() for no in _NOT_TAKEN):
                what = word.replace("multimodal", "image")
                why = f"{where} does not take {what!r} ({said}): {hint}"
                return Problem(Outcome.REFUSED, why, fatal=True, perhaps=what)
        filtered = any(word in said for word in ("content_filter", "content management", "ContentFilter"))
        return Problem(Outcome.FILTERED if filtered else Outcome.REFUSED, said)
    if "ContentFilter" in name:
        return Problem(Outcome.FILTERED, "the server's content filter stopped it")
    return Problem(Outcome.UNPARSEABLE, f"the reply has not the shape that {model.provider} promises ({name})", again=True)


_NOT_TAKEN = ("support", "unknown", "unrecognized", "requires", "is not a multimodal")
_UNSUPPORTED = {
    "response_format": "try --structured tool or --structured text",
    "json_schema": "try --structured tool or --structured text",
    "tool_choice": "try --structured text",
    "logprobs": "leave --mode symbol out",
    "temperature": "leave --temperature out, or give --temperature 1 with --mode symbol",
    "reasoning_effort": "leave --effort out",
    "image": "leave --images out",
    "multimodal": "leave --images out",
}


def _status(problem: Exception) -> int | None:
    """The HTTP status that a provider's exception carries, in any of the ways they have."""
    for holder in (problem, getattr(problem, "response", None)):
        for name in ("status_code", "http_status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None


def _said(problem: Exception, model: Model, endpoint: Endpoint) -> str:
    """What the server told of an error, in a line of at most 200 characters, without our key."""
    body, status = getattr(problem, "body", None), _status(problem)
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):  # servers made with FastAPI, as transformers', say "detail"
        text = " ".join(str(error[k]) for k in ("code", "type", "message", "detail") if error.get(k) not in (None, "", status))
    else:
        text = str(error or problem)
    return hidden(" ".join(f"{status or ''} {text}".split()), model, endpoint)[:200]


def hidden(text: str, model: Model, endpoint: Endpoint) -> str:
    """The text without our key, which a server may say back."""
    try:
        key = endpoint.key(model)
    except InputError:
        key = ""
    return text.replace(key, "***") if len(key) >= SECRET else text


def _asked_to_wait(problem: Exception) -> float:
    """Seconds that the server asks to be left alone: Retry-After in seconds or as a date; 0 where it asks nothing."""
    headers = getattr(getattr(problem, "response", None), "headers", None) or {}
    said = str(headers.get("retry-after-ms") or "")
    if said.replace(".", "", 1).isdigit():
        return min(float(said) / 1000, LONGEST_WAIT)
    said = str(headers.get("retry-after") or "").strip()
    try:
        return min(max(float(said), 0.0), LONGEST_WAIT)
    except ValueError:
        pass
    try:
        return min(max(parsedate_to_datetime(said).timestamp() - time.time(), 0.0), LONGEST_WAIT)
    except (ValueError, TypeError, OverflowError):
        return 0.0
