"""What chat-completions endpoints that are not OpenAI's send, and what becomes of it."""

import json
from typing import Any

import pytest

from adapters.openai_models import OpenAIModels
from ports.language_model import (
    Ending,
    ModelRefused,
    ModelThrottled,
    ModelUnavailable,
    ModelUsage,
    RefusalPiece,
    TextPiece,
)
from settings import Settings
from tests.scripted_model import Script, ScriptedModel
from tests.unit.endpoint import asking, call_delta, delta, ending_of, pieces_of, refusal

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", "get", "look_up", "f", "g")]
DONE = "[DONE]"


def event(chunk: Any) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


OK = [event(delta(content="ok")), event(delta("stop"))]


async def text_of(models: OpenAIModels, script: Script, **members: Any) -> str:
    pieces = await pieces_of(models, asking(script, **members))
    assert isinstance(pieces[-1], Ending)
    return "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))


async def calls_of(models: OpenAIModels, script: Script) -> list[tuple[str, str]]:
    ending = await ending_of(models, asking(script, tools=TOOLS))
    assert len({call.id for call in ending.calls}) == len(ending.calls)
    assert all(call.id and call.id.isprintable() for call in ending.calls)
    return [(call.name, call.arguments) for call in ending.calls]


# Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": "12", "completion_tokens": "3"}, ModelUsage(12, 3)),
        ({"prompt_tokens": 12.0, "completion_tokens": 3}, ModelUsage(12, 3)),
        ({"prompt_tokens": 12, "completion_tokens": None}, ModelUsage(12, 0)),
        ({"prompt_tokens": 12, "completion_tokens": 3, "prompt_tokens_details": []}, ModelUsage(12, 3)),
        (
            {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": float("nan")}},
            ModelUsage(1, 1),
        ),
        ({"prompt_tokens": float("nan"), "completion_tokens": 3}, None),
        ({"prompt_tokens": float("inf"), "completion_tokens": 3}, None),
        ({"prompt_tokens": 1.5, "completion_tokens": 3}, None),
        ({"prompt_tokens": -5, "completion_tokens": 3}, None),
        ({"prompt_tokens": [1], "completion_tokens": 3}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": "many", "completion_tokens": 3}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 3}, None),
        ({"total_tokens": 15}, None),
        ([12, 3], None),
        ("15", None),
        (15, None),
    ],
)
async def test_usage_is_whole_numbers_or_is_counted_by_us(
    models: OpenAIModels, script: Script, usage: Any, expected: ModelUsage | None
) -> None:
    script.will_send(delta("stop", content="ok"), {"choices": [], "usage": usage}, DONE)
    assert (await ending_of(models, asking(script))).usage == expected


async def test_a_number_beyond_any_is_not_counted_with(models: OpenAIModels, script: Script) -> None:
    usage = '{"choices": [], "usage": {"prompt_tokens": 1e400, "completion_tokens": 2}}'
    script.will_send(delta("stop", content="ok"), usage, DONE)
    assert (await ending_of(models, asking(script))).usage is None


# Content


async def test_text_in_parts_is_joined_and_thoughts_are_left_out(models: OpenAIModels, script: Script) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    script.will_send(
        delta(content=[thinking]),
        delta(content=[{"type": "text", "text": "It is "}, thinking, {"type": "text", "text": "warm"}]),
        delta(content=["."]),
        delta("stop", content=[]),
        DONE,
    )
    assert await text_of(models, script) == "It is warm."


async def test_a_refusal_among_the_parts_is_one(models: OpenAIModels, script: Script) -> None:
    script.will_send(delta("stop", content=[{"type": "refusal", "refusal": "No."}]), DONE)
    assert (await pieces_of(models, asking(script)))[0] == RefusalPiece("No.")


@pytest.mark.parametrize(
    "content",
    [
        7,
        True,
        {"text": "x"},
        [7],
        [{"text": "no type"}],
        [{"type": "image_url", "image_url": {}}],
        [{"type": "text", "text": 7}],
    ],
)
async def test_content_that_is_no_text_is_one_failure(models: OpenAIModels, script: Script, content: Any) -> None:
    script.will_send(delta("stop", content=content), DONE)
    error = await refusal(models, asking(script))
    assert error.code == "server_error"
    assert "not text" in error.message


