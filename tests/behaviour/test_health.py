"""Health tells the truth of a real service: what is wrong with its stores, and nothing else."""

import base64
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.behaviour.conftest import StartService, only_on
from tests.scripted_model import ScriptedModel
from tests.service import Service


@pytest.fixture(scope="module")
def own_service(scripted_model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("health"), model=scripted_model) as service:
        yield service


def health(service: Service) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{service.base_url.removesuffix('/v1')}/health", timeout=30, trust_env=False)
    return answer.status_code, answer.json()


def eventually(service: Service, status: int, *, within: float = 30.0) -> dict[str, Any]:
    deadline = time.monotonic() + within
    while (told := health(service))[0] != status and time.monotonic() < deadline:
        time.sleep(0.1)
    assert told[0] == status, told
    return told[1]


def reasons_of(service: Service) -> dict[str, str]:
    return eventually(service, 503).get("reasons", {})


def reason_of(service: Service, part: str) -> str:
    """Return why the part can't serve. Each is looked at in its own time: others may be told before it."""
    deadline = time.monotonic() + 30.0
    while part not in (reasons := reasons_of(service)):
        assert time.monotonic() < deadline, reasons
        time.sleep(0.1)
    return reasons[part]


def test_a_service_that_can_serve_gives_no_reasons(own_service: Service):
    assert eventually(own_service, 200) == {
        "status": "ok",
        "store": "ready",
        "files": "ready",
        "task_hub": "ready",
        "model": "configured",
        "api_key": "configured",
    }


def test_asking_often_does_not_write_often(own_service: Service):
    def version() -> str:
        with sqlite3.connect(own_service.data / "assistants.db") as connection:
            return connection.execute("SELECT version FROM documents WHERE id = 'health'").fetchone()[0]

    eventually(own_service, 200)
    seen: set[str] = set()
    began = time.monotonic()
    for _ in range(100):
        assert health(own_service)[0] == 200
        seen.add(version())
    assert len(seen) <= 2 + (time.monotonic() - began)


def garble(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(os.urandom(4096))


def make_newer(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def remove(database: Path) -> None:
    database.unlink()


@only_on("local")
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (garble, "The database is corrupt."),
        (make_newer, "The database is of a newer version of this service."),
        (remove, "The store cannot be opened."),
    ],
)
def test_a_database_that_breaks_while_the_service_runs_is_told(
    start_service: StartService, damage: Callable[[Path], None], reason: str
):
    service = start_service()
    eventually(service, 200)
    damage(service.data / "assistants.db")
    assert reason_of(service, "store").startswith(reason)
    assert str(service.data) not in str(health(service))


@only_on("local")
@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_workers_that_come_back_to_a_broken_database_say_so(start_service: StartService):
    service = start_service()
    [worker] = service.worker_pids()
    garble(service.data / "assistants.db")
    psutil.Process(worker).kill()
    told = eventually(service, 503)
    assert told["error"]["message"] == "The database is corrupt."
    with service.http() as http:
        assert http.get("/assistants").json()["error"]["message"] == "The database is corrupt."


@pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")
def test_a_disk_that_takes_no_more_is_told_and_forgotten(own_service: Service):
    import resource

    eventually(own_service, 200)
    [worker] = own_service.worker_pids()
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        assert reason_of(own_service, "files") == "The file store failed: File too large."
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, before)
    eventually(own_service, 200)


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may all")
def test_a_folder_that_has_become_read_only_is_told_and_forgotten(own_service: Service):
    eventually(own_service, 200)
    folder = own_service.data / "files" / ".partial"
    folder.chmod(0o500)
    assert reason_of(own_service, "files") == "The file store failed: Permission denied."
    folder.chmod(0o700)
    eventually(own_service, 200)


def test_a_folder_that_cannot_be_used_is_told_and_forgotten(own_service: Service):
    eventually(own_service, 200)
    folder = own_service.data / "files"
    folder.rename(own_service.data / "elsewhere")
    folder.write_bytes(b"")
    assert reason_of(own_service, "files") == "The file store failed: Not a directory."
    folder.unlink()
    eventually(own_service, 200)


@only_on("azure")
def test_a_wrong_key_of_a_store_is_told(start_service: StartService):
    wrong = base64.b64encode(bytes(64)).decode()
    service = start_service(settings={"COSMOS_KEY": wrong})
    assert reasons_of(service) == {"store": "Cosmos DB refuses this identity or key."}

    right = service.settings["BLOB_CONNECTION_STRING"]
    blobs = ";".join(f"AccountKey={wrong}" if part.startswith("AccountKey=") else part for part in right.split(";"))
    service = start_service(settings={"BLOB_CONNECTION_STRING": blobs})
    assert reasons_of(service) == {"files": "Blob Storage refuses this identity or key."}

    service = start_service(settings={"BLOB_CONTAINER": "nowhere"})
    assert reasons_of(service) == {"files": "Blob Storage has no such container."}

    service = start_service(settings={"COSMOS_DATABASE": "nowhere"})
    assert reasons_of(service) == {"store": "Cosmos DB has no such database or container."}
