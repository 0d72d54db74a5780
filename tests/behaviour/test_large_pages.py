"""A page of large messages is written as it is read: a worker never holds it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil

from tests.behaviour.conftest import StartService, only_on
from tests.service import Service

MEGABYTE = 1 << 20
COUNT = 100


@contextmanager
def most_memory(service: Service) -> Iterator[list[int]]:
    """Yield a list that holds, in the end, by how many bytes the worker grew at most."""
    worker = psutil.Process(service.worker_pids()[0])
    before, seen, done = worker.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            seen[0] = max(seen[0], worker.memory_info().rss - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


def ids_of(http: httpx.Client, path: str) -> tuple[list[str], dict[str, object]]:
    with http.stream("GET", path) as response:
        assert response.status_code == 200
        page = json.loads(b"".join(response.iter_bytes()))
    ids = [message["id"] for message in page.pop("data")]
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
    return ids, page


@only_on("local")
def test_a_hundred_messages_of_a_megabyte_are_a_page_that_no_worker_holds(start_service: StartService) -> None:
    service = start_service()
    with service.http() as http:
        thread = http.post("/threads").json()["id"]
        content = [{"type": "text", "text": "x" * 247_000}] * 4
        made = [
            http.post(f"/threads/{thread}/messages", json={"role": "user", "content": content}).json()["id"]
            for _ in range(COUNT)
        ]
        last = http.post(f"/threads/{thread}/messages", json={"role": "user", "content": "The end."}).json()["id"]
        path = f"/threads/{thread}/messages?limit=100"
        ids_of(http, f"/threads/{thread}/messages?limit=5")
        with most_memory(service) as grown:
            pages = [ids_of(http, f"{path}{more}") for more in ("&order=asc", f"&order=asc&before={last}", "")]
        assert pages[0][0] == pages[1][0] == made
        assert [page["has_more"] for _, page in pages] == [True, False, True]
        assert pages[2][0] == [last, *reversed(made[1:])]
        assert grown[0] < 64 * MEGABYTE, grown
