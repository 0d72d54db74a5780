"""The records of a tenant's files, in the partition `{tenant}/files`.

A record, the tenant's count of bytes and a mark for the sweeper of when the file expires change in one
commit, so that they never tell different stories. Bytes come before their record and go after it:
whatever happens in between leaves bytes without a record, which the sweeper removes.
"""

import asyncio
import random
from dataclasses import replace
from typing import Any

from domain.files import check_quota, is_expired
from domain.threads import tombstone
from errors import Conflict, NotFound, StoreUnavailable
from ports.documents import Change, Create, Delete, Document, Documents, Replace

ATTEMPTS = 30  # all changes of a tenant's files meet at its count of bytes

Resource = dict[str, Any]


def partition_of(tenant: str) -> str:
    return f"{tenant}/files"


def record(file: Resource, media_type: str, *, created_ms: int) -> Document:
    """Return the document of a new file; `created_ms`, Unix milliseconds, is its place in lists."""
    body = {"resource": file, "media_type": media_type}
    sort = f"{created_ms:013}-{file['id']}"
    return Document(file["id"], "file", body, sort=sort, terms={"purpose": file["purpose"]})


async def find(documents: Documents, tenant: str, file_id: str, *, now: float) -> Document:
    """Return the file's record. NotFound if this tenant has no such file, or it has expired (I.3.5)."""
    found = await documents.get(partition_of(tenant), file_id)
    if found is None or found.kind != "file" or is_expired(found.body["resource"], now):
        raise NotFound(f"No such File object: {file_id}", param="id")
    return found


async def add(documents: Documents, tenant: str, file: Document, *, quota: int) -> None:
    """Store the record of a file whose bytes are stored, unless it is there. InvalidRequest beyond the quota."""
    for attempt in range(ATTEMPTS):
        try:
            await documents.commit(partition_of(tenant), *await adding(documents, tenant, file, quota=quota))
        except Conflict:
            if await documents.get(partition_of(tenant), file.id):
                return
            await pause(attempt)
        else:
            return
    raise StoreUnavailable()


async def adding(documents: Documents, tenant: str, file: Document, *, quota: int) -> list[Change]:
    """Return the changes that add a file. A Conflict when they are committed means: decide again."""
    used = await _usage(documents, tenant)
    size = file.body["resource"]["bytes"]
    check_quota(size, used.body["bytes"], quota)
    changes = [Create(file), _counted(used, size)]
    if file.body["resource"]["expires_at"] is not None:
        changes.append(Create(_expiry(file.body["resource"])))
    return changes


async def remove(documents: Documents, tenant: str, file_id: str) -> bool:
    """Delete the record; return False if there was none. The caller deletes the bytes afterwards."""
    partition = partition_of(tenant)
    for attempt in range(ATTEMPTS):
        file = await documents.get(partition, file_id)
        if file is None or file.kind != "file":
            return False
        try:
            await documents.commit(partition, *_removing(file, await _usage(documents, tenant)))
        except Conflict:
            await pause(attempt)
        else:
            return True
    raise StoreUnavailable()


async def used_bytes(documents: Documents, tenant: str) -> int:
    return (await _usage(documents, tenant)).body["bytes"]


async def expired(documents: Documents, tenant: str, *, now: float, limit: int) -> list[str]:
    """Return the ids of files whose time is over, the longest first."""
    marks = await documents.list(partition_of(tenant), "file_expiry", limit=limit)
    return [mark.body["file_id"] for mark in marks if mark.body["expires_at"] <= now]


async def pause(attempt: int) -> None:
    """Let whoever won a race finish; many meet at one document, so wait longer each time."""
    await asyncio.sleep(random.uniform(0, 0.01 * (attempt + 1)))


def _removing(file: Document, used: Document) -> list[Change]:
    changes = [
        Delete(file.id, if_version=file.version),
        Create(tombstone(file)),
        _counted(used, -file.body["resource"]["bytes"]),
    ]
    if file.body["resource"]["expires_at"] is not None:
        changes.append(Delete(_expiry(file.body["resource"]).id))
    return changes


async def _usage(documents: Documents, tenant: str) -> Document:
    """Return the count of bytes, not yet stored if this is the tenant's first file."""
    id = f"{tenant}.file_usage"
    return await documents.get(partition_of(tenant), id) or Document(id, "file_usage", {"bytes": 0})


def _counted(used: Document, size: int) -> Change:
    counted = replace(used, body={"bytes": max(0, used.body["bytes"] + size)})
    return Replace(counted, used.version) if used.version else Create(counted)


def _expiry(file: Resource) -> Document:
    at = file["expires_at"]
    body = {"file_id": file["id"], "expires_at": at}
    return Document(f"{file['id']}.expiry", "file_expiry", body, sort=f"{at:012}-{file['id']}")
