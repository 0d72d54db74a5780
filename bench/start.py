"""How long it takes to import the app, and until the service takes requests."""

import subprocess
import sys
import time
from statistics import median

from bench.stage import ROOT, model, row, service, table

SAMPLES = 5


def measure(samples: int = SAMPLES) -> None:
    table("Start, seconds (medians)", "", "seconds")
    bare = _seconds("pass", samples)
    row("importing function_app, without Python's own start", f"{_seconds('import function_app', samples) - bare:.2f}")
    row("`devhost`, from its start until it takes requests", f"{median(_until_ready() for _ in range(samples)):.2f}")


def _seconds(statement: str, samples: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
        return time.perf_counter() - began

    return median(once() for _ in range(samples))


def _until_ready() -> float:
    with model() as chat:
        began = time.perf_counter()
        with service(chat):
            return time.perf_counter() - began
