"""What pages show, for programs: JSON, some of it as CSV, and a document that says what there is (OpenAPI)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from starlette.responses import Response

from germane import __version__
from germane.report.experiments import Experiment
from germane.types import Estimate
from germane.web.access import DECIDES, Call, Page
from germane.web.boards import (
    alarms,
    costs,
    experiments,
    explaining,
    finding,
    gathering,
    goldens,
    judges,
    labels,
    people,
    samples,
    spent,
    views,
)
from germane.web.boards.keeping import kept

KEPT = {"Cache-Control": "no-store"}
_DATE = {"type": "string", "format": "date"}
_IN_PATH = {"date": _DATE, "name": {"type": "string"}}


class Entry(NamedTuple):
    """Something to ask for. of: the type of what comes; asked: name of a parameter -> its schema and what it is for.

    kept: it says what the registry's days and alerts say, and nothing else.
    """

    path: str
    find: Callable[[Call], Any]
    of: type
    summary: str
    asked: Mapping[str, tuple[Mapping[str, Any], str]]
    table: Callable[[Any], Iterable[list[Any]]] | None = None
    kept: bool = True
    files: bool = False


def of_overview(found: views.Overview) -> Iterable[list[Any]]:
    """The days as rows: one for each day and metric, with no number where there is none."""
    yield ["date", "state", "metric", "segment", *_HEADS, "requests", "sampled", "changed", "alerts"]
    for day in found.days:
        for metric in found.metrics:
            more = [day.requests, day.sampled, " ".join(day.lines), " ".join(map(str, day.alerts))]
            yield [day.date, day.state, metric, found.segment, *_numbers(day.levels.get(metric)), *more]


def of_segments(found: views.Segments) -> Iterable[list[Any]]:
    """The segments as rows, with the level, that of a week before, and the difference."""
    yield ["date", "segment", "metric", *_HEADS, *(f"before_{h}" for h in _HEADS), *(f"change_{h}" for h in _HEADS)]
    for row in found.rows:
        yield [found.date, row.segment, row.metric, *_numbers(row.level), *_numbers(row.before), *_numbers(row.change)]


def of_looks(found: Experiment) -> Iterable[list[Any]]:
    """The looks as rows: the estimate over all batches so far, the guardrail's verdict, and the batch alone."""
    yield ["look", "at", *_HEADS, "caveat", "verdict", "passes", *(f"batch_{h}" for h in _HEADS), "note", "overrides"]
    for each in found.looks:
        more = [each.caveat, each.verdict, each.passes, *_numbers(each.batch), each.note, "; ".join(each.overrides)]
        yield [each.number, each.at, *_numbers(each.estimate), *more]


def of_samples(found: samples.Samples) -> Iterable[list[Any]]:
    """The weeks as rows, a measure a row."""
    yield ["week", "judge", "fingerprint", "guide", "pairs", "votes", "measure", *_HEADS]
    for row in found.weeks:
        for name in samples.MEASURES:
            yield [row.period, row.judge, row.fingerprint, row.guide, row.pairs, row.votes, name, *_numbers(getattr(row, name))]


_HEADS = ("value", "low", "high", "se", "n", "level")
_WINDOW: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "metric": ({"type": "string"}, "As sdcg@25; by default the first two."),
    "segment": ({"type": "string"}, "As language=de; by default all."),
    "days": ({"type": "integer", "enum": list(gathering.WINDOWS)}, "So many days, 90 by default."),
    "until": (_DATE, "The last of them; by default the last day of the history."),
}
_SPAN = {name: _WINDOW[name] for name in ("days", "until")}
_LOOKED: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "days": ({"type": "integer", "enum": list(finding.WINDOWS)}, f"So many days, {finding.WINDOW} by default."),
    "until": (_DATE, "The last of them; by default the last day of the history."),
}
_TEXT = {"type": "string"}
_PAIRS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "query": (_TEXT, "Words of a query, or its id."),
    "doc": (_TEXT, "The id of a document."),
    "text": (_TEXT, "Words of a document."),
    "grade": (_TEXT, "A grade by its name, or none."),
    "segment": (_TEXT, "As language=de."),
    "start": ({"type": "integer"}, "Pairs that are left out: the next page."),
    **_LOOKED,
}
_PAIR: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "query": (_TEXT, "The whole text of a query, or its id."),
    "doc": (_TEXT, "The id of a document."),
    "store": ({"type": "string", "enum": ["all"]}, "Look through all of the judgment store, and not its latest parts alone."),
    **_LOOKED,
}
ENTRIES = (
    Entry("/api/overview", gathering.overview, views.Overview, "Levels day by day.", _WINDOW, of_overview),
    Entry(
        "/api/segments",
        gathering.segments,
        views.Segments,
        "A day's levels in every segment, beside a week before.",
        {"date": (_DATE, "By default the last day that is done.")},
        of_segments,
    ),
    Entry(
        "/api/alerts",
        alarms.alerts,
        views.Alerts,
        "Alerts, the last one first.",
        {
            "state": ({"type": "string", "enum": ["open", "all"]}, "open by default."),
            "under": ({"type": "integer"}, "Those with a lower number: the next page."),
        },
    ),
    Entry("/api/alerts/{alert}", alarms.one, views.Alert, "One alert, and what it is made of.", {}),
    Entry("/api/days/{date}", gathering.day, views.Day, "The report of a day.", {}),
    Entry("/api/experiments", experiments.listed, views.Experiments, "Experiments, the latest first.", {}, kept=False),
    Entry("/api/experiments/{name}", experiments.one, Experiment, "An experiment: looks, decisions.", {}, kept=False),
    Entry("/api/experiments/{name}/looks", experiments.one, Experiment, "The same; its looks as a table.", {}, of_looks, False),
    Entry("/api/judges", judges.judges, views.Judges, "The judge cards in the project's folder.", {}, kept=False),
    Entry(
        "/api/golden-samples",
        samples.samples,
        samples.Samples,
        "The judge's agreement with people on golden pairs of the days, week by week.",
        {"days": ({"type": "integer", "enum": list(samples.WINDOWS)}, "So many days, 90 by default.")},
        of_samples,
        kept=False,
    ),
    Entry("/api/labels", labels.find, finding.FoundPairs, "What was shown, with grades.", _PAIRS, labels.table, False, True),
    Entry(
        "/api/labels/pair",
        labels.explain,
        explaining.ExplainedPair,
        "One pair: why it got its grade.",
        _PAIR,
        kept=False,
        files=True,
    ),
    Entry("/api/costs", spent.find, costs.Costs, "Labels a day, and what they cost.", _SPAN, costs.table, False),
    Entry("/api/golden", people.find, goldens.GoldenHealth, "The golden set's health.", {}, goldens.table, False),
)


