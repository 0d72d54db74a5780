"""The session of a thread: one for all its runs, found again by a name that nobody else can guess (G.1.2).

The thread's document `session` holds `secret`, which the name is derived from, and `incarnation`, the one that was seen
last: another one has neither the variables nor the files of the one before. Of that one it holds `new_to` (the call
that was told of it), `hour` (when its last hour began to be paid, Unix seconds), `placed` (ids of the files that were
put into it), `seen` (what each file's last change was, by name) and `told` (what the last calls were told of what
they wrote, by their ids). `names` are the names of the thread's files by
id, `outputs` the ids of what code has made by name; these stay.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from errors import Conflict, StoreUnavailable
from files.records import pause
from ports.code_sessions import CodeSessions
from ports.documents import Change, Create, Document, Documents, Replace
from tools.tool import ToolCall

Resource = dict[str, Any]

DOCUMENT = "session"
ATTEMPTS = 20
# Seconds, some 90 days after the last change: one that is written while its thread is deleted doesn't stay for ever.
KEPT = 90 * 86_400
HOUR = 3_600  # seconds, for which a session is paid (azure-infra: billed in steps of an hour)
USD_AN_HOUR = 0.03
USAGE_KEPT = 400 * 86_400  # seconds


@dataclass(frozen=True, slots=True)
class CodeSession:
    """`is_rebuilt`: what earlier code of the thread has left is gone. `placed` are the ids of files that are in it."""

    name: str
    incarnation: str
    is_rebuilt: bool
    placed: frozenset[str]


async def open_session(sessions: CodeSessions, documents: Documents, call: ToolCall, *, now: float) -> CodeSession:
    """Return the thread's session, made anew where it was lost. Raises CodeUnavailable, StoreUnavailable.

    A new one, and each hour that an old one is used beyond its last, is counted as usage.
    """
    partition = call.partition
    body = await change(documents, partition, lambda body: body | {"secret": body["secret"] or secrets.token_hex(16)})
    name = _name(partition, body["secret"])
    incarnation = await sessions.begin(name)
    rebuilt = False

    def begun(body: Resource) -> Resource:
        nonlocal rebuilt
        if body["incarnation"] == incarnation:
            rebuilt = body["new_to"] == call.id
            return body if now - body["hour"] < HOUR else body | {"hour": int(now)}
        rebuilt = body["incarnation"] is not None
        fresh = {"placed": [], "seen": {}, "told": {}, "hour": int(now), "new_to": call.id if rebuilt else None}
        return body | fresh | {"incarnation": incarnation}

    def paid(body: Resource) -> list[Change]:
        return [Create(_hour_of_use(call, body))] if body["hour"] == int(now) else []

    body = await change(documents, partition, begun, also=paid)
    return CodeSession(name, incarnation, rebuilt, frozenset(body["placed"]))


async def read(documents: Documents, partition: str) -> Resource:
    """Return the body of the thread's document, as it is or would be."""
    return (await documents.get(partition, _id(partition)) or _new(partition)).body


async def change(
    documents: Documents,
    partition: str,
    changed: Callable[[Resource], Resource],
    *,
    also: Callable[[Resource], list[Change]] = lambda _: [],
) -> Resource:
    """Return the body of the thread's document after `changed`, in one commit with what `also` makes of it.

    Nothing is committed if nothing has changed. Raises StoreUnavailable.
    """
    for attempt in range(ATTEMPTS):
        document = await documents.get(partition, _id(partition)) or _new(partition)
        body = changed(document.body)
        if body == document.body:
            return body
        stored = replace(document, body=body, ttl=KEPT)
        try:
            # Calls side by side change it, too.
            first = Replace(stored, document.version) if document.version else Create(stored)
            await documents.commit(partition, first, *also(body))
        except Conflict:
            await pause(attempt)
        else:
            return body
    raise StoreUnavailable(f"The session of {partition} is changing too fast.")


def _hour_of_use(call: ToolCall, body: Resource) -> Document:
    used = {
        "thread_id": call.run["thread_id"],
        "run_id": call.run["id"],
        "assistant_id": call.run["assistant_id"],
        "began_at": body["hour"],
        "usd": USD_AN_HOUR,
    }
    id = f"{_id(call.partition)}.{body['incarnation']}.{body['hour']}"
    return Document(id, "session_hour", used, sort=f"{body['hour']:012}", ttl=USAGE_KEPT)


def _new(partition: str) -> Document:
    body: Resource = {"secret": None, "incarnation": None, "new_to": None, "hour": 0}
    return Document(_id(partition), DOCUMENT, body | {"placed": [], "seen": {}, "told": {}, "names": {}, "outputs": {}})


def _id(partition: str) -> str:
    # Ids are unique in the whole container.
    return f"{partition.rpartition('/')[2]}.session"


def _name(partition: str, secret: str) -> str:
    return hashlib.sha256(f"{partition}/{secret}".encode()).hexdigest()[:40]
