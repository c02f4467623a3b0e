"""As much of JSON Schema as a document of ours is described with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KNOWN = {
    *("type", "properties", "required", "additionalProperties", "items", "anyOf", "$ref", "enum"),
    *("const", "pattern", "format", "title", "description", "default", "$defs", "$schema"),
}


def violations(document: Any, schema: dict[str, Any]) -> list[str]:
    """Where the document isn't as the schema says; empty if it is."""
    return list(_violations(document, schema, schema, "$"))


def _violations(value: Any, schema: Any, root: Any, path: str) -> Iterator[str]:
    if schema is True:  # anything
        return
    assert schema.keys() <= KNOWN, f"{path}: {schema.keys() - KNOWN} can't be checked here"
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from _violations(value, root["$defs"][name], root, path)
        return
    if "anyOf" in schema:
        if all(list(_violations(value, one, root, path)) for one in schema["anyOf"]):
            yield f"{path}: {value!r} is none of {schema['anyOf']}"
        return
    if "type" in schema:
        kind = TYPES[schema["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            yield f"{path}: {value!r} isn't a {schema['type']}"
            return
    if "const" in schema and value != schema["const"]:
        yield f"{path}: {value!r} isn't {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} isn't one of {schema['enum']}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} isn't like {schema['pattern']}"
    if isinstance(value, dict):
        yield from (f"{path}: no {key}" for key in schema.get("required", []) if key not in value)
        others = schema.get("additionalProperties", {})
        for key, item in value.items():
            one = schema.get("properties", {}).get(key, others)
            yield from _violations(item, one, root, f"{path}.{key}")
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _violations(item, schema.get("items", {}), root, f"{path}[{number}]")
