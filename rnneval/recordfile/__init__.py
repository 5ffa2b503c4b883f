"""Records ↔ JSON, tables ↔ Parquet; every file that rnneval writes is written whole or not at all."""

from rnneval.recordfile.encoding import Record, decode, encode, json_text, read, read_as, read_run, write
from rnneval.recordfile.schema import json_schema, schema_names
from rnneval.recordfile.tables import read_table, require_rows, table_written
from rnneval.recordfile.whole import whole_file, write_text, write_texts

__all__ = [
    "Record",
    "decode",
    "encode",
    "json_schema",
    "json_text",
    "read",
    "read_as",
    "read_run",
    "read_table",
    "require_rows",
    "schema_names",
    "table_written",
    "whole_file",
    "write",
    "write_text",
    "write_texts",
]
