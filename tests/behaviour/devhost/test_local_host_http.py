"""What the local host answers, and on which function's behalf."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.behaviour.devhost.conftest import LocalHost, eventually

LIMIT = 1_000_000  # bytes, as quiet_host is set


@pytest.mark.parametrize(
    ("method", "path", "function", "params"),
    [
        ("GET", "things/special", "a_thing", {"thing": "special"}),
        ("DELETE", "things/special", "b_special", {}),
        ("GET", "things/other", "a_thing", {"thing": "other"}),
        ("GET", "THINGS/Other", "a_thing", {"thing": "Other"}),
        ("GET", "things/other/", "a_thing", {"thing": "other"}),
        ("GET", "things/a%20b%C3%BC", "a_thing", {"thing": "a bü"}),
        ("GET", "things/a%2Fb", "a_thing", {"thing": "a%2Fb"}),
        ("POST", "things/other", "zz_everything_else", {"path": "things/other"}),
        ("GET", "v1/threads/x/runs", "v1", {"path": "threads/x/runs"}),
        ("PATCH", "v1", "v1", {}),
        ("PATCH", "v1/", "v1", {}),
        ("GET", "v1//threads", "zz_everything_else", {"path": "v1//threads"}),
        ("GET", "v1/a//b/", "v1", {"path": "a//b/"}),
        ("GET", "things/other//", "zz_everything_else", {"path": "things/other//"}),
        ("PUT", "things/special", "zz_everything_else", {"path": "things/special"}),
        ("GET", "administer", "zz_everything_else", {"path": "administer"}),
        ("GET", "runtime/thing", "zz_everything_else", {"path": "runtime/thing"}),
        ("GET", "numbers/1", "zz_everything_else", {"path": "numbers/1"}),
        ("GET", "nowhere//else", "zz_everything_else", {"path": "nowhere//else"}),
    ],
)
def test_the_first_function_by_name_that_takes_path_and_method_answers(
    quiet_host: LocalHost, method: str, path: str, function: str, params: dict[str, str]
):
    response = httpx.request(method, f"{quiet_host.url}/{path}", trust_env=False)
    assert response.json() == {"function": function, **params}


def test_functions_that_the_functions_host_would_not_serve_are_named_in_the_log(quiet_host: LocalHost):
    for name, fault in (
        ("is_reserved", "its route is reserved for the host"),
        ("is_reserved_too", "its route is reserved for the host"),
        ("special_again", "its route is that of b_special"),
        ("numbers", "its route has what the local host doesn't know"),
    ):
        assert f"{name} gets no requests: {fault}" in quiet_host.log


def test_an_exception_that_escapes_a_function_is_a_500_without_details(quiet_host: LocalHost):
    response = quiet_host.get("breaks")
    assert (response.status_code, response.text) == (500, "Internal Server Error")


def test_a_body_at_the_limit_arrives_whole(quiet_host: LocalHost):
    assert quiet_host.post("size", content=b"x" * LIMIT).json() == {"size": LIMIT}


@pytest.mark.parametrize("path", ["size", "no/such/path", "where"])
@pytest.mark.parametrize("length", [LIMIT + 1, 20 * LIMIT])
def test_a_body_over_the_limit_is_answered_with_nothing_whatever_it_was_for(
    quiet_host: LocalHost, path: str, length: int
):
    assert_cut(quiet_host.post(path, content=b"x" * length))


def test_a_body_that_does_not_say_its_length_is_cut_at_the_limit(quiet_host: LocalHost):
    assert_cut(quiet_host.post("size", content=iter([b"x" * 1000] * (LIMIT // 1000 + 1))))


def assert_cut(response: httpx.Response) -> None:
    assert (response.status_code, response.content) == (500, b"")
    assert (response.headers["content-length"], response.headers["connection"]) == ("0", "close")


def test_a_client_that_leaves_ends_its_stream(quiet_host: LocalHost):
    with httpx.stream("GET", f"{quiet_host.url}/stream", trust_env=False) as response:
        next(response.iter_lines())
    eventually(lambda: quiet_host.notes("stream ended"), timeout=10)


def test_a_client_that_never_reads_holds_up_nobody(quiet_host: LocalHost):
    address = urlsplit(quiet_host.url)
    with socket.create_connection((address.hostname, address.port)) as idle:
        idle.sendall(b"GET /openai/stream HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(20):
            assert quiet_host.get("where").status_code == 200


def test_each_request_is_one_line_without_its_query(quiet_host: LocalHost):
    quiet_host.get("where?api-key=a-secret")
    eventually(lambda: "GET /openai/where 200" in quiet_host.log)
    assert "a-secret" not in quiet_host.log
    assert "\x1b[" not in quiet_host.log
