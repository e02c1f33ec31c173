"""`germane signal filter`: from which prediction on a result is left out, and what that would cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import cards, scales, sources, store
from germane.cards import gold
from germane.golden import folder
from germane.report import signal as page
from germane.signal import applying, evidence, files, thresholds
from germane.signal import filter as filtering
from germane.types import Estimate, InputError, Policy, Scale

if TYPE_CHECKING:
    import pyarrow as pa

PAGES = ("filter.html", "filter.md")


class Filtered(NamedTuple):
    """What was chosen. thresholds: segment -> the probability from which on a result is left out, "none" where none is.

    precision, removed, relevant_lost, bad_removed: on golden pairs that had no part in choosing, None where there is no value.
    shown: of the dry run: results, left out, queries that hit the floor.
    """

    out: str
    made: bool
    judge: str
    scale: str
    thresholds: dict[str, str]
    precision: Estimate | None
    removed: Estimate | None
    relevant_lost: Estimate | None
    bad_removed: Estimate | None
    shown: dict[str, int]
    overrides: tuple[str, ...]
    notes: tuple[str, ...]


def choose(
    judgments: Path,
    golden: Path,
    out: Path,
    *,
    scale: str,
    precision: float = 0.9,
    classes: Mapping[str, float] | None = None,
    irrelevant: str | None = None,
    relevant: str | None = None,
    floor: int = 10,
    bound: bool = True,
    queries: Path | None = None,
    docs: Path | None = None,
    by: str | None = None,
    run: Path | None = None,
    adjudicate: str | None = None,
    allow: Collection[str] = (),
    level: float = 0.95,
) -> Filtered:
    """A filter in a folder: filter.json (the policy), filter.html and filter.md, which say what would vanish.

    judgments: of one judge, with probabilities; golden: people's, of some of the same pairs. irrelevant: the highest label
    that may go (the worst by default), at `precision`; classes: label -> precision, in its place. relevant: the lowest label
    whose loss is counted. by: a column of queries; run: what the filter is tried on. More parameters than our seven: each is
    a question of its own.

    Raises: InputError for input that cannot be used; Refusal `--allow golden-test`, `--allow trained-on-gold`.
    """
    of = scales.get(scale)
    golden = evidence.dev_of(golden)
    wanted = _wanted(of, precision, classes, irrelevant, relevant, floor, bound, level)
    asked = {"scale": of, "wanted": wanted, "by": by, "adjudicate": adjudicate, "allow": sorted(allow)}
    given = [path for path in (judgments, golden, queries, docs, run) if path is not None]
    asked["given"] = [path is not None for path in (queries, docs, run)]
    inputs = [*given, *(beside for path in given if (beside := store.manifest_path(path)).is_file())]
    work: dict[str, Any] = {"verb": "signal filter", "inputs": inputs, "parameters": asked}
    place = out / "filter.json"
    if all((out / name).is_file() for name in PAGES) and store.up_to_date(place, **work):
        manifest = store.read_manifest(place)
        return _told(out, False, files.read(place), dict(manifest.extra if manifest else {}))
    if by is not None and queries is None:
        raise InputError(f"--by {by} names a column of the queries: give them with --queries")
    segments = evidence.segments_of(queries, by)
    predicted, table = evidence.predictions(judgments, of)
    texts = None if queries is None else sources.read_queries(queries)
    texts = texts if texts is not None else _texts_beside(golden)
    rule: gold.Rule | None = adjudicate  # type: ignore[assignment]  # adjudicate() says which there are
    people, overrides = evidence.evidence(
        golden, judgments, table, of, segments=segments, queries=texts, adjudicate=rule, allow=allow
    )
    chosen = thresholds.choose(people, wanted, of.labels)
    policy = Policy(
        filtering.KIND, chosen.filter.name, *predicted.whose[:3], of.name, len(of.labels), store.sha256(golden),
        chosen.filter.parameters(), chosen.found, tuple(dict.fromkeys([*chosen.notes, *filter(None, [predicted.note])])),
    )  # fmt: skip
    tried = _tried(run, predicted, chosen.filter, segments, asked=by is not None)
    titles = None if docs is None else sources.read_docs(docs)
    view = page.of_filter(policy, chosen, wanted, of, tried, overrides, texts=texts, docs=titles)
    extra: dict[str, Any] = {"overrides": list(overrides), "shown": _counts(tried)}
    store.write_text(out / "filter.html", page.html(view))
    store.write_text(out / "filter.md", page.markdown(view))
    files.write(policy, place)
    store.write_manifest(place, **work, extra=extra)
    return _told(out, True, policy, extra)


def _wanted(
    of: Scale,
    precision: float,
    classes: Mapping[str, float] | None,
    irrelevant: str | None,
    relevant: str | None,
    floor: int,
    bound: bool,
    level: float,
) -> thresholds.Wanted:
    if classes and irrelevant is not None:
        raise InputError("--class says which labels go, and so does --irrelevant: give one of them")
    highest = 0 if irrelevant is None else of.relevance(irrelevant)
    rules = {of.relevance(label): share for label, share in classes.items()} if classes else {highest: precision}
    good = cards.threshold(of) if relevant is None else of.relevance(relevant)
    if good <= max(rules):
        raise InputError(
            f"label {of.labels[good]!r} counts as relevant and may be filtered: raise --relevant, or lower the other"
        )
    return thresholds.Wanted(tuple(sorted(rules.items())), good, floor, bound, level)


def _texts_beside(golden: Path) -> pa.Table | None:
    said = folder.texts_beside(golden)
    return None if said is None else sources.read_queries(said)


def _tried(
    run: Path | None, predicted: evidence.Predictions, made: filtering.Filter, segments: Mapping[str, str], *, asked: bool
) -> applying.Applied | None:
    if run is None:
        return None
    found = sources.read_run(run)
    evidence.known_segments(found, segments, asked)
    return applying.apply(found, predicted, made, segments)


def _counts(tried: applying.Applied | None) -> dict[str, int]:
    if tried is None:
        return {}
    return {
        "results": tried.results,
        "left out": len(tried.dropped),
        "queries": tried.queries,
        "queries at the floor": tried.floored,
        "without a prediction": tried.unknown,
    }


def _told(out: Path, made: bool, policy: Policy, extra: Mapping[str, Any]) -> Filtered:
    at = filtering.of_policy(policy)
    limits: dict[str, str] = {}
    for rule in at.rules:
        for segment, threshold in rule.thresholds.items():
            name = " ".join(filter(None, (policy.parameters["labels"][rule.grade], "or worse" * (rule.grade > 0))))
            limits[f"{name}{', ' + segment if segment else ''}"] = "none" if threshold is None else f"{threshold:.3f}"
    names = ("precision", "removed", "relevant lost", "bad removed")
    figures: dict[str, Any] = {name.replace(" ", "_"): policy.found.get(name) for name in names}
    said: Sequence[str] = extra.get("overrides", ())
    return Filtered(
        str(out / "filter.json"),
        made,
        policy.judge,
        policy.scale,
        limits,
        shown=dict(extra.get("shown", {})),
        overrides=tuple(said),
        notes=policy.notes,
        **figures,
    )
