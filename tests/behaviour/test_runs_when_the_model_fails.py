"""A model that is busy, broken or away: the run ends with a reason, in its time, and the thread is free (E.12)."""

import pytest
from openai import OpenAI

from tests.behaviour.conftest import StartService
from tests.conversation import WEATHER, answers_of, ask, assert_unlocked, outputs_of, run_when, waiting_run
from tests.scripted_model import Script
from tests.service import Service

BUSY = {"error": {"message": "Rate limit is exceeded.", "code": "rate_limit_exceeded"}}


@pytest.fixture
def hasty_client(hasty_service: Service) -> OpenAI:
    """Of a service whose runs live for 4 s."""
    return hasty_service.openai()


def test_a_model_that_is_busy_until_the_time_is_up(hasty_client: OpenAI, model: Script) -> None:
    for _ in range(6):
        model.will_fail(429, BUSY, {"retry-after": "1"})
    run = run_when(hasty_client, ask(hasty_client, model))
    assert (run.status, run.last_error and run.last_error.code) == ("failed", "rate_limit_exceeded")
    assert run.last_error and "Rate limit is exceeded." in run.last_error.message
    assert len(model.requests) >= 2
    assert_unlocked(hasty_client, run.thread_id)


@pytest.mark.parametrize("seconds", ["60", "1e20", "inf"])
def test_a_model_that_asks_for_more_time_than_there_is(hasty_client: OpenAI, model: Script, seconds: str) -> None:
    model.will_fail(429, BUSY, {"retry-after": seconds})
    run = run_when(hasty_client, ask(hasty_client, model), timeout=3)
    assert (run.status, run.last_error and run.last_error.code) == ("failed", "rate_limit_exceeded")
    assert len(model.requests) == 1


def test_a_busy_model_in_a_later_turn_keeps_what_was_used(hasty_client: OpenAI, model: Script) -> None:
    run = waiting_run(hasty_client, model)
    model.will_fail(429, BUSY, {"retry-after": "60"})
    hasty_client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run))
    run = run_when(hasty_client, run)
    assert run.status == "failed"
    assert run.usage is not None
    assert run.usage.total_tokens == 15
    [step] = hasty_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert step.status == "completed"


def test_a_model_that_is_busy_and_then_cut_answers_in_the_end(openai_client: OpenAI, model: Script) -> None:
    model.will_fail(429, BUSY, {"retry-after-ms": "20"})
    model.will_cut("Half an", after=2)
    model.will_say("A whole answer.")
    run = run_when(openai_client, ask(openai_client, model))
    assert (run.status, answers_of(openai_client, run)) == ("completed", ["A whole answer."])
    steps = openai_client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id).data
    assert [step.status for step in steps] == ["completed"]


@pytest.mark.parametrize(
    "chunks",
    [
        ["not json"],
        [{"nothing": "known"}],
        [{"choices": "none"}],
        [{"error": {"message": "Out of memory."}}],
        ["[DONE]"],
    ],
)
def test_a_model_that_talks_nonsense(hasty_client: OpenAI, model: Script, chunks: list[object]) -> None:
    for _ in range(6):
        model.will_send(*chunks)
    run = run_when(hasty_client, ask(hasty_client, model))
    assert run.status in ("failed", "completed")
    if run.status == "failed":
        assert run.last_error is not None
        assert (run.last_error.code, bool(run.last_error.message)) == ("server_error", True)
    assert_unlocked(hasty_client, run.thread_id)


def test_a_model_that_is_not_there(start_service: StartService, model: Script) -> None:
    settings = {"MODEL_BASE_URL": "http://127.0.0.1:9/v1", "RUN_LIFETIME_SECONDS": "3"}
    client = start_service(settings=settings).openai()
    run = run_when(client, ask(client, model))
    assert run.status == "failed"
    assert run.last_error is not None
    assert (run.last_error.code, run.last_error.message) == ("server_error", "The model endpoint could not be reached.")
    assert_unlocked(client, run.thread_id)


def test_budgets_are_spent_over_all_turns(openai_client: OpenAI, model: Script) -> None:
    """E.6.1: what the first turn used is gone for the second."""
    model.will_call_all(("weather", {"city": "Oslo"}), usage=(200, 300))
    run = ask(openai_client, model, tools=[WEATHER], max_prompt_tokens=500, max_completion_tokens=1_000)
    run = run_when(openai_client, run, "requires_action")
    model.will_call_all(("weather", {"city": "Rome"}), usage=(250, 700))
    run = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    assert model.requests[1]["max_completion_tokens"] == 700
    assert run.status == "requires_action"
    run = openai_client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run), poll_interval_ms=20
    )
    assert run.status == "incomplete"
    assert run.incomplete_details is not None
    assert run.incomplete_details.reason == "max_completion_tokens"
    assert len(model.requests) == 2, "a model with nothing left to say is not asked"
    assert run.usage is not None
    assert (run.usage.prompt_tokens, run.usage.completion_tokens) == (450, 1_000)
    assert_unlocked(openai_client, run.thread_id)
