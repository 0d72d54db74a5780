"""Timer: deletes files whose time is over, and bytes that belong to nothing (any more).

An upload that was cut by a crash leaves bytes without a record; so does a delete that could reach only
one of the two stores, and an upload of parts that was never completed.
"""

import logging
import time

import azure.durable_functions as df
import azure.functions as func

import wiring
from files import records
from ports.blobs import Blobs
from ports.documents import Documents
from timers.in_time import in_time

logger = logging.getLogger("durable_assistants.sweeper")

bp = df.Blueprint()

# Seconds for which bytes may be without a record: longer than any upload takes.
ORPHAN_AGE = 3_600
PAGE = 100


@bp.timer_trigger(arg_name="timer", schedule="0 30 */6 * * *")
async def sweep_files(timer: func.TimerRequest) -> None:
    await in_time(sweep(wiring.documents(), wiring.blobs(), now=time.time()))


async def sweep(documents: Documents, blobs: Blobs, *, now: float) -> None:
    """Delete expired files and orphaned bytes of every tenant. Each costs its blob's place in a list and a read."""
    tenants: set[str] = set()
    async for blob in blobs.list(older_than=now - ORPHAN_AGE):
        if blob.tenant not in tenants:
            tenants.add(blob.tenant)
            await _expire(documents, blobs, blob.tenant, now=now)
        if await documents.get(records.partition_of(blob.tenant), blob.id) is None:
            await blobs.delete(blob.tenant, blob.id)
            logger.info("bytes without a record deleted: %s", blob.id)


async def _expire(documents: Documents, blobs: Blobs, tenant: str, *, now: float) -> None:
    while expired := await records.expired(documents, tenant, now=now, limit=PAGE):
        for file_id in expired:
            await records.remove(documents, tenant, file_id)
            await blobs.delete(tenant, file_id)
            logger.info("expired file deleted: %s", file_id)
