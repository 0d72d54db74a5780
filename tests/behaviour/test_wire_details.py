"""Details on the wire that no official client shows, but that programs with their own HTTP depend on."""

import httpx
from openai import OpenAI

from tests.conversation import ask, run_when, waiting_run
from tests.scripted_model import Script


def test_a_run_that_is_being_cancelled_asks_for_nothing_any_more(
    openai_client: OpenAI, http: httpx.Client, model: Script
) -> None:
    run = waiting_run(openai_client, model)
    cancelling = http.post(f"/threads/{run.thread_id}/runs/{run.id}/cancel").json()
    assert (cancelling["status"], cancelling["required_action"]) == ("cancelling", None)
    assert cancelling["expires_at"] == run.expires_at


def test_a_failed_run_names_the_request_that_the_model_refused(openai_client: OpenAI, model: Script) -> None:
    model.will_fail(400, {"error": {"message": "Too hot."}}, {"x-request-id": "req_7"})
    run = run_when(openai_client, ask(openai_client, model))
    assert run.last_error is not None
    assert run.last_error.message == "Too hot. (Request ID of the model endpoint: req_7)"
