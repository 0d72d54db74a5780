"""A session: state, output, errors, pictures, files, limits, interruption, and its end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from sandbox.bubblewrap import Runtime
from sandbox.inside.limits import MIB
from sandbox.session import NoSuchFile, Session, SessionLost
from tests.sandbox.conftest import LIMITS, StartSession

SECONDS = 20.0  # more than anything takes
PNG = "class Shown:\n  def _repr_png_(self): return b'\\x89PNG' + bytes(%d)\n"


async def bytes_of(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def in_pieces(content: bytes, size: int = 300_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def test_variables_stay_and_the_last_expression_is_the_result(session: Session):
    assert (await session.execute("import math\nx = 20", SECONDS)).result is None
    done = await session.execute("print('hello')\nx + 1", SECONDS)
    assert (done.status, done.stdout, done.result, done.restarted) == ("ok", "hello\n", "21", False)
    assert (await session.execute("_ * 2", SECONDS)).result == "42"
    assert (await session.execute("x;", SECONDS)).result is None
    assert (await session.execute("", SECONDS)).status == "ok"
    assert (await session.execute("raise SystemExit(3)", SECONDS)).status == "ok"


async def test_an_error_is_told_with_a_traceback_of_the_code_alone(session: Session):
    await session.execute("def broken(n):\n    return 1 / n", SECONDS)
    done = await session.execute("print('before')\nbroken(0)", SECONDS)
    assert (done.status, done.stdout) == ("error", "before\n")
    assert done.error
    assert (done.error.name, done.error.value) == ("ZeroDivisionError", "division by zero")
    assert "return 1 / n" in done.error.traceback
    assert "/opt/sandbox" not in done.error.traceback
    done = await session.execute("def f(:", SECONDS)
    assert done.error
    assert done.error.name == "SyntaxError"
    library = await session.execute("import json; json.loads('{')", SECONDS)
    assert library.error
    assert sys.base_prefix not in library.error.traceback


async def test_errors_of_the_codes_own_making_break_nothing(session: Session):
    for body in ("def __str__(self): raise ValueError", "def __str__(self): return 7", "__module__ = property()"):
        done = await session.execute(f"class Odd(BaseException):\n  {body}\nraise Odd", SECONDS)
        assert (done.status, done.restarted) == ("error", False)
    assert (await session.execute("class R:\n  def __repr__(self): 1/0\nR()", SECONDS)).status == "error"


async def test_text_of_every_kind_is_kept(session: Session):
    text = "\u00e9 \u4e2d\u6587 \U0001f600 \u2028 \x00 \x1b[31m"
    done = await session.execute(f"import sys\nprint({text!r})\nsys.stderr.write('\\udc80')\n{text!r}", SECONDS)
    assert done.stdout == f"{text}\n"
    assert done.stderr == "?"
    assert done.result == repr(text)


async def test_halves_of_a_pair_are_told_as_what_they_are(session: Session):
    done = await session.execute("raise ValueError('\\ud800')", SECONDS)
    assert done.error
    assert done.error.value == "\\ud800"
    done = await session.execute("class R:\n  def __repr__(self): return '\\udfff'\nR()", SECONDS)
    assert done.result == "\\udfff"
    done = await session.execute("import os\nopen(os.fsdecode(b'\\xff'))", SECONDS)
    assert done.error
    done.error.traceback.encode()


async def test_what_is_shown_comes_as_pictures_in_order(session: Session):
    done = await session.execute(PNG % 10 + "display(Shown())\nprint('x')\nShown()", SECONDS)
    assert done.images == [b"\x89PNG" + bytes(10)] * 2
    assert (done.stdout, done.result) == ("x\n", None)
    done = await session.execute(PNG % (5 * MIB) + "display(Shown()); display(Shown()); display(7)", SECONDS)
    assert [len(image) for image in done.images] == [5 * MIB + 4]
    assert "no more room" in done.stderr
    assert done.stdout == "7\n"
    done = await session.execute(PNG % 1 + "for _ in range(150): display(Shown())", SECONDS)
    assert (done.status, len(done.images)) == ("ok", 100)


async def test_files_go_in_and_come_out(session: Session):
    content = os.urandom(3 * MIB + 17)
    await session.put("in.bin", in_pieces(content))
    await session.put("empty", in_pieces(b""))
    done = await session.execute("open('out.bin', 'wb').write(open('in.bin', 'rb').read()[::-1])", SECONDS)
    assert [(file.name, file.size) for file in done.files] == [("out.bin", len(content))]
    assert await bytes_of(session.get("out.bin")) == content[::-1]
    assert await bytes_of(session.get("empty")) == b""
    assert {file.name for file in await session.files()} == {"in.bin", "out.bin", "empty"}
    assert (await session.execute("open('out.bin', 'ab').write(b'.')", SECONDS)).files[0].name == "out.bin"
    assert (await session.execute("1", SECONDS)).files == []


async def test_only_regular_files_under_plain_names_are_touched(session: Session):
    tricks = """
