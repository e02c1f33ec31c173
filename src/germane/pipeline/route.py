"""`germane route`: which of a judge's labels to accept, and which pairs to send to people."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from germane import cards, scales, sources, store
from germane.cards import facts, routing
from germane.cards.routing import Asked, Sent
from germane.chance import keys, uniform
from germane.golden import folder
from germane.report import route as page
from germane.types import InputError, Routing, Scale

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("accept.parquet", "people.parquet")
PAGES = ("route.html", "route.md", "route.json")


def route(
    judgments: str | Path,
    golden: str | Path,
    out: str | Path,
    *,
    scale: Scale | str | Path,
    asked: Asked | Mapping[str, Any] | None = None,
    relevant: str | int | None = None,
    pairs: str | Path | None = None,
    adjudicate: str | None = None,
    raters: Sequence[str] = (),
    design: str | Path | None = None,
    queries: str | Path | None = None,
    by_segment: Sequence[str] = (),
    allow: Collection[str] = (),
    seed: int = 0,
) -> Routing:
    """What routing by the judge's own certainty is worth, in a folder: pages, and with a rule the tables that it makes.

    judgments: of one judge; golden: people's, of some of the same pairs, as gold is for `check` (adjudicate, raters, design,
    relevant: as there). asked: the signal, the measure, a quality to keep or a budget, and how right people are
    (`cards.routing.Asked`). pairs: texts, so that people.parquet can be shown to raters; it never holds the judge's grade.
    queries, by_segment: columns to split the chosen rule by. allow: "trained-on-gold". seed: of the draw where a level is
    divided. The same files and parameters again do nothing. More parameters than our seven: each is a question of its own.

    Raises: InputError for input that cannot be compared, and golden pairs that are too few (`cards.routing.build`); Refusal
    naming `--allow trained-on-gold` for a judge that was trained on gold's queries.
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    queries = folder.texts_beside(golden) if queries is None else queries
    wanted = asked if isinstance(asked, Asked) else Asked(**(asked or {}))
    if relevant is not None:
        wanted = Asked(**{**vars(wanted), "relevant": of.relevance(relevant)})
    if unknown := sorted(set(allow) - {"trained-on-gold"}):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known is trained-on-gold")
    parameters: dict[str, Any] = {"scale": of, "asked": wanted, "adjudicate": adjudicate, "raters": list(raters)}
    parameters |= {"by_segment": list(by_segment), "allow": sorted(allow)}
    parameters |= {"given": [each is not None for each in (pairs, design, queries)]}
    out = Path(out)
    files = [Path(path) for path in (judgments, golden, pairs, design, queries) if path is not None]
    files += [beside for path in files if (beside := store.manifest_path(path)).is_file()]
    work: dict[str, Any] = {"verb": "route", "inputs": files, "parameters": parameters, "seed": seed}
    if _made(out, work):
        return Routing.from_json((out / "route.json").read_text(encoding="utf-8"))
    people = sources.read_raters(golden, raters, scale=of, more=cards.EXTRA) if raters else None
    people = sources.read_judgments(golden, scale=of, more=cards.EXTRA) if people is None else people
    table = sources.read_judgments(judgments, scale=of)
    texts = None if queries is None else sources.read_queries(queries)
    said = facts.said_of(judgments, table)
    ids = {str(name) for name in people["query_id"].unique().to_pylist()}
    notes, overrides = facts.trained_on(said, ids, texts, allow)
    chance = uniform(seed, keys(map(str, table["query_id"].to_pylist())), keys(map(str, table["doc_id"].to_pylist())))
    found, sent = routing.build(
        people,
        table,
        wanted,
        scale=of,
        chance=chance,
        name=str(golden),
        design=None if design is None else sources.read_design(design),
        adjudication=adjudicate,  # type: ignore[arg-type]  # adjudicate() says which there are
        segments=cards.Segments(texts, None, tuple(by_segment)),
    )
    found = _with(found, [*([said.note] if said.note else []), *notes, *_fake(found)], overrides)
    _write(found, sent, table, None if pairs is None else sources.read_pairs(pairs), out, work, judgments)
    return found


def _with(found: Routing, notes: Sequence[str], overrides: Sequence[str]) -> Routing:
    return replace(found, notes=(*found.notes, *notes), overrides=tuple(overrides))


