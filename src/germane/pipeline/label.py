"""`germane label`: any judge's grades of any number of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from germane import scales, settings, store
from germane.judges import Fake, folder
from germane.judges.folder import About, trained_on
from germane.judges.images import Images
from germane.judges.llm import LLM
from germane.judges.loading import load, locate
from germane.judges.pictures import Pictures, digest
from germane.judges.prices import CURRENCY
from germane.judges.providers import host
from germane.labelling import local, noted, work
from germane.labelling.annotators import REPLIES, Admitted, Annotator, admitted, of_engines, spent
from germane.labelling.answers import finished, quarantine_of
from germane.labelling.blocks import Blocks
from germane.labelling.known import Known, from_before
from germane.labelling.pictured import Unmarked, WithImages
from germane.labelling.ray import Cluster, Pool
from germane.labelling.reading import PairsFile
from germane.labelling.speed import machine
from germane.types import InputError, Judge, Outcome

FAKE = "fake"
TORCH, SERVED = "torch", "served"
ANNOTATED = 8 * work.BLOCK
"""Pairs of a language model that are put on disk together: each of its replies is kept by itself."""


class Server(NamedTuple):
    """A model that answers for a trained teacher. url: up to and with /v1. key_env: the variable that holds its key."""

    url: str
    model: str
    key_env: str | None = None


@dataclass(frozen=True)
class How:
    """How a judge is asked. engine: of two towers, or a cross-encoder. vectors: of two towers. pictures, server: of a teacher.

    annotator: of "llm:...". ray: the cluster that it is asked on, None for this process.
    """

    device: str | None = None
    batch: int | None = None
    engine: str | None = None
    pictures: Pictures | None = None
    server: Server | None = None
    annotator: Annotator | None = None
    ray: Cluster | None = None
    vectors: Path | None = None


class Labelling(NamedTuple):
    """What `label` wrote. made: False if nothing had changed. deduplicated: rows that a row of the same words answered.

    known, asked: different pairs that the judgment store had, and that the judge was asked. outcomes: of rows. coverage:
    share of rows with a grade. quarantine: rows without a label. rows_per_s, latency_ms (of one alone): of those asked. paid:
    what all of their answers cost, in `currency`; None where that is not known. Of a watched day and a language model, pairs
    that replies of other days answer are known, and cost nothing.
    """

    out: str
    made: bool
    judge: str
    fingerprint: str
    rows: int
    deduplicated: int
    known: int
    outcomes: Mapping[str, int]
    coverage: float
    quarantine: str
    rows_per_s: float | None
    latency_ms: float | None
    machine: str
    notes: tuple[str, ...]
    cost: str = ""
    calls: str = ""
    asked: int = 0
    paid: float | None = None
    currency: str = ""


def label(
    judge: str | Path,
    pairs: Path,
    out: Path,
    *,
    scale: str | Path | None = None,
    device: str | None = None,
    batch: int | None = None,
    limit: int | None = None,
    engine: str | None = None,
    pictures: Pictures | None = None,
    server: Server | None = None,
    annotator: Annotator | None = None,
    ray: Cluster | None = None,
    labels: Path | None = None,
    failures: int = local.FAILURES,
    retry: bool = False,
    vectors: Path | None = None,
) -> Labelling:
    """A judgment of each row of pairs, in their order, at `out`; killed at any moment, the same call goes on.

    judge: the folder of a trained judge, or "fake", which needs a scale. device, batch: of a trained judge, as torch names
    it and pairs at once. limit: only the first so many rows. engine: "torch", "onnx" or "onnx-int8" of a judge of two
    towers, "packed" or "torch" of a cross-encoder. pictures: the documents' images, of a teacher that learned from them, and
    of an annotator that is to see them.
    server: asks the teacher's model there. annotator: how a language model is asked, where the judge is one ("llm:...").
    ray: a cluster whose actors ask, with the same result. labels: the folder of the judgment store, where labels from before
    are found and new ones go, of a judge whose fingerprint says all. failures: rows that may fail to be labelled; they stand
    beside `out`, with the reason. retry: asks again where the table that is there has no answer; "cannot judge" is one. Pairs
    of the same query, text and image are asked once. What is finished lies beside `out` until all is; another judge, file or
    parameter that may change an answer starts anew. vectors: a folder of documents' vectors, of a judge of two towers; what it
    lacks is added. Sixteen parameters: each is an option of the command.

    Raises: InputError for a folder without a judge, pairs that cannot be read, another scale than the judge's, and a way of
    asking that this judge does not know.
    """
    if out.suffix != ".parquet":
        raise InputError(f"{out}: a table of judgments is a .parquet file")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: give at least one row")
    how = How(device, batch, engine, pictures, server, annotator, ray, vectors)
    for place in (out, quarantine_of(out)):
        store.not_among(place, (pairs, *([] if annotator is None else annotator.files)))
    facts = _facts(judge, scale, how)
    asked_of = PairsFile(pairs, limit, context=annotator is not None)
    images = None if pictures is None else pictures.open()
    parameters = {
        "judge": facts["fingerprint"],
        "device": device,
        "batch": batch,
        "limit": limit,
        **_changing(how, facts["kind"]),
    }
    if images is not None:
        parameters["images"] = digest(images, (str(i) for piece in asked_of.pieces() for i in piece["doc_id"].to_pylist()))
        asked_of = WithImages(pairs, limit, asked_of.context, images.names)
    inputs = [pairs, *([pictures.docs] if pictures else [])]
    made: dict[str, Any] = {"verb": "label", "inputs": inputs, "parameters": parameters}
    known = None if labels is None or (annotator or server or pictures) else labels
    by_query = annotator is not None or server is not None  # a server keeps how prompts begin
    told = {"sorted": work.SORTED, "pairs": store.sha256(pairs), "labels": str(known.resolve()) if known else ""}
    told |= {"order": "query"} if by_query else {}
    told |= {"day": annotator.day} if annotator is not None and annotator.day else {}
    blocks = Blocks(out.with_name(f".{out.name}.parts"), told | parameters)
    if not retry and (extra := finished(out, made, failures)) is not None:
        blocks.left_over()
        return _told(out, False, extra)
    let = Admitted([], [], {}) if annotator is None else _admitted(annotator, asked_of)
    with blocks, _ready(judge, scale, how, images, out, retry=retry) as whole:
        asked: Any = whole.judge if isinstance(whole, Unmarked) else whole
        sure = None if known is None else _sure(known, asked)
        options: dict[str, Any] = {"timed": annotator is None, "known": sure, "most_failures": failures, "by_query": by_query}
        options |= {} if annotator is None else {"block": ANNOTATED}
        extra = _said(local.label(whole, asked_of, out, blocks, **options), facts, asked, how, let)
        extra["label"]["notes"] += noted.other_text(judge, pairs)
        schema = f"judgments {store.SCHEMAS['judgments'].version}"
        store.write_manifest(out, **made, schema=schema, rows=extra["label"]["rows"], extra=extra)
        blocks.remove()
    return _told(out, True, extra)


def _said(did: local.Labelled, facts: Mapping[str, Any], asked: Any, how: How, let: Admitted) -> dict[str, Any]:
    """What the manifest says of the judge that answered, and of what was done."""
    facts = _as_asked(facts, asked) | {"machine": _machine(asked, how), "rows": did.computed}
    rate = round(did.rows_per_s, 2) if did.computed else None
    facts |= {"seconds": round(did.seconds, 3), "rows_per_s": rate, "latency_ms": did.latency_ms}
    if isinstance(engine := getattr(asked, "engine", None), str):
        facts |= {"engine": engine, "engine_version": getattr(asked, "engine_version", "")}
    if how.server is not None or how.annotator is not None:
        facts["server"] = dict(getattr(asked, "engine", {}))  # what it said of itself
    counts = ("read", "rows", "deduplicated", "known", "computed", "outcomes", "quarantined", "failed")
    told: dict[str, Any] = {name: getattr(did, name) for name in counts}
    told["notes"] = [*let.overrides, *let.notes, *noted.of_judge(facts), *from_before(did.known)]
    if isinstance(asked, LLM):
        facts |= {"cost": did.cost, "latency_ms": asked.latency_ms}
        told |= {
            "overrides": let.overrides,
            "admitted_by": dict(let.by),
            "spent": spent(asked.spent, did.cost, did.computed if did.now is None else did.now, asked.prices),
        }
        told |= {} if did.now is None else {"asked": did.now}
        told["notes"] += of_engines(asked)
    return {"judge": facts, "label": told}


def _facts(judge: str | Path, scale: str | Path | None, how: How) -> dict[str, Any]:
    """What is known of a judge before it is loaded: the manifest's "judge", which `leaderboard` reads."""
    if str(judge) == FAKE:
        if scale is None:
            raise InputError("--judge fake needs --scale: it makes up grades on any")
        _fits(FAKE, None, how)
        fake = Fake(scales.get(scale))
        return {"kind": FAKE, "name": fake.name, "fingerprint": fake.fingerprint, "random_weights": False}
    if how.annotator is not None:
        _annotated(how)
        return how.annotator.facts(how.annotator.asked())
    place = locate(judge)
    about = folder.read(place)
    if scale is not None and scales.get(scale).version != about.scale.version:
        raise InputError(f"{judge} judges on scale {about.scale.name!r} of its own guide, not on {scale}: leave --scale out")
    _fits(str(judge), about, how)
    served = how.server and {"engine": SERVED, "url": host(how.server.url), "model": how.server.model}
    return {
        "kind": about.kind,
        "name": about.name,
        "fingerprint": about.fingerprint,
        "base": about.base,
        "lineage": list(about.lineage),
        "taught_by": list(about.taught_by),
        "random_weights": about.random_weights,
        "training_queries": list(trained_on(place)),
        "images": how.pictures is not None,
        "blind": bool(about.settings.get("images")) and how.pictures is None,
        **(served or {"engine": how.engine or TORCH}),
        **({} if how.vectors is None else {"vectors": _stored(how.vectors)}),
    }


