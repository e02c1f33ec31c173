"""A page to look at: one query, two rankers side by side, the grade of every result, and what each policy did and why.

It shows the simulated marketplace with the marketplace's own best judge of text, so it needs no trained student and no torch.
A query that the marketplace does not know has no grade: its results are shown without, as a search goes on without a signal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.engines import BM25
from germane.extras import needs
from germane.judges.saying import DocScores
from germane.report.render import environment
from germane.serve.policies import Asked, Decision, Policy
from germane.simulate import Marketplace
from germane.types import Scale

if TYPE_CHECKING:
    pass

HERE = Path(__file__).parent
K, CANDIDATES = 10, 50
LONGEST = 200  # letters of a query
EVERY = ("title", "brand", "attributes", "description")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class DropLow:
    """Drops what is probably of the two lowest grades, and leaves a floor of results. For the page: `signal` has policies."""

    kind = "filter"

    def __init__(self, name: str, most: float, floor: int) -> None:
        self.name, self.most, self.floor = name, most, floor

    def decide(self, asked: Asked) -> Sequence[Decision]:
        low = asked.said.probs[:, :2].sum(axis=1)
        kept, made = 0, []
        room = len(low) - self.floor
        for doc_id, chance in zip(asked.said.doc_ids, low.tolist(), strict=True):
            if np.isnan(chance):
                made.append(Decision(doc_id, "keep", None, "no grade: left as it is"))
            elif chance > self.most and kept < room:
                kept += 1
                made.append(Decision(doc_id, "drop", chance, f"irrelevant with {chance:.0%}, over {self.most:.0%}"))
            else:
                made.append(Decision(doc_id, "keep", chance, f"irrelevant with {chance:.0%}"))
        return made


class MoveUp:
    """Moves a result up by its expected gain, so many places at most. For the page: `signal` has policies."""

    kind = "boost"

    def __init__(self, name: str, most: int) -> None:
        self.name, self.most = name, most

    def decide(self, asked: Asked) -> Sequence[Decision]:
        made = []
        for doc_id, gain in zip(asked.said.doc_ids, asked.said.gains.tolist(), strict=True):
            places = 0 if np.isnan(gain) else round(self.most * max(gain - 0.5, 0.0) * 2)
            why = "no grade: left as it is" if np.isnan(gain) else f"gain {gain:.2f}"
            made.append(Decision(doc_id, "move" if places else "keep", float(places), why))
        return made


POLICIES: tuple[Policy, ...] = (DropLow("filter", 0.8, 5), MoveUp("boost", 3))


class Result(NamedTuple):
    """A row of the page. place: 1 for the first; 0 if it was dropped. before: its place without policies."""

    doc_id: str
    title: str
    more: str
    place: int
    before: int
    label: str | None
    gain: float | None
    probs: tuple[float, ...]
    told: tuple[tuple[str, Decision], ...]


class Ranker(NamedTuple):
    """One side of the page. mean: expected gain of the first results, before and with policies; None without grades."""

    name: str
    results: tuple[Result, ...]
    dropped: tuple[Result, ...]
    before: float | None
    after: float | None


class Shop:
    """The marketplace, searched by two rankers."""

    def __init__(self, market: Marketplace | None = None) -> None:
        self.market = market or Marketplace()
        self.scale: Scale = self.market.scale
        self.rankers = {"titles": BM25(self.market.docs, ("title",)), "all fields": BM25(self.market.docs, EVERY)}

    @cached_property
    def queries(self) -> Mapping[str, str]:
        """The text of each query of the marketplace, folded, and its id; the most popular first."""
        table = self.market.queries
        pairs = zip(table["query"].to_pylist(), table["query_id"].to_pylist(), strict=True)
        found: dict[str, str] = {}
        for text, query_id in pairs:
            found.setdefault(str(text).casefold(), str(query_id))
        return found

    @cached_property
    def items(self) -> Mapping[str, Mapping[str, Any]]:
        return {str(row["doc_id"]): row for row in self.market.docs.to_pylist()}

    def examples(self, n: int = 12) -> list[str]:
        """Popular and rare queries to begin with."""
        texts = list(self.queries)
        return texts[: n // 2] + texts[len(texts) // 2 : len(texts) // 2 + n - n // 2]

    def search(self, query: str) -> list[Ranker]:
        """What each ranker shows for a query, graded and treated."""
        import pyarrow as pa

        query_id = self.queries.get(query.strip().casefold())
        asked = pa.table({"query_id": [query_id or "typed"], "query": [query]})
        found = []
        for name, engine in self.rankers.items():
            run = engine.search(asked, k=CANDIDATES)
            ids, scores = list(map(str, run["doc_id"].to_pylist())), run["score"].to_numpy().tolist()
            found.append(self._ranker(name, query, query_id, ids, scores))
        return found

    def _ranker(self, name: str, query: str, query_id: str | None, ids: list[str], scores: list[float]) -> Ranker:
        said = self._said(query_id, ids)
        asked = Asked(query, said, self.scale, scores)
        told = {policy.name: policy.decide(asked) for policy in POLICIES}
        rows = [self._row(i, doc_id, said, [(name, of[i]) for name, of in told.items()]) for i, doc_id in enumerate(ids)]
        dropped = [row for row in rows if any(made.action == "drop" for _, made in row.told)]
        kept = [row for row in rows if row not in dropped]
        ups = [sum(made.value or 0.0 for _, made in row.told if made.action == "move") for row in kept]
        order = sorted(range(len(kept)), key=lambda i: i - ups[i])  # ties stay in their order
        shown = tuple(kept[i]._replace(place=n + 1) for n, i in enumerate(order[:K]))
        return Ranker(name, shown, tuple(row for row in dropped if row.before <= K), _mean(rows[:K]), _mean(shown))

    def _said(self, query_id: str | None, ids: list[str]) -> DocScores:
        known = np.full(len(ids), query_id is not None)
        probs = np.full((len(ids), len(self.scale.labels)), np.nan)
        if query_id is not None and ids:
            probs = self.market.probabilities([query_id] * len(ids), ids)
        return DocScores(tuple(ids), known, probs, probs @ np.asarray(self.scale.gains))

    def _row(self, i: int, doc_id: str, said: DocScores, told: list[tuple[str, Decision]]) -> Result:
        item, gain = self.items[doc_id], float(said.gains[i])
        more = " · ".join(str(item[name]) for name in ("brand", "attributes") if item.get(name))
        if np.isnan(gain):
            return Result(doc_id, str(item["title"]), more, 0, i + 1, None, None, (), tuple(told))
        probs = tuple(said.probs[i].tolist())
        label = self.scale.labels[int(np.argmax(probs))]
        return Result(doc_id, str(item["title"]), more, 0, i + 1, label, gain, probs, tuple(told))


def _mean(rows: Sequence[Result]) -> float | None:
    gains = [row.gain for row in rows if row.gain is not None]
    return sum(gains) / len(gains) if gains else None


def prepare() -> Any:
    """The page of the demo's marketplace, ready to be served.

    Raises: InputError where the extra `serve` is missing.
    """
    needs("serve", "fastapi", "uvicorn", by="germane demo --serve")
    shop = Shop()
    shop.search(next(iter(shop.queries)))  # what is made at first use is made now
    return create_page(shop)


def create_page(shop: Shop) -> Any:
    """The application of the page: `/`, with the query in the address."""
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = environment(HERE / "templates").get_template("search.html.j2")
    style = (HERE / "static" / "search.css").read_bytes()
    version = hashlib.sha256(style).hexdigest()[:12]

    def index(request: Request) -> Response:
        query = request.query_params.get("q", "")[:LONGEST].strip()
        rankers = shop.search(query) if query else []
        known = query.casefold() in shop.queries
        text = page.render(
            query=query, rankers=rankers, known=known, examples=shop.examples(), labels=shop.scale.labels, style=version
        )
        return HTMLResponse(text, headers=HEADERS)

    def css(request: Request) -> Response:
        return Response(style, media_type="text/css; charset=utf-8", headers=HEADERS)

    app.add_route("/", index)
    app.add_route("/search.css", css)
    app.add_route("/favicon.ico", lambda request: Response(status_code=204))
    return app