@pytest.mark.parametrize("wrong", ["text", 7, ["text"]])
async def test_a_delta_that_is_no_object_is_one_failure(models: OpenAIModels, script: Script, wrong: Any) -> None:
    script.will_send({"choices": [{"index": 0, "delta": wrong}]}, DONE)
    await refusal(models, asking(script))


async def test_halves_of_a_character_are_joined_across_deltas(models: OpenAIModels, script: Script) -> None:
    script.will_send(delta(content="Hi \ud83d"), delta(content="\ude00!"), delta("stop"), DONE)
    assert await text_of(models, script) == "Hi 😀!"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a\ud83d", "b"], "a�b"),
        (["\ude00"], "�"),
        (["a\ud83d"], "a�"),
        (["\ud83d", "\ud83d", "\ude00"], "�😀"),
    ],
)
async def test_half_a_character_alone_is_replaced(
    models: OpenAIModels, script: Script, pieces: list[str], expected: str
) -> None:
    script.will_send(*(delta(content=piece) for piece in pieces), delta("stop"), DONE)
    assert await text_of(models, script) == expected


async def test_half_characters_in_arguments_and_names(models: OpenAIModels, script: Script) -> None:
    script.will_send(
        call_delta(index=0, id="c1", function={"name": "f", "arguments": '{"x": "\ud83d'}),
        call_delta(index=0, function={"arguments": '\ude00 \ud83d"}'}),
        delta("tool_calls"),
        DONE,
    )
    assert await calls_of(models, script) == [("f", '{"x": "😀 �"}')]


async def test_half_a_character_in_an_errors_words(models: OpenAIModels, script: Script) -> None:
    script.will_fail(400, {"error": {"message": "No \ud83d."}})
    assert (await refusal(models, asking(script))).message == "No �."


async def test_a_cumulative_message_beside_the_deltas_is_said_once(models: OpenAIModels, script: Script) -> None:
    whole = {
        "index": 0,
        "delta": {},
        "message": {"role": "assistant", "content": "It is warm."},
        "finish_reason": "stop",
    }
    script.will_send(delta(content="It is "), delta(content="warm."), {"choices": [whole]}, DONE)
    assert await text_of(models, script) == "It is warm."


async def test_a_message_that_grows_is_said_as_it_grows(models: OpenAIModels, script: Script) -> None:
    grown = [{"choices": [{"message": {"content": text}}]} for text in ("It", "It is", "It is warm.")]
    script.will_send(*grown, delta("stop"), DONE)
    assert await text_of(models, script) == "It is warm."


# Calls


@pytest.mark.parametrize("id", [7, "", None, "\0", "a\nb", ["x"], {"id": 1}, "x" * 5000])
async def test_a_call_without_a_usable_id_gets_one(models: OpenAIModels, script: Script, id: Any) -> None:
    script.will_send(call_delta(index=0, id=id, function={"name": "f", "arguments": "{}"}), delta("stop"), DONE)
    assert await calls_of(models, script) == [("f", "{}")]


async def test_an_id_of_an_earlier_turn_is_not_taken_again(models: OpenAIModels, script: Script) -> None:
    earlier = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_0", "type": "function"}]}
    script.will_send(call_delta(index=0, id="call_0", function={"name": "f", "arguments": "{}"}), delta("stop"), DONE)
    request = asking(script, tools=TOOLS)
    request.messages.append(earlier)
    [call] = (await ending_of(models, request)).calls
    assert call.id not in ("", "call_0")


@pytest.mark.parametrize(
    "function", [{"arguments": "{}"}, {"name": "", "arguments": "{}"}, {"name": 7}, {"name": None}]
)
async def test_a_call_without_a_name_is_one_failure(models: OpenAIModels, script: Script, function: Any) -> None:
    script.will_send(call_delta(index=0, id="c1", function=function), delta("tool_calls"), DONE)
    assert "naming" in (await refusal(models, asking(script, tools=TOOLS))).message


