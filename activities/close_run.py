"""Activity: ends a run other than by an answer: failed, incomplete, cancelled or expired."""

import time

import azure.durable_functions as df

import wiring
from activities.outcomes import Outcome, or_store_away
from domain.runs import Ending
from events.addresses import thread_partition
from events.closing import close
from ports.documents import Documents

bp = df.Blueprint()


@bp.activity_trigger(input_name="closing")
async def close_run(closing: dict) -> dict:
    """Close the run at `closing["run"]` as `closing["ending"]` (the fields of Ending) says; return an Outcome."""
    address = closing["run"]
    partition = thread_partition(address["tenant"], address["thread_id"])
    ending = Ending(**closing["ending"])
    work = _close(wiring.documents(), partition, address["thread_id"], address["run_id"], ending)
    return await or_store_away(work)


async def _close(documents: Documents, partition: str, thread_id: str, run_id: str, ending: Ending) -> Outcome:
    await close(documents, partition, thread_id, run_id, ending, now=time.time())
    return {"outcome": "over"}
