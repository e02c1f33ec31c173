"""The injection detector beside one plain pattern: texts a second on real products, and what each finds.

Data: esci_us_120 of GERMANE_DATA, made texts as a judge reads them. The peer is what a first attempt would be: one pattern for
"ignore ... instructions" and fake turns, in English. Exit code 1 if the detector flags 1 % of real texts or more.

    python benchmarks/injection.py
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from germane.judges.injection import suspicions
from germane.judges.probes import SUITE, attacked
from germane.scales import get
from germane.text import document_texts
from germane.types import Doc, Pair, Query

FIELDS = ["title", "description", "bullet_points", "brand", "color", "category"]
PLAIN = re.compile(r"(?:ignore|disregard|forget)[^.]{0,40}instructions|<\|im_start\|>|\[INST\]", re.IGNORECASE)


def best(find: Callable[[str], object], texts: Sequence[str], times: int = 5) -> tuple[float, int]:
    """Processor seconds of the best of several passes, and how many texts were flagged."""
    took, found = [], 0
    for _ in range(times):
        since = time.process_time()
        found = sum(bool(find(text)) for text in texts)
        took.append(time.process_time() - since)
    return min(took), found


def main() -> int:
    products = pq.read_table(Path(os.environ["GERMANE_DATA"]) / "esci_us_120" / "products.parquet")
    texts = document_texts(products.select(FIELDS)).to_pylist()
    pairs = [Pair(Query(f"q{i}", "waterproof boots"), Doc(f"d{i}", {"text": text})) for i, text in enumerate(texts[:200])]
    injections = [p for p in SUITE if p.family in ("orders", "turns", "fences", "verdicts", "hidden", "leak")]
    bad = [pair.doc.fields["text"] for probe in injections for pair in attacked(probe, pairs, get("esci"), seed=0)]
    size = sum(map(len, texts)) / len(texts)
    print(f"{len(texts):,} products, {size:,.0f} characters on average; {len(bad):,} texts of {len(injections)} injections")
    share = 1.0
    for name, find in (("one plain pattern", PLAIN.search), ("germane", suspicions)):
        seconds, flagged = best(find, texts)
        share = flagged / len(texts)
        caught = sum(bool(find(text)) for text in bad) / len(bad)
        told = f"flagged {flagged} of real ones ({share:.3%}), {caught:.1%} of injected"
        print(f"{name:18} {len(texts) / seconds:9,.0f} texts/s  {told}")
    return 0 if share < 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
