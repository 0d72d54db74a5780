"""The pictures of a conversation: what names a file becomes what the model can see."""

import time
from collections.abc import Callable
from dataclasses import replace

from domain.chat_messages import file_images, with_images
from errors import NotFound
from files import records
from files.images import data_url
from ports.blobs import Blobs
from ports.documents import Documents
from ports.language_model import ChatRequest

# Bytes of all pictures in one request. Endpoints take about 50 MB, encoded; a worker holds several copies of it.
MAX_IMAGES = 32 << 20


async def show_images(
    request: ChatRequest, documents: Documents, blobs: Callable[[], Blobs], tenant: str
) -> ChatRequest:
    """Return the request with the pictures in it, the newest first if not all fit.

    Of a picture that is gone or doesn't fit, the model is told so. Raises StoreUnavailable.
    """
    urls: dict[str, str] = {}
    room = MAX_IMAGES
    file_ids = file_images(request.messages)
    for file_id in file_ids:
        size = await _size(documents, tenant, file_id)
        if size is None or size > room:
            continue
        url = await data_url(blobs(), tenant, file_id)
        if url:
            urls[file_id] = url
            room -= size
    return replace(request, messages=with_images(request.messages, urls)) if file_ids else request


async def _size(documents: Documents, tenant: str, file_id: str) -> int | None:
    try:
        file = await records.find(documents, tenant, file_id, now=time.time())
    except NotFound:
        return None
    return file.body["resource"]["bytes"]
