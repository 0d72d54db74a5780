"""The one commit that ends a turn of the model: last batch, the turn's record, the run.

The record lets any later delivery of the turn answer without doing it again. Its body:
`turn`, `outcome`, `said` (parts of messages that ended before the turn did), `parts` (of the message that was open),
`message` and `step` (as they were
opened; None if nothing was said), `calls` ({"id", "name", "arguments"}, of built-in tools also
`tool`: its type), `calls_step` (the id of their step), `usage`, `next` (number of
the log batch after this commit).
"""

import logging
from collections.abc import Mapping
from typing import Any

from activities.listen import Spoken
from activities.outcomes import Outcome, closed
from activities.tool_results import ours
from domain import messages, run_steps, runs
from domain.usage import as_usage, counted
from events.addresses import turn_id
from events.log import Event, run_event, step_event
from events.run_record import changed_run, run_of, with_usage
from events.thread_commit import ThreadCommit
from events.turn_stream import TurnStream
from ids import derived_id
from ports.documents import Create, Document
from tools.table import Table, named

logger = logging.getLogger("durable_assistants.runs")

Resource = dict[str, Any]
Calls = list[dict[str, str]]


def recorded_outcome(record: Document, run: Document) -> Outcome:
    """Return the outcome of a turn that was finished before, as the run stands now."""
    match record.body["outcome"]:
        case "calls":
            resource = run_of(run)
            if run.body["turn"] != record.body["turn"]:
                return {"outcome": "submitted"}
            if resource["status"] == "requires_action":
                return {"outcome": "requires_action", "expires_at": resource["expires_at"]}
            return _calls(record, resource) if run.body["open_step"] else {"outcome": "submitted"}
        case "answered":
            return {"outcome": "answered"}
        case reason:
            return closed(runs.incomplete(reason))


def _calls(record: Document, run: Resource) -> Outcome:
    indexes = ours(record.body["calls"])
    asks_client = len(indexes) < len(record.body["calls"])
    return {"outcome": "calls", "indexes": indexes, "asks_client": asks_client, "expires_at": run["expires_at"]}


async def finish_turn(
    run: Document, thread: Document | None, stream: TurnStream, spoken: Spoken, tools: Table, *, now: float
) -> Outcome:
    """Commit the end of the turn. Raises Conflict; nothing is changed then.

    `thread` is given when the model called functions: the calls' step is listed from now on.
    """
    stream.end_text()
    said = messages.said([*stream.log.said, *_said(stream)])
    usage = as_usage(spoken.ending.usage or counted(spoken.request, said, spoken.ending.calls))
    if spoken.calls and thread:
        return await _open_calls(run, thread, stream, _named(run, stream, spoken, tools), usage, tools, now=now)
    outcome = {"length": "max_completion_tokens", "content_filter": "content_filter"}.get(
        spoken.ending.finish, "answered"
    )
    if outcome == "answered":
        stream.open_message(int(now))  # an empty answer is a message too
    record = _record(stream, outcome, [], usage)
    change = changed_run(run, run_of(run), now=now, usages=with_usage(run, stream.turn, usage), turn=stream.turn)
    await stream.documents.commit(stream.partition, stream.pending_batch([]), Create(record), change)
    return recorded_outcome(record, run)


