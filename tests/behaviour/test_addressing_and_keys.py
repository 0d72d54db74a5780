"""Base URLs of all kinds, keys, versions, paths (N.16, N.18, A)."""

import httpx
import openai
import pytest
from openai import AzureOpenAI, OpenAI

from tests.conversation import ask, run_when
from tests.scripted_model import Script
from tests.service import API_VERSION, Service

DENIED = "Access denied due to invalid subscription key or wrong API endpoint."
INCORRECT = "Incorrect API key provided: ****"
NOT_FOUND = {"message": "Resource not found", "type": "invalid_request_error", "param": None, "code": "404"}


@pytest.fixture
def bare(service: Service) -> httpx.Client:
    """Without a key; paths begin after the host."""
    return httpx.Client(base_url=service.url, trust_env=False, timeout=30.0)


def clients_of(service: Service) -> list[OpenAI]:
    """Ways to be a client of this service that programs have."""
    return [
        service.openai(),
        service.azure(),
        service.azure(api_key=None, azure_ad_token=service.key),
        service.azure(api_key=None, azure_ad_token_provider=lambda: service.key),
        service.azure(azure_deployment="gpt-4o"),
        service.azure(api_version="2024-02-15-preview"),
        service.azure(api_version="2025-04-01-preview"),
        OpenAI(base_url=f"{service.url}/openai", api_key=service.key, max_retries=0),
        OpenAI(base_url=f"{service.url}/openai/deployments/any", api_key=service.key, max_retries=0),
        OpenAI(base_url=f"{service.url}/openai/v1/", api_key=service.key, organization="org-1", project="proj_1"),
        AzureOpenAI(base_url=f"{service.url}/openai/v1", api_key=service.key, api_version="preview"),
    ]


def test_every_kind_of_client_gets_the_same_results(service: Service, model: Script) -> None:
    first, *others = clients_of(service)
    model.will_say("Yes.")
    run = run_when(first, ask(first, model))
    for client in others:
        with client:
            assert client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id) == run
            model.will_say("Yes.")
            again = client.beta.threads.runs.create_and_poll(
                thread_id=run.thread_id, assistant_id=run.assistant_id, poll_interval_ms=20
            )
            assert again.status == "completed"
            model.will_say("Hello.")
            with client.beta.threads.create_and_run_stream(assistant_id=run.assistant_id) as stream:
                assert "".join(stream.text_deltas) == "Hello."


@pytest.mark.parametrize("kind", ["openai", "azure", "token"])
def test_a_wrong_key_is_refused(service: Service, kind: str) -> None:
    wrong, words, code = {
        "openai": lambda: (service.openai(api_key="wrong"), INCORRECT, "invalid_api_key"),
        "azure": lambda: (service.azure(api_key="wrong"), DENIED, "401"),
        "token": lambda: (service.azure(api_key=None, azure_ad_token="wrong"), DENIED, "401"),
    }[kind]()
    with pytest.raises(openai.AuthenticationError) as refused:
        wrong.beta.threads.create()
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["message"].startswith(words)
    assert (refused.value.code, refused.value.type, refused.value.status_code) == (code, "invalid_request_error", 401)
    assert refused.value.request_id


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("/openai", "401"),
        ("/openai/deployments/v1", "401"),
        ("/OpenAI", "401"),
        ("/openai/v1", "invalid_api_key"),
        ("/openai/V1", "invalid_api_key"),
        ("/openai//v1/", "invalid_api_key"),
    ],
)
def test_each_base_refuses_in_its_own_words(service: Service, bare: httpx.Client, base: str, code: str) -> None:
    almost = f"{service.key[:-1]}x" * 3
    given: dict[str, str]
    for given in ({}, {"api-key": almost}, {"authorization": f"Bearer {almost}"}):
        for path in ("assistants", "threads/thread_1/runs", "nothing"):
            answer = bare.get(f"{base}/{path}", headers=given)
            error = answer.json()["error"]
            assert (answer.status_code, error["type"], error["param"]) == (401, "invalid_request_error", None)
            words = DENIED if code == "401" else INCORRECT if given else "You didn't provide an API key."
            assert (error["message"][: len(words)], error["code"]) == (words, code)
            assert almost[:8] not in error["message"], "a key is not repeated"


