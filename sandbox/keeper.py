"""Keeps sessions by their names, and one in reserve, for as long as they are used.

They are the host's: a worker that dies ends neither them nor what runs in them.
"""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.inside.limits import MIB
from sandbox.session import INTERRUPTED, Execution, Session, SessionFile, SessionLost

IDLE = 3_600.0  # seconds without use after which a session ends
ENOUGH = 512 * MIB  # of memory that must be available for a new one
MOST = 64  # sessions
ANSWERS = 16  # kept of each session, for calls that are repeated
SWEEP = 30.0  # seconds between looks for idle ones

logger = logging.getLogger("devhost.code")


class NoRoom(Exception):
    """There can be no new session. The message says why."""


class Off(Exception):
    """There will be no session at all. The message says why and what to do, for users."""


class NoSession(Exception):
    """There is none of that name, or it has just been lost."""


class Kept:
    """A session of a name; `incarnation` tells it from those that had its name before."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.incarnation = secrets.token_hex(8)
        self.used_at = time.monotonic()
        self.calls: OrderedDict[str, asyncio.Task[Execution]] = OrderedDict()

    @property
    def is_busy(self) -> bool:
        return self.session.is_busy or any(not call.done() for call in self.calls.values())


class Keeper:
    def __init__(self, start: Callable[[], Coroutine[Any, Any, Session]], *, idle: float = IDLE) -> None:
        """`start` makes a session, or raises SessionLost or Off; `idle` is in seconds."""
        self._start = start
        self._idle = idle
        self._kept: dict[str, asyncio.Task[Kept]] = {}
        self._spare: asyncio.Task[Session] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """End what is idle, for ever. The first spare is made at once."""
        self._make_spare()
        while True:
            await asyncio.sleep(min(SWEEP, self._idle / 4))
            for name, kept in self._idle_ones():
                if time.monotonic() - kept.used_at > self._idle:
                    self._end(name)

    async def close(self) -> None:
        for name in list(self._kept):
            self._end(name)
        if self._spare:
            self._spare.cancel()
            with suppress(asyncio.CancelledError, SessionLost, Off):
                await (await self._spare).close()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def begin(self, name: str) -> str:
        """Return the incarnation of the session, which is made if there is none. Raises NoRoom, Off."""
        if name not in self._kept:
            self._kept[name] = asyncio.create_task(self._new())
        making = self._kept[name]
        try:
            kept = await asyncio.shield(making)
        except (NoRoom, SessionLost, Off) as error:
            if self._kept.get(name) is making:
                del self._kept[name]
            if isinstance(error, Off):
                raise
            raise NoRoom(str(error)) from None
        kept.used_at = time.monotonic()
        return kept.incarnation

    async def execute(self, name: str, call: str, code: str, timeout: float) -> Execution:
        """Run the code, or return what came of the call of that id before. Raises NoSession.

        It goes on when whoever asked is gone: the same call will be asked for again.
        """
        kept = self._of(name)
        if call not in kept.calls:
            kept.calls[call] = asyncio.create_task(kept.session.execute(code, timeout))
            while len(kept.calls) > ANSWERS and next(iter(kept.calls.values())).done():
                kept.calls.popitem(last=False)
        running = kept.calls[call]
        try:
            return await asyncio.shield(running)
        except SessionLost as lost:
            raise self._lost(name, kept, lost) from None
        except asyncio.CancelledError:
            if running.cancelled():
                return INTERRUPTED
            raise
        finally:
            kept.used_at = time.monotonic()

    def interrupt(self, name: str, call: str) -> None:
        """Stop the call; its variables stay. Raises NoSession."""
        kept = self._of(name)
        waiting = [id for id, each in kept.calls.items() if not each.done()]
        if call in waiting[:1]:
            kept.session.interrupt()
        elif call in waiting:
            kept.calls[call].cancel()

    async def put(self, name: str, file: str, content: AsyncIterator[bytes]) -> None:
        """Raises NoSession, sandbox.session.NoSuchFile."""
        kept = self._of(name)
        try:
            await kept.session.put(file, content)
        except SessionLost as lost:
            raise self._lost(name, kept, lost) from None

    async def get(self, name: str, file: str) -> AsyncIterator[bytes]:
        """Raises NoSession, sandbox.session.NoSuchFile."""
        kept = self._of(name)
        try:
            async for piece in kept.session.get(file):
                yield piece
        except SessionLost as lost:
            raise self._lost(name, kept, lost) from None

    async def files(self, name: str) -> list[SessionFile]:
        """Raises NoSession."""
        kept = self._of(name)
        try:
            return await kept.session.files()
        except SessionLost as lost:
            raise self._lost(name, kept, lost) from None

    def _of(self, name: str) -> Kept:
        making = self._kept.get(name)
        if making is None or not making.done():
            raise NoSession(name)
        kept = making.result()
        kept.used_at = time.monotonic()
        return kept

    def _lost(self, name: str, kept: Kept, lost: SessionLost) -> NoSession:
        making = self._kept.get(name)
        if making and making.done() and making.result() is kept:
            logger.warning("a session was lost: %s", lost)
            self._end(name)
        return NoSession(name)

    async def _new(self) -> Kept:
        self._make_room()
        session = await self._take_spare() or await self._start()
        self._make_spare()
        return Kept(session)

    async def _take_spare(self) -> Session | None:
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        try:
            session = await spare
        except (SessionLost, Off):
            return None
        try:
            await session.files()  # it may have died while it waited
        except SessionLost:
            await session.close()
            return None
        return session

    def _make_spare(self) -> None:
        if self._spare is None and _available_memory() > 2 * ENOUGH:
            self._spare = asyncio.create_task(self._start())
            self._spare.add_done_callback(_note_failure)

    def _make_room(self) -> None:
        """End the idle ones that were used longest ago while room is short. Raises NoRoom if that is not enough."""
        idle = self._idle_ones()
        while idle and (_available_memory() < ENOUGH or len(self._kept) > MOST):
            name, _ = idle.pop(0)
            self._end(name)
        if len(self._kept) > MOST:
            raise NoRoom(f"{MOST} sessions are running code, which is all there may be")
        if _available_memory() < ENOUGH:
            raise NoRoom("memory is short")

    def _idle_ones(self) -> list[tuple[str, Kept]]:
        """Those that run nothing, the one that was used longest ago first."""
        kept = {
            name: making.result()
            for name, making in self._kept.items()
            if making.done() and not making.cancelled() and making.exception() is None
        }
        return sorted(((n, k) for n, k in kept.items() if not k.is_busy), key=lambda each: each[1].used_at)

    def _end(self, name: str) -> None:
        ending = asyncio.create_task(_close(self._kept.pop(name)))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


async def _close(making: asyncio.Task[Kept]) -> None:
    with suppress(NoRoom, SessionLost, Off):
        kept = await making
        await kept.session.close()
        await asyncio.gather(*kept.calls.values(), return_exceptions=True)


def _note_failure(spare: asyncio.Task[Session]) -> None:
    if not spare.cancelled() and (error := spare.exception()) and not isinstance(error, Off):
        logger.warning("no session in reserve: %s", error)


def _available_memory() -> int:
    """Return bytes that processes can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 1 << 62
