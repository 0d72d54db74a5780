"""What a client submits for the calls of a run that waits (E.4)."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from errors import InvalidRequest

MAX_OUTPUT_BYTES = 1_000_000  # as JSON, of all outputs together: they are one atomic commit (E.4.8)


def expected_call_ids(run: dict[str, Any]) -> list[str]:
    """Return the ids of the calls that wait. InvalidRequest if the run is not in that state."""
    if run["status"] != "requires_action":
        raise InvalidRequest(f'Runs in status "{run["status"]}" do not accept tool outputs.')
    return [call["id"] for call in run["required_action"]["submit_tool_outputs"]["tool_calls"]]


def outputs_by_call(run: dict[str, Any], given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return call id → output. `given` are (call id, output); all calls, and each once, or InvalidRequest."""
    expected = expected_call_ids(run)
    got = [call_id for call_id, _ in given]
    if sorted(got) != sorted(expected):
        raise InvalidRequest(f"Expected tool outputs for call_ids {expected}, got {[g[:100] for g in got[:130]]}")
    size = len(to_json([output for _, output in given]))
    if size > MAX_OUTPUT_BYTES:
        raise InvalidRequest(
            f"The tool outputs take {size} bytes together; at most {MAX_OUTPUT_BYTES} can be submitted at once.",
            param="tool_outputs",
        )
    return dict(given)
