"""Sessions in real boxes: as this process's user, and, where that is root, as an ordinary one too."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sandbox.availability import why_unavailable
from sandbox.bubblewrap import NoBubblewrap, Runtime, find_bubblewrap
from sandbox.inside.limits import MIB, Limits
from sandbox.session import Session
from tests.sandboxes import skip_for

NOBODY = 65_534
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
LIMITS = Limits(memory=400 * MIB, data=64 * MIB, scratch=32 * MIB, grace=1.0)

StartSession = Callable[..., Awaitable[Session]]


@pytest.fixture(scope="session")
def bubblewrap() -> Path:
    if sys.platform != "linux":
        pytest.skip("the sandbox is for Linux")
    try:
        return find_bubblewrap()
    except NoBubblewrap as reason:
        skip_for(str(reason))


@pytest.fixture(scope="session", params=["ourselves", "an ordinary user"])
def user(request: pytest.FixtureRequest) -> int | None:
    """Who starts the box: an id, None for this process's user."""
    if request.param == "ourselves":
        return None
    if os.geteuid() != 0:
        pytest.skip("we are an ordinary user ourselves")
    return NOBODY


@pytest.fixture(scope="session")
def runtime(bubblewrap: Path, user: int | None) -> Iterator[Runtime]:
    """Of an interpreter that the user can read. Where there can be no sandbox, tests are skipped, with the reason."""
    with tempfile.TemporaryDirectory() as folder:
        made = Runtime(Path(sys.base_prefix).resolve() if user is None else Path(folder), VERSION)
        if user is not None:  # ours may lie where only root can read
            Path(folder).chmod(0o755)
            _copy_interpreter(Path(sys.base_prefix).resolve(), Path(folder))
        if reason := asyncio.run(why_unavailable(made, user=user)):
            skip_for(reason)
        yield made


def _copy_interpreter(base: Path, to: Path) -> None:
    (to / "bin").mkdir()
    shutil.copy(base / "bin" / VERSION, to / "bin" / VERSION)
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "ensurepip", "config-*", "__pycache__")
    shutil.copytree(base / "lib" / VERSION, to / "lib" / VERSION, ignore=left_out)
    (to / "lib" / VERSION / "site-packages").mkdir()
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy(library, to / "lib" / library.name)


@pytest.fixture
async def start_session(bubblewrap: Path, runtime: Runtime, user: int | None) -> AsyncIterator[StartSession]:
    """Start sessions that end with the test."""
    started: list[Session] = []

    async def start(limits: Limits = LIMITS) -> Session:
        started.append(await Session.start(bubblewrap, runtime, limits, user=user))
        return started[-1]

    yield start
    for session in started:
        await session.close()


@pytest.fixture
async def session(start_session: StartSession) -> Session:
    return await start_session()
