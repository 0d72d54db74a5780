"""Generated requests through the library of Azure's Python worker: none hangs, none leaves anything behind."""

import asyncio
from pathlib import Path

from tests.worker_bed.many import SEED, send_many
from tests.worker_bed.process import WorkerBed

WARM_UP = 2_000
SETTINGS = {"WORKER_BED_PATIENCE": "5"}  # seconds that half a request waits for the other


def soak_requests(folder: Path, count: int) -> bool:
    """Send them, say what became of them, return whether all is well."""
    with WorkerBed(folder, SETTINGS) as bed:
        result = asyncio.run(send_many(bed, max(count - WARM_UP, 0), warm_up=WARM_UP))
    for wrong in result.wrong:
        print(f"  {wrong}", flush=True)
    print(
        f"{result.sent} requests through the worker's library, seed {SEED}: {len(result.wrong)} wrong, "
        f"{result.open} open, {result.running} invocations running, "
        f"{result.grown / (1 << 20):+.1f} MB after the first {WARM_UP}",
        flush=True,
    )
    return result.is_clean
