"""What the list of threads shows after modifications that were cut between thread and list."""

import os
import random
import signal
import sys
import threading
import time
from contextlib import closing, suppress

import apsw
import httpx
import openai
import pytest
from openai import OpenAI

from tests.behaviour.conftest import StartService, only_on
from tests.service import Service

SOON = 30.0  # seconds; the sweeper comes every 5


def listed(http: httpx.Client, **metadata: str) -> dict[str, dict[str, str]]:
    """The metadata of the threads that the list shows, by id."""
    wanted = {f"metadata[{key}]": value for key, value in metadata.items()}
    found = http.get("/threads", params={"limit": 100, **wanted}).raise_for_status().json()["data"]
    return {thread["id"]: thread["metadata"] for thread in found}


def soon_lists(http: httpx.Client, expected: dict[str, dict[str, str]]) -> None:
    deadline = time.monotonic() + SOON
    while (shown := listed(http)) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert shown == expected


@only_on("local")
def test_the_list_is_right_soon_after_a_modification_that_was_cut(start_service: StartService):
    service = start_service()
    client = service.openai()
    thread = client.beta.threads.create(metadata={"state": "old"})
    other = client.beta.threads.create(metadata={"state": "old"})
    with closing(apsw.Connection(str(service.data / "assistants.db"))) as store, service.http() as http:
        store.set_busy_timeout(5000)
        store.execute("""
            CREATE TRIGGER cut BEFORE UPDATE ON documents WHEN new.kind = 'thread_entry'
            BEGIN SELECT RAISE(ABORT, 'cut'); END""")
        with suppress(openai.InternalServerError):
            client.beta.threads.update(thread.id, metadata={"state": "new"})
        assert client.beta.threads.retrieve(thread.id).metadata == {"state": "new"}
        assert thread.id in listed(http, state="old"), "cut in between"
        store.execute("DROP TRIGGER cut")
        soon_lists(http, {thread.id: {"state": "new"}, other.id: {"state": "old"}})
        assert list(listed(http, state="new")) == [thread.id]
        assert list(listed(http, state="old")) == [other.id]
        # Nobody sees to it any more.
        deadline = time.monotonic() + SOON
        while (left := store.execute("SELECT id FROM documents WHERE unfinished_since > 0").fetchall()) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.1)
        assert left == []


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_the_list_is_right_soon_after_kills_amid_modifications(start_service: StartService):
    service = start_service(workers=2)
    clients = [service.openai() for _ in range(6)]
    threads = [client.beta.threads.create(metadata={"number": "0"}).id for client in clients for _ in range(2)]
    stop = threading.Event()
    modifying = [threading.Thread(target=_modify, args=[client, threads, stop]) for client in clients]
    for each in modifying:
        each.start()
    for _ in range(4):
        time.sleep(random.uniform(0.3, 0.8))
        _kill_workers(service)
    stop.set()
    for each in modifying:
        each.join()
    stored = {id: clients[0].with_options(max_retries=5).beta.threads.retrieve(id).metadata for id in threads}
    with service.http() as http:
        soon_lists(http, {id: dict(metadata or {}) for id, metadata in stored.items()})


def _modify(client: OpenAI, threads: list[str], stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(openai.APIError):
            number = str(random.randrange(1_000_000))
            client.beta.threads.update(random.choice(threads), metadata={"number": number})


def _kill_workers(service: Service) -> None:
    for pid in service.worker_pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
