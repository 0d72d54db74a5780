"""Many runs begun at once, whose model takes five seconds: who waits for whom, and what a waiting call costs.

One worker, which stands for an instance: host.json limits how much it is given at once. Beside the shipped limits
stands what the Functions host takes where none are set, ten activities and ten orchestrators a core.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from bench.stage import NAME, Work, model, row, service, table
from tests.service import Service

MANY = (40, 100, 200)  # the last is what host.json lets a worker have at once
PIECE = 0.5  # seconds between the model's pieces: eleven of them make a run of 5 s
SILENCE = 30.0  # seconds in which the model of the waiting calls says nothing
TOKEN = 0.02  # seconds between the pieces of a model that speaks
SPEAKING = (10, 20, 40)
SAID = "Which of the two roads is the shorter one?"
SPEECH = f"{SAID} " * 60
LONG = f"{SAID} " * 3_000  # about what a window of 32,000 tokens holds
LIMITS = "AzureFunctionsJobHost__extensions__durableTask__maxConcurrent"
UNSET = {f"{LIMITS}{kind}Functions": str(10 * (os.cpu_count() or 1)) for kind in ("Activity", "Orchestrator")}
SHIPPED: dict[str, str] = {}
FIRST, LAST = b"event: thread.message.delta", b"event: thread.run.completed"
END = b"\r\n0\r\n\r\n"  # of a chunked answer


class Seen(NamedTuple):
    """Seconds from the request on."""

    first_token: float
    end: float


def measure(quick: bool = False) -> None:
    title = "Runs of 5 s begun at once, one worker"
    columns = ("first token, s: median", "p95", "all done, s", "cancel of the newest, ms", "worker, MB more")
    table(title, "", *columns)
    for count in MANY[:2] if quick else MANY:
        for name, limits in (("ten a core", UNSET), ("as shipped", SHIPPED)):
            with model(delay=PIECE) as chat, service(chat, 1, **limits) as at, most_memory(at) as grown:
                _begun(f"{count} runs, {name}", *asyncio.run(_begin(at, count)), grown)
    columns = ("calls", "worker, MB more", "kB a call", "CPU ms a call and second", "of a worker's thread, %")
    table("What a call costs the worker while its model is silent, or speaks 50 tokens a second", "", *columns)
    for count in MANY[:2] if quick else MANY:
        with model(first_delay=SILENCE) as chat, service(chat) as at:
            _under_way("silent", at, count, SAID)
    for words in (SAID, LONG):
        with model(first_delay=SILENCE) as chat, service(chat) as at:
            _under_way(f"silent, asked in {len(words.split()):,} words", at, MANY[0], words)
    for count in SPEAKING:
        with model(delay=TOKEN) as chat, service(chat) as at:
            _under_way("speaking", at, count, SPEECH)


@contextmanager
def most_memory(at: Service) -> Iterator[list[float]]:
    """Yield a list that holds, in the end, by how many MB the worker grew at most."""
    _warm_up(at)
    worker = psutil.Process(at.worker_pids()[0])
    before, most, done = worker.memory_info().rss, [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], (worker.memory_info().rss - before) / (1 << 20))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        done.set()
        watching.join()


def _warm_up(at: Service) -> None:
    with at.http() as http:
        assert "thread.run.completed" in http.post("threads/runs", json=_body(at, "Hi")).text


def _body(at: Service, said: str) -> dict[str, Any]:
    assistant = at.openai().beta.assistants.create(model=NAME).id
    return {"assistant_id": assistant, "stream": True, "thread": {"messages": [{"role": "user", "content": said}]}}


async def _begin(at: Service, count: int) -> tuple[list[Seen], float, float]:
    """Begin so many runs; return when each was heard, when all were done, how long the cancel of one more took."""
    body = _body(at, SAID)
    began = time.perf_counter()
    runs = [asyncio.create_task(_run(at, body)) for _ in range(count)]
    await asyncio.sleep(1)
    cancelled = await asyncio.to_thread(_cancel_one_more, at, body)
    seen = await asyncio.gather(*runs)
    return seen, time.perf_counter() - began, cancelled


async def _run(at: Service, body: dict[str, Any]) -> Seen:
    address, content = urlsplit(at.base_url), json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    began = time.perf_counter()
    head = f"POST {address.path}/threads/runs HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {at.key}\r\n"
    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
    answer = await reader.readuntil(FIRST)
    first_token = time.perf_counter() - began
    answer = await reader.readuntil(END)
    assert LAST in answer, answer[-500:]
    writer.close()
    return Seen(first_token, time.perf_counter() - began)


def _cancel_one_more(at: Service, body: dict[str, Any]) -> float:
    client = at.openai()
    runs = client.beta.threads.runs
    run = client.beta.threads.create_and_run(assistant_id=body["assistant_id"], thread=body["thread"])
    began = time.perf_counter()
    runs.cancel(run.id, thread_id=run.thread_id)
    while runs.retrieve(run.id, thread_id=run.thread_id).status != "cancelled":
        time.sleep(0.005)
    return time.perf_counter() - began


def _begun(title: str, seen: list[Seen], all_done: float, cancelled: float, grown: list[float]) -> None:
    first = [each.first_token for each in seen]
    times = (f"{median(first):.2f}", f"{quantiles(first, n=20)[-1]:.2f}", f"{all_done:.1f}", f"{cancelled * 1000:.0f}")
    row(title, *times, f"{grown[0]:.1f}")


def _under_way(title: str, at: Service, count: int, said: str) -> None:
    """Begin runs and look at the worker while all their models are silent, or all speak."""
    worker = psutil.Process(at.worker_pids()[0])
    body = _body(at, said) | {"stream": False}
    with at.http() as http:
        http.post("threads/runs", json=body).raise_for_status()
        before = worker.memory_info().rss
        runs = [http.post("threads/runs", json=body).json() for _ in range(count)]
        last = runs[-1]
        while http.get(f"threads/{last['thread_id']}/runs/{last['id']}").json()["status"] != "in_progress":
            time.sleep(0.05)
        work, seconds = Work([worker.pid]), 5.0
        time.sleep(seconds)
        more = worker.memory_info().rss - before
        cpu = work.seconds() / seconds
    costs = (f"{more / (1 << 20):.1f}", f"{more / count / 1024:.0f}", f"{cpu / count * 1000:.2f}", f"{cpu * 100:.0f}")
    row(title, count, *costs)
