"""Uploads: large files in parts (B.5, I.4)."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types import Upload

from tests.service import Service
from tests.stores import blob_names


def begin(client: OpenAI, size: int, **options: Any) -> Upload:
    arguments: dict[str, Any] = {"filename": "big.txt", "purpose": "assistants", "mime_type": "text/plain"}
    return client.uploads.create(bytes=size, **arguments | options)


def test_parts_are_joined_in_the_order_of_their_ids(client: OpenAI):
    upload = begin(client, 9, expires_after={"anchor": "created_at", "seconds": 3600})
    assert (upload.object, upload.status, upload.filename, upload.bytes) == ("upload", "pending", "big.txt", 9)
    assert upload.expires_at == upload.created_at + 3600
    assert upload.file is None
    second, first, _ = (
        client.uploads.parts.create(upload.id, data=data) for data in (b"world", b"Hey ", b"never named")
    )
    assert (second.object, second.upload_id) == ("upload.part", upload.id)

    done = client.uploads.complete(upload.id, part_ids=[first.id, second.id])

    assert (done.id, done.status) == (upload.id, "completed")
    assert done.file is not None
    assert (done.file.bytes, done.file.filename, done.file.status) == (9, "big.txt", "processed")
    assert done.file.expires_at == done.file.created_at + 3600
    assert client.files.retrieve(done.file.id) == done.file
    assert client.files.content(done.file.id).read() == b"Hey world"
    assert client.files.content(done.file.id).response.headers["content-type"].startswith("text/plain")


def test_the_sdks_helper_uploads_a_file_in_chunks(client: OpenAI, tmp_path: Path):
    content = os.urandom(1_000_000)
    path = tmp_path / "big.bin"
    path.write_bytes(content)

    upload = client.uploads.upload_file_chunked(
        file=path,
        mime_type="application/pdf",
        purpose="assistants",
        part_size=300_000,
        md5=hashlib.md5(content).hexdigest(),
    )

    assert upload.file is not None
    assert client.files.content(upload.file.id).read() == content


def test_completing_again_for_the_same_parts_answers_the_same(openai_client: OpenAI):
    upload = begin(openai_client, 3)
    part = openai_client.uploads.parts.create(upload.id, data=b"abc")
    once = openai_client.uploads.complete(upload.id, part_ids=[part.id])
    assert openai_client.uploads.complete(upload.id, part_ids=[part.id]) == once
    with pytest.raises(BadRequestError, match="Cannot complete upload with status 'completed'"):
        openai_client.uploads.complete(upload.id, part_ids=["part_0"])


def test_what_does_not_add_up_is_refused_and_can_be_put_right(openai_client: OpenAI):
    uploads = openai_client.uploads
    upload = begin(openai_client, 6)
    abc, de, def_ = (uploads.parts.create(upload.id, data=data).id for data in (b"abc", b"de", b"def"))
    for part_ids in ([abc], [abc, de], [abc, abc], [abc, "part_0"], [abc, "x"], []):
        with pytest.raises(BadRequestError):
            uploads.complete(upload.id, part_ids=part_ids)
    with pytest.raises(BadRequestError) as refused:
        uploads.complete(upload.id, part_ids=[abc, def_], md5=hashlib.md5(b"abcdeg").hexdigest())
    assert refused.value.param == "md5"

    md5 = hashlib.md5(b"abcdef").hexdigest().upper()
    assert uploads.complete(upload.id, part_ids=[abc, def_], md5=md5).status == "completed"


def test_a_part_of_another_upload_is_refused(openai_client: OpenAI):
    mine, other = begin(openai_client, 3), begin(openai_client, 3)
    part = openai_client.uploads.parts.create(other.id, data=b"abc")
    with pytest.raises(BadRequestError):
        openai_client.uploads.complete(mine.id, part_ids=[part.id])


def test_a_cancelled_upload_takes_nothing_more(openai_client: OpenAI):
    upload = begin(openai_client, 3)
    part = openai_client.uploads.parts.create(upload.id, data=b"abc")
    assert openai_client.uploads.cancel(upload.id).status == "cancelled"
    refusals: list[Callable[[], object]] = [
        lambda: openai_client.uploads.parts.create(upload.id, data=b"abc"),
        lambda: openai_client.uploads.complete(upload.id, part_ids=[part.id]),
        lambda: openai_client.uploads.cancel(upload.id),
    ]
    for refusal in refusals:
        with pytest.raises(BadRequestError, match="upload with status 'cancelled'"):
            refusal()


def test_an_unknown_upload_is_not_found(openai_client: OpenAI):
    for call in (
        lambda: openai_client.uploads.cancel("upload_nobodyhasit"),
        lambda: openai_client.uploads.complete("upload_nobodyhasit", part_ids=["part_0"]),
        lambda: openai_client.uploads.parts.create("upload_nobodyhasit", data=b"abc"),
    ):
        with pytest.raises(NotFoundError, match="No upload found with id 'upload_nobodyhasit'"):
            call()


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": (8 << 30) + 1}, "bytes"),
        ({"bytes": "many"}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"purpose": "assistants_output"}, "purpose"),
        ({"mime_type": None}, "mime_type"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
        ({"shape": "round"}, "shape"),
    ],
)
def test_a_broken_request_is_refused_by_name(http, options, param):
    good = {"filename": "a", "purpose": "assistants", "bytes": 3, "mime_type": "text/plain"}
    refused = http.post("/uploads", json=good | options)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_an_empty_part_and_one_over_64_mb_are_refused(openai_client: OpenAI, http, service: Service):
    upload = begin(openai_client, 3)
    before = parts_stored(service)
    with pytest.raises(BadRequestError):
        openai_client.uploads.parts.create(upload.id, data=b"")
    refused = http.post(f"/uploads/{upload.id}/parts", files={"data": bytes((64 << 20) + 1)})
    assert refused.status_code == 413
    assert parts_stored(service) == before


def test_an_upload_cannot_park_far_more_than_its_size(openai_client: OpenAI):
    upload = begin(openai_client, 3)
    openai_client.uploads.parts.create(upload.id, data=bytes(64 << 20))
    openai_client.uploads.parts.create(upload.id, data=b"seven..")
    with pytest.raises(BadRequestError, match="but its size is 3 bytes"):
        openai_client.uploads.parts.create(upload.id, data=b"x")


@pytest.mark.parametrize("ending", ["complete", "cancel"])
def test_nothing_is_left_of_the_parts_when_an_upload_ends(openai_client: OpenAI, service: Service, ending):
    before = parts_stored(service)
    upload = begin(openai_client, 3)
    part = openai_client.uploads.parts.create(upload.id, data=b"abc")
    openai_client.uploads.parts.create(upload.id, data=b"another")
    assert len(parts_stored(service) - before) == 2
    if ending == "complete":
        openai_client.uploads.complete(upload.id, part_ids=[part.id])
    else:
        openai_client.uploads.cancel(upload.id)
    deadline = time.monotonic() + 5
    while parts_stored(service) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert parts_stored(service) == before


async def test_completions_at_the_same_time_make_one_file(service: Service):
    async with service.async_openai() as client:
        upload = await client.uploads.create(bytes=3, filename="a", purpose="vision", mime_type="image/png")
        part = await client.uploads.parts.create(upload.id, data=b"abc")
        answers = await asyncio.gather(*(client.uploads.complete(upload.id, part_ids=[part.id]) for _ in range(6)))
        (file_id,) = {answer.file.id for answer in answers if answer.file}
        assert [file.id for file in (await client.files.list(purpose="vision")).data].count(file_id) == 1
        assert await (await client.files.content(file_id)).aread() == b"abc"


def parts_stored(service: Service) -> set[str]:
    return blob_names(service, prefix="part_")
