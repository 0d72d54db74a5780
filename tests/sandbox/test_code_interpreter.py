"""The code interpreter's calls in the local sandbox, with the thread's session behind them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.folder import FolderBlobs
from adapters.local_code_sessions import LocalCodeSessions
from adapters.sqlite import SqliteDocuments
from domain.files import new_file
from files import records
from ids import new_id
from ports.documents import Create, Document, Replace
from sandbox.keeper import Keeper
from tests.contract.test_code_sessions import local, pool
from tests.dynamic_sessions import SessionPool
from tools.code_interpreter import AWAY, CodeInterpreter
from tools.tool import ToolCall, ToolUnavailable

Kept = tuple[CodeInterpreter, Keeper]
QUOTA = 2_000_000


@pytest.fixture(params=["local", "pool"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    """The tool, and who keeps its sessions; behind the double of a pool it is a sandbox too."""
    documents, blobs = SqliteDocuments(tmp_path / "a.db"), FolderBlobs(tmp_path / "files")
    async with local() if request.param == "local" else pool() as (sessions, keeper):
        if keeper is None:
            pytest.skip("a real pool keeps its sessions for itself")
        tool = CodeInterpreter(sessions, documents, lambda: blobs, timeout=5.0, quota=QUOTA)
        yield tool, keeper.keeper if isinstance(keeper, SessionPool) else keeper
    await documents.close()


only_local = pytest.mark.parametrize("kept", ["local"], indirect=True)


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


@only_local
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
    # The same call again, whose answer was lost, is told again; another one isn't.
    assert "variables" in await told(tool, "1 + 1", "call_2")
    assert await told(tool, "1 + 1", "call_3") == "2"


async def outputs_of(tool: CodeInterpreter, partition: str = "default/thread_1") -> list[dict[str, Any]]:
    """The files that code has written, oldest first."""
    tenant = partition.partition("/")[0]
    listed = await tool._documents.list(records.partition_of(tenant), "file", limit=100)
    return [document.body["resource"] for document in listed]


async def given_file(tool: CodeInterpreter, content: bytes, name: str, thread_id: str = "thread_1") -> str:
    """Give the thread a file."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    documents, file_id = tool._documents, new_id("file")
    size = await tool._files._blobs().put("default", file_id, pieces())
    file = new_file(file_id, name, size, "assistants", now=0)
    await records.add(documents, "default", records.record(file, "", created_ms=0), quota=0)
    partition = f"default/{thread_id}"
    thread = await documents.get(partition, thread_id)
    ids = [*(thread.body["resource"]["tool_resources"]["code_interpreter"]["file_ids"] if thread else []), file_id]
    body = {"resource": {"id": thread_id, "tool_resources": {"code_interpreter": {"file_ids": ids}}}}
    change = Create(Document(thread_id, "thread", body))
    if thread:
        change = Replace(replace(thread, body=body), thread.version)
    await documents.commit(partition, change)
    return file_id


@only_local
async def test_what_code_writes_is_kept_once_however_often_its_call_is_delivered(kept: Kept):
    tool, _ = kept
    for _ in range(2):
        assert "[Written: /mnt/data/a.txt]" in await told(tool, "open('a.txt', 'w').write('1')", "call_1")
    assert [file["filename"] for file in await outputs_of(tool)] == ["a.txt"]
    assert "Written" not in await told(tool, "1", "call_2")


async def test_calls_side_by_side_keep_each_file_once(kept: Kept):
    tool, _ = kept
    await given_file(tool, b"in", "in.txt")
    calls = (told(tool, f"open('{n}.txt', 'w').write(open('in.txt').read())", f"call_{n}") for n in range(6))
    await asyncio.gather(*calls)
    outputs = [file["filename"] for file in await outputs_of(tool) if file["purpose"] == "assistants_output"]
    assert sorted(outputs) == [f"{n}.txt" for n in range(6)]


async def test_a_rebuilt_session_has_its_files_again(kept: Kept):
    tool, keeper = kept
    file_id = await given_file(tool, b"in", "in.txt")
    assert await told(tool, "open('in.txt').read()", "call_1") == "'in'"
    for name in list(keeper._kept):
        keeper._end(name)
    assert (await told(tool, f"open('{file_id}').read()", "call_2")).endswith("'in'")


async def test_a_file_of_the_threads_never_takes_the_place_of_one_that_code_has_written(kept: Kept):
    tool, _ = kept
    await told(tool, "open('report.txt', 'w').write('mine');", "call_1")
    file_id = await given_file(tool, b"theirs", "report.txt")
    read = f"[open(name).read() for name in ('report.txt', 'report_2.txt', '{file_id}')]"
    assert await told(tool, read, "call_2") == "['mine', 'theirs', 'theirs']"


async def test_a_file_that_code_has_changed_is_not_put_there_again_and_is_an_output(kept: Kept):
    tool, _ = kept
    await given_file(tool, b"in", "in.txt")
    assert "[Written: /mnt/data/in.txt]" in await told(tool, "open('in.txt', 'w').write('changed');", "call_1")
    await given_file(tool, b"more", "more.txt")
    assert await told(tool, "open('in.txt').read() + open('more.txt').read()", "call_2") == "'changedmore'"


async def test_what_does_not_fit_is_said_and_the_rest_is_kept(kept: Kept):
    tool, _ = kept
    code = "open('large', 'wb').write(bytes(3_000_000)); open('small', 'w').write('1');"
    text = await told(tool, code, "call_1")
    assert "/mnt/data/large was not kept for the user: This file does not fit" in text
    assert "[Written: /mnt/data/small]" in text
    many = "for n in range(60): open(f'{n:02}', 'w').close()"
    assert "10 more files were written" in await told(tool, many, "call_2")


@only_local
async def test_the_model_is_told_what_of_its_pictures_the_user_sees(kept: Kept):
    tool, _ = kept
    pictures = "class P:\n  def _repr_png_(self): return b'PNG'\ndisplay(*[P() for _ in range(30)])"
    assert "[The user sees 20 of 30 pictures.]" in await told(tool, pictures, "call_1")


async def test_files_that_could_not_be_put_in_place_are_tried_again(kept: Kept):
    tool, _ = kept
    await told(tool, "import os\nrename, os.rename = os.rename, None", "call_1")
    await given_file(tool, b"in", "in.txt")
    assert "could not be put in their place" in await told(tool, "os.rename = rename", "call_2")
    assert await told(tool, "open('in.txt').read()", "call_3") == "'in'"


async def test_a_deleted_file_is_not_there_and_a_broken_one_is_said_to_be_missing(kept: Kept):
    tool, _ = kept
    file_id = await given_file(tool, b"in", "in.txt")
    await tool._files._blobs().delete("default", file_id)
    assert "[/mnt/data/in.txt is not there: it has been deleted.]" in await told(tool, "1", "call_1")
    await records.remove(tool._documents, "default", file_id)
    assert await told(tool, "import os\nos.listdir()", "call_2") == "[]"


async def test_names_that_break_lines_break_no_note(kept: Kept):
    tool, _ = kept
    text = await told(tool, "open('a\\nb\u2028', 'w').write('1');", "call_1")
    assert text.splitlines()[-1] == "[Written: /mnt/data/'a\\nb\\u2028']"


async def test_each_hour_of_a_session_is_counted_once(kept: Kept):
    tool, _ = kept
    for number in range(3):
        await told(tool, "1", f"call_{number}")
    hours = await tool._documents.list("default/thread_1", "session_hour", limit=10)
    assert [(hour.body["run_id"], hour.body["usd"]) for hour in hours] == [("run_1", 0.03)]


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
