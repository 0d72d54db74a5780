"""Assistants: create, list, retrieve, modify, delete (B.1)."""

from dataclasses import replace

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

from domain.file_references import in_resources
from domain.sizes import check_assistant_size
from domain.threads import tombstone
from events.races import settle
from ids import new_id
from ports.documents import Create, Delete, Document, Replace
from routes.file_references import check_files
from routes.lookup import load, path_id
from routes.moments import moments
from routes.operation import Call, operation, reply
from routes.paging import page
from schemas.assistant import CreateAssistant, ModifyAssistant, given_sampling, modified_assistant, new_assistant

bp = df.Blueprint()


@operation(bp, "POST", "assistants")
async def create_assistant(call: Call) -> Response:
    body = await call.body(CreateAssistant)
    await check_files(call, in_resources(body.tool_resources))
    created_ms = moments.next()
    assistant = new_assistant(new_id("assistant"), body, created_ms // 1000)
    check_assistant_size(assistant)
    sort = f"{created_ms:013}-{assistant['id']}"
    document = Document(assistant["id"], "assistant", {"resource": assistant, "given": given_sampling(body)}, sort=sort)
    await call.documents.commit(assistants_partition(call), Create(document))
    return reply(assistant)


@operation(bp, "GET", "assistants")
async def list_assistants(call: Call) -> Response:
    return await page(call, assistants_partition(call), "assistant", "assistant", noun="assistant")


@operation(bp, "GET", "assistants/{assistant_id}")
async def get_assistant(call: Call) -> Response:
    assistant_id = path_id(call, "assistant", "assistant_id")
    stored = await load(call, assistants_partition(call), assistant_id, "assistant")
    return reply(stored.body["resource"])


@operation(bp, "POST", "assistants/{assistant_id}")
async def modify_assistant(call: Call) -> Response:
    assistant_id = path_id(call, "assistant", "assistant_id")
    body = await call.body(ModifyAssistant)
    partition = assistants_partition(call)
    if files := in_resources(body.tool_resources):
        await load(call, partition, assistant_id, "assistant")
        await check_files(call, files)

    async def modify() -> Response:
        stored = await load(call, partition, assistant_id, "assistant")
        assistant = modified_assistant(stored.body["resource"], body)
        check_assistant_size(assistant)
        given = given_sampling(body, stored.body.get("given", ()))
        modified = replace(stored, body={"resource": assistant, "given": given})
        await call.documents.commit(partition, Replace(modified, stored.version))
        return reply(assistant)

    return await settle(modify)


@operation(bp, "DELETE", "assistants/{assistant_id}")
async def delete_assistant(call: Call) -> Response:
    assistant_id = path_id(call, "assistant", "assistant_id")
    partition = assistants_partition(call)

    async def delete() -> Response:
        stored = await load(call, partition, assistant_id, "assistant")
        await call.documents.commit(partition, Delete(stored.id, stored.version), Create(tombstone(stored)))
        return reply({"id": assistant_id, "object": "assistant.deleted", "deleted": True})

    return await settle(delete)


def assistants_partition(call: Call) -> str:
    return f"{call.principal.tenant}/assistants"
