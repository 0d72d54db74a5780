"""Azurite, Microsoft's emulator of Blob Storage, as a process of its own on a free port."""

import re
import shutil
import subprocess
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


def missing() -> str:
    """Return what to install before Azurite can run; "" if nothing."""
    if not shutil.which("node"):
        return "Azurite: install Node.js 20 or later"
    if not SERVER.exists():
        return f"Azurite: run `npm ci` in tests/clients/{PACKAGE.name}"
    return ""


@contextmanager
def running_azurite(folder: Path) -> Iterator[str]:
    """Run Azurite on a free port with its data in `folder`; yield a connection string."""
    command = ["node", str(SERVER), "--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(folder)]
    # The SDK speaks a newer version of the protocol than Azurite has heard of.
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint=http://127.0.0.1:{_port(process)}/{ACCOUNT};"
            )
        finally:
            process.kill()


def create_container(connection_string: str, name: str) -> None:
    """Create a container. In Azure the infrastructure does that: the app's role can't."""
    with ContainerClient.from_connection_string(connection_string, name) as container:
        container.create_container()


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A connection string of a running Azurite."""
    if reason := missing():
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as connection_string:
        yield connection_string


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if listening := re.search(r"listens on http://127\.0\.0\.1:(\d+)", line):
            return int(listening[1])
    raise RuntimeError(f"Azurite did not start: {said}")
