"""Starting, refusing to start, and stopping."""

import os
import shutil
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.behaviour.devhost.conftest import APP, LocalHost, StartHost, eventually


def refusal(host: LocalHost) -> str:
    """The one line that a host prints that does not start."""
    assert host.process.wait(60) == 1, host.log
    [line] = host.log.splitlines()
    return line


def test_a_port_that_is_taken_is_one_clear_line(start_host: StartHost):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(start_host("--port", str(port)))
    assert line == f"Port {port} is taken: stop what uses it, or choose another with --port."


@pytest.mark.parametrize("when", ["APP_BREAKS", "WARM_UP_BREAKS"])
def test_a_broken_setting_is_one_clear_line(start_host: StartHost, when: str):
    line = refusal(start_host(**{when: "SETTING must be a number."}))
    assert line == "SETTING must be a number."


def test_an_app_that_does_not_load_is_one_clear_line(start_host: StartHost):
    line = refusal(start_host(APP_BREAKS="no such thing"))
    assert line.startswith("function_app.py does not load: ValueError: no such thing (function_app.py, line ")


def test_workers_that_only_die_are_one_clear_line(start_host: StartHost):
    line = refusal(start_host(APP_DIES="yes"))
    assert line == "The workers died 5 times before they had loaded the app."


def test_a_model_at_our_own_address_is_one_clear_line(start_host: StartHost):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = refusal(start_host("--port", str(port), MODEL_BASE_URL=f"http://localhost:{port}/openai/v1"))
    assert line == "MODEL_BASE_URL is this service's own address; it must name a model's."


def test_a_folder_without_an_app_is_one_clear_line(start_host: StartHost, tmp_path: Path):
    assert refusal(start_host("--app", str(tmp_path))) == f"There is no function_app.py in {tmp_path}."


@pytest.mark.parametrize("schedule", ["never", "61 * * * * *"])
def test_a_schedule_that_is_none_is_one_clear_line(start_host: StartHost, schedule: str):
    assert f"'{schedule}'" in refusal(start_host(SWEEPER_SCHEDULE=schedule))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_is_quick_and_leaves_nothing(start_host: StartHost, number: signal.Signals):
    host = start_host("--workers", "2").ready()
    host.post("start/plain/a")
    frozen = host.workers()[0]
    with httpx.stream("GET", f"{host.url}/stream", timeout=30, trust_env=False) as response:
        next(response.iter_lines())
        frozen.suspend()
        began = time.monotonic()
        host.process.send_signal(number)
        assert host.process.wait(10) == 0
    assert time.monotonic() - began < 3
    assert host.left_over() == []
    assert "Traceback" not in host.log


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_asking_twice_to_stop_waits_for_nobody(start_host: StartHost):
    host = start_host().ready()
    host.workers()[0].suspend()
    host.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    host.process.send_signal(signal.SIGINT)
    assert host.process.wait(10) == 1
    assert eventually(lambda: not host.left_over(), timeout=5)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_frozen_and_replaced_is_gone_too_when_the_host_has_stopped(start_host: StartHost):
    host = start_host().ready()
    [frozen] = host.workers()
    frozen.suspend()
    eventually(lambda: len(host.workers()) == 2)
    host.process.send_signal(signal.SIGINT)
    assert host.process.wait(10) == 0
    assert host.left_over() == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_stopping_while_the_workers_still_load_leaves_nothing(start_host: StartHost):
    host = start_host("--workers", "2")
    eventually(lambda: len(host.workers()) == 2)
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(10) == 0
    assert host.left_over() == []


def test_an_api_key_is_made_once_and_kept_for_its_owner(start_host: StartHost):
    host = start_host().ready()
    key = host.get("where").json()["ASSISTANTS_API_KEY"]
    assert len(key) >= 32
    assert f"API key: {key}\n" in host.log
    kept = host.data / "api-key"
    assert kept.read_text().strip() == key
    if os.name == "posix":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    host.kill()
    again = start_host("--data", str(host.data)).ready()
    assert again.get("where").json()["ASSISTANTS_API_KEY"] == key


def test_a_second_host_on_the_same_data_is_one_clear_line_and_disturbs_nobody(start_host: StartHost):
    first = start_host().ready()
    first.post("start/plain/a")
    before = (first.data / "api-key").read_text()
    line = refusal(start_host("--data", str(first.data)))
    owner = f"process {first.process.pid}"
    assert line == f"The data folder {first.data} is in use by another host ({owner}). Stop it first."
    assert (first.data / "api-key").read_text() == before
    eventually(lambda: first.notes("end"))
    assert first.get("where").status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_data_whose_host_was_killed_is_free_at_once_even_if_its_workers_linger(start_host: StartHost):
    first = start_host("--workers", "2").ready()
    for worker in first.workers():
        worker.suspend()
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(10)
    again = start_host("--data", str(first.data)).ready()
    assert again.get("where").status_code == 200


def test_data_where_nothing_can_be_written_is_one_clear_line(start_host: StartHost, tmp_path: Path):
    (tmp_path / "data" / "host.lock").mkdir(parents=True)
    line = refusal(start_host("--data", str(tmp_path / "data")))
    assert line == f"The data folder {tmp_path / 'data'} cannot be written: Is a directory."


def test_a_given_api_key_is_neither_kept_nor_printed(start_host: StartHost):
    host = start_host(ASSISTANTS_API_KEY="given").ready()
    assert host.get("where").json()["ASSISTANTS_API_KEY"] == "given"
    assert "given" not in host.log
    assert not (host.data / "api-key").exists()


def test_settings_come_from_the_file_where_the_environment_has_none(start_host: StartHost, tmp_path: Path):
    app = tmp_path / "app"
    shutil.copytree(APP, app)
    values = '{"Values": {"FROM_THE_FILE": "yes", "ASSISTANTS_API_KEY": "from the file"}}'
    (app / "local.settings.json").write_text(values)
    told = start_host("--app", str(app), ASSISTANTS_API_KEY="given").ready().get("where").json()
    assert (told["FROM_THE_FILE"], told["ASSISTANTS_API_KEY"]) == ("yes", "given")


def test_timer_functions_run_at_the_start_and_at_their_schedule(start_host: StartHost):
    host = start_host("--workers", "2", SWEEPER_SCHEDULE="* * * * * *").ready()
    eventually(lambda: len(host.notes("sweep")) >= 4)
    sweeps = host.notes("sweep")
    assert all(sweep["rpc"] for sweep in sweeps)
    # At the start, whenever that was, then at full seconds, each by one worker.
    assert all(sweep["at"] % 1 < 0.9 for sweep in sweeps[1:])
    assert len({int(sweep["at"]) for sweep in sweeps[1:]}) == len(sweeps) - 1


def test_each_worker_is_warmed_up_before_it_is_ready(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    assert {note["pid"] for note in host.notes("warm-up")} == {worker.pid for worker in host.workers()}


def test_workers_are_children_of_the_host(start_host: StartHost):
    host = start_host("--workers", "2").ready()
    workers = host.workers()
    assert len(workers) == 2
    assert all("devhost.worker" in psutil.Process(worker.pid).cmdline() for worker in workers)
