"""Putting a streamed chat completion together: chunks in, pieces out. Nothing that an endpoint sends passes untyped."""

from collections.abc import Collection, Iterator
from typing import Any, cast

from adapters.openai_calls import Calls
from adapters.openai_endings import Finish, finish_of
from adapters.openai_events import NotACompletion
from ports.language_model import (
    ChatRequest,
    Ending,
    ModelRefused,
    ModelUnavailable,
    ModelUsage,
    Piece,
    RefusalPiece,
    TextPiece,
)
from texts import TextJoiner

MAX_TOKENS = 1_000_000_000  # more than that nobody has counted; with it every sum fits into what clients count with

_THOUGHTS = {"thinking", "reasoning", "redacted_thinking", "reasoning_text", "thought", "summary", "reference"}
_TEXTS = {"text", "output_text", "input_text"}


class Answer:
    """One answer as it comes in: feed every chunk to `add`, then take the `end`. Both raise what the port says."""

    def __init__(self, request: ChatRequest, early: Collection[str] = ()) -> None:
        self._request = request
        self._early = early
        self._text = _Channel(TextPiece)
        self._refusal = _Channel(RefusalPiece)
        self._calls = Calls(tool["function"]["name"] for tool in request.tools or ())
        self._usage: ModelUsage | None = None
        self._finish: Finish | None = None

    def add(self, chunk: dict[str, Any]) -> Iterator[Piece]:
        """Also raises NotACompletion."""
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise NotACompletion("The model endpoint sent something that is not a chat completion.")
        self._usage = _usage(chunk.get("usage")) or self._usage
        for choice in choices:
            if not isinstance(choice, dict):
                raise NotACompletion("The model endpoint sent something that is not a chat completion.")
            self._usage = _usage(choice.get("usage")) or self._usage
            yield from self._add_delta(_object(choice.get("delta")))
            yield from self._add_message(_object(choice.get("message")))
            self._finish = finish_of(choice.get("finish_reason")) or self._finish

    def _add_delta(self, delta: dict[str, Any]) -> Iterator[Piece]:
        if calls := delta.get("tool_calls"):
            yield from (piece for piece in self._calls.add(calls) if piece.name in self._early)
        if function := delta.get("function_call"):
            self._calls.add([{"index": 0, "function": function}])
        text, refusal = _speech(delta)
        yield from self._text.say(text)
        yield from self._refusal.say(refusal)

    def _add_message(self, message: dict[str, Any]) -> Iterator[Piece]:
        """The whole message: the endpoint ignored `stream`, or repeats what the deltas have said."""
        text, refusal = _speech(message)
        yield from self._text.catch_up(text)
        yield from self._refusal.catch_up(refusal)
        if self._calls:
            return
        if calls := message.get("tool_calls"):
            self._calls.add(calls, each_is_whole=True)
        elif function := message.get("function_call"):
            self._calls.add([{"function": function}])

    @property
    def has_ended(self) -> bool:
        return self._finish is not None

    def end(self) -> Iterator[Piece]:
        """What is left of the text, and the Ending. ModelUnavailable if the stream ended before the answer did."""
        yield from self._text.end()
        yield from self._refusal.end()
        finish = self._finish_reason()
        calls = self._calls.function_calls(self._request.messages) if finish == "tool_calls" else []
        yield Ending(finish, calls, self._usage)

    def _finish_reason(self) -> Finish:
        finish = self._finish
        if finish is None and not (self._has_spoken or self._calls):
            # A proxy that lost the model ends a stream as properly as the model does.
            raise ModelUnavailable("The model's answer stopped before its end.")
        if finish is None and not self._calls.are_whole:
            raise ModelUnavailable("The model's answer stopped in the middle of a function call.")
        if finish in ("length", "content_filter"):
            return finish
        # Not by name: many endpoints say "stop" after function calls, some say what nobody else says.
        return "tool_calls" if self._calls else "stop"

    @property
    def _has_spoken(self) -> bool:
        return self._text.has_said or self._refusal.has_said


class _Channel:
    """One kind of text of an answer: what was said, and a joiner for what is said in halves."""

    def __init__(self, piece: type[TextPiece] | type[RefusalPiece]) -> None:
        self._piece = piece
        self._joiner = TextJoiner()
        self._said: list[str] = []

    @property
    def has_said(self) -> bool:
        return any(map(str.strip, self._said))

    def say(self, text: str) -> Iterator[Piece]:
        if text:
            self._said.append(text)
            if said := self._joiner.add(text):
                yield self._piece(said)

    def catch_up(self, text: str) -> Iterator[Piece]:
        """Say of the whole text what was not said yet; nothing if other words were said."""
        if text:
            said = "".join(self._said)
            yield from self.say(text.removeprefix(said) if text.startswith(said) else "")

    def end(self) -> Iterator[Piece]:
        if rest := self._joiner.end():
            yield self._piece(rest)


def _object(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ModelRefused("server_error", "The model endpoint sent a part of an answer that is not an object.")
    return cast("dict[str, Any]", value)


def _speech(message: dict[str, Any]) -> tuple[str, str]:
    """The text and the refusal of a delta or a message."""
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list):
        texts = [_part(part) for part in content]
        return "".join(text for text, _ in texts), _string(refusal) + "".join(refused for _, refused in texts)
    return _string(content), _string(refusal)


def _part(part: object) -> tuple[str, str]:
    """The text and the refusal of a part of the content. What the model thinks is no part of what it says."""
    if isinstance(part, str):
        return part, ""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise _not_text(part)
    if kind in _TEXTS:
        return _string(part.get("text")), ""
    if kind == "refusal":
        return "", _string(part.get("refusal"))
    if kind in _THOUGHTS:
        return "", ""
    raise ModelRefused("server_error", f"The model endpoint sent content of the type '{kind[:50]}', which is not text.")


def _string(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _not_text(value)
    return value


def _not_text(value: object) -> ModelRefused:
    kind = type(value).__name__
    return ModelRefused("server_error", f"The model endpoint sent content that is not text (but of the type {kind}).")


def _usage(usage: object) -> ModelUsage | None:
    """None unless it holds whole numbers: then we count ourselves."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    told = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if told == [None, None] or prompt is None or completion is None:
        return None
    return ModelUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=_detail(usage, "prompt_tokens_details", "cached_tokens"),
        reasoning_tokens=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(usage: dict[str, Any], place: str, name: str) -> int:
    details = usage.get(place)
    return (_count(details.get(name)) or 0) if isinstance(details, dict) else 0


def _count(value: object) -> int | None:
    """A whole number of tokens; nothing said is 0, anything else None."""
    if value is None:
        return 0
    if isinstance(value, str) and len(value) <= 10 and value.strip().isdecimal() and value.isascii():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS
    return value if whole and isinstance(value, int) else None
