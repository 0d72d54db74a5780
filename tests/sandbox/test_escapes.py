"""Attempts to get out, to see, to take more than one's share: each is stopped, and the session usable after it."""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.inside.limits import MIB
from sandbox.session import Execution, Session, SessionLost
from tests.sandbox.conftest import LIMITS

TIMEOUT = 15.0
SECRET = f"host-secret-{secrets.token_hex(8)}"

# Each is a cell that prints as JSON what it has got, and what it may be.
READ_NOTHING: dict[str, str] = {
    "/etc/shadow": "show(lambda: open('/etc/shadow').read())",
    "home folders": "show(lambda: [os.listdir(d) for d in ('/root', '/home', '/var', '/work', '/srv', '/run')])",
    "the host's root by a descriptor": "show(lambda: os.listdir('/proc/1/root'))",
    "the supervisor's environment": "show(lambda: open('/proc/1/environ', 'rb').read().decode())",
    "the supervisor's memory": "show(lambda: open('/proc/1/mem', 'r+b'))",
    "the supervisor's descriptors": "show(lambda: os.listdir('/proc/1/fd'))",
    "loopback": "show(lambda: socket.create_connection(('127.0.0.1', PORT), 2))",
    "the outside": "show(lambda: socket.create_connection(('192.0.2.1', 80), 2))",
    "a TCP socket at all": "show(lambda: socket.socket())",
    "IPv6": "show(lambda: socket.socket(socket.AF_INET6))",
    "an abstract socket of the host": "show(lambda: socket.socket(socket.AF_UNIX).connect('\\0' + ABSTRACT))",
    "AF_VSOCK": "show(lambda: socket.socket(40, socket.SOCK_STREAM))",
    "netlink": "show(lambda: socket.socket(16, 3))",
    "packets": "show(lambda: socket.socket(17, 3))",
    "raw sockets": "show(lambda: socket.socket(2, 3, 1))",
    "AF_ALG": "show(lambda: socket.socket(38, 5))",
    "another user": "show(lambda: os.setuid(0))",
    "another group": "show(lambda: os.setgid(0))",
    "a higher limit": "show(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (4000, 4000)))",
    "signals to PID 1": "[os.kill(1, n) for n in (2, 9, 10, 15, 19, 24)]; show(lambda: 1 / (state(1) in 'TZX'))",
    "a lower limit for PID 1": "number(302, 261, 1, resource.RLIMIT_NOFILE, (ctypes.c_ulong * 2)(3, 3), 0)",
    "an idle PID 1": "number(144, 119, 1, 5, ctypes.byref(ctypes.c_int(0)))",
    "a processor less for PID 1": "number(203, 122, 1, 8, ctypes.byref(ctypes.c_ulong(1)))",
    "a lower priority of PID 1": "call('setpriority', 0, 1, 19)",
    "unshare": "call('unshare', 0x10000000)",
    "a mount": "call('mount', b'none', b'/tmp', b'tmpfs', 0, 0)",
    "unmounting": "call('umount2', b'/mnt/data', 2)",
    "chroot": "call('chroot', b'/tmp')",
    "pivot_root": "number(155, 41, b'/tmp', b'/tmp')",
    "ptrace": "call('ptrace', 16, 1, 0, 0)",
    "reading a process": "number(310, 270, 1, 0, 0, 0, 0, 0)",
    "keyctl": "number(250, 219, 0, -1, 0)",
    "bpf": "number(321, 280, 0, 0, 0)",
    "userfaultfd": "number(323, 282, 0)",
    "perf_event_open": "number(298, 241, 0, 0, -1, -1, 0)",
    "io_uring": "number(425, 425, 8, ctypes.create_string_buffer(256))",
    "memfd": "number(319, 279, b'x', 0)",
    "shared memory of System V": "number(29, 194, 0, 1 << 20, 0o1600)",
    "clone3 with a user namespace": "number(435, 435, ctypes.create_string_buffer(NEW_USER + bytes(80)), 88)",
    "clone with a user namespace": "number(56, 220, 0x10000000 | 17, 0, 0, 0, 0)",
    "open_by_handle_at": "number(304, 265, -100, ctypes.create_string_buffer(128), 0)",
    "the new mount calls": "number(430, 430, b'tmpfs', 0)",
    "personality": "number(135, 92, 0x0040000)",
    "loading a module": "number(313, 273, 0, b'', 0)",
    "x32 calls": "number(0x40000000 + 39, 10_000)",
}

PRELUDE = """
import ctypes, json, mmap, os, platform, resource, socket, subprocess, threading, time
PORT, ABSTRACT, NEW_USER = {port}, {abstract!r}, (0x10000000).to_bytes(8, 'little')
_libc = ctypes.CDLL(None, use_errno=True)
def tell(got):
    print(json.dumps(got, default=repr))
def state(pid):
    return open(f'/proc/{{pid}}/stat').read().rpartition(')')[2].split()[0]
def show(get):
    try:
        tell({{'got': get()}})
    except (OSError, ValueError, ZeroDivisionError) as error:
        tell({{'stopped': str(error)}})
def call(name, *arguments):
    ctypes.set_errno(0)
    done = getattr(_libc, name)(*arguments)
    tell({{'got': done}} if done >= 0 else {{'stopped': os.strerror(ctypes.get_errno())}})
def number(on_x86, on_arm, *arguments):
    call('syscall', on_x86 if platform.machine() == 'x86_64' else on_arm, *arguments)
"""


