"""One commit in a thread's partition: whatever a client can list takes the thread's next number."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from events.addresses import sort_of
from ports.documents import Change, Create, Document, Replace

Resource = dict[str, Any]


class ThreadCommit:
    """Collects changes around one version of the thread (or a thread not yet stored); `changes` is what to commit."""

    def __init__(self, thread: Document) -> None:
        self._thread = thread
        self._next_seq: int = thread.body["next_seq"]
        self._changes: list[Change] = []

    def take_sort(self) -> str:
        sort = sort_of(self._next_seq)
        self._next_seq += 1
        return sort

    def add(self, *changes: Change) -> None:
        self._changes.extend(changes)

    def append(self, kind: str, resource: Resource, terms: Mapping[str, str]) -> None:
        """Create a message or step at the end of the thread."""
        document = Document(resource["id"], kind, {"resource": resource}, sort=self.take_sort(), terms=terms)
        self._changes.append(Create(document))

    def changes(self, **thread_members: Any) -> list[Change]:
        """`thread_members` replace members of the thread's body, such as active_run_id."""
        thread = replace(self._thread, body=self._thread.body | {"next_seq": self._next_seq} | thread_members)
        return [Replace(thread, thread.version) if thread.version else Create(thread), *self._changes]
