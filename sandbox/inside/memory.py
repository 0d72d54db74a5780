"""How much a session has in memory: no limit of the kernel's counts all of it.

Limits of a process count only its own; memory that is shared and files in memory belong to none.
"""

import os
from pathlib import Path

FILE_SYSTEMS = ("/mnt/data", "/tmp", "/dev/shm")  # of the box
_COUNTED = ("Pss_Anon:", "Pss_Shmem:")


def used() -> int:
    """Return bytes: of every process but PID 1, and of the file systems in memory."""
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and entry.name != "1"]
    return sum(map(_of_process, processes)) + sum(_of_file_system(path) for path in FILE_SYSTEMS)


def _of_process(process: Path) -> int:
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(_COUNTED))


def _of_file_system(path: str) -> int:
    status = os.statvfs(path)
    return (status.f_blocks - status.f_bfree) * status.f_frsize
