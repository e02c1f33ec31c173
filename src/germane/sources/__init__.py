"""Files that come in and go out: TREC, ESCI, UBI, Quepid, CSV, JSON lines, parquet, and objects of a notebook."""

from germane.sources.catalogue import docs_in_pieces
from germane.sources.labels import read_judgments, read_raters
from germane.sources.pieces import open_judgments, open_run
from germane.sources.reading import (
    is_design,
    read_audit,
    read_candidates,
    read_design,
    read_docs,
    read_pairs,
    read_queries,
    read_run,
    read_words,
)
from germane.sources.writing import write_audit, write_judgments, write_run

__all__ = [
    "docs_in_pieces",
    "is_design",
    "open_judgments",
    "open_run",
    "read_audit",
    "read_candidates",
    "read_design",
    "read_docs",
    "read_judgments",
    "read_pairs",
    "read_queries",
    "read_raters",
    "read_run",
    "read_words",
    "write_audit",
    "write_judgments",
    "write_run",
]