def _fits(judge: str, about: About | None, how: How) -> None:
    """Raises: InputError where this judge cannot be asked in this way. about: None is of the fake."""
    from germane.judges import encoder, two_tower

    kind = about.kind if about else FAKE
    known = {encoder.KIND: encoder.ENGINES, two_tower.KIND: two_tower.ENGINES}.get(kind, ())
    if how.engine is not None and how.engine not in known:
        said = f"expected {', '.join(known)}" if known else "which has none: leave it out"
        raise InputError(f"--engine {how.engine}: {judge} is a {kind}, {said}")
    if how.engine in two_tower.FILES and how.device not in (None, "cpu"):
        raise InputError(f"--engine {how.engine} runs on the CPU: leave --device {how.device} out")
    if how.vectors is not None and kind != two_tower.KIND:
        raise InputError(f"--vectors are of a {two_tower.KIND} judge, and {judge} is a {kind}: leave them out")
    if how.pictures is not None and not (about and kind == "generative" and about.settings.get("images")):
        raise InputError(f"{judge} never learned from images: leave --images and --docs out")
    if how.server is None:
        return
    if kind != "generative":
        raise InputError(f"--url is for a teacher (a generative judge) behind a server, and {judge} is a {kind}: leave it out")
    if how.server.key_env and urlsplit(host(how.server.url) and how.server.url).username is not None:
        raise InputError("--url holds a login and --key-env names a key, and only one can be sent: leave one out")
    if how.device is not None:
        raise InputError("--device says nothing to a server, which has its own: leave it out with --url")


