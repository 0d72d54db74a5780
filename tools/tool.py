"""What a built-in tool is: how the model sees it, how a call of it is shown in a run step, how it is run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call to be run. `id` is our own, the same at every delivery; `arguments` is what `Tool.arguments` returned.

    `room`: bytes as JSON that its outputs may take.
    """

    partition: str  # of the thread
    run: Resource
    id: str
    arguments: str
    room: int


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`text` is for the model, `outputs` are shown in the run step."""

    text: str
    outputs: list[Resource] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """`note` is for the model's system context. `files` is what its text may link to (G.1.7): file id by name."""

    note: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


class ToolUnavailable(Exception):
    """The tool can't be run now. The message is for the user, `retry_after` is in seconds, None if it is no use."""

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Reader(Protocol):
    def feed(self, piece: str) -> str:
        """Return what more is known of the input."""
        ...


class Tool(Protocol):
    """An entry of the table. `type` is its name in the API, and the one the model sees unless a function has it."""

    type: str
    description: str
    parameters: Resource  # a JSON schema

    def arguments(self, written: str) -> str:
        """Return what the model wrote as the JSON object that `parameters` asks for, as far as it can be read so."""
        ...

    def shown(self, call_id: str, arguments: str, outputs: Sequence[Resource] = ()) -> Resource:
        """Return the call as an entry of a run step's `tool_calls` (C.7)."""
        ...

    def begun(self, call_id: str) -> Resource:
        """Return the entry of a step delta, without index, that announces a call (F.3)."""
        ...

    def written(self, text: str) -> Resource:
        """Return the entry of a step delta, without index, that brings more of the call's input."""
        ...

    def reader(self) -> Reader:
        """Return what reads the input from the model's arguments while they come."""
        ...

    def rest(self, announced: Resource | None, arguments: str) -> list[Resource] | None:
        """Return the entries that bring what `announced`, the call as deltas have shown it, lacks of its input.

        None if something else was shown.
        """
        ...

    def closing(self, outputs: Sequence[Resource]) -> list[Resource]:
        """Return the entries of step deltas, without index, that bring its outputs (F.3)."""
        ...

    async def context(self, partition: str, run: Resource) -> ToolContext:
        """Return what the model and its answer should know of what the tool works on in this run."""
        ...

    async def run(self, call: ToolCall) -> ToolResult:
        """Run the call. What its caller did wrong is a result too. Cancelling this ends it. Raises ToolUnavailable."""
        ...
