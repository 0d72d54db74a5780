"""What every measurement needs: a scripted model in a process of its own, a service, the work of processes."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from openai import OpenAI

from tests.service import Service

ROOT = Path(__file__).resolve().parent.parent
NAME = "echo"  # the scripted model's: it answers "You said: …", a chunk per word


@dataclass(frozen=True, slots=True)
class Model:
    base_url: str
    pid: int

    def client(self) -> OpenAI:
        return OpenAI(base_url=self.base_url, api_key="none", max_retries=0)


@contextmanager
def model(first_delay: float = 0.0, delay: float = 0.0) -> Iterator[Model]:
    """Run the scripted model of the tests as a process; seconds before its first chunk and between two."""
    delays = ["--first-delay", str(first_delay), "--delay", str(delay)]
    command = [sys.executable, "-m", "tests.scripted_model", *delays]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Model(process.stdout.readline().split()[-1], process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def service(chat: Model, workers: int = 1, **settings: str) -> Iterator[Service]:
    settings = {"MODEL_BASE_URL": chat.base_url} | settings
    with TemporaryDirectory() as folder, Service(Path(folder), workers=workers, settings=settings) as it:
        yield it


class Work:
    """CPU time that processes have spent since this was made, or since `seconds` was asked last."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._before = self._spent()

    def seconds(self) -> float:
        before, self._before = self._before, self._spent()
        return self._before - before

    def _spent(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes))


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def table(title: str, *columns: str) -> None:
    print(f"\n**{title}**\n")
    row(*columns)
    print("|---" + "|--:" * (len(columns) - 1) + "|", flush=True)


def machine() -> str:
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}{load}"
