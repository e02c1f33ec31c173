"""A document's fields as the one text that a judge reads: an order, budgets, and a record of what was cut.

Near-duplicates are in `germane.text.duplicates`, which needs NumPy.
"""

from germane.text.composing import Composed, Cut, clean, clip, compose, document_text
from germane.text.documents import Texts, compose_table, document_texts, fields_of, text_fields
from germane.text.plan import TextPlan, is_never_text
from germane.text.terms import pair_digest, query_digest, words

__all__ = [
    "Composed",
    "Cut",
    "TextPlan",
    "Texts",
    "clean",
    "clip",
    "compose",
    "compose_table",
    "document_text",
    "document_texts",
    "fields_of",
    "is_never_text",
    "pair_digest",
    "query_digest",
    "text_fields",
    "words",
]
