"""Runs: what requests may hold (B.4)."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Discriminator, FailFast, Field, Tag, model_validator

from schemas.assistant import SAMPLING, Instructions, ModelName, Temperature, TopP
from schemas.metadata import Metadata
from schemas.response_format import ResponseFormat, stored_format
from schemas.shape import TAG, AssistantId, ReasoningEffort, Shape, by_type, refused, wrong_type
from schemas.thread import CreateThread, Messages
from schemas.tool import FunctionName, Tool, check_distinct, stored_tools
from schemas.tool_resources import ToolResources, stored_resources

Tokens = Annotated[int, Field(ge=256)]


class TruncationStrategy(Shape):
    type: Literal["auto", "last_messages"]
    last_messages: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _ignore_the_number_of_auto(cls, given: Any) -> Any:
        """Some clients send one (E.6.5)."""
        if isinstance(given, dict) and given.get("type") == "auto" and type(given.get("last_messages")) is int:
            return given | {"last_messages": None}
        return given

    @model_validator(mode="after")
    def _count_where_it_counts(self) -> "TruncationStrategy":
        """E.6.5."""
        if self.type == "last_messages" and self.last_messages is None:
            raise refused(
                "invalid_value",
                "'last_messages' must be given with the truncation strategy 'last_messages'.",
                member="last_messages",
            )
        return self


class ChosenFunctionName(Shape):
    name: FunctionName


class ChosenFunction(Shape):
    type: Literal["function"]
    function: ChosenFunctionName


class ChosenCodeInterpreter(Shape):
    type: Literal["code_interpreter"]


class ChosenFileSearch(Shape):
    type: Literal["file_search"]


_ChosenTool = by_type(
    {"function": ChosenFunction, "code_interpreter": ChosenCodeInterpreter, "file_search": ChosenFileSearch}
)


def _word_or_tool(choice: Any) -> Any:
    if not isinstance(choice, str | dict):
        raise wrong_type("one of a string or an object")
    return choice


ToolChoice = Annotated[
    Union[  # noqa: UP007
        Annotated[Literal["none", "auto", "required"], Tag(TAG + "word")], Annotated[_ChosenTool, Tag(TAG + "tool")]
    ],
    Discriminator(lambda choice: TAG + ("word" if isinstance(choice, str) else "tool")),
    BeforeValidator(_word_or_tool),
]


class _RunMembers(Shape):
    """What both ways of creating a run take. None means: the assistant's setting, or the default."""

    assistant_id: AssistantId
    model: ModelName | None = None
    instructions: Instructions | None = None
    tools: Annotated[list[Tool], Field(max_length=20), AfterValidator(check_distinct)] | None = None
    tool_resources: ToolResources | None = None  # this run's own, in the place of its assistant's
    metadata: Metadata | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    max_prompt_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    truncation_strategy: TruncationStrategy | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    def overrides(self) -> dict[str, Any]:
        """Return what is given and not null, in stored form: an explicit 0 or false counts."""
        given = self.model_dump(
            include=set(_RunMembers.model_fields) | {"reasoning_effort", "additional_instructions"},
            exclude={"assistant_id", "stream", "tools", "tool_resources", "response_format"},
            exclude_none=True,
        )
        if self.truncation_strategy:
            given["truncation_strategy"] = self.truncation_strategy.model_dump()
        if self.tools is not None:
            given["tools"] = stored_tools(self.tools)
        if self.tool_resources is not None:
            given["tool_resources"] = stored_resources(self.tool_resources)
        if self.response_format is not None:
            given["response_format"] = stored_format(self.response_format)
        return given

    def given_sampling(self, of_assistant: Collection[str]) -> list[str]:
        """Return those of temperature and top_p that are set here, or by the assistant and not here."""
        return [name for name in SAMPLING if getattr(self, name) is not None or name in of_assistant]


class CreateRun(_RunMembers):
    """Body of POST /threads/{thread_id}/runs."""

    reasoning_effort: ReasoningEffort | None = None
    additional_instructions: Instructions | None = None
    additional_messages: Messages | None = None


class CreateThreadAndRun(_RunMembers):
    """Body of POST /threads/runs."""

    thread: CreateThread | None = None


class ModifyRun(Shape):
    metadata: Metadata | None = None


class ToolOutput(Shape):
    type: str | None = None  # "function", which azure-ai-agents says of each; not looked at
    tool_call_id: str | None = None
    output: str | None = None


class SubmitToolOutputs(Shape):
    """Body of POST …/submit_tool_outputs. A missing output is an empty one (E.4.4)."""

    tool_outputs: Annotated[list[ToolOutput], FailFast()]
    stream: bool | None = None

    def by_call(self) -> list[tuple[str, str]]:
        return [(output.tool_call_id or "", output.output or "") for output in self.tool_outputs]
