"""The one commit that begins a run: its lock on the thread, the run, and batch 0 of its log."""

from collections.abc import Iterable, Sequence
from typing import Any

from events.log import Event, batch_document, run_event
from events.run_record import new_run_document
from events.thread_commit import ThreadCommit
from ports.documents import Change, Create, Document


def starting_changes(
    thread: Document,
    run: dict[str, Any],
    *,
    lifetime: float,
    now: float,
    given: Sequence[str] = (),
    with_changes: Iterable[Change] = (),
    first: Iterable[Event] = (),
) -> list[Change]:
    """Return the changes that begin `run` on `thread`; the thread's own change comes first.

    `with_changes` belong to the same commit (messages that were given with the run), `first` are
    events before the run's (thread.created).
    """
    commit = ThreadCommit(thread)
    commit.add(*with_changes)
    # Both events carry the same run (F.7.3).
    events = [*first, run_event(run, "created"), run_event(run)]
    commit.add(
        Create(new_run_document(run, commit.take_sort(), given=given, lifetime=lifetime, now=now)),
        Create(batch_document(run["id"], 0, events, lifetime=lifetime)),
    )
    return commit.changes(active_run_id=run["id"])
