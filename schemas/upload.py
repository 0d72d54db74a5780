"""Uploads: what requests may hold (B.5, I.4)."""

from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.file import ExpiresAfter, FileName
from schemas.shape import Shape

MAX_BYTES = 8 << 30
MAX_PARTS = 2_000


class CreateUpload(Shape):
    filename: FileName
    purpose: str
    bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)]
    mime_type: Annotated[str, StringConstraints(max_length=256)]
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Shape):
    """`part_ids` in the order of the file; `md5` in hex."""

    part_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_PARTS)]
    md5: str | None = None
