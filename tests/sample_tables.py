"""Small tables of each kind, for tests."""

import pyarrow as pa

from germane import store

MADE = {"verb": "collect", "inputs": [], "parameters": {"k": 25}, "seed": 1}


def run_table(*rows):
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(("query_id", "doc_id", "score"))})


def judgments_table(rows, *, judge="human:ann", fingerprint="", scale="esci", guide_version="g1"):
    rows = [
        {
            "query_id": query_id,
            "doc_id": doc_id,
            "relevance": relevance,
            "judge": judge,
            "fingerprint": fingerprint,
            "scale": scale,
            "guide_version": guide_version,
            "outcome": "label" if relevance is not None else "abstained",
            "note": "",
        }
        for query_id, doc_id, relevance in rows
    ]
    return pa.Table.from_pylist(rows, pa.schema([f for f in store.SCHEMAS["judgments"].arrow() if f.name != "probs"]))


def pairs_table(*rows):
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(("query_id", "query", "doc_id", "text"))})


EXAMPLES = {
    "queries": pa.table({"query_id": ["1"], "query": ["red shoes"], "users": pa.array([3], pa.int64()), "source": ["log"]}),
    "docs": pa.table({"doc_id": ["a"], "title": ["Shoes"], "price": [9.5]}),
    "runs": pa.table({"query_id": ["1"], "doc_id": ["a"], "score": [0.5], "rank": pa.array([1], pa.int32())}),
    "pairs": pairs_table(("1", "red shoes", "a", "title: Shoes")),
    "judgments": judgments_table([("1", "a", 3), ("1", "b", None)]),
    "audits": pa.table(
        {
            "query_id": ["1"],
            "doc_id": ["a"],
            "unit": ["queries"],
            "audit_stratum": ["head"],
            "inclusion_probability": [0.5],
            "drawn": [1],
        }
    ),
    "features": pa.table({"query_id": ["1"], "doc_id": ["a"], "relevance": pa.array([3], pa.int16()), "signal_gain": [0.5]}),
    "weights": pa.table({"query_id": ["1"], "doc_id": ["a"], "weight": [1.0], "gain": [0.5], "clicked": [True]}),
    "outcomes": pa.table(
        {
            "query_id": ["1"],
            "treatment": ["boost"],
            "relevance_control": [0.5],
            "relevance": [0.6],
            "engagement_control": [0.2],
            "engagement": [0.2],
        }
    ),
    "designs": pa.table({"query_id": ["1"], "stratum": ["head"], "inclusion_probability": [0.5], "population": [10]}),
}
