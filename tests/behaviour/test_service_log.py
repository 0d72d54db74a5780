"""The log tells what happened to requests and runs, and nothing of what was said."""

import re

import pytest

from tests.conversation import WEATHER, ask, outputs_of, run_when
from tests.scripted_model import Script
from tests.service import Service

SECRET = "the-secret-of-this-test"


def test_a_line_for_each_request_and_each_step_of_a_run(service: Service, model: Script) -> None:
    began_at = service.log_path.stat().st_size
    client = service.openai()
    model.will_call("weather")
    run = run_when(client, ask(client, model, tools=[WEATHER]), "requires_action")
    model.will_say("Mild.")
    client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run))
    run_when(client, run)
    log = service.log(after=began_at)
    for line in (
        rf"POST /openai/v1/threads/{run.thread_id}/runs 200 \d+ ms",
        rf"GET /openai/v1/threads/{run.thread_id}/runs/{run.id} 200 \d+ ms",
        f"run {run.id} requires_action",
        f"run {run.id} completed",
    ):
        assert re.search(line, log), line


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_nothing_of_what_was_said_is_logged(service: Service, model: Script, status: int) -> None:
    began_at = service.log_path.stat().st_size
    client = service.openai()
    model.will_call("weather", city=SECRET)
    options = {"instructions": SECRET, "metadata": {"a": SECRET}, "tools": [WEATHER]}
    run = run_when(client, ask(client, model, SECRET, **options), "requires_action")
    model.will_fail(status, {"error": {"message": f"{SECRET} {status}"}})
    model.will_say(SECRET)
    client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs_of(run, SECRET))
    run_when(client, run)
    with service.http() as http:
        http.post("/threads", content=f'{{"messages": [{{"{SECRET}": 1}}]}}')
        http.post("/threads", content=SECRET)
        http.get("/threads", params={"metadata[a]": SECRET})
    log = service.log(after=began_at)
    assert SECRET not in log
    assert service.key not in service.log()
    assert "the-key-of-the-model" not in service.log()
    assert "Traceback" not in log
