"""Whatever a client sends that is wrong: the documented error, never a 500 (J)."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import OpenAI

from tests.conversation import waiting_run
from tests.scripted_model import Script
from tests.service import Service

ENVELOPE = {"message", "type", "param", "code"}


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == ENVELOPE and error["message"] and error["type"] == "invalid_request_error"
    assert "Traceback" not in error["message"] and "/" + "work" not in error["message"]
    return error


@pytest.fixture
def thread_id(http: httpx.Client) -> str:
    return http.post("/threads", json={"messages": [{"role": "user", "content": "Hi"}]}).json()["id"]


@pytest.fixture
def assistant_id(http: httpx.Client) -> str:
    return http.post("/assistants", json={"model": "any"}).json()["id"]


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"model": "any"',
        b"model=any",
        b"[1, 2]",
        b'"text"',
        b"7",
        b'{"model": NaN}',
        b'{"model": "any", "temperature": 1e999}',
        b'{"model": "\xff\xfe"}',
        b'{"model": "any\\u0000"}',
        b'{"model": "\\ud800"}',
        b"\xef\xbb\xbf{",
        b'{"model": "any", "metadata": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
        b'{"model": "any", "tools": ' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
@pytest.mark.parametrize("path", ["/assistants", "/threads"])
def test_what_is_no_json_object(http: httpx.Client, path: str, raw: bytes) -> None:
    error_of(http.post(path, content=raw, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("raw", [b"null", b" null\n", b""])
def test_null_is_no_body(http: httpx.Client, openai_client: OpenAI, model: Script, raw: bytes) -> None:
    """As Betalgo's client cancels. What needs a body names what it misses."""

    def post(path: str) -> httpx.Response:
        return http.post(path, content=raw, headers={"content-type": "application/json"})

    run = waiting_run(openai_client, model)
    thread = f"/threads/{run.thread_id}"
    for path in (
        "/threads",
        thread,
        f"/assistants/{run.assistant_id}",
        f"{thread}/runs/{run.id}",
        f"{thread}/runs/{run.id}/cancel",
    ):
        assert post(path).status_code == 200, path
    assert error_of(post(f"{thread}/messages"))["param"] == "role"
    assert error_of(post("/assistants"))["param"] == "model"


@pytest.mark.parametrize(
    ("member", "param", "code", "text"),
    [
        ({"model": None}, "model", "invalid_type", "expected a string, but got null instead"),
        ({"model": 7}, "model", "invalid_type", "expected a string, but got an integer instead"),
        ({"model": ""}, "model", None, ""),
        ({"name": 1}, "name", "invalid_type", "Invalid type for 'name': expected a string"),
        (
            {"name": "x" * 300},
            "name",
            "string_above_max_length",
            "Invalid 'name': string too long. Expected a string with maximum length 256, "
            "but got a string with length 300 instead.",
        ),
        ({"description": "x" * 513}, "description", "string_above_max_length", "512"),
        ({"instructions": "x" * 256_001}, "instructions", "string_above_max_length", "256000"),
        ({"tools": {}}, "tools", "invalid_type", "expected an array, but got an object"),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter", ""),
        ({"tools": [{"type": "browser"}]}, "tools[0].type", "invalid_value", "'browser'"),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name",
            "missing_required_parameter",
            "Missing required parameter: 'tools[0].function.name'.",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", None, ""),
        (
            {"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(130)]},
            "tools",
            "array_above_max_length",
            "Invalid 'tools': array too long. Expected an array with maximum length 128, "
            "but got an array with length 130 instead.",
        ),
        ({"tools": [{"type": "file_search"}] * 2}, "tools", "invalid_value", ""),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value", ""),
        ({"temperature": "hot"}, "temperature", "invalid_type", ""),
        ({"top_p": -0.1}, "top_p", "decimal_below_min_value", ""),
        ({"metadata": {"a": 1}}, "metadata.a", "invalid_type", ""),
        ({"metadata": {f"k{n}": "" for n in range(17)}}, "metadata", "object_above_max_properties", ""),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "string_above_max_length", ""),
        ({"metadata": []}, "metadata", "invalid_type", ""),
        ({"file_ids": []}, "file_ids", "unknown_parameter", "Unknown parameter: 'file_ids'."),
        ({"response_format": "json"}, "response_format", None, ""),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter", ""),
        ({"tool_resources": {"code_interpreter": {"file_ids": ["x"]}}}, None, "invalid_value", "file"),
        ({"reasoning_effort": "utmost"}, "reasoning_effort", "invalid_value", ""),
    ],
)
def test_members_of_an_assistant(
    http: httpx.Client, member: dict[str, Any], param: str | None, code: str | None, text: str
) -> None:
    error = error_of(http.post("/assistants", json={"model": "any", **member}))
    assert param is None or error["param"] == param
    assert code is None or error["code"] == code
    assert text in error["message"]


