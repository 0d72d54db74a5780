"""Activity: makes a run wait for its client, when the built-in tools that the model called in the same turn have run.

Where the model called nothing but functions of the client's, call_model's last commit has done so (E.4.9).
"""

import logging
import time
from dataclasses import replace

import azure.durable_functions as df

import wiring
from activities.finish_turn import recorded_outcome
from activities.outcomes import Outcome, or_store_away, standing
from activities.tool_results import results_of, with_results
from domain import runs
from errors import Conflict
from events.addresses import thread_partition, turn_id
from events.log import batch_document, run_event
from events.races import settle
from events.run_record import changed_run, lifetime_of, run_of
from events.tail import next_number
from ports.documents import Create, Documents, Replace
from tools.table import Table

logger = logging.getLogger("durable_assistants.runs")

bp = df.Blueprint()


@bp.activity_trigger(input_name="turn")
async def ask_client(turn: dict) -> dict:
    """Make the run at `turn["run"]` wait for the outputs of turn `turn["turn"]`; return an Outcome."""
    address = turn["run"]
    partition = thread_partition(address["tenant"], address["thread_id"])
    work = ask(wiring.documents(), wiring.tools(), partition, address["run_id"], turn["turn"], now=time.time())
    return await or_store_away(work)


async def ask(documents: Documents, tools: Table, partition: str, run_id: str, turn: int, *, now: float) -> Outcome:
    return await settle(lambda: _ask(documents, tools, partition, run_id, turn, now=now))


async def _ask(documents: Documents, tools: Table, partition: str, run_id: str, turn: int, *, now: float) -> Outcome:
    # The number before the run: whoever asked or ended before this look takes the very number that is tried for.
    number = await next_number(documents, partition, run_id)
    record = await documents.get(partition, turn_id(run_id, turn))
    document = await documents.get(partition, run_id)
    if outcome := standing(document, now):
        return outcome
    assert document and record
    outcome = recorded_outcome(record, document)
    if outcome["outcome"] != "calls":
        return outcome
    step = await documents.get(partition, document.body["open_step"])
    if step is None:
        raise Conflict  # the thread is being deleted
    shown, events = with_results(
        step.body["resource"], record, await results_of(documents, partition, run_id, record), tools
    )
    waiting = runs.waiting_for_outputs(run_of(document), [c for c in record.body["calls"] if "tool" not in c])
    batch = batch_document(run_id, number, [*events, run_event(waiting)], lifetime=lifetime_of(document))
    stored = replace(step, body=step.body | {"resource": shown})
    await documents.commit(
        partition, Create(batch), changed_run(document, waiting, now=now), Replace(stored, step.version)
    )
    logger.info("run %s requires_action", run_id)
    return {"outcome": "requires_action", "expires_at": waiting["expires_at"]}
