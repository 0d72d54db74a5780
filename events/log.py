"""A run's event log: batches numbered from 0 without gaps, created and never replaced.

The number is the fence: whoever creates batch n has seen all before it, and of two writers one
loses with Conflict. An event is [name, data]. Events of the run itself carry only its state; the
reader merges that into the run (whose instructions may be 256 kB). A tool_calls step that ended is
only named by its id: the reader takes it as it is stored (its outputs may be 1 MB).
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from domain import runs
from events.addresses import batch_id, batch_sort
from ports.documents import Document, Documents

Event = tuple[str, dict[str, Any]]

_RUN_EVENTS = "thread.run."
_STEP_EVENTS = "thread.run.step."
KEEP_SECONDS = 24 * 3600  # beyond a lifetime, so that a stream can still be resumed
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Batch:
    """`turn` is set on the batch by which a delivery of call_model entered that turn."""

    number: int
    events: list[Event] = field(default_factory=list)
    turn: int | None = None


def is_run_event(name: str) -> bool:
    return name.startswith(_RUN_EVENTS) and not name.startswith(_STEP_EVENTS)


def ends_stream(name: str) -> bool:
    """Whether a request's stream is over with this event (F.1.8)."""
    return is_run_event(name) and name.removeprefix(_RUN_EVENTS) in runs.TERMINAL | {"requires_action"}


def ends_run(name: str) -> bool:
    return is_run_event(name) and name.removeprefix(_RUN_EVENTS) in runs.TERMINAL


def run_event(run: Mapping[str, Any], name: str | None = None) -> Event:
    return f"{_RUN_EVENTS}{name or run['status']}", runs.state(run)


def step_event(step: dict[str, Any], name: str | None = None) -> Event:
    return f"{_STEP_EVENTS}{name or step['status']}", step


def ended_step_event(step: Mapping[str, Any]) -> Event:
    """Name a step that is stored in the same commit and never changes again."""
    return f"{_STEP_EVENTS}{step['status']}", {"id": step["id"]}


def names_a_step(event: Event) -> bool:
    name, data = event
    return name.startswith(_STEP_EVENTS) and data.keys() == {"id"}


def batch_document(
    run_id: str, number: int, events: Iterable[Event], *, lifetime: float, turn: int | None = None
) -> Document:
    return Document(
        id=batch_id(run_id, number),
        kind="batch",
        sort=batch_sort(run_id, number),
        body={"number": number, "events": list(events), "turn": turn},
        ttl=int(lifetime) + KEEP_SECONDS,
    )


def as_batch(document: Document) -> Batch:
    body = document.body
    return Batch(body["number"], [(name, data) for name, data in body["events"]], body["turn"])


async def read(documents: Documents, partition: str, run_id: str, *, after: int = -1) -> AsyncIterator[Batch]:
    """Yield the batches with numbers above `after`, in order."""
    while True:
        page = await documents.list(
            partition,
            "batch",
            after=batch_sort(run_id, after) if after >= 0 else f"{run_id}.",
            before=f"{run_id}.~",
            limit=_PAGE,
        )
        for document in page:
            yield as_batch(document)
        if len(page) < _PAGE:
            return
        after = page[-1].body["number"]
