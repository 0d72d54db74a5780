"""The message an assistant writes: from its first piece of text to its end (C.3, F.3)."""

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


def completed(message: Resource, parts: list[list[str]], now: int) -> Resource:
    return message | {"status": "completed", "completed_at": now, "content": content(parts)}


def incomplete(message: Resource, parts: list[list[str]], reason: str, now: int) -> Resource:
    return message | {
        "status": "incomplete",
        "incomplete_details": {"reason": reason},
        "incomplete_at": now,
        "content": content(parts),
    }


def content(parts: list[list[str]]) -> list[Resource]:
    """`parts` are [type, text]. Never empty: the Python helper looks up the part it saw last (F.5.1)."""
    return [
        {"type": "refusal", "refusal": text}
        if kind == "refusal"
        else {"type": "text", "text": {"value": text, "annotations": []}}
        for kind, text in parts or [["text", ""]]
    ]


def delta(message_id: str, index: int, kind: PartType, text: str, *, first: bool) -> Resource:
    """Return a message delta. `annotations` only with the first of a part: the accumulators append (F.4)."""
    if kind == "refusal":
        part: Resource = {"index": index, "type": "refusal", "refusal": text}
    else:
        value: Resource = {"value": text, "annotations": []} if first else {"value": text}
        part = {"index": index, "type": "text", "text": value}
    return {"id": message_id, "object": "thread.message.delta", "delta": {"content": [part]}}
