"""The task hub, as far as runs need it: somebody to start an orchestration or to nudge it; and what it keeps."""

from typing import Protocol, TypedDict


class RunAddress(TypedDict):
    """Where a run lives. It is the input of its orchestration and part of every activity's input."""

    tenant: str
    thread_id: str
    run_id: str


class TaskHub(Protocol):
    async def wake(self, run: RunAddress, event: str | None = None) -> bool:
        """See that the run's orchestration is running, and raise `event` on it.

        An orchestration that runs already is left alone; an ended one of this id is replaced. The
        event is a nudge without data. Returns False, and logs why, if the hub could not be reached:
        the run is stored, and the sweeper wakes it later.
        """
        ...

    async def ready(self) -> bool:
        """Say whether the hub answers. Waits for one that is only slow; how long is the caller's business."""
        ...


class HubHistory(Protocol):
    """What a task hub keeps of orchestrations that have ended."""

    async def purge(self, ended_before: float, *, limit: int) -> int:
        """Delete at most `limit` of those that ended before a moment, in Unix seconds; return how many were deleted.

        Where the hub can't be reached it logs why and returns what it has done. An orchestration that is started
        anew in that very moment may be lost with its past: the sweeper wakes its run again.
        """
        ...
