"""The public port: each connection is joined to the worker with the fewest, byte by byte.

Nothing is parsed here, so a stream or a large upload costs no more than its bytes. A connection that is
one too many is answered with 503, so that there are descriptors left for what runs need.
"""

import asyncio
import errno
import json
import logging
import socket
import sys
from contextlib import suppress
from typing import cast

from devhost.descriptors import Allowance

PATIENCE = 10.0  # seconds that a connection waits for a worker

LINGER = 1.0  # seconds that a refused client has to read why: closed at once, it might find a broken connection

logger = logging.getLogger("devhost.gate")


def _refusal(message: str) -> bytes:
    error = {"message": message, "type": "server_error", "param": None, "code": None}
    body = json.dumps({"error": error}, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )


_NO_WORKER = _refusal("No worker is ready. Try again.")
_NO_WORKER_STARTS = _refusal("No worker can be started; the log of the service says why. Try again later.")
_TOO_MANY = _refusal("There are too many connections. Try again.")


class PortTaken(Exception):
    """The message says which."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, on a free port if `port` is 0. Raises PortTaken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        # Windows takes "reuse" for leave to share the port with somebody else.
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        listener.setsockopt(socket.SOL_SOCKET, exclusive or socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE or (error.errno == errno.EACCES and sys.platform == "win32"):
            raise PortTaken(f"Port {port} is taken: stop what uses it, or choose another with --port.") from None
        raise PortTaken(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from None
    return listener


class Gate:
    """Workers are known by the address they listen on: a socket's path, or `host:port`."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._clients: set[Client] = set()
        self._turned_away: set[Client] = set()
        self._is_full = False
        self._troubled = False
        self._joints: dict[str, set[Half]] = {}
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._joining: set[asyncio.Task[None]] = set()

    async def listen(self, listener: socket.socket) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: Client(self), sock=listener)

    def admit(self, address: str) -> None:
        self._joints[address] = set()
        self._troubled = False
        self._open.set()

    def expel(self, address: str) -> None:
        """Forget a worker and close its connections."""
        for half in list(self._joints.pop(address, ())):
            half.part()
        if not self._joints:
            self._open.clear()

    def note_trouble(self) -> None:
        """Workers do not come up: whoever waits for one in vain is told so."""
        self._troubled = True

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._server:
            self._server.close()

    def receive(self, client: "Client") -> None:
        if len(self._clients) >= self._allowance.connections:
            self._turn_away(client)
            return
        self._clients.add(client)
        task = asyncio.get_running_loop().create_task(self._join(client))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    def leave(self, client: "Client") -> None:
        self._clients.discard(client)
        self._turned_away.discard(client)
        if len(self._clients) < self._allowance.connections * 0.9:
            self._is_full = False

    def _turn_away(self, client: "Client") -> None:
        if not self._is_full:
            self._is_full = True
            logger.warning("%d connections are all that file descriptors allow; more get 503", len(self._clients))
        client.refuse(_TOO_MANY, linger=len(self._turned_away) < self._allowance.refusals)
        self._turned_away.add(client)

    async def _join(self, client: "Client") -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not client.gone:
                    await self._open.wait()
                    address = min(self._joints, key=lambda each: len(self._joints[each]))
                    half = Half(client, self._joints[address])
                    # Counted before it is made, so that a burst of connections spreads out.
                    self._joints[address].add(half)
                    try:
                        await _connect(address, half)
                        return
                    except OSError:  # the worker has just died, and its end has not reached us yet
                        half.leave()
                    except asyncio.CancelledError:
                        half.leave()
                        raise
                    await asyncio.sleep(0.05)
        except TimeoutError:
            client.refuse(_NO_WORKER_STARTS if self._troubled else _NO_WORKER)


class Side(asyncio.Protocol):
    """One side of a connection; `other` is the other one. Each pauses the other where it can't keep up."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end on; the connection is over when both sides have said so."""
        self._ended = True
        if self.other is None or self.other.transport is None or self.other._ended:
            return False
        with suppress(OSError, RuntimeError):  # it is closing too
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()
        self.other = None


class Client(Side):
    """The client's side. Until a worker is there, its first bytes are kept and no more are read."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self._early: list[bytes] = []
        self._ended_early = False
        self._refused = False
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._gate.receive(self)

    def data_received(self, data: bytes) -> None:
        if self.other:
            super().data_received(data)
        elif self.transport and not self._refused:
            self._early.append(data)
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        if self.other or self._refused:
            return super().eof_received()
        self._ended_early = True
        return True

    def join(self, half: "Half") -> None:
        assert self.transport
        self.other = half
        for data in self._early:
            super().data_received(data)
        self._early.clear()
        if self._ended_early:
            super().eof_received()
        self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._gate.leave(self)
        super().connection_lost(exc)

    def refuse(self, answer: bytes, *, linger: bool = True) -> None:
        """Answer and end the connection; what the client still sends is dropped."""
        if self.transport is None or self.gone:
            return
        self._refused = True
        self._early.clear()
        self.transport.write(answer)
        if not linger:
            self.transport.close()
            return
        self.transport.resume_reading()
        with suppress(OSError, RuntimeError):  # it is closing too
            self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER, self.transport.abort)


class Half(Side):
    """The worker's side; `siblings` are the worker's connections."""

    def __init__(self, client: Client, siblings: "set[Half]") -> None:
        super().__init__()
        self.other = client
        self._siblings = siblings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport
        assert isinstance(self.other, Client)
        if self.other.gone:
            self.transport.abort()
        else:
            self.other.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        super().connection_lost(exc)

    def leave(self) -> None:
        self._siblings.discard(self)

    def part(self) -> None:
        """Close both sides: a worker that is frozen would never close its own."""
        if self.other and self.other.transport:
            self.other.transport.close()
        if self.transport:
            self.transport.abort()


async def _connect(address: str, half: Half) -> None:
    loop = asyncio.get_running_loop()
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        await loop.create_connection(lambda: half, host, int(port))
    else:
        await loop.create_unix_connection(lambda: half, address)
