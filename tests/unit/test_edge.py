"""The edge: who may call, which versions, which paths; and the one form of every error (A, J)."""

import inspect
import json
import logging
from typing import Any

import azure.durable_functions as df
import azure.functions as func
import pytest
from starlette.requests import Request
from starlette.responses import Response

import errors
import routes
import wiring
from errors import Conflict, ServiceError, StoreUnavailable
from routes.addressing import ALIASES
from routes.edge import FAILURES, edge
from tests.unit.conftest import HUB, KEY


def error_of(response):
    error = response.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    return error


def test_every_error_has_a_status():
    on_purpose = {
        error
        for _, error in inspect.getmembers(errors, inspect.isclass)
        if issubclass(error, ServiceError) and error is not ServiceError
    }
    assert set(FAILURES) == on_purpose


@pytest.mark.parametrize(
    "headers",
    [
        {"api-key": KEY},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {"api-key": "wrong", "Authorization": f"Bearer {KEY}"},
        {"api-key": KEY, "Authorization": "Bearer wrong"},
    ],
)
async def test_one_valid_credential_suffices(client, headers):
    del client.headers["api-key"]
    assert (await client.get("/assistants", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"api-key": ""},
        {"api-key": "wrong"},
        {"api-key": f"{KEY}x"},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
async def test_without_the_key_nothing_is_answered(client, headers):
    del client.headers["api-key"]
    for path in ("/assistants", "/nowhere", "/threads/no-id"):
        response = await client.get(path, headers=headers)
        assert response.status_code == 401
        error = error_of(response)
        assert error["code"] == "401"
        assert error["message"].startswith("Access denied due to invalid subscription key or wrong API endpoint.")
        error = error_of(await client.get(f"/v1{path}", headers=headers))
        assert error["code"] == "invalid_api_key"


async def test_without_a_key_set_nobody_passes(client, monkeypatch):
    monkeypatch.setenv("ASSISTANTS_API_KEY", "")
    wiring.settings.cache_clear()
    assert (await client.get("/assistants", headers={"api-key": ""})).status_code == 401


@pytest.mark.parametrize("version", ["2024-05-01-preview", "2024-10-21", "2099-12-31", "v1", "preview"])
async def test_any_well_formed_api_version_will_do(client, version):
    assert (await client.get("/assistants", params={"api-version": version})).status_code == 200


@pytest.mark.parametrize("version", ["", "latest", "2024-5-1", "2024-13-01", "2024-05-01-beta", "2024-05-01-preview\n"])
async def test_a_malformed_api_version_is_not_found(client, version):
    response = await client.get("/assistants", params={"api-version": version})
    assert response.status_code == 404
    assert error_of(response) == {
        "message": "Resource not found",
        "type": "invalid_request_error",
        "param": None,
        "code": "404",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/assistants",
        "/assistants/",
        "/Assistants",
        "/v1/assistants",
        "/V1//assistants/",
        "/deployments/gpt-4o/assistants",
        "/Deployments/gpt-4o/assistants/",
    ],
)
async def test_other_base_urls_lead_to_the_same_operation(client, path):
    assert (await client.get(path)).json()["object"] == "list"


async def test_words_are_forgiven_their_case_and_ids_are_not(client, thread):
    assert (await client.get(f"/v1/THREADS/{thread['id']}/")).json() == thread
    assert (await client.get(f"/v1/threads/{thread['id'].upper()}")).status_code == 400


@pytest.mark.parametrize("path", ["/", "/v1", "/deployments/x", "/assistants/a/b", "/nowhere", "/threads/x/y/z/w/v"])
async def test_unknown_paths_are_not_found(client, path):
    response = await client.get(path)
    assert response.status_code == 404
    assert error_of(response)["message"] == "Resource not found"


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/deployments/gpt-4o/chat/completions", "/embeddings", "/v1/models/gpt-4o"]
)
async def test_what_comes_later_says_so(client, path):
    response = await client.post(path)
    assert response.status_code == 404
    assert "yet" in error_of(response)["message"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "DELETE"])
async def test_unknown_methods_are_not_allowed(client, method):
    response = await client.request(method, "/assistants")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
    if method != "HEAD":
        error = error_of(response)
        assert error["message"] == f"Not allowed to {method} on /assistants."
        assert error["code"] == "method_not_supported"


