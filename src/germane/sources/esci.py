"""The columns of the Amazon Shopping Queries data set (ESCI), as published and as common samples of it name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from germane.sources.raw import Raw

if TYPE_CHECKING:
    import pyarrow as pa

ATTRIBUTION = "Amazon Shopping Queries (ESCI), Apache-2.0"  # Reddy et al. 2022, arXiv 2206.06588

FIELDS = {
    "product_title": "title",
    "product_description": "description",
    "product_bullet_point": "bullet_points",
    "product_brand": "brand",
    "product_color": "color",
    "product_locale": "locale",
}
LABELS = ("esci_label", "esci_query_ids")  # they say which queries a product was judged for: never text, never a field
PAIR = ("example_id", "query_id", "query", "split", "small_version", "large_version")


LANGUAGES = {"us": "en", "es": "es", "jp": "ja"}


def language_of(raw: Raw) -> str | None:
    """The column that says which shop, and so which language, a query was asked in."""
    return "product_locale" if "product_locale" in raw.table.column_names else None


def with_language(queries: pa.Table) -> pa.Table:
    """The queries with the shop's language, as a BCP 47 tag, in place of the shop."""
    import pyarrow as pa

    if "product_locale" not in queries.column_names or "language" in queries.column_names:
        return queries
    shops = queries["product_locale"].to_pylist()
    tags: Any = pa.array([LANGUAGES.get(str(shop)) for shop in shops], pa.string())
    return queries.drop_columns(["product_locale"]).append_column("language", tags)


def is_esci(raw: Raw) -> bool:
    """True if its columns are those of ESCI."""
    columns = set(raw.table.column_names)
    return "product_id" in columns and bool(columns & {*LABELS, "product_locale"})


def products(raw: Raw) -> Raw:
    """Its products under our names: one row each, without what gives labels away."""
    table = raw.table.drop_columns([c for c in (*LABELS, *PAIR) if c in raw.table.column_names])
    table = table.rename_columns([FIELDS.get(c, c) for c in table.column_names])
    if "query_id" in raw.table.column_names and not _has_lists(raw):  # examples merged with products
        table = table.group_by(table.column_names, use_threads=False).aggregate([])
    return raw.with_table(table)


def _has_lists(raw: Raw) -> bool:
    import pyarrow as pa

    return any(pa.types.is_list(f.type) or pa.types.is_large_list(f.type) for f in raw.table.schema)
