"""Programs in pages of browsers: the service says what the Fetch standard wants to hear (CORS)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.behaviour.conftest import StartService, only_on
from tests.conversation import ask, assistant_id, run_when
from tests.scripted_model import Script
from tests.service import Service

PAGE = "http://localhost:5173"
SAFELISTED = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
# What the official JavaScript client sends of its own accord.
CLIENT = {
    "authorization": "Bearer the-key",
    "content-type": "application/json",
    "openai-beta": "assistants=v2",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
}


class Blocked(Exception):
    """A page would see a network error."""


class Page:
    """Fetches as a browser does for a page of `origin`: https://fetch.spec.whatwg.org/#cors-protocol."""

    def __init__(self, url: str, origin: str = PAGE) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=30.0)
        self._origin = origin

    @contextmanager
    def fetch(
        self, method: str, path: str, headers: Mapping[str, str], **body: Any
    ) -> Iterator[tuple[httpx.Response, dict[str, str]]]:
        """Send the request and yield the response and those of its headers that the page may read."""
        self.ask(method, path, headers)
        with self._http.stream(method, path, headers={**headers, "origin": self._origin}, **body) as response:
            self._check_origin(response)
            shown = SAFELISTED | listed(response, "access-control-expose-headers")
            yield response, {name: value for name, value in response.headers.items() if name in shown}

    def ask(self, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """The preflight, which goes without any of the page's headers. Raises Blocked."""
        asked = {
            "origin": self._origin,
            "access-control-request-method": method,
            "access-control-request-headers": ",".join(sorted(headers)),
        }
        answer = self._http.request("OPTIONS", path, headers=asked)
        if not answer.is_success:
            raise Blocked(answer.status_code)
        self._check_origin(answer)
        if method not in {"GET", "HEAD", "POST"} and method.lower() not in listed(
            answer, "access-control-allow-methods"
        ):
            raise Blocked(method)
        if missing := set(headers) - listed(answer, "access-control-allow-headers"):
            raise Blocked(missing)
        return answer

    def _check_origin(self, response: httpx.Response) -> None:
        if response.headers.get("access-control-allow-origin") not in (self._origin, "*"):
            raise Blocked(response.headers)


def listed(response: httpx.Response, name: str) -> set[str]:
    return {item.strip().lower() for item in response.headers.get(name, "").split(",") if item.strip()}


@pytest.fixture
def page(service: Service) -> Page:
    return Page(f"{service.url}/openai")


@pytest.fixture
def key(service: Service) -> dict[str, str]:
    return {**CLIENT, "authorization": f"Bearer {service.key}"}


@pytest.mark.parametrize("base", ["", "/v1", "/deployments/d"])
def test_a_page_calls_and_reads_what_clients_look_at(
    page: Page, openai_client: OpenAI, model: Script, key: dict[str, str], base: str
) -> None:
    model.will_say("Hello.")
    run = run_when(openai_client, ask(openai_client, model))
    with page.fetch("GET", f"{base}/threads/{run.thread_id}/runs/{run.id}", key) as (response, shown):
        assert response.read() and response.json()["id"] == run.id
    assert {"x-request-id", "openai-poll-after-ms"} <= set(shown)
    for method, path in (("POST", "/threads"), ("DELETE", f"/threads/{run.thread_id}")):
        with page.fetch(method, base + path, {**key, "api-key": "x", "openai-organization": "o"}) as (response, _):
            assert response.status_code == 200


def test_a_page_follows_and_resumes_a_stream(
    page: Page, openai_client: OpenAI, model: Script, key: dict[str, str]
) -> None:
    model.will_say("Hello there.")
    body = {"assistant_id": assistant_id(openai_client, model), "stream": True}
    with page.fetch("POST", "/v1/threads/runs", key, json=body) as (response, shown):
        frames = response.read().decode()
        assert shown["content-type"].startswith("text/event-stream") and "x-request-id" in shown
    assert "thread.run.completed" in frames
    ids = [line.removeprefix("id: ") for line in frames.splitlines() if line.startswith("id: ")]
    [thread_id, run_id] = (frames.split(f'"{name}":"')[1].split('"')[0] for name in ("thread_id", "run_id"))
    events = f"/v1/threads/{thread_id}/runs/{run_id}/events"
    with page.fetch("GET", events, {**key, "last-event-id": ids[1]}) as (response, _):
        assert "thread.run.completed" in response.read().decode()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/assistants/asst_unknown", 404),
        ("GET", "/v1/nothing/at/all", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/v1/threads", 405),
        ("PATCH", "/v1/threads", 405),
        ("POST", "/v1/assistants", 400),
        ("GET", "/v1/assistants?limit=0", 400),
        ("GET", "/assistants?api-version=latest", 404),
        ("GET", "/health", 200),
        ("GET", "", 404),
    ],
)
def test_a_page_can_read_errors(page: Page, key: dict[str, str], method: str, path: str, status: int) -> None:
    with page.fetch(method, path, key) as (response, shown):
        assert response.status_code == status
        assert response.read() and shown["x-request-id"]


def test_a_page_can_read_that_its_key_is_wrong(page: Page) -> None:
    for path, code in (("/v1/threads", "invalid_api_key"), ("/nothing", "401")):
        with page.fetch("POST", path, CLIENT) as (response, _):
            assert (response.status_code, response.read() and response.json()["error"]["code"]) == (401, code)


@pytest.mark.parametrize(
    "origin",
    ["http://127.0.0.1:3000", "http://[::1]:8080", "https://localhost", "http://localhost", "http://localhost:80"],
)
def test_the_local_host_serves_pages_of_this_machine(service: Service, key: dict[str, str], origin: str) -> None:
    with Page(f"{service.url}/openai", origin).fetch("GET", "/v1/assistants", key) as (response, _):
        assert response.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost.evil.example", "http://localhost:evil", "http://localhost:1:2", "null"],
)
def test_other_pages_are_told_nothing(service: Service, key: dict[str, str], origin: str) -> None:
    stranger = Page(f"{service.url}/openai", origin)
    with pytest.raises(Blocked):
        stranger.ask("GET", "/v1/assistants", key)
    preflight = {"origin": origin, "access-control-request-method": "GET"}
    with httpx.Client(base_url=f"{service.url}/openai", trust_env=False) as http:
        for answer in (
            http.options("/v1/assistants", headers=preflight),
            http.get("/v1/assistants", headers={**key, "origin": origin}),
        ):
            assert answer.is_success
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["vary"] == "Origin"


def test_credentials_are_never_allowed(page: Page, key: dict[str, str]) -> None:
    assert "access-control-allow-credentials" not in page.ask("POST", "/v1/threads", key).headers
    with page.fetch("GET", "/v1/assistants", key) as (response, _):
        assert "access-control-allow-credentials" not in response.headers


def test_a_plain_options_request_is_none_of_a_browser(service: Service, http: httpx.Client) -> None:
    assert http.options("/threads", headers={"origin": PAGE}).status_code == 405
    assert httpx.options(f"{service.base_url}/threads", trust_env=False).status_code == 401


@only_on("local")
def test_without_the_setting_nothing_is_said(start_service: StartService) -> None:
    service = start_service(settings={"CORS_ORIGINS": ""})
    asked = {"origin": PAGE, "access-control-request-method": "POST"}
    for answer in (
        httpx.options(f"{service.base_url}/threads", headers=asked, trust_env=False),
        httpx.get(f"{service.base_url}/health", headers={"origin": PAGE}, trust_env=False),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-") or name == "vary"]
