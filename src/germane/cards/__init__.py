"""Judge cards: what `check` found of a judge against people, and the gate that lets its judgments into a comparison."""

from germane.cards.admission import ALLOW, gate, is_human
from germane.cards.bars import BARS, level_of, misses
from germane.cards.building import build
from germane.cards.files import find, read, write
from germane.cards.gold import EXTRA, adjudicate, digest, joined, pair_key, pair_keys, who
from germane.cards.labels import threshold
from germane.cards.lists import Experiment
from germane.cards.segments import Segments

__all__ = [
    "ALLOW",
    "BARS",
    "EXTRA",
    "Experiment",
    "Segments",
    "adjudicate",
    "build",
    "digest",
    "find",
    "gate",
    "is_human",
    "joined",
    "level_of",
    "misses",
    "pair_key",
    "pair_keys",
    "read",
    "threshold",
    "who",
    "write",
]
