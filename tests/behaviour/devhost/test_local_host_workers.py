"""Workers that die, freeze and come back."""

import os
import signal
import sys
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.behaviour.devhost.conftest import StartHost, eventually
from tests.processes import runs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills and freezes with signals")


def test_an_activity_whose_worker_is_killed_is_given_to_another(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    host.post("start/plain/a")
    [first] = eventually(lambda: host.notes("slow began"))
    os.kill(first["pid"], signal.SIGKILL)

    eventually(lambda: host.notes("end"))
    began = [note["pid"] for note in host.notes("slow began")]
    assert len(began) == 2
    assert began[1] != first["pid"]
    assert len(host.notes("slow ended")) == 1
    eventually(lambda: len(host.workers()) == 2)


def test_an_only_worker_that_is_killed_is_replaced_and_its_work_done(start_host: StartHost):
    host = start_host().ready()
    host.post("start/plain/a")
    [first] = eventually(lambda: host.notes("slow began"))
    os.kill(first["pid"], signal.SIGKILL)

    eventually(lambda: first["pid"] not in [worker.pid for worker in host.workers()])
    # No worker is there: the connection waits for one.
    assert host.get("where").json()["pid"] != first["pid"]
    eventually(lambda: host.notes("end"))


def test_a_stream_is_cut_when_its_worker_is_killed(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    with httpx.stream("GET", f"{host.url}/stream", timeout=30, trust_env=False) as response:
        lines = response.iter_lines()
        os.kill(int(next(lines).split()[0]), signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            list(lines)


def test_an_activity_that_kills_its_worker_five_times_is_answered_as_failed(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    with suppress(httpx.HTTPError):  # it may kill the worker that answers
        host.post("start/meets_poison/a")

    [end] = eventually(lambda: host.notes("end"))
    assert end["id"] == "a: activity poison was given to 5 workers and each of them died."
    assert len(host.notes("poison")) == 5


def test_an_orchestrator_that_kills_its_worker_five_times_fails_its_orchestration(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    with suppress(httpx.HTTPError):  # it may kill the worker that answers
        host.post("start/is_poison/a")
    eventually(lambda: "orchestration a failed: orchestration is_poison was given to 5 workers" in host.log)


def test_a_frozen_worker_is_replaced_and_changes_nothing_when_it_wakes(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    host.post("start/plain/a")
    [first] = eventually(lambda: host.notes("slow began"))
    frozen = psutil.Process(first["pid"])
    frozen.suspend()

    eventually(lambda: host.notes("end"))
    assert f"worker {frozen.pid} has been silent for 5 s and is replaced" in host.log
    assert frozen.status() == psutil.STATUS_STOPPED

    frozen.resume()
    assert eventually(lambda: not runs(frozen), timeout=5)
    host.post("start/plain/b")
    eventually(lambda: len(host.notes("end")) == 2)
    assert sorted(note["id"] for note in host.notes("end")) == ["a", "b"]
    assert "Traceback" not in host.log


def test_a_frozen_worker_that_never_wakes_is_ended(start_host: StartHost):
    host = start_host().ready()
    frozen = host.workers()[0]
    frozen.suspend()
    eventually(lambda: f"worker {frozen.pid} has been silent for 5 s and is replaced" in host.log)
    # It may hold the lock of the local store, and whoever froze it may never come back.
    assert eventually(lambda: not runs(frozen), timeout=15)


def test_a_connection_to_a_frozen_worker_is_closed(start_host: StartHost):
    host = start_host().ready()
    with httpx.Client(base_url=host.url, timeout=30, trust_env=False) as client:
        frozen = psutil.Process(client.get("where").json()["pid"])
        frozen.suspend()
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("where")
        assert client.get("where").json()["pid"] != frozen.pid


def test_workers_leave_when_the_host_is_killed(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    with httpx.stream("GET", f"{host.url}/stream", timeout=30, trust_env=False) as response:
        next(response.iter_lines())
        host.process.kill()
        host.process.wait(10)
        assert eventually(lambda: not host.left_over(), timeout=5)
