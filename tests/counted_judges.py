"""A trainer and a judge of a few lines, without torch: how often each grade is given, by words of the query in the text."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from germane.judges.folder import About
from germane.judges.saying import judgments
from germane.scales import get
from germane.training.examples import examples
from germane.training.finishing import Trained
from germane.training.running import History

ESCI = get("esci")
BUCKETS = 5


def shared(query: str, text: str) -> int:
    """How many fifths of the query's words are in the text."""
    asked, there = query.split(), set(text.lower().split())
    return int(sum(word in there for word in asked) * (BUCKETS - 1) / max(len(asked), 1))


@dataclass
class Counted:
    """Says again what it counted. device: as a judge with weights has it."""

    about: About
    table: np.ndarray
    device: str = "cpu"

    @property
    def name(self):
        return self.about.name

    @property
    def fingerprint(self):
        return f"counted:{hash(self.table.tobytes()) & 0xFFFFFF:x}"

    def __call__(self, pairs):
        for said in judgments(pairs, self.about, lambda q, t: np.log(self.table[list(map(shared, q, t))])):
            yield said._replace(fingerprint=self.fingerprint)


def trainer(*, noise: float = 0.0, log: list | None = None):
    """Counts grades by words shared. noise: share of the labels that it replaces by chance. log: rows of each training."""

    def train(rows, out):
        if log is not None:
            log.append(rows.query_id)
        rng = np.random.default_rng(0)
        chance = rng.random(len(rows)) < noise
        grade = np.where(chance, rng.integers(0, 4, len(rows)), rows.grade)
        table = np.full((BUCKETS, 4), 0.1)
        np.add.at(table, (list(map(shared, rows.query, rows.text)), grade), 1)
        out.mkdir(parents=True)
        (out / "counts.json").write_text(json.dumps((table / table.sum(1, keepdims=True)).tolist()))
        return Trained(out, "counted", History(1, (0.0,), (), None, 0.01, 100.0, None), notes=("a note",))

    return train


def load(folder):
    return Counted(About("counted", "counted", ESCI, "", 8), np.array(json.loads((folder / "counts.json").read_text())))


def world(queries: int = 30, docs: int = 12, seed: int = 1):
    """docs, pairs and gold of a made-up shop: the grade is how many of four words of the query the product has.

    Two of them can be in the title, one in the brand, one in the description, and one label in five is chance.
    """
    rng = np.random.default_rng(seed)
    rows, products = [], []
    for q in range(queries):
        words = [f"w{q}a", f"w{q}b", f"w{q}c", f"w{q}d"]
        for d in range(docs):
            has = rng.random(4) < 0.55
            title = [w for w, h in zip(words[:2], has[:2], strict=True) if h] + ["thing"]
            brand, text = (words[2] if has[2] else "nobrand"), (words[3] if has[3] else "nothing")
            grade = int(rng.integers(0, 4)) if rng.random() < 0.2 else min(int(has.sum()), 3)
            products.append({"doc_id": f"d{q}-{d}", "title": " ".join(title), "brand": brand, "description": text})
            rows.append({"query_id": f"q{q}", "query": " ".join(words), "doc_id": f"d{q}-{d}", "relevance": grade})
    table = pa.Table.from_pylist(rows)
    gold = table.select(["query_id", "doc_id", "relevance"]).set_column(2, "relevance", table["relevance"].cast(pa.int16()))
    for name, value in (("judge", "human:shop"), ("fingerprint", ""), ("scale", "esci"), ("guide_version", ESCI.version)):
        gold = gold.append_column(name, pa.repeat(value, len(rows)))
    gold = gold.append_column("outcome", pa.repeat("label", len(rows))).append_column("note", pa.repeat("", len(rows)))
    return pa.Table.from_pylist(products), table.select(["query_id", "query", "doc_id"]), gold


def whole(docs, pairs, gold):
    """The examples with all of a document's fields as text."""
    text = {row["doc_id"]: f"{row['title']} {row['brand']} {row['description']}" for row in docs.to_pylist()}
    texts = pa.array([text[doc_id] for doc_id in pairs["doc_id"].to_pylist()])
    return examples(pairs.select(["query_id", "query", "doc_id"]).append_column("text", texts), gold, ESCI)
