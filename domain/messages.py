"""The message an assistant writes: from its first piece to its end (C.3, F.3).

Its parts are in the API's shape, as they are so far.
"""

from collections.abc import Sequence
from typing import Any, Literal

Resource = dict[str, Any]
PartType = Literal["text", "refusal"]


def opened(message_id: str, run: Resource, now: int) -> Resource:
    """Return the message as `thread.message.created` shows it: no content yet."""
    return {
        "id": message_id,
        "object": "thread.message",
        "created_at": now,
        "assistant_id": run["assistant_id"],
        "thread_id": run["thread_id"],
        "run_id": run["id"],
        "status": "in_progress",
        "incomplete_details": None,
        "incomplete_at": None,
        "completed_at": None,
        "role": "assistant",
        "content": [],
        "attachments": [],
        "metadata": {},
    }


def completed(message: Resource, parts: list[Resource], now: int) -> Resource:
    return message | {"status": "completed", "completed_at": now, "content": content(parts)}


def incomplete(message: Resource, parts: list[Resource], reason: str, now: int) -> Resource:
    return message | {
        "status": "incomplete",
        "incomplete_details": {"reason": reason},
        "incomplete_at": now,
        "content": content(parts),
    }


def content(parts: list[Resource]) -> list[Resource]:
    """Never empty: the Python helper looks up the part it saw last (F.5.1)."""
    return parts or [_text("")]


def said(parts: Sequence[Resource]) -> str:
    """Return all text of the parts."""
    return "".join(part["text"]["value"] if part["type"] == "text" else part.get("refusal", "") for part in parts)


def delta(
    message_id: str, index: int, kind: PartType, text: str, annotations: Sequence[Resource] = (), *, noted: int | None
) -> Resource:
    """Return a message delta that adds to the part `index`.

    `noted` is how many annotations the part has, None if this is its first delta: only that one has an empty list of
    them, for the accumulators append (F.4).
    """
    if kind == "refusal":
        return _delta(message_id, {"index": index, "type": "refusal", "refusal": text})
    value: Resource = {"value": text}
    if annotations or noted is None:
        value["annotations"] = [{"index": place, **each} for place, each in enumerate(annotations, noted or 0)]
    return _delta(message_id, {"index": index, "type": "text", "text": value})


def image_delta(message_id: str, index: int, file_id: str) -> Resource:
    return _delta(message_id, {"index": index, "type": "image_file", "image_file": {"file_id": file_id}})


def grow(parts: list[Resource], delta: Resource) -> None:
    """Add a delta to the parts, as clients do."""
    for piece in delta["delta"]["content"]:
        if piece["index"] == len(parts):
            parts.append(_begun(piece["type"]))
        part = parts[piece["index"]]
        match piece["type"]:
            case "text":
                part["text"]["value"] += piece["text"]["value"]
                part["text"]["annotations"] += map(_stored, piece["text"].get("annotations", ()))
            case "refusal":
                part["refusal"] += piece["refusal"]
            case _:
                part["image_file"] |= piece["image_file"]


def _begun(kind: str) -> Resource:
    match kind:
        case "text":
            return _text("")
        case "refusal":
            return {"type": "refusal", "refusal": ""}
    return {"type": "image_file", "image_file": {"file_id": "", "detail": "auto"}}


def _text(value: str) -> Resource:
    return {"type": "text", "text": {"value": value, "annotations": []}}


def _stored(annotation: Resource) -> Resource:
    """Only in deltas an annotation has an index (C.5)."""
    return {name: value for name, value in annotation.items() if name != "index"}


def _delta(message_id: str, part: Resource) -> Resource:
    return {"id": message_id, "object": "thread.message.delta", "delta": {"content": [part]}}
