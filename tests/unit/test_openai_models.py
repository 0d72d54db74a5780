"""The adapter against a real HTTP server that can misbehave."""

import asyncio
import json
import os
import time
from typing import Any

import pytest

from adapters.openai_models import OpenAIModels
from ports.language_model import (
    ChatRequest,
    Ending,
    FunctionCall,
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


async def test_text_arrives_piece_by_piece_and_ends_with_usage(models: OpenAIModels, script: Script) -> None:
    script.will_say("It is warm.", usage=(12, 3))
    assert await pieces_of(models, asking(script)) == [
        TextPiece("It"),
        TextPiece(" is"),
        TextPiece(" warm."),
        Ending("stop", [], ModelUsage(12, 3)),
    ]


async def test_only_members_that_are_set_are_sent(models: OpenAIModels, script: Script) -> None:
    script.will_say("ok")
    await pieces_of(models, asking(script, temperature=0.0))
    assert set(script.requests[0]) == {"model", "messages", "temperature", "stream", "stream_options"}
    assert script.requests[0]["temperature"] == 0.0
    assert script.seen[0].headers["authorization"] == "Bearer the-key"


async def test_line_separators_inside_text_do_not_break_the_stream(models: OpenAIModels, script: Script) -> None:
    script.will_say("one\u2028two\u0085three", pieces=1)
    assert (await pieces_of(models, asking(script)))[0] == TextPiece("one\u2028two\u0085three")


async def test_a_refusal_is_not_text(models: OpenAIModels, script: Script) -> None:
    script.will_say("", refusal="No.")
    assert (await pieces_of(models, asking(script)))[0] == RefusalPiece("No.")


async def test_parallel_calls_are_collected_by_index(models: OpenAIModels, script: Script) -> None:
    script.will_call_all(("get_a", {"x": 1}), ("get_b", {}))
    ending = await ending_of(models, asking(script))
    assert ending.finish == "tool_calls"
    assert [(call.index, call.name, call.arguments) for call in ending.calls] == [
        (0, "get_a", '{"x": 1}'),
        (1, "get_b", "{}"),
    ]
    assert len({call.id for call in ending.calls}) == 2


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [
                call_delta(index=0, id="c1", function={"name": "f", "arguments": "{"}),
                call_delta(index=0, id="c1", function={"name": "f", "arguments": "}"}),
                call_delta(index=1, id="c2", function={"name": "g", "arguments": "[]"}),
            ],
            id="id and name repeated",
        ),
        pytest.param(
            [
                call_delta(id="c1", function={"name": "f", "arguments": "{"}),
                call_delta(function={"arguments": "}"}),
                call_delta(id="c2", function={"name": "g", "arguments": "[]"}),
            ],
            id="no index",
        ),
        pytest.param(
            [
                call_delta(index=0, id="c1", function={"name": "f", "arguments": "{}"}),
                call_delta(index=0, id="c2", function={"name": "g", "arguments": "["}),
                call_delta(index=0, function={"arguments": "]"}),
            ],
            id="one index for all",
        ),
        pytest.param(
            [
                call_delta(index=0, id="c1", function={"name": "f", "arguments": {}}),
                call_delta(index=1, id="c2", function={"name": "g", "arguments": "[]"}),
            ],
            id="arguments as an object",
        ),
    ],
)
async def test_calls_survive_what_endpoints_do_to_them(
    models: OpenAIModels, script: Script, deltas: list[dict[str, Any]]
) -> None:
    script.will_send(*deltas, delta("stop"), "[DONE]")
    ending = await ending_of(models, asking(script))
    assert ending.finish == "tool_calls"
    assert ending.calls == [FunctionCall(0, "c1", "f", "{}"), FunctionCall(1, "c2", "g", "[]")]


