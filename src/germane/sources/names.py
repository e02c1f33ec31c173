"""What columns may be called, in the formats that are read; case, spaces and hyphens do not matter."""

from __future__ import annotations

import re

QUERY_ID = ("query_id", "qid", "queryid")
DOC_ID = ("doc_id", "docid", "docno", "product_id", "corpus_id")  # Quepid, TREC, ESCI, BEIR
QUERY = ("query", "user_query", "text", "query_text")
LABEL = ("relevance", "label", "esci_label", "rating", "grade")
IDS = {*QUERY_ID, *DOC_ID, "_id"}  # _id: BEIR's queries and documents
NUMBERS = {"score", "rank", "position", "inclusion_probability", "population", "users", "impressions"}
READ = {*IDS, *QUERY, *LABEL, *NUMBERS, "stratum"}


def plain_name(column: str) -> str:
    """A column's name without case, with underscores."""
    return re.sub(r"[\s\-]+", "_", column.strip().lower())
