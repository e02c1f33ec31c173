"""`germane label --sample`: a recorded sample, so that the whole path of an annotator can be walked before a key is there.

The pairs are of the simulated marketplace, and the replies are SIMULATED: written by this module from the known truth, with
errors, abstentions and a few replies that are none. No model made them, and they say nothing about any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from germane import store
from germane.engines import BM25
from germane.judges.prompts.annotating import CANNOT
from germane.judges.sample import RECORDING
from germane.simulate import Marketplace, labelled

MADE_UP = "simulated by germane: no real shop, person, product or model"
SAMPLES = 5
ITEMS, QUERIES, GOLDEN = 1_000, 200, 24
KEEN = 0.62  # share of samples that say the true grade; the others say a neighbour, mostly the better one


class Sampled(NamedTuple):
    """What `sample` wrote. next: commands to go on with."""

    out: str
    pairs: int
    golden: int
    replies: int
    next: tuple[str, ...]
    notes: tuple[str, ...]


def sample(out: Path, *, seed: int = 1) -> Sampled:
    """A folder with pairs, people's judgments of some of them (golden), and a recording of simulated replies.

    Raises: InputError where it cannot be written.
    """
    import pyarrow as pa

    market = Marketplace(items=ITEMS, queries=QUERIES)
    runs = [BM25(market.docs, ("title",)).search(market.queries, k=10)]
    apart = labelled.apart(market, GOLDEN, least=3, seed=seed)
    golden = labelled.pairs_of(market, apart.validation, runs)
    more = labelled.drawn_pairs(market, apart.train, runs, 120, seed=seed)
    made: dict[str, Any] = {"verb": "label --sample", "seed": seed, "parameters": {"items": ITEMS, "queries": QUERIES}}
    pairs = pa.concat_tables([golden.select(_COLUMNS), more.select(_COLUMNS)])
    for name, kind, table in (
        ("golden-pairs", "pairs", golden),
        ("pairs", "pairs", pairs),
        ("golden", "judgments", labelled.people(market, golden)),
    ):
        store.write_table(store.attributed(table, MADE_UP), out / f"{name}.parquet", kind, **made)
    truth: list[Any] = labelled.people(market, pairs)["relevance"].to_pylist()
    texts = zip(pairs["query"].to_pylist(), pairs["text"].to_pylist(), truth, strict=True)
    rng = np.random.default_rng(seed)
    lines = [json.dumps({"query": q, "item": t, "replies": replies(g, market.scale.labels, rng)}) for q, t, g in texts]
    store.write_text(out / RECORDING, "\n".join(lines) + "\n")
    ask = f"germane label --judge llm:sample/recorded --scale {market.scale.name} --replies {out} --samples {SAMPLES}"
    steps = (
        f"{ask} --pairs {out}/golden-pairs.parquet --out {out}/golden-judged.parquet",
        f"germane check {out}/golden.parquet {out}/golden-judged.parquet --scale {market.scale.name} --out {out}/card",
        f"{ask} --pairs {out}/pairs.parquet --out {out}/judged.parquet --card {out}/card",
        f"germane route {out}/judged.parquet --golden {out}/golden.parquet --scale {market.scale.name} --out {out}/route",
    )
    note = "simulated: no model wrote these replies; they show the path, and say nothing about any model"
    return Sampled(str(out), pairs.num_rows, golden.num_rows, SAMPLES * len(lines), steps, (note,))


_COLUMNS = ["query_id", "query", "doc_id", "text"]


SLIPS = (-1, 1, 1, 2)
"""By how many grades a sample that errs is off, each as likely: mostly the better grade."""


def replies(
    grade: int,
    labels: tuple[str, ...],
    rng: np.random.Generator,
    *,
    samples: int = SAMPLES,
    slips: tuple[int, ...] = SLIPS,
) -> list[str]:
    """Samples of a made-up annotator on one pair, as a model would write them: its hard pairs are hard for all samples."""
    keen = float(np.clip(rng.beta(2, 2 * (1 - KEEN) / KEEN), 0.1, 0.99))
    found = []
    for _ in range(samples):
        said = grade if rng.random() < keen else int(np.clip(grade + rng.choice(slips), 0, len(labels) - 1))
        verdict = {"reasoning": "Simulated.", "grade": labels[said], "confidence": round(keen, 2)}
        chance = rng.random()
        if chance < 0.01:
            verdict["grade"] = CANNOT
        text = json.dumps(verdict, ensure_ascii=False)
        found.append(text[: len(text) // 2] if chance > 0.995 else f"```json\n{text}\n```" if chance > 0.8 else text)
    return found
