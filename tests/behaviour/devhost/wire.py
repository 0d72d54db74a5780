"""A connection to the local host on which anything can be said."""

import re
import socket
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.behaviour.devhost.conftest import LocalHost

HOST = b"Host: x\r\n"
WHERE = b"GET /openai/where HTTP/1.1\r\n" + HOST
SIZE = b"POST /openai/size HTTP/1.1\r\n" + HOST
CHUNKED_HELLO = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: z\r\n\r\n"


class Answer(NamedTuple):
    status: int
    headers: str
    body: bytes


class Wire:
    def __init__(self, host: LocalHost) -> None:
        address = urlsplit(host.url)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=20)
        self._read = b""

    def say(self, *pieces: bytes) -> "Wire":
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.05)  # so that they arrive in pieces
            self._socket.sendall(piece)
        return self

    def hears(self) -> Answer:
        """Return the next answer; its body has a length, or there is none."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        lengths = re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)
        length = sum(map(int, lengths))
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(head.split()[1]), head.decode().lower(), body)

    def hears_exactly(self, expected: bytes) -> bool:
        while len(self._read) < len(expected):
            self._more()
        heard, self._read = self._read[: len(expected)], self._read[len(expected) :]
        return heard == expected

    def ends(self) -> bool:
        return not self._read and self._socket.recv(1) == b""

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> None:
        data = self._socket.recv(65_536)
        assert data, f"the connection ended after {self._read!r}"
        self._read += data


def header_of(size: int) -> bytes:
    """A header that counts that much, its line break included."""
    return b"A: " + b"x" * (size - 5) + b"\r\n"