def test_one_good_credential_is_enough(service: Service, bare: httpx.Client) -> None:
    good, bad = service.key, "wrong"
    for headers, status in (
        ({}, 401),
        ({"api-key": ""}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": good}, 401),
        ({"api-key": good[:-1]}, 401),
        ({"api-key": f"{good}x"}, 401),
        ({"api-key": "schlüssel".encode()}, 401),
        ({"api-key": bad, "authorization": f"Bearer {good}"}, 200),
        ({"api-key": good, "authorization": f"Bearer {bad}"}, 200),
        ({"authorization": f"bearer {good}"}, 200),
    ):
        answer = bare.get("/openai/v1/assistants", headers=headers)  # type: ignore[arg-type]
        assert answer.status_code == status, headers
        assert answer.headers["x-request-id"]


def test_unknown_paths_are_no_secret_but_need_a_key_too(bare: httpx.Client) -> None:
    for path in ("/openai/assistants", "/openai/v1/threads/thread_1", "/openai/nothing", "/openai/v1/threads/x/runs/y"):
        assert bare.get(path).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/openai/assistants",
        "/openai/assistants/",
        "/openai//assistants",  # so one .NET client writes all its paths
        "/openai///v1//assistants",
        "/OPENAI//Deployments//x//Assistants",
        "/%6Fpenai/assistants",
        "/openai/Assistants",
        "/openai/v1/assistants",
        "/openai/V1/ASSISTANTS/",
        "/openai/v1//assistants//",
        "/openai/deployments/gpt-4o/assistants",
        "/openai/Deployments/a.b-c/Assistants/",
        "/OpenAI/assistants",
    ],
)
def test_forgiven_spellings(service: Service, bare: httpx.Client, path: str) -> None:
    answer = bare.get(path, headers={"api-key": service.key}, params={"api-version": API_VERSION})
    assert (answer.status_code, answer.json().get("object")) == (200, "list")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/assistants",
        "/v1/assistants",
        "/health",
        "/openaix/assistants",
        "/x//openai/assistants",
        "/openai/../threads",
    ],
)
def test_outside_of_the_base_is_nothing_and_no_key_is_asked_for(
    service: Service, bare: httpx.Client, method: str, path: str
) -> None:
    for headers in ({}, {"api-key": "wrong"}, {"api-key": service.key}):
        answer = bare.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (404, NOT_FOUND)
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/openai/openai/assistants", "/openai//openai/v1/assistants"])
def test_the_base_is_taken_away_once(service: Service, bare: httpx.Client, path: str) -> None:
    answer = bare.get(path, headers={"api-key": service.key})
    assert (answer.status_code, answer.json()["error"]) == (404, NOT_FOUND)


@pytest.mark.parametrize("path", ["//openai/assistants", "//", "//x"])
def test_a_doubled_slash_at_the_beginning_is_the_hosts_404(service: Service, path: str) -> None:
    answer = httpx.get(f"{service.url}{path}", headers={"api-key": service.key}, trust_env=False)
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("base", ["/openai", "/openai/v1", "/openai/deployments/any"])
def test_ids_keep_their_case_under_every_base(service: Service, bare: httpx.Client, base: str) -> None:
    headers = {"api-key": service.key}
    thread = bare.post(f"{base}/threads", headers=headers).json()["id"]
    assert bare.get(f"{base}/Threads/{thread}/", headers=headers).json()["id"] == thread
    upper = thread.replace("thread_", "").upper()
    if upper != upper.lower():
        assert bare.get(f"{base}/threads/thread_{upper}", headers=headers).status_code == 404
    assert bare.get(f"{base}/threads/{thread}//Messages", headers=headers).json()["data"] == []


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2024-05-01-preview", 200),
        ("2024-10-21", 200),
        ("2030-12-31-preview", 200),
        ("preview", 200),
        ("v1", 200),
        (None, 200),
        ("", 404),
        ("latest", 404),
        ("2024-13-01", 404),
        ("2024-05-01-Preview", 404),
        ("2024-05-01-preview ", 404),
        ("2024-05", 404),
    ],
)
def test_api_versions(service: Service, bare: httpx.Client, version: str | None, status: int) -> None:
    query = {} if version is None else {"api-version": version}
    answer = bare.get("/openai/assistants", headers={"api-key": service.key}, params=query)
    assert answer.status_code == status
    if status == 404:
        assert answer.json()["error"] == NOT_FOUND


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "nothing", 404, "404"),
        ("GET", "threads/thread_1/nothing", 404, "404"),
        ("GET", "threads/thread_1/runs/run_1/steps/step_1/more", 404, "404"),
        ("PUT", "threads", 405, "method_not_supported"),
        ("PATCH", "threads/thread_1", 405, "method_not_supported"),
        ("DELETE", "assistants", 405, "method_not_supported"),
        ("GET", "threads/thread_1/runs/run_1/cancel", 405, "method_not_supported"),
        ("POST", "threads/thread_1/runs/run_1/events", 405, "method_not_supported"),
        ("OPTIONS", "threads", 405, "method_not_supported"),
        ("POST", "chat/completions", 404, None),
        ("POST", "embeddings", 404, None),
        ("GET", "models", 404, None),
    ],
)
@pytest.mark.parametrize("base", ["/openai", "/openai/v1", "/openai/deployments/d"])
def test_unknown_paths_and_methods(
    service: Service, bare: httpx.Client, base: str, method: str, path: str, status: int, code: str | None
) -> None:
    answer = bare.request(method, f"{base}/{path}", headers={"api-key": service.key})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, code)


def test_health_needs_no_key(bare: httpx.Client) -> None:
    answer = bare.get("/openai/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_every_answer_has_an_id_of_its_own(http: httpx.Client) -> None:
    answers = [
        http.get("/assistants"),
        http.get("/assistants/asst_unknown"),
        http.get("/nothing"),
        http.put("/threads"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 4
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["openai-processing-ms"]) >= 0
