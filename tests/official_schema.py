"""What the service answers, against the official description of the API (openapi-assistants.json).

Clients with closed types (Rust, Java, Kotlin, .NET) refuse a whole answer for one value that their enum
doesn't know, or one null where they expect a string. So objects are closed here too: a member that the
description doesn't have is named below, or it is a mistake.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

Schema = dict[str, Any]

_FILE = Path(__file__).with_name("openapi-assistants.json")
_SHOWN = 300  # characters of what is wrong


@dataclass(frozen=True, slots=True)
class Difference:
    """What a member may be besides what the description says, if that has it at all. `member` is `{schema}.{name}`."""

    member: str
    also: Schema
    why: str


_NULL: Schema = {"type": "null"}
_COUNTS: Schema = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}
_RESOURCES: Schema = {"$ref": "#/components/schemas/ThreadObject/properties/tool_resources"}
_EFFORT: Schema = {"$ref": "#/components/schemas/ReasoningEffort"}
_USAGES = ("RunCompletionUsage", "RunStepCompletionUsage")
_PAGES = [f"List{things}Response" for things in ("Assistants", "Files", "Messages", "Runs", "RunSteps")]

DIFFERENCES = (
    Difference("AssistantObject.reasoning_effort", _EFFORT, "on the wire only (C.1)"),
    Difference("RunObject.reasoning_effort", _EFFORT, "on the wire only (C.6)"),
    Difference("RunObject.tool_resources", _RESOURCES, "on the wire only (C.6)"),
    Difference("RunObject.instructions", _NULL, "on the wire where nobody gave any (C.6)"),
    *(Difference(f"{usage}.prompt_token_details", _COUNTS, "on the wire only (C.6)") for usage in _USAGES),
    *(Difference(f"{usage}.completion_tokens_details", _COUNTS, "on the wire only (C.6)") for usage in _USAGES),
    Difference("RunStepObject.expires_at", {"type": ["integer", "null"]}, "the wire's name beside the schema's (C.7)"),
    Difference("FunctionObject.description", _NULL, "where none was given (C.11)"),
    Difference("FileSearchRankingOptions.hybrid_search", {"type": ["object", "null"]}, "on the wire only (C.11)"),
    Difference("OpenAIFile.expires_at", _NULL, "on the wire, of a file that doesn't expire (C.8)"),
    Difference("OpenAIFile.status_details", _NULL, "on the wire (C.8)"),
    Difference("OpenAIFile.purpose", {"const": "evals"}, "requests may say so (I.1): only who did is shown it"),
    Difference("VectorStoreFileBatchObject.object", {"const": "vector_store.file_batch"}, "the wire's word (C.9.2)"),
    Difference("ErrorEvent.data", {"$ref": "#/components/schemas/ErrorResponse"}, "wrapped on the wire (F.8.1)"),
    *(Difference(f"{page}.first_id", _NULL, "of an empty page (D.7)") for page in _PAGES),
    *(Difference(f"{page}.last_id", _NULL, "of an empty page (D.7)") for page in _PAGES),
)

# Operations of ours. Pages of threads are described like other pages.
_PAGE_OF_THREADS: Schema = {
    "type": "object",
    "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/ThreadObject"}},
        "first_id": {"type": ["string", "null"]},
        "last_id": {"type": ["string", "null"]},
        "has_more": {"type": "boolean"},
    },
    "required": ["object", "data", "first_id", "last_id", "has_more"],
}
EXTENSIONS: dict[tuple[str, str], Schema] = {("GET", "threads"): _PAGE_OF_THREADS}  # B.2.1
# Whatever the client uploaded, JSON too.
_ANYTHING = {("GET", "files/{file_id}/content")}
_STREAMED = {("GET", "threads/{thread_id}/runs/{run_id}/events")}  # F.9


def operation_of(method: str, path: str) -> tuple[str, str] | None:
    """Return method and route of what answers at the path, under whichever base; None if nothing described does."""
    segments = [segment for segment in path.split("/") if segment]
    while segments and segments[0].lower() in ("openai", "v1", "deployments"):
        segments = segments[2:] if segments[0].lower() == "deployments" else segments[1:]
    words = [route for verb, route in _answers() if verb == method and _matches(route.split("/"), segments)]
    return (method, min(words, key=lambda route: route.count("{"))) if words else None


def _matches(words: list[str], segments: list[str]) -> bool:
    return len(words) == len(segments) and all(
        word.startswith("{") or word == segment.lower() for word, segment in zip(words, segments, strict=True)
    )


def faults_of_answer(operation: tuple[str, str], status: int, body: Any) -> list[str]:
    """Say what is wrong with the JSON of an answer."""
    if status >= 400:
        return _faults(_validator("ErrorResponse"), body)
    schema = _answers()[operation]
    return _faults(_compiled(json.dumps(schema)), body) if schema else []


def faults_of_event(name: str, data: Any) -> list[str]:
    """Say what is wrong with an event of a stream; `data` is [DONE] or parsed."""
    schema = _events().get(name)
    if schema is None:
        return [f"no event is called {name}"]
    return _faults(_compiled(json.dumps(schema)), data)


def faults_of(schema: str, value: Any) -> list[str]:
    """Say what is wrong with a value, against the schema of that name."""
    return _faults(_validator(schema), value)


def _faults(validator: Draft202012Validator, value: Any) -> list[str]:
    return [f"{_place(error)}: {error.message[:_SHOWN]}{_reasons(error)}" for error in validator.iter_errors(value)]


def _place(error: Any) -> str:
    return ".".join(map(str, error.instance_path)) or "it"


def _reasons(error: Any) -> str:
    """Why none of the alternatives fits: the one that comes nearest tells most."""
    alternatives = [each for each in getattr(error.kind, "context", None) or [] if each]
    if not alternatives:
        return ""
    nearest = min(alternatives, key=len)
    return f" ({'; '.join(f'{_place(each)}: {each.message[:_SHOWN]}{_reasons(each)}' for each in nearest)})"


@cache
def _compiled(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema) | {"components": _description()["components"]})


def _validator(name: str) -> Draft202012Validator:
    return _compiled(json.dumps({"$ref": f"#/components/schemas/{name}"}))


@cache
def _answers() -> dict[tuple[str, str], Schema]:
    """The schema of each operation's answer; of those whose answer is no object of the API it is empty."""
    described = {
        (method.upper(), path.strip("/")): operation["responses"]["200"]["content"]["application/json"]["schema"]
        for path, operations in _description()["paths"].items()
        for method, operation in operations.items()
    }
    return described | EXTENSIONS | {operation: {} for operation in _ANYTHING | _STREAMED}


