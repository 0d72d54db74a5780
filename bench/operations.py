"""What a run asks of the store: the routes, activities and streams themselves, over a port that counts.

They run in this process, in the order in which the orchestration calls them; the store is SQLite.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.requests import Request

from access.principals import Principal
from activities.append_message import append_answer
from activities.call_model import TurnDelivery
from adapters.openai_models import OpenAIModels
from adapters.sqlite import SqliteDocuments
from bench.stage import NAME, Model, model, row, table
from events.addresses import thread_partition
from events.stream import Cursor, RunStream
from ports.documents import Change, Document
from ports.task_hub import RunAddress
from routes.assistants import create_assistant
from routes.operation import Call, Handler
from routes.runs import create_run, submit_tool_outputs_to_run
from routes.threads import create_thread
from settings import Settings

SAID = "Which of the two roads is the shorter one?"
COLUMNS = ("point reads", "listings", "commits", "documents written", "waits for a batch")
FUNCTION = {"type": "function", "function": {"name": "measure_road"}}


class CountingDocuments(SqliteDocuments):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path
        self.counts: Counter[str] = Counter()

    async def get(self, partition: str, id: str) -> Document | None:
        self.counts["point reads"] += 1
        return await super().get(partition, id)

    async def commit(self, partition: str, *changes: Change, writer: str | None = None) -> list[Document]:
        self.counts["commits"] += 1
        self.counts["documents written"] += len(changes)
        return await super().commit(partition, *changes, writer=writer)

    async def list(self, *where: Any, **which: Any) -> list[Document]:
        self.counts["listings"] += 1
        return await super().list(*where, **which)

    def stream(self, *where: Any, **which: Any) -> AsyncIterator[Document]:
        self.counts["listings"] += 1
        return super().stream(*where, **which)

    async def wait_for(self, partition: str, id: str, *, timeout: float) -> Document | None:
        self.counts["waits for a batch"] += 1
        return await super().wait_for(partition, id, timeout=timeout)


class NoHub:
    """What the orchestration would do, this module does."""

    async def wake(self, run: RunAddress, event: str | None = None) -> bool:
        return True

    async def ready(self) -> bool:
        return True


class Story:
    """One run of one thread: what its client and its orchestration do. `parts` counts each of them."""

    def __init__(self, documents: CountingDocuments, settings: Settings) -> None:
        self._documents = documents
        self._settings = settings
        self._model = OpenAIModels(settings)
        self._place: dict[str, str] = {}
        self.parts: dict[str, Counter[str]] = {}

    async def begin(self, said: str, tools: list[dict[str, Any]]) -> None:
        assistant = await self._answer(create_assistant, {"model": NAME, "tools": tools})
        thread = await self._answer(create_thread, {"messages": [{"role": "user", "content": said}]})
        self._place = {"thread_id": thread["id"]}
        run = await self._request("create the run", create_run, {"assistant_id": assistant["id"]})
        self._place["run_id"] = run["id"]
        self._reading = asyncio.create_task(self._read())

    async def turn(self, number: int) -> None:
        delivery = TurnDelivery(
            documents=self._documents,
            model=self._model,
            tools={},
            context_tokens=self._settings.model_context_tokens,
            partition=self._partition,
            thread_id=self._place["thread_id"],
            run_id=self._place["run_id"],
            turn=number,
        )
        await self._count("call_model", delivery.take())

    async def submit(self) -> None:
        run = await self._documents.get(self._partition, self._place["run_id"])
        assert run
        calls = run.body["resource"]["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = [{"tool_call_id": call["id"], "output": "4 miles"} for call in calls]
        self._documents.counts.clear()
        await self._request("submit the outputs", submit_tool_outputs_to_run, {"tool_outputs": outputs})

    async def end(self, turn: int) -> None:
        thread_id, run_id = self._place["thread_id"], self._place["run_id"]
        work = append_answer(self._documents, self._partition, thread_id, run_id, turn, now=time.time())
        await self._count("append_message", work)
        self.parts["a reader of the stream"] = await self._reading
        await self._model.close()

    @property
    def _partition(self) -> str:
        return thread_partition("default", self._place["thread_id"])

    async def _read(self) -> Counter[str]:
        documents = CountingDocuments(self._documents.path)
        stream = RunStream(documents, self._partition, self._place["run_id"], 15.0, ends_at_first_wait=False)
        async for _ in stream.frames(Cursor()):
            pass
        await documents.close()
        return documents.counts

    async def _request(self, name: str, handler: Handler, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._count(name, self._answer(handler, body))

    async def _count[T](self, name: str, work: Awaitable[T]) -> T:
        self._documents.counts.clear()
        result = await work
        self.parts[name] = self.parts.get(name, Counter()) + self._documents.counts
        return result

    async def _answer(self, handler: Handler, body: Mapping[str, Any]) -> dict[str, Any]:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        request = Request({"type": "http", "method": "POST", "headers": [], "query_string": b""}, receive)
        call = Call(request, self._place, Principal(), self._documents, NoHub(), self._settings)
        return json.loads(bytes((await handler(call)).body))


async def plain(story: Story) -> None:
    await story.begin(SAID, [])
    await story.turn(0)
    await story.end(0)


async def with_functions(story: Story) -> None:
    await story.begin("call:measure_road", [FUNCTION])
    await story.turn(0)
    await story.submit()
    await story.turn(1)
    await story.end(1)


def measure() -> None:
    with model() as chat:
        for title, tell in (("a plain run", plain), ("a run with one round of function calls", with_functions)):
            parts = asyncio.run(_parts(chat, tell))
            table(f"Store operations of {title}", "", *COLUMNS)
            total = sum(parts.values(), Counter())
            for name, counts in {**parts, "all": total}.items():
                row(name, *(counts[column] for column in COLUMNS))


async def _parts(chat: Model, tell: Callable[[Story], Awaitable[None]]) -> dict[str, Counter[str]]:
    with TemporaryDirectory() as folder:
        documents = CountingDocuments(Path(folder) / "assistants.db")
        story = Story(documents, Settings(model_base_url=chat.base_url, model_api_key="none"))
        await tell(story)
        await documents.close()
        return story.parts
