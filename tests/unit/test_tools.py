"""The table of built-in tools, and the code interpreter without its sandbox."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import code_outputs
from domain.chat_messages import chat_request
from domain.code_outputs import MOST_TOLD
from ports.code_sessions import Execution
from tests.model.scripted_tool import ScriptedTool
from tests.unit.test_chat_messages import a_run
from tools.code_interpreter import source
from tools.table import functions, missing, named

TABLE = {"code_interpreter": ScriptedTool(0)}
CODE: dict[str, Any] = {"type": "code_interpreter"}


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": None, "parameters": {}, "strict": False}}


def test_a_built_in_tool_is_a_function_to_the_model():
    run = a_run(tools=[function("f"), CODE])
    request = chat_request(run, [], [], built_in=functions(TABLE, run["tools"]))
    assert request.tools
    assert [tool["function"]["name"] for tool in request.tools] == ["f", "code_interpreter"]
    assert request.tools[1]["function"]["parameters"]["required"] == ["code"]


def test_a_function_of_the_clients_keeps_its_name_and_ours_takes_a_free_one():
    tools = [function("code_interpreter"), function("code_interpreter_2"), CODE]
    assert named(TABLE, tools) == {"code_interpreter": "code_interpreter_3"}
    run = a_run(tools=tools, tool_choice=CODE)
    request = chat_request(run, [], [], built_in=functions(TABLE, tools))
    assert request.tool_choice == {"type": "function", "function": {"name": "code_interpreter_3"}}
    forced = a_run(tools=tools, tool_choice=function("code_interpreter"))
    assert chat_request(forced, [], [], built_in=functions(TABLE, tools)).tool_choice == function("code_interpreter")


def test_a_forced_tool_is_forced_in_the_first_turn_alone():
    run = a_run(tools=[CODE], tool_choice=CODE)
    turn: Any = {"text": "", "calls": [], "outputs": {}}
    assert chat_request(run, [], [turn], built_in=functions(TABLE, run["tools"])).tool_choice is None


def test_what_cannot_be_run_here_is_named():
    assert missing(TABLE, [function("f"), CODE, {"type": "file_search"}]) == ["file_search"]
    assert missing({}, [CODE]) == ["code_interpreter"]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ('{"code": "1 + 1"}', "1 + 1"),
        ('{"code": "a\nb"}', "a\nb"),  # a line break as it is: no JSON to the letter
        ("print('bare')", "print('bare')"),
        ('"in quotes"', "in quotes"),
        ('{"input": "1"}', '{"input": "1"}'),
        ("[1, 2]", "[1, 2]"),
        ("7", "7"),
        ("", ""),
    ],
)
def test_code_is_found_however_the_model_writes_it(written: str, code: str):
    assert source(written) == code
    stored = TABLE["code_interpreter"].arguments(written)
    assert json.loads(stored) == {"code": code}
    assert source(stored) == code


def test_what_a_step_streams_adds_up_to_what_it_shows():
    tool = TABLE["code_interpreter"]
    outputs = [{"type": "logs", "logs": "2"}]
    first, arguments = tool.begun("call_1"), '{"code": "1 + 1"}'
    (second,) = tool.rest(None, arguments) or []
    (third,) = tool.closing(outputs)
    shown = tool.shown("call_1", '{"code": "1 + 1"}', outputs)
    assert first["id"] == shown["id"]
    assert first["code_interpreter"]["input"] + second["code_interpreter"]["input"] == "1 + 1"
    assert third["code_interpreter"]["outputs"] == [{"index": 0, "type": "logs", "logs": "2"}]
    assert shown["code_interpreter"] == {"input": "1 + 1", "outputs": outputs}
    assert tool.closing([]) == []
    announced = {"code_interpreter": {"input": "1 ", "outputs": []}}
    assert tool.rest(announced, arguments) == [tool.written("+ 1")]
    assert tool.rest({"code_interpreter": {"input": "1 + 1", "outputs": []}}, arguments) == []
    assert tool.rest({"code_interpreter": {"input": "2", "outputs": []}}, arguments) is None


def test_what_became_of_code_is_told_in_words():
    told = code_outputs.told(Execution("timeout", "so far\n", restarted=True), 120)
    assert told.splitlines()[0] == "so far"
    assert "120 seconds" in told
    assert "variables" in told
    assert code_outputs.told(Execution("ok"), 120)
    assert code_outputs.outputs(Execution("ok"), 120, room=1_000) == []
    done = Execution("error", "out\n", "warned\n", error="Traceback: no")
    assert code_outputs.outputs(done, 120, room=1_000) == [{"type": "logs", "logs": "out\nwarned\nTraceback: no"}]


@given(text=st.text(max_size=60_000), room=st.integers(1_000, 20_000))
def test_long_outputs_keep_their_beginning_and_their_end(text: str, room: int):
    done = Execution("ok", f"<{text}>")
    told = code_outputs.told(done, 120)
    assert len(told) < MOST_TOLD + 100
    assert (told[0], told[-1]) == ("<", ">")
    for output in code_outputs.outputs(done, 120, room=room):
        assert len(json.dumps(output["logs"], ensure_ascii=False).encode()) <= room
        assert (output["logs"][0], output["logs"][-1]) == ("<", ">")
