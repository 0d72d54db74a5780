"""Runs: create, list, retrieve, modify, cancel, submit tool outputs (B.4)."""

import time
from collections.abc import Iterable
from typing import Any

import azure.durable_functions as df
from azurefunctions.extensions.http.fastapi import Response

from domain import runs
from domain.file_references import in_messages, in_resources, in_thread
from domain.sizes import check_run_size
from domain.threads import grown_thread, message_documents
from domain.tool_choice import check_tool_choice
from errors import InvalidRequest, NotFound
from events import requests
from events.addresses import active_run_of, thread_partition
from events.log import Event
from events.overdue import address_of, nudge_of, tend
from events.races import settle
from events.run_record import run_of
from events.starting import starting_changes
from events.stream import Cursor
from events.thread_list import list_thread
from ids import new_id
from ports.documents import Change, CommitTooLarge, Document
from routes.file_references import check_files
from routes.includes import check_include
from routes.locks import RUN_REFUSED, load_thread, load_unlocked_thread
from routes.lookup import path_id
from routes.operation import Call, operation, reply
from routes.paging import page, page_query
from routes.run_events import stream_reply
from routes.threads import begin_thread
from schemas.run import CreateRun, CreateThreadAndRun, ModifyRun, SubmitToolOutputs

bp = df.Blueprint()


@operation(bp, "POST", "threads/{thread_id}/runs")
async def create_run(call: Call) -> Response:
    thread_id = path_id(call, "thread", "thread_id")
    check_include(call)
    body = await call.body(CreateRun)
    partition = thread_partition(call.principal.tenant, thread_id)
    await load_thread(call, partition, thread_id)
    run, given = await _queued_run(call, thread_id, body)
    in_request = in_messages(body.additional_messages or [], "additional_messages")
    await check_files(call, [*in_resources(body.tool_resources), *in_request])

    async def start() -> Response:
        thread = await load_unlocked_thread(call, partition, thread_id, RUN_REFUSED)
        messages, next_seq = message_documents(
            thread, body.additional_messages or [], run["created_at"], param="additional_messages"
        )
        grown = grown_thread(thread, body.additional_messages or [], next_seq, now=time.time())
        stream = bool(body.stream)
        return await _start(call, partition, grown, run, given=given, stream=stream, with_changes=messages)

    answer = await settle(start)
    if any(message.attached_for("code_interpreter") for message in body.additional_messages or ()):
        await list_thread(call.documents, partition, thread_id)
    return answer


@operation(bp, "POST", "threads/runs")
async def create_thread_and_run(call: Call) -> Response:
    check_include(call)
    body = await call.body(CreateThreadAndRun)
    thread_id = new_id("thread")
    run, given = await _queued_run(call, thread_id, body)
    await check_files(call, [*in_resources(body.tool_resources), *in_thread(body.thread, "thread.")])
    thread, messages = await begin_thread(call, thread_id, body.thread)
    partition = thread_partition(call.principal.tenant, thread_id)
    created = ("thread.created", thread.body["resource"])
    stream = bool(body.stream)
    return await _start(
        call, partition, thread, run, given=given, stream=stream, with_changes=messages, first=[created]
    )


async def _queued_run(
    call: Call, thread_id: str, body: CreateRun | CreateThreadAndRun
) -> tuple[dict[str, Any], list[str]]:
    """Return the run, and what of its sampling parameters a client gave, with the run or with the assistant."""
    assistant = await call.documents.get(f"{call.principal.tenant}/assistants", body.assistant_id)
    if assistant is None:
        raise NotFound(f"No assistant found with id '{body.assistant_id}'.")
    run = runs.begin(
        new_id("run"),
        thread_id,
        assistant.body["resource"],
        body.overrides(),
        now=int(time.time()),
        lifetime=call.settings.run_lifetime_seconds,
    )
    check_tool_choice(run)
    check_run_size(run)
    return run, body.given_sampling(assistant.body.get("given", ()))


