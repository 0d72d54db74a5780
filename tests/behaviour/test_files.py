"""Files as the official clients see them: upload, list, retrieve, delete, content (B.5, I.1 to I.3)."""

import os
import time
from urllib.parse import unquote
from uuid import uuid4

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from domain.files import new_file
from files import records
from ids import new_id
from tests.service import Service
from tests.stores import documents_of


def test_a_file_is_uploaded_shown_listed_read_and_deleted(client: OpenAI):
    content = os.urandom(100_000)

    file = client.files.create(file=("notes.bin", content), purpose="assistants")

    assert (file.object, file.filename, file.purpose, file.status) == ("file", "notes.bin", "assistants", "processed")
    assert file.bytes == 100_000
    assert abs(file.created_at - time.time()) < 60
    assert client.files.retrieve(file.id) == file
    assert file in client.files.list().data
    assert client.files.wait_for_processing(file.id) == file
    assert client.files.content(file.id).read() == content
    deleted = client.files.delete(file.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (file.id, "file", True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError):
            call(file.id)


def test_a_file_has_every_member_in_the_wire_order(http: httpx.Client):
    created = http.post("/files", files={"file": ("a.txt", b"abc")}, data={"purpose": "vision"})
    assert created.status_code == 200
    assert list(created.json()) == [
        *("object", "id", "purpose", "filename", "bytes", "created_at", "expires_at", "status", "status_details")
    ]
    assert created.json()["expires_at"] is None


@pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"])
def test_files_of_every_purpose_can_be_uploaded_and_downloaded(openai_client: OpenAI, purpose):
    file = openai_client.files.create(file=b"my own data", purpose=purpose)
    assert openai_client.files.content(file.id).read() == b"my own data"


@pytest.mark.parametrize("purpose", ["assistants_output", "batch_output", "", "Assistants"])
def test_another_purpose_is_refused_in_the_hosted_words(openai_client: OpenAI, purpose):
    with pytest.raises(BadRequestError) as refused:
        openai_client.files.create(file=b"x", purpose=purpose)
    assert refused.value.body == {
        "message": f"'{purpose}' is not one of "
        "['fine-tune', 'assistants', 'batch', 'user_data', 'vision', 'evals'] - 'purpose'",
        "type": "invalid_request_error",
        "param": "purpose",
        "code": None,
    }


def test_an_unknown_file_is_refused_in_the_hosted_words(openai_client: OpenAI):
    with pytest.raises(NotFoundError) as unknown:
        openai_client.files.retrieve("file-nobodyhasit")
    assert unknown.value.body == {
        "message": "No such File object: file-nobodyhasit",
        "type": "invalid_request_error",
        "param": "id",
        "code": None,
    }


def test_an_id_of_another_kind_is_no_file(http: httpx.Client):
    refused = http.get("/files/thread_0123/content")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "file_id"


def test_a_file_expires_when_it_is_told_to(openai_client: OpenAI):
    file = openai_client.files.create(
        file=b"x", purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600


def test_a_batch_file_lives_for_30_days(openai_client: OpenAI):
    file = openai_client.files.create(file=b"x", purpose="batch")
    assert file.expires_at == file.created_at + 30 * 86_400


@pytest.mark.parametrize(
    ("expires_after", "param"),
    [
        ({"anchor": "created_at", "seconds": 3599}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": 2_592_001}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": "soon"}, "expires_after.seconds"),
        ({"anchor": "last_active_at", "seconds": 3600}, "expires_after.anchor"),
        ({"anchor": "created_at"}, "expires_after.seconds"),
        ({"anchor": "created_at", "seconds": 3600, "days": 1}, "expires_after.days"),
    ],
)
def test_a_broken_expiry_is_refused_by_name(openai_client: OpenAI, expires_after, param):
    with pytest.raises(BadRequestError) as refused:
        openai_client.files.create(file=b"x", purpose="user_data", expires_after=expires_after)
    assert refused.value.param == param


async def test_an_expired_file_behaves_as_deleted(service: Service, openai_client: OpenAI):
    expired, now = new_id("file"), time.time()
    documents = documents_of(service)
    file = new_file(expired, "old.txt", 3, "evals", now=int(now) - 7200, lifetime=3600)
    await records.add(documents, "default", records.record(file, "text/plain", created_ms=int(now * 1000)), quota=0)
    await documents.close()

    for call in (openai_client.files.retrieve, openai_client.files.content, openai_client.files.delete):
        with pytest.raises(NotFoundError):
            call(expired)
    assert expired not in [file.id for file in openai_client.files.list()]


def test_a_list_is_newest_first_and_goes_on_from_a_cursor(openai_client: OpenAI):
    ids = [openai_client.files.create(file=b"x", purpose="fine-tune").id for _ in range(5)]

    newest_first = [file.id for file in openai_client.files.list(purpose="fine-tune", limit=2)]
    assert newest_first[:5] == ids[::-1]
    oldest_first = [file.id for file in openai_client.files.list(purpose="fine-tune", limit=2, order="asc")]
    assert oldest_first == newest_first[::-1]


def test_a_list_goes_on_from_a_file_that_was_deleted(openai_client: OpenAI):
    ids = [openai_client.files.create(file=b"x", purpose="fine-tune").id for _ in range(3)]
    openai_client.files.delete(ids[1])
    page = openai_client.files.list(purpose="fine-tune", after=ids[1], limit=1)
    assert [file.id for file in page.data] == [ids[0]]


def test_a_list_holds_one_purpose_if_asked(openai_client: OpenAI):
    vision = openai_client.files.create(file=b"x", purpose="vision").id
    other = openai_client.files.create(file=b"x", purpose="assistants").id
    ids = {file.id for file in openai_client.files.list(purpose="vision")}
    assert vision in ids
    assert other not in ids


def test_a_list_takes_up_to_10000_at_once(http: httpx.Client):
    assert http.get("/files", params={"limit": 10_000}).status_code == 200
    for limit in (0, 10_001):
        refused = http.get("/files", params={"limit": limit})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("notes.txt", "text/plain"),
        ("data.json", "application/json"),
        ("page.html", "text/html"),
        ("Übersicht – 概要.pdf", "application/pdf"),
        ('say "hi".csv', "text/csv"),
        ("no-ending", "application/octet-stream"),
    ],
)
def test_content_comes_as_a_download_of_its_name_and_type(openai_client: OpenAI, name, type):
    file = openai_client.files.create(file=(name, b"content"), purpose="assistants")
    assert file.filename == name

    response = openai_client.files.content(file.id).response

    assert response.headers["content-type"] == type
    assert response.headers["content-length"] == "7"
    assert response.headers["x-content-type-options"] == "nosniff"
    disposition = response.headers["content-disposition"]
    assert disposition.startswith("attachment; ")
    assert unquote(disposition.partition("filename*=UTF-8''")[2]) == name