def _annotated(how: How) -> None:
    """Raises: InputError for an option that says nothing to a language model."""
    if how.ray is not None:
        raise InputError("--engine ray is of judges that compute; a language model's server does: leave it out, see --at-once")
    if how.engine is not None or how.server is not None or how.device is not None or how.batch is not None or how.vectors:
        raise InputError(
            "--engine, --device, --batch, --vectors and --model are of trained judges: a language model takes --at-once"
        )


def _changing(how: How, kind: str) -> dict[str, Any]:
    """What of it may change an answer. A served teacher is known by its weights, wherever it is; a language model is not."""
    if how.annotator is not None:
        asked = how.annotator.asked()
        places = [e.place(model) for model, e in zip(asked.models, how.annotator.endpoints(asked), strict=True)]
        told = {"offline": how.annotator.offline, "prices": how.annotator.priced(asked)}
        return told | {"places": sha256(repr(places).encode()).hexdigest()[:16]}  # a path may be as good as a key
    if how.server is not None:
        return {"engine": SERVED, "model": how.server.model}
    usual = (None, TORCH) if kind == "two-tower" else (None,)
    stored = {} if how.vectors is None else {"vectors": _stored(how.vectors)}
    return stored if how.engine in usual else {"engine": how.engine, **stored}


def _stored(folder: Path) -> str:
    """How a folder keeps vectors, which may change an answer; a new one as fp16."""
    from germane.inference import vector_store

    return vector_store.about(folder).store if (folder / vector_store.ABOUT).is_file() else "fp16"


@contextmanager
def _ready(
    judge: str | Path, scale: str | Path | None, how: How, images: Images | None, out: Path, *, retry: bool
) -> Iterator[Judge | Pool]:
    """The judge, or actors that have it."""
    make = partial(
        _made, judge if str(judge) == FAKE or how.annotator else Path(locate(judge)).resolve(), scale, how, images, out
    )
    if how.ray is None:
        yield make(retry=retry)
        return
    with Pool(make, how.ray) as pool:
        yield pool


