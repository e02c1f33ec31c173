"""`germane serve`: a student and its documents, ready to answer over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from germane.extras import needs
from germane.judges.loading import locate
from germane.ops.keys import keys_of
from germane.serve.limits import Limits
from germane.types import InputError


class Serving(NamedTuple):
    """What is ready to answer. documents: texts with a vector. read: of these, with words that were read before."""

    judge: str
    fingerprint: str
    scale: str
    engine: str
    documents: int
    store: str
    policies: tuple[str, ...]
    keys: int
    notes: tuple[str, ...]


def prepare(
    student: str | Path,
    docs: Path,
    *,
    engine: str = "onnx-int8",
    policies: Sequence[Path] = (),
    limits: Limits | None = None,
    keys_file: Path | None = None,
    watch_s: float = 2.0,
    log_queries: bool = False,
) -> tuple[Serving, Any]:
    """What is ready, and the application to be served. Every file is verified first.

    watch_s: seconds between two looks at the folders; a change on disk is another generation.

    Raises: InputError for a folder without a student or vectors, vectors of another student, files that are not what was
    written, a policy that cannot be read, and where the extra `serve` is missing.
    """
    needs("serve", "fastapi", "uvicorn", "orjson", "prometheus_client", "onnxruntime", "tokenizers", by="germane serve")
    from germane.serve.app import create_app
    from germane.serve.generations import Generations

    if engine == "torch":
        raise InputError("--engine torch is not for a service: onnx-int8 or onnx")
    keys = keys_of(keys_file, "GERMANE_API_KEYS")
    made = Generations(Path(locate(student)), docs, engine=engine, policies=policies, limits=limits)
    now, words = made.now, made.now.documents.words
    vectors = now.documents.vectors
    lacking = len(vectors) - (0 if words is None else min(len(words), len(vectors))) if now.student.lexical else 0
    notes = (
        [f"{lacking:,} texts were not read before, which makes answers slow: run `germane encode` on {docs}"] if lacking else []
    )
    notes += ["anybody who reaches the port may ask: --keys-file, or GERMANE_API_KEYS, asks for a key"] if not keys else []
    app = create_app(made, keys=keys, log_queries=log_queries)
    made.watch(watch_s)
    names = tuple(policy.name for policy in now.policies)
    said = now.student, len(vectors), vectors.about.store
    facts = Serving(said[0].name, said[0].fingerprint, said[0].scale.name, engine, *said[1:], names, len(keys), tuple(notes))
    return facts, app
