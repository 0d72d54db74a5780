"""The forms in which files arrive, as clients of all kinds send them (A.4.3, I.2)."""

import socket
import time
from collections.abc import Iterator
from http.client import HTTPResponse

import httpx
import pytest

from tests.behaviour.conftest import StartService, only_on
from tests.service import Service
from tests.stores import blob_names

BOUNDARY = "----the-boundary"


def form(*parts: tuple[str, bytes]) -> bytes:
    """Each part is what follows `Content-Disposition: form-data; `, with any further headers, and its content."""
    body = b""
    for disposition, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post(
    http: httpx.Client, body: bytes | Iterator[bytes], content_type: str = f"multipart/form-data; boundary={BOUNDARY}"
):
    return http.post("/files", content=body, headers={"content-type": content_type})


FILE = ('name="file"; filename="a.txt"', b"content")
PURPOSE = ('name="purpose"', b"assistants")


@pytest.mark.parametrize("parts", [(FILE, PURPOSE), (PURPOSE, FILE)])
def test_the_parts_come_in_any_order(http: httpx.Client, parts):
    created = post(http, form(*parts))
    assert created.status_code == 200
    assert created.json()["bytes"] == 7


def test_nested_members_come_in_brackets(http: httpx.Client):
    anchor, seconds = ('name="expires_after[anchor]"', b"created_at"), ('name="expires_after[seconds]"', b"7200")
    created = post(http, form(seconds, FILE, anchor, PURPOSE)).json()
    assert created["expires_at"] == created["created_at"] + 7200


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="Grüße 概要.txt"', "Grüße 概要.txt"),
        ("filename=\"x.txt\"; filename*=UTF-8''%E6%A6%82%E8%A6%81.txt", "概要.txt"),
        ("filename*=utf-8'de'Gr%C3%BC%C3%9Fe.txt; filename=\"x.txt\"", "Grüße.txt"),
        ("filename*=ISO-8859-1''Gr%FC%DFe.txt", "Grüße.txt"),
        ('filename="say %22hi%22.txt"', 'say "hi".txt'),
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="C:\\Users\\me\\notes.txt"', "notes.txt"),
        ('filename="a;b.txt"', "a;b.txt"),
        ("filename=plain.txt", "plain.txt"),
        ('filename=".."', "upload"),
        ('filename=""', "upload"),
    ],
)
def test_names_are_kept_without_their_path(http: httpx.Client, disposition, name):
    created = post(http, form((f'name="file"; {disposition}', b"content"), PURPOSE))
    assert created.status_code == 200
    assert created.json()["filename"] == name


def test_content_that_looks_like_a_boundary_is_content(http: httpx.Client):
    content = f"\r\n--{BOUNDARY[:-1]}\r\n--{BOUNDARY[2:]}--\r\n\r\n--\r\n".encode() * 5000
    created = post(http, form(('name="file"; filename="a"', content), PURPOSE)).json()
    assert http.get(f"/files/{created['id']}/content").content == content


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ((PURPOSE,), "file", "missing_required_parameter"),
        ((FILE,), "purpose", "missing_required_parameter"),
        ((), "purpose", "missing_required_parameter"),
        ((FILE, PURPOSE, ('name="shape"', b"round")), "shape", "unknown_parameter"),
        ((FILE, FILE, PURPOSE), "file", None),
        ((('name="file"; filename="a.txt"', b""), PURPOSE), "file", None),
        ((FILE, ('name="purpose"', b"x" * 70_000)), "purpose", None),
        ((FILE, PURPOSE, *[(f'name="f{n}"', b"") for n in range(30)]), None, None),
        (((f'name="file"; filename="{"x" * 600}"', b"content"), PURPOSE), "filename", "string_above_max_length"),
    ],
)
def test_a_form_with_a_mistake_is_refused_by_name_and_leaves_nothing(
    http: httpx.Client, service: Service, parts, param, code
):
    before = stored(service)
    refused = post(http, form(*parts))
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert refused.json()["error"]["code"] == code
    assert stored(service) == before


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"no form at all", f"multipart/form-data; boundary={BOUNDARY}"),
        (b"", f"multipart/form-data; boundary={BOUNDARY}"),
        (form(FILE, PURPOSE), "multipart/form-data; boundary=another"),
        (form(FILE, PURPOSE), f"multipart/form-data; boundary={'x' * 5000}"),
        (form(FILE, PURPOSE)[:-10], f"multipart/form-data; boundary={BOUNDARY}"),
        (form(PURPOSE, FILE)[:-60], f"multipart/form-data; boundary={BOUNDARY}"),
        (form((f'name="file"; x="{"y" * 100_000}"', b"")), f"multipart/form-data; boundary={BOUNDARY}"),
    ],
)
def test_what_is_no_form_is_refused_and_leaves_nothing(http: httpx.Client, service: Service, body, content_type):
    before = stored(service)
    refused = post(http, body, content_type)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert stored(service) == before


# What one request may hold: form_limit of hosting/configuration.py

