"""Tables with a schema each, manifests beside them, and the store of judgments; parquet, with DuckDB underneath."""

from germane.store import sealed
from germane.store.checks import conform, first_duplicate
from germane.store.duck import database
from germane.store.files import replacing, sha256, write_bytes, write_text
from germane.store.judgments import JudgmentStore, document_key, query_key
from germane.store.manifests import InputFile, Manifest, manifest_path, not_among, read_manifest, up_to_date, write_manifest
from germane.store.ranking import graded, rank, ranked
from germane.store.schemas import SCHEMA_VERSION, SCHEMAS, Column, Schema
from germane.store.stored import Stored, kinds_of
from germane.store.tables import attributed, attribution, check_kind, models, read_parquet, read_table, write_table

__all__ = [
    "SCHEMAS",
    "SCHEMA_VERSION",
    "Column",
    "InputFile",
    "JudgmentStore",
    "Manifest",
    "Schema",
    "Stored",
    "attributed",
    "attribution",
    "check_kind",
    "conform",
    "database",
    "document_key",
    "first_duplicate",
    "graded",
    "kinds_of",
    "manifest_path",
    "models",
    "not_among",
    "query_key",
    "rank",
    "ranked",
    "read_manifest",
    "read_parquet",
    "read_table",
    "replacing",
    "sealed",
    "sha256",
    "up_to_date",
    "write_bytes",
    "write_manifest",
    "write_table",
    "write_text",
]
