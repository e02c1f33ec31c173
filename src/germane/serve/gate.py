"""What every request passes: bytes and seconds are counted, keys compared, and one line of the log says how it went."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from germane.ops.keys import Keys
from germane.serve.limits import Limits
from germane.serve.metrics import Metrics

ACCESS = logging.getLogger("germane.access")
OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")  # need no key: they hold nothing of documents or queries


class Gate:
    """Around the application. keys: one of which a request must bring, if there are any; full: whether all places are taken."""

    def __init__(
        self,
        app: Any,
        *,
        limits: Limits,
        metrics: Metrics,
        routes: frozenset[str],
        keys: Sequence[str] = (),
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.app, self.limits, self.metrics, self.routes, self.full = app, limits, metrics, routes, full
        self._keys = Keys(keys)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Call(self, scope, receive, send).run()

    def refusal(self, scope: Any) -> tuple[int, str] | None:
        """Why a request is turned away by its head alone."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self._keys and scope["path"] not in OPEN and not self._known(headers):
            return 401, "a key is needed: Authorization: Bearer KEY"
        said = headers.get(b"content-length", b"0")
        if not said.isdigit() or int(said) > self.limits.most_bytes:
            return 413, f"a body has at most {self.limits.most_bytes:,} bytes"
        if scope["method"] == "POST" and self.full():
            return 429, "too many requests at once"
        return None

    def _known(self, headers: dict[bytes, bytes]) -> bool:
        return self._keys.known(headers.get(b"authorization", b""), headers.get(b"x-api-key", b""))


class _Call:
    """One request on its way."""

    def __init__(self, gate: Gate, scope: Any, receive: Any, send: Any) -> None:
        self.gate, self.scope, self._receive, self._send = gate, scope, receive, send
        self.began, self.status, self.seen, self.sent = time.perf_counter(), 0, 0, 0
        self.whole = False
        scope.setdefault("state", {})

    async def run(self) -> None:
        try:
            if refused := self.gate.refusal(self.scope):
                await self.answer(*refused)
            else:
                await self.gate.app(self.scope, self.receive, self.send)
        except _TooLarge:
            await self.answer(413, f"a body has at most {self.gate.limits.most_bytes:,} bytes")
        except _TooSlow:
            await self.answer(408, f"the body did not come within {self.gate.limits.body_s:g} s")
        except _Gone:
            self.status = self.status or 499
        finally:
            self.tell()

    async def receive(self) -> Any:
        if self.whole:
            return await self._receive()
        left = self.began + self.gate.limits.body_s - time.perf_counter()
        try:
            async with asyncio.timeout(max(left, 0.001)):  # makes no task, as wait_for does
                message = await self._receive()
        except TimeoutError:
            raise _TooSlow from None
        if message["type"] == "http.disconnect":
            raise _Gone
        self.seen += len(message.get("body", b""))
        if self.seen > self.gate.limits.most_bytes:
            raise _TooLarge
        self.whole = not message.get("more_body", False)
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.sent += len(message.get("body", b""))
        try:
            async with asyncio.timeout(self.gate.limits.send_s):
                await self._send(message)
        except TimeoutError:  # a client that does not take its answer
            raise _Gone from None

    async def answer(self, status: int, message: str) -> None:
        if self.status:
            return
        body = json.dumps({"error": message}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += {429: [(b"retry-after", b"1")], 401: [(b"www-authenticate", b"Bearer")]}.get(status, [])
        if status in (408, 413):
            headers += [(b"connection", b"close")]  # what still comes of the body is not read
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    def tell(self) -> None:
        took = time.perf_counter() - self.began
        route = self.scope["path"] if self.scope["path"] in self.gate.routes else "other"
        self.gate.metrics.of_requests.count(route, self.status, took)
        if ACCESS.isEnabledFor(logging.INFO):
            method = self.scope["method"]
            line: dict[str, Any] = {"event": "request", "method": method, "route": route, "status": self.status}
            line |= {"ms": round(1000 * took, 2), "in": self.seen, "out": self.sent}
            line |= dict(self.scope["state"].get("told", {}))
            ACCESS.info("%s %s %d", method, route, self.status, extra=line)


class _TooLarge(Exception):
    """More bytes than a body has."""


class _TooSlow(Exception):
    """A body that does not come."""


class _Gone(Exception):
    """A client that is not there any more, or takes nothing."""
