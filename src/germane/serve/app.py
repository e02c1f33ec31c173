"""The application: what is answered where. FastAPI tells it to people in an OpenAPI page; nothing slow runs in its loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import orjson
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from germane import __version__
from germane.judges.saying import DocScores
from germane.serve.gate import Gate
from germane.serve.generations import Generation, Generations
from germane.serve.limits import Deadline, Places
from germane.serve.policies import Asked
from germane.serve.scoring import TooLate, decisions, documents, score_docs, score_texts
from germane.serve.shapes import (
    Fault,
    Model,
    RerankAnswer,
    RerankRequest,
    ScoreAnswer,
    ScoreRequest,
    Unreadable,
    parsed,
)

DEADLINE, EMPTY, UNKNOWN = "deadline", "empty_query", "no_known_documents"
ABOUT = """What a germane student says of search results: how likely each grade is, and the expected gain.

An answer without a signal has `no_signal: true` and a reason: rank as you would without this service. A document that is not
known has `known: false` and null for numbers, never 0.
"""


class Work(NamedTuple):
    """A request's work: what a thread computes, and the answer if that comes too late."""

    make: Callable[[Generation, Deadline], tuple[dict[str, Any], str | None]]
    without: Callable[[Generation, str], dict[str, Any]]


class Service:
    """What the routes share: the generation that answers, the threads that work, and the places in them."""

    def __init__(self, generations: Generations, *, log_queries: bool = False) -> None:
        self.generations, self.limits, self.metrics = generations, generations.limits, generations.metrics
        self.places = Places(self.limits.threads + self.limits.queue)
        self.threads = ThreadPoolExecutor(self.limits.threads, "germane-score")
        self.log_queries = log_queries

    async def answer(self, request: Request, work: Work, said: dict[str, Any]) -> Response:
        """The answer of a thread, or "no signal" at the deadline, or 429 if there is no place."""
        deadline, generation = Deadline(self.limits.deadline_ms), self.generations.now
        request.state.told = said
        if not self.places.take():
            return fault(429, "too many requests at once", {"Retry-After": "1"})
        self.metrics.places.set(self.places.taken)
        running = self.threads.submit(self._run, generation, work, deadline)
        running.add_done_callback(lambda _: self.places.give_back())
        try:
            body, reason = await asyncio.wait_for(asyncio.wrap_future(running), deadline.left)
        except TimeoutError:
            body, reason = orjson.dumps(work.without(generation, DEADLINE)), DEADLINE
        except asyncio.CancelledError:
            running.cancel()
            raise
        if reason:
            said["no_signal"] = reason
            self.metrics.no_signal.labels(reason).inc()
        return Response(body, media_type="application/json")

    def _run(self, generation: Generation, work: Work, deadline: Deadline) -> tuple[bytes, str | None]:
        try:
            made, reason = work.make(generation, deadline)
        except TooLate:
            made, reason = work.without(generation, DEADLINE), DEADLINE
        return orjson.dumps(made), reason

    def counted(self, said: DocScores) -> None:
        known = int(said.known.sum())
        self.metrics.scored.labels("true").inc(known)
        self.metrics.scored.labels("false").inc(len(said.known) - known)

    def close(self) -> None:
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.generations.close()


def create_app(generations: Generations, *, keys: Sequence[str] = (), log_queries: bool = False) -> Any:
    """The application that a server runs; `app.state.service` is what it works with. keys: of clients, none for anybody."""
    service = Service(generations, log_queries=log_queries)
    app = FastAPI(title="germane serve", version=__version__, description=ABOUT, redoc_url=None)
    app.state.service = service
    app.add_exception_handler(HTTPException, _not_there)
    _scoring(app, service)
    _reranking(app, service)
    _standing(app, service)
    routes = frozenset(str(getattr(route, "path", "")) for route in app.routes)
    more: dict[str, Any] = {"routes": routes, "keys": tuple(keys), "full": lambda: service.places.full}
    app.add_middleware(Gate, limits=service.limits, metrics=service.metrics, **more)
    return app


async def _not_there(_: Request, problem: Exception) -> Response:
    """A path or method that there is none of, said as every other fault is."""
    status, said = getattr(problem, "status_code", 500), getattr(problem, "detail", "")
    return fault(status, str(said).lower(), dict(getattr(problem, "headers", None) or {}))


def fault(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps({"error": message}), status, headers, "application/json")


def _takes(shape: Any) -> dict[str, Any]:
    """How the OpenAPI page tells of a body that we read ourselves."""
    schema = shape.model_json_schema()
    for name, part in schema.pop("$defs", {}).items():  # small ones: put in place
        text = orjson.dumps(schema).replace(orjson.dumps({"$ref": f"#/$defs/{name}"}), orjson.dumps(part))
        schema = orjson.loads(text)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "No JSON in UTF-8."},
    401: {"model": Fault, "description": "No key, or an unknown one."},
    413: {"model": Fault, "description": "Too many bytes."},
    422: {"model": Fault, "description": "Another shape, or too many documents."},
    429: {"model": Fault, "description": "Too many requests at once: try again after Retry-After seconds."},
}


