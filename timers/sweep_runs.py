"""Timer: wakes runs that sleep too long, closes those long past their expiry, and makes right what the
list of threads says of a thread whose modification was cut.

Every minute in Azure, where an idle app should cost next to nothing; every 5 s in the local host.
What a lost task hub, a lost nudge or a restart left behind goes on from here.
"""

import asyncio
import math
import time
from functools import cache
from itertools import batched

import azure.durable_functions as df
import azure.functions as func

import wiring
from events.lifetimes import is_ahead
from events.overdue import SLEEPS, tend
from events.run_record import run_of
from events.thread_list import update_entry
from ports.documents import Document, Documents, Unfinished
from ports.task_hub import TaskHub
from timers.in_time import in_time

bp = df.Blueprint()

MOST = 1000  # in one sweep, the longest unchanged first; runs that wait for their client are not among them
AT_ONCE = 20
FAR_AHEAD = 1e12  # Unix seconds: everything is older


# Also when the host has just started: the local one's task hub has forgotten everything.
@bp.timer_trigger(arg_name="timer", schedule="%SWEEPER_SCHEDULE%", run_on_startup=True)
@bp.generic_input_binding(arg_name="hub", type="durableClient", durableRequiresGrpc=True)
async def sweep_runs(timer: func.TimerRequest, hub: str) -> None:
    await in_time(sweep(wiring.documents(), wiring.task_hub(hub), now=time.time(), memory=_memory()))


class Memory:
    """What a process remembers between its sweeps, since its clock may have been set back, or be set back now."""

    def __init__(self) -> None:
        self._latest = -math.inf  # by how much the clock was ahead of the event loop's at most
        self._ahead: dict[str, str] = {}  # partitions of what is unfinished since a moment to come, by id
        self._looked = False

    async def unfinished(self, documents: Documents, now: float) -> list[Unfinished]:
        """Return what has been unfinished for some seconds, whatever the clock says of it.

        The first time that is everything: before the process began, the clock may have been anything.
        """
        elapsed = asyncio.get_running_loop().time()
        self._latest = max(self._latest, now - elapsed)
        older_than = self._latest + elapsed - SLEEPS
        found = await documents.unfinished(older_than if self._looked else FAR_AHEAD, limit=MOST)
        if not self._looked:
            self._ahead = {each.document.id: each.partition for each in found if _is_ahead(each.document, now)}
            self._looked = True
        known = {each.document.id for each in found}
        return found + [each for each in await self._still_ahead(documents) if each.document.id not in known]

    async def _still_ahead(self, documents: Documents) -> list[Unfinished]:
        still: list[Unfinished] = []
        for id, partition in list(self._ahead.items()):
            document = await documents.get(partition, id)
            if document is None or document.unfinished_since is None:
                del self._ahead[id]
            else:
                still.append(Unfinished(partition, document))
        return still


@cache
def _memory() -> Memory:
    return Memory()


def _is_ahead(document: Document, now: float) -> bool:
    """A run that waits for its client is so until it expires: it is ahead if it was created in a time to come."""
    if document.kind == "run":
        return is_ahead(run_of(document)["created_at"], now) or (
            run_of(document)["status"] != "requires_action" and is_ahead(document.unfinished_since or 0.0, now)
        )
    return is_ahead(document.unfinished_since or 0.0, now)


async def sweep(documents: Documents, hub: TaskHub, *, now: float, memory: Memory | None = None) -> None:
    """See to everything that has been unfinished for some seconds.

    Raises, at the end, what went wrong with single ones: one that can't be helped holds up no other.
    """
    unfinished = await (memory or Memory()).unfinished(documents, now)
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
