"""One host to a data folder: two would each think that they alone see its runs through."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from devhost.setup_error import SetupError

LOCK = "host.lock"


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own the folder meanwhile. The system gives it free when this process ends, however it does.

    Workers don't hold it, so those of a host that was killed never keep the next one waiting. Raises
    SetupError if another host owns the folder or nothing can be written there.
    """
    path = folder / LOCK
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise SetupError(f"The data folder {folder} cannot be written: {error.strerror}.") from None
    with file:
        if not _lock(file):
            raise SetupError(f"The data folder {folder} is in use by another host{_named(file)}. Stop it first.")
        with suppress(OSError):  # only for the message above
            file.truncate(0)
            file.write(b"%d\n" % os.getpid())
        yield


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # Windows lets nobody read what is locked: not where the process's number stands

    def _lock(file: BinaryIO) -> bool:
        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True


def _named(file: BinaryIO) -> str:
    with suppress(OSError):
        file.seek(0)
        number = file.read(20).strip().decode("ascii", "replace")
        return f" (process {number})" if number.isdigit() else ""
    return ""
