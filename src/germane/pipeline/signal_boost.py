"""`germane signal boost`: what is added to a ranker's score, fitted on judged queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane import scales, sources, store
from germane.cards import gold
from germane.golden import folder
from germane.report import signal as page
from germane.signal import applying, evidence, files, fitting
from germane.signal import boost as boosting
from germane.signal.deciding import ALL
from germane.types import Estimate, InputError, Policy, Scale

PAGES = ("boost.html", "boost.md")


class Boosted(NamedTuple):
    """What was fitted. strength: standard deviations of the ranker's score for a gain of 1. control, boosted: levels of the
    metric, difference: paired, all out of fold. most: places that a document may move."""

    out: str
    made: bool
    judge: str
    scale: str
    metric: str
    strength: float
    most: int | None
    control: Estimate | None
    boosted: Estimate | None
    difference: Estimate | None
    overrides: tuple[str, ...]
    notes: tuple[str, ...]


def fit(
    judgments: Path,
    golden: Path,
    run: Path,
    out: Path,
    *,
    scale: str,
    metric: str = "sDCG@25",
    most: int | None = 10,
    demote: Sequence[str] = (),
    pin: Sequence[str] = (),
    strengths: Sequence[float] | None = None,
    queries: Path | None = None,
    adjudicate: str | None = None,
    allow: Collection[str] = (),
    level: float = 0.95,
) -> Boosted:
    """A boost in a folder: boost.json (the policy), boost.html and boost.md.

    judgments: of one judge, with probabilities; golden: people's grades of results of `run`, which the ranker made. demote,
    pin: rules LABEL=PROBABILITY:AMOUNT, the amount in standard deviations of the ranker's score. strengths: what is tried.
    adjudicate: how several raters make one grade, as for `check`.

    Raises: InputError for input that cannot be used; Refusal `--allow golden-test`, `--allow trained-on-gold`.
    """
    of = scales.get(scale)
    golden = evidence.dev_of(golden)
    rules = [_rule(boosting.DEMOTE, said, of) for said in demote] + [_rule(boosting.PIN, said, of) for said in pin]
    asked = fitting.Fit(metric, most, tuple(rules), tuple(strengths or fitting.STRENGTHS), level=level)
    if any(not np.isfinite(s) or s < 0 for s in asked.strengths):
        raise InputError(f"--strength {asked.strengths}: expected numbers of 0 or more")
    given = [path for path in (judgments, golden, run, queries) if path is not None]
    inputs = [*given, *(beside for path in given if (beside := store.manifest_path(path)).is_file())]
    parameters: dict[str, Any] = {"scale": of, "asked": asked, "allow": sorted(allow), "queries": queries is not None}
    parameters["adjudicate"] = adjudicate
    work: dict[str, Any] = {"verb": "signal boost", "inputs": inputs, "parameters": parameters}
    place = out / "boost.json"
    if all((out / name).is_file() for name in PAGES) and store.up_to_date(place, **work):
        manifest = store.read_manifest(place)
        return _told(place, False, files.read(place), dict(manifest.extra if manifest else {}))
    predicted, table = evidence.predictions(judgments, of)
    texts = queries if queries is not None else folder.texts_beside(golden)
    asked_of = None if texts is None else sources.read_queries(texts)
    rule: gold.Rule | None = adjudicate  # type: ignore[assignment]  # adjudicate() says which there are
    people, overrides = evidence.evidence(golden, judgments, table, of, queries=asked_of, adjudicate=rule, allow=allow)
    pages_ = pages(sources.read_run(run).table, predicted, golden, of, adjudicate)
    found = fitting.fit(pages_, of, asked)
    policy = Policy(
        boosting.KIND, found.boost.name, *predicted.whose[:3], of.name, len(of.labels), store.sha256(golden),
        found.boost.parameters() | {"unit": found.unit, "metric": metric}, found.found, (*found.notes, *people.notes),
    )  # fmt: skip
    view = page.of_boost(policy, found, of, asked, overrides)
    store.write_text(out / "boost.html", page.html(view))
    store.write_text(out / "boost.md", page.markdown(view))
    files.write(policy, place)
    extra = {"overrides": list(overrides)}
    store.write_manifest(place, **work, extra=extra)
    return _told(place, True, policy, extra)


def pages(
    run: Any, predicted: evidence.Predictions, golden: Any, of: Scale, adjudicate: str | None = None
) -> list[fitting.Page]:
    """Each query's results with scores, predictions and people's grades; queries that nobody judged are left out."""
    rule: gold.Rule | None = adjudicate  # type: ignore[assignment]  # adjudicate() says which there are
    said = gold.adjudicate(sources.read_judgments(golden, scale=of), rule)[0]
    columns = (said[name].to_pylist() for name in ("query_id", "doc_id", "relevance"))
    grades: dict[str, dict[str, int]] = {}
    for query, doc, grade in zip(*columns, strict=True):
        if grade is not None:
            grades.setdefault(str(query), {})[str(doc)] = int(grade)
    found = []
    for query, (docs, score) in applying.pages(run).items():
        if query in grades:
            probs, gain, known = predicted.of(query, docs)
            graded = np.array([grades[query].get(doc, -1) for doc in docs], dtype=np.int64)
            found.append(
                fitting.Page(query, tuple(docs), score, probs, gain, known, graded, tuple(grades[query].values()), ALL)
            )
    if not found:
        raise InputError("no query of the run was judged by people: are query_id the same in both?")
    return found


def _rule(kind: str, said: str, of: Scale) -> boosting.BoostRule:
    """I=0.8:2 as a rule. Raises: InputError for what is none."""
    label, equals, rest = said.partition("=")
    at, colon, by = rest.partition(":")
    try:
        if not (label and equals and colon):
            raise ValueError
        return boosting.checked(boosting.BoostRule(kind, of.relevance(label), float(at), float(by)), len(of.labels))
    except InputError:
        raise
    except ValueError:
        raise InputError(f"--{kind} {said:.80}: expected LABEL=PROBABILITY:AMOUNT, as {of.labels[0]}=0.8:2") from None


def _told(place: Path, made: bool, policy: Policy, extra: Mapping[str, Any]) -> Boosted:
    said = policy.parameters
    strength = float(said["strength"]) / float(said["unit"])
    figures: dict[str, Any] = {name: policy.found.get(name) for name in ("control", "boosted", "difference")}
    return Boosted(
        str(place),
        made,
        policy.judge,
        policy.scale,
        str(said["metric"]),
        strength,
        said["most"],
        overrides=tuple(extra.get("overrides", ())),
        notes=policy.notes,
        **figures,
    )