DEFAULT_LIMIT = 104_857_600
EXPECTS = {"expect": "100-continue"}


@pytest.fixture
def narrow(start_service: StartService) -> Service:
    """A service whose host takes bodies of up to 3,000,000 bytes."""
    return start_service(settings={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "3000000"})


@pytest.mark.parametrize(("path", "limit"), [("/files", "103857600"), ("/uploads/upload_x/parts", "67108864")])
@pytest.mark.parametrize("length", [DEFAULT_LIMIT - 999_999, DEFAULT_LIMIT])
def test_a_form_that_says_it_is_too_large_is_refused_before_it_is_sent(
    service: Service, openai_client, path, limit, length
):
    upload = openai_client.uploads.create(bytes=3, filename="a", purpose="assistants", mime_type="text/plain")
    status, answer = declared(service, path.replace("upload_x", upload.id), length)
    assert status == 413
    assert f"The limit is {limit} bytes. Send it in parts of up to 64 MB with the Uploads API" in answer


@pytest.mark.parametrize("path", ["/files", "/threads", "/no/such/path"])
def test_beyond_its_own_limit_the_host_answers_and_asks_for_no_key(service: Service, path):
    assert declared(service, path, DEFAULT_LIMIT + 1, key="wrong") == (500, "")


@pytest.mark.parametrize("declares", [True, False])
def test_a_form_up_to_the_limit_is_taken_and_a_longer_one_refused(narrow: Service, declares: bool):
    with narrow.http() as http:
        # A form is whole before its last line break: nobody waits for those two bytes.
        for length, status in ((2_000_000, 200), (2_000_003, 413), (2_900_000, 413)):
            body = form(PURPOSE, ('name="file"; filename="a"', b""))
            body = form(PURPOSE, ('name="file"; filename="a"', bytes(length - len(body))))
            answer = post(http, body if declares else pieces(body))
            assert answer.status_code == status, length
            if status == 413:
                error = answer.json()["error"]
                assert (error["type"], error["param"]) == ("invalid_request_error", "file")
                assert "parts of up to 1.91 MB with the Uploads API (POST /uploads)" in error["message"]
        assert len(stored(narrow)) == 1


@pytest.mark.parametrize("declares", [True, False])
def test_a_form_beyond_the_hosts_limit_gets_nothing_and_leaves_nothing(narrow: Service, declares: bool):
    body = form(PURPOSE, ('name="file"; filename="a"', bytes(9_000_000)))
    with narrow.http() as http:
        answer = post(http, body if declares else pieces(body))
    # One that doesn't say its length is ours to refuse first; one that does never reaches us.
    assert answer.status_code == (500 if declares else 413)
    assert bool(answer.content) is not declares
    assert stored(narrow) == set()


@only_on("local")  # in the other store it is the same code, and a minute
def test_512_mib_are_taken_where_the_host_lets_them_through_and_no_more(start_service: StartService):
    service = start_service(settings={"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(1 << 30)})
    with service.http(headers=EXPECTS) as http:
        http.timeout = httpx.Timeout(120.0)
        created = post(http, large_form(512 << 20))
        assert created.json()["bytes"] == 512 << 20
        http.delete(f"/files/{created.json()['id']}").raise_for_status()
        refused = post(http, large_form((512 << 20) + 1))
    assert refused.status_code == 413
    assert "The limit is 536870912 bytes" in refused.json()["error"]["message"]
    assert declared(service, "/files", 600 << 20)[0] == 413
    assert stored(service) == set()


def large_form(size: int) -> Iterator[bytes]:
    head, tail = form(PURPOSE, ('name="file"; filename="a"', b"<>")).split(b"<>")
    yield head
    for left in range(size, 0, -(1 << 20)):
        yield bytes(min(left, 1 << 20))
    yield tail


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


def declared(service: Service, path: str, length: int, key: str = "") -> tuple[int, str]:
    """Status and body of the answer to a request that says how long its form will be, and waits to be asked for it."""
    request = (
        f"POST /openai/v1{path} HTTP/1.1\r\nHost: localhost\r\napi-key: {key or service.key}\r\n"
        f"Expect: 100-continue\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(request.encode())
        connection.settimeout(10)
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode()


@only_on("local")  # test_files_faults.py has its like for Blob Storage, where half a blob is no file
def test_an_upload_cut_in_the_middle_leaves_nothing(http: httpx.Client, service: Service):
    before, listed = stored(service), http.get("/files").json()["data"]
    head = (
        f"POST /openai/v1/files HTTP/1.1\r\nHost: localhost\r\napi-key: {service.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: 50000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + form(PURPOSE, ('name="file"; filename="a"', bytes(20_000_000)))[:-40])
        deadline = time.monotonic() + 10
        while stored(service) == before and time.monotonic() < deadline:  # until it has begun to store
            time.sleep(0.01)
    while stored(service) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stored(service) == before
    assert http.get("/files").json()["data"] == listed


def stored(service: Service) -> set[str]:
    return blob_names(service)
