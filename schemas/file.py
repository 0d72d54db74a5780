"""Files: what requests may hold (B.5, I.2)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.shape import Shape

MAX_FILENAME = 512  # code points

FileName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_FILENAME)]


class ExpiresAfter(Shape):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3_600, le=2_592_000)]


class CreateFile(Shape):
    """The fields of POST /files besides the file itself. `purpose` is checked by domain/files.py."""

    purpose: str
    expires_after: ExpiresAfter | None = None
