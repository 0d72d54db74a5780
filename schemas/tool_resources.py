"""What tools work on: files and vector stores, by id (B.1, C.1.1)."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from schemas.shape import FileId, Shape, VectorStoreId, refused

Resource = dict[str, Any]

MAX_FILES = 20  # of the code interpreter (G.1.11)

# What an enabled tool works on when nothing was given.
_NOTHING = {"code_interpreter": {"file_ids": []}, "file_search": {"vector_store_ids": []}}


def _not_yet(value: Any) -> Any:
    if value is not None:
        raise refused(
            "invalid_value",
            "The 'vector_stores' helper is not supported yet. Give the id of a vector store in 'vector_store_ids'.",
        )
    return value


class CodeInterpreterResources(Shape):
    file_ids: Annotated[list[FileId], Field(max_length=MAX_FILES)] | None = None


class FileSearchResources(Shape):
    vector_store_ids: Annotated[list[VectorStoreId], Field(max_length=1)] | None = None


class NewFileSearchResources(FileSearchResources):
    vector_stores: Annotated[Any, BeforeValidator(_not_yet)] = None


class _Resources[FileSearch: FileSearchResources](Shape):
    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearch | None = None

    def stored(self) -> Resource:
        """Return the entries that were given and are not null."""
        entries: Resource = {}
        if self.code_interpreter:
            entries["code_interpreter"] = {"file_ids": self.code_interpreter.file_ids or []}
        if self.file_search:
            entries["file_search"] = {"vector_store_ids": self.file_search.vector_store_ids or []}
        return entries


class ToolResources(_Resources[FileSearchResources]):
    """As modify requests and runs take it."""


class NewToolResources(_Resources[NewFileSearchResources]):
    """As create requests take it: with the helper that makes vector stores."""


def stored_resources(given: ToolResources | NewToolResources | None) -> Resource:
    return given.stored() if given else {}


def changed_resources(stored: Resource, given: ToolResources | None) -> Resource:
    """Replace each given tool's entry, remove those given as null; null for all clears all (B.1.1)."""
    if given is None:
        return {}
    kept = {tool: entry for tool, entry in stored.items() if not given.given(tool)}
    merged = kept | given.stored()
    return {tool: merged[tool] for tool in _NOTHING if tool in merged}


def with_enabled(resources: Resource, tools: Iterable[Resource]) -> Resource:
    """Show an entry for every enabled built-in tool, and of others only what holds something (C.1.1)."""
    enabled = {tool["type"] for tool in tools}
    shown: Resource = {}
    for tool, nothing in _NOTHING.items():
        entry = resources.get(tool, nothing)
        if tool in enabled or entry != nothing:
            shown[tool] = entry
    return shown
