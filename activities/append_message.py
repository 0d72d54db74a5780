"""Activity: ends a run that answered. The message enters the thread, and the thread is unlocked."""

import logging
import time

import azure.durable_functions as df

import wiring
from activities.outcomes import Outcome, or_store_away
from domain import messages, run_steps, runs
from events.addresses import thread_partition, turn_id
from events.log import batch_document, run_event, step_event
from events.races import settle
from events.run_record import changed_run, lifetime_of, run_of, usage_so_far
from events.thread_commit import ThreadCommit
from ports.documents import Create, Document, Documents

logger = logging.getLogger("durable_assistants.runs")

bp = df.Blueprint()


@bp.activity_trigger(input_name="turn")
async def append_message(turn: dict) -> dict:
    """Complete the run at `turn["run"]` with the answer recorded for turn `turn["turn"]`; return an Outcome."""
    address = turn["run"]
    partition = thread_partition(address["tenant"], address["thread_id"])
    thread_id, run_id = address["thread_id"], address["run_id"]
    return await or_store_away(
        append_answer(wiring.documents(), partition, thread_id, run_id, turn["turn"], now=time.time())
    )


async def append_answer(
    documents: Documents, partition: str, thread_id: str, run_id: str, turn: int, *, now: float
) -> Outcome:
    async def append() -> Outcome:
        run = await documents.get(partition, run_id)
        thread = await documents.get(partition, thread_id)
        record = await documents.get(partition, turn_id(run_id, turn))
        if run is None or thread is None or record is None or runs.is_terminal(run_of(run)):
            return {"outcome": "over"}
        if run_of(run)["status"] == "cancelling":
            return {"outcome": "cancelling"}
        await _complete(documents, partition, run, thread, record, now=now)
        logger.info("run %s completed", run_id)
        return {"outcome": "over"}

    return await settle(append)


async def _complete(
    documents: Documents, partition: str, document: Document, thread: Document, record: Document, *, now: float
) -> None:
    moment, turn = int(now), record.body
    run = runs.completed(run_of(document), moment, usage_so_far(document))
    message = messages.completed(turn["message"], turn["parts"], moment)
    opened = turn["step"] | {"step_details": run_steps.message_creation(message["id"])}
    step = run_steps.ended(opened, "completed", moment, usage=turn["usage"])

    commit = ThreadCommit(thread)
    terms = {"run_id": run["id"]}
    commit.append("message", message, terms)
    commit.append("step", step, terms)
    events = [("thread.message.completed", message), step_event(step), run_event(run)]
    batch = batch_document(run["id"], turn["next"], events, lifetime=lifetime_of(document))
    commit.add(Create(batch), changed_run(document, run, now=now))
    await documents.commit(partition, *commit.changes(active_run_id=None))
