"""The run's state machine (E.1): every transition as a function from one run to the next.

A run is the dict the API shows (C.6, wire order). Times are Unix seconds; terminal states never
change again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Resource = dict[str, Any]
Terminal = Literal["completed", "incomplete", "failed", "cancelled", "expired"]

TERMINAL = frozenset({"completed", "incomplete", "failed", "cancelled", "expired"})

# What a run's life changes. Log batches carry only these; all else is as it was at creation (a run's
# instructions may be 256 kB).
STATE = (
    "status",
    "started_at",
    "expires_at",
    "cancelled_at",
    "failed_at",
    "completed_at",
    "required_action",
    "last_error",
    "incomplete_details",
    "usage",
)

# The API has no word of its own for it; it is no fault of a server that trying again would cure.
FILTERED = {"code": "invalid_prompt", "message": "The model's answer was cut off by its content filter."}

# The only two that official clients know; some can't read a run that has another one.
_INCOMPLETE_REASONS = ("max_completion_tokens", "max_prompt_tokens")

SETTINGS = ("model", "instructions", "tools", "temperature", "top_p", "reasoning_effort", "response_format")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends other than by an answer.

    `error` is `last_error` of the run, `reason` why an incomplete one is that: a value of incomplete_details.reason, or
    "content_filter", which only messages have (E.6.7).
    """

    status: Terminal
    error: dict[str, str] | None = None
    reason: str | None = None


def failed(code: str, message: str) -> Ending:
    return Ending("failed", error={"code": code, "message": message})


def incomplete(reason: str) -> Ending:
    return Ending("incomplete", FILTERED if reason == "content_filter" else None, reason)


def begin(
    run_id: str,
    thread_id: str,
    assistant: Mapping[str, Any],
    overrides: Mapping[str, Any],
    *,
    now: int,
    lifetime: float,
) -> Resource:
    """Return a queued run: the assistant's settings, overridden by what the request sets (E.9).

    `overrides` holds only members that the request gave and that are not null. Settings are copied:
    a later change of the assistant does not reach this run (B.1.3).
    """
    effective = {name: overrides.get(name, assistant.get(name)) for name in SETTINGS}
    return {
        "id": run_id,
        "object": "thread.run",
        "created_at": now,
        "assistant_id": assistant["id"],
        "thread_id": thread_id,
        "status": "queued",
        "started_at": None,
        "expires_at": int(now + lifetime),
        "cancelled_at": None,
        "failed_at": None,
        "completed_at": None,
        "required_action": None,
        "last_error": None,
        "model": effective["model"],
        "instructions": _instructions(effective["instructions"], overrides.get("additional_instructions")),
        "tools": effective["tools"],
        "tool_resources": overrides.get("tool_resources") or {},
        "metadata": overrides.get("metadata") or {},
        "temperature": effective["temperature"],
        "top_p": effective["top_p"],
        "reasoning_effort": effective["reasoning_effort"],
        "max_completion_tokens": overrides.get("max_completion_tokens"),
        "max_prompt_tokens": overrides.get("max_prompt_tokens"),
        "truncation_strategy": overrides.get("truncation_strategy") or {"type": "auto", "last_messages": None},
        "incomplete_details": None,
        "usage": None,
        "response_format": effective["response_format"],
        "tool_choice": overrides.get("tool_choice", "auto"),
        "parallel_tool_calls": overrides.get("parallel_tool_calls", True),
    }


def _instructions(instructions: str | None, additional: str | None) -> str | None:
    return "\n\n".join(part for part in (instructions, additional) if part) or instructions


def state(run: Mapping[str, Any]) -> Resource:
    return {name: run[name] for name in STATE}


def is_terminal(run: Mapping[str, Any]) -> bool:
    return run["status"] in TERMINAL


def is_past_expiry(run: Mapping[str, Any], now: float) -> bool:
    return run["expires_at"] is not None and now >= run["expires_at"]


def started(run: Resource, now: int) -> Resource:
    """`started_at` is overwritten when a resumed run starts again (E.1.1)."""
    return run | {"status": "in_progress", "started_at": now}


def waiting_for_outputs(run: Resource, calls: Iterable[Mapping[str, str]]) -> Resource:
    """`calls` are {"id", "name", "arguments"}, arguments as the model wrote them."""
    return run | {
        "status": "requires_action",
        "required_action": {
            "type": "submit_tool_outputs",
            "submit_tool_outputs": {
                "tool_calls": [
                    {
                        "id": call["id"],
                        "type": "function",
                        "function": {"name": call["name"], "arguments": call["arguments"]},
                    }
                    for call in calls
                ]
            },
        },
    }


def requeued(run: Resource) -> Resource:
    return run | {"status": "queued", "required_action": None}


def cancelling(run: Resource) -> Resource:
    return run | {"status": "cancelling", "required_action": None}


def completed(run: Resource, now: int, usage: Resource) -> Resource:
    return _ended(run, "completed", usage) | {"completed_at": now}


def ended(run: Resource, ending: Ending, now: int, usage: Resource) -> Resource:
    moment = {"failed": "failed_at", "cancelled": "cancelled_at", "incomplete": "completed_at"}.get(ending.status)
    return (
        _ended(run, ending.status, usage)
        | {
            "last_error": ending.error,
            "incomplete_details": {"reason": ending.reason} if ending.reason in _INCOMPLETE_REASONS else None,
        }
        | ({moment: now} if moment else {})
    )


def _ended(run: Resource, status: Terminal, usage: Resource) -> Resource:
    return run | {"status": status, "expires_at": None, "required_action": None, "usage": usage}
