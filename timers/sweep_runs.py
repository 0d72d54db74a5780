"""Timer: wakes runs that sleep too long, closes those long past their expiry, and makes right what the
list of threads says of a thread whose modification was cut.

Every minute in Azure, where an idle app should cost next to nothing; every 5 s in the local host.
What a lost task hub, a lost nudge or a restart left behind goes on from here.
"""

import asyncio
import time
from itertools import batched

import azure.durable_functions as df
import azure.functions as func

import wiring
from events.overdue import SLEEPS, tend
from events.thread_list import update_entry
from ports.documents import Documents, Unfinished
from ports.task_hub import TaskHub

bp = df.Blueprint()

MOST = 1000  # in one sweep, the longest unchanged first; runs that wait for their client are not among them
AT_ONCE = 20


# Also when the host has just started: the local one's task hub has forgotten everything.
@bp.timer_trigger(arg_name="timer", schedule="%SWEEPER_SCHEDULE%", run_on_startup=True)
@bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)
async def sweep_runs(timer: func.TimerRequest, hub: str) -> None:
    await sweep(wiring.documents(), wiring.task_hub(hub), now=time.time())


async def sweep(documents: Documents, hub: TaskHub, *, now: float) -> None:
    """See to everything that has been unfinished for some seconds.

    Raises, at the end, what went wrong with single ones: one that can't be helped holds up no other.
    """
    unfinished = await documents.unfinished(now - SLEEPS, limit=MOST)
    faults: list[BaseException] = []
    for some in batched(unfinished, AT_ONCE, strict=False):
        seen_to = await asyncio.gather(
            *(_see_to(documents, hub, found, now=now) for found in some), return_exceptions=True
        )
        faults += [fault for fault in seen_to if isinstance(fault, BaseException)]
    if faults:
        raise BaseExceptionGroup(f"{len(faults)} of {len(unfinished)} could not be seen to", faults)


async def _see_to(documents: Documents, hub: TaskHub, found: Unfinished, *, now: float) -> None:
    if found.document.kind == "thread":
        await update_entry(documents, found.partition, found.document.id)
    else:
        await tend(documents, hub, found.partition, found.document, now=now, sweeping=True)
