"""Files of a thread's code session: what is put into it before a call, and what its code makes (G.1.3 to G.1.9).

Files are put under names of their own making and then moved to where code sees them, by code in the session: calls
of a session run one after the other, so a file that code has changed meanwhile is never replaced.
"""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from itertools import batched
from typing import Any

from domain.code_files import FOLDER, names_of, shown_name
from domain.files import media_type, new_file
from errors import InvalidRequest, NotFound
from files import records
from ids import derived_id
from ports.blobs import Blobs
from ports.code_sessions import CodeSessions, Execution, FileRefused, SessionFile
from ports.documents import Documents
from tools.code_session import CodeSession, change, read
from tools.tool import ToolCall

Resource = dict[str, Any]

MOST_FILES = 50  # kept of a call
MOST_IMAGES = 20  # kept of a call
LARGEST_FILE = 128 << 20  # bytes
MOST_OUTPUTS = 500  # names of files that links of a thread may mean; the oldest are forgotten
MOST_TOLD = 8  # calls whose notes are kept, for they may be delivered again
AT_A_TIME = 20  # reads
PLACED_WITHIN = 60.0  # seconds
PURPOSE = "assistants_output"
_PUT = re.compile(r"upload-[0-9a-f]{16}-\d+\.part")

_PLACE = """
def _put_files_in_place(files):
    import os
    for put, name, file_id in files:
        if os.path.lexists(name):
            os.unlink(put)
        else:
            os.rename(put, name)
        if not os.path.lexists(file_id):
            try:
                os.symlink(os.path.basename(name), file_id)
            except OSError:
                import shutil
                shutil.copyfile(name, file_id)
_put_files_in_place({!r})
del _put_files_in_place
"""


async def files_of(documents: Documents, partition: str, run: Resource) -> list[Resource]:
    """Return the files, as the API shows them, that a run's code may use. What is gone is left out."""
    return await _found(documents, _tenant(partition), await _ids_of(documents, partition, run))


async def _ids_of(documents: Documents, partition: str, run: Resource) -> list[str]:
    """Return the ids of the files of a run: its assistant's, or its own instead, then the thread's."""
    thread = await documents.get(partition, run["thread_id"])
    resources = run["tool_resources"]
    if not resources:
        assistant = await documents.get(f"{_tenant(partition)}/assistants", run["assistant_id"])
        resources = assistant.body["resource"]["tool_resources"] if assistant else {}
    threads = thread.body["resource"]["tool_resources"] if thread else {}
    return list(dict.fromkeys(file_id for each in (resources, threads) for file_id in _file_ids(each)))


async def _found(documents: Documents, tenant: str, ids: Sequence[str]) -> list[Resource]:
    found: list[Resource] = []
    for some in batched(ids, AT_A_TIME, strict=False):
        found += filter(None, await asyncio.gather(*(_file(documents, tenant, file_id) for file_id in some)))
    return found


async def names_and_outputs(documents: Documents, partition: str, files: Sequence[Resource]) -> Resource:
    """Return `names`, those of the files in the session, by id: the same for as long as the thread has them; and
    `outputs`, the ids of what code has written, by name."""

    def with_names(body: Resource) -> Resource:
        return body | {"names": names_of(files, body["names"], [*body["seen"], *body["outputs"]])}

    return await change(documents, partition, with_names)


