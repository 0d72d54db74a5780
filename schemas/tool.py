"""Tools: as requests give them, and as they are stored and shown (C.11)."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from schemas.json_schema import strict_fault
from schemas.shape import BY_TYPE, Shape, by_type, refused

BUILT_IN = ("code_interpreter", "file_search")
_DEFAULT_RANKER = "default_2024_08_21"
_ALL_RESULTS = 0.0

FunctionName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class CodeInterpreterTool(Shape):
    type: Literal["code_interpreter"]

    def stored(self) -> dict[str, Any]:
        return {"type": "code_interpreter"}


class RankingOptions(Shape):
    ranker: Literal["auto", "default_2024_08_21"] | None = None
    score_threshold: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    hybrid_search: dict[str, Any] | None = None


class FileSearchSettings(Shape):
    max_num_results: Annotated[int, Field(ge=1, le=50)] | None = None
    ranking_options: RankingOptions | None = None


class FileSearchTool(Shape):
    type: Literal["file_search"]
    file_search: FileSearchSettings | None = None

    def stored(self) -> dict[str, Any]:
        settings = self.file_search or FileSearchSettings()
        ranking = settings.ranking_options or RankingOptions()
        most = {} if settings.max_num_results is None else {"max_num_results": settings.max_num_results}
        options = {
            "ranker": ranking.ranker or _DEFAULT_RANKER,
            "score_threshold": _ALL_RESULTS if ranking.score_threshold is None else ranking.score_threshold,
            "hybrid_search": ranking.hybrid_search,
        }
        return {"type": "file_search", "file_search": most | {"ranking_options": options}}


class Function(Shape):
    """Members that the API doesn't know are dropped: published samples hold `module` and `returns`."""

    model_config = ConfigDict(extra="ignore")

    name: FunctionName
    description: Annotated[str, StringConstraints(max_length=1024)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _strict_subset(self) -> "Function":
        fault = strict_fault(self.parameters) if self.strict and self.parameters is not None else None
        if fault:
            raise refused(
                "invalid_function_parameters",
                f"Invalid schema for function '{self.name}': {fault}",
                member="parameters",
            )
        return self


class FunctionTool(Shape):
    type: Literal["function"]
    function: Function

    def stored(self) -> dict[str, Any]:
        parameters = self.function.parameters
        return {
            "type": "function",
            "function": {
                "name": self.function.name,
                "description": self.function.description,
                "parameters": {"type": "object", "properties": {}} if parameters is None else parameters,
                "strict": bool(self.function.strict),
            },
        }


def _no_retrieval(tool: Any) -> Any:
    """A.2.3: the first version's name of file_search gets its own answer."""
    if isinstance(tool, dict) and tool.get(BY_TYPE) == "retrieval":
        raise refused(
            "invalid_value",
            "The tool type 'retrieval' belongs to the first version of the API. Use 'file_search' instead.",
            member="type",
        )
    return tool


Tool = Annotated[
    by_type({"code_interpreter": CodeInterpreterTool, "file_search": FileSearchTool, "function": FunctionTool}),
    BeforeValidator(_no_retrieval),
]
AnyTool = CodeInterpreterTool | FileSearchTool | FunctionTool


def check_distinct(tools: Sequence[AnyTool] | None) -> Sequence[AnyTool] | None:
    """For an AfterValidator of a list of tools: built-in tools once each, functions by different names."""
    seen: set[str] = set()
    for tool in tools or ():
        name = f"function {tool.function.name}" if isinstance(tool, FunctionTool) else tool.type
        if name in seen:
            raise refused("invalid_value", f"Invalid tools: '{name}' is given more than once.")
        seen.add(name)
    return tools


def stored_tools(tools: Sequence[AnyTool] | None) -> list[dict[str, Any]]:
    return [tool.stored() for tool in tools or ()]
