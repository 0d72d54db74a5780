"""What every keeper of code sessions does."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from azure.core.credentials import AccessToken
from azure.identity.aio import DefaultAzureCredential

from adapters.dynamic_sessions import DynamicSessions
from adapters.local_code_sessions import LocalCodeSessions
from ports.code_sessions import CodeMissing, CodeSessions, CodeUnavailable, FileRefused, SessionGone
from sandbox.availability import why_unavailable
from sandbox.bubblewrap import Runtime, find_bubblewrap
from sandbox.inside.limits import MIB, Limits
from sandbox.keeper import Keeper, Off
from sandbox.server import server
from sandbox.session import Session, SessionLost
from tests.dynamic_sessions import TOKEN, SessionPool
from tests.sandboxes import skip_for

SECONDS = 20.0
RUNTIME = Runtime(Path(sys.base_prefix).resolve(), f"python{sys.version_info.major}.{sys.version_info.minor}")
LIMITS = Limits(memory=400 * MIB, data=64 * MIB, scratch=32 * MIB, grace=1.0)


@asynccontextmanager
async def local(**options: float) -> AsyncIterator[tuple[LocalCodeSessions, Keeper]]:
    """Yield the adapter and the keeper behind it."""
    if reason := await why_unavailable(RUNTIME):
        skip_for(reason)
    keeper = Keeper(lambda: Session.start(find_bubblewrap(), RUNTIME, LIMITS), **options)
    async with served(keeper) as sessions:
        yield sessions, keeper


@asynccontextmanager
async def served(keeper: Keeper) -> AsyncIterator[LocalCodeSessions]:
    # Not tmp_path: a socket's path may have only about 100 characters.
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "code.sock")
        http = server(keeper, socket)
        serving, keeping = asyncio.create_task(http.serve()), asyncio.create_task(keeper.run())
        while not http.started:
            await asyncio.sleep(0.01)
        sessions = LocalCodeSessions(socket)
        yield sessions
        await sessions.close()
        keeping.cancel()
        http.should_exit = True
        await serving
        await keeper.close()


class Credential:
    """Has a token ready, for the pool's audience alone."""

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://dynamicsessions.io/.default",)
        return AccessToken(TOKEN, 1 << 40)

    async def close(self) -> None:
        return

    async def __aenter__(self) -> "Credential":
        return self

    async def __aexit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None:
        return


@asynccontextmanager
async def pool() -> AsyncIterator[tuple[CodeSessions, SessionPool | None]]:
    """Yield the adapter, and the double of a pool; a real one's adapter where the environment names one."""
    if real := os.environ.get("SESSION_POOL_TEST_ENDPOINT"):
        sessions = DynamicSessions(real, DefaultAzureCredential())
        yield sessions, None
        await sessions.close()
        return
    if reason := await why_unavailable(RUNTIME):
        skip_for(reason)
    keeper = Keeper(lambda: Session.start(find_bubblewrap(), RUNTIME, LIMITS))
    double = SessionPool(keeper)
    async for endpoint in double.serve():
        sessions = DynamicSessions(endpoint, Credential())
        yield sessions, double
        await sessions.close()
    await keeper.close()


@pytest.fixture(params=["local", "pool"])
async def sessions(request: pytest.FixtureRequest) -> AsyncIterator[CodeSessions]:
    async with local() if request.param == "local" else pool() as (sessions, _):
        yield sessions


@pytest.fixture
async def session(sessions: CodeSessions) -> str:
    name = f"session-{secrets.token_hex(16)}"
    await sessions.begin(name)
    return name


