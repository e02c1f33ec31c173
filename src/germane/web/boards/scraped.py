"""What Prometheus scrapes: how watching stands, and how pages are served. It holds levels: for those who read pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from germane.ops.metrics import TYPE, Requests
from germane.watching.metrics import Standing
from germane.web.access import DECIDES, NOBODY, Call, Page, refused

if TYPE_CHECKING:
    from germane.web.boards.site import Board

VARIABLE = "GERMANE_METRICS_KEYS"
"""Keys of scrapers, between commas."""


def metrics(call: Call) -> Response:
    """The metrics, for a login that reads pages, a share link, or a scraper with a key."""
    board = _board(call)
    logged_in = call.session is not None and call.session.account.role in DECIDES
    if not (logged_in or call.base or board.keys.known(call.headers.get("authorization", "").encode("latin-1", "replace"))):
        said = f"Log in, ask by a share link, or bring a key of {VARIABLE}: Authorization: Bearer KEY."
        answer = refused(call, 401, said)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    text = (board.counted or Requests()).text(Standing(call.registry, board.zone), _Keeping(board))
    return Response(text, headers={"Content-Type": TYPE, "Cache-Control": "no-store"})


class _Keeping:
    """A collector of what this process keeps of pages."""

    def __init__(self, board: Board) -> None:
        self.keep = board.keep

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily as Gauge

        yield Gauge("germane_kept_bytes", "Bytes of pages that the process which answered keeps.", self.keep.size)


def _board(call: Call) -> Board:
    from germane.web.boards.sharing import board_of

    return board_of(call)


PAGE = Page("GET", "/metrics", NOBODY, metrics, machine=True)