@pytest.mark.parametrize("calls", ["text", 7, ["text"], [7], [None]])
async def test_calls_that_are_none_are_one_failure(models: OpenAIModels, script: Script, calls: Any) -> None:
    script.will_send(delta(tool_calls=calls), delta("tool_calls"), DONE)
    await refusal(models, asking(script, tools=TOOLS))


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param(
            [
                {"index": 0, "id": "c1", "function": {"name": "get_"}},
                {"index": 0, "function": {"name": "weather"}},
                {"index": 0, "function": {"arguments": "{}"}},
            ],
            [("get_weather", "{}")],
            id="a name in pieces",
        ),
        pytest.param(
            [
                {"id": "a", "function": {"name": "get"}},
                {"id": "b", "function": {"name": "_weather"}},
                {"id": "c", "function": {"arguments": "{}"}},
            ],
            [("get_weather", "{}")],
            id="a name in pieces, each with a new id",
        ),
        pytest.param(
            [
                {"index": 0, "function": {"name": "f", "arguments": '{"x": 1}'}},
                {"index": 0, "function": {"name": "g", "arguments": '{"y"'}},
                {"index": 0, "function": {"arguments": ": 2}"}},
                {"index": 0, "function": {"name": "f", "arguments": ""}},
                {"index": 0, "function": {"arguments": '{"x": 3}'}},
            ],
            [("f", '{"x": 1}'), ("g", '{"y": 2}'), ("f", '{"x": 3}')],
            id="index 0 for all and no id",
        ),
        pytest.param(
            [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}},
                {"index": 0, "id": "b", "function": {"name": "f", "arguments": ": "}},
                {"index": 0, "id": "c", "function": {"arguments": "1}"}},
                {"index": 0, "id": "d", "function": {"name": "g", "arguments": "{}"}},
            ],
            [("f", '{"x": 1}'), ("g", "{}")],
            id="a new id at each piece",
        ),
        pytest.param(
            [
                {"id": "a", "function": {"name": "f", "arguments": '{"x"'}},
                {"id": "b", "function": {"arguments": ": 1}"}},
                {"id": "c", "function": {"name": "g", "arguments": '{"y": 2}'}},
            ],
            [("f", '{"x": 1}'), ("g", '{"y": 2}')],
            id="no index, a new id at each piece",
        ),
        pytest.param(
            [
                {"function": {"name": "f", "arguments": '{"x"'}},
                {"function": {"arguments": ": 1}"}},
                {"function": {"name": "f", "arguments": '{"x": 2}'}},
            ],
            [("f", '{"x": 1}'), ("f", '{"x": 2}')],
            id="neither index nor id",
        ),
        pytest.param(
            [
                {"id": "x", "function": {"name": "f", "arguments": '{"x": 1}'}},
                {"id": "x", "function": {"name": "g", "arguments": ""}},
                {"id": "x", "function": {"arguments": '{"y": 2}'}},
            ],
            [("f", '{"x": 1}'), ("g", '{"y": 2}')],
            id="no index, one id for all",
        ),
        pytest.param(
            [{"index": "0", "function": {"name": "f"}}, {"index": "0", "function": {"arguments": "{}"}}],
            [("f", "{}")],
            id="the index as a text",
        ),
        pytest.param(
            [{"index": 0, "id": "a", "function": {"name": "f"}}, {"index": 0, "id": "b", "function": {"name": "g"}}],
            [("f", "{}"), ("g", "{}")],
            id="no arguments",
        ),
        pytest.param([{"index": 0, "function": {"name": "f", "arguments": None}}], [("f", "{}")], id="null"),
        pytest.param([{"index": 0, "function": {"name": "f", "arguments": "null"}}], [("f", "{}")], id="null as text"),
        pytest.param(
            [{"index": 0, "function": {"name": "f", "arguments": {"x": 1}}}], [("f", '{"x": 1}')], id="object"
        ),
        pytest.param([{"index": 0, "name": "f", "arguments": "{}"}], [("f", "{}")], id="without `function`"),
    ],
)
async def test_calls_are_put_together_as_their_pieces_belong(
    models: OpenAIModels, script: Script, pieces: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    script.will_send(*(call_delta(**piece) for piece in pieces), delta("tool_calls"), DONE)
    assert await calls_of(models, script) == expected


async def test_several_calls_in_one_delta_are_several(models: OpenAIModels, script: Script) -> None:
    calls = [{"index": 0, "function": {"name": name}} for name in ("f", "f", "unheard_of")]
    script.will_send(delta("tool_calls", tool_calls=calls), DONE)
    assert await calls_of(models, script) == [("f", "{}"), ("f", "{}"), ("unheard_of", "{}")]


async def test_the_calls_of_a_whole_message_are_each_their_own(models: OpenAIModels, script: Script) -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "f", "arguments": {"x": 2}}}]
    script.will_fail(201, {"choices": [{"message": {"content": None, "tool_calls": calls}}]})
    assert await calls_of(models, script) == [("f", "{}"), ("f", '{"x": 2}')]


