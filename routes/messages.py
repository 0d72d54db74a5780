"""Messages: create, list, retrieve, modify, delete (B.3)."""

import time
from dataclasses import replace

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

from domain.file_references import in_message
from domain.threads import grown_thread, message_documents, tombstone
from events.addresses import thread_partition
from events.races import settle
from events.thread_list import list_thread
from ids import check_id
from ports.documents import Create, Delete, Document, Replace
from routes.file_references import check_files
from routes.locks import MESSAGE_REFUSED, load_thread, load_unlocked_thread
from routes.lookup import load, path_id
from routes.operation import Call, operation, reply
from routes.paging import page, page_query
from schemas.message import CreateMessage, ModifyMessage

bp = df.Blueprint()


@operation(bp, "POST", "threads/{thread_id}/messages")
async def create_message(call: Call) -> Response:
    thread_id = path_id(call, "thread", "thread_id")
    body = await call.body(CreateMessage)
    partition = _partition(call, thread_id)
    if files := in_message(body):
        await load_thread(call, partition, thread_id)  # a missing thread is named first (E.11)
        await check_files(call, files)

    async def append() -> Response:
        thread = await load_unlocked_thread(call, partition, thread_id, MESSAGE_REFUSED)
        [created], next_seq = message_documents(thread, [body], int(time.time()), param="content")
        grown = grown_thread(thread, [body], next_seq, now=time.time())
        # One commit, so that no run can begin between the look at the lock and the message.
        await call.documents.commit(partition, Replace(grown, thread.version), created)
        return reply(created.document.body["resource"])

    answer = await settle(append)
    if body.attached_for("code_interpreter"):
        await list_thread(call.documents, partition, thread_id)
    return answer


@operation(bp, "GET", "threads/{thread_id}/messages")
async def list_messages(call: Call) -> Response:
    thread_id = path_id(call, "thread", "thread_id")
    query = page_query(call.request, "message")
    run_id = call.request.query_params.get("run_id")
    where = {"run_id": check_id("run", run_id, "run_id")} if run_id else None
    partition = _partition(call, thread_id)
    await load_thread(call, partition, thread_id)
    return await page(call, partition, "message", "message", noun="message", where=where, query=query)


@operation(bp, "GET", "threads/{thread_id}/messages/{message_id}")
async def get_message(call: Call) -> Response:
    thread_id, message_id = _ids(call)
    stored = await _load_message(call, thread_id, message_id)
    return reply(stored.body["resource"])


@operation(bp, "POST", "threads/{thread_id}/messages/{message_id}")
async def modify_message(call: Call) -> Response:
    thread_id, message_id = _ids(call)
    body = await call.body(ModifyMessage)

    async def modify() -> Response:
        stored = await _load_message(call, thread_id, message_id)
        message = stored.body["resource"]
        if body.given("metadata"):
            message = message | {"metadata": body.metadata or {}}
        modified = replace(stored, body=stored.body | {"resource": message})
        await call.documents.commit(_partition(call, thread_id), Replace(modified, stored.version))
        return reply(message)

    return await settle(modify)


@operation(bp, "DELETE", "threads/{thread_id}/messages/{message_id}")
async def delete_message(call: Call) -> Response:
    """Allowed at any time (B.3.5): a message that is being generated is not stored before it ends."""
    thread_id, message_id = _ids(call)

    async def delete() -> Response:
        stored = await _load_message(call, thread_id, message_id)
        changes = Delete(stored.id, stored.version), Create(tombstone(stored))
        await call.documents.commit(_partition(call, thread_id), *changes)
        return reply({"id": message_id, "object": "thread.message.deleted", "deleted": True})

    return await settle(delete)


def _ids(call: Call) -> tuple[str, str]:
    return path_id(call, "thread", "thread_id"), path_id(call, "message", "message_id")


def _partition(call: Call, thread_id: str) -> str:
    return thread_partition(call.principal.tenant, thread_id)


async def _load_message(call: Call, thread_id: str, message_id: str) -> Document:
    """Return the message. NotFound for the thread comes before that for the message (J.3.2)."""
    partition = _partition(call, thread_id)
    await load_thread(call, partition, thread_id)
    return await load(call, partition, message_id, "message")
