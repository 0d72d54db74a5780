"""File descriptors: raised where they may be, kept back for what runs need, and gone for a while."""

import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.behaviour.devhost.conftest import LocalHost, StartHost, eventually

if sys.platform != "linux":
    pytest.skip("changes the limits of another process", allow_module_level=True)

import resource

LIMIT = 300


def limits(process: psutil.Process) -> tuple[int, int]:
    return resource.prlimit(process.pid, resource.RLIMIT_NOFILE)


def limit(host: LocalHost, soft: int, hard: int) -> None:
    resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def connection_to(host: LocalHost) -> socket.socket:
    address = urlsplit(host.url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def answer(connection: socket.socket, asked: str = "GET /openai/where") -> str:
    """Ask, and return the status of the answer."""
    connection.sendall(f"{asked} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
    return connection.recv(10_000).decode().split()[1]


def test_host_and_workers_take_as_many_descriptors_as_they_may(start_host: StartHost):
    host = start_host()
    hard = limits(psutil.Process(host.process.pid))[1]
    limit(host, 256, hard)
    host.ready()
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    assert [limits(each)[0] for each in (psutil.Process(host.process.pid), *host.workers())] == [most] * 2


def test_connections_beyond_the_descriptors_get_503_while_runs_go_on(start_host: StartHost):
    host = start_host("--workers", "2")
    limit(host, LIMIT, LIMIT)
    host.ready()
    with ExitStack() as leaving:
        idle = [leaving.enter_context(connection_to(host)) for _ in range(LIMIT)]
        eventually(lambda: "connections are all that file descriptors allow; more get 503" in host.log)
        assert answer(leaving.enter_context(connection_to(host))) == "503"
        assert answer(idle[0], "POST /openai/start/plain/a") == "200"
        [first] = eventually(lambda: host.notes("slow began"))
        os.kill(first["pid"], signal.SIGKILL)
        eventually(lambda: host.notes("end"))
        eventually(lambda: len(host.notes("warm-up")) == 3)
        assert len(host.workers()) == 2
    eventually(lambda: host.get("where").status_code == 200)
    assert "Traceback" not in host.log


def test_a_worker_that_cannot_be_started_is_tried_again_and_the_log_says_so(start_host: StartHost):
    host = start_host().ready()
    soft, hard = limits(psutil.Process(host.process.pid))
    host.post("start/plain/a")
    [first] = eventually(lambda: host.notes("slow began"))
    highest = max(int(each.name) for each in Path(f"/proc/{host.process.pid}/fd").iterdir())
    limit(host, highest + 1, hard)
    os.kill(first["pid"], signal.SIGKILL)
    eventually(lambda: "a worker cannot be started: Too many open files; trying again in 0.5 s" in host.log)
    # Nor can connections be accepted; that neither ends the host nor keeps it busy.
    waiting = [connection_to(host) for _ in range(20)]
    before = psutil.Process(host.process.pid).cpu_times().user
    eventually(lambda: host.log.count("a worker cannot be started") >= 3)
    assert psutil.Process(host.process.pid).cpu_times().user - before < 0.5

    limit(host, soft, hard)
    eventually(lambda: host.notes("end"))
    assert answer(connection_to(host)) == "200"
    for connection in waiting:
        connection.close()


def test_a_host_that_can_never_start_a_worker_is_one_clear_line(start_host: StartHost):
    host = start_host()
    limit(host, 28, 28)
    assert host.process.wait(60) == 1
    assert host.log.splitlines()[-1] == "No worker can be started: Too many open files."
