"""Messages: what create requests may hold, and what is stored of it (B.3, C.3, C.4)."""

import re
from typing import Annotated, Any, Literal, Union
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, FailFast, Field, StringConstraints, Tag

from schemas.metadata import Metadata
from schemas.shape import TAG, Detail, FileId, Shape, by_type, wrong_type, wrong_url

MAX_TEXT = 256_000  # code points
MAX_PARTS = 100  # of a message, and files attached to it: each file named is looked up

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
FilledText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


_IMAGE_DATA = re.compile(r"data:image/[^\s,]+,\S", re.IGNORECASE)
_NOT_IN_A_URL = re.compile(r"^\s|[\x00-\x1f\x7f]|\s$")


def _image_url(url: str) -> str:
    if not (_IMAGE_DATA.match(url) or _is_web_url(url)):
        raise wrong_url()
    return url


def _is_web_url(url: str) -> bool:
    if _NOT_IN_A_URL.search(url):
        return False
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in parts.netloc
        )
    except ValueError:  # a port that is none, brackets around no IPv6 address
        return False


class TextValue(Shape):
    """The response's form, which some clients send back (C.4.1). Its annotations are not taken over."""

    value: FilledText
    annotations: list[Any] | None = None


class TextPart(Shape):
    type: Literal["text"]
    text: Annotated[
        Union[Annotated[FilledText, Tag(TAG + "string")], Annotated[TextValue, Tag(TAG + "object")]],  # noqa: UP007
        Discriminator(lambda text: TAG + ("object" if isinstance(text, dict | TextValue) else "string")),
    ]

    def stored(self) -> dict[str, Any]:
        return text_part(self.text if isinstance(self.text, str) else self.text.value)


class ImageFile(Shape):
    file_id: FileId
    detail: Detail | None = None


class ImageFilePart(Shape):
    type: Literal["image_file"]
    image_file: ImageFile

    def stored(self) -> dict[str, Any]:
        image = {"file_id": self.image_file.file_id, "detail": self.image_file.detail or "auto"}
        return {"type": "image_file", "image_file": image}


class ImageUrl(Shape):
    url: Annotated[str, AfterValidator(_image_url)]
    detail: Detail | None = None


class ImageUrlPart(Shape):
    type: Literal["image_url"]
    image_url: ImageUrl

    def stored(self) -> dict[str, Any]:
        image = {"url": self.image_url.url, "detail": self.image_url.detail or "auto"}
        return {"type": "image_url", "image_url": image}


class AttachmentTool(Shape):
    type: Literal["code_interpreter", "file_search"]


class Attachment(Shape):
    file_id: FileId
    tools: Annotated[list[AttachmentTool], Field(min_length=1), FailFast()]


def _string_or_parts(content: Any) -> Any:
    if not isinstance(content, str | list):
        raise wrong_type("one of a string or an array of objects")
    return content


Part = by_type({"text": TextPart, "image_file": ImageFilePart, "image_url": ImageUrlPart})
Content = Annotated[
    Union[  # noqa: UP007
        Annotated[FilledText, Tag(TAG + "string")],
        Annotated[Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS), FailFast()], Tag(TAG + "parts")],
    ],
    Discriminator(lambda content: TAG + ("string" if isinstance(content, str) else "parts")),
    BeforeValidator(_string_or_parts),
]


class CreateMessage(Shape):
    """Body of POST /threads/{thread_id}/messages, and of each initial or additional message."""

    role: Literal["user", "assistant"]
    content: Content
    attachments: Annotated[list[Attachment], Field(max_length=MAX_PARTS), FailFast()] | None = None
    metadata: Metadata | None = None

    def stored_content(self) -> list[dict[str, Any]]:
        if isinstance(self.content, str):
            return [text_part(self.content)]
        return [part.stored() for part in self.content]

    def attached_for(self, tool: str) -> list[str]:
        """Return the ids of the files that are attached for a built-in tool."""
        return [each.file_id for each in self.attachments or () if any(used.type == tool for used in each.tools)]

    def stored_attachments(self) -> list[dict[str, Any]]:
        return [attachment.model_dump() for attachment in self.attachments or ()]


class ModifyMessage(Shape):
    metadata: Metadata | None = None


def text_part(value: str) -> dict[str, Any]:
    return {"type": "text", "text": {"value": value, "annotations": []}}
