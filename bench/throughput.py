"""Sixteen clients at once, in a process of their own, each with one run after another.

A run is one request: create thread and run, streamed to its end. Clients, model, host and workers
share the machine's cores, so the CPU that each of them takes is part of the result.
"""

import json
import subprocess
import sys
from typing import Any

from bench.stage import NAME, ROOT, Model, Work, model, row, service, table

CLIENTS = 16
SECONDS = 10.0
WARM_UP = 2.0
SAID = "Which of the two roads is the shorter one?"


def measure(seconds: float = SECONDS) -> None:
    table(
        f"{CLIENTS} clients at once",
        *("", "per second", "median ms", "p95 ms"),
        *("CPU ms per run: workers", "host", "model", "clients"),
    )
    messages = [{"role": "user", "content": SAID}]
    with model() as chat:
        body = {"model": NAME, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        work = [Work([]), Work([]), Work([chat.pid])]
        _report("the model directly", ask(f"{chat.base_url}/chat/completions", "none", body, "[DONE]", seconds), work)
        for workers in (1, 2):
            with_service(chat, workers, messages, seconds)


def with_service(chat: Model, workers: int, messages: list[dict[str, str]], seconds: float) -> None:
    with service(chat, workers=workers) as at:
        body = {"assistant_id": at.openai().beta.assistants.create(model=NAME).id, "stream": True}
        body |= {"thread": {"messages": messages}}
        url, expected = f"{at.base_url}/threads/runs", "thread.run.completed"
        ask(url, at.key, body, expected, WARM_UP)
        work = [Work(at.worker_pids()), Work([at.host_pid]), Work([chat.pid])]
        _report(f"{workers} worker{'s' * (workers > 1)}", ask(url, at.key, body, expected, seconds), work)


def ask(url: str, key: str, body: dict[str, Any], expected: str, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.client", url, key, json.dumps(body), expected, str(CLIENTS), str(seconds)]
    result = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    assert not result["failures"], result
    return result


def _report(title: str, result: dict[str, Any], work: list[Work]) -> None:
    spent = [*(each.seconds() for each in work), result["cpu"]]
    times = (f"{result[name] * 1000:.0f}" for name in ("median", "p95"))
    each = (f"{seconds / result['runs'] * 1000:.1f}" for seconds in spent)
    row(title, f"{result['per_second']:.0f}", *times, *each)