@pytest.fixture(scope="module", autouse=True)
def host_environment() -> Iterator[None]:
    os.environ["SECRET_OF_THE_HOST"] = SECRET
    yield
    del os.environ["SECRET_OF_THE_HOST"]


@pytest.fixture
async def box(session: Session) -> Any:
    """Execute in a session beside a listening socket and an abstract one; at the end the session still answers."""
    abstract = f"sandbox-test-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{abstract}")
        unix.listen()
        prelude = PRELUDE.format(port=server.getsockname()[1], abstract=abstract)
        await session.execute(prelude, TIMEOUT)

        async def execute(code: str, timeout: float = TIMEOUT) -> Execution:
            return await session.execute(code, timeout)

        yield execute
    assert (await session.execute("1 + 1", TIMEOUT)).result == "2"
    assert await session.memory() < LIMITS.memory


@pytest.mark.parametrize("name", READ_NOTHING)
async def test_nothing_of_the_host_is_to_be_had(box: Any, name: str):
    done = await box(READ_NOTHING[name])
    assert done.status == "ok", done
    told = json.loads(done.stdout)
    assert "stopped" in told, told


async def test_the_box_sees_itself_alone(box: Any):
    await box("pids = [int(p) for p in os.listdir('/proc') if p.isdigit()]")
    code = "tell([sorted(os.environ), pids, os.listdir('/'), os.listdir('/dev')])"
    names, pids, root, devices = json.loads((await box(code)).stdout)
    assert not any("SECRET" in name or "KEY" in name for name in names)
    assert max(pids) < 100
    assert set(root) <= {"opt", "mnt", "tmp", "dev", "proc", "etc", "sbin", "bin", "lib64", "lib", "usr"}
    assert not set(devices) & {"kvm", "fuse", "mem", "kmsg", "sda", "vsock", "net"}
    code = "[p for p in pids if p > 1 and b'SECRET' in open(f'/proc/{p}/environ', 'rb').read()]"
    assert (await box(code)).result == "[]"


async def test_nothing_can_be_written_but_in_three_folders(box: Any):
    code = """
written = []
for folder, folders, files in os.walk('/'):
    if folder.startswith(('/proc', '/mnt/data', '/tmp', '/dev/shm')):
        folders.clear()
        continue
    try:
        open(folder + '/x', 'w').close(); written.append(folder)
    except OSError: pass
    if folder.count('/') > 3: folders.clear()
for path in ('/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/proc/1/oom_score_adj', '/dev/full2', '/etc/passwd'):
    try:
        open(path, 'w').write('x'); written.append(path)
    except OSError: pass
tell(written)
"""
    assert json.loads((await box(code)).stdout) == []


async def test_programs_with_more_rights_give_none(box: Any):
    programs = "id -u; su -c id; mount -t tmpfs x /tmp; unshare -r id"
    code = f"subprocess.run({programs!r}, shell=True, capture_output=True, text=True).stdout"
    done = await box(code)
    assert "uid=0" not in (done.result or "")
    assert "root" not in (done.result or "")


async def test_a_folder_that_the_code_has_closed_is_opened_again(box: Any):
    await box("open('/mnt/data/x', 'w').close()\ntry: os.chmod('/mnt/data', 0)\nexcept OSError: pass")
    assert (await box("os.listdir('/mnt/data')")).result == "['x']"


async def test_what_libraries_do_to_themselves_is_allowed(box: Any):
    code = "os.sched_setaffinity(0, os.sched_getaffinity(0)); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); 'done'"
    assert (await box(code)).result == "'done'"


