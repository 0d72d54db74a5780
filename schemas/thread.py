"""Threads: what requests may hold (B.2)."""

from typing import Annotated

from pydantic import Field

from schemas.message import CreateMessage
from schemas.metadata import Metadata
from schemas.shape import Shape
from schemas.tool_resources import NewToolResources, ToolResources

MAX_MESSAGES = 32  # in one request: they are one commit (B.2.2)

Messages = Annotated[list[CreateMessage], Field(max_length=MAX_MESSAGES)]


class CreateThread(Shape):
    """Body of POST /threads, and the `thread` of POST /threads/runs."""

    messages: Messages | None = None
    tool_resources: NewToolResources | None = None
    metadata: Metadata | None = None


class ModifyThread(Shape):
    tool_resources: ToolResources | None = None
    metadata: Metadata | None = None
