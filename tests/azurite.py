"""Azurite, Microsoft's emulator of Blob Storage, as a process of its own on a free port."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

PACKAGE = Path(__file__).parent / "clients" / "azurite"
SERVER = PACKAGE / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
# Azurite's documented account, the same on every machine.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
STARTS_WITHIN = 60.0  # seconds; most of a second on an idle machine
# Set by `.ci/run`: what is missing there is a failure, not a skipped test.
REQUIRED = "EMULATORS_REQUIRED"


def missing() -> str:
    """Return what to install before Azurite can run; "" if nothing."""
    if not shutil.which("node"):
        return "Azurite: install Node.js 20 or later"
    if not SERVER.exists():
        return f"Azurite: run `npm ci` in tests/clients/{PACKAGE.name}"
    return ""


def skip_where_missing() -> None:
    """Skip the test that needs Azurite where it can't run; fail it where it has to."""
    if reason := missing():
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set. {reason}", pytrace=False)
        pytest.skip(reason)


class Azurite:
    """An Azurite with its data in `folder`: it can be taken away and brought back, on the port that it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self._port}/{ACCOUNT};"
        )

    def start(self) -> None:
        """Returns when it takes requests; if it runs, at once."""
        if self._process:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        command = ["node", str(SERVER), "--blobHost", "127.0.0.1", "--blobPort", str(self._port)]
        # The SDK speaks a newer version of the protocol than Azurite has heard of.
        command += ["--location", str(self._folder), "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        log_path = self._folder / "azurite.log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._port = self._listening_port(self._process, log_path)
        except BaseException:
            self.kill()
            raise

    def take_away(self) -> None:
        """End it so that it keeps its data: it writes its index to disk only now and then, and when it ends."""
        if self._process:
            self._process.terminate()
            self._process.wait(STARTS_WITHIN)
            self._process = None

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _listening_port(self, process: subprocess.Popen[bytes], log: Path) -> int:
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline:
            has_ended = process.poll() is not None
            if listening := re.search(r"listens on http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace")):
                return int(listening[1])
            if has_ended:
                break
            time.sleep(0.02)
        raise RuntimeError(f"Azurite did not start: {log.read_text(errors='replace')}")


@contextmanager
def running_azurite(folder: Path) -> Iterator[str]:
    """Run Azurite with its data in `folder`; yield a connection string."""
    azurite = Azurite(folder)
    azurite.start()
    try:
        yield azurite.connection_string
    finally:
        azurite.kill()


def create_container(connection_string: str, name: str) -> None:
    """Create a container. In Azure the infrastructure does that: the app's role can't."""
    with ContainerClient.from_connection_string(connection_string, name) as container:
        container.create_container()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A connection string of a running Azurite."""
    skip_where_missing()
    with running_azurite(tmp_path_factory.mktemp("azurite")) as connection_string:
        yield connection_string
