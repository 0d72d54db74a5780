"""Lists, page by page, both ways (N.14, D)."""

from uuid import uuid4

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [f"#{number}" for number in range(45)]


@pytest.fixture
def thread_id(openai_client: OpenAI, texts: list[str]) -> str:
    """A thread of 45 messages, of which many have the same created_at."""
    first, rest = texts[:32], texts[32:]
    thread = openai_client.beta.threads.create(messages=[{"role": "user", "content": text} for text in first])
    for text in rest:
        openai_client.beta.threads.messages.create(thread.id, role="user", content=text)
    return thread.id


def said(page: httpx.Response) -> list[str]:
    return [message["content"][0]["text"]["value"] for message in page.json()["data"]]


def test_pages_of_twenty(http: httpx.Client, thread_id: str, texts: list[str]) -> None:
    path, after, seen, sizes = f"/threads/{thread_id}/messages", "", [], []
    while True:
        page = http.get(path, params={"after": after, "order": "asc"})
        data = page.json()["data"]
        assert (page.json()["first_id"], page.json()["last_id"]) == (data[0]["id"], data[-1]["id"])
        seen += said(page)
        sizes.append(len(data))
        after = page.json()["last_id"]
        if not page.json()["has_more"]:
            break
    assert (seen, sizes) == (texts, [20, 20, 5])


def test_clients_page_by_themselves_in_both_orders(client: OpenAI, thread_id: str, texts: list[str]) -> None:
    def texts_of(order: str, limit: int) -> list[str]:
        found = client.beta.threads.messages.list(thread_id, order=order, limit=limit)  # type: ignore[arg-type]
        return [part.text.value for message in found for part in message.content if part.type == "text"]

    assert texts_of("asc", 20) == texts
    assert texts_of("desc", 7) == texts[::-1]


async def test_asynchronous_clients_page_too(async_client: AsyncOpenAI, thread_id: str) -> None:
    ids = [message.id async for message in async_client.beta.threads.messages.list(thread_id, limit=10)]
    assert len(ids) == len(set(ids)) == 45


def test_before_walks_back(http: httpx.Client, thread_id: str, texts: list[str]) -> None:
    path = f"/threads/{thread_id}/messages"
    last = http.get(path, params={"limit": 5, "order": "desc"}).json()["last_id"]  # 40
    page = http.get(path, params={"before": last, "order": "asc", "limit": 20})
    assert (said(page), page.json()["has_more"]) == (texts[20:40], True)
    page = http.get(path, params={"before": page.json()["first_id"], "order": "asc", "limit": 20})
    assert (said(page), page.json()["has_more"]) == (texts[:20], False)


def test_between_two_cursors(http: httpx.Client, thread_id: str, texts: list[str]) -> None:
    ids = [message["id"] for message in http.get(f"/threads/{thread_id}/messages?order=asc").json()["data"]]
    page = http.get(f"/threads/{thread_id}/messages", params={"after": ids[3], "before": ids[9], "order": "asc"})
    assert said(page) == texts[4:9]
    page = http.get(f"/threads/{thread_id}/messages", params={"after": ids[9], "before": ids[3], "order": "desc"})
    assert said(page) == texts[8:3:-1]


def test_a_listing_goes_on_after_its_cursor_was_deleted(http: httpx.Client, thread_id: str, texts: list[str]) -> None:
    path = f"/threads/{thread_id}/messages"
    last = http.get(path, params={"order": "asc"}).json()["last_id"]
    http.delete(f"{path}/{last}")
    assert said(http.get(path, params={"order": "asc", "after": last})) == texts[20:40]


def test_an_empty_page(http: httpx.Client) -> None:
    thread_id = http.post("/threads").json()["id"]
    for kind in ("messages", "runs"):
        page = http.get(f"/threads/{thread_id}/{kind}").json()
        assert page == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_exactly_a_page_is_all_there_is(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "x"}] * 3}
    thread_id = http.post("/threads", json=body).json()["id"]
    assert http.get(f"/threads/{thread_id}/messages?limit=3").json()["has_more"] is False
    assert http.get(f"/threads/{thread_id}/messages?limit=2").json()["has_more"] is True


def test_assistants_page_newest_first(http: httpx.Client) -> None:
    mark = uuid4().hex
    ids = [http.post("/assistants", json={"model": mark}).json()["id"] for _ in range(5)]
    found: list[str] = []
    after = ""
    while len(found) < 5:
        page = http.get("/assistants", params={"limit": 2, "after": after}).json()
        found += [assistant["id"] for assistant in page["data"] if assistant["model"] == mark]
        after = page["last_id"]
    assert found == ids[::-1]


@pytest.mark.parametrize(
    ("query", "status", "param", "code"),
    [
        ("limit=0", 400, "limit", "integer_below_min_value"),
        ("limit=101", 400, "limit", "integer_above_max_value"),
        ("limit=-3", 400, "limit", "integer_below_min_value"),
        ("limit=ten", 400, "limit", "invalid_type"),
        ("limit=1.5", 400, "limit", "invalid_type"),
        ("limit=99999999999999999999", 400, "limit", "invalid_type"),
        ("order=newest", 400, "order", "invalid_value"),
        ("after=7", 400, "after", "invalid_value"),
        ("before=thread_1", 400, "before", "invalid_value"),
        ("after=msg_unknown", 404, None, None),
        ("before=msg_unknown", 404, None, None),
        ("run_id=msg_1", 400, "run_id", "invalid_value"),
    ],
)
def test_a_bad_query_is_refused(http: httpx.Client, query: str, status: int, param: str, code: str) -> None:
    thread_id = http.post("/threads").json()["id"]
    answer = http.get(f"/threads/{thread_id}/messages?{query}")
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, param, code)
