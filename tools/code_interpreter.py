"""The code interpreter: Python for the model, in the thread's session (G.1)."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from domain import code_outputs
from ports.code_sessions import CodeMissing, CodeSessions, CodeUnavailable, Execution, SessionGone
from ports.documents import Documents
from tools.code_session import CodeSession, open_session
from tools.tool import ToolCall, ToolResult, ToolUnavailable

logger = logging.getLogger("durable_assistants.runs")

Resource = dict[str, Any]

LOST = (
    "[The session was lost while this code ran, and its result with it. Its variables and the files it had written "
    "are gone; whether the code had finished is not known.]"
)
AWAY = "The code interpreter is not available at the moment."
NEW = "[The session in which earlier code ran is gone, with its variables and the files it had written.]"


class CodeInterpreter:
    """`timeout`: seconds that one call may take."""

    type = "code_interpreter"
    description = (
        "Runs Python in a sandbox without network access, and returns what it prints, the value of its last "
        "expression, or its traceback. Variables and the files in /mnt/data are kept from call to call."
    )
    parameters: Resource = {  # noqa: RUF012 - never changed
        "type": "object",
        "properties": {"code": {"type": "string", "description": "Python source."}},
        "required": ["code"],
    }

    def __init__(self, sessions: CodeSessions, documents: Documents, *, timeout: float) -> None:
        self._sessions = sessions
        self._documents = documents
        self._timeout = timeout

    def arguments(self, written: str) -> str:
        return json.dumps({"code": source(written)})

    def shown(self, call_id: str, arguments: str, outputs: Sequence[Resource] = ()) -> Resource:
        code = {"input": source(arguments), "outputs": list(outputs)}
        return {"id": call_id, "type": self.type, self.type: code}

    def opening(self, call_id: str, arguments: str) -> list[Resource]:
        return [
            {"id": call_id, "type": self.type, self.type: {"input": "", "outputs": []}},
            {"type": self.type, self.type: {"input": source(arguments)}},
        ]

    def closing(self, outputs: Sequence[Resource]) -> list[Resource]:
        indexed = [{"index": index, **output} for index, output in enumerate(outputs)]
        return [{"type": self.type, self.type: {"outputs": indexed}}] if indexed else []

    async def run(self, call: ToolCall) -> ToolResult:
        try:
            session = await open_session(self._sessions, self._documents, call.partition)
            done = await self._execute(session, call)
        except CodeMissing as error:
            raise ToolUnavailable(str(error), retry_after=None) from error
        except CodeUnavailable as error:
            logger.warning("the code interpreter is not available: %s", error)
            raise ToolUnavailable(AWAY, retry_after=error.retry_after) from error
        if done is None:
            return ToolResult(LOST, [{"type": "logs", "logs": LOST}])
        text = code_outputs.told(done, self._timeout)
        outputs = code_outputs.outputs(done, self._timeout, room=call.room)
        return ToolResult(f"{NEW}\n{text}" if session.is_rebuilt else text, outputs)

    async def _execute(self, session: CodeSession, call: ToolCall) -> Execution | None:
        """Run the call's code; None if session and result were lost."""
        try:
            return await self._sessions.execute(session.name, call.id, source(call.arguments), self._timeout)
        except SessionGone:
            return None


def source(written: str) -> str:
    """Return the code among what a model wrote as arguments: some write the source bare instead of JSON."""
    try:
        read = json.loads(written, strict=False)
    except ValueError:
        return written
    if isinstance(read, dict) and isinstance(read.get("code"), str):
        return read["code"]
    return read if isinstance(read, str) else written
