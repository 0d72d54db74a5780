"""Run steps (C.7): what they look like, how they end, how a tool call's arrival is streamed (F.3)."""

from collections.abc import Iterable, Mapping
from typing import Any

Resource = dict[str, Any]

# An incomplete run's step still completed (E.1).
STEP_STATUS = {"cancelled": "cancelled", "failed": "failed", "expired": "expired", "incomplete": "completed"}
ERROR_CODES = ("server_error", "rate_limit_exceeded")  # a run has one more, which strict clients refuse in a step
_MOMENT = {"cancelled": "cancelled_at", "failed": "failed_at", "completed": "completed_at", "expired": "expired_at"}


def opened(step_id: str, run: Resource, details: Resource, now: int) -> Resource:
    return {
        "id": step_id,
        "object": "thread.run.step",
        "created_at": now,
        "run_id": run["id"],
        "assistant_id": run["assistant_id"],
        "thread_id": run["thread_id"],
        "type": details["type"],
        "status": "in_progress",
        "cancelled_at": None,
        "completed_at": None,
        "expires_at": run["expires_at"],
        "expired_at": None,
        "failed_at": None,
        "last_error": None,
        "step_details": details,
        "usage": None,
        "metadata": {},
    }


def message_creation(message_id: str) -> Resource:
    return {"type": "message_creation", "message_creation": {"message_id": message_id}}


def tool_calls(calls: Iterable[Resource]) -> Resource:
    return {"type": "tool_calls", "tool_calls": list(calls)}


def function_call(call: Mapping[str, str], output: str | None = None) -> Resource:
    """`call` is {"id", "name", "arguments"}; `output` stays null until it is submitted (C.7.1)."""
    function = {"name": call["name"], "arguments": call["arguments"], "output": output}
    return {"id": call["id"], "type": "function", "function": function}


def ended(step: Resource, status: str, now: int, *, usage: Resource | None, error: Resource | None = None) -> Resource:
    if error and error["code"] not in ERROR_CODES:
        error = error | {"code": "server_error"}
    return step | {"status": status, "expires_at": None, _MOMENT[status]: now, "usage": usage, "last_error": error}


def with_calls(step: Resource, calls: Mapping[int, Resource]) -> Resource:
    """Return the step with other calls at some indices."""
    shown = step["step_details"]["tool_calls"]
    return step | {"step_details": tool_calls(calls.get(index, call) for index, call in enumerate(shown))}


def with_outputs(step: Resource, outputs: Mapping[str, str]) -> Resource:
    """Return the step with each function call's output; `outputs` is by call id."""
    calls = [
        call | {"function": call["function"] | {"output": outputs[call["id"]]}} if call["id"] in outputs else call
        for call in step["step_details"]["tool_calls"]
    ]
    return step | {"step_details": tool_calls(calls)}


def opening(call: Mapping[str, str]) -> list[Resource]:
    """Return the entries of deltas, without index, that announce a function call: id and name exactly once (F.4.1)."""
    head = {"name": call["name"], "arguments": "", "output": None}
    return [
        {"id": call["id"], "type": "function", "function": head},
        {"type": "function", "function": {"arguments": call["arguments"]}},
    ]


def call_deltas(step_id: str, entries: Iterable[Iterable[Resource]]) -> list[Resource]:
    """Return the deltas of a step's calls; `entries` are those of each call, in the calls' order."""
    return [call_delta(step_id, index, entry) for index, of_call in enumerate(entries) for entry in of_call]


def grown(step: Resource, delta: Resource) -> Resource:
    """Return a step of calls with a delta added, as clients do (F.4)."""
    calls = list(step["step_details"]["tool_calls"])
    for piece in delta["delta"]["step_details"]["tool_calls"]:
        index, kind = piece["index"], piece["type"]
        call = {name: value for name, value in piece.items() if name != "index"}
        if index == len(calls):
            calls.append(call)
        else:
            calls[index] = calls[index] | {kind: _added(calls[index][kind], call[kind])}
    return step | {"step_details": tool_calls(calls)}


def _added(known: Resource, more: Resource) -> Resource:
    texts = {name: known[name] + text for name, text in more.items() if isinstance(text, str)}
    outputs = [{k: v for k, v in each.items() if k != "index"} for each in more.get("outputs", ())]
    return known | texts | ({"outputs": known["outputs"] + outputs} if outputs else {})


def call_delta(step_id: str, index: int, entry: Resource) -> Resource:
    details = {"type": "tool_calls", "tool_calls": [{"index": index, **entry}]}
    return {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}}
