"""What goes in and comes out over HTTP, checked; and how it is told to people in the OpenAPI page."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_QUERY = 2_000
"""Characters of a query; more are no query, and would take seconds to read."""


class Text(BaseModel):
    """A document that the service does not know, or by its text."""

    id: str | None = Field(None, description="What it is called in the answer; its place by default.")
    text: str = Field(description="The document as the student reads it.")


class ScoreRequest(BaseModel):
    """A query, and documents by their ids or by their texts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "red garden chair", "doc_ids": ["d1", "d2"]}]})
    query: str = Field(max_length=MOST_QUERY)
    doc_ids: list[str] | None = Field(None, description="Documents whose vectors are stored.")
    texts: list[Text] | None = Field(None, description="Documents by their text: each one that has no vector is encoded now.")
    scores: list[float | None] | None = Field(None, description="The engine's scores, for policies that use them.")
    segment: str | None = Field(None, description="Of the query, for policies that differ by segment.")


class Document(BaseModel):
    """What the student says of a document. No answer is not zero: what is not known has no number."""

    doc_id: str
    known: bool = Field(description="False for a document without a vector or a text.")
    probs: list[float] | None = Field(description="The probability of each grade, worst first; null if not known.")
    gain: float | None = Field(description="The expected gain on the scale's gains; null if not known.")
    label: str | None = Field(description="The grade that the student decides for; null if not known.")


class Model(BaseModel):
    """Who answers."""

    name: str
    fingerprint: str
    scale: str
    labels: list[str] = Field(description="Grades, worst first.")
    gains: list[float]
    generation: int = Field(description="Rises with each student or documents that were loaded.")


class Treatment(BaseModel):
    """What a policy does with a document."""

    doc_id: str
    action: str
    value: float | None
    why: str


class ScoreAnswer(BaseModel):
    """Documents in the order of the request."""

    no_signal: bool = Field(description="True if there is no answer: then rank as without this service.")
    reason: str | None = Field(description="Why there is none: deadline, empty_query, no_known_documents.")
    model: Model
    documents: list[Document]
    decisions: dict[str, list[Treatment]] = Field(description="By policy.")


class RerankText(BaseModel):
    text: str


class RerankRequest(BaseModel):
    """As reranker clients speak (Cohere, Jina)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "student", "query": "red chair", "documents": ["A chair", "A lamp"], "top_n": 1}]
        }
    )
    query: str = Field(max_length=MOST_QUERY)
    documents: list[str | RerankText]
    model: str | None = Field(None, description="Is not read: the service has one student.")
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False


class RerankResult(BaseModel):
    index: int = Field(description="The document's place in the request.")
    relevance_score: float = Field(description="The expected gain over the scale's top gain, 0 to 1.")
    document: RerankText | None = None


class RerankAnswer(BaseModel):
    """The best first. Documents without text are left out; without a signal there is no result."""

    id: str
    results: list[RerankResult]
    meta: dict[str, Any]


class Fault(BaseModel):
    error: str


Shape = TypeVar("Shape", bound=BaseModel)


class Unreadable(Exception):
    """A body that is not what was expected. status: 400 for what is no JSON, 422 for another shape."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def parsed(shape: type[Shape], body: bytes) -> Shape:
    """What a body holds. Raises: Unreadable, without a word of what it held."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Unreadable(400, "the body is no JSON in UTF-8") from None
        where = ".".join(str(part) for part in first["loc"][:3])
        raise Unreadable(422, f"{where or 'body'}: {first['msg']}") from None
