"""One client at a time: how long a run takes, and how long until its first token.

Each sample is measured in turn with the same call made to the model directly, and its difference to
that very call is what counts, so that a busy moment hits both. With two workers the client's
connection is held by one of them and the host's debug log says which one ran `call_model`.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

import psutil
from openai import OpenAI

from bench.stage import NAME, Model, model, row, service, table
from tests.service import Service

SAMPLES = 100
SLOW_SAMPLES = 15  # where the model takes a second
WARM_UP = 20
SAID = "Which of the two roads is the shorter one?"

_RAN = re.compile(r"activity call_model of \[(run_\w+)\] to worker (\d+)")


class Sample(NamedTuple):
    """A run and the direct call beside it, in seconds from the request."""

    run_id: str
    first_token: float
    end: float
    direct_first_token: float
    direct_end: float


def measure(samples: int = SAMPLES) -> None:
    table("One run at a time, milliseconds", "", "direct", "service", "added (median)", "added (p95)")
    with model() as chat:
        with service(chat) as single:
            client = Client(single, chat)
            streamed = client.stream(samples)
            report("create → terminal event, streamed", streamed, "direct_end", "end")
            report("`create_and_poll(poll_interval_ms=10)`", client.poll(samples), "direct_end", "end")
            report("first token, model answers at once", streamed, "direct_first_token", "first_token")
        across = across_processes(chat, samples)
        report("create → terminal event, reader and run in different processes", across, "direct_end", "end")
        report("first token, reader and run in different processes", across, "direct_first_token", "first_token")
    with model(first_delay=1.0) as chat:
        across = across_processes(chat, SLOW_SAMPLES)
        title = "first token, model thinks for 1 s, different processes"
        report(title, across, "direct_first_token", "first_token")


def across_processes(chat: Model, samples: int) -> list[Sample]:
    """Return the samples whose model turn ran in another worker than the one that held the connection."""
    with service(chat, workers=2, LOG_LEVEL="DEBUG") as pair, pair.http() as first:
        # A connection goes to the worker that has the fewest: while this one stays open, to the other.
        first.get("assistants")
        connected = _connected(pair)
        client = Client(pair, chat)
        taken = client.stream(samples)
        ran = {run_id: int(pid) for run_id, pid in _RAN.findall(pair.log())}
    across = [sample for sample in taken if ran[sample.run_id] == connected]
    assert across, "Every run was executed where its reader was."
    return across


class Client:
    def __init__(self, at: Service, chat: Model) -> None:
        self._client = at.openai()
        self._direct = chat.client()
        self._assistant = self._client.beta.assistants.create(model=NAME).id
        self._ask(self._stream, WARM_UP)

    def stream(self, samples: int) -> list[Sample]:
        return self._ask(self._stream, samples)

    def poll(self, samples: int) -> list[Sample]:
        return self._ask(self._poll, samples)

    def _ask(self, run: Callable[[str], tuple[str, float, float]], samples: int) -> list[Sample]:
        taken: list[Sample] = []
        for _ in range(samples):
            thread = self._client.beta.threads.create(messages=[{"role": "user", "content": SAID}])
            direct = direct_call(self._direct, [{"role": "user", "content": SAID}])
            taken.append(Sample(*run(thread.id), *direct))
        return taken

    def _stream(self, thread_id: str) -> tuple[str, float, float]:
        began, first, run_id, last = time.perf_counter(), 0.0, "", ""
        runs = self._client.beta.threads.runs
        with runs.create(thread_id=thread_id, assistant_id=self._assistant, stream=True) as events:
            for event in events:
                if event.event == "thread.run.created":
                    run_id = event.data.id
                elif event.event == "thread.message.delta":
                    first = first or time.perf_counter() - began
                last = event.event
        assert last == "thread.run.completed", last
        return run_id, first, time.perf_counter() - began

    def _poll(self, thread_id: str) -> tuple[str, float, float]:
        began = time.perf_counter()
        runs = self._client.beta.threads.runs
        run = runs.create_and_poll(thread_id=thread_id, assistant_id=self._assistant, poll_interval_ms=10)
        assert run.status == "completed", run
        return run.id, 0.0, time.perf_counter() - began


def direct_call(client: OpenAI, messages: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the seconds to the first text and to the end of the same call made to the model."""
    began, first = time.perf_counter(), 0.0
    options = {"stream_options": {"include_usage": True}, "stream": True}
    chunks = client.chat.completions.create(model=NAME, messages=messages, **options)  # type: ignore[call-overload]
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter() - began
    return first, time.perf_counter() - began


def report(title: str, samples: list[Sample], direct: str, measured: str) -> None:
    added = [getattr(sample, measured) - getattr(sample, direct) for sample in samples]
    typical = [median(getattr(sample, name) for sample in samples) for name in (direct, measured)]
    late = quantiles(added, n=20)[-1]
    row(title, *(f"{seconds * 1000:.1f}" for seconds in (*typical, median(added), late)))


def _connected(at: Service) -> int:
    """Return the worker that has the only connection: a second socket beside the one it listens on."""
    sockets = {pid: psutil.Process(pid).net_connections("unix") for pid in at.worker_pids()}
    (pid,) = (pid for pid, found in sockets.items() if sum(str(each.laddr).endswith(".sock") for each in found) > 1)
    return pid
