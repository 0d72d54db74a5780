"""Two requests at the same time on one thread: the store decides, and some order of the two explains the result."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import httpx
import pytest

from tests.scripted_model import Script
from tests.service import Service

ENDED = {"completed", "incomplete", "failed", "cancelled", "expired"}
TOOL = {"type": "function", "function": {"name": "weather"}}


class Caller:
    """One HTTP client of the service; every answer is checked to be no 5xx."""

    def __init__(self, http: httpx.AsyncClient, model: Script) -> None:
        self.http = http
        self.model = model

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = await self.http.request(method, path, json=body)
        assert answer.status_code < 500, f"{method} {path}: {answer.text}"
        return answer

    async def assistant(self, **settings: Any) -> str:
        return (await self.call("POST", "/assistants", {"model": self.model.name, **settings})).json()["id"]

    async def thread(self) -> str:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        return (await self.call("POST", "/threads", body)).json()["id"]

    def begin(self, thread: str, assistant: str, **options: Any) -> Awaitable[httpx.Response]:
        return self.call("POST", f"/threads/{thread}/runs", {"assistant_id": assistant, **options})

    def say(self, thread: str, text: str = "More") -> Awaitable[httpx.Response]:
        return self.call("POST", f"/threads/{thread}/messages", {"role": "user", "content": text})

    async def ended(self, thread: str, run: str) -> dict[str, Any]:
        return await self.run_when(thread, run, ENDED)

    async def run_when(self, thread: str, run: str, states: set[str]) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while (found := (await self.call("GET", f"/threads/{thread}/runs/{run}")).json())["status"] not in states:
                await asyncio.sleep(0.03)
        return found

    async def waiting(self, assistant: str) -> tuple[str, str, list[dict[str, str]]]:
        """A run that waits for outputs: its thread, its id, the outputs."""
        thread = await self.thread()
        run = (await self.begin(thread, assistant)).json()["id"]
        found = await self.run_when(thread, run, {"requires_action"})
        calls = found["required_action"]["submit_tool_outputs"]["tool_calls"]
        return thread, run, [{"tool_call_id": call["id"], "output": "mild"} for call in calls]

    async def texts(self, thread: str) -> list[str]:
        found = (await self.call("GET", f"/threads/{thread}/messages?limit=100&order=asc")).json()["data"]
        return [message["content"][0]["text"]["value"] for message in found]

    async def assert_unlocked(self, thread: str) -> None:
        assert (await self.say(thread)).status_code == 200


@pytest.fixture
async def caller(service: Service, model: Script) -> AsyncIterator[Caller]:
    limits = httpx.Limits(max_connections=20)
    headers = {"api-key": service.key}
    async with httpx.AsyncClient(
        base_url=service.base_url, headers=headers, timeout=30, limits=limits, trust_env=False
    ) as http:
        yield Caller(http, model)


async def test_of_two_runs_at_once_one_begins(caller: Caller) -> None:
    assistant = await caller.assistant()

    async def race(thread: str) -> tuple[str, str, str]:
        messages = [[{"role": "user", "content": f"by {who}"}] for who in "AB"]
        answers = await asyncio.gather(
            *(caller.begin(thread, assistant, additional_messages=given) for given in messages)
        )
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 1}
        [won] = [answer.json()["id"] for answer in answers if answer.status_code == 200]
        [lost] = [answer.json()["error"]["message"] for answer in answers if answer.status_code == 400]
        assert lost == f"Thread {thread} already has an active run {won}."
        return thread, won, "by A" if answers[0].status_code == 200 else "by B"

    for _ in range(10):
        answers = [caller.model.will_hang("Yes.") for _ in range(5)]
        races = await asyncio.gather(*[race(await caller.thread()) for _ in range(5)])
        for answer in answers:
            answer.release()
        for thread, run, winner in races:
            assert (await caller.ended(thread, run))["status"] == "completed"
            assert await caller.texts(thread) == ["Hi", winner, "Yes."], "a refused run leaves no message"


async def test_a_run_and_a_message_at_once(caller: Caller) -> None:
    assistant = await caller.assistant()
    for _ in range(12):
        caller.model.will_say("Yes.")
        thread = await caller.thread()
        run, message = await asyncio.gather(caller.begin(thread, assistant), caller.say(thread))
        assert run.status_code == 200
        if message.status_code == 400:
            text = f"Can't add messages to {thread} while a run {run.json()['id']} is active."
            assert message.json()["error"]["message"] == text
        await caller.ended(thread, run.json()["id"])
        texts = await caller.texts(thread)
        # A message that came in after the run's end is in order too.
        expected = [["Hi", "Yes."]] if message.status_code == 400 else [["Hi", "More", "Yes."], ["Hi", "Yes.", "More"]]
        assert texts in expected
        await caller.assert_unlocked(thread)


async def test_messages_at_once_all_arrive_once(caller: Caller) -> None:
    thread = await caller.thread()
    answers = await asyncio.gather(*(caller.say(thread, f"#{number}") for number in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    texts = await caller.texts(thread)
    assert sorted(texts) == sorted(["Hi", *(f"#{number}" for number in range(12))])


async def test_of_two_submits_at_once_one_counts(caller: Caller) -> None:
    assistant = await caller.assistant(tools=[TOOL])
    for _ in range(8):
        caller.model.will_call("weather")
        caller.model.will_say("Yes.")
        thread, run, outputs = await caller.waiting(assistant)
        path = f"/threads/{thread}/runs/{run}/submit_tool_outputs"
        both = [[output | {"output": who} for output in outputs] for who in "AB"]
        answers = await asyncio.gather(*(caller.call("POST", path, {"tool_outputs": given}) for given in both))
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 1}
        [lost] = [answer.json()["error"]["message"] for answer in answers if answer.status_code == 400]
        assert lost.startswith('Runs in status "') and lost.endswith('" do not accept tool outputs.')
        assert (await caller.ended(thread, run))["status"] == "completed"
        winner = "A" if answers[0].status_code == 200 else "B"
        assert caller.model.requests[-1]["messages"][-1]["content"] == winner
        assert await caller.texts(thread) == ["Hi", "Yes."]
        steps = (await caller.call("GET", f"/threads/{thread}/runs/{run}/steps")).json()["data"]
        assert len(steps) == 2


async def test_cancel_and_submit_at_once(caller: Caller) -> None:
    assistant = await caller.assistant(tools=[TOOL])
    for _ in range(8):
        caller.model.will_call("weather")
        thread, run, outputs = await caller.waiting(assistant)
        answer = caller.model.will_hang("Never.")
        path = f"/threads/{thread}/runs/{run}"
        cancelled, submitted = await asyncio.gather(
            caller.call("POST", f"{path}/cancel"),
            caller.call("POST", f"{path}/submit_tool_outputs", {"tool_outputs": outputs}),
        )
        assert cancelled.status_code == 200
        assert (await caller.ended(thread, run))["status"] == "cancelled"
        [step] = (await caller.call("GET", f"{path}/steps")).json()["data"]
        assert step["status"] == ("completed" if submitted.status_code == 200 else "cancelled")
        await caller.assert_unlocked(thread)
        if not answer.arrived.is_set():  # the model was never asked: the next round must not get this answer
            caller.model.forget()


async def test_cancels_at_once(caller: Caller) -> None:
    assistant = await caller.assistant()
    for _ in range(5):
        caller.model.will_hang("Never.")
        thread = await caller.thread()
        run = (await caller.begin(thread, assistant)).json()["id"]
        await caller.run_when(thread, run, {"in_progress"})
        path = f"/threads/{thread}/runs/{run}/cancel"
        answers = await asyncio.gather(*(caller.call("POST", path) for _ in range(4)))
        assert {answer.json()["status"] for answer in answers if answer.status_code == 200} == {"cancelling"}
        assert (await caller.ended(thread, run))["status"] == "cancelled"
        await caller.assert_unlocked(thread)
        caller.model.forget()


async def test_an_answer_and_a_cancel_at_once(caller: Caller) -> None:
    assistant = await caller.assistant()
    for delay in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1):
        caller.model.will_say("One two three.", delay=0.01)
        thread = await caller.thread()
        run = (await caller.begin(thread, assistant)).json()["id"]
        await asyncio.sleep(delay)
        cancelled = await caller.call("POST", f"/threads/{thread}/runs/{run}/cancel")
        ended = await caller.ended(thread, run)
        if cancelled.status_code == 400:
            assert ended["status"] == "completed"
        said = (await caller.texts(thread))[1:]
        if ended["status"] == "completed":
            assert said == ["One two three."]
        else:
            assert ended["status"] == "cancelled"
            assert len(said) <= 1 and "One two three.".startswith("".join(said))
        await caller.assert_unlocked(thread)
        caller.model.forget()


async def test_a_run_and_the_deletion_of_its_thread_at_once(caller: Caller) -> None:
    assistant = await caller.assistant()
    for _ in range(8):
        caller.model.will_say("Yes.")
        thread = await caller.thread()
        run, deleted = await asyncio.gather(
            caller.begin(thread, assistant), caller.call("DELETE", f"/threads/{thread}")
        )
        assert (run.status_code in (200, 404), deleted.status_code) == (True, 200)
        for path in ("", "/messages", "/runs", *([f"/runs/{run.json()['id']}"] if run.status_code == 200 else [])):
            assert (await caller.call("GET", f"/threads/{thread}{path}")).status_code == 404
        caller.model.forget()


async def test_a_thread_is_deleted_by_many_at_once(caller: Caller) -> None:
    for _ in range(5):
        thread = await caller.thread()
        answers = await asyncio.gather(*(caller.call("DELETE", f"/threads/{thread}") for _ in range(4)))
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses[200] >= 1 and set(statuses) <= {200, 404}
        assert (await caller.call("GET", f"/threads/{thread}")).status_code == 404


async def test_changes_of_metadata_during_a_run_are_kept(caller: Caller) -> None:
    """They touch the same documents as the run's own commits: neither may overwrite the other."""
    assistant = await caller.assistant()
    caller.model.will_say("word " * 60, delay=0.01)
    thread = await caller.thread()
    run = (await caller.begin(thread, assistant)).json()["id"]
    for number in range(15):
        metadata = {"metadata": {"number": str(number)}}
        answers = await asyncio.gather(
            caller.call("POST", f"/threads/{thread}", metadata),
            caller.call("POST", f"/threads/{thread}/runs/{run}", metadata),
        )
        assert [answer.status_code for answer in answers] == [200, 200]
        await asyncio.sleep(0.02)
    ended = await caller.ended(thread, run)
    assert (ended["status"], ended["metadata"]) == ("completed", {"number": "14"})
    assert (await caller.call("GET", f"/threads/{thread}")).json()["metadata"] == {"number": "14"}
    assert await caller.texts(thread) == ["Hi", "word " * 60]