import os
os.symlink('/etc/passwd', 'link'); os.symlink('/proc/1/environ', 'environ'); os.symlink('/', 'root')
os.mkfifo('fifo'); os.mkdir('folder'); open('one', 'w').write('1'); os.link('one', 'two')
open('new\\nline', 'w').write('2'); open(b'\\xff', 'w').write('3'); open('\u202egpj.exe', 'w').write('4')
"""
    done = await session.execute(tricks, SECONDS)
    assert done.status == "ok", done.error
    assert {file.name for file in done.files} == {"new\nline", "\u202egpj.exe"}
    for name in (
        "link",
        "environ",
        "root",
        "fifo",
        "folder",
        "nothing",
        "../etc/passwd",
        "/etc/passwd",
        "",
        ".",
        "..",
        "a\0",
    ):
        with pytest.raises(NoSuchFile):
            await bytes_of(session.get(name))
    for name in ("link", "root", "fifo", "folder", "../x", "/x", "", "..", "x" * 256):
        with pytest.raises(NoSuchFile):
            await session.put(name, in_pieces(b"x"))
    assert await bytes_of(session.get("new\nline")) == b"2"


async def test_a_file_that_does_not_fit_is_not_left_behind(session: Session):
    with pytest.raises(NoSuchFile, match=r"No space left|File too large"):
        await session.put("large", in_pieces(bytes(LIMITS.data + MIB), MIB))
    assert await session.files() == []
    await session.put("small", in_pieces(b"x"))


async def test_a_file_whose_content_breaks_off_is_not_left_behind(session: Session):
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(2 * MIB)
        raise ConnectionResetError

    for _ in range(LIMITS.descriptors + 10):
        with pytest.raises(ConnectionResetError):
            await session.put("half", broken())
    assert await session.files() == []
    await session.put("whole", in_pieces(b"x"))


async def test_whoever_is_cancelled_in_the_middle_of_anything_harms_nobody(session: Session):
    await session.put("large", in_pieces(bytes(5 * MIB)))
    asking = [
        lambda: bytes_of(session.get("large")),
        lambda: session.put("new", in_pieces(bytes(5 * MIB))),
        lambda: session.put("../no", in_pieces(b"x")),
        lambda: session.execute("sum(range(100_000))", SECONDS),
        session.files,
        session.memory,
    ]
    for number in range(60):
        running = asyncio.create_task(asking[number % 6]())  # pyright: ignore[reportArgumentType]
        await asyncio.sleep(0.0005 * (number // 6))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (await session.execute("1 + 1", SECONDS)).result == "2"
    assert {file.name for file in await session.files()} <= {"large", "new"}
    assert len(await bytes_of(session.get("large"))) == 5 * MIB


async def test_a_file_that_is_not_read_to_its_end_leaves_nothing_before_the_next_answer(session: Session):
    await session.put("large", in_pieces(bytes(5 * MIB)))
    for count in (1, 3):
        reading = session.get("large")
        for _ in range(count):
            await anext(reading)
        await reading.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        assert (await session.execute("1 + 1", SECONDS)).result == "2"
    assert len(await bytes_of(session.get("large"))) == 5 * MIB


async def test_output_beyond_the_limit_is_counted_and_dropped(session: Session):
    done = await session.execute("import sys\nfor _ in range(100): sys.stdout.write('x' * (1 << 20))", SECONDS)
    assert (done.status, len(done.stdout), done.dropped) == ("ok", MIB, 99 * MIB)
    assert len((await session.execute("'x' * (50 << 20)", SECONDS)).result or "") == 100_000


async def test_code_that_takes_too_long_is_interrupted_and_keeps_its_variables(session: Session):
    await session.execute("kept = 7", SECONDS)
    done = await session.execute("import time\nprint('begun', flush=True)\ntime.sleep(60)", 0.3)
    assert (done.status, done.restarted, done.stdout) == ("timeout", False, "begun\n")
    assert done.seconds < 2
    assert done.error
    assert "/opt/sandbox" not in done.error.traceback
    assert (await session.execute("kept", SECONDS)).result == "7"


async def test_code_that_ignores_the_interrupt_is_killed_and_files_stay(session: Session):
    await session.put("kept", in_pieces(b"x"))
    loop = "while True:\n  try:\n    while True: pass\n  except BaseException: pass"
    done = await session.execute(loop, 0.3)
    assert (done.status, done.restarted) == ("timeout", True)
    assert (await session.execute("'loop' in dir(), open('kept').read()", SECONDS)).result == "(False, 'x')"


async def test_whoever_cancels_interrupts_the_code_and_the_session_stays(session: Session):
    await session.execute("kept = 7", SECONDS)
    running = asyncio.create_task(session.execute("import time\ntime.sleep(60)", SECONDS))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await session.execute("kept", SECONDS)).result == "7"


async def test_requests_at_the_same_time_wait_for_one_another(session: Session):
    await session.execute("seen = []", SECONDS)
    await asyncio.gather(*(session.execute(f"seen.append({n})", SECONDS) for n in range(20)))
    assert (await session.execute("len(seen)", SECONDS)).result == "20"


async def test_nothing_runs_between_executions(session: Session):
    counting = "import threading\ndef count():\n  while True: pass\n"
    await session.execute(counting + "threading.Thread(target=count, daemon=True).start()", SECONDS)
    [kernel] = psutil.Process(init_of(session)).children()
    async with asyncio.timeout(5):
        while kernel.status() != psutil.STATUS_STOPPED:  # a busy thread takes the signal at its next tick
            await asyncio.sleep(0.01)
    spent = kernel.cpu_times()
    await asyncio.sleep(0.5)
    assert kernel.cpu_times() == spent
    assert (await session.execute("1 + 1", SECONDS)).result == "2"
    done = await session.execute("import subprocess\np = subprocess.Popen(['sleep', '60'])\np.pid", SECONDS)
    assert done.status == "ok"
    assert (await session.execute("p.poll() is not None or p.wait(1)", SECONDS)).status == "ok"


async def test_a_kernel_that_dies_is_replaced(session: Session):
    for code in ("import os; os._exit(3)", "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getpid(), 9)"):
        done = await session.execute(code, SECONDS)
        assert (done.status, done.restarted) == ("kernel_died", True)
        assert (await session.execute("1 + 1", SECONDS)).result == "2"


async def test_a_box_that_is_killed_is_lost_and_says_so(session: Session):
    os.kill(init_of(session), signal.SIGKILL)
    with pytest.raises(SessionLost):
        await session.execute("1", SECONDS)
    with pytest.raises(SessionLost):
        await session.files()


async def test_a_box_that_is_silent_is_lost_again_and_again(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sandbox.session.ANSWERS_WITHIN", 0.5)
    os.kill(init_of(session), signal.SIGSTOP)
    for _ in range(2):
        with pytest.raises(SessionLost):
            await session.files()


async def test_a_session_that_is_closed_in_the_middle_is_lost_and_no_other(start_session: StartSession):
    one = await start_session()
    await one.put("large", in_pieces(bytes(20 * MIB)))
    reading, running = one.get("large"), asyncio.create_task(one.execute("1", SECONDS))
    await anext(reading)
    assert one.is_busy
    await one.close()
    others = [await start_session() for _ in range(3)]
    for asking in (bytes_of(reading), running, one.files()):
        with pytest.raises(SessionLost):
            await asking
    for other in others:
        assert (await other.execute("1 + 1", SECONDS)).result == "2"


async def test_sessions_know_nothing_of_one_another(start_session: StartSession):
    one, other = await start_session(), await start_session()
    await one.execute(
        "secret = 'of one'\nopen('/mnt/data/secret', 'w').write(secret)\nopen('/tmp/s', 'w').write('x')", 9
    )
    assert (await other.execute("'secret' in dir()", SECONDS)).result == "False"
    look = "import os\n[os.listdir(d) for d in ('/mnt/data', '/tmp', '/dev/shm')]"
    assert (await other.execute(look, SECONDS)).result == "[[], [], []]"


async def test_nothing_is_left_when_the_host_dies_in_the_middle_of_an_execution(
    bubblewrap: Path, runtime: Runtime, user: int | None
):
    command = [sys.executable, "-m", "tests.sandbox.dying_host", str(bubblewrap), str(runtime.base), str(user or "")]
    host = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert host.stdout
    boxes = [psutil.Process(int(pid)) for pid in (await host.stdout.readline()).split()]
    assert boxes
    await asyncio.sleep(0.5)
    host.kill()
    await host.wait()
    gone, alive = psutil.wait_procs(boxes, timeout=10)
    assert not alive, (gone, alive)


def init_of(session: Session) -> int:
    """The process that is PID 1 in the box."""
    [init] = psutil.Process(session.pid).children()
    return init.pid