async def test_missing_and_doubled_call_ids_are_derived_and_stay_the_same(models: OpenAIModels, script: Script) -> None:
    deltas = [call_delta(index=at, id=id, function={"name": "f"}) for at, id in enumerate(["x", "x", None])]
    for _ in range(2):
        script.will_send(*deltas, delta("tool_calls"), "[DONE]")
    first = await ending_of(models, asking(script))
    again = await ending_of(models, asking(script))
    assert first == again
    assert len({call.id for call in first.calls}) == 3


async def test_the_older_function_call_is_a_call(models: OpenAIModels, script: Script) -> None:
    script.will_send(delta(function_call={"name": "f", "arguments": "{}"}), delta("function_call"), "[DONE]")
    ending = await ending_of(models, asking(script))
    assert (ending.finish, [call.name for call in ending.calls]) == ("tool_calls", ["f"])


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_an_answer_cut_short_says_why(models: OpenAIModels, script: Script, finish: str) -> None:
    script.will_say("half", finish=finish)
    assert (await ending_of(models, asking(script))).finish == finish


async def test_half_a_call_is_no_call(models: OpenAIModels, script: Script) -> None:
    script.will_call_all(("f", {"x": 1}), finish="length")
    assert (await ending_of(models, asking(script))).calls == []


async def test_an_endpoint_that_sends_no_usage(models: OpenAIModels, script: Script) -> None:
    script.will_say("ok", usage=None)
    assert (await ending_of(models, asking(script))).usage is None


async def test_a_stream_without_done_is_whole_if_it_gave_a_finish_reason(models: OpenAIModels, script: Script) -> None:
    script.will_send(delta(content="ok"), delta("stop"))
    assert (await ending_of(models, asking(script))).finish == "stop"


@pytest.mark.parametrize("end", [[], ["[DONE]"]])
async def test_a_stream_that_ends_as_it_should_needs_no_finish_reason(
    models: OpenAIModels, script: Script, end: list[str]
) -> None:
    script.will_send(delta(content="an answer"), *end)
    assert await pieces_of(models, asking(script)) == [TextPiece("an answer"), Ending("stop")]
    script.will_send(call_delta(index=0, id="c1", function={"name": "f", "arguments": '{"x": 1}'}), *end)
    assert (await ending_of(models, asking(script))).calls == [FunctionCall(0, "c1", "f", '{"x": 1}')]


@pytest.mark.parametrize("end", [[], ["[DONE]"]])
@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [delta(content="  ")],
        [delta(reasoning_content="Let me think.")],
        [call_delta(index=0, id="c1", function={"name": "f", "arguments": '{"x": '})],
        [delta(content="I look it up."), call_delta(index=0, id="c1", function={"name": "f", "arguments": '{"x": '})],
    ],
)
async def test_nothing_or_half_a_call_is_not_an_answer(
    models: OpenAIModels, script: Script, chunks: list[Any], end: list[str]
) -> None:
    script.will_send(*chunks, *end)
    with pytest.raises(ModelUnavailable):
        await pieces_of(models, asking(script))


async def test_a_connection_that_breaks_in_the_middle_is_not_an_answer(models: OpenAIModels, script: Script) -> None:
    script.will_cut("one two three four", after=2)
    with pytest.raises(ModelUnavailable):
        await pieces_of(models, asking(script))


@pytest.mark.parametrize("after", [0, 2])
async def test_silence_is_a_failure(models: OpenAIModels, script: Script, after: int) -> None:
    script.will_hang("one two three four", after=after)
    with pytest.raises(ModelUnavailable, match="not a byte"):
        await pieces_of(models, asking(script))


async def test_closing_the_iterator_closes_the_connection(models: OpenAIModels, script: Script) -> None:
    answer = script.will_hang("one two three", after=2)
    pieces = models.stream(asking(script))
    assert await anext(pieces) == TextPiece("one")
    await pieces.aclose()  # type: ignore[attr-defined]
    assert await asyncio.to_thread(answer.abandoned.wait, 5)