def pages() -> list[Page]:
    """The entries as pages, those with a table as CSV too, and the document."""
    made = [Page("GET", "/openapi.json", DECIDES, lambda call: _json(_document_bytes()), machine=True)]
    for entry in ENTRIES:
        forms = {entry.path: _answering(entry)} | ({f"{entry.path}.csv": _tabling(entry)} if entry.table else {})
        for path, answer in forms.items():
            if entry.kept:
                answer = kept(answer, *entry.asked, named=re.findall(r"{(\w+)}", path), personal=False)
            made.append(Page("GET", path, DECIDES, answer, machine=True, files=entry.files))
    return made


def json_of(found: Any, of: type) -> bytes:
    """A view as JSON; a number that there is none of is null."""
    made: bytes = _adapter(of).dump_json(found)
    return made


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of the API."""
    schemas: dict[str, Any] = {"Refused": {"type": "object", "properties": {"error": {"type": "string"}}}}
    paths = {}
    for entry in ENTRIES:
        schema = _adapter(entry.of).json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[entry.of.__name__] = schema
        paths[entry.path] = {"get": _operation(entry, f"#/components/schemas/{entry.of.__name__}")}
        if entry.table is not None:
            paths[f"{entry.path}.csv"] = {"get": _operation(entry, "")}
    said = "Every number with its interval and n. A day that is missing has no numbers, and no zeros."
    info = {"title": "germane: watching search", "version": __version__, "description": said}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _operation(entry: Entry, schema: str) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _IN_PATH.get(name, {"type": "integer"})}
        for name in re.findall(r"{(\w+)}", entry.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": dict(kind), "description": about}
        for name, (kind, about) in entry.asked.items()
    ]
    kind = {"application/json": {"schema": {"$ref": schema}}} if schema else {"text/csv": {"schema": {"type": "string"}}}
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}}
    answers: dict[str, Any] = {"200": {"description": entry.summary, "content": kind}}
    said = {"401": "Nobody is logged in.", "403": "Not for this role.", "404": "There is none.", "422": "Wrong input."}
    answers |= {code: {"description": text, "content": refused} for code, text in said.items()}
    name = entry.path.removeprefix("/api/").replace("/", "_").replace("{", "").replace("}", "").replace("-", "_") + (
        "" if schema else "_csv"
    )
    summary = entry.summary if schema else f"{entry.summary} As CSV."
    return {"operationId": name, "summary": summary, "parameters": parameters, "responses": answers}


def _answering(entry: Entry) -> Callable[[Call], Response]:
    return lambda call: _json(json_of(entry.find(call), entry.of))


def _tabling(entry: Entry) -> Callable[[Call], Response]:
    assert entry.table is not None
    table, name = entry.table, entry.path.rpartition("/")[2]

    def answer(call: Call) -> Response:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_cell(c) for c in row] for row in table(entry.find(call)))
        headers = {**KEPT, "Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)

    return answer


def _cell(value: Any) -> Any:
    """A cell; text that a spreadsheet would take for a formula stands after an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _numbers(e: Estimate | None) -> list[Any]:
    return [None] * len(_HEADS) if e is None else [_finite(getattr(e, name)) for name in _HEADS]


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def _json(data: bytes) -> Response:
    return Response(data, media_type="application/json", headers=KEPT)


@cache
def _document_bytes() -> bytes:
    import json

    return json.dumps(document(), ensure_ascii=False).encode()


@cache
def _adapter(of: type) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(of)