async def test_arguments_without_end_are_one_failure(models: OpenAIModels, script: Script) -> None:
    begun = call_delta(index=0, id="c", function={"name": "f", "arguments": "{"})
    more = call_delta(index=0, function={"arguments": " " * 300_000})
    script.will_send(begun, *[more] * 4, DONE)
    await refusal(models, asking(script, tools=TOOLS))


# How an answer ends


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *(
            (word, "length")
            for word in ("LENGTH", "max_tokens", "MAX_TOKENS", "maxTokens", "max_output_tokens", "model_length")
        ),
        *(
            (word, "content_filter")
            for word in ("SAFETY", "Content_Filter", "PROHIBITED_CONTENT", "recitation", "sensitive")
        ),
        *(
            (word, "stop")
            for word in ("STOP", "eos", "<|eot_id|>", "end_turn", "finished", "zzz", 7, True, {"type": "stop"})
        ),
    ],
)
async def test_the_words_of_other_endpoints_for_an_end(
    models: OpenAIModels, script: Script, reason: Any, finish: str
) -> None:
    script.will_send(delta(reason, content="half"), DONE)
    assert (await ending_of(models, asking(script))).finish == finish


@pytest.mark.parametrize(
    "reason", ["error", "ERROR", "MALFORMED_FUNCTION_CALL", "insufficient_system_resource", "network_error", "abort"]
)
async def test_an_answer_that_the_model_broke_off_may_be_tried_again(
    models: OpenAIModels, script: Script, reason: str
) -> None:
    script.will_send(delta(content="half"), delta(reason), DONE)
    with pytest.raises(ModelUnavailable):
        await pieces_of(models, asking(script))


@pytest.mark.parametrize("reason", ["", "null", None, False])
async def test_no_reason_is_no_end(models: OpenAIModels, script: Script, reason: Any) -> None:
    script.will_send(delta(reason, content="one "), delta("stop", content="two"), DONE)
    assert await text_of(models, script) == "one two"


