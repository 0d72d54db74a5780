"""What host.json bounds: how long an invocation may last, and how much runs at once in a worker."""

import time

import httpx
import pytest

from tests.behaviour.devhost.conftest import LocalHost, StartHost, eventually

TIMEOUT = "AzureFunctionsJobHost__functionTimeout"
DURABLE = "AzureFunctionsJobHost__extensions__durableTask__"


def limited(start_host: StartHost, *options: str, activities: int, orchestrators: int = 100) -> LocalHost:
    limits = {
        f"{DURABLE}maxConcurrentActivityFunctions": str(activities),
        f"{DURABLE}maxConcurrentOrchestratorFunctions": str(orchestrators),
    }
    return start_host(*options, **limits).ready()


def test_a_request_that_outlasts_the_timeout_gets_an_empty_500_and_its_worker_is_restarted(start_host: StartHost):
    host = start_host(**{TIMEOUT: "00:00:02"}).ready()
    before = host.get("where").json()["pid"]

    answer = host.get("naps")
    assert (answer.status_code, answer.content) == (500, b"")
    eventually(lambda: "Timeout value was exceeded by function: naps" in host.log)
    eventually(lambda: before not in [worker.pid for worker in host.workers()])
    assert host.get("where").json()["pid"] != before


def test_a_stream_that_outlasts_the_timeout_is_cut(start_host: StartHost):
    host = start_host(**{TIMEOUT: "00:00:02"}).ready()
    with (
        httpx.stream("GET", f"{host.url}/stream", timeout=30, trust_env=False) as answer,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        list(answer.iter_lines())


def test_an_activity_that_outlasts_the_timeout_has_failed_and_what_ran_beside_it_is_done(start_host: StartHost):
    host = start_host(**{TIMEOUT: "00:00:04"}).ready()
    host.post("start/oversleeps/late")
    [late] = eventually(lambda: host.notes("sleeps"))
    time.sleep(2.8)  # what takes two seconds is under way when the worker is restarted
    host.post("start/plain/beside")

    eventually(lambda: len(host.notes("end")) == 2)
    assert {note["id"] for note in host.notes("end")} == {
        "beside",
        "late: Timeout value of 4 s was exceeded by function: sleeps",
    }
    assert [note["pid"] == late["pid"] for note in host.notes("slow began")] == [True, False]
    assert len(host.notes("sleeps")) == 1


def test_a_worker_is_given_no_more_activities_than_the_limit_and_the_rest_in_order(start_host: StartHost):
    host = limited(start_host, "--workers", "2", activities=1)
    names = [f"run-{number}" for number in range(5)]
    for name in names:
        host.post(f"start/plain/{name}")
    eventually(lambda: len(host.notes("end")) == 5)

    assert [note["id"] for note in host.notes("slow began")] == names
    for pid in {note["pid"] for note in host.notes("slow began")}:
        began = [note["id"] for note in host.notes("slow began") if note["pid"] == pid]
        assert began == [note["id"] for note in host.notes("slow ended") if note["pid"] == pid]
        assert len(began) >= 2


def test_activities_that_wait_do_not_delay_an_orchestrator(start_host: StartHost):
    host = limited(start_host, activities=1, orchestrators=1)
    for number in range(5):
        host.post(f"start/plain/run-{number}")
    eventually(lambda: host.notes("slow began"))
    host.post("start/is_quick/quick")

    eventually(lambda: host.notes("end"))
    assert [note["id"] for note in host.notes("end")] == ["quick"]
    assert not host.notes("slow ended")


def test_what_a_lost_worker_held_goes_before_what_waited(start_host: StartHost):
    host = limited(start_host, activities=1)
    for name in ("first", "second", "third"):
        host.post(f"start/plain/{name}")
    [began] = eventually(lambda: host.notes("slow began"))
    next(worker for worker in host.workers() if worker.pid == began["pid"]).kill()

    eventually(lambda: len(host.notes("end")) == 3)
    assert [note["id"] for note in host.notes("slow began")] == ["first", "first", "second", "third"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (TIMEOUT, "half an hour", "functionTimeout must be hh:mm:ss, d.hh:mm:ss, or -1 for none."),
        (TIMEOUT, "00:00:00", "functionTimeout must be a time of at least one second."),
        (f"{DURABLE}maxConcurrentActivityFunctions", "0", "maxConcurrentActivityFunctions in host.json must be"),
        (f"{DURABLE}maxConcurrentOrchestratorFunctions", "many", "maxConcurrentOrchestratorFunctions in host.json"),
    ],
)
def test_a_limit_that_is_none_ends_the_start_with_one_line(start_host: StartHost, name: str, value: str, message: str):
    host = start_host(**{name: value})
    assert host.process.wait(30) == 1
    assert host.log.startswith(message)
    assert host.log.count("\n") == 1
