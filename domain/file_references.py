"""Where requests name files, and what a file must be to be named there (C.4.2, G.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from errors import InvalidRequest
from schemas.message import CreateMessage, ImageFilePart
from schemas.thread import CreateThread
from schemas.tool_resources import NewToolResources, ToolResources

MAX_IMAGE = 20 << 20  # bytes; models take no larger ones
IMAGE_PURPOSES = ("vision", "assistants", "assistants_output")  # Azure had no "vision"


@dataclass(frozen=True, slots=True)
class Reference:
    """`param` is the dotted path of the member that names the file."""

    file_id: str
    param: str
    as_image: bool = False


def in_messages(messages: Sequence[CreateMessage], path: str) -> list[Reference]:
    """`path` is that of the list, such as "thread.messages"."""
    return [
        reference for index, message in enumerate(messages) for reference in in_message(message, f"{path}[{index}].")
    ]


def in_message(message: CreateMessage, path: str = "") -> list[Reference]:
    """`path` is that of the message, with the dot at its end."""
    parts = [] if isinstance(message.content, str) else message.content
    images = [
        Reference(part.image_file.file_id, f"{path}content[{index}].image_file.file_id", as_image=True)
        for index, part in enumerate(parts)
        if isinstance(part, ImageFilePart)
    ]
    attachments = enumerate(message.attachments or ())
    return images + [Reference(each.file_id, f"{path}attachments[{index}].file_id") for index, each in attachments]


def in_resources(resources: ToolResources | NewToolResources | None, path: str = "") -> list[Reference]:
    """`path` is that of the object that has `tool_resources`, with the dot at its end."""
    interpreter = resources.code_interpreter if resources else None
    file_ids = (interpreter.file_ids if interpreter else None) or ()
    param = f"{path}tool_resources.code_interpreter.file_ids"
    return [Reference(file_id, f"{param}[{index}]") for index, file_id in enumerate(file_ids)]


def in_thread(thread: CreateThread | None, path: str = "") -> list[Reference]:
    if thread is None:
        return []
    return [*in_resources(thread.tool_resources, path), *in_messages(thread.messages or [], f"{path}messages")]


def images_of(references: Iterable[Reference]) -> list[Reference]:
    return [reference for reference in references if reference.as_image]


def check_image(reference: Reference, file: dict[str, Any]) -> None:
    """InvalidRequest if the file, as the API shows it, can't be an image."""
    if file["purpose"] not in IMAGE_PURPOSES:
        raise InvalidRequest(
            f"File '{file['id']}' has the purpose '{file['purpose']}'. Upload images with the purpose 'vision'.",
            param=reference.param,
            code="invalid_value",
        )
    if file["bytes"] > MAX_IMAGE:
        raise InvalidRequest(
            f"The image '{file['id']}' has {file['bytes']} bytes. The limit is {MAX_IMAGE} bytes.",
            param=reference.param,
            code="image_too_large",
        )


def not_an_image(reference: Reference) -> InvalidRequest:
    return InvalidRequest(
        f"File '{reference.file_id}' is no image that models can read: expected JPEG, PNG, GIF or WebP.",
        param=reference.param,
        code="invalid_image",
    )


def image_type(first_bytes: bytes) -> str | None:
    """Return the media type of what begins so, if it is an image that models can read (C.4)."""
    if first_bytes.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first_bytes.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if first_bytes.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if first_bytes[:4] == b"RIFF" and first_bytes[8:12] == b"WEBP":
        return "image/webp"
    return None
