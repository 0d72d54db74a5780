"""Measure, each figure beside the same call made to the model directly.

    python -m bench [--quick] [NAME …]      names: latency, throughput, concurrency, memory, long_threads, operations,
    start, sandbox

Prints the tables that docs/performance.md keeps. `--quick` takes a fifth of the samples. `python -m
bench.files` measures large files.
"""

import argparse
from collections.abc import Callable

from bench import concurrency, latency, long_threads, memory, operations, sandbox, start, throughput
from bench.stage import machine

Measurement = Callable[[bool], None]

MEASUREMENTS: dict[str, Measurement] = {
    "latency": lambda quick: latency.measure(latency.SAMPLES // (5 if quick else 1)),
    "throughput": lambda quick: throughput.measure(throughput.SECONDS / (5 if quick else 1)),
    "concurrency": concurrency.measure,
    "memory": lambda quick: memory.measure(memory.FEW // (5 if quick else 1), memory.MANY // (5 if quick else 1)),
    "long_threads": lambda quick: long_threads.measure(long_threads.SAMPLES // (5 if quick else 1)),
    "operations": lambda quick: operations.measure(),
    "sandbox": sandbox.measure,
    "start": lambda quick: start.measure(1 if quick else start.SAMPLES),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="a fifth of the samples")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASUREMENTS):
        parser.error(f"not a measurement: {', '.join(sorted(unknown))}")
    print(machine())
    for name in options.names or MEASUREMENTS:
        MEASUREMENTS[name](options.quick)


if __name__ == "__main__":
    main()
