"""What calls of built-in tools gave: their records, and the step that shows them once all are there.

A record's body: `turn`, `index` (of the call in its turn), `text` (for the model), `outputs` (for the step). It
is of use until its run is over, and expires with the run's log.
"""

from collections.abc import Sequence
from typing import Any

from domain import run_steps
from events.addresses import call_record_id
from events.log import KEEP_SECONDS, Event
from ports.documents import Document, Documents
from tools.table import Table
from tools.tool import ToolResult

Resource = dict[str, Any]


def call_record(id: str, turn: int, index: int, result: ToolResult, lifetime: float) -> Document:
    body = {"turn": turn, "index": index, "text": result.text, "outputs": result.outputs}
    return Document(id, "tool_call", body, ttl=int(lifetime) + KEEP_SECONDS)


def ours(calls: Sequence[Resource]) -> list[int]:
    """Return the indices of those calls of a turn's record that are of built-in tools."""
    return [index for index, call in enumerate(calls) if "tool" in call]


async def results_of(documents: Documents, partition: str, run_id: str, turn: Document | None) -> dict[int, ToolResult]:
    """Return what the calls of a turn gave, by their index. `turn` is the turn's record."""
    if turn is None:
        return {}
    number = turn.body["turn"]
    records = {
        index: await documents.get(partition, call_record_id(run_id, number, index))
        for index in ours(turn.body["calls"])
    }
    return {
        index: ToolResult(record.body["text"], record.body["outputs"]) if record else ToolResult("")
        for index, record in records.items()
    }


def with_results(
    step: Resource, turn: Document, results: dict[int, ToolResult], tools: Table
) -> tuple[Resource, list[Event]]:
    """Return the step with its calls' outputs, and the events that stream them."""
    calls = turn.body["calls"]
    shown, entries = {}, []
    for index, call in enumerate(calls):
        tool = tools.get(call["tool"]) if "tool" in call else None
        outputs = results[index].outputs if tool else []
        entries.append(tool.closing(outputs) if tool else [])
        if tool:
            shown[index] = tool.shown(call["id"], call["arguments"], outputs)
    deltas = run_steps.call_deltas(step["id"], entries)
    return run_steps.with_calls(step, shown), [("thread.run.step.delta", delta) for delta in deltas]
