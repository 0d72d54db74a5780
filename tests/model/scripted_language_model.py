"""A language model in memory that says what a scenario tells it to."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from ports.language_model import (
    CallPiece,
    ChatRequest,
    Ending,
    FunctionCall,
    ModelThrottled,
    ModelUnavailable,
    ModelUsage,
    Piece,
    TextPiece,
)

WRITES = 0.1  # seconds between the pieces of a call


@dataclass(frozen=True, slots=True)
class Said:
    """What the model does in one turn: (seconds of silence, text) each, then functions it calls.

    Of all calls of a story, the first `throttles` are answered with 429; those numbered in
    `breaks`, from 1, break off before their end. A `finish` of "length" cuts the functions off.
    `speaks_once`: only the first call of the turn says the text. `calls_once`: only that one calls functions.
    """

    pieces: tuple[tuple[float, str], ...] = ()
    calls: tuple[str, ...] = ()
    finish: str = "stop"
    throttles: int = 0
    breaks: frozenset[int] = frozenset()
    speaks_once: bool = False
    calls_once: bool = False
    last_words: str = ""  # after the calls


@dataclass(slots=True)
class ScriptedModel:
    """Says the turn that the request is at. Each call says it in words of its own, kept in `answers`.

    So a message that mixes two calls, or says a piece twice, is like none of them.
    """

    turns: Sequence[Said]
    answers: dict[int, list[str]] = field(default_factory=dict)
    calls: int = 0
    requests: list[ChatRequest] = field(default_factory=list)

    async def stream(self, request: ChatRequest, *, early: Collection[str] = ()) -> AsyncIterator[Piece]:
        turn = sum(1 for message in request.messages if message.get("tool_calls"))
        said, self.calls = self.turns[turn], self.calls + 1
        self.requests.append(request)
        if self.calls <= said.throttles:
            raise ModelThrottled("Rate limit is exceeded.", retry_after=2.0)
        is_first = turn not in self.answers
        pieces = said.pieces if is_first or not said.speaks_once else ()
        named = said.calls if is_first or not said.calls_once else ()
        words = [f"{text}/{self.calls} " for _, text in pieces]
        self.answers.setdefault(turn, []).append("".join(words))
        for (silence, _), word in zip(pieces, words, strict=True):
            if silence:
                await asyncio.sleep(silence)
            yield TextPiece(word)
        arguments = ('{"code": "call ', f"{self.calls}", '"}')
        for index, name in enumerate(named if early else ()):
            for piece in arguments if name in early else ():
                yield CallPiece(index, name, piece)
                await asyncio.sleep(WRITES)
        if said.last_words:
            words.append(f"{said.last_words}/{self.calls}")
            self.answers[turn][-1] = "".join(words)
            yield TextPiece(words[-1])
        if self.calls in said.breaks:
            raise ModelUnavailable("The model broke off.")
        calls = [
            FunctionCall(index, f"call_{turn}_{index}", name, "".join(arguments) if name in early else "{}")
            for index, name in enumerate(named)
        ]
        finish: Any = "tool_calls" if calls and said.finish == "stop" else said.finish
        yield Ending(finish, calls, ModelUsage(prompt_tokens=10 + turn, completion_tokens=len(words) + len(calls)))

    async def close(self) -> None:
        pass
