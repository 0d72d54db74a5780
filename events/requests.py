"""What a client's request does to a run that exists: cancel, submit outputs, change metadata.

Each is one commit that takes the log's next number; a lost race is decided again from what is
stored then. A cancel that finds nothing under way also ends the run.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from domain import run_steps, runs
from domain.tool_outputs import outputs_by_call
from errors import Conflict, InvalidRequest, NotFound, StoreUnavailable
from events.closing import close
from events.lifetimes import is_over
from events.log import batch_document, ended_step_event, run_event
from events.races import settle
from events.run_record import changed_run, lifetime_of, run_of
from events.tail import next_number
from ports.documents import CommitTooLarge, Create, Document, Documents, Replace

logger = logging.getLogger("durable_assistants.runs")

Resource = dict[str, Any]

# Whoever takes up a turn makes the run in_progress, with the number that a cancel would take: in these states
# nobody is at work on it.
_NOTHING_UNDER_WAY = ("queued", "requires_action")


@dataclass(frozen=True, slots=True)
class Requested:
    """The run after a request's commit, and that commit's place in the log (None: nothing was written)."""

    run: Document
    batch: int | None = None


async def cancel(documents: Documents, partition: str, run_id: str, *, now: float) -> Requested:
    """Ask the run to stop. InvalidRequest if it is over (E.5.2); a second request changes nothing (E.5.3).

    A run with nothing under way is over, and its thread free, when this returns; returned is the run as it
    was `cancelling` (E.5.1), so that clients see what they know.
    """
    return await settle(lambda: _cancel(documents, partition, run_id, now=now))


async def _cancel(documents: Documents, partition: str, run_id: str, *, now: float) -> Requested:
    document = await _load_unexpired(documents, partition, run_id, now=now)
    run = run_of(document)
    if run["status"] == "cancelling":
        return Requested(document)
    if runs.is_terminal(run):
        raise InvalidRequest(f"Cannot cancel run with status '{run['status']}'.")
    idle = run["status"] in _NOTHING_UNDER_WAY
    run = runs.cancelling(run)
    number = await next_number(documents, partition, run_id)
    batch = batch_document(run_id, number, [run_event(run)], lifetime=lifetime_of(document))
    _, stored = await documents.commit(partition, Create(batch), changed_run(document, run, now=now))
    logger.info("run %s cancelling", run_id)
    if idle:
        # The cancel is stored: if the store goes away just now, the run's orchestration ends it.
        with suppress(StoreUnavailable):
            await close(documents, partition, run["thread_id"], run_id, runs.Ending("cancelled"), now=now)
    return Requested(stored, number)


async def submit(
    documents: Documents, partition: str, run_id: str, given: Sequence[tuple[str, str]], *, now: float
) -> Requested:
    """Store the outputs, (call id, output) each, and put the run back into the queue (E.4)."""
    return await settle(lambda: _submit(documents, partition, run_id, given, now=now))


async def _submit(
    documents: Documents, partition: str, run_id: str, given: Sequence[tuple[str, str]], *, now: float
) -> Requested:
    document = await _load_unexpired(documents, partition, run_id, now=now)
    outputs = outputs_by_call(run_of(document), given)
    step = await documents.get(partition, document.body["open_step"])
    if step is None:
        raise Conflict  # the thread is being deleted
    requested = await _requeue(documents, partition, document, step, outputs, now=now)
    logger.info("run %s queued", run_id)
    return requested


async def _load_unexpired(documents: Documents, partition: str, run_id: str, *, now: float) -> Document:
    """Return the run; one whose time is over is closed first, however late its timer is (E.2.3)."""
    document = await load_run(documents, partition, run_id)
    run = run_of(document)
    if runs.is_terminal(run) or not is_over(run, now):
        return document
    await close(documents, partition, run["thread_id"], run_id, runs.Ending("expired"), now=now)
    return await load_run(documents, partition, run_id)


async def _requeue(
    documents: Documents, partition: str, document: Document, step: Document, outputs: dict[str, str], *, now: float
) -> Requested:
    run = runs.requeued(run_of(document))
    usage = document.body["usages"][str(document.body["turn"])]
    done = run_steps.with_outputs(step.body["resource"], outputs)
    done = run_steps.ended(done, "completed", int(now), usage=usage)
    number = await next_number(documents, partition, document.id)
    # step.completed comes before run.queued (F.6).
    batch = batch_document(
        document.id, number, [ended_step_event(done), run_event(run)], lifetime=lifetime_of(document)
    )
    changes = (
        changed_run(document, run, now=now, open_step=None),
        Create(batch),
        Replace(replace(step, body=step.body | {"resource": done}), step.version),
    )
    try:
        stored = await documents.commit(partition, *changes)
    except CommitTooLarge as error:  # beside a run with large instructions there is less room
        raise InvalidRequest(f"The tool outputs are too large to be stored: {error}", param="tool_outputs") from None
    except ValueError as error:
        raise InvalidRequest(f"The tool outputs can't be stored: {error}", param="tool_outputs") from None
    return Requested(stored[0], number)


async def modify(documents: Documents, partition: str, run_id: str, metadata: dict[str, str]) -> Document:
    """Replace the run's metadata, in whatever state it is (E.1.2)."""

    async def replace_metadata() -> Document:
        document = await load_run(documents, partition, run_id)
        body = document.body | {"resource": run_of(document) | {"metadata": metadata}}
        (stored,) = await documents.commit(partition, Replace(replace(document, body=body), document.version))
        return stored

    return await settle(replace_metadata)


async def load_run(documents: Documents, partition: str, run_id: str) -> Document:
    """Return the run. NotFound if the thread or the run is missing; the thread is named first (J.3.2)."""
    document = await documents.get(partition, run_id)
    if document is None:
        thread_id = partition.rpartition("/")[2]
        missing = "run" if await documents.get(partition, thread_id) else "thread"
        raise NotFound(f"No {missing} found with id '{run_id if missing == 'run' else thread_id}'.")
    return document
