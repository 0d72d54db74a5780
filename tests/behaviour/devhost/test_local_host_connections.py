"""What the local host makes of the bytes of a connection: offers, odd and oversized requests, pipelines."""

import shutil
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.behaviour.devhost.conftest import LocalHost, eventually
from tests.behaviour.devhost.wire import CHUNKED_HELLO, HOST, SIZE, WHERE, Wire, header_of

OFFERS = {
    "Java": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"Upgrade: h2c\r\n",
    "curl": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "websocket": b"Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Version: 13\r\n",
    "anything": b"connection: UPGRADE\r\nupgrade: TLS/1.0, IRC/6.9\r\n",
}
HELLO = {
    "a length": b"Content-Length: 5\r\n\r\nhello",
    "chunks": CHUNKED_HELLO,
}


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
    wire.say(WHERE + b"\r\n" + SIZE + HELLO["a length"] + WHERE + HOST + b"\r\n" + WHERE + b"\r\n")
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