class CodeFiles:
    """`quota`: bytes of all files of a tenant, 0 for none."""

    def __init__(self, sessions: CodeSessions, documents: Documents, blobs: Callable[[], Blobs], *, quota: int) -> None:
        self._sessions = sessions
        self._documents = documents
        self._blobs = blobs
        self._quota = quota

    async def place(self, session: CodeSession, call: ToolCall) -> list[str]:
        """Put the run's files into the session unless they are there. Return what the model should know of it.

        Raises SessionGone, CodeUnavailable, StoreUnavailable.
        """
        ids = await _ids_of(self._documents, call.partition, call.run)
        if session.placed.issuperset(ids):
            return []
        files = await _found(self._documents, _tenant(call.partition), ids)
        missing = [file for file in files if file["id"] not in session.placed]
        names = (await names_and_outputs(self._documents, call.partition, files))["names"]
        notes: list[str] = []
        put: list[tuple[str, str, str]] = []
        placed = {file["id"] for file in missing}
        token = secrets.token_hex(8)
        for number, file in enumerate(missing):
            name = f"upload-{token}-{number}.part"
            try:
                await self._put(session, name, call, file)
                put.append((f"{FOLDER}/{name}", f"{FOLDER}/{names[file['id']]}", f"{FOLDER}/{file['id']}"))
            except FileRefused as reason:
                notes.append(f"[{FOLDER}/{names[file['id']]} is not there: {reason}.]")
        if put:
            done = await self._sessions.execute(session.name, f"place-{token}", _PLACE.format(put), PLACED_WITHIN)
            if done.status != "ok":  # the next call tries again
                notes.append("[The files could not be put in their place.]")
                placed -= {file_id.removeprefix(f"{FOLDER}/") for _, _, file_id in put}
        ours = {names[file_id] for file_id in placed}
        seen = [file for file in await self._sessions.files(session.name) if file.name in ours] if put else []
        await self._note(session, call, seen=seen, placed=sorted(placed))
        return notes

    async def _put(self, session: CodeSession, name: str, call: ToolCall, file: Resource) -> None:
        content = await self._blobs().get(_tenant(call.partition), file["id"])
        if content is None:
            raise FileRefused("it has been deleted")
        await self._sessions.put(session.name, name, content)

    async def keep(self, session: CodeSession, call: ToolCall, done: Execution) -> tuple[list[Resource], list[str]]:
        """Make files of what the call has shown and written.

        Return the pictures as outputs of its step (C.7), and what the model should know. Raises SessionGone,
        CodeUnavailable, StoreUnavailable.
        """
        images, notes = await self._keep_images(call, done)
        body = await read(self._documents, call.partition)
        listed = [file for file in await self._sessions.files(session.name) if not _PUT.fullmatch(file.name)]
        # A file's id is but another name of it, which some sessions list.
        listed = [file for file in listed if file.name not in body["placed"]]
        written = [file for file in listed if body["seen"].get(file.name) != _stamp(file)]
        if not written:  # by a call that was delivered before perhaps
            return images, body["told"].get(call.id, notes)
        outputs: dict[str, str] = {}
        for file in written[:MOST_FILES]:
            try:
                outputs[file.name] = await self._keep_file(session, call, file)
                notes.append(f"[Written: {FOLDER}/{shown_name(file.name)}]")
            except (FileRefused, InvalidRequest) as reason:
                notes.append(f"[{FOLDER}/{shown_name(file.name)} was not kept for the user: {reason}]")
        if len(written) > MOST_FILES:
            notes.append(f"[{len(written) - MOST_FILES} more files were written; {MOST_FILES} are kept of a call.]")
        await self._note(session, call, seen=listed, outputs=outputs, told=notes)
        return images, notes

    async def _keep_images(self, call: ToolCall, done: Execution) -> tuple[list[Resource], list[str]]:
        images: list[Resource] = []
        try:
            for number, png in enumerate(done.images[:MOST_IMAGES]):
                file_id = derived_id("file", call.id, "image", number)
                await self._store(call, file_id, f"{file_id}.png", _whole(png))
                images.append({"type": "image", "image": {"file_id": file_id}})
        except InvalidRequest as reason:
            return images, [f"[The user does not see every picture: {reason}]"]
        if not done.images:
            return [], []
        shown = f"[The user sees {len(images)} of {len(done.images)} pictures.]"
        return images, [shown]

    async def _keep_file(self, session: CodeSession, call: ToolCall, file: SessionFile) -> str:
        if file.size > LARGEST_FILE:
            raise FileRefused(f"it has {file.size} bytes, of at most {LARGEST_FILE}")
        # What is written anew is another file; a second delivery of the call makes the same one.
        file_id = derived_id("file", call.partition, session.incarnation, file.name, _stamp(file))
        await self._store(call, file_id, shown_name(file.name), await self._sessions.get(session.name, file.name))
        return file_id

    async def _store(self, call: ToolCall, file_id: str, filename: str, content: AsyncIterable[bytes]) -> None:
        """Store a file unless it is there. Raises InvalidRequest if it is more than the tenant's quota allows."""
        tenant, now = _tenant(call.partition), time.time()
        if await self._documents.get(records.partition_of(tenant), file_id):
            return
        size = await self._blobs().put(tenant, file_id, content)
        file = new_file(file_id, filename, size, PURPOSE, now=int(now))
        record = records.record(file, media_type("", filename), created_ms=int(now * 1000))
        try:
            await records.add(self._documents, tenant, record, quota=self._quota)
        except InvalidRequest:
            if not await self._documents.get(records.partition_of(tenant), file_id):
                await self._blobs().delete(tenant, file_id)
            raise

    async def _note(
        self,
        session: CodeSession,
        call: ToolCall,
        *,
        seen: Sequence[SessionFile],
        placed: Sequence[str] = (),
        outputs: dict[str, str] | None = None,
        told: Sequence[str] = (),
    ) -> None:
        """Remember what there is, so that only what changes from now on is the code's doing."""
        stamps = {file.name: _stamp(file) for file in seen}

        def noted(body: Resource) -> Resource:
            if body["incarnation"] != session.incarnation:
                return body
            made = list((body["outputs"] | (outputs or {})).items())[-MOST_OUTPUTS:]
            notes = list((body["told"] | ({call.id: [*told]} if told else {})).items())[-MOST_TOLD:]
            known = {"seen": body["seen"] | stamps, "outputs": dict(made), "told": dict(notes)}
            return body | known | {"placed": [*dict.fromkeys([*body["placed"], *placed])]}

        await change(self._documents, call.partition, noted)


def _tenant(partition: str) -> str:
    return partition.partition("/")[0]


def _file_ids(resources: Resource) -> list[str]:
    return resources.get("code_interpreter", {}).get("file_ids", [])


async def _file(documents: Documents, tenant: str, file_id: str) -> Resource | None:
    try:
        return (await records.find(documents, tenant, file_id, now=time.time())).body["resource"]
    except NotFound:
        return None


def _stamp(file: SessionFile) -> str:
    return f"{file.modified}/{file.size}"


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content
