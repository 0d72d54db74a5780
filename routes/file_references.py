"""Checking the files that a request names against the caller's own."""

import asyncio
import time
from collections.abc import Sequence
from itertools import batched

import wiring
from domain.file_references import Reference, check_image, images_of, not_an_image
from errors import NotFound
from files import records
from files.images import stored_image_type
from routes.operation import Call

AT_A_TIME = 20  # reads


async def check_files(call: Call, references: Sequence[Reference]) -> None:
    """NotFound, with the member that names it, for a file that this tenant doesn't have (G.3.4).

    InvalidRequest for one that is named as an image and can't be one (C.4.2).
    """
    distinct = {reference.file_id: reference for reference in references}
    files: dict[str, dict[str, object]] = {}
    for some in batched(distinct.values(), AT_A_TIME, strict=False):
        files |= dict(zip((each.file_id for each in some), await _find(call, some), strict=True))
    images = {reference.file_id: reference for reference in images_of(references)}
    for image in images.values():
        check_image(image, files[image.file_id])
        if await stored_image_type(wiring.blobs(), call.principal.tenant, image.file_id) is None:
            raise not_an_image(image)


async def _find(call: Call, references: Sequence[Reference]) -> list[dict[str, object]]:
    return await asyncio.gather(*(_load(call, reference) for reference in references))


async def _load(call: Call, reference: Reference) -> dict[str, object]:
    try:
        found = await records.find(call.documents, call.principal.tenant, reference.file_id, now=time.time())
    except NotFound as error:
        raise NotFound(error.message, param=reference.param) from None
    return found.body["resource"]
