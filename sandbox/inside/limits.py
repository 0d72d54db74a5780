"""What a session may take."""

from dataclasses import dataclass

MIB = 1 << 20
MOST_IMAGES = 100  # in one execution


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and seconds, unless another unit is named."""

    memory: int = 1024 * MIB  # of all processes together, and what lies in the three file systems
    data: int = 256 * MIB  # /mnt/data
    scratch: int = 64 * MIB  # /tmp and /dev/shm, each
    processes: int = 64  # with threads
    descriptors: int = 256  # a process
    cpu: int = 900  # of one kernel process, over its life
    output: int = 1 * MIB  # kept of stdout and of stderr, each
    images: int = 8 * MIB  # shown in one execution
    files: int = 1000  # listed of /mnt/data
    grace: float = 2.0  # between an interrupt and the end of a kernel that ignores it
