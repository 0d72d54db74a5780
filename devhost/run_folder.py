"""A private folder for the sockets of one running host."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def run_folder() -> Iterator[Path]:
    """Short of path (a socket's may have about 100 characters), open to this user alone, gone at the end."""
    _clear_after_the_dead()
    prefix = f"devhost-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _clear_after_the_dead() -> None:
    """A host that was killed leaves its folder behind."""
    if sys.platform == "win32":
        return
    for folder in Path(tempfile.gettempdir()).glob("devhost-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and folder.stat().st_uid == os.getuid() and not _is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
