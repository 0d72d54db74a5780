"""Uploads: a large file in parts, completed or cancelled (B.5, I.4).

Each part is a blob with a document of its own. Documents of uploads and parts expire by themselves;
what then has bytes but no document is swept.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import batched

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

import wiring
from domain import uploads
from domain.files import MAX_PART, base_name, check_purpose, check_quota, media_type, new_file, too_large
from errors import Conflict, InvalidRequest, NotFound, StoreUnavailable
from files import records
from ids import new_id
from ports.documents import Create, Delete, Document, Replace
from routes.files import FORM, discard, limited
from routes.lookup import path_id
from routes.moments import moments
from routes.multipart import read_parts
from routes.operation import Call, operation, reply
from schemas.upload import CompleteUpload, CreateUpload

bp = df.Blueprint()

KEPT = 24 * 3_600  # seconds for which an upload is remembered after its time, to say what became of it
PARTS_KEPT = 3_600  # and its parts: one may be in the middle of being completed
AT_A_TIME = 50  # parts deleted in one commit


@operation(bp, "POST", "uploads")
async def create_upload(call: Call) -> Response:
    body = await call.body(CreateUpload)
    check_purpose(body.purpose)
    tenant, quota = call.principal.tenant, call.settings.files_quota_bytes
    if quota:
        check_quota(body.bytes, await records.used_bytes(call.documents, tenant), quota)
    now = int(time.time())
    upload = uploads.new_upload(new_id("upload"), base_name(body.filename), body.bytes, body.purpose, now=now)
    stored = {
        "resource": upload,
        "media_type": media_type(body.mime_type, upload["filename"]),
        "lifetime": body.expires_after and body.expires_after.seconds,
        "part_ids": None,
    }
    document = Document(upload["id"], "upload", stored, ttl=uploads.LIFETIME + KEPT)
    await call.documents.commit(records.partition_of(tenant), Create(document))
    return reply(upload)


@operation(bp, "POST", "uploads/{upload_id}/parts")
async def add_upload_part(call: Call) -> Response:
    tenant, upload_id = call.principal.tenant, path_id(call, "upload", "upload_id")
    upload = (await _load(call, upload_id)).body["resource"]
    uploads.check_pending(upload, "add parts to")
    partition = records.partition_of(tenant)
    stored = sum(part.body["bytes"] for part in await _parts_of(call, upload_id))
    uploads.check_room(stored, upload["bytes"])
    now = time.time()
    part = uploads.new_part(new_id("part"), upload_id, now=int(now))
    try:
        size = await _receive(call, part["id"])
    except BaseException:
        await discard(tenant, part["id"])
        raise
    ttl = int(upload["expires_at"] - now) + PARTS_KEPT
    terms = {"upload_id": upload_id}
    document = Document(part["id"], "part", {"resource": part, "bytes": size}, part["id"], terms, ttl=ttl)
    await call.documents.commit(partition, Create(document))
    return reply(part)


@operation(bp, "POST", "uploads/{upload_id}/complete")
async def complete_upload(call: Call) -> Response:
    """Join the parts to a file. Asked again for the same parts, as after a lost answer, answer the same."""
    upload_id = path_id(call, "upload", "upload_id")
    body = await call.body(CompleteUpload)
    upload = await _load(call, upload_id)
    if not _is_completed(upload, body.part_ids):
        try:
            upload = await _complete(call, upload, body)
        except InvalidRequest:
            # Another request for the same parts may have been faster and have removed them.
            upload = await _load(call, upload_id)
            if not _is_completed(upload, body.part_ids):
                raise
    return reply(upload.body["resource"])


@operation(bp, "POST", "uploads/{upload_id}/cancel")
async def cancel_upload(call: Call) -> Response:
    upload_id = path_id(call, "upload", "upload_id")
    partition = records.partition_of(call.principal.tenant)
    for attempt in range(records.ATTEMPTS):
        upload = await _load(call, upload_id)
        uploads.check_pending(upload.body["resource"], "cancel")
        cancelled = upload.body["resource"] | {"status": "cancelled"}
        try:
            await call.documents.commit(
                partition, Replace(replace(upload, body=upload.body | {"resource": cancelled}), upload.version)
            )
        except Conflict:
            await records.pause(attempt)
            continue
        await _drop_parts(call, upload_id)
        return reply(cancelled)
    raise StoreUnavailable


async def _load(call: Call, upload_id: str) -> Document:
    """Return the upload as it is now. NotFound if this tenant has none of this id."""
    found = await call.documents.get(records.partition_of(call.principal.tenant), upload_id)
    if found is None:
        raise NotFound(f"No upload found with id '{upload_id}'.")
    now = uploads.seen_at(found.body["resource"], time.time())
    return replace(found, body=found.body | {"resource": now})


async def _receive(call: Call, part_id: str) -> int:
    """Store the bytes of the form's `data` and return their number."""
    size: int | None = None
    limit = min(wiring.host().form_limit, MAX_PART + FORM)
    async for part in read_parts(call.request, limit, too_large(min(limit, MAX_PART), "data")):
        if part.name != "data":
            raise InvalidRequest(
                f"Unknown parameter: '{part.name[:100]}'.", param=part.name[:100], code="unknown_parameter"
            )
        if size is not None:
            raise InvalidRequest("A request takes one part.", param="data")
        content = limited(part.content, MAX_PART, "data")
        size = await wiring.blobs().put(call.principal.tenant, part_id, content)
    if size is None:
        raise InvalidRequest("Missing required parameter: 'data'.", param="data", code="missing_required_parameter")
    if size == 0:
        raise InvalidRequest("The part is empty.", param="data")
    return size