# The form of the body


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param([b"data:\n\n", *OK, b"data: [DONE]\n\n"], "text/event-stream", id="an empty event"),
        pytest.param([b"retry: 1000\n\n", *OK], "text/event-stream", id="retry alone"),
        pytest.param([b"id: 1\n: a comment\n\n", *OK, b"id: 2\n\n"], "text/event-stream", id="id and comment"),
        pytest.param([b"data: null\n\n", *OK], "text/event-stream", id="null"),
        pytest.param([*OK], "application/json", id="labelled as JSON"),
        pytest.param([*OK], "Text/Event-Stream; Charset=UTF-8", id="capitals"),
        pytest.param([*OK], "", id="no label"),
        pytest.param([b"\xef\xbb\xbf", *OK], "text/event-stream", id="a BOM"),
        pytest.param([piece.replace(b"\n", b"\r\n") for piece in OK], "text/event-stream", id="CRLF"),
        pytest.param([piece.replace(b"\n", b"\r") for piece in OK], "text/event-stream", id="CR"),
        pytest.param([piece.removesuffix(b"\n") for piece in OK], "text/event-stream", id="no empty lines"),
        pytest.param([piece.replace(b": ", b":", 1) for piece in OK], "text/event-stream", id="no space"),
        pytest.param([bytes([byte]) for piece in OK for byte in piece], "text/event-stream", id="byte by byte"),
        pytest.param([OK[0], OK[1].rstrip()], "text/event-stream", id="no line end at the end"),
        pytest.param(
            [piece.removeprefix(b"data: ").removesuffix(b"\n") for piece in OK], "application/x-ndjson", id="NDJSON"
        ),
        pytest.param(
            [piece.removeprefix(b"data: ").removesuffix(b"\n") for piece in OK], "application/json", id="NDJSON as JSON"
        ),
        pytest.param(
            [json.dumps({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}, indent=2).encode()],
            "Application/JSON; charset=utf-8",
            id="one object in many lines",
        ),
    ],
)
async def test_every_form_of_a_body_is_read(
    models: OpenAIModels, script: Script, body: list[bytes], content_type: str
) -> None:
    script.will_write(*body, content_type=content_type)
    assert await text_of(models, script) == "ok"


async def test_bytes_that_are_no_utf8_are_replaced(models: OpenAIModels, script: Script) -> None:
    script.will_write(b'data: {"choices": [{"delta": {"content": "a\xff\xe2\x82b"}, "finish_reason": "stop"}]}\n\n')
    assert await text_of(models, script) == "a��b"


async def test_a_very_large_piece_is_read(models: OpenAIModels, script: Script) -> None:
    script.will_send(delta("stop", content="x" * 400_000), DONE)
    assert len(await text_of(models, script)) == 400_000


# What an endpoint says is wrong


@pytest.mark.parametrize(
    "body",
    [
        [{"error": {"message": "The reason.", "code": 400}}],
        {"error": "The reason."},
        "The reason.",
        {"object": "error", "message": "The reason.", "code": 400},
        {"detail": "The reason."},
        {"detail": [{"loc": ["body"], "msg": "The reason.", "type": "value_error"}]},
        {"message": "The reason.", "error": "Bad Request", "statusCode": 400},
        {"errors": [{"message": "The reason."}]},
        {"error": {"message": json.dumps({"error": {"message": "The reason."}})}},
        {"error": {"error": {"message": "The reason."}}},
        {"fault": {"faultstring": "The reason."}},
    ],
)
async def test_the_reason_is_found_wherever_it_stands(models: OpenAIModels, script: Script, body: Any) -> None:
    script.will_fail(400, body)
    assert "The reason." in (await refusal(models, asking(script))).message


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"message": "The reason.", "code": 400}\n\n',
        b'event: error\ndata: {"error": {"message": "The reason.", "type": "invalid_request_error"}}\n\n',
        b'error: {"code": 400, "message": "The reason."}\n\n',
        b'data: {"error": {"message": "The reason.", "code": "400"}}\n\n',
        b'data: {"object": "error", "message": "The reason.", "type": "BadRequestError", "code": 400}\n\n',
        b'data: [{"error": {"code": 400, "message": "The reason.", "status": "INVALID_ARGUMENT"}}]\n\n',
        b'{"error": {"message": "The reason.", "status": "INVALID_ARGUMENT"}}',
        b'[{"error": {"code": 400, "message": "The reason."}}]',
        b'{"detail": "The reason.", "status": 422}',
    ],
)
async def test_a_4xx_inside_a_200_is_final(models: OpenAIModels, script: Script, body: bytes) -> None:
    script.will_write(body)
    error = await refusal(models, asking(script))
    assert (error.code, error.message) == ("invalid_prompt", "The reason.")


async def test_a_4xx_inside_a_500_is_final(models: OpenAIModels, script: Script) -> None:
    script.will_fail(500, {"error": {"message": "The reason.", "code": 400}})
    assert (await refusal(models, asking(script))).message == "The reason."


