"""The code interpreter: Python for the model, in the thread's session (G.1)."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import to_json

from domain import code_outputs
from domain.code_files import note
from domain.code_input import CodeReader
from ports.blobs import Blobs
from ports.code_sessions import CodeMissing, CodeSessions, CodeUnavailable, SessionGone
from ports.documents import Documents
from tools.code_files import CodeFiles, files_of, names_and_outputs
from tools.code_session import CodeSession, open_session
from tools.tool import ToolCall, ToolContext, ToolResult, ToolUnavailable

logger = logging.getLogger("durable_assistants.runs")

Resource = dict[str, Any]

LOST = (
    "[The session was lost while this code ran, and its result with it. Its variables and the files it had written "
    "are gone; whether the code had finished is not known.]"
)
LOST_FILES = "[The session was lost after this code had run: what it wrote is gone.]"
LEAST_ROOM = 200  # bytes as JSON for what a call has printed
ATTEMPTS = 3  # to have a session that lasts until its code is run
AWAY = "The code interpreter is not available at the moment."
NEW = "[The session in which earlier code ran is gone, with its variables and the files it had written.]"


class CodeInterpreter:
    """`timeout`: seconds that one call may take; `quota`: bytes of all files of a tenant, 0 for none."""

    type = "code_interpreter"
    description = (
        "Runs Python in a sandbox without network access, and returns what it prints, the value of its last "
        "expression, or its traceback. Variables and the files in /mnt/data are kept from call to call. "
        "The user sees charts that are shown. To give the user a file, write it to /mnt/data and link to it in the "
        "answer, such as [report.xlsx](sandbox:/mnt/data/report.xlsx)."
    )
    parameters: Resource = {  # noqa: RUF012 - never changed
        "type": "object",
        "properties": {"code": {"type": "string", "description": "Python source."}},
        "required": ["code"],
    }

    def __init__(
        self,
        sessions: CodeSessions,
        documents: Documents,
        blobs: Callable[[], Blobs],
        *,
        timeout: float,
        quota: int = 0,
    ) -> None:
        self._sessions = sessions
        self._documents = documents
        self._files = CodeFiles(sessions, documents, blobs, quota=quota)
        self._timeout = timeout

    def arguments(self, written: str) -> str:
        return json.dumps({"code": source(written)})

    def shown(self, call_id: str, arguments: str, outputs: Sequence[Resource] = ()) -> Resource:
        code = {"input": source(arguments), "outputs": list(outputs)}
        return {"id": call_id, "type": self.type, self.type: code}

    def begun(self, call_id: str) -> Resource:
        return {"id": call_id, "type": self.type, self.type: {"input": "", "outputs": []}}

    def written(self, text: str) -> Resource:
        return {"type": self.type, self.type: {"input": text}}

    def reader(self) -> CodeReader:
        return CodeReader()

    def rest(self, announced: Resource | None, arguments: str) -> list[Resource] | None:
        code, shown = source(arguments), announced[self.type]["input"] if announced else ""
        if not code.startswith(shown):
            return None
        return [self.written(code.removeprefix(shown))] if code != shown else []

    def closing(self, outputs: Sequence[Resource]) -> list[Resource]:
        indexed = [{"index": index, **output} for index, output in enumerate(outputs)]
        return [{"type": self.type, self.type: {"outputs": indexed}}] if indexed else []

    async def context(self, partition: str, run: Resource) -> ToolContext:
        files = await files_of(self._documents, partition, run)
        body = await names_and_outputs(self._documents, partition, files)
        names = {body["names"][file["id"]]: file["id"] for file in files}
        by_id = {file_id: file_id for file_id in names.values()}
        return ToolContext(note(files, body["names"]), by_id | names | body["outputs"])

    async def run(self, call: ToolCall) -> ToolResult:
        try:
            return await self._run(call)
        except CodeMissing as error:
            raise ToolUnavailable(str(error), retry_after=None) from error
        except CodeUnavailable as error:
            logger.warning("the code interpreter is not available: %s", error)
            raise ToolUnavailable(AWAY, retry_after=error.retry_after) from error

    async def _run(self, call: ToolCall) -> ToolResult:
        session, notes = await self._ready(call)
        notes = [NEW, *notes] if session.is_rebuilt else notes
        try:
            done = await self._sessions.execute(session.name, call.id, source(call.arguments), self._timeout)
        except SessionGone:
            return ToolResult("\n".join([*notes, LOST]), [{"type": "logs", "logs": LOST}])
        try:
            images, kept = await self._files.keep(session, call, done)
        except SessionGone:
            images, kept = [], [LOST_FILES]
        room = max(LEAST_ROOM, call.room - len(to_json(images)))
        outputs = [*code_outputs.outputs(done, self._timeout, room=room), *images]
        return ToolResult("\n".join([*notes, code_outputs.told(done, self._timeout), *kept]), outputs)

    async def _ready(self, call: ToolCall) -> tuple[CodeSession, list[str]]:
        """Return the thread's session with its files in it, and what the model should know of them."""
        for _ in range(ATTEMPTS):
            session = await open_session(self._sessions, self._documents, call, now=time.time())
            try:
                return session, await self._files.place(session, call)
            except SessionGone:
                continue
        raise CodeUnavailable("Sessions are lost as soon as they are made.")


def source(written: str) -> str:
    """Return the code among what a model wrote as arguments: some write the source bare instead of JSON."""
    try:
        read = json.loads(written, strict=False)
    except ValueError:
        return written
    if isinstance(read, dict) and isinstance(read.get("code"), str):
        return read["code"]
    return read if isinstance(read, str) else written