def _fake(found: Routing) -> list[str]:
    made_up = found.fingerprint.startswith(("fake:", "random:"))
    return ["the judge is a fake, or has random weights: its labels say nothing, and none should be accepted"] * made_up


def _made(out: Path, work: Mapping[str, Any]) -> bool:
    """Whether the folder holds what the same work on the same files made, every file as it was written."""
    if not all(path.is_file() for path in work["inputs"]) or not all((out / name).is_file() for name in PAGES):
        return False
    if not store.up_to_date(out / "route.json", **work):
        return False
    manifest = store.read_manifest(out / "route.json")
    tables = manifest.extra.get("tables", {}) if manifest else {}
    return all((out / name).is_file() and store.sha256(out / name) == digest for name, digest in tables.items())


def _write(
    found: Routing,
    sent: Sent | None,
    table: pa.Table,
    pairs: pa.Table | None,
    out: Path,
    work: Mapping[str, Any],
    judgments: str | Path,
) -> None:
    """The folder: tables first, the manifest of route.json last; tables of an earlier rule do not stay beside a new answer."""
    made = {} if sent is None else _split(sent, table, pairs)  # before anything is written
    for name in TABLES:
        if name not in made:
            for path in (out / name, store.manifest_path(out / name)):
                path.unlink(missing_ok=True)
    manifest = store.read_manifest(judgments)
    extra = {"judge": manifest.extra["judge"]} if manifest and "judge" in manifest.extra else {}
    for name, (rows, kind) in made.items():
        if kind:
            store.write_table(rows, out / name, kind, **work, extra=extra if kind == "judgments" else None)
        else:
            _write_ids(rows, out / name, work)
    for name, text in zip(PAGES, (page.html(found), page.markdown(found), found.to_json() + "\n"), strict=True):
        store.write_text(out / name, text)
    tables = {name: store.sha256(out / name) for name in made}
    store.write_manifest(out / "route.json", **work, extra={"tables": tables})


def _split(sent: Sent, table: pa.Table, pairs: pa.Table | None) -> dict[str, tuple[pa.Table, str]]:
    """Name of the file -> its table, and its kind. People see pairs and texts, never what the judge said."""
    import pyarrow as pa

    asked = table.select(["query_id", "doc_id"]).take(sent.order)
    if pairs is not None and asked.num_rows:
        asked = _with_texts(asked, pairs)
    asked = asked.append_column("reason", pa.array(sent.why, pa.string()))
    if "entropy" in table.column_names:  # for `annotate --entropy`, which shows it to nobody
        asked = asked.append_column("entropy", table["entropy"].take(sent.order))
    kind = "pairs" if "text" in asked.column_names else ""
    return {
        "accept.parquet": (table.take(np.flatnonzero(sent.accepted)), "judgments"),
        "people.parquet": (store.attributed(asked, store.attribution(pairs if pairs is not None else table)), kind),
    }


def _with_texts(asked: pa.Table, pairs: pa.Table) -> pa.Table:
    """query_id, query, doc_id, text of pairs, in their order. Raises: InputError for a pair without a text."""
    ids = zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True)
    row = {pair: at for at, pair in enumerate(ids)}
    wanted = list(zip(asked["query_id"].to_pylist(), asked["doc_id"].to_pylist(), strict=True))
    missing = [pair for pair in wanted if pair not in row]
    if missing:
        query, doc = missing[0]
        raise InputError(
            f"--pairs lacks {len(missing):,} of {len(wanted):,} pairs that go to people, as query {query!r}, document {doc!r}: "
            "give the pairs that the judge was asked"
        )
    rows = np.array([row[pair] for pair in wanted], dtype=np.int64)
    return pairs.select(["query_id", "query", "doc_id", "text"]).take(rows)


def _write_ids(rows: pa.Table, path: Path, work: Mapping[str, Any]) -> None:
    """A parquet file of ids, for whoever joins the texts."""
    import pyarrow.parquet as pq

    held = io.BytesIO()
    pq.write_table(rows, held, compression="zstd", write_page_checksum=True)
    store.write_bytes(path, held.getvalue())
    given = {"attribution": store.attribution(rows)} if store.attribution(rows) else {}
    store.write_manifest(path, **work, rows=rows.num_rows, extra=given)
