"""What the model is shown in a turn: the thread, newest first until the window is full, and the
turns that the run has taken. And what its answer is to hold besides its words."""

from collections.abc import Mapping
from dataclasses import dataclass

from activities.tool_results import results_of
from domain.chat_messages import TurnRecord, chat_request, pending_images, with_notes
from domain.context_window import Window
from domain.messages import said
from domain.usage import spent_budget
from events.addresses import turn_id
from events.run_record import given_of, run_of, usage_so_far
from ports.documents import Document, Documents
from ports.language_model import ChatRequest
from texts import whole
from tools.table import Table, functions

PAGE = 50  # messages; most threads are read at once, of others each page is twice the one before
LARGEST_PAGE = 200
FIRST = 10  # messages among which the first of a user is looked for


class BudgetSpent(Exception):
    """The run may not go on; `reason` is its incomplete_details.reason (E.6.2)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Conversation:
    """`images` are the ids of pictures that tools have made since the run's last message: the next one begins with
    them (G.1.6). `files` is what the answer's text may link to: file id by name."""

    request: ChatRequest
    images: list[str]
    files: Mapping[str, str]


async def read_conversation(
    documents: Documents, partition: str, document: Document, turn: int, context_tokens: int, tools: Table
) -> Conversation:
    """Return what the run's turn needs. Raises BudgetSpent, StoreUnavailable."""
    run, spent = run_of(document), usage_so_far(document)
    if reason := spent_budget(run, spent):
        raise BudgetSpent(reason)
    turns = [await _turn(documents, partition, run["id"], earlier) for earlier in range(turn)]
    built_in = functions(tools, run["tools"])
    contexts = [await tools[type].context(partition, run) for type in built_in]
    run = with_notes(run, [context.note for context in contexts])
    window = Window(
        run,
        turns,
        context_tokens=context_tokens,
        prompt_tokens_spent=spent["prompt_tokens"],
        built_in=built_in,
    )
    await _fill(window, documents, partition)
    if window.is_over_prompt_budget:
        raise BudgetSpent("max_prompt_tokens")
    request = chat_request(
        run,
        window.messages,
        turns,
        given=given_of(document),
        completion_tokens_spent=spent["completion_tokens"],
        built_in=built_in,
    )
    files = {name: file_id for context in contexts for name, file_id in context.files.items()}
    return Conversation(request, pending_images(turns), files)


async def _fill(window: Window, documents: Documents, partition: str) -> None:
    after, limit = None, PAGE
    while True:
        page = await documents.list(partition, "message", descending=True, after=after, limit=limit)
        for document in page:
            if not window.add(document.body["resource"]):
                await _keep_first(window, documents, partition)
                return
        if len(page) < limit:
            return
        after, limit = page[-1].sort, min(2 * limit, LARGEST_PAGE)


async def _keep_first(window: Window, documents: Documents, partition: str) -> None:
    oldest = [found.body["resource"] for found in await documents.list(partition, "message", limit=FIRST)]
    first = next((message for message in oldest if message["role"] == "user"), None)
    if first:
        window.keep_first(first)


async def _turn(documents: Documents, partition: str, run_id: str, turn: int) -> TurnRecord:
    record = await documents.get(partition, turn_id(run_id, turn))
    step_id = record.body["calls_step"] if record else None
    step = await documents.get(partition, step_id) if step_id else None
    shown = step.body["resource"]["step_details"]["tool_calls"] if step else []
    calls = record.body["calls"] if record else []
    results = await results_of(documents, partition, run_id, record)
    submitted = {call["id"]: call["function"]["output"] or "" for call in shown if call["type"] == "function"}
    return {
        "text": whole(said([*record.body["said"], *record.body["parts"]])) if record else "",
        "spoke": bool(record and (record.body["said"] or record.body["message"])),
        "images": [
            output["image"]["file_id"]
            for result in results.values()
            for output in result.outputs
            if output["type"] == "image"
        ],
        "calls": calls,
        "outputs": submitted | {calls[index]["id"]: result.text for index, result in results.items()},
    }
