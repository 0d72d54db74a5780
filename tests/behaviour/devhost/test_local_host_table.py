"""Requests and answers, byte by byte: where the Functions host decides, and what it passes on to the app and from it.

What it does was measured on the host itself (version 4.1037); nothing here is looser.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.behaviour.devhost.conftest import LocalHost
from tests.behaviour.devhost.wire import CHUNKED_HELLO, HOST, SIZE, WHERE, Wire, header_of

KB = 1024
LIMIT = 1_000_000  # bytes, as quiet_host is set


def line_of(size: int) -> bytes:
    return b"GET /openai/where?" + b"x" * (size - 29) + b" HTTP/1.1\r\n"


def ask(target: str, *headers: str, method: str = "GET") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: x", *headers, "")).encode("latin-1")


# Answered with 400, nothing more, and the connection's end.
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
    "two blanks before the target": b"GET  /openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tab before the target": b"GET\t/openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method that can't be": b"GE(T /openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method beyond all length": b"X" * 100 + b" /openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "NUL in the target": b"GET /openai/a%00b?c HTTP/1.1\r\n" + HOST + b"\r\n",
    "another host in the target": b"GET http://y/openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a host with a user in the target": b"GET http://x@y/openai/where HTTP/1.1\r\n" + HOST + b"\r\n",
    "a coding that is not chunked": SIZE + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "chunked and then another": SIZE + b"Transfer-Encoding: chunked, gzip\r\n\r\nhello",
    "a chunk without a size": SIZE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\nx\r\nllo\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01",
}

# What else never reaches a function, and what just does. Those that are refused unread end the connection.
REFUSED = {
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
    "101 trailers": (431, SIZE + CHUNKED_HELLO[:-2] + header_of(5) * 101 + b"\r\n"),
    "a trailer without end": (431, SIZE + CHUNKED_HELLO[:-2] + header_of(3 << 20)[:-2]),
    "a chunk's extension without end": (431, SIZE + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (3 << 20)),
    "HTTP/2": (505, b"GET /openai/where HTTP/2.0\r\n" + HOST + b"\r\n"),
    "HTTP/2's preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
}

# Nothing but a status, and the connection goes on.
ALONE = {
    "a doubled slash at the beginning": (404, ask("//openai/where")),
    "nothing but slashes": (404, ask("//")),
    "outside of the app": (404, ask("/where")),
    "the root": (404, ask("/")),
    "dots that lead outside": (404, ask("/openai/../where")),
    "encoded ones": (404, ask("/openai/x/%2e%2E/%2E%2e/where")),
    "dots above the root": (404, ask("/../../where")),
    "a made-up method": (404, ask("/where", method="BREW")),
    "another one, with a body": (404, ask("/where", "Content-Length: 5", method="FETCH_ALL") + b"hello"),
    "a method that no function takes": (404, ask("/", method="TRACE")),
    "the host's administration": (401, ask("/admin/host/status")),
    "in capitals": (401, ask("/ADMIN/functions")),
    "by way of dots": (401, ask("/openai/../admin/functions")),
    "the durable extension's own": (401, ask("/runtime/webhooks/durabletask/instances/x", method="POST")),
    "the host's ping": (200, ask("/admin/host/ping")),
    "posted": (200, ask("/Admin/Host/Ping", method="POST")),
}

# What the app sees of a request.
SEEN = {
    "two keys": (ask("/openai/seen", "api-key: a", "API-Key: b"), {"api-key": "a,b"}),
    "three": (ask("/openai/seen", "x-a: 1", "x-b: 2", "x-a: 3", "X-A: 4"), {"x-a": "1,3,4", "x-b": "2"}),
    "two cookies": (ask("/openai/seen", "Cookie: a=1", "Cookie: b=2"), {"cookie": "a=1; b=2"}),
    "forwarded by whom": (
        ask("/openai/seen", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "x-forwarded-host: y"),
        {"x-forwarded-for": None, "x-forwarded-proto": None, "x-forwarded-host": None},
    ),
    "an expectation": (ask("/openai/seen", "Expect: 100-continue"), {"expect": "100-continue"}),
    "an offer": (ask("/openai/seen", "Connection: Upgrade", "Upgrade: websocket"), {"upgrade": "websocket"}),
    "an invocation's id of its own": (ask("/openai/seen", "x-ms-invocation-id: 1"), {"x-ms-invocation-id": "1"}),
}

# The method and the path's parameter as the app sees them.
PATHS = {
    "any method": (ask("/openai/seen/a", method="BREW"), "BREW", "a"),
    "one in lower case": (ask("/openai/seen/a", method="get"), "get", "a"),
    "HTTP/1.0 has methods too": (b"BREW /openai/seen/a HTTP/1.0\r\n\r\n", "BREW", "a"),
    "decoded": (ask("/openai/seen/a%20%C3%A9%25%5C"), "GET", "a é%\\"),
    "not decoded": (ask("/openai/seen/%2F%2f%FF%zz%C3%28+"), "GET", "%2F%2f%FF%zz%C3(+"),
    "a line break": (ask("/openai/seen/a%0Ab"), "GET", "a\nb"),
    "doubled slashes": (ask("/openai/seen/a//b"), "GET", "a//b"),
    "dots": (ask("/openai/seen/x/../a/./b/%2E%2e/c?d/../e"), "GET", "a/c"),
    "the words of the route in any case": (ask("/OPENAI/Seen/A"), "GET", "A"),
}

# What becomes of an answer: of answers/… each says "hello".
ANSWERS = {
    "of 204": (ask("/openai/answers/204"), 204, b""),
    "of 304": (ask("/openai/answers/304"), 304, b""),
    "to HEAD": (ask("/openai/answers/200", method="HEAD"), 200, b""),
    "to GET": (ask("/openai/answers/200"), 200, b"hello"),
    "with a line break in a header": (ask("/openai/answers/line-break"), 500, b""),
    "with a line feed in a header": (ask("/openai/answers/line-feed"), 500, b""),
    "with a header that is not ASCII": (ask("/openai/answers/not-ascii"), 500, b""),
    "shorter than it says": (ask("/openai/answers/short"), 500, b""),
    "of a function that raises": (ask("/openai/breaks"), 500, b"Internal Server Error"),
}

OVER = {
    "declared": SIZE + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
    "declared, and announced": SIZE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1),
    "chunked": SIZE + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1) + b"\r\n0\r\n\r\n",
    "for a path that there isn't": ask("/nowhere", f"Content-Length: {LIMIT + 1}", method="POST") + b"x" * (LIMIT + 1),
}


@pytest.fixture
def wire(quiet_host: LocalHost) -> Iterator[Wire]:
    made = Wire(quiet_host)
    yield made
    made.close()


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_400_with_an_empty_body_and_the_end(wire: Wire, case: str):
    wire.say(MALFORMED[case])
    answer = wire.hears()
    assert (answer.status, answer.body) == (400, b"")
    assert "connection: close" in answer.headers
    assert wire.ends()


@pytest.mark.parametrize("case", REFUSED)
def test_the_limits_of_a_request_are_those_of_the_functions_host(wire: Wire, case: str):
    status, request = REFUSED[case]
    wire.say(request)
    answer = wire.hears()
    assert answer.status == status
    if status != 200:
        assert answer.body == b""
        assert wire.ends()


@pytest.mark.parametrize("case", ALONE)
def test_what_no_function_is_for_gets_a_status_and_no_more(wire: Wire, case: str):
    status, request = ALONE[case]
    assert wire.say(request).hears()[::2] == (status, b"")
    assert wire.say(WHERE + b"\r\n").hears().status == 200


@pytest.mark.parametrize("case", SEEN)
def test_headers_reach_the_app_as_the_functions_host_passes_them_on(wire: Wire, case: str):
    request, expected = SEEN[case]
    headers = dict(seen(wire, request)["headers"])
    assert {name: headers.get(name) for name in expected} == expected
    assert headers["host"].partition(":")[0] in ("localhost", "127.0.0.1")


@pytest.mark.parametrize("case", PATHS)
def test_methods_and_paths_reach_the_app_as_the_functions_host_reads_them(wire: Wire, case: str):
    request, method, path = PATHS[case]
    told = seen(wire, request)
    assert (told["method"], told["params"]) == (method, {"path": path})


def seen(wire: Wire, request: bytes) -> dict[str, Any]:
    return json.loads(wire.say(request).hears().body)


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_a_made_up_method_may_come_in_pieces(wire: Wire, size: int):
    request = ask("/openai/seen/a", "Content-Length: 2", method="BREW") + b"hi"
    wire.say(*(request[at : at + size] for at in range(0, 10, size)), request[-(-10 // size) * size :])
    told = json.loads(wire.hears().body)
    assert (told["method"], told["params"]) == ("BREW", {"path": "a"})
    assert wire.say(WHERE + b"\r\n").hears().status == 200


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_are_passed_on_as_by_the_functions_host(wire: Wire, case: str):
    request, status, body = ANSWERS[case]
    answer = wire.say(request).hears()
    assert (answer.status, answer.body) == (status, body)
    if status in (204, 304) or request.startswith(b"HEAD"):
        assert "content-length" not in answer.headers
        assert wire.say(WHERE + b"\r\n").hears().status == 200


@pytest.mark.parametrize("case", OVER)
def test_a_body_over_the_limit_is_an_empty_500_and_the_end(wire: Wire, case: str):
    answer = wire.say(OVER[case]).hears()
    assert (answer.status, answer.body) == (500, b"")
    assert "connection: close" in answer.headers
    assert wire.ends()
