"""The application as a process: one address, clean ends, and no patience for clients that begin a request and do not go on."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from germane.ops.logs import Json, as_json
from germane.types import InputError


def listening(host: str, port: int) -> socket.socket:
    """A socket on an address. Raises: InputError for one that cannot be served."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as problem:
        said = getattr(problem, "strerror", None) or problem
        raise InputError(f"cannot serve on {host}:{port}: {said}; choose another --host or --port") from problem


def serve(app: Any, sock: socket.socket, *, head_s: float = 5.0, tell: Callable[[str], None], access: bool = True) -> None:
    """Serves until the process is told to stop, then answers what is in flight. SIGHUP: everything is read anew.

    head_s: seconds in which a client that connected has to send the head of a request.
    """
    import uvicorn

    logs(access=access)
    host, port = sock.getsockname()[:2]
    service = app.state.service
    gc.collect()
    gc.freeze()  # what was loaded stays: to look through all of it again stops every request for a tenth of a second
    sys.setswitchinterval(0.001)  # threads that compute let the loop in within a millisecond
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again once it has ended: no fault
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: service.generations.ask())
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http=_impatient(head_s),
        timeout_keep_alive=60,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=65_536,
    )
    tell(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        uvicorn.Server(config).run(sockets=[sock])
    except KeyboardInterrupt:
        pass
    finally:
        service.close()


def page(app: Any, sock: socket.socket, *, tell: Callable[[str], None]) -> None:
    """Serves a page for people until the process is told to stop."""
    import uvicorn

    host, port = sock.getsockname()[:2]
    tell(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False, lifespan="off")).run(sockets=[sock])


def logs(*, access: bool) -> None:
    """What the service says, on stderr: a line each, requests as JSON without a word of what was asked."""
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    for name in ("germane.serve", "germane.access"):
        logger = logging.getLogger(name)
        handler = logging.StreamHandler()
        handler.setFormatter(Json() if name == "germane.access" or as_json() else text)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if access or name == "germane.serve" else logging.WARNING)


def _impatient(head_s: float) -> Any:
    """uvicorn's protocol, which hangs up on a client whose first request does not begin in time."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
    except ImportError:  # without httptools
        from uvicorn.protocols.http.h11_impl import H11Protocol as Base  # type: ignore[assignment]

    class Impatient(Base):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._hung_up = self.loop.call_later(head_s, self._hang_up)

        def connection_lost(self, exc: Exception | None) -> None:
            self._hung_up.cancel()
            super().connection_lost(exc)

        def _hang_up(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Impatient