async def test_threads_runs_is_an_operation_and_not_a_thread(client):
    created = await client.post("/threads/runs", json={})
    assert error_of(created)["code"] == "missing_required_parameter"
    read = await client.get("/threads/runs")
    assert error_of(read)["message"] == "Invalid 'thread_id': 'runs'. Expected an ID that begins with 'thread'."


async def test_headers_of_the_libraries_change_nothing(client):
    headers = {"OpenAI-Beta": "assistants=v1", "OpenAI-Organization": "o", "X-Stainless-Retry-Count": "2"}
    assert (await client.get("/assistants", headers=headers)).status_code == 200


async def test_every_answer_bears_an_id_of_its_own(client):
    answers = [await client.get(path) for path in ("/assistants", "/assistants", "/nowhere")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    for answer in answers:
        assert answer.headers["openai-version"] == "2020-10-01"
        assert int(answer.headers["openai-processing-ms"]) >= 0
        assert answer.headers["content-type"] == "application/json"


def request_to(path: str) -> Request:
    headers = [(b"api-key", KEY.encode())]
    return Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers})


async def failing(error: Exception) -> Response:
    async def act(_):
        raise error

    return await edge(request_to("/x"), act, name="test")


async def test_a_kind_of_an_error_is_answered_like_the_error(wired):
    class AnswerLost(StoreUnavailable):
        """As an adapter has it."""

    response = await failing(AnswerLost(retry_after=2))
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize("error", [KeyError("a secret"), Conflict("lost")])
async def test_what_nobody_foresaw_tells_nothing_but_its_id(wired, caplog, error):
    with caplog.at_level(logging.ERROR, logger="durable_assistants.http"):
        response = await failing(error)
    assert response.status_code == 500
    body = json.loads(bytes(response.body))["error"]
    assert body["message"].startswith("The server had an error while processing your request. Sorry about that!")
    assert response.headers["x-request-id"] in body["message"]
    assert "secret" not in body["message"]
    assert body["type"] == "server_error"
    assert response.headers["x-request-id"] in caplog.text


async def test_a_busy_store_says_when_to_come_back(wired):
    response = await failing(StoreUnavailable(retry_after=1.5))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.headers["retry-after-ms"] == "1500"


async def test_a_message_that_quotes_no_unicode_is_still_an_answer(wired):
    response = await failing(errors.InvalidRequest("Invalid 'thread_id': '\ud800'.", param="\udfff"))
    assert response.status_code == 400
    assert json.loads(bytes(response.body))["error"]["message"] == r"Invalid 'thread_id': '\ud800'."


async def test_a_body_beyond_the_limit_is_refused(client):
    response = await client.post("/threads", content=b" " * 4_000_001)
    assert response.status_code == 413
    assert "4000000 bytes" in error_of(response)["message"]


def functions() -> dict[str, Any]:
    """Every function of the app, by name."""
    app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
    for blueprint in routes.blueprints:
        app.register_functions(blueprint)
    return {str(function.get_function_name()): function for function in app.get_functions()}


def test_no_alias_comes_before_an_operation_of_the_same_path():
    """The Functions host takes the first matching route in alphabetical order of the names."""
    triggers = {name: function.get_trigger() for name, function in functions().items()}
    of = {name: trigger.route for name, trigger in triggers.items() if hasattr(trigger, "route")}
    assert set(ALIASES) <= set(of)
    assert max(of) == "zz_fallback"
    assert of.pop("zz_fallback") == "{*path}"
    others = [route.lower() for name, route in of.items() if name not in ALIASES]
    assert all(route.startswith("openai/") for route in others)
    assert not any(route.startswith(("openai/{", "openai/v1", "openai/deployments")) for route in others)
    assert max(name for name, route in of.items() if route == "openai/threads/runs") < "modify_thread"
    assert all(trigger.methods for trigger in triggers.values() if hasattr(trigger, "route")), "each names its methods"


async def test_health_needs_no_key_and_says_what_is_missing(wired):
    get_health = functions()["get_health"].get_user_function()
    request = Request({"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": []})
    request.scope["path_params"] = {}
    response = await get_health(request, HUB)
    assert response.status_code == 503
    assert json.loads(bytes(response.body)) == {
        "status": "degraded",
        "store": "ready",
        "files": "ready",
        "task_hub": "unavailable",
        "model": "not configured",
        "api_key": "configured",
        "reasons": {"task_hub": "The task hub cannot be reached."},
    }