async def pieces(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def content_of(sessions: CodeSessions, session: str, name: str) -> bytes:
    return b"".join([piece async for piece in await sessions.get(session, name)])


async def test_a_session_keeps_variables_and_its_incarnation(sessions: CodeSessions, session: str):
    first = await sessions.begin(session)
    assert (await sessions.execute(session, "call-1", "x = 20", SECONDS)).status == "ok"
    done = await sessions.execute(session, "call-2", "print('hello')\nx + 1", SECONDS)
    assert (done.stdout, done.result, done.restarted) == ("hello\n", "21", False)
    assert await sessions.begin(session) == first
    assert (await sessions.execute(session, "call-3", "x", SECONDS)).result == "20"


async def test_an_error_comes_with_its_traceback(sessions: CodeSessions, session: str):
    done = await sessions.execute(session, "call-1", "1 / 0", SECONDS)
    assert done.status == "error"
    assert done.error
    assert done.error.endswith("ZeroDivisionError: division by zero\n")


async def test_errors_that_are_no_unicode_come_too(sessions: CodeSessions, session: str):
    done = await sessions.execute(session, "call-1", "raise ValueError('\\ud800')", SECONDS)
    assert done.error
    assert "\\ud800" in done.error


async def test_a_picture_comes_as_it_is(sessions: CodeSessions, session: str):
    code = "class P:\n  def _repr_png_(self): return b'PNG' + bytes(range(256))\nP()"
    assert (await sessions.execute(session, "call-1", code, SECONDS)).images == [b"PNG" + bytes(range(256))]


async def test_calls_at_the_same_time_wait_for_one_another(sessions: CodeSessions, session: str):
    await sessions.execute(session, "call-0", "seen = []", SECONDS)
    calls = (sessions.execute(session, f"call-{n}", f"seen.append({n})", SECONDS) for n in range(1, 30))
    await asyncio.gather(*calls)
    assert (await sessions.execute(session, "call-30", "len(seen)", SECONDS)).result == "29"


async def test_code_that_takes_too_long_is_ended(sessions: CodeSessions, session: str):
    done = await sessions.execute(session, "call-1", "while True: pass", 0.3)
    assert (done.status, done.restarted) == ("timeout", False)


async def test_files_go_in_and_come_out(sessions: CodeSessions, session: str):
    content = os.urandom(2 * MIB + 5)
    await sessions.put(session, "a b ü;.bin", pieces(content))
    await sessions.put(session, "empty", pieces(b""))
    await sessions.execute(session, "call-1", "open('out', 'wb').write(open('a b ü;.bin', 'rb').read()[::-1])", SECONDS)
    assert await content_of(sessions, session, "out") == content[::-1]
    assert await content_of(sessions, session, "empty") == b""
    before = {file.name: file for file in await sessions.files(session)}
    assert {name: file.size for name, file in before.items()} == {
        "a b ü;.bin": len(content),
        "empty": 0,
        "out": len(content),
    }
    await sessions.put(session, "empty", pieces(b"."))
    after = {file.name: file for file in await sessions.files(session)}
    assert [name for name in after if after[name] != before[name]] == ["empty"]


async def test_whoever_leaves_a_file_in_the_middle_harms_nobody(sessions: CodeSessions, session: str):
    await sessions.put(session, "large", pieces(bytes(20 * MIB), MIB))
    reading = await sessions.get(session, "large")
    await anext(reading)
    await reading.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    assert (await sessions.execute(session, "call-1", "1 + 1", SECONDS)).result == "2"
    assert len(await content_of(sessions, session, "large")) == 20 * MIB


async def test_what_is_no_file_is_refused(sessions: CodeSessions, session: str):
    await sessions.execute(
        session, "call-1", "import os\nos.symlink('/etc/passwd', 'link'); os.mkdir('folder')", SECONDS
    )
    for name in ("nothing", "link", "folder", "../etc/passwd"):
        with pytest.raises(FileRefused):
            await content_of(sessions, session, name)
    with pytest.raises(FileRefused):
        await sessions.put(session, "large", pieces(bytes(LIMITS.data + MIB), MIB))
    assert await sessions.files(session) == []


async def test_sessions_know_nothing_of_one_another(sessions: CodeSessions, session: str):
    await sessions.execute(session, "call-1", "secret = 1\nopen('secret', 'w').write('x')", SECONDS)
    other = f"session-{secrets.token_hex(16)}"
    assert await sessions.begin(other) != await sessions.begin(session)
    assert (await sessions.execute(other, "call-1", "'secret' in dir()", SECONDS)).result == "False"
    assert await sessions.files(other) == []


# Of the local one alone


@pytest.fixture
async def local_sessions() -> AsyncIterator[LocalCodeSessions]:
    async with local() as (sessions, _):
        yield sessions


async def test_a_call_that_is_repeated_is_not_run_twice(local_sessions: LocalCodeSessions):
    sessions, session = local_sessions, "session-1"
    await sessions.begin(session)
    code = "import time\ntime.sleep(0.3)\ntry: n += 1\nexcept NameError: n = 1\nn"
    both = await asyncio.gather(*(sessions.execute(session, "call-1", code, SECONDS) for _ in range(3)))
    assert [done.result for done in both] == ["1"] * 3
    assert (await sessions.execute(session, "call-1", code, SECONDS)).result == "1"
    assert (await sessions.execute(session, "call-2", code, SECONDS)).result == "2"


async def test_whoever_cancels_interrupts_the_code(local_sessions: LocalCodeSessions):
    sessions, session = local_sessions, "session-1"
    await sessions.begin(session)
    await sessions.execute(session, "call-0", "kept = 7", SECONDS)
    running = asyncio.create_task(sessions.execute(session, "call-1", "import time\ntime.sleep(60)", 60))
    waiting = asyncio.create_task(sessions.execute(session, "call-2", "kept = 8", 60))
    await asyncio.sleep(0.3)
    waiting.cancel()
    await asyncio.sleep(0.1)
    running.cancel()
    for cancelled in (running, waiting):
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    async with asyncio.timeout(5):
        assert (await sessions.execute(session, "call-3", "kept", SECONDS)).result == "7"


async def test_what_was_never_begun_is_gone(local_sessions: LocalCodeSessions):
    sessions = local_sessions
    name = f"session-{secrets.token_hex(16)}"
    with pytest.raises(SessionGone):
        await sessions.execute(name, "call-1", "1", SECONDS)
    with pytest.raises(SessionGone):
        await sessions.files(name)
    with pytest.raises(SessionGone):
        await sessions.put(name, "x", pieces(b"x"))
    with pytest.raises(SessionGone):
        await content_of(sessions, name, "x")


def boxes_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if child.name() == "bwrap"]


