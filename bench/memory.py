"""Whether memory grows with the number of runs: resident set of host and workers after 200 and after 1,000."""

import psutil

from bench.stage import NAME, model, row, service, table
from tests.service import Service

FEW, MANY = 200, 1_000


def measure(few: int = FEW, many: int = MANY) -> None:
    table("Memory, MB", "", f"after {few} runs", f"after {many:,} runs", "more")
    with model() as chat, service(chat, workers=2) as at:
        assistant = at.openai().beta.assistants.create(model=NAME).id
        _run(at, assistant, few)
        before = _memory(at)
        _run(at, assistant, many - few)
        after = _memory(at)
    for name in before:
        row(name, f"{before[name]:.1f}", f"{after[name]:.1f}", f"{after[name] - before[name]:+.1f}")


def _run(at: Service, assistant: str, times: int) -> None:
    said = {"messages": [{"role": "user", "content": "Is it flat?"}]}
    body = {"assistant_id": assistant, "thread": said, "stream": True}
    # Two connections, of which each worker holds one.
    with at.http() as one, at.http() as other:
        for number in range(times):
            answer = (one, other)[number % 2].post("threads/runs", json=body)
            assert "thread.run.completed" in answer.text, answer.text


def _memory(at: Service) -> dict[str, float]:
    """Return megabytes by process; both workers are alike, the larger one counts."""
    workers = [psutil.Process(pid).memory_info().rss for pid in at.worker_pids()]
    host = psutil.Process(at.host_pid).memory_info().rss
    return {"host": host / (1 << 20), "worker (the larger of two)": max(workers) / (1 << 20)}
