from typing import Any

import pytest

from domain.chat_messages import TurnRecord, chat_message, chat_request, file_images, with_images
from tests.unit.resources import a_function, a_message, a_run

HISTORY = [{"role": "user", "content": "Hi"}]
TURN: TurnRecord = {
    "text": "Let me see.",
    "calls": [{"id": "c1", "name": "f", "arguments": "{}"}, {"id": "c2", "name": "g", "arguments": "[]"}],
    "outputs": {"c2": "two", "c1": "one"},
}
WEATHER = a_function("weather")


def test_a_plain_run_sends_nothing_but_model_and_messages() -> None:
    request = chat_request(a_run(), HISTORY, [])
    assert request.messages == [{"role": "system", "content": "Be brief."}, *HISTORY]
    others = (request.tools, request.tool_choice, request.parallel_tool_calls, request.response_format)
    assert others == (None, None, None, None)
    numbers = (request.temperature, request.top_p, request.reasoning_effort, request.max_completion_tokens)
    assert numbers == (None, None, None, None)


@pytest.mark.parametrize("instructions", [None, ""])
def test_without_instructions_there_is_no_system_message(instructions: str | None) -> None:
    assert chat_request(a_run() | {"instructions": instructions}, HISTORY, []).messages == HISTORY


def test_what_the_run_sets_is_passed_on() -> None:
    json_mode = {"type": "json_object"}
    run = a_run(
        temperature=0.0, top_p=0.5, reasoning_effort="low", response_format=json_mode, max_completion_tokens=100
    )
    request = chat_request(run, HISTORY, [], completion_tokens_spent=30)
    assert (request.temperature, request.top_p, request.reasoning_effort) == (0.0, 0.5, "low")
    assert request.response_format == json_mode
    assert request.max_completion_tokens == 70


def test_earlier_turns_follow_the_history_with_their_outputs_in_the_order_of_the_calls() -> None:
    messages = chat_request(a_run(tools=[WEATHER]), HISTORY, [TURN]).messages[2:]
    assert [call["function"]["name"] for call in messages[0].pop("tool_calls")] == ["f", "g"]
    assert messages == [
        {"role": "assistant", "content": "Let me see."},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
    ]


def test_a_function_is_sent_with_what_it_defines() -> None:
    bare, strict = a_function("a"), a_function("b", description="B", parameters={"type": "object"}, strict=True)
    request = chat_request(a_run(tools=[bare, strict]), HISTORY, [])
    assert request.tools == [
        {"type": "function", "function": {"name": "a"}},
        {
            "type": "function",
            "function": {"name": "b", "description": "B", "parameters": {"type": "object"}, "strict": True},
        },
    ]


@pytest.mark.parametrize("forced", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_tool_is_forced_in_the_first_turn_only(forced: Any) -> None:
    run = a_run(tools=[WEATHER], tool_choice=forced)
    assert chat_request(run, HISTORY, []).tool_choice == forced
    assert chat_request(run, HISTORY, [TURN]).tool_choice is None


def test_no_tools_may_be_called_in_any_turn_if_the_run_says_so() -> None:
    run = a_run(tools=[WEATHER], tool_choice="none")
    assert [chat_request(run, HISTORY, turns).tool_choice for turns in ([], [TURN])] == ["none", "none"]


def test_one_call_at_a_time_is_asked_for_only_where_there_are_tools() -> None:
    assert chat_request(a_run(tools=[WEATHER], parallel_tool_calls=False), HISTORY, []).parallel_tool_calls is False
    assert chat_request(a_run(parallel_tool_calls=False), HISTORY, []).parallel_tool_calls is None


def test_several_text_parts_become_one_text() -> None:
    assert chat_message(a_message(1, "one", "two")) == {"role": "user", "content": "one\ntwo"}


def test_pictures_keep_their_place_between_the_texts() -> None:
    first = {"type": "image_url", "image_url": {"url": "https://e.com/a.png", "detail": "auto"}}
    second = {"type": "image_url", "image_url": {"url": "https://e.com/b.png", "detail": "low"}}
    assert chat_message(a_message(1, "this", first, "or this?", second)) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "this"},
            {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}},
            {"type": "text", "text": "or this?"},
            {"type": "image_url", "image_url": {"url": "https://e.com/b.png", "detail": "low"}},
        ],
    }


def test_a_picture_from_a_file_keeps_its_place_and_gets_its_url_later() -> None:
    first = {"type": "image_file", "image_file": {"file_id": "file-1", "detail": "high"}}
    second = {"type": "image_file", "image_file": {"file_id": "file-2", "detail": "auto"}}
    message = chat_message(a_message(1, "Look:", first, second))
    assert message is not None
    assert file_images([message, message]) == ["file-2", "file-1"]
    assert with_images([message], {"file-1": "data:image/png;base64,AAAA"}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
                {"type": "text", "text": "[Image file-2: not shown to you.]"},
            ],
        }
    ]


def test_an_assistants_picture_is_mentioned() -> None:
    picture = {"type": "image_file", "image_file": {"file_id": "file-1"}}
    message = chat_message(a_message(1, "Look:", picture, role="assistant"))
    assert message == {"role": "assistant", "content": "Look:\n[Image file-1: not shown to you.]"}


def test_an_assistants_refusal_is_what_it_said() -> None:
    message = a_message(1, {"type": "refusal", "refusal": "No."}, role="assistant")
    assert chat_message(message) == {"role": "assistant", "content": "No."}


def test_an_empty_message_is_left_out() -> None:
    assert chat_message(a_message(1, role="assistant")) is None


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": {"value": ["a", "list"], "annotations": []}}],
        [{"type": "text", "text": None}],
        [{"type": "text"}],
        ["text"],
        None,
        7,
    ],
)
def test_a_stored_message_that_cannot_be_read_is_passed_over(content: Any) -> None:
    assert chat_message({"role": "assistant", "content": content}) is None


def test_a_stored_message_with_half_a_character_is_read() -> None:
    assert chat_message(a_message(1, "a\ud83db")) == {"role": "user", "content": "a�b"}
