"""Conversations for endpoints that want the roles of their messages in a certain order.

The chat template of many a model takes no two messages of one role in a row, no system message, or no answer of
the assistant at the end. What a message says is never lost, only where it stands changes.
"""

from collections.abc import Iterable
from typing import Any

ChatMessage = dict[str, Any]

BEGINNING = "(The conversation begins with an answer of yours.)"
GO_ON = "Go on."


def alternating(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """One message where several of one role follow each other, and a user's at the beginning."""
    result: list[ChatMessage] = []
    for message in messages:
        last = result[-1] if result else None
        if last and last["role"] == message["role"] and message["role"] != "tool" and not last.get("tool_calls"):
            result[-1] = _merged(last, message)
        else:
            result.append(message)
    first = next((index for index, message in enumerate(result) if message["role"] != "system"), None)
    if first is not None and result[first]["role"] == "assistant":
        result.insert(first, {"role": "user", "content": BEGINNING})
    return result


def without_system(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """What the system messages say, at the head of the first user message."""
    system: ChatMessage | None = None
    result: list[ChatMessage] = []
    for message in messages:
        if message["role"] == "system":
            system = _merged(system, message) if system else message
        else:
            result.append(message)
    if system is None:
        return result
    spoken = system | {"role": "user"}
    if result and result[0]["role"] == "user":
        return [_merged(spoken, result[0]), *result[1:]]
    return [spoken, *result]


def closed_by_user(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """A word of the user's at the end if the assistant spoke last."""
    result = list(messages)
    if result and result[-1]["role"] == "assistant":
        result.append({"role": "user", "content": GO_ON})
    return result


def _merged(first: ChatMessage, second: ChatMessage) -> ChatMessage:
    return first | second | {"content": _joined(first.get("content"), second.get("content"))}


def _joined(first: Any, second: Any) -> Any:
    """`first` and `second` are a text, a list of parts or None."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
