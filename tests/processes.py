"""Whether a process runs: it may end between any two looks at it."""

import psutil


def runs(process: psutil.Process) -> bool:
    """Not one that has ended and that nobody has buried yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