def _made(
    judge: str | Path, scale: str | Path | None, how: How, images: Images | None, out: Path, *, retry: bool = False
) -> Judge:
    asked = _load(judge, scale, how, images, out, retry=retry)
    return asked if images is None else Unmarked(asked, images.names)


def _sure(labels: Path, asked: Any) -> Known | None:
    """The judgment store as this judge sees it; None for one whose labels say nothing. Others (a language model, one behind a
    server, one that was shown images) never get here: no fingerprint says all that decides their labels.
    """
    if asked.fingerprint.startswith(("fake:", "random:")):
        return None
    return Known(store.JudgmentStore(labels), asked.fingerprint, asked.scale.name, asked.scale.version)


def _load(judge: str | Path, scale: str | Path | None, how: How, images: Images | None, out: Path, *, retry: bool) -> Judge:
    if str(judge) == FAKE and scale is not None:
        return Fake(scales.get(scale))
    if how.annotator is not None:
        return how.annotator.open(how.annotator.asked(), out.parent / REPLIES, images, retry=retry)
    if how.server is not None:
        from germane.judges.served import Calling, Served

        calling = Calling() if how.batch is None else Calling(at_once=how.batch)
        return Served(locate(judge), **how.server._asdict(), images=images, calling=calling)
    said = {"batch": how.batch, "engine": how.engine, "images": images, "vectors": how.vectors}
    return load(locate(judge), device=how.device, **{name: value for name, value in said.items() if value is not None})


def _machine(asked: Any, how: How) -> str:
    if how.ray is not None:
        return f"{asked.machine}{'' if how.server is None else f', asking {host(how.server.url)}'}"
    if how.annotator is not None:
        return f"asked at {', '.join(dict.fromkeys(how.annotator.facts(how.annotator.asked())['hosts']))}"
    if how.server is not None:
        return f"server at {host(how.server.url)}"
    used = "cpu" if str(how.engine).startswith("onnx") else getattr(asked, "device", how.device)
    return machine(str(used) if used is not None else None)


def _as_asked(facts: Mapping[str, Any], asked: Judge) -> dict[str, Any]:
    """The facts of the judge that answered: an engine that changes labels is a judge of its own, taught by the folder's."""
    if asked.fingerprint == facts["fingerprint"]:
        return dict(facts)
    return {**facts, "fingerprint": asked.fingerprint, "lineage": [facts["fingerprint"], *facts["lineage"]]}


def _told(out: Path, made: bool, extra: Mapping[str, Any]) -> Labelling:
    did, judge, aside = extra["label"], extra["judge"], int(extra["label"]["quarantined"])
    return Labelling(
        str(out),
        made,
        judge["name"],
        judge["fingerprint"],
        int(did["rows"]),
        int(did["deduplicated"]),
        int(did["known"]) + int(did["computed"]) - _now(did),
        {str(outcome): did["outcomes"][outcome] for outcome in Outcome if outcome in did["outcomes"]},
        did["outcomes"].get("label", 0) / int(did["read"]),
        f"{aside:,} row{'s' if aside > 1 else ''} in {quarantine_of(out)}" if aside else "",
        judge["rows_per_s"],
        judge["latency_ms"],
        judge["machine"],
        tuple(did["notes"]),
        *_money(did, judge),
    )


def _now(did: Mapping[str, Any]) -> int:
    """Different pairs that the judge was asked: of a watched day, without those that only replies of other days answer."""
    return int(did.get("asked", did["computed"]))


def _money(did: Mapping[str, Any], judge: Mapping[str, Any]) -> tuple[str, str, int, float | None, str]:
    """What it cost and how many calls, in words; how many pairs were asked; what was paid, and in what."""
    cost, calls = did.get("spent") or ("", "")
    paid: float | None = judge.get("cost")
    return cost, calls, _now(did), paid, "" if paid is None else CURRENCY


# --- language models --------------------------------------------------------------------------------------------------


def _admitted(annotator: Annotator, pairs: PairsFile) -> Admitted:
    """What lets it be asked about these pairs.

    Raises: InputError without a key; Refusal without a card.
    """
    asked, project = annotator.asked(), settings.load()
    annotator.ready(asked)
    folder = annotator.cards or (project.folder("cards") if project.path else None)
    return admitted(annotator, asked, pairs, folder)
