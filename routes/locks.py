"""Meeting a thread's lock: a lock whose run is over or asleep is seen to before anybody is refused.

Who meets the lock of a run that is being cancelled waits for its end: programs that cancel go on at once.
"""

import time

from domain import runs
from errors import InvalidRequest, NotFound
from events.addresses import active_run_of, batch_id
from events.overdue import tend
from events.run_record import run_of
from events.tail import next_number
from ports.documents import Document
from routes.operation import Call

CANCEL_PATIENCE = 2.0  # seconds; a model call is given up at once, but a nudge may be late


async def load_thread(call: Call, partition: str, thread_id: str) -> Document:
    """Return the thread's document. NotFound if this tenant has no such thread."""
    thread = await call.documents.get(partition, thread_id)
    if thread is None:
        raise NotFound(f"No thread found with id '{thread_id}'.")
    return thread


async def load_unlocked_thread(call: Call, partition: str, thread_id: str, refusal: str) -> Document:
    """Return the thread if no run is active on it.

    `refusal` is the text of the InvalidRequest otherwise, with {thread} and {run}: clients take the
    run's id out of it (E.3.1).
    """
    thread = await load_thread(call, partition, thread_id)
    run_id = active_run_of(thread)
    if run_id is None:
        return thread
    if await _has_ended(call, partition, run_id):
        thread = await load_thread(call, partition, thread_id)
        run_id = active_run_of(thread)
    if run_id:
        raise InvalidRequest(refusal.format(thread=thread_id, run=run_id))
    return thread


async def _has_ended(call: Call, partition: str, run_id: str) -> bool:
    """See to the run that holds the lock; return whether it may have let go of it."""
    run = await call.documents.get(partition, run_id)
    # Over since the thread was read: its lock went with it.
    if run is None or runs.is_terminal(run_of(run)):
        return True
    if await tend(call.documents, call.hub, partition, run, now=time.time()):
        return True
    if run_of(run)["status"] != "cancelling":
        return False
    await _wait_for_end(call, partition, run_id)
    return True


async def _wait_for_end(call: Call, partition: str, run_id: str) -> None:
    # The number first: whatever ends the run after the look at it takes that very number, and nothing else does.
    number = await next_number(call.documents, partition, run_id)
    run = await call.documents.get(partition, run_id)
    if run and run_of(run)["status"] == "cancelling":
        await call.documents.wait_for(partition, batch_id(run_id, number), timeout=CANCEL_PATIENCE)


RUN_REFUSED = "Thread {thread} already has an active run {run}."
MESSAGE_REFUSED = "Can't add messages to {thread} while a run {run} is active."
