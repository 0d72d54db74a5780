"""Counting what a run spends: usage in the API's shape, and the budgets of E.6.1."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from domain import tokens
from ports.language_model import ChatRequest, FunctionCall, ModelUsage

Usage = dict[str, Any]  # C.6, as on the wire


def as_usage(spent: ModelUsage) -> Usage:
    return {
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
        "prompt_token_details": {"cached_tokens": spent.cached_tokens},  # spelled as the hosted API did (C.6)
        "completion_tokens_details": {"reasoning_tokens": spent.reasoning_tokens},
    }


def total(usages: Iterable[Usage | None]) -> Usage:
    """The sum; of nothing, zeros. A run's usage is the sum over its steps (E.10.1)."""
    known = [usage for usage in usages if usage]
    return as_usage(
        ModelUsage(
            prompt_tokens=sum(_stored(usage, "prompt_tokens") for usage in known),
            completion_tokens=sum(_stored(usage, "completion_tokens") for usage in known),
            cached_tokens=sum(_stored(usage, "prompt_token_details", "cached_tokens") for usage in known),
            reasoning_tokens=sum(_stored(usage, "completion_tokens_details", "reasoning_tokens") for usage in known),
        )
    )


def _stored(usage: Usage, *path: str) -> int:
    """A stored count. An older version stored what endpoints sent: what is no number counts nothing, so that every
    run can end."""
    value: Any = usage
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def counted(request: ChatRequest, text: str, calls: Sequence[FunctionCall]) -> ModelUsage:
    """What a turn spent, counted by ourselves because the endpoint didn't say; also of half an answer."""
    called = "".join(call.name + call.arguments for call in calls)
    shapes = "".join(json.dumps(shape) for shape in (request.tools, request.response_format) if shape)
    return ModelUsage(
        prompt_tokens=tokens.of_messages(request.messages) + tokens.count(shapes),
        completion_tokens=tokens.count(text) + tokens.count(called),
    )


def spent_budget(run: dict[str, Any], spent: Usage) -> Literal["max_completion_tokens", "max_prompt_tokens"] | None:
    """The budget of the run that nothing is left of, which is why it ends `incomplete` (E.6.2)."""
    if _is_spent(run["max_completion_tokens"], spent["completion_tokens"]):
        return "max_completion_tokens"
    if _is_spent(run["max_prompt_tokens"], spent["prompt_tokens"]):
        return "max_prompt_tokens"
    return None


def _is_spent(limit: int | None, spent: int) -> bool:
    return limit is not None and spent >= limit
