"""What the local host makes of the bytes of a connection: offers, odd and oversized requests, pipelines."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest

from tests.behaviour.devhost.conftest import LocalHost, eventually

HOST = b"Host: x\r\n"
WHERE = b"GET /openai/where HTTP/1.1\r\n" + HOST
SIZE = b"POST /openai/size HTTP/1.1\r\n" + HOST

OFFERS = {
    "Java": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"Upgrade: h2c\r\n",
    "curl": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "websocket": b"Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Version: 13\r\n",
    "anything": b"connection: UPGRADE\r\nupgrade: TLS/1.0, IRC/6.9\r\n",
}
HELLO = {
    "a length": b"Content-Length: 5\r\n\r\nhello",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: z\r\n\r\n",
}


class Answer(NamedTuple):
    status: int
    headers: str
    body: bytes


class Wire:
    """A connection on which anything can be said."""

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
        """Return the next answer; its body has a length, or none."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        [length] = re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)
        while len(self._read) < int(length):
            self._more()
        body, self._read = self._read[: int(length)], self._read[int(length) :]
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


@pytest.fixture
def wire(quiet_host: LocalHost) -> Iterator[Wire]:
    made = Wire(quiet_host)
    yield made
    made.close()


def pieces(request: bytes, size: int) -> list[bytes]:
    return [request[at : at + size] for at in range(0, len(request), size)]


