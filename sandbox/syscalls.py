"""The filter of system calls (seccomp): what no namespace keeps in, and what no limit counts.

A program of classic BPF, as bubblewrap's `--seccomp` takes it. What is denied answers EPERM, so that
libraries go another way.
"""

import platform
import struct
from typing import NamedTuple


class Architecture(NamedTuple):
    audit: int  # as the kernel names it (AUDIT_ARCH_…)
    column: int  # of the table below
    has_x32: bool


ARCHITECTURES = {"x86_64": Architecture(0xC000003E, 0, True), "aarch64": Architecture(0xC00000B7, 1, False)}
_ABSENT = -1

# Numbers on x86_64 and aarch64 (linux/arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
DENIED = {
    # Other processes' memory and descriptors
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    # Mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    # Wide surfaces of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "landlock_create_ruleset": (444, 444),
    "personality": (135, 92),
    "modify_ldt": (154, _ABSENT),
    # The machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "ioperm": (173, _ABSENT),
    "iopl": (172, _ABSENT),
    "nfsservctl": (180, 42),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # Somebody else's share of the processor
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # Memory that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
# Allowed for the calling process alone (a first argument of 0): the supervisor's limits, and its place among those that
# wait for a processor, are what it watches the others with.
OF_ITSELF_ALONE = {
    "prlimit64": (302, 261),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
}
_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR = (56, 220), 435, (41, 198), (53, 199)
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW…, of clone's flags
_AF_UNIX = 1
_X32 = 0x40000000

# Instructions: load a word of seccomp_data, jump if equal, at least, or any bit set, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in seccomp_data
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS, _ENETUNREACH = 1, 38, 101

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def seccomp_filter(machine: str = platform.machine()) -> bytes:
    """Return the program. Raises KeyError for a machine that is in no column of the table."""
    architecture = ARCHITECTURES[machine]
    column = architecture.column
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if architecture.has_x32:
        program += [(_AT_LEAST, 0, 1, _X32), _fail(_ENOSYS)]
    for number in sorted({numbers[column] for numbers in DENIED.values()} - {_ABSENT}):
        program += [(_EQUAL, 0, 1, number), _fail(_EPERM)]
    for number in sorted(numbers[column] for numbers in OF_ITSELF_ALONE.values()):
        program += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_EQUAL, 0, 1, 0),
            (_RETURN, 0, 0, _ALLOW),
            _fail(_EPERM),
        ]
    # Its flags are behind a pointer, which no filter can follow: libraries fall back to clone.
    program += [(_EQUAL, 0, 1, _CLONE3), _fail(_ENOSYS)]
    program += [
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        _fail(_EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    # A network namespace does not keep in AF_VSOCK, nor some of netlink.
    program += [
        (_EQUAL, 1, 0, _SOCKET[column]),
        (_EQUAL, 0, 4, _SOCKETPAIR[column]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _AF_UNIX),
        _fail(_ENETUNREACH),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _fail(errno: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | errno)
