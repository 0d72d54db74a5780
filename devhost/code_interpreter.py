"""The code interpreter's sandbox: made ready beside the running service, and kept for all its workers."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from sandbox.availability import why_unavailable
from sandbox.bubblewrap import Runtime, find_bubblewrap
from sandbox.inside.limits import Limits
from sandbox.keeper import Keeper, Off
from sandbox.server import server
from sandbox.session import Session

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / ".venv" / "code-interpreter"  # where `dev.py packages` puts them
PRELOADED = ["numpy", "pandas", "matplotlib.pyplot"]
RUNTIME = Runtime(Path(sys.base_prefix).resolve(), f"python{sys.version_info.major}.{sys.version_info.minor}")
HOW_TO_INSTALL = "Run `python3 dev.py packages`, which says what is missing, and start the service again."

logger = logging.getLogger("devhost.code")


class CodeInterpreter:
    """Serves from the time it is made until `stop`, in a folder that is this user's alone. Made on the event loop.

    A call that comes before the packages are there waits for them.
    """

    def __init__(self, socket: Path) -> None:
        self.environment = {"CODE_SESSIONS_SOCKET": str(socket)}
        self._preparing = asyncio.create_task(_prepared())
        self._keeper = Keeper(self._start)
        self._parts = [
            asyncio.create_task(server(self._keeper, socket).serve()),
            asyncio.create_task(self._keeper.run()),
        ]
        for part in self._parts:
            part.add_done_callback(_tell_failure)

    async def stop(self) -> None:
        for part in (self._preparing, *self._parts):
            part.cancel()
        await asyncio.gather(self._preparing, *self._parts, return_exceptions=True)
        await self._keeper.close()

    async def _start(self) -> Session:
        runtime = await asyncio.shield(self._preparing)
        return await Session.start(find_bubblewrap(), runtime, Limits())


def _tell_failure(part: asyncio.Task[None]) -> None:
    if not part.cancelled() and (error := part.exception()):
        logger.error("The code interpreter has ended: %r", error)


async def _prepared() -> Runtime:
    """Return the Python of the sandbox with its packages. Raises Off."""
    try:
        if reason := await why_unavailable(RUNTIME):
            raise Off(reason)
        await _install()
    except Off as off:
        logger.warning("The code interpreter is off. %s", off)
        raise
    logger.info("The code interpreter is ready.")
    return Runtime(RUNTIME.base, RUNTIME.version, PACKAGES, PRELOADED)


async def _install() -> None:
    """Install what is not there yet: some 600 MB. Raises Off."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "dev.py"), "packages"),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout
    try:
        async for line in process.stdout:
            said = line.decode(errors="replace").rstrip().removeprefix("dev.py: ")
            logger.info("code interpreter (calls wait for it): %s", said)
        if await process.wait():
            raise Off(f"The packages that its code may import could not be installed. {HOW_TO_INSTALL}")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
