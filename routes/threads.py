"""Threads: create, list, retrieve, modify, delete (B.2).

A thread has an entry in the list of threads, which lives in another partition. The entry is made
before the thread and removed after it: whatever is cut in between can be listed and deleted. It follows a
modification within seconds, also of one that was cut (events/thread_list.py).
"""

import re
import time
from dataclasses import replace
from functools import partial
from typing import Any

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Request, Response

from domain.file_references import in_resources, in_thread
from domain.threads import (
    entry_id,
    message_documents,
    metadata_terms,
    modified_thread,
    new_thread_document,
    thread_entry,
    tombstone,
)
from errors import InvalidRequest
from events.addresses import active_run_of, thread_partition
from events.races import settle
from events.thread_list import changed_thread, list_partition, list_thread
from ids import new_id
from ports.documents import MAX_CHANGES, Create, Delete, Document
from routes.file_references import check_files
from routes.locks import load_thread
from routes.lookup import path_id
from routes.moments import moments
from routes.operation import Call, operation, reply
from routes.paging import page
from schemas.metadata import MAX_PAIRS
from schemas.thread import CreateThread, ModifyThread

bp = df.Blueprint()

_METADATA_KEY = re.compile(r"metadata\[(.*)\]", re.DOTALL)
_SWEPT = ("message", "step", "run", "turn", "tool_call", "session", "batch", "tombstone")


@operation(bp, "POST", "threads")
async def create_thread(call: Call) -> Response:
    body = await call.body(CreateThread)
    await check_files(call, in_thread(body))
    thread, messages = await begin_thread(call, new_id("thread"), body)
    await call.documents.commit(thread_partition(call.principal.tenant, thread.id), Create(thread), *messages)
    return reply(thread.body["resource"])


async def begin_thread(call: Call, thread_id: str, body: CreateThread | None) -> tuple[Document, list[Create]]:
    """Enter a new thread into the list; return its document and its messages, for the caller to commit.

    A caller that dies in between leaves an entry that answers 404 when opened and can be deleted.
    """
    given = body or CreateThread()
    created_ms = moments.next()
    thread = new_thread_document(thread_id, given, created_ms // 1000)
    messages, next_seq = message_documents(thread, given.messages or [], created_ms // 1000)
    entry = thread_entry(thread.body["resource"], created_ms)
    await call.documents.commit(_list_partition(call), Create(entry))
    return replace(thread, body=thread.body | {"next_seq": next_seq}), messages


@operation(bp, "GET", "threads")
async def list_threads(call: Call) -> Response:
    return await page(
        call,
        _list_partition(call),
        "thread_entry",
        "thread",
        noun="thread",
        where=metadata_filter(call.request),
        document_id=entry_id,
    )


def metadata_filter(request: Request) -> dict[str, str]:
    """Return the terms of `metadata[key]=value` in the query; all of them must match (B.2.1).

    InvalidRequest for more than a thread can have.
    """
    given = request.query_params
    named = {match[1]: given[name] for name in given if (match := _METADATA_KEY.fullmatch(name))}
    if len(named) > MAX_PAIRS:
        raise InvalidRequest(f"At most {MAX_PAIRS} pairs of metadata can be asked for.", param="metadata")
    return metadata_terms(named)


@operation(bp, "GET", "threads/{thread_id}")
async def get_thread(call: Call) -> Response:
    thread_id = path_id(call, "thread", "thread_id")
    thread = await load_thread(call, thread_partition(call.principal.tenant, thread_id), thread_id)
    return reply(thread.body["resource"])


@operation(bp, "POST", "threads/{thread_id}")
async def modify_thread(call: Call) -> Response:
    thread_id = path_id(call, "thread", "thread_id")
    body = await call.body(ModifyThread)
    partition = thread_partition(call.principal.tenant, thread_id)
    if files := in_resources(body.tool_resources):
        await load_thread(call, partition, thread_id)
        await check_files(call, files)

    async def modify() -> dict[str, Any]:
        thread = await load_thread(call, partition, thread_id)
        resource = modified_thread(thread.body["resource"], body)
        await call.documents.commit(partition, changed_thread(thread, resource, now=time.time()))
        return resource

    modified = await settle(modify)
    await list_thread(call.documents, partition, thread_id)
    return reply(modified)


@operation(bp, "DELETE", "threads/{thread_id}")
async def delete_thread(call: Call) -> Response:
    """Remove the thread and its active run in one commit: from then on every commit of that run fails.

    Then what is left, and last the entry, by which a deletion that was cut is found again.
    """
    thread_id = path_id(call, "thread", "thread_id")
    partition = thread_partition(call.principal.tenant, thread_id)
    listed = await call.documents.get(_list_partition(call), entry_id(thread_id)) is not None
    if not listed:
        await load_thread(call, partition, thread_id)
    run_id = await _remove_thread(call, partition, thread_id)
    if run_id:
        tenant = call.principal.tenant
        await call.hub.wake({"tenant": tenant, "thread_id": thread_id, "run_id": run_id}, "cancel_requested")
    for kind in _SWEPT:
        await settle(partial(_sweep, call, partition, kind))
    await settle(partial(_remove_entry, call, entry_id(thread_id)))
    return reply({"id": thread_id, "object": "thread.deleted", "deleted": True})


async def _remove_thread(call: Call, partition: str, thread_id: str) -> str | None:
    """Remove thread and active run, if they are there; return the run's id."""

    async def remove() -> str | None:
        thread = await call.documents.get(partition, thread_id)
        if thread is None:
            return None
        run_id = active_run_of(thread)
        run = await call.documents.get(partition, run_id) if run_id else None
        there = [document for document in (thread, run) if document]
        await call.documents.commit(partition, *(Delete(document.id, document.version) for document in there))
        return run_id

    return await settle(remove)


async def _sweep(call: Call, partition: str, kind: str) -> None:
    """Remove every document of the kind. Raises Conflict if somebody else is at it too."""
    while left := await call.documents.list(partition, kind, limit=MAX_CHANGES):
        await call.documents.commit(partition, *(Delete(document.id) for document in left))


async def _remove_entry(call: Call, entry_id: str) -> None:
    entry = await call.documents.get(_list_partition(call), entry_id)
    if entry:
        changes = Delete(entry.id, entry.version), Create(tombstone(entry))
        await call.documents.commit(_list_partition(call), *changes)


def _list_partition(call: Call) -> str:
    return list_partition(call.principal.tenant)
