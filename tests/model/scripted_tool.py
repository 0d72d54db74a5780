"""The code interpreter without its sandbox: each run of a call gives a result of its own."""

import asyncio
from typing import Any

from tools.code_interpreter import CodeInterpreter
from tools.tool import ToolCall, ToolContext, ToolResult


class ScriptedTool(CodeInterpreter):
    """`results` are those of the runs so far."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.results: list[str] = []

    async def context(self, partition: str, run: dict[str, Any]) -> ToolContext:
        return ToolContext()

    async def run(self, call: ToolCall) -> ToolResult:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        result = f"{self.type} ran for the {len(self.results) + 1}. time"
        self.results.append(result)
        return ToolResult(result, [{"type": "logs", "logs": result}])
