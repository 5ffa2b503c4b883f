"""The JSON Schemas of the records, generated from their classes."""

from typing import Any

import msgspec

from rnneval.records.encoding import CLASSES


def json_schema(schema: str) -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of a record, by its schema name such as `rnneval.run/1`."""
    generated = msgspec.json.schema(CLASSES[schema])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": schema, **_without_null(generated)}


def schema_names() -> tuple[str, ...]:
    """Name every schema that can be read."""
    return tuple(CLASSES)


def _without_null(schema: Any) -> Any:
    """Drop what msgspec allows and a record does not: null for a key that may be absent."""
    if isinstance(schema, dict):
        schema = {
            key: _without_null(value) for key, value in schema.items() if not (key == "default" and value is None)
        }
        if "anyOf" in schema:
            choices = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
            if len(choices) == 1:
                return {**{key: value for key, value in schema.items() if key != "anyOf"}, **choices[0]}
            schema["anyOf"] = choices
        return schema
    return [_without_null(value) for value in schema] if isinstance(schema, list) else schema
