"""Putting a streamed chat completion together: chunks in, pieces out.

Endpoints differ in how they stream function calls. The API sends an index with every delta, and id
and name once. Seen elsewhere: id and name repeated, no index, no id, one index for several calls,
one id for several calls, arguments as an object.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ids import derived_id
from ports.language_model import (
    ChatRequest,
    Ending,
    FunctionCall,
    ModelUnavailable,
    ModelUsage,
    RefusalPiece,
    TextPiece,
)

Finish = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""

    def add(self, id: str, function: dict[str, Any]) -> None:
        self.id = self.id or id
        self.name = self.name or function.get("name") or ""
        arguments = function.get("arguments") or ""
        self.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments)


class Answer:
    """One answer as it comes in: feed every chunk to `add`, then ask for the `ending`."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        self._usage: ModelUsage | None = None
        self._finish: str | None = None

    def add(self, chunk: dict[str, Any]) -> Iterator[TextPiece | RefusalPiece]:
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
        for choice in chunk.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            # "message" in place of "delta": the endpoint ignored `stream` and answered in one go.
            yield from self._add_delta(choice.get("delta") or choice.get("message") or {})

    def _add_delta(self, delta: dict[str, Any]) -> Iterator[TextPiece | RefusalPiece]:
        for call in delta.get("tool_calls") or ():
            self._add_call(call)
        if function := delta.get("function_call"):
            self._add_call({"index": 0, "function": function})
        if text := delta.get("content"):
            yield TextPiece(text)
        if refusal := delta.get("refusal"):
            yield RefusalPiece(refusal)

    def _add_call(self, delta: dict[str, Any]) -> None:
        id, function = delta.get("id") or "", delta.get("function") or {}
        index = delta.get("index")
        call = self._call_at.get(index) if index is not None else self._continued(id, function)
        if call is None or (id and call.id and id != call.id):
            call = _Call()
            self._calls.append(call)
        if index is not None:
            self._call_at[index] = call
        call.add(id, function)

    def _continued(self, id: str, function: dict[str, Any]) -> _Call | None:
        """The call that a delta without an index goes on with; None if it begins one."""
        last = self._calls[-1] if self._calls else None
        if last and id:
            return last if id == last.id else None
        return last if last and not function.get("name") else None

    def ending(self) -> Ending:
        """Raises ModelUnavailable if the stream ended before the answer did."""
        finish = self._finish_reason()
        calls = self._function_calls() if finish == "tool_calls" else []
        return Ending(finish, calls, self._usage)

    @property
    def has_ended(self) -> bool:
        return self._finish is not None

    def _finish_reason(self) -> Finish:
        if self._finish is None:
            # A proxy that lost the model ends a stream as properly as the model does.
            raise ModelUnavailable("The model's answer stopped before its end.")
        if self._finish == "length" or self._finish == "content_filter":
            return self._finish
        # Not by name: many endpoints say "stop" after function calls, some say what nobody else says.
        return "tool_calls" if self._calls else "stop"

    def _function_calls(self) -> list[FunctionCall]:
        seen: set[str] = set()
        calls: list[FunctionCall] = []
        for index, call in enumerate(self._calls):
            id = call.id if call.id and call.id not in seen else self._derived_id(index, call)
            seen.add(id)
            calls.append(FunctionCall(index, id, call.name, call.arguments))
        return calls

    def _derived_id(self, index: int, call: _Call) -> str:
        # The messages are in it, so the same call in a later turn gets another id.
        return derived_id("call", json.dumps(self._request.messages), index, call.name)


def _usage(usage: dict[str, Any]) -> ModelUsage:
    return ModelUsage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        reasoning_tokens=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    )
