"""What is to be said beside labels: of the judge, and of texts that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from germane import store
from germane.judges import folder
from germane.judges.loading import locate
from germane.labelling.annotators import is_annotator


def other_text(judge: str | Path, pairs: Path) -> list[str]:
    """What is to be said where the texts were not made by the plan of those that the judge learned from."""
    learned = None if str(judge) == "fake" or is_annotator(judge) else folder.learned_text(locate(judge))
    manifest = store.read_manifest(pairs)
    said = (manifest.extra.get("text") if manifest else None) or {}
    shown = said.get("digest") if isinstance(said, Mapping) else None
    if not learned or not shown or learned == shown:
        return []
    return ["these texts have other fields or budgets than those that the judge learned from: check it on texts like these"]


def of_judge(facts: Mapping[str, Any]) -> list[str]:
    """What is to be known of a judge's grades before leaning on them. facts: the manifest's "judge"."""
    if facts["kind"] == "llm" and facts["fingerprint"].startswith("fake:"):
        return ["simulated: no model wrote these replies; they show the path, and say nothing about any model"]
    if facts["kind"] == "fake":
        return ["fake: these grades are made up by hash, and say nothing but how fast labelling is"]
    if facts["random_weights"]:
        return ["random weights: this judge was never trained; its grades say nothing but how fast it is"]
    if facts["blind"]:
        return ["this judge learned from images, and was shown none: give --images and --docs"]
    return []
