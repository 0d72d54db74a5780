"""The language model: chat messages in, a stream of pieces out."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion. `messages`, `tools`, `tool_choice` and `response_format` are in the shape
    of the chat-completions API; a member that is None is not sent."""

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: str | None = None
    max_completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """`index` is the position among the calls of the answer; `arguments` is JSON text, as the model wrote it."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelUsage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str


@dataclass(frozen=True, slots=True)
class RefusalPiece:
    text: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """More of the arguments of the answer's call `index`, as they come. The Ending holds the whole call."""

    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The last piece of every stream. `usage` is None if the endpoint sent none."""

    finish: Literal["stop", "tool_calls", "length", "content_filter"]
    calls: list[FunctionCall] = field(default_factory=list)
    usage: ModelUsage | None = None


Piece = TextPiece | RefusalPiece | CallPiece | Ending


class ModelThrottled(Exception):
    """The endpoint said 429. `retry_after` is in seconds, None if it did not say.

    `quota` tells that waiting will not help (insufficient_quota).
    """

    def __init__(self, message: str, *, retry_after: float | None = None, quota: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.quota = quota


class ModelUnavailable(Exception):
    """The endpoint could not be reached, broke off, was silent too long or said 5xx: may be tried again."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ModelRefused(Exception):
    """The endpoint will not serve this request, however often it is sent.

    `code` is the run's `last_error.code`: invalid_prompt (unsafe or malformed input), server_error
    (unknown model, wrong key, no endpoint). The message is for the user: no secret, no URL with a key.
    """

    def __init__(self, code: Literal["invalid_prompt", "server_error"], message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class LanguageModel(Protocol):
    def stream(self, request: ChatRequest, *, early: Collection[str] = ()) -> AsyncIterator[Piece]:
        """Yield text as it arrives, and what arrives of calls of the functions named by `early`; then one Ending.

        Raises ModelThrottled, ModelUnavailable (also after 60 s without a byte) or ModelRefused.
        Closing the iterator early closes the connection to the model.
        """
        ...

    async def close(self) -> None: ...
