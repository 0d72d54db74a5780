"""The service as its users start it: a real host with real workers, on a free port.

with Service(tmp_path, model=scripted_model, workers=2) as service:
    client = service.openai()
"""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from tests.scripted_model import ScriptedModel

ROOT = Path(__file__).resolve().parent.parent
API_VERSION = "2024-05-01-preview"  # the one that most programs of that time name
_LISTENING = re.compile(r"^Listening on http://localhost:(\d+)/openai$", re.MULTILINE)
# A process of ours is known by this in its environment, whoever its parent has become.
_MARK = "DURABLE_ASSISTANTS_TEST_SERVICE"
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


class Service:
    """One host with its workers and its data.

    `settings` are environment variables; nothing else of the caller's environment gets through that
    could change what the service does. Standard output and error go to `log_path`. `descriptors` is how many
    files and connections each of its processes may have open at most.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: ScriptedModel | None = None,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        key: str = "the-key-of-the-tests",
        descriptors: int | None = None,
        code_interpreter: bool = False,
    ) -> None:
        self.data = folder / "data"
        self.log_path = folder / "service.log"
        self.key = key
        self.settings = dict(settings or {})
        self.port = 0
        self._workers = workers
        self._descriptors = descriptors
        self._options = [] if code_interpreter else ["--no-code-interpreter"]
        self._mark = secrets.token_hex(8)
        self._environment = _environment(model, key) | self.settings | {_MARK: self._mark}
        self._host: subprocess.Popen[bytes] | None = None
        self._clients: list[OpenAI] = []

    # Where it is

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """For `OpenAI(base_url=…)`."""
        return f"{self.url}/openai/v1"

    @property
    def azure_endpoint(self) -> str:
        """For `AzureOpenAI(azure_endpoint=…)`."""
        return self.url

    # Its life

    def start(self, *, timeout: float = 60.0) -> Self:
        """Start it, on the port it had if it ran before, and wait until it takes requests."""
        began_at = self.log_path.stat().st_size if self.log_path.exists() else 0
        command = [sys.executable, "-m", "devhost", "--port", str(self.port), "--workers", str(self._workers)]
        command += self._options
        if self._descriptors:
            command = ["sh", "-c", f'ulimit -n {self._descriptors}; exec "$@"', "sh", *command]
        with self.log_path.open("ab") as log:
            self._host = subprocess.Popen(
                [*command, "--data", str(self.data)],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.port = self._listening_port(self._host, began_at, timeout)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, *, timeout: float = 15.0) -> int:
        """Ask it to stop, as Ctrl-C does; return its exit code. AssertionError if it leaves anything behind."""
        assert self._host is not None
        self._host.send_signal(signal.SIGINT)
        try:
            code = self._host.wait(timeout)
            left = self.pids()
        finally:
            self.kill()
        assert not left, f"The service has stopped, but its processes {left} run on."
        return code

    def kill(self) -> None:
        """End host and workers at once, with SIGKILL."""
        if self._host is not None:
            self._host.kill()  # first, so that nobody replaces the workers
            self._host.wait(10)
            self._host = None
        deadline = time.monotonic() + 10
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def restart(self) -> Self:
        """Kill everything and start again on the same data and port."""
        self.kill()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self.kill()

    # Its processes

    @property
    def host_pid(self) -> int:
        assert self._host is not None
        return self._host.pid

    def worker_pids(self) -> list[int]:
        """The workers that live, oldest first."""
        workers: list[psutil.Process] = []
        for child in psutil.Process(self.host_pid).children():
            with contextlib.suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE and "devhost.worker" in child.cmdline():
                    workers.append(child)
        return [worker.pid for worker in sorted(workers, key=lambda worker: worker.create_time())]

    def pids(self) -> list[int]:
        """Every process of this service, orphans included."""
        found: list[int] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == self._mark:
                    found.append(process.pid)
        return found

    def log(self, *, after: int = 0) -> str:
        """What it has printed and logged, from that byte on."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(after)
            return file.read().decode(errors="replace")

    # Its clients. They don't retry unless told to: a retry would hide what a test is about.

    def openai(self, **options: Any) -> OpenAI:
        client = OpenAI(base_url=self.base_url, **self._client_options(options))
        self._clients.append(client)
        return client

    def azure(self, **options: Any) -> AzureOpenAI:
        client = AzureOpenAI(azure_endpoint=self.azure_endpoint, **self._azure_options(options))
        self._clients.append(client)
        return client

    def async_openai(self, **options: Any) -> AsyncOpenAI:
        """To be closed by the caller: `async with service.async_openai() as client:`."""
        return AsyncOpenAI(base_url=self.base_url, **self._client_options(options))

    def async_azure(self, **options: Any) -> AsyncAzureOpenAI:
        """To be closed by the caller."""
        return AsyncAzureOpenAI(azure_endpoint=self.azure_endpoint, **self._azure_options(options))

    def http(self, **options: Any) -> httpx.Client:
        """A bare HTTP client with the key, for what the SDKs can't send. Paths begin after `/openai/v1`."""
        headers = {"api-key": self.key} | options.pop("headers", {})
        return httpx.Client(base_url=self.base_url, headers=headers, trust_env=False, timeout=30.0, **options)

    def _client_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"api_key": self.key, "max_retries": 0, "timeout": 30.0, **options}

    def _azure_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return self._client_options({"api_version": API_VERSION, **options})

    def _listening_port(self, host: subprocess.Popen[bytes], began_at: int, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            has_ended = host.poll() is not None
            if found := _LISTENING.search(self.log(after=began_at)):
                return int(found[1])
            if has_ended:
                raise RuntimeError(f"The service ended with {host.returncode}:\n{self.log(after=began_at)}")
            time.sleep(0.02)
        raise TimeoutError(f"The service was not ready after {timeout:g} s:\n{self.log(after=began_at)}")


def _environment(model: ScriptedModel | None, key: str) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "ASSISTANTS_API_KEY": key,
        # Without a model an address where nobody listens, or the host would start one of its own.
        "MODEL_BASE_URL": model.base_url if model else "http://127.0.0.1:9/v1",
        "MODEL_API_KEY": "the-key-of-the-model",
        # Empty rather than left out: a developer's local.settings.json must not decide.
        "MODEL_AZURE_ENDPOINT": "",
        "COSMOS_ENDPOINT": "",
        "COSMOS_KEY": "",
        "BLOB_ENDPOINT": "",
        "BLOB_CONNECTION_STRING": "",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
