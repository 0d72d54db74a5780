"""The document store: small JSON documents in partitions, changed in atomic commits.

What both Cosmos DB and SQLite do well, and nothing else. A partition is `{tenant}/{scope}`; ids are
unique in the whole store.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

MAX_CHANGES = 90  # a Cosmos DB transactional batch takes 100 operations; we keep a margin
MAX_COMMIT_BYTES = 1_800_000  # of the 2 MB that a Cosmos DB request may have


class CommitTooLarge(ValueError):
    """A commit beyond MAX_CHANGES or MAX_COMMIT_BYTES."""


@dataclass(frozen=True, slots=True)
class Document:
    """One stored document.

    `sort` places it among the documents of its kind in a listing. `terms` are the values by which
    `list` can filter: equality only. `unfinished_since` (Unix seconds) marks what somebody has to see
    through, from then on: a run, or a thread whose entry in the list is behind. `ttl` (seconds from the
    commit) lets the store forget the document.
    `version` is the store's; a document not yet stored has "".
    """

    id: str
    kind: str
    body: dict[str, Any]
    sort: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)
    unfinished_since: float | None = None
    ttl: int | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    document: Document


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace the stored document of the same id, kind and partition if its version is still this."""

    document: Document
    if_version: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the document; with `if_version`, only at that version. A missing one is a Conflict."""

    id: str
    if_version: str | None = None


Change = Create | Replace | Delete


@dataclass(frozen=True, slots=True)
class Unfinished:
    partition: str
    document: Document


class Documents(Protocol):
    """Every method raises StoreUnavailable when the store throttles, times out or is away."""

    async def get(self, partition: str, id: str) -> Document | None:
        """Return the document, or None if the partition has no such id (or its ttl has passed)."""
        ...

    async def commit(self, partition: str, *changes: Change, writer: str | None = None) -> list[Document]:
        """Apply all changes or none; return the created and replaced documents with their versions.

        Raises Conflict if an id to create exists, a version has moved on or a document to replace
        or delete is missing; CommitTooLarge; another ValueError for what is no JSON or no Unicode. `writer`
        names this one commit (made up if not given) and is stored with what it wrote: a commit repeated
        under the same writer, because its first answer was lost, answers as the first did.
        """
        ...

    async def wait_for(self, partition: str, id: str, *, timeout: float) -> Document | None:
        """Return the document as soon as it exists, or None after `timeout` seconds.

        For readers at the end of an event log. It may lag behind the latest commit (on Cosmos DB it
        reads eventually); it never shows what was not committed.
        """
        ...

    async def unfinished(self, older_than: float, *, limit: int = 100) -> list[Unfinished]:
        """Return documents whose `unfinished_since` is below `older_than`, oldest first, of all partitions.

        The one query across partitions; for the sweeper alone.
        """
        ...

    async def check(self) -> None:
        """Raise StoreUnavailable if the store can't serve now, with a reason that anybody may read.

        Costs a read, on a store that is ours alone (a file) also a write.
        """
        ...

    def stream(
        self,
        partition: str,
        kind: str,
        *,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        descending: bool = False,
        where: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Document]:
        """Yield what `list` returns, holding a few megabytes of it at a time.

        For whoever doesn't need all of it at once: documents may be large. They are read as they are taken,
        so that a later one is as it is then, and StoreUnavailable may come in the middle.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. The port is not used afterwards."""
        ...

    # Last, so that the annotations above still mean the builtin.
    async def list(
        self,
        partition: str,
        kind: str,
        *,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        descending: bool = False,
        where: Mapping[str, str] | None = None,
    ) -> list[Document]:
        """Return up to `limit` documents of the kind in the order of `sort`.

        `after` and `before` are `sort` values, exclusive, in the order of travel: with `descending`,
        `after="5"` gives what sorts below "5". `where` keeps documents whose terms equal all of it.
        The cost is that of the page, not of what lies before it.
        """
        ...