BOMBS: dict[str, str] = {
    "forks": """
count = 0
try:
    while count < 2000:
        if os.fork() == 0:
            time.sleep(30); os._exit(0)
        count += 1
except OSError as error: pass
tell(count)
""",
    "forks that fork": "os.system(':(){ :|:& };:'); time.sleep(1)",
    "threads": """
count = 0
try:
    while count < 2000:
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); count += 1
except RuntimeError: pass
tell(count)
""",
    "memory": "b = bytearray(4 << 30)",
    "memory of eight processes": """
for _ in range(8):
    if os.fork() == 0:
        b = bytearray(100 << 20)
        for at in range(0, len(b), 4096): b[at] = 1
        time.sleep(30); os._exit(0)
time.sleep(10)
""",
    "shared memory": "m = mmap.mmap(-1, 1 << 30)\nfor at in range(0, len(m), 4096): m[at] = 1",
    "files in /dev/shm": "open('/dev/shm/x', 'wb').write(bytes(64 << 20))",
    "files in /tmp": "open('/tmp/x', 'wb').write(bytes(64 << 20))",
    "files in /mnt/data": "[open(f'{n}', 'wb').write(bytes(16 << 20)) for n in range(8)]",
    "many small files": "[open(f'/mnt/data/{n}', 'w').close() for n in range(100_000)]",
    "deleted files": """
kept = []
for _ in range(100):
    kept.append(open('/tmp/x', 'w+b', 0)); os.unlink('/tmp/x'); kept[-1].write(bytes(1 << 20))
""",
    "socket buffers": """
kept = []
try:
    while True:
        for end in socket.socketpair():
            kept.append(end); end.setblocking(False)
            try:
                while True: end.send(bytes(65536))
            except BlockingIOError: pass
except OSError as error: tell(str(error))
""",
    "output": "import sys\nfor _ in range(100): sys.stdout.write('x' * (1 << 20))",
    "errors": "import sys\nfor _ in range(100): os.write(2, b'x' * (1 << 20))",
    "an endless loop that takes no interrupt": """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: pass
""",
    "children that burn": "for _ in range(20):\n  if os.fork() == 0:\n    while True: pass\ntime.sleep(0.5)",
    "a recursion": "def f(): f()\nimport sys; sys.setrecursionlimit(10**9)\nf()",
    "a picture of a gigabyte": "class P:\n  def _repr_png_(self): return bytes(1 << 28)\nP()",
    "a name of a megabyte": "raise type('x' * (1 << 20), (Exception,), {})('y' * (1 << 24))",
}


@pytest.mark.parametrize("name", BOMBS)
async def test_nobody_takes_more_than_his_share(box: Any, name: str):
    done = await box(BOMBS[name], 4.0)
    assert done.status in ("ok", "error", "timeout", "memory_limit", "kernel_died"), done
    assert done.seconds < 4.0 + LIMITS.grace + 3.0
    assert done.peak_memory < LIMITS.memory + 300 * MIB  # what can come between two looks
    assert len(done.stdout) + len(done.stderr) <= 2 * MIB
    if name in ("forks", "threads"):
        assert int(done.stdout) < LIMITS.processes
    await box("kept = None\nfor d in ('/tmp', '/dev/shm', '/mnt/data'):\n  for e in os.scandir(d): os.unlink(e)")
    await box("import os\nfor d in ('/tmp', '/dev/shm', '/mnt/data'):\n  for e in os.scandir(d): os.unlink(e)")


FORGERIES: dict[str, str] = {
    "a reply": "frame({'number': N, 'result': 'forged', 'error': None, 'images': []})",
    "a later reply": "frame({'number': N + 1, 'result': 'forged', 'error': None, 'images': []})",
    "an error of other members": "frame({'number': N, 'error': {'what': 'x'}, 'images': []})",
    "an error without any": "frame({'number': N, 'error': {}, 'images': []})",
    "a result beyond all length": "frame({'number': N, 'result': 'x' * (1 << 20), 'images': []})",
    "pictures without number": "frame({'number': N, 'images': [0] * 1_000_000})",
    "images that aren't there": "frame({'number': N, 'images': [1 << 30]})",
    "no JSON": "raw(struct.pack('>II', 3, 0) + b'xyz')",
    "a list": "raw(struct.pack('>II', 2, 0) + b'[]')",
    "depth": "raw(struct.pack('>II', 100_000, 0) + b'[' * 100_000)",
    "a length beyond all": "raw(b'\\xff' * 8)",
    "half a frame": "raw(struct.pack('>II', 1000, 0) + b'{')",
    "closed descriptors": "os.closerange(3, 256)",
    "closed outputs": "os.closerange(0, 3)",
    "a flood": "[raw(struct.pack('>II', 2, 0) + b'{}') for _ in range(200_000)]",
    "megabytes": "raw(struct.pack('>II', 8 << 20, 0) + b' ' * (8 << 20))",
}
FORGER = """
import gc, struct
def raw(data):
    for fd in range(3, 40):
        try:
            left = memoryview(data)
            while left: left = left[os.write(fd, left):]
        except OSError: pass
def frame(head):
    head = json.dumps(head).encode()
    raw(struct.pack('>II', len(head), 0) + head)
"""


@pytest.mark.parametrize("name", FORGERIES)
async def test_forged_words_to_the_supervisor_harm_only_their_session(box: Any, name: str):
    await box(FORGER)
    await box(f"N = 4\n{FORGERIES[name]}", 4.0)
    # The next one says what it says, in the same kernel or in a new one.
    done = await box("print('honest')\n6 * 7")
    again = await box("print('honest')\n6 * 7")
    assert (again.result, again.stdout, again.status) == ("42", "honest\n", "ok"), (done, again)


async def test_a_killed_supervisor_takes_everything_along_and_harms_nobody_else(start_session: Any):
    one, other = await start_session(), await start_session()
    running = asyncio.create_task(one.execute("import time\ntime.sleep(60)", 60))
    await asyncio.sleep(0.2)
    one.kill()
    with pytest.raises(SessionLost):
        await running
    assert (await other.execute("1 + 1", TIMEOUT)).result == "2"