def _scoring(app: FastAPI, service: Service) -> None:
    @app.post("/v1/score", response_model=ScoreAnswer, responses=_FAULTS, openapi_extra=_takes(ScoreRequest))
    async def score(request: Request) -> Any:
        """How relevant are these documents to a query?"""
        try:
            asked = parsed(ScoreRequest, await request.body())
        except Unreadable as problem:
            return fault(problem.status, str(problem))
        given = asked.doc_ids if asked.texts is None else asked.texts
        if given is None or (asked.doc_ids is not None and asked.texts is not None):
            return fault(422, "a request has doc_ids or texts, one of the two")
        if len(given) > service.limits.most_docs:
            return fault(422, f"a request has at most {service.limits.most_docs:,} documents")
        if asked.scores is not None and len(asked.scores) != len(given):
            return fault(422, f"{len(asked.scores)} scores of {len(given)} documents: one for each is needed")
        said: dict[str, Any] = {"docs": len(given)} | ({"query": asked.query} if service.log_queries else {})
        return await service.answer(request, Work(make(asked), _no_score), said)

    def make(asked: ScoreRequest) -> Callable[[Generation, Deadline], tuple[dict[str, Any], str | None]]:
        def work(generation: Generation, deadline: Deadline) -> tuple[dict[str, Any], str | None]:
            if not asked.query.strip():
                return _no_score(generation, EMPTY), EMPTY
            found = _found(generation, asked, deadline)
            service.counted(found)
            reason = None if np.isfinite(found.gains).any() else UNKNOWN
            made = _no_score(generation, reason)
            made["documents"] = documents(generation, found)
            if generation.policies:
                scores = None if asked.scores is None else [float("nan") if x is None else x for x in asked.scores]
                told = Asked(asked.query.strip(), found, generation.student.scale, scores, asked.segment)
                made["decisions"] = decisions(generation, told)
            return made, reason

        return work


def _found(generation: Generation, asked: ScoreRequest, deadline: Deadline) -> DocScores:
    if asked.texts is None:
        return score_docs(generation, asked.query, asked.doc_ids or [], deadline)
    ids = [str(i) if text.id is None else text.id for i, text in enumerate(asked.texts)]
    return score_texts(generation, asked.query, [text.text for text in asked.texts], ids, deadline)


def _no_score(generation: Generation, reason: str | None) -> dict[str, Any]:
    said: dict[str, Any] = {"no_signal": reason is not None, "reason": reason, "model": generation.about()}
    return said | {"documents": [], "decisions": {}}


def _reranking(app: FastAPI, service: Service) -> None:
    @app.post("/v1/rerank", response_model=RerankAnswer, responses=_FAULTS, openapi_extra=_takes(RerankRequest))
    async def rerank(request: Request) -> Any:
        """Which of these texts are most relevant to a query? In the shape of other rerankers."""
        try:
            asked = parsed(RerankRequest, await request.body())
        except Unreadable as problem:
            return fault(problem.status, str(problem))
        if len(asked.documents) > service.limits.most_docs:
            return fault(422, f"a request has at most {service.limits.most_docs:,} documents")
        said: dict[str, Any] = {"docs": len(asked.documents)} | ({"query": asked.query} if service.log_queries else {})
        return await service.answer(request, Work(make(asked), _no_ranks), said)

    def make(asked: RerankRequest) -> Callable[[Generation, Deadline], tuple[dict[str, Any], str | None]]:
        texts = [text if isinstance(text, str) else text.text for text in asked.documents]

        def work(generation: Generation, deadline: Deadline) -> tuple[dict[str, Any], str | None]:
            if not asked.query.strip():
                return _no_ranks(generation, EMPTY), EMPTY
            found = score_texts(generation, asked.query, texts, [str(i) for i in range(len(texts))], deadline)
            service.counted(found)
            top = max(generation.student.scale.gains) or 1.0
            sound = np.flatnonzero(np.isfinite(found.gains))
            order = sound[np.argsort(-found.gains[sound], kind="stable")][: asked.top_n]
            made = _no_ranks(generation, reason := None if len(sound) else UNKNOWN)
            made["results"] = [
                {"index": int(i), "relevance_score": float(found.gains[i] / top)}
                | ({"document": {"text": texts[i]}} if asked.return_documents else {})
                for i in order
            ]
            return made, reason

        return work


def _no_ranks(generation: Generation, reason: str | None) -> dict[str, Any]:
    meta = {"api_version": {"version": "1"}, "no_signal": reason is not None, "reason": reason, "model": generation.about()}
    return {"id": str(uuid4()), "results": [], "meta": meta, "no_signal": reason is not None}


def _standing(app: FastAPI, service: Service) -> None:
    generations = service.generations

    @app.get("/v1/model", response_model=Model)
    async def model() -> Any:
        """Who answers?"""
        return Response(orjson.dumps(generations.now.about()), media_type="application/json")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Does the process live?"""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, Any]:
        """Does it answer, by which generation, and was a newer one refused?"""
        now = generations.now
        known = len(now.documents.vectors)
        return {"ready": True, "generation": now.number, "documents": known, "problem": generations.problem}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        service.metrics.places.set(service.places.taken)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