async def _complete(call: Call, upload: Document, body: CompleteUpload) -> Document:
    """Make the file of the parts; return the completed upload."""
    uploads.check_pending(upload.body["resource"], "complete")
    parts = _named(await _parts_of(call, upload.id), body.part_ids)
    uploads.check_size(sum(part.body["bytes"] for part in parts), upload.body["resource"]["bytes"])
    tenant, file_id = call.principal.tenant, new_id("file")
    try:
        await _join(tenant, file_id, parts, body.md5)
        completed = await _commit(call, upload, file_id, body.part_ids)
    except StoreUnavailable:  # of a commit whose answer was lost the record may exist: left to the sweeper
        raise
    except BaseException:
        await discard(tenant, file_id)
        raise
    await _drop_parts(call, upload.id)
    return completed


async def _parts_of(call: Call, upload_id: str) -> list[Document]:
    partition = records.partition_of(call.principal.tenant)
    return await call.documents.list(partition, "part", limit=10_000, where={"upload_id": upload_id})


def _named(parts: Iterable[Document], part_ids: Sequence[str]) -> list[Document]:
    """Return the parts in the order of the file. InvalidRequest for an id that the upload does not have."""
    by_id = {part.id: part for part in parts}
    for index, part_id in enumerate(part_ids):
        if part_id not in by_id or part_id in part_ids[:index]:
            raise InvalidRequest(
                f"'{part_id[:100]}' is not a part of this upload, or is named twice.", param=f"part_ids[{index}]"
            )
    return [by_id[part_id] for part_id in part_ids]


async def _join(tenant: str, file_id: str, parts: Iterable[Document], md5: str | None) -> None:
    digest = hashlib.md5(usedforsecurity=False)

    async def content() -> AsyncIterator[bytes]:
        for part in parts:
            chunks = await wiring.blobs().get(tenant, part.id)
            if chunks is None:
                raise InvalidRequest(f"The part '{part.id}' has expired.", param="part_ids")
            async for chunk in chunks:
                if md5 is not None:
                    await asyncio.to_thread(digest.update, chunk)
                yield chunk

    await wiring.blobs().put(tenant, file_id, content())
    uploads.check_md5(digest.hexdigest(), md5)


async def _commit(call: Call, upload: Document, file_id: str, part_ids: list[str]) -> Document:
    """Add the file and complete the upload in one commit. InvalidRequest if the upload is over by now."""
    tenant = call.principal.tenant
    for attempt in range(records.ATTEMPTS):
        file = _file_of(upload, file_id)
        resource = upload.body["resource"] | {"status": "completed", "file": file.body["resource"]}
        completed = replace(upload, body=upload.body | {"resource": resource, "part_ids": part_ids})
        adding = await records.adding(call.documents, tenant, file, quota=call.settings.files_quota_bytes)
        try:
            await call.documents.commit(
                records.partition_of(tenant), *adding, Replace(completed, if_version=upload.version)
            )
        except Conflict:
            await records.pause(attempt)
            upload = await _load(call, upload.id)
            uploads.check_pending(upload.body["resource"], "complete")
        else:
            return completed
    raise StoreUnavailable


def _file_of(upload: Document, file_id: str) -> Document:
    created_ms = moments.next()
    now, lifetime, pending = created_ms // 1000, upload.body["lifetime"], upload.body["resource"]
    file = new_file(file_id, pending["filename"], pending["bytes"], pending["purpose"], now=now, lifetime=lifetime)
    return records.record(file, upload.body["media_type"], created_ms=created_ms)


def _is_completed(upload: Document, part_ids: list[str]) -> bool:
    return upload.body["resource"]["status"] == "completed" and upload.body["part_ids"] == part_ids


async def _drop_parts(call: Call, upload_id: str) -> None:
    """Delete parts that nobody needs any more; what is left of them expires."""
    tenant = call.principal.tenant
    for parts in batched(await _parts_of(call, upload_id), AT_A_TIME, strict=False):
        await asyncio.gather(*(discard(tenant, part.id) for part in parts))
        with suppress(Conflict, StoreUnavailable):
            await call.documents.commit(records.partition_of(tenant), *(Delete(part.id) for part in parts))
