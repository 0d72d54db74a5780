"""Assistants: what requests may hold, and what is stored of it (B.1, C.1)."""

from collections.abc import Callable, Collection
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from schemas.metadata import Metadata
from schemas.response_format import ResponseFormat, stored_format
from schemas.shape import ReasoningEffort, Shape
from schemas.tool import Tool, check_distinct, stored_tools
from schemas.tool_resources import (
    NewToolResources,
    ToolResources,
    changed_resources,
    stored_resources,
    with_enabled,
)

Resource = dict[str, Any]

ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Instructions = Annotated[str, StringConstraints(max_length=256_000)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]
SAMPLING = ("temperature", "top_p")
TopP = Annotated[float, Field(ge=0.0, le=1.0)]


class _AssistantMembers(Shape):
    name: Annotated[str, StringConstraints(max_length=256)] | None = None
    description: Annotated[str, StringConstraints(max_length=512)] | None = None
    instructions: Instructions | None = None
    reasoning_effort: ReasoningEffort | None = None
    tools: Annotated[list[Tool], Field(max_length=128), AfterValidator(check_distinct)] | None = None
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    response_format: ResponseFormat | None = None


class CreateAssistant(_AssistantMembers):
    model: ModelName
    tool_resources: NewToolResources | None = None


class ModifyAssistant(_AssistantMembers):
    model: ModelName = ""  # has no default to clear to, so null is refused
    tool_resources: ToolResources | None = None


def given_sampling(body: _AssistantMembers, before: Collection[str] = ()) -> list[str]:
    """Return those of temperature and top_p that a client has set, now or `before`; null takes it back (0.5).

    Kept beside the resource, which shows 1 in either case: a value that was set is sent to the model, since
    not every endpoint's default is 1.
    """
    return [name for name in SAMPLING if (getattr(body, name) is not None if body.given(name) else name in before)]


def new_assistant(assistant_id: str, body: CreateAssistant, now: int) -> Resource:
    tools = stored_tools(body.tools)
    return {
        "id": assistant_id,
        "object": "assistant",
        "created_at": now,
        "name": body.name,
        "description": body.description,
        "model": body.model,
        "instructions": body.instructions,
        "tools": tools,
        "top_p": _number(body.top_p),
        "temperature": _number(body.temperature),
        "reasoning_effort": body.reasoning_effort,
        "tool_resources": with_enabled(stored_resources(body.tool_resources), tools),
        "metadata": body.metadata or {},
        "response_format": stored_format(body.response_format),
    }


def modified_assistant(assistant: Resource, body: ModifyAssistant) -> Resource:
    """Replace each given member wholly; null clears it to its default (0.5, B.1.1)."""
    changes = {name: _STORED.get(name, _as_it_is)(getattr(body, name)) for name in body.model_fields_set}
    if body.given("tool_resources"):
        changes["tool_resources"] = changed_resources(assistant["tool_resources"], body.tool_resources)
    modified = assistant | changes
    return modified | {"tool_resources": with_enabled(modified["tool_resources"], modified["tools"])}


def _number(value: float | None) -> float:
    return 1.0 if value is None else value


def _as_it_is(value: Any) -> Any:
    return value


_STORED: dict[str, Callable[[Any], Any]] = {
    "tools": stored_tools,
    "top_p": _number,
    "temperature": _number,
    "metadata": lambda metadata: metadata or {},
    "response_format": stored_format,
}
