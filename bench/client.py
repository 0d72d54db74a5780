"""Many clients at once, as light as they can be: python -m bench.client URL KEY BODY CLIENTS SECONDS

Each sends the same POST again and again over its own connection and reads the streamed answer to its
end without parsing it. Prints what came of it as JSON.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

END = b"\r\n0\r\n\r\n"  # of a chunked answer


@dataclass(slots=True)
class Tally:
    """`seconds` that each answer took."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0


async def keep_asking(host: str, port: int, request: bytes, expected: bytes, until: float, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (began := time.perf_counter()) < until:
        writer.write(request)
        answer = await reader.readuntil(END)
        if expected in answer:
            tally.seconds.append(time.perf_counter() - began)
        else:
            tally.failures += 1
            await asyncio.sleep(0.1)
    writer.close()


async def main(url: str, key: str, body: str, expected: str, clients: int, seconds: float) -> dict[str, Any]:
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    head = f"POST {address.path} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body.encode())}\r\n\r\n"
    request = (head + body).encode()
    tally = Tally()
    began, cpu = time.perf_counter(), time.process_time()
    asking = (
        keep_asking(address.hostname, address.port, request, expected.encode(), began + seconds, tally)
        for _ in range(clients)
    )
    await asyncio.gather(*asking)
    took = time.perf_counter() - began
    done = sorted(tally.seconds)
    return {
        "per_second": len(done) / took,
        "median": done[len(done) // 2],
        "p95": done[int(len(done) * 0.95)],
        "failures": tally.failures,
        "runs": len(done),
        "cpu": time.process_time() - cpu,
        "took": took,
    }


if __name__ == "__main__":
    *texts, number, length = sys.argv[1:]
    json.dump(asyncio.run(main(*texts, int(number), float(length))), sys.stdout)  # type: ignore[arg-type]
