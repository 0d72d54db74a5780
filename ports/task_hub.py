"""The task hub, as far as runs need it: somebody to start an orchestration or to nudge it."""

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