async def _open_calls(
    document: Document,
    thread: Document,
    stream: TurnStream,
    calls: Calls,
    usage: Resource,
    tools: Table,
    *,
    now: float,
) -> Outcome:
    """Commit the step of the calls. If all are the client's, the run waits for it from now on."""
    moment = int(now)
    commit = ThreadCommit(thread)
    announced = _announced(stream)
    entries = _entries(calls, announced, tools)
    if not announced or entries is None:
        stream.abandon_calls(moment)
        announced, entries = [], _entries(calls, [], tools) or []
    step_id = stream.calls_step_id
    step = stream.log.calls if announced else None
    events: list[Event] = []
    if step is None:
        events += _end_speech(commit, stream, moment)
        step = run_steps.opened(step_id, stream.run, run_steps.tool_calls([]), moment)
        events += [step_event(step, "created"), step_event(step)]
    events += [("thread.run.step.delta", delta) for delta in run_steps.call_deltas(step_id, entries)]
    run = run_of(document)
    if not ours(calls):
        run = runs.waiting_for_outputs(run, calls)
        events.append(run_event(run))

    whole = step | {"step_details": run_steps.tool_calls(_shown(call, tools) for call in calls)}
    commit.append("step", whole, {"run_id": run["id"]})
    usages = with_usage(document, stream.turn, usage)
    commit.add(
        stream.pending_batch(events),
        Create(record := _record(stream, "calls", calls, usage, step_id)),
        changed := changed_run(document, run, now=now, usages=usages, turn=stream.turn, open_step=step_id),
    )
    await stream.documents.commit(stream.partition, *commit.changes())
    logger.info("run %s %s", run["id"], "calls tools" if ours(calls) else "requires_action")
    return recorded_outcome(record, changed.document)


def _announced(stream: TurnStream) -> list[Resource]:
    """Return the calls that this delivery has streamed while the model wrote them, as they were shown."""
    return stream.log.calls["step_details"]["tool_calls"] if stream.calling and stream.log.calls else []


def _entries(calls: Calls, announced: list[Resource], tools: Table) -> list[list[Resource]] | None:
    """Return for each call the entries of deltas that bring what was not streamed of it; None if others were."""
    entries: list[list[Resource]] = []
    for index, call in enumerate(calls):
        shown = announced[index] if index < len(announced) else None
        if shown and shown["type"] != call.get("tool"):
            return None
        if "tool" not in call:
            entries.append(run_steps.opening(call))
            continue
        tool = tools[call["tool"]]
        rest = tool.rest(shown, call["arguments"])
        if rest is None:
            return None
        entries.append(rest if shown else [tool.begun(call["id"]), *rest])
    return entries if len(announced) <= len(calls) else None


def _shown(call: dict[str, str], tools: Table) -> Resource:
    if "tool" in call:
        return tools[call["tool"]].shown(call["id"], call["arguments"])
    return run_steps.function_call(call)


def _end_speech(commit: ThreadCommit, stream: TurnStream, now: int) -> list[Event]:
    """End what was said before the calls: an own message is complete, a predecessor's is given up."""
    if stream.speaking:
        return stream.speech_ended(commit, now)
    stream.abandon_speech(now)
    return []


def _record(
    stream: TurnStream, outcome: str, calls: Calls, usage: Mapping[str, Any], calls_step: str | None = None
) -> Document:
    body = {
        "turn": stream.turn,
        "outcome": outcome,
        "parts": _said(stream),
        "said": stream.log.said,
        "message": stream.log.message if stream.speaking else None,
        "step": stream.log.step if stream.speaking else None,
        "calls": calls,
        "calls_step": calls_step,
        "usage": dict(usage),
        "next": stream.log.next + 1,
    }
    return Document(turn_id(stream.run["id"], stream.turn), "turn", body)


def _said(stream: TurnStream) -> list[Resource]:
    return stream.log.parts if stream.speaking else []


def _named(run: Document, stream: TurnStream, spoken: Spoken, tools: Table) -> Calls:
    """Every call has an id of its own, also where the endpoint gives none or the same one twice.

    One that was streamed while the model wrote it keeps the id that it was announced with.
    """
    announced = _announced(stream)
    types = {name: type for type, name in named(tools, run_of(run)["tools"]).items()}
    calls: Calls = []
    for call in spoken.calls:
        taken = {other["id"] for other in calls}
        own = call.id if call.id and call.id not in taken else derived_id("call", run.id, stream.turn, call.index)
        if type := types.get(call.name):
            own = announced[call.index]["id"] if call.index < len(announced) else own
            arguments = tools[type].arguments(call.arguments)
            calls.append({"id": own, "name": call.name, "arguments": arguments, "tool": type})
        else:
            calls.append({"id": own, "name": call.name, "arguments": call.arguments})
    return calls