def test_a_missing_member_is_named(http: httpx.Client, thread_id: str) -> None:
    for path, member in (
        ("/assistants", "model"),
        (f"/threads/{thread_id}/messages", "role"),
        (f"/threads/{thread_id}/runs", "assistant_id"),
        ("/threads/runs", "assistant_id"),
        (f"/threads/{thread_id}/runs/run_1/submit_tool_outputs", "tool_outputs"),
    ):
        error = error_of(http.post(path, json={}))
        assert error["message"] == f"Missing required parameter: '{member}'."
        assert (error["param"], error["code"]) == (member, "missing_required_parameter")


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ({"role": "system", "content": "x"}, "role", "invalid_value"),
        ({"role": "user"}, "content", "missing_required_parameter"),
        ({"role": "user", "content": ""}, "content", None),
        ({"role": "user", "content": []}, "content", None),
        ({"role": "user", "content": None}, "content", "invalid_type"),
        ({"role": "user", "content": {"type": "text"}}, "content", "invalid_type"),
        ({"role": "user", "content": [{"type": "audio"}]}, "content[0].type", "invalid_value"),
        ({"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}, "content[0].type", "invalid_value"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text", "missing_required_parameter"),
        ({"role": "user", "content": "x", "file_ids": ["file-1"]}, "file_ids", "unknown_parameter"),
        ({"role": "user", "content": "x" * 256_001}, "content", "string_above_max_length"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}, None, "invalid_value"),
        ({"role": "user", "content": "x", "attachments": [{"file_id": "file-1", "tools": []}]}, None, None),
        ({"role": "user", "content": "x", "metadata": {"a": None}}, "metadata.a", "invalid_type"),
    ],
)
def test_messages(http: httpx.Client, thread_id: str, message: Any, param: str | None, code: str | None) -> None:
    error = error_of(http.post(f"/threads/{thread_id}/messages", json=message))
    assert param is None or error["param"] == param
    assert code is None or error["code"] == code
    inner = error_of(http.post("/threads", json={"messages": [message]}))
    assert param is None or inner["param"] == f"messages[0].{param}"
    assert len(http.get(f"/threads/{thread_id}/messages").json()["data"]) == 1


