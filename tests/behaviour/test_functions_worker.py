"""The app in Azure's own worker library: no request leaves anything waiting or anything behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.worker_bed.many import send_many
from tests.worker_bed.process import WorkerBed
from tests.worker_bed.proxy import ID, ORDERS, Order, Proxy, Reply

# Seconds that half a request waits for the other: none that comes is later, on a machine that is busy either.
PATIENCE = 3


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerBed]:
    with WorkerBed(tmp_path_factory.mktemp("bed"), {"WORKER_BED_PATIENCE": str(PATIENCE)}) as bed:
        yield bed


@pytest.fixture
async def proxy(bed: WorkerBed) -> AsyncIterator[Proxy]:
    proxy = Proxy(bed)
    yield proxy
    await proxy.close()


async def assert_nothing_is_left(bed: WorkerBed) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 2 * PATIENCE
    while (state := bed.state())["open"] or state["running"]:
        assert loop.time() < deadline, state
        await asyncio.sleep(0.02)


def error_of(reply: Reply) -> dict[str, object]:
    return json.loads(reply.body)["error"]


@pytest.mark.parametrize("order", ORDERS)
async def test_a_request_is_answered_whichever_half_comes_first(bed: WorkerBed, proxy: Proxy, order: Order) -> None:
    reply = await proxy.send("POST", "/openai/threads", b'{"metadata": {"a": "b"}}', order=order)
    assert (reply.status, json.loads(reply.body)["metadata"]) == (200, {"a": "b"})
    assert reply.invocation == {"failed": None}
    thread_id = json.loads(reply.body)["id"]
    reply = await proxy.send("GET", f"/openai/threads/{thread_id}", order=order)
    assert json.loads(reply.body)["id"] == thread_id
    assert "server" not in reply.headers
    await assert_nothing_is_left(bed)


@pytest.mark.parametrize(
    "target",
    [
        "/openai/threads/%0A",
        "/openai/%0Athreads",
        "/openai/%0D%0A",
        "/openai/docs",
        "/openai/redoc",
        "/openai/openapi.json",
        "/openai/threads/",
        "/openai/x/%2F..%2F/y",
        "/openai/%FF%zz",
    ],
)
async def test_no_path_is_answered_by_anybody_but_the_function(bed: WorkerBed, proxy: Proxy, target: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        reply = await proxy.send(method, target)
        assert reply.invocation == {"failed": None}
        assert reply.status in (200, 400, 404, 405)
        json.loads(reply.body)
    await assert_nothing_is_left(bed)


async def test_paths_of_every_spelling_reach_their_operation_or_the_fallback(bed: WorkerBed, proxy: Proxy) -> None:
    for target, status in (
        ("/openai//assistants", 200),
        ("/openai/v1//assistants/", 200),
        ("/OPENAI/deployments/x//Assistants", 200),
        ("/openai/openai/assistants", 404),
        ("/openai", 404),
        ("/assistants", 404),
        ("/", 404),
    ):
        reply = await proxy.send("GET", target)
        assert (reply.status, reply.invocation) == (status, {"failed": None}), target
        assert json.loads(reply.body).keys() & {"object", "error"}
    for target in ("/", "/health", "/threads"):
        assert (await proxy.send("POST", target, b"{}", {"api-key": ""})).status == 404  # without a key
    assert (await proxy.send("GET", "/openai/health", b"", {"api-key": ""})).status in (200, 503)
    await assert_nothing_is_left(bed)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", "/docs/", "/a%0Ab"])
async def test_the_web_server_has_no_route_of_its_own(bed: WorkerBed, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bed.worker_port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 500 ")  # it is no request of the host's: it names no invocation
    assert b'"server_error"' in answer


@pytest.mark.parametrize(
    "offer",
    [
        {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "eA==", "sec-websocket-version": "13"},
        {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAoAAAAAIAAAAA"},
    ],
)
async def test_an_offer_to_upgrade_is_ignored(bed: WorkerBed, proxy: Proxy, offer: dict[str, str]) -> None:
    reply = await proxy.send("POST", "/openai/threads", b'{"metadata": {"a": "b"}}', offer)
    assert (reply.status, json.loads(reply.body)["metadata"]) == (200, {"a": "b"})
    await assert_nothing_is_left(bed)


async def test_a_request_that_the_web_server_refuses_does_not_leave_its_invocation_waiting(
    bed: WorkerBed, proxy: Proxy
) -> None:
    reply = await proxy.send("GET", "/openai/assistants", b"", {"a name": "that is none"})
    assert reply.status == 400
    assert reply.invocation
    assert "did not come" in reply.invocation["failed"]
    await assert_nothing_is_left(bed)


async def test_an_invocation_whose_request_never_comes_ends_as_failed(bed: WorkerBed, proxy: Proxy) -> None:
    reply = await proxy.send("GET", "/openai/threads", order="invocation only")
    assert reply.invocation
    assert "did not come" in reply.invocation["failed"]
    await assert_nothing_is_left(bed)


async def test_a_request_that_no_invocation_asks_for_is_answered_500(bed: WorkerBed, proxy: Proxy) -> None:
    reply = await proxy.send("GET", "/openai/threads", order="request only")
    assert (reply.status, error_of(reply)["type"]) == (500, "server_error")
    await assert_nothing_is_left(bed)


@pytest.mark.parametrize("order", ORDERS)
async def test_an_invocation_that_fails_before_it_has_its_request_answers_it(
    bed: WorkerBed, proxy: Proxy, order: Order
) -> None:
    reply = await proxy.send("GET", "/openai/assistants", order=order, breaks_invocation=True)
    assert (reply.status, error_of(reply)["type"]) == (500, "server_error")
    assert reply.invocation
    assert reply.invocation["failed"]
    await assert_nothing_is_left(bed)


async def test_an_invocation_that_fails_and_whose_request_never_comes_leaves_nothing(
    bed: WorkerBed, proxy: Proxy
) -> None:
    reply = await proxy.send("GET", "/openai/assistants", order="invocation only", breaks_invocation=True)
    assert reply.invocation
    assert reply.invocation["failed"]
    await assert_nothing_is_left(bed)


@pytest.mark.parametrize("order", ORDERS)
async def test_a_client_that_leaves_leaves_nothing(bed: WorkerBed, proxy: Proxy, order: Order) -> None:
    await proxy.send("POST", "/openai/threads", b"{}", order=order, leave_after=0.0)
    await assert_nothing_is_left(bed)


async def test_a_pair_that_has_met_is_not_bounded(bed: WorkerBed, proxy: Proxy) -> None:
    """A stream lasts as long as its run: longer than either half would be waited for."""
    assistant = json.loads((await proxy.send("POST", "/openai/assistants", b'{"model": "m"}')).body)["id"]
    body = json.dumps({"assistant_id": assistant, "stream": True}).encode()
    reply = await proxy.send("POST", "/openai/threads/runs", body, leave_after=PATIENCE + 1.5)
    assert reply.invocation == {"failed": None}
    await assert_nothing_is_left(bed)


async def test_requests_and_clients_that_leave_write_nothing_into_the_log(bed: WorkerBed, proxy: Proxy) -> None:
    """Neither app nor library nor uvicorn. The host adds two entries of its own for each function that it calls."""
    bed.tidy()
    assistant = json.loads((await proxy.send("POST", "/openai/assistants", b'{"model": "m"}')).body)["id"]
    for method, target, body in (
        ("GET", "/openai/assistants", b""),
        ("GET", "/openai/nothing/here", b""),
        ("GET", "/", b""),
        ("POST", "/openai/threads", b"{"),
        ("PUT", "/openai/threads", b""),
    ):
        await proxy.send(method, target, body)
        await proxy.send(method, target, body, {"api-key": "wrong"})
        await proxy.send(method, target, body, leave_after=0.0)
    stream = json.dumps({"assistant_id": assistant, "stream": True}).encode()
    await proxy.send("POST", "/openai/threads/runs", stream, leave_after=0.5)
    await assert_nothing_is_left(bed)
    # There is no hub in the bed: that a run was not woken is all there is to say.
    assert [entry[:2] for entry in bed.state()["logged"]] == [["durable_assistants.task_hub", "WARNING"]]


@pytest.mark.parametrize("id", ["", "1", "an id of the client's own"])
async def test_a_client_that_names_an_invocation_by_itself_is_answered_and_leaves_nothing(
    bed: WorkerBed, proxy: Proxy, id: str
) -> None:
    """Its halves never meet: the host (4.1037) doesn't replace the header."""
    replies = await asyncio.gather(*(proxy.send("GET", "/openai/assistants", b"", {ID: id}) for _ in range(3)))
    for reply in replies:
        assert (reply.status, error_of(reply)["type"]) == (500, "server_error")
        assert reply.invocation
        assert "did not come" in reply.invocation["failed"]
    await assert_nothing_is_left(bed)


