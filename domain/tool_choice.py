"""Checks on a run's tools that need more than the request (E.7)."""

from typing import Any

from errors import InvalidRequest


def check_tool_choice(run: dict[str, Any]) -> None:
    """InvalidRequest if the run is forced to call a tool it does not have (E.7.1)."""
    choice = run["tool_choice"]
    if not isinstance(choice, dict):
        return
    wanted = _named(choice)
    if wanted not in {_named(tool) for tool in run["tools"]}:
        raise InvalidRequest(
            f"Invalid value for 'tool_choice': the run has no {wanted}.", param="tool_choice", code="invalid_value"
        )


def _named(tool: dict[str, Any]) -> str:
    return f"function '{tool['function']['name']}'" if tool["type"] == "function" else f"{tool['type']} tool"
