"""The host's parts that run in the background. None ends unnoticed: the host would look alive and do nothing."""

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from devhost.setup_error import SetupError

logger = logging.getLogger("devhost")


class Background:
    """`failed` is set, to the error, as soon as one part has failed. Made on the event loop."""

    def __init__(self, *expected: type[Exception]) -> None:
        """`expected` are errors whose message is a line for the user."""
        self._expected = expected
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: set[asyncio.Task[None]] = set()
        self._stopping = False

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._parts.add(task)
        task.add_done_callback(self._ended)

    def stop(self) -> None:
        self._stopping = True
        for task in self._parts:
            task.cancel()

    def fail(self, error: BaseException) -> None:
        """End the host because of `error`."""
        cause = _first(error)
        if isinstance(cause, self._expected):
            self._fail(str(cause))
            return
        logger.debug("a part of the host failed", exc_info=error)
        self._fail(f"The host has ended: {_one_line(cause)}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._parts.discard(task)
        if task.cancelled():
            if not self._stopping:
                self._fail("The host has ended: a part of it was cancelled.")
        elif error := task.exception():
            self.fail(error)

    def _fail(self, message: str) -> None:
        if not self.failed.done():
            self.failed.set_exception(SetupError(message))


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _one_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return " ".join(traceback.format_exception_only(error)[-1].split()) + place