def test_a_type_that_was_declared_is_kept(http: httpx.Client):
    created = http.post("/files", files={"file": ("a", b"abc", "image/x-own; v=1")}, data={"purpose": "vision"})
    content = http.get(f"/files/{created.json()['id']}/content")
    assert content.headers["content-type"] == "image/x-own; v=1"


@pytest.mark.parametrize(
    ("asked", "status", "content", "shown"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-100", 206, b"56789", "bytes 5-9/10"),
        ("bytes=-100", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("bytes=4-2", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
    ],
)
def test_a_range_of_the_content_can_be_asked_for(http: httpx.Client, asked, status, content, shown):
    file_id = _upload(http, b"0123456789")
    response = http.get(f"/files/{file_id}/content", headers={"range": asked})
    assert (response.status_code, response.content) == (status, content)
    assert response.headers.get("content-range") == shown
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(http: httpx.Client, asked):
    file_id = _upload(http, b"0123456789")
    response = http.get(f"/files/{file_id}/content", headers={"range": asked})
    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */10"
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_range_of_other_bytes_than_the_client_has_is_answered_with_everything(http: httpx.Client):
    file_id = _upload(http, b"0123456789")
    etag = http.get(f"/files/{file_id}/content").headers["etag"]
    for tag, status in ((etag, 206), ('"another"', 200)):
        response = http.get(f"/files/{file_id}/content", headers={"range": "bytes=0-3", "if-range": tag})
        assert response.status_code == status


def test_files_need_the_key(service: Service):
    with httpx.Client(base_url=service.base_url, trust_env=False) as stranger:
        assert stranger.post("/files", files={"file": b"x"}, data={"purpose": "vision"}).status_code == 401
        assert stranger.get("/files").status_code == 401
        assert stranger.get("/files/file-1/content").status_code == 401


def _upload(http: httpx.Client, content: bytes) -> str:
    name = f"{uuid4().hex}.txt"
    return http.post("/files", files={"file": (name, content)}, data={"purpose": "user_data"}).json()["id"]
