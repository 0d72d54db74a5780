"""Asking a scripted endpoint through the adapter, and the chunks it may send."""

from typing import Any

import pytest

from adapters.openai_models import OpenAIModels
from ports.language_model import ChatRequest, Ending, ModelRefused, Piece
from tests.scripted_model import Script


def asking(script: Script, **members: Any) -> ChatRequest:
    return ChatRequest(model=script.name, messages=[{"role": "user", "content": "Hi"}], **members)


async def pieces_of(models: OpenAIModels, request: ChatRequest) -> list[Piece]:
    return [piece async for piece in models.stream(request)]


async def ending_of(models: OpenAIModels, request: ChatRequest) -> Ending:
    last = (await pieces_of(models, request))[-1]
    assert isinstance(last, Ending)
    return last


def delta(finish: str | None = None, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members, "finish_reason": finish}]}


def call_delta(**members: Any) -> dict[str, Any]:
    return delta(tool_calls=[members])


async def refusal(models: OpenAIModels, request: ChatRequest) -> ModelRefused:
    with pytest.raises(ModelRefused) as caught:
        await pieces_of(models, request)
    return caught.value
