"""A small search for tests of the signal: a run, a judge's predictions of it, people's grades, all made up and known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from germane import scales, sources, store
from germane.signal import Filter, files
from germane.types import Policy, Run

ESCI = scales.get("esci")
FINGERPRINT, TEACHER = "student-1", "teacher-1"


class World:
    """`queries` queries of `results` results each. The judge sees the true grade through noise; the ranker more dimly."""

    def __init__(self, queries: int = 60, results: int = 20, *, seed: int = 1, noise: float = 0.6, dim: float = 2.0) -> None:
        rng = np.random.default_rng(seed)
        n = queries * results
        self.query = [f"q{i // results:03}" for i in range(n)]
        self.doc = [f"d{i % results:02}" for i in range(n)]
        self.grade = rng.choice(4, n, p=[0.3, 0.1, 0.3, 0.3])
        self.probs = _seen(self.grade, rng, noise)
        self.score = 10 + self.grade + rng.normal(0, dim, n)
        self.segment = {f"q{i:03}": ("head" if i < queries * 3 // 4 else "tail") for i in range(queries)}

    def judgments(self, *, judge: str = "student", fingerprint: str = FINGERPRINT, scale: str = "esci") -> pa.Table:
        n = len(self.query)
        columns = {"query_id": self.query, "doc_id": self.doc, "relevance": pa.array(self.probs.argmax(1), pa.int16())}
        columns |= {"probs": pa.array(self.probs.astype(np.float32).tolist(), pa.list_(pa.float32()))}
        columns |= {"judge": [judge] * n, "fingerprint": [fingerprint] * n, "scale": [scale] * n}
        return pa.table(columns | {"guide_version": [ESCI.version] * n, "outcome": ["label"] * n, "note": [""] * n})

    def people(self) -> pa.Table:
        n = len(self.query)
        columns = {"query_id": self.query, "doc_id": self.doc, "relevance": pa.array(self.grade, pa.int16())}
        columns |= {"judge": ["human:ann"] * n, "fingerprint": [""] * n, "scale": ["esci"] * n}
        return pa.table(columns | {"guide_version": [ESCI.version] * n, "outcome": ["label"] * n, "note": [""] * n})

    def run(self) -> pa.Table:
        return pa.table({"query_id": self.query, "doc_id": self.doc, "score": self.score})

    def queries(self) -> pa.Table:
        names = sorted(self.segment)
        return pa.table(
            {"query_id": names, "query": [f"chair {n}" for n in names], "segment": [self.segment[n] for n in names]}
        )

    def write(self, folder: Path) -> dict[str, Path]:
        """judgments.parquet with a manifest that names the teacher, golden.parquet, run.parquet, queries.parquet."""
        paths = {name: folder / f"{name}.parquet" for name in ("judgments", "golden", "run", "queries")}
        made = {"verb": "label", "parameters": {}}
        said = {"judge": {"fingerprint": FINGERPRINT, "lineage": [TEACHER], "kind": "student"}}
        store.write_table(self.judgments(), paths["judgments"], "judgments", **made, extra=said)
        store.write_table(self.people(), paths["golden"], "judgments", **made)
        sources.write_run(Run("ranker", self.run(), {"engine": "made up"}), paths["run"], verb="collect")
        pq.write_table(self.queries(), paths["queries"])
        return paths


def _seen(grade: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """(n, 4) probabilities of a judge that sees the grade through normal noise, calibrated under even odds."""
    seen = grade + rng.normal(0, noise, grade.size)
    logits = -((seen[:, None] - np.arange(4)) ** 2) / (2 * noise**2)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def policy(made: Filter, **changes: object) -> Policy:
    said = {"kind": "filter", "name": "filter", "judge": "student", "fingerprint": FINGERPRINT, "lineage": (TEACHER,)}
    said |= {"scale": "esci", "grades": 4, "golden": "0" * 64, "parameters": made.parameters()}
    return Policy(**(said | changes))  # type: ignore[arg-type]


def changed(path: Path, **changes: object) -> Path:
    """A policy file with other content under a digest that fits it, as somebody hostile would write it."""
    said = json.loads(path.read_text()) | changes
    held = Policy(**{k: v for k, v in said.items() if k not in ("schema", "germane", "hash")})
    path.write_text(json.dumps(said | {"hash": files.digest(held)}))
    return path
