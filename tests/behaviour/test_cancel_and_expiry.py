"""Ends that do not come from the model: somebody cancels, or time is up (N.7, N.8, E.2, E.5)."""

import time

import openai
import pytest
from openai import OpenAI
from openai.types.beta.threads import Run

from tests.conversation import WEATHER, answers_of, ask, assert_unlocked, outputs_of, run_when, waiting_run
from tests.scripted_model import Script
from tests.service import Service


def assert_cancelled_for_good(client: OpenAI, run: Run) -> None:
    ended = run_when(client, run, "cancelled", timeout=5)
    assert ended.cancelled_at and not (ended.completed_at or ended.failed_at)
    assert (ended.expires_at, ended.required_action) == (None, None)
    assert ended.usage is not None
    with pytest.raises(openai.BadRequestError, match=r"Cannot cancel run with status 'cancelled'."):
        client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    with pytest.raises(openai.BadRequestError, match=r'Runs in status "cancelled" do not accept tool outputs.'):
        client.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=run.thread_id, tool_outputs=[{"tool_call_id": "call_1", "output": ""}]
        )
    assert_unlocked(client, run.thread_id)


def test_cancel_at_once(client: OpenAI, model: Script) -> None:
    model.will_hang("Never.")
    run = ask(client, model)
    cancelling = client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    assert (cancelling.status, cancelling.expires_at) == ("cancelling", run.expires_at)
    assert_cancelled_for_good(client, run)
    assert answers_of(client, run) == []


def test_cancel_during_an_answer_keeps_what_was_said(client: OpenAI, model: Script) -> None:
    answer = model.will_hang("Once upon a time", after=3)
    run = ask(client, model)
    assert answer.arrived.wait(10)
    time.sleep(0.2)  # for its text to arrive
    assert client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelling"
    assert_cancelled_for_good(client, run)
    [message] = client.beta.threads.messages.list(run.thread_id, run_id=run.id).data
    assert message.incomplete_details is not None
    assert (message.status, message.incomplete_details.reason) == ("incomplete", "run_cancelled")
    assert answers_of(client, run) == ["Once upon"]
    [step] = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (step.status, bool(step.cancelled_at)) == ("cancelled", True)
    assert answer.abandoned.wait(5), "the model's connection is closed"


def test_cancel_of_a_run_that_waits_for_outputs(client: OpenAI, model: Script) -> None:
    run = waiting_run(client, model)
    outputs = outputs_of(run)
    assert client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id).status == "cancelling"
    assert_cancelled_for_good(client, run)
    [step] = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (step.type, step.status) == ("tool_calls", "cancelled")
    with pytest.raises(openai.BadRequestError):
        client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs)


def test_a_program_that_cancels_goes_on_at_once(client: OpenAI, model: Script) -> None:
    """As Microsoft.Extensions.AI on .NET does, whatever the run was doing."""
    waiting = waiting_run(client, model)
    model.will_hang("Once upon a time", after=3)
    for _ in range(2):
        client.beta.threads.runs.cancel(waiting.id, thread_id=waiting.thread_id)
        speaking = client.beta.threads.runs.create(
            waiting.thread_id,
            assistant_id=waiting.assistant_id,
            additional_messages=[{"role": "user", "content": "Something else."}],
        )
        speaking = run_when(client, speaking, "in_progress")
        client.beta.threads.runs.cancel(speaking.id, thread_id=speaking.thread_id)
        client.beta.threads.messages.create(speaking.thread_id, role="user", content="No, wait.")
        model.will_call("weather")
        waiting = client.beta.threads.runs.create(waiting.thread_id, assistant_id=waiting.assistant_id, tools=[WEATHER])
        waiting = run_when(client, waiting, "requires_action")
        model.will_hang("Once upon a time", after=3)
    statuses = [run.status for run in client.beta.threads.runs.list(waiting.thread_id, limit=100)]
    assert statuses == ["requires_action", *["cancelled"] * 4]


def test_cancel_after_outputs_were_submitted(openai_client: OpenAI, model: Script) -> None:
    run = waiting_run(openai_client, model)
    model.will_hang("Never.")
    openai_client.beta.threads.runs.submit_tool_outputs(
        run.id, thread_id=run.thread_id, tool_outputs=list(outputs_of(run))
    )
    openai_client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    assert_cancelled_for_good(openai_client, run)
    [step] = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert step.status == "completed"


def test_cancel_while_a_throttled_model_is_waited_for(openai_client: OpenAI, model: Script) -> None:
    answer = model.will_fail(429, {"error": {"message": "Slow down."}}, {"retry-after": "60"})
    run = ask(openai_client, model)
    assert answer.arrived.wait(10)
    time.sleep(0.2)
    openai_client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    assert_cancelled_for_good(openai_client, run)


def test_a_run_that_is_over_cannot_be_cancelled(openai_client: OpenAI, model: Script) -> None:
    model.will_say("Done.")
    run = run_when(openai_client, ask(openai_client, model))
    with pytest.raises(openai.BadRequestError, match=r"Cannot cancel run with status 'completed'."):
        openai_client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)


def test_outputs_that_nobody_submits_expire_the_run(hasty_service: Service, model: Script) -> None:
    client = hasty_service.openai()
    run = waiting_run(client, model)
    time.sleep(max(0.0, run.created_at + 4.5 - time.time()))  # no call of ours has part in it
    log = hasty_service.log()
    assert f"run {run.id} expired" in log
    expired = client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    assert (expired.status, expired.expires_at, expired.required_action) == ("expired", None, None)
    assert not (expired.cancelled_at or expired.failed_at or expired.completed_at)
    [step] = client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert (step.status, step.last_error) == ("expired", None)
    with pytest.raises(openai.BadRequestError, match=r'Runs in status "expired" do not accept tool outputs.'):
        client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run))
    assert_unlocked(client, run.thread_id)
    model.will_say("Hello again.")
    again = client.beta.threads.runs.create_and_poll(
        thread_id=run.thread_id, assistant_id=run.assistant_id, poll_interval_ms=20
    )
    assert again.status == "completed"


def test_a_model_that_stays_silent_expires_the_run(hasty_service: Service, model: Script) -> None:
    client = hasty_service.openai()
    answer = model.will_hang()
    run = run_when(client, ask(client, model), "expired")
    assert run.expires_at is None
    assert answer.abandoned.wait(5)
    assert_unlocked(client, run.thread_id)
