"""Meeting a thread's lock: a lock whose run is over or asleep is seen to before anybody is refused."""

import time

from errors import InvalidRequest, NotFound
from events.addresses import active_run_of
from events.overdue import tend
from ports.documents import Document
from routes.operation import Call


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
    run = await call.documents.get(partition, run_id)
    if run and await tend(call.documents, call.hub, partition, run, now=time.time()):
        thread = await load_thread(call, partition, thread_id)
        run_id = active_run_of(thread)
    if run_id:
        raise InvalidRequest(refusal.format(thread=thread_id, run=run_id))
    return thread


RUN_REFUSED = "Thread {thread} already has an active run {run}."
MESSAGE_REFUSED = "Can't add messages to {thread} while a run {run} is active."
