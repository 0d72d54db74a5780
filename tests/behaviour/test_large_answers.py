"""A model that does not stop: what it says ends where it could no longer be stored, and the thread is free again."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.conversation import WEATHER, answers_of, ask, assert_unlocked, assistant_id, run_when, thread_with
from tests.scripted_model import Answer, Script

LARGEST = 350_000  # bytes of an answer, as JSON


@pytest.mark.parametrize("letter", ["a", "ж", "\n"])
def test_an_endless_answer_is_cut_where_it_can_still_be_stored(
    openai_client: OpenAI, model: Script, letter: str
) -> None:
    model.will_say(letter * 1_000_000, pieces=1000)
    run = run_when(openai_client, ask(openai_client, model))
    assert (run.status, run.last_error) == ("incomplete", None)
    assert run.incomplete_details and run.incomplete_details.reason == "max_completion_tokens"
    [answer] = answers_of(openai_client, run)
    assert answer == letter * len(answer)
    as_json = json.dumps(answer, ensure_ascii=False).strip('"').encode()
    assert LARGEST * 0.9 < len(as_json) <= LARGEST
    assert_unlocked(openai_client, run.thread_id)


def test_a_long_answer_is_kept_whole_beside_the_largest_instructions(openai_client: OpenAI, model: Script) -> None:
    said = "a word " * 45_000
    model.will_say(said, pieces=300)
    run = run_when(openai_client, ask(openai_client, model, instructions="ж" * 256_000))
    assert run.status == "completed"
    assert answers_of(openai_client, run) == [said]


def test_calls_that_cannot_be_stored_fail_the_run_and_say_so(openai_client: OpenAI, model: Script) -> None:
    model.will(Answer(text="Let me see.", calls=[("weather", json.dumps({"city": "x" * 600_000}))]))
    run = run_when(openai_client, ask(openai_client, model, tools=[WEATHER]))
    assert run.status == "failed"
    assert run.last_error and "too much to be stored" in run.last_error.message
    assert len(model.requests) == 1
    assert_unlocked(openai_client, run.thread_id)


def test_a_run_that_would_leave_no_room_for_an_answer_is_refused(openai_client: OpenAI, model: Script) -> None:
    larger: Any = {"instructions": "ж" * 256_000, "additional_instructions": "ж" * 256_000}
    thread_id = thread_with(openai_client, "Hi")
    with pytest.raises(openai.BadRequestError, match="The run is too large"):
        openai_client.beta.threads.runs.create(thread_id, assistant_id=assistant_id(openai_client, model), **larger)
    assert_unlocked(openai_client, thread_id)