@pytest.mark.parametrize(
    ("member", "param", "code"),
    [
        ({"max_prompt_tokens": 255}, "max_prompt_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens", "invalid_type"),
        ({"truncation_strategy": {"type": "last_messages"}}, None, None),
        ({"truncation_strategy": {"type": "auto", "last_messages": "3"}}, None, None),
        ({"truncation_strategy": {"type": "last_messages", "last_messages": 0}}, None, None),
        ({"tool_choice": "sometimes"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function"}}, None, "missing_required_parameter"),
        ({"tool_choice": {"type": "function", "function": {"name": "absent"}}}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "code_interpreter"}}, "tool_choice", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(21)]}, "tools", None),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls", "invalid_type"),
        ({"additional_messages": [{"role": "user", "content": "x"}] * 33}, "additional_messages", None),
        ({"additional_messages": [{"role": "user"}]}, "additional_messages[0].content", "missing_required_parameter"),
        ({"tool_resources": {"code_interpreter": {"file_ids": ["x"]}}}, None, "invalid_value"),
        ({"thread": {}}, "thread", "unknown_parameter"),
        ({"model": ""}, "model", None),
    ],
)
def test_runs(
    http: httpx.Client, thread_id: str, assistant_id: str, member: Any, param: str | None, code: str | None
) -> None:
    error = error_of(http.post(f"/threads/{thread_id}/runs", json={"assistant_id": assistant_id, **member}))
    assert param is None or error["param"] == param
    assert code is None or error["code"] == code
    assert http.get(f"/threads/{thread_id}/runs").json()["data"] == []
    assert len(http.get(f"/threads/{thread_id}/messages").json()["data"]) == 1


@pytest.mark.parametrize(
    ("outputs", "param"),
    [
        ({"tool_outputs": "x"}, "tool_outputs"),
        ({"tool_outputs": [{"tool_call_id": 7}]}, "tool_outputs[0].tool_call_id"),
        ({"tool_outputs": [{"tool_call_id": "call_1", "output": {"a": 1}}]}, "tool_outputs[0].output"),
        ({"tool_outputs": [], "extra": 1}, "extra"),
    ],
)
def test_tool_outputs(http: httpx.Client, thread_id: str, outputs: Any, param: str) -> None:
    error = error_of(http.post(f"/threads/{thread_id}/runs/run_1/submit_tool_outputs", json=outputs))
    assert error["param"] == param


def test_ids_of_another_kind(http: httpx.Client, thread_id: str, assistant_id: str) -> None:
    for path, param, kind in (
        (f"/threads/{assistant_id}", "thread_id", "thread"),
        (f"/assistants/{thread_id}", "assistant_id", "asst"),
        (f"/threads/{thread_id}/messages/run_1", "message_id", "msg"),
        (f"/threads/{thread_id}/runs/msg_1", "run_id", "run"),
        (f"/threads/{thread_id}/runs/run_1/steps/run_1", "step_id", "step"),
        ("/threads/new/messages", "thread_id", "thread"),
        (f"/threads/thread_{'x' * 65}", "thread_id", "thread"),
        ("/threads/thread_a%20b", "thread_id", "thread"),
        ("/threads/thread_%FF", "thread_id", "thread"),
        ("/threads/thread_'%20or%201=1", "thread_id", "thread"),
        ("/threads/..%2F..%2Fetc", "thread_id", "thread"),
    ):
        answer = http.get(path)
        if answer.status_code == 404 and "%2F" in path:
            continue  # a decoded slash is another path
        error = error_of(answer)
        assert (error["param"], error["code"]) == (param, "invalid_value")
        assert error["message"].endswith(f"Expected an ID that begins with '{kind}'.")
    error = error_of(http.post(f"/threads/{thread_id}/runs", json={"assistant_id": thread_id}))
    assert (error["param"], error["code"]) == ("assistant_id", "invalid_value")


def test_unknown_ids_are_named_in_the_order_of_the_path(http: httpx.Client, thread_id: str) -> None:
    for path, noun, id in (
        ("/assistants/asst_unknown", "assistant", "asst_unknown"),
        ("/threads/thread_unknown", "thread", "thread_unknown"),
        ("/threads/thread_unknown/messages", "thread", "thread_unknown"),
        ("/threads/thread_unknown/messages/msg_1", "thread", "thread_unknown"),
        ("/threads/thread_unknown/runs/run_1", "thread", "thread_unknown"),
        (f"/threads/{thread_id}/messages/msg_unknown", "message", "msg_unknown"),
        (f"/threads/{thread_id}/runs/run_unknown", "run", "run_unknown"),
        (f"/threads/{thread_id}/runs/run_unknown/steps", "run", "run_unknown"),
    ):
        error = error_of(http.get(path), 404)
        assert error["message"] == f"No {noun} found with id '{id}'."
        assert (error["param"], error["code"]) == (None, None)


