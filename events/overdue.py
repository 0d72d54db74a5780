"""Seeing to a run that nobody seems to work on: expire it, or wake its orchestration.

Called by the sweeper, by whoever reads such a run and by whoever meets its lock: a lost nudge, a
late timer or a task hub that was away never leaves a thread locked (E.2.3). Readers wake only what
should pass at once (queued, cancelling); a run in progress is the sweeper's.
"""

from domain import runs
from events.closing import close
from events.lifetimes import is_ahead, is_over
from events.run_record import run_of
from ports.documents import Document, Documents
from ports.task_hub import RunAddress, TaskHub

SLEEPS = 2.0  # seconds in a state that should pass at once, before somebody wakes the run
EXPIRY_GRACE = 60.0  # seconds past its expiry that a working run has to end by itself, before the sweeper ends it


async def tend(
    documents: Documents, hub: TaskHub, partition: str, run: Document, *, now: float, sweeping: bool = False
) -> bool:
    """See to the run; return whether it was closed.

    The sweeper also wakes a run whose model may only be slow: a reader who polls can't tell, and would
    ask the hub each time. Raises StoreUnavailable.
    """
    resource = run_of(run)
    if runs.is_terminal(resource):
        return False
    status = resource["status"]
    grace = EXPIRY_GRACE if sweeping and status != "requires_action" else 0.0
    if is_over(resource, now, grace=grace):
        await close(documents, partition, resource["thread_id"], run.id, runs.Ending("expired"), now=now)
        return True
    passes_at_once = status in ("queued", "cancelling")
    if (passes_at_once or sweeping) and _sleeps(run, now):
        await hub.wake(address_of(partition, run), nudge_of(run))
    return False


def _sleeps(run: Document, now: float) -> bool:
    """Whether nothing has happened to the run for a while. A moment that is yet to come is no proof of life."""
    since = run.unfinished_since
    if since is None or run_of(run)["status"] == "requires_action":
        return False
    return now - since > SLEEPS or is_ahead(since, now)


def address_of(partition: str, run: Document) -> RunAddress:
    thread_id = run_of(run)["thread_id"]
    return {"tenant": partition.removesuffix(f"/{thread_id}"), "thread_id": thread_id, "run_id": run.id}


def nudge_of(run: Document) -> str | None:
    """Return the event that the run's orchestration may have missed."""
    match run_of(run)["status"]:
        case "cancelling":
            return "cancel_requested"
        case "queued" if run.body["usages"]:  # a turn is over: its outputs were submitted
            return f"tool_outputs_submitted:{run.body['turn']}"
        case _:
            return None
