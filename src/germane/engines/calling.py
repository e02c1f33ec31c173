"""Asking a search server over HTTP: its login from the environment, time limits that hold, and patience where that helps."""

from __future__ import annotations

import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from germane.extras import needs
from germane.types import InputError

AGAIN = (429, 502, 503, 504)
LONGEST_WAIT = 30.0
LARGEST = 1 << 28
"""Bytes of one reply that are read."""

sleep, clock = time.sleep, time.monotonic


class Unanswered(Exception):
    """The server did not answer this request, and may answer the next. Its text says why."""


@dataclass(frozen=True)
class Calling:
    """How a server is asked. batch: queries a request. timeout: seconds of silence that end a try. deadline: seconds for a
    request with all its tries. tries: where the server is busy or away. wait: seconds before the second try, doubled each
    time; a longer Retry-After is heeded, up to 30 s. ca: a file of certificates to trust, in place of the system's. plain: a
    login may be sent without TLS to another machine.
    """

    batch: int = 50
    timeout: float = 30.0
    deadline: float = 120.0
    tries: int = 5
    wait: float = 0.5
    ca: str = ""
    plain: bool = False


class Client:
    """A server at a URL, whose user and password are sent and never shown. key_env: the environment variable of an API key,
    sent as `Authorization: ApiKey ...`, or as it stands where it names its own kind ("Bearer ...").

    Raises: InputError for an address that is none, a key that is not there, and a login that would be sent in the clear.
    """

    def __init__(self, url: str, *, key_env: str = "", calling: Calling | None = None, transport: Any = None) -> None:
        needs("engines", "httpx", by="the engine opensearch")
        import httpx

        self.calling = calling or Calling()
        try:
            parts = urlsplit(url.strip())
            port = f":{parts.port}" if parts.port else ""
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if not host or parts.scheme not in ("http", "https"):
            raise InputError("the address of the server is no URL: expected https://HOST:9200, with USER:PASSWORD@ if need be")
        self.shown = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        key = os.environ.get(key_env, "").strip() if key_env else ""
        if key_env and not key:
            raise InputError(f"the key of {self.shown} should be in the environment variable {key_env}, and that is empty")
        local = host in ("localhost", "127.0.0.1", "::1")
        if (key or login[1]) and parts.scheme == "http" and not local and not self.calling.plain:
            raise InputError(f"{self.shown} has no TLS, and a login would be read on the way: use https, or --option plain=yes")
        self._secrets = [secret for secret in (key, key.rpartition(" ")[2], login[1], parts.password or "") if secret]
        headers = {"Authorization": key if " " in key else f"ApiKey {key}"} if key else {}
        self._client = httpx.Client(
            auth=login if login[0] and not key else None,
            headers=headers,
            timeout=self.calling.timeout,
            transport=transport,
            verify=_trusted(self.calling.ca),
        )

    def close(self) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path. Raises: as `ask`."""
        return self.ask("GET", path, b"", "application/json")

    def ask(self, method: str, path: str, body: bytes, kind: str) -> dict[str, Any]:
        """What the server answers, a JSON object; asked again where it is busy or away.

        Raises: Unanswered where it is still so after all tries, or time is over; InputError for a login that is not accepted,
        and what is no answer of a search server.
        """
        import httpx

        ends, why = clock() + self.calling.deadline, ""
        for tried in range(1, self.calling.tries + 1):
            wait = self.calling.wait * 2 ** (tried - 1) * (1 + random.random() / 4)  # not all at the same moment again
            try:
                status, headers, text = self._once(method, path, body, kind, ends)
            except (httpx.TimeoutException, TimeoutError):
                why = "it did not answer in time"
            except (httpx.RequestError, httpx.InvalidURL) as problem:
                why = f"nothing answers at {self.shown} ({type(problem).__name__}): is the server running?"
            else:
                if status not in AGAIN:
                    return self._read(status, headers, text)
                why = f"it answered {status} {self.said(text)}".strip()
                wait = max(wait, _asked_to_wait(headers.get("retry-after", "")))
            wait = min(wait, LONGEST_WAIT)
            if tried == self.calling.tries or clock() + wait >= ends:
                break
            sleep(wait)
        raise Unanswered(f"{why} ({tried} {'try' if tried == 1 else 'tries'})")

    def _once(self, method: str, path: str, body: bytes, kind: str, ends: float) -> tuple[int, Any, bytes]:
        """Status, headers and content; given up at `ends`, however slowly the bytes drip.

        Raises: TimeoutError, httpx's own errors, and InputError for an endless reply.
        """
        with self._client.stream(method, self.shown + path, content=body, headers={"Content-Type": kind}) as reply:
            found = bytearray()
            for piece in reply.iter_bytes():
                found += piece
                if len(found) > LARGEST:
                    raise InputError(f"{self.shown} answers with more than {LARGEST >> 20} MiB: ask fewer queries at once")
                if clock() > ends:
                    raise TimeoutError
            return reply.status_code, reply.headers, bytes(found)

    def _read(self, status: int, headers: Any, text: bytes) -> dict[str, Any]:
        if status in (401, 403):
            raise InputError(f"{self.shown} does not accept the login: {status} {self.said(text)}")
        if 300 <= status < 400:
            raise InputError(f"{self.shown} answers {status} and points elsewhere: give the address that it points to")
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            kind = str(headers.get("content-type", "")).partition(";")[0] or "something else"
            raise InputError(f"{self.shown} answers {status} with {kind}, not JSON: is it the address of a search server?")
        if status != 200:
            raise InputError(f"{self.shown} answers {status}: {self.said(text)}")
        return told

    def said(self, problem: Any) -> str:
        """An error as the server tells it, in a line, without our login."""
        if isinstance(problem, bytes):
            try:
                problem = json.loads(problem)
            except ValueError:
                problem = "" if problem.lstrip()[:1] == b"<" else problem.decode("utf-8", "replace")
        if isinstance(problem, dict) and "error" in problem:
            problem = problem["error"]
        if isinstance(problem, dict):
            causes = problem.get("root_cause") or problem.get("failed_shards") or []
            first = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], dict) else {}
            problem = f"{problem.get('type', '')} {problem.get('reason') or first.get('reason') or ''}"
        text = " ".join(str(problem).split())[:200]
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _trusted(ca: str) -> Any:
    if not ca:
        return True
    import ssl

    if not Path(ca).is_file():
        raise InputError(f"ca={ca}: there is no such file of certificates")
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as problem:
        raise InputError(f"ca={ca} is no file of certificates ({problem.reason or 'unreadable'})") from None


def _asked_to_wait(header: str) -> float:
    """Seconds of a Retry-After header in seconds; 0 where it says none, or a date."""
    try:
        return max(float(header), 0.0)
    except ValueError:
        return 0.0
