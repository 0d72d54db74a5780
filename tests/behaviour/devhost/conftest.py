"""The local host as a process, running the small app beside this file."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil
import pytest

from tests.processes import runs

ROOT = Path(__file__).resolve().parents[3]
APP = Path(__file__).resolve().parent / "app"
READY = re.compile(r"Listening on (http://localhost:(\d+)/openai)\n")
PATIENCE = 60.0  # seconds; far more than anything takes on an idle machine


def eventually[T](probe: Callable[[], T], timeout: float = PATIENCE) -> T:
    """Return the first true value of `probe`."""
    deadline = time.monotonic() + timeout
    while not (value := probe()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s"
        time.sleep(0.02)
    return value


class LocalHost:
    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.data = folder / "data"
        self._log = folder / "host.log"
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
        # A model is named, or the host would start its own.
        environment |= {"MODEL_BASE_URL": "http://127.0.0.1:9/v1", "SWEEPER_SCHEDULE": "0 0 0 1 1 *", **settings}
        command = [sys.executable, "-m", "devhost", "--port", "0", "--app", str(APP), "--data", str(self.data)]
        command.append("--no-code-interpreter")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self._seen: set[psutil.Process] = set()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = READY.search(self.log)
        assert found, self.log
        return found[1].replace("localhost", "127.0.0.1")

    def ready(self) -> "LocalHost":
        eventually(lambda: READY.search(self.log) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        self.workers()
        return self

    def workers(self) -> list[psutil.Process]:
        """The worker processes that live, replaced ones included."""
        found = psutil.Process(self.process.pid).children()
        alive = [child for child in found if runs(child)]
        self._seen.update(alive)
        return alive

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}/{path}", timeout=30, trust_env=False, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/{path}", timeout=30, trust_env=False, **options)

    def notes(self, what: str) -> list[dict[str, Any]]:
        """What the app noted, oldest first."""
        path = self.data / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def left_over(self) -> list[psutil.Process]:
        """Workers ever seen that still run."""
        return [each for each in self._seen if runs(each)]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.workers()
            self.process.kill()
        self.process.wait(10)
        for process in self.left_over():
            process.kill()


class StartHost(Protocol):
    def __call__(self, *options: str, **settings: str) -> LocalHost: ...


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[StartHost]:
    """Start hosts that end with the test; SIGSTOPped workers too."""
    hosts: list[LocalHost] = []

    def start(*options: str, **settings: str) -> LocalHost:
        folder = tmp_path / str(len(hosts))
        folder.mkdir()
        hosts.append(LocalHost(folder, *options, **settings))
        return hosts[-1]

    yield start
    for host in hosts:
        host.kill()
        sys.stderr.write(host.log)


@pytest.fixture(scope="module")
def quiet_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    """One host for all tests of a module that only ask."""
    settings = {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000000", "ROUTES_IN_ERROR": "1"}
    host = LocalHost(tmp_path_factory.mktemp("host"), **settings).ready()
    yield host
    host.process.send_signal(signal.SIGTERM)
    host.process.wait(20)
    host.kill()