@pytest.mark.parametrize(
    "body", [b"event: error\ndata: Out of memory.\n\n", b"error: Out of memory.\n\n", b"Out of memory.\n"]
)
async def test_an_error_in_plain_text_keeps_its_words(models: OpenAIModels, script: Script, body: bytes) -> None:
    script.will_write(body, content_type="text/plain")
    with pytest.raises(ModelUnavailable, match="Out of memory"):
        await pieces_of(models, asking(script))


async def test_throttling_inside_a_200_is_throttling(models: OpenAIModels, script: Script) -> None:
    script.will_write(b'event: error\ndata: {"error": {"type": "rate_limit_error", "message": "Slow down."}}\n\n')
    with pytest.raises(ModelThrottled, match="Slow down"):
        await pieces_of(models, asking(script))


async def test_no_error_is_no_error(models: OpenAIModels, script: Script) -> None:
    script.will_send({**delta(content="ok"), "error": None}, {**delta("stop"), "error": ""}, DONE)
    assert await text_of(models, script) == "ok"


async def test_a_short_key_leaves_the_words_as_they_are(server: ScriptedModel, script: Script) -> None:
    models = OpenAIModels(Settings(model_base_url=server.base_url, model_api_key="e"))
    script.will_fail(400, {"error": {"message": "The key 'e' has expired here."}})
    assert (await refusal(models, asking(script))).message == "The key '***' has expired here."
    await models.close()


async def test_a_long_key_is_taken_out_wherever_it_is_glued_to(server: ScriptedModel, script: Script) -> None:
    key = "sk-0123456789abcdefghij"
    models = OpenAIModels(Settings(model_base_url=server.base_url, model_api_key=key))
    script.will_fail(400, {"error": {"message": f"Wrong: x{key}y"}})
    assert (await refusal(models, asking(script))).message == "Wrong: x***y"
    await models.close()


# What an endpoint does not take

TOO_BIG = {"error": {"message": "max_completion_tokens is too large: 99999. This model supports at most 4096 tokens."}}


async def test_a_value_that_is_too_big_teaches_nothing(models: OpenAIModels, script: Script) -> None:
    script.will_fail(400, TOO_BIG)
    assert "too large" in (await refusal(models, asking(script, max_completion_tokens=99_999))).message
    script.will_say("ok")
    await pieces_of(models, asking(script, max_completion_tokens=300))
    assert script.requests[1]["max_completion_tokens"] == 300


async def test_a_replacement_that_is_refused_is_unlearnt(models: OpenAIModels, script: Script) -> None:
    unknown = {"error": {"message": "Unknown parameter: 'max_completion_tokens'.", "param": "max_completion_tokens"}}
    refused = {"error": {"message": "Unsupported parameter: 'max_tokens'.", "param": "max_tokens"}}
    script.will_fail(400, unknown)
    script.will_say("ok")
    script.will_fail(400, refused)
    script.will_say("ok")
    await pieces_of(models, asking(script, max_completion_tokens=300))
    await refusal(models, asking(script, max_completion_tokens=300))
    await pieces_of(models, asking(script, max_completion_tokens=300))
    limits = [{name for name in request if name.startswith("max_")} for request in script.requests]
    assert limits == [{"max_completion_tokens"}, {"max_tokens"}, {"max_tokens"}, {"max_completion_tokens"}]


async def test_a_default_that_is_refused_is_left_out(models: OpenAIModels, script: Script) -> None:
    script.will_fail(400, {"error": {"message": "Unsupported parameter: 'temperature'.", "param": "temperature"}})
    script.will_say("ok")
    await pieces_of(models, asking(script, temperature=1.0, top_p=1.0))
    assert ["temperature" in request for request in script.requests] == [True, False]
    assert script.requests[1]["top_p"] == 1.0