async def test_a_session_that_was_lost_is_another_when_it_is_begun_again():
    async with local() as (sessions, _):
        name = f"session-{secrets.token_hex(16)}"
        first = await sessions.begin(name)
        for box in boxes_of(psutil.Process()):
            for each in box.children():
                each.kill()
        with pytest.raises(SessionGone):
            await sessions.execute(name, "call-1", "1", SECONDS)
        assert await sessions.begin(name) != first
        assert (await sessions.execute(name, "call-1", "1 + 1", SECONDS)).result == "2"


async def test_a_session_that_is_not_used_ends_and_one_that_runs_does_not():
    async with local(idle=0.8) as (sessions, keeper):
        idle, busy = f"session-{secrets.token_hex(16)}", f"session-{secrets.token_hex(16)}"
        await sessions.begin(idle)
        await sessions.begin(busy)
        running = asyncio.create_task(sessions.execute(busy, "call-1", "import time\ntime.sleep(2.5)\n7", SECONDS))
        await asyncio.sleep(2)
        with pytest.raises(SessionGone):
            await sessions.files(idle)
        assert (await running).result == "7"
        assert await keeper.begin(busy)


async def test_a_caller_that_dies_finds_the_answer_when_it_asks_again():
    async with local() as (sessions, keeper):
        name = f"session-{secrets.token_hex(16)}"
        await sessions.begin(name)
        dying = asyncio.create_task(keeper.execute(name, "call-1", "import time\ntime.sleep(0.5)\n7", SECONDS))
        await asyncio.sleep(0.2)
        dying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dying
        assert (await sessions.execute(name, "call-1", "8", SECONDS)).result == "7"


