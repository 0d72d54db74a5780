"""Lists through the edge (D)."""

import pytest


@pytest.fixture
async def ids(client):
    return [(await client.post("/assistants", json={"model": str(n)})).json()["id"] for n in range(9)]


async def page_of(client, **query):
    page = (await client.get("/assistants", params=query)).json()
    data = [assistant["id"] for assistant in page["data"]]
    assert list(page) == ["object", "data", "first_id", "last_id", "has_more"]
    assert page["object"] == "list"
    assert (page["first_id"], page["last_id"]) == ((data[0], data[-1]) if data else (None, None))
    return data, page["has_more"]


async def test_newest_first_and_asc_is_the_exact_reverse(client, ids):
    assert await page_of(client) == (ids[::-1], False)
    assert await page_of(client, order="desc") == (ids[::-1], False)
    assert await page_of(client, order="asc") == (ids, False)


async def test_an_empty_list_has_no_first_and_no_last(client):
    assert await page_of(client) == ([], False)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9, 100])
async def test_walking_on_and_back_shows_everything_once(client, ids, order, limit):
    expected = ids if order == "asc" else ids[::-1]
    seen: list[str] = []
    has_more = True
    while has_more:
        data, has_more = await page_of(client, order=order, limit=limit, **({"after": seen[-1]} if seen else {}))
        seen += data
    assert seen == expected

    back: list[str] = expected[-1:]
    has_more = True
    while has_more:
        data, has_more = await page_of(client, order=order, limit=limit, before=back[0])
        back = data + back
    assert back == expected


async def test_exactly_the_limit_means_no_more(client, ids):
    assert await page_of(client, limit=9) == (ids[::-1], False)
    assert await page_of(client, limit=8) == (ids[:0:-1], True)


async def test_before_shows_the_nearest_in_the_requested_order(client, ids):
    assert await page_of(client, order="asc", before=ids[5], limit=2) == (ids[3:5], True)
    assert await page_of(client, order="desc", before=ids[5], limit=2) == ([ids[7], ids[6]], True)
    assert await page_of(client, order="asc", before=ids[2], limit=2) == (ids[:2], False)


async def test_between_two_cursors(client, ids):
    assert await page_of(client, order="asc", after=ids[2], before=ids[6]) == (ids[3:6], False)
    assert await page_of(client, order="desc", after=ids[6], before=ids[2]) == (ids[5:2:-1], False)
    assert await page_of(client, order="asc", after=ids[2], before=ids[6], limit=2) == (ids[3:5], True)
    assert await page_of(client, order="asc", after=ids[6], before=ids[2]) == ([], False)


async def test_a_deleted_cursor_keeps_its_place(client, ids):
    await client.delete(f"/assistants/{ids[4]}")
    assert await page_of(client, order="asc", after=ids[4]) == (ids[5:], False)
    assert await page_of(client, order="asc", before=ids[4]) == (ids[:4], False)


@pytest.mark.parametrize(
    ("query", "status", "code", "param", "message"),
    [
        (
            {"limit": 0},
            400,
            "integer_below_min_value",
            "limit",
            "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            {"limit": 101},
            400,
            "integer_above_max_value",
            "limit",
            "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead.",
        ),
        (
            {"limit": "many"},
            400,
            "invalid_type",
            "limit",
            "Invalid type for 'limit': expected an integer, but got 'many' instead.",
        ),
        (
            {"order": "up"},
            400,
            "invalid_value",
            "order",
            "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.",
        ),
        (
            {"after": "msg_1"},
            400,
            "invalid_value",
            "after",
            "Invalid 'after': 'msg_1'. Expected an ID that begins with 'asst'.",
        ),
        (
            {"before": "\x00"},
            400,
            "invalid_value",
            "before",
            "Invalid 'before': '\x00'. Expected an ID that begins with 'asst'.",
        ),
        ({"after": "asst_1"}, 404, None, None, "No assistant found with id 'asst_1'."),
        ({"before": "asst_1"}, 404, None, None, "No assistant found with id 'asst_1'."),
    ],
)
async def test_a_wrong_parameter_is_named(client, query, status, code, param, message):
    response = await client.get("/assistants", params=query)
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["param"], error["message"]) == (code, param, message)


@pytest.mark.parametrize("limit", ["", "20"])
async def test_an_empty_parameter_is_none(client, limit):
    assert (await client.get("/assistants", params={"limit": limit, "after": "", "order": ""})).status_code == 200


@pytest.mark.parametrize("limit", ["1.0", "1e1", "٣", "+5", "--1", "9" * 40, " 5"])
async def test_only_plain_integers_are_limits(client, limit):
    assert (await client.get("/assistants", params={"limit": limit})).status_code == 400
