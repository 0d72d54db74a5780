"""Which origins are told what, whatever the setting (the rest is in tests/behaviour/test_browsers.py)."""

import pytest

import wiring


@pytest.fixture
def origins(monkeypatch: pytest.MonkeyPatch):
    def are(value: str) -> None:
        monkeypatch.setenv("CORS_ORIGINS", value)
        wiring.settings.cache_clear()

    return are


def preflight(origin: str, wanted: str = "authorization,content-type") -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
        "api-key": "",
    }


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        ("https://a.example,https://b.example", "https://b.example", "https://b.example"),
        ("https://a.example,https://b.example", "https://c.example", None),
        ("https://a.example", "http://a.example", None),
        ("https://a.example", "https://a.example:8443", None),
        ("https://a.example", "https://a.example.evil", None),
        ("http://localhost:*", "http://localhost", "http://localhost"),
        ("http://localhost:*", "http://localhost:5173", "http://localhost:5173"),
        ("http://localhost:*", "https://localhost:5173", None),
        ("*", "https://anything.example", "*"),
        ("*", "null", "*"),
    ],
)
async def test_an_origin_is_allowed_or_not(client, origins, setting, origin, allowed):
    origins(setting)
    asked = await client.options("/threads", headers=preflight(origin))
    told = await client.get("/assistants", headers={"origin": origin})
    assert (asked.status_code, asked.content, told.status_code) == (204, b"", 200)
    for answer in (asked, told):
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    assert ("access-control-allow-headers" in asked.headers) == bool(allowed)


@pytest.mark.parametrize("wanted", ["x-stainless-os", "authorization, api-key,last-event-id", "x-anything"])
async def test_the_headers_that_are_asked_for_are_allowed(client, origins, wanted):
    origins("https://a.example")
    answer = await client.options("/threads", headers=preflight("https://a.example", wanted))
    assert answer.headers["access-control-allow-headers"] == wanted


@pytest.mark.parametrize("wanted", ["", "a: b", "x\x00", "a\xe9", "<script>"])
async def test_what_is_no_list_of_headers_is_not_repeated(client, origins, wanted):
    origins("https://a.example")
    headers = {name: value.encode("latin-1") for name, value in preflight("https://a.example", wanted).items()}
    answer = await client.options("/threads", headers=headers)
    assert answer.status_code == 204
    assert "access-control-allow-headers" not in answer.headers


async def test_whom_nothing_is_set_for_gets_the_usual_answer(client, origins):
    origins("")
    answer = await client.options("/threads", headers=preflight("https://a.example"))
    assert answer.status_code == 401
    assert "vary" not in answer.headers
