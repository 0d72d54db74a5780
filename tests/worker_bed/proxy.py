"""Requests as the Functions host sends them: an invocation, and the request itself to the worker's port."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import httpx

from tests.worker_bed.process import KEY, WorkerBed

if TYPE_CHECKING:
    from tests.worker_bed.generated import Generated

# Which half comes, and which comes first.
Order = Literal["together", "request first", "invocation first", "request only", "invocation only"]
ORDERS: tuple[Order, ...] = ("together", "request first", "invocation first")
GAP = 0.05  # seconds between the halves
ID = "x-ms-invocation-id"


@dataclass(frozen=True, slots=True)
class Reply:
    """`invocation` is what became of the invocation: {"failed": None} if all went well; None if there was none."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    invocation: dict[str, Any] | None = None


class Proxy:
    """Plays the host's proxy in front of a worker."""

    def __init__(self, bed: WorkerBed) -> None:
        self._bed = bed
        self._control = httpx.AsyncClient(base_url=bed.control_url, timeout=120, trust_env=False)

    async def close(self) -> None:
        await self._control.aclose()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        order: Order = "together",
        leave_after: float | None = None,
        breaks_invocation: bool = False,
    ) -> Reply:
        """Send a request. `target` is the path as it stands in the request line.

        After `leave_after` seconds the client goes. `breaks_invocation` lets the invocation fail before it asks for
        its request. Where `headers` have an id of an invocation it stays, as on a host that doesn't replace it.
        """
        id = secrets.token_hex(16)
        found = self._bed.function_for(method, target)
        assert found, f"The host would answer {method} {target} by itself."
        request = self._request(method, target, body, {ID: id, **(headers or {})}, leave_after)
        invocation = self._invoke(id, *found, breaks=breaks_invocation)
        match order:
            case "request only":
                invocation.close()
                return await request
            case "invocation only":
                request.close()
                return Reply(invocation=await invocation)
        first, second = (request, invocation) if order == "request first" else (invocation, request)
        began = asyncio.create_task(first)
        await asyncio.sleep(0 if order == "together" else GAP)
        ended = await asyncio.gather(began, second)
        reply, outcome = ended if order == "request first" else reversed(ended)
        assert isinstance(reply, Reply)
        return Reply(reply.status, reply.headers, reply.body, outcome if isinstance(outcome, dict) else None)

    async def send_generated(self, request: "Generated") -> Reply:
        leave_after = 0.0 if request.leaves else None
        return await self.send(
            request.method,
            request.target,
            request.body,
            request.headers,
            order=request.order,
            leave_after=leave_after,
        )

    async def _invoke(self, id: str, function: str, params: dict[str, str], *, breaks: bool) -> dict[str, Any]:
        asked = {"id": id, "function": function, "params": params, "breaks": breaks}
        return (await self._control.post("/invoke", json=asked)).json()

    async def _request(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], leave_after: float | None
    ) -> Reply:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._bed.worker_port)
        try:
            all_headers = {"host": f"127.0.0.1:{self._bed.worker_port}", "api-key": KEY, **headers}
            all_headers |= {"content-length": str(len(body))}
            head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
            writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
            await writer.drain()
            if leave_after is not None:
                await asyncio.sleep(leave_after)
                return Reply()
            return await _read(reader)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Reply:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return Reply()
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join([piece async for piece in _chunks(reader)])
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(first.split(" ")[1]), headers, body)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
