"""Sessions in which a model's Python runs: each with variables and files of its own, kept from call to call.

A session's name is 4 to 128 letters, digits and `-`, made by us and unguessable. Files lie in one folder, /mnt/data.
"""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

Status = Literal["ok", "error", "interrupted", "timeout", "memory_limit", "output_limit", "kernel_died"]


class CodeUnavailable(Exception):
    """No session is to be had, now or at all. The message is for the log; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CodeMissing(CodeUnavailable):
    """There will be no session until who runs the service does something. The message says what, and is for users."""


class SessionGone(Exception):
    """The session was lost, with its variables and files. `begin` makes a new one."""


class FileRefused(Exception):
    """There is no regular file of that name, or it can't be written. The message may be told to the model."""


@dataclass(frozen=True, slots=True)
class SessionFile:
    """`size` is in bytes; `modified` is another whenever the file has been written."""

    name: str
    size: int
    modified: str


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of a call.

    `error` is the traceback of what the code raised. `dropped` is how many bytes it printed beyond what is kept.
    `restarted`: its variables are gone, its files are not. `images` are PNGs, in the order in which they were shown.
    """

    status: Status
    stdout: str = ""
    stderr: str = ""
    result: str | None = None
    error: str | None = None
    dropped: int = 0
    restarted: bool = False
    images: list[bytes] = field(default_factory=list)


class CodeSessions(Protocol):
    """Every method may raise CodeUnavailable, all but `begin` SessionGone.

    Where the next call makes a lost session anew (a pool in Azure does), nothing raises it: `begin` tells.
    """

    async def begin(self, session: str) -> str:
        """See that there is one; return its incarnation: another one has neither variables nor files."""
        ...

    async def execute(self, session: str, call: str, code: str, timeout: float) -> Execution:
        """Run code for at most `timeout` seconds, calls of a session one after the other.

        `call` is its id: a call that is repeated, since its answer was lost, gets the answer of the first one where
        the adapter can tell. Whoever cancels this interrupts the code, where that can be done; else it runs on.
        """
        ...

    async def put(self, session: str, name: str, content: AsyncIterable[bytes]) -> None:
        """Write a file, or replace it. Raises FileRefused."""
        ...

    async def get(self, session: str, name: str) -> AsyncIterator[bytes]:
        """Return a file's content. Raises FileRefused."""
        ...

    async def files(self, session: str) -> list[SessionFile]:
        """Return the regular files, at most 1,000."""
        ...

    async def close(self) -> None: ...
