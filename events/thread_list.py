"""A thread's entry in the list of threads, which lives in another partition than the thread.

A change of the thread and its entry can't be one commit. So the thread's own commit marks it as
unfinished until its entry is right: what is cut in between, the sweeper sees to.
"""

from contextlib import suppress
from dataclasses import replace

from domain.threads import entry_id, metadata_terms
from errors import StoreUnavailable
from events.addresses import tenant_of
from events.races import settle
from ports.documents import Document, Documents, Replace


def list_partition(tenant: str) -> str:
    return f"{tenant}/threads"


def changed_thread(thread: Document, resource: dict[str, object], *, now: float) -> Replace:
    """Return the change that makes `resource` the stored thread, and its entry one to be seen to."""
    body = thread.body | {"resource": resource}
    return Replace(replace(thread, body=body, unfinished_since=now), thread.version)


async def list_thread(documents: Documents, partition: str, thread_id: str) -> None:
    """Make the list show the thread as it is now, if the store allows; else the sweeper will."""
    with suppress(StoreUnavailable):
        await update_entry(documents, partition, thread_id)


async def update_entry(documents: Documents, partition: str, thread_id: str) -> None:
    """Make the list show the thread as it is now. Raises StoreUnavailable."""
    await settle(lambda: _update_entry(documents, partition, thread_id))


async def _update_entry(documents: Documents, partition: str, thread_id: str) -> None:
    # The entry is read first: whoever changes the thread after that also changes the entry, and then one
    # of the two commits is a Conflict.
    listed = list_partition(tenant_of(partition))
    entry = await documents.get(listed, entry_id(thread_id))
    thread = await documents.get(partition, thread_id)
    if thread is None or thread.unfinished_since is None:
        return
    resource = thread.body["resource"]
    if entry and entry.body["resource"] != resource:
        current = replace(entry, body={"resource": resource}, terms=metadata_terms(resource["metadata"]))
        await documents.commit(listed, Replace(current, entry.version))
    await documents.commit(partition, Replace(replace(thread, unfinished_since=None), thread.version))
