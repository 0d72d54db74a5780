"""Files as images for the model."""

import asyncio
import base64

from domain.file_references import image_type
from ports.blobs import Blobs

SIGNATURE = 16  # bytes, which tell what an image is


async def stored_image_type(blobs: Blobs, tenant: str, file_id: str) -> str | None:
    """Return the media type of the file's bytes; None if they are no image, or are gone."""
    return image_type(await _read(blobs, tenant, file_id, length=SIGNATURE))


async def data_url(blobs: Blobs, tenant: str, file_id: str) -> str | None:
    """Return the image as a data URL, a third longer than its bytes; None if it is none, or is gone."""
    content = await _read(blobs, tenant, file_id)
    media_type = image_type(content)
    if media_type is None:
        return None
    encoded = await asyncio.to_thread(base64.b64encode, content)
    return f"data:{media_type};base64,{encoded.decode()}"


async def _read(blobs: Blobs, tenant: str, file_id: str, *, length: int | None = None) -> bytes:
    chunks = await blobs.get(tenant, file_id, length=length)
    return b"" if chunks is None else b"".join([chunk async for chunk in chunks])
