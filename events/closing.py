"""How a run ends other than by an answer. One function for activity, sweeper and lazy expiry.

It works out from the log what is still open, ends it, and seals the log in one commit that takes
the log's next number: if somebody else took that number, it reads again.

Every run can be ended, whatever its record holds: what can't be worked out or stored is left out.
"""

import logging
from dataclasses import replace
from typing import Any

from domain import messages, run_steps, runs
from domain.runs import Ending
from domain.usage import total
from events.fold import LogState, fold
from events.log import Event, batch_document, run_event, step_event
from events.races import settle
from events.run_record import changed_run, lifetime_of, run_of, usage_so_far
from events.tail import next_number
from events.thread_commit import ThreadCommit
from ports.documents import Change, Create, Document, Documents, Replace
from texts import whole

logger = logging.getLogger("durable_assistants.runs")

Resource = dict[str, Any]

MAX_REASON = 2_000  # characters of a reason, where the whole ending couldn't be stored
# What a record of a wrong shape, or one that can't be stored, raises. Neither a lost race nor a store that is away.
_MISSHAPEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


async def close(
    documents: Documents, partition: str, thread_id: str, run_id: str, ending: Ending, *, now: float
) -> Resource | None:
    """End the run as `ending` says, unless it has ended already; return it, or None if it is gone.

    A run that somebody asked to cancel is cancelled, whatever `ending` says.
    """
    return await settle(lambda: _close(documents, partition, thread_id, run_id, ending, now=now))


async def _close(
    documents: Documents, partition: str, thread_id: str, run_id: str, ending: Ending, *, now: float
) -> Resource | None:
    document = await documents.get(partition, run_id)
    thread = await documents.get(partition, thread_id)
    if document is None or thread is None:
        return None
    run = run_of(document)
    if runs.is_terminal(run):
        return run
    if run["status"] == "cancelling":
        ending = Ending("cancelled")
    try:
        log = await fold(documents, partition, run_id)
        tool_step = await _open_tool_step(documents, partition, document)
        changes, closed = closing_changes(document, thread, log, tool_step, ending, now=now)
        await documents.commit(partition, *changes)
    except _MISSHAPEN as error:
        logger.error("run %s ends with less than it should: %s", run_id, error)
        changes, closed = least_changes(
            document, thread, await next_number(documents, partition, run_id), ending, now=now
        )
        await documents.commit(partition, *changes)
    logger.info("run %s %s", run_id, closed["status"])
    return closed


async def _open_tool_step(documents: Documents, partition: str, run: Document) -> Document | None:
    step_id = run.body["open_step"]
    return await documents.get(partition, step_id) if step_id else None


def closing_changes(
    document: Document, thread: Document, log: LogState, tool_step: Document | None, ending: Ending, *, now: float
) -> tuple[list[Change], Resource]:
    """Return the one commit that closes the run, and the run as it is then."""
    moment = int(now)
    closed = runs.ended(run_of(document), ending, moment, usage_so_far(document))
    commit = ThreadCommit(thread)
    events: list[Event] = []
    if log.message:
        events.append(_end_message(commit, log, ending, moment))
    if log.step:
        events.append(_end_message_step(commit, document, log, ending, moment))
    if tool_step:
        step = _ended(tool_step.body["resource"], ending, moment, _turn_usage(document))
        events.append(step_event(step))
        commit.add(Replace(replace(tool_step, body=tool_step.body | {"resource": step}), tool_step.version))
    if log.calls and log.calls["id"] != document.body["open_step"]:  # the model was still writing them
        step = _ended(log.calls, ending, moment, _turn_usage(document))
        commit.append("step", step, {"run_id": step["run_id"]})
        events.append(step_event(step))
    events.append(run_event(closed))
    batch = batch_document(closed["id"], log.next, events, lifetime=lifetime_of(document))
    commit.add(Create(batch), changed_run(document, closed, now=now, open_step=None))
    return commit.changes(active_run_id=None), closed


def least_changes(
    document: Document, thread: Document, number: int, ending: Ending, *, now: float
) -> tuple[list[Change], Resource]:
    """As `closing_changes`, of the run's end alone: no count, nothing that is open, words that can be stored."""
    said = ending.error or {}
    error = {"code": "server_error", "message": whole(str(said.get("message")))[:MAX_REASON]} if said else None
    closed = runs.ended(run_of(document), replace(ending, error=error), int(now), total([]))
    commit = ThreadCommit(thread)
    batch = batch_document(closed["id"], number, [run_event(closed)], lifetime=lifetime_of(document))
    commit.add(Create(batch), changed_run(document, closed, now=now, open_step=None, usages={}))
    return commit.changes(active_run_id=None), closed


def _end_message(commit: ThreadCommit, log: LogState, ending: Ending, now: int) -> Event:
    assert log.message
    if ending.status == "incomplete":
        reason = "content_filter" if ending.reason == "content_filter" else "max_tokens"
    else:
        reason = f"run_{ending.status}"
    message = messages.incomplete(log.message, log.parts, reason, now)
    commit.append("message", message, {"run_id": message["run_id"]})
    return "thread.message.incomplete", message


def _end_message_step(commit: ThreadCommit, document: Document, log: LogState, ending: Ending, now: int) -> Event:
    assert log.step
    opened = log.step
    if log.message:  # a delivery that took over streamed the same step under a new message id
        opened = opened | {"step_details": run_steps.message_creation(log.message["id"])}
    step = _ended(opened, ending, now, _turn_usage(document))
    commit.append("step", step, {"run_id": step["run_id"]})
    return step_event(step)


def _turn_usage(run: Document) -> Resource:
    return run.body["usages"].get(str(run.body["turn"])) or total([])


def _ended(step: Resource, ending: Ending, now: int, usage: Resource) -> Resource:
    error = ending.error if ending.status == "failed" else None
    return run_steps.ended(step, run_steps.STEP_STATUS[ending.status], now, usage=usage, error=error)
