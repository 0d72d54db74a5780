"""The session of a thread: one for all its runs, found again by a name that nobody else can guess (G.1.2).

The thread's document `session` holds what the name is derived from, and the incarnation that was seen last: another
one has neither the variables nor the files of the one before.
"""

import hashlib
import secrets
from dataclasses import dataclass, replace

from errors import Conflict
from ports.code_sessions import CodeSessions
from ports.documents import Create, Document, Documents, Replace

DOCUMENT = "session"
ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class CodeSession:
    """`is_rebuilt`: what earlier code of the thread has left is gone."""

    name: str
    incarnation: str
    is_rebuilt: bool


async def open_session(sessions: CodeSessions, documents: Documents, partition: str) -> CodeSession:
    """Return the thread's session, made anew where it was lost. Raises CodeUnavailable, StoreUnavailable."""
    for _ in range(ATTEMPTS):
        try:
            document = await _document(documents, partition)
        except Conflict:
            continue  # a call beside this one has made it
        name = _name(partition, document.body["secret"])
        incarnation, before = await sessions.begin(name), document.body["incarnation"]
        if incarnation == before:
            return CodeSession(name, incarnation, is_rebuilt=False)
        changed = replace(document, body=document.body | {"incarnation": incarnation})
        try:
            await documents.commit(partition, Replace(changed, document.version))
        except Conflict:
            continue  # a call beside this one has seen it too
        return CodeSession(name, incarnation, is_rebuilt=before is not None)
    raise Conflict


async def _document(documents: Documents, partition: str) -> Document:
    if found := await documents.get(partition, _id(partition)):
        return found
    new = Document(_id(partition), DOCUMENT, {"secret": secrets.token_hex(16), "incarnation": None})
    (stored,) = await documents.commit(partition, Create(new))
    return stored


def _id(partition: str) -> str:
    # Ids are unique in the whole container.
    return f"{partition.rpartition('/')[2]}.session"


def _name(partition: str, secret: str) -> str:
    return hashlib.sha256(f"{partition}/{secret}".encode()).hexdigest()[:40]
