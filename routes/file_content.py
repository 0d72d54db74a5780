"""A file's bytes as a response, whole or one range of them (I.3.3; ranges are our extension, RFC 9110, section 14)."""

import re
from urllib.parse import quote

from azurefunctions.extensions.http.fastapi import Response, StreamingResponse

from errors import NotFound, RangeNotSatisfiable
from ports.blobs import Blobs
from ports.documents import Document
from routes.operation import Call

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.IGNORECASE)


async def content_reply(call: Call, blobs: Blobs, file: Document) -> Response:
    """Answer 200 with everything or 206 with what `Range` asks for. Raises RangeNotSatisfiable."""
    resource = file.body["resource"]
    size: int = resource["bytes"]
    headers = {
        "accept-ranges": "bytes",
        "content-disposition": disposition(resource["filename"]),
        "content-type": file.body["media_type"],
        "etag": f'"{file.id}"',  # the bytes behind an id never change
        # A file is data, whatever a browser would like to make of it.
        "x-content-type-options": "nosniff",
    }
    part = None
    if call.request.headers.get("if-range", headers["etag"]) == headers["etag"]:
        part = asked_range(call.request.headers.get("range", ""), size)
    shown = part or range(size)
    content = await blobs.get(call.principal.tenant, file.id, start=shown.start, length=len(shown))
    if content is None:
        raise NotFound(f"No such File object: {file.id}", param="id")
    headers["content-length"] = str(len(shown))
    if part:
        headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return StreamingResponse(content, 206 if part else 200, headers)


def asked_range(header: str, size: int) -> range | None:
    """Return the range that a `Range` header names, cut to the size; None means everything.

    Several ranges, and what is no range of bytes, are ignored, as the RFC allows. Raises
    RangeNotSatisfiable if nothing of the range exists.
    """
    match = _RANGE.fullmatch(header.strip())
    if not match or header.strip().endswith("=-"):
        return None
    first, last = match.groups()
    if not first:
        asked = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        asked = range(int(first), min(size, int(last) + 1) if last else size)
    if not asked:
        raise RangeNotSatisfiable(f"The file has {size} bytes; nothing of it lies in '{header[:100]}'.", size=size)
    return asked


def disposition(filename: str) -> str:
    """Return a Content-Disposition that every browser saves under the file's name (RFC 6266)."""
    plain = filename.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_").replace("?", "_")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
