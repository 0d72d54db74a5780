"""A silent stream says that it is alive, in a way that no client trips over: both generations of the Python
SDK, sync and async, and Node. The model is silent before its first word, and again in the middle."""

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.behaviour.conftest import StartService
from tests.clients.runner import node_client, old_python_client
from tests.conversation import ask, assistant_id
from tests.event_stream import open_stream
from tests.scripted_model import Script
from tests.service import Service

TEXT = "One two three."


@pytest.fixture
def slow(model: Script) -> Script:
    model.will_say(TEXT, first_delay=0.4, delay=0.25)
    return model


def test_on_the_wire(hasty_service: Service, slow: Script) -> None:
    with hasty_service.http() as http, hasty_service.openai() as client:
        body = {"assistant_id": assistant_id(client, slow), "stream": True}
        with open_stream(http, "POST", "/threads/runs", json=body) as stream:
            stream.finish()
    assert stream.keep_alives >= 8
    assert stream.text == TEXT


def test_no_empty_line_follows(hasty_service: Service, slow: Script) -> None:
    with hasty_service.http() as http, hasty_service.openai() as client:
        run = ask(client, slow)
        raw = http.get(f"/threads/{run.thread_id}/runs/{run.id}/events").content
    assert raw.count(b": keep-alive\n") >= 8
    assert b": keep-alive\n\n" not in raw


@pytest.mark.parametrize(
    "user_agent",
    [
        "azsdk-java-azure-ai-openai-assistants/1.0.0-beta.4 (17.0.15; Linux; 6.1.0)",
        "my-app azsdk-java-azure-ai-agents-persistent/1.0.0-beta.2 (21.0.1; Mac OS X; 14.5)",
    ],
)
def test_azures_java_clients_are_sent_no_comment(hasty_service: Service, slow: Script, user_agent: str) -> None:
    """They take every block that an empty line ends for an event, its first two lines by position."""
    with hasty_service.openai() as client:
        run = ask(client, slow)
    with hasty_service.http(headers={"user-agent": user_agent}) as http:
        raw = http.get(f"/threads/{run.thread_id}/runs/{run.id}/events").text
    blocks = [block.split("\n") for block in raw.removesuffix("\n\n").split("\n\n")]
    assert all(lines[0].startswith("event: ") and lines[1].startswith("data: ") for lines in blocks)
    assert [lines[0] for lines in blocks[-2:]] == ["event: thread.run.completed", "event: done"]


def test_none_at_all_by_setting(start_service: StartService, slow: Script) -> None:
    service = start_service(settings={"STREAM_KEEP_ALIVE_SECONDS": "0"})
    with service.http() as http:
        run = ask(service.openai(), slow)
        raw = http.get(f"/threads/{run.thread_id}/runs/{run.id}/events").text
    assert raw.endswith("event: done\ndata: [DONE]\n\n")
    assert not [line for line in raw.split("\n") if line.startswith(":")]


def test_in_the_current_python_client(hasty_service: Service, slow: Script) -> None:
    with hasty_service.openai() as client:
        read_all(client, slow)


def test_in_the_current_python_client_for_azure(hasty_service: Service, slow: Script) -> None:
    with hasty_service.azure() as client:
        read_all(client, slow)


def read_all(client: OpenAI, slow: Script) -> None:
    with client.beta.threads.create_and_run_stream(assistant_id=assistant_id(client, slow)) as stream:
        assert "".join(stream.text_deltas) == TEXT
    assert stream.get_final_run().status == "completed"


async def test_in_the_current_asynchronous_python_client(hasty_service: Service, slow: Script) -> None:
    async with hasty_service.async_openai() as client:
        await read_all_async(client, slow)


async def read_all_async(client: AsyncOpenAI, slow: Script) -> None:
    assistant = await client.beta.assistants.create(model=slow.name)
    async with client.beta.threads.create_and_run_stream(assistant_id=assistant.id) as stream:
        assert "".join([text async for text in stream.text_deltas]) == TEXT
    assert (await stream.get_final_run()).status == "completed"


def test_in_the_old_python_client(hasty_service: Service, slow: Script) -> None:
    assert old_python_client(hasty_service, "read_stream", slow.name) == {"sync": TEXT, "status": "completed"}


def test_in_the_node_client(hasty_service: Service, slow: Script) -> None:
    assert node_client(hasty_service, "read_stream", slow.name) == {"text": TEXT, "status": "completed"}


def test_while_a_run_waits_in_a_replay(hasty_service: Service, model: Script) -> None:
    """A reader that has seen requires_action waits, alive, until the run expires."""
    model.will_call("weather")
    with hasty_service.http() as http, hasty_service.openai() as client:
        tool = {"type": "function", "function": {"name": "weather"}}
        run = ask(client, model, tools=[tool])
        path = f"/threads/{run.thread_id}/runs/{run.id}/events"
        with open_stream(http, "GET", path) as stream:
            stream.until("thread.run.requires_action")
        after = {"last-event-id": str(stream.seen[-1].id)}
        with open_stream(http, "GET", path, headers=after) as stream:
            stream.finish()
    assert stream.names == ["run.step.expired", "run.expired", "done"]
    assert stream.keep_alives >= 8


def test_a_client_that_left_is_not_written_to(hasty_service: Service, model: Script) -> None:
    answer = model.will_hang(TEXT, after=1)
    began_at = hasty_service.log_path.stat().st_size
    with hasty_service.http() as http, hasty_service.openai() as client:
        body = {"assistant_id": assistant_id(client, model), "stream": True}
        with pytest.raises(httpx.ReadTimeout), open_stream(http, "POST", "/threads/runs", json=body, timeout=0.01) as s:
            s.until("thread.run.completed")
    answer.release()
    assert "Traceback" not in hasty_service.log(after=began_at)