@pytest.mark.parametrize("body", HELLO)
@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("size", [10_000, 150])
def test_an_offer_to_upgrade_is_ignored_and_the_body_kept(wire: Wire, offer: str, body: str, size: int):
    request = SIZE + OFFERS[offer] + HELLO[body]
    wire.say(*pieces(request, size))
    assert wire.hears().body == b'{"size":5}'
    # The connection goes on, with and without further offers, pipelined too.
    wire.say(WHERE + OFFERS[offer] + b"\r\n" + request * 2 + SIZE + HELLO["chunks"] + WHERE + b"\r\n")
    answers = [wire.hears() for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert [answer.body for answer in answers[1:4]] == [b'{"size":5}'] * 3


def test_an_offer_with_an_empty_body_or_one_that_is_announced(wire: Wire):
    wire.say(SIZE + OFFERS["Java"] + b"Content-Length: 0\r\n\r\n")
    assert wire.hears().body == b'{"size":0}'
    wire.say(SIZE + OFFERS["Java"] + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert wire.hears_exactly(b"HTTP/1.1 100 Continue\r\n\r\n")
    wire.say(b"hello")
    assert wire.hears().body == b'{"size":5}'


def test_a_large_body_after_an_offer_arrives_whole(wire: Wire):
    wire.say(SIZE + OFFERS["curl"] + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000 + WHERE + b"\r\n")
    assert wire.hears().body == b'{"size":1000000}'
    assert wire.hears().status == 200


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("more", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_that_offers_http_2_is_served(quiet_host: LocalHost, more: list[str]):
    command = ["curl", "--silent", "--noproxy", "*", "--http2", *more, "--data-binary", "@-", f"{quiet_host.url}/size"]
    ran = subprocess.run(
        [*command, "--next", "--silent", f"{quiet_host.url}/where"], input=b"hello", capture_output=True
    )
    assert ran.stdout.startswith(b'{"size":5}{"pid":'), ran


MALFORMED = {
    "two equal lengths": SIZE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths": SIZE + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
    "a list of lengths": SIZE + b"Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": SIZE + b"Content-Length: -1\r\n\r\n",
    "an endless length": SIZE + b"Content-Length: 99999999999999999999\r\n\r\n",
    "two hosts": WHERE + HOST + b"\r\n",
    "no host": b"GET /openai/where HTTP/1.1\r\n\r\n",
    "a folded header": WHERE + b"A: b\r\n c\r\n\r\n",
    "a space before the colon": WHERE + b"A : b\r\n\r\n",
    "a header without a name": WHERE + b": b\r\n\r\n",
    "NUL in a header": WHERE + b"A: b\0c\r\n\r\n",
    "bare line feeds": b"GET /openai/where HTTP/1.1\nHost: x\n\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw bytes in the target": b"GET /openai/\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the target": b"GET /openai/a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the target": b"GET /openai/a%00b?c HTTP/1.1\r\n" + HOST + b"\r\n",
    "another host in the target": b"GET http://y/openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a host with a user in the target": b"GET http://x@y/openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a coding that is not chunked": SIZE + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "chunked and then another": SIZE + b"Transfer-Encoding: chunked, gzip\r\n\r\nhello",
    "a chunk without a size": SIZE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\nx\r\nllo\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_400_with_an_empty_body_and_the_end(wire: Wire, case: str):
    wire.say(MALFORMED[case])
    answer = wire.hears()
    assert (answer.status, answer.body) == (400, b"")
    assert "connection: close" in answer.headers
    assert wire.ends()


def header_of(size: int) -> bytes:
    """A header that counts that much, its line break included."""
    return b"A: " + b"x" * (size - 5) + b"\r\n"


def line_of(size: int) -> bytes:
    return b"GET /openai/where?" + b"x" * (size - 29) + b" HTTP/1.1\r\n"


KB = 1024
LIMITS = {
    "a line of 8 kB": (200, line_of(8 * KB) + HOST + b"\r\n"),
    "a longer one": (414, line_of(8 * KB + 1) + HOST + b"\r\n"),
    "a line without end": (414, b"GET /" + b"x" * 100 * KB),
    "100 headers": (200, WHERE + header_of(5) * 99 + b"\r\n"),
    "101": (431, WHERE + header_of(5) * 100 + b"\r\n"),
    "headers of 32 kB": (200, WHERE + header_of(32 * KB - len(HOST)) + b"\r\n"),
    "larger ones": (431, WHERE + header_of(32 * KB - len(HOST) + 1) + b"\r\n"),
    "several of 32 kB": (431, WHERE + header_of(11 * KB) * 3 + b"\r\n"),
    "a header without end": (431, WHERE + header_of(3 << 20)[:-2]),
    "a name without end": (431, WHERE + b"x" * (3 << 20)),
    "101 trailers": (431, SIZE + HELLO["chunks"][:-2] + header_of(5) * 101 + b"\r\n"),
    "a trailer without end": (431, SIZE + HELLO["chunks"][:-2] + header_of(3 << 20)[:-2]),
    "a chunk's extension without end": (431, SIZE + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (3 << 20)),
    "HTTP/2": (505, b"GET /openai/where HTTP/2.0\r\n" + HOST + b"\r\n"),
    "HTTP/2's preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_the_limits_of_a_request_are_those_of_the_functions_host(wire: Wire, case: str):
    status, request = LIMITS[case]
    wire.say(request)
    answer = wire.hears()
    assert answer.status == status
    if status != 200:
        assert answer.body == b""
        assert wire.ends()


def test_headers_cost_no_memory(quiet_host: LocalHost):
    [worker] = quiet_host.workers()
    quiet_host.get("where")
    before = worker.memory_info().rss
    host = psutil.Process(quiet_host.process.pid)
    host_before = host.memory_info().rss
    for header in (b"a: b\r\n", header_of(2000)):
        for _ in range(3):
            wire = Wire(quiet_host)
            assert wire.say(WHERE, *[header * (1_000_000 // len(header))] * 10).hears().status == 431
            wire.close()
    assert worker.memory_info().rss - before < 8 << 20
    assert host.memory_info().rss - host_before < 8 << 20


def test_what_came_before_a_malformed_request_is_answered_first(wire: Wire):
    wire.say(WHERE + b"\r\n" + SIZE + HELLO["a length"] + MALFORMED["two hosts"] + WHERE + b"\r\n")
    assert [wire.hears().status for _ in range(3)] == [200, 200, 400]
    assert wire.ends()


def test_chunks_count_where_there_is_a_length_too_and_the_connection_ends(wire: Wire):
    wire.say(SIZE + b"Content-Length: 9999999\r\n" + HELLO["chunks"] + WHERE + b"\r\n")
    answer = wire.hears()
    assert (answer.status, answer.body) == (200, b'{"size":5}')
    assert "connection: close" in answer.headers
    assert wire.ends()


@pytest.mark.parametrize("target", [b"/openai/where", b"http://x/openai/where", b"HTTP://X:80/openai/where"])
def test_a_target_may_name_the_host_it_is_sent_to(wire: Wire, target: bytes):
    assert wire.say(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").hears().status == 200


def test_a_client_of_http_1_0_needs_no_host(wire: Wire):
    assert wire.say(b"GET /openai/where HTTP/1.0\r\n\r\n").hears().status == 200
    assert wire.ends()


def test_a_pipelining_client_that_leaves_ends_its_stream(quiet_host: LocalHost):
    ended = len(quiet_host.notes("stream ended"))
    wire = Wire(quiet_host).say(b"GET /openai/stream HTTP/1.1\r\n" + HOST + b"\r\n" + WHERE + b"\r\n")
    assert wire.hears_exactly(b"HTTP/1.1 200 OK\r\n")
    wire.close()
    eventually(lambda: len(quiet_host.notes("stream ended")) > ended, timeout=10)
