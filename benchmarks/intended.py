"""Requests at intended times over kept connections: what waits in a queue counts from when it should have been sent.

Source: coordinated omission, after G. Tene: a client that waits for an answer before it asks again hides the queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np


class Answer(asyncio.Protocol):
    """A kept connection: one request at a time, its answer read to the last byte and not parsed."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[int, bool]] | None = None
        self.data = bytearray()
        self.need = -1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.need < 0 and (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.data[:end]).lower()
            at = head.index(b"content-length:") + 15
            self.need = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
        if 0 <= self.need <= len(self.data) and self.done is not None and not self.done.done():
            said = int(self.data[9:12]), b'"no_signal":true' in self.data[:400]
            self.data, self.need = bytearray(), -1
            self.done.set_result(said)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result((0, False))


async def fire(port: int, bodies: Sequence[bytes], times: Sequence[float]) -> Any:
    """(n, 4): seconds from the intended time to the answer, seconds that it was sent late, status, whether without signal."""
    loop, free = asyncio.get_running_loop(), list[Answer]()
    found = np.zeros((len(bodies), 4))
    start = loop.time() + 0.5

    async def one(n: int) -> None:
        await asyncio.sleep(start + times[n] - loop.time())
        link = free.pop() if free else (await loop.create_connection(Answer, "127.0.0.1", port))[1]
        sent = loop.time()
        link.done = loop.create_future()
        link.transport.write(bodies[n])
        status, without = await link.done
        found[n] = loop.time() - start - times[n], sent - start - times[n], status, without
        if status:
            free.append(link)

    await asyncio.gather(*(one(n) for n in range(len(bodies))))
    for link in free:
        link.transport.close()
    return found
