"""`germane sample --for golden`: the pairs that people judge, by chance for coverage, by choice for hard cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import scales, sources, store
from germane.chance import keys, uniform
from germane.golden import folder as sealed_folder
from germane.golden import leaks
from germane.sampling.coverage import draw_coverage, frame_of
from germane.sampling.segmented import with_segments
from germane.sampling.strata import strata_columns
from germane.sampling.targets import choose, doubts, reasons, scores
from germane.text import TextPlan, compose_table
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("query_id", "query", "doc_id", "text", "cut", "stratum", "inclusion_probability", "part", "reason")
SALT = 0x6F72646572  # "order"


class GoldenSample(NamedTuple):
    """What was drawn. frame: pairs that could be; excluded: left out before, since they are used elsewhere.

    random, targeted: pairs; both: of the random part those that a reason speaks for too. strata: [pairs, drawn]. reasons: pairs
    chosen by each.
    """

    out: str
    made: bool
    frame: int
    excluded: int
    random: int
    targeted: int
    both: int
    strata: dict[str, list[int]]
    reasons: dict[str, int]
    notes: tuple[str, ...]


def sample(
    queries: Path,
    out: Path,
    *,
    runs: Sequence[Path],
    docs: Path,
    n: int,
    targeted: int = 0,
    seed: int,
    k: int = 25,
    strata: Sequence[str] | None = None,
    allocation: str = "root",
    design: Path | None = None,
    judgments: Sequence[Path] = (),
    scale: str | None = None,
    relevant: str | None = None,
    clicks: Path | None = None,
    without: Sequence[Path] = (),
    plan: TextPlan | None = None,
) -> GoldenSample:
    """n random pairs of all arms' lists with their odds, and up to `targeted` hard ones with their reasons, in random order.

    queries: their text, and what makes strata; docs: the documents' fields. design: only its queries, whose odds count too.
    judgments: of judges, one a file, on `scale`; relevant: its lowest relevant label (default: the upper half). clicks: a
    table of query_id, doc_id, clicks, impressions. without: files or sealed folders whose pairs are left out before the
    draw: the random part then stands for the other pairs. More parameters than our seven: each changes what is drawn.
    Raises: InputError for numbers that do not fit, targets without data to choose by, and texts that the files lack.
    """
    asked: dict[str, Any] = {
        "n": n,
        "targeted": targeted,
        "k": k,
        "strata": None if strata is None else list(strata),
        "allocation": allocation,
    }
    asked |= {"scale": scale, "relevant": relevant, "plan": (plan or TextPlan()).to_dict()}
    asked |= {"counts": [len(runs), len(judgments), len(without), design is not None, clicks is not None]}
    whole = [path / store.sealed.SEAL if sealed_folder.is_sealed(path) else path for path in without]
    given = [queries, docs, *runs, *judgments, *whole, *(path for path in (design, clicks) if path)]
    work: dict[str, Any] = {"verb": "sample golden", "inputs": given, "parameters": asked, "seed": seed}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return GoldenSample(str(out), False, **_facts(manifest.extra))
    if targeted < 0 or (targeted and not judgments):
        raise InputError(f"--targeted {targeted}: hard pairs are chosen by what judges say: give --judgments, one file a judge")
    if judgments and scale is None:
        raise InputError("on which scale do the judges grade? pass --scale")
    table, notes = with_segments(sources.read_queries(queries), strata)
    columns = strata_columns(table, strata)
    chance: dict[str, float] = {}
    if design is not None:
        drawn = sources.read_design(design)
        ids = [str(q) for q in drawn["query_id"].to_pylist()]
        chance = dict(zip(ids, drawn["inclusion_probability"].to_numpy().tolist(), strict=True))
        table = table.filter([str(q) in chance for q in table["query_id"].to_pylist()])
    frame = frame_of([sources.read_run(path).table for path in runs], k=k, queries=table, strata=columns)
    texts = _Texts(table, sources.read_docs(docs), plan or TextPlan(), queries, docs)
    frame, excluded = _without(frame, without, texts)
    of_query = np.array([chance.get(str(q), 1.0) for q in frame["query_id"].to_pylist()]) if chance else None
    coverage = draw_coverage(frame, n=n, seed=seed, allocation=allocation, chance=of_query)
    hard, found = dict[int, str](), dict[str, NDArray[np.float64]]()
    unsure: NDArray[np.float64] | None = None
    took = np.asarray(coverage.frame["drawn"].to_numpy(), dtype=bool)
    if judgments:
        of = scales.get(str(scale))
        found, unsure = _scores(frame, judgments, of, relevant, clicks, texts)
        hard = choose(frame, found, n=targeted, drawn=took, seed=seed)
        if len(hard) < targeted:
            notes = [*notes, f"{len(hard):,} pairs are hard for a reason, fewer than the {targeted:,} asked for"]
    rows = [*np.flatnonzero(took).tolist(), *hard]
    made, both = _table(coverage.frame, rows, took, found, texts, seed)
    if unsure is not None:  # for `annotate --entropy`, which shows it to nobody
        made = _with_entropy(made, coverage.frame, unsure)
    if excluded:
        notes = [*notes, f"{excluded:,} pairs are used elsewhere and were left out: the random part stands for the others"]
    facts: dict[str, Any] = {
        "frame": frame.num_rows,
        "excluded": excluded,
        "random": int(took.sum()),
        "targeted": len(hard),
        "both": both,
    }
    facts |= {"strata": {name: list(cell) for name, cell in coverage.cells.items()}, "notes": list(notes)}
    facts["reasons"] = {name: sum(name in why for why in hard.values()) for name in found}
    _write(made, out, {**work, "extra": {"golden": facts, "role": "golden"}})
    return GoldenSample(str(out), True, **_facts({"golden": facts}))


def _facts(extra: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(extra["golden"])
    return {**said, "notes": tuple(said["notes"])}


def _without(frame: pa.Table, files: Sequence[Path], texts: _Texts) -> tuple[pa.Table, int]:
    """The frame without pairs that these files hold, by ids or words, exactly or nearly; and how many were in it."""
    import pyarrow as pa

    used = [sealed_folder.words_of(path) for path in files]
    if not used:
        return frame, 0
    needed = any("text" in table.column_names for table in used)
    asked = pa.array([str(texts.queries[q]) for q in frame["query_id"].to_pylist()], pa.string())
    mine = frame.select(["query_id", "doc_id"]).append_column("query", asked)
    if needed:
        mine = mine.append_column("text", pa.array(texts.known([str(doc) for doc in frame["doc_id"].to_pylist()]), pa.string()))
    out = np.zeros(frame.num_rows, dtype=bool)
    for table in used:
        out[leaks.shared(mine, table)] = True
    if out.all():
        raise InputError("every pair of the runs is used elsewhere: nothing is left to draw")
    return frame.filter(pa.array(~out)), int(out.sum())


class _Texts:
    """What raters read of a pair, made once a document."""

    def __init__(self, queries: pa.Table, docs: pa.Table, plan: TextPlan, of_queries: Path, of_docs: Path) -> None:
        self.queries: dict[Any, Any] = dict(zip(queries["query_id"].to_pylist(), queries["query"].to_pylist(), strict=True))
        self.docs, self.plan, self.names = docs, plan, (of_queries, of_docs)
        self.place = {doc: row for row, doc in enumerate(docs["doc_id"].to_pylist())}

    def known(self, ids: Sequence[str]) -> list[str]:
        """The text of each document, "" of those that the file lacks."""
        import pyarrow as pa

        needed = [doc for doc in dict.fromkeys(ids) if doc in self.place]
        made = compose_table(self.docs.take(pa.array([self.place[doc] for doc in needed], pa.int64())), self.plan)
        text = dict(zip(needed, made.text.to_pylist(), strict=True))
        return [str(text.get(doc) or "") for doc in ids]

    def of(self, frame: pa.Table) -> tuple[list[str], list[str], list[str | None]]:
        """(query, text, what was cut) of each row. Raises: InputError for a document that the file lacks."""
        import pyarrow as pa

        ids = frame["doc_id"].to_pylist()
        if missing := [doc for doc in ids if doc not in self.place]:
            raise InputError(f"{self.names[1]} lacks document {missing[0]!r}, which a run shows: give all that were searched")
        needed = list(dict.fromkeys(ids))
        made = compose_table(self.docs.take(pa.array([self.place[doc] for doc in needed], pa.int64())), self.plan)
        row = {doc: i for i, doc in enumerate(needed)}
        text, cut = made.text.to_pylist(), made.cut.to_pylist()
        return (
            [str(self.queries[q]) for q in frame["query_id"].to_pylist()],
            [str(text[row[doc]]) for doc in ids],
            [cut[row[doc]] for doc in ids],
        )


def _scores(
    frame: pa.Table, judgments: Sequence[Path], of: Scale, relevant: str | None, clicks: Path | None, texts: _Texts
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64] | None]:
    """How much each reason speaks for each pair, and how unsure the judges were of it, where they say that."""
    said = [sources.read_judgments(path, scale=of) for path in judgments]
    for path, table in zip(judgments, said, strict=True):
        if store.first_duplicate(table, ["query_id", "doc_id"]) is not None:
            raise InputError(f"{path} judges a pair more than once: give each judge a file of its own")
    at = (len(of.labels) + 1) // 2 if relevant is None else of.relevance(relevant)
    clicked = None if clicks is None else _clicks(clicks)
    query, text, _ = texts.of(frame) if len(said) > 1 else ([], [], [])
    both = [f"{q} {t}" for q, t in zip(query, text, strict=True)] if query else None
    grades = len(of.labels)
    found = scores(frame, said, grades=grades, relevant=max(at, 1), clicks=clicked, texts=both)
    return found, doubts(frame, said, grades=grades)


def _with_entropy(made: pa.Table, frame: pa.Table, unsure: NDArray[np.float64]) -> pa.Table:
    """The drawn pairs with the entropy of the judge that was least sure of each; empty where no judge said one."""
    import pyarrow as pa

    ids = ("query_id", "doc_id")
    of = dict(zip(zip(*(frame[name].to_pylist() for name in ids), strict=True), unsure.tolist(), strict=True))
    found = [of[pair] for pair in zip(*(made[name].to_pylist() for name in ids), strict=True)]
    return made.append_column("entropy", pa.array([None if np.isnan(x) else x for x in found], pa.float64()))


def _clicks(path: Path) -> pa.Table:
    from germane.sources.loading import load
    from germane.store import Column
    from germane.store.checks import conform_column

    raw = load(path, "pairs", "candidates")
    import pyarrow as pa

    ids = sources.read_candidates(path)
    columns: dict[str, Any] = {"query_id": ids["query_id"], "doc_id": ids["doc_id"]}
    for name in ("clicks", "impressions"):
        wanted = Column(name, "int64", f"number of {name}")
        columns[name] = conform_column(raw.table[raw.require(name, (name,))], wanted, name=raw.name, at=raw.at, parse=raw.text)
    return pa.table(columns)


def _table(
    frame: pa.Table,
    rows: list[int],
    took: NDArray[np.bool_],
    found: Mapping[str, NDArray[np.float64]],
    texts: _Texts,
    seed: int,
) -> tuple[pa.Table, int]:
    """The pairs in an order that tells nothing, and how many random ones a reason speaks for too."""
    import pyarrow as pa

    ids = [f"{frame['query_id'][row].as_py()}\t{frame['doc_id'][row].as_py()}" for row in rows]
    rows = [rows[i] for i in np.argsort(uniform(seed, SALT, keys(ids))).tolist()]
    kept = frame.take(pa.array(rows, pa.int64()))
    query, text, cut = texts.of(kept)
    drawn = [bool(took[row]) for row in rows]
    odds = [p if mine else None for p, mine in zip(kept["inclusion_probability"].to_pylist(), drawn, strict=True)]
    why = [reasons(found, row) for row in rows]
    columns: dict[str, Any] = {
        "query_id": kept["query_id"],
        "query": pa.array(query, pa.string()),
        "doc_id": kept["doc_id"],
        "text": pa.array(text, pa.string()),
        "cut": pa.array(cut, pa.string()),
        "stratum": kept["stratum"],
        "inclusion_probability": pa.array(odds, pa.float64()),
        "part": pa.array(["random" if mine else "targeted" for mine in drawn], pa.string()),
        "reason": pa.array(why, pa.string()),
    }
    return pa.table(columns), sum(mine and bool(said) for mine, said in zip(drawn, why, strict=True))


def _write(table: pa.Table, out: Path, work: dict[str, Any]) -> None:
    if out.suffix == ".parquet":
        store.write_table(table, out, "pairs", **work)
        return
    raise InputError(f"--out {out}: pairs are a .parquet file")