async def test_where_no_session_can_be_started_it_is_unavailable_and_says_why(tmp_path: Path):
    async def fail() -> Session:
        raise SessionLost("no namespaces")

    keeper = Keeper(fail)
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "code.sock")
        http = server(keeper, socket)
        serving = asyncio.create_task(http.serve())
        while not http.started:
            await asyncio.sleep(0.01)
        sessions = LocalCodeSessions(socket)
        for _ in range(2):
            with pytest.raises(CodeUnavailable, match="no namespaces"):
                await sessions.begin("session-1")
        http.should_exit = True
        await serving
        with pytest.raises(CodeUnavailable, match="does not answer"):
            await sessions.begin("session-1")
        await sessions.close()


async def test_where_there_will_be_no_session_it_is_missing_and_tells_users_why():
    async def off() -> Session:
        raise Off("Install it.")

    keeper = Keeper(off)
    async with served(keeper) as sessions:
        for _ in range(2):
            with pytest.raises(CodeMissing, match=r"^Install it\.$"):
                await sessions.begin("session-1")


async def test_short_memory_ends_the_session_that_was_idle_longest(monkeypatch: pytest.MonkeyPatch):
    async with local() as (sessions, _):
        names = [f"session-{secrets.token_hex(16)}" for _ in range(3)]
        for name in names:
            await sessions.begin(name)
        short: Callable[[], int] = iter([1 << 20, 1 << 40, 1 << 40, 1 << 40, 1 << 40]).__next__
        monkeypatch.setattr("sandbox.keeper._available_memory", short)
        await sessions.begin(f"session-{secrets.token_hex(16)}")
        with pytest.raises(SessionGone):
            await sessions.files(names[0])
        for name in names[1:]:
            assert await sessions.files(name) == []


# Of a pool alone


@pytest.fixture
async def with_double() -> AsyncIterator[tuple[CodeSessions, SessionPool]]:
    async with pool() as (sessions, double):
        if double is None:
            pytest.skip("a real pool has no faults at will")
        yield sessions, double


@pytest.mark.parametrize(
    ("status", "headers", "message", "retry_after"),
    [
        (401, {}, "Session Executor", 1.0),
        (403, {}, "Session Executor", 1.0),
        (404, {}, "answers 404", 5.0),
        (429, {"retry-after": "17"}, "answers 429", 17.0),
        (429, {"retry-after": "soon"}, "answers 429", 5.0),
        (500, {}, "answers 500", 1.0),
        (503, {"retry-after": "2"}, "answers 503", 2.0),
        (302, {"location": "http://127.0.0.1:9/"}, "answers 302", 1.0),
    ],
)
async def test_what_a_pool_refuses_is_unavailable(
    with_double: tuple[CodeSessions, SessionPool],
    status: int,
    headers: dict[str, str],
    message: str,
    retry_after: float,
):
    sessions, double = with_double
    asking: list[Callable[[], Any]] = [
        lambda: sessions.begin("session-1"),
        lambda: sessions.execute("session-1", "call-1", "1", SECONDS),
        lambda: sessions.files("session-1"),
    ]
    for ask in asking:
        double.faults.append((status, headers))
        with pytest.raises(CodeUnavailable, match=message) as refused:
            await ask()
        assert refused.value.retry_after == retry_after
        assert TOKEN not in str(refused.value)


async def test_a_file_beyond_the_pools_limit_is_refused_in_words(with_double: tuple[CodeSessions, SessionPool]):
    sessions, double = with_double
    double.faults.append((413, {}))
    with pytest.raises(FileRefused, match="128 MB"):
        await sessions.put("session-1", "large", pieces(b"x"))


async def test_a_pool_that_lost_a_session_has_another_incarnation(with_double: tuple[CodeSessions, SessionPool]):
    sessions, double = with_double
    first = await sessions.begin("session-1")
    double.keeper._end("session-1")
    assert await sessions.begin("session-1") != first


async def test_a_long_list_of_files_is_read_to_its_end_from_the_pool_alone(
    with_double: tuple[CodeSessions, SessionPool],
):
    sessions, _ = with_double
    await sessions.execute("session-1", "call-1", "[open(f'{n:02}', 'w').close() for n in range(10)]", SECONDS)
    assert [file.name for file in await sessions.files("session-1")] == [f"{n:02}" for n in range(10)]
