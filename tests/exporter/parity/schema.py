"""As much of JSON Schema as docs/report.schema.json uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def problems(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "$"
) -> Iterator[str]:
    """One line for each way in which a value does not follow a schema."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema and all([*problems(value, s, root)] for s in schema["anyOf"]):
        yield f"{at}: {value!r} follows none of anyOf"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "type" in schema and not _is(value, schema["type"]):
        yield f"{at}: {value!r} is no {schema['type']}"
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), root, f"{at}[{index}]")
    if isinstance(value, dict):
        yield from _members(value, schema, root, at)


def _is(value: Any, names: str | list[str]) -> bool:
    wanted = [names] if isinstance(names, str) else names
    return any(
        isinstance(value, _TYPES[name])
        and not (isinstance(value, bool) and name in ("integer", "number"))
        for name in wanted
    )


def _members(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: lacks {name}"
    for name, item in value.items():
        if name in known:
            yield from problems(item, known[name], root, f"{at}.{name}")
        elif others is False:
            yield f"{at}: {name} is unknown"
        else:
            yield from problems(item, others, root, f"{at}.{name}")
