"""The forms in which files arrive, as clients of all kinds send them (A.4.3, I.2)."""

import socket
import time

import httpx
import pytest

from tests.behaviour.conftest import only_on
from tests.service import Service
from tests.stores import blob_names

BOUNDARY = "----the-boundary"


def form(*parts: tuple[str, bytes]) -> bytes:
    """Each part is what follows `Content-Disposition: form-data; `, with any further headers, and its content."""
    body = b""
    for disposition, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post(http: httpx.Client, body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}"):
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


def test_more_than_512_mb_are_refused_before_they_are_sent(service: Service):
    request = (
        f"POST /openai/v1/files HTTP/1.1\r\nHost: localhost\r\napi-key: {service.key}\r\nExpect: 100-continue\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {600 << 20}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(request.encode())
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


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
