"""Runs and messages as the API shows them, for tests of pure functions."""

from typing import Any

from domain.runs import begin

ASSISTANT: dict[str, Any] = {
    "id": "asst_1",
    "model": "m",
    "instructions": "Be brief.",
    "tools": [],
    "temperature": 1.0,
    "top_p": 1.0,
    "reasoning_effort": None,
    "response_format": "auto",
}


def a_run(**overrides: Any) -> dict[str, Any]:
    return begin("run_1", "thread_1", ASSISTANT, overrides, now=1_700_000_000, lifetime=600)


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": {"value": text, "annotations": []}}


def a_message(number: int, *content: str | dict[str, Any], role: str = "user", run_id: str | None = None) -> Any:
    parts = [text_part(part) if isinstance(part, str) else part for part in content]
    return {"id": f"msg_{number}", "role": role, "run_id": run_id, "content": parts}


def a_function(name: str, **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": None, "parameters": None, **members}}
