"""Files of /mnt/data, for the supervisor: whatever the code has planted there, only regular files are touched."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = "/mnt/data"
LONGEST_NAME = 255  # bytes


class NoSuchFile(Exception):
    """There is no regular file of that name, or it can't be written."""


def listing(limit: int) -> list[dict[str, Any]]:
    """Return name, size and time of modification (nanoseconds) of each; not of links, and of files with two names."""
    _open_up()
    found: list[dict[str, Any]] = []
    with os.scandir(FOLDER) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                entry.name.encode()
            except (OSError, UnicodeEncodeError):  # gone; or a name that can't be told
                continue
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                found.append({"name": entry.name, "size": status.st_size, "modified": status.st_mtime_ns})
            if len(found) == limit:
                break
    return found


def open_file(name: str, flags: int) -> int:
    """Return a descriptor of a regular file. Raises NoSuchFile."""
    if not name or "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > LONGEST_NAME:
        raise NoSuchFile("not a file name")
    _open_up()
    always = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(f"{FOLDER}/{name}", flags | always, 0o666)
    except OSError as error:
        raise NoSuchFile(error.strerror or "cannot be opened") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoSuchFile("not a regular file")
    return descriptor


def _open_up() -> None:
    """Where the folder is the code's own, it may have closed it."""
    with suppress(PermissionError):
        Path(FOLDER).chmod(0o777)
