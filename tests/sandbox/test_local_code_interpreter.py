"""The local host's side: packages that are on their way, or can't be had."""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from adapters.local_code_sessions import LocalCodeSessions
from devhost import code_interpreter
from ports.code_sessions import CodeMissing
from tests import sandboxes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is for Linux")

Installer = Callable[[str], None]


@pytest.fixture
async def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """Have the host install by a script of the test's."""
    await sandboxes.skip_where_missing()
    monkeypatch.setattr(code_interpreter, "ROOT", tmp_path)

    def write(script: str) -> None:
        (tmp_path / "dev.py").write_text(script)

    return write


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


@asynccontextmanager
async def interpreter() -> AsyncIterator[LocalCodeSessions]:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "code.sock")
        kept = code_interpreter.CodeInterpreter(socket)
        await until(socket.exists)
        sessions = LocalCodeSessions(socket)
        try:
            yield sessions
        finally:
            await sessions.close()
            await kept.stop()


async def test_a_call_that_comes_early_waits_and_the_log_says_why(
    installer: Installer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "devhost.code")
    installer("import time\nprint('dev.py: Installing …', flush=True)\ntime.sleep(1)")
    async with interpreter() as sessions:
        first = asyncio.create_task(sessions.begin("session-1"))
        await asyncio.sleep(0.5)
        assert not first.done()
        assert await first
        assert (await sessions.execute("session-1", "call-1", "import pandas\n1 + 1", 20)).result == "2"
    assert "code interpreter (calls wait for it): Installing …" in caplog.text


async def test_what_can_not_be_installed_is_said_to_the_user(installer: Installer, caplog: pytest.LogCaptureFixture):
    installer("import sys\nprint('ERROR: no network')\nsys.exit('dev.py: Installing failed')")
    async with interpreter() as sessions:
        for _ in range(2):
            with pytest.raises(CodeMissing, match=r"could not be installed.*dev\.py packages"):
                await sessions.begin("session-1")
    assert "The code interpreter is off." in caplog.text


async def test_a_host_that_stops_meanwhile_leaves_no_installer(installer: Installer, tmp_path: Path):
    told = tmp_path / "pid"
    installer(f"import os, time\nopen({str(told)!r}, 'w').write(str(os.getpid()))\ntime.sleep(100)")
    async with interpreter():
        await until(lambda: told.exists() and bool(told.read_text()))
    assert not psutil.pid_exists(int(told.read_text()))


async def test_where_there_is_no_sandbox_users_are_told_why(installer: Installer, monkeypatch: pytest.MonkeyPatch):
    async def why(*_: object) -> str:
        return "Namespaces are not allowed here."

    installer("")
    monkeypatch.setattr(code_interpreter, "why_unavailable", why)
    async with interpreter() as sessions:
        with pytest.raises(CodeMissing, match="Namespaces are not allowed here"):
            await sessions.begin("session-1")