@cache
def _events() -> dict[str, Schema]:
    return dict(_named_events({"$ref": "#/components/schemas/AssistantStreamEvent"}))


def _named_events(schema: Schema) -> Iterator[tuple[str, Schema]]:
    if reference := schema.get("$ref"):
        yield from _named_events(_description()["components"]["schemas"][reference.rpartition("/")[2]])
        return
    for alternative in schema.get("oneOf", ()):
        yield from _named_events(alternative)
    members = schema.get("properties", {})
    for name in members.get("event", {}).get("enum", ()):
        yield name, members["data"]


@cache
def _description() -> Schema:
    description = json.loads(_FILE.read_text(encoding="utf-8"))
    schemas = description["components"]["schemas"]
    for difference in DIFFERENCES:
        name, member = difference.member.split(".")
        properties = _object(schemas[name])["properties"]
        described = [properties[member]] if member in properties else []
        properties[member] = {"anyOf": [*described, difference.also]}
    _close(schemas)
    return description


def _object(schema: Schema) -> Schema:
    """Return the schema, or its alternative to null."""
    return schema if "properties" in schema else schema["anyOf"][0]


def _close(schema: Any) -> None:
    """Make every object with described members refuse others. Request shapes are closed already."""
    if isinstance(schema, list):
        for each in schema:
            _close(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and not {"oneOf", "anyOf", "allOf"} & schema.keys():
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            _close(each)
