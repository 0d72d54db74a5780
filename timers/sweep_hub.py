"""Timer: deletes what the task hub keeps of orchestrations that ended a day ago.

On the Durable Task Scheduler its retention policy does that. Every other storage provider keeps each orchestration,
with its whole history, for ever. Nothing of ours reads it: what is to be known of a run is in the store.
"""

import logging
import time

import azure.durable_functions as df
import azure.functions as func

import wiring
from ports.task_hub import HubHistory
from timers.in_time import in_time

logger = logging.getLogger("durable_assistants.sweeper")

bp = df.Blueprint()

KEPT = 86_400  # seconds
BATCH = 1_000


@bp.timer_trigger(arg_name="timer", schedule="0 45 */6 * * *")
@bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)
async def sweep_hub(timer: func.TimerRequest, hub: str) -> None:
    if not wiring.host().purges_its_hub:
        await in_time(sweep(wiring.task_hub(hub), now=time.time()))


async def sweep(hub: HubHistory, *, now: float) -> None:
    """Purge batch by batch, until there is nothing more."""
    while purged := await hub.purge(now - KEPT, limit=BATCH):
        logger.info("%d ended orchestrations purged from the task hub", purged)