async def test_cancelling_the_reader_of_a_silent_model_closes_the_connection(
    models: OpenAIModels, script: Script
) -> None:
    answer = script.will_hang()
    reading = asyncio.create_task(pieces_of(models, asking(script)))
    assert await asyncio.to_thread(answer.arrived.wait, 5)
    reading.cancel()
    assert await asyncio.to_thread(answer.abandoned.wait, 5)


async def test_an_endpoint_that_ignores_stream_still_answers(models: OpenAIModels, script: Script) -> None:
    message = {"role": "assistant", "content": "all at once"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    script.will_fail(201, body)
    assert await pieces_of(models, asking(script)) == [
        TextPiece("all at once"),
        Ending("stop", [], ModelUsage(1, 0)),
    ]


async def test_an_error_with_a_status_of_success_is_an_error(models: OpenAIModels, script: Script) -> None:
    script.will_fail(201, {"error": {"message": "Slow down", "code": 429}})
    with pytest.raises(ModelThrottled):
        await pieces_of(models, asking(script))


async def test_a_web_page_is_a_wrong_address(models: OpenAIModels, script: Script) -> None:
    script.will_fail(201, "<html>Welcome</html>", {"content-type": "text/html"})
    error = await refusal(models, asking(script))
    assert "MODEL_BASE_URL" in error.message


async def test_throttling_tells_how_long_to_wait(models: OpenAIModels, script: Script) -> None:
    error = {"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}
    script.will_fail(429, error, {"retry-after": "7"})
    script.will_fail(429, error, {"retry-after": "7", "retry-after-ms": "1500"})
    script.will_fail(429, error)
    waits = []
    for _ in range(3):
        with pytest.raises(ModelThrottled) as caught:
            await pieces_of(models, asking(script))
        waits.append(caught.value.retry_after)
        assert not caught.value.quota
    assert waits == [7.0, 1.5, None]
    assert len(script.requests) == 3  # the SDK did not retry by itself


async def test_no_quota_is_not_worth_waiting_for(models: OpenAIModels, script: Script) -> None:
    script.will_fail(429, {"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}})
    with pytest.raises(ModelThrottled) as caught:
        await pieces_of(models, asking(script))
    assert caught.value.quota


async def test_an_unknown_model_is_named(models: OpenAIModels) -> None:
    error = await refusal(models, ChatRequest("unknown-model", [{"role": "user", "content": "Hi"}]))
    assert error.code == "server_error"
    assert "unknown-model" in error.message


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_not_repeated(models: OpenAIModels, script: Script, status: int) -> None:
    script.will_fail(status, {"error": {"message": "Wrong key: the-key"}})
    error = await refusal(models, asking(script))
    assert error.code == "server_error"
    assert "the-key" not in error.message


async def test_a_bad_request_fails_with_the_endpoints_words_but_no_key(models: OpenAIModels, script: Script) -> None:
    script.will_fail(400, {"error": {"message": "Too long for the-key. " + "x" * 2000, "code": "context_length"}})
    error = await refusal(models, asking(script))
    assert error.code == "invalid_prompt"
    assert error.message.startswith("Too long for ***.")
    assert len(error.message) <= 500


async def test_filtered_input_names_the_policy(models: OpenAIModels, script: Script) -> None:
    script.will_fail(400, {"error": {"message": "Filtered.", "code": "content_filter"}})
    error = await refusal(models, asking(script))
    assert error.code == "invalid_prompt"
    assert "content management policy" in error.message


@pytest.mark.parametrize("status", [408, 500, 502, 503])
async def test_a_failing_endpoint_may_be_tried_again(models: OpenAIModels, script: Script, status: int) -> None:
    script.will_fail(status, "<html>Bad gateway</html>", {"content-type": "text/html"})
    with pytest.raises(ModelUnavailable, match=str(status)):
        await pieces_of(models, asking(script))


async def test_an_endpoint_that_is_not_there(script: Script) -> None:
    models = OpenAIModels(Settings(model_base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ModelUnavailable):
        await pieces_of(models, asking(script))
    await models.close()


async def test_an_endpoint_that_hangs_up_at_once(script: Script) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    models = OpenAIModels(Settings(model_base_url=f"http://127.0.0.1:{port}/v1", model_api_key="the-key"))
    async with server:
        with pytest.raises(ModelUnavailable, match="could not be reached"):
            await pieces_of(models, asking(script))
    await models.close()


async def test_no_model_set() -> None:
    error = await refusal(OpenAIModels(Settings()), ChatRequest("m", []))
    assert "MODEL_BASE_URL" in error.message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "Overloaded", "code": 503}, ModelUnavailable),
        ({"message": "Slow down", "code": "429"}, ModelThrottled),
        ({"message": "Too long", "code": 400}, ModelRefused),
        ({"message": "Filtered", "code": "content_filter"}, ModelRefused),
        ({"message": "Oops"}, ModelUnavailable),
        ("Oops", ModelUnavailable),
    ],
)
async def test_an_error_in_the_stream_is_an_error(
    models: OpenAIModels, script: Script, error: Any, expected: type[Exception]
) -> None:
    script.will_send(delta(content="one"), {"error": error})
    with pytest.raises(expected):
        await pieces_of(models, asking(script))


@pytest.mark.parametrize("chunk", ["{not json", "[1, 2]", '"text"', '{"choices": [7]}', '{"choices": 1}'])
async def test_nonsense_is_a_failure_of_the_endpoint(models: OpenAIModels, script: Script, chunk: str) -> None:
    script.will_send(chunk, "[DONE]")
    with pytest.raises(ModelUnavailable):
        await pieces_of(models, asking(script))


async def test_parameters_that_an_endpoint_does_not_know_are_left_out_and_remembered(
    models: OpenAIModels, script: Script
) -> None:
    script.will_fail(400, {"error": {"message": "Unknown parameter: 'stream_options'.", "param": "stream_options"}})
    script.will_fail(422, {"detail": "max_completion_tokens: extra fields not permitted"})
    script.will_say("ok")
    script.will_say("ok")
    await pieces_of(models, asking(script, max_completion_tokens=9))
    await pieces_of(models, asking(script, max_completion_tokens=8))
    assert len(script.requests) == 4
    for request, limit in zip(script.requests[2:], (9, 8), strict=True):
        assert request["max_tokens"] == limit
        assert not {"stream_options", "max_completion_tokens"} & set(request)


async def test_a_parameter_the_user_asked_for_is_never_left_out(models: OpenAIModels, script: Script) -> None:
    script.will_fail(400, {"error": {"message": "Unsupported parameter: 'temperature'.", "param": "temperature"}})
    error = await refusal(models, asking(script, temperature=0.5))
    assert "temperature" in error.message


async def test_the_sdks_own_environment_is_never_read(
    server: ScriptedModel, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setitem(os.environ, name, "leaked")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-custom: leaked")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    models = OpenAIModels(Settings(model_base_url=server.base_url))
    script.will_say("ok")
    await pieces_of(models, asking(script))
    assert "leaked" not in json.dumps(dict(script.seen[0].headers))
    await models.close()


async def test_an_azure_endpoint_is_asked_at_its_v1_path(server: ScriptedModel, script: Script) -> None:
    endpoint = server.base_url.removesuffix("/v1")
    models = OpenAIModels(Settings(model_azure_endpoint=endpoint, model_api_key="k"))
    script.will_say("ok")
    await pieces_of(models, asking(script))
    assert script.seen[0].path == "/openai/v1/chat/completions"
    await models.close()


async def test_connections_are_used_again(models: OpenAIModels, script: Script) -> None:
    for _ in range(20):
        script.will_say("ok")
    await pieces_of(models, asking(script))
    began = time.perf_counter()
    for _ in range(19):
        await pieces_of(models, asking(script))
    assert time.perf_counter() - began < 2.0  # a stream that is not read to its end costs 0.1 s each