def conversation(*roles: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": f"{role} {number}"} for number, role in enumerate(roles)]


@pytest.mark.parametrize(
    ("status", "complaint", "roles", "expected"),
    [
        pytest.param(
            500,
            "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
            ["system", "user", "user", "assistant", "assistant", "user"],
            [
                ("system", "system 0"),
                ("user", "user 1\n\nuser 2"),
                ("assistant", "assistant 3\n\nassistant 4"),
                ("user", "user 5"),
            ],
            id="alternating",
        ),
        pytest.param(
            400,
            "After the optional system message, conversation roles must alternate user/assistant/user/assistant/...",
            ["assistant", "user", "user"],
            [
                ("user", "(The conversation begins with an answer of yours.)"),
                ("assistant", "assistant 0"),
                ("user", "user 1\n\nuser 2"),
            ],
            id="beginning with the user",
        ),
        pytest.param(
            400,
            "System role not supported",
            ["system", "user", "assistant", "user"],
            [("user", "system 0\n\nuser 1"), ("assistant", "assistant 2"), ("user", "user 3")],
            id="no system",
        ),
        pytest.param(
            500,
            "Only user, assistant and tool roles are supported, got system.",
            ["system", "assistant"],
            [("user", "system 0"), ("assistant", "assistant 1")],
            id="no system, no user",
        ),
        pytest.param(
            400,
            "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
            ["user", "assistant"],
            [("user", "user 0"), ("assistant", "assistant 1"), ("user", "Go on.")],
            id="no assistant at the end",
        ),
        pytest.param(
            400,
            "Cannot have 2 or more assistant messages at the end of the list.",
            ["user", "assistant", "assistant"],
            [("user", "user 0"), ("assistant", "assistant 1"), ("assistant", "assistant 2"), ("user", "Go on.")],
            id="two of the assistant at the end",
        ),
    ],
)
async def test_roles_that_an_endpoint_refuses_are_put_in_its_order_and_remembered(
    models: OpenAIModels,
    script: Script,
    status: int,
    complaint: str,
    roles: list[str],
    expected: list[tuple[str, str]],
) -> None:
    script.will_fail(status, {"error": {"code": status, "message": complaint, "type": "invalid_request_error"}})
    script.will_say("ok")
    script.will_say("ok")
    for _ in range(2):
        request = asking(script)
        request.messages[:] = conversation(*roles)
        await pieces_of(models, request)
    assert len(script.requests) == 3
    for request in script.requests[1:]:
        assert [(message["role"], message["content"]) for message in request["messages"]] == expected


async def test_pictures_stay_where_messages_are_merged(models: OpenAIModels, script: Script) -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    script.will_fail(400, {"error": {"message": "Conversation roles must alternate"}})
    script.will_say("ok")
    request = asking(script)
    request.messages[:] = [{"role": "user", "content": "Look:"}, {"role": "user", "content": [picture]}]
    await pieces_of(models, request)
    assert script.requests[1]["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Look:"}, picture]}]


async def test_one_wish_after_another_is_met(models: OpenAIModels, script: Script) -> None:
    script.will_fail(500, {"error": {"message": "Conversation roles must alternate user/assistant", "code": 500}})
    script.will_fail(500, {"error": {"message": "System role not supported", "code": 500}})
    script.will_say("ok")
    request = asking(script)
    request.messages[:] = conversation("system", "user", "user")
    await pieces_of(models, request)
    assert script.requests[2]["messages"] == [{"role": "user", "content": "system 0\n\nuser 1\n\nuser 2"}]


async def test_a_complaint_that_nothing_helps_is_passed_on_and_teaches_nothing(
    models: OpenAIModels, script: Script
) -> None:
    for _ in range(2):
        script.will_fail(400, {"error": {"message": "Conversation roles must alternate"}})
    request = asking(script)
    request.messages[:] = conversation("user", "user")
    with pytest.raises(ModelRefused, match="alternate"):
        await pieces_of(models, request)
    script.will_say("ok")
    await pieces_of(models, request)
    assert len(script.requests[2]["messages"]) == 2


async def test_a_calls_id_and_order_survive_merging(models: OpenAIModels, script: Script) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    script.will_fail(400, {"error": {"message": "roles must alternate"}})
    script.will_say("ok")
    request = asking(script)
    request.messages[:] = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "I look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    await pieces_of(models, request)
    assert script.requests[1]["messages"] == [
        {"role": "user", "content": "a\n\nb"},
        {"role": "assistant", "content": "I look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
