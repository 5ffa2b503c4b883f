"""Records, the values that results are made of, and their files: JSON for records, Parquet for tables.

A record is frozen, keyword-only, plain data. Its keys are part of the documented contract (reference, records); the
JSON Schemas are generated from the classes. Every file is written completely or not at all.
"""

from rnneval.paths import whole_file, write_text, write_texts
from rnneval.records import gate, run, wiring
from rnneval.records._base import encode, json_text
from rnneval.records.encoding import Record, decode, json_schema, read, read_run, schema_names, write
from rnneval.records.gate import Gate, Ranking
from rnneval.records.parity import Parity
from rnneval.records.run import Gradients, Opened, Run
from rnneval.records.server import Server
from rnneval.records.tables import read_table, require_rows, table_written
from rnneval.records.wiring import Finding, Wiring

__all__ = [
    "Finding", "Gate", "Gradients", "Opened", "Parity", "Ranking", "Record", "Run", "Server", "Wiring", "decode",
    "encode", "gate", "json_schema", "json_text", "read", "read_run", "read_table", "require_rows", "run",
    "schema_names", "table_written", "whole_file", "wiring", "write", "write_text", "write_texts",
]  # fmt: skip
