"""The subset of JSON Schema that strict functions must keep to (G.4.2), as far as it is worth checking here."""

from collections.abc import Iterator
from typing import Any


def strict_fault(schema: dict[str, Any]) -> str | None:
    """Return what keeps the schema from being strict, in a sentence, or None."""
    if schema.get("type") != "object":
        return "The schema must be of type 'object'."
    return next(_faults(schema, "()"), None)


def _faults(schema: Any, place: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, dict):
        yield from _object_faults(schema, properties if isinstance(properties, dict) else {}, place)
    for word in ("properties", "$defs", "definitions"):
        members = schema.get(word)
        if isinstance(members, dict):
            for name, member in members.items():
                yield from _faults(member, f"{place}.{word}.{name}")
    yield from _faults(schema.get("items"), f"{place}.items")
    choices = schema.get("anyOf")
    for index, choice in enumerate(choices if isinstance(choices, list) else []):
        yield from _faults(choice, f"{place}.anyOf[{index}]")


def _object_faults(schema: dict[str, Any], properties: dict[str, Any], place: str) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield f"In {place}, 'additionalProperties' must be given and be false."
    required = schema.get("required")
    listed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set[str]()
    missing = next((name for name in properties if name not in listed), None)
    if missing is not None:
        yield f"In {place}, 'required' must list every property; '{missing}' is missing."