def test_ids_are_not_looked_up_as_documents_of_another_kind(http: httpx.Client, thread_id: str) -> None:
    """Nothing that is stored beside a thread's things can be reached by a made-up id."""
    message = http.get(f"/threads/{thread_id}/messages").json()["data"][0]["id"]
    for path in (f"/threads/{thread_id}/messages/{message}.deleted", f"/threads/{thread_id}.entry"):
        error_of(http.get(path))


def test_a_body_that_is_too_large(http: httpx.Client, thread_id: str) -> None:
    error_of(http.post(f"/threads/{thread_id}/messages", content=b" " * 5_000_000), 413)
    many = [{"role": "user", "content": "ü" * 250_000}] * 3
    error_of(http.post("/threads", json={"messages": many}))


def test_an_include_that_is_unknown(http: httpx.Client, thread_id: str, assistant_id: str) -> None:
    error = error_of(
        http.post(f"/threads/{thread_id}/runs", params={"include[]": "all"}, json={"assistant_id": assistant_id})
    )
    assert (error["param"], error["code"]) == ("include", "invalid_value")


WORDS = ["role", "content", "model", "type", "text", "user", "function", "name", "tools", "metadata", "auto", "thread"]
WORDS += ["assistant_id", "tool_outputs", "tool_call_id", "output", "messages", "additional_messages", "tool_choice"]
WORDS += ["truncation_strategy", "last_messages", "response_format", "json_schema", "schema", "tool_resources"]
WORDS += ["file_search", "code_interpreter", "file_ids", "vector_stores", "attachments", "image_url", "url", "stream"]
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([*WORDS, "asst_1"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=5) | VALUES
SEGMENTS = st.sampled_from(
    ["threads", "runs", "messages", "assistants", "steps", "cancel", "submit_tool_outputs", "events", "v1", "THREADS",
     "files", "deployments", "thread_1", "run_1", "msg_1", "asst_1", "step_1", "", ".", "..", "%00", "%ff", "ä"]
) | st.text(max_size=6).map(lambda text: quote(text, errors="replace"))  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"])
QUERIES = st.dictionaries(
    st.sampled_from(["limit", "order", "after", "before", "run_id", "include[]", "api-version", "metadata[a]"]),
    st.sampled_from(["", "1", "-1", "asc", "msg_1", "run_1", "asst_1", "2024-05-01", "\x00", "ä"])
    | st.text(max_size=5),
    max_size=3,
)
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def assert_answered(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    if b"%00" in answer.request.url.raw_path.partition(b"?")[0]:  # refused before it reaches the app
        assert (answer.status_code, answer.content) == (400, b"")
        return
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert set(answer.json()["error"]) == ENVELOPE


@given(body=BODIES, path=st.sampled_from(["/assistants", "/threads", "T/messages", "T/runs", "/threads/runs", "T"]))
@FUZZ
def test_no_body_breaks_the_service(service: Service, http: httpx.Client, body: Any, path: str) -> None:
    target = path.replace("T", "/threads/thread_1")
    content = json.dumps(body).encode("utf-8", "surrogatepass")
    assert_answered(http.post(target, content=content, headers={"content-type": "application/json"}))


@given(method=METHODS, segments=st.lists(SEGMENTS, max_size=6), query=QUERIES)
@FUZZ
def test_no_path_or_query_breaks_the_service(
    http: httpx.Client, method: str, segments: list[str], query: dict[str, str]
) -> None:
    # A whole URL: of "//x" alone the client would make a host.
    assert_answered(http.request(method, f"{http.base_url}/{'/'.join(segments)}", params=query))
