"""Files when something goes wrong: full, cut, swept, without their store; and in Blob Storage instead of a folder."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient
from openai import APIStatusError, BadRequestError, InternalServerError, NotFoundError

from adapters.folder import FolderBlobs
from adapters.sqlite import SqliteDocuments
from domain.files import new_file
from files import records
from ids import new_id
from ports.blobs import Blobs
from ports.documents import Documents
from tests.behaviour.conftest import only_on
from tests.service import Service
from tests.stores import blob_names, blobs_of, documents_of
from timers.sweep_files import ORPHAN_AGE, sweep

QUOTA = 1_000_000


@pytest.fixture
def small(start_service: Callable[..., Service]) -> Service:
    """A service whose files may take a million bytes."""
    return start_service(settings={"FILES_QUOTA_BYTES": str(QUOTA)})


def test_a_full_storage_takes_no_more_until_something_is_deleted(small: Service):
    client = small.openai()
    first = client.files.create(file=bytes(600_000), purpose="assistants")
    with pytest.raises(BadRequestError, match="the storage quota is 1000000 bytes") as full:
        client.files.create(file=bytes(400_001), purpose="assistants")
    assert full.value.code == "storage_quota_exceeded"
    with pytest.raises(BadRequestError, match="storage quota"):
        client.uploads.create(bytes=400_001, filename="a", purpose="assistants", mime_type="text/plain")
    assert len(blob_names(small)) == 1

    client.files.delete(first.id)
    client.files.create(file=bytes(QUOTA), purpose="assistants")
    with pytest.raises(BadRequestError):
        client.files.create(file=b"x", purpose="assistants")


def test_a_quota_is_kept_by_uploads_in_parts_as_well(small: Service):
    client = small.openai()
    upload = client.uploads.create(bytes=600_000, filename="a", purpose="assistants", mime_type="text/plain")
    part = client.uploads.parts.create(upload.id, data=bytes(600_000))
    client.files.create(file=bytes(600_000), purpose="assistants")
    with pytest.raises(BadRequestError, match="storage quota"):
        client.uploads.complete(upload.id, part_ids=[part.id])
    assert len([name for name in blob_names(small) if name.startswith("file-")]) == 1


async def test_uploads_and_deletes_at_the_same_time_are_all_counted(small: Service):
    async with small.async_openai() as client:
        files = await asyncio.gather(*(client.files.create(file=bytes(1000), purpose="vision") for _ in range(40)))
        await asyncio.gather(*(client.files.delete(file.id) for file in files[:10]))
    documents = documents_of(small)
    assert await records.used_bytes(documents, "default") == 30_000
    await documents.close()


async def test_of_files_that_do_not_all_fit_only_those_that_fit_are_stored(small: Service):
    async with small.async_openai() as client:
        answers = await asyncio.gather(
            *(client.files.create(file=bytes(300_000), purpose="vision") for _ in range(8)), return_exceptions=True
        )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(refused) == 5
    assert all(isinstance(answer, BadRequestError) for answer in refused)
    assert len(blob_names(small)) == 3


# The sweeper, on stores of its own


@dataclass(frozen=True)
class OwnStores:
    documents: Documents
    blobs: Blobs

    async def add(self, *, lifetime: int | None = None) -> str:
        now = time.time()
        file = new_file(new_id("file"), "a.txt", 3, "assistants", now=int(now), lifetime=lifetime)
        await self.put(file["id"])
        await records.add(self.documents, "t1", records.record(file, "text/plain", created_ms=int(now * 1000)), quota=0)
        return file["id"]

    async def put(self, id: str) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield b"abc"

        await self.blobs.put("t1", id, content())


@pytest.fixture
async def swept(tmp_path: Path) -> AsyncIterator[OwnStores]:
    stores = OwnStores(SqliteDocuments(tmp_path / "store.db"), FolderBlobs(tmp_path / "files"))
    yield stores
    await stores.documents.close()


async def test_bytes_without_a_record_are_swept_when_no_upload_can_own_them(swept: OwnStores):
    kept = await swept.add()
    await swept.put("file-orphan")
    await swept.put("part_orphan")

    await sweep(swept.documents, swept.blobs, now=time.time())
    assert await swept.blobs.size("t1", "file-orphan") == 3

    await sweep(swept.documents, swept.blobs, now=time.time() + ORPHAN_AGE + 60)
    assert await swept.blobs.size("t1", "file-orphan") is None
    assert await swept.blobs.size("t1", "part_orphan") is None
    assert await swept.blobs.size("t1", kept) == 3


async def test_expired_files_are_swept_and_counted_out(swept: OwnStores):
    stays, goes = await swept.add(lifetime=90_000), await swept.add(lifetime=3_600)
    assert await records.used_bytes(swept.documents, "t1") == 6

    await sweep(swept.documents, swept.blobs, now=time.time() + ORPHAN_AGE + 60)

    assert await swept.blobs.size("t1", goes) is None
    assert await swept.documents.get("t1/files", goes) is None
    assert await swept.blobs.size("t1", stays) == 3
    assert await records.used_bytes(swept.documents, "t1") == 3


# Blob Storage


@dataclass(frozen=True)
class InBlobStorage:
    service: Service
    container: ContainerClient


@pytest.fixture
def in_blob_storage(start_service: Callable[..., Service]) -> Iterator[InBlobStorage]:
    service = start_service()
    place = (service.settings["BLOB_CONNECTION_STRING"], service.settings["BLOB_CONTAINER"])
    with ContainerClient.from_connection_string(*place) as container:
        yield InBlobStorage(service, container)


@only_on("azure")
def test_files_work_the_same_in_blob_storage(in_blob_storage: InBlobStorage):
    client, http = in_blob_storage.service.openai(), in_blob_storage.service.http()
    content = bytes(range(256)) * 40_000
    file = client.files.create(file=("a.bin", content), purpose="assistants")
    assert [blob.name for blob in in_blob_storage.container.list_blobs()] == [f"default/{file.id}"]
    assert client.files.content(file.id).read() == content
    part = http.get(f"/files/{file.id}/content", headers={"range": "bytes=5000000-5000003"})
    assert (part.status_code, part.content) == (206, content[5_000_000:5_000_004])

    upload = client.uploads.create(bytes=6, filename="a", purpose="assistants", mime_type="text/plain")
    parts = [client.uploads.parts.create(upload.id, data=data).id for data in (b"abc", b"def")]
    done = client.uploads.complete(upload.id, part_ids=parts).file
    assert done is not None
    assert client.files.content(done.id).read() == b"abcdef"

    client.files.delete(file.id)
    client.files.delete(done.id)
    assert list(in_blob_storage.container.list_blobs()) == []


@only_on("azure")
def test_an_upload_cut_in_the_middle_leaves_nothing_in_blob_storage(in_blob_storage: InBlobStorage):
    def cut() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield bytes(20_000_000)
        raise KeyboardInterrupt

    with in_blob_storage.service.http() as http, pytest.raises(KeyboardInterrupt):
        http.post("/files", content=cut(), headers={"content-type": "multipart/form-data; boundary=x"})

    assert list(in_blob_storage.service.openai().files.list()) == []
    deadline = time.monotonic() + 10
    while "POST /openai/v1/files" not in in_blob_storage.service.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(in_blob_storage.container.list_blobs()) == []


@only_on("azure")
def test_a_blob_storage_that_is_away_is_a_retryable_error_and_files_come_back_with_it(
    start_service: Callable[..., Service],
):
    away = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;BlobEndpoint=http://127.0.0.1:9/a;"
    service = start_service(settings={"BLOB_CONNECTION_STRING": away})
    with pytest.raises(InternalServerError) as failed:
        service.openai().files.create(file=b"abc", purpose="assistants")
    assert failed.value.status_code == 503
    assert failed.value.response.headers["retry-after"]
    assert list(service.openai().files.list()) == []


async def test_a_file_whose_bytes_are_lost_is_not_found(start_service: Callable[..., Service]):
    service = start_service()
    client = service.openai()
    file = client.files.create(file=b"abc", purpose="assistants")
    blobs = blobs_of(service)
    await blobs.delete("default", file.id)
    await blobs.close()
    with pytest.raises(NotFoundError):
        client.files.content(file.id)
    assert client.files.delete(file.id).deleted


@only_on("azure")
def test_a_container_that_does_not_exist_is_our_fault_and_says_nothing_more(start_service: Callable[..., Service]):
    service = start_service(settings={"BLOB_CONTAINER": "never-made"})
    with pytest.raises(APIStatusError) as failed:
        service.openai().files.create(file=b"abc", purpose="assistants")
    assert failed.value.status_code == 500
    assert "ContainerNotFound" in service.log()
    assert "never-made" not in str(failed.value)
