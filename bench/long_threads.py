"""Whether a run costs more on a longer thread: 10, 1,000 and 10,000 messages, of 60 words and of 3.

The threads are written straight into the store, as the routes would have written them. The direct
call sends the model what the run's window holds of the thread, with a plain HTTP client: the SDK takes
longer to prepare hundreds of messages than the whole run does.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import batched, product
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from openai import OpenAI

from activities.read_conversation import read_conversation
from adapters.sqlite import SqliteDocuments
from bench.latency import SAID
from bench.stage import NAME, model, row, service, table
from domain.threads import message_documents
from events.addresses import thread_partition
from ports.documents import Documents, Replace
from schemas.message import CreateMessage
from settings import Settings

LENGTHS = (10, 1_000, 10_000)
WORDS = (60, 3)
SAMPLES = 30
PER_COMMIT = 80
VOCABULARY = "The road goes ever on and down from the door where it began; now far ahead it has gone, so we follow"


@dataclass(slots=True)
class Thread:
    """`window` is what the model sees of it; `direct` and `service` are seconds."""

    id: str
    length: int
    words: int
    window: Sequence[dict[str, Any]] = ()
    direct: list[float] = field(default_factory=list)
    service: list[float] = field(default_factory=list)


def measure(samples: int = SAMPLES) -> None:
    table(
        "A run on a long thread, milliseconds (medians)",
        *("messages", "in the window", "direct", "service", "added", "× service at 10"),
    )
    with model() as chat, service(chat) as at:
        client = at.openai()
        assistant = client.beta.assistants.create(model=NAME).id
        threads = [Thread(client.beta.threads.create().id, length, words) for words in WORDS for length in LENGTHS]
        asyncio.run(_fill(at.data / "assistants.db", threads, client, assistant))
        with httpx.Client(base_url=chat.base_url) as direct:
            for _, thread in product(range(samples), threads):
                thread.direct.append(_ask(direct, thread.window))
                thread.service.append(_run(client, thread.id, assistant)[1])
    _report(threads)


async def _fill(path: Path, threads: Sequence[Thread], client: OpenAI, assistant: str) -> None:
    documents = SqliteDocuments(path)
    for thread in threads:
        await _write(documents, thread)
        # Whatever is made once per process is made now; and the run says what its window held.
        run_id, _ = _run(client, thread.id, assistant)
        partition = thread_partition("default", thread.id)
        run = await documents.get(partition, run_id)
        assert run
        conversation = await read_conversation(documents, partition, run, 0, Settings().model_context_tokens, {})
        thread.window = conversation.request.messages
    await documents.close()


async def _write(documents: Documents, thread: Thread) -> None:
    """The last message is the same in every thread, and so is the model's answer."""
    words = VOCABULARY.split()
    texts = [" ".join(random.choices(words, k=thread.words)) for _ in range(thread.length - 1)]
    messages = [CreateMessage(role="assistant" if at % 2 else "user", content=text) for at, text in enumerate(texts)]
    partition = thread_partition("default", thread.id)
    for some in batched([*messages, CreateMessage(role="user", content=SAID)], PER_COMMIT, strict=False):
        document = await documents.get(partition, thread.id)
        assert document
        created, next_seq = message_documents(document, some, int(time.time()))
        grown = replace(document, body=document.body | {"next_seq": next_seq})
        await documents.commit(partition, Replace(grown, document.version), *created)


def _run(client: OpenAI, thread_id: str, assistant: str) -> tuple[str, float]:
    began = time.perf_counter()
    run_id = ""
    with client.beta.threads.runs.create(thread_id=thread_id, assistant_id=assistant, stream=True) as events:
        for event in events:
            if event.event == "thread.run.created":
                run_id = event.data.id
    return run_id, time.perf_counter() - began


def _ask(direct: httpx.Client, messages: Sequence[dict[str, Any]]) -> float:
    began = time.perf_counter()
    body = {"model": NAME, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    direct.post("/chat/completions", json=body).raise_for_status()
    return time.perf_counter() - began


def _report(threads: Sequence[Thread]) -> None:
    for thread in threads:
        shortest = next(other for other in threads if other.words == thread.words)
        direct, service = median(thread.direct), median(thread.service)
        row(
            f"{thread.length:,} of {thread.words} words",
            len(thread.window),
            *(f"{seconds * 1000:.1f}" for seconds in (direct, service, service - direct)),
            f"{service / median(shortest.service):.2f}",
        )
