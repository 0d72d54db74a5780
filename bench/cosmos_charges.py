"""What runs, streams and lists cost in Cosmos DB: `python -m bench.cosmos_charges`.

Request units as the adapter hears them with each answer, here from the tests' double, which charges by the
documented rules of thumb: an estimate. Reads with Strong consistency cost twice what it says; the tail's
are eventual.
"""

import re
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx

from bench.stage import row, table
from tests.scripted_model import ScriptedModel
from tests.service import Service
from tests.stores import azure_stores

TOLD = re.compile(r"(get|list|commit|wait_for|unfinished): (\d+\.\d+) RU$", re.MULTILINE)
OPERATIONS = ("get", "list", "wait_for", "commit")
STRONG = {"get", "list", "unfinished"}
STREAMED = 10.0  # seconds, a word every 20 ms
SETTLED = 1.5  # seconds without a client, after which whatever was begun is over
NEVER = "0 0 0 1 1 *"
TOOLS = [{"type": "function", "function": {"name": "look_up"}}]


class Meter:
    """Sums up the charges that a service's debug log tells since it was made."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._from = service.log_path.stat().st_size

    def row(self, name: str, *, per: float = 1.0) -> None:
        times: Counter[str] = Counter()
        units: defaultdict[str, float] = defaultdict(float)
        for operation, charge in TOLD.findall(self._service.log(after=self._from)):
            times[operation] += 1
            units[operation] += float(charge) * (2 if operation in STRONG else 1)
        cells = [f"{times[each] / per:.3g} × {units[each] / max(1, times[each]):.1f}" for each in OPERATIONS]
        row(name, *(cell if not cell.startswith("0 ×") else "–" for cell in cells), f"{sum(units.values()) / per:.0f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ScriptedModel() as model, azure_stores(Path(folder)) as stores:
        settings = stores.new_place() | {"LOG_LEVEL": "DEBUG", "SWEEPER_SCHEDULE": NEVER}
        writer, reader = (
            Service(_made(Path(folder) / name), model=model, settings=settings) for name in ("writer", "reader")
        )
        with writer, reader:
            _measure(writer, reader)


def _measure(writer: Service, reader: Service) -> None:
    table("Cosmos DB, operations and request units each", "", "get", "list", "tail poll", "commit", "units in all")
    with writer.http() as http:
        assistant = http.post("/assistants", json={"model": "echo", "tools": TOOLS}).json()["id"]
        _run(http, assistant, "warm up")
        meter = Meter(writer)
        thread = _thread(http, "Hello, how are you today?")
        meter.row("a thread with its first message")
        meter = Meter(writer)
        _begin(http, thread, assistant)
        meter.row("a plain run, not streamed")
        _function_call(http, writer, assistant)
        _stream(http, writer, reader, assistant)
        _pages(http, writer)


def _function_call(http: httpx.Client, writer: Service, assistant: str) -> None:
    thread = _thread(http, "call:look_up")
    meter = Meter(writer)
    run = _begin(http, thread, assistant)
    calls = http.get(f"{run}").json()["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = [{"tool_call_id": call["id"], "output": "mild"} for call in calls]
    http.post(f"{run}/submit_tool_outputs", json={"tool_outputs": outputs}).raise_for_status()
    time.sleep(SETTLED)
    meter.row("a run with one function call, read once by its client")


def _stream(http: httpx.Client, writer: Service, reader: Service, assistant: str) -> None:
    """The reader is another app, as it most often is another instance in Azure."""
    thread = _thread(http, f"delay:0.02 words:{STREAMED / 0.02:.0f}")
    written, read = Meter(writer), Meter(reader)
    run = _begin(http, thread, assistant)
    with reader.http() as other, other.stream("GET", f"{run}/events", timeout=60.0) as response:
        assert response.read().endswith(b"[DONE]\n\n")
    written.row("a second of a run that streams, its writer", per=STREAMED)
    read.row("the same second, each of its readers", per=STREAMED)


def _pages(http: httpx.Client, writer: Service) -> None:
    thread = _thread(http, *("A message of a few words, as they are. " * 10 for _ in range(32)))
    http.get("/assistants?limit=1")
    for name, path in (
        ("a page of 20 messages", f"/threads/{thread}/messages?limit=20"),
        ("a page of 100 messages (32 are there)", f"/threads/{thread}/messages?limit=100"),
        ("the newest message alone", f"/threads/{thread}/messages?limit=1"),
        ("retrieving a thread", f"/threads/{thread}"),
    ):
        meter = Meter(writer)
        http.get(path).raise_for_status()
        time.sleep(0.2)
        meter.row(name)


def _run(http: httpx.Client, assistant: str, text: str) -> None:
    _begin(http, _thread(http, text), assistant)


def _thread(http: httpx.Client, *texts: str) -> str:
    messages: Any = [{"role": "user", "content": text} for text in texts]
    thread = http.post("/threads", json={"messages": messages}).json()["id"]
    time.sleep(0.2)
    return thread


def _begin(http: httpx.Client, thread: str, assistant: str) -> str:
    """Begin a run and leave it alone until it has ended, waits or streams; its path."""
    run = http.post(f"/threads/{thread}/runs", json={"assistant_id": assistant}).json()["id"]
    time.sleep(SETTLED)
    return f"/threads/{thread}/runs/{run}"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
