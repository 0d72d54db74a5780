"""One sandboxed session, seen from the host: started, asked, interrupted, ended."""

import asyncio
import json
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from sandbox.bubblewrap import Command, Runtime
from sandbox.inside import frames
from sandbox.inside.frames import HEADER, PIECE, BadFrame, Frame
from sandbox.inside.limits import Limits

STARTS_WITHIN = 60.0  # seconds; preloaded modules are imported in them, on a machine that may be busy
ANSWERS_WITHIN = 30.0  # seconds; beyond the time that an execution may take
LAST_WORDS = 2_000  # bytes of what a box that died has said


class SessionLost(Exception):
    """The box has ended, with its variables and files. The message says what it said last, for who runs the host."""


class NoSuchFile(Exception):
    """There is no regular file of that name in /mnt/data, or there is no room for it."""


@dataclass(frozen=True, slots=True)
class SessionFile:
    """`size` is in bytes, `modified` in nanoseconds since 1970."""

    name: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class CodeError:
    name: str
    value: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of it.

    `status` is ok, error (the code raised `error`), interrupted, timeout, memory_limit, output_limit or kernel_died.
    `restarted`: variables are gone, files are kept. `dropped` is how many bytes were printed beyond the limit. `images`
    are PNGs. `files` are those that are new or were changed.
    """

    status: str
    restarted: bool
    seconds: float
    peak_memory: int
    stdout: str
    stderr: str
    dropped: int
    result: str | None
    error: CodeError | None
    images: list[bytes] = field(default_factory=list)
    files: list[SessionFile] = field(default_factory=list)


INTERRUPTED = Execution("interrupted", False, 0.0, 0, "", "", 0, None, None)  # before it began


class Session:
    """`await Session.start(…)`. One request at a time; others wait."""

    def __init__(self, process: asyncio.subprocess.Process, pidfd: int, said: IO[bytes]) -> None:
        assert process.stdin
        assert process.stdout
        self._process = process
        self._pidfd: int | None = pidfd
        self._said = said
        self._to, self._from = process.stdin, process.stdout
        self._turn = asyncio.Lock()
        self._owes_answer = False
        self._hearing: asyncio.Task[Frame] | None = None
        self._broken_off: str | None = None  # the name of a file that was not put to its end
        self._settling: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, bubblewrap: Path, runtime: Runtime, limits: Limits, *, user: int | None = None) -> Self:
        """Return it when it is ready. `user` is an ordinary one to start it as, instead of this process's.

        Raises SessionLost if no box can be made.
        """
        is_root = os.geteuid() == 0 and user is None
        read_status, write_status = os.pipe()
        said = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close(), or with the last who knows of it
        command = Command(bubblewrap, runtime, limits, _new_uid() if is_root else None, write_status)
        try:
            process = await asyncio.create_subprocess_exec(
                *command.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=said,
                pass_fds=command.kept,
                env={},
                cwd="/",
                start_new_session=True,
                limit=HEADER.size + frames.LARGEST_HEAD,
                **({} if user is None else {"user": user, "group": user, "extra_groups": []}),
            )
        except OSError as error:
            os.close(read_status)
            raise SessionLost(f"{bubblewrap} can't be started: {error.strerror}") from None
        finally:
            command.close()
            os.close(write_status)
        try:
            pidfd = await _pidfd_of_init(read_status)
        except BaseException as error:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(error, SessionLost):
                raise SessionLost(_last_words(said)) from None
            raise
        session = cls(process, pidfd, said)
        try:
            await session._ask(Frame({"op": "hello"}), within=STARTS_WITHIN)
        except BaseException:
            await session.close()
            raise
        return session

    async def execute(self, code: str, timeout: float) -> Execution:
        """Run the code for at most `timeout` seconds. Raises SessionLost.

        Whoever cancels this interrupts the code, and the session is kept.
        """
        request = Frame({"op": "execute", "code": code, "timeout": timeout})
        async with self._alone():
            try:
                return _outcome(await self._exchange(request, timeout + ANSWERS_WITHIN))
            except asyncio.CancelledError:
                self.interrupt()
                raise

    def interrupt(self) -> None:
        """Interrupt what is being executed; its outcome says so."""
        with suppress(OSError):
            self._to.write(frames.encoded(Frame({"op": "interrupt"})))

    async def put(self, name: str, content: AsyncIterator[bytes]) -> None:
        """Write a file into /mnt/data. Raises NoSuchFile if it can't be, SessionLost, and what `content` raises.

        Nothing is left of one whose content breaks off.
        """
        async with self._alone():
            first, waiting = True, b""
            try:
                async for piece in content:
                    waiting += piece
                    while len(waiting) > PIECE:
                        await self._put(name, waiting[:PIECE], first=first, last=False)
                        waiting, first = waiting[PIECE:], False
                await self._put(name, waiting, first=first, last=True)
            except (NoSuchFile, SessionLost):
                raise
            except BaseException:
                self._broken_off = None if first and not self._owes_answer else name
                raise

    async def _put(self, name: str, piece: bytes, *, first: bool, last: bool) -> None:
        head = {"op": "put", "name": name, "first": first, "last": last}
        _unless_missing(await self._exchange(Frame(head, piece), ANSWERS_WITHIN))

    async def get(self, name: str) -> AsyncIterator[bytes]:
        """Yield the file's content. Raises NoSuchFile, SessionLost."""
        async with self._alone():
            reply = await self._exchange(Frame({"op": "get", "name": name}), ANSWERS_WITHIN)
            while not _unless_missing(reply).head["last"]:
                yield reply.payload
                reply = await self._hear(ANSWERS_WITHIN)

    async def files(self) -> list[SessionFile]:
        """Raises SessionLost."""
        reply = await self._ask(Frame({"op": "list"}), within=ANSWERS_WITHIN)
        return [SessionFile(**file) for file in reply.head["files"]]

    async def memory(self) -> int:
        """Return the bytes that it has in use. Raises SessionLost."""
        return (await self._ask(Frame({"op": "hello"}), within=ANSWERS_WITHIN)).head["memory"]

    @property
    def pid(self) -> int:
        """The process outside of the box that has started it."""
        return self._process.pid

    @property
    def is_busy(self) -> bool:
        return self._turn.locked()

    def kill(self) -> None:
        if self._pidfd is None:
            return  # its number may be that of another session's by now
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # every process of the box goes with its PID 1

    async def close(self) -> None:
        """End it. Whoever waits for an answer gets SessionLost."""
        self.kill()
        self._to.close()
        await self._process.wait()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    async def _ask(self, request: Frame, within: float) -> Frame:
        async with self._alone():
            return await self._exchange(request, within)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Wait for one's turn. What is left of an answer by whoever leaves early is read before the next one's turn."""
        await self._turn.acquire()
        try:
            yield
        finally:
            if self._owes_answer or self._broken_off:
                self._settling = asyncio.create_task(self._settle())
            else:
                self._turn.release()

    async def _settle(self) -> None:
        try:
            while self._owes_answer:
                await self._hear(ANSWERS_WITHIN)
            if self._broken_off:
                await self._exchange(Frame({"op": "drop", "name": self._broken_off}), ANSWERS_WITHIN)
        except SessionLost:
            return
        finally:
            self._broken_off = None
            self._turn.release()

    async def _exchange(self, request: Frame, within: float) -> Frame:
        self._owes_answer = True
        try:
            self._to.write(frames.encoded(request))
            await self._to.drain()
        except OSError:
            raise self._lost() from None
        return await self._hear(within)

    async def _hear(self, within: float) -> Frame:
        """Return the next frame. Whoever is cancelled here leaves it to `_settle`."""
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(within):
                frame = await asyncio.shield(self._hearing)
        except (OSError, asyncio.IncompleteReadError, BadFrame, TimeoutError):
            raise self._lost() from None
        self._hearing = None
        self._owes_answer = frame.head.get("last") is False
        return frame

    async def _read(self) -> Frame:
        of_head, of_payload = frames.sizes(await self._from.readexactly(HEADER.size))
        return frames.decoded(await self._from.readexactly(of_head), await self._from.readexactly(of_payload))

    def _lost(self) -> SessionLost:
        self.kill()
        if self._hearing:
            self._hearing.add_done_callback(_hear_no_more)
        self._owes_answer, self._broken_off = False, None
        return SessionLost(_last_words(self._said))


def _hear_no_more(hearing: asyncio.Task[Frame]) -> None:
    """Of a box that was killed because it was silent: what it still says, or its end, is for nobody."""
    if not hearing.cancelled():
        hearing.exception()


def _outcome(reply: Frame) -> Execution:
    head, images, at = reply.head, list[bytes](), 0
    for size in head.pop("images"):
        images.append(reply.payload[at : at + size])
        at += size
    error, files = head.pop("error"), [SessionFile(**file) for file in head.pop("files")]
    return Execution(**head, error=CodeError(**error) if error else None, images=images, files=files)


def _unless_missing(reply: Frame) -> Frame:
    if "no_file" in reply.head:
        raise NoSuchFile(reply.head["no_file"])
    return reply


async def _pidfd_of_init(status: int) -> int:
    """Return a descriptor of the box's PID 1, which bubblewrap tells. Raises SessionLost if it doesn't."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(status, "rb")
    )
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            line: dict[str, Any] = json.loads(await reader.readline() or b"{}")
        return os.pidfd_open(line["child-pid"])
    except (TimeoutError, KeyError, ValueError, ProcessLookupError) as error:
        raise SessionLost("") from error
    finally:
        transport.close()


def _last_words(said: IO[bytes]) -> str:
    said.seek(0)
    return said.read(LAST_WORDS).decode(errors="replace").strip() or "it has ended without a word"


def _new_uid() -> int:
    """Return an id for a session's user, of the upper half of those that are mapped here: a limit counts for each."""
    lines = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    highest = min(max(int(first) + int(count) for first, _, count in lines), 60_000)
    return highest // 2 + secrets.randbelow(highest - highest // 2)
