"""A host that starts a session, tells the processes of its box, executes for ever, and is killed meanwhile."""

import asyncio
import sys
from pathlib import Path

import psutil

from sandbox.bubblewrap import Runtime
from sandbox.session import Session
from tests.sandbox.conftest import LIMITS, VERSION


async def main() -> None:
    bubblewrap, base, user = sys.argv[1:]
    runtime = Runtime(Path(base), VERSION)
    session = await Session.start(Path(bubblewrap), runtime, LIMITS, user=int(user) if user else None)
    running = asyncio.create_task(session.execute("while True: pass", 600))
    await asyncio.sleep(0.3)
    pids = [session.pid, *(child.pid for child in psutil.Process(session.pid).children(recursive=True))]
    sys.stdout.write(" ".join(map(str, pids)) + "\n")
    sys.stdout.flush()
    await running


asyncio.run(main())
