"""What a large file costs: time and a worker's memory, up and down, in a folder and in Blob Storage (Azurite).

    python -m bench.files [--megabytes 300]

Memory is the most that the worker's resident set grew over what it was before, looked at every 10 ms.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from tests.azurite import create_container, missing, running_azurite
from tests.service import Service

BOUNDARY = "the-boundary"
CHUNK = bytes(1 << 20)
CONTAINER = "bench"
LIMIT = {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(1 << 30)}


class Cost(NamedTuple):
    seconds: float
    growth: float  # MB


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--megabytes", type=int, default=300)
    megabytes = arguments.parse_args().megabytes
    print(f"| {megabytes} MB | seconds | MB/s | worker memory, MB more |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder), settings=LIMIT) as service:
        measure(service, "folder", megabytes)
    if reason := missing():
        print(f"Blob Storage was skipped: {reason}.")
        return
    with tempfile.TemporaryDirectory() as folder, running_azurite(Path(folder)) as connection_string:
        create_container(connection_string, CONTAINER)
        settings = {"BLOB_CONNECTION_STRING": connection_string, "BLOB_CONTAINER": CONTAINER, **LIMIT}
        with Service(Path(folder), settings=settings) as service:
            measure(service, "Blob Storage (Azurite)", megabytes)


def measure(service: Service, store: str, megabytes: int) -> None:
    (worker,) = map(psutil.Process, service.worker_pids())
    with service.http() as http:
        http.timeout = httpx.Timeout(120.0)
        download(http, upload(http, 1))  # imports, pools
        with costs(worker) as up:
            file_id = upload(http, megabytes)
        with costs(worker) as down:
            download(http, file_id)
        for name, cost in (("upload", up()), ("download", down())):
            speed = megabytes / cost.seconds
            print(f"| {name}, {store} | {cost.seconds:.2f} | {speed:.0f} | {cost.growth:.1f} |")


@contextmanager
def costs(process: psutil.Process) -> Iterator[Callable[[], Cost]]:
    """Watch the process's memory meanwhile; what is yielded tells the cost afterwards."""
    before = peak = process.memory_info().rss
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    seconds = 0.0
    try:
        yield lambda: Cost(seconds, (peak - before) / (1 << 20))
    finally:
        seconds = time.perf_counter() - began
        over.set()
        watcher.join()


def upload(http: httpx.Client, megabytes: int) -> str:
    def form() -> Iterator[bytes]:
        head = 'Content-Disposition: form-data; name="'
        yield f'--{BOUNDARY}\r\n{head}file"; filename="big.bin"\r\n\r\n'.encode()
        for _ in range(megabytes):
            yield CHUNK
        yield f'\r\n--{BOUNDARY}\r\n{head}purpose"\r\n\r\nuser_data\r\n--{BOUNDARY}--\r\n'.encode()

    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    response = http.post("/files", content=form(), headers=headers).raise_for_status()
    return response.json()["id"]


def download(http: httpx.Client, file_id: str) -> int:
    size = 0
    with http.stream("GET", f"/files/{file_id}/content") as response:
        for chunk in response.raise_for_status().iter_raw():
            size += len(chunk)
    return size


if __name__ == "__main__":
    main()
