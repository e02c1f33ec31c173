"""Batches of a made-up experiment as files: two rankers whose quality is chosen, people's or a machine's grades, a design."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from germane import cards, scales
from germane.types import Estimate, JudgeCard

SCALE = scales.TREC
HOSTILE = "<script>alert(1)</script> \u202e' OR 1=1 --"


class Files(NamedTuple):
    """The files of a batch."""

    control: Path
    treatment: Path
    judgments: Path
    design: Path | None = None


def project(folder: Path, more: str = "") -> Path:
    """A folder that is a project."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "germane.toml").write_text(f'scale = "trec"\n{more}', encoding="utf-8")
    return folder


def batch(
    folder: Path,
    name: str,
    *,
    queries: int = 40,
    first: int = 0,
    quality: float = 0.8,
    docs: int = 8,
    judge: str = "human:people",
    fingerprint: str = "",
    guide: str = "",
    strata: bool = False,
    unjudged: int = 0,
    seed: int | None = None,
) -> Files:
    """A batch of queries first to first + queries. quality: of the treatment, where the control's is 0.5."""
    rng = random.Random(first if seed is None else seed)
    rows: dict[str, list[tuple[Any, ...]]] = {"control": [], "treatment": [], "grades": []}
    for q in range(first, first + queries):
        grades = {f"d{d}": rng.choice([0, 0, 1, 2, 3]) for d in range(docs)}
        rows["grades"] += [(f"q{q}", d, grade, judge, fingerprint, guide) for d, grade in grades.items()]
        for arm, good in (("control", 0.5), ("treatment", quality)):
            score = {d: good * grade + rng.gauss(0, 1) for d, grade in grades.items()}
            rows[arm] += [(f"q{q}", d, value) for d, value in score.items()]
    made = []
    for arm in ("control", "treatment"):
        columns = dict(zip(("query_id", "doc_id", "score"), map(list, zip(*rows[arm], strict=True)), strict=True))
        made.append(folder / f"{arm}-{name}.parquet")
        pq.write_table(pa.table(columns), made[-1])
    names = ("query_id", "doc_id", "relevance", "judge", "fingerprint", "guide_version")
    kept = rows["grades"][unjudged:]
    labels = folder / f"grades-{name}.parquet"
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*kept, strict=True)), strict=True))), labels)
    return Files(made[0], made[1], labels, _design(folder, name, queries, first) if strata else None)


def _design(folder: Path, name: str, queries: int, first: int) -> Path:
    """Half of the sampled queries are of the head, which is a tenth of the population."""
    path, half = folder / f"design-{name}.parquet", queries // 2
    ids = [f"q{q}" for q in range(first, first + queries)]
    stratum = ["head"] * half + ["tail"] * (queries - half)
    population = [1_000 if s == "head" else 9_000 for s in stratum]
    chance = [half / 1_000 if s == "head" else (queries - half) / 9_000 for s in stratum]
    columns = {"query_id": ids, "stratum": stratum, "population": population, "inclusion_probability": chance}
    pq.write_table(pa.table(columns), path)
    return path


def card(folder: Path, *, judge: str = "machine", fingerprint: str = "f1", guide: str = "") -> Path:
    """A judge card that passed its bar."""
    exact = Estimate(0.8, 0.01, 0.78, 0.82, 1000, "exact agreement")
    made = JudgeCard(
        judge, fingerprint, SCALE.name, guide or SCALE.version, "gold", {"exact": exact}, ((1,),), {"0": 1}, {"exact": 0.7}
    )
    return cards.write(made, folder / f"card-{fingerprint}.json")


STATED: dict[str, Any] = {
    "question": "Is the title boost as relevant as today's search?",
    "control": "control",
    "treatment": "treatment",
    "scale": "trec",
    "margin": 0.02,
    "population": "distinct queries of March",
    "owner": "olga",
    "metric": "sDCG@5",
    "queries": 400,
}
