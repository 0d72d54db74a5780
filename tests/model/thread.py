"""The thread and the run that every story is about."""

from typing import Any

from domain import runs
from events.addresses import sort_of, thread_partition
from events.starting import starting_changes
from ports.documents import Create, Document, Documents
from ports.task_hub import RunAddress

THREAD, RUN = "thread_1", "run_1"
ADDRESS: RunAddress = {"tenant": "default", "thread_id": THREAD, "run_id": RUN}
PARTITION = thread_partition("default", THREAD)
TOOLS = [{"type": "function", "function": {"name": "f"}}, {"type": "code_interpreter"}]
ASSISTANT: dict[str, Any] = {
    "id": "asst_1",
    "model": "m",
    "instructions": None,
    "tools": TOOLS,
    "response_format": "auto",
}


async def begin_run(documents: Documents, lifetime: float, now: float) -> None:
    """Create a thread with a question, and a run on it."""
    content = [{"type": "text", "text": {"value": "Hello?", "annotations": []}}]
    question = {"id": "msg_q", "role": "user", "run_id": None, "content": content}
    thread = Document(THREAD, "thread", {"resource": {"id": THREAD}, "active_run_id": None, "next_seq": 1})
    asked = Document("msg_q", "message", {"resource": question}, sort=sort_of(0))
    stored, _ = await documents.commit(PARTITION, Create(thread), Create(asked))
    run = runs.begin(RUN, THREAD, ASSISTANT, {}, now=int(now), lifetime=lifetime)
    await documents.commit(PARTITION, *starting_changes(stored, run, lifetime=lifetime, now=now))
