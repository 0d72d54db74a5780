"""The check that every test's answers go through: it finds what it is there to find."""

import json
from typing import Any

import httpx
import pytest

from domain.run_steps import message_creation, opened
from domain.runs import begin, waiting_for_outputs
from tests.official_schema import DIFFERENCES, faults_of, faults_of_answer, faults_of_event, operation_of
from tests.unit.resources import ASSISTANT, a_run
from tests.wire_tap import TAP, WireTap


def a_whole_run(**members: Any) -> dict[str, Any]:
    return a_run() | {"usage": None} | members


def test_what_the_service_makes_is_no_fault():
    bare = begin("run_1", "thread_1", ASSISTANT | {"instructions": None}, {}, now=1_700_000_000, lifetime=600)
    waiting = waiting_for_outputs(bare, [{"id": "call_1", "name": "f", "arguments": "{}"}])
    for run in (a_whole_run(), bare, waiting):
        assert faults_of("RunObject", run) == []
    assert faults_of_event("thread.run.step.created", opened("step_1", bare, message_creation("msg_1"), 1)) == []


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"status": "paused"}, "status"),
        ({"incomplete_details": {"reason": "content_filter"}}, "incomplete_details.reason"),
        ({"last_error": {"code": "content_filter", "message": "No."}}, "last_error.code"),
        ({"tools": [{"type": "retrieval"}]}, "tools.0"),
        ({"started_at": 1.5}, "started_at"),
        ({"model": None}, "model"),
        ({"invented": 1}, "invented"),
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 3}}, "usage"),
    ],
)
def test_what_a_strict_client_refuses_is_found(members: dict[str, Any], place: str):
    [fault] = faults_of("RunObject", a_whole_run(**members))
    assert place in fault
    for found in (
        faults_of_event("thread.run.queued", a_whole_run(**members)),
        faults_of_answer(("POST", "threads/{thread_id}/runs"), 200, a_whole_run(**members)),
    ):
        assert len(found) == 1


def test_a_member_that_is_missing_is_found():
    run = a_whole_run()
    del run["expires_at"]
    assert faults_of("RunObject", run)


def test_invented_events_and_bare_errors_are_found():
    assert faults_of_event("thread.run.paused", a_whole_run())
    assert faults_of_answer(("GET", "files"), 400, {"message": "No."})
    error = {"error": {"message": "No.", "type": "server_error", "param": None, "code": None}}
    assert faults_of_answer(("GET", "files"), 400, error) == faults_of_event("error", error) == []
    assert faults_of_event("done", "[DONE]") == []


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/threads/runs", "threads/runs"),
        ("/openai/v1/threads/thread_1/runs/", "threads/{thread_id}/runs"),
        ("/openai/deployments/d/Threads/thread_1/runs/run_1/cancel", "threads/{thread_id}/runs/{run_id}/cancel"),
        ("/openai/health", None),
        ("/v1/chat/completions", None),
    ],
)
def test_operations_are_known_under_every_base(path: str, route: str | None):
    assert operation_of("POST", path) == (route and ("POST", route))


def test_each_difference_says_why():
    assert all(difference.why for difference in DIFFERENCES)
    members = [difference.member for difference in DIFFERENCES]
    assert len(set(members)) == len(members)


async def test_every_answer_to_a_test_is_heard(client: httpx.AsyncClient, thread: dict[str, Any]):
    before = TAP.heard
    await client.get(f"/threads/{thread['id']}")
    await client.get("/threads/thread_unknown")
    assert TAP.heard == before + 2


def test_numbers_that_are_no_json_are_found():
    tap, run = WireTap(), json.dumps(a_whole_run(usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 0}))
    nan = run.replace('"total_tokens": 0', '"total_tokens": NaN').encode()
    tap.hear("GET", "/threads/thread_1/runs/run_1", 200, "application/json", nan)
    [fault] = tap.take_faults()
    assert "not JSON: NaN" in fault


def test_a_stream_is_heard_frame_by_frame():
    tap, frame = WireTap(), "event: thread.run.queued\ndata: {}\nid: 0.1\n\n"
    good = frame.format(json.dumps(a_whole_run()))
    bad = frame.format(json.dumps(a_whole_run(status="paused")))
    stream = f": keep-alive\n{good}{bad}event: done\ndata: [DONE]\n\n{frame[:20]}".encode()
    tap.hear("GET", "/threads/thread_1/runs/run_1/events", 200, "text/event-stream", stream)
    assert tap.heard == 3
    [fault] = tap.take_faults()
    assert '"paused"' in fault and tap.take_faults() == []
