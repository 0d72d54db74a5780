"""Thread documents, and how messages enter a thread. Pure: what to write, not the writing of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from domain.sizes import check_message_size
from ids import new_id
from ports.documents import Create, Document
from schemas.message import CreateMessage
from schemas.thread import CreateThread, ModifyThread
from schemas.tool_resources import MAX_FILES, changed_resources, stored_resources

Resource = dict[str, Any]

TOMBSTONE_TTL = 3600  # seconds for which a listing may still point at what was deleted (D.9)


def new_thread_document(thread_id: str, body: CreateThread, now: int) -> Document:
    """Return the thread without its messages: `message_documents` makes those."""
    thread = {
        "id": thread_id,
        "object": "thread",
        "created_at": now,
        "metadata": body.metadata or {},
        "tool_resources": stored_resources(body.tool_resources),
    }
    thread = with_attached(thread, body.messages or [])
    return Document(thread_id, "thread", {"resource": thread, "active_run_id": None, "next_seq": 1})


def thread_entry(thread: Resource, created_ms: int) -> Document:
    """Return what the list of threads shows of the thread; it lives in the partition of that list."""
    return Document(
        entry_id(thread["id"]),
        "thread_entry",
        {"resource": thread},
        sort=f"{created_ms:013}-{thread['id']}",
        terms=metadata_terms(thread["metadata"]),
    )


def entry_id(thread_id: str) -> str:
    return f"{thread_id}.entry"


def metadata_terms(metadata: dict[str, str]) -> dict[str, str]:
    """Return the terms by which the list of threads is filtered (B.2.1)."""
    return {f"metadata.{key}": value for key, value in metadata.items()}


def modified_thread(thread: Resource, body: ModifyThread) -> Resource:
    modified = dict(thread)
    if body.given("metadata"):
        modified["metadata"] = body.metadata or {}
    if body.given("tool_resources"):
        modified["tool_resources"] = changed_resources(thread["tool_resources"], body.tool_resources)
    return modified


def grown_thread(thread: Document, messages: Sequence[CreateMessage], next_seq: int, *, now: float) -> Document:
    """Return the thread after messages were added: `next_seq` is its next number.

    The files that they attach for the code interpreter join the thread's (G.3.1). The thread's entry in the list is to
    be seen to then.
    """
    resource = thread.body["resource"]
    joined = with_attached(resource, messages)
    grown = replace(thread, body=thread.body | {"next_seq": next_seq, "resource": joined})
    return grown if joined == resource else replace(grown, unfinished_since=now)


def with_attached(thread: Resource, messages: Sequence[CreateMessage]) -> Resource:
    """Return the thread with the files that messages attach for the code interpreter, the newest MAX_FILES."""
    attached = [file for message in messages for file in message.attached_for("code_interpreter")]
    known = thread["tool_resources"].get("code_interpreter", {}).get("file_ids", [])
    files = list(dict.fromkeys([*known, *attached]))
    if files == known:
        return thread
    joined = {"code_interpreter": {"file_ids": files[-MAX_FILES:]}}
    return thread | {"tool_resources": thread["tool_resources"] | joined}


def message_documents(
    thread: Document, messages: Sequence[CreateMessage], now: int, *, param: str = "messages"
) -> tuple[list[Create], int]:
    """Return the messages in the given order, and the thread's `next_seq` after them.

    Raises InvalidRequest if they are too large to be stored; `param` names them in it.
    """
    first = thread.body["next_seq"]
    created: list[Create] = []
    for seq, message in enumerate(messages, first):
        resource = new_message(thread.id, message, now)
        created.append(Create(Document(resource["id"], "message", {"resource": resource}, sort=f"{seq:012}")))
    check_message_size([create.document.body for create in created], param)
    return created, first + len(created)


def new_message(thread_id: str, message: CreateMessage, now: int) -> Resource:
    """Return a message that a client adds: it is complete from the start (C.3.1)."""
    return {
        "id": new_id("message"),
        "object": "thread.message",
        "created_at": now,
        "assistant_id": None,
        "thread_id": thread_id,
        "run_id": None,
        "status": "completed",
        "incomplete_details": None,
        "incomplete_at": None,
        "completed_at": now,
        "role": message.role,
        "content": message.stored_content(),
        "attachments": message.stored_attachments(),
        "metadata": message.metadata or {},
    }


def tombstone(deleted: Document) -> Document:
    """Return what keeps the place of a deleted document in listings under way (D.9)."""
    return Document(
        tombstone_id(deleted.id), "tombstone", {"sort": deleted.sort, "kind": deleted.kind}, ttl=TOMBSTONE_TTL
    )


def tombstone_id(document_id: str) -> str:
    return f"{document_id}.deleted"
