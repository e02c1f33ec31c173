"""A tiny student with documents, and a service of it: for the tests of `germane serve`."""

from pathlib import Path

import numpy as np
from sample_students import COLOURS, THINGS, furniture, recipe, tiny_bert

from germane.inference.vector_store import VectorStore
from germane.judges.two_tower import TwoTower

TITLES = [f"{colour} {thing} {n}" for n in range(3) for colour in COLOURS for thing in THINGS]
TEXTS = [f"title: {title}\nno wheels" for title in TITLES]
IDS = [f"d{i}" for i in range(len(TEXTS))]


def student(where: Path, *, seed: int = 0) -> Path:
    """A student that learned for three steps, and reads lexical features."""
    from germane.training import distil

    distil.train(furniture(seed=seed), None, where / "student", recipe=recipe(tiny_bert(where / "base", hidden_size=32)))
    return where / "student"


def stocked(folder: Path, where: Path, *, store: str = "int8", engine: str = "onnx") -> Path:
    """A folder of the vectors of TEXTS."""
    judge = TwoTower(folder, engine=engine, threads=1)
    vectors = judge.store(where, store=store)
    judge.add(vectors, TEXTS, dict(zip(IDS, TEXTS, strict=True)))
    return where


def more(folder: Path, docs: Path, texts: list[str], *, first: int = 1000, engine: str = "onnx") -> None:
    """Adds documents, as a running `germane encode` does."""
    judge = TwoTower(folder, engine=engine, threads=1)
    judge.add(VectorStore(docs), texts, {f"d{first + i}": text for i, text in enumerate(texts)})


def numbers(answer: dict, name: str = "gain") -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in answer["documents"]], dtype=float)
