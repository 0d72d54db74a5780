"""Files: upload, list, retrieve, delete, content (B.5, I.1 to I.3)."""

import logging
import time
from collections.abc import AsyncIterator

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response
from pydantic import ValidationError

import wiring
from domain.files import MAX_BYTES, base_name, check_purpose, check_quota, media_type, new_file, too_large
from errors import InvalidRequest, NotFound, StoreUnavailable
from files import records
from ids import new_id
from ports.documents import Document
from routes.file_content import content_reply
from routes.lookup import path_id
from routes.moments import moments
from routes.multipart import Part, read_parts
from routes.operation import Call, operation, reply
from routes.paging import page, page_query
from routes.request_errors import invalid_request
from schemas.file import MAX_FILENAME, CreateFile

logger = logging.getLogger("durable_assistants.files")

bp = df.Blueprint()

MAX_LISTED = 10_000  # also the default (D.1)
FORM = 1_000_000  # bytes: a form is a little longer than its file


@operation(bp, "POST", "files")
async def create_file(call: Call) -> Response:
    """Store the bytes while they arrive, then the record; if anything goes wrong, neither stays."""
    tenant, file_id = call.principal.tenant, new_id("file")
    try:
        record = await _receive(call, file_id)
    except BaseException:
        await discard(tenant, file_id)
        raise
    try:
        await records.add(call.documents, tenant, record, quota=call.settings.files_quota_bytes)
    except InvalidRequest:  # only this: of a commit whose answer was lost the record may exist
        await discard(tenant, file_id)
        raise
    return reply(record.body["resource"])


@operation(bp, "GET", "files")
async def list_files(call: Call) -> Response:
    query = page_query(call.request, "file", default_limit=MAX_LISTED, max_limit=MAX_LISTED)
    purpose = call.request.query_params.get("purpose")
    tenant = call.principal.tenant
    # Expired files are deleted now, so that a page holds as many as it should (D.12).
    while expired := await records.expired(call.documents, tenant, now=time.time(), limit=100):
        for file_id in expired:
            await _delete(call, file_id)
    where = {"purpose": purpose} if purpose else None
    return await page(call, records.partition_of(tenant), "file", "file", noun="file", where=where, query=query)


@operation(bp, "GET", "files/{file_id}")
async def retrieve_file(call: Call) -> Response:
    file_id = path_id(call, "file", "file_id")
    found = await records.find(call.documents, call.principal.tenant, file_id, now=time.time())
    return reply(found.body["resource"])


@operation(bp, "DELETE", "files/{file_id}")
async def delete_file(call: Call) -> Response:
    """What refers to the file keeps its id (I.3.4) and is told, when it needs it, that it is gone."""
    file_id = path_id(call, "file", "file_id")
    await records.find(call.documents, call.principal.tenant, file_id, now=time.time())
    if not await _delete(call, file_id):
        raise NotFound(f"No such File object: {file_id}", param="id")
    return reply({"id": file_id, "object": "file", "deleted": True})


@operation(bp, "GET", "files/{file_id}/content")
async def download_file(call: Call) -> Response:
    file_id = path_id(call, "file", "file_id")
    found = await records.find(call.documents, call.principal.tenant, file_id, now=time.time())
    return await content_reply(call, wiring.blobs(), found)


async def discard(tenant: str, blob_id: str) -> None:
    """Delete bytes that have no record (any more). What stays, the sweeper finds."""
    try:
        await wiring.blobs().delete(tenant, blob_id)
    except StoreUnavailable:
        logger.warning("the bytes of %s stay until they are swept", blob_id)


async def limited(content: AsyncIterator[bytes], limit: int, param: str = "file") -> AsyncIterator[bytes]:
    """Pass the bytes on. TooLarge as soon as there are more than `limit`."""
    size = 0
    async for chunk in content:
        size += len(chunk)
        if size > limit:
            raise too_large(limit, param)
        yield chunk


async def _delete(call: Call, file_id: str) -> bool:
    tenant = call.principal.tenant
    deleted = await records.remove(call.documents, tenant, file_id)
    if deleted:
        await discard(tenant, file_id)
    return deleted


async def _receive(call: Call, file_id: str) -> Document:
    """Store the file's bytes and return its record, not yet stored: `purpose` may follow the file (I.2.1)."""
    fields: dict[str, str] = {}
    file: Part | None = None
    size = 0
    limit = min(wiring.host().form_limit, MAX_BYTES + FORM)
    async for part in read_parts(call.request, limit, too_large(min(limit, MAX_BYTES))):
        if part.name != "file":
            fields[part.name] = await part.text()
        elif file:
            raise InvalidRequest("A request takes one file.", param="file")
        else:
            file = part
            size = await wiring.blobs().put(call.principal.tenant, file_id, await _within_quota(call, part))
    wanted = _checked(fields)
    if file is None:
        raise InvalidRequest("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    if size == 0:
        raise InvalidRequest("The file is empty.", param="file")
    created_ms = moments.next()
    name = _filename(file)
    lifetime = wanted.expires_after and wanted.expires_after.seconds
    resource = new_file(file_id, name, size, wanted.purpose, now=created_ms // 1000, lifetime=lifetime)
    return records.record(resource, media_type(file.media_type, name), created_ms=created_ms)


async def _within_quota(call: Call, file: Part) -> AsyncIterator[bytes]:
    """Return the file's bytes; a file that exceeds the quota is refused while it arrives."""
    quota = call.settings.files_quota_bytes
    content = limited(file.content, MAX_BYTES)
    if not quota:
        return content
    used = await records.used_bytes(call.documents, call.principal.tenant)
    return _counted(content, used, quota)


async def _counted(content: AsyncIterator[bytes], used: int, quota: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in content:
        size += len(chunk)
        check_quota(size, used, quota)
        yield chunk


def _checked(fields: dict[str, str]) -> CreateFile:
    """Return the form's fields in their shape; nested members come in brackets (A.4.3)."""
    body: dict[str, object] = {}
    expires_after: dict[str, object] = {}
    for name, value in fields.items():
        if name.startswith("expires_after[") and name.endswith("]"):
            member = name.removeprefix("expires_after[").removesuffix("]")
            is_number = member == "seconds" and value.isascii() and value.isdecimal() and len(value) < 10
            expires_after[member] = int(value) if is_number else value
        else:
            body[name] = value
    if expires_after:
        body["expires_after"] = expires_after
    try:
        wanted = CreateFile.model_validate(body)
    except ValidationError as error:
        raise invalid_request(error) from None
    check_purpose(wanted.purpose)
    return wanted


def _filename(file: Part) -> str:
    name = base_name(file.filename)
    if len(name) > MAX_FILENAME:
        raise InvalidRequest(
            f"Invalid 'filename': string too long. Expected a string with maximum length {MAX_FILENAME}, "
            f"but got a string with length {len(name)} instead.",
            param="filename",
            code="string_above_max_length",
        )
    return name