async def _start(
    call: Call,
    partition: str,
    thread: Document,
    run: dict[str, Any],
    *,
    given: list[str],
    stream: bool,
    with_changes: Iterable[Change],
    first: Iterable[Event] = (),
) -> Response:
    changes = starting_changes(
        thread,
        run,
        given=given,
        lifetime=call.settings.run_lifetime_seconds,
        now=time.time(),
        with_changes=with_changes,
        first=first,
    )
    try:
        await call.documents.commit(partition, *changes)
    except CommitTooLarge as error:
        raise InvalidRequest(f"The request is too large to be stored at once: {error}") from None
    # After the commit the answer is 200 whatever the hub says: the sweeper wakes what sleeps too long.
    tenant = call.principal.tenant
    await call.hub.wake({"tenant": tenant, "thread_id": run["thread_id"], "run_id": run["id"]})
    return stream_reply(call, partition, run["id"], Cursor()) if stream else reply(run)


@operation(bp, "GET", "threads/{thread_id}/runs")
async def list_runs(call: Call) -> Response:
    thread_id = path_id(call, "thread", "thread_id")
    query = page_query(call.request, "run")
    partition = thread_partition(call.principal.tenant, thread_id)
    thread = await load_thread(call, partition, thread_id)
    if run_id := active_run_of(thread):
        await load_current_run(call, partition, run_id)
    return await page(call, partition, "run", "run", noun="run", query=query)


@operation(bp, "GET", "threads/{thread_id}/runs/{run_id}")
async def get_run(call: Call) -> Response:
    partition, run_id = run_place(call)
    return _run_reply(await load_current_run(call, partition, run_id))


@operation(bp, "POST", "threads/{thread_id}/runs/{run_id}")
async def modify_run(call: Call) -> Response:
    partition, run_id = run_place(call)
    body = await call.body(ModifyRun)
    current = await load_current_run(call, partition, run_id)
    if not body.given("metadata"):
        return _run_reply(current)
    return _run_reply(await requests.modify(call.documents, partition, run_id, body.metadata or {}))


@operation(bp, "POST", "threads/{thread_id}/runs/{run_id}/cancel")
async def cancel_run(call: Call) -> Response:
    partition, run_id = run_place(call)
    requested = await requests.cancel(call.documents, partition, run_id, now=time.time())
    await _nudge(call, partition, requested.run)
    return _run_reply(requested.run)


@operation(bp, "POST", "threads/{thread_id}/runs/{run_id}/submit_tool_outputs")
async def submit_tool_outputs_to_run(call: Call) -> Response:
    partition, run_id = run_place(call)
    body = await call.body(SubmitToolOutputs)
    requested = await requests.submit(call.documents, partition, run_id, body.by_call(), now=time.time())
    await _nudge(call, partition, requested.run)
    if body.stream and requested.batch is not None:
        return stream_reply(call, partition, run_id, Cursor(requested.batch))
    return _run_reply(requested.run)


async def _nudge(call: Call, partition: str, run: Document) -> None:
    await call.hub.wake(address_of(partition, run), nudge_of(run))


async def load_current_run(call: Call, partition: str, run_id: str) -> Document:
    """Return the run; one whose time is over has expired, however late its timer is (E.2.3). Raises NotFound."""
    document = await requests.load_run(call.documents, partition, run_id)
    if await tend(call.documents, call.hub, partition, document, now=time.time()):
        document = await requests.load_run(call.documents, partition, run_id)
    return document


def run_place(call: Call) -> tuple[str, str]:
    """Return the partition and the id of the run that the path names."""
    thread_id = path_id(call, "thread", "thread_id")
    run_id = path_id(call, "run", "run_id")
    return thread_partition(call.principal.tenant, thread_id), run_id


def _run_reply(document: Document) -> Response:
    run = run_of(document)
    return reply(run, {"openai-poll-after-ms": str(_poll_after_ms(run))})


def _poll_after_ms(run: dict[str, Any]) -> int:
    """A.7.2: often in a run's first second, then more and more seldom."""
    age = time.time() - run["created_at"]
    return 50 if age < 2 else min(1000, 250 + int((age - 2) * 75))