async def test_what_the_host_would_cut_ends_by_itself(tmp_path: Path) -> None:
    """With the host's limits on time and on bodies narrowed."""
    limits = {"AzureFunctionsJobHost__functionTimeout": "00:00:05", "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "2000000"}
    with WorkerBed(tmp_path, limits) as bed:
        proxy = Proxy(bed)
        form = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * 1_100_000
        reply = await proxy.send(
            "POST", "/openai/files", form + b"\r\n--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}
        )
        assert (reply.status, reply.invocation) == (413, {"failed": None})
        assert "POST /uploads" in str(error_of(reply)["message"])

        assistant = json.loads((await proxy.send("POST", "/openai/assistants", b'{"model": "m"}')).body)["id"]
        body = json.dumps({"assistant_id": assistant, "stream": True}).encode()
        began = asyncio.get_running_loop().time()
        reply = await proxy.send("POST", "/openai/threads/runs", body)
        assert (reply.status, reply.invocation) == (200, {"failed": None})
        assert reply.body.startswith(b"event: thread.created\n")
        assert 3.5 < asyncio.get_running_loop().time() - began < 5.0
        await proxy.close()
        await assert_nothing_is_left(bed)


async def test_a_library_with_other_parts_is_left_as_it_is(tmp_path: Path) -> None:
    with WorkerBed(tmp_path, {"WORKER_BED_ALTERS_LIBRARY": "1"}) as bed:
        proxy = Proxy(bed)
        reply = await proxy.send("POST", "/openai/threads", b'{"metadata": {"a": "b"}}')
        assert (reply.status, json.loads(reply.body)["metadata"]) == (200, {"a": "b"})
        await proxy.close()
        assert len(bed.functions) > 40
        [line] = [entry for entry in bed.state()["logged"] if entry[0] == "durable_assistants.hosting"]
        assert line[1:] == [
            "WARNING",
            "The worker's HTTP side is not mended, its library is another one: HttpCoordinator.set_http_response.",
        ]


async def test_thousands_of_requests_leave_nothing_behind(bed: WorkerBed) -> None:
    """20,000 in `dev.py soak`; here a tenth of it."""
    result = await send_many(bed, 1_500, warm_up=500)
    assert result.is_clean, result
    assert result.sent == 2_000
