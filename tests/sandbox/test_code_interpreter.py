"""The code interpreter's calls in the local sandbox, with the thread's session behind them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.folder import FolderBlobs
from adapters.local_code_sessions import LocalCodeSessions
from adapters.sqlite import SqliteDocuments
from sandbox.keeper import Keeper
from tests.contract.test_code_sessions import local
from tools.code_interpreter import AWAY, CodeInterpreter
from tools.tool import ToolCall, ToolUnavailable

Kept = tuple[CodeInterpreter, Keeper]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    documents = SqliteDocuments(tmp_path / "a.db")
    async with local() as (sessions, keeper):
        yield CodeInterpreter(sessions, documents, lambda: FolderBlobs(tmp_path / "files"), timeout=5.0), keeper
    await documents.close()


def a_call(tool: CodeInterpreter, code: str, id: str, partition: str = "default/thread_1") -> ToolCall:
    run = {"id": "run_1", "thread_id": partition.partition("/")[2], "assistant_id": "asst_1", "tool_resources": {}}
    return ToolCall(partition, run, id, tool.arguments(code), 10_000)


async def told(tool: CodeInterpreter, *call: Any) -> str:
    return (await tool.run(a_call(tool, *call))).text


async def test_calls_of_a_thread_share_their_variables_and_those_of_others_do_not(kept: Kept):
    tool, _ = kept
    await tool.run(a_call(tool, "x = 20", "call_1"))
    assert await told(tool, "x + 1", "call_2") == "21"
    assert "NameError" in await told(tool, "x", "call_3", "default/thread_2")
    assert "NameError" in await told(tool, "x", "call_4", "other/thread_3")


async def test_a_call_delivered_twice_is_run_once(kept: Kept):
    tool, _ = kept
    await tool.run(a_call(tool, "n = 0", "call_1"))
    assert [await told(tool, "n += 1\nn", "call_2") for _ in range(2)] == ["1", "1"]


async def test_an_error_is_an_output_that_the_model_reads(kept: Kept):
    tool, _ = kept
    result = await tool.run(a_call(tool, "print('before')\n1 / 0", "call_1"))
    assert "ZeroDivisionError" in result.text
    [output] = result.outputs
    assert output["type"] == "logs"
    assert output["logs"].startswith("before\n")


async def test_a_session_that_was_lost_is_made_anew_and_the_model_is_told(kept: Kept):
    tool, keeper = kept
    await tool.run(a_call(tool, "x = 1", "call_1"))
    for name in list(keeper._kept):
        keeper._end(name)
    text = await told(tool, "1 + 1", "call_2")
    assert text.endswith("\n2")
    assert "variables" in text
    assert await told(tool, "1 + 1", "call_3") == "2"


async def test_without_a_sandbox_the_tool_says_that_it_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    documents = SqliteDocuments(tmp_path / "a.db")
    sessions = LocalCodeSessions(tmp_path / "nobody.sock")
    tool = CodeInterpreter(sessions, documents, lambda: FolderBlobs(tmp_path / "files"), timeout=5.0)
    with pytest.raises(ToolUnavailable) as away:
        await tool.run(a_call(tool, "1", "call_1"))
    # Where the sandbox is, and how it fails, is for the log.
    assert away.value.message == AWAY
    assert "does not answer" in caplog.text
    await sessions.close()
    await documents.close()
